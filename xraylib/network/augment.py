"""Augmentation: batches of images varied in pose and in exposure, the same at every run."""

import math
from collections.abc import Callable

import numpy as np
from scipy.fft import dct

from xraylib.files import UserError
from xraylib.network.backend import THREADS, keras, tf

# The range from which the amount of each augmentation is drawn, uniformly, for each image; 0 changes nothing.
# Sharpness to noise differ between devices, and so between the classes: a network that may use them learns the device.
RANGES = {
    "rotation": (-12, 12),  # degrees
    "zoom": (-0.15, 0.06),  # log of the visible side; below 0, the film is enlarged
    "aspect": (-0.1, 0.1),  # log of width, minus log of height
    "translation": (-0.04, 0.04),  # shares of the side, in both directions
    "flip": (-1, 1),  # below 0: the mirror image
    "sharpness": (-0.8, 0.8),  # log of the contrast of details, one amount for each of DETAILS
    "shading": (-0.15, 0.15),  # share of the brightness from side to side, in both directions
    "tone": (-0.8, 0.8),  # log of the slope of the tone curve, one amount for each of TONE_PIECES
    "gamma": (-0.45, 0.45),  # log of the exponent
    "contrast": (-0.45, 0.45),  # log of the factor
    "brightness": (-0.18, 0.18),  # of the range of grey levels
    "noise": (0, 0.04),  # of the range of grey levels
}
DETAILS = (1, 4, 16)  # numbers of blurs: what they remove are details of about 2, 4 and 8 pixels
TONE_PIECES = 8  # straight pieces of the random tone curve
DRAWS = {"translation": 2, "shading": 2, "sharpness": len(DETAILS), "tone": TONE_PIECES}  # amounts an image; else 1
Amounts = dict[str, tf.Tensor]


def shuffled(rows: np.ndarray, batch_size: int, epochs: int, seed: int) -> np.ndarray:
    """Rows of each batch of a training, int (steps, batch_size): another order each epoch, whole batches only."""
    rng = np.random.default_rng(seed)
    steps = len(rows) // batch_size
    if not steps:
        raise UserError(f"train split: {len(rows)} films to learn from. Wanted {batch_size} or more, a batch.")
    orders = [rng.permutation(rows)[: steps * batch_size] for _ in range(epochs)]
    return np.reshape(orders, (epochs * steps, batch_size))


def dataset(order: np.ndarray, make: Callable, shapes: list[tuple[int, ...]]) -> tf.data.Dataset:
    """Batches of float32 tensors of `shapes`: make(step, rows: int (batch,)) for each row of `order`, in parallel."""

    def batch(step, rows):
        made = tf.py_function(lambda s, r: make(int(s), r.numpy()), [step, rows], [tf.float32] * len(shapes))
        return tuple(tf.ensure_shape(part, shape) for part, shape in zip(made, shapes, strict=True))

    options = tf.data.Options()
    options.autotune.enabled = False  # nothing to tune; its thread may sleep on for half a minute after a training
    return tf.data.Dataset.from_tensor_slices(order).enumerate().map(batch, THREADS).prefetch(4).with_options(options)


def mix(images: np.ndarray, rows: np.ndarray, partners: list[np.ndarray], share: float, seed: list[int]) -> np.ndarray:
    """The films of `rows`, float32 (n, size, size), a `share` of them mixed with a partner of their own class.

    x = l x1 + (1 - l) x2 with l uniform in 0 to 0.8, x2 mirrored half the time: Yao and others 2022 (LISA). Where the
    partners are of the station that is rare in the class, station and class come apart. partners: of each row, the rows
    of `images` to draw from; a row without any stays as it is.
    """
    rng, films = np.random.default_rng(seed), images[rows].astype(np.float32)
    for film in np.flatnonzero((rng.random(len(rows)) < share) & np.array([len(of_film) > 0 for of_film in partners])):
        own, partner = rng.uniform(0, 0.8), images[rng.choice(partners[film])]
        films[film] = own * films[film] + (1 - own) * (partner[:, ::-1] if rng.random() < 0.5 else partner)
    return films


@tf.function
def augment(images: tf.Tensor, seed: tf.Tensor, off: tuple[str, ...] = ()) -> tf.Tensor:
    """Varied images: float32 (batch, size, size, 1) in [0, 255] -> the same; seed: int32 (2,); off: names of RANGES."""
    amounts = draw(images.shape[0], seed, off)
    return exposed(posed(images, amounts), amounts, seed)


def draw(n: int, seed: tf.Tensor, off: tuple[str, ...] = ()) -> Amounts:
    """Name of RANGES -> random amounts of n images, float32 (draws, n); zeros for the names in `off`."""
    draws = [DRAWS.get(name, 1) for name in RANGES]
    shares = tf.split(tf.random.stateless_uniform((sum(draws), n), seed), draws)
    return {
        name: tf.zeros_like(share) if name in off else low + (high - low) * share
        for (name, (low, high)), share in zip(RANGES.items(), shares, strict=True)
    }


def posed(images: tf.Tensor, amounts: Amounts) -> tf.Tensor:
    """Rotated, zoomed, stretched, flipped, translated in one warp: float32 (n, size, size, 1); 0 outside."""
    size = images.shape[1]
    angle, zoom, aspect = amounts["rotation"][0] * (math.pi / 180), amounts["zoom"][0], amounts["aspect"][0]
    width = tf.exp(zoom + aspect) * tf.where(amounts["flip"][0] < 0, -1.0, 1.0)
    height = tf.exp(zoom - aspect)
    a, b = tf.cos(angle) * width, -tf.sin(angle) * height
    c, d = tf.sin(angle) * width, tf.cos(angle) * height
    across, down = tf.unstack(amounts["translation"] * size)
    centre, zero = (size - 1) / 2, tf.zeros_like(a)
    across, down = centre * (1 - a - b) + across, centre * (1 - c - d) + down
    transforms = tf.stack([a, b, across, c, d, down, zero, zero], axis=1)
    return keras.ops.image.affine_transform(images, transforms)


def exposed(images: tf.Tensor, amounts: Amounts, seed: tf.Tensor) -> tf.Tensor:
    """Sharpness, shading, tone, gamma, contrast, brightness, noise varied: float32 (n, size, size, 1) in [0, 255]."""
    n = math.prod(images.shape)
    numbers = tf.random.stateless_uniform((-(-n // 4),), seed + tf.constant([0, 1 << 20]), None, None, tf.uint32)
    values = tf.reshape(tf.bitcast(numbers, tf.uint8), (-1,))[:n]  # one number drawn gives four
    return _exposed(images, amounts, tf.reshape(tf.cast(values, tf.float32), images.shape[:3]) / 127.5 - 1)


@tf.function(jit_compile=True)  # element-wise operations as one
def _exposed(images: tf.Tensor, amounts: Amounts, noise: tf.Tensor) -> tf.Tensor:
    amounts = {name: amount[..., None, None] for name, amount in amounts.items()}
    x = _sharpened(images[..., 0] / 255, amounts["sharpness"])
    across, down = tf.unstack(amounts["shading"])
    slope = tf.linspace(-1.0, 1.0, x.shape[1])
    x = x * (1 + across * slope + down * slope[:, None])
    x = tf.clip_by_value(x, 0, 1)
    slopes = tf.exp(amounts["tone"])  # of the straight pieces of an increasing curve that keeps black and white
    slopes /= tf.reduce_mean(slopes, axis=0)
    toned = slopes[0] * x
    for knot in range(1, TONE_PIECES):  # twice as fast as looking up each pixel's slope
        toned += (slopes[knot] - slopes[knot - 1]) * tf.nn.relu(x - knot / TONE_PIECES)
    x = tf.exp(tf.exp(amounts["gamma"][0]) * tf.math.log(tf.maximum(toned, 1e-6)))  # faster than tf.pow
    x = (x - 0.5) * tf.exp(amounts["contrast"][0]) + 0.5 + amounts["brightness"][0]
    x = x + amounts["noise"][0] * noise
    return 255 * tf.clip_by_value(x, 0, 1)[..., None]


def _sharpened(x: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Details of three sizes stronger or weaker: (n, size, size); amounts: (3, n, 1, 1).

    In train, films of PNEUMONIA have two thirds of the contrast of NORMAL films at every size of detail below an eighth
    of the film. A blur averages each pixel with its neighbours, weights 1 2 1 in both directions: it keeps
    cos(pi k / 2 size)^2 of frequency k of the cosine transform (DCT-II), so all blurs are computed in one pass.
    """
    size = x.shape[1]
    cosines = tf.constant(dct(np.eye(size), axis=0, norm="ortho"), tf.float32)
    kept = np.cos(np.pi * np.arange(size) / (2 * size)) ** 2
    left = np.stack([np.outer(kept, kept) ** blurs for blurs in (0, *DETAILS)])
    bands = tf.constant(left[:-1] - left[1:], tf.float32)
    change = tf.reduce_sum((tf.exp(amounts) - 1) * bands[:, None], axis=0)
    spectrum = tf.matmul(cosines, tf.matmul(x, cosines, transpose_b=True))
    return x + tf.matmul(cosines, tf.matmul(change * spectrum, cosines), transpose_a=True)
