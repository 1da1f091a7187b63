"""Decoded images to batches: shuffled, varied in pose and film, the same at every run."""

from __future__ import annotations

import math

import numpy as np

from xraylib.backend import tf
from xraylib.config import Config


def batches(images: np.ndarray, labels: np.ndarray, config: Config, seed: int, epoch: int) -> tf.data.Dataset:
    """One epoch of augmented training batches.

    images: uint8 (n, size, size); labels: int (n,), 1 = PNEUMONIA.
    Yields float32 (batch, size, size, 1) in [0, 255] and float32 (batch, 1). Order and augmentation follow from (seed,
    epoch) alone, so that an interrupted training goes on exactly where it stopped; an incomplete last batch is dropped.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(images))
    order = order[: len(order) // config.batch_size * config.batch_size].reshape(-1, config.batch_size)
    pixels, targets = tf.constant(images), tf.constant(labels, tf.float32)

    def batch(step, rows):
        x = tf.cast(tf.gather(pixels, rows), tf.float32)[..., None]
        return augment(x, tf.stack([seed * 1000 + epoch, tf.cast(step, tf.int32)])), tf.gather(targets, rows)[:, None]

    return tf.data.Dataset.from_tensor_slices(order).enumerate().map(batch, tf.data.AUTOTUNE).prefetch(4)


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Vary pose and film: float32 (batch, size, size, 1) in [0, 255] -> the same; seed: int32 (2,).

    Pose is how the child lay. Film is what differs between devices, years and encodings: sharpness, shading, contrast,
    exposure and noise. The classes come from different ones, so a network that may use them learns the device.
    """
    draws = _Draws(images.shape[0], seed)
    return 255 * _vary_film(_vary_pose(images, draws) / 255, draws)


class _Draws:
    """Random numbers, one per image of the batch, that follow from the seed and from the order of the calls."""

    def __init__(self, n: int, seed: tf.Tensor):
        self.n, self.seed, self.calls = n, seed, 0

    def _next(self) -> tf.Tensor:
        self.calls += 1
        return tf.stack([self.seed[0], self.seed[1] + 100_000 * self.calls])

    def uniform(self, low: float, high: float) -> tf.Tensor:
        """float32 (n,) in [low, high)."""
        return tf.random.stateless_uniform((self.n,), self._next(), low, high)

    def per_image(self, low: float, high: float) -> tf.Tensor:
        """float32 (n, 1, 1, 1) in [low, high)."""
        return self.uniform(low, high)[:, None, None, None]

    def noise(self, shape) -> tf.Tensor:
        """float32 of the shape, uniform in [-1, 1): as good as normal here, and twice as fast."""
        return tf.random.stateless_uniform(shape, self._next(), -1.0, 1.0)


def _vary_pose(images: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Rotation, scale, aspect ratio, mirror image and shift, in one projective warp."""
    size = images.shape[1]
    angle = draws.uniform(-12, 12) * (math.pi / 180)
    scale, aspect = tf.exp(draws.uniform(-0.15, 0.15)), tf.exp(draws.uniform(-0.15, 0.15))
    mirror = tf.where(draws.uniform(0, 1) < 0.5, -1.0, 1.0)
    a, b = tf.cos(angle) * scale * aspect * mirror, -tf.sin(angle) * scale
    c, d = tf.sin(angle) * scale * mirror, tf.cos(angle) * scale / aspect
    centre, zero = (size - 1) / 2, tf.zeros_like(a)
    across = centre * (1 - a - b) + draws.uniform(-0.08, 0.08) * size
    down = centre * (1 - c - d) + draws.uniform(-0.08, 0.08) * size
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, across, c, d, down, zero, zero], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _vary_film(x: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Sharpness, shading, tone, contrast, exposure and noise: [0, 1] -> [0, 1]."""
    x = x + draws.per_image(-1.4, 1.4) * (_blur(x) - x)  # from sharpened to blurred
    slope = tf.linspace(-1.0, 1.0, x.shape[1])
    x = x * (1 + draws.per_image(-0.3, 0.3) * slope[:, None, None] + draws.per_image(-0.3, 0.3) * slope[:, None])
    x = _tone_curve(tf.clip_by_value(x, 0, 1), draws)
    x = tf.pow(x, tf.exp(draws.per_image(-0.4, 0.4)))
    x = (x - 0.5) * tf.exp(draws.per_image(-0.3, 0.3)) + 0.5 + draws.per_image(-0.15, 0.15)
    return tf.clip_by_value(x + draws.per_image(0, 0.09) * draws.noise(tf.shape(x)), 0, 1)


def _blur(x: tf.Tensor) -> tf.Tensor:
    """Each pixel averaged with its neighbours, weights 1 2 1 both ways."""
    row = tf.constant([1.0, 2.0, 1.0]) / 4
    kernel = (row[:, None] * row)[:, :, None, None]
    return tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"), kernel, 1, "VALID")


def _tone_curve(x: tf.Tensor, draws: _Draws, knots: int = 8, strength: float = 0.8) -> tf.Tensor:
    """A random increasing curve for each image, straight between its knots: [0, 1] -> [0, 1]."""
    steps = tf.exp(strength * draws.noise((draws.n, knots)))
    curve = tf.pad(tf.cumsum(steps, axis=1) / tf.reduce_sum(steps, axis=1, keepdims=True), [[0, 0], [1, 0]])
    position = tf.reshape(x, (draws.n, -1)) * knots
    left = tf.minimum(tf.cast(position, tf.int32), knots - 1)
    low, high = tf.gather(curve, left, batch_dims=1), tf.gather(curve, left + 1, batch_dims=1)
    return tf.reshape(low + (high - low) * (position - tf.cast(left, tf.float32)), tf.shape(x))
