"""The released networks as two files that run without TensorFlow (LiteRT): the locator, and all seeds' networks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd

from xraylib.config import Config
from xraylib.data.frames import MASK, SMALL
from xraylib.evaluation import metrics
from xraylib.files import UserError, quiet, write_bytes, write_json
from xraylib.network import backend
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network
from xraylib.predict import outliers

LOCATOR = "lungs.tflite"


def write(config: Config) -> None:
    """Write models/xray_cnn.tflite and models/lungs.tflite, the same bytes at every run."""
    backend.start(0)  # numbers the layers from 1, since their names stand in the file
    networks = [load_network(config.network_file("xray_cnn", seed)) for seed in config.seeds]
    write_bytes(export(networks), config.portable_file)
    backend.start(0)
    locator = load_network(config.locator_file, (MASK, MASK, 1))
    write_bytes(export_locator(locator), config.models / LOCATOR)


def export(networks: Sequence[keras.Model]) -> bytes:
    """TFLite bytes: "images" uint8 frames (n, size, size) -> "logits" float32 (n, networks)."""
    size = networks[0].input_shape[1]

    def logits(images):
        seen = tf.cast(images, tf.float32)[..., None]
        return {"logits": tf.concat([network(seen) for network in networks], axis=1)}

    return _converted(logits, size)


def export_locator(locator: keras.Model) -> bytes:
    """TFLite bytes: "images" uint8 films (n, 96, 96) -> "lungs" float32 probabilities (n, 48, 48)."""

    def lungs(images):
        seen = tf.cast(images, tf.float32)[..., None]
        both = locator(seen) + locator(seen[:, :, ::-1])[:, :, ::-1]
        return {"lungs": tf.sigmoid(both[..., 0] / 2)}

    return _converted(lungs, SMALL)


def _converted(function, size: int) -> bytes:
    traced = tf.function(function, input_signature=[tf.TensorSpec((None, size, size), tf.uint8, name="images")])
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced).convert()


def decision_file(predictions: pd.DataFrame, config: Config) -> dict:
    """What xraylib.predict needs besides the networks, written to config.models/decision.json.

    image_size, film_size; threshold of the ensemble (chosen on tune); seeds; portable: the file that holds all seeds'
    networks; sha256 of each file. Raises UserError where one of these is not there yet.
    """
    together = metrics.ensemble(predictions)
    networks = [config.network_file(name, seed) for name in (metrics.OWN,) for seed in config.seeds]
    others = [config.models / name for name in (LOCATOR, outliers.FILE)]
    files = [*networks, config.portable_file, config.locator_file, *others]
    if missing := [file.name for file in files if not file.exists()]:
        raise UserError(f"{config.models}: no {', '.join(missing)}. Run notebooks 02 and 03, or: make reproduce")
    decision = {
        "image_size": config.image_size,
        "threshold": metrics.operating_points(together)[metrics.ENSEMBLE, metrics.NO_SEED].threshold,
        "film_size": config.film_size,
        "seeds": list(config.seeds),
        "portable": config.portable_file.name,
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }
    write_json(decision, config.models / "decision.json")
    return decision
