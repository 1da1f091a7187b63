"""Chest X-ray images to honest evidence; CONTRIBUTING.md says where each line lives."""

import sys


def _stop_quietly(kind, error, trace, default=sys.excepthook) -> None:
    """Print one line instead of a traceback on Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped by Ctrl-C. Run the same command again.", file=sys.stderr)
    else:
        default(kind, error, trace)


sys.excepthook = _stop_quietly
