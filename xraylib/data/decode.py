"""One file -> grey levels, by what starts in a fraction of a second: no pandas, no scikit-learn, no TensorFlow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = {".jpeg", ".jpg", ".png"}
MOST_PIXELS = 40_000_000  # the largest image published has 6 million, a film of today's detectors 20; a bomb has more


def decode(path: Path, size: int) -> np.ndarray:
    """One image as grey levels: uint8 (size, size).

    A JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps twice the wanted size, which costs a fraction
    of the full decoding and changes 0.6 grey levels on average. The aspect ratio is not kept: it differs between the
    classes (1.21 against 1.50), so that keeping it would hand the network a shortcut that says nothing about lungs.
    Raises OSError where the file is no image or is cut short, ValueError where it has more than MOST_PIXELS.
    """
    with _opened(path) as image:
        image.draft("L", (2 * size, 2 * size))
        ImageOps.exif_transpose(image, in_place=True)
        return shrink(_grey(image), size)


def shrink(grey: Image.Image, size: int) -> np.ndarray:
    """A grey image as the networks see it: uint8 (size, size)."""
    return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def colour(path: Path) -> float:
    """How coloured the image is: the mean over pixels of the largest minus the smallest of red, green and blue.

    In grey levels, 0 to 255; 0 for a file of one channel, near 0 where three channels hold the same film.
    """
    with _opened(path) as image:
        if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
            return 0.0
        image.draft("RGB", (64, 64))  # the smallest scale: colour is not in the details
        channels = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), np.int16)
    return float((channels.max(axis=-1) - channels.min(axis=-1)).mean())


def _opened(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its bound is below ours
        image = Image.open(path)
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise ValueError(f"{image.width} x {image.height} pixels; wanted at most {MOST_PIXELS:,}")
    return image


def _grey(image: Image.Image) -> Image.Image:
    """Any mode as "L": 16 bits are scaled to 8, transparency is laid on black as film is."""
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image)
        top = 65535 if levels.max(initial=0) > 255 else 255
        levels = np.multiply(levels, 255 / top, dtype=np.float32)  # in place from here: a film may have MOST_PIXELS
        return Image.fromarray(np.rint(np.clip(levels, 0, 255, out=levels), out=levels).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    return image if image.mode == "L" else image.convert("L")
