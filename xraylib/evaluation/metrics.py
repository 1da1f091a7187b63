"""Predictions -> operating points, statistics with intervals over patients, net benefit, comparisons.

A film is called PNEUMONIA where probability >= threshold. Thresholds are chosen on tune. Intervals are percentiles over
resamples of patients, because films of one patient resemble each other; the SD over seeds is the spread of trainings.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import roc_curve

from xraylib.config import Config
from xraylib.data.index import CLASSES
from xraylib.files import UserError

STUDY, PUBLISHED, UNSCALED = "xray_cnn", "published", "published_unscaled"
ENSEMBLE = "xray_cnn_ensemble"  # mean logit over the seeds
NO_SEED = -1  # the ensemble's seed in a predictions table
FIXED = 0.5  # threshold of the published experiment
PREVALENCES = (0.05, 0.20, 0.62)  # a screening, an emergency room, the official test folder
BINS = 10  # of the reliability diagram and of the expected calibration error
LEVEL = 0.95
HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity")
COLUMNS = ("network", "seed", "path", "folder", "split", "label", "subtype", "patient", "logit")
TIDY = ("network", "split", "seed", "statistic", "value", "sd", "lower", "upper", "n_films", "n_children")

Statistic = Callable[[np.ndarray], dict]  # float64 weights (resamples, films) -> {key: float64 (resamples,)}


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions table with a column more, probability (float64).

    Raises UserError where a column is missing, a label is not 0 or 1, a logit is not finite, or a row comes twice.
    """
    remedy = "Remove the file and run `make reproduce` again."
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise UserError(f"predictions: no column {', '.join(missing)}; wanted {', '.join(COLUMNS)}. {remedy}")
    logit = predictions.logit.to_numpy(np.float64)
    problems = {
        "has a label that is not 0 or 1": ~predictions.label.isin((0, 1)),
        "has no finite logit": ~np.isfinite(logit),
        "comes twice; wanted one row": predictions.duplicated(["network", "seed", "path"]),
    }
    for problem, wrong in problems.items():
        if wrong.any():
            first = predictions[wrong].iloc[0]
            place = f"{first.network}, seed {first.seed}, {first.path}"
            raise UserError(f"predictions: {place} {problem} ({wrong.sum()} such rows). {remedy}")
    return predictions.assign(probability=expit(logit))


def mean_logit(predictions: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row per network, seed, split and `by` (patient, path): the first film by path, with the mean logit of all."""
    keys = ["network", "seed", "split", by]
    mean = predictions.groupby(keys).logit.mean()
    first = predictions.sort_values("path").drop_duplicates(keys).set_index(keys)
    rows = first.assign(logit=mean, probability=expit(mean)).reset_index()
    return rows[list(predictions)].sort_values(["network", "seed", "path"], ignore_index=True)


def with_ensemble(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions and those of ENSEMBLE: the mean over seeds of the study's network's logit of each film."""
    own = predictions[predictions.network == STUDY].assign(network=ENSEMBLE, seed=NO_SEED)
    return pd.concat([predictions, mean_logit(own, "path")], ignore_index=True)


def choose_operating_point(tune: pd.DataFrame) -> float:
    """The threshold with the highest balanced accuracy on `tune`, so that misses and false alarms count alike.

    It lies midway, in logits, between two neighbouring probabilities; of equal thresholds, the lowest. tune: of one
    network and seed. Raises UserError if tune lacks a class.
    """
    for label, name in enumerate(CLASSES):
        if not (tune.label == label).any():
            raise UserError(
                f"predictions: {len(tune)} tune films, none of them {name}; wanted at least one of each class to "
                "choose a threshold. Use more films."
            )
    curve = roc_curve(tune.label, tune.probability, drop_intermediate=False)
    alarms, found, values = (part[::-1] for part in curve)  # lowest threshold first
    best = np.argmax(np.round(found - alarms, 12))  # rounded, so that equal differences are equal
    below = values[max(best - 1, 0)]
    middle = expit((logit(below) + logit(values[best])) / 2)
    return float(np.clip(middle, np.nextafter(below, 1), values[best]))  # exact where `logit` ends, and at the lowest


def operating_points(predictions: pd.DataFrame, fixed: tuple[str, ...] = (PUBLISHED, UNSCALED)) -> dict:
    """(network, seed) -> its threshold: 0.5 for networks in `fixed`, else chosen on the seed's tune films."""
    return {
        key: FIXED if key[0] in fixed else choose_operating_point(rows[rows.split == "tune"])
        for key, rows in predictions.groupby(["network", "seed"])
    }


def rates(tn, fp, fn, tp) -> dict:
    """Accuracy, balanced accuracy, sensitivity, specificity, PPV, NPV and MCC of counts; NaN where undefined."""
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "accuracy": _ratio(tp + tn, tn + fp + fn + tp),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "mcc": _ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))),
    }


def at_threshold(label, probability, threshold: float) -> dict:
    """Counts tn, fp, fn, tp of the decisions probability >= threshold, and their `rates`."""
    counts = dict(zip(("tn", "fp", "fn", "tp"), _cells(label, probability, threshold).sum(axis=0), strict=True))
    return counts | rates(**counts)


def _cells(label, probability, threshold: float) -> np.ndarray:
    """Whether each film is a true negative, false positive, false negative, true positive: bool (films, 4)."""
    label, decision = np.asarray(label), np.asarray(probability) >= threshold
    return np.stack([(label == y) & (decision == d) for y in (0, 1) for d in (0, 1)], axis=1)


def once(statistic: Statistic, n_films: int) -> dict[str, float]:
    """The ordinary value of every statistic: each film counts once."""
    return {name: float(value[0]) for name, value in statistic(np.ones((1, n_films))).items()}


def ranking(label, probability) -> dict:
    """What needs no threshold: AUROC, average precision, Brier score, expected calibration error; NaN if undefined."""
    return once(weighted_ranking(label, probability), len(label))


def statistics(table: pd.DataFrame, threshold: float) -> Statistic:
    """Every statistic of one network's predictions as a function of film weights.

    Keys: those of `rates` and `ranking`, sensitivity_<subtype>, ppv_at_<prevalence> and npv_at_<prevalence>.
    """
    cells = _cells(table.label, table.probability, threshold).astype(np.float64)
    rank = weighted_ranking(table.label, table.probability)
    subtypes = {name: (table.subtype == name).to_numpy(np.float64) for name in ("bacteria", "virus")}

    def of(weights: np.ndarray) -> dict:
        values = rates(*(weights @ cells).T) | rank(weights)
        for name, of_it in subtypes.items():
            values[f"sensitivity_{name}"] = _ratio(weights @ (of_it * cells[:, 3]), weights @ of_it)
        for prevalence in PREVALENCES:
            ppv, npv = ppv_npv_at(values["sensitivity"], values["specificity"], prevalence)
            values |= {f"ppv_at_{prevalence:.2f}": ppv, f"npv_at_{prevalence:.2f}": npv}
        return values

    return of


def weighted_ranking(label, probability) -> Statistic:
    """`ranking` as a function of film weights."""
    label, probability = np.asarray(label, np.float64), np.asarray(probability, np.float64)
    order = np.argsort(probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=-1))  # tied films count as one step of the curves
    squared = (probability - label) ** 2
    excess = np.zeros((len(label), BINS))
    excess[np.arange(len(label)), bin_of(probability)] = probability - label

    def of(weights: np.ndarray) -> dict:
        ordered = weights[:, order]
        total = weights.sum(axis=1)
        positive = np.add.reduceat(ordered * label[order], starts, axis=1)
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


def bin_of(probability) -> np.ndarray:
    """Index of the equal-width bin (lower, upper] of BINS that a probability lies in: int."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)


def net_benefit(label, probability, thresholds) -> pd.DataFrame:
    """A row per threshold: the net benefit of the network, and treat_all (Vickers and Elkin 2006); treating none has 0.

    True positives minus false positives times threshold / (1 - threshold), per film: the threshold, in [0, 1), is the
    probability at which treating and waiting seem equal.
    """
    label, thresholds = np.asarray(label), np.asarray(thresholds, np.float64)
    odds = thresholds / (1 - thresholds)
    called = np.asarray(probability) >= thresholds[:, None]
    network = (called & (label == 1)).mean(axis=1) - odds * (called & (label == 0)).mean(axis=1)
    treat_all = label.mean() - odds * (1 - label.mean())
    return pd.DataFrame({"network": network, "treat_all": treat_all})


def patient_bootstrap(table: pd.DataFrame, statistic: Statistic, resamples: int, seed: int) -> dict:
    """Key -> (lower, upper): 95 % percentile intervals of every statistic over resamples of patients (whole clusters).

    table: a row per film, with a column patient; a film's weight is how often its patient was drawn. Resamples where a
    statistic is undefined (no film of a class, say) are left out; if more than half are, the interval is (NaN, NaN).
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
    if len(defined) < len(values) / 2:
        return np.nan, np.nan
    lower, upper = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lower), float(upper)


def _estimate(films: pd.DataFrame, statistic: Statistic, config: Config) -> pd.DataFrame:
    """Index: statistic; columns value, lower, upper."""
    interval = patient_bootstrap(films, statistic, config.bootstrap_resamples, config.split_seed)
    value = pd.DataFrame({"value": once(statistic, len(films))})
    return value.join(pd.DataFrame(interval, index=["lower", "upper"]).T)


def paired_bootstrap(first: pd.DataFrame, second: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """Index: statistic; columns difference, lower, upper: seed-mean of `first` minus that of `second`.

    first, second: predictions of one network on one split. Raises ValueError if the two hold different films.
    """
    (films, ours), (others, theirs) = (_each_seed(table, points) for table in (first, second))
    if films.path.tolist() != others.path.tolist():
        raise ValueError(f"paired_bootstrap: {len(films)} films against {len(others)}; wanted the same films.")

    def difference(weights: np.ndarray) -> dict:
        own, other = _mean(ours.values(), weights), _mean(theirs.values(), weights)
        return {name: own[name] - other[name] for name in own}

    return _estimate(films, difference, config).rename(columns={"value": "difference"})


def _each_seed(table: pd.DataFrame, points: Mapping) -> tuple[pd.DataFrame, dict[str, Statistic]]:
    """The films of one network's predictions, sorted by path, and the statistics of each seed on them."""
    seeds = {key: rows for key, rows in table.sort_values("path").groupby(["network", "seed"])}
    return next(iter(seeds.values())), {str(key[1]): statistics(rows, points[key]) for key, rows in seeds.items()}


def _mean(each: Iterable[Statistic], weights: np.ndarray) -> dict:
    values = [statistic(weights) for statistic in each]
    return {name: np.mean([value[name] for value in values], axis=0) for name in values[0]}


def summarise(predictions: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """metrics.csv: every statistic of every network on tune and test, and of the published network on train (TIDY).

    seed: "0", "1", ...; "mean" (over seeds, with sd and a 95 % interval over patients); "ensemble" (mean logit, with an
    interval). The threshold of each seed is a row of split tune.
    """
    parts = []
    for network, own in predictions.groupby("network", sort=False):
        splits = ("train", "tune", "test") if network == PUBLISHED else ("tune", "test")
        parts += [summarise_split(rows, points, config) for split in splits if len(rows := own[own.split == split])]
        tune = own[own.split == "tune"]
        thresholds = [{"seed": str(seed), "value": points[network, seed]} for seed in tune.seed.unique()]
        n = {"n_films": tune.path.nunique(), "n_children": tune.patient.nunique()}
        parts.append(pd.DataFrame(thresholds).assign(network=network, split="tune", statistic="threshold", **n))
    table = pd.concat(parts, ignore_index=True)
    table.loc[table.network == ENSEMBLE, ["network", "seed"]] = STUDY, "ensemble"
    return table


def summarise_split(table: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """Rows of metrics.csv for one network on one split; table: its predictions there, all seeds."""
    films, each = _each_seed(table, points)
    values = pd.DataFrame({seed: once(statistic, len(films)) for seed, statistic in each.items()})
    mean = _estimate(films, lambda weights: _mean(each.values(), weights), config)
    mean = mean.assign(seed="mean", sd=values.std(axis=1, skipna=False))
    first, n = films.iloc[0], {"n_films": len(films), "n_children": films.patient.nunique()}
    seeds = [] if first.network == ENSEMBLE else [values.melt(var_name="seed", ignore_index=False)]
    found = pd.concat([*seeds, mean]).rename_axis("statistic").reset_index().reindex(columns=TIDY)
    return found.assign(network=first.network, split=first.split, **n)


def _ratio(numerator, denominator):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(denominator) == 0, np.nan, np.divide(numerator, denominator))[()]


def logit(probability) -> np.ndarray:
    """log(p / (1 - p)), finite: probabilities are kept 1e-7 away from 0 and 1."""
    clipped = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)  # a float32 sigmoid reaches 0 and 1
    return np.log(clipped) - np.log1p(-clipped)
