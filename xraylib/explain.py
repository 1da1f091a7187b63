"""Network and images -> where the network looked: Grad-CAM, occlusion, and tests that say whether to believe them.

A map is worth what it does on phantoms, whose lesions have a known place, and once the network's weights are destroyed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats

from xraylib import metrics, phantom
from xraylib.backend import keras, tf
from xraylib.config import Config

METHODS = {
    "xray_cnn": "own CNN, Grad-CAM",
    "published": "published CNN, Grad-CAM",
    "centre": "centre prior",
    "random": "random map",
}


def load(network: str, seed: int, config: Config) -> keras.Model:
    """The trained network of config.models."""
    return keras.models.load_model(config.models / f"{network}_seed{seed}.keras")


def as_input(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Decoded images, uint8 (n, size, size), as the network wants them: its size, channels and range."""
    _, size, _, channels = network.input_shape
    if channels == 1:
        return images[..., None].astype(np.float32)
    small = tf.image.resize(images[..., None], (size, size), "nearest").numpy() / np.float32(255)
    return np.repeat(small, channels, axis=-1)


def masks(config: Config, rows: pd.DataFrame) -> np.ndarray:
    """Where the lesions of these phantoms are, at the study's size: bool (len(rows), size, size)."""
    size = (config.image_size,) * 2
    drawn = [Image.fromarray(phantom.lesion_mask(config.data, path)) for path in rows.path]
    return np.stack([np.asarray(mask.resize(size, Image.Resampling.BOX)) for mask in drawn])


def last_maps(network: keras.Model) -> str:
    """The name of the last layer whose output still has places: (batch, h, w, channels)."""
    return [layer.name for layer in network.layers if len(layer.output.shape) == 4][-1]


def grad_cam(network: keras.Model, images: np.ndarray, layer: str | None = None, chunk: int = 128) -> np.ndarray:
    """Grad-CAM (Selvaraju 2017): float32 (n, h, w), at least 0, of the network's own input batches (n, ...).

    Channels of `layer` (by default the last one with places) are weighted by the mean gradient of the output, and what
    speaks for PNEUMONIA is kept. With global average pooling and one dense unit this is the class-activation map
    (Zhou 2016) exactly, up to a factor.
    """
    at = [one.name for one in network.layers].index(layer or last_maps(network))
    before, after = network.layers[: at + 1], network.layers[at + 1 :]

    @tf.function(reduce_retracing=True)
    def maps(x):
        for one in before:
            x = one(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for one in after:
                y = one(y)
            y = _logit(after[-1], y)
        gradient = tf.cast(tape.gradient(y, x), tf.float32)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * tf.cast(x, tf.float32), axis=-1))

    parts = [maps(tf.cast(images[i : i + chunk], tf.float32)).numpy() for i in range(0, len(images), chunk)]
    return np.concatenate(parts)


def _logit(last, y):
    """The output before a sigmoid, whose gradient would vanish where the network is sure."""
    if getattr(last, "activation", None) is keras.activations.sigmoid:
        y = tf.clip_by_value(tf.cast(y, tf.float32), 1e-6, 1 - 1e-6)
        return tf.math.log(y) - tf.math.log1p(-y)
    return y


def enlarge(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (n, h, w) at the image's size: float32 (n, size, size); smooth, so that a place peaks in its middle."""
    large = tf.image.resize(maps[..., None], (size, size)).numpy()[..., 0]
    sigma = size / maps.shape[1] / 3
    return ndimage.gaussian_filter(large, (0, sigma, sigma), mode="constant")


def occlusion(predict, images: np.ndarray, patch: int, stride: int) -> np.ndarray:
    """How much the answer falls when a patch of the image is hidden: float32 (n, h, w), a place per patch.

    predict: uint8 (n, size, size) -> (n,); the patch is filled with each image's mean.
    """
    size = images.shape[1]
    whole = predict(images)
    starts = range(0, size - patch + 1, stride)
    maps = np.zeros((len(images), len(starts), len(starts)), np.float32)
    mean = images.mean(axis=(1, 2)).astype(np.uint8)[:, None, None]
    for i, top in enumerate(starts):
        for j, left in enumerate(starts):
            hidden = images.copy()
            hidden[:, top : top + patch, left : left + patch] = mean
            maps[:, i, j] = whole - predict(hidden)
    return maps


def centre_prior(n: int, size: int) -> np.ndarray:
    """The map that knows nothing but that lungs are in the middle: a Gaussian, float32 (n, size, size)."""
    x = np.linspace(-1, 1, size)
    one = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 0.5**2))
    return np.repeat(one[None].astype(np.float32), n, axis=0)


def pointing(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether a map's highest place lies in the lesion (the pointing game, Zhang 2018), and its share inside.

    maps: float (n, size, size), at least 0; masks: bool (n, size, size). Returns bool (n,) and float (n,); the share of
    an empty map is NaN, and it points nowhere.
    """
    flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
    total = flat.sum(axis=1)
    hit = inside[np.arange(len(flat)), flat.argmax(axis=1)] & (total > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hit, np.where(total > 0, (flat * inside).sum(axis=1) / total, np.nan)


def pointing_game(
    networks: dict[str, keras.Model], images: np.ndarray, masks: np.ndarray, patient, seed: int = 0
) -> pd.DataFrame:
    """The pointing game of each network's Grad-CAM, a centre prior and random maps on films with known lesions.

    networks: name -> network; images: uint8 (n, size, size); masks: bool (n, size, size); patient: (n,). Columns:
    method, images, hits (share), lower, upper (95 % interval over patients), inside (mean share of the map in the
    lesion), and lesion (mean share of the image that the lesion takes, which is what a random map gets).
    """
    n, size = images.shape[:2]
    maps = {name: enlarge(grad_cam(one, as_input(one, images)), size) for name, one in networks.items()}
    maps |= {"centre": centre_prior(n, size), "random": np.random.default_rng(seed).random((n, size, size), np.float32)}
    rows = []
    for name, one in maps.items():
        hit, inside = pointing(one, masks)
        lower, upper = _interval(hit, patient, seed)
        row = {"method": METHODS[name], "images": n, "hits": hit.mean(), "lower": lower, "upper": upper}
        rows.append(row | {"inside": np.nanmean(inside), "lesion": masks.mean()})
    return pd.DataFrame(rows)


def _interval(hit: np.ndarray, patient, seed: int) -> tuple[float, float]:
    def share(weights: np.ndarray) -> dict:
        return {"hits": weights @ hit / weights.sum(axis=1)}

    return metrics.patient_bootstrap(pd.DataFrame({"patient": patient}), share, 2000, seed)["hits"]


def sanity_check(network: keras.Model, images: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Adebayo's (2018) cascade: weights are shuffled layer by layer from the top, and the map must lose its likeness.

    Columns: layers (shuffled so far), name (of the last one), likeness (mean Spearman correlation of each image's map
    with the untouched network's). The network given is left as it was.
    """
    broken = keras.Sequential.from_config(network.get_config())
    broken.set_weights(network.get_weights())
    layer = last_maps(network)
    first = grad_cam(network, images, layer)
    rng = np.random.default_rng(seed)
    rows = [{"layers": 0, "name": "untouched", "likeness": 1.0}]
    weighted = [one for one in broken.layers if one.weights]
    for count, one in enumerate(reversed(weighted), 1):
        one.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in one.get_weights()])
        now = grad_cam(broken, images, layer)
        rows.append({"layers": count, "name": one.name, "likeness": _likeness(first, now)})
    return pd.DataFrame(rows)


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over images of Spearman's rank correlation; a constant map is like nothing (0)."""
    values = []
    for one, other in zip(a, b, strict=True):
        constant = np.ptp(one) == 0 or np.ptp(other) == 0
        values.append(0.0 if constant else stats.spearmanr(one.ravel(), other.ravel()).statistic)
    return float(np.mean(values))
