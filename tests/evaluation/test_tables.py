"""The tables of notebooks 03, 04 and 05, from predictions that can be counted by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from xraylib.evaluation import metrics, tables
from xraylib.files import UserError


def rows(network, split, folder, scores, seed=0):
    """Predictions of one network, from (label, probability) pairs; each film is a patient of its own."""
    return [
        {
            "network": network, "seed": seed, "path": f"{folder}/{split}{i}.jpeg", "folder": folder, "split": split,
            "label": label, "subtype": "virus" if label else "normal", "patient": f"{split}{i}",
            "logit": metrics.logit(p), "probability": p,
        }
        for i, (label, p) in enumerate(scores)
    ]  # fmt: skip


@pytest.fixture
def predictions():
    """Two networks: the published CNN is right on 3 of 4 train images, 2 of 4 test images; the other on all."""
    wrong_once = [(0, 0.1), (0, 0.7), (1, 0.8), (1, 0.9)]
    half_wrong = [(0, 0.6), (0, 0.7), (1, 0.8), (1, 0.9)]
    right = [(0, 0.1), (0, 0.2), (1, 0.8), (1, 0.9)]
    table = []
    for split, folder, scores in (
        ("train", "train", wrong_once),
        ("tune", "train", wrong_once),
        ("test", "test", half_wrong),
        ("val", "val", wrong_once),
    ):
        table += rows("published", split, folder, scores) + rows("xray_cnn", split, folder, right)
    table += rows("published_unscaled", "val", "val", [(0, 1.0), (0, 0.0), (1, 1.0), (1, 1.0)])
    return metrics.check(pd.DataFrame(table))


def summary(predictions, config):
    every = metrics.with_ensemble(predictions)
    scored = every[every.network != metrics.UNSCALED]
    return metrics.summarise(scored, metrics.operating_points(every), config)


HISTORY = pd.DataFrame([{"network": "published", "seed": 0, "epoch": 1, "accuracy": 0.7, "val_accuracy": 0.8}])


def test_the_published_figures_are_what_their_matrix_says():
    assert tables.PUBLISHED["accuracy, train folder"] == pytest.approx(0.8852, abs=5e-5)
    assert [sum(row) for row in tables.PUBLISHED_MATRIX] == [1341, 3875]  # the training folder
    assert [len(v) for v in tables.PUBLISHED_VAL.values()] == [8, 7]  # one of the sixteen was skipped
    assert tables.PUBLISHED["val folder, unscaled images, called PNEUMONIA"] == 0.8


def test_the_replay_is_measured_where_the_experiment_measured(predictions):
    wanted = [0.7, 0.8, 0.75, 1.0, 0.5, 0.75]  # 8 images of the train folder, 4 of val
    assert tables.published_replay(predictions, HISTORY).replayed.tolist() == wanted
    each = tables.replayed_per_seed(predictions, HISTORY)
    assert each[each.source == "replayed"].value.tolist() == wanted
    assert each[each.source == "published"].set_index("quantity").value.to_dict() == tables.PUBLISHED


def test_the_published_network_on_what_it_saw_by_hand(predictions):
    table = tables.published_seen(predictions, {0: ["train/train0.jpeg", "train/train1.jpeg"]}).set_index("films")
    assert table.n_films.tolist() == [2, 6, 4]
    assert table.accuracy.tolist() == [
        0.5,
        5 / 6,
        0.5,
    ]  # one normal film of two called PNEUMONIA in each part, both in test
    assert table.specificity.tolist() == [0.5, 0.5, 0]


def test_headline_and_differences_by_hand(predictions, config):
    config = dataclasses.replace(config, bootstrap_resamples=200)
    rows = tables.test_rows(summary(predictions, config))
    value = rows[rows.seed == "mean"].set_index(["network", "statistic"]).value
    assert value["published", "accuracy"] == 0.5
    assert value["published", "specificity"] == 0
    assert value["xray_cnn", "accuracy"] == 1
    assert tables.headline(summary(predictions, config)).loc[("xray_cnn", "ensemble"), "auroc"] == "1.000 (1.000-1.000)"
    found = tables.differences(predictions, config).set_index(["thresholds", "statistic"]).difference
    assert found["published at 0.5", "accuracy"] == 0.5
    assert found["published at 0.5", "specificity"] == 1
    assert found["both on tune", "specificity"] == 0  # tune puts the published threshold above .7
    assert found["both on tune", "auroc"] == 0  # both rank perfectly


@pytest.mark.parametrize(("profile", "rows"), [("full", [1, 2]), ("sample", [1])])
def test_the_ledger_gets_a_row_for_new_test_predictions_alone(predictions, config, profile, rows):
    config = dataclasses.replace(config, profile=profile, bootstrap_resamples=10)
    table = summary(predictions, config)
    tables.record_test(table, predictions, config)
    elsewhere = predictions.assign(logit=predictions.logit.where(predictions.split == "test", 0))
    rounding = predictions.assign(logit=predictions.logit * (1 + 1e-9))
    for same in (predictions, elsewhere, rounding):
        assert len(tables.record_test(table, same, config)) == 1
    better = predictions.assign(logit=predictions.logit + 1)
    assert tables.record_test(table, better, config).evaluation.tolist() == rows


def test_the_val_folder_by_hand(predictions):
    points = metrics.operating_points(predictions)
    table = tables.val_table(predictions, points, 0)
    assert table.label.tolist() == [0, 0, 1, 1]
    assert table.published_unscaled_decision.tolist() == [1, 0, 1, 1]
    assert table.published_decision.tolist() == [0, 1, 1, 1]
    assert table.xray_cnn_decision.tolist() == [0, 0, 1, 1]


def test_predictions_that_are_missing_name_the_notebook(config):
    with pytest.raises(UserError, match="02_train"):
        tables.load_predictions(config)


def test_what_was_printed_stands_beside_what_each_replay_prints(predictions):
    table = tables.published_printed(predictions)
    assert table["seed 0"].tolist() == ["[[2, 2], [0, 4]]", "1 0", "1 1"]  # train and tune are the train folder
    assert table.published[0] == "[[1151, 190], [409, 3466]]"


def test_the_comparison_holds_published_figures_test_and_field(predictions, config):
    config = dataclasses.replace(config, bootstrap_resamples=20)
    replay = tables.published_replay(predictions, HISTORY)
    majority = predictions[predictions.network == "xray_cnn"].assign(network="majority", logit=16.0, probability=1.0)
    compared = tables.against_baselines(pd.concat([predictions, majority]), config)
    other = {"method": "a net", "auroc": 0.9, "auroc_sd": 0.01, "accuracy": 0.8, "sensitivity": np.nan}
    other |= {"specificity": np.nan, "images": 624, "source": "Someone", "link": "https://x.org"}
    field = pd.DataFrame([other | {"test_chose_threshold": "yes"}])
    index = predictions[predictions.network == "published"]
    table = tables.comparison(replay, summary(predictions, config), compared, index, field)
    table = table.set_index(["row", "statistic"])
    accuracy = table.xs("accuracy", level="statistic").value
    assert accuracy["published experiment, as published"] == pytest.approx(4617 / 5216)
    assert accuracy["published experiment, replayed"] == 0.75
    assert accuracy["published experiment, on test"] == 0.5
    assert accuracy["every film called PNEUMONIA"] == 0.5
    assert accuracy["this study's network"] == accuracy["its ensemble"] == 1
    assert table.loc["Someone: a net"].value.to_dict() == {"auroc": 0.9, "accuracy": 0.8}
    assert table.loc[("Someone: a net", "auroc"), "sd"] == 0.01
    assert (table.test_chose_threshold == (table.group == "field")).all()
    films = table.groupby("measured_on").n_films.unique()
    assert {name: list(n) for name, n in films.items()} == {
        "train folder": [5216, 8], "test": [4], "official test": [624]
    }  # fmt: skip


# --- parts of test, errors, robustness ---


def films(rows, network="xray_cnn", seed=0, split="test"):
    """rows: (path, label, subtype, probability), each of a patient of its own."""
    table = pd.DataFrame(rows, columns=["path", "label", "subtype", "probability"])
    table = table.assign(logit=metrics.logit(table.probability), network=network, seed=seed, folder=split, split=split)
    return table.assign(patient=[f"p{i}" for i in range(len(table))])


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
POINTS = {("xray_cnn", 0): metrics.FIXED, ("xray_cnn", 1): metrics.FIXED}


@pytest.fixture
def quick(config):
    return dataclasses.replace(config, bootstrap_resamples=50)


def test_subgroups_are_counted_by_subtype_and_by_series(quick):
    table = tables.subgroups(films(ROWS), POINTS, quick).set_index("part")
    assert table.value.to_dict() == {"bacteria": 1.0, "virus": 0.5, "series IM-": 0.5, "series NORMAL2-IM-": 1.0}
    assert table.n_films.to_dict() == {"bacteria": 2, "virus": 2, "series IM-": 2, "series NORMAL2-IM-": 2}
    assert (table.lower <= table.value).all() and (table.value <= table.upper).all()


def test_runs_of_file_numbers_divide_a_series_and_leave_no_film_out(quick):
    rows = [(f"test/NORMAL/IM-{i:04d}-0001.jpeg", 0, "normal", 0.9 if i < 10 else 0.1) for i in range(40)]
    table = tables.subgroups(films(rows), POINTS, quick).set_index("part")
    assert table.loc["IM-0000 to 0009", "value"] == 0
    assert (table.loc[["IM-0010 to 0019", "IM-0020 to 0029", "IM-0030 to 0039"], "value"] == 1).all()
    assert table.n_films.sum() == 2 * 40  # the series, and its runs


def test_sensitivity_analyses_by_hand(quick):
    index = pd.DataFrame(
        {
            "path": [row[0] for row in ROWS] + ["train/x.jpeg"],
            "split": ["test"] * 8 + ["train"],
            "patient": ["a", "a", "b", "c", "d", "e", "f", "g", "z"],
            "patient_number": [*"aabcdef", "g", "b"],
            "sha256": ["1", "1", "3", "4", "5", "6", "7", "8", "9"],
        }
    )
    points = {("xray_cnn", 0): 0.65}
    table = tables.sensitivity_analyses(films(ROWS), index, points, quick)
    n_films = table.drop_duplicates("part").set_index("part").n_films.to_dict()
    assert n_films == {
        "as reported": 8,
        "distinct films": 7,
        "one film a patient": 7,
        "bare numbers not in train": 7,
        "threshold 0.5": 8,
        "per child": 8,
    }
    sensitivity = table[table.statistic == "sensitivity"].set_index("part").value
    assert sensitivity["as reported"] == 0.5
    assert sensitivity["threshold 0.5"] == 0.75
    assert sensitivity["bare numbers not in train"] == pytest.approx(2 / 3)


def test_a_baseline_is_compared_on_the_same_images(quick):
    own = [films(ROWS, split=split) for split in ("tune", "test")]
    worse = [part.assign(network="majority", probability=1.0, logit=16.0) for part in own]
    table = tables.against_baselines(pd.concat(own + worse, ignore_index=True), quick).set_index(
        ["network", "statistic"]
    )
    assert table.loc[("majority", "auroc"), "value"] == 0.5
    assert table.loc[("majority", "auroc"), "difference"] == table.loc[("xray_cnn", "auroc"), "value"] - 0.5
    assert table.loc[("majority", "sensitivity"), "value"] == 1
    assert np.isnan(table.loc[("xray_cnn", "auroc"), "difference"])


def test_abstaining_leaves_the_surest():
    table = tables.risk_coverage(films(ROWS), POINTS).set_index("coverage").accuracy
    assert table[1.0] == 6 / 8
    assert table[0.5] == 1  # of 0.9, 0.8, 0.1 and 0.2, none is wrong


def test_the_worst_errors_are_those_of_most_seeds_and_furthest_off():
    second = [(path, label, subtype, 0.9 if "IM-0004" in path else p) for path, label, subtype, p in ROWS]
    both = pd.concat([films(ROWS), films(second, seed=1)], ignore_index=True)
    table = tables.worst_errors(both, POINTS)
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
    by_mean = {("xray_cnn", seed): lambda x: metrics.logit(x.mean(axis=(1, 2)) / 255) for seed in (0, 1)}
    points = dict.fromkeys(by_mean, 110 / 255)
    table = tables.robustness(by_mean, images, label, points)
    table = table.set_index(["corruption", "severity", "statistic"]).value
    assert table["none", 0, "auroc"] == table["brighter", 3, "auroc"] == 1
    assert table["none", 0, "specificity"] == 1
    assert table["brighter", 2, "specificity"] == 0  # 80 + 50 lies above 110
    assert table["darker", 2, "sensitivity"] == 0
    assert table["inverted", 1, "auroc"] == 0


def test_parts_of_test_by_hand(quick):
    earlier = {row[0]: "earlier" if row[1] else "unseen" for row in ROWS}
    both = pd.concat([films(ROWS), films(ROWS, "published"), films(ROWS, split="tune").assign(path=list("abcdefgh"))])
    every = metrics.with_ensemble(both)
    points = metrics.operating_points(every)
    table = tables.parts_table(every, points, pd.Series(earlier), quick)
    table = table[table.network == "published"].set_index(["unit", "part", "statistic"])
    assert table.value["film", "all", "accuracy"] == 6 / 8
    assert table.value["film", "earlier", "sensitivity"] == 3 / 4
    assert table.value["child", "unseen", "specificity"] == 3 / 4
    assert table.n_films["film", "all", "auroc"] == 8 and table.n_films["film", "unseen", "accuracy"] == 4
    assert set(tables.parts_table(every, points, pd.Series(dtype=str), quick).part) == {"all"}
