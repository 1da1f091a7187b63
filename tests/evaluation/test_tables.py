"""The tables of notebooks 03, 04 and 05, from predictions that can be counted by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from xraylib.evaluation import metrics, tables
from xraylib.files import UserError

RIGHT, ONE_WRONG = [(0, 0.1), (0, 0.2), (1, 0.8), (1, 0.9)], [(0, 0.1), (0, 0.7), (1, 0.8), (1, 0.9)]
HALF_WRONG, UNSCALED = [(0, 0.6), (0, 0.7), (1, 0.8), (1, 0.9)], [(0, 0.99), (0, 0.01), (1, 0.99), (1, 0.99)]
HISTORY = pd.DataFrame({"network": "published", "seed": 0, "accuracy": [0.1, 0.7], "val_accuracy": [0.2, 0.8]})
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
POINTS = {("xray_cnn", 0): 0.5, ("xray_cnn", 1): 0.5}
STATIONS = pd.DataFrame(
    {
        "path": [row[0] for row in ROWS],
        "marker": ["small bold R", "thin R", "large R", "large R", "small bold R", "thin R", "large R", "A-P"],
        "ranges": [None] * 6 + ["0003-0004"] * 2,
    }
)


def films(rows, network="xray_cnn", seed=0, split="test", folder=None):
    """rows: (path, label, subtype, probability), each of a patient of its own."""
    table = pd.DataFrame(rows, columns=["path", "label", "subtype", "probability"])
    table = table.assign(network=network, seed=seed, split=split, folder=folder or split)
    return table.assign(logit=logit(table.probability), patient=split + table.index.astype(str))


def scored(network, split, folder, scores):
    subtypes = ("normal", "virus")
    rows = [(f"{folder}/{split}{i}.jpeg", label, subtypes[label], p) for i, (label, p) in enumerate(scores)]
    return films(rows, network, split=split, folder=folder)


@pytest.fixture
def predictions():
    """Two networks: the published CNN is right on 3 of 4 train images, 2 of 4 test images; the other on all."""
    parts = [scored("published_unscaled", "val", "val", UNSCALED)]
    for split, folder in {"train": "train", "tune": "train", "test": "test", "val": "val"}.items():
        parts.append(scored("published", split, folder, HALF_WRONG if split == "test" else ONE_WRONG))
        parts.append(scored("xray_cnn", split, folder, RIGHT))
    return metrics.check(pd.concat(parts, ignore_index=True))


@pytest.fixture
def quick(config):
    return dataclasses.replace(config, bootstrap_resamples=50)


def summary(predictions, config):
    every = metrics.with_ensemble(predictions)
    points = metrics.operating_points(every)
    return metrics.summarise(every[every.network != metrics.UNSCALED], points, config)


def test_the_published_figures_are_what_their_matrix_says():
    assert tables.PUBLISHED["accuracy, train folder"] == pytest.approx(0.8852, abs=5e-5)
    assert [sum(row) for row in tables.PUBLISHED_MATRIX] == [1341, 3875]  # the training folder
    assert [len(v) for v in tables.PUBLISHED_VAL.values()] == [8, 7]  # one of the sixteen was skipped
    assert tables.PUBLISHED["val folder, unscaled images, called PNEUMONIA"] == 0.8


def test_the_replay_is_measured_where_the_experiment_measured(predictions):
    wanted = [0.7, 0.8, 0.75, 1.0, 0.5, 0.75]  # 8 images of the train folder, 4 of val
    replay = tables.published_replay(predictions, HISTORY)
    assert replay.replayed.tolist() == wanted
    assert replay.set_index("quantity").published.to_dict() == tables.PUBLISHED
    printed = tables.published_printed(predictions)
    assert printed["seed 0"].tolist() == ["[[2, 2], [0, 4]]", "1 0", "1 1"]  # train and tune are the train folder
    assert printed.published[0] == "[[1151, 190], [409, 3466]]"


def test_the_published_network_on_what_it_saw_by_hand(predictions):
    table = tables.published_seen(predictions, {0: ["train/train0.jpeg", "train/train1.jpeg"]})
    assert table.n_films.tolist() == [2, 6, 4]
    assert table.accuracy.tolist() == [0.5, 5 / 6, 0.5]
    assert table.specificity.tolist() == [0.5, 0.5, 0]  # one normal film of two is wrong in each part, both in test


def test_headline_and_differences_by_hand(predictions, quick):
    table = summary(predictions, quick)
    value = table[(table.split == "test") & (table.seed == "mean")].set_index(["network", "statistic"]).value
    assert value[[("published", "accuracy"), ("published", "specificity"), ("xray_cnn", "accuracy")]].tolist() == [
        0.5,
        0,
        1,
    ]
    assert tables.headline(table).loc[("xray_cnn", "ensemble"), "auroc"] == "1.000 (1.000-1.000)"
    found = tables.differences(predictions, quick).set_index(["thresholds", "statistic"]).difference
    assert (found["published at 0.5", "accuracy"], found["published at 0.5", "specificity"]) == (0.5, 1)
    assert found["both on tune", "specificity"] == 0.5  # tune puts the published threshold between .6 and .7
    assert found["both on tune", "auroc"] == 0  # both rank perfectly


@pytest.mark.parametrize(("profile", "rows"), [("full", [1, 2]), ("sample", [1])])
def test_the_ledger_gets_a_row_for_new_test_predictions_alone(predictions, config, profile, rows):
    config, points = dataclasses.replace(config, profile=profile), metrics.operating_points(predictions)
    elsewhere = predictions.assign(logit=predictions.logit.where(predictions.split == "test", 0))
    rounding = predictions.assign(logit=predictions.logit * (1 + 1e-9))
    for same in (predictions, predictions, elsewhere, rounding):
        ledger = tables.record_test(same, points, config)
        assert ledger[["n_films", "seeds", "auroc", "accuracy"]].to_numpy().tolist() == [[4, 1, 1, 1]]
    better = predictions.assign(logit=predictions.logit + 1)
    assert tables.record_test(better, points, config, "another").evaluation.tolist() == rows


def test_the_val_folder_by_hand(predictions):
    own = predictions.network == "xray_cnn"
    second = predictions[own].assign(seed=1, probability=0.7)  # calls every film PNEUMONIA
    both = pd.concat([predictions, second])
    table = tables.val_table(both, dict.fromkeys([("xray_cnn", 1), *metrics.operating_points(predictions)], 0.5))
    assert table["class"].tolist() == ["NORMAL", "NORMAL", "PNEUMONIA", "PNEUMONIA"]
    assert table.seeds_wrong.tolist() == [1, 1, 0, 0] and table.published_0.tolist() == pytest.approx(
        [0.1, 0.7, 0.8, 0.9]
    )
    assert list(table)[2:] == ["seeds_wrong", "xray_cnn_0", "xray_cnn_1", "published_0", "published_unscaled_0"]


def test_predictions_that_are_missing_name_the_notebook(config):
    with pytest.raises(UserError, match="02_train"):
        tables.load_predictions(config)


def test_the_comparison_holds_published_figures_test_baselines_and_field(predictions, quick):
    majority = predictions[predictions.network == "xray_cnn"].assign(network="majority", logit=16.0, probability=1.0)
    compared = tables.against_baselines(pd.concat([predictions, majority]), quick)
    against = compared.set_index(["network", "statistic"])
    assert against.loc[("majority", "auroc"), ["value", "difference"]].tolist() == [0.5, 0.5]
    assert against.value["majority", "sensitivity"] == 1 and np.isnan(against.difference["xray_cnn", "auroc"])
    other = {"method": "a net", "auroc": 0.9, "auroc_sd": 0.01, "accuracy": 0.8, "sensitivity": np.nan}
    other |= {"specificity": np.nan, "images": 624, "source": "Someone", "link": "https://x.org"}
    field = pd.DataFrame([other | {"test_chose_threshold": "yes", "extra_labels": "yes"}])
    replay, index = tables.published_replay(predictions, HISTORY), predictions[predictions.network == "published"]
    table = tables.comparison(replay, summary(predictions, quick), compared, index, field)
    table = table.set_index(["row", "statistic"])
    assert table.xs("accuracy", level="statistic").value.to_dict() == {
        "published experiment, as published": pytest.approx(4617 / 5216),
        "published experiment, replayed": 0.75,
        "published experiment, on test": 0.5,
        "every film called PNEUMONIA": 0.5,
        "this study's network": 1,
        "its ensemble": 1,
        "Someone: a net †": 0.8,
    }
    assert table.loc["Someone: a net †"].value.to_dict() == {"auroc": 0.9, "accuracy": 0.8}
    assert table.loc[("Someone: a net †", "auroc"), "sd"] == 0.01
    assert (table.test_chose_threshold == (table.group == "field")).all()
    n_films = {name: list(part.unique()) for name, part in table.groupby("measured_on").n_films}
    assert n_films == {"train folder": [5216, 8], "test": [4], "official test": [624]}


def test_groups_by_hand(quick):
    table = tables.subgroups(films(ROWS), POINTS, quick, STATIONS)
    found = table.set_index(["part", "statistic"]).value.to_dict()
    assert found == {
        ("NORMAL, 0003-0004", "specificity"): 1,
        ("other normal films", "specificity"): 1 / 2,
        ("NORMAL, large R", "specificity"): 1,
        ("NORMAL, small bold R", "specificity"): 1,  # thin R and A-P of normal films have no row
        ("PNEUMONIA, large R", "sensitivity"): 1 / 2,
        ("PNEUMONIA, small bold R", "sensitivity"): 1,
        ("PNEUMONIA, thin R", "sensitivity"): 1,
        ("bacteria", "sensitivity"): 1,
        ("virus", "sensitivity"): 1 / 2,
        ("all films", "auroc"): 13 / 16,  # .6 lies below one normal film, .3 below two
        ("NORMAL, 0003-0004 vs. PNEUMONIA", "auroc"): 7 / 8,
        ("NORMAL, 0003-0004 vs. PNEUMONIA, small bold R", "auroc"): 1,
        ("other normal films vs. PNEUMONIA", "auroc"): 6 / 8,
        ("other normal films vs. PNEUMONIA, small bold R", "auroc"): 1,
    }
    assert table.set_index("part").n_films["NORMAL, 0003-0004 vs. PNEUMONIA"] == 6


def test_auroc_within_a_marker_wants_20_films_of_each_class_and_the_worst_group_20_films(quick):
    rows = [(f"test/{i}.jpeg", int(i < 20), "virus" if i < 20 else "normal", 0.9 if i < 30 else 0.1) for i in range(41)]
    marker = ["small bold R"] * 40 + ["large R"]
    stations = pd.DataFrame({"path": [row[0] for row in rows], "marker": marker, "ranges": None})
    table = tables.subgroups(films(rows), POINTS, quick, stations).set_index("part")
    assert table.value["within small bold R"] == 0.75  # half of the normal films tie with all pneumonia
    assert "within small bold R" not in tables.subgroups(films(rows[1:]), POINTS, quick, stations).part.tolist()
    worse = pd.DataFrame(
        {"part": list("abc"), "statistic": "specificity", "n_films": [19, 20, 99], "value": [0, 0.5, 1]}
    )
    assert tables.worst_group(worse).part == "b"
    assert tables.worst_group(worse.head(1)).part == "a"


def test_sensitivity_analyses_by_hand(quick):
    index = pd.DataFrame({"path": [row[0] for row in ROWS] + ["train/x.jpeg"], "split": ["test"] * 8 + ["train"]})
    index = index.assign(patient=list("aabcdefgz"), patient_number=list("aabcdefgb"), sha256=list("113456789"))
    table = tables.sensitivity_analyses(films(ROWS), index, {("xray_cnn", 0): 0.65}, quick)
    assert table.drop_duplicates("part").set_index("part").n_films.to_dict() == {
        "as reported": 8, "distinct films": 7, "one film a patient": 7, "bare numbers not in train": 7,
        "threshold 0.5": 8, "per child": 8,
    }  # fmt: skip
    sensitivity = table[table.statistic == "sensitivity"].set_index("part").value
    assert sensitivity["as reported"] == 0.5
    assert sensitivity["threshold 0.5"] == 0.75
    assert sensitivity["bare numbers not in train"] == pytest.approx(2 / 3)


def test_abstaining_leaves_the_surest():
    accuracy = tables.abstaining(films(ROWS), POINTS).set_index("share_decided").accuracy
    assert accuracy[1.0] == 6 / 8
    assert accuracy[0.5] == 1  # of 0.9, 0.8, 0.1 and 0.2, none is wrong


def test_the_worst_errors_are_those_of_most_seeds_and_furthest_off():
    first = films(ROWS).replace({"probability": {0.6: 0.4}})
    second = films(ROWS, seed=1).replace({"probability": {0.6: 0.4, 0.4: 0.9}})
    both = pd.concat([first, second], ignore_index=True)
    table = tables.worst_errors(both, POINTS)
    assert table[["error", "path", "seeds_wrong"]].to_numpy().tolist() == [
        ["false negative", "test/PNEUMONIA/person4_virus_1.jpeg", 2],
        ["false negative", "test/PNEUMONIA/person3_virus_1.jpeg", 2],
        ["false positive", "test/NORMAL/IM-0002-0001.jpeg", 2],
        ["false positive", "test/NORMAL/NORMAL2-IM-0004-0001.jpeg", 1],
    ]
    assert table.probability.tolist() == pytest.approx([0.3, 0.4, 0.7, 0.65])


def test_robustness_shows_a_network_that_only_knows_brightness():
    rng, label = np.random.default_rng(0), np.arange(40) % 2
    images = (rng.integers(60, 100, (40, 16, 16)) + 60 * label[:, None, None]).astype(np.uint8)
    points = {("xray_cnn", seed): 110 / 256 for seed in (0, 1)}
    by_mean = lambda x: dict.fromkeys(points, logit(x.mean(axis=(1, 2)) / 256))  # noqa: E731
    table = tables.robustness(by_mean, images, label, points)
    table = table.set_index(["corruption", "severity", "statistic"]).value
    assert table["none", 0, "auroc"] == table["brighter", 3, "auroc"] == 1
    assert table["none", 0, "specificity"] == 1
    assert table["brighter", 2, "specificity"] == 0  # 80 + 50 lies above 110
    assert table["darker", 2, "sensitivity"] == 0
    assert table["inverted", 1, "auroc"] == 0


def test_the_val_folder_against_test_by_hand(predictions):
    """The study's network is right on all; with a threshold of .15 it calls one normal film of two PNEUMONIA."""
    points = {("xray_cnn", 0): 0.5, (metrics.ENSEMBLE, -1): 0.15}
    every = metrics.with_ensemble(predictions)
    normal = every.split.eq("val") & every.network.eq("xray_cnn") & every.label.eq(0)
    every.loc[normal, "probability"] = 0.9
    table = tables.val_folder(every, points).set_index(["class", "seed"])
    assert table.loc[("NORMAL", 0), ["films", "right", "test", "p"]].tolist() == [2, 0, 1, 0]
    together = table.loc[("NORMAL", -1)]
    assert together[["right", "value", "test", "p"]].tolist() == [1, 0.5, 0.5, 0.75]
    assert (together.lower, together.upper) == pytest.approx((1 - 0.975**0.5, 0.975**0.5))  # Clopper-Pearson, 1 of 2
    assert table.value["PNEUMONIA"].tolist() == [1, 1]


def test_the_locator_by_hand():
    true, found = np.zeros((3, 10, 10)), np.zeros((3, 10, 10))
    true[:, 2:7, :] = 1
    found[0, 2:7, :], found[1, 2:7, :5] = 0.9, 0.9  # all of the lungs, half of them, none
    rows = pd.DataFrame({"split": "test", "label": [0, 1, 1]}, index=[7, 8, 9])
    table = tables.locator(found, true, rows).set_index(["split", "class"])
    assert table.loc[("test", "NORMAL")].tolist() == [1, 1, 1, 1, 1]
    low = [0.05 * 2 / 3, 0.05 / 2]
    assert table.loc[("test", "PNEUMONIA")].tolist() == pytest.approx([2, 1 / 3, 1 / 4, *low], abs=0.01)


def test_without_films_there_are_no_rows(quick):
    none, index = films(ROWS).head(0), pd.DataFrame(columns=["path", "split", "patient", "patient_number", "sha256"])
    empty = [
        tables.in_parts({}, quick),
        tables.subgroups(none, POINTS, quick, STATIONS),
        tables.sensitivity_analyses(none, index, POINTS, quick),
        tables.calibration(none),
        tables.abstaining(none, POINTS),
        tables.worst_errors(none, POINTS),
        tables.locator(np.zeros((0, 48, 48)), np.zeros((0, 48, 48)), none),
    ]
    assert [len(table) for table in empty] == [0] * len(empty)
    some = tables.subgroups(films(ROWS), POINTS, quick, STATIONS)
    assert all(list(table) == list(some) for table in empty[:3])
    assert list(empty[5]) == list(tables.worst_errors(films(ROWS), POINTS))
