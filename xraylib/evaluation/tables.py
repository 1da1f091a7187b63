"""Predictions -> the tables of notebooks 03, 04 and 05.

Shared columns: value (mean over seeds), sd (over seeds), lower and upper (95 % interval over patients and
seeds), n_films, n_children. Thresholds come from `metrics.operating_points`, so nothing here is chosen on test.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import binomtest
from tqdm import tqdm

from xraylib.config import REPOSITORY, Config
from xraylib.data import frames
from xraylib.data.index import CLASSES
from xraylib.data.stations import MARKERS, RARE
from xraylib.evaluation import metrics
from xraylib.evaluation.corruptions import CORRUPTIONS, Corruption, corrupt
from xraylib.files import UserError, write_table

REPORTED = (*metrics.HEADLINE, "balanced_accuracy")
COUNTS, FIGURES = ["n_films", "n_children"], ["value", "sd", "lower", "upper"]
RATES = ("accuracy", "sensitivity", "specificity")
LEAST = 20  # films: of a group that is called the worst, and of each class for an AUROC within a marker
UNMIXED = "crop and stretch, longer"  # of ablation.csv: the study's network but for the mixing
UNTRUSTED = ("NORMAL, A-P", "NORMAL, thin R")  # mostly wrong (data.stations): their rows would say nothing
UNCHANGED = Corruption(lambda x, amount, rng: x, "", (0.0,))
SHARES_DECIDED = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)

# As the author printed them; the confusion matrix (rows: true NORMAL, PNEUMONIA) is of the training folder.
PUBLISHED_MATRIX = [[1151, 190], [409, 3466]]
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
    "thumbnail": "8 x 8 pixels of the frame",
}
STUDY_NETWORKS = {"mean": "this study's network", "ensemble": "its ensemble"}  # by the seed of metrics.csv


def load_predictions(config: Config, name: str = "predictions") -> pd.DataFrame:
    """predictions.csv or baselines.csv, with a column probability; UserError where it is missing or not valid."""
    path = config.results / f"{name}.csv"
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 02_train first, or: make reproduce")
    return metrics.check(pd.read_csv(path, dtype={"path": str, "patient": str}))


def load_field(config: Config) -> pd.DataFrame:
    """What others report on the official test folder; without rows for phantoms, which nobody else has seen."""
    field = pd.read_csv(REPOSITORY / "results" / "field.csv")
    return field.iloc[:0] if config.phantoms else field


def published_replay(predictions: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The published figures beside the replayed ones: quantity, published, replayed (mean over seeds), sd, seeds."""
    ends = history[history.network == metrics.PUBLISHED].drop_duplicates("seed", keep="last").set_index("seed")
    rows = []
    for seed, train, val in _replays(predictions):
        rates = [train[name] for name in RATES]
        rows.append([ends.accuracy[seed], ends.val_accuracy[seed], *rates, val.decision.mean()])
    replayed = pd.DataFrame(rows, columns=list(PUBLISHED))
    table = pd.DataFrame({"published": PUBLISHED, "replayed": replayed.mean(), "sd": replayed.std()})
    return table.rename_axis("quantity").reset_index().assign(seeds=len(rows))


def _replays(predictions: pd.DataFrame) -> Iterator[tuple[int, dict, pd.DataFrame]]:
    """Each seed, its metrics.at_threshold on the train folder, and its decisions on the val folder, unscaled."""
    rows = predictions.assign(decision=(predictions.probability >= metrics.FIXED).astype(int))
    for seed, films in rows.groupby("seed"):
        train = films[(films.network == metrics.PUBLISHED) & (films.folder == "train")]
        val = films[films.network == metrics.UNSCALED].sort_values("path")
        yield seed, metrics.at_threshold(train.label, train.probability, metrics.FIXED), val


def published_printed(predictions: pd.DataFrame) -> pd.DataFrame:
    """What the experiment printed beside what each replay prints, as text: quantity, published, seed 0, seed 1, ...

    The confusion matrix of the train folder (rows true NORMAL, PNEUMONIA) and the decisions on the val folder from
    unscaled images (the experiment skipped its sixteenth image).
    """
    printed = {"published": _printed(PUBLISHED_MATRIX, PUBLISHED_VAL)}
    for seed, train, val in _replays(predictions):
        matrix = [[train["tn"], train["fp"]], [train["fn"], train["tp"]]]
        printed[f"seed {seed}"] = _printed(matrix, dict(iter(val.groupby("label").decision)))
    quantities = ["confusion matrix, train folder", "val folder, NORMAL", "val folder, PNEUMONIA"]
    return pd.DataFrame(printed, quantities).rename_axis("quantity").reset_index()


def _printed(matrix: list[list[int]], decisions: Mapping[int, Iterable[int]]) -> list[str]:
    return [str(matrix), *(" ".join(map(str, decisions[label])) for label in (0, 1))]


def seen_in_training(index: pd.DataFrame, config: Config, seed: int) -> pd.Series:
    """Paths of the films that the published network learned from: the first of Keras' shuffle of the train folder."""
    paths = index.path[index.folder == "train"]
    order = np.random.RandomState(seed).permutation(len(paths))  # as Keras' Iterator draws it
    return paths.iloc[order[: config.published_steps]]


def published_seen(predictions: pd.DataFrame, seen: Mapping[int, pd.Series]) -> pd.DataFrame:
    """The published network at 0.5 on the films that it learned from, the rest of their folder, and test.

    seen: seed -> `seen_in_training`. Columns: films, n_films, accuracy, sensitivity, specificity (means over seeds), sd
    of accuracy.
    """
    rows = []
    for seed, paths in seen.items():
        films = predictions[(predictions.network == metrics.PUBLISHED) & (predictions.seed == seed)]
        learned, train = films.path.isin(paths), films.folder == "train"
        parts = {"seen in training": learned, "train folder, not seen": train & ~learned}
        for name, mask in (parts | {"test folder": films.folder == "test"}).items():
            figures = metrics.at_threshold(films.label[mask], films.probability[mask], metrics.FIXED)
            rows.append({"films": name, "n_films": mask.sum()} | {key: figures[key] for key in RATES})
    by = pd.DataFrame(rows).groupby("films", sort=False)
    return by.mean().assign(sd=by.accuracy.std()).reset_index()


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """Test results as text: "mean ± SD over seeds (95 % interval over patients and seeds)"; table: metrics.csv."""
    rows = table[(table.split == "test") & table.seed.isin(STUDY_NETWORKS) & table.statistic.isin(REPORTED)]
    rows = rows.assign(text=[interval_text(row) for row in rows.itertuples()])
    wide = rows.pivot_table("text", ["network", "seed"], "statistic", aggfunc="first")
    wide.columns.name = f"test, {rows.n_films.iloc[0]} films of {rows.n_children.iloc[0]} children"
    return wide[list(REPORTED)]


def interval_text(row) -> str:
    """A row's value, sd and interval with 3 decimals; what is NaN is left out."""
    sd = f" ± {row.sd:.3f}" if np.isfinite(row.sd) else ""
    interval = f" ({row.lower:.3f}-{row.upper:.3f})" if np.isfinite(row.lower) else ""
    return f"{row.value:.3f}{sd}{interval}"


def comparison(replay: pd.DataFrame, table: pd.DataFrame, compared: pd.DataFrame, index: pd.DataFrame, field):
    """The result table of the study: published experiment, baselines, this study, other work (the field).

    replay: published_replay; table: metrics.csv; compared: against_baselines; field: results/field.csv. Columns: group,
    row, measured_on, n_films, n_children, statistic, value, sd, lower, upper, source, link, test_chose_threshold.
    """
    test = table[(table.split == "test") & table.statistic.isin(metrics.HEADLINE)]
    study, published = test[test.network == metrics.STUDY], test[test.network == metrics.PUBLISHED]
    parts = {("published experiment", "published experiment, on test"): published[published.seed == "mean"]}
    parts |= {("baselines", name): compared[compared.network == network] for network, name in BASELINES.items()}
    parts |= {("this study", name): study[study.seed == seed] for seed, name in STUDY_NETWORKS.items()}
    here = pd.concat(parts, names=["group", "row", None]).reset_index(["group", "row"])
    here = here.assign(measured_on="test", **study[COUNTS].iloc[0])
    columns = ["group", "row", "measured_on", *COUNTS, "statistic", *FIGURES, "source", "link", "test_chose_threshold"]
    rows = pd.concat([_train_folder_rows(replay, (index.folder == "train").sum()), here, _field_rows(field)])
    rows = rows.reset_index(drop=True).reindex(columns=columns)
    return rows.assign(test_chose_threshold=rows.test_chose_threshold == "yes")


def _train_folder_rows(replay: pd.DataFrame, n_films: int) -> pd.DataFrame:
    rows = replay[replay.quantity.str.endswith(", train folder")]
    rows = rows.assign(group="published experiment", measured_on="train folder", statistic=RATES)
    printed = rows.assign(row="published experiment, as published", n_films=PUBLISHED_IMAGES, value=rows.published)
    again = rows.assign(row="published experiment, replayed", n_films=n_films, value=rows.replayed)
    return pd.concat([printed.drop(columns="sd"), again])


def _field_rows(field: pd.DataFrame) -> pd.DataFrame:
    names, extra = field.source + ": " + field.method, field.extra_labels.map({"yes": " †"}).fillna("")
    field = field.assign(group="field", row=names + extra, measured_on="official test")
    field = field.rename(columns={"images": "n_films"})
    parts = [field.assign(statistic=s, value=field[s], sd=field.get(f"{s}_sd", np.nan)) for s in metrics.HEADLINE]
    return pd.concat(parts).dropna(subset="value").sort_index(kind="stable")


def differences(predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The study's network minus the published one on the same test films, mean over seeds.

    Columns: thresholds ("published at 0.5" or "both on tune"), statistic, difference, lower, upper.
    """
    networks = [metrics.STUDY, metrics.PUBLISHED]
    rows = predictions[predictions.network.isin(networks)]
    study, published = (rows[(rows.network == network) & (rows.split == "test")] for network in networks)
    points = {"published at 0.5": metrics.operating_points(rows), "both on tune": metrics.operating_points(rows, ())}
    parts = {name: metrics.paired_bootstrap(study, published, at, config) for name, at in points.items()}
    table = pd.concat({name: part.loc[list(REPORTED)] for name, part in parts.items()})
    return table.rename_axis(["thresholds", "statistic"]).reset_index()


def against_baselines(predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Every network and baseline on test, and the study's network minus each.

    predictions: all splits, baselines included. Columns: network, statistic, value, sd, lower, upper, difference,
    difference_lower, difference_upper.
    """
    points = metrics.operating_points(predictions)
    test = dict(iter(predictions[predictions.split == "test"].groupby("network", sort=False)))
    table = in_parts({name: (rows, points, metrics.HEADLINE) for name, rows in test.items()}, config, ["network"])
    study = test.pop(metrics.STUDY)
    against = {name: metrics.paired_bootstrap(study, rows, points, config) for name, rows in test.items()}
    differences = pd.concat(against, names=["network", "statistic"])
    differences = differences.rename(columns={side: f"difference_{side}" for side in ("lower", "upper")})
    return table.drop(columns=COUNTS).join(differences, on=["network", "statistic"])


def record_test(predictions: pd.DataFrame, points: Mapping, config: Config, name: str = metrics.STUDY) -> pd.DataFrame:
    """Add an evaluation of the study's network on test to results/test_ledger.csv and return the ledger.

    name: of the network there. The same predictions add no row. Only the full profile and `make verify` keep earlier
    rows.
    """
    test = predictions[(predictions.split == "test") & (predictions.network == metrics.STUDY)]
    path = config.results / "test_ledger.csv"
    keeps = config.profile in ("full", "verify") and path.exists()
    ledger = pd.read_csv(path, dtype={"predictions": str}) if keeps else pd.DataFrame({"predictions": []})
    digest = digest_of(test)
    if digest not in set(ledger.predictions):
        seeds = test.groupby(["network", "seed"])
        values = [metrics.once(metrics.statistics(films, points[key]), len(films)) for key, films in seeds]
        row = {"evaluation": len(ledger) + 1, "predictions": digest, "network": name}
        row |= {"n_films": test.path.nunique(), "seeds": len(seeds)}
        row |= pd.DataFrame(values)[list(REPORTED)].mean().round(4).to_dict()
        ledger = pd.concat([ledger, pd.DataFrame([row])], ignore_index=True)[list(row)]
        write_table(ledger, path)
    return ledger


def digest_of(test: pd.DataFrame) -> str:
    """12 hexadecimal digits of the seeds, paths and rounded logits of predictions."""
    text = test[["seed", "path", "logit"]].to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def in_parts(parts: Mapping, config: Config, names: Sequence[str] = ("part",)) -> pd.DataFrame:
    """Statistics on parts of the test films: part, n_films, n_children, statistic, value, sd, lower, upper.

    parts: name -> (predictions of one network, all seeds; operating points; names of statistics); those without films
    are left out. names: of the columns that say the part, one for each item of a name that is a tuple.
    """
    columns, tables = [*names, *COUNTS, "statistic", *FIGURES], {}
    for name, (predictions, points, statistics) in parts.items():
        if len(predictions):
            rows = metrics.summarise_split(predictions, points, config)
            rows = rows[rows.seed == "mean"].set_index("statistic")
            tables[name] = rows.loc[list(statistics), COUNTS + FIGURES]
    if not tables:
        return pd.DataFrame(columns=columns)
    return pd.concat(tables, names=[*names, "statistic"]).reset_index()[columns]


def subgroups(table: pd.DataFrame, points: Mapping, config: Config, stations: pd.DataFrame) -> pd.DataFrame:
    """Specificity of groups of normal films, sensitivity of groups with pneumonia, AUROC within and between groups.

    stations: stations.csv. Groups: side markers, ranges of file numbers where normal films come from pneumonia's
    stations, the other normal films, bacteria and virus. Normal films with A-P or thin R have no row: those markers
    are mostly wrong there. AUROC within a marker where each class has LEAST films. Age and sex are not published. See
    `in_parts` for the columns.
    """
    marker, ranges = (table.path.map(stations.set_index("path")[name]) for name in ("marker", "ranges"))
    normal, ill = table.label == 0, table.label == 1
    groups = {f"NORMAL, {name}": normal & (ranges == name) for name in sorted(ranges[normal].dropna().unique())}
    groups["other normal films"] = normal & ranges.isna()
    against = {"PNEUMONIA": ill, f"PNEUMONIA, {RARE}": ill & (marker == RARE)}
    pairs = {f"{name} vs. {other}": (groups[name], against[other]) for name, other in product(groups, against)}
    for kind in (RARE, "large R"):
        within = normal & (marker == kind), ill & (marker == kind)
        if min(table.path[mask].nunique() for mask in within) >= LEAST:
            pairs[f"within {kind}"] = within
    groups |= {f"{c}, {kind}": (table.label == i) & (marker == kind) for i, c in enumerate(CLASSES) for kind in MARKERS}
    groups |= {name: table.subtype == name for name in ("bacteria", "virus")}
    statistics = {name: "specificity" if normal[mask].all() else "sensitivity" for name, mask in groups.items()}
    parts = {name: (table[groups[name]], points, [statistics[name]]) for name in groups if name not in UNTRUSTED}
    parts |= {"all films": (table, points, ["auroc"])}
    parts |= {name: (table[one | other], points, ["auroc"]) for name, (one, other) in pairs.items()}
    return in_parts(parts, config)


def worst_group(table: pd.DataFrame, *statistics: str) -> pd.Series:
    """The row of `subgroups` with the lowest of these statistics; of groups with LEAST films, where there are any."""
    rows = table[table.statistic.isin(statistics or RATES)]
    supported = rows[rows.n_films >= LEAST]
    return (rows if supported.empty else supported).sort_values("value", kind="stable").iloc[0]


def sensitivity_analyses(table: pd.DataFrame, index: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """The headline under other analyses: columns of `in_parts`.

    Distinct films; one film a patient; without patients whose bare number is also in train; threshold 0.5; per child.
    """
    number = table.path.map(index.set_index("path").patient_number)
    known = index.patient_number[index.split.isin(("train", "tune"))]
    test = index[index.split == "test"]
    masks = {
        "as reported": table.path.notna(),
        "distinct films": table.path.isin(test.drop_duplicates("sha256").path),
        "one film a patient": table.path.isin(test.drop_duplicates("patient").path),
        "bare numbers not in train": ~number.isin(known),
    }
    analyses = {name: (table[mask], points, metrics.HEADLINE) for name, mask in masks.items()}
    analyses["threshold 0.5"] = (table, dict.fromkeys(points, metrics.FIXED), metrics.HEADLINE)
    analyses["per child"] = (metrics.mean_logit(table, "patient"), points, metrics.HEADLINE)
    return in_parts(analyses, config)


def calibration(test: pd.DataFrame) -> pd.DataFrame:
    """A row per network and equal-width bin (lower, upper] that holds test films, all seeds together.

    Columns: network, lower, upper, n, mean_probability, observed (share of PNEUMONIA). The expected calibration error
    is sum(n * |mean_probability - observed|) / sum(n).
    """
    place = metrics.bin_of(test.probability)
    bins = test.assign(lower=place / metrics.BINS, upper=(place + 1) / metrics.BINS)
    return bins.groupby(["network", "lower", "upper"], as_index=False).agg(
        n=("label", "size"), mean_probability=("probability", "mean"), observed=("label", "mean")
    )


def abstaining(predictions: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """Accuracy on the films that are left when the network abstains from those nearest to its threshold, in logits.

    Columns: share_decided (of the films), network, accuracy, sd over seeds.
    """
    rows = []
    for (network, seed), films in predictions.groupby(["network", "seed"], sort=False):
        threshold = points[network, seed]
        right = ((films.probability >= threshold) == (films.label == 1)).to_numpy()
        surest = right[np.argsort(-np.abs(films.logit - logit(threshold)), kind="stable")]
        rows += [(share, network, surest[: max(1, round(share * len(right)))].mean()) for share in SHARES_DECIDED]
    keys = ["share_decided", "network"]
    by = pd.DataFrame(rows, columns=[*keys, "accuracy"]).groupby(keys, sort=False).accuracy
    return by.agg(accuracy="mean", sd="std").reset_index()


def worst_errors(predictions: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """The films that any seed decides wrongly, by name: error, path, subtype, probability (mean), seeds wrong.

    predictions: of one network, all seeds. At most 8 false negatives (lowest probability first) and 8 false positives
    (highest first).
    """
    threshold = [points[key] for key in zip(predictions.network, predictions.seed, strict=True)]
    wrong = (predictions.probability >= threshold) != (predictions.label == 1)
    films = predictions.assign(wrong=wrong).groupby(["path", "subtype", "label"], as_index=False)
    films = films.agg(probability=("probability", "mean"), seeds_wrong=("wrong", "sum")).query("seeds_wrong > 0")
    error = films.label.map({0: "false positive", 1: "false negative"})
    films = films.assign(error=error, off=(films.probability - films.label).abs())
    films = films.sort_values(["error", "seeds_wrong", "off"], ascending=[True, False, False], ignore_index=True)
    listed = films.groupby("error").head(8).reset_index(drop=True)
    return listed[["error", "path", "subtype", "probability", "seeds_wrong"]]


def robustness(predict: Callable, images: np.ndarray, label: np.ndarray, points: Mapping) -> pd.DataFrame:
    """AUROC, sensitivity and specificity of every network under every corruption, at the same thresholds.

    predict: train.predictor, from films to (network, seed) -> logits (n,); images: the test films, uint8 (n, h, w);
    label: (n,). Columns: corruption ("none" first), severity, amount, unit, network, statistic, value, sd (over seeds).
    """
    rows = []
    for name, corruption in tqdm(({"none": UNCHANGED} | CORRUPTIONS).items(), "corruptions", mininterval=2, delay=2):
        severities = [0] if name == "none" else range(1, len(corruption.amounts) + 1)
        corrupted = np.concatenate([corrupt(images, name, severity) for severity in severities])
        for (network, seed), logits in predict(corrupted).items():
            each = np.split(expit(logits), len(severities))
            for severity, amount, probability in zip(severities, corruption.amounts, each, strict=True):
                figures = metrics.ranking(label, probability)
                figures |= metrics.at_threshold(label, probability, points[network, seed])
                row = (name, severity, amount, corruption.unit, network)
                rows += [(*row, statistic, figures[statistic]) for statistic in ("auroc", "sensitivity", "specificity")]
    keys = ["corruption", "severity", "amount", "unit", "network", "statistic"]
    by = pd.DataFrame(rows, columns=[*keys, "value"]).groupby(keys, sort=False).value
    return by.agg(value="mean", sd="std").reset_index()


def val_table(predictions: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """A row per film of the val folder: class, path, seeds_wrong (of the study's network), and each network's
    probability by seed, as xray_cnn_0, ..., published_0, ..., published_unscaled_0, ...
    """
    val = predictions[predictions.split == "val"]
    val = val.assign(**{"class": val.label.map(dict(enumerate(CLASSES)))})
    threshold = [points[key] for key in zip(val.network, val.seed, strict=True)]
    wrong = ((val.probability >= threshold) != (val.label == 1)) & (val.network == metrics.STUDY)
    films = val.assign(seeds_wrong=wrong).groupby(["class", "path"]).seeds_wrong.sum().to_frame()
    for network in (metrics.STUDY, metrics.PUBLISHED, metrics.UNSCALED):
        seeds = val[val.network == network].pivot_table("probability", ["class", "path"], "seed")
        films = films.join(seeds.add_prefix(f"{network}_"))
    return films.reset_index()


def val_folder(predictions: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """Films of the val folder that each network of the study decides rightly, and the ensemble (seed -1), by class.

    Columns: class, seed, films, right, value (right / films), lower, upper (95 %, Clopper-Pearson), test (the same
    share on test), p (probability of so few right films or fewer, were the share that of test).
    """
    rows, study = [], predictions[predictions.network.isin((metrics.STUDY, metrics.ENSEMBLE))]
    for (label, network, seed), films in study.groupby(["label", "network", "seed"]):
        right = (films.probability >= points[network, seed]) == label
        val, on_test = right[films.split == "val"], right[films.split == "test"].mean()
        ends = binomtest(val.sum(), len(val)).proportion_ci()
        p = binomtest(val.sum(), len(val), on_test, "less").pvalue
        rows.append((CLASSES[label], seed, len(val), val.sum(), val.mean(), ends.low, ends.high, on_test, p))
    return pd.DataFrame(rows, columns=["class", "seed", "films", "right", "value", "lower", "upper", "test", "p"])


def locator(lungs: np.ndarray, truth: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """How well the locator finds the lungs: split, class, films, and mean and 5th percentile of Dice and of the IoU.

    lungs: what it finds; truth: the masks; (n, 48, 48) in [0, 1] both; rows: split and label. IoU: of the lungs' boxes,
    0 where one of the two shows no lungs.
    """
    found, true = lungs >= 0.5, truth >= 0.5
    dice = 2 * (found & true).sum(axis=(1, 2)) / np.maximum(found.sum(axis=(1, 2)) + true.sum(axis=(1, 2)), 1)
    boxes = zip(map(frames.lung_box, lungs), map(frames.lung_box, truth), strict=True)
    iou = [frames.iou(box, other) if box and other else 0.0 for box, other in boxes]
    films = pd.DataFrame(
        {"split": rows.split, "class": rows.label.map(dict(enumerate(CLASSES))), "dice": dice, "iou": iou}
    )
    by = films.groupby(["split", "class"], sort=False)
    low = by.quantile(0.05).add_suffix("_p5")
    return pd.concat([by.size().rename("films"), by.mean(), low], axis=1).reset_index()
