"""A DICOM film -> grey levels as a viewer shows them, and what its header says that the study's films are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from xraylib.data.decode import MOST_PIXELS, shrink

SUFFIXES = {".dcm", ".dicom"}
PLAIN_FILMS = {"CR", "DX", "RG", "RF"}  # computed, digital and film radiography
NOT_FRONTAL = {"LL", "RL", "LLD", "RLD", "LATERAL", "LAT"}
OLDEST = 5  # years, of the study's children


def is_dicom(path: Path) -> bool:
    """Whether the file is named as DICOM, or has no suffix and DICOM's mark after its preamble."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # names such as 1.2.840.113619 end in a number
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read(path: Path, size: int) -> tuple[np.ndarray, list[str]]:
    """The film, uint8 (size, size), and what of its header is unlike the study's films, a phrase each.

    Rescaled, windowed (VOI LUT or the first window; without either, from the lowest to the highest level), MONOCHROME1
    inverted, so that bone is bright. Raises ValueError for what is no single film and for what cannot be decompressed,
    OSError where the file cannot be read.
    """
    import pydicom  # most folders hold none, and start without it

    try:
        header = pydicom.dcmread(path)
        _check(header)
        levels = header.pixel_array
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ValueError(f"DICOM: {error}") from error
    except pydicom.errors.InvalidDicomError as error:
        raise ValueError("no DICOM file, though it is named so") from error
    shown = _coloured(levels, header) if levels.ndim == 3 or _is_palette(header) else _windowed(levels, header)
    grey = Image.fromarray((255 * np.clip(shown, 0, 1)).round().astype(np.uint8))
    return shrink(grey, size), oddities(header)


def _check(header) -> None:
    if "Rows" not in header or not any(name in header for name in ("PixelData", "FloatPixelData")):
        raise ValueError("DICOM without an image")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"DICOM with {frames} frames; wanted one film")
    if header.Rows * header.Columns > MOST_PIXELS:
        raise ValueError(f"{header.Columns} x {header.Rows} pixels; wanted at most {MOST_PIXELS:,}")


def _is_palette(header) -> bool:
    return header.PhotometricInterpretation == "PALETTE COLOR"


def _coloured(levels: np.ndarray, header) -> np.ndarray:
    """Mean of the channels, float64 in [0, 1]. Colour is no film, and is said to be none (`oddities`)."""
    from pydicom.pixels import apply_color_lut

    channels = apply_color_lut(levels, header) if _is_palette(header) else levels
    return channels.mean(axis=-1) / np.iinfo(channels.dtype).max


def _windowed(levels: np.ndarray, header) -> np.ndarray:
    """Float64 in about [0, 1], bone bright; PS3.3 C.7.6.3.1.2, C.11.1 and C.11.2."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    padding = levels == header["PixelPaddingValue"].value if "PixelPaddingValue" in header else np.False_
    levels = apply_modality_lut(levels, header)
    if "VOILUTSequence" in header or "WindowCenter" in header:
        ends = np.array([np.iinfo(np.int32).min, np.iinfo(np.int32).max])  # what the window makes black and white
        if "VOILUTSequence" in header:
            levels = levels.astype(np.int64)  # the table is indexed by whole numbers
        black, white = np.sort(apply_voi_lut(ends, header).astype(np.float64))
        levels = apply_voi_lut(levels, header).astype(np.float64)
    else:
        inside = levels[~padding] if padding.any() and not padding.all() else levels
        black, white = float(inside.min()), float(inside.max())
    shown = (levels - black) / max(white - black, 1e-9)
    if header.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, 0.0, shown)  # what surrounds the film is black, as in the study's


def oddities(header) -> list[str]:
    """What the header says that the study's films are not: of another kind, part, view or age, or in colour."""
    found = []
    if (modality := _word(header, "Modality")) and modality not in PLAIN_FILMS:
        found.append(f"DICOM: modality {modality}")
    if (part := _word(header, "BodyPartExamined")) and not any(word in part for word in ("CHEST", "THORAX", "LUNG")):
        found.append(f"DICOM: {part}")
    if (view := _word(header, "ViewPosition")) in NOT_FRONTAL:
        found.append(f"DICOM: lateral view ({view})")
    years = _years(_word(header, "PatientAge"))
    if years is not None and years > OLDEST:
        found.append(f"DICOM: {years} years old; the study's children are 1 to {OLDEST}")
    if not str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        found.append("in colour")
    return found


def _word(header, name: str) -> str:
    return str(header.get(name) or "").strip().upper()


def _years(age: str) -> int | None:
    """Whole years of an age string such as 034Y, 018M, 003W, 010D (PS3.5, AS); None for another."""
    number, unit = age[:-1], age[-1:]
    per_year = {"Y": 1, "M": 12, "W": 52, "D": 365}
    return int(number) // per_year[unit] if number.isdigit() and unit in per_year else None
