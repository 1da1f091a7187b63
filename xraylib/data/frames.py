"""Frames: each film cropped to its lungs and stretched in grey, which is all that a network sees.

Cropped, the position, the size and the aspect ratio of the chest in the film carry no class information; stretched, the
exposure carries none. Training and prediction use this code, which needs NumPy and Pillow alone.
"""

import numpy as np
from PIL import Image

SMALL = 96  # pixels a side of a film as the locator sees it
MASK = 48  # pixels a side of the lung mask that it gives
FAINT = 0.3  # lung probabilities below count as 0
TAIL = 0.01  # share of the lung's mass that lies outside of the box on each side
LEAST_LUNG = 0.04  # share of the film: with less lung, no lungs are found
STRETCH = 2, 98  # percentiles of the frame's grey levels that become black and white

Box = tuple[float, float, float, float]  # left, top, right, bottom in shares of the film
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def shrink(film: np.ndarray, size: int = SMALL) -> np.ndarray:
    """Means over areas of a film, uint8 (h, w) -> uint8 (size, size)."""
    return np.asarray(Image.fromarray(film).resize((size, size), Image.Resampling.BOX))


def lung_box(mask: np.ndarray) -> Box | None:
    """The box of the lungs, from the 1 % to the 99 % quantile of their mass by column and by row; None without lungs.

    mask: float (h, w) in [0, 1], the probability of lung.
    """
    mass = np.where(mask < FAINT, 0, mask).astype(np.float64)
    if mass.mean() < LEAST_LUNG:
        return None
    (left, right), (top, bottom) = (_ends(mass.sum(axis=axis)) for axis in (0, 1))
    return left, top, right, bottom


def _ends(mass: np.ndarray) -> tuple[float, float]:
    share = np.concatenate([[0], np.cumsum(mass) / mass.sum()])
    left, right = np.interp([TAIL, 1 - TAIL], share, np.linspace(0, 1, len(share)))
    return float(left), float(right)


def frame(film: np.ndarray, box: Box | None, size: int, stretch: bool = True) -> np.ndarray:
    """The film inside the box, uint8 (h, w) -> uint8 (size, size); the whole film where the box is None.

    stretch: the 2nd percentile of the grey levels becomes 0 and the 98th 255.
    """
    height, width = film.shape
    left, top, right, bottom = box or WHOLE
    corners = (left * width, top * height, right * width, bottom * height)
    cut = np.asarray(Image.fromarray(film).resize((size, size), Image.Resampling.LANCZOS, box=corners))
    if stretch:
        low, high = np.percentile(cut, STRETCH)
        cut = np.rint(np.clip((cut - low) * (255 / max(high - low, 1)), 0, 255)).astype(np.uint8)
    return cut


def seen_in(box: Box, frame: Box | None) -> Box:
    """A box of the film in shares of the frame."""
    left, top, right, bottom = frame or WHOLE
    width, height = right - left, bottom - top
    return (box[0] - left) / width, (box[1] - top) / height, (box[2] - left) / width, (box[3] - top) / height


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
