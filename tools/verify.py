"""Computes tables and figures again from predictions.csv, without images; compares them, and the last run, with git."""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors import TagRemovePreprocessor

from tools.execute import run
from xraylib.config import REPOSITORY, load_config
from xraylib.files import UserError, alone, say

NOTEBOOKS = "0[35]_*.ipynb"
NEED_IMAGES = {"images", "patients"}  # tags of cells that are left out
KIND = ("cpu", "gpus", "keras", "machine", "precision", "python", "system", "tensorflow", "threads")  # decide rounding
OTHERS = {"timing.json", "bench.csv", "growth.csv", "reporting.csv", "field.csv"}  # seconds, or written by hand
FROM_FILES = {"index.csv", "skipped.csv", "official_counts.csv", "shared_patients.csv"}  # no rounding: always exact
# How far a number may be off, as a share of it and at least so much, on another kind of machine: where the same
# predictions are evaluated again, and where networks are trained again (metrics.csv alone, the mean over seeds).
EVALUATED, TRAINED = 1e-4, 0.03


def committed(name: str) -> bytes:
    """A file of the repository as the last commit has it; UserError where it has none."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=REPOSITORY, capture_output=True)
    except FileNotFoundError as error:
        raise UserError("git: not found. Wanted it, to read the results of the last commit.") from error
    if shown.returncode:
        reason = shown.stderr.decode(errors="replace").strip()[:80]
        raise UserError(f"{name}: not in the last commit ({reason}). Wanted a clone with its results.")
    return shown.stdout


def differences(name: str, was: bytes, now: bytes | None, tolerance: float = 0.0) -> list[str]:
    """What differs between two files' bytes: the file, the cell and both values, at most three; [] where nothing does.

    Numbers of a CSV may differ by `tolerance`, as a share of their size and at least so much.
    """
    if was == now:
        return []
    if now is None:
        return [f"{name}: missing"]
    if not name.endswith(".csv"):
        return [f"{name}: other bytes"]
    old, new = (pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False) for data in (was, now))
    if list(old) != list(new) or len(old) != len(new):
        return [f"{name}: {new.shape} rows and columns, wanted {old.shape}: {', '.join(old)}"]
    found = []
    for column in old:
        there, wanted = (pd.to_numeric(table[column], errors="coerce") for table in (new, old))
        near = np.isclose(there, wanted, rtol=tolerance, atol=tolerance) & (tolerance > 0)
        for row in np.flatnonzero((old[column] != new[column]) & ~near)[:3]:
            found.append(f"{name}: row {row + 1}, column {column}: {new[column][row]}, wanted {old[column][row]}")
    return found[:3]


def same_kind(machine: dict, other: dict) -> bool:
    """Whether two machines (timing.json's "machine") round alike, so that every byte must be the same."""
    return all(machine.get(key) is not None and machine.get(key) == other.get(key) for key in KIND)


def compute_again() -> list[Path]:
    """Execute the notebooks without the cells that need images, from a copy of results/; returns what they wrote."""
    shutil.rmtree(REPOSITORY / "build" / "verify", ignore_errors=True)
    os.environ["XRAY_PROFILE"] = "verify"
    config = load_config()
    config.results.mkdir(parents=True)
    results = REPOSITORY / "results"
    for path in (*results.glob("*.csv"), *results.glob("*.json")):
        os.utime(shutil.copyfile(path, config.results / path.name), (0, 0))  # what is written is newer
    remove = TagRemovePreprocessor(remove_cell_tags=NEED_IMAGES)
    for path in sorted((REPOSITORY / "notebooks").glob(NOTEBOOKS)):
        say(f"{path.stem}, without images")
        notebook, _ = remove.preprocess(nbformat.read(path, as_version=4), {})
        with contextlib.redirect_stdout(io.StringIO()):
            run(notebook, path)
    written = [path for path in config.results.iterdir() if path.stat().st_mtime > 0]
    return sorted([*written, *config.plots.glob("*.png")])


def against_git() -> list[str]:
    """What differs between results/ and Plot/ here and in the last commit, within the tolerances stated above."""
    here = json.loads((REPOSITORY / "results" / "timing.json").read_text())["machine"]
    exact = same_kind(json.loads(committed("results/timing.json"))["machine"], here)
    patterns = [f":(glob){folder}/*.{kind}" for folder in ("results", "Plot") for kind in ("csv", "json", "png")]
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=REPOSITORY, capture_output=True, text=True)
    kept = [path for path in map(Path, listed.stdout.splitlines()) if path.name not in OTHERS]
    paths = [path for path in kept if exact or path.name in FROM_FILES | {"metrics.csv"}]
    found = []
    for path in paths:
        tolerance = 0.0 if exact or path.name in FROM_FILES else TRAINED
        found += differences(str(path), committed(str(path)), _bytes(path), tolerance)
    kind = "the same kind of machine, exactly" if exact else f"another kind of machine, within {TRAINED}"
    say(f"results/ and Plot/ against git: {len(paths)} files, {kind}; {len(found)} differences")
    return found


def _bytes(name: Path) -> bytes | None:
    return (REPOSITORY / name).read_bytes() if (REPOSITORY / name).exists() else None


def against_predictions() -> list[str]:
    """What differs between results/ and Plot/ here and what follows from predictions.csv."""
    with alone():
        paths = compute_again()
    found = []
    for path in paths:
        name = path.relative_to(REPOSITORY / "build" / "verify")
        if (here := _bytes(name)) is not None and path.name not in OTHERS:
            found += differences(str(name), here, path.read_bytes(), EVALUATED)
    say(f"computed again from predictions.csv: {len(paths)} files; {len(found)} differences")
    return found


def main() -> int:
    """Command line: python -m tools.verify; status 1 where a number differs, 2 where nothing can be compared."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        found = against_git() + against_predictions()
    except (UserError, OSError, KeyError, ValueError, CellExecutionError) as error:
        print(f"{error}\nRun the study first (make reproduce), or get the repository whole.", file=sys.stderr)
        return 2
    print("\n".join(found or ["Every number agrees."]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
