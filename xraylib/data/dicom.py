"""A DICOM film -> grey levels as a viewer shows them, and what its header says that the study's films are not."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

PLAIN_FILMS = {"CR", "DX", "RG", "RF", "OT"}  # computed, digital and film radiography; OT: not said
FRONTAL = {"AP", "PA", "LLD", "RLD"}  # LLD and RLD: lying on the left or right side, seen from the front
FRONTAL_CODES = {"R-10206", "399348003", "R-10214", "272479007"}  # antero-posterior, postero-anterior: SRT, SNOMED CT
YEARS = (1, 5)  # of the study's children
ADULT = 18
TIME_LIMIT = 60  # seconds for one film in the process that decodes it

_OPTIONAL = (  # an empty one is as an absent one, which pydicom's functions don't know
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth", "PixelPaddingValue"),
)
_DECODE = """
import sys, numpy, pydicom
from pydicom.pixels import pixel_array
levels = pixel_array(pydicom.dcmread(sys.argv[1], force=True), decoding_plugin="gdcm")
numpy.save(sys.argv[2], levels)
"""


def read(path: Path, most_pixels: int) -> tuple[np.ndarray, list[str], list[str]]:
    """The film, uint8 (rows, columns); why it is not to be assessed; and what to warn of: a phrase each.

    Grey levels are those that DCMTK shows: rescaled, windowed (VOI LUT or the first window; without either, from the
    lowest to the highest level), MONOCHROME1 inverted, so that bone is bright. Raises ValueError for what is no single
    film of at most most_pixels and for what cannot be decoded, OSError where the file cannot be read.
    """
    import pydicom  # most folders hold none, and start without it

    try:
        header = pydicom.dcmread(path, force=True)
        _check(header, most_pixels)
        levels = _stored(header, path)
        coloured = levels.ndim == 3 or header.PhotometricInterpretation == "PALETTE COLOR"
        shown = _coloured(levels, header) if coloured else _windowed(levels, header)
        return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8), *_unlike_the_study(header)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # pydicom, zlib and struct fail each in their own way
        raise ValueError(f"DICOM: {error}") from error


def _check(header: Any, most_pixels: int) -> None:
    if "Rows" not in header or not any(name in header for name in ("PixelData", "FloatPixelData")):
        raise ValueError("without an image")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"{frames} frames; wanted one film")
    if header.Rows * header.Columns > most_pixels:
        raise ValueError(f"{header.Columns} x {header.Rows} pixels; wanted at most {most_pixels:,}")


def _stored(header: Any, path: Path) -> np.ndarray:
    """Stored levels, (rows, columns) or (rows, columns, 3)."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEG2000TransferSyntaxes,
        JPEGBaseline8Bit,
        JPEGExtended12Bit,
        RLELossless,
    )

    if not header.file_meta.get("TransferSyntaxUID"):  # a file without preamble
        implicit, _ = header.original_encoding
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless:
        levels = pixel_array(header)
    elif syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, *JPEG2000TransferSyntaxes):
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
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    for name in _OPTIONAL:
        if name in header and not header[name].value and header[name].value != 0:
            delattr(header, name)
    padding = levels == header.get("PixelPaddingValue")
    whole = levels.astype(np.int64) if levels.dtype.kind in "iu" else levels
    if header.get("ModalityLUTSequence"):
        rescaled, _ = _by_table(whole, header, "ModalityLUTSequence", apply_modality_lut)
    else:
        rescaled = apply_modality_lut(whole, header)
    if header.get("VOILUTSequence"):
        shown, top = _by_table(rescaled, header, "VOILUTSequence", apply_voi_lut)
        shown = shown / top
    elif header.get("WindowWidth") and "WindowCenter" in header:
        for name in ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"):
            header.pop(name, None)
        header.BitsStored, header.PixelRepresentation = 16, 0  # what pydicom scales the window to
        shown = apply_voi_lut(rescaled, header) / 65535
    else:
        inside = rescaled[~padding] if padding.any() and not padding.all() else rescaled
        shown = (rescaled - inside.min()) / max(inside.max() - inside.min(), 1e-9)
    shown = np.clip(shown, 0, 1)
    if header.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, 0.0, shown)  # what surrounds the film is black, as in the study's


def _by_table(levels: np.ndarray, header: Any, name: str, apply: Callable) -> tuple[np.ndarray, int]:
    """Levels through the first look-up table of a sequence, and the highest value that the table's bits allow.

    Raises ValueError for a table that pydicom would misread.
    """
    count, first, bits = (int(value) for value in header[name].value[0].LUTDescriptor)
    count = count or 65536
    allowed = (8, 16) if name == "ModalityLUTSequence" else (8, *range(10, 17))
    if bits not in allowed or (bits == 8 and count > 256):
        raise ValueError(f"{name} of {bits} bits and {count} entries")
    lowest = first - 65536 if first > 32767 and levels.min() < 0 else first  # a signed number, read as unsigned
    entry = np.clip(levels - lowest, 0, count - 1).astype(np.int64)  # pydicom takes others modulo its bits
    found, top = apply(entry + first, header), 2**bits - 1
    if found.max() > top:
        raise ValueError(f"{name} of {bits} bits and entries of up to {found.max()}")
    return found, top


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
