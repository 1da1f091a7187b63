"""Files written whole or not at all, and the error that a user can correct."""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

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
    """A temporary path, with the suffix of `path`, that takes its place on success and vanishes on failure.

    Its bytes are on the disk first, so that even a power cut leaves the earlier file or the new one. A link is kept, a
    file keeps its mode, a new one has that of the umask, a device or a pipe is written to. Raises UserError.
    """
    with writing(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as device, tempfile.TemporaryDirectory() as folder:
                yield (temporary := Path(folder, f"new{path.suffix}"))
                device.write(temporary.read_bytes())
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{UNFINISHED}{secrets.token_hex(8)}{path.suffix}")
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            if target.exists():
                shutil.copymode(target, temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
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


def say(message: str, stream: TextIO | None = None) -> None:
    """Print at once, on standard output by default. Where nobody reads it any more, the work goes on."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(message.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # else Python would fail at its end


def printable(text: str) -> str:
    """Text as one line of a table: control characters and bytes that are not UTF-8 stand as escapes."""
    return re.sub(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda found: repr(found[0])[1:-1], text)


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
    """Silence file descriptor 2, on which libraries in C++ announce themselves, for one thread at a time."""
    with _QUIET, open(os.devnull, "w") as nowhere:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # closed
            kept = os.dup(nowhere.fileno())
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
