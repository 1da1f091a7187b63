"""A DICOM film -> grey levels as a viewer shows them, and what its header says that the study's films are not."""

import contextlib
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from simplejpeg import decode_jpeg

PLAIN_FILMS = {"CR", "DX", "RG", "RF", "OT"}  # computed, digital and film radiography; OT: not said
CHEST = re.compile("CHEST|THORAX|TORAX|TORACE|LUNG|PULM|CXR")  # in headers of several languages
OTHER_PART = re.compile(r"\b(ABDOM|PELVI|SKULL|SPINE|HAND\b|WRIST|ELBOW|SHOULDER|HIP\b|KNEE|FOOT|ANKLE|FEMUR|HUMER)")
# LLD and RLD: lying on the left or right side, seen from the front
FRONTAL = re.compile(r"\b(A[-./]?P|P[-./]?A|LLD|RLD|FRONTAL)\b|ANTERO-? ?POSTERIOR|POSTERO-? ?ANTERIOR")
LATERAL = re.compile(r"\b(LAT|LLAT|RLAT|LL|RL|[LR][AP]O)\b|\b(LATERA|LATERO|PROFIL|PERFIL|SEITL|OBL)")  # and oblique
FRONTAL_CODES = {"R-10206", "399348003", "R-10214", "272479007"}  # antero-posterior, postero-anterior: SRT, SNOMED CT
FREE_TEXT = ("SeriesDescription", "ProtocolName")
DATES = ("StudyDate", "AcquisitionDate", "AcquisitionDateTime", "SeriesDate", "ContentDate")
YEARS = (1, 5)  # of the study's children
ADULT = 18
TIME_LIMIT = 60  # seconds for one film in the process that decodes it

_OPTIONAL = (  # an empty one is as an absent one, which pydicom's functions don't know
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth", "PixelPaddingValue", "PixelPaddingRangeLimit"),
)
_PLAIN = """
import gdcm, sys
reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
reader.SetFileName(sys.argv[1])
change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
reader.Read() or sys.exit("gdcm cannot read it")
change.SetInput(reader.GetImage())
change.Change() or sys.exit("gdcm cannot decode it")
writer.SetFileName(sys.argv[2])
writer.SetFile(reader.GetFile())
writer.SetImage(change.GetOutput())
writer.Write() or sys.exit("gdcm cannot write it")
"""


def read(path: Path, most_pixels: int) -> tuple[np.ndarray, list[str], list[str]]:
    """The film, uint8 (rows, columns[, 3]); why it is not to be assessed; and what to warn of: a phrase each.

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
    from pydicom import uid
    from pydicom.encaps import generate_frames
    from pydicom.pixels import pixel_array

    if not header.file_meta.get("TransferSyntaxUID"):  # a file without preamble
        implicit, _ = header.original_encoding
        header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == uid.JPEGBaseline8Bit:
        decode_jpeg(next(generate_frames(header.PixelData, number_of_frames=1)), "GRAY")  # raises if it is damaged
    if syntax in (uid.JPEGBaseline8Bit, *uid.JPEG2000TransferSyntaxes):
        levels = pixel_array(header, decoding_plugin="pillow")
    elif syntax.is_encapsulated and syntax != uid.RLELossless:
        levels = pixel_array(_plain(path))
    else:
        unused = header.get("HighBit", -1) + 1 - header.get("BitsStored", 0)  # lower bits, which pydicom would take
        levels = pixel_array(header, bits_stored=header.HighBit + 1) >> unused if unused > 0 else pixel_array(header)
    if not np.isfinite(levels).all():
        raise ValueError("pixels that are no finite numbers")
    return levels


def _plain(path: Path) -> Any:
    """The film uncompressed by gdcm, in a process of its own: it aborts on some damaged files, and may hang."""
    import pydicom

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.dcm")
        command = [sys.executable, "-P", "-c", _PLAIN, str(path), str(plain)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise ValueError(f"damaged: the decoder took more than {TIME_LIMIT} s") from None
        said = ended.stderr.decode(errors="replace")
        damage = re.search("Corrupt JPEG.*|Premature end.*", said)  # after which gdcm goes on
        if damage or ended.returncode:
            raise ValueError(f"damaged: {damage[0] if damage else said.strip() or 'the decoder ended'}")
        return pydicom.dcmread(plain)


def _coloured(levels: np.ndarray, header: Any) -> np.ndarray:
    """Channels, float64 (rows, columns, 3) in [0, 1]."""
    from pydicom.pixels import apply_color_lut

    if levels.ndim == 3:
        return levels / (2**header.BitsStored - 1)
    channels = apply_color_lut(levels, header)[..., :3]
    return channels / np.iinfo(channels.dtype).max


def _windowed(levels: np.ndarray, header: Any) -> np.ndarray:
    """Float64 in [0, 1], bone bright; PS3.3 C.7.6.3.1.2, C.11.1, C.11.2 and C.11.6."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    for name in _OPTIONAL:
        if name in header and not header[name].value and header[name].value != 0:
            delattr(header, name)
    padding = _padding(levels, header)
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
        if padding.all():
            raise ValueError("padding alone")
        low, high = film_range(levels[~padding])
        inside = rescaled[(levels >= low) & (levels <= high) & ~padding]
        shown = (rescaled - inside.min()) / max(inside.max() - inside.min(), 1e-9)
    shown = np.clip(shown, 0, 1)
    shape = _text(header, "PresentationLUTShape")  # where it is given it decides, as in DCMTK
    if shape == "INVERSE" or (not shape and header.PhotometricInterpretation == "MONOCHROME1"):
        shown = 1 - shown
    return np.where(padding, 0.0, shown)  # what surrounds the film is black, as in the study's


def _padding(levels: np.ndarray, header: Any) -> np.ndarray:
    """Which pixels hold no film, bool (rows, columns); PS3.3 C.7.5.1.1.2."""
    ends = [header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    first, last = ends[0], ends[0] if ends[1] is None else ends[1]
    if first is None:
        return np.zeros(levels.shape, bool)
    return (levels >= min(first, last)) & (levels <= max(first, last))


def film_range(levels: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest level of a film, without marks and padding that are far away."""
    found = np.unique(levels).astype(np.float64)
    while len(found) > 2:
        gaps = np.diff(found)
        widest = int(gaps.argmax())
        if gaps[widest] <= (found[-1] - found[0]) / 2:  # far away: the film keeps more than half of the grey levels
            break
        found = max(found[: widest + 1], found[widest + 1 :], key=len)  # the film has more levels than a mark
    return found[0], found[-1]


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
    """A tag in capitals, without accents and with spaces for underscores; "" where it is absent."""
    plain = unicodedata.normalize("NFKD", str(header.get(name) or "").replace("_", " "))
    return plain.encode("ascii", "ignore").decode().strip().upper()


def _unlike_the_study(header: Any) -> tuple[list[str], list[str]]:
    """Why the film is not to be assessed (another kind, part, view, an adult), and what to warn of."""
    refused, warned = [], []
    if (modality := _text(header, "Modality")) and modality not in PLAIN_FILMS:
        refused.append(f"modality {modality}")
    refused += [f"body part {part}" for part in _other_parts(header)]
    refused += [f"view {view}" for view in _other_views(header)]
    years = _years(header)
    if years is not None and years >= ADULT:
        refused.append(f"{years:.0f} years old")
    elif years is not None and not YEARS[0] <= years < YEARS[1] + 1:
        age = "under 1 year old" if years < 1 else f"{int(years)} years old"
        warned.append(f"{age}; the study's children are {YEARS[0]} to {YEARS[1]}")
    return refused, warned


def _other_parts(header: Any) -> list[str]:
    """The parts of the body that the header names and that are not the chest."""
    parts = [_text(header, "BodyPartExamined")]
    parts += [_text(item, "CodeMeaning") for item in header.get("AnatomicRegionSequence") or []]
    free = [text for name in FREE_TEXT if OTHER_PART.search(text := _text(header, name))]
    return [part for part in parts + free if part and not CHEST.search(part)]


def _other_views(header: Any) -> list[str]:
    """The views that the header names and that are not frontal."""
    found = []
    if (view := _text(header, "ViewPosition")) and (LATERAL.search(view) or not FRONTAL.search(view)):
        found.append(view)
    for item in header.get("ViewCodeSequence") or []:
        meaning, code = _text(item, "CodeMeaning"), _text(item, "CodeValue")
        frontal = code in FRONTAL_CODES or (FRONTAL.search(meaning) and not LATERAL.search(meaning))
        if (meaning or code) and not frontal:
            found.append(meaning or code)
    texts = [_text(header, name) for name in FREE_TEXT]  # which often name no view, or all of a study
    found += [text for text in texts if LATERAL.search(text) and not FRONTAL.search(text)]
    orientation = [str(way) for way in header.get("PatientOrientation") or []]  # where rows and columns lead: L and F
    if any(way[:1] in ("A", "P") for way in orientation):  # to front or back, which a frontal film does not show
        found.append("\\".join(orientation))
    return found


def _years(header: Any) -> float | None:
    """Age in years, the higher of PatientAge (034Y, 018M, 003W, 010D, or years without unit) and that of the dates."""
    ages = []
    if age := re.search(r"(\d+)\s*([DWMY]?)", _text(header, "PatientAge")):
        ages.append(int(age[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1, "": 1}[age[2]])
    born = _date(header, "PatientBirthDate")
    taken = next(filter(None, (_date(header, name) for name in DATES)), None)
    if born and taken and taken >= born:
        ages.append((taken - born).days / 365.25)
    return max(ages, default=None)


def _date(header: Any, name: str) -> datetime | None:
    """The day of a date or a time, with or without marks between its numbers; None where there is none."""
    for form in ("%Y%m%d", "%d%m%Y"):
        with contextlib.suppress(ValueError):
            return datetime.strptime(re.sub(r"\D", "", _text(header, name))[:8], form)
    return None
