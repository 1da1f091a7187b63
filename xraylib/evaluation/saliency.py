"""Saliency maps of a network, tests of what they are worth, and what is left when a region of the film is hidden.

Maps: Grad-CAM of the last convolution (the one that is shown), integrated gradients, and occlusion. A map is trusted
as far as it finds lesions whose place is known (pointing game on phantoms), changes when the weights are randomised
(sanity check), and names places that move the probability (deletion). Lung masks, bool (n, size, size),
come from the caller: drawn by people, or by the locator.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats
from scipy.special import expit

from xraylib.config import Config
from xraylib.data import phantom
from xraylib.evaluation import metrics
from xraylib.network.backend import keras, tf

STEPS = 6  # of integrated gradients; sixteen gave the same hits on the phantoms' tune split
LUNG_GREY = 25  # percentile of a film's grey levels, about that of lung: filling with it draws no shadow
SMOOTH = 0.03  # of the side: least blur of a map
SHARES = (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)  # of the film, deleted
RESAMPLES = 2000

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 (n, size, size) -> logits, float (n,)

# --- maps: of a network from float32 (n, size, size, 1) to logits (n, 1) ---


def gradcam(network: keras.Model, images: np.ndarray, fade: bool = True) -> np.ndarray:
    """Grad-CAM (Selvaraju 2017) of the last feature maps: float32 (n, size, size), at least 0.

    Channels are weighted by the mean gradient of the logit. With global average pooling and one dense unit this is the
    class activation map (Zhou 2016). images: uint8 (n, size, size). fade: outside of the film the map counts as 0.
    """
    return upsample(_in_batches(_gradcam_function(network), images[..., None]), images.shape[1], fade)


@lru_cache(maxsize=4)  # traced once a network: other weights need no other graph
def _gradcam_function(network: keras.Model):
    """Grad-CAM before it is enlarged: inputs (n, h, w, 1) -> (n, rows, columns) of the last feature maps."""
    head = [layer for layer in network.layers if len(layer.output.shape) == 2]  # from the pooling on
    trunk = keras.Model(network.inputs, head[0].input)

    def maps(x):
        x = features = trunk(x)
        with tf.GradientTape() as tape:
            tape.watch(features)
            for layer in head:
                x = layer(x)
        weights = tf.reduce_mean(tape.gradient(x, features), axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))

    return tf.function(maps)


def integrated_gradients(network: keras.Model, images: np.ndarray, fade: bool = True) -> np.ndarray:
    """Integrated gradients (Sundararajan 2017) from a black film, smoothed: float32 (n, size, size), at least 0."""
    x, gradient = images[..., None].astype(np.float32), _gradient_function(network)
    total = sum(_in_batches(gradient, (k + 0.5) / STEPS * x) for k in range(STEPS))
    return upsample(total / STEPS * x[..., 0], images.shape[1], fade)


@lru_cache(maxsize=4)  # as `_gradcam_function`
def _gradient_function(network: keras.Model):
    """The gradient of the logit: inputs (n, h, w, 1) -> (n, h, w)."""

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logit = network(x)
        return tape.gradient(logit, x)[..., 0]

    return tf.function(gradient, reduce_retracing=True)


def _in_batches(function, inputs: np.ndarray, size: int = 128) -> np.ndarray:
    parts = [function(tf.constant(inputs[i : i + size], tf.float32)) for i in range(0, len(inputs), size)]
    return np.concatenate(parts)


def occlusion(predict: Predict, images: np.ndarray) -> np.ndarray:
    """The fall of the logit where a patch, a sixth of the side, is filled with lung grey, at steps of half a patch.

    float32 (n, rows, columns), one value per patch.
    """
    size, filled = images.shape[1], lung_grey(images)
    patch = size // 6
    starts = range(0, size - patch + 1, patch // 2)
    intact, falls = predict(images), np.zeros((len(images), len(starts), len(starts)), np.float32)
    for i, top in enumerate(starts):
        for j, left in enumerate(starts):
            occluded, place = images.copy(), np.s_[:, top : top + patch, left : left + patch]
            occluded[place] = filled[place]
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


def lung_grey(images: np.ndarray) -> np.ndarray:
    """Films of one grey level each, about that of their lungs: uint8, the shape of images."""
    level = np.percentile(images, LUNG_GREY, axis=(1, 2), keepdims=True)
    return np.broadcast_to(np.rint(level).astype(np.uint8), images.shape)


def blurred(images: np.ndarray) -> np.ndarray:
    """Films without detail, blurred by a tenth of the side: uint8, the shape of images."""
    return ndimage.gaussian_filter(images, (0, images.shape[1] / 10, images.shape[1] / 10))


FILLINGS = {"lung grey": lung_grey, "a blurred film": blurred}


def maps(network: keras.Model, predict: Predict, images: np.ndarray) -> dict[str, np.ndarray]:
    """Three maps of frames, uint8 (n, size, size), and two that need no network: name -> float (n, size, size)."""
    n, size = images.shape[:2]
    return {
        **{name: method(network, images) for name, method in METHODS.items()},
        "occlusion": upsample(occlusion(predict, images), size),
        "centre prior": centre_prior(n, size),
        "random map": np.random.default_rng(0).random(images.shape, np.float32),
    }


METHODS = {"Grad-CAM": gradcam, "integrated gradients": integrated_gradients}

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
    n, height, width = maps.shape
    flat, inside = (array.reshape(n, height * width) for array in (maps, masks))
    total = flat.sum(axis=1)
    hit = inside[np.arange(n), flat.argmax(axis=1)] & (total > 0)
    return hit, (flat * inside).sum(axis=1) / np.where(total > 0, total, 1)


def pointing_game(maps: Mapping[str, np.ndarray], masks: np.ndarray, patient) -> pd.DataFrame:
    """Hit rate of each map on films whose lesions are known.

    maps: method -> float (n, size, size); masks: bool (n, size, size); patient: (n,). Columns: method, n_films, hits,
    lower, upper (95 % interval over patients), inside (share of the map in the lesion), inside_lower, inside_upper,
    lesion (its share of the film: the hit rate of a random map).
    """
    rows = []
    for method, of_method in maps.items() if len(masks) else ():
        hit, inside = (values.astype(float) for values in pointing(of_method, masks))
        rows.append((method, len(masks), *_means({"hits": hit, "inside": inside}, patient), masks.mean()))
    columns = ["method", "n_films", "hits", "lower", "upper", "inside", "inside_lower", "inside_upper", "lesion"]
    return pd.DataFrame(rows, columns=columns)


def _means(values: Mapping, patient) -> np.ndarray:
    """Mean of each of the values, float (n,), followed by the lower and upper end of its interval over patients."""
    table = _bootstrap(lambda w: {key: w @ value / w.sum(axis=1) for key, value in values.items()}, patient)
    return table.to_numpy().ravel()


def _bootstrap(statistic: metrics.Statistic, patient) -> pd.DataFrame:
    return metrics.patient_bootstrap(pd.DataFrame({"patient": np.asarray(patient)}), statistic, RESAMPLES, 0)


def sanity_check(network: keras.Model, images: np.ndarray, methods: Mapping[str, Callable] = METHODS) -> pd.DataFrame:
    """Randomised weights (Adebayo 2018): layer by layer from the top, weights are permuted and each map drawn again.

    Columns: layers (permuted so far), name (of the last one), correlation (mean Spearman correlation with the map of
    the trained network), network, map, n_films. The network given is not changed.
    """
    rows = []
    for method, draw in methods.items() if len(images) else ():
        copy = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        trained, rng = draw(copy, images, fade=False), np.random.default_rng(0)
        rows.append((0, "trained", 1.0, method))
        for count, layer in enumerate(reversed([layer for layer in copy.layers if layer.weights]), 1):
            layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])
            correlation = rank_correlation(trained, draw(copy, images, fade=False)).mean()
            rows.append((count, layer.name, correlation, method))
    table = pd.DataFrame(rows, columns=["layers", "name", "correlation", "map"]).assign(n_films=len(images))
    table.insert(3, "network", metrics.STUDY)
    return table


def rank_correlation(a: np.ndarray, b: np.ndarray, step: int = 4) -> np.ndarray:
    """Spearman's correlation of each pair of maps at every `step`th pixel, 0 where a map is constant: float (n,)."""
    pairs = [(x.ravel(), y.ravel()) for x, y in zip(a[:, ::step, ::step], b[:, ::step, ::step], strict=True)]
    return np.array([stats.spearmanr(x, y).statistic if np.ptp(x) and np.ptp(y) else 0.0 for x, y in pairs])


def deletion(
    predict: Predict, images: np.ndarray, maps: Mapping[str, np.ndarray], patient
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deletion (Petsiuk 2018): the mean probability as places are filled (FILLINGS), highest of the map first.

    predict: images -> logits; maps: method -> float (n, size, size), with "centre prior" among them. Places are squares
    of a twelfth of the side. Returns the curves (filling, method, share, probability) and the areas under them
    (filling, method, n_films, area, lower, upper, difference from the centre prior, difference_lower,
    difference_upper, filled: the mean probability of films filled from edge to edge).
    """
    curves, rows = [], []
    for filling, fill in FILLINGS.items() if len(images) else ():
        filled, areas = fill(images), {}
        for method, heat in maps.items():
            order = _order(heat)
            deleted = (np.where(order < share, filled, images) for share in SHARES)
            probability = np.array([expit(predict(films)) for films in deleted])
            areas[method] = np.trapezoid(probability, SHARES, axis=0)
            curves += [(filling, method, *point) for point in zip(SHARES, probability.mean(axis=1), strict=True)]
        for method, area in areas.items():
            means = _means({"area": area, "difference": area - areas["centre prior"]}, patient)
            rows.append((filling, method, len(area), *means, curves[-1][-1]))
    values = ["area", "lower", "upper", "difference", "difference_lower", "difference_upper", "filled"]
    points = pd.DataFrame(curves, columns=["filling", "method", "share", "probability"])
    return points, pd.DataFrame(rows, columns=["filling", "method", "n_films", *values])


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
    (95 % interval of the ratio over patients), empty (films left out: nothing in their map speaks for pneumonia).
    """
    shown = maps.sum(axis=(1, 2)) > 0
    groups = {"all films": rows.label >= 0, "NORMAL": rows.label == 0, "PNEUMONIA": rows.label == 1}
    (_, share), area, table = pointing(maps, lung_masks), lung_masks.mean(axis=(1, 2)), []
    for group, of_group in groups.items():
        member = shown & of_group
        if member.any():
            part, patient = (share[member], area[member]), rows.patient[member]
            means = [values.mean() for values in part]
            row = (name, group, member.sum(), patient.nunique(), *means, *_ratio(*part, patient))
            table.append((*row, (of_group & ~shown).sum()))
    columns = ["map", "group", "n_films", "n_children", "share", "area", "ratio", "lower", "upper", "empty"]
    return pd.DataFrame(table, columns=columns)


def _ratio(share: np.ndarray, area: np.ndarray, patient: pd.Series) -> np.ndarray:
    """The ratio of the means, and the lower and upper end of its interval."""
    return _bootstrap(lambda w: {"ratio": (w @ share) / (w @ area)}, patient).loc["ratio"].to_numpy()


def hide(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Images with the masked region filled smoothly from around it: uint8; masks: bool (n, size, size)."""
    sigma = 0.08 * images.shape[1]
    seen = (~masks).astype(np.float32)
    weight = ndimage.gaussian_filter(seen, (0, sigma, sigma)) + 1e-6
    mean = (images * seen).sum(axis=(1, 2), keepdims=True) / np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    filled = (ndimage.gaussian_filter(images * seen, (0, sigma, sigma)) + 1e-6 * mean) / weight
    return np.where(masks, np.clip(np.rint(filled), 0, 255), images).astype(np.uint8)


def hidden_regions(predict: Callable, images: np.ndarray, lung_masks: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """AUROC of each network, by its mean logit over seeds, with a region of every film hidden (see `hide`).

    predict: train.predictor, from films to (network, seed) -> logits (n,); rows: label and patient. Columns: network,
    hidden, area (mean share of the film), n_films, n_children, auroc, lower, upper (95 % interval over patients),
    change (mean absolute change of the probability).
    """
    masks = {"nothing": np.zeros_like(lung_masks), "lungs": lung_masks, "all but the lungs": ~lung_masks}
    n_children, table = rows.patient.nunique(), []
    logits = {name: _mean_over_seeds(predict(hide(images, mask))) for name, mask in masks.items() if len(rows)}
    for network in logits["nothing"] if logits else ():
        probability = {name: expit(of_network[network]) for name, of_network in logits.items()}
        for name, mask in masks.items():
            auroc = _bootstrap(metrics.weighted_ranking(rows.label, probability[name]), rows.patient).loc["auroc"]
            change = np.abs(probability[name] - probability["nothing"]).mean()
            table.append((network, name, mask.mean(), len(rows), n_children, *auroc, change))
    columns = ["network", "hidden", "area", "n_films", "n_children", "auroc", "lower", "upper", "change"]
    return pd.DataFrame(table, columns=columns)


def _mean_over_seeds(logits: Mapping[tuple[str, int], np.ndarray]) -> dict[str, np.ndarray]:
    networks = dict.fromkeys(network for network, _ in logits)
    return {name: np.mean([of for (network, _), of in logits.items() if network == name], axis=0) for name in networks}
