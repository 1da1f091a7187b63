"""What README and the cards show is what results/ says, and the tables of results/ follow from predictions.csv."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tools import pages
from xraylib.config import load_config
from xraylib.evaluation import metrics, tables


def test_the_card_holds_the_figures_of_metrics():
    shown = {
        "published": ("published", "mean"),
        pages.OWN: ("xray_cnn", "mean"),
        "its ensemble": ("xray_cnn", "ensemble"),
    }
    rows = pages.read("metrics").set_index(["network", "split", "seed", "statistic"])
    for name, (network, seed) in shown.items():
        (line,) = [line for line in pages.card().splitlines() if line.startswith(f"| {name} |")]
        for cell, statistic in zip(line.split("|")[2:6], metrics.HEADLINE, strict=True):
            row = rows.loc[(network, "test", seed, statistic)]
            wanted = row[["value", "sd", "lower", "upper"]].dropna().astype(float)
            assert [float(number) for number in re.findall(r"\d\.\d+", cell)] == pytest.approx(wanted, abs=5.1e-4)
    assert f"n = {row.n_films:.0f} films of {row.n_children:.0f} children" in pages.card()


def test_a_table_becomes_markdown():
    table = pd.DataFrame({"n_films": [1234, 5], "auroc": [0.98765, np.nan], "what": ["a", "b"]})
    wanted = ["| films | AUROC | what |", "| --- | --- | --- |", "| 1,234 | 0.99 | a |", "| 5 |  | b |"]
    assert pages.markdown(table, decimals=2).splitlines() == wanted


def test_the_claim_of_the_readme_has_the_accuracies_of_the_comparison():
    claim = pages.claim()
    assert claim in (pages.REPOSITORY / "README.md").read_text()
    rows = pd.read_csv(pages.RESULTS / "comparison.csv").query("statistic == 'accuracy'").set_index("row")
    for name in ("published experiment, on test", "this study's network"):
        value, lower, upper = rows.loc[name, ["value", "lower", "upper"]]
        assert f"{value:.3f} ({lower:.3f}-{upper:.3f})" in claim


def test_films_that_the_copy_lacks_are_counted_and_none_is_said(monkeypatch):
    counts = pd.DataFrame({"folder": ["train", "val"], "official": [1345, 8], "difference": [-3, 0]})
    monkeypatch.setattr(pages, "read", lambda name: counts.assign(subtype="virus"))
    assert pages.missing() == "Official films that this run lacked: 3 of 1,345 virus in train."
    counts.difference = [0, 1]  # more than official are not lacking
    assert pages.missing().endswith("lacked: none.")


def test_the_bands_of_scores_hold_every_test_film_once():
    counts = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) of (\d+)", pages.bands())]
    labels = pages.read("index").query("split == 'test'").label
    assert tuple(map(sum, zip(*counts, strict=True))) == (labels.sum(), len(labels))


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
    own = predictions[(predictions.split == "test") & (predictions.network == "xray_cnn")]
    derived = {
        "metrics": metrics.summarise(shown, points, config),
        "differences": tables.differences(predictions, config),
        "against_baselines": tables.against_baselines(pd.concat([predictions, baselines]), config),
        "subgroups": tables.subgroups(own, points, config, pages.read("stations")),
        "val_folder": tables.val_folder(every, points),
    }
    replay = derived["published_replay"] = tables.published_replay(predictions, pages.read("history"))
    figures = derived["metrics"], derived["against_baselines"]
    derived["comparison"] = tables.comparison(replay, *figures, index, pages.read("field"))
    for name, table in derived.items():
        stored = pages.read(name)
        if name == "metrics":
            stored = stored[stored.split != "train"].reset_index(drop=True)
        found = table.reset_index(drop=True)
        pd.testing.assert_frame_equal(found, stored, rtol=1e-5, atol=1e-9, check_dtype=False, obj=name)


def test_the_ledger_holds_the_committed_predictions(committed):
    predictions = committed[2]
    ledger = pd.read_csv(pages.RESULTS / "test_ledger.csv", dtype={"predictions": str})
    own = predictions[(predictions.network == "xray_cnn") & (predictions.split == "test")]
    assert tables.digest_of(own) in set(ledger.predictions)
    assert ledger.evaluation.tolist() == list(range(1, len(ledger) + 1))


def test_reporting_and_field_name_places_and_sources_that_exist():
    reporting, field, page = pages.read("reporting"), pages.read("field"), pages.results()
    assert set(reporting.answered) <= {"yes", "in part", "no"}
    assert not [place for place in reporting.place if not (pages.REPOSITORY / place).exists()]
    assert field.auroc.dropna().between(0.5, 1).all() and field.accuracy.between(0.5, 1).all()
    assert all(f"[{row.source}]({row.link}): {row.method}" in page for row in field.itertuples())
