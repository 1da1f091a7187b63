"""Decoded images to batches: shuffled, augmented in one fused warp, the same at every run."""

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
    """Vary pose and exposure: float32 (batch, size, size, 1) in [0, 255] -> the same; seed: int32 (2,).

    Pose: rotation, shift, scale, aspect ratio and mirror image in one projective warp. Exposure: contrast, brightness
    and gamma, since the classes come from devices and years that differ in all three.
    """
    n, size = images.shape[0], images.shape[1]

    def uniform(number, low, high):
        return tf.random.stateless_uniform((n,), tf.stack([seed[0], seed[1] + 100_000 * number]), low, high)

    angle = uniform(1, -12, 12) * (math.pi / 180)
    scale = tf.exp(uniform(2, -0.15, 0.15))
    aspect = tf.exp(uniform(3, -0.15, 0.15))
    mirror = tf.where(uniform(4, 0, 1) < 0.5, -1.0, 1.0)
    a, b = tf.cos(angle) * scale * aspect * mirror, -tf.sin(angle) * scale
    c, d = tf.sin(angle) * scale * mirror, tf.cos(angle) * scale / aspect
    centre = (size - 1) / 2
    shift_x = centre * (1 - a - b) + uniform(5, -0.08, 0.08) * size
    shift_y = centre * (1 - c - d) + uniform(6, -0.08, 0.08) * size
    zero = tf.zeros_like(a)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    gamma = tf.exp(uniform(7, -0.4, 0.4))[:, None, None, None]
    contrast = tf.exp(uniform(8, -0.3, 0.3))[:, None, None, None]
    brightness = uniform(9, -0.15, 0.15)[:, None, None, None]
    unit = tf.pow(tf.clip_by_value(warped / 255, 0, 1), gamma)
    return 255 * tf.clip_by_value((unit - 0.5) * contrast + 0.5 + brightness, 0, 1)
