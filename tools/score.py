"""Score a folder of films with known classes by the released networks: AUROC, sensitivity, specificity, ROC."""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from xraylib import plots
from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data.decode import decode
from xraylib.data.index import CLASSES
from xraylib.evaluation import metrics, tables
from xraylib.files import UserError, say, write_table
from xraylib.network import locator, lungs, train


def index_folder(root: Path) -> pd.DataFrame:
    """path, label, patient (of index.csv, else the file) of root/NORMAL and root/PNEUMONIA; UserError if empty."""
    rows = []
    for label, name in enumerate(CLASSES):
        files = sorted(p for p in (root / name).glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        if not files:
            wanted = f"Wanted a folder with {' and '.join(CLASSES)} inside, each with films."
            raise UserError(f"{root / name}: no films. {wanted}")
        rows += [{"path": f"{name}/{file.name}", "label": label, "patient": file.stem} for file in files]
    table = pd.DataFrame(rows)
    if (root / "index.csv").exists():
        known = pd.read_csv(root / "index.csv", dtype=str)
        patients = known.patient.set_axis(_names(known.iloc[:, 0]))
        table["patient"] = _names(table.path).map(patients).fillna(table.patient)
    return table


def _names(paths: pd.Series) -> pd.Series:
    return paths.map(lambda path: Path(path).name)


def score(root: Path, points: Mapping, config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of every film by each released network, and their statistics with intervals over patients.

    points: metrics.operating_points of the study. Films without recognisable lungs are taken whole and counted in the
    column not_assessed.
    """
    table = index_folder(root)
    say(f"{len(table):,} films of {table.patient.nunique():,} patients")
    films = np.stack([decode(root / path, config.film_size) for path in table.path])
    found = lungs.boxes(locator.locate(locator.load(config.locator_file), films))
    frames = lungs.cut(films, found, config.image_size)
    table = table.assign(network=metrics.STUDY, split=root.resolve().name, subtype="unknown")
    parts = []
    for seed in config.seeds:
        logit = train.predict(train.load(metrics.STUDY, seed, config), frames)
        parts.append(table.assign(seed=seed, logit=logit, probability=expit(logit)))
    predictions = pd.concat(parts, ignore_index=True)
    statistics = metrics.summarise_split(predictions, points, config).query("seed == 'mean'").set_index("statistic")
    shown = statistics.loc[list(metrics.HEADLINE), [*tables.FIGURES, "n_films", "n_children"]].reset_index()
    shown = shown.rename(columns={"value": "mean", "n_films": "films", "n_children": "patients"})
    return predictions, shown.assign(not_assessed=sum(box is None for box in found))


def twins(predictions: pd.DataFrame, known: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """How far predictions differ of films that the study has too, by file name; known: results/predictions.csv.

    One row, or none where there is no such film: films, seeds, mean and 95th percentile of the absolute difference of
    the probability, and the decisions that differ, at each seed's tune threshold; means over seeds.
    """
    known = known[known.network == metrics.STUDY].rename(columns={"probability": "twin"})
    known = known.assign(name=_names(known.path))[["name", "seed", "label", "twin"]]
    both = predictions.assign(name=_names(predictions.path)).merge(known, on=["name", "seed", "label"])
    if both.empty:
        return both
    threshold = both.seed.map(lambda seed: points[metrics.STUDY, seed])
    difference = (both.probability - both.twin).abs()
    flipped = (both.probability >= threshold) != (both.twin >= threshold)
    row = {"films": both.name.nunique(), "seeds": both.seed.nunique(), "mean": difference.mean()}
    return pd.DataFrame([row | {"p95": difference.quantile(0.95), "decisions_differ": flipped.sum() / row["seeds"]}])


def main() -> int:
    """Command line: python -m tools.score [FOLDER]; the folder is XRAY_IMAGES where none is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("XRAY_IMAGES"), help="with NORMAL/ and PNEUMONIA/")
    root = Path(parser.parse_args().folder or "NORMAL-and-PNEUMONIA-here").expanduser()
    config = replace(load_config("demo", {}), models=REPOSITORY / "models", results=REPOSITORY / "results")
    try:
        known = tables.load_predictions(config)
        points = metrics.operating_points(known)
        predictions, table = score(root, points, config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    target = REPOSITORY / "build" / "score" / root.resolve().name
    write_table(table, target.with_suffix(".csv"))
    fig, ax = plots.figure(height=3.4)
    plots.roc(predictions, ax)
    plots.save(fig, target.with_suffix(".png"))
    print(table.round(3).to_string(index=False))
    if len(same := twins(predictions, known, points)):
        write_table(same, target.with_name(f"{target.name}_twins.csv"))
        print(f"films that the study has too:\n{same.round(4).to_string(index=False)}")
    print(f"wrote {target.with_suffix('.csv')} and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
