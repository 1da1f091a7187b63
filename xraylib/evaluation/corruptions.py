"""What happens to films in a clinic, in three severities each: decoded images -> decoded images.

In the spirit of Hendrycks and Dietterich (2019), with the corruptions that radiographs meet. Images are uint8
(n, size, size) in and out; the same seed gives the same corruption.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage


@dataclass(frozen=True)
class Corruption:
    """A corruption, what its amounts count, and the amount of each severity."""

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # float32 in [0, 255] -> any float
    unit: str
    amounts: tuple[float, ...]


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """The images as the corruption `name` leaves them; severity 1 to 3 (1 alone for "inverted"), 0 for no change."""
    if severity == 0:
        return images
    corruption = CORRUPTIONS[name]
    changed = corruption.apply(images.astype(np.float32), corruption.amounts[severity - 1], np.random.default_rng(seed))
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


def _blur(x, sigma, rng):
    pixels = sigma * x.shape[1] / 100
    return ndimage.gaussian_filter(x, (0, pixels, pixels), mode="nearest")


def _jpeg(x, quality, rng):
    def saved(image):
        buffer = io.BytesIO()
        Image.fromarray(image.astype(np.uint8)).save(buffer, "JPEG", quality=int(quality))
        return np.asarray(Image.open(buffer), np.float32)

    return np.stack([saved(image) for image in x])


def _rotation(x, degrees, rng):
    sides = rng.choice([-1, 1], len(x))
    return np.stack(
        [ndimage.rotate(i, s * degrees, reshape=False, order=1, mode="constant") for i, s in zip(x, sides, strict=True)]
    )


def _shift(x, percent, rng):
    pixels = percent / 100 * x.shape[1]
    steps = rng.choice([-1, 1], (len(x), 2)) * pixels
    return np.stack([ndimage.shift(i, s, order=1, mode="constant") for i, s in zip(x, steps, strict=True)])


def _crop(x, percent, rng):
    size = x.shape[1]
    margin = percent / 100 * size
    box = (margin, margin, size - margin, size - margin)
    return _resized(x, size, box)


def _resolution(x, percent, rng):
    size = x.shape[1]
    few = max(1, round(percent / 100 * size))
    return _resized(_resized(x, few, (0, 0, size, size)), size, (0, 0, few, few))


def _resized(x, size, box):
    pictures = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box) for image in x]
    return np.stack([np.asarray(picture) for picture in pictures])


def _inverted(x, _, rng):
    return 255 - x


def _marker(x, percent, rng):
    """A bright rectangle, as a burned-in label is, in an upper corner."""
    size = x.shape[1]
    side = max(1, round(percent / 100 * size))
    x = x.copy()
    for image, left in zip(x, rng.random(len(x)) < 0.5, strict=True):
        start = size // 20 if left else size - size // 20 - side
        image[size // 20 : size // 20 + max(1, side // 2), start : start + side] = 250
    return x


CORRUPTIONS = {
    "brighter": Corruption(_brightness, "grey levels added", (25, 50, 75)),
    "darker": Corruption(_brightness, "grey levels added", (-25, -50, -75)),
    "contrast": Corruption(_contrast, "of the contrast left", (0.75, 0.5, 0.3)),
    "noise": Corruption(_noise, "grey levels, SD", (8, 16, 32)),
    "blur": Corruption(_blur, "% of the side, sigma", (0.5, 1, 2)),
    "JPEG quality": Corruption(_jpeg, "quality", (30, 15, 5)),
    "resolution": Corruption(_resolution, "% of the pixels a side", (75, 50, 25)),
    "rotation": Corruption(_rotation, "degrees", (5, 10, 20)),
    "shift": Corruption(_shift, "% of the side, both ways", (4, 8, 16)),
    "crop": Corruption(_crop, "% of each margin lost", (4, 8, 16)),
    "marker": Corruption(_marker, "% of the side", (8, 16, 32)),
    "inverted": Corruption(_inverted, "grey levels inverted", (1,)),
}
