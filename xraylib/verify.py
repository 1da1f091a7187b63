"""This run's results against the published ones: the same bits, within tolerance, or different."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys

import pandas as pd

from xraylib.config import REPOSITORY, load_config
from xraylib.files import UserError

STATISTICS = ("auroc", "accuracy", "sensitivity", "specificity")
LEAST = {"full": 0.03, "demo": 0.12}  # phantoms are few, so another CPU's rounding moves their figures further
SPREADS = 4  # SDs over seeds: another CPU rounds otherwise, and a training that rounds otherwise is as another seed's


def committed(name: str) -> str:
    """The text of a file of the repository as the last commit has it; UserError where it has none."""
    shown = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=REPOSITORY, capture_output=True, text=True)
    if shown.returncode:
        raise UserError(
            f"{name}: not in the last commit ({shown.stderr.strip()[:80]}). Wanted a clone with its results."
        )
    return shown.stdout


def compare(published: dict, here: dict, least: float) -> pd.DataFrame:
    """A row per network and statistic of test: published, here, tolerance, verdict; two metrics.json are compared.

    The verdict is "same bits" where all seeds agree to the last bit, else "within tolerance" or "DIFFERENT". The
    tolerance of a mean is SPREADS standard deviations over seeds, at least `least`.
    """
    rows = []
    for network, of_network in published["networks"].items():
        for statistic in STATISTICS:
            was = of_network["test"]["chosen"][statistic]
            now = here["networks"].get(network, {}).get("test", {}).get("chosen", {}).get(statistic, {})
            tolerance = max(least, SPREADS * (was["sd"] or 0))
            row = {"network": network, "statistic": statistic, "published": was["mean"], "here": now.get("mean")}
            rows.append(row | {"tolerance": tolerance, "verdict": _verdict(was, now, tolerance)})
    return pd.DataFrame(rows)


def _verdict(was: dict, now: dict, tolerance: float) -> str:
    if now.get("per_seed") == was["per_seed"]:
        return "same bits"
    near = now.get("mean") is not None and abs(now["mean"] - was["mean"]) <= tolerance
    return "within tolerance" if near else "DIFFERENT"


def main() -> int:
    """Command line: python -m xraylib.verify; status 1 where a result differs, else 0 (also for other images)."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        config = load_config()
        folder = config.results.relative_to(REPOSITORY).as_posix()
        file = config.results / "metrics.json"
        if not file.exists():
            raise UserError(f"{file}: not there. Run the study first: make reproduce")
        images = pd.read_csv(io.StringIO(committed(f"{folder}/index.csv"))).sha256
        if sorted(images) != sorted(pd.read_csv(config.results / "index.csv").sha256):
            print(f"{folder}: other images than those of the published run, so there is nothing to compare.")
            return 0
        published = json.loads(committed(f"{folder}/metrics.json"))
        table = compare(published, json.loads(file.read_text()), LEAST[config.profile])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.round(4).to_string(index=False))
    counts = table.verdict.value_counts()
    print(f"{folder}: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    return int((table.verdict == "DIFFERENT").any())


if __name__ == "__main__":
    sys.exit(main())
