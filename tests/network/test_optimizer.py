"""The fused optimizer takes the steps of Keras' own, whose source is its reference."""

import numpy as np
import pytest

from xraylib.network.backend import keras, tf
from xraylib.network.optimizer import FusedAdamW


def walk(optimizer, steps=30):
    """Two weights after some steps down a bowl whose steepness differs a thousandfold between directions."""
    weights = [keras.Variable(np.linspace(-2, 3, 6, dtype=np.float32).reshape(2, 3)), keras.Variable([4.0])]
    optimizer.build(weights)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            height = tf.reduce_sum(weights[0].value ** 2 * [1.0, 0.1, 0.001]) + tf.reduce_sum(tf.abs(weights[1].value))
        gradients = tape.gradient(height, [weight.value for weight in weights])
        optimizer.apply(gradients, weights)
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.01, 30, warmup_target=0.2, warmup_steps=5)},
        {"learning_rate": 0.1, "weight_decay": 0.3, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    ],
    ids=["schedule", "decay and moments"],
)
def test_it_walks_as_keras_adamw_does(settings):
    ours, keras_own = walk(FusedAdamW(**settings)), walk(keras.optimizers.AdamW(**settings))
    for weight, reference, start in zip(ours, keras_own, walk(FusedAdamW(**settings), steps=0), strict=True):
        np.testing.assert_allclose(weight, reference, atol=2e-4)  # rounding grows over the steps
        assert np.abs(weight - start).max() > 0.1
