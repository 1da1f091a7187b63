"""The study's networks as one file that runs without TensorFlow: all seeds, float32, TFLite (LiteRT)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xraylib.config import Config
from xraylib.evaluation import metrics
from xraylib.files import UserError, quiet, write_bytes, write_json
from xraylib.network import augment, backend
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network
from xraylib.predict import outliers


def write(config: Config) -> Path:
    """The networks of config.models as one file there, the same bytes at every run; returns its path."""
    backend.start(0)  # numbers the layers anew, whose names stand in the file
    networks = [load_network(config.network_file(metrics.OWN, seed)) for seed in config.seeds]
    write_bytes(export(networks, config.image_size), config.portable_file)
    return config.portable_file


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

    traced = tf.function(logits, input_signature=[tf.TensorSpec((None, side, side), tf.uint8, name="images")])
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced).convert()


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


def decision_file(predictions: pd.DataFrame, config: Config) -> dict:
    """What xraylib.predict needs besides the networks, written to config.models/decision.json.

    image_size; threshold of the ensemble (chosen on tune); slope and intercept of its recalibration (fitted on tune);
    seeds; portable: the file that holds all seeds' networks; sha256 of it, of each network's own file, and of what is
    known of familiar films. Raises UserError where one of these is not there yet.
    """
    together = metrics.ensemble(predictions)
    tune = together[(together.split == "tune") & (together.network == metrics.ENSEMBLE)]
    fitted = metrics.recalibrate(tune.label, tune.probability)
    networks = [config.network_file(name, seed) for name in (metrics.OWN, metrics.PUBLISHED) for seed in config.seeds]
    files = [*networks, config.portable_file, config.models / outliers.FILE]
    if missing := [file.name for file in files if not file.exists()]:
        raise UserError(f"{config.models}: no {', '.join(missing)}. Run notebooks 02 and 03, or: make reproduce")
    decision = {
        "image_size": config.image_size,
        "threshold": metrics.operating_points(together)[metrics.ENSEMBLE, metrics.NO_SEED].threshold,
        "slope": fitted.slope,
        "intercept": fitted.intercept,
        "seeds": list(config.seeds),
        "portable": config.portable_file.name,
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }
    write_json(decision, config.models / "decision.json")
    return decision
