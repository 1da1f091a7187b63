"""The exported file computes what Keras does; the decision file follows from tune alone."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from xraylib.data import phantom
from xraylib.data.decode import shrink
from xraylib.files import UserError, quiet
from xraylib.network import augment, backend, model, train
from xraylib.network.model import keras
from xraylib.predict import export, outliers

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


def logits(content: bytes, images: np.ndarray) -> np.ndarray:
    with quiet():
        interpreter = Interpreter(model_content=content, num_threads=2)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.fixture(scope="module")
def films():
    """500 phantoms, uint8 (500, SIZE, SIZE): fifty drawn, each in ten exposures."""
    items = phantom.plan(66)[:50]
    shadows = [phantom.shadow(item)[0] for item in items]
    exposed = [
        phantom.expose(shadow, item, seed) for shadow, item in zip(shadows, items, strict=True) for seed in range(10)
    ]
    return np.stack([shrink(film.convert("L"), SIZE) for film in exposed])


@pytest.mark.parametrize("size", [SIZE, SIZE // 2])
def test_probabilities_equal_keras_on_500_films(films, size):
    networks = [network(seed, size) for seed in (0, 1)]
    found = logits(export.export(networks, SIZE), films)
    wanted = np.stack([train.predict(one, films) for one in networks], axis=1)
    assert wanted.std(axis=0).min() > 1e-3  # not all alike, or the comparison would say little
    assert np.abs(1 / (1 + np.exp(-found.astype(np.float64))) - wanted).max() < 1e-4


def test_input_and_output_are_named(films):
    with quiet():
        interpreter = Interpreter(model_content=export.export([network(0)], SIZE))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["logits"]}}


@pytest.fixture
def made(config):
    """Networks and predictions of the seeds 0 and 1, and what export.write makes of them."""
    config = dataclasses.replace(config, seeds=(0, 1))
    config.models.mkdir()
    for seed in config.seeds:
        backend.start(seed)
        for name in ("xray_cnn", "published"):
            train._without_optimizer(model.build(config)).save(config.models / f"{name}_seed{seed}.keras")
    rng = np.random.default_rng(0)
    outliers.write(outliers.fit(*rng.integers(0, 255, (2, 50, 32, 32), np.uint8)), config.models)
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(400)], "label": np.arange(400) % 2})
    rows["split"] = np.repeat(["tune", "test"], 200)
    seeds = [rows.assign(network="xray_cnn", seed=s, logit=rows.label * 4 - 1 + rng.normal(0, 1, 400)) for s in (0, 1)]
    config.results.mkdir()
    pd.concat(seeds).to_csv(config.results / "predictions.csv", index=False)
    return config, export.write(config)


def test_the_bytes_are_the_same_at_every_run_and_predict_reads_them(made):
    from xraylib.network import published
    from xraylib.predict import films

    config, decision = made
    once = {file.name: file.read_bytes() for file in config.models.iterdir()}
    published.build()  # whatever else was built in between
    assert export.write(config) == decision
    assert {file.name: file.read_bytes() for file in config.models.iterdir()} == once
    released = films.load(config.models)
    assert released.threshold == decision["threshold"] and len(released.thresholds) == 2
    assert released.locator is None and sum(band[2] for band in released.bands) == 200
    (config.models / "familiar.npz").unlink()
    with pytest.raises(UserError, match=r"no familiar\.npz"):
        export.write(config)


def test_what_decides_comes_from_tune_alone(made):
    config, decision = made
    predictions = pd.read_csv(config.results / "predictions.csv")
    changed = predictions.assign(logit=predictions.logit.where(predictions.split == "tune", 0.5))
    other = export.decision(changed, config)
    assert all(other[name] == decision[name] for name in ("threshold", "thresholds", "lower", "upper"))
    assert other["bands"]["tune"] == decision["bands"]["tune"] and other["bands"]["test"] != decision["bands"]["test"]


def test_threshold_bounds_and_bands_by_hand():
    label, logit = np.array([0, 0, 1, 0, 1, 1]), np.array([-3.0, -2, -1, 0, 2, 3])
    assert export.threshold(label, logit) in (-1.5, 1.0)  # either leaves one film on the wrong side
    assert export.threshold(np.array([0, 1]), np.array([0.0, 4])) == 2
    assert export.bounds(label, logit) == (-1, 0)
    many = np.repeat([0, 1], 100), np.concatenate([np.arange(100) - 90.0, np.arange(100) - 10.0])
    assert export.bounds(*many) == (-9, 8)  # one of each hundred lies beyond
    table = pd.DataFrame({"label": label, "logit": logit})
    assert export.bands(table, 0.0) == [(0, 10, 1, 0), (10, 50, 2, 1), (50, 90, 2, 1), (90, 100, 1, 1)]


@settings(max_examples=15, deadline=None)
@given(st.floats(-30, 30), st.floats(0.8, 1.25), st.sampled_from([(16, 16), (31, 31), (31, 16)]))
def test_any_view_is_four_pixels_and_weights(degrees, frame, sizes):
    def view(images, size):
        return augment._warp(images, size, degrees * np.pi / 180, frame, frame, 1.0, 0.0, 0.0)

    side, size = sizes
    images = np.random.default_rng(0).integers(0, 256, (2, side, side)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "view", view)
        sources, weights = export.taps(side, size)
    found = (images.reshape(2, -1)[:, sources] * weights).sum(axis=1).reshape(2, size, size)
    wanted = view(backend.tf.constant(images[..., None]), size).numpy()[..., 0]
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_a_view_that_is_no_warp_is_refused(monkeypatch):
    monkeypatch.setattr(augment, "view", lambda images, *_: backend.tf.nn.avg_pool2d(images, 3, 1, "SAME"))
    with pytest.raises(ValueError, match="not a bilinear warp"):
        export.taps(16, 16)
