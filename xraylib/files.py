"""Files written whole or not at all, and the error that a user can correct."""

import contextlib
import fcntl
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

UNFINISHED = ".unfinished-"  # how names of files being written begin: make clean removes what a killed run left
LOCK = Path(__file__).resolve().parent.parent / ".lock"
_QUIET = threading.RLock()


class UserError(Exception):
    """Something that the user can correct; the message: the file, what was found, what was wanted, the remedy."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, an OSError (disk full, not permitted) is a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        wanted = "Wanted free space, and a folder that you may write to"
        raise UserError(
            f"{path}: can't be written ({error.strerror or error}). {wanted}; then run it again."
        ) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that takes its place on success and vanishes on failure.

    Its bytes are on the disk first, so that even a power cut leaves the earlier file or the new one. Raises UserError.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)  # mkstemp gives 0600, which hides results from colleagues
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(lock: Path = LOCK) -> Iterator[bool]:
    """Hold the file `lock`, which one process at a time can; yields whether it had to wait. Ends with the process."""
    with writing(lock):
        file = lock.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            waited = False
        except BlockingIOError:
            say("Waiting: another run writes here. Ctrl-C ends the waiting, not the other run.")
            fcntl.flock(file, fcntl.LOCK_EX)
            waited = True
        yield waited


def say(message: str) -> None:
    """Print at once, so that a notebook or a terminal shows progress while it works."""
    print(message, flush=True)


def write_bytes(data: bytes, path: Path) -> None:
    """Write bytes to `path`, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_json(value: object, path: Path) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes; NaN is refused (ValueError)."""
    write_bytes((json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode(), path)


def write_array(array: np.ndarray, path: Path) -> None:
    """Write a NumPy array (.npy), whole or not at all."""
    with atomic(path) as temporary, temporary.open("w+b") as file:  # NumPy hides a full disk from a file opened "wb"
        np.save(file, array)


def write_table(table, path: Path) -> None:
    """Write a pandas table as CSV with the same bytes on every platform."""
    write_bytes(table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode(), path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence file descriptor 2, on which libraries in C++ announce themselves; one thread at a time."""
    with _QUIET:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
