"""What README and the cards show is what results/ says, and the tables of results/ follow from predictions.csv."""

import re
import subprocess
from dataclasses import replace

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
            wanted = row[["value", "sd", "lower", "upper"]].dropna().astype(float)
            assert [float(number) for number in re.findall(r"\d\.\d+", cell)] == pytest.approx(wanted, abs=5.1e-4)
    assert f"n = {row.n_films:.0f} films of {row.n_children:.0f} children" in pages.headline()


def test_the_claim_of_the_readme_is_two_sentences_with_the_accuracies_of_the_comparison():
    claim = pages.claim()
    assert claim.count(". ") == 1 and claim.endswith(".")
    assert claim in (pages.REPOSITORY / "README.md").read_text()
    rows = pd.read_csv(pages.RESULTS / "comparison.csv").query("statistic == 'accuracy'").set_index("row")
    for name in ("published experiment, on test", "this study's network"):
        value, lower, upper = rows.loc[name, ["value", "lower", "upper"]]
        assert f"{value:.3f} ({lower:.3f}-{upper:.3f})" in claim


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
    shown = every[(every.network != metrics.UNSCALED) & (every.split != "train")]  # train's intervals take seconds
    test = predictions[predictions.split == "test"]
    own, both = test[test.network == "xray_cnn"], test[test.network.isin(["published", "xray_cnn"])]
    derived = {
        "metrics": metrics.summarise(shown, points, config),
        "parts": tables.parts_table(every, points, tables.load_parts(config), config),
        "differences": tables.differences(predictions, config),
        "against_baselines": tables.against_baselines(pd.concat([predictions, baselines]), config),
        "subgroups": tables.subgroups(own, points, config),
        "sensitivity_analyses": tables.sensitivity_analyses(own, index, points, config),
        "calibration": tables.calibration(both),
        "abstaining": tables.abstaining(both, points),
        "worst_errors": tables.worst_errors(own, points),
    }
    field, history = (pd.read_csv(pages.RESULTS / f"{name}.csv") for name in ("field", "history"))
    replay = derived["published_replay"] = tables.published_replay(predictions, history)
    compared = derived["against_baselines"]
    derived["comparison"] = tables.comparison(replay, derived["metrics"], compared, index, field)
    for name, table in derived.items():
        stored = pd.read_csv(pages.RESULTS / f"{name}.csv", dtype={"seed": str} if name == "metrics" else None)
        if name == "metrics":
            stored = stored[stored.split != "train"].reset_index(drop=True)
        found = table.reset_index(drop=True)
        pd.testing.assert_frame_equal(found, stored, rtol=1e-5, atol=1e-9, check_dtype=False, obj=name)


def test_the_ledger_and_the_parts_of_test_hold_the_committed_films(committed):
    _, index, predictions, _ = committed
    parts = pd.read_csv(pages.RESULTS / "test_parts.csv")
    assert parts.part.value_counts().to_dict() == {"earlier": 342, "unseen": 282} and parts.path.is_unique
    assert set(parts.path) == set(index[index.split == "test"].path)
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
    row |= {"thresholds": "published at 0.5", "statistic": "auroc"}
    pd.DataFrame([row]).to_csv(tmp_path / "differences.csv", index=False)
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    assert pages._difference("auroc") == words


def test_every_point_of_the_reporting_guidelines_is_answered_somewhere_that_exists():
    table = pd.read_csv(pages.RESULTS / "reporting.csv")
    assert len(table) >= 20
    assert set(table.answered) <= {"yes", "in part", "no"}
    assert not [place for place in table.place if not (pages.REPOSITORY / place).exists()]


def test_the_field_is_named_with_its_sources():
    table, page = pd.read_csv(pages.RESULTS / "field.csv"), pages.results()
    assert table.link.str.match(r"https://\S+$").all()
    assert table.auroc.dropna().between(0.5, 1).all() and table.accuracy.between(0.5, 1).all()
    assert all(f"[{row.source}]({row.link}): {row.method}" in page for row in table.itertuples())


def test_every_figure_has_a_caption_and_every_caption_a_figure_of_at_most_200_kb():
    plots = pages.REPOSITORY / "Plot"
    linked = set(re.findall(r"\]\(([\w/]+\.png)\)", (plots / "README.md").read_text()))
    listed = subprocess.run(["git", "ls-files", "*.png"], cwd=plots, capture_output=True, text=True)
    assert linked == set(listed.stdout.split())
    assert max((plots / name).stat().st_size for name in linked) <= 200_000


def test_every_fault_of_the_table_names_a_test_that_exists():
    tests = pages.REPOSITORY / "tests"
    lines = [line for line in (tests / "README.md").read_text().splitlines() if line.startswith("| ")]
    for place in (place for line in lines[1:] for place in line.split("|")[3].strip().split("; ")):
        module, _, names = place.partition(": ")
        (file,) = tests.rglob(f"{module}.py")
        assert all(f"def {name}" in file.read_text() for name in names.split(", ")), place
