"""Score a folder of films with known classes by the released networks: AUROC, sensitivity, specificity, ROC."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from xraylib import plots
from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data.decode import decode
from xraylib.data.index import CLASSES
from xraylib.evaluation import metrics
from xraylib.files import UserError, say, write_table
from xraylib.network import lungs, train
from xraylib.network.weights import load_network


def index_folder(root: Path) -> pd.DataFrame:
    """Films of root/NORMAL and root/PNEUMONIA: path, label, patient (of index.csv, else the file).

    Raises UserError where a class has no film.
    """
    rows = []
    for label, name in enumerate(CLASSES):
        files = sorted(p for p in (root / name).glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        if not files:
            raise UserError(
                f"{root / name}: no films. Wanted a folder with {' and '.join(CLASSES)} inside, each with films."
            )
        rows += [{"path": f"{name}/{file.name}", "label": label, "patient": file.stem} for file in files]
    table = pd.DataFrame(rows)
    if (root / "index.csv").exists():
        known = pd.read_csv(root / "index.csv", dtype=str)
        patients = known.patient.set_axis(known.iloc[:, 0].map(_name))
        table["patient"] = table.path.map(_name).map(patients).fillna(table.patient)
    return table


def score(root: Path, config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of every film by each released network, and their statistics with intervals over patients.

    Films without recognisable lungs are taken whole and counted in the column not_assessed.
    """
    table = index_folder(root)
    say(f"{len(table):,} films of {table.patient.nunique():,} patients")
    films = np.stack([decode(root / path, config.film_size) for path in table.path])
    found = lungs.boxes(lungs.locate(load_network(config.locator_file, (lungs.MASK, lungs.MASK, 1)), films))
    frames = lungs.cut(films, found, config.image_size)
    parts = []
    for seed in config.seeds:
        logit = train.predict(load_network(config.network_file("xray_cnn", seed)), frames)
        parts.append(
            table.assign(network="xray_cnn", seed=seed, logit=logit, probability=expit(logit), subtype="unknown")
        )
    refused = sum(box is None for box in found)
    predictions = pd.concat(parts, ignore_index=True)
    return predictions, _statistics(predictions, config).assign(not_assessed=refused)


def _statistics(predictions: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Mean over seeds of each statistic, at each seed's tune threshold, with intervals over patients."""
    found = metrics.summarise_split(predictions.assign(split="folder"), _points(_known()), config)
    found = found[(found.seed == "mean") & found.statistic.isin(metrics.HEADLINE)]
    found = found.set_index("statistic").loc[list(metrics.HEADLINE)].reset_index()
    names = {"value": "mean", "n_films": "films", "n_children": "patients"}
    return found.rename(columns=names)[["statistic", "mean", "sd", "lower", "upper", "films", "patients"]]


def twins(predictions: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Films that the study has too, by file name (at another size, say): how far their predictions differ.

    known: results/predictions.csv. One row: films, mean and 95th percentile of the absolute difference of the
    probability, and the decisions that differ, at each seed's tune threshold; means over seeds. Empty where there is
    no such film.
    """
    points, known = _points(known), known[known.network == "xray_cnn"]
    known = known.assign(name=known.path.map(_name), twin=expit(known.logit))[["name", "seed", "label", "twin"]]
    both = predictions.assign(name=predictions.path.map(_name)).merge(known, on=["name", "seed", "label"])
    if both.empty:
        return both
    threshold = both.seed.map(lambda seed: points["xray_cnn", seed])
    both = both.assign(
        difference=(both.probability - both.twin).abs(),
        flipped=(both.probability >= threshold) != (both.twin >= threshold),
    )
    row = {"films": both.name.nunique(), "seeds": both.seed.nunique(), "mean": both.difference.mean()}
    row |= {"p95": both.difference.quantile(0.95), "decisions_differ": both.flipped.sum() / both.seed.nunique()}
    return pd.DataFrame([row])


def _name(path: str) -> str:
    return Path(path).name


@cache
def _known() -> pd.DataFrame:
    return pd.read_csv(REPOSITORY / "results" / "predictions.csv", dtype={"patient": str})


def _points(predictions: pd.DataFrame) -> dict:
    """(network, seed) -> the threshold that tune chooses, of the study's network."""
    own = predictions[predictions.network == "xray_cnn"]
    return metrics.operating_points(own.assign(probability=expit(own.logit)))


def main() -> int:
    """Command line: python -m tools.score [FOLDER]; the folder is XRAY_IMAGES where none is named ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", nargs="?", default=os.environ.get("XRAY_IMAGES", ""), help="with NORMAL/ and PNEUMONIA/"
    )
    root = Path(parser.parse_args().folder or "NORMAL-and-PNEUMONIA-here").expanduser()
    config = replace(load_config("demo", {}), models=REPOSITORY / "models")
    try:
        predictions, table = score(root, config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    target = REPOSITORY / "build" / "score" / root.resolve().name
    write_table(table, target.with_suffix(".csv"))
    fig, ax = plots.figure(height=3.4)
    plots.roc(predictions.assign(split=root.resolve().name), ax)
    plots.save(fig, target.with_suffix(".png"))
    print(table.round(3).to_string(index=False))
    if len(same := twins(predictions, _known())):
        write_table(same, target.with_name(f"{target.name}_twins.csv"))
        print(f"films that the study has too:\n{same.round(4).to_string(index=False)}")
    print(f"wrote {target.with_suffix('.csv')} and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
