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
    ours, theirs = walk(FusedAdamW(**settings)), walk(keras.optimizers.AdamW(**settings))
    start = walk(FusedAdamW(**settings), steps=0)
    for one, other, before in zip(ours, theirs, start, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)  # rounding grows over the steps
        assert np.abs(one - before).max() > 0.1


def test_it_is_saved_and_goes_on_with_its_moments(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32), np.ones((32, 1), np.float32)

    def network():
        keras.utils.set_random_seed(0)
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        made.compile(optimizer=FusedAdamW(0.05, weight_decay=0.01), loss="mse")
        return made

    whole, part = network(), network()
    whole.fit(x, y, epochs=4, shuffle=False, verbose=0)
    part.fit(x, y, epochs=2, shuffle=False, verbose=0)
    part.save(tmp_path / "part.keras")
    resumed = keras.models.load_model(tmp_path / "part.keras")
    resumed.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_schedule_is_worked_out_once_a_step():
    class Counted(keras.optimizers.schedules.LearningRateSchedule):
        calls = 0

        def __call__(self, step):
            Counted.calls += 1
            return 0.1

    walk(FusedAdamW(Counted(), weight_decay=0.3), steps=5)
    assert Counted.calls == 5
