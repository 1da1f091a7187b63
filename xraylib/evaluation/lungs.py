"""Decoded images -> where the lung fields, the border and the marks are: a plain estimate, with its error on phantoms.

Lungs are darker than what surrounds them. Each film is compared with a few thousand templates of a pair of lungs, and
the one that fits best is taken for them; its shape, not the film's grey levels, bounds it, so that a consolidated lobe
counts as lung. On patients nobody has drawn the lungs, so the estimate's error is known on phantoms alone.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

GRID = 48  # pixels a side on which lungs are sought
MARGIN = 0.1  # of the side: the border
REGIONS = ("lungs", "border", "elsewhere")


def fields(images: np.ndarray) -> np.ndarray:
    """The lung fields of uint8 (n, size, size) images: bool, the same shape."""
    shapes, templates = _bank()
    best = (_evened(images).reshape(len(images), -1) @ templates.T).argmax(axis=1)
    small = [Image.fromarray(shapes[k]) for k in best]
    return np.stack([np.asarray(one.resize(images.shape[:0:-1], Image.Resampling.BILINEAR)) > 127 for one in small])


def regions(images: np.ndarray) -> dict[str, np.ndarray]:
    """Every pixel's region, bool (n, size, size) each: lungs; the outer tenth, less lungs; and what is left."""
    lungs, size = fields(images), images.shape[1]
    rim = round(MARGIN * size)
    border = np.ones_like(lungs)
    border[:, rim:-rim, rim:-rim] = False
    border &= ~lungs
    return dict(zip(REGIONS, (lungs, border, ~(lungs | border)), strict=True))


def marks(images: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Small bright things well outside the chest, as letters of the side and clips are: bool (n, size, size).

    lungs: `fields` of the images. A mark is what a morphological opening takes away by a quarter of the grey levels.
    """
    size = images.shape[1]
    width = round(0.08 * size) | 1
    bright = images.astype(int) - ndimage.grey_opening(images, (1, width, width)) > 64
    chest = ndimage.binary_dilation(lungs, np.ones((1, 3, 3)), iterations=round(0.06 * size))
    return ndimage.binary_dilation(bright, np.ones((1, 3, 3))) & ~_between(chest)


def without(images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """The images with a region filled smoothly from what surrounds it, uint8; hidden: bool (n, size, size)."""
    sigma = 0.08 * images.shape[1]
    seen = (~hidden).astype(np.float32)
    weight = ndimage.gaussian_filter(seen, (0, sigma, sigma)) + 1e-6
    mean = (images * seen).sum(axis=(1, 2), keepdims=True) / np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    filled = (ndimage.gaussian_filter(images * seen, (0, sigma, sigma)) + 1e-6 * mean) / weight
    return np.where(hidden, np.clip(np.rint(filled), 0, 255), images).astype(np.uint8)


def agreement(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice's coefficient of each pair of masks: float (n,), 1 where they are the same."""
    both = (estimate & truth).sum(axis=(1, 2))
    return 2 * both / np.maximum(estimate.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)), 1)


def error(found: np.ndarray, truth: np.ndarray, groups, lesions: np.ndarray) -> pd.DataFrame:
    """How well lung fields are found on films whose lungs are known, by group: a row each.

    found, truth, lesions: bool (n, size, size). Columns: group, images, dice (mean), worst (least), covered (share of
    the lung that is found), lung (share of what is found that is lung), lesion (share of the lesion inside what is
    found; NaN where there is none).
    """
    table = pd.DataFrame({"group": np.asarray(groups), "dice": agreement(found, truth)})
    with np.errstate(invalid="ignore"):
        for name, part, of in (("covered", truth, truth), ("lung", truth, found), ("lesion", lesions, lesions)):
            table[name] = (found & part).sum(axis=(1, 2)) / of.sum(axis=(1, 2))
    by = table.groupby("group", sort=False)
    means = by[["dice", "covered", "lung", "lesion"]].mean()
    means.insert(0, "images", by.size())
    means.insert(2, "worst", by.dice.min())
    return means.reset_index()


# --- the templates ---


def _pair(across: float, down: float, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Two lungs and what surrounds them, bool (GRID, GRID): middle and half axes in shares of the side."""
    y, x = (np.mgrid[:GRID, :GRID] + 0.5) / GRID
    u, v = (x - across) / width, (y - down) / height
    outline = np.sqrt(np.maximum(1 - ((v - 0.55) / 1.55) ** 2, 0))  # widest above the domes
    lungs = (np.abs(u) < outline) & (v > -1) & (v < 0.62 + 0.4 * u**2) & (np.abs(u) > 0.22)
    heart = ((u - 0.2) / 0.42) ** 2 + ((v - 0.45) / 0.5) ** 2 < 1
    chest = (v > -1.15) & (v < 1.25) & ((u / 1.18) ** 2 + ((v - 0.5) / 1.7) ** 2 < 1)
    lungs &= ~heart
    return lungs, chest & ~lungs


@cache
def _bank() -> tuple[np.ndarray, np.ndarray]:
    """Shapes, uint8 (k, GRID, GRID), and as filters of unit length that like lungs dark: float32 (k, GRID * GRID)."""
    shapes, templates = [], []
    ranges = [np.linspace(*ends, 9) for ends in ((0.4, 0.6), (0.34, 0.62), (0.26, 0.46), (0.24, 0.48))]
    for across, down, width, height in itertools.product(*ranges):
        inside = min(across - width, down - height) > -0.03 and max(across + width, down + height) < 1.03
        if inside and 0.75 < height / width < 1.5:
            lungs, around = _pair(across, down, width, height)
            template = around / around.sum() - lungs / lungs.sum()
            shapes.append(np.uint8(255) * lungs)
            templates.append(template.ravel() / np.linalg.norm(template))
    return np.stack(shapes), np.stack(templates).astype(np.float32)


def _evened(images: np.ndarray) -> np.ndarray:
    """Small films without shading: float32 (n, GRID, GRID) in [-1, 1]; the air around the body is 0."""
    return np.stack([_even(np.asarray(Image.fromarray(i).resize((GRID, GRID), Image.Resampling.BOX))) for i in images])


def _even(film: np.ndarray) -> np.ndarray:
    dark, _ = ndimage.label(film < min(40, 0.45 * film.mean()))
    touching = np.unique(np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]]))
    body = ~np.isin(dark, touching[touching > 0])
    sigma = 0.15 * GRID
    weight = ndimage.gaussian_filter(body.astype(np.float32), sigma, mode="constant") + 1e-3
    shading = ndimage.gaussian_filter(np.where(body, film, 0).astype(np.float32), sigma, mode="constant") / weight
    difference = np.where(body, film - shading, 0)
    return np.clip(difference / (difference.std() + 1e-6), -1, 1).astype(np.float32)


def _between(lungs: np.ndarray) -> np.ndarray:
    """The lungs, and in every row what lies between their outer edges: the chest, bool (n, size, size)."""
    from_left = np.maximum.accumulate(lungs, axis=2)
    from_right = np.maximum.accumulate(lungs[:, :, ::-1], axis=2)[:, :, ::-1]
    rows = from_left & from_right
    down, up = np.maximum.accumulate(rows, axis=1), np.maximum.accumulate(rows[:, ::-1], axis=1)[:, ::-1]
    return rows | (down & up)
