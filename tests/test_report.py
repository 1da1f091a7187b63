"""The README's tables say what results/ says."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from tools import pages
from xraylib.config import load_config
from xraylib.evaluation import evidence, metrics, tables


def test_the_headline_table_holds_the_figures_of_metrics_json():
    summary = json.loads((pages.RESULTS / "metrics.json").read_text())
    own = summary["networks"]["xray_cnn"]["test"]
    (line,) = [line for line in pages.headline().splitlines() if pages.NAMES["xray_cnn"] in line]
    for cell, name in zip(line.split("|")[2:-1], ("auroc", "accuracy", "sensitivity", "specificity"), strict=True):
        mean, _, sd, interval = cell.split()
        assert float(mean) == pytest.approx(own["chosen"][name]["mean"], abs=5e-4)
        assert float(sd) == pytest.approx(own["chosen"][name]["sd"], abs=5e-4)
        lower, upper = interval.strip("()").split("-")
        assert float(lower) <= float(mean) <= float(upper)
    assert f"n = {own['n_images']} images of {own['n_patients']} patients" in pages.headline()


def test_every_kind_of_foreign_image_has_its_line():
    table = pd.read_csv(pages.RESULTS / "foreign.csv")
    lines = pages.foreign().splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == table.kind.tolist()
    for line, row in zip(lines, table.itertuples(), strict=True):
        assert line.endswith(f"| {row.flagged:.3f} |")
        assert ("-" in line.split("|")[4]) == pd.notna(row.lower)


def test_the_published_cnn_is_shown_where_it_decides():
    summary = json.loads((pages.RESULTS / "metrics.json").read_text())
    half = summary["networks"]["published"]["test"]["half"]["accuracy"]["mean"]
    (line,) = [line for line in pages.headline().splitlines() if line.startswith(f"| {pages.NAMES['published']} |")]
    assert f"{half:.3f}" in line.split("|")[3]


def test_metrics_follow_from_the_predictions():
    predictions = pd.read_csv(pages.RESULTS / "predictions.csv")
    summary = json.loads((pages.RESULTS / "metrics.json").read_text())
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


def test_every_point_of_the_reporting_guidelines_is_answered_somewhere_that_exists():
    table = pd.read_csv(pages.RESULTS / "reporting.csv")
    assert len(table) >= 20
    assert set(table.answered) <= {"yes", "in part", "no"}
    missing = [place for place in table.place if not (pages.REPOSITORY / place).exists()]
    assert not missing


@pytest.fixture(scope="module")
def published():
    """The published run's tables and settings."""
    config = dataclasses.replace(load_config("sample"), bootstrap_resamples=load_config("demo").bootstrap_resamples)
    index = pd.read_csv(pages.RESULTS / "index.csv", dtype={"patient_number": str}, keep_default_na=False)
    predictions = pd.read_csv(pages.RESULTS / "predictions.csv")
    baselines = pd.read_csv(pages.RESULTS / "baselines.csv")
    return config, index, predictions, baselines


def test_the_story_follows_from_the_other_tables():
    summary = json.loads((pages.RESULTS / "metrics.json").read_text())
    tables = {
        name: pd.read_csv(pages.RESULTS / f"{name}.csv", keep_default_na=name != "index")
        for name in ("published_replay", "against_baselines", "index", "field", "story")
    }
    replay, compared, index, field, stored = tables.values()
    story = tables.story(replay, summary, compared, index, field)
    rows = ["group", "row", "measured_on", "statistic"]  # metrics.json is sorted by name, the run's summary is not
    pd.testing.assert_frame_equal(
        *(table.sort_values(rows, ignore_index=True) for table in (story, stored)), check_dtype=False
    )
    assert list(dict.fromkeys(story.group)) == ["published experiment", "baselines", "this study", "field"]


def test_the_claim_is_two_sentences_of_figures_from_the_story():
    said = pages.claim()
    assert len(re.findall(r"\.(?= [A-Z]|$)", said)) == 2
    story = pd.read_csv(pages.RESULTS / "story.csv").set_index(["row", "statistic"])
    for row in ("published experiment, on unseen children", "this study's CNN"):
        for statistic in ("auroc", "accuracy"):
            figures = story.loc[(row, statistic)]
            assert f"{figures['mean']:.3f} ({figures.lower:.3f}-{figures.upper:.3f})" in said


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.02, 0.01, 0.03), "higher by 0.020 (0.010-0.030)"),
        ((-0.02, -0.03, -0.01), "lower by 0.020 (0.010-0.030)"),
        ((0.02, -0.01, 0.05), "not told apart from it (difference +0.020, -0.010 to +0.050)"),
        ((0.02, 0.0, 0.05), "not told apart from it (difference +0.020, +0.000 to +0.050)"),
    ],
)
def test_the_claims_words_follow_from_the_interval(interval, words, tmp_path, monkeypatch):
    row = dict(zip(("difference", "lower", "upper"), interval, strict=True))
    pd.DataFrame([{"statistic": "auroc"} | row]).to_csv(tmp_path / "differences.csv", index=False)
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    assert pages._apart("auroc") == words


def test_what_an_ingredient_is_worth_is_named_where_it_exceeds_the_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    rows = [
        {"variant": name, "seed": seed, "judge": judge, "images": 9, "auroc": auroc + (seed - 1) * sd}
        for name, sd, by_judge in (
            ("the whole recipe", 0, (0.95, 0.9, 0.8)),  # by luck; no reason to believe differences of .001
            ("without noise", 0.001, (0.951, 0.904, 0.8)),
            ("without frame", 0.001, (0.9, 0.8, 0.801)),
            ("without gamma", 0.001, (0.94, 0.9, 0.799)),
        )
        for judge, auroc in zip(("spoilt", "series", "exchanged"), by_judge, strict=True)
        for seed in (0, 1, 2)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "ablation.csv", index=False)
    said = pages._variants()
    assert "otherwise: -0.050 without frame, -0.010 without gamma;" in said
    assert "not seen: -0.100 without frame, +0.004 without noise;" in said
    assert "exchanged: none ([figure]" in said


def test_the_readings_of_test_are_told_in_their_order():
    ledger = pd.read_csv(pages.RESULTS / "test_ledger.csv")
    assert ledger.reading.tolist() == list(range(1, len(ledger) + 1))
    said = pages.readings()
    for name, before in (("auroc", "AUROC "), ("balanced_accuracy", "threshold ")):
        told = said.split(before)[1].split(";")[0].rstrip(".").split(", ")
        np.testing.assert_allclose([float(value) for value in told], ledger[name], atol=0.00051)


def test_growth_is_told_from_the_least_to_the_most(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    rows = [(500, "decoding", 1.0, 80), (500, "training", 6.0, 900), (100_000, "decoding", 120.0, 90),
            (100_000, "training", 630.0, 950)]  # fmt: skip
    pd.DataFrame(rows, columns=["images", "step", "seconds", "peak_mb"]).to_csv(tmp_path / "growth.csv", index=False)
    said = pages._grown()
    assert said.startswith("100,000 films instead of 500 (phantoms, repeated): decoding 2.0 minutes, training 10.5 ")
    assert "peak memory 950 MB instead of 900 " in said


def test_speed_is_told_as_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    rows = [
        ("decoding, against tf.io", 1234.5, 99.94, "images/s", 12.352),
        ("training", 9.6, 27.4, "s", 2.9),
    ]
    pd.DataFrame(rows, columns=["name", "ours", "other", "unit", "ratio"]).to_csv(tmp_path / "bench.csv", index=False)
    first, second = pages.speed().splitlines()[2:]
    assert first == "| decoding, against tf.io | 1,234 images/s | 99.9 images/s | 12.35 |"
    assert second == "| training | 9.6 s | 27.4 s | 2.90 |"


def test_the_field_is_named_with_its_sources():
    table = pd.read_csv(pages.RESULTS / "field.csv")
    assert table.link.str.match(r"https://\S+$").all()
    assert table.auroc.dropna().between(0.5, 1).all()
    assert table.accuracy.between(0.5, 1).all()
    assert all(f"[{row.source}]({row.link}): {row.method}" in pages.results() for row in table.itertuples())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("repository-code: https://github.com/some/study", "mybinder.org/v2/gh/some/study/HEAD"),
        ('repository-code: "https://github.com/some/study.git"', "github/some/study/blob/main/binder/colab.ipynb"),
        ("", "give this repository's address to"),
    ],
)
def test_the_links_to_run_it_online_follow_from_the_citation(line, shown, tmp_path, monkeypatch):
    (tmp_path / "CITATION.cff").write_text(f"cff-version: 1.2.0\n{line}\n")
    monkeypatch.setattr(pages, "REPOSITORY", tmp_path)
    assert shown in pages.online()


def test_every_table_of_notebook_three_follows_from_the_predictions(published):
    config, index, predictions, baselines = published
    points = metrics.operating_points(predictions)
    test = predictions[predictions.split == "test"]
    own = test[test.network == "xray_cnn"]
    calibrated = evidence.recalibrated(predictions, "xray_cnn")
    calibrated = calibrated[calibrated.split == "test"]
    learned = index.label[index.split == "tune"].mean()
    both = test[test.network.isin(["published", "xray_cnn"])]
    derived = {
        "subgroups": evidence.subgroups(own, points, config),
        "sensitivity_analyses": evidence.sensitivity_analyses(own, index, points, config),
        "calibration": evidence.calibration(own, calibrated),
        "prior_shift": evidence.prior_shift(calibrated, learned),
        "risk_coverage": evidence.risk_coverage(both, tables.decision_points(points)),
        "worst_errors": evidence.worst_errors(own, points),
        "differences": tables.differences(predictions, points, config),
        "against_baselines": evidence.against_baselines(pd.concat([predictions, baselines]), config),
    }
    for name, table in derived.items():
        stored = pd.read_csv(pages.RESULTS / f"{name}.csv")
        pd.testing.assert_frame_equal(table.reset_index(drop=True), stored, rtol=1e-9, check_dtype=False)


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    atlas = (pages.REPOSITORY / "Plot" / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w/]+\.png)\)", atlas))
    there = {path.name for path in (pages.REPOSITORY / "Plot").glob("*.png")}
    shown = {f"demo/{path.name}" for path in (pages.REPOSITORY / "Plot" / "demo").glob("*.png")}
    captioned = {name for name in linked if "/" not in name}
    patients = {"normal.png", "pneumonia.png"} | {name for name in there if name.endswith("_images.png")}
    assert captioned == there - patients
    assert linked - captioned <= shown
    by_command = set(re.findall(r"`make \w+`, from .+\n\n!\[\w+\]\((\w+\.png)\)", atlas))  # no part of reproduce
    assert shown == {f"demo/{name}" for name in captioned - by_command} | (linked - captioned)


def test_figures_are_light():
    for path in (pages.REPOSITORY / "Plot").rglob("*.png"):
        assert path.stat().st_size <= 200_000, path.name


def test_every_fault_of_the_table_names_a_test_that_exists():
    tests = pages.REPOSITORY / "tests"
    rows = [
        line.split("|")[3].strip() for line in (tests / "README.md").read_text().splitlines() if line.startswith("| ")
    ]
    for place in (place for row in rows[1:] for place in row.split("; ")):
        module, _, names = place.partition(": ")
        for name in names.split(", "):
            assert f"def {name}" in (tests / f"{module}.py").read_text(), place
