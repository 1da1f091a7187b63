"""Worlds small enough to solve by hand: who is missed, where, and what abstaining or recalibrating would do."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from xraylib.evaluation import evidence, metrics


def predictions(rows, network="xray_cnn", seed=0, split="test"):
    """rows: (path, label, subtype, probability), each of a patient of its own."""
    table = pd.DataFrame(rows, columns=["path", "label", "subtype", "probability"])
    return table.assign(
        network=network, seed=seed, folder=split, split=split, patient=[f"p{i}" for i in range(len(table))]
    )


ROWS = [
    ("test/PNEUMONIA/person1_bacteria_1.jpeg", 1, "bacteria", 0.9),
    ("test/PNEUMONIA/person2_bacteria_1.jpeg", 1, "bacteria", 0.8),
    ("test/PNEUMONIA/person3_virus_1.jpeg", 1, "virus", 0.6),
    ("test/PNEUMONIA/person4_virus_1.jpeg", 1, "virus", 0.3),
    ("test/NORMAL/IM-0001-0001.jpeg", 0, "normal", 0.1),
    ("test/NORMAL/IM-0002-0001.jpeg", 0, "normal", 0.7),
    ("test/NORMAL/NORMAL2-IM-0003-0001.jpeg", 0, "normal", 0.2),
    ("test/NORMAL/NORMAL2-IM-0004-0001.jpeg", 0, "normal", 0.4),
]
POINTS = {("xray_cnn", 0): metrics.HALF, ("xray_cnn", 1): metrics.HALF}


@pytest.fixture
def quick(config):
    return dataclasses.replace(config, bootstrap_resamples=50)


def test_subgroups_are_counted_by_subtype_and_by_series(quick):
    table = evidence.subgroups(predictions(ROWS), POINTS, quick).set_index("part")
    assert table["mean"].to_dict() == {"bacteria": 1.0, "virus": 0.5, "series IM-": 0.5, "series NORMAL2-IM-": 1.0}
    assert table.images.to_dict() == {"bacteria": 2, "virus": 2, "series IM-": 2, "series NORMAL2-IM-": 2}
    assert (table.lower <= table["mean"]).all() and (table["mean"] <= table.upper).all()


def test_runs_of_file_numbers_divide_a_series_and_leave_nobody_out(quick):
    rows = [(f"test/NORMAL/IM-{i:04d}-0001.jpeg", 0, "normal", 0.9 if i < 10 else 0.1) for i in range(40)]
    table = evidence.subgroups(predictions(rows), POINTS, quick).set_index("part")
    assert table.loc["IM-0000 to 0009", "mean"] == 0
    assert (table.loc[["IM-0010 to 0019", "IM-0020 to 0029", "IM-0030 to 0039"], "mean"] == 1).all()
    assert table.images.sum() == 2 * 40  # the series, and its runs


def test_other_decisions_change_what_they_should(quick):
    index = pd.DataFrame(
        {
            "path": [row[0] for row in ROWS] + ["train/x.jpeg"],
            "split": ["test"] * 8 + ["train"],
            "patient": ["a", "a", "b", "c", "d", "e", "f", "g", "z"],
            "patient_number": [*"aabcdef", "g", "b"],
            "sha256": ["1", "1", "3", "4", "5", "6", "7", "8", "9"],
        }
    )
    points = {("xray_cnn", 0): metrics.OperatingPoint(0.65, "a", "b")}
    table = evidence.sensitivity_analyses(predictions(ROWS), index, points, quick)
    images = table.drop_duplicates("part").set_index("part").images.to_dict()
    assert images == {
        "as reported": 8,
        "distinct images": 7,
        "one image a patient": 7,
        "bare numbers not in train": 7,
        "threshold 0.5": 8,
    }
    sensitivity = table[table.statistic == "sensitivity"].set_index("part")["mean"]
    assert sensitivity["as reported"] == 0.5
    assert sensitivity["threshold 0.5"] == 0.75
    assert sensitivity["bare numbers not in train"] == pytest.approx(2 / 3)


def test_a_baseline_is_compared_on_the_same_images(quick):
    own = [predictions(ROWS, split=split) for split in ("tune", "test")]
    worse = [part.assign(network="majority", probability=1.0) for part in own]
    table = evidence.against_baselines(pd.concat(own + worse, ignore_index=True), quick).set_index(
        ["network", "statistic"]
    )
    assert table.loc[("majority", "auroc"), "mean"] == 0.5
    assert table.loc[("majority", "auroc"), "difference"] == table.loc[("xray_cnn", "auroc"), "mean"] - 0.5
    assert table.loc[("majority", "sensitivity"), "mean"] == 1
    assert np.isnan(table.loc[("xray_cnn", "auroc"), "difference"])


def test_recalibration_is_fitted_on_tune_alone_and_mends_what_is_too_sure():
    rng = np.random.default_rng(0)
    true = rng.uniform(-2, 2, 4000)
    label = rng.random(4000) < 1 / (1 + np.exp(-true))
    sure = 1 / (1 + np.exp(-3 * true))  # logits three times too large
    rows = [(f"{i}", int(y), "", p) for i, (y, p) in enumerate(zip(label, sure, strict=True))]
    both = pd.concat([predictions(rows[:2000], split="tune"), predictions(rows[2000:])], ignore_index=True)
    after = evidence.recalibrated(both, "xray_cnn")
    slope = metrics.logit(after.probability) / metrics.logit(both.probability)
    assert np.median(slope) == pytest.approx(1 / 3, abs=0.05)
    test = [table[table.split == "test"] for table in (both, after)]
    table = evidence.calibration(*test).set_index(["recalibration", "statistic"])["mean"]
    assert table["after", "expected_calibration_error"] < table["before", "expected_calibration_error"] / 2
    spoilt = both.assign(label=np.where(both.split == "test", 1 - both.label, both.label))
    assert (evidence.recalibrated(spoilt, "xray_cnn").probability == after.probability).all()


def test_a_rarer_disease_needs_other_probabilities():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.02, 0.98, 20000)
    rows = [(f"{i}", int(y), "", q) for i, (y, q) in enumerate(zip(rng.random(20000) < p, p, strict=True))]
    table = evidence.prior_shift(predictions(rows), learned_prevalence=0.5).set_index("prevalence")
    assert table.loc[0.05, "as it is"] > 0.2
    assert (table.corrected < 0.02).all()


def test_abstaining_leaves_the_surest():
    table = evidence.risk_coverage(predictions(ROWS), POINTS).set_index("coverage").accuracy
    assert table[1.0] == 6 / 8
    assert table[0.5] == 1  # of 0.9, 0.8, 0.1 and 0.2, none is wrong


def test_the_worst_errors_are_those_of_most_seeds_and_furthest_off():
    second = [(path, label, subtype, 0.9 if "IM-0004" in path else p) for path, label, subtype, p in ROWS]
    both = pd.concat([predictions(ROWS), predictions(second, seed=1)], ignore_index=True)
    table = evidence.worst_errors(both, POINTS)
    assert table[["error", "path", "seeds_wrong"]].to_numpy().tolist() == [
        ["false negative", "test/PNEUMONIA/person4_virus_1.jpeg", 2],
        ["false positive", "test/NORMAL/IM-0002-0001.jpeg", 2],
        ["false positive", "test/NORMAL/NORMAL2-IM-0004-0001.jpeg", 1],
    ]
    assert table.probability.tolist() == pytest.approx([0.3, 0.7, 0.65])


def test_robustness_shows_a_network_that_only_knows_brightness():
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    images = (rng.integers(60, 100, (40, 16, 16)) + 60 * label[:, None, None]).astype(np.uint8)
    by_mean = {("xray_cnn", seed): lambda x: x.mean(axis=(1, 2)) / 255 for seed in (0, 1)}
    points = dict.fromkeys(by_mean, metrics.OperatingPoint(110 / 255, "by hand", "nothing"))
    table = evidence.robustness(by_mean, images, label, points)
    table = table.set_index(["corruption", "severity", "statistic"])["mean"]
    assert table["none", 0, "auroc"] == table["brighter", 3, "auroc"] == 1
    assert table["none", 0, "specificity"] == 1
    assert table["brighter", 2, "specificity"] == 0  # 80 + 50 lies above 110
    assert table["darker", 2, "sensitivity"] == 0
    assert table["inverted", 1, "auroc"] == 0


def test_what_wrong_films_have_in_common_is_told_beside_the_others():
    grey = pd.DataFrame({"mean grey": [100, 100, 100, 140, 90, 150, 90, 90]}, index=[row[0] for row in ROWS])
    table = evidence.errors_in_common(predictions(ROWS), grey, POINTS).set_index(["label", "decided"])
    assert table.images.to_dict() == {
        ("NORMAL", "rightly"): 3,
        ("NORMAL", "wrongly"): 1,
        ("PNEUMONIA", "rightly"): 3,
        ("PNEUMONIA", "wrongly"): 1,
    }
    assert table.loc[("PNEUMONIA", "wrongly"), "share_virus"] == 1
    assert table.loc[("NORMAL", "wrongly"), "mean grey"] == 150
    assert table.loc[("NORMAL", "rightly"), "mean grey"] == 90


def test_the_table_of_statistics_holds_both_intervals_of_auroc(quick):
    rng = np.random.default_rng(0)
    probability = np.clip(rng.normal(0.4 + 0.2 * (np.arange(200) % 2), 0.2), 0, 1)
    parts = [
        predictions([(f"{split}{i}", i % 2, "", p) for i, p in enumerate(probability)], split=split)
        for split in ("tune", "test")
    ]
    both = pd.concat(parts, ignore_index=True)
    summary = metrics.summarise(both, dataclasses.replace(quick, bootstrap_resamples=500))
    table = evidence.statistics_table(summary, "xray_cnn").set_index("statistic")
    bootstrap, delong = table.loc["auroc"], table.loc["auroc, DeLong"]
    assert bootstrap["mean"] == pytest.approx(delong["mean"], abs=1e-12)
    assert bootstrap.lower == pytest.approx(delong.lower, abs=0.02)
    assert bootstrap.upper == pytest.approx(delong.upper, abs=0.02)
    assert {"mcc", "ppv_at_0.05", "npv_at_0.20", "average_precision"} < set(table.index)
