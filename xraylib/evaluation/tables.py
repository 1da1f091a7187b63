"""Predictions -> the tables of notebooks 03, 04 and 05.

Shared columns: value (mean over seeds), sd (over seeds), lower and upper (95 % interval over patients), n_films,
n_children. Thresholds come from `metrics.operating_points`, so nothing here is chosen on test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest
from tqdm import tqdm

from xraylib.config import REPOSITORY, Config
from xraylib.data.corruptions import CORRUPTIONS, Corruption, corrupt
from xraylib.evaluation import metrics
from xraylib.files import UserError, write_table

HEADLINE = (*metrics.HEADLINE, "balanced_accuracy")
FIGURES = ["value", "sd", "lower", "upper"]
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)

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

BASELINES = {
    "majority": "every film called PNEUMONIA",
    "metadata": "the file alone (size, bytes, quality)",
    "thumbnail": "8 x 8 pixels",
}
STUDY_NETWORKS = {"mean": "this study's network", "ensemble": "its ensemble"}  # by the seed of metrics.csv


def load_predictions(config: Config, name: str = "predictions") -> pd.DataFrame:
    """predictions.csv or baselines.csv, with a column probability; UserError where it is missing or not valid."""
    path = config.results / f"{name}.csv"
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 02_train first, or: make reproduce")
    return metrics.check(pd.read_csv(path, dtype={"path": str, "patient": str}))


def load_parts(config: Config) -> pd.Series:
    """path -> part of test, "earlier" or "unseen": films that earlier versions were scored on, and the others.

    From test_unseen.csv beside the data folder, else results/test_parts.csv. Empty for phantoms.
    """
    if config.phantoms:
        return pd.Series(dtype=str)
    beside = config.data.parent / "test_unseen.csv"
    if beside.exists():
        unseen = set(pd.read_csv(beside).path)
        test = sorted(p.relative_to(config.data).as_posix() for p in (config.data / "test").rglob("*.jp*g"))
        return pd.Series({path: "unseen" if path in unseen else "earlier" for path in test}, dtype=str)
    return pd.read_csv(REPOSITORY / "results" / "test_parts.csv").set_index("path").part


# --- the published experiment ---


def published_replay(predictions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The published figures beside the replayed ones: quantity, published, replayed (mean over seeds), sd, seeds."""
    replayed = pd.DataFrame([_replayed(predictions, history, seed) for seed in _seeds(predictions)])
    table = pd.DataFrame({"published": PUBLISHED, "replayed": replayed.mean(), "sd": replayed.std()})
    return table.rename_axis("quantity").reset_index().assign(seeds=len(replayed))


def published_printed(predictions: pd.DataFrame) -> pd.DataFrame:
    """What the experiment printed beside what each replay prints, as text: quantity, published, seed 0, seed 1, ...

    The confusion matrix of the train folder (rows true NORMAL, PNEUMONIA) and the decisions on the val folder from
    unscaled images (the experiment skipped its sixteenth image).
    """
    as_printed = {
        "confusion matrix, train folder": str([list(row) for row in PUBLISHED_MATRIX]),
        "val folder, NORMAL": " ".join(map(str, PUBLISHED_VAL[0])),
        "val folder, PNEUMONIA": " ".join(map(str, PUBLISHED_VAL[1])),
    }
    table = pd.DataFrame({"quantity": list(as_printed), "published": list(as_printed.values())})
    for seed in _seeds(predictions):
        of_seed = predictions[predictions.seed == seed]
        train = of_seed[(of_seed.network == metrics.PUBLISHED) & (of_seed.folder == "train")]
        found = metrics.at_threshold(train.label, train.probability, 0.5)
        val = of_seed[of_seed.network == "published_unscaled"].sort_values("path")
        called = [" ".join("01"[p >= 0.5] for p in val.probability[val.label == label]) for label in (0, 1)]
        matrix = f"[[{found['tn']}, {found['fp']}], [{found['fn']}, {found['tp']}]]"
        table[f"seed {seed}"] = [matrix, *called]
    return table


def replayed_per_seed(predictions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """quantity, source and value, published once and replayed once per seed, as plots.published_comparison wants it."""
    each = {"published": [PUBLISHED], "replayed": [_replayed(predictions, history, s) for s in _seeds(predictions)]}
    rows = [pd.DataFrame(figures).assign(source=source) for source, figures in each.items()]
    return pd.concat(rows).melt("source", var_name="quantity")[["quantity", "source", "value"]]


def published_seen(predictions: pd.DataFrame, seen: Mapping[int, pd.Series]) -> pd.DataFrame:
    """The published network at 0.5 on the films that it learned from, the rest of their folder, and test.

    seen: seed -> paths. Columns: films, n_films (mean over seeds), accuracy, sensitivity, specificity (mean), and sd of
    accuracy over seeds.
    """
    rows = []
    for seed, paths in seen.items():
        own = predictions[(predictions.network == metrics.PUBLISHED) & (predictions.seed == seed)]
        learned = own.path.isin(set(paths))
        parts = {
            "seen in training": own[learned],
            "train folder, not seen": own[(own.folder == "train") & ~learned],
            "test folder": own[own.folder == "test"],
        }
        for name, part in parts.items():
            found = metrics.at_threshold(part.label, part.probability, 0.5)
            row = {key: found[key] for key in ("accuracy", "sensitivity", "specificity")}
            rows.append({"films": name, "n_films": len(part)} | row)
    table = pd.DataFrame(rows).groupby("films", sort=False)
    return table.mean().assign(sd=table.accuracy.std()).reset_index()


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


# --- the headline ---


def test_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of metrics.csv on test that are shown: mean over seeds, and the ensemble."""
    return table[(table.split == "test") & table.seed.isin(("mean", "ensemble"))].reset_index(drop=True)


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Test results as text: "mean ± SD over seeds (95 % interval over patients)"; table: metrics.csv."""
    rows = test_rows(table)
    rows = rows[rows.statistic.isin(HEADLINE)]
    rows = rows.assign(text=[interval_text(row) for row in rows.itertuples()])
    wide = rows.pivot_table("text", ["network", "seed"], "statistic", aggfunc="first")
    wide.columns.name = f"test, {rows.n_films.iloc[0]} films of {rows.n_children.iloc[0]} children"
    return wide[list(HEADLINE)]


def interval_text(row) -> str:
    """A row's value, sd and interval with 3 decimals; what is NaN is left out."""
    sd = f" ± {row.sd:.3f}" if np.isfinite(row.sd) else ""
    interval = f" ({row.lower:.3f}-{row.upper:.3f})" if np.isfinite(row.lower) else ""
    return f"{row.value:.3f}{sd}{interval}"


def comparison(replay: pd.DataFrame, table: pd.DataFrame, compared: pd.DataFrame, index: pd.DataFrame, field):
    """The result table of the study: published experiment, baselines, this study, other work (the field).

    replay: published_replay; table: metrics.csv; compared: against_baselines; field: results/field.csv. Columns: group,
    row, measured_on ("train folder", "test", "official test"), n_films, n_children, statistic, value, sd, lower,
    upper, source, link, test_chose_threshold (False for all but the field).
    """
    shown = test_rows(table)
    rows = _train_folder_rows(replay, (index.folder == "train").sum())
    parts = [("published experiment", "published experiment, on test", shown[shown.network == metrics.PUBLISHED])]
    parts += [("baselines", name, compared[compared.network == network]) for network, name in BASELINES.items()]
    own = shown[shown.network == metrics.STUDY]
    parts += [("this study", name, own[own.seed == seed]) for seed, name in STUDY_NETWORKS.items()]
    n = {"measured_on": "test"} | own[["n_films", "n_children"]].iloc[0].to_dict()
    for group, name, part in parts:
        figures = part[part.statistic.isin(metrics.HEADLINE)][["statistic", *FIGURES]].to_dict("records")
        rows += [{"group": group, "row": name} | n | one for one in figures]
    columns = ["group", "row", "measured_on", "n_films", "n_children", "statistic", *FIGURES, "source", "link"]
    table = pd.DataFrame(rows + _field_rows(field)).reindex(columns=[*columns, "test_chose_threshold"])
    return table.assign(test_chose_threshold=table.test_chose_threshold == "yes")


def _train_folder_rows(replay: pd.DataFrame, n_films: int) -> list[dict]:
    lines, rows = replay.set_index("quantity"), []
    for source, name, n in (("published", "as published", PUBLISHED_IMAGES), ("replayed", "replayed", n_films)):
        row = {"group": "published experiment", "row": f"published experiment, {name}", "measured_on": "train folder"}
        for statistic in ("accuracy", "sensitivity", "specificity"):
            line = lines.loc[f"{statistic}, train folder"]
            sd = line.sd if source == "replayed" else np.nan
            rows.append(row | {"n_films": n, "statistic": statistic, "value": line[source], "sd": sd})
    return rows


def _field_rows(field: pd.DataFrame) -> list[dict]:
    rows = []
    for line in field.to_dict("records"):
        row = {"group": "field", "row": f"{line['source']}: {line['method']}", "measured_on": "official test"}
        row |= {"n_films": line["images"]} | {k: line[k] for k in ("source", "link", "test_chose_threshold")}
        known = [name for name in metrics.HEADLINE if pd.notna(line[name])]
        rows += [row | {"statistic": s, "value": line[s], "sd": line.get(f"{s}_sd", np.nan)} for s in known]
    return rows


def differences(predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The study's network minus the published one on the same test films, mean over seeds.

    thresholds: "published at 0.5" (as it was published), or "both on tune". Columns: thresholds, statistic, difference,
    lower, upper.
    """
    rows = []
    for name, fixed in (("published at 0.5", (metrics.PUBLISHED,)), ("both on tune", ())):
        pair = predictions[predictions.network.isin((metrics.STUDY, metrics.PUBLISHED))]
        points = metrics.operating_points(pair, fixed)
        found = _against(pair[pair.split == "test"], metrics.PUBLISHED, points, config)
        rows += [{"thresholds": name, "statistic": statistic} | found[statistic] for statistic in HEADLINE]
    return pd.DataFrame(rows)


def _against(test: pd.DataFrame, network: str, points: Mapping, config: Config) -> dict[str, dict]:
    return metrics.paired_bootstrap(
        test[test.network == metrics.STUDY],
        test[test.network == network],
        points,
        config.bootstrap_resamples,
        config.split_seed,
    )


def against_baselines(predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Every network and baseline on test, and the study's network minus each.

    predictions: all splits, baselines included. Columns: network, statistic, value, sd, lower, upper, difference,
    difference_lower, difference_upper.
    """
    points = metrics.operating_points(predictions)
    test = predictions[predictions.split == "test"]
    parts = []
    for network in dict.fromkeys(test.network):
        found = metrics.summarise_split(test[test.network == network], points, config)
        part = found[found.seed == "mean"].set_index("statistic")[["network", *FIGURES]]
        more = {} if network == metrics.STUDY else _against(test, network, points, config)
        against = pd.DataFrame(more, index=["difference", "lower", "upper"]).T.reindex(part.index)
        against = against.rename(columns={side: f"difference_{side}" for side in ("lower", "upper")})
        parts.append(part.join(against).loc[list(metrics.HEADLINE)].reset_index())
    table = pd.concat(parts, ignore_index=True)
    return table[["network", "statistic", *table.columns[2:]]]


def record_test(table: pd.DataFrame, predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Add this evaluation on test to results/test_ledger.csv and return the ledger; table: metrics.csv."""
    shown = test_rows(table)
    mean = shown[(shown.network == metrics.STUDY) & (shown.seed == "mean")].set_index("statistic").value
    test = predictions[(predictions.split == "test") & (predictions.network == metrics.STUDY)]
    return enter_ledger(metrics.STUDY, test, mean, config)


def enter_ledger(network: str, test: pd.DataFrame, mean: pd.Series, config: Config) -> pd.DataFrame:
    """Add an evaluation on test to results/test_ledger.csv and return the ledger.

    test: predictions of all seeds on test; mean: statistic -> mean over seeds. A digest of the test logits, rounded to
    6 digits, identifies an evaluation: the same predictions add no row. Only the full profile and `make
    verify` keep earlier rows.
    """
    path = config.results / "test_ledger.csv"
    keeps = config.profile in ("full", "verify") and path.exists()
    ledger = pd.read_csv(path, dtype={"predictions": str}) if keeps else pd.DataFrame()
    digest = digest_of(test)
    if ledger.empty or digest not in set(ledger.predictions):
        row = {"evaluation": len(ledger) + 1, "predictions": digest, "network": network}
        row |= {"n_films": test.path.nunique(), "seeds": test.seed.nunique()}
        row |= {name: round(float(mean[name]), 4) for name in HEADLINE}
        ledger = pd.concat([ledger, pd.DataFrame([row])], ignore_index=True)
        write_table(ledger, path)
    return ledger


def digest_of(test: pd.DataFrame) -> str:
    """12 hexadecimal digits of the seeds, paths and rounded logits of predictions."""
    text = test[["seed", "path", "logit"]].to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- parts of test ---


def in_parts(table: pd.DataFrame, parts: Mapping[str, tuple], points: Mapping, config: Config) -> pd.DataFrame:
    """Statistics of one network on parts of its test films.

    table: predictions of one network, all seeds; parts: name -> (bool mask over table, names of statistics). Columns:
    part, n_films, n_children, statistic, value, sd, lower, upper. Parts without films are left out.
    """
    rows = []
    for name, (mask, statistics) in parts.items():
        if mask.any():
            found = metrics.summarise_split(table[mask], points, config)
            found = found[found.seed.isin(("mean", "ensemble"))].set_index("statistic").loc[list(statistics)]
            rows.append(found.reset_index().assign(part=name))
    return pd.concat(rows, ignore_index=True)[["part", "n_films", "n_children", "statistic", *FIGURES]]


def parts_table(predictions: pd.DataFrame, points: Mapping, parts: pd.Series, config: Config) -> pd.DataFrame:
    """Every network on all of test, the films of earlier versions and the unseen ones, per film and per child.

    predictions: all splits, the ensemble included; parts: load_parts. Per child: the mean logit over the child's films.
    Columns: network, unit ("film", "child"), then those of `in_parts`.
    """
    test, rows = predictions[predictions.split == "test"], []
    for network in (metrics.PUBLISHED, metrics.STUDY, metrics.ENSEMBLE):
        films = test[test.network == network]
        for name in ("all", *sorted(set(parts))):
            part = films if name == "all" else films[films.path.map(parts) == name]
            for unit, some in {"film": part, "child": metrics.per_child(part)}.items():
                found = in_parts(some, {name: (some.logit.notna(), HEADLINE)}, points, config)
                rows.append(found.assign(network=network, unit=unit, n_films=part.path.nunique()))
    table = pd.concat(rows, ignore_index=True)
    return table[["network", "unit", *table.columns[:-2]]]


def subgroups(table: pd.DataFrame, points: Mapping, config: Config, runs: int = 4) -> pd.DataFrame:
    """Sensitivity by subtype; specificity by series of file names and by runs of file numbers.

    NORMAL files count up within a series, so a run of numbers is a time of acquisition. Age and sex, which a reader
    would want here, are not published. See `in_parts` for the columns.
    """
    series = np.where(table.path.str.contains("NORMAL2-"), "NORMAL2-IM-", "IM-")
    parts = {name: (table.subtype == name, ["sensitivity"]) for name in ("bacteria", "virus")}
    number = pd.to_numeric(table.path.str.extract(r"IM-(\d+)", expand=False), errors="coerce")
    for name in ("IM-", "NORMAL2-IM-"):
        of_series = (table.label == 0) & (series == name)
        parts[f"series {name}"] = (of_series, ["specificity"])
        found = np.sort(number[of_series].dropna().unique())
        for some in np.array_split(found, runs) if len(found) >= 10 * runs else []:
            inside = of_series & number.between(some[0], some[-1])
            parts[f"{name}{int(some[0]):04d} to {int(some[-1]):04d}"] = (inside, ["specificity"])
    return in_parts(table, parts, points, config)


def sensitivity_analyses(table: pd.DataFrame, index: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """The headline under other analyses: columns of `in_parts`.

    Distinct films; one film a patient; without patients whose bare number is also in train; threshold 0.5; per child.
    """
    number = table.path.map(index.set_index("path").patient_number)
    known = index.patient_number[index.split.isin(("train", "tune"))]
    test, children = index[index.split == "test"], metrics.per_child(table)
    every = table.path.notna()
    masks = {
        "as reported": every,
        "distinct films": table.path.isin(test.drop_duplicates("sha256").path),
        "one film a patient": table.path.isin(test.drop_duplicates("patient").path),
        "bare numbers not in train": ~number.isin(known),
    }
    tables = [
        in_parts(table, {name: (mask, metrics.HEADLINE) for name, mask in masks.items()}, points, config),
        in_parts(table, {"threshold 0.5": (every, metrics.HEADLINE)}, dict.fromkeys(points, metrics.FIXED), config),
        in_parts(children, {"per child": (children.path.notna(), metrics.HEADLINE)}, points, config),
    ]
    return pd.concat(tables, ignore_index=True)


# --- calibration, abstention and errors ---


def calibration(test: pd.DataFrame) -> pd.DataFrame:
    """metrics.reliability of each network's test predictions, all seeds together: network, then its columns."""
    parts = {name: metrics.reliability(part.label, part.probability) for name, part in test.groupby("network")}
    return pd.concat(parts, names=["network", None]).reset_index("network").reset_index(drop=True)


def risk_coverage(table: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """Accuracy on the films that are left when the network may abstain from those nearest to its threshold.

    Columns: coverage (share of films decided), network, accuracy, sd over seeds. Distance is in logits.
    """
    rows = []
    for (network, seed), part in table.groupby(["network", "seed"], sort=False):
        threshold = points[network, seed].threshold
        distance = np.abs(metrics.logit(part.probability) - metrics.logit(threshold))
        right = ((part.probability >= threshold) == (part.label == 1)).to_numpy()
        surest = right[np.argsort(-distance, kind="stable")]
        rows += [(c, network, surest[: max(1, round(c * len(surest)))].mean()) for c in COVERAGES]
    groups = pd.DataFrame(rows, columns=["coverage", "network", "right"]).groupby(["network", "coverage"], sort=False)
    found = groups.right.agg(accuracy="mean", sd="std").reset_index()
    return found[["coverage", "network", "accuracy", "sd"]]


def worst_errors(table: pd.DataFrame, points: Mapping, n: int = 8) -> pd.DataFrame:
    """The films that most seeds decide wrongly, by name: error, path, subtype, probability (mean), seeds wrong.

    table: predictions of one network, all seeds. At most n false negatives (lowest probability first) and n false
    positives (highest first).
    """
    films = wrong_decisions(table, points).groupby(["path", "subtype", "label"])
    films = films.agg(probability=("probability", "mean"), seeds_wrong=("wrong", "sum"))
    films = films[films.seeds_wrong > 0].reset_index()
    missed = films[films.label == 1].sort_values(["seeds_wrong", "probability"], ascending=[False, True]).head(n)
    alarms = films[films.label == 0].sort_values(["seeds_wrong", "probability"], ascending=[False, False]).head(n)
    listed = pd.concat([missed.assign(error="false negative"), alarms.assign(error="false positive")])
    return listed[["error", "path", "subtype", "probability", "seeds_wrong"]].reset_index(drop=True)


def wrong_decisions(table: pd.DataFrame, points: Mapping) -> pd.DataFrame:
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
    """AUROC, sensitivity and specificity of every network under every corruption, at the same thresholds.

    predictors: (network, seed) -> function from uint8 (n, size, size) films to logits (n,); images: the test
    films; label: (n,). Columns: corruption ("none" first), severity, amount, unit, network, statistic, value, sd (over
    seeds).
    """
    identity = Corruption(lambda x, amount, rng: x, "", (0.0,))
    rows = []
    for name, corruption in tqdm(({"none": identity} | CORRUPTIONS).items(), "corruptions", mininterval=2, delay=2):
        severities = [0] if name == "none" else range(1, len(corruption.amounts) + 1)
        corrupted = np.concatenate([corrupt(images, name, severity) for severity in severities])
        for (network, seed), predict in predictors.items():
            each = np.split(expit(predict(corrupted)), len(severities))  # one call: a call has a fixed cost
            for severity, amount, probability in zip(severities, corruption.amounts, each, strict=True):
                rates = metrics.at_threshold(label, probability, points[network, seed].threshold)
                values = {"auroc": metrics.ranking(label, probability)["auroc"]} | rates
                for statistic in ("auroc", "sensitivity", "specificity"):
                    rows.append((name, severity, amount, corruption.unit, network, statistic, values[statistic]))
    keys = ["corruption", "severity", "amount", "unit", "network", "statistic"]
    table = pd.DataFrame(rows, columns=[*keys, "figure"])
    return table.groupby(keys, sort=False).figure.agg(value="mean", sd="std").reset_index()


# --- the val folder ---


def val_table(predictions: pd.DataFrame, points: Mapping, seed: int) -> pd.DataFrame:
    """A row per film of the val folder: path, label, and probability and decision of each network for one seed."""
    val = predictions[(predictions.split == "val") & (predictions.seed == seed)]
    rows = val[val.network == metrics.STUDY][["path", "label"]].reset_index(drop=True)
    for network in ("published_unscaled", metrics.PUBLISHED, metrics.STUDY):
        probability = val[val.network == network].set_index("path").probability[rows.path].to_numpy()
        rows[f"{network}_probability"] = probability
        rows[f"{network}_decision"] = (probability >= points[network, seed].threshold).astype(int)
    return rows.sort_values(["label", "path"], ignore_index=True)


def sixteen(n: int = 16) -> pd.DataFrame:
    """The exact (Clopper and Pearson 1934) interval of accuracy after 16, 15, 14, 12 and 8 correct answers of n."""
    counts = [16, 15, 14, 12, 8]
    ends = [binomtest(right, n).proportion_ci(metrics.LEVEL, method="exact") for right in counts]
    rows = [(right, n, round(end.low, 3), round(end.high, 3)) for right, end in zip(counts, ends, strict=True)]
    return pd.DataFrame(rows, columns=["right", "of", "lower", "upper"])
