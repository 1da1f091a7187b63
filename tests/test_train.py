"""A training depends on what its folder's name says, on nothing else, and survives being stopped."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from xraylib.data import corruptions
from xraylib.files import UserError
from xraylib.network import train


def quiet(message):
    pass


class Stopped(Exception):
    """Stands for a power cut."""


def stop_after(epoch):
    def say(message):
        if f"epoch  {epoch} of" in message:
            raise Stopped

    return say


def as_filmed(training):
    """The probabilities of the films that were not spoilt."""
    return training.predictions.probability[training.predictions.network == "xray_cnn"]


def test_a_stopped_training_goes_on_with_the_same_bits(world, config):
    _, index, images = world
    whole = train.train_one("xray_cnn", 0, index, images, config, quiet)
    elsewhere = dataclasses.replace(config, build=config.build.with_name("elsewhere"))
    for epoch in (1, 2):
        with pytest.raises(Stopped):
            train.train_one("xray_cnn", 0, index, images, elsewhere, stop_after(epoch))
    resumed = train.train_one("xray_cnn", 0, index, images, elsewhere, quiet)
    assert resumed.folder.name == whole.folder.name
    for name in ("history.csv", "predictions.csv", "model.keras"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert not list(resumed.folder.glob("epoch_*"))


def test_a_step_is_traced_once(world, config, monkeypatch):
    _, index, images = world
    network = train.compiled(index, config)
    step, traced = network.train_step, []
    monkeypatch.setattr(network, "train_step", lambda data: traced.append(data) or step(data))
    rows = np.flatnonzero(index.split == "train")
    for epoch in (1, 2):
        train.fit_epoch(network, images, rows, index.label.to_numpy(), config, 0, epoch)
    assert len(traced) == 1


def test_both_networks_leave_tables_and_models_and_are_not_trained_twice(world, config):
    _, index, images = world
    train.train_all(index, images, config, quiet)
    predictions = pd.read_csv(config.results / "predictions.csv")
    spoilt = [f"xray_cnn@{name}" for name in corruptions.SERIES]
    assert (
        len(predictions) == 2 * len(index) + (index.folder == "val").sum() + len(spoilt) * (index.split == "tune").sum()
    )
    assert set(predictions.network) == {"published", "xray_cnn", "published_unscaled", *spoilt}
    assert set(predictions.split[predictions.network.isin(spoilt)]) == {"tune"}
    assert predictions.probability.between(0, 1).all()
    assert {p.name for p in config.models.iterdir()} == {"published_seed0.keras", "xray_cnn_seed0.keras"}
    predict = train.predictors(config)["xray_cnn", 0]
    own = predictions[predictions.network == "xray_cnn"].probability
    np.testing.assert_array_equal(predict(images), own)
    said = []
    train.train_all(index, images, config, said.append)
    assert all("already trained" in line for line in said)


def test_a_saved_network_predicts_what_the_table_says(world, config):
    _, index, images = world
    training = train.train_one("xray_cnn", 0, index, images, config, quiet)
    network = train.keras.models.load_model(training.model)
    np.testing.assert_array_equal(train.predict(network, images), as_filmed(training))


def test_the_name_of_a_training_changes_with_what_it_depends_on(world, config):
    _, index, _ = world
    other_file = index.assign(sha256=index.sha256.where(index.index > 0, "changed"))
    other_split = index.assign(split=index.split.replace("tune", "train"))
    names = [
        train.fingerprint("xray_cnn", 0, index, config),
        train.fingerprint("published", 0, index, config),
        train.fingerprint("xray_cnn", 1, index, config),
        train.fingerprint("xray_cnn", 0, index, dataclasses.replace(config, epochs=4)),
        train.fingerprint("xray_cnn", 0, other_file, config),
        train.fingerprint("xray_cnn", 0, other_split, config),
    ]
    assert len(set(names)) == len(names)


def test_the_name_of_a_training_ignores_where_it_runs_and_how_it_is_judged(world, config):
    _, index, _ = world
    moved = dataclasses.replace(config, build=config.build / "b", bootstrap_resamples=7)
    assert train.fingerprint("xray_cnn", 0, index, moved) == train.fingerprint("xray_cnn", 0, index, config)


def test_class_weights_by_hand():
    # 1 NORMAL, 3 PNEUMONIA: the minority counts double, the majority two thirds, and the total stays 4
    assert train._class_weights(np.array([0, 1, 1, 1])) == {0: 2.0, 1: pytest.approx(2 / 3)}


def test_a_loss_that_is_not_finite_is_said_and_leaves_no_result(world, config):
    _, index, images = world
    with pytest.raises(UserError, match="loss is nan"):
        train.train_one("xray_cnn", 0, index, images, dataclasses.replace(config, learning_rate=float("nan")), quiet)
    assert not list(config.build.glob("trained/*/done.json"))


def test_the_network_kept_predicts_in_float32_what_was_trained(world, config, monkeypatch):
    monkeypatch.setenv("XRAY_PRECISION", "mixed_bfloat16")
    _, index, images = world
    training = train.train_one("xray_cnn", 0, index, images, config, quiet)
    network = train.keras.models.load_model(training.model)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    trained = train.model.build(config)
    trained.set_weights(network.get_weights())
    np.testing.assert_array_equal(train.predict(trained, images), as_filmed(training))


def test_a_prediction_is_of_the_view_and_its_file_holds_the_weights_alone(world, config):
    _, index, images = world
    training = train.train_one("xray_cnn", 0, index, images, config, quiet)
    network = train.keras.models.load_model(training.model)
    seen = train.pipeline.view(images[:5, :, :, None].astype(np.float32), config.input_size)
    logits = network.predict(seen, verbose=0)[:, 0].astype(np.float64)
    np.testing.assert_allclose(train.predict(network, images[:5]), 1 / (1 + np.exp(-logits)), rtol=1e-6)
    assert training.model.stat().st_size < 1.2 * 4 * network.count_params() + 100_000  # no optimizer's moments inside


SEVERAL = """
import dataclasses, sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from xraylib import config
from xraylib.data import images, index
from xraylib.network import backend, train
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
backend.strategy = lambda: both
network, where = train.compiled, []
train.compiled = lambda *given: where.append(tf.distribute.get_strategy() is both) or network(*given)
data, home = Path(sys.argv[1]), Path(sys.argv[2])
small = config.load_config("sample", {"XRAY_DATA": str(data)})
small = dataclasses.replace(small, results=home / "results", models=home / "models", build=home, seeds=(0,))
table, _ = index.build_index(small)
done = train.train_one("xray_cnn", 0, table, images.load_images(small, table), small, print)
print(where, both.num_replicas_in_sync, done.history.loss.is_monotonic_decreasing, len(done.predictions))
"""


def test_several_devices_train_one_network_by_the_same_code(world, tmp_path):
    """Two parts of the CPU stand for two GPUs; a network trained on halves of each batch still learns and predicts."""
    ran = subprocess.run([sys.executable, "-c", SEVERAL, str(world[0]), str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    *_, where, replicas, falls, predicted = ran.stdout.split()
    assert (where, replicas, falls) == ("[True]", "2", "True")
    assert int(predicted) > 100
