"""Train both networks for every seed: a finished training lives in a folder named after all that it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight

from xraylib.config import Config
from xraylib.data.frames import Box
from xraylib.files import UserError, say, whole, write_json, write_table
from xraylib.network import augment, backend, lungs, model, optimizer, published
from xraylib.network.backend import keras, tf
from xraylib.network.weights import load_network, save_network

NETWORKS = ("published", "xray_cnn")
Say = Callable[[str], None]

_IMAGE = ["path", "folder", "split", "label", "subtype", "patient"]  # what a prediction says of its image

# Settings that no weight depends on: other seeds, and how results are judged.
_NOT_TRAINING = {"profile", "phantoms", "seeds", "bootstrap_resamples"}


@dataclass(frozen=True)
class Training:
    """One finished training: the network's file, its history and predictions tables, and the seconds that it took."""

    network: str
    seed: int
    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.keras"

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def predictions(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "predictions.csv")

    @property
    def done(self) -> dict:
        return json.loads((self.folder / "done.json").read_text())


def train_all(index: pd.DataFrame, images: np.ndarray, config: Config, say: Say = say) -> list[Training]:
    """Train both networks once per seed, or find the trainings that are already there.

    index: the index table; images: uint8 (len(index), size, size). Writes models/<network>_seed<seed>.keras,
    results/history.csv, results/predictions.csv and results/timing.json when all trainings are complete.
    """
    trainings = []
    for network in NETWORKS:
        for seed in config.seeds:
            trainings.append(train_one(network, seed, index, images, config, say))
    for training in trainings:
        with whole(config.network_file(training.network, training.seed)) as temporary:
            shutil.copyfile(training.model, temporary)
    write_table(pd.concat([t.history for t in trainings], ignore_index=True), config.results / "history.csv")
    write_table(pd.concat([t.predictions for t in trainings], ignore_index=True), config.results / "predictions.csv")
    seconds = {n: {str(t.seed): t.done["seconds"] for t in trainings if t.network == n} for n in NETWORKS}
    write_json({"machine": backend.describe(), "seconds": seconds}, config.results / "timing.json")
    return trainings


def train_one(network: str, seed: int, index: pd.DataFrame, images: np.ndarray, config: Config, say: Say) -> Training:
    """One training of "published" or "xray_cnn"; nothing is done if it is there already."""
    folder = config.build / "trained" / f"{network}_seed{seed}_{fingerprint(network, seed, index, images, config)}"
    training = Training(network, seed, folder)
    name = f"{network}, seed {seed}"
    if (folder / "done.json").exists():
        say(f"{name}: already trained, {folder.name}")
        return training
    folder.mkdir(parents=True, exist_ok=True)
    run = _train_published if network == "published" else _train_own
    trained, history, predictions = run(seed, index, images, config, folder, lambda text: say(f"{name}: {text}"))
    save_network(trained, training.model)
    seconds = round(history.pop("seconds").sum(), 2)  # the clock differs at every run, so it stays out of the table
    write_table(history.assign(network=network, seed=seed)[["network", "seed", *history]], folder / "history.csv")
    predictions = pd.concat(
        [index.loc[rows, _IMAGE].assign(network=name, seed=seed, logit=logit) for name, rows, logit in predictions]
    )
    write_table(predictions[["network", "seed", *_IMAGE, "logit"]], folder / "predictions.csv")
    write_json({"seconds": seconds}, folder / "done.json")  # last: its presence says that the rest is whole
    say(f"{name}: done in {seconds:.0f} s")
    return training


def fingerprint(network: str, seed: int, index: pd.DataFrame, images: np.ndarray, config: Config) -> str:
    """12 hexadecimal digits of all that a training depends on: code, settings, images, splits, precision, versions."""
    settings = {
        name: str(value)
        for name, value in asdict(config).items()
        if name not in _NOT_TRAINING and not isinstance(value, Path)
    }
    code = [published] if network == "published" else [model, optimizer, augment]
    digest = hashlib.sha256()
    digest.update(json.dumps([network, seed, settings, backend.describe()], sort_keys=True).encode())
    for module in [*code, backend]:
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update(index[["path", "sha256", "split", "label"]].to_csv(index=False).encode())
    if network != "published":  # frames follow from the films, the locator's weights and the code that cuts them
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:12]


def _train_published(seed, index, images, config, folder, say):
    started = time.monotonic()
    backend.start(seed)
    network, history = published.train(index, config, seed, say)
    everything = index.index if config.score_test else index.index[index.split != "test"]
    val = index.index[index.folder == "val"]
    probability = published.predict(network, index.loc[everything], config)
    unscaled = published.predict(network, index.loc[val], config, scaled=False)
    row = {"epoch": 1, **history, "seconds": time.monotonic() - started}
    predictions = [("published", everything, probability), ("published_unscaled", val, unscaled)]
    return _without_optimizer(network), pd.DataFrame([row]), predictions


def _train_own(seed, index, images, config, folder, say):
    backend.start(seed, backend.precision())
    train_rows, tune_rows = (np.flatnonzero(index.split == split) for split in ("train", "tune"))
    labels = index.label.to_numpy()
    order = augment.shuffled(train_rows, config.batch_size, config.epochs, seed)
    with backend.strategy().scope():
        network = compiled(len(order), config)
    report = _Report(network, images[tune_rows], labels[tune_rows], config, say)
    fit(network, images, labels, order, config, seed, [report])
    exact = backend.in_float32(network, lambda: model.build(config))
    rows = index.index if config.score_test else index.index[index.split != "test"]
    return exact, pd.DataFrame(report.rows), [("xray_cnn", rows, predict(exact, images, rows.to_numpy()))]


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
    """Train a `compiled` network on images, uint8 (n, size, size), with labels, int (n,).

    order: the rows of each batch, int (steps, batch), see augment.shuffled. UserError where there is not one batch.
    """
    if not len(order):
        raise UserError(f"train split: fewer images than a batch, {config.batch_size}. Add images.")
    targets = labels.astype(np.float32)

    def make(step: int, rows: np.ndarray):
        with tf.device("CPU"):  # where there is a GPU, it trains meanwhile
            pixels = tf.cast(images[rows], tf.float32)[..., None]
            return augment.augment(pixels, tf.constant([seed, step]), config.without), targets[rows, None]

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
    """Weights that make both classes count alike: n / (2 n_class). NORMAL is the minority, so its weight exceeds 1."""
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
        probability, seconds = expit(logit), time.monotonic() - self.started
        row = {"epoch": epoch + 1, "loss": float(logs["loss"]), "accuracy": float(logs["accuracy"])}
        row["tune_loss"] = float(log_loss(self.labels, probability, labels=[0, 1]))
        row["tune_accuracy"] = float(((logit >= 0) == self.labels).mean())
        row["tune_auroc"] = float(roc_auc_score(self.labels, logit))
        self.rows.append(row | {"seconds": seconds})
        self.say(
            f"epoch {epoch + 1:2d} of {self.config.epochs}, loss {row['loss']:.3f}, tune AUROC "
            f"{row['tune_auroc']:.3f}, "
            f"{seconds:.1f} s, about {seconds * (self.config.epochs - epoch - 1):.0f} s left"
        )


def predict(network: keras.Model, images: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Logit of PNEUMONIA, float64 (m,), of rows (int (m,); None: all) of frames, uint8 (n, size, size).

    Of a mapped file, 1,024 frames at a time are in memory.
    """
    rows = np.arange(len(images)) if rows is None else rows
    parts = np.array_split(rows, max(1, -(-len(rows) // 1024)))
    logits = [backend.outputs(network, images[part][..., None].astype(np.float32)) for part in parts]
    return np.concatenate(logits).astype(np.float64)


def predictors(config: Config) -> dict[tuple[str, int], Callable[[np.ndarray], np.ndarray]]:
    """(network, seed) -> the trained network of config.models as a function of films, uint8 (n, h, w), to logits (n,).

    The study's networks see the frames that the locator cuts from the films, the published ones the whole films.
    """
    locator = load_network(config.locator_file, (lungs.MASK, lungs.MASK, 1))
    last: dict[str, np.ndarray] = {}

    def cut(films: np.ndarray) -> np.ndarray:
        if last.get("films") is not films:  # all seeds see the same frames
            boxes = lungs.boxes(lungs.locate(locator, films))
            last.update(films=films, frames=lungs.cut(films, boxes, config.image_size))
        return last["frames"]

    functions: dict[tuple[str, int], Callable] = {}
    for seed in config.seeds:
        whole, own = (load_network(config.network_file(network, seed)) for network in NETWORKS)
        functions["published", seed] = partial(published.predict_arrays, whole)
        functions["xray_cnn", seed] = lambda films, network=own: predict(network, cut(films))
    return functions


def predictors_in(found: list[Box | None], config: Config) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Network -> the mean logit over seeds, (n,), of films, uint8 (n, h, w), with given boxes."""
    whole = [load_network(config.network_file("published", seed)) for seed in config.seeds]
    own = [load_network(config.network_file("xray_cnn", seed)) for seed in config.seeds]

    def of_frames(films: np.ndarray) -> np.ndarray:
        images = lungs.cut(films, found, config.image_size)
        return np.mean([predict(network, images) for network in own], axis=0)

    def of_films(films: np.ndarray) -> np.ndarray:
        return np.mean([published.predict_arrays(network, films) for network in whole], axis=0)

    return {"published": of_films, "xray_cnn": of_frames}


def _without_optimizer(network: keras.Model) -> keras.Model:
    """The same network as it predicts: the optimizer's moments would make its file three times as large."""
    bare = keras.Sequential.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    return bare
