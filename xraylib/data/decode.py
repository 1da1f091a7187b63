"""One file -> grey levels, by what starts in a fraction of a second: no pandas, no scikit-learn, no TensorFlow."""

import stat
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = {".jpeg", ".jpg", ".jpe", ".jfif", ".png"}
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")  # whatever the name says
MOST_PIXELS = 40_000_000  # the largest image published has 6 million, a film of today's detectors 20; a bomb has more


def check_regular(path: Path) -> None:
    """Raise ValueError for a folder, a pipe or a device: to read a pipe would wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no file, but a folder, pipe or device")


def opened(path: Path) -> Image.Image:
    """The image of a file, not decoded yet. A phone's two-picture JPEG is its first picture.

    Raises OSError where the file is no image, ValueError where it is too large or animated.
    """
    check_regular(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its bound is below ours
        image = Image.open(path, formats=FORMATS)
    try:
        size = f"{image.width} x {image.height} pixels"
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{size}; wanted at most {MOST_PIXELS:,}")
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise ValueError(f"{getattr(image, 'n_frames', 'several')} frames; wanted one film a file")
    except Exception:
        image.close()
        raise
    return image


def turn_upright(image: Image.Image) -> None:
    """Decode the image and turn it as its EXIF block says, in place; a damaged block is left aside."""
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # struct.error, TypeError, KeyError: the pixels are whole
        return


def decode(path: Path, size: int) -> np.ndarray:
    """One image as grey levels: uint8 (size, size).

    A JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps twice the wanted size, which costs a fraction
    of the full decoding and changes 0.6 grey levels on average. The aspect ratio is not kept: it differs between the
    classes (1.21 against 1.50), so that keeping it would hand the network a shortcut that says nothing about lungs.
    Raises OSError where the file is no image or is cut short, ValueError as `opened`.
    """
    with opened(path) as image:
        image.draft("L", (2 * size, 2 * size))
        turn_upright(image)
        return shrink(_grey(image), size)


def shrink(grey: Image.Image, size: int) -> np.ndarray:
    """A grey image resized: uint8 (size, size)."""
    return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


@lru_cache
def area_means(size: int, cells: int) -> np.ndarray:
    """float64 (cells, size): row k averages the pixels of the k-th of equal cells, shared pixels in proportion."""
    edges, pixel = np.arange(cells + 1)[:, None] * size / cells, np.arange(size)
    return np.clip(np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel), 0, None) * cells / size


def colour(path: Path) -> float:
    """How coloured the image is: the mean over pixels of the largest minus the smallest of red, green and blue.

    In grey levels, 0 to 255; 0 for a file of one channel, near 0 where three channels hold the same film.
    """
    with opened(path) as image:
        if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
            return 0.0
        image.draft("RGB", (64, 64))  # the smallest scale: colour is not in the details
        channels = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), np.int16)
    return float((channels.max(axis=-1) - channels.min(axis=-1)).mean())


def _grey(image: Image.Image) -> Image.Image:
    """Any mode as "L": 10, 12, 14 or 16 bits are scaled to 8, transparency is laid on black as film is."""
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image)
        highest = levels.max(initial=0)
        if not np.isfinite(highest):
            raise ValueError("pixels that are no finite numbers")
        top = next((top for top in (255, 1023, 4095, 16383) if highest <= top), 65535)
        levels = np.multiply(levels, 255 / top, dtype=np.float32)  # in place from here: a film may have MOST_PIXELS
        return Image.fromarray(np.rint(np.clip(levels, 0, 255, out=levels), out=levels).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    return image if image.mode == "L" else image.convert("L")
