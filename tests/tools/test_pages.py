"""What README and the cards show is what results/ says, and the tables of results/ follow from predictions.csv."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tools import pages
from xraylib.config import load_config
from xraylib.evaluation import metrics, tables


def test_the_headline_table_holds_the_figures_of_metrics():
    table = pd.read_csv(pages.RESULTS / "metrics.csv", dtype={"seed": str})
    rows = table.set_index(["network", "split", "seed", "statistic"])
    for (network, seed), name in pages.NAMES.items():
        (line,) = [line for line in pages.headline().splitlines() if line.startswith(f"| {name} |")]
        for cell, statistic in zip(line.split("|")[2:-1], metrics.HEADLINE, strict=True):
            row = rows.loc[(network, "test", seed, statistic)]
            numbers = [float(number) for number in re.findall(r"\d\.\d+", cell)]
            wanted = [row.value, *([row.sd] if np.isfinite(row.sd) else []), row.lower, row.upper]
            assert numbers == pytest.approx(wanted, abs=5.1e-4)
    assert f"n = {row.n_films:.0f} films of {row.n_children:.0f} children" in pages.headline()


@pytest.fixture(scope="module")
def committed():
    """The tables and settings of the committed run."""
    config = replace(load_config("demo", {}), results=pages.RESULTS, phantoms=False, data=pages.RESULTS / "none")
    index = pd.read_csv(pages.RESULTS / "index.csv", dtype={"patient_number": str}, keep_default_na=False)
    return config, index, tables.load_predictions(config), tables.load_predictions(config, "baselines")


def test_every_table_follows_from_the_predictions(committed):
    config, index, predictions, baselines = committed
    assert set(baselines.network) == set(tables.BASELINES)
    every = metrics.with_ensemble(predictions)
    points = metrics.operating_points(every)
    test = predictions[predictions.split == "test"]
    own, both = test[test.network == "xray_cnn"], test[test.network.isin(["published", "xray_cnn"])]
    derived = {
        "metrics": metrics.summarise(every[every.network != metrics.UNSCALED], points, config),
        "parts": tables.parts_table(every, points, tables.load_parts(config), config),
        "differences": tables.differences(predictions, config),
        "against_baselines": tables.against_baselines(pd.concat([predictions, baselines]), config),
        "subgroups": tables.subgroups(own, points, config),
        "sensitivity_analyses": tables.sensitivity_analyses(own, index, points, config),
        "calibration": tables.calibration(both),
        "risk_coverage": tables.risk_coverage(both, points),
        "worst_errors": tables.worst_errors(own, points),
    }
    field, history = (pd.read_csv(pages.RESULTS / f"{name}.csv") for name in ("field", "history"))
    replay = derived["published_replay"] = tables.published_replay(predictions, history)
    compared = derived["against_baselines"]
    derived["comparison"] = tables.comparison(replay, derived["metrics"], compared, index, field)
    for name, table in derived.items():
        stored = pd.read_csv(pages.RESULTS / f"{name}.csv", dtype={"seed": str} if name == "metrics" else None)
        found = table.reset_index(drop=True)
        pd.testing.assert_frame_equal(found, stored, rtol=1e-5, atol=1e-9, check_dtype=False, obj=name)


def test_the_ledger_holds_the_committed_predictions(committed):
    _, _, predictions, _ = committed
    parts = pd.read_csv(pages.RESULTS / "test_parts.csv")
    assert parts.part.value_counts().to_dict() == {"earlier": 342, "unseen": 282} and parts.path.is_unique
    ledger = pd.read_csv(pages.RESULTS / "test_ledger.csv", dtype={"predictions": str})
    own = predictions[(predictions.network == "xray_cnn") & (predictions.split == "test")]
    assert tables.digest_of(own) in set(ledger.predictions)
    assert ledger.evaluation.tolist() == list(range(1, len(ledger) + 1))


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.02, 0.01, 0.03), "higher by 0.020 (0.010-0.030)"),
        ((-0.02, -0.03, -0.01), "lower by 0.020 (0.010-0.030)"),
        ((0.02, 0.0, 0.05), "no clear difference (+0.020, +0.000 to +0.050)"),
    ],
)
def test_the_words_follow_from_the_interval(interval, words, tmp_path, monkeypatch):
    row = dict(zip(("difference", "lower", "upper"), interval, strict=True))
    rows = [{"thresholds": "published at 0.5", "statistic": "auroc"} | row]
    pd.DataFrame(rows).to_csv(tmp_path / "differences.csv", index=False)
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    assert pages._difference("auroc") == words


def test_every_point_of_the_reporting_guidelines_is_answered_somewhere_that_exists():
    table = pd.read_csv(pages.RESULTS / "reporting.csv")
    assert len(table) >= 20
    assert set(table.answered) <= {"yes", "in part", "no"}
    missing = [place for place in table.place if not (pages.REPOSITORY / place).exists()]
    assert not missing


def test_the_field_is_named_with_its_sources():
    table = pd.read_csv(pages.RESULTS / "field.csv")
    assert table.link.str.match(r"https://\S+$").all()
    assert table.auroc.dropna().between(0.5, 1).all()
    assert table.accuracy.between(0.5, 1).all()
    assert all(f"[{row.source}]({row.link}): {row.method}" in pages.results() for row in table.itertuples())


def test_every_figure_has_a_caption_and_every_caption_a_figure_of_at_most_200_kb():
    atlas = (pages.REPOSITORY / "Plot" / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w/]+\.png)\)", atlas))
    listed = subprocess.run(["git", "ls-files", "Plot/*.png"], cwd=pages.REPOSITORY, capture_output=True, text=True)
    assert linked == {name.removeprefix("Plot/") for name in listed.stdout.split()}
    assert max((pages.REPOSITORY / "Plot" / name).stat().st_size for name in linked) <= 200_000


def test_every_fault_of_the_table_names_a_test_that_exists():
    tests = pages.REPOSITORY / "tests"
    rows = [
        line.split("|")[3].strip() for line in (tests / "README.md").read_text().splitlines() if line.startswith("| ")
    ]
    for place in (place for row in rows[1:] for place in row.split("; ")):
        module, _, names = place.partition(": ")
        for name in names.split(", "):
            (file,) = tests.rglob(f"{module}.py")
            assert f"def {name}" in file.read_text(), place
