"""This run's results against the published ones: the same bits, within tolerance, or different."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from xraylib.config import REPOSITORY, Config, load_config
from xraylib.files import UserError

STATISTICS = ("auroc", "accuracy", "sensitivity", "specificity")
LEAST = {"full": 0.03, "demo": 0.12}  # phantoms are few, so another CPU's rounding moves their figures further
SPREADS = 4  # SDs over seeds: another CPU rounds otherwise, and a training that rounds otherwise is as another seed's
SAME, NEAR, DIFFERENT, NOT_COMPARED = "same bits", "within tolerance", "DIFFERENT", "not compared"

# What decides how sums are rounded (backend.describe); with all of it alike, every bit must be.
KIND = ("cpu", "gpus", "keras", "machine", "precision", "python", "system", "tensorflow", "threads")
CLOCK = ("timing.json", "bench.csv", "growth.csv", "growth.png", "reporting.csv")  # seconds; the last, by hand


def committed(name: str) -> bytes:
    """A file of the repository as the last commit has it; UserError where it has none."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=REPOSITORY, capture_output=True)
    except FileNotFoundError as error:
        raise UserError("git: not found. Wanted it, to read the published results from the last commit.") from error
    if shown.returncode:
        reason = shown.stderr.decode(errors="replace").strip()[:80]
        raise UserError(f"{name}: not in the last commit ({reason}). Wanted a clone with its results.")
    return shown.stdout


def same_kind(published: dict, here: dict) -> list[str]:
    """What differs between two machines (timing.json's "machine") of what decides the bits; empty: the same kind."""
    return [key for key in KIND if published.get(key) is None or published.get(key) != here.get(key)]


def compare(published: dict, here: dict, least: float) -> pd.DataFrame:
    """A row per network and statistic of test: result, published, here, tolerance, verdict, of two metrics.json.

    The verdict is "same bits" where all seeds agree to the last bit, else "within tolerance" or "DIFFERENT". The
    tolerance of a mean is SPREADS standard deviations over seeds, at least `least`; 0 where least is 0, on the same
    kind of machine.
    """
    rows = []
    for network, of_network in published["networks"].items():
        for statistic in STATISTICS:
            was = of_network["test"]["chosen"][statistic]
            now = here["networks"].get(network, {}).get("test", {}).get("chosen", {}).get(statistic, {})
            tolerance = max(least, SPREADS * (was["sd"] or 0)) if least else 0.0
            row = {"result": f"{network}, {statistic}", "published": was["mean"], "here": now.get("mean")}
            rows.append(row | {"tolerance": tolerance, "verdict": _verdict(was, now, tolerance)})
    return pd.DataFrame(rows)


def _verdict(was: dict, now: dict, tolerance: float) -> str:
    if now.get("per_seed") == was["per_seed"]:
        return SAME
    near = tolerance > 0 and now.get("mean") is not None and abs(now["mean"] - was["mean"]) <= tolerance
    return NEAR if near else DIFFERENT


def compare_files(published: dict[str, bytes], here: dict[str, bytes | None], exact: bool) -> pd.DataFrame:
    """A row per file: result, published, here (first digits of the SHA-256), tolerance, verdict.

    exact: any difference is DIFFERENT; else a file that differs is "not compared", because its figures hang on those of
    the networks, whose own are. A file that is missing is DIFFERENT always.
    """
    rows = []
    for name, data in published.items():
        now = here.get(name)
        other = DIFFERENT if exact or now is None else NOT_COMPARED
        rows.append(
            {
                "result": name,
                "published": _digest(data),
                "here": _digest(now),
                "tolerance": "none" if exact else "",
                "verdict": SAME if now == data else other,
            }
        )
    return pd.DataFrame(rows)


def _digest(data: bytes | None) -> str:
    return "missing" if data is None else hashlib.sha256(data).hexdigest()[:12]


def _published_files(*folders: str) -> dict[str, bytes]:
    """The tables and figures that the last commit holds directly in `folders`, but for those with a clock."""
    listed = subprocess.run(["git", "ls-tree", "--name-only", "HEAD", *(f"{f}/" for f in folders)],
                            cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout  # fmt: skip
    names = [name for name in listed.splitlines() if Path(name).suffix in {".csv", ".json", ".png"}]
    return {name: committed(name) for name in names if Path(name).name not in CLOCK}


def _same_images(config: Config, folder: str) -> bool:
    published = pd.read_csv(io.BytesIO(committed(f"{folder}/index.csv"))).sha256
    return sorted(published) == sorted(pd.read_csv(config.results / "index.csv").sha256)


def verify(config: Config) -> tuple[pd.DataFrame, list[str]]:
    """The table of `compare` and `compare_files` for this run, and what differs of the machines.

    Raises UserError where a result is missing or was made by another version of the study.
    """
    folder, plots = (path.relative_to(REPOSITORY).as_posix() for path in (config.results, config.plots))
    here, machine = (_read(config.results / name) for name in ("metrics.json", "timing.json"))
    published = json.loads(committed(f"{folder}/metrics.json"))
    differs = same_kind(json.loads(committed(f"{folder}/timing.json"))["machine"], machine.get("machine", {}))
    files = _published_files(folder, plots)
    now = {name: _bytes(REPOSITORY / name) for name in files}
    try:
        figures = compare(published, here, LEAST[config.profile] if differs else 0.0)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}/metrics.json: not of this version ({error}). Remove it and run: make reproduce"
        ) from error
    return pd.concat([figures.round(4), compare_files(files, now, not differs)], ignore_index=True), differs


def _read(path: Path) -> dict:
    if not path.exists():
        raise UserError(f"{path}: not there. Run the study first: make reproduce")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: no JSON ({error}). Remove it and run: make reproduce") from error


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main() -> int:
    """Command line: python -m tools.verify; status 1 where a result differs, else 0 (also for other images)."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        config = load_config()
        if config.profile not in LEAST:
            print(f"profile {config.profile}: nothing of it is published, so there is nothing to compare.")
            return 0
        folder = config.results.relative_to(REPOSITORY).as_posix()
        if not (config.results / "index.csv").exists():
            raise UserError(f"{config.results}: no results. Run the study first: make reproduce")
        if not _same_images(config, folder):
            print(f"{folder}: other images than those of the published run, so there is nothing to compare.")
            return 0
        table, differs = verify(config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.fillna("missing").to_string(index=False))
    kind = f"another kind of machine ({', '.join(differs)})" if differs else "the same kind of machine: no tolerance"
    counts = ", ".join(f"{n} {verdict}" for verdict, n in table.verdict.value_counts().items())
    print(f"{folder}, on {kind}: {counts}")
    return int((table.verdict == DIFFERENT).any())


if __name__ == "__main__":
    sys.exit(main())
