"""A training depends on what its folder's name says, on nothing else, and is not repeated."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from xraylib.files import UserError
from xraylib.network import lungs, train


def quiet(message):
    pass


def test_both_networks_leave_tables_and_models_that_predict_the_same_and_are_not_trained_twice(world, config):
    _, index, images = world
    boxes = [None] * len(images)
    frames = lungs.cut(images, boxes, config.image_size)
    train.train_all(index, frames, config, quiet)
    predictions = pd.read_csv(config.results / "predictions.csv")
    assert predictions.network.value_counts().to_dict() == {"published": 84, "xray_cnn": 84, "published_unscaled": 4}
    logits = train.predictor(config, boxes)(images)
    assert list(logits) == [("published", 0), ("xray_cnn", 0)]
    for (network, _), of_films in logits.items():  # the published network's training read files, here films are decoded
        np.testing.assert_allclose(of_films, predictions[predictions.network == network].logit, atol=0.01)
    lines = []
    train.train_all(index, frames, config, lines.append)
    assert all("already trained" in line for line in lines)


def test_partners_are_the_named_films_of_train_of_the_same_class(world):
    index = world[1].assign(partner=world[1].index % 3 == 0)
    for label, rows in enumerate(train.partners(index)):
        assert list(rows) == [row for row in range(16, 64) if row % 3 == 0 and index.label[row] == label]
    assert [len(rows) for rows in train.partners(world[1])] == [0, 0]


def test_until_a_design_is_chosen_nothing_scores_test(world, config):
    _, index, images = world
    stopped = replace(config, score_test=False, epochs=1, published_steps=1)
    for network in train.NETWORKS:
        folder = train.train_one(network, 0, index, images, stopped, quiet)
        assert "test" not in set(pd.read_csv(folder / "predictions.csv").split)


def test_the_same_training_twice_gives_the_same_bits_without_the_optimizer(world, config, monkeypatch):
    monkeypatch.setenv("XRAY_PRECISION", "mixed_bfloat16")
    _, index, images = world
    folders = [
        train.train_one("xray_cnn", 0, index, images, replace(config, epochs=2, build=config.build / place), quiet)
        for place in ("here", "elsewhere")
    ]
    for name in ("history.csv", "predictions.csv", "model.keras"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert (folders[0] / "model.keras").stat().st_size < 4 * 670_049 + 300_000


def test_the_name_of_a_training_changes_with_what_it_depends_on_and_nothing_else(world, config):
    _, index, images = world

    def name(network="xray_cnn", seed=0, index=index, images=images, **changed):
        return train.fingerprint(network, seed, index, images, replace(config, **changed))

    others = [
        name("published"),
        name(seed=1),
        name(epochs=4),
        name(score_test=False),
        name(index=index.assign(sha256=index.sha256.where(index.index > 0, "changed"))),
        name(index=index.assign(split=index.split.replace("tune", "train"))),
        name(images=255 - images),
        name(mixed=0.0),
        name(index=index.assign(partner=True)),
        name(index=index.assign(partner=index.label == 1)),
    ]
    assert len({name(), *others}) == 11
    assert name(build=config.build / "b", bootstrap_resamples=7) == name()


def test_a_loss_that_is_not_finite_is_one_message_and_leaves_no_result(world, config):
    _, index, images = world
    with pytest.raises(UserError, match="loss is nan"):
        train.train_one("xray_cnn", 0, index, images, replace(config, learning_rate=float("nan")), quiet)
    assert not list(config.build.glob("trained/*/done.json"))
