"""The portable copy says what Keras says, for any network of the study's layers and any view."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from xraylib.data import phantom
from xraylib.data.decode import shrink
from xraylib.files import quiet
from xraylib.network import augment, backend, model, train
from xraylib.network.model import keras
from xraylib.predict import export

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


def test_the_bytes_are_the_same_at_every_run(world, config, monkeypatch):
    from xraylib.network import published

    config.models.mkdir()
    train._without_optimizer(model.build(config)).save(config.models / "xray_cnn_seed0.keras")
    once = export.write(config).read_bytes()
    published.build()  # whatever else was built in between
    assert export.write(config).read_bytes() == once


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
