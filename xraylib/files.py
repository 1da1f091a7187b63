"""Files written whole or not at all, and the error that a user can mend."""

import contextlib
import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # prediction starts without pandas
    import pandas as pd


UNFINISHED = ".unfinished-"  # how names of files being written begin: make clean removes what a killed run left
LOCK = Path(__file__).resolve().parent.parent / ".lock"
# Why a file can't be written -> what the user can do about it.
_REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "Free some space, then run the same again.",
    (errno.EFBIG,): "Raise the limit on the size of files (ulimit -f), then run the same again.",
    (errno.EACCES, errno.EPERM, errno.EROFS): (
        "Wanted a folder that you may write to: change its permissions, or use a clone in another place."
    ),
    (errno.ENOTDIR, errno.EEXIST, errno.EISDIR): "Move away what stands there in its place.",
}


class UserError(Exception):
    """Something that the user can mend; the message names the file, what was found, what was wanted and the remedy."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that takes its place on success and vanishes on failure.

    Its bytes are on the disk first, so that even a power cut leaves the earlier file or the new one. Raises UserError
    where the disk is full or the folder can't be written to.
    """
    with mendable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)  # mkstemp gives 0600, which hides results from colleagues
            _to_disk(temporary, os.O_RDWR)
            os.replace(temporary, path)
            if os.name != "nt":  # Windows has no handle of a folder to flush
                _to_disk(path.parent, os.O_RDONLY)
        finally:
            temporary.unlink(missing_ok=True)


def _to_disk(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def mendable(path: Path) -> Iterator[None]:
    """Within it, what keeps `path` from being written and a user can mend (disk full, not permitted) is a UserError."""
    try:
        yield
    except OSError as error:
        for numbers, remedy in _REMEDIES.items():
            if error.errno in numbers:
                raise UserError(f"{path}: can't be written ({os.strerror(error.errno)}). {remedy}") from error
        raise


@contextlib.contextmanager
def alone(lock: Path = LOCK) -> Iterator[bool]:
    """Hold the file `lock`, which one process at a time can; yields whether it had to wait. Ends with the process."""
    from filelock import FileLock, Timeout  # here: prediction needs neither

    held, holder, waited = FileLock(lock), lock.with_name(f"{lock.name}-holder"), False
    with mendable(lock):
        try:
            acquired = held.acquire(blocking=False)
        except Timeout:
            waited = True
            who = holder.read_text() if holder.exists() else "another run"
            say(f"Waiting: {who} writes here. Ctrl-C ends the waiting, not the other run.")
            acquired = held.acquire()
    with acquired:
        holder.write_text(f"process {os.getpid()}")
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
    with atomic(path) as temporary:
        np.save(temporary, array)


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV with the same bytes on every platform."""
    write_bytes(table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode(), path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence file descriptor 2, on which libraries in C++ announce themselves."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
