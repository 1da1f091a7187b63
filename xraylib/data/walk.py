"""The files of a folder that may be films, by name or by content: one walk for the index, predict and score.

It starts in a fraction of a second: no pandas, no Pillow.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

IMAGES, DICOM = {".jpeg", ".jpg", ".jpe", ".jfif", ".png"}, {".dcm", ".dicom"}
SUFFIXES = IMAGES | DICOM

# First bytes. Some DICOM files have no preamble: they begin with an element of group 2 or 8, the lower byte first.
_DICOM = re.compile(rb".{128}DICM|[\x02\x08]\0[\x00\x01\x02\x05\x08\x10\x16\x18]\0", re.DOTALL)
_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|II[*+]\0|MM\0[*+]|BM.{4}\0{4}|GIF8[79]a|RIFF.{4}WEBP",  # II, MM: TIFF
    re.DOTALL,
)


def films(folder: Path | str, strict: bool = False, apart: Iterable[Path | str] = ()) -> tuple[list[str], list[str]]:
    """The files inside that may be films, and the other ones: paths, sorted. Hidden names are in neither list.

    A film has a name in SUFFIXES or begins as JPEG, PNG, TIFF, BMP, GIF, WEBP or DICOM. A file that cannot be opened
    counts as one, so that its row says why; so does a folder that cannot be read, unless strict, which raises OSError.
    Links to folders are followed, but not into the folders of `apart`, and each folder is listed once.
    """
    found: tuple[list[str], list[str]] = [], []
    seen = {_identity(other) for other in apart if os.path.isdir(other)} - {_identity(folder)}
    todo = [str(folder)]
    links: list[str] = []  # real folders first, so that their files have their real names
    while todo or links:
        here = todo.pop() if todo else links.pop(0)
        try:
            inside = [] if _identity(here) in seen else list(os.scandir(here))
        except OSError:
            if strict:
                raise
            found[0].append(here)
            continue
        seen.add(_identity(here))
        for entry in inside:
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry.path):
                (links if entry.is_symlink() else todo).append(entry.path)
            else:
                found[0 if may_be_film(entry.path) else 1].append(entry.path)
    return sorted(found[0]), sorted(found[1])


def _identity(folder: Path | str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def is_named(path: Path | str) -> bool:
    """Whether the name ends as those of images or DICOM files do."""
    return Path(path).suffix.lower() in SUFFIXES


def may_be_film(path: Path | str) -> bool:
    """Whether the file is named as a film, begins as one, or cannot be opened."""
    if is_named(path) or not os.path.isfile(path):
        return is_named(path)
    try:
        start = first_bytes(path)
    except OSError:
        return True
    return begins_as_dicom(start) or bool(_IMAGE.match(start))


def first_bytes(path: Path | str) -> bytes:
    """The first bytes of a file, as many as tell what it is. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(132)


def begins_as_dicom(start: bytes) -> bool:
    """Whether a file with these first bytes is DICOM, with a preamble or without one."""
    return bool(_DICOM.match(start))
