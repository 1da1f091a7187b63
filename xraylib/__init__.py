"""Chest X-ray images to honest evidence; CONTRIBUTING.md says where each line lives."""

import sys


def _stop_quietly(kind, error, trace, default=sys.excepthook) -> None:
    """Ctrl-C is nobody's error: a command that has not come to its own handling yet says one line, no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped by Ctrl-C. Run the same command again.", file=sys.stderr)
    else:
        default(kind, error, trace)


sys.excepthook = _stop_quietly
