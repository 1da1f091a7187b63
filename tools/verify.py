"""Computes tables and figures again from predictions.csv, without images; compares them, and the last run, with git."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors import TagRemovePreprocessor

from tools.execute import run
from xraylib.config import REPOSITORY, load_config
from xraylib.files import alone, say

KIND = ("cpu", "gpus", "keras", "machine", "precision", "python", "system", "tensorflow", "threads")  # decide rounding
# Seconds, trainings of another command, or written by hand.
OTHERS = {"timing.json", "bench.csv", "growth.csv", "heldout.csv", "reporting.csv", "field.csv", "test_looks.csv"}
# On another kind of machine, evaluated again or trained again (metrics.csv alone, the mean over seeds), numbers may
# be off by this share of their size and by this much.
EVALUATED, TRAINED = 1e-4, 0.03


def differs(name: str, wanted: bytes, path: Path, tolerance: float = 0.0) -> str:
    """How the file at `path` differs from the bytes that are wanted, in a line that is empty where it does not."""
    now = path.read_bytes() if path.exists() else b""
    if now and now != wanted and path.suffix == ".csv":
        tables = (pd.read_csv(io.BytesIO(data)) for data in (now, wanted))
        try:
            pd.testing.assert_frame_equal(*tables, check_dtype=False, rtol=tolerance, atol=tolerance, obj=name)
            now = wanted if tolerance else now
        except AssertionError as error:
            first, *_, last = str(error).splitlines()
            return f"{first}. {last}"
    return "" if now == wanted else f"{name}: {'other bytes' if now else 'missing'}"


def git(*command: str) -> bytes:
    return subprocess.run(["git", *command], cwd=REPOSITORY, capture_output=True, check=True).stdout


def against_git() -> list[str]:
    """What differs between results/ and Plot/ here and in the last commit, within the tolerances stated above."""
    machines = [git("show", "HEAD:results/timing.json"), (REPOSITORY / "results" / "timing.json").read_bytes()]
    there, here = (json.loads(machine)["machine"] for machine in machines)
    exact = all(there.get(key) == here.get(key) for key in KIND)
    patterns = [f":(glob){folder}/*.{kind}" for folder in ("results", "Plot") for kind in ("csv", "json", "png")]
    paths = [path for path in map(Path, git("ls-files", *patterns).decode().splitlines()) if path.name not in OTHERS]
    paths, tolerance = (paths, 0.0) if exact else ([Path("results/metrics.csv")], TRAINED)
    kind = "the same kind of machine, exactly" if exact else f"another kind of machine, within {TRAINED}"
    say(f"results/ and Plot/ against git: {len(paths)} files, {kind}")
    return [differs(str(path), git("show", f"HEAD:{path}"), REPOSITORY / path, tolerance) for path in paths]


def against_predictions() -> list[str]:
    """What differs between results/ and Plot/ here and what notebooks 03 and 05 write without images."""
    os.environ["XRAY_PROFILE"], started = "verify", time.time()
    config, home = load_config(), REPOSITORY / "build" / "verify"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(REPOSITORY / "results", config.results, ignore=shutil.ignore_patterns("demo"))
    remove = TagRemovePreprocessor(remove_cell_tags={"images", "patients"})
    for path in sorted((REPOSITORY / "notebooks").glob("0[35]_*.ipynb")):
        say(f"{path.stem}, without images")
        with contextlib.redirect_stdout(io.StringIO()):
            run(remove.preprocess(nbformat.read(path, as_version=4), {})[0], path)
    names = [path.relative_to(home) for path in sorted(home.rglob("*.*")) if path.stat().st_mtime > started]
    say(f"computed again from predictions.csv: {len(names)} files")
    here = {name: path.read_bytes() for name in names if (path := REPOSITORY / name).exists()}
    return [differs(str(name), wanted, home / name, EVALUATED) for name, wanted in here.items()]


def main() -> int:
    """Command line: python -m tools.verify; status 1 where a number differs, 2 where nothing can be compared."""
    try:
        with alone():
            found = list(filter(None, against_git() + against_predictions()))
    except (OSError, KeyError, ValueError, CellExecutionError, subprocess.CalledProcessError) as error:
        print(f"{error}\nRun the study first (make reproduce), or get the whole repository with git.", file=sys.stderr)
        return 2
    print("\n".join(found or ["Every number agrees."]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
