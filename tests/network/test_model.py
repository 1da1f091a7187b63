"""The study's CNN: the fused normalisation is batch normalisation, and the network travels as a file."""

import numpy as np
import pytest

from xraylib.network import backend, model
from xraylib.network.backend import keras, tf


@pytest.mark.parametrize("training", [True, False])
def test_fused_normalisation_is_keras_batch_normalisation(training):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (8, 5, 5, 4)), tf.float32)
    fused = model.FusedBatchNormalization(momentum=0.9)
    plain = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    weights = np.array([[2, 0.5, 3, 1], [0.5, 1, 2, 3], [1, 2, 0.5, 3], [3, 2, 1, 0.5]], np.float32)
    for layer in (fused, plain):
        layer.build(x.shape)
        layer.set_weights(list(weights))
    np.testing.assert_allclose(fused(x, training=training), plain(x, training=training), atol=1e-4)
    np.testing.assert_allclose(fused.moving_mean, plain.moving_mean, atol=1e-5)
    # Bessel: the fused operation keeps the unbiased variance, n / (n - 1) of Keras' with n = 8 * 5 * 5
    biased = (fused.moving_variance - 0.9 * weights[3]) * (199 / 200) + 0.9 * weights[3]
    np.testing.assert_allclose(biased if training else fused.moving_variance, plain.moving_variance, rtol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_network_travels_as_a_file_with_logits_in_float32(policy, config, tmp_path):
    backend.start(0, policy)
    network = model.build(config)
    assert network.outputs[0].dtype == "float32"
    x = np.random.default_rng(0).uniform(0, 255, (4, config.image_size, config.image_size, 1)).astype(np.float32)
    network.save(tmp_path / "n.keras")
    backend.start(1)
    loaded = keras.models.load_model(tmp_path / "n.keras")
    np.testing.assert_array_equal(network.predict(x, verbose=0), loaded.predict(x, verbose=0))
