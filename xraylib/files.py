"""Files written whole or not at all, and the error that a user can mend."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # prediction starts without pandas
    import pandas as pd


class UserError(Exception):
    """Something that the user can mend; the message names the file, what was found, what was wanted and the remedy."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that takes its place on success and vanishes on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp gives 0600, which hides results from colleagues
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(data: bytes, path: Path) -> None:
    """Write bytes to `path`, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_bytes(data)


def write_json(value: object, path: Path) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes; NaN is refused (ValueError)."""
    write_bytes((json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode(), path)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with the same bytes on every platform."""
    write_bytes(table.to_csv(index=False, lineterminator="\n").encode(), path)


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
