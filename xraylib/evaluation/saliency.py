"""Network and images -> where the network looked: maps, occlusion as their judge, and tests of what they are worth.

A map is worth what it does on phantoms, whose lesions have a known place, and once the network's weights are destroyed.
Which map is shown is chosen by its hits on the phantoms' tune split (`choose`, `chosen`), never on test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats
from scipy.special import expit

from xraylib.config import REPOSITORY, Config
from xraylib.data import phantom
from xraylib.evaluation import lungs, metrics
from xraylib.files import UserError
from xraylib.network import augment, published
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network

CAMS = ("Grad-CAM", "HiResCAM", "LayerCAM")
PATHS = ("gradients from black", "gradients from lung grey")
STEPS = 6  # of a path; sixteen gave the same hits on phantoms' tune split
DARK = 25  # percentile of a film's grey levels: about that of its lungs, so that filling with it draws no shadow
SMOOTH = 0.03  # of the side: the least blur of a map
SHIFT = 1 / 24  # of the side: how far the views of a map are shifted
VIEWS = ((-1, -1, 1), (1, 1, 1), (1, -1, -1), (-1, 1, -1))  # shifts down and across, and mirror image

Mapper = Callable[[np.ndarray], np.ndarray]  # uint8 (n, size, size) -> float32 (n, size, size), at least 0


@dataclass(frozen=True)
class Kind:
    """A kind of map: one of CAMS at a stage, counted from the answer (1 is the last), or one of PATHS at stage 0."""

    rule: str
    stage: int = 1
    views: int = 1

    def __str__(self) -> str:
        if self.rule in PATHS:
            return f"integrated {self.rule}"
        return f"{self.rule}, stage -{self.stage}" + (f", {self.views} views" if self.views > 1 else "")


CAM = Kind("Grad-CAM")  # of the last stage: with average pooling and one dense unit, the class-activation map


def load(network: str, seed: int, config: Config) -> keras.Model:
    """The trained network of config.models."""
    return load_network(config.network_file(network, seed))


def as_input(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Decoded images, uint8 (n, size, size), as the network wants them: its size, channels and range."""
    _, size, _, channels = network.input_shape
    if channels == 1:
        return augment.view(tf.cast(images[..., None], tf.float32), size, frame=1).numpy()
    return published.as_input(images)


def masks(config: Config, rows: pd.DataFrame, of=phantom.lesion_mask) -> np.ndarray:
    """Where the lesions (or phantom.lung_mask: the lungs) of these phantoms are: bool (n, image_size, image_size)."""
    size = (config.image_size,) * 2
    drawn = [Image.fromarray(of(config.data, path)) for path in rows.path]
    return np.stack([np.asarray(mask.resize(size, Image.Resampling.BOX)) for mask in drawn])


def answerer(network: keras.Model, chunk: int = 256) -> Callable[[np.ndarray], np.ndarray]:
    """The network as a function of uint8 (n, size, size) images, as they are, to logits, float32 (n,)."""

    @tf.function(reduce_retracing=True)
    def answer(x):
        return _logit(network.layers[-1], network(x, training=False))[:, 0]

    return lambda images: _in_chunks(answer, as_input(network, images), chunk)


def _in_chunks(function, inputs: np.ndarray, chunk: int) -> np.ndarray:
    parts = [function(tf.constant(inputs[i : i + chunk])) for i in range(0, len(inputs), chunk)]
    return np.concatenate([tf.cast(part, tf.float32).numpy() for part in parts])


# --- maps ---


def stages(network: keras.Model) -> list[str]:
    """Names of the last layer of each size of the maps, from the film to the answer; the film itself is none."""
    last = {}
    for layer in network.layers:
        shape = layer.output.shape
        if len(shape) == 4 and tuple(shape[1:]) != tuple(network.input_shape[1:]):
            last[shape[1]] = layer.name
    return list(last.values())


def kinds(network: keras.Model, deepest: int = 3) -> list[Kind]:
    """What `choose` tries: the usual map, finer ones of the last few stages, and integrated gradients."""
    depth = range(1, min(deepest, len(stages(network))) + 1)
    fine = [Kind(rule, stage, len(VIEWS)) for rule in CAMS[1:] for stage in depth]
    return [CAM, *fine, *(Kind(rule, 0) for rule in PATHS)]


def activation_maps(network: keras.Model, rule: str, layer: str):
    """A function of the network's own input batches to raw maps, float32 (n, h, w), of what speaks for PNEUMONIA.

    Channels of `layer` are weighted by the gradient of the logit: by its mean over places (Grad-CAM, Selvaraju 2017),
    place by place (HiResCAM, Draelos 2020), or by its positive part (LayerCAM, Jiang 2021). With global average pooling
    and one dense unit the first two are the class-activation map (Zhou 2016) exactly, up to a factor.
    """
    at = [one.name for one in network.layers].index(layer)
    before = network.layers[: at + 1]

    @tf.function(reduce_retracing=True)
    def maps(x):
        for one in before:
            x = one(x)
        gradient, x = _gradient(network.layers[at + 1 :], x), tf.cast(x, tf.float32)
        if rule == "Grad-CAM":
            gradient = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        elif rule == "LayerCAM":
            return tf.reduce_sum(tf.nn.relu(gradient) * tf.nn.relu(x), axis=-1)
        return tf.nn.relu(tf.reduce_sum(gradient * x, axis=-1))

    return maps


def _gradient(layers: list, x) -> tf.Tensor:
    """Gradient of the logit that the layers make of x, float32 of the shape of x."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for one in layers:
            y = one(y)
        y = _logit(layers[-1], y)
    return tf.cast(tape.gradient(y, x), tf.float32)


def _logit(last, y):
    """The output before a sigmoid, whose gradient would vanish where the network is sure."""
    y = tf.cast(y, tf.float32)
    if getattr(last, "activation", None) is keras.activations.sigmoid:
        y = tf.clip_by_value(y, 1e-6, 1 - 1e-6)
        return tf.math.log(y) - tf.math.log1p(-y)
    return y


def mapper(network: keras.Model, kind: Kind = CAM, chunk: int = 128, fade: bool = True) -> Mapper:
    """A function of decoded images to maps at their size; it follows the network's weights when they change.

    fade: beyond its edge a map is 0, so that a place at the edge peaks in its middle; else it goes on as it ends.
    """
    if kind.rule in PATHS:
        return _path_mapper(network, kind.rule, chunk, fade)
    raw = activation_maps(network, kind.rule, stages(network)[-kind.stage])

    def maps(images: np.ndarray) -> np.ndarray:
        size, total = images.shape[1], np.zeros(images.shape, np.float32)
        views = VIEWS if kind.views > 1 else ((0, 0, 1),)
        for down, across, mirror in views:
            by = round(down * SHIFT * size), round(across * SHIFT * size)
            seen = _shifted(images[:, :, ::mirror], *by)
            small = _in_chunks(raw, as_input(network, seen), chunk)
            large = tf.image.resize(small[..., None], (size, size)).numpy()[..., 0]
            total = total + _shifted(large, -by[0], -by[1])[:, :, ::mirror]
        return _smooth(total / len(views), small.shape[1], fade)

    return maps


def _shifted(images: np.ndarray, down: int, across: int) -> np.ndarray:
    """Each image moved up and to the left by so many pixels, black where there was nothing."""
    by, size = max(abs(down), abs(across)), images.shape[1]
    wide = np.pad(images, ((0, 0), (by, by), (by, by)))
    return wide[:, by + down : by + down + size, by + across : by + across + size]


def _smooth(maps: np.ndarray, places: int, fade: bool = True) -> np.ndarray:
    """Maps blurred by a third of a place, at least by SMOOTH; what is negative becomes 0."""
    sigma = maps.shape[1] * max(1 / places / 3, SMOOTH)
    blurred = ndimage.gaussian_filter(maps, (0, sigma, sigma), mode="constant" if fade else "nearest")
    return np.maximum(blurred, 0).astype(np.float32)


def _path_mapper(network: keras.Model, rule: str, chunk: int, fade: bool) -> Mapper:
    """Integrated gradients (Sundararajan 2017) on the way from a film of one grey level to the film, then smoothed."""
    gradient = tf.function(lambda x: tf.reduce_sum(_gradient(network.layers, x), axis=-1), reduce_retracing=True)

    def maps(images: np.ndarray) -> np.ndarray:
        start = np.zeros_like(images) if rule == PATHS[0] else dark(images)
        x, base = as_input(network, images), as_input(network, start)
        total = sum(_in_chunks(gradient, base + (k + 0.5) / STEPS * (x - base), chunk) for k in range(STEPS))
        product = (total / STEPS * (x - base)[..., 0])[..., None]
        return _smooth(tf.image.resize(product, images.shape[1:]).numpy()[..., 0], x.shape[1], fade)

    return maps


def dark(images: np.ndarray) -> np.ndarray:
    """Films of one grey level each, about that of their lungs: uint8 (n, size, size)."""
    level = np.percentile(images, DARK, axis=(1, 2), keepdims=True)
    return np.broadcast_to(np.rint(level).astype(np.uint8), images.shape)


def occlusion(answer, images: np.ndarray, patch: int | None = None, stride: int | None = None) -> np.ndarray:
    """How much the answer falls when a patch of the film is hidden: float32 (n, h, w), a place per patch.

    answer: uint8 (n, size, size) -> (n,). Patches of a sixth of the side, by default, every half of one, are filled
    with the grey level of `dark`: with the film's mean, brighter than lung, hiding a patch would draw a shadow.
    """
    size = images.shape[1]
    patch = patch or max(2, size // 6)
    stride = stride or patch // 2
    whole, grey = answer(images), dark(images)
    starts = range(0, size - patch + 1, stride)
    maps = np.zeros((len(images), len(starts), len(starts)), np.float32)
    for i, top in enumerate(starts):
        for j, left in enumerate(starts):
            hidden = images.copy()
            place = np.s_[:, top : top + patch, left : left + patch]
            hidden[place] = grey[place]
            maps[:, i, j] = whole - answer(hidden)
    return maps


def spread(places: np.ndarray, size: int) -> np.ndarray:
    """Occlusion's falls, (n, h, w), as a map of the film: float32 (n, size, size), 0 where hiding raised the answer."""
    return _smooth(tf.image.resize(places[..., None], (size, size)).numpy()[..., 0], places.shape[1])


def centre_prior(n: int, size: int) -> np.ndarray:
    """The map that knows nothing but that lungs are in the middle: a Gaussian, float32 (n, size, size)."""
    x = np.linspace(-1, 1, size)
    one = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 0.5**2))
    return np.repeat(one[None].astype(np.float32), n, axis=0)


# --- does it find the lesion? (phantoms) ---


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


def scored(maps: Sequence[np.ndarray], masks: np.ndarray, patient, resamples: int = 2000, seed: int = 0) -> dict:
    """Hits and share inside of one method, a set of maps per seed: means over seeds, intervals over patients."""
    hit, inside = (np.array(part, float) for part in zip(*(pointing(one, masks) for one in maps), strict=True))
    inside = np.nan_to_num(inside)  # an empty map has nothing inside
    both = {"hits": hit.mean(axis=0), "inside": inside.mean(axis=0)}
    bounds = _intervals(both, patient, resamples, seed)
    row = {"images": len(masks), "seeds": len(maps), "hits": hit.mean(), "sd": _sd(hit.mean(axis=1))}
    row |= {"lower": bounds["hits"][0], "upper": bounds["hits"][1], "inside": inside.mean()}
    return row | {"inside_lower": bounds["inside"][0], "inside_upper": bounds["inside"][1], "lesion": masks.mean()}


def _sd(values) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _intervals(values: Mapping, patient, resamples: int, seed: int) -> dict:
    """Key -> 95 % interval over patients of the mean of values[key], float (n,) each."""

    def means(weights: np.ndarray) -> dict:
        return {key: weights @ value / weights.sum(axis=1) for key, value in values.items()}

    return metrics.patient_bootstrap(pd.DataFrame({"patient": np.asarray(patient)}), means, resamples, seed)


def choose(
    networks: Mapping[str, Sequence[keras.Model]], tried: Mapping[str, Sequence[Kind]], images, masks, patient
) -> pd.DataFrame:
    """Every kind of map scored on films with known lesions (phantoms' tune split), the best of each network first.

    networks: name -> a network per seed; tried: name -> kinds. Columns: network, rule, stage, views, and those of
    `scored`. Hits count; of equals, the larger share inside.
    """
    rows = []
    for name, seeds in networks.items():
        for kind in tried[name]:
            maps = [mapper(network, kind)(images) for network in seeds]
            rows.append({"network": name, "rule": kind.rule, "stage": kind.stage, "views": kind.views})
            rows[-1] |= scored(maps, masks, patient)
    table = pd.DataFrame(rows).sort_values(["hits", "inside"], ascending=False, kind="stable")
    return table.sort_values("network", ascending=False, kind="stable").reset_index(drop=True)


def chosen(config: Config) -> dict[str, Kind]:
    """Network -> the kind of map that did best on the phantoms' tune split (map_choice.csv of the run on phantoms)."""
    file = (config.results if config.phantoms else REPOSITORY / "results" / "demo") / "map_choice.csv"
    if not file.exists():
        raise UserError(f"{file}: not there. Wanted the maps' scores on phantoms. Make it: make reproduce DATA=")
    best = pd.read_csv(file).groupby("network", sort=False).first()
    return {name: Kind(row.rule, int(row.stage), int(row.views)) for name, row in best.iterrows()}


def pointing_game(
    networks: Mapping[str, Sequence[keras.Model]],
    kinds: Mapping[str, Kind],
    images: np.ndarray,
    masks: np.ndarray,
    patient,
    usual: np.ndarray,
    seed: int = 0,
) -> pd.DataFrame:
    """The pointing game of maps and of what needs no network, on films with known lesions.

    networks: name -> a network per seed; kinds: name -> its kind of map; images: uint8 (n, size, size); masks: bool
    (n, size, size); patient: (n,); usual: float (size, size), how often a lesion lies in each place of the train split.
    Columns: method and those of `scored`; lesion is the share of the image that is lesion, which a random map gets.
    """
    n, size = images.shape[:2]
    own = [mapper(network, kinds["xray_cnn"])(images) for network in networks["xray_cnn"]]
    judge = [spread(occlusion(answerer(network), images), size) for network in networks["xray_cnn"]]
    above = _smooth(np.maximum(images.astype(np.float32) - dark(images), 0), size)
    rng = np.random.default_rng(seed)
    maps = {
        f"own CNN, {kinds['xray_cnn']}": own,
        "own CNN, Grad-CAM": [mapper(network)(images) for network in networks["xray_cnn"]],
        "own CNN, occlusion": judge,
        "own CNN, another film's map": [np.roll(one, n // 2, axis=0) for one in own],
        f"published CNN, {kinds['published']}": [mapper(p, kinds["published"])(images) for p in networks["published"]],
        "usual place of lesions": [np.repeat(usual[None], n, axis=0)],
        "centre prior": [centre_prior(n, size)],
        "the film's own brightness": [above],
        "random map": [rng.random((n, size, size), np.float32)],
    }
    return pd.DataFrame([{"method": name} | scored(one, masks, patient, seed=seed) for name, one in maps.items()])


# --- does it show the network? ---


def sanity_check(network: keras.Model, images: np.ndarray, kind: Kind = CAM, seed: int = 0) -> pd.DataFrame:
    """Adebayo's (2018) cascade: weights are shuffled layer by layer from the top, and the map must lose its likeness.

    images: uint8 (n, size, size). Columns: layers (shuffled so far), name (of the last one), likeness (mean Spearman
    correlation of each image's map with the untouched network's). The network given is left as it was.
    """
    broken = keras.Sequential.from_config(network.get_config())
    broken.set_weights(network.get_weights())
    maps = mapper(broken, kind, fade=False)  # edges that fade by themselves would be alike in all maps
    first = maps(images)
    rng = np.random.default_rng(seed)
    rows = [{"layers": 0, "name": "untouched", "likeness": 1.0}]
    weighted = [one for one in broken.layers if one.weights]
    for count, one in enumerate(reversed(weighted), 1):
        one.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in one.get_weights()])
        rows.append({"layers": count, "name": one.name, "likeness": float(likeness(first, maps(images)).mean())})
    return pd.DataFrame(rows)


def likeness(a: np.ndarray, b: np.ndarray, step: int = 4) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps at every `step`th pixel; a constant map is like nothing (0)."""
    pairs = zip(a[:, ::step, ::step], b[:, ::step, ::step], strict=True)
    return np.array([_spearman(one.ravel(), other.ravel()) for one, other in pairs])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(stats.spearmanr(a, b).statistic)


def agreement(maps: Mapping[str, np.ndarray], falls: np.ndarray, patient, seed: int = 0) -> pd.DataFrame:
    """How far maps rank places as occlusion does: mean Spearman correlation over films, interval over patients.

    maps: method -> float (n, size, size); falls: of `occlusion`. Columns: method, images, agreement, lower, upper.
    """
    rows = []
    for method, one in maps.items():
        small = tf.image.resize(one[..., None], falls.shape[1:], "area").numpy()[..., 0]
        each = likeness(small, falls, 1)
        lower, upper = _intervals({"agreement": each}, patient, 2000, seed)["agreement"]
        rows.append({"method": method, "images": len(each), "agreement": each.mean(), "lower": lower, "upper": upper})
    return pd.DataFrame(rows)


def removal(
    answer, images: np.ndarray, maps: Mapping[str, np.ndarray], patient, shares=(0.05, 0.1, 0.2, 0.35, 0.6)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deletion and insertion (Petsiuk 2018): the probability as places are taken away, or put back, in a map's order.

    answer: uint8 (n, size, size) -> logits; maps: method -> float (n, size, size), "random map" among them. Places are
    squares of a twelfth of the side, so that every order removes the same; what is away has the grey level of `dark`.
    Returns the curves (test, method, share, probability: the mean over films) and the areas under them (test, method,
    images, area, lower, upper, and less: the difference from the random map, with less_lower, less_upper).
    """
    grey, ends = dark(images), (0.0, *shares, 1.0)
    full, empty = expit(answer(images)), expit(answer(grey))
    curves, areas = [], {}
    for method, one in maps.items():
        order = _order(one)
        for test, ahead, behind in (("deletion", images, grey), ("insertion", grey, images)):
            inner = [expit(answer(_replaced(ahead, behind, order < share))) for share in shares]
            both = (full, *inner, empty) if test == "deletion" else (empty, *inner, full)
            areas[test, method] = np.trapezoid(both, ends, axis=0)
            means = np.mean(both, axis=1)
            curves += [
                {"test": test, "method": method, "share": share, "probability": mean}
                for share, mean in zip(ends, means, strict=True)
            ]
    return pd.DataFrame(curves), _areas(areas, patient)


def _areas(areas: Mapping, patient) -> pd.DataFrame:
    rows = []
    for (test, method), each in areas.items():
        less = each - areas[test, "random map"]
        bounds = _intervals({"area": each, "less": less}, patient, 2000, 0)
        row = {"test": test, "method": method, "images": len(each), "area": each.mean()}
        row |= dict(zip(("lower", "upper"), bounds["area"], strict=True)) | {"less": less.mean()}
        rows.append(row | dict(zip(("less_lower", "less_upper"), bounds["less"], strict=True)))
    return pd.DataFrame(rows)


def _order(maps: np.ndarray, cells: int = 12) -> np.ndarray:
    """When each pixel's square goes, highest first: float (n, size, size) in [0, 1)."""
    n, size = maps.shape[:2]
    means = tf.image.resize(maps[..., None], (cells, cells), "area").numpy().reshape(n, -1)
    ranks = np.argsort(np.argsort(-means, axis=1, kind="stable"), axis=1) / means.shape[1]
    place = np.arange(size) * cells // size
    return ranks.reshape(n, cells, cells)[:, place[:, None], place]


def _replaced(images: np.ndarray, others: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where, others, images)


# --- does it look at the lungs? ---


def lung_share(
    maps: np.ndarray, images: np.ndarray, rows: pd.DataFrame, decided, name: str, seed: int = 0
) -> pd.DataFrame:
    """The share of each map that lies in the lung fields, at the border and elsewhere, by class and decision.

    maps: float (n, size, size), called `name`; images: uint8; rows: label and patient; decided: bool (n,), called
    PNEUMONIA. Columns: map, group, region, images, patients, share, lower, upper (95 % interval over patients), area
    (the region's mean share of the image) and ratio (share / area: 1 for a map that knows nothing).
    """
    parts = lungs.regions(images)
    total = maps.sum(axis=(1, 2))
    share = {name: (maps * part).sum(axis=(1, 2)) / np.where(total > 0, total, np.nan) for name, part in parts.items()}
    area = {name: part.mean(axis=(1, 2)) for name, part in parts.items()}
    label, patient, decided = rows.label.to_numpy(), rows.patient.to_numpy(), np.asarray(decided, bool)
    groups = {
        "all": np.ones(len(label), bool), "NORMAL": label == 0, "PNEUMONIA": label == 1,
        "NORMAL, spared": (label == 0) & ~decided, "NORMAL, false alarm": (label == 0) & decided,
        "PNEUMONIA, found": (label == 1) & decided, "PNEUMONIA, missed": (label == 1) & ~decided,
    }  # fmt: skip
    table = []
    for group, those in groups.items():
        those = those & (total > 0)
        if not those.any():
            continue
        bounds = _intervals({name: each[those] for name, each in share.items()}, patient[those], 2000, seed)
        for region in parts:
            row = {
                "map": name,
                "group": group,
                "region": region,
                "images": those.sum(),
                "patients": len(set(patient[those])),
            }
            row |= {"share": share[region][those].mean(), "lower": bounds[region][0], "upper": bounds[region][1]}
            row["area"] = area[region][those].mean()
            table.append(row | {"ratio": row["share"] / row["area"]})
    return pd.DataFrame(table)


def hidden_regions(predictors: Mapping, images: np.ndarray, rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """AUROC of each network when a region of every film is hidden: filled smoothly from what surrounds it.

    predictors: network -> function of uint8 (n, size, size) to probabilities (n,); rows: label and patient. Columns:
    network, hidden, area (mean share of the film), images, auroc, lower, upper (95 % interval over patients), moved
    (mean absolute change of the probability).
    """
    parts = lungs.regions(images)
    parts = {
        "nothing": np.zeros_like(parts["lungs"]), "marks": lungs.marks(images, parts["lungs"]),
        "border": parts["border"], "lungs": parts["lungs"], "all but lungs": ~parts["lungs"],
    }  # fmt: skip
    films = {name: lungs.without(images, part) for name, part in parts.items()}
    label, patients, table = rows.label.to_numpy(), pd.DataFrame({"patient": rows.patient.to_numpy()}), []
    for network, predict in predictors.items():
        whole = predict(films["nothing"])
        for name, part in parts.items():
            probability = whole if name == "nothing" else predict(films[name])
            auroc = metrics.auroc(label, probability)
            lower, upper = metrics.patient_bootstrap(patients, auroc, 500, seed)["auroc"]
            row = {"network": network, "hidden": name, "area": part.mean(), "images": len(label)}
            row |= {"auroc": float(auroc(np.ones((1, len(label))))["auroc"][0]), "lower": lower, "upper": upper}
            table.append(row | {"moved": np.abs(probability - whole).mean()})
    return pd.DataFrame(table)


# --- how it sees: one film through the network ---


@dataclass(frozen=True)
class Journey:
    """What a network makes of one film: maps after each stage, the features that it weighs, and its answer."""

    filters: np.ndarray  # float (k, k, n): the first convolution, colours added up
    maps: list[tuple[str, np.ndarray]]  # name of the stage, float (h, w, channels)
    features: np.ndarray  # float (n,): what the last layer reads
    weights: np.ndarray  # float (n,): its weights
    logit: float
    probability: float


def journey(network: keras.Model, image: np.ndarray) -> Journey:
    """The journey of one film, uint8 (size, size), as it is."""
    x, seen = tf.constant(as_input(network, image[None])), {}
    for layer in network.layers:
        seen[layer.name] = x = layer(x)
    names = [layer.name for layer in network.layers]
    features = seen[names[-2]] if len(names) > 1 else x
    logit = float(_logit(network.layers[-1], x)[0, 0])
    maps = {name: np.asarray(tf.cast(seen[name], tf.float32))[0] for name in stages(network)}
    first = next(one for one in network.layers if isinstance(one, keras.layers.Conv2D))
    return Journey(
        np.asarray(first.kernel).sum(axis=2),
        [(f"{m.shape[0]} x {m.shape[1]}, {m.shape[2]} channels", m) for m in maps.values()],
        np.asarray(tf.cast(features, tf.float32))[0],
        np.asarray(network.layers[-1].kernel)[:, 0],
        logit,
        float(expit(logit)),
    )


def findings(config: Config) -> str:
    """What the tables of this run, and of the run on phantoms, say about the maps, in sentences."""
    demo = config.results if config.phantoms else REPOSITORY / "results" / "demo"
    game = pd.read_csv(demo / "pointing_game.csv").set_index("method")
    sanity, curves, areas, regions, hidden = (
        pd.read_csv(config.results / f"{name}.csv")
        for name in ("sanity_check", "removal", "removal_areas", "lung_share", "hidden_regions")
    )
    kind, n = str(chosen(config)["xray_cnn"]), game.images.iloc[0]
    lines = [f"The map shown: {kind}, the best on the phantoms' tune split."]
    for method in (f"own CNN, {kind}", "own CNN, another film's map", "usual place of lesions", "centre prior"):
        one = game.loc[method]
        lines.append(f"Peak in the lesion, phantoms' test (n = {n}), {method}: {_interval(one, 'hits')}.")
    for (network, name), part in sanity.groupby(["network", "map"], sort=False):
        worst = part.likeness[1:].abs().max()
        lines.append(f"Likeness left by shuffled weights, {network}, {name}: at most {worst:.2f}.")
    for _, one in areas[areas.method == kind].iterrows():
        other = areas[(areas.test == one.test) & (areas.method == "centre prior")].iloc[0]
        lines.append(
            f"{one.test.capitalize()} (n = {one.images}): area {_interval(one, 'area')}, against the random map's "
            f"{one.less:+.2f} ({one.less_lower:+.2f} to {one.less_upper:+.2f}); the centre prior's area is "
            f"{_interval(other, 'area')}."
        )
    nothing = curves.probability[(curves.test == "deletion") & (curves.share == 1)].iloc[0]
    lines.append(f"Mean probability of a film of nothing but grey, where all these curves meet: {nothing:.2f}.")
    for _, one in regions[(regions.group == "all") & (regions.region == "lungs")].iterrows():
        lines.append(
            f"In the lung fields, {one['map']} (n = {one.images}): {_interval(one, 'share')} of the map, "
            f"which are {one.area:.2f} of the film."
        )
    for _, one in hidden[hidden.network == "xray_cnn"].iterrows():
        lines.append(f"AUROC with {one.hidden} hidden (n = {one.images}): {_interval(one, 'auroc')}.")
    return "\n".join(lines)


def _interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.2f} ({row.lower:.2f} to {row.upper:.2f})"
