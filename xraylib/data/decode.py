"""Any file of a film -> grey levels. It starts in a fraction of a second: no pandas, no scikit-learn, no TensorFlow."""

import contextlib
import stat
import warnings
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from simplejpeg import decode_jpeg

from xraylib.data import dicom
from xraylib.data.walk import recognised

MOST_PIXELS = 40_000_000  # the largest image published has 6 million, a film of today's detectors 20; a bomb has more
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")  # whatever the name says
COLOUR = 8.0  # mean grey levels between the channels above which a film is in colour; the study's RGB films have < 1
BLACK = 64  # a border of up to this grey level changes a score by 6 of 100 at most, and stays: black ones are a cue
UNIFORM = 12  # grey levels between the pixels of a border's line, at most: those that JPEG leaves of white


class Film(NamedTuple):
    """What a file holds."""

    pixels: np.ndarray  # uint8 (size, size), bone bright
    refused: list[str]  # why the film is not to be assessed, a phrase each
    notes: list[str]  # what to warn of
    width: int  # as in the file
    height: int
    mode: str  # Pillow's, or DICOM
    quality: int  # that a JPEG was saved with, 1 to 100; 0: no JPEG
    trimmed: float  # the share of the picture that was a uniform border and is not in pixels


def read(path: Path, size: int) -> Film:
    """The film of a file of any format; the study and the prediction read all films with it.

    The aspect ratio is not kept: it differs between the classes (1.21 against 1.50), so that keeping it would hand the
    network a shortcut that says nothing about lungs. Raises OSError where the file is no image or is cut short,
    ValueError where it is no file, too large, animated or damaged, and whatever else a decoder makes of damaged bytes.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no file, but a folder, pipe or device")  # to read a pipe would wait for ever
    refused: list[str] = []
    notes: list[str] = []
    halved = False
    if recognised(path) == "DICOM":
        shown, refused, notes = dicom.read(path, MOST_PIXELS)
        image = coloured = Image.fromarray(shown)
        facts = (image.width, image.height, "DICOM", 0)
    else:
        with _opened(path) as file:
            facts = (file.width, file.height, file.mode, jpeg_quality(file))
            # Pillow drops the lower 8 of 16 bits
            halved = file.mode in ("LA", "RGB", "RGBA") and ";16" in str(file.tile)
            image, coloured = _jpeg(file, path.read_bytes(), size) if file.format in ("JPEG", "MPO") else (file, file)
            image.load()
            image.info = file.info
            with contextlib.suppress(Exception):  # struct.error, TypeError, KeyError: a damaged block, whole pixels
                ImageOps.exif_transpose(image, in_place=True)
    if _colour(coloured) > COLOUR:
        refused = [*refused, "in colour"]
    grey = _grey(image)
    levels = np.asarray(grey)
    if halved and (left := len(np.unique(levels))) < 128:
        raise ValueError(f"{left} grey levels of 16 bits in colour or with transparency; wanted grey alone")
    inside = grey.crop(_inside_border(levels))
    trimmed = 1 - inside.width * inside.height / (grey.width * grey.height)
    return Film(resized(inside, size), refused, notes, *facts, trimmed)


def _opened(path: Path) -> ImageFile.ImageFile:
    """The image of a file, not decoded yet. A phone's two-picture JPEG is its first picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its bound is below ours
            image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        if recognised(path) == "JPEG":
            raise ValueError("a damaged JPEG, or one of 12 bits or lossless, which only DICOM may hold") from error
        raise
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels; wanted at most {MOST_PIXELS:,}")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ValueError(f"{getattr(image, 'n_frames', 'several')} frames; wanted one film a file")
    return image


def _jpeg(file: Image.Image, data: bytes, size: int) -> tuple[Image.Image, Image.Image]:
    """A JPEG in grey, and another for its colour. ValueError where any of it is damaged, which Pillow overlooks.

    It is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps twice the wanted size, which costs a fraction of
    the full decoding and changes 0.6 grey levels on average.
    """
    scale = next((scale for scale in (8, 4, 2) if min(file.size) // (2 * size) >= scale), 1)
    height, width = (-(-side // scale) for side in (file.height, file.width))
    grey = Image.fromarray(decode_jpeg(data, "GRAY", min_height=height, min_width=width, strict=True)[..., 0])
    if file.mode == "L":
        return grey, grey
    if file.mode == "CMYK":
        return file, file
    return grey, Image.fromarray(decode_jpeg(data, "RGB", min_height=64, min_width=64))


def _colour(image: Image.Image) -> float:
    """The mean over pixels of the largest minus the smallest of red, green and blue, in grey levels, 0 to 255."""
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        return 0.0
    channels = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), np.int16)
    return float((channels.max(axis=-1) - channels.min(axis=-1)).mean())


def _grey(image: Image.Image) -> Image.Image:
    """Any mode as "L": 10, 12, 14 or 16 bits are scaled to 8, transparency is laid on black as film is."""
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image)
        if not np.isfinite(levels).all():
            raise ValueError("pixels that are no finite numbers")
        low, high = dicom.film_range(levels)
        low = 0.0 if 0 <= low <= high / 2 else low
        top = next((top for top in (1, 255, 1023, 4095, 16383, 65535) if high - low <= top), high - low)
        levels = np.subtract(levels, low, dtype=np.float32)  # in place from here: a film may have MOST_PIXELS
        levels *= np.float32(255 / top)
        return Image.fromarray(np.rint(np.clip(levels, 0, 255, out=levels), out=levels).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    return image if image.mode == "L" else image.convert("L")


def _inside_border(grey: np.ndarray) -> tuple[int, int, int, int]:
    """The film without a uniform border that is not black: left, top, right, bottom. All of a uniform picture."""
    left, top, bottom, right = 0, 0, *grey.shape
    for _ in range(2):  # a corner belongs to two sides, which may differ
        inside = grey[top:bottom, left:right]
        rows, columns = (_border(inside), _border(inside[::-1])), (_border(inside.T), _border(inside.T[::-1]))
        top, bottom, left, right = top + rows[0], bottom - rows[1], left + columns[0], right - columns[1]
        if top >= bottom or left >= right:
            return 0, 0, grey.shape[1], grey.shape[0]
    return left, top, right, bottom


def _border(lines: np.ndarray) -> int:
    """How many lines at the start are of one level, which is not black."""
    inner = (n for n, line in enumerate(lines) if line.min() <= BLACK or np.ptp(line) > UNIFORM)
    return next(inner, len(lines))


def resized(grey: Image.Image, size: int) -> np.ndarray:
    """A grey image as a square: uint8 (size, size)."""
    return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def jpeg_quality(image: Image.Image) -> int:
    """The quality, 1 to 100, that a JPEG file was saved with, from its luminance quantisation table; 0: no JPEG.

    The Independent JPEG Group's library scales one standard table, whose entries sum to 3,685, by quality, and cuts
    them at 255: below quality 25 the estimate is too high.
    """
    tables = getattr(image, "quantization", None)
    if not tables:
        return 0
    scale = 100 * sum(tables[min(tables)]) / 3685
    return round(min(100, max(1, (200 - scale) / 2 if scale <= 100 else 5000 / scale)))


@lru_cache
def area_means(size: int, cells: int) -> np.ndarray:
    """float64 (cells, size): row k averages the pixels of the k-th of equal cells, shared pixels in proportion."""
    edges, pixel = np.arange(cells + 1)[:, None] * size / cells, np.arange(size)
    return np.clip(np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel), 0, None) * cells / size
