"""The exported file computes what Keras does; the decision file follows from tune alone."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter
from scipy.special import expit

from xraylib.data import phantom
from xraylib.data.decode import resized
from xraylib.files import UserError
from xraylib.network import backend, lungs, model, published
from xraylib.network.model import keras
from xraylib.network.weights import save_network
from xraylib.predict import export, outliers
from xraylib.predict.films import load

SIZE = 48
layers = keras.layers


def network(seed: int, size: int = SIZE) -> keras.Sequential:
    """A small network with every kind of layer of the study's, whose statistics are not those it starts with."""
    backend.start(seed)
    built = keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(8, 5, 2, padding="same", use_bias=False),
            model.FusedBatchNormalization(),
            layers.ReLU(),
            model.Residual(8),
            model.Residual(12, stride=2),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(1, dtype="float32"),
        ]
    )
    rng = np.random.default_rng(seed)
    built.set_weights([w + rng.uniform(0.02, 0.2, w.shape) * (w.ndim == 1) for w in built.get_weights()])
    return built


def computed(content: bytes, images: np.ndarray, name: str) -> np.ndarray:
    interpreter = Interpreter(model_content=content, num_threads=2)
    return interpreter.get_signature_runner("serving_default")(images=images)[name]


@pytest.fixture(scope="module")
def films():
    """500 phantoms, uint8 (500, SIZE, SIZE): twenty drawn, each with 25 random contrasts."""
    drawn = [phantom.expose(phantom.shadow(item)[0], item) for item in phantom.plan(66)[:20]]
    small = np.stack([resized(film.convert("L"), SIZE) for film in drawn])
    contrasts = np.random.default_rng(0).uniform(0.3, 1, (500, 1, 1))
    return (np.repeat(small, 25, axis=0) * contrasts).astype(np.uint8)


def test_probabilities_equal_keras_on_500_films(films):
    networks = [network(seed) for seed in (0, 1)]
    found = computed(export.export(networks, SIZE), films, "logits")
    wanted = np.concatenate([one.predict(films[..., None].astype(np.float32), verbose=0) for one in networks], axis=1)
    assert wanted.std(axis=0).min() > 1e-2  # not all alike, or the comparison would say little
    assert np.abs(expit(found.astype(np.float64)) - expit(wanted.astype(np.float64))).max() < 2e-3


def test_lungs_equal_keras_on_20_films(films):
    backend.start(0)
    locator = lungs.build()
    found = computed(export.export_locator(locator), lungs.small_films(films[::25]), "lungs")
    assert np.abs(found - lungs.locate(locator, films[::25])).max() < 5e-3


@pytest.fixture
def made(config):
    """Networks and predictions of the seeds 0 and 1, and what export.write makes of them."""
    config = dataclasses.replace(config, seeds=(0, 1))
    config.models.mkdir()
    for seed in config.seeds:
        backend.start(seed)
        save_network(model.build(config), config.network_file("xray_cnn", seed))
    save_network(lungs.build(), config.locator_file)
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 255, (50, 32, 32), np.uint8), rng.random((50, 48, 48))]
    outliers.write(outliers.fit(seen[0], seen[0], seen[1], seen[1]), config.models)
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(400)], "label": np.arange(400) % 2})
    rows["split"] = np.repeat(["tune", "test"], 200)
    seeds = [rows.assign(network="xray_cnn", seed=s, logit=rows.label * 4 - 1 + rng.normal(0, 1, 400)) for s in (0, 1)]
    config.results.mkdir()
    pd.concat(seeds).to_csv(config.results / "predictions.csv", index=False)
    return config, written(config)


def written(config):
    export.write(config)
    export.write_decision(pd.read_csv(config.results / "predictions.csv"), config)
    return json.loads((config.models / "decision.json").read_text())


def test_the_bytes_are_the_same_at_every_run_and_predict_reads_them(made):
    config, decision = made
    once = {file.name: file.read_bytes() for file in config.models.iterdir()}
    published.build()  # whatever else was built in between
    assert written(config) == decision
    assert {file.name: file.read_bytes() for file in config.models.iterdir()} == once
    released = load(config.models)
    assert released.threshold == decision["threshold"] and len(released.thresholds) == 2
    assert sum(band[2] for band in released.bands) == 200
    (config.models / "familiar.npz").unlink()
    with pytest.raises(UserError, match=r"no familiar\.npz"):
        written(config)


def test_what_decides_comes_from_tune_alone(made):
    config, decision = made
    predictions = pd.read_csv(config.results / "predictions.csv")
    changed = predictions.assign(logit=predictions.logit.where(predictions.split == "tune", 0.5))
    export.write_decision(changed, config)
    other = json.loads((config.models / "decision.json").read_text())
    assert all(other[name] == decision[name] for name in ("threshold", "thresholds", "lower", "upper"))
    assert other["bands"]["tune"] == decision["bands"]["tune"] and other["bands"]["test"] != decision["bands"]["test"]


def test_bounds_and_bands_by_hand():
    label, logit = np.array([0, 0, 1, 0, 1, 1]), np.array([-3.0, -2, -1, 0, 2, 3])
    table = pd.DataFrame({"label": label, "logit": logit})
    assert export.threshold(table) == pytest.approx(-1.5)  # half of the way to the lowest logit called PNEUMONIA
    assert export.bounds(label, logit) == (-1, 0)
    many = np.repeat([0, 1], 100), np.concatenate([np.arange(100) - 90.0, np.arange(100) - 10.0])
    assert export.bounds(*many) == (-9, 8)  # one of each hundred lies beyond
    assert export.bands(table, 0.0) == [(0, 10, 1, 0), (10, 50, 2, 1), (50, 90, 2, 1), (90, 100, 1, 1)]
