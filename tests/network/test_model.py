"""The study's CNN: normalisation is Keras' on one device and on two."""

import subprocess
import sys

import numpy as np
import pytest

from xraylib.network import model
from xraylib.network.backend import keras, tf


@pytest.mark.parametrize("training", [True, False])
def test_fused_normalisation_is_keras_batch_normalisation(training):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (8, 5, 5, 4)), tf.float32)
    fused, plain = model.FusedBatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    weights = np.array([[2, 0.5, 3, 1], [0.5, 1, 2, 3], [1, 2, 0.5, 3], [3, 2, 1, 0.5]], np.float32)
    for layer in (fused, plain):
        layer.build(x.shape)
        layer.set_weights(list(weights))
    np.testing.assert_allclose(fused(x, training=training), plain(x, training=training), atol=1e-4)
    np.testing.assert_allclose(fused.moving_mean, plain.moving_mean, atol=1e-5)
    # Bessel: the fused operation keeps the unbiased variance, n / (n - 1) of Keras' with n = 8 * 5 * 5
    biased = (fused.moving_variance - 0.9 * weights[3]) * (199 / 200) + 0.9 * weights[3]
    np.testing.assert_allclose(biased if training else fused.moving_variance, plain.moving_variance, rtol=1e-4)


TWO_DEVICES = """
import tensorflow as tf
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
import numpy as np
from xraylib.network import backend, model
keras, x = backend.keras, np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    inputs = keras.Input((1, 1, 1))
    network = keras.Model(inputs, keras.layers.Flatten()(model.convolution(inputs, 1, 1)))
    network.layers[1].set_weights([np.ones((1, 1, 1, 1))])
    network.compile(keras.optimizers.AdamW(0.1), "mse")
network.fit(x, x[:, 0, 0], batch_size=8, verbose=0)
means = [part.numpy()[0] for part in network.layers[2].moving_mean.value.values]
print(backend.outputs(network, x).shape, "{:.4f} {:.4f}".format(*means))
"""


def test_two_devices_train_one_network():
    """Two parts of the CPU stand for two GPUs: each sees four of the pixels 0 to 7, whose mean is 3.5."""
    ran = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "(8,) 0.3500 0.3500"
