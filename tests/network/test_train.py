"""A training depends on what its folder's name says, on nothing else, and is not repeated."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from xraylib.files import UserError
from xraylib.network import train


def quiet(message):
    pass


def test_both_networks_leave_tables_and_models_and_are_not_trained_twice(world, config):
    _, index, images = world
    train.train_all(index, images, config, quiet)
    predictions = pd.read_csv(config.results / "predictions.csv")
    assert len(predictions) == 2 * len(index) + (index.folder == "val").sum()
    assert set(predictions.network) == {"published", "xray_cnn", "published_unscaled"}
    assert np.isfinite(predictions.logit).all()
    assert {p.name for p in config.models.iterdir()} == {"published_seed0.keras", "xray_cnn_seed0.keras"}
    network = train.load_network(config.network_file("xray_cnn", 0))
    own = predictions[predictions.network == "xray_cnn"].logit
    np.testing.assert_allclose(train.predict(network, images), own, rtol=1e-5)
    lines = []
    train.train_all(index, images, config, lines.append)
    assert all("already trained" in line for line in lines)


def test_until_a_design_is_chosen_nothing_scores_test(world, config):
    _, index, images = world
    stopped = dataclasses.replace(config, score_test=False, epochs=1, published_steps=1)
    for network in train.NETWORKS:
        folder = train.train_one(network, 0, index, images, stopped, quiet)
        assert "test" not in set(pd.read_csv(folder / "predictions.csv").split)


def test_the_same_training_twice_gives_the_same_bits_in_float32_without_the_optimizer(world, config, monkeypatch):
    monkeypatch.setenv("XRAY_PRECISION", "mixed_bfloat16")
    _, index, images = world
    first = train.train_one("xray_cnn", 0, index, images, config, quiet)
    again = dataclasses.replace(config, build=config.build.with_name("elsewhere"))
    second = train.train_one("xray_cnn", 0, index, images, again, quiet)
    for name in ("history.csv", "predictions.csv", "model.keras"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    network = train.load_network(first / "model.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert (first / "model.keras").stat().st_size < 1.2 * 4 * network.count_params() + 100_000


def test_a_step_is_traced_once(world, config, monkeypatch):
    _, index, images = world
    order = train.augment.shuffled(np.flatnonzero(index.split == "train"), 8, config.epochs, 0)
    network = train.compiled(len(order), config)
    step, traced = network.train_step, []
    monkeypatch.setattr(network, "train_step", lambda data: traced.append(data) or step(data))
    train.fit(network, images, index.label.to_numpy(), order, config, 0, [])
    assert len(traced) == 1


def test_the_name_of_a_training_changes_with_what_it_depends_on_and_nothing_else(world, config):
    _, index, images = world
    other_file = index.assign(sha256=index.sha256.where(index.index > 0, "changed"))
    names = [
        train.fingerprint("xray_cnn", 0, index, images, config),
        train.fingerprint("published", 0, index, images, config),
        train.fingerprint("xray_cnn", 1, index, images, config),
        train.fingerprint("xray_cnn", 0, index, images, dataclasses.replace(config, epochs=4)),
        train.fingerprint("xray_cnn", 0, index, images, dataclasses.replace(config, score_test=False)),
        train.fingerprint("xray_cnn", 0, other_file, images, config),
        train.fingerprint("xray_cnn", 0, index.assign(split=index.split.replace("tune", "train")), images, config),
        train.fingerprint("xray_cnn", 0, index, 255 - images, config),  # frames cut otherwise
    ]
    assert len(set(names)) == len(names)
    moved = dataclasses.replace(config, build=config.build / "b", bootstrap_resamples=7)
    assert train.fingerprint("xray_cnn", 0, index, images, moved) == names[0]


def test_class_weights_by_hand():
    # 1 NORMAL, 3 PNEUMONIA: the minority counts double, the majority two thirds, and the total stays 4
    assert train._class_weights(np.array([0, 1, 1, 1])) == {0: 2.0, 1: pytest.approx(2 / 3)}


def test_a_loss_that_is_not_finite_is_one_message_and_leaves_no_result(world, config):
    _, index, images = world
    with pytest.raises(UserError, match="loss is nan"):
        train.train_one("xray_cnn", 0, index, images, dataclasses.replace(config, learning_rate=float("nan")), quiet)
    assert not list(config.build.glob("trained/*/done.json"))


SEVERAL = """
from dataclasses import replace
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from xraylib.config import load_config
from xraylib.network import train
config = replace(load_config("sample", {}), image_size=32)
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
labels = np.arange(64) % 2
images = (np.random.default_rng(0).integers(0, 60, (64, 32, 32)) + 150 * labels[:, None, None]).astype(np.uint8)
order = train.augment.shuffled(np.arange(64), config.batch_size, 1, 0)
with both.scope():
    network = train.compiled(len(order), config)
train.fit(network, images, labels, order, config, 0, [])
print(both.num_replicas_in_sync, train.predict(network, images).shape)
"""


def test_several_devices_train_one_network_by_the_same_code():
    """Two parts of the CPU stand for two GPUs."""
    ran = subprocess.run([sys.executable, "-c", SEVERAL], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split("\n")[-2] == "2 (64,)"
