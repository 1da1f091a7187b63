"""Train both networks for every seed: a finished training lives in a folder named after all that it depends on."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from xraylib.config import Config
from xraylib.data.frames import Box
from xraylib.files import UserError, atomic, say, write_json, write_table
from xraylib.network import augment, backend, lungs, model, optimizer, published
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network, save_network

NETWORKS = ("published", "xray_cnn")
Say = Callable[[str], None]
_IMAGE = ["path", "folder", "split", "label", "subtype", "patient"]  # what a prediction says of its image
_NOT_TRAINING = {"profile", "phantoms", "seeds", "bootstrap_resamples"}  # settings that no weight depends on


def train_all(index: pd.DataFrame, images: np.ndarray, config: Config, say: Say = say) -> list[Path]:
    """Train both networks once per seed, or find them; write models/, history.csv, predictions.csv and timing.json."""
    names = [(network, seed) for network in NETWORKS for seed in config.seeds]
    folders = [train_one(*name, index, images, config, say) for name in names]
    seconds: dict[str, dict[str, float]] = {network: {} for network in NETWORKS}
    for (network, seed), folder in zip(names, folders, strict=True):
        with atomic(config.network_file(network, seed)) as temporary:
            shutil.copyfile(folder / "model.keras", temporary)
        seconds[network][str(seed)] = json.loads((folder / "done.json").read_text())["seconds"]
    for table in ("history.csv", "predictions.csv"):
        parts = [pd.read_csv(folder / table) for folder in folders]
        write_table(pd.concat(parts, ignore_index=True), config.results / table)
    write_json({"machine": backend.describe(), "seconds": seconds}, config.results / "timing.json")
    return folders


def train_one(network: str, seed: int, index: pd.DataFrame, images: np.ndarray, config: Config, say: Say) -> Path:
    """The folder of one training, done now or found: model.keras, history.csv and predictions.csv."""
    folder = config.build / "trained" / f"{network}_seed{seed}_{fingerprint(network, seed, index, images, config)}"
    name = f"{network}, seed {seed}"
    if (folder / "done.json").exists():
        say(f"{name}: already trained, {folder.name}")
        return folder
    run = _train_published if network == "published" else _train_own
    scored = index.index if config.score_test else index.index[index.split != "test"]
    trained, history, predictions = run(seed, index, images, scored, config, lambda text: say(f"{name}: {text}"))
    save_network(trained, folder / "model.keras")
    seconds = round(history.pop("seconds").sum(), 2)  # the clock differs at every run, so it stays out of the table
    write_table(history.assign(network=network, seed=seed)[["network", "seed", *history]], folder / "history.csv")
    predictions = pd.concat(
        [index.loc[rows, _IMAGE].assign(network=name, seed=seed, logit=logit) for name, rows, logit in predictions]
    )
    write_table(predictions[["network", "seed", *_IMAGE, "logit"]], folder / "predictions.csv")
    write_json({"seconds": seconds}, folder / "done.json")  # last: its presence says that the rest is whole
    say(f"{name}: done in {seconds:.0f} s")
    return folder


def fingerprint(network: str, seed: int, index: pd.DataFrame, images: np.ndarray, config: Config) -> str:
    """12 hexadecimal digits of all that a training depends on: code, settings, images, splits, precision, versions."""
    values = asdict(config).items()
    settings = {name: value for name, value in values if name not in _NOT_TRAINING and not isinstance(value, Path)}
    parts = [network, seed, settings, index[["path", "sha256", "split", "label"]].to_csv(index=False)]
    if network == "published":
        return backend.fingerprint(parts, [__file__, published.__file__])
    # Frames follow from the films, the locator's weights and the code that cuts them.
    return backend.fingerprint(parts, [__file__, model.__file__, optimizer.__file__, augment.__file__], images)


def _train_published(seed, index, images, scored, config, say):
    started = time.monotonic()
    backend.start(seed)
    network, history = published.train(index, config, seed, say)
    val = index.index[index.folder == "val"]
    scaled = published.predict(network, index.loc[scored], config)
    unscaled = published.predict(network, index.loc[val], config, scaled=False)
    row = {"epoch": 1, **history, "seconds": time.monotonic() - started}
    predictions = [("published", scored, scaled), ("published_unscaled", val, unscaled)]
    return backend.in_float32(network, published.build), pd.DataFrame([row]), predictions


def _train_own(seed, index, images, scored, config, say):
    backend.start(seed, backend.precision())
    train_rows, tune_rows = (np.flatnonzero(index.split == split) for split in ("train", "tune"))
    labels = index.label.to_numpy()
    order = augment.shuffled(train_rows, config.batch_size, config.epochs, seed)
    with backend.strategy().scope():
        network = compiled(len(order), config)
    report = _Report(network, images[tune_rows], labels[tune_rows], config, say)
    fit(network, images, labels, order, config, seed, [report])
    exact = backend.in_float32(network, lambda: model.build(config))
    return exact, pd.DataFrame(report.rows), [("xray_cnn", scored, predict(exact, images, scored.to_numpy()))]


def compiled(steps: int, config: Config) -> keras.Model:
    """The study's network, untrained, with its optimizer and loss, for a training of so many steps."""
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 10, steps, warmup_target=config.learning_rate, warmup_steps=max(1, steps // 10)
    )
    network = model.build(config)
    network.compile(
        optimizer=optimizer.FusedAdamW(schedule, weight_decay=config.weight_decay),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
    )
    network.optimizer.build(network.trainable_variables)  # else the first step makes its moments, and is traced twice
    return network


def fit(network: keras.Model, images, labels, order, config: Config, seed: int, callbacks: list) -> None:
    """Train a `compiled` network on images, uint8 (n, h, w), and labels, int (n,), in the order of `shuffled`."""
    if not len(order):
        raise UserError(f"train split: fewer images than a batch, {config.batch_size}. Add images.")
    targets = labels.astype(np.float32)

    def make(step: int, rows: np.ndarray):
        with tf.device("CPU"):  # where there is a GPU, it trains meanwhile
            pixels = tf.cast(images[rows], tf.float32)[..., None]
            return augment.augment(pixels, tf.constant([seed, step]), config.augmentations_off), targets[rows, None]

    n, size = config.batch_size, config.image_size
    batches = augment.dataset(order, make, [(n, size, size, 1), (n, 1)])
    network.fit(
        batches,
        epochs=config.epochs,
        steps_per_epoch=len(order) // config.epochs,
        class_weight=_class_weights(labels[np.unique(order)]),
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def _class_weights(labels: np.ndarray) -> dict[int, float]:
    """Weights that make both classes count alike: n / (2 n_class)."""
    return dict(enumerate(compute_class_weight("balanced", classes=np.array([0, 1]), y=labels).tolist()))


class _Report(keras.callbacks.Callback):
    """A row of history and a line of progress for each epoch, with loss and AUROC on tune."""

    def __init__(self, network, images: np.ndarray, labels: np.ndarray, config: Config, say: Say):
        super().__init__()
        self.network, self.images, self.labels, self.config, self.say = network, images, labels, config, say
        self.rows: list[dict] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise UserError(f"xray_cnn: loss is {logs['loss']} in epoch {epoch + 1}. Lower learning_rate.")
        logit = predict(self.network, self.images)
        seconds, epochs = time.monotonic() - self.started, self.config.epochs
        row = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "accuracy": logs["accuracy"],
            "tune_loss": log_loss(self.labels, expit(logit), labels=[0, 1]),
            "tune_accuracy": ((logit >= 0) == self.labels).mean(),
            "tune_auroc": roc_auc_score(self.labels, logit),
            "seconds": seconds,
        }
        self.rows.append(row)
        self.say(
            f"epoch {epoch + 1:2d} of {epochs}, loss {row['loss']:.3f}, tune AUROC {row['tune_auroc']:.3f}, "
            f"{seconds:.1f} s, about {seconds * (epochs - epoch - 1):.0f} s left"
        )


def predict(network: keras.Model, images: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Logit of PNEUMONIA, float64 (m,), of rows (int (m,); None: all) of frames, uint8 (n, size, size)."""
    rows = np.arange(len(images)) if rows is None else rows
    parts = np.array_split(rows, max(1, -(-len(rows) // 1024)))  # so many of a mapped file are in memory at a time
    logits = [backend.outputs(network, images[part][..., None].astype(np.float32)) for part in parts]
    return np.concatenate(logits).astype(np.float64)


def predictors(config: Config) -> dict[tuple[str, int], Callable[[np.ndarray], np.ndarray]]:
    """(network, seed) -> logits (n,) of films, uint8 (n, h, w); the study's networks see the frames cut from them."""
    locator = load_network(config.locator_file, (lungs.MASK, lungs.MASK, 1))
    return _predictors(config, lambda films: lungs.boxes(lungs.locate(locator, films)))


def predictors_in(found: list[Box | None], config: Config) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Network -> the mean logit over seeds, (n,), of films, uint8 (n, h, w), with given boxes."""
    each = _predictors(config, lambda films: found)

    def mean(network: str, films: np.ndarray) -> np.ndarray:
        return np.mean([each[network, seed](films) for seed in config.seeds], axis=0)

    return {network: partial(mean, network) for network in NETWORKS}


def _predictors(config: Config, find_boxes: Callable) -> dict[tuple[str, int], Callable[[np.ndarray], np.ndarray]]:
    last: dict[str, np.ndarray] = {}

    def own(network: keras.Model, films: np.ndarray) -> np.ndarray:
        if last.get("films") is not films:  # all seeds see the same frames
            last.update(films=films, frames=lungs.cut(films, find_boxes(films), config.image_size))
        return predict(network, last["frames"])

    return {
        (name, seed): partial(see, load_network(config.network_file(name, seed)))
        for seed in config.seeds
        for name, see in zip(NETWORKS, (published.predict_arrays, own), strict=True)
    }
