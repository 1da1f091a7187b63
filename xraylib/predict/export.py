"""The study's networks as one file that runs without TensorFlow: all seeds, float32, TFLite (LiteRT)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from xraylib.config import Config
from xraylib.evaluation import metrics
from xraylib.files import UserError, quiet, write_bytes, write_json
from xraylib.network import augment, backend
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network
from xraylib.predict import films, outliers

UNSURE = 0.01  # share of a class
BANDS = (0, 10, 50, 90, 100)  # of the score


def write(config: Config) -> dict:
    """Write the networks as one file and decision.json beside it, from results/predictions.csv; returns the decision.

    Needs outliers.FILE in config.models. The same bytes at every run.
    """
    backend.start(0)  # numbers the layers from 0, whose names stand in the file
    networks = [load_network(config.network_file(metrics.OWN, seed)) for seed in config.seeds]
    write_bytes(export(networks, config.image_size), config.portable_file)
    found = decision(pd.read_csv(config.results / "predictions.csv"), config)
    write_json(found, config.models / "decision.json")
    return found


def export(networks: Sequence[keras.Sequential], side: int) -> bytes:
    """TFLite bytes: "images" uint8 (n, side, side) -> "logits" float32 (n, networks), one of each network.

    Any float32 Sequential of layers that TensorFlow can trace will do. The view's warp becomes fixed indices and
    weights, which every runtime can read; they are found by asking augment.view, so that they are its own whatever it
    does.
    """
    size = networks[0].input_shape[1]
    sources, weights = taps(side, size)

    def logits(images):
        flat = tf.cast(tf.reshape(images, (-1, side * side)), tf.float32)
        seen = tf.reduce_sum(tf.gather(flat, sources, axis=1) * weights, axis=1)
        seen = tf.reshape(seen, (-1, size, size, 1))
        return {"logits": tf.concat([network(seen) for network in networks], axis=1)}

    module = tf.Module()  # with it, the file has a signature, which names input and output
    module.networks = list(networks)
    module.logits = tf.function(logits, input_signature=[tf.TensorSpec((None, side, side), tf.uint8, name="images")])
    with quiet():
        function = module.logits.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert()


def taps(side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a view's pixels come from: int32 indices and float32 weights (4, size * size) of images of side * side.

    A bilinear warp draws each pixel from a square of 2 x 2, in which even and odd rows and columns meet once each. So
    it is shown pictures of one such class of pixels at a time: all at 1, which gives the weight, then those whose
    number has a certain bit, which gives the index. Raises ValueError where the view is not of this kind.
    """
    number = np.arange(side * side, dtype=np.int32)
    row, column = np.divmod(number, side)
    classes = np.stack([(row % 2 == r) & (column % 2 == c) for r in (0, 1) for c in (0, 1)])
    weights = _viewed(classes, side, size)
    bits = range(int(number[-1]).bit_length())
    has_bit = [_viewed(classes & (number >> bit & 1 == 1), side, size) > weights / 2 for bit in bits]
    sources = np.sum([found.astype(np.int32) << bit for bit, found in zip(bits, has_bit, strict=True)], axis=0)
    picture = np.random.default_rng(0).random((1, side * side), np.float32)
    wanted, found = _viewed(picture, side, size)[0], (picture[0][sources] * weights).sum(axis=0)
    if not np.allclose(found, wanted, atol=1e-4):
        raise ValueError("pipeline.view: not a bilinear warp, so it can't be written as 4 pixels and weights.")
    return sources, weights


def _viewed(pictures: np.ndarray, side: int, size: int) -> np.ndarray:
    images = tf.reshape(tf.cast(pictures, tf.float32), (-1, side, side, 1))
    return augment.view(images, size).numpy().reshape(len(pictures), -1)


def decision(predictions: pd.DataFrame, config: Config) -> dict:
    """What xraylib.predict needs besides the networks.

    Logits, chosen on tune: threshold of the networks' mean logit; thresholds, each network's own; lower and upper, from
    where to where a decision is not certain. bands: per split, (score from, to, films, with pneumonia). sha256 of each
    file. predictions: network, seed, path, split, label, logit. Raises UserError where a file is not there yet.
    """
    locator = [films.LOCATOR] if (config.models / films.LOCATOR).exists() else []
    portable = [config.portable_file.name, outliers.FILE, *locator]
    networks = [config.network_file(name, seed) for name in (metrics.OWN, metrics.PUBLISHED) for seed in config.seeds]
    files = [*networks, *(config.models / name for name in portable)]
    if missing := [file.name for file in files if not file.exists()]:
        raise UserError(f"{config.models}: no {', '.join(missing)}. Run notebooks 02 and 03, or: make reproduce")
    own = predictions[predictions.network == metrics.OWN]
    mean = own.groupby("path").agg(split=("split", "first"), label=("label", "first"), logit=("logit", "mean"))
    tune = mean[mean.split == "tune"]
    cut = threshold(tune.label, tune.logit)
    seeds = {seed: table[table.split == "tune"] for seed, table in own.groupby("seed")}
    lower, upper = bounds(tune.label.to_numpy(), tune.logit.to_numpy())
    return {
        "image_size": config.image_size,
        "threshold": cut,
        "thresholds": [threshold(seeds[seed].label, seeds[seed].logit) for seed in config.seeds],
        "lower": lower,
        "upper": upper,
        "bands": {split: bands(mean[mean.split == split], cut) for split in ("tune", "test")},
        "seeds": list(config.seeds),
        "portable": config.portable_file.name,
        "locator": locator[0] if locator else None,
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def threshold(label, logit) -> float:
    """The logit with the highest balanced accuracy, midway to the next lower one; of equally good ones, the median."""
    label, logit = np.asarray(label), np.asarray(logit, np.float64)
    levels = np.unique(logit)
    healthy, ill = np.sort(logit[label == 0]), np.sort(logit[label == 1])
    specificity = np.searchsorted(healthy, levels) / max(len(healthy), 1)
    sensitivity = 1 - np.searchsorted(ill, levels) / max(len(ill), 1)
    balanced = specificity + sensitivity
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    i = best[(len(best) - 1) // 2]
    return float((levels[max(i - 1, 0)] + levels[i]) / 2)


def bounds(label: np.ndarray, logit: np.ndarray) -> tuple[float, float]:
    """Lower: at most UNSURE of the films with pneumonia lie below. Upper: at most UNSURE of the healthy lie above."""
    ill, healthy = np.sort(logit[label == 1]), np.sort(logit[label == 0])[::-1]
    return float(ill[int(UNSURE * len(ill))]), float(healthy[int(UNSURE * len(healthy))])


def bands(table: pd.DataFrame, cut: float) -> list[tuple[float, float, int, int]]:
    """(score from, to, films, of these with pneumonia) for each band of BANDS; table: label, logit."""
    score = 100 / (1 + np.exp(-np.clip(table.logit - cut, -700, 700)))
    band = np.searchsorted(BANDS, score, side="right") - 1
    band = np.minimum(band, len(BANDS) - 2)
    ill = table.label == 1
    return [
        (float(low), float(high), int((band == i).sum()), int(ill[band == i].sum()))
        for i, (low, high) in enumerate(itertools.pairwise(BANDS))
    ]
