"""Train both networks for every seed: a finished training lives in a folder named after all that it depends on."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from xraylib.config import Config
from xraylib.data.frames import Box
from xraylib.files import UserError, atomic, say, write_json, write_table
from xraylib.network import augment, backend, locator, lungs, model, published
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network, save_network

NETWORKS = {"published": lambda config: published.build(), "xray_cnn": model.build}  # name -> the untrained network
Say = Callable[[str], None]
_IMAGE = ["path", "folder", "split", "label", "subtype", "patient"]  # what a prediction says of its image
# Settings that no weight depends on.
_NOT_TRAINING = {"profile", "phantoms", "seeds", "bootstrap_resamples", "saliency_films"}


def train_all(index: pd.DataFrame, images: np.ndarray, config: Config, say: Say = say) -> None:
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


def train_one(network: str, seed: int, index: pd.DataFrame, images: np.ndarray, config: Config, say: Say) -> Path:
    """The folder of one training, done now or found: model.keras, history.csv and predictions.csv."""
    folder = config.build / "trained" / f"{network}_seed{seed}_{fingerprint(network, seed, index, images, config)}"
    name = f"{network}, seed {seed}"
    if (folder / "done.json").exists():
        say(f"{name}: already trained, {folder.name}")
        return folder
    started = time.monotonic()
    run = _train_published if network == "published" else _train_xray_cnn
    scored = index if config.score_test else index[index.split != "test"]
    trained, history, logits = run(seed, index, images, scored.index, config, lambda text: say(f"{name}: {text}"))
    save_network(trained, folder / "model.keras")
    write_table(pd.DataFrame([{"network": network, "seed": seed} | row for row in history]), folder / "history.csv")
    parts = [index.loc[rows, _IMAGE].assign(network=name, seed=seed, logit=logit) for name, rows, logit in logits]
    write_table(pd.concat(parts)[["network", "seed", *_IMAGE, "logit"]], folder / "predictions.csv")
    seconds = round(time.monotonic() - started, 2)
    write_json({"seconds": seconds}, folder / "done.json")  # last: its presence says that the rest is whole
    say(f"{name}: done in {seconds:.0f} s")
    return folder


def fingerprint(network: str, seed: int, index: pd.DataFrame, images: np.ndarray, config: Config) -> str:
    """12 hexadecimal digits of all that a training depends on: code, settings, images, splits, precision, versions."""
    settings = {name: value for name, value in config.settings.items() if name not in _NOT_TRAINING}
    columns = ["path", "sha256", "split", "label", *(["partner"] if config.mixed and "partner" in index else [])]
    files = index[columns].to_csv(index=False)
    return backend.fingerprint([network, seed, settings, files], images)


def _train_published(seed, index, images, scored, config, say):
    backend.start(seed)
    network, history = published.train(index, config, seed)
    val = index.index[index.folder == "val"]
    logits = [
        ("published", scored, published.predict(network, index.loc[scored], config)),
        ("published_unscaled", val, published.predict(network, index.loc[val], config, scaled=False)),
    ]
    return backend.in_float32(network, published.build), [{"epoch": 1, **history}], logits


def _train_xray_cnn(seed, index, images, scored, config, say):
    backend.start(seed, backend.precision())
    train_rows, tune_rows = (np.flatnonzero(index.split == split) for split in ("train", "tune"))
    labels = index.label.to_numpy()
    order = augment.shuffled(train_rows, config.batch_size, config.epochs, seed)
    with backend.strategy().scope():
        network = compiled(len(order), config)
    started, history = time.monotonic(), []

    def after_epoch(epoch: int, logs: dict) -> None:
        if not np.isfinite(logs["loss"]):
            raise UserError(f"xray_cnn: loss is {logs['loss']} in epoch {epoch + 1}. Lower learning_rate.")
        tune, logit = labels[tune_rows], predict(network, images[tune_rows])
        row = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "accuracy": logs["accuracy"],
            "tune_loss": log_loss(tune, expit(logit), labels=[0, 1]),
            "tune_accuracy": ((logit >= 0) == tune).mean(),
            "tune_auroc": roc_auc_score(tune, logit),
        }
        history.append(row)
        left = (time.monotonic() - started) / (epoch + 1) * (config.epochs - epoch - 1)
        shown = f"loss {row['loss']:.3f}, tune AUROC {row['tune_auroc']:.3f}, about {left:.0f} s left"
        say(f"epoch {epoch + 1:2d} of {config.epochs}, {shown}")

    report = keras.callbacks.LambdaCallback(on_epoch_end=after_epoch)
    fit(network, images, labels, order, config, seed, [report], partners(index))
    exact = backend.in_float32(network, lambda: model.build(config))
    return exact, history, [("xray_cnn", scored, predict(exact, images[scored]))]


def compiled(steps: int, config: Config) -> keras.Model:
    """The study's network, untrained, with its optimizer and loss, for a training of so many steps."""
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 10, steps, warmup_target=config.learning_rate, warmup_steps=max(1, steps // 10)
    )
    network = model.build(config)
    network.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
    )
    network.optimizer.build(network.trainable_variables)  # else the first step makes its moments, and is traced twice
    return network


def partners(index: pd.DataFrame) -> list[np.ndarray]:
    """For each label, the rows of train whose films are mixed into others of it, int; none without a column partner."""
    chosen = (index.split == "train") & index.get("partner", False)
    return [np.flatnonzero(chosen & (index.label == label)) for label in (0, 1)]


def fit(network: keras.Model, images, labels, order, config: Config, seed: int, callbacks: list, mixed_in) -> None:
    """Train a `compiled` network on images, uint8 (n, h, w), and labels, int (n,), in the order of `shuffled`.

    mixed_in: for each label, the rows to draw partners from, for a share config.mixed of the films.
    """
    targets = labels.astype(np.float32)
    weights = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels[np.unique(order)])

    def make(step: int, rows: np.ndarray):
        films = augment.mix(images, rows, [mixed_in[k] for k in labels[rows]], config.mixed, [seed, step])
        with tf.device("CPU"):  # where there is a GPU, it trains meanwhile
            pixels = tf.constant(films)[..., None]
            return augment.augment(pixels, tf.constant([seed, step]), config.augmentations_off), targets[rows, None]

    n, size = config.batch_size, config.image_size
    batches = augment.dataset(order, make, [(n, size, size, 1), (n, 1)])
    network.fit(
        batches,
        epochs=config.epochs,
        steps_per_epoch=len(order) // config.epochs,
        class_weight=dict(enumerate(weights.tolist())),
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )


def predict(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Logit of PNEUMONIA, float64 (n,), of frames, uint8 (n, size, size)."""
    return backend.outputs(network, images[..., None]).astype(np.float64)


def load(network: str, seed: int, config: Config) -> keras.Model:
    """A trained network of the study, for prediction; UserError where its file can't be read."""
    return load_network(config.network_file(network, seed), lambda: NETWORKS[network](config))


def predictor(config: Config, boxes: list[Box | None] | None = None) -> Callable[[np.ndarray], dict]:
    """A function from films, uint8 (n, h, w), to (network, seed) -> logits, float64 (n,).

    Frames are cut from the films by `boxes`, one of each film, else by the boxes of the lungs that the locator finds.
    """
    finder = None if boxes else locator.load(config.locator_file)
    networks = {(name, seed): load(name, seed, config) for seed in config.seeds for name in NETWORKS}

    def logits(films: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
        frames = lungs.cut(films, boxes or lungs.boxes(locator.locate(finder, films)), config.image_size)
        return {
            (name, seed): published.predict_arrays(network, films) if name == "published" else predict(network, frames)
            for (name, seed), network in networks.items()
        }

    return logits
