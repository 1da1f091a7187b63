"""Evaluate anybody's predictions of the official test films, in all and by station marker, beside this study's."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data.index import CLASSES, load_index
from xraylib.evaluation import metrics, tables
from xraylib.files import UserError, printable, say, write_table

WANTED = "Wanted one row for each test film: path (test/CLASS/name, or the name), score (larger: more pneumonia)"
DECISIONS = {"0": 0, "1": 1} | {name.lower(): label for label, name in enumerate(CLASSES)}


def read(path: Path, test: pd.DataFrame) -> pd.DataFrame:
    """The test films with the columns score and, where the file at `path` has it, decision (float64 both).

    test: rows of index.csv. UserError where the file can't be read, or a column, film or number of it is not as wanted.
    """
    try:
        given = pd.read_csv(path, dtype=str, index_col=False, skipinitialspace=True, compression=None).fillna("")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read ({error}). Wanted a CSV table in UTF-8.") from error
    given = given.rename(columns=str.strip)
    if missing := [column for column in ("path", "score") if column not in given]:
        raise UserError(f"{path}: no column {', '.join(missing)}; there are: {', '.join(given)}. {WANTED}.")
    name = given.path.str.strip().str.replace("\\", "/").str.rsplit("/", n=1).str[-1]
    known = test.path.str.rsplit("/", n=1).str[-1]
    films = given.assign(score=pd.to_numeric(given.score, errors="coerce").astype(float), name=name)
    problems = {
        "no test film": given.path[~name.isin(known)],
        "missing": known[~known.isin(name)],
        "more than once": given.path[name.duplicated()],
        "score is no number": given.path[~np.isfinite(films.score)],
        "of two test films": known[known.duplicated()],
    }
    if "decision" in given:
        films["decision"] = given.decision.str.strip().str.removesuffix(".0").str.lower().map(DECISIONS)
        problems["decision is not 0, 1, NORMAL or PNEUMONIA"] = given.path[films.decision.isna()]
    if found := [f"{what}: {len(rows):,} ({', '.join(rows[:3])})" for what, rows in problems.items() if len(rows)]:
        raise UserError(f"{path}: {'; '.join(found)}. {WANTED}. The {len(test):,} films: results/index.csv, split test")
    return test.assign(name=known).merge(films[films.columns.intersection(["name", "score", "decision"])], on="name")


def evaluate(films: pd.DataFrame, markers: pd.DataFrame, config: Config) -> tuple[pd.DataFrame, str]:
    """Figures with 95 % intervals over patients, of all films and of the study's subgroups; and how films are decided.

    films: those of `read`; markers: stations.csv. Columns: part, n_films, n_children, statistic, value, lower, upper.
    Without decisions, the threshold is 0.5 where all scores lie in 0 to 1; else AUROC is all there is.
    """
    films, points = films.assign(network="yours", seed=0), {("yours", 0): metrics.FIXED}
    ranked = films.assign(probability=films.score.rank(pct=True))  # AUROC sees ranks alone
    found = [tables.in_parts({"all": (ranked, points, ["auroc"])}, config)]
    found.append(tables.subgroups(ranked, points, config, markers).query("statistic == 'auroc'"))
    how = "no column decision, and scores outside 0 to 1: AUROC alone"
    if "decision" in films:
        how = "decided by the column decision"
    elif films.score.between(0, 1).all():
        how = f"no column decision: PNEUMONIA from a score of {metrics.FIXED}"
        films["decision"] = (films.score >= metrics.FIXED).astype(float)
    if "decision" in films:
        decided = films.assign(probability=films.decision)
        found.insert(1, tables.in_parts({"all": (decided, points, tables.RATES)}, config))
        found.append(tables.subgroups(decided, points, config, markers).query("statistic != 'auroc'"))
    return pd.concat(found, ignore_index=True).drop(columns="sd"), how


def beside(table: pd.DataFrame, results: Path) -> pd.DataFrame:
    """The table with this study's value, lower and upper, as study, study_lower and study_upper."""
    study = pd.read_csv(results / "metrics.csv", dtype={"seed": str}).query("split == 'test' and seed == 'mean'")
    study = study[study.network == metrics.STUDY].assign(part="all")
    study = pd.concat([study, pd.read_csv(results / "subgroups.csv")])[["part", "statistic", "value", "lower", "upper"]]
    names = {"value": "study", "lower": "study_lower", "upper": "study_upper"}
    return table.merge(study.rename(columns=names), how="left", on=["part", "statistic"])


def main() -> int:
    """Command line: python -m tools.evaluate [PREDICTIONS]; the table is XRAY_PREDICTIONS where none is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="?", default=os.environ.get("XRAY_PREDICTIONS"), help=WANTED)
    path = Path(parser.parse_args().predictions or "mine.csv").expanduser()
    config = replace(load_config("verify", {}), results=REPOSITORY / "results")
    target = REPOSITORY / "build" / "evaluate" / f"{path.stem}.csv"
    try:
        films = read(path, load_index(config).query("split == 'test'"))
        table, how = evaluate(films, pd.read_csv(config.results / "stations.csv"), config)
        table = beside(table, config.results)
        write_table(table, target)
    except UserError as error:
        say(printable(str(error)), sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("Stopped: nothing was written.", sys.stderr)
        return 2
    say(f"{len(films):,} test films of {films.patient.nunique():,} children; {how}")
    say(table.round(3).to_string(index=False))
    say(printable(f"wrote {target}: 95 % intervals over children; study: this study's network, mean over seeds"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
