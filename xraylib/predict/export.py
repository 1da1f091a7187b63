"""The released networks as files that run without TensorFlow (LiteRT): the locator, and the networks of all seeds."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import expit
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from xraylib.config import Config
from xraylib.data.frames import SMALL
from xraylib.evaluation import metrics
from xraylib.files import UserError, quiet, write_bytes, write_json
from xraylib.network import backend, locator, train
from xraylib.network.backend import keras, tf
from xraylib.predict import films, ood

UNSURE = 0.01  # share of a class
BANDS = (0.0, 10.0, 50.0, 90.0, 100.0)  # of the score


def write(config: Config) -> None:
    """Write the networks of all seeds, and the locator, as TFLite files, with the same bytes at every run."""
    backend.start(0)  # numbers the layers from 0, whose names stand in the file
    networks = [train.load(metrics.STUDY, seed, config) for seed in config.seeds]
    write_bytes(export(networks, config.image_size), config.models / films.NETWORKS)
    backend.start(0)
    write_bytes(export_locator(locator.load(config.locator_file)), config.models / films.LOCATOR)


def export(networks: Sequence[keras.Model], size: int) -> bytes:
    """TFLite bytes: "images" uint8 frames (n, size, size) -> "logits" float32 (n, networks), one of each network."""

    def logits(images):
        seen = tf.cast(images, tf.float32)[..., None]
        return tf.concat([network(seen) for network in networks], axis=1)

    return _converted(logits, "logits", size)


def export_locator(network: keras.Model) -> bytes:
    """TFLite bytes: "images" uint8 films (n, 96, 96) -> "lungs" float32 probabilities (n, 48, 48)."""

    def lungs(images):
        seen = tf.cast(images, tf.float32)[..., None]
        both = network(seen) + network(seen[:, :, ::-1])[:, :, ::-1]
        return tf.sigmoid(both[..., 0] / 2)

    return _converted(lungs, "lungs", SMALL)


def _converted(function: Callable, name: str, size: int) -> bytes:
    """TFLite bytes of a function of uint8 (n, size, size) "images" to the output `name`; half-precision weights."""
    signature = [tf.TensorSpec((None, size, size), tf.uint8, name="images")]
    # Weights become constants first: the converter would leave a module's variables empty, and every output NaN.
    frozen = convert_variables_to_constants_v2(tf.function(function, input_signature=signature).get_concrete_function())
    module = tf.Module()  # gives the file a signature, which names input and output
    module.run = tf.function(lambda images: {name: frozen(images)[0]}, input_signature=signature)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.run.get_concrete_function()], module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]  # half the size
        return converter.convert()


def write_decision(predictions: pd.DataFrame, config: Config) -> None:
    """Write decision.json: what xraylib.predict needs besides the files of `write` and ood.FILE, else UserError.

    Logits, chosen on tune: threshold of the networks' mean logit; thresholds, each network's own; lower and upper, from
    where to where a decision is not certain. bands: per split, (score from, to, films, with pneumonia).
    """
    networks = [config.network_file(metrics.STUDY, seed) for seed in config.seeds]
    files = [*networks, *(config.models / name for name in (films.NETWORKS, ood.FILE, films.LOCATOR))]
    if missing := [file.name for file in files if not file.exists()]:
        raise UserError(f"{config.models}: no {', '.join(missing)}. Run notebooks 02 and 03, or: make reproduce")
    own = predictions[predictions.network == metrics.STUDY]
    mean = own.groupby("path").agg(split=("split", "first"), label=("label", "first"), logit=("logit", "mean"))
    tune, own_tune = mean[mean.split == "tune"], own[own.split == "tune"]
    cut = threshold(tune)
    lower, upper = bounds(tune.label.to_numpy(), tune.logit.to_numpy())
    decision = {
        "image_size": config.image_size,
        "threshold": cut,
        "thresholds": [threshold(own_tune[own_tune.seed == seed]) for seed in config.seeds],
        "lower": lower,
        "upper": upper,
        "bands": {split: bands(mean[mean.split == split], cut) for split in ("tune", "test")},
        "seeds": list(config.seeds),
        "portable": films.NETWORKS,
        "locator": films.LOCATOR,
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }
    write_json(decision, config.models / "decision.json")


def threshold(tune: pd.DataFrame) -> float:
    """The study's operating point (metrics.choose_operating_point) as a logit; tune: label, logit."""
    point = metrics.choose_operating_point(tune.assign(probability=expit(tune.logit)))
    return float(metrics.logit(point))


def bounds(label: np.ndarray, logit: np.ndarray) -> tuple[float, float]:
    """Lower: at most UNSURE of the films with pneumonia lie below. Upper: at most UNSURE of the others lie above."""
    positive, negative = np.sort(logit[label == 1]), np.sort(logit[label == 0])[::-1]
    return float(positive[int(UNSURE * len(positive))]), float(negative[int(UNSURE * len(negative))])


def bands(table: pd.DataFrame, cut: float) -> list[tuple[float, float, int, int]]:
    """(score from, to, films, of these with pneumonia) for each band of BANDS; table: label, logit."""
    band = np.searchsorted(BANDS[1:-1], 100 * expit(table.logit - cut), side="right")
    labels = [table.label[band == i] for i in range(len(BANDS) - 1)]
    return [(*ends, len(label), int(label.sum())) for ends, label in zip(pairwise(BANDS), labels, strict=True)]
