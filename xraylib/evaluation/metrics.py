"""Predictions -> operating points, statistics with intervals over patients and seeds, net benefit, comparisons.

A film is called PNEUMONIA where probability >= threshold. Thresholds are chosen on tune. Intervals are percentiles over
resamples of patients, because films of one patient resemble each other, and of seeds, because another training gives
another network. With few seeds they are still somewhat too narrow. The SD over seeds is the spread of trainings.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from xraylib.config import Config
from xraylib.data.index import CLASSES
from xraylib.files import UserError

STUDY, PUBLISHED, UNSCALED = "xray_cnn", "published", "published_unscaled"
ENSEMBLE = "xray_cnn_ensemble"  # mean logit over the seeds; its own seed is -1
FIXED = 0.5  # threshold of the published experiment
PREVALENCES = (0.05, 0.20, 0.62)  # a screening, an emergency room, the official test folder
BINS = 10  # of the reliability diagram and of the expected calibration error
HEADLINE = ("auroc", "accuracy", "sensitivity", "specificity")
COLUMNS = ("network", "seed", "path", "folder", "split", "label", "subtype", "patient", "logit")
TIDY = ("network", "split", "seed", "statistic", "value", "sd", "lower", "upper", "n_films", "n_children")

# Film weights, float64 (resamples, films) -> {name: float64 (resamples,)}, or a table of such columns.
Statistic = Callable[[np.ndarray], dict]


def check(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions table with a column more, probability (float64).

    Raises UserError where a column is missing, a label is not 0 or 1, a logit is not finite, or a row comes twice.
    """
    remedy = "Remove the file and run `make reproduce` again."
    if missing := [column for column in COLUMNS if column not in predictions]:
        raise UserError(f"predictions: no column {', '.join(missing)}; wanted {', '.join(COLUMNS)}. {remedy}")
    problems = {
        "has a label that is not 0 or 1": ~predictions.label.isin((0, 1)),
        "has no finite logit": ~np.isfinite(predictions.logit),
        "comes twice; wanted one row": predictions.duplicated(["network", "seed", "path"]),
    }
    for problem, wrong in problems.items():
        if wrong.any():
            row = predictions[wrong].iloc[0]
            place = f"{row.network}, seed {row.seed}, {row.path}"
            raise UserError(f"predictions: {place} {problem} ({wrong.sum()} such rows). {remedy}")
    return predictions.assign(probability=expit(predictions.logit))


def mean_logit(predictions: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row per network, seed, split and `by` (patient, path): the first film by path, with the mean logit of all."""
    keys = ["network", "seed", "split", by]
    how = dict.fromkeys(predictions.columns.difference(keys), "first") | {"logit": "mean"}
    rows = predictions.sort_values("path", kind="stable").groupby(keys, as_index=False).agg(how)
    rows = rows.assign(probability=expit(rows.logit))[list(predictions)]
    return rows.sort_values(["network", "seed", "path"], ignore_index=True)


def with_ensemble(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions and those of ENSEMBLE: the mean over seeds of the study's network's logit of each film."""
    seeds = predictions[predictions.network == STUDY].assign(network=ENSEMBLE, seed=-1)
    return pd.concat([predictions, mean_logit(seeds, "path")], ignore_index=True)


def choose_operating_point(tune: pd.DataFrame) -> float:
    """The probability at which a logistic regression of the label on the logit, classes balanced, is undecided.

    All tune films decide it, not the few beside the best cut: its SD over resamples is a third. Where the network does
    not tell the classes apart, the lowest probability: every film is called PNEUMONIA. tune: of one network and seed.
    Raises UserError if tune lacks a class.
    """
    if absent := [name for label, name in enumerate(CLASSES) if not (tune.label == label).any()]:
        raise UserError(f"predictions: {len(tune)} tune films, none of them {absent[0]}. Wanted both. Use more films.")
    logits = logit(np.clip(tune.probability.to_numpy(), 1e-7, 1 - 1e-7))  # of 0 and 1 there is no logit
    fitted = LogisticRegression(class_weight="balanced").fit(logits[:, None], tune.label)
    slope, intercept = fitted.coef_[0, 0], fitted.intercept_[0]
    return float(expit(-intercept / slope)) if slope > 1e-6 else float(tune.probability.min())


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


def _outcomes(label, probability, threshold: float) -> np.ndarray:
    """1 where a film is a true negative, false positive, false negative, true positive: float64 (films, 4)."""
    return np.eye(4)[2 * np.asarray(label) + (np.asarray(probability) >= threshold)]


def at_threshold(label, probability, threshold: float) -> dict:
    """Counts tn, fp, fn, tp of the decisions probability >= threshold, and their `rates`."""
    counts = _outcomes(label, probability, threshold).sum(axis=0).astype(int).tolist()
    return dict(zip(("tn", "fp", "fn", "tp"), counts, strict=True)) | rates(*counts)


def once(statistic: Statistic, n_films: int) -> dict[str, float]:
    """The ordinary value of every statistic: each film counts once."""
    return {name: float(value[0]) for name, value in statistic(np.ones((1, n_films))).items()}


def ranking(label, probability) -> dict:
    """What needs no threshold: AUROC, average precision, Brier score, expected calibration error; NaN if undefined."""
    return once(weighted_ranking(label, probability), len(label))


def statistics(films: pd.DataFrame, threshold: float) -> Statistic:
    """Every statistic of one network's predictions as a function of film weights.

    Keys: those of `rates` and `ranking`, sensitivity_<subtype>, ppv_at_<prevalence> and npv_at_<prevalence>.
    """
    outcomes = _outcomes(films.label, films.probability, threshold)
    rank = weighted_ranking(films.label, films.probability)
    subtypes = {name: (films.subtype == name).to_numpy(np.float64) for name in ("bacteria", "virus")}

    def of(weights: np.ndarray) -> dict:
        values = rates(*(weights @ outcomes).T) | rank(weights)
        for name, member in subtypes.items():
            values[f"sensitivity_{name}"] = _ratio(weights @ (member * outcomes[:, 3]), weights @ member)
        for prevalence in PREVALENCES:
            sick, well = prevalence, 1 - prevalence  # Bayes' rule, on shares of all children instead of counts
            hit, clear = values["sensitivity"] * sick, values["specificity"] * well
            shares = rates(tn=clear, fp=well - clear, fn=sick - hit, tp=hit)
            values |= {f"{name}_at_{prevalence:.2f}": shares[name] for name in ("ppv", "npv")}
        return values

    return of


def weighted_ranking(label, probability) -> Statistic:
    """`ranking` as a function of film weights."""
    label, probability = np.asarray(label, np.float64), np.asarray(probability, np.float64)
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=2))  # tied films count as one step of the curves
    squared = (probability - label) ** 2
    excess = np.eye(BINS)[bin_of(probability)] * (probability - label)[:, None]

    def of(weights: np.ndarray) -> dict:
        ordered, total = weights[:, order], weights.sum(axis=1)
        positive = np.add.reduceat(ordered * label[order], starts, axis=1)
        negative = np.add.reduceat(ordered, starts, axis=1) - positive
        hits, alarms = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)  # with each step's threshold
        below = alarms[:, -1:] - alarms + negative / 2  # negative films of a lower probability, and half of the tied
        return {
            "auroc": _ratio((positive * below).sum(axis=1), hits[:, -1] * alarms[:, -1]),
            "average_precision": _ratio(np.nansum(positive * _ratio(hits, hits + alarms), axis=1), hits[:, -1]),
            "brier": _ratio(weights @ squared, total),
            "expected_calibration_error": _ratio(np.abs(weights @ excess).sum(axis=1), total),
        }

    return of


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
    return pd.DataFrame({"network": network, "treat_all": label.mean() - odds * (1 - label.mean())})


def patient_bootstrap(films: pd.DataFrame, statistic: Statistic, resamples: int, seed: int) -> pd.DataFrame:
    """Index: statistic; columns value, lower, upper: 95 % percentile interval over resamples of patients.

    films: a row per film, with a column patient; a film's weight is how often its patient was drawn. Resamples where a
    statistic is undefined (no film of a class, say) are left out; if more than half are, there is no interval (NaN).
    """
    patient, patients = pd.factorize(films.patient)
    n = len(patients)
    rng = np.random.default_rng(seed)
    at_once = max(1, 1_000_000 // len(films))  # a few arrays of 8 MB: the cache is small, and so are free machines
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        parts.append(pd.DataFrame(statistic(counts[:, patient])))
    values = pd.concat(parts)
    ends = values.quantile([0.025, 0.975]).set_axis(["lower", "upper"]).T
    ends[values.isna().mean() > 0.5] = np.nan
    return pd.DataFrame({"value": once(statistic, len(films))}).join(ends)


def paired_bootstrap(first: pd.DataFrame, second: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """Index: statistic; columns difference, lower, upper: seed-mean of `first` minus that of `second`.

    first, second: predictions of one network on one split. The seeds of the two are drawn apart, patients together.
    Raises ValueError if the two hold different films.
    """
    (films, ours), (others, theirs) = (_each_seed(predictions, points) for predictions in (first, second))
    if films.path.tolist() != others.path.tolist():
        raise ValueError(f"paired_bootstrap: {len(films)} films against {len(others)}; wanted the same films.")

    def difference(weights: np.ndarray, rng: np.random.Generator | None = None) -> pd.DataFrame:
        return _mean(ours, weights, rng) - _mean(theirs, weights, rng)

    return _with_seeds(films, difference, config).rename(columns={"value": "difference"})


def _each_seed(predictions: pd.DataFrame, points: Mapping) -> tuple[pd.DataFrame, dict[str, Statistic]]:
    """The films of one network's predictions, sorted by path, and the statistics of each seed on them."""
    seeds = {key: rows for key, rows in predictions.sort_values("path").groupby(["network", "seed"])}
    return next(iter(seeds.values())), {str(key[1]): statistics(rows, points[key]) for key, rows in seeds.items()}


def _mean(seeds: Mapping[str, Statistic], weights: np.ndarray, rng: np.random.Generator | None = None) -> pd.DataFrame:
    """The mean over seeds for each row of weights; with rng, over as many seeds drawn with replacement for each row."""
    n = len(seeds)
    drawn = np.ones((len(weights), n)) if rng is None else rng.multinomial(n, [1 / n] * n, len(weights))
    tables = (pd.DataFrame(of_seed(weights)) for of_seed in seeds.values())
    return sum(table.mul(times, axis=0) for table, times in zip(tables, drawn.T, strict=True)) / n


def _with_seeds(films: pd.DataFrame, mean: Callable, config: Config) -> pd.DataFrame:
    """`patient_bootstrap` of mean(weights, rng), which draws seeds too; its value is that of all seeds."""
    rng = np.random.default_rng([config.split_seed, 1])  # another stream than the patients'
    table = patient_bootstrap(films, lambda w: mean(w, rng), config.bootstrap_resamples, config.split_seed)
    return table.assign(value=pd.Series(once(mean, len(films))))


def summarise(predictions: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """metrics.csv: every statistic of every network on tune and test, and of the published network on train (TIDY).

    seed: "0", "1", ...; "mean" (sd over seeds, 95 % interval over patients and seeds); "ensemble" (mean logit, with
    an interval over patients). The threshold of each seed is a row of split tune.
    """
    parts = []
    for network, rows in predictions.groupby("network", sort=False):
        for split in ("train", "tune", "test") if network == PUBLISHED else ("tune", "test"):
            if (rows.split == split).any():
                parts.append(summarise_split(rows[rows.split == split], points, config))
        tune = rows[rows.split == "tune"]
        thresholds = [{"seed": str(seed), "value": points[network, seed]} for seed in tune.seed.unique()]
        n = {"n_films": tune.path.nunique(), "n_children": tune.patient.nunique()}
        parts.append(pd.DataFrame(thresholds).assign(network=network, split="tune", statistic="threshold", **n))
    table = pd.concat(parts, ignore_index=True)
    table.loc[table.network == ENSEMBLE, ["network", "seed"]] = STUDY, "ensemble"
    return table


def summarise_split(predictions: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """Rows of metrics.csv for one network on one split; predictions: of all seeds there."""
    films, seeds = _each_seed(predictions, points)
    values = pd.DataFrame({seed: once(statistic, len(films)) for seed, statistic in seeds.items()})
    mean = _with_seeds(films, lambda *drawn: _mean(seeds, *drawn), config)
    mean = mean.assign(seed="mean", sd=values.std(axis=1, skipna=False))
    first, n = films.iloc[0], {"n_films": len(films), "n_children": films.patient.nunique()}
    each = [] if first.network == ENSEMBLE else [values.melt(var_name="seed", ignore_index=False)]
    table = pd.concat([*each, mean]).rename_axis("statistic").reset_index().reindex(columns=TIDY)
    return table.assign(network=first.network, split=first.split, **n)


def _ratio(numerator, denominator):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(denominator) == 0, np.nan, np.divide(numerator, denominator))[()]
