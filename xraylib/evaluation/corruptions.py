"""What happens to films in a clinic, in three severities each: decoded images -> decoded images.

In the spirit of Hendrycks and Dietterich (2019), with the corruptions that radiographs meet. Images are uint8
(n, size, size) in and out; the same images give the same corruption.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage


class Corruption(NamedTuple):
    """A corruption, what its amounts count, and the amount of each severity."""

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # float32 in [0, 255] -> any float
    unit: str
    amounts: tuple[float, ...]


def corrupt(images: np.ndarray, name: str, severity: int) -> np.ndarray:
    """The images as the corruption `name` leaves them; severity 1 to 3 (1 alone for "inverted"), 0 for no change."""
    if severity == 0:
        return images
    corruption = CORRUPTIONS[name]
    changed = corruption.apply(images.astype(np.float32), corruption.amounts[severity - 1], np.random.default_rng(0))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def described(row) -> str:
    """A corruption in words, "crop (8 % of each margin lost)"; row: of robustness.csv. "inverted" has no amount."""
    return row.corruption if row.corruption == "inverted" else f"{row.corruption} ({row.amount:g} {row.unit})"


def _brightness(x, levels, rng):
    return x + levels


def _contrast(x, factor, rng):
    mean = x.mean(axis=(1, 2), keepdims=True)
    return mean + factor * (x - mean)


def _noise(x, sd, rng):
    return x + sd * rng.standard_normal(x.shape, np.float32)


def _blur(x, percent, rng):
    sigma = percent / 100 * x.shape[1]
    return ndimage.gaussian_filter(x, (0, sigma, sigma), mode="nearest")


def _jpeg(x, quality, rng):
    saved = []
    for image in x:
        buffer = io.BytesIO()
        Image.fromarray(image.astype(np.uint8)).save(buffer, "JPEG", quality=int(quality))
        saved.append(np.asarray(Image.open(buffer), np.float32))
    return np.stack(saved)


def _rotation(x, degrees, rng):
    angles = degrees * rng.choice([-1, 1], len(x))
    return np.stack([ndimage.rotate(*pair, reshape=False, order=1) for pair in zip(x, angles, strict=True)])


def _shift(x, percent, rng):
    steps = rng.choice([-1, 1], (len(x), 2)) * (percent / 100 * x.shape[1])
    return np.stack([ndimage.shift(*pair, order=1) for pair in zip(x, steps, strict=True)])


def _crop(x, percent, rng):
    margin = percent / 100 * x.shape[1]
    return _resized(x, x.shape[1], margin)


def _resolution(x, percent, rng):
    return _resized(_resized(x, max(1, round(percent / 100 * x.shape[1]))), x.shape[1])


def _resized(x, size, margin=0.0):
    """Images (n, h, h) without their margins (pixels), at size x size."""
    box = (margin, margin, x.shape[1] - margin, x.shape[1] - margin)
    pictures = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box) for image in x]
    return np.stack([np.asarray(picture) for picture in pictures])


def _inverted(x, _, rng):
    return 255 - x


def _marker(x, percent, rng):
    """A bright rectangle, as a burned-in label is, in an upper corner."""
    size, x = x.shape[1], x.copy()
    side, edge = max(1, round(percent / 100 * size)), size // 20
    for image, left in zip(x, rng.random(len(x)) < 0.5, strict=True):
        start = edge if left else size - edge - side
        image[edge : edge + max(1, side // 2), start : start + side] = 250
    return x


CORRUPTIONS = {
    "brighter": Corruption(_brightness, "grey levels added", (25, 50, 75)),
    "darker": Corruption(_brightness, "grey levels added", (-25, -50, -75)),
    "contrast": Corruption(_contrast, "of it left", (0.75, 0.5, 0.3)),
    "noise": Corruption(_noise, "grey levels, SD", (8, 16, 32)),
    "blur": Corruption(_blur, "% of the side, sigma", (0.5, 1, 2)),
    "JPEG quality": Corruption(_jpeg, "of 100", (30, 15, 5)),
    "resolution": Corruption(_resolution, "% of the pixels a side", (75, 50, 25)),
    "rotation": Corruption(_rotation, "degrees", (5, 10, 20)),
    "shift": Corruption(_shift, "% of the side, both ways", (4, 8, 16)),
    "crop": Corruption(_crop, "% of each margin lost", (4, 8, 16)),
    "marker": Corruption(_marker, "% of the side", (8, 16, 32)),
    "inverted": Corruption(_inverted, "grey levels inverted", (1,)),
}
