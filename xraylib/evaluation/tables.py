"""Predictions and metrics -> the tables of notebooks 03 and 04: replay, headline, differences, ledger, val folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import beta

from xraylib.config import Config
from xraylib.data.index import CLASSES
from xraylib.evaluation import metrics
from xraylib.files import UserError, write_table

HEADLINE = (*metrics.HEADLINE, "balanced_accuracy")

# As the author printed them; the confusion matrix (rows: true NORMAL, PNEUMONIA) is of the training folder.
PUBLISHED_MATRIX = ((1151, 190), (409, 3466))
PUBLISHED_VAL = {0: [1, 0, 1, 1, 1, 1, 0, 0], 1: [1, 1, 1, 1, 1, 1, 1]}  # per class; the 16th image was skipped
PUBLISHED_SECONDS = 250.26
PUBLISHED_IMAGES = sum(map(sum, PUBLISHED_MATRIX))
PUBLISHED = {
    "running training accuracy": 0.8267,
    '"val_accuracy": augmented training images': 0.8845,
    "accuracy, train folder": (PUBLISHED_MATRIX[0][0] + PUBLISHED_MATRIX[1][1]) / PUBLISHED_IMAGES,
    "sensitivity, train folder": PUBLISHED_MATRIX[1][1] / sum(PUBLISHED_MATRIX[1]),
    "specificity, train folder": PUBLISHED_MATRIX[0][0] / sum(PUBLISHED_MATRIX[0]),
    "val folder, unscaled images, called PNEUMONIA": sum(map(sum, PUBLISHED_VAL.values())) / 15,
}

# Rows of the story.
BASELINES = {
    "majority": "every film called PNEUMONIA",
    "metadata": "the file alone (size, bytes, quality)",
    "thumbnail": "8 x 8 pixels",
}
OWN_NETWORKS = {metrics.OWN: "this study's CNN", metrics.ENSEMBLE: "its seeds averaged"}


def load_predictions(config: Config) -> pd.DataFrame:
    """The predictions table that notebook 02 wrote; UserError where it is not there yet or is not whole."""
    path = config.results / "predictions.csv"
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 02_train first, or: make reproduce")
    table = pd.read_csv(path, dtype={"path": str, "patient": str})
    return metrics.check(table.assign(probability=expit(table.logit)))


def decision_points(points: Mapping) -> dict:
    """(network, seed) -> the operating point that it decides at: 0.5 for the published CNN, as it did; else its own."""
    unscaled = {("published_unscaled", seed): metrics.HALF for name, seed in points if name == metrics.PUBLISHED}
    return {key: metrics.HALF if key[0] == metrics.PUBLISHED else point for key, point in points.items()} | unscaled


def published_replay(predictions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The published figures beside the replayed ones: quantity, published, replayed (mean over seeds), sd, seeds."""
    replayed = [_replayed(predictions, history, seed) for seed in _seeds(predictions)]
    rows = []
    for quantity, published in PUBLISHED.items():
        values = [figures[quantity] for figures in replayed]
        rows.append(
            {
                "quantity": quantity,
                "published": published,
                "replayed": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                "seeds": len(values),
            }
        )
    return pd.DataFrame(rows)


def published_printed(predictions: pd.DataFrame, seconds: Mapping[str, float]) -> pd.DataFrame:
    """What the experiment printed beside what each replay prints, as text: quantity, published, seed 0, seed 1, ...

    The confusion matrix of the train folder (rows true NORMAL, PNEUMONIA), the decisions on the val folder from
    unscaled images (the experiment skipped its sixteenth image) and the seconds that it took.
    """
    as_printed = {
        "confusion matrix, train folder": str([list(row) for row in PUBLISHED_MATRIX]),
        "val folder, NORMAL": " ".join(map(str, PUBLISHED_VAL[0])),
        "val folder, PNEUMONIA": " ".join(map(str, PUBLISHED_VAL[1])),
        "seconds": str(PUBLISHED_SECONDS),
    }
    table = pd.DataFrame({"quantity": list(as_printed), "published": list(as_printed.values())})
    for seed in _seeds(predictions):
        of_seed = predictions[predictions.seed == seed]
        train = of_seed[(of_seed.network == metrics.PUBLISHED) & (of_seed.folder == "train")]
        found = metrics.at_threshold(train.label, train.probability, 0.5)
        val = of_seed[of_seed.network == "published_unscaled"].sort_values("path")
        called = [" ".join("01"[p >= 0.5] for p in val.probability[val.label == label]) for label in (0, 1)]
        matrix = f"[[{found['tn']}, {found['fp']}], [{found['fn']}, {found['tp']}]]"
        table[f"seed {seed}"] = [matrix, *called, f"{seconds[str(seed)]:.0f}"]
    return table


def replayed_per_seed(predictions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """quantity, source and value, published once and replayed once per seed, as plots.published_comparison wants it."""
    rows = [{"quantity": name, "source": "published", "value": value} for name, value in PUBLISHED.items()]
    for seed in _seeds(predictions):
        figures = _replayed(predictions, history, seed)
        rows += [{"quantity": name, "source": "replayed", "value": figures[name]} for name in PUBLISHED]
    return pd.DataFrame(rows)


def _seeds(predictions: pd.DataFrame) -> list[int]:
    return sorted(predictions.seed[predictions.network == metrics.PUBLISHED].unique())


def _replayed(predictions: pd.DataFrame, history: pd.DataFrame, seed: int) -> dict[str, float]:
    of_seed = predictions[predictions.seed == seed]
    epoch = history[(history.network == metrics.PUBLISHED) & (history.seed == seed)].iloc[-1]
    train = of_seed[(of_seed.network == metrics.PUBLISHED) & (of_seed.folder == "train")]
    rates = metrics.at_threshold(train.label, train.probability, 0.5)
    unscaled = of_seed[of_seed.network == "published_unscaled"]
    values = [
        epoch.accuracy,
        epoch.val_accuracy,
        *(rates[name] for name in ("accuracy", "sensitivity", "specificity")),
        (unscaled.probability >= 0.5).mean(),
    ]
    return dict(zip(PUBLISHED, map(float, values), strict=True))


def headline_rows(summary: Mapping) -> pd.DataFrame:
    """metrics.as_table's rows of test at the point where each network decides (0.5 for the published CNN)."""
    table = metrics.as_table(summary)
    decides = np.where(table.network == metrics.PUBLISHED, "half", "chosen")
    return table[(table.split == "test") & (table.point == decides)].assign(point="decided").reset_index(drop=True)


def headline(summary: dict) -> pd.DataFrame:
    """Test results as text, a row per network: "mean ± SD over seeds (95 % interval over patients)"."""
    rows = headline_rows(summary)
    rows = rows[rows.statistic.isin(HEADLINE)]
    text = [_text(row) for row in rows.itertuples()]
    table = rows.assign(text=text).pivot_table(index="network", columns="statistic", values="text", aggfunc="first")
    first = next(iter(summary["networks"].values()))["test"]
    table.columns.name = f"test, n = {first['n_images']}, {first['n_patients']} patients"
    return table[list(HEADLINE)]


def _text(row) -> str:
    sd = f" ± {row.sd:.3f}" if np.isfinite(row.sd) else ""
    interval = f" ({row.lower:.3f}-{row.upper:.3f})" if np.isfinite(row.lower) else ""
    return f"{row.mean:.3f}{sd}{interval}"


def story(
    replay: pd.DataFrame, summary: Mapping, compared: pd.DataFrame, index: pd.DataFrame, field: pd.DataFrame
) -> pd.DataFrame:
    """The result table of the whole study: as published, replayed, scored honestly; baselines; this study; the field.

    replay: published_replay; compared: evidence.against_baselines; field: results/field.csv, or none of its rows where
    the images are phantoms. Columns: group, row, measured_on ("train folder", "test", "official test"), images,
    patients, statistic, mean, sd (over seeds), lower, upper (95 % interval over patients), source, link.
    """
    rows = []
    folder = index[index.folder == "train"]
    for source, name, images in (
        ("published", "as published", PUBLISHED_IMAGES),
        ("replayed", "replayed", len(folder)),
    ):
        for statistic in ("accuracy", "sensitivity", "specificity"):
            line = replay[replay.quantity == f"{statistic}, train folder"].iloc[0]
            row = {
                "group": "published experiment",
                "row": f"published experiment, {name}",
                "measured_on": "train folder",
                "images": images,
            }
            sd = line.sd if source == "replayed" else np.nan
            rows.append(row | {"statistic": statistic, "mean": line[source], "sd": sd})
    decided = headline_rows(summary)
    n = {"measured_on": "test", "images": decided.n_images.iloc[0], "patients": decided.n_patients.iloc[0]}
    lines = [
        (
            "published experiment",
            "published experiment, on unseen children",
            decided[decided.network == metrics.PUBLISHED],
        )
    ]
    lines += [("baselines", name, compared[compared.network == network]) for network, name in BASELINES.items()]
    lines += [("this study", name, decided[decided.network == network]) for network, name in OWN_NETWORKS.items()]
    for group, name, part in lines:
        part = part[part.statistic.isin(metrics.HEADLINE)]
        figures = part[["statistic", "mean", "sd", "lower", "upper"]].to_dict("records")
        rows += [{"group": group, "row": name} | n | of_statistic for of_statistic in figures]
    for line in field.itertuples():
        row = {"group": "field", "row": f"{line.source}: {line.method}", "measured_on": "official test"}
        row |= {"images": line.images, "source": line.source, "link": line.link}
        values = {name: (getattr(line, name), getattr(line, f"{name}_sd", np.nan)) for name in metrics.HEADLINE}
        rows += [row | {"statistic": s, "mean": mean, "sd": sd} for s, (mean, sd) in values.items() if mean == mean]
    columns = ["group", "row", "measured_on", "images", "patients", "statistic", "mean", "sd", "lower", "upper"]
    return pd.DataFrame(rows).reindex(columns=[*columns, "source", "link"])


def differences(predictions: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """The study's CNN minus the published CNN on the same test images, each where it decides: statistic, difference,
    lower, upper (95 % interval over patients), mean over seeds.
    """
    test, decided = predictions[predictions.split == "test"], decision_points(points)
    own, other = ({s: p for (name, s), p in decided.items() if name == n} for n in (metrics.OWN, metrics.PUBLISHED))
    found = metrics.paired_bootstrap(
        test[test.network == metrics.OWN],
        test[test.network == metrics.PUBLISHED],
        own,
        other,
        config.bootstrap_resamples,
        config.split_seed,
    )
    return pd.DataFrame([{"statistic": name} | found[name] for name in HEADLINE])


def record_reading(summary: dict, predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Add this reading of test to results/test_ledger.csv and return the ledger.

    A reading is known by a digest of the test predictions, so that the same configuration run again adds no row. Only
    the full profile keeps account; of phantoms and samples, the last reading alone is kept.
    """
    path = config.results / "test_ledger.csv"
    keeps = config.profile == "full" and path.exists()
    ledger = pd.read_csv(path, dtype={"predictions": str}) if keeps else pd.DataFrame()
    rows = headline_rows(summary)
    rows = rows[rows.network == metrics.OWN].set_index("statistic")
    test = predictions[(predictions.split == "test") & (predictions.network == metrics.OWN)]
    digest = hashlib.sha256(test[["seed", "path", "probability"]].to_csv(index=False).encode()).hexdigest()[:12]
    if ledger.empty or digest not in set(ledger.predictions):
        reading = {"reading": len(ledger) + 1, "predictions": digest, "network": metrics.OWN}
        reading |= {"images": test.path.nunique(), "seeds": test.seed.nunique()}
        reading |= {name: round(float(rows["mean"][name]), 4) for name in HEADLINE}
        ledger = pd.concat([ledger, pd.DataFrame([reading])], ignore_index=True)
        write_table(ledger, path)
    return ledger


def val_table(predictions: pd.DataFrame, points: Mapping, seed: int) -> pd.DataFrame:
    """A row per image of the val folder: path, label, and probability and decision of each network for one seed."""
    val = predictions[(predictions.split == "val") & (predictions.seed == seed)]
    rows = val[val.network == metrics.OWN][["path", "label"]].reset_index(drop=True)
    for network in ("published_unscaled", metrics.PUBLISHED, metrics.OWN):
        probability = val[val.network == network].set_index("path").probability[rows.path].to_numpy()
        rows[f"{network}_probability"] = probability
        rows[f"{network}_decision"] = (probability >= points[network, seed].threshold).astype(int)
    return rows.sort_values(["label", "path"], ignore_index=True)


def val_against_published(table: pd.DataFrame) -> pd.DataFrame:
    """Images of the val folder called PNEUMONIA, per class: as published, replayed with its flaw, and done rightly."""
    rows = []
    for label, name in enumerate(CLASSES):
        part = table[table.label == label]
        row = {"true class": name, "as published": f"{sum(PUBLISHED_VAL[label])} of {len(PUBLISHED_VAL[label])}"}
        for network in ("published_unscaled", metrics.PUBLISHED, metrics.OWN):
            row[network] = f"{part[f'{network}_decision'].sum()} of {len(part)}"
        rows.append(row)
    return pd.DataFrame(rows).set_index("true class")


def sixteen(n: int = 16, level: float = 0.95) -> pd.DataFrame:
    """The exact (Clopper and Pearson 1934) interval of accuracy after 16, 15, 14, 12 and 8 right answers of n."""
    right = np.array([16, 15, 14, 12, 8])
    tail = (1 - level) / 2
    lower = beta.ppf(tail, right, n - right + 1)
    upper = np.where(right == n, 1, beta.ppf(1 - tail, right + 1, np.maximum(n - right, 1)))
    return pd.DataFrame({"right": right, "of": n, "lower": lower.round(3), "upper": upper.round(3)})
