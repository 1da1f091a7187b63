"""Test predictions -> subgroups, sensitivity analyses, baselines, calibration, abstention and errors, as tables.

Every function takes predictions of the test split and (network, seed) -> operating point, and computes nothing that
depends on the split by any other way: all choices were made on tune.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from xraylib.config import Config
from xraylib.data.corruptions import CORRUPTIONS, Corruption, corrupt
from xraylib.data.index import CLASSES
from xraylib.evaluation import metrics

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


def in_parts(table: pd.DataFrame, parts: Mapping[str, tuple], points: Mapping, config: Config) -> pd.DataFrame:
    """Statistics of one network on parts of its test images.

    table: predictions of one network, all seeds; parts: name -> (bool mask over table, names of statistics). Columns:
    part, images, patients, statistic, mean, sd (over seeds), lower, upper (95 % interval over patients).
    """
    own = {seed: points[table.network.iloc[0], seed] for seed in sorted(table.seed.unique())}
    rows = []
    for name, (mask, statistics) in parts.items():
        if not mask.any():
            continue
        found = metrics.summarise_split(table[mask], own, config)
        n = {"images": found["n_images"], "patients": found["n_patients"]}
        for statistic in statistics:
            block = found["chosen"][statistic]
            figures = {key: block[key] for key in ("mean", "sd", "lower", "upper")}
            rows.append({"part": name} | n | {"statistic": statistic} | figures)
    return pd.DataFrame(rows)


def subgroups(table: pd.DataFrame, points: Mapping, config: Config, runs: int = 4) -> pd.DataFrame:
    """Sensitivity by subtype; specificity by series of file names and by runs of file numbers.

    NORMAL files count up within a series, so a run of numbers is a time of acquisition. Age and sex, which a reader
    would want here, are not published. See `in_parts` for the columns.
    """
    series = np.where(table.path.str.contains("NORMAL2-"), "NORMAL2-IM-", "IM-")
    normal = (table.label == 0).to_numpy()
    parts = {
        "bacteria": ((table.subtype == "bacteria").to_numpy(), ["sensitivity"]),
        "virus": ((table.subtype == "virus").to_numpy(), ["sensitivity"]),
    }
    number = pd.to_numeric(table.path.str.extract(r"IM-(\d+)", expand=False), errors="coerce")
    for name in ("IM-", "NORMAL2-IM-"):
        of_series = normal & (series == name)
        parts[f"series {name}"] = (of_series, ["specificity"])
        there = np.sort(number[of_series].dropna().unique())
        for some in np.array_split(there, runs) if len(there) >= 10 * runs else []:
            inside = of_series & number.between(some[0], some[-1]).to_numpy()
            parts[f"{name}{int(some[0]):04d} to {int(some[-1]):04d}"] = (inside, ["specificity"])
    return in_parts(table, parts, points, config)


def sensitivity_analyses(table: pd.DataFrame, index: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """The headline again under other decisions that a reader might have made: columns of `in_parts`.

    Distinct images only; one image a patient; without patients whose bare number also stands in train; threshold 0.5.
    """
    rows = index.set_index("path").loc[table.path]
    known = set(index.patient_number[index.split.isin(("train", "tune"))])
    first_of_bytes = index[index.split == "test"].drop_duplicates("sha256").path
    first_of_patient = index[index.split == "test"].drop_duplicates("patient").path
    parts = {
        "as reported": (np.ones(len(table), bool), metrics.HEADLINE),
        "distinct images": (table.path.isin(first_of_bytes).to_numpy(), metrics.HEADLINE),
        "one image a patient": (table.path.isin(first_of_patient).to_numpy(), metrics.HEADLINE),
        "bare numbers not in train": (~rows.patient_number.isin(known).to_numpy(), metrics.HEADLINE),
    }
    half = dict.fromkeys(points, metrics.HALF)
    at_half = in_parts(table, {"threshold 0.5": (np.ones(len(table), bool), metrics.HEADLINE)}, half, config)
    return pd.concat([in_parts(table, parts, points, config), at_half], ignore_index=True)


def against_baselines(predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Every network and baseline on test at its own operating point, and the study's CNN minus each.

    predictions: all splits, baselines included. Columns: network, statistic, mean, sd, lower, upper, difference,
    difference_lower, difference_upper (of the study's CNN minus this one, 95 % interval over patients).
    """
    points = metrics.operating_points(predictions)
    test = predictions[predictions.split == "test"]
    own, own_points = test[test.network == metrics.OWN], _of(points, metrics.OWN)
    rows = []
    for network in dict.fromkeys(test.network):
        part, its_points = test[test.network == network], _of(points, network)
        found = metrics.summarise_split(part, its_points, config)["chosen"]
        more = (
            metrics.paired_bootstrap(own, part, own_points, its_points, config.bootstrap_resamples, config.split_seed)
            if network != metrics.OWN
            else {}
        )
        for statistic in metrics.HEADLINE:
            row = {"network": network, "statistic": statistic}
            row |= {key: found[statistic][key] for key in ("mean", "sd", "lower", "upper")}
            given = more.get(statistic, {})
            row |= {"difference": given.get("difference", np.nan)}
            row |= {f"difference_{side}": given.get(side, np.nan) for side in ("lower", "upper")}
            rows.append(row)
    return pd.DataFrame(rows)


def statistics_table(summary: Mapping, network: str) -> pd.DataFrame:
    """Every statistic of one network on test where it was asked to decide: statistic, mean, sd, lower, upper.

    The last rows are DeLong's interval of AUROC, mean over seeds, to be set beside the bootstrap's.
    """
    test = summary["networks"][network]["test"]
    rows = [
        {"statistic": name} | {key: block[key] for key in ("mean", "sd", "lower", "upper")}
        for name, block in test["chosen"].items()
    ]
    of_seeds = pd.DataFrame(test["delong"])[["auroc", "lower", "upper"]].mean()
    rows.append(
        {"statistic": "auroc, DeLong", "mean": of_seeds.auroc, "lower": of_seeds.lower, "upper": of_seeds.upper}
    )
    return pd.DataFrame(rows).astype({"sd": np.float64})


# --- calibration ---


def recalibrated(predictions: pd.DataFrame, network: str) -> pd.DataFrame:
    """The network's predictions on all splits, with probabilities recalibrated by Platt's fit on each seed's tune."""
    own = predictions[predictions.network == network]
    parts = []
    for _, part in own.groupby("seed", sort=True):
        tune = part[part.split == "tune"]
        fitted = metrics.recalibrate(tune.label, tune.probability)
        parts.append(part.assign(probability=fitted.apply(part.probability)))
    return pd.concat(parts, ignore_index=True)


def calibration(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Brier score and expected calibration error before and after recalibration, mean and SD over seeds."""
    rows = []
    for name, table in (("before", before), ("after", after)):
        values = pd.DataFrame([metrics.ranking(part.label, part.probability) for _, part in table.groupby("seed")])
        for statistic in ("brier", "expected_calibration_error"):
            column = values[statistic]
            rows.append({"recalibration": name, "statistic": statistic, "mean": column.mean(), "sd": column.std()})
    return pd.DataFrame(rows)


def prior_shift(table: pd.DataFrame, learned_prevalence: float) -> pd.DataFrame:
    """Calibration where pneumonia is rarer: expected calibration error of calibrated probabilities, as they are and
    corrected by Bayes' rule for the prevalence, at metrics.PREVALENCES.

    table: recalibrated test predictions; test images are weighted to the prevalence. Mean over seeds.
    """
    rows = []
    for prevalence in metrics.PREVALENCES:
        as_is: list[float] = []
        corrected: list[float] = []
        for _, part in table.groupby("seed"):
            label, probability = part.label.to_numpy(), part.probability.to_numpy()
            share = label.mean()
            weights = np.where(label == 1, prevalence / share, (1 - prevalence) / (1 - share))[None]
            moved = metrics.shift_prevalence(probability, learned_prevalence, prevalence)
            for p, errors in ((probability, as_is), (moved, corrected)):
                errors.append(float(metrics.weighted_ranking(label, p, weights)["expected_calibration_error"][0]))
        rows.append({"prevalence": prevalence, "as it is": np.mean(as_is), "corrected": np.mean(corrected)})
    return pd.DataFrame(rows)


# --- abstention and errors ---


def risk_coverage(table: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """Accuracy on the images that are left when the network may abstain from those nearest to its threshold.

    Columns: coverage (share of images decided), network, accuracy, sd over seeds. Distance is in logits.
    """
    rows = []
    for network, of_network in table.groupby("network", sort=False):
        curves = []
        for seed, part in of_network.groupby("seed"):
            threshold = points[network, seed].threshold
            distance = np.abs(metrics.logit(part.probability) - metrics.logit(threshold))
            right = ((part.probability >= threshold) == (part.label == 1)).to_numpy()
            surest = right[np.argsort(-distance, kind="stable")]
            curves.append([surest[: max(1, round(c * len(surest)))].mean() for c in COVERAGES])
        for coverage, values in zip(COVERAGES, np.transpose(curves), strict=True):
            sd = values.std(ddof=1) if len(values) > 1 else np.nan
            rows.append({"coverage": coverage, "network": network, "accuracy": values.mean(), "sd": sd})
    return pd.DataFrame(rows)


def worst_errors(table: pd.DataFrame, points: Mapping, n: int = 8) -> pd.DataFrame:
    """The images that most seeds decide wrongly, by name: error, path, subtype, probability (mean), seeds wrong.

    table: predictions of one network, all seeds. At most n false negatives (lowest probability first) and n false
    positives (highest first).
    """
    images = (
        _judged(table, points)
        .groupby(["path", "subtype", "label"], sort=True)
        .agg(probability=("probability", "mean"), seeds_wrong=("wrong", "sum"))
    )
    images = images[images.seeds_wrong > 0].reset_index()
    missed = images[images.label == 1].sort_values(["seeds_wrong", "probability"], ascending=[False, True]).head(n)
    alarms = images[images.label == 0].sort_values(["seeds_wrong", "probability"], ascending=[False, False]).head(n)
    listed = pd.concat([missed.assign(error="false negative"), alarms.assign(error="false positive")])
    return listed[["error", "path", "subtype", "probability", "seeds_wrong"]].reset_index(drop=True)


def errors_in_common(table: pd.DataFrame, grey: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """Films that at least half of the seeds decide wrongly, against the others of their class.

    table: predictions of one network, all seeds; grey: indexed by path, a column per grey-level statistic
    (audit.grey_statistics). Columns: label, decided (rightly, wrongly), images, share_virus, and the means of grey.
    """
    images = (
        _judged(table, points).groupby(["path", "label", "subtype"]).wrong.mean().reset_index().join(grey, on="path")
    )
    images["decided"] = np.where(images.wrong >= 0.5, "wrongly", "rightly")
    images["label"] = images.label.map(dict(enumerate(CLASSES)))
    groups = images.assign(share_virus=images.subtype == "virus").groupby(["label", "decided"])
    means = groups[["share_virus", *grey.columns]].mean()
    return groups.size().rename("images").to_frame().join(means).reset_index()


def _judged(table: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """The predictions of one network with a column more: wrong, whether its decision is."""
    network = table.network.iloc[0]
    threshold = table.seed.map(lambda seed: points[network, seed].threshold)
    return table.assign(wrong=(table.probability >= threshold) != (table.label == 1))


# --- robustness ---


def robustness(
    predictors: Mapping[tuple[str, int], Callable[[np.ndarray], np.ndarray]],
    images: np.ndarray,
    label: np.ndarray,
    points: Mapping,
) -> pd.DataFrame:
    """AUROC, sensitivity and specificity of every network under every corruption, at the thresholds chosen on tune.

    predictors: (network, seed) -> what gives logits (n,) of uint8 films (n, h, w); images: the decoded
    test images; label: (n,). Columns: corruption ("none" first), severity, amount, unit, network, statistic, mean, sd
    (over seeds). Shows progress.
    """
    untouched = Corruption(lambda x, amount, rng: x, "", (0.0,))
    rows = []
    for name, corruption in tqdm(({"none": untouched} | CORRUPTIONS).items(), "corruptions", mininterval=2, delay=2):
        severities = [0] if name == "none" else range(1, len(corruption.amounts) + 1)
        corrupted = np.concatenate([corrupt(images, name, severity) for severity in severities])
        for (network, seed), predict in predictors.items():
            each = np.split(expit(predict(corrupted)), len(severities))  # at once: a call costs as 100 images do
            for severity, amount, probability in zip(severities, corruption.amounts, each, strict=True):
                rates = metrics.at_threshold(label, probability, points[network, seed].threshold)
                values = {"auroc": metrics.ranking(label, probability)["auroc"]} | rates
                for statistic in ("auroc", "sensitivity", "specificity"):
                    rows.append((name, severity, amount, corruption.unit, network, statistic, values[statistic]))
    keys = ["corruption", "severity", "amount", "unit", "network", "statistic"]
    table = pd.DataFrame(rows, columns=[*keys, "value"])
    return table.groupby(keys, sort=False).value.agg(mean="mean", sd="std").reset_index()


def _of(points: Mapping, network: str) -> dict:
    return {seed: point for (name, seed), point in points.items() if name == network}
