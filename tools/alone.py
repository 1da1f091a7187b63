"""Run a command alone in a clone: a second waits for the first, and says so. Needs nothing but Python.

The lock is the operating system's, held by the open file and not by its presence: every process that the command starts
inherits it, so that it lasts while any of them lives, and a killed run leaves none behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs at once are the user's to avoid there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[int]:
    """The open file descriptor of `lock`, held by no other process; waits, and says for whom, while another has it."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 200, 0).decode(errors="replace") or "another run"
                print(f"Waiting: {holder} is at work here. Ctrl-C stops the waiting, not the other.", flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def main() -> int:
    """Command line: python tools/alone.py LOCK COMMAND ...; the command's exit status, 130 after Ctrl-C."""
    lock, *command = sys.argv[1:]
    try:
        with alone(Path(lock)) as handle:
            os.set_inheritable(handle, True)
            signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the command too, whose end is awaited
            status = subprocess.run(command, close_fds=False).returncode
            return status if status >= 0 else 128 - status
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"{lock}: {error.strerror}. Wanted a folder that can be written to: clone into another.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
