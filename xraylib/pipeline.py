"""Decoded images to batches: shuffled, varied in pose and film, the same at every run."""

from __future__ import annotations

import math

import numpy as np

from xraylib.backend import THREADS, tf
from xraylib.config import Config

# An iterator that ends waits for TensorFlow's tuner of parallel calls, which sleeps .01, .02, .04 ... seconds in turn:
# a third of the epochs ended at 10.2 s, the next sum of these, in the place of 7.7.
UNTUNED = tf.data.Options()
UNTUNED.autotune.enabled = False


def batches(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, config: Config, seed: int, epoch: int
) -> tf.data.Dataset:
    """One epoch of augmented training batches.

    images: uint8 (n, size, size), of which a mapped file stays on disk until a batch asks for its rows; rows: int (m,),
    those to train on; labels: int (n,), 1 = PNEUMONIA.
    Yields float32 (batch, input_size, input_size, 1) in [0, 255] and float32 (batch, 1). Order and augmentation follow
    from (seed, epoch) alone, so that an interrupted training goes on exactly where it stopped; an incomplete last batch
    is dropped.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    order = order[: len(order) // config.batch_size * config.batch_size].reshape(-1, config.batch_size)
    targets = tf.constant(labels, tf.float32)

    def batch(step, rows):
        pixels = tf.numpy_function(lambda rows: images[rows], [rows], tf.uint8, stateful=False)
        pixels = tf.ensure_shape(pixels, (config.batch_size, *images.shape[1:]))
        x = tf.cast(pixels, tf.float32)[..., None]
        draw = tf.stack([seed * 1000 + epoch, tf.cast(step, tf.int32)])
        return augment(x, draw, config.input_size, config.without), tf.gather(targets, rows)[:, None]

    epoch_batches = tf.data.Dataset.from_tensor_slices(order).enumerate().map(batch, THREADS).prefetch(4)
    return epoch_batches.with_options(UNTUNED)


# What is varied, and how far: each amount is drawn evenly between two ends for each image. 0 leaves the film as it is.
AMOUNTS = {
    "turn": (-12, 12),  # degrees
    "frame": (-0.15, 0.06),  # log of its side; tighter rather than wider, since what lies outside a film is unknown
    "stretch": (-0.1, 0.1),  # log of width, minus log of height
    "shift": (-0.04, 0.04),  # sides of the film, both ways
    "sharpness": (-0.8, 0.8),  # log of the contrast of details, apart for each of DETAILS
    "shading": (-0.15, 0.15),  # share of brightness from side to side, both ways
    "tone": (-0.8, 0.8),  # log of the contrast of one range of grey levels against the others, apart for TONE_KNOTS
    "gamma": (-0.45, 0.45),  # log of the exponent
    "contrast": (-0.45, 0.45),  # log of the factor
    "exposure": (-0.18, 0.18),  # of the range of grey levels
    "noise": (0, 0.04),  # of the range of grey levels
}
DETAILS = (1, 4, 16)  # what as many blurs take away: details of about 2, 4 and 8 pixels
TONE_KNOTS = 8  # of the random tone curve
INGREDIENTS = (*AMOUNTS, "mirror")


@tf.function  # traced once, not for each epoch's dataset
def augment(images: tf.Tensor, seed: tf.Tensor, size: int, without: tuple[str, ...] = ()) -> tf.Tensor:
    """Vary pose and film: float32 (batch, any, any, 1) in [0, 255] -> (batch, size, size, 1); seed: int32 (2,).

    Pose is how the child lay and how the film was framed. Film is what differs between devices, years and encodings:
    sharpness, shading, tone, contrast, exposure and noise. The classes come from different ones, so a network that may
    use them learns the device. without: INGREDIENTS that are left out.
    """
    draws = _Draws(images.shape[0], seed, without)
    return 255 * _vary_film(_vary_pose(images, draws, size) / 255, draws)


class _Draws:
    """Random numbers, one per image of the batch, that follow from the seed and from the order of the calls."""

    def __init__(self, n: int, seed: tf.Tensor, without: tuple[str, ...] = ()):
        self.n, self.seed, self.without, self.calls = n, seed, without, 0

    def _next(self) -> tf.Tensor:
        self.calls += 1
        return tf.stack([self.seed[0], self.seed[1] + 100_000 * self.calls])

    def amount(self, name: str) -> tf.Tensor:
        """float32 (n,) between the ends of AMOUNTS[name]; zeros where that is left out."""
        drawn = tf.random.stateless_uniform((self.n,), self._next(), *map(float, AMOUNTS[name]))
        return tf.zeros_like(drawn) if name in self.without else drawn

    def per_image(self, name: str) -> tf.Tensor:
        """`amount` as float32 (n, 1, 1, 1)."""
        return self.amount(name)[:, None, None, None]

    def share(self) -> tf.Tensor:
        """float32 (n,) in [0, 1)."""
        return tf.random.stateless_uniform((self.n,), self._next())

    def noise(self, shape) -> tf.Tensor:
        """float32 of the shape, uniform in [-1, 1): as good as normal here, and twice as fast."""
        return tf.random.stateless_uniform(shape, self._next(), -1.0, 1.0)


def _vary_pose(images: tf.Tensor, draws: _Draws, size: int) -> tf.Tensor:
    """Rotation, frame, aspect ratio, mirror image and shift, in one projective warp to size x size pixels.

    Width and height of the frame vary apart, because squashing films to squares left the classes' aspect ratios (1.21
    and 1.50) in the shape of the chest.
    """
    angle = draws.amount("turn") * (math.pi / 180)
    frame, stretch = draws.amount("frame"), draws.amount("stretch")
    mirror = tf.where((draws.share() < 0.5) & ("mirror" not in draws.without), -1.0, 1.0)
    across, down = draws.amount("shift"), draws.amount("shift")
    return _warp(images, size, angle, tf.exp(frame + stretch), tf.exp(frame - stretch), mirror, across, down)


def _warp(images: tf.Tensor, size: int, angle, width, height, mirror, across, down) -> tf.Tensor:
    """The images in another frame: float32 (batch, side, side, 1) -> (batch, size, size, 1); outside is black.

    angle: radians; width, height: of the frame, in sides of the film (above 1, the film gets smaller); mirror: -1 for
    the mirror image; across, down: shift of the frame, in sides. Each is a number, or float32 (batch,).
    """
    side, n = images.shape[1], tf.shape(images)[:1]
    angle, width, height, mirror, across, down = (
        tf.broadcast_to(tf.cast(part, tf.float32), n) for part in (angle, width, height, mirror, across, down)
    )
    width, height = width * mirror * side / size, height * side / size
    a, b = tf.cos(angle) * width, -tf.sin(angle) * height
    c, d = tf.sin(angle) * width, tf.cos(angle) * height
    centre, middle, zero = (side - 1) / 2, (size - 1) / 2, tf.zeros_like(a)
    across, down = centre - middle * (a + b) + across * side, centre - middle * (c + d) + down * side
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, across, c, d, down, zero, zero], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


# The frame in which a prediction sees a film, in sides of it: amid those that training draws. A second view, turned
# otherwise, would cost as much again, for less AUROC on a series not seen than its SD over seeds.
FRAME = 0.97


def view(images: tf.Tensor, size: int, frame: float = FRAME) -> tf.Tensor:
    """The images as a prediction sees them: float32 (n, any, any, 1) -> (n, size, size, 1); frame 1: whole."""
    return _warp(images, size, 0.0, frame, frame, 1.0, 0.0, 0.0)


def _vary_film(x: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Sharpness, shading, tone, gamma, contrast, exposure and noise: [0, 1] -> [0, 1]."""
    x = _vary_sharpness(x, draws)
    slope = tf.linspace(-1.0, 1.0, x.shape[1])
    x = x * ((1 + draws.per_image("shading") * slope[:, None, None]) + draws.per_image("shading") * slope[:, None])
    x = _vary_tone(tf.clip_by_value(x, 0, 1), draws)
    x = tf.exp(tf.exp(draws.per_image("gamma")) * tf.math.log(tf.maximum(x, 1e-6)))  # faster than tf.pow
    contrast = tf.exp(draws.per_image("contrast"))
    x = x * contrast + (0.5 - 0.5 * contrast + draws.per_image("exposure"))
    return tf.clip_by_value(x + draws.per_image("noise") * draws.noise(tf.shape(x)), 0, 1)


def _vary_sharpness(x: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Details of three sizes stronger or weaker, each by itself.

    In train, films of PNEUMONIA have two thirds of the contrast of NORMAL ones at every size of detail below an eighth
    of the film: other devices, sizes and JPEG qualities. A network that learns it takes a blurred healthy film for ill.
    """
    varied = finer = x
    for blurs in DETAILS:
        coarser = _blur(x, blurs)
        varied += (tf.exp(draws.per_image("sharpness")) - 1) * (finer - coarser)
        finer = coarser
    return varied


def _vary_tone(x: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Grey levels through a random increasing curve for each image, straight between its knots: [0, 1] -> [0, 1].

    Films of the two classes were developed otherwise: in train, those of PNEUMONIA have less contrast, in the bright
    parts above all.
    """
    slopes = tf.exp(tf.stack([draws.per_image("tone") for _ in range(TONE_KNOTS)]))  # (knots, n, 1, 1, 1)
    slopes /= tf.reduce_mean(slopes, axis=0)
    toned = slopes[0] * x
    for knot in range(1, TONE_KNOTS):  # twice as fast as looking each pixel's slope up
        toned += (slopes[knot] - slopes[knot - 1]) * tf.nn.relu(x - knot / TONE_KNOTS)
    return toned


def _blur(x: tf.Tensor, times: int) -> tf.Tensor:
    """Each pixel averaged with its neighbours, weights 1 2 1 both ways, so many times; outside lies the edge again."""
    size = x.shape[1]
    one = np.eye(size) / 2 + np.eye(size, k=1) / 4 + np.eye(size, k=-1) / 4
    one[0, 0] = one[-1, -1] = 3 / 4
    rows = tf.constant(np.linalg.matrix_power(one, times), tf.float32)  # symmetric
    return tf.matmul(rows, tf.matmul(x[..., 0], rows))[..., None]  # faster than a convolution of one channel
