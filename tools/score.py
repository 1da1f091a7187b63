"""Score a folder of films with known classes by the released networks, which read and refuse as in make predict."""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
from scipy.special import expit

from xraylib import plots
from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data.index import CLASSES
from xraylib.evaluation import metrics, tables
from xraylib.files import UserError, say, write_bytes, write_table
from xraylib.predict import films


def predict(root: Path, seeds: tuple[int, ...]) -> tuple[pd.DataFrame, int]:
    """A row per network and film of root/NORMAL and root/PNEUMONIA, and how many films could not be read.

    reason: why make predict does not assess the film, else "". patient: that of root/index.csv, else the film itself.
    """
    rows, unread, released = [], 0, films.load()
    for label, name in enumerate(CLASSES):
        paths = films.find_films(root / name)[0]
        for path, (row, logits) in zip(paths, films.assess_films(paths, released), strict=True):
            if logits is None:
                unread += 1
                continue
            reason = row["reason"] if row["decision"] == "not assessed" else ""
            film = {"path": os.path.relpath(path, root), "label": label, "reason": reason}
            rows += [film | {"seed": seed, "logit": logit} for seed, logit in zip(seeds, logits, strict=True)]
    table = pd.DataFrame(rows, columns=["path", "label", "reason", "seed", "logit"])
    if table.label.nunique() < len(CLASSES):
        raise UserError(f"{root}: no film of a class can be read. Wanted some in {' and in '.join(CLASSES)}.")
    table["patient"] = table.path
    if (root / "index.csv").exists():
        listed = pd.read_csv(root / "index.csv", dtype=str)
        patients = dict(zip(listed.path, listed.patient, strict=True))
        table["patient"] = table.path.map(patients).fillna(table.path)
    return table.assign(network=metrics.STUDY, split=root.name, subtype="", probability=expit(table.logit)), unread


def figures(predictions: pd.DataFrame, points: Mapping, config: Config) -> pd.DataFrame:
    """Means, SDs and intervals over networks and patients: of all films, and (_assessed) of those assessed."""

    def of(rows: pd.DataFrame) -> pd.DataFrame:
        means = metrics.summarise_split(rows, points, config).query("seed == 'mean'").set_index("statistic")
        return means.loc[list(metrics.HEADLINE), [*tables.FIGURES, *tables.COUNTS]]

    table, assessed = of(predictions), predictions[predictions.reason == ""]
    table["not_assessed"] = predictions[predictions.reason != ""].path.nunique()
    if assessed.label.nunique() == len(CLASSES):  # else there is no AUROC
        table = table.join(of(assessed)[tables.FIGURES].rename(columns={"value": "mean"}).add_suffix("_assessed"))
    names = {"value": "mean", "n_films": "films", "n_children": "patients"}
    return table.rename(columns=names).reset_index()


def twins(predictions: pd.DataFrame, known: pd.DataFrame, points: Mapping) -> pd.DataFrame:
    """How far predictions differ of films that the study has too, by file name; known: results/predictions.csv.

    One row, or none where there is no such film: films, seeds, mean and 95th percentile of the absolute difference of
    the probability, and the decisions that differ, at each seed's tune threshold; means over seeds.
    """
    known = known[known.network == metrics.STUDY].rename(columns={"probability": "twin"})
    known = known.assign(name=known.path.map(os.path.basename))[["name", "seed", "label", "twin"]]
    both = predictions.assign(name=predictions.path.map(os.path.basename)).merge(known, on=["name", "seed", "label"])
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
    root = Path(parser.parse_args().folder or "NORMAL-and-PNEUMONIA-here").expanduser().resolve()
    config = replace(load_config("verify", {}), models=REPOSITORY / "models", results=REPOSITORY / "results")
    try:
        known = tables.load_predictions(config)
        points = metrics.operating_points(known)
        predictions, unread = predict(root, config.seeds)
        table = figures(predictions, points, config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    counts = f"{table.films[0]:,} films of {table.patients[0]:,} patients; not assessed: {table.not_assessed[0]:,}"
    say(f"{counts}; not read: {unread:,}\n{table.round(3).to_string(index=False)}")
    target = REPOSITORY / "build" / "score" / root.name
    write_table(table, target.with_suffix(".csv"))
    fig, ax = plots.figure(height=3.4)
    plots.roc(predictions, ax, points)
    write_bytes(plots.png(fig), target.with_suffix(".png"))
    if len(same := twins(predictions, known, points)):
        write_table(same, target.with_name(f"{target.name}_twins.csv"))
        say(f"films that the study has too:\n{same.round(4).to_string(index=False)}")
    say(f"wrote {target.with_suffix('.csv')} and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
