"""The README's tables say what results/ says."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from xraylib import report

README = report.REPOSITORY / "README.md"


def test_the_readme_is_current():
    # cog runs the README's snippets and compares what they print with what stands there
    checked = subprocess.run(
        [sys.executable, "-m", "cogapp", "-P", "--check", "--diff", str(README)],
        cwd=report.REPOSITORY,
        text=True,
        capture_output=True,
    )
    assert checked.returncode == 0, f"make publish brings it up to date:\n{checked.stdout[-2000:]}"


def test_the_headline_table_holds_the_figures_of_metrics_json():
    summary = json.loads((report.RESULTS / "metrics.json").read_text())
    own = summary["networks"]["xray_cnn"]["test"]
    (line,) = [line for line in report.headline().splitlines() if report.NAMES["xray_cnn"] in line]
    for cell, name in zip(line.split("|")[2:-1], ("auroc", "accuracy", "sensitivity", "specificity"), strict=True):
        mean, _, sd, interval = cell.split()
        assert float(mean) == pytest.approx(own["chosen"][name]["mean"], abs=5e-4)
        assert float(sd) == pytest.approx(own["chosen"][name]["sd"], abs=5e-4)
        lower, upper = interval.strip("()").split("-")
        assert float(lower) <= float(mean) <= float(upper)
    assert f"n = {own['n_images']} images of {own['n_patients']} patients" in report.headline()


def test_the_published_cnn_is_shown_where_it_decides():
    summary = json.loads((report.RESULTS / "metrics.json").read_text())
    half = summary["networks"]["published"]["test"]["half"]["accuracy"]["mean"]
    (line,) = [line for line in report.headline().splitlines() if line.startswith(f"| {report.NAMES['published']} |")]
    assert f"{half:.3f}" in line.split("|")[3]


def test_metrics_follow_from_the_predictions():
    predictions = pd.read_csv(report.RESULTS / "predictions.csv")
    summary = json.loads((report.RESULTS / "metrics.json").read_text())
    for network in ("published", "xray_cnn"):
        for point, which in (("chosen", None), ("half", 0.5)):
            for i, chosen in enumerate(summary["networks"][network]["operating_points"]):
                part = predictions[(predictions.network == network) & (predictions.split == "test")]
                part = part[part.seed == chosen["seed"]]
                called = part.probability >= (which or chosen["threshold"])
                block = summary["networks"][network]["test"][point]
                assert block["accuracy"]["per_seed"][i] == pytest.approx((called == part.label).mean(), abs=1e-12)
                assert block["sensitivity"]["per_seed"][i] == pytest.approx(called[part.label == 1].mean(), abs=1e-12)
                assert block["specificity"]["per_seed"][i] == pytest.approx(
                    1 - called[part.label == 0].mean(), abs=1e-12
                )
