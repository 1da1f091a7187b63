"""Is a film out of distribution (ood): unlike those that the networks learned from? A distance, its limit from tune.

Mahalanobis (1936) distance of grey-level statistics, which no network computes: it does not change when networks do.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from xraylib.data.decode import area_means, resized
from xraylib.data.frames import FAINT, WHOLE, lung_box, shrink
from xraylib.files import atomic

if TYPE_CHECKING:  # prediction starts without pandas
    import pandas as pd

FILE = "familiar.npz"  # the name in released models
PLACES = 6  # the mean grey level in 6 x 6 places: of 3 to 16 a side, parts other pictures from tune best
SIDES = (48, 24, PLACES)  # each a whole part of the one before, so that the mean of its means is that of the pixels
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
RIDGE = 0.01  # variance added to each standardised statistic, so that none that hardly varies decides alone
INSIDE = 0.99  # the share of tune films that is within the limit
# Detail, measured with the released networks on the 650 tune films: shrunk to n x n pixels, 70 decisions change at
# n = 28, 16 at 40, 8 at 64, nearly all to PNEUMONIA, but 4 at 80 and 2 at 96. LEAST_DETAIL finds all films of n <= 64,
# 5 % of n = 80 and none as published (0.258 or more). Enlarged pixel by pixel, films are beyond 1.07, else below 0.55.
SIDE, LEAST_DETAIL = 64, 0.205  # pixels a side; what a copy of SIDE pixels loses over what one of a quarter loses
MOST_UNEVEN = 0.8  # mean change of the grey step from one line to the next, over the mean step


@dataclass(frozen=True)
class Distribution:
    """What the study's frames are like: statistics' mean and SD (d,), whitening (d, d), limit of the distance."""

    mean: np.ndarray
    sd: np.ndarray
    whitening: np.ndarray
    limit: np.ndarray

    def distance(self, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """How unlike the study's films are frames, uint8 (n, h, w), with lungs, (n, 48, 48); limit 1: float64 (n,)."""
        standard = (statistics(images, masks) - self.mean) / self.sd
        return np.sqrt(((standard @ self.whitening) ** 2).mean(axis=1)) / float(self.limit)


def coarse(film: np.ndarray) -> bool:
    """Whether a film, uint8 (size, size), shows no more than one of SIDE x SIDE pixels that was enlarged.

    Enlarged smoothly, it is nearly its own copy of SIDE pixels; enlarged pixel by pixel, some lines hold all its steps.
    """
    lost = []
    for side in (SIDE, SIDE // 4):
        copy = Image.fromarray(shrink(film, side)).resize(film.shape, Image.Resampling.BICUBIC)
        lost.append(np.abs(film - np.asarray(copy, np.float32)).mean())
    steps = [np.abs(np.diff(film.astype(np.float32), axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
    uneven = min(np.abs(np.diff(step)).mean() / (step.mean() + 1e-6) for step in steps)
    return bool(lost[0] < LEAST_DETAIL * lost[1] or uneven > MOST_UNEVEN)


def statistics(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Statistics, float64 (n, d), of uint8 (n, size, size) frames and the lungs in them, masks: float (n, 48, 48).

    Mean grey levels in PLACES x PLACES places; QUANTILES and SD of all pixels; the logarithm of the mean step between
    neighbours down and across at three scales, which says how rough the picture is; the lungs' shape.
    """
    scales = [images.astype(np.float64)]
    for side in SIDES:
        share = area_means(scales[-1].shape[1], side)
        scales.append(share @ scales[-1] @ share.T)
    *stepped, places = scales
    levels = images.reshape(len(images), -1)
    quantiles = np.quantile(levels, QUANTILES, axis=1, method="inverted_cdf")
    steps = [np.abs(np.diff(scale, axis=axis)).mean(axis=(1, 2)) for scale in stepped for axis in (1, 2)]
    shapes = np.stack([_shape(mask) for mask in masks])
    parts = [places.reshape(len(images), -1), quantiles.T, levels.std(axis=1)[:, None], np.log1p(steps).T, shapes]
    return np.concatenate(parts, axis=1)


def _shape(mask: np.ndarray) -> np.ndarray:
    """The lungs in PLACES x PLACES places of their box, wherever it is, and how sure the locator is: float64 (37,)."""
    height, width = mask.shape
    left, top, right, bottom = lung_box(mask) or WHOLE
    box = (left * width, top * height, right * width, bottom * height)
    places = Image.fromarray(mask.astype(np.float32)).resize((PLACES, PLACES), Image.Resampling.BOX, box=box)
    lung = mask[mask >= FAINT]
    return np.append(np.asarray(places, np.float64).ravel(), lung.mean() if lung.size else 0.0)


def fit(train: np.ndarray, tune: np.ndarray, train_masks: np.ndarray, tune_masks: np.ndarray) -> Distribution:
    """What the train frames, uint8 (n, size, size), are like, with the limit that INSIDE of tune's stay below."""
    rows = _by_parts(statistics, train, train_masks)
    mean, sd = rows.mean(axis=0), rows.std(axis=0) + 1e-6  # a statistic that never varies stays finite
    standard = (rows - mean) / sd
    covariance = standard.T @ standard / len(rows) + RIDGE * np.eye(len(mean))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    distances = _by_parts(Distribution(mean, sd, whitening, np.array(1.0)).distance, tune, tune_masks)
    return Distribution(mean, sd, whitening, np.maximum(np.quantile(distances, INSIDE), 1e-6))


def _by_parts(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """The function of the arrays, a thousand rows at a time, to save memory."""
    starts = range(0, len(arrays[0]), 1000)
    return np.concatenate([function(*(array[start : start + 1000] for array in arrays)) for start in starts])


def changed(films: np.ndarray) -> dict[str, tuple[bool, np.ndarray]]:
    """Kind -> whether it should be assessed, and the films, uint8 (n, size, size), changed so."""
    size = films.shape[1]
    third, eighth = size // 3, size // 8

    def resize(parts: np.ndarray) -> np.ndarray:
        return np.stack([resized(Image.fromarray(part), size) for part in parts])

    return {
        "as it is": (True, films),
        "shifted by an eighth": (True, np.pad(films, ((0, 0), (0, 0), (eighth, 0)))[:, :, :size]),
        "an eighth of each margin cut": (True, resize(films[:, eighth:-eighth, eighth:-eighth])),
        "darker by 50 grey levels": (True, np.maximum(films, 50) - 50),
        "a quarter of the contrast": (True, films // 4 + 96),
        "inverted": (False, 255 - films),
        "upside down": (False, films[:, ::-1]),
        "rotated by 90 degrees": (False, np.rot90(films, axes=(1, 2))),
        "rotated by -90 degrees": (False, np.rot90(films, -1, axes=(1, 2))),
        "a corner": (False, resize(films[:, :third, :third])),
        "blank": (False, np.full_like(films[:1], 128)),
        "noise": (False, np.random.default_rng(0).integers(0, 256, films.shape, np.uint8)),
    }


def table(assess: Callable[[np.ndarray], tuple[np.ndarray, list[str]]], films: np.ndarray) -> "pd.DataFrame":
    """A row per kind of changed film: kind, wanted, films, not_assessed (a share); assess: films.Runner.assess."""
    import pandas as pd

    rows = []
    for kind, (assessable, images) in changed(films).items():
        not_assessed = _by_parts(lambda part: np.array(assess(part)[1]) != "", images)
        rows.append((kind, "assessed" if assessable else "not assessed", len(images), not_assessed.mean()))
    return pd.DataFrame(rows, columns=["kind", "wanted", "films", "not_assessed"])


def write(distribution: Distribution, models: Path) -> None:
    """Write models/familiar.npz, with the same bytes at every run."""
    with atomic(models / FILE) as temporary:
        np.savez(temporary, **asdict(distribution))


def read(models: Path) -> Distribution:
    """What `write` wrote."""
    with np.load(models / FILE, allow_pickle=False) as arrays:
        return Distribution(**arrays)
