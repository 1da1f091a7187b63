"""Does an image look like the films that the networks learned from? A distance, fitted on train and read on tune.

Mahalanobis (1936) distance of a few dozen grey-level statistics, which no network computes: it starts at once, and does
not change when the networks do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from xraylib.files import UserError, whole

FILE = "familiar.npz"
PLACES = 6  # the mean grey level in 6 x 6 places: of 3 to 16 a side, tells the strangers best from tune
SIDES = (48, 24, PLACES)  # each a whole part of the one before, so that the mean of its means is that of the pixels
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
RIDGE = 0.01  # variance added to each standardised statistic, so that none that hardly varies decides alone
FAMILIAR = 0.99  # the share of tune films that no warning is wanted for
COLOUR = 8.0  # grey levels between the channels (decode.colour); the study's RGB films have less than 1


@dataclass(frozen=True)
class Familiar:
    """What is usual among the study's films: statistics' mean and SD (d,), whitening (d, d), limit of the score."""

    mean: np.ndarray
    sd: np.ndarray
    whitening: np.ndarray
    limit: np.ndarray

    def foreignness(self, images: np.ndarray) -> np.ndarray:
        """How unlike the study's films, float64 (n,), of uint8 (n, size, size) images; above 1: a warning is due."""
        return self._distance(images) / float(self.limit)

    def _distance(self, images: np.ndarray) -> np.ndarray:
        """Root mean square of the whitened statistics: about 1 for a film of the study."""
        standard = (statistics(images) - self.mean) / self.sd
        return np.sqrt(((standard @ self.whitening) ** 2).mean(axis=1))


def statistics(images: np.ndarray) -> np.ndarray:
    """Grey-level statistics, float64 (n, d), of uint8 (n, size, size) images.

    Mean grey levels in PLACES x PLACES places, QUANTILES and the SD of all pixels, and the logarithm of the mean
    step between neighbours across and down at three scales, which says how rough the picture is.
    """
    scales = [images.astype(np.float64)]
    for side in SIDES:
        scales.append(_shrunk(scales[-1], side))
    *stepped, places = scales
    levels = np.stack([_levels(image) for image in images])
    steps = np.stack([step for scale in stepped for step in _steps(scale)], axis=1)
    return np.concatenate([places.reshape(len(images), -1), levels, np.log1p(steps)], axis=1)


def _steps(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute step between neighbours, down and across: (n, height, width) -> twice (n,)."""
    down, across = pixels[:, 1:] - pixels[:, :-1], pixels[:, :, 1:] - pixels[:, :, :-1]
    return np.abs(down, out=down).mean(axis=(1, 2)), np.abs(across, out=across).mean(axis=(1, 2))


def _levels(image: np.ndarray) -> np.ndarray:
    """The QUANTILES of an image's grey levels and their SD, float64 (8,): counted, which is faster than sorted."""
    counts, grey = np.bincount(image.ravel(), minlength=256), np.arange(256)
    mean = counts @ grey / image.size
    sd = np.sqrt(counts @ (grey - mean) ** 2 / image.size)
    return np.append(np.searchsorted(counts.cumsum(), np.multiply(QUANTILES, image.size)), sd)


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """Mean over side x side equal places, parts of pixels counted in part: (n, size, size) -> (n, side, side)."""
    share = _share(pixels.shape[1], side)
    return share @ pixels @ share.T


@lru_cache
def _share(size: int, side: int) -> np.ndarray:
    """What each of `size` pixels adds to the mean of each of `side` places along an axis: (side, size)."""
    edges, pixel = np.arange(side + 1)[:, None] * size / side, np.arange(size)
    return np.clip(np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel), 0, None) * side / size


def fit(train: np.ndarray, tune: np.ndarray) -> Familiar:
    """What is usual in the train films, with the limit that FAMILIAR of the tune films stay below; both uint8 images.

    train and tune: (n, size, size). Memory for the statistics alone: the images are read a thousand at a time.
    """
    rows = _in_parts(train)
    mean, sd = rows.mean(axis=0), rows.std(axis=0) + 1e-6  # a statistic that never varies stays finite
    standard = (rows - mean) / sd
    covariance = standard.T @ standard / len(rows) + RIDGE * np.eye(len(mean))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    unlimited = Familiar(mean, sd, whitening, np.array(1.0))
    distances = np.concatenate([unlimited.foreignness(part) for part in _parts(tune)])
    return Familiar(mean, sd, whitening, np.maximum(np.quantile(distances, FAMILIAR), 1e-6))


def _parts(images: np.ndarray) -> list[np.ndarray]:
    return [images[i : i + 1000] for i in range(0, len(images), 1000)]


def _in_parts(images: np.ndarray) -> np.ndarray:
    return np.concatenate([statistics(part) for part in _parts(images)])


def write(familiar: Familiar, models: Path) -> None:
    """Write it to models/familiar.npz, with the same bytes at every run."""
    with whole(models / FILE) as temporary:
        np.savez(temporary, **asdict(familiar))


def read(models: Path) -> Familiar:
    """What `write` wrote; UserError where it is not there."""
    path = models / FILE
    if not path.exists():
        raise UserError(f"{path}: not there. Run the study first (make reproduce), or get the repository whole.")
    with np.load(path, allow_pickle=False) as arrays:
        return Familiar(**{name: arrays[name] for name in arrays.files})
