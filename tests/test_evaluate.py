"""The tables of notebooks 03 and 04, from predictions that can be counted by hand."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from xraylib.config import load_config
from xraylib.evaluation import evidence, metrics, tables
from xraylib.files import UserError, write_table


def rows(network, split, folder, scores, seed=0):
    """Predictions of one network, from (label, probability) pairs; each image is a patient of its own."""
    return [
        {
            "network": network, "seed": seed, "path": f"{folder}/{split}{i}.jpeg", "folder": folder, "split": split,
            "label": label, "subtype": "virus" if label else "normal", "patient": f"{split}{i}", "probability": p,
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
    return pd.DataFrame(table)


HISTORY = pd.DataFrame([{"network": "published", "seed": 0, "epoch": 1, "accuracy": 0.7, "val_accuracy": 0.8}])


def test_the_published_figures_are_what_their_matrix_says():
    assert tables.PUBLISHED["accuracy, train folder"] == pytest.approx(0.8852, abs=5e-5)
    assert [sum(row) for row in tables.PUBLISHED_MATRIX] == [1341, 3875]  # the training folder
    assert [len(v) for v in tables.PUBLISHED_VAL.values()] == [8, 7]  # one of the sixteen was skipped
    assert tables.PUBLISHED["val folder, unscaled images, called PNEUMONIA"] == 0.8


def test_the_replay_is_measured_where_the_experiment_measured(predictions):
    replay = tables.published_replay(predictions, HISTORY).set_index("quantity").replayed
    assert replay.tolist() == [0.7, 0.8, 0.75, 1.0, 0.5, 0.75]  # 8 images of the train folder, 4 of val


def test_the_published_cnn_decides_at_one_half_and_the_other_at_its_own_threshold(predictions):
    decided = tables.decision_points(metrics.operating_points(predictions))
    assert decided["published", 0].threshold == 0.5
    assert decided["published_unscaled", 0].threshold == 0.5
    assert decided["xray_cnn", 0] == metrics.operating_points(predictions)["xray_cnn", 0]
    assert decided["xray_cnn", 0].chosen_on == "tune"


def test_headline_and_difference_by_hand(predictions, config):
    config = dataclasses.replace(config, bootstrap_resamples=200)
    headline = tables.headline_rows(metrics.summarise(predictions, config)).set_index(["network", "statistic"])["mean"]
    assert headline["published", "accuracy"] == 0.5
    assert headline["published", "specificity"] == 0
    assert headline["xray_cnn", "accuracy"] == 1
    points = metrics.operating_points(predictions)
    found = tables.differences(predictions, points, config).set_index("statistic")
    assert found.difference["accuracy"] == 0.5
    assert found.difference["specificity"] == 1
    assert found.difference["auroc"] == 0  # both rank perfectly


def test_a_reading_of_test_is_recorded_once(predictions, config):
    config = dataclasses.replace(config, profile="full")
    summary = metrics.summarise(predictions, config)
    tables.record_reading(summary, predictions, config)
    assert len(tables.record_reading(summary, predictions, config)) == 1
    better = predictions.assign(probability=predictions.probability.replace(0.9, 0.95))
    ledger = tables.record_reading(metrics.summarise(better, config), better, config)
    assert ledger.reading.tolist() == [1, 2]
    assert ledger.predictions.is_unique


def test_readings_of_phantoms_are_not_counted(predictions, config):
    tables.record_reading(metrics.summarise(predictions, config), predictions, config)
    better = predictions.assign(probability=predictions.probability.replace(0.9, 0.95))
    assert len(tables.record_reading(metrics.summarise(better, config), better, config)) == 1


def test_a_change_that_spares_test_is_no_new_reading(predictions, config):
    config = dataclasses.replace(config, profile="full")
    summary = metrics.summarise(predictions, config)
    tables.record_reading(summary, predictions, config)
    elsewhere = predictions.assign(probability=predictions.probability.where(predictions.split == "test", 0.5))
    assert len(tables.record_reading(summary, elsewhere, config)) == 1


def test_the_val_folder_by_hand(predictions):
    points = tables.decision_points(metrics.operating_points(predictions))
    table = tables.val_table(predictions, points, 0)
    assert table.label.tolist() == [0, 0, 1, 1]
    assert table.published_unscaled_decision.tolist() == [1, 0, 1, 1]
    assert table.published_decision.tolist() == [0, 1, 1, 1]
    assert table.xray_cnn_decision.tolist() == [0, 0, 1, 1]
    counted = tables.val_against_published(table)
    assert counted.loc["NORMAL"].tolist() == ["5 of 8", "1 of 2", "1 of 2", "0 of 2"]


def test_sixteen_images_are_few():
    table = tables.sixteen().set_index("right")
    for right in table.index:
        exact = binomtest(int(right), 16).proportion_ci(method="exact")
        assert table.loc[right, ["lower", "upper"]].tolist() == pytest.approx([exact.low, exact.high], abs=5e-4)


def test_predictions_that_are_missing_name_the_notebook(config):
    with pytest.raises(UserError, match="02_train"):
        tables.load_predictions(config)


def test_predictions_survive_the_file(predictions, config):
    write_table(predictions, config.results / "predictions.csv")
    pd.testing.assert_frame_equal(tables.load_predictions(config), predictions)


def test_what_was_printed_stands_beside_what_each_replay_prints(predictions):
    table = tables.published_printed(predictions, {"0": 12.3}).set_index("quantity")
    assert table.published["confusion matrix, train folder"] == "[[1151, 190], [409, 3466]]"
    train = predictions[(predictions.network == "published") & (predictions.folder == "train")]
    (tn, fp), (fn, tp) = json.loads(table["seed 0"]["confusion matrix, train folder"])
    assert [tn + fp, fn + tp] == [(train.label == label).sum() for label in (0, 1)]
    assert tp == ((train.label == 1) & (train.probability >= 0.5)).sum()
    assert table["seed 0"]["seconds"] == "12"
    val = predictions[predictions.network == "published_unscaled"]
    assert len(table["seed 0"]["val folder, NORMAL"].split()) == (val.label == 0).sum()


def test_the_story_sets_claim_beside_test_and_field(predictions):
    config = load_config("sample", {})
    replay = tables.published_replay(predictions, HISTORY)
    summary = metrics.summarise(predictions, config)
    majority = predictions[predictions.network == "xray_cnn"].assign(network="majority", probability=1.0)
    compared = evidence.against_baselines(pd.concat([predictions, majority]), config)
    other = {"method": "a net", "auroc": 0.9, "auroc_sd": 0.01, "accuracy": 0.8, "sensitivity": np.nan}
    field = pd.DataFrame([other | {"specificity": np.nan, "images": 624, "source": "Someone", "link": "https://x.org"}])
    index = predictions[predictions.network == "published"]
    table = tables.story(replay, summary, compared, index, field).set_index(["row", "statistic"])
    accuracy = table.xs("accuracy", level="statistic")["mean"]
    assert accuracy["published experiment, as published"] == pytest.approx(4617 / 5216)
    assert accuracy["published experiment, replayed"] == 0.75
    assert accuracy["published experiment, on unseen children"] == 0.5
    assert accuracy["every film called PNEUMONIA"] == 0.5
    assert accuracy["this study's CNN"] == accuracy["its seeds averaged"] == 1
    other = table.loc["Someone: a net"]
    assert other["mean"].to_dict() == {"auroc": 0.9, "accuracy": 0.8}  # what its authors do not give is left out
    assert other.loc["auroc", "sd"] == 0.01
    images = table.groupby("measured_on").images.unique()
    assert {name: list(n) for name, n in images.items()} == {
        "train folder": [5216, 8], "test": [4], "official test": [624]
    }  # fmt: skip
