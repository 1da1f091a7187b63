"""Predictions -> operating point, metrics with intervals over patients, calibration, net benefit, comparisons.

A prediction is PNEUMONIA where probability >= threshold. Every choice (threshold, recalibration) is made on tune.
Intervals are percentiles over resamples of patients, because images of one patient resemble each other: they say how
much the numbers would move with other patients. How much they move with another training is the SD over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from xraylib.config import Config
from xraylib.data.corruptions import SPOILT
from xraylib.data.index import CLASSES
from xraylib.files import UserError

OWN, PUBLISHED = "xray_cnn", "published"
ENSEMBLE = "xray_cnn_ensemble"  # mean probability over the seeds
NO_SEED = -1  # the ensemble's seed in a predictions table
PREVALENCES = (0.05, 0.20, 0.62)  # a screening, an emergency room, this test split
BINS = 10  # of the reliability diagram and of the expected calibration error
LEVEL = 0.95
HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity")  # what every summary shows
COLUMNS = ("network", "seed", "path", "folder", "split", "label", "subtype", "patient", "probability")

Statistic = Callable[[np.ndarray], dict]  # float64 weights (resamples, images) -> {key: float64 (resamples,)}


# --- the operating point ---


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the probability, and how and on what it was chosen."""

    threshold: float
    rule: str
    chosen_on: str


HALF = OperatingPoint(0.5, "fixed at 0.5", "nothing")


def choose_operating_point(tune: pd.DataFrame) -> OperatingPoint:
    """The threshold with the highest balanced accuracy on `tune`, so that missing and alarming count alike.

    It lies midway, in logits, between the two probabilities that it parts; of equal thresholds, the lowest. Balanced
    accuracy does not depend on how common pneumonia is in tune. tune: predictions of one network and seed. Raises
    UserError if tune lacks a class.
    """
    label, probability = _checked(tune.label, tune.probability)
    for wanted, name in enumerate(CLASSES):
        if not (label == wanted).any():
            raise UserError(
                f"predictions: {len(tune)} tune images, none of them {name}; wanted at least one of each class to "
                "choose a threshold. Use more images."
            )
    values = np.unique(probability)
    sensitivity = 1 - np.searchsorted(np.sort(probability[label == 1]), values) / np.sum(label == 1)
    specificity = np.searchsorted(np.sort(probability[label == 0]), values) / np.sum(label == 0)
    best = int(np.argmax(np.round(sensitivity + specificity, 12)))  # rounded, so that equal sums are equal
    below = values[max(best - 1, 0)]
    threshold = float(expit((logit(below) + logit(values[best])) / 2))
    threshold = min(max(threshold, np.nextafter(below, 1)), values[best]) if best else values[0]  # ends of the scale
    return OperatingPoint(float(threshold), "highest balanced accuracy", "tune")


def operating_points(predictions: pd.DataFrame) -> dict[tuple[str, int], OperatingPoint]:
    """(network, seed) -> its operating point, chosen on that seed's own tune predictions.

    Tune films that were spoilt on purpose ("<network>@<corruption>") count beside those as they are: a threshold that
    is best on films of the training series alone fails where films are framed and exposed otherwise.
    """
    tune = predictions[predictions.split == "tune"]
    return {
        (str(network), int(seed)): replace(
            choose_operating_point(table),
            chosen_on="tune, also spoilt" if table.network.str.contains(SPOILT).any() else "tune",
        )
        for (network, seed), table in tune.groupby([_plain(tune.network), "seed"], sort=True)
    }


def _plain(network: pd.Series) -> pd.Series:
    """The network's name without the corruption of the films that it was shown."""
    return network.str.split(SPOILT, n=1).str[0]


def ensemble(predictions: pd.DataFrame, network: str = OWN) -> pd.DataFrame:
    """Predictions of "<network>_ensemble", seed -1: the mean over seeds of each image's probability, sorted by path.

    Those of spoilt films follow, as "<network>_ensemble@<corruption>".
    """
    own = predictions[_plain(predictions.network) == network]
    keys = ["network", "path"]
    images = own.drop_duplicates(keys).sort_values(keys, ignore_index=True)
    mean = own.groupby(keys).probability.mean()[pd.MultiIndex.from_frame(images[keys])].to_numpy()
    names = f"{network}_ensemble" + images.network.str.removeprefix(network)
    return images.assign(network=names, seed=NO_SEED, probability=mean)


# --- statistics of one network and seed ---


def rates(tn, fp, fn, tp) -> dict:
    """Accuracy, balanced accuracy, sensitivity, specificity, PPV, NPV and MCC; NaN where undefined.

    Counts are numbers or arrays of one shape; so are the results.
    """
    tn, fp, fn, tp = (np.asarray(count, np.float64) for count in (tn, fp, fn, tp))
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        product = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
        return {
            "accuracy": (tp + tn) / (tn + fp + fn + tp),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "mcc": (tp * tn - fp * fn) / product,
        }


def at_threshold(label, probability, threshold: float) -> dict:
    """tn, fp, fn, tp (int) and their `rates` (float) of the decisions probability >= threshold."""
    label, probability = _checked(label, probability)
    decision = probability >= threshold
    tn, fp, fn, tp = (int(np.sum((label == y) & (decision == d))) for y in (0, 1) for d in (0, 1))
    return {"tn": tn, "fp": fp, "fn": fn, "tp": tp} | {k: float(v) for k, v in rates(tn, fp, fn, tp).items()}


def ranking(label, probability, bins: int = BINS) -> dict:
    """What needs no threshold: AUROC, average precision, Brier score, expected calibration error; NaN if undefined."""
    values = weighted_ranking(label, probability, np.ones((1, len(label))), bins)
    return {name: float(value[0]) for name, value in values.items()}


def weighted_ranking(label, probability, weights: np.ndarray, bins: int = BINS) -> dict:
    """`ranking` where image i counts weights[k, i] times: name -> float64 (k,)."""
    label, probability = _checked(label, probability)
    return _ranking(label, probability, bins)(weights)


def auroc(label, probability) -> Statistic:
    """AUROC alone as a function of image weights, where nothing else of `statistics` is wanted."""
    return lambda weights: {"auroc": np.asarray(weighted_ranking(label, probability, weights)["auroc"])}


def statistics(table: pd.DataFrame, threshold: float) -> Statistic:
    """Every statistic of one network's predictions as a function of image weights.

    Weights of one give the ordinary value, counts of drawn patients a bootstrap resample. Keys: those of `rates` and
    `ranking`, and sensitivity_<subtype> for bacteria and virus, ppv_at_<prevalence> and npv_at_<prevalence>.
    """
    label, probability = _checked(table.label, table.probability)
    decision = probability >= threshold
    cells = np.stack([(label == y) & (decision == d) for y in (0, 1) for d in (0, 1)], axis=1).astype(np.float64)
    rank = _ranking(label, probability, BINS)
    subtype = table.subtype.to_numpy()

    def of(weights: np.ndarray) -> dict:
        values = rates(*(weights @ cells).T) | rank(weights)
        for name in ("bacteria", "virus"):
            of_it = subtype == name
            values[f"sensitivity_{name}"] = _ratio(weights @ (of_it & decision), weights @ of_it.astype(np.float64))
        for prevalence in PREVALENCES:
            ppv, npv = ppv_npv_at(values["sensitivity"], values["specificity"], prevalence)
            values |= {f"ppv_at_{prevalence:.2f}": ppv, f"npv_at_{prevalence:.2f}": npv}
        return values

    return of


def _ranking(label: np.ndarray, probability: np.ndarray, bins: int) -> Statistic:
    order = np.argsort(probability, kind="stable")
    ordered = probability[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # tied images count as one step of the curves
    is_positive = label[order].astype(np.float64)
    squared = (probability - label) ** 2
    excess = np.zeros((len(label), bins))
    excess[np.arange(len(label)), _bin(probability, bins)] = probability - label

    def of(weights: np.ndarray) -> dict:
        ordered = weights[:, order]
        total = weights.sum(axis=1)
        positive = np.add.reduceat(ordered * is_positive, starts, axis=1)
        negative = np.add.reduceat(ordered, starts, axis=1) - positive
        n_positive, n_negative = positive.sum(axis=1), negative.sum(axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2  # half of the tied ones
        found = np.cumsum(positive[:, ::-1], axis=1)[:, ::-1]
        called = found + np.cumsum(negative[:, ::-1], axis=1)[:, ::-1]
        return {
            "auroc": _ratio((positive * below).sum(axis=1), n_positive * n_negative),
            "average_precision": _ratio(np.nansum(positive * _ratio(found, called), axis=1), n_positive),
            "brier": _ratio(weights @ squared, total),
            "expected_calibration_error": _ratio(np.abs(weights @ excess).sum(axis=1), total),
        }

    return of


def ppv_npv_at(sensitivity, specificity, prevalence: float) -> tuple:
    """PPV and NPV where `prevalence` of the children have pneumonia, by Bayes' rule; NaN where undefined."""
    hit, alarm = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    miss, clear = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return _ratio(hit, hit + alarm), _ratio(clear, clear + miss)


# --- intervals ---


def patient_bootstrap(
    table: pd.DataFrame, statistic: Statistic, resamples: int, seed: int, level: float = LEVEL
) -> dict[Any, tuple[float, float]]:
    """Key -> (lower, upper): percentile intervals of every statistic over resamples of patients (whole clusters).

    table: a row per image, with a column patient; statistic: see `statistics`, its weights are (resamples, len(table)),
    the number of times that an image's patient was drawn. Resamples where a statistic is undefined (no image of a
    class, say) are left out of its interval; if more than half are, the interval is (NaN, NaN).
    """
    patient, patients = pd.factorize(table.patient)
    n = len(patients)
    rng = np.random.default_rng(seed)
    at_once = max(1, 1_000_000 // len(table))  # a few arrays of 8 MB: the cache is small, and so are free machines
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        parts.append(statistic(counts[:, patient]))
    return {key: _percentiles(np.concatenate([part[key] for part in parts]), level) for key in parts[0]}


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if len(defined) < max(1, len(values) / 2):
        return np.nan, np.nan
    lower, upper = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def delong(label, probability, level: float = LEVEL) -> dict:
    """AUROC, its variance, lower and upper after DeLong (1988), by the midranks of Sun and Xu (2014).

    It takes images for independent; the interval is normal, cut at 0 and 1. NaN with fewer than two images of a class.
    """
    label, probability = _checked(label, probability)
    positive, negative = probability[label == 1], probability[label == 0]
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        return dict.fromkeys(("auroc", "variance", "lower", "upper"), np.nan)
    midranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (midranks[:m] - stats.rankdata(positive)) / n  # each positive: share of negatives below it
    under = 1 - (midranks[m:] - stats.rankdata(negative)) / m
    auroc, variance = float(above.mean()), float(above.var(ddof=1) / m + under.var(ddof=1) / n)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
    lower, upper = np.clip([auroc - half, auroc + half], 0, 1)
    return {"auroc": auroc, "variance": variance, "lower": float(lower), "upper": float(upper)}


# --- comparisons ---


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    first_points: Mapping[int, OperatingPoint],
    second_points: Mapping[int, OperatingPoint],
    resamples: int,
    seed: int,
    level: float = LEVEL,
) -> dict[str, dict]:
    """Statistic -> {"difference", "lower", "upper"}: seed-mean of `first` minus that of `second` on the same images.

    first, second: predictions of one network on one split; points: seed -> operating point. Raises ValueError if the
    two hold different images.
    """
    a, images = _seed_mean(first, first_points)
    b, others = _seed_mean(second, second_points)
    if images.path.tolist() != others.path.tolist():
        raise ValueError(
            f"paired_bootstrap: {len(images)} images against {len(others)} others; wanted the same images."
        )
    statistic = _difference(a, b)
    point = statistic(np.ones((1, len(images))))
    interval = patient_bootstrap(images, statistic, resamples, seed, level)
    return {
        name: {"difference": float(point[name][0]), "lower": interval[name][0], "upper": interval[name][1]}
        for name in point
    }


def mcnemar(first_correct, second_correct) -> dict:
    """Exact McNemar test on paired decisions: only_first, only_second (images that one alone has right), p_value."""
    first, second = np.asarray(first_correct, bool), np.asarray(second_correct, bool)
    if first.shape != second.shape:
        raise ValueError(f"mcnemar: {len(first)} against {len(second)} decisions; wanted the same images in both.")
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    discordant = only_first + only_second
    p_value = stats.binomtest(only_first, discordant).pvalue if discordant else 1.0
    return {"only_first": only_first, "only_second": only_second, "p_value": float(p_value)}


def _seed_mean(table: pd.DataFrame, points: Mapping[int, OperatingPoint]) -> tuple[Statistic, pd.DataFrame]:
    """The mean over seeds of each seed's statistics, as a function of image weights; and the images, sorted by path."""
    tables = [part.sort_values("path", ignore_index=True) for _, part in table.groupby("seed", sort=True)]
    each = [statistics(part, points[int(part.seed.iloc[0])].threshold) for part in tables]

    def of(weights: np.ndarray) -> dict:
        values = [statistic(weights) for statistic in each]
        return {name: np.mean([value[name] for value in values], axis=0) for name in values[0]}

    return of, tables[0]


def _difference(first: Statistic, second: Statistic) -> Statistic:
    def of(weights: np.ndarray) -> dict:
        a, b = first(weights), second(weights)
        return {name: a[name] - b[name] for name in a}

    return of


# --- calibration and usefulness ---


def reliability(label, probability, bins: int = BINS) -> pd.DataFrame:
    """A row per equal-width bin (lower, upper]: lower, upper, n, mean_probability, observed (share of PNEUMONIA).

    Empty bins have n = 0 and NaN. The expected calibration error is sum(n * |mean_probability - observed|) / sum(n).
    """
    label, probability = _checked(label, probability)
    where = _bin(probability, bins)
    n = np.bincount(where, minlength=bins)
    positives = np.bincount(where, label, bins)
    edges = np.linspace(0, 1, bins + 1)
    return pd.DataFrame(
        {
            "lower": edges[:-1],
            "upper": edges[1:],
            "n": n,
            "mean_probability": _ratio(np.bincount(where, probability, bins), n),
            "observed": _ratio(positives, n),
        }
    )


def wilson(successes, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's (1927) score interval of a share: lower, upper in [0, 1]; NaN where n is 0."""
    successes, n = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    z = stats.norm.ppf((1 + level) / 2)
    centre = _ratio(successes + z**2 / 2, n + z**2)
    half = _ratio(z, n + z**2) * np.sqrt(_ratio(successes * (n - successes), n) + z**2 / 4)
    return np.where(n > 0, np.clip(centre - half, 0, 1), np.nan), np.where(n > 0, np.clip(centre + half, 0, 1), np.nan)


@dataclass(frozen=True)
class Recalibration:
    """logit of the calibrated probability = slope * logit + intercept."""

    slope: float
    intercept: float

    def apply(self, probability) -> np.ndarray:
        """Calibrated probabilities, float64, in the order of the given ones (a monotone map if slope > 0)."""
        return expit(self.slope * logit(probability) + self.intercept)


def recalibrate(label, probability) -> Recalibration:
    """The recalibration that fits these (tune) images best by log loss.

    Platt's (1999) smoothed targets are used, so that perfectly separated images have a finite answer.
    """
    label, probability = _checked(label, probability)
    x = logit(probability)
    design = np.stack([x, np.ones_like(x)], axis=1)
    n_positive = label.sum()
    target = np.where(label == 1, (n_positive + 1) / (n_positive + 2), 1 / (len(label) - n_positive + 2))
    weights = _newton(design, target)
    return Recalibration(float(weights[0]), float(weights[1]))


def shift_prevalence(probability, from_prevalence: float, to_prevalence: float) -> np.ndarray:
    """Probabilities as they should be where the prevalence is another one: logits move by the difference of logits."""
    moved = logit(to_prevalence) - logit(from_prevalence)
    return expit(logit(probability) + moved)


def _newton(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Logistic regression of targets in (0, 1), without penalty, by damped Newton steps."""

    def loss(weights):
        logit = design @ weights
        return np.sum(np.logaddexp(0, logit) - target * logit)

    weights = np.zeros(design.shape[1])
    for _ in range(100):
        fitted = expit(design @ weights)
        gradient = design.T @ (fitted - target)
        curvature = (design.T * (fitted * (1 - fitted))) @ design + 1e-12 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) + 1e-12 and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-12:
            break
    return weights


def net_benefit(label, probability, thresholds) -> pd.DataFrame:
    """A row per threshold: threshold, network, treat_all, treat_none (Vickers and Elkin 2006).

    Net benefit is true positives minus false positives times threshold / (1 - threshold), per child: the threshold is
    the probability at which treating and waiting seem equal. Thresholds lie in [0, 1).
    """
    label, probability = _checked(label, probability)
    thresholds = np.asarray(thresholds, np.float64)
    if np.any((thresholds < 0) | (thresholds >= 1)):
        raise ValueError(f"net_benefit: thresholds {thresholds.min():g} to {thresholds.max():g}; wanted 0 <= t < 1.")
    odds = thresholds / (1 - thresholds)
    decision = probability >= thresholds[:, None]
    prevalence = label.mean()
    network = (decision & (label == 1)).mean(axis=1) - odds * (decision & (label == 0)).mean(axis=1)
    treat_all = prevalence - odds * (1 - prevalence)
    return pd.DataFrame({"threshold": thresholds, "network": network, "treat_all": treat_all, "treat_none": 0.0})


# --- the summary ---


def summarise(predictions: pd.DataFrame, config: Config) -> dict:
    """Everything that results/metrics.json holds, ready for JSON (None where a value is undefined).

    {"kind", "profile", "resamples", "level",
     "networks": {network: {"seeds", "operating_points": [{"seed", "threshold", "rule", "chosen_on"}],
                            split: {"n_images", "n_patients", "prevalence", "confusion": [{"seed", "tn", ...}],
                                    "chosen": block, "half": block, "delong": [...]}}},
     "difference": {"<network> - published": {"chosen": {statistic: {"difference", "lower", "upper"}}, "half": ...,
                                              "mcnemar": [{"seed", "only_first", "only_second", "p_value"}]}}}
    block (at the operating point chosen on tune; at 0.5): {statistic: {"mean", "sd", "lower", "upper", "per_seed"}}.

    Splits: tune and test; train too for the published CNN. Networks that predicted neither tune nor test are left out.
    """
    predictions = check(predictions)
    if (predictions.network == OWN).any():
        predictions = pd.concat([predictions, ensemble(predictions)], ignore_index=True)
    points = operating_points(predictions)
    networks = sorted({network for network, _ in points})
    summary: dict[str, Any] = {
        "kind": config.kind,
        "profile": config.profile,
        "resamples": config.bootstrap_resamples,
        "level": LEVEL,
        "networks": {},
        "difference": {},
    }
    for network in networks:
        own = {seed: point for (name, seed), point in points.items() if name == network}
        table = predictions[predictions.network == network]
        of_network: dict[str, Any] = {
            "seeds": list(own),
            "operating_points": [{"seed": s, **asdict(p)} for s, p in own.items()],
        }
        for split in ("train", "tune", "test") if network == PUBLISHED else ("tune", "test"):
            part = table[table.split == split]
            if len(part):
                of_network[split] = summarise_split(part, own, config)
        summary["networks"][network] = of_network
    if PUBLISHED in networks:
        for network in networks:
            if network != PUBLISHED:
                summary["difference"][f"{network} - {PUBLISHED}"] = _compare(predictions, network, points, config)
    return without_nan(summary)


def summarise_split(table: pd.DataFrame, points: Mapping[int, OperatingPoint], config: Config) -> dict:
    """One network on one split, see `summarise`; table: its predictions there, all seeds."""
    chosen, images = _seed_mean(table, points)
    half, _ = _seed_mean(table, dict.fromkeys(points, HALF))
    statistic = _side_by_side({"chosen": chosen, "half": half})
    interval = patient_bootstrap(images, statistic, config.bootstrap_resamples, config.split_seed)
    one = np.ones((1, len(images)))
    seeds = sorted(points)
    parts = {seed: table[table.seed == seed] for seed in seeds}
    result = {
        "n_images": len(images),
        "n_patients": int(images.patient.nunique()),
        "prevalence": float(images.label.mean()),
        "confusion": [
            {"seed": s} | _counts(at_threshold(parts[s].label, parts[s].probability, points[s].threshold))
            for s in seeds
        ],
        "delong": [{"seed": s} | delong(parts[s].label, parts[s].probability) for s in seeds],
    }
    for which in ("chosen", "half"):
        threshold = {seed: points[seed].threshold if which == "chosen" else HALF.threshold for seed in seeds}
        per_seed = [statistics(parts[seed], threshold[seed])(one) for seed in seeds]
        result[which] = {
            name: _block([float(values[name][0]) for values in per_seed], interval[which, name]) for name in per_seed[0]
        }
    return result


def as_table(summary: Mapping) -> pd.DataFrame:
    """The summary's blocks as rows, for plots and pages.

    Columns: network, split, point (chosen, half), statistic, mean, sd, lower, upper, n_images, n_patients.
    """
    rows = [
        {"network": network, "split": split, "point": point, "statistic": name}
        | {key: value[key] for key in ("mean", "sd", "lower", "upper")}
        | {key: of_network[split][key] for key in ("n_images", "n_patients")}
        for network, of_network in summary["networks"].items()
        for split in ("train", "tune", "test")
        if split in of_network
        for point in ("chosen", "half")
        for name, value in of_network[split][point].items()
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(("mean", "sd", "lower", "upper"), np.float64))


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions table itself; UserError where a column is missing, a probability is none or a row comes twice."""
    remedy = "Remove the file and run `make reproduce` again."
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise UserError(f"predictions: no column {', '.join(missing)}; wanted {', '.join(COLUMNS)}. {remedy}")
    bad = predictions[~predictions.probability.between(0, 1)]
    if len(bad):
        first = bad.iloc[0]
        raise UserError(
            f"predictions: {first.network}, seed {first.seed}, {first.path}: probability {first.probability}; "
            f"wanted 0 to 1 ({len(bad)} such rows). {remedy}"
        )
    twice = predictions[predictions.duplicated(["network", "seed", "path"])]
    if len(twice):
        first = twice.iloc[0]
        raise UserError(
            f"predictions: {first.network}, seed {first.seed}, {first.path} comes twice; wanted one row per network, "
            f"seed and image. {remedy}"
        )
    return predictions


def without_nan(value):
    """The same nested dicts, lists and numbers, with None for NaN and infinity, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _compare(predictions: pd.DataFrame, network: str, points: Mapping, config: Config) -> dict:
    test = predictions[predictions.split == "test"]
    first, second = test[test.network == network], test[test.network == PUBLISHED]
    if first.empty or second.empty:
        return {}
    own = {seed: point for (name, seed), point in points.items() if name == network}
    theirs = {seed: point for (name, seed), point in points.items() if name == PUBLISHED}
    half = dict.fromkeys(own, HALF), dict.fromkeys(theirs, HALF)
    resamples, seed = config.bootstrap_resamples, config.split_seed
    return {
        "chosen": paired_bootstrap(first, second, own, theirs, resamples, seed),
        "half": paired_bootstrap(first, second, *half, resamples, seed),
        "mcnemar": [
            {"seed": s} | mcnemar(_correct(first, s, own[s]), _correct(second, t, theirs[t]))
            for s, t in zip(sorted(own), sorted(theirs), strict=False)
        ],
    }


def _correct(table: pd.DataFrame, seed: int, point: OperatingPoint) -> np.ndarray:
    part = table[table.seed == seed].sort_values("path")
    return ((part.probability >= point.threshold) == (part.label == 1)).to_numpy()


def _side_by_side(parts: Mapping[str, Statistic]) -> Statistic:
    def of(weights: np.ndarray) -> dict:
        return {(part, name): value for part, f in parts.items() for name, value in f(weights).items()}

    return of


def _block(per_seed: list[float], interval: tuple[float, float]) -> dict:
    sd = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else np.nan
    return {
        "mean": float(np.mean(per_seed)),
        "sd": sd,
        "lower": interval[0],
        "upper": interval[1],
        "per_seed": per_seed,
    }


def _counts(values: dict) -> dict:
    return {name: values[name] for name in ("tn", "fp", "fn", "tp")}


def _checked(label, probability) -> tuple[np.ndarray, np.ndarray]:
    label, probability = np.asarray(label), np.asarray(probability, np.float64)
    if label.shape != probability.shape or label.ndim != 1 or len(label) == 0:
        raise ValueError(f"labels {label.shape}, probabilities {probability.shape}; wanted the same (n,), n > 0.")
    if not np.isin(label, (0, 1)).all():
        raise ValueError(f"labels {sorted(set(label.tolist()))[:5]}; wanted 0 (NORMAL) and 1 (PNEUMONIA).")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"probabilities {probability.min()} to {probability.max()}; wanted 0 to 1.")
    return label.astype(np.int64), probability


def _bin(probability: np.ndarray, bins: int) -> np.ndarray:
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probability)


def _ratio(numerator, denominator):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(denominator) == 0, np.nan, np.divide(numerator, denominator))[()]


def logit(probability) -> np.ndarray:
    """log(p / (1 - p)), finite: probabilities are kept 1e-7 away from 0 and 1."""
    clipped = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)  # a float32 sigmoid reaches 0 and 1
    return np.log(clipped) - np.log1p(-clipped)
