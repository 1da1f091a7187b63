"""Saliency maps of a network, tests of what they are worth, and what is left when a region of the film is hidden.

Maps: Grad-CAM of the last convolution (the one that is shown), integrated gradients, and occlusion. A map is trusted
as far as it finds lesions whose place is known (pointing game on phantoms), changes when the weights are randomised
(sanity check), and names places that move the probability (deletion). Lung masks, bool (n, size, size),
come from the caller: drawn by people, or by the locator.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats
from scipy.special import expit

from xraylib.config import Config
from xraylib.data import phantom
from xraylib.evaluation import metrics
from xraylib.network import published
from xraylib.network.backend import keras, tf

STEPS = 6  # of integrated gradients; sixteen gave the same hits on the phantoms' tune split
DARK = 25  # percentile of a film's grey levels, about that of lung: filling with it draws no shadow
SMOOTH = 0.03  # of the side: least blur of a map
SHARES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)  # of the film, deleted
RESAMPLES = 2000

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 (n, size, size) -> float (n,)


def as_input(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Images, uint8 (n, size, size), in the size, channels and range that the network takes."""
    _, size, _, channels = network.input_shape
    if channels == 1:
        return tf.image.resize(images[..., None].astype(np.float32), (size, size)).numpy()
    return published.inputs(images)


def predictor(network: keras.Model) -> Predict:
    """The network as a function of uint8 (n, size, size) images to logits, float32 (n,)."""
    function = tf.function(lambda x: _logit(_chain(network), x)[:, 0], reduce_retracing=True)
    return lambda images: _in_batches(function, as_input(network, images))


def _in_batches(function, inputs: np.ndarray, size: int = 128) -> np.ndarray:
    parts = [function(tf.constant(inputs[i : i + size])) for i in range(0, len(inputs), size)]
    return np.concatenate([tf.cast(part, tf.float32).numpy() for part in parts])


def _chain(network: keras.Model) -> list:
    return [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]


def _logit(layers: list, x) -> tf.Tensor:
    """What the layers make of x, before a last sigmoid, whose gradient vanishes where the network is sure."""
    for layer in layers:
        x = layer(x)
    x = tf.cast(x, tf.float32)
    if getattr(layers[-1], "activation", None) is keras.activations.sigmoid:
        x = tf.clip_by_value(x, 1e-6, 1 - 1e-6)
        return tf.math.log(x) - tf.math.log1p(-x)
    return x


def _gradient(layers: list, x) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(x)
        logit = _logit(layers, x)
    return tf.cast(tape.gradient(logit, x), tf.float32)


# --- maps ---


def gradcam(network: keras.Model, images: np.ndarray, fade: bool = True) -> np.ndarray:
    """Grad-CAM (Selvaraju 2017) of the last feature maps: float32 (n, size, size), at least 0.

    Channels are weighted by the mean gradient of the logit. With global average pooling and one dense unit this is the
    class activation map (Zhou 2016). images: uint8 (n, size, size). fade: outside of the film the map counts as 0.
    """
    return upsample(_in_batches(_gradcam_function(network), as_input(network, images)), images.shape[1], fade)


@lru_cache(maxsize=4)  # traced once a network: other weights need no other graph
def _gradcam_function(network: keras.Model):
    """Grad-CAM before it is enlarged: inputs (n, h, w, c) -> (n, rows, columns) of the last feature maps."""
    last = max(i for i, layer in enumerate(_chain(network)) if len(layer.output.shape) == 4)

    def maps(x):
        for layer in _chain(network)[: last + 1]:
            x = layer(x)
        weights = tf.reduce_mean(_gradient(_chain(network)[last + 1 :], x), axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * tf.cast(x, tf.float32), axis=-1))

    return tf.function(maps)


def integrated_gradients(network: keras.Model, images: np.ndarray, fade: bool = True) -> np.ndarray:
    """Integrated gradients (Sundararajan 2017) from a black film, smoothed: float32 (n, size, size), at least 0."""
    x, black = as_input(network, images), as_input(network, np.zeros_like(images))
    total = sum(_in_batches(_gradient_function(network), black + (k + 0.5) / STEPS * (x - black)) for k in range(STEPS))
    return upsample(total / STEPS * (x - black)[..., 0], images.shape[1], fade)


@lru_cache(maxsize=4)  # as `_gradcam_function`
def _gradient_function(network: keras.Model):
    """The gradient of the logit, summed over channels: inputs (n, h, w, c) -> (n, h, w)."""
    return tf.function(lambda x: tf.reduce_sum(_gradient(_chain(network), x), axis=-1), reduce_retracing=True)


def occlusion(predict: Predict, images: np.ndarray, patch: int | None = None, stride: int | None = None) -> np.ndarray:
    """The fall of the logit where a patch is filled with lung grey: float32 (n, h, w), one value per patch.

    patch: a sixth of the side by default; stride: half a patch.
    """
    size, grey = images.shape[1], dark(images)
    patch = patch or max(2, size // 6)
    starts = range(0, size - patch + 1, stride or patch // 2)
    intact, falls = predict(images), np.zeros((len(images), len(starts), len(starts)), np.float32)
    for i, top in enumerate(starts):
        for j, left in enumerate(starts):
            occluded, place = images.copy(), np.s_[:, top : top + patch, left : left + patch]
            occluded[place] = grey[place]
            falls[:, i, j] = intact - predict(occluded)
    return falls


def upsample(maps: np.ndarray, size: int, fade: bool = True) -> np.ndarray:
    """Maps (n, h, w) at size x size, blurred by a third of a cell; negative values become 0: float32."""
    large = tf.image.resize(np.asarray(maps, np.float32)[..., None], (size, size)).numpy()[..., 0]
    sigma = size * max(1 / maps.shape[1] / 3, SMOOTH)
    return np.maximum(ndimage.gaussian_filter(large, (0, sigma, sigma), mode="constant" if fade else "nearest"), 0)


def centre_prior(n: int, size: int) -> np.ndarray:
    """A Gaussian in the middle of the film, which knows nothing of it: float32 (n, size, size)."""
    x = np.linspace(-1, 1, size)
    return np.repeat(np.exp(-(x[:, None] ** 2 + x**2) / 0.5)[None].astype(np.float32), n, axis=0)


def dark(images: np.ndarray) -> np.ndarray:
    """Films of one grey level each, about that of their lungs: uint8, the shape of images."""
    level = np.percentile(images, DARK, axis=(1, 2), keepdims=True)
    return np.broadcast_to(np.rint(level).astype(np.uint8), images.shape)


# --- tests of a map ---


def lesion_masks(config: Config, rows: pd.DataFrame) -> np.ndarray:
    """The lesions of these phantoms in the film: bool (n, film_size, film_size)."""
    masks = [Image.fromarray(phantom.lesion_mask(config.data, path)) for path in rows.path]
    shape = (config.film_size, config.film_size)
    return np.stack([np.asarray(mask.resize(shape, Image.Resampling.BOX)) for mask in masks])


def pointing(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each map peaks inside its mask (Zhang 2018), bool (n,), and the map's share inside, float (n,).

    maps: float (n, size, size), at least 0; masks: bool (n, size, size). An empty map has no hit and a share of 0.
    """
    flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
    total = flat.sum(axis=1)
    hit = inside[np.arange(len(flat)), flat.argmax(axis=1)] & (total > 0)
    return hit, (flat * inside).sum(axis=1) / np.where(total > 0, total, 1)


def pointing_game(maps: Mapping[str, Sequence[np.ndarray]], masks: np.ndarray, patient) -> pd.DataFrame:
    """Hit rate of each method on films whose lesions are known.

    maps: method -> float (n, size, size), one array per seed; masks: bool (n, size, size); patient: (n,). Columns:
    method, n_films, seeds, hits (mean over seeds), sd, lower, upper (95 % interval over patients), inside (share of the
    map in the lesion), inside_lower, inside_upper, lesion (its share of the film: the hit rate of a random map).
    """
    rows = []
    for method, of_seeds in maps.items():
        hit, inside = (np.array(part, float) for part in zip(*(pointing(one, masks) for one in of_seeds), strict=True))
        sd = hit.mean(axis=1).std(ddof=1) if len(hit) > 1 else np.nan
        bounds = _intervals({"hits": hit.mean(axis=0), "inside": inside.mean(axis=0)}, patient)
        row = {"method": method, "n_films": len(masks), "seeds": len(hit), "hits": hit.mean(), "sd": sd}
        row |= _bounds(bounds["hits"]) | {"inside": inside.mean()} | _bounds(bounds["inside"], "inside_")
        rows.append(row | {"lesion": masks.mean()})
    return pd.DataFrame(rows)


def _bootstrap(statistic: metrics.Statistic, patient) -> dict:
    return metrics.patient_bootstrap(pd.DataFrame({"patient": np.asarray(patient)}), statistic, RESAMPLES, 0)


def _intervals(values: Mapping, patient) -> dict:
    """Key -> 95 % interval over patients of the mean of values[key], float (n,)."""
    return _bootstrap(lambda w: {key: w @ value / w.sum(axis=1) for key, value in values.items()}, patient)


def _bounds(interval: tuple[float, float], prefix: str = "") -> dict:
    return {f"{prefix}lower": interval[0], f"{prefix}upper": interval[1]}


def sanity_check(network: keras.Model, images: np.ndarray, method=gradcam) -> pd.DataFrame:
    """Randomised weights (Adebayo 2018): layer by layer from the top, weights are permuted and the map drawn again.

    Columns: layers (permuted so far), name (of the last one), correlation (mean Spearman correlation with the map of
    the trained network). The network given is not changed.
    """
    copy = network.__class__.from_config(network.get_config())
    copy.set_weights(network.get_weights())
    trained, rng = method(copy, images, fade=False), np.random.default_rng(0)
    rows = [{"layers": 0, "name": "trained", "correlation": 1.0}]
    for count, layer in enumerate(reversed([layer for layer in copy.layers if layer.weights]), 1):
        layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
        correlation = rank_correlation(trained, method(copy, images, fade=False)).mean()
        rows.append({"layers": count, "name": layer.name, "correlation": correlation})
    return pd.DataFrame(rows)


def rank_correlation(a: np.ndarray, b: np.ndarray, step: int = 4) -> np.ndarray:
    """Spearman's correlation of each pair of maps at every `step`th pixel, 0 where a map is constant: float (n,)."""
    pairs = [(x.ravel(), y.ravel()) for x, y in zip(a[:, ::step, ::step], b[:, ::step, ::step], strict=True)]
    return np.array([stats.spearmanr(x, y).statistic if np.ptp(x) and np.ptp(y) else 0.0 for x, y in pairs])


def deletion(
    predict: Predict, images: np.ndarray, maps: Mapping[str, np.ndarray], patient
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deletion (Petsiuk 2018): the mean probability as places are filled with lung grey, highest of the map first.

    predict: images -> logits; maps: method -> float (n, size, size), with "centre prior" among them. Places are squares
    of a twelfth of the side. Returns the curves (method, share, probability) and the areas under them (method, n_films,
    area, lower, upper, difference from the centre prior, difference_lower, difference_upper).
    """
    end, curves, areas, rows = dark(images), [], {}, []
    for method, one in maps.items():
        order = _order(one)
        each = [expit(predict(np.where(order < share, end, images))) for share in SHARES]
        areas[method] = np.trapezoid(each, SHARES, axis=0)
        curves.append(pd.DataFrame({"method": method, "share": SHARES, "probability": np.mean(each, axis=1)}))
    for method, area in areas.items():
        difference = area - areas["centre prior"]
        bounds = _intervals({"area": area, "difference": difference}, patient)
        row = {"method": method, "n_films": len(area), "area": area.mean()} | _bounds(bounds["area"])
        rows.append(row | {"difference": difference.mean()} | _bounds(bounds["difference"], "difference_"))
    return pd.concat(curves, ignore_index=True), pd.DataFrame(rows)


def _order(maps: np.ndarray, cells: int = 12) -> np.ndarray:
    """The rank of each pixel's square, highest first: float (n, size, size) in [0, 1)."""
    n, size = maps.shape[:2]
    means = tf.image.resize(maps[..., None], (cells, cells), "area").numpy().reshape(n, -1)
    ranks = np.argsort(np.argsort(-means, axis=1, kind="stable"), axis=1) / means.shape[1]
    place = np.arange(size) * cells // size
    return ranks.reshape(n, cells, cells)[:, place[:, None], place]


# --- lungs ---


def lung_share(maps: np.ndarray, lung_masks: np.ndarray, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """How much of a map lies in the lungs, for all films and by class.

    maps: float (n, size, size), called `name`; rows: label and patient. Columns: map, group, n_films, n_children, share
    (of the map), area (of the film that is lung), ratio (share / area; 1 for a map that knows nothing), lower, upper
    (95 % interval of the ratio over patients). Films whose map is empty are left out.
    """
    some = maps.sum(axis=(1, 2)) > 0
    _, share = pointing(maps, lung_masks)
    area, table = lung_masks.mean(axis=(1, 2)), []
    for group, members in {"all films": some, "NORMAL": rows.label == 0, "PNEUMONIA": rows.label == 1}.items():
        members = np.asarray(members) & some
        if members.any():
            table.append({"map": name, "group": group} | _ratio(share[members], area[members], rows.patient[members]))
    return pd.DataFrame(table)


def _ratio(share: np.ndarray, area: np.ndarray, patient: pd.Series) -> dict:
    bounds = _bootstrap(lambda w: {"ratio": (w @ share) / (w @ area)}, patient)["ratio"]
    row = {"n_films": len(share), "n_children": patient.nunique(), "share": share.mean(), "area": area.mean()}
    return row | {"ratio": share.mean() / area.mean()} | _bounds(bounds)


def hide(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Images with the masked region filled smoothly from around it: uint8; masks: bool (n, size, size)."""
    sigma = 0.08 * images.shape[1]
    seen = (~masks).astype(np.float32)
    weight = ndimage.gaussian_filter(seen, (0, sigma, sigma)) + 1e-6
    mean = (images * seen).sum(axis=(1, 2), keepdims=True) / np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    filled = (ndimage.gaussian_filter(images * seen, (0, sigma, sigma)) + 1e-6 * mean) / weight
    return np.where(masks, np.clip(np.rint(filled), 0, 255), images).astype(np.uint8)


def hidden_regions(predictors: Mapping, images: np.ndarray, lung_masks: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """AUROC of each network with a region of every film hidden (see `hide`).

    predictors: network -> function of uint8 (n, size, size) to logits (n,); rows: label and patient. Columns:
    network, hidden, area (mean share of the film), n_films, n_children, auroc, lower, upper (95 % interval over
    patients), change (mean absolute change of the probability).
    """
    masks = {"nothing": np.zeros_like(lung_masks), "lungs": lung_masks, "all but the lungs": ~lung_masks}
    films, table = {name: hide(images, mask) for name, mask in masks.items()}, []
    n = {"n_films": len(rows), "n_children": rows.patient.nunique()}
    for network, predict in predictors.items():
        probability = {name: expit(predict(film)) for name, film in films.items()}
        for name, mask in masks.items():
            auroc = metrics.ranking(rows.label, probability[name])["auroc"]
            bounds = _bootstrap(metrics.weighted_ranking(rows.label, probability[name]), rows.patient)["auroc"]
            row = {"network": network, "hidden": name, "area": mask.mean()} | n | {"auroc": auroc} | _bounds(bounds)
            table.append(row | {"change": np.abs(probability[name] - probability["nothing"]).mean()})
    return pd.DataFrame(table)
