"""A DICOM film -> grey levels as a viewer shows them, and what its header says that the study's films are not."""

import re
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from xraylib.data.decode import MOST_PIXELS, check_regular, shrink

SUFFIXES = {".dcm", ".dicom"}
PLAIN_FILMS = {"CR", "DX", "RG", "RF", "OT"}  # computed, digital and film radiography; OT: not said
FRONTAL = {"AP", "PA", "LLD", "RLD"}  # LLD and RLD: lying on the left or right side, seen from the front
FRONTAL_CODES = {"R-10206", "399348003", "R-10214", "272479007"}  # antero-posterior, postero-anterior: SRT, SNOMED CT
YEARS = (1, 5)  # of the study's children
ADULT = 18
TIME_LIMIT = 60  # seconds for one film in the process that decodes it

_BEGINNINGS = {bytes([group, 0, element, 0]) for group in (2, 8) for element in (0, 1, 2, 5, 8, 16, 22, 24)}
_PILLOW = {  # JPEG baseline and extended, JPEG 2000 lossless and lossy
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
}
_RLE = "1.2.840.10008.1.2.5"
_DECODE = """
import sys, numpy, pydicom
from pydicom.pixels import pixel_array
levels = pixel_array(pydicom.dcmread(sys.argv[1], force=True), decoding_plugin="gdcm")
numpy.save(sys.argv[2], levels)
"""


def is_dicom(path: Path) -> bool:
    """Whether the file is named as DICOM, or has no suffix and begins as DICOM does, with its preamble or without."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # names such as 1.2.840.113619 end in a number
        return False
    return path.is_file() and _begins_as_dicom(path)


def _begins_as_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or start[:4] in _BEGINNINGS


def read(path: Path, size: int) -> tuple[np.ndarray, list[str], list[str]]:
    """The film, uint8 (size, size); why it is not to be assessed; and what to warn of: a phrase each.

    Grey levels are those that DCMTK shows: rescaled, windowed (VOI LUT or the first window; without either, from the
    lowest to the highest level), MONOCHROME1 inverted, so that bone is bright. Raises ValueError for what is no single
    film and for what cannot be decoded, OSError where the file cannot be read.
    """
    import pydicom  # most folders hold none, and start without it

    check_regular(path)
    if not _begins_as_dicom(path):
        raise ValueError("no DICOM file, though it is named so")
    try:
        header = pydicom.dcmread(path, force=True)
        _check(header)
        levels = _pixels(header, path)
        coloured = levels.ndim == 3 or header.PhotometricInterpretation == "PALETTE COLOR"
        shown = _coloured(levels, header) if coloured else _windowed(levels, header)
        grey = Image.fromarray((255 * np.clip(shown, 0, 1)).round().astype(np.uint8))
        return shrink(grey, size), *_unlike_the_study(header)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # pydicom, zlib and struct fail each in their own way
        raise ValueError(f"DICOM: {error}") from error


def _check(header: Any) -> None:
    if "Rows" not in header or not any(name in header for name in ("PixelData", "FloatPixelData")):
        raise ValueError("without an image")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"{frames} frames; wanted one film")
    if header.Rows * header.Columns > MOST_PIXELS:
        raise ValueError(f"{header.Columns} x {header.Rows} pixels; wanted at most {MOST_PIXELS:,}")


def _pixels(header: Any, path: Path) -> np.ndarray:
    """Stored levels, (rows, columns) or (rows, columns, 3)."""
    from pydicom import uid
    from pydicom.dataset import FileMetaDataset
    from pydicom.pixels import pixel_array

    meta = getattr(header, "file_meta", None)
    if meta is None or not meta.get("TransferSyntaxUID"):  # a file without preamble
        implicit, little = header.original_encoding
        plain = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else plain
    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == _RLE:
        levels = pixel_array(header)
    elif syntax in _PILLOW:
        levels = pixel_array(header, decoding_plugin="pillow")
    else:
        levels = _decode_apart(path)
    if not np.isfinite(levels).all():
        raise ValueError("pixels that are no finite numbers")
    return levels


def _decode_apart(path: Path) -> np.ndarray:
    """Stored levels as gdcm decodes them, in a process of its own: it aborts on some damaged files, and may hang."""
    with tempfile.TemporaryDirectory() as folder:
        levels = Path(folder, "levels.npy")
        command = [sys.executable, "-P", "-c", _DECODE, str(path), str(levels)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise ValueError(f"damaged: the decoder took more than {TIME_LIMIT} s") from None
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").split("\n")[-2:-1]
            raise ValueError(" ".join(["damaged: the decoder ended.", *said]))
        return np.load(levels)


def _coloured(levels: np.ndarray, header: Any) -> np.ndarray:
    """Mean of the channels, float64 in [0, 1]."""
    from pydicom.pixels import apply_color_lut

    channels = apply_color_lut(levels, header) if header.PhotometricInterpretation == "PALETTE COLOR" else levels
    return channels.mean(axis=-1) / np.iinfo(channels.dtype).max


def _windowed(levels: np.ndarray, header: Any) -> np.ndarray:
    """Float64 in [0, 1], bone bright; PS3.3 C.7.6.3.1.2, C.11.1 and C.11.2."""
    padding = levels == _number(header, "PixelPaddingValue")
    stored = levels.astype(np.float64)
    table = _table(header, "ModalityLUTSequence", stored)
    slope, intercept = _number(header, "RescaleSlope"), _number(header, "RescaleIntercept")
    if table is not None:
        stored = table[0]
    elif slope and intercept is not None:
        stored = stored * slope + intercept
    shown = _voi(stored, header)
    if shown is None:
        inside = stored[~padding] if padding.any() and not padding.all() else stored
        shown = (stored - inside.min()) / max(inside.max() - inside.min(), 1e-9)
    shown = np.clip(shown, 0, 1)
    if header.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, 0.0, shown)  # what surrounds the film is black, as in the study's


def _voi(levels: np.ndarray, header: Any) -> np.ndarray | None:
    """Levels through the VOI look-up table or the first window, float64; None where the header has neither."""
    table = _table(header, "VOILUTSequence", levels)
    if table is not None:
        return table[0] / (2 ** table[1] - 1)
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    function = _text(header, "VOILUTFunction")
    if centre is None or width is None or width <= 0 or (width < 1 and function not in ("LINEAR_EXACT", "SIGMOID")):
        return None
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (levels - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return (levels - centre) / width + 0.5
    return (levels - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5


def _table(header: Any, name: str, levels: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Levels through the first look-up table of a sequence, and the table's bits; None where there is no table."""
    sequence = header.get(name)
    item = sequence[0] if sequence else None
    if item is None or not item.get("LUTDescriptor") or not item.get("LUTData"):
        return None
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count or 65536
    if levels.min() < 0 and first > 32767:  # a signed number, read as unsigned
        first -= 65536
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<u2" if header.original_encoding[1] else ">u2"
        data = np.frombuffer(data[: len(data) // 2 * 2], order) if len(data) >= 2 * count else np.frombuffer(data, "u1")
    entries = np.atleast_1d(np.asarray(data, np.int64))[:count]
    if len(entries) < count:
        raise ValueError(f"{name} of {len(entries)} entries; wanted {count}")
    bits = max(bits if 8 <= bits <= 16 else 8, int(entries.max()).bit_length())
    return entries[np.clip(levels - first, 0, count - 1).astype(np.int64)].astype(np.float64), bits


def _number(header: Any, name: str) -> float | None:
    """The first value of a numeric tag; None where the tag is absent or empty. ValueError where it is no number."""
    value = header.get(name)
    if value is not None and not isinstance(value, (str, bytes, int, float)):
        value = next(iter(value), None) if hasattr(value, "__iter__") else value
    if value is None or value in ("", b""):
        return None
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name} is {value}")
    return number


def _text(header: Any, name: str) -> str:
    return str(header.get(name) or "").strip().upper()


def _unlike_the_study(header: Any) -> tuple[list[str], list[str]]:
    """Why the film is not to be assessed (another kind, part, view, an adult, colour), and what to warn of."""
    refused, warned = [], []
    if (modality := _text(header, "Modality")) and modality not in PLAIN_FILMS:
        refused.append(f"modality {modality}")
    if (part := _text(header, "BodyPartExamined")) and not any(word in part for word in ("CHEST", "THORAX", "LUNG")):
        refused.append(f"body part {part}")
    refused += [f"view {view}" for view in _other_views(header)]
    years = _years(header)
    if years is not None and years >= ADULT:
        refused.append(f"{years:.0f} years old")
    elif years is not None and not YEARS[0] <= years < YEARS[1] + 1:
        age = "under 1 year old" if years < 1 else f"{int(years)} years old"
        warned.append(f"{age}; the study's children are {YEARS[0]} to {YEARS[1]}")
    if not _text(header, "PhotometricInterpretation").startswith("MONOCHROME"):
        refused.append("in colour")
    return refused, warned


def _other_views(header: Any) -> list[str]:
    """The views that the header names and that are not frontal."""
    view = _text(header, "ViewPosition")
    found = [view] if view and view not in FRONTAL else []
    for item in header.get("ViewCodeSequence") or []:
        meaning, code = _text(item, "CodeMeaning"), _text(item, "CodeValue")
        plain = re.sub("[^A-Z]", "", meaning)
        if (meaning or code) and code not in FRONTAL_CODES and plain not in {"ANTEROPOSTERIOR", "POSTEROANTERIOR"}:
            found.append(meaning or code)
    return found


def _years(header: Any) -> float | None:
    """Age in years from PatientAge (034Y, 018M, 003W, 010D, or years without unit), else from birth and study date."""
    if age := re.fullmatch(r"(\d+)\s*([DWMY]?).*", _text(header, "PatientAge")):
        return int(age[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1, "": 1}[age[2]]
    dates = [_text(header, name)[:8] for name in ("PatientBirthDate", "StudyDate")]
    if not dates[1]:
        dates[1] = (_text(header, "AcquisitionDate") or _text(header, "SeriesDate") or _text(header, "ContentDate"))[:8]
    try:
        born, taken = (datetime.strptime(date, "%Y%m%d") for date in dates)
    except ValueError:
        return None
    days = (taken - born).days
    return days / 365.25 if days >= 0 else None
