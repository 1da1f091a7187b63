"""Decoded images to batches: shuffled, varied in pose and film, the same at every run."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy.fft import dct

from xraylib.config import Config
from xraylib.network.backend import THREADS, tf

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

    def augmented(step, rows):
        with tf.device("CPU"):  # where there is a GPU, it trains meanwhile
            pixels = tf.cast(images[rows.numpy()], tf.float32)[..., None]
            draw = tf.stack([seed * 1000 + epoch, tf.cast(step, tf.int32)])
            return augment(pixels, draw, config.input_size, config.without)

    def batch(step, rows):
        # From Python, else each epoch's dataset would set the whole of augment up anew, for a tenth of a second.
        x = tf.py_function(augmented, [step, rows], tf.float32)
        x = tf.ensure_shape(x, (config.batch_size, config.input_size, config.input_size, 1))
        return x, tf.gather(targets, rows)[:, None]

    epoch_batches = tf.data.Dataset.from_tensor_slices(order).enumerate().map(batch, THREADS).prefetch(4)
    return epoch_batches.with_options(UNTUNED)


# What is varied, and how far: each amount is drawn evenly between two ends for each image. 0 leaves the film as it is.
AMOUNTS = {
    "turn": (-12, 12),  # degrees
    "frame": (-0.15, 0.06),  # log of its side; tighter rather than wider, since what lies outside a film is unknown
    "stretch": (-0.1, 0.1),  # log of width, minus log of height
    "shift": (-0.04, 0.04),  # sides of the film, both ways
    "mirror": (-1, 1),  # below 0: the mirror image
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
TIMES = {"shift": 2, "sharpness": len(DETAILS), "shading": 2, "tone": TONE_KNOTS}  # drawn for each image; others once
INGREDIENTS = tuple(AMOUNTS)


@tf.function  # traced once, not for each epoch's dataset
def augment(images: tf.Tensor, seed: tf.Tensor, size: int, without: tuple[str, ...] = ()) -> tf.Tensor:
    """Vary pose and film: float32 (batch, any, any, 1) in [0, 255] -> (batch, size, size, 1); seed: int32 (2,).

    Pose is how the child lay and how the film was framed. Film is what differs between devices, years and encodings:
    sharpness, shading, tone, contrast, exposure and noise. The classes come from different ones, so a network that may
    use them learns the device. without: INGREDIENTS that are left out.
    """
    amounts = _draw(images.shape[0], seed, without)
    films = _vary_pose(images, amounts, size)[..., 0] / 255
    return 255 * _vary_film(films, amounts, _noise(films.shape, seed + tf.constant([0, 1 << 20])))[..., None]


def _draw(n: int, seed: tf.Tensor, without: tuple[str, ...]) -> dict[str, tf.Tensor]:
    """Amounts for n images: for each name of AMOUNTS, float32 (times, n), zeros where it is left out."""
    times = [TIMES.get(name, 1) for name in AMOUNTS]
    shares = tf.split(tf.random.stateless_uniform((sum(times), n), seed), times)
    amounts = {}
    for (name, (low, high)), share in zip(AMOUNTS.items(), shares, strict=True):
        amounts[name] = tf.zeros_like(share) if name in without else low + (high - low) * share
    return amounts


def _noise(shape, seed: tf.Tensor) -> tf.Tensor:
    """float32 of the shape: 256 values evenly from -1 to 1, as good as normal here; one number drawn gives four."""
    n = math.prod(shape)
    numbers = tf.random.stateless_uniform((-(-n // 4),), seed, None, None, tf.uint32)
    values = tf.reshape(tf.bitcast(numbers, tf.uint8), (-1,))[:n]
    return tf.reshape(tf.cast(values, tf.float32), shape) / 127.5 - 1


def _vary_pose(images: tf.Tensor, amounts: dict[str, tf.Tensor], size: int) -> tf.Tensor:
    """Rotation, frame, aspect ratio, mirror image and shift, in one projective warp to size x size pixels.

    Width and height of the frame vary apart, because squashing films to squares left the classes' aspect ratios (1.21
    and 1.50) in the shape of the chest.
    """
    angle = amounts["turn"][0] * (math.pi / 180)
    frame, stretch = amounts["frame"][0], amounts["stretch"][0]
    mirror = tf.where(amounts["mirror"][0] < 0, -1.0, 1.0)
    across, down = tf.unstack(amounts["shift"])
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


@tf.function(jit_compile=True)  # its element-wise operations as one
def _vary_film(x: tf.Tensor, amounts: dict[str, tf.Tensor], noise: tf.Tensor) -> tf.Tensor:
    """Sharpness, shading, tone, gamma, contrast, exposure and noise: (n, size, size) in [0, 1] -> the same."""
    amounts = {name: amount[..., None, None] for name, amount in amounts.items()}
    x = _vary_sharpness(x, amounts["sharpness"])
    across, down = tf.unstack(amounts["shading"])
    slope = tf.linspace(-1.0, 1.0, x.shape[1])
    x = x * (1 + across * slope + down * slope[:, None])
    x = _vary_tone(tf.clip_by_value(x, 0, 1), amounts["tone"])
    x = tf.exp(tf.exp(amounts["gamma"][0]) * tf.math.log(tf.maximum(x, 1e-6)))  # faster than tf.pow
    contrast = tf.exp(amounts["contrast"][0])
    x = x * contrast + (0.5 - 0.5 * contrast + amounts["exposure"][0])
    return tf.clip_by_value(x + amounts["noise"][0] * noise, 0, 1)


def _vary_sharpness(x: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Details of three sizes stronger or weaker, each by itself: (n, size, size); amounts: (3, n, 1, 1).

    In train, films of PNEUMONIA have two thirds of the contrast of NORMAL ones at every size of detail below an eighth
    of the film: other devices, sizes and JPEG qualities. A network that learns it takes a blurred healthy film for ill.
    """
    cosines, bands = _bands(x.shape[1])
    change = tf.reduce_sum((tf.exp(amounts) - 1) * bands[:, None], axis=0)
    spectrum = tf.matmul(cosines, tf.matmul(x, cosines, transpose_b=True))
    return x + tf.matmul(cosines, tf.matmul(change * spectrum, cosines), transpose_a=True)


def _bands(size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The matrix of the cosine transform (DCT-II), (size, size), and how much of each frequency is detail of each size.

    A blur is each pixel averaged with its neighbours, weights 1 2 1 both ways; outside lies the edge again. It leaves
    cos(pi k / 2 size)^2 of frequency k, so that all blurs are made in one pass. bands: (3, size, size), what DETAILS
    blurs take away more than those before them.
    """
    kept = np.cos(np.pi * np.arange(size) / (2 * size)) ** 2
    left = [np.outer(kept, kept) ** times for times in (0, *DETAILS)]
    bands = [more - less for more, less in pairwise(left)]
    return tf.constant(dct(np.eye(size), axis=0, norm="ortho"), tf.float32), tf.constant(np.stack(bands), tf.float32)


def _vary_tone(x: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Grey levels through a random increasing curve for each image, straight between its knots: [0, 1] -> [0, 1].

    Films of the two classes were developed otherwise: in train, those of PNEUMONIA have less contrast, in the bright
    parts above all. x: (n, size, size); amounts: (TONE_KNOTS, n, 1, 1).
    """
    slopes = tf.exp(amounts)
    slopes /= tf.reduce_mean(slopes, axis=0)
    toned = slopes[0] * x
    for knot in range(1, TONE_KNOTS):  # twice as fast as looking each pixel's slope up
        toned += (slopes[knot] - slopes[knot - 1]) * tf.nn.relu(x - knot / TONE_KNOTS)
    return toned
