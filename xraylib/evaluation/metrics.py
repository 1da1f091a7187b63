"""Predictions -> operating points, statistics with intervals over patients, calibration, net benefit, comparisons.

A film is called PNEUMONIA where probability >= threshold. Thresholds are chosen on tune. Intervals are percentiles over
resamples of patients, because films of one patient resemble each other; the SD over seeds is the spread of trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from xraylib.config import Config
from xraylib.data.index import CLASSES
from xraylib.files import UserError

STUDY, PUBLISHED, UNSCALED = "xray_cnn", "published", "published_unscaled"
ENSEMBLE = "xray_cnn_ensemble"  # mean logit over the seeds
NO_SEED = -1  # the ensemble's seed in a predictions table
PREVALENCES = (0.05, 0.20, 0.62)  # a screening, an emergency room, the official test folder
BINS = 10  # of the reliability diagram and of the expected calibration error
LEVEL = 0.95
HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity")
COLUMNS = ("network", "seed", "path", "folder", "split", "label", "subtype", "patient", "logit")
TIDY = ("network", "split", "seed", "statistic", "value", "sd", "lower", "upper", "n_films", "n_children")

Statistic = Callable[[np.ndarray], dict]  # float64 weights (resamples, films) -> {key: float64 (resamples,)}


# --- the predictions table ---


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions table with a column more, probability (float64).

    Raises UserError where a column is missing, a logit is not finite, or a network, seed and path come twice.
    """
    remedy = "Remove the file and run `make reproduce` again."
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise UserError(f"predictions: no column {', '.join(missing)}; wanted {', '.join(COLUMNS)}. {remedy}")
    bad = predictions[~np.isfinite(predictions.logit.to_numpy(np.float64))]
    twice = predictions[predictions.duplicated(["network", "seed", "path"])]
    for rows, problem in ((bad, "has no finite logit"), (twice, "comes twice; wanted one row")):
        if len(rows):
            first = rows.iloc[0]
            place = f"{first.network}, seed {first.seed}, {first.path}"
            raise UserError(f"predictions: {place} {problem} ({len(rows)} such rows). {remedy}")
    return predictions.assign(probability=expit(predictions.logit.to_numpy(np.float64)))


def ensemble(predictions: pd.DataFrame, network: str = STUDY) -> pd.DataFrame:
    """Predictions of "<network>_ensemble", seed -1: the mean over seeds of each film's logit, sorted by path."""
    rows = predictions[predictions.network == network]
    films = rows.drop_duplicates("path").sort_values("path", ignore_index=True)
    mean = rows.groupby("path").logit.mean()[films.path].to_numpy()
    return films.assign(network=f"{network}_ensemble", seed=NO_SEED, logit=mean, probability=expit(mean))


def with_ensemble(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions and those of the ensemble of the study's network."""
    return pd.concat([predictions, ensemble(predictions)], ignore_index=True)


def per_child(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per network, seed and patient: the mean logit over the patient's films; path is the patient's first."""
    keys = ["network", "seed", "split", "patient"]
    first = predictions.sort_values("path").drop_duplicates(keys).set_index(keys)
    mean = predictions.groupby(keys).logit.mean()
    children = first.assign(logit=mean, probability=expit(mean)).reset_index()
    return children[list(predictions)].sort_values(["network", "seed", "path"], ignore_index=True)


# --- the operating point ---


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the probability, and how and on what it was chosen."""

    threshold: float
    rule: str
    chosen_on: str


FIXED = OperatingPoint(0.5, "fixed at 0.5", "nothing")  # of the published experiment


def choose_operating_point(tune: pd.DataFrame) -> OperatingPoint:
    """The threshold with the highest balanced accuracy on `tune`, so that misses and false alarms count alike.

    It lies midway, in logits, between the two neighbouring probabilities; of equal thresholds, the lowest. Balanced
    accuracy does not depend on how common pneumonia is in tune. tune: predictions of one network and seed. Raises
    UserError if tune lacks a class.
    """
    label, probability = _checked(tune.label, tune.probability)
    for wanted, name in enumerate(CLASSES):
        if not (label == wanted).any():
            raise UserError(
                f"predictions: {len(tune)} tune films, none of them {name}; wanted at least one of each class to "
                "choose a threshold. Use more films."
            )
    values = np.unique(probability)
    sensitivity = 1 - np.searchsorted(np.sort(probability[label == 1]), values) / np.sum(label == 1)
    specificity = np.searchsorted(np.sort(probability[label == 0]), values) / np.sum(label == 0)
    best = int(np.argmax(np.round(sensitivity + specificity, 12)))  # rounded, so that equal sums are equal
    below = values[max(best - 1, 0)]
    threshold = float(expit((logit(below) + logit(values[best])) / 2))
    threshold = min(max(threshold, np.nextafter(below, 1)), values[best]) if best else values[0]  # ends of the scale
    return OperatingPoint(float(threshold), "highest balanced accuracy", "tune")


def operating_points(predictions: pd.DataFrame, fixed: tuple[str, ...] = (PUBLISHED, UNSCALED)) -> dict:
    """(network, seed) -> its operating point: 0.5 for networks in `fixed`, else chosen on the seed's tune films."""
    tune = predictions[predictions.split == "tune"].groupby(["network", "seed"], sort=True)
    points = {(str(n), int(s)): choose_operating_point(rows) for (n, s), rows in tune if n not in fixed}
    keys = predictions[predictions.network.isin(fixed)][["network", "seed"]].drop_duplicates()
    return points | {(row.network, int(row.seed)): FIXED for row in keys.itertuples()}


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


def ranking(label, probability) -> dict:
    """What needs no threshold: AUROC, average precision, Brier score, expected calibration error; NaN if undefined."""
    values = weighted_ranking(label, probability)(np.ones((1, len(label))))
    return {name: float(value[0]) for name, value in values.items()}


def statistics(table: pd.DataFrame, threshold: float) -> Statistic:
    """Every statistic of one network's predictions as a function of film weights.

    Weights of one give the ordinary value, counts of drawn patients a bootstrap resample. Keys: those of `rates` and
    `ranking`, and sensitivity_<subtype> for bacteria and virus, ppv_at_<prevalence> and npv_at_<prevalence>.
    """
    label, probability = _checked(table.label, table.probability)
    decision = probability >= threshold
    cells = np.stack([(label == y) & (decision == d) for y in (0, 1) for d in (0, 1)], axis=1).astype(np.float64)
    rank = weighted_ranking(label, probability)
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


def weighted_ranking(label, probability) -> Statistic:
    """`ranking` as a function of film weights."""
    label, probability = _checked(label, probability)
    order = np.argsort(probability, kind="stable")
    ordered = probability[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # tied films count as one step of the curves
    is_positive = label[order].astype(np.float64)
    squared = (probability - label) ** 2
    excess = np.zeros((len(label), BINS))
    excess[np.arange(len(label)), _bin(probability)] = probability - label

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
    table: pd.DataFrame, statistic: Statistic, resamples: int, seed: int
) -> dict[Any, tuple[float, float]]:
    """Key -> (lower, upper): 95 % percentile intervals of every statistic over resamples of patients (whole clusters).

    table: a row per film, with a column patient; statistic: see `statistics`, its weights are (resamples, len(table)),
    the number of times that a film's patient was drawn. Resamples where a statistic is undefined (no film of a
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
    return {key: _percentiles(np.concatenate([part[key] for part in parts])) for key in parts[0]}


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if len(defined) < max(1, len(values) / 2):
        return np.nan, np.nan
    lower, upper = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lower), float(upper)


# --- comparisons ---


def paired_bootstrap(
    first: pd.DataFrame, second: pd.DataFrame, points: Mapping, resamples: int, seed: int
) -> dict[str, dict]:
    """Statistic -> {"difference", "lower", "upper"}: seed-mean of `first` minus that of `second` on the same films.

    first, second: predictions of one network on one split. Raises ValueError if the two hold different films.
    """
    (a, films), (b, others) = _seed_mean(first, points), _seed_mean(second, points)
    if films.path.tolist() != others.path.tolist():
        raise ValueError(f"paired_bootstrap: {len(films)} films against {len(others)}; wanted the same films.")

    def difference(weights: np.ndarray) -> dict:
        of_first, of_second = a(weights), b(weights)
        return {name: of_first[name] - of_second[name] for name in of_first}

    point = difference(np.ones((1, len(films))))
    interval = patient_bootstrap(films, difference, resamples, seed)
    return {
        name: {"difference": float(point[name][0]), "lower": interval[name][0], "upper": interval[name][1]}
        for name in point
    }


def _seed_mean(table: pd.DataFrame, points: Mapping) -> tuple[Statistic, pd.DataFrame]:
    """The mean over seeds of each seed's statistics, as a function of film weights; and the films, sorted by path."""
    groups = table.sort_values("path").groupby(["network", "seed"], sort=True)
    parts = {key: part.reset_index(drop=True) for key, part in groups}
    each = [statistics(part, points[key].threshold) for key, part in parts.items()]

    def of(weights: np.ndarray) -> dict:
        values = [statistic(weights) for statistic in each]
        return {name: np.mean([value[name] for value in values], axis=0) for name in values[0]}

    return of, next(iter(parts.values()))


# --- calibration and usefulness ---


def reliability(label, probability) -> pd.DataFrame:
    """One row per equal-width bin (lower, upper] that holds films: lower, upper, n, mean_probability, observed.

    observed: share of PNEUMONIA. The expected calibration error is sum(n * |mean_probability - observed|) / sum(n).
    """
    label, probability = _checked(label, probability)
    films = pd.DataFrame({"label": label, "probability": probability})
    table = films.groupby(_bin(probability)).agg(
        n=("label", "size"), mean_probability=("probability", "mean"), observed=("label", "mean")
    )
    table.insert(0, "lower", table.index / BINS)
    table.insert(1, "upper", (table.index + 1) / BINS)
    return table.reset_index(drop=True)


def net_benefit(label, probability, thresholds) -> pd.DataFrame:
    """A row per threshold: threshold, network, treat_all, treat_none (Vickers and Elkin 2006).

    Net benefit is true positives minus false positives times threshold / (1 - threshold), per film: the threshold is
    the probability at which treating and waiting seem equal. Thresholds lie in [0, 1).
    """
    label, probability = _checked(label, probability)
    thresholds = np.asarray(thresholds, np.float64)
    odds = thresholds / (1 - thresholds)
    decision = probability >= thresholds[:, None]
    prevalence = label.mean()
    network = (decision & (label == 1)).mean(axis=1) - odds * (decision & (label == 0)).mean(axis=1)
    treat_all = prevalence - odds * (1 - prevalence)
    return pd.DataFrame({"threshold": thresholds, "network": network, "treat_all": treat_all, "treat_none": 0.0})


# --- the summary ---


def summarise(predictions: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """metrics.csv: every statistic of every network on tune and test, and of the published network on train (TIDY).

    seed: "0", "1", ...; "mean" (over seeds, with sd and a 95 % interval over patients); "ensemble" (mean logit, with an
    interval). The threshold of each seed is a row of split tune.
    """
    parts = []
    for network in dict.fromkeys(predictions.network):
        of = predictions[predictions.network == network]
        splits = ("train", "tune", "test") if network == PUBLISHED else ("tune", "test")
        parts += [summarise_split(rows, points, config) for s in splits if len(rows := of[of.split == s])]
        tune = of[of.split == "tune"]
        if len(tune):
            n = {"n_films": tune.path.nunique(), "n_children": tune.patient.nunique()}
            parts.append(_thresholds(network, points).assign(**n))
    return pd.concat(parts, ignore_index=True)[list(TIDY)]


def _thresholds(network: str, points: Mapping) -> pd.DataFrame:
    own = {seed: point.threshold for (name, seed), point in points.items() if name == network}
    seeds = ["ensemble" if seed == NO_SEED else str(seed) for seed in own]
    name = STUDY if network == ENSEMBLE else network
    return (
        pd.DataFrame({"seed": seeds, "value": own.values()})
        .assign(network=name, split="tune", statistic="threshold")
        .reindex(columns=TIDY)
    )


def summarise_split(table: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """Rows of metrics.csv for one network on one split; table: its predictions there, all seeds."""
    network, split = table.network.iloc[0], table.split.iloc[0]
    statistic, films = _seed_mean(table, points)
    interval = patient_bootstrap(films, statistic, config.bootstrap_resamples, config.split_seed)
    each = pd.DataFrame(
        {
            str(seed): pd.DataFrame(statistics(part, points[network, seed].threshold)(np.ones((1, len(part))))).loc[0]
            for seed, part in table.groupby("seed")
        }
    )
    mean = pd.DataFrame(interval, index=["lower", "upper"]).T.reindex(each.index)
    mean = mean.assign(value=each.mean(axis=1, skipna=False), sd=each.std(axis=1, skipna=False))
    if network == ENSEMBLE:
        rows = [mean.assign(seed="ensemble")]
    else:
        rows = [
            *(each[[seed]].set_axis(["value"], axis=1).assign(seed=seed) for seed in each),
            mean.assign(seed="mean"),
        ]
    n = {"n_films": len(films), "n_children": films.patient.nunique()}
    found = pd.concat(rows).rename_axis("statistic").reset_index()
    return found.assign(network=STUDY if network == ENSEMBLE else network, split=split, **n).reindex(columns=TIDY)


def _checked(label, probability) -> tuple[np.ndarray, np.ndarray]:
    label, probability = np.asarray(label), np.asarray(probability, np.float64)
    if label.shape != probability.shape or label.ndim != 1 or len(label) == 0:
        raise ValueError(f"labels {label.shape}, probabilities {probability.shape}; wanted the same (n,), n > 0.")
    if not np.isin(label, (0, 1)).all():
        raise ValueError(f"labels {sorted(set(label.tolist()))[:5]}; wanted 0 (NORMAL) and 1 (PNEUMONIA).")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"probabilities {probability.min()} to {probability.max()}; wanted 0 to 1.")
    return label.astype(np.int64), probability


def _bin(probability: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)


def _ratio(numerator, denominator):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(denominator) == 0, np.nan, np.divide(numerator, denominator))[()]


def logit(probability) -> np.ndarray:
    """log(p / (1 - p)), finite: probabilities are kept 1e-7 away from 0 and 1."""
    clipped = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)  # a float32 sigmoid reaches 0 and 1
    return np.log(clipped) - np.log1p(-clipped)
