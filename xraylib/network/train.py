"""Train both networks for every seed, resumably: a training lives in a folder named after all that it depends on."""

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
from xraylib.data import corruptions
from xraylib.files import UserError, say, whole, write_json, write_table
from xraylib.network import augment, backend, model, optimizer, published
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
    """One training of "published" or "xray_cnn", resumed where it stopped; nothing is done if it is complete."""
    folder = config.build / "trained" / f"{network}_seed{seed}_{fingerprint(network, seed, index, config)}"
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
        [
            index.loc[rows, _IMAGE].assign(network=name, seed=seed, probability=probability)
            for name, rows, probability in predictions
        ]
    )
    write_table(predictions[["network", "seed", *_IMAGE, "probability"]], folder / "predictions.csv")
    write_json({"seconds": seconds}, folder / "done.json")  # last: its presence says that the rest is whole
    for checkpoint in folder.glob("epoch_*"):
        checkpoint.unlink()
    say(f"{name}: done in {seconds:.0f} s")
    return training


def fingerprint(network: str, seed: int, index: pd.DataFrame, config: Config) -> str:
    """12 hexadecimal digits of all that a training depends on: code, settings, images, splits, precision, versions."""
    settings = {
        name: str(value)
        for name, value in asdict(config).items()
        if name not in _NOT_TRAINING and not isinstance(value, Path)
    }
    code = [published] if network == "published" else [model, optimizer, augment, corruptions]
    digest = hashlib.sha256()
    digest.update(json.dumps([network, seed, settings, backend.describe()], sort_keys=True).encode())
    for module in [*code, backend]:
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update(index[["path", "sha256", "split", "label"]].to_csv(index=False).encode())
    return digest.hexdigest()[:12]


def _train_published(seed, index, images, config, folder, say):
    started = time.monotonic()
    backend.start(seed)
    network, history = published.train(index, config, seed, say)
    probability = published.predict(network, index, config)
    everything, val = index.index, index.index[index.folder == "val"]
    unscaled = published.predict(network, index.loc[val], config, scaled=False)
    row = {"epoch": 1, **history, "seconds": time.monotonic() - started}
    predictions = [("published", everything, probability), ("published_unscaled", val, unscaled)]
    return _without_optimizer(network), pd.DataFrame([row]), predictions


def _train_own(seed, index, images, config, folder, say):
    backend.start(seed, backend.precision())
    with backend.strategy().scope():
        network, done = _resume(folder) or (compiled(index, config), pd.DataFrame())
    train_rows, tune_rows = (np.flatnonzero(index.split == split) for split in ("train", "tune"))
    labels = index.label.to_numpy()
    rows = done.to_dict("records")
    for epoch in range(len(rows) + 1, config.epochs + 1):
        started = time.monotonic()
        logs = fit_epoch(network, images, train_rows, labels, config, seed, epoch)
        if not np.isfinite(logs["loss"][-1]):
            raise UserError(f"xray_cnn seed {seed}: loss is {logs['loss'][-1]} in epoch {epoch}. Lower learning_rate.")
        tune = predict(network, images, tune_rows)
        rows.append(_history_row(epoch, logs, labels[tune_rows], tune, time.monotonic() - started))
        _checkpoint(network, pd.DataFrame(rows), folder, epoch)
        _report(rows[-1], config, say)
    exact = _in_float32(network, config)
    predictions = [("xray_cnn", index.index, predict(exact, images))]
    for name in corruptions.SERIES:  # for the choice of the threshold
        spoil = partial(corruptions.corrupt, name=name, severity=corruptions.SERIES_SEVERITY)
        probability = predict(exact, images, tune_rows, spoil)
        predictions.append((f"xray_cnn{corruptions.SPOILT}{name}", index.index[tune_rows], probability))
    return exact, pd.DataFrame(rows), predictions


def compiled(index: pd.DataFrame, config: Config) -> keras.Model:
    """The study's network, untrained, with its optimizer and loss; UserError where there is not even one batch."""
    n = (index.split == "train").sum()
    if n < config.batch_size:
        raise UserError(f"train split: {n} images; wanted at least {config.batch_size}, one batch. Add images.")
    steps = config.epochs * (n // config.batch_size)
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


def fit_epoch(
    network: keras.Model, images, rows, labels, config: Config, seed: int, epoch: int, callbacks=None
) -> dict[str, list[float]]:
    """One epoch of the recipe on a `compiled` network, from (seed, epoch) alone; returns Keras' logs.

    images, rows, labels: as in augment.batches; callbacks: a list, as for `fit`.
    """
    batches = augment.batches(images, rows, labels, config, seed, epoch)
    _seed_dropout(network, seed, epoch)
    weights = _class_weights(labels[rows])
    return network.fit(batches, class_weight=weights, shuffle=False, verbose=0, callbacks=callbacks).history


def _seed_dropout(network: keras.Model, seed: int, epoch: int) -> None:
    """Make dropout depend on (seed, epoch) alone: a saved network forgets the state of its random generators."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign([seed, epoch << 20])


def _class_weights(labels: np.ndarray) -> dict[int, float]:
    """Weights that make both classes count alike: n / (2 n_class). NORMAL is the minority, so its weight exceeds 1."""
    return dict(enumerate(compute_class_weight("balanced", classes=np.array([0, 1]), y=labels).tolist()))


def _history_row(epoch: int, logs: dict, labels: np.ndarray, tune: np.ndarray, seconds: float) -> dict:
    return {
        "epoch": epoch,
        "loss": float(logs["loss"][-1]),
        "accuracy": float(logs["accuracy"][-1]),
        "tune_loss": float(log_loss(labels, tune, labels=[0, 1])),
        "tune_auroc": float(roc_auc_score(labels, tune)),
        "seconds": seconds,
    }


def _report(row: dict, config: Config, say: Say) -> None:
    left = row["seconds"] * (config.epochs - row["epoch"])
    say(
        f"epoch {row['epoch']:2d} of {config.epochs}, loss {row['loss']:.3f}, tune AUROC {row['tune_auroc']:.4f}, "
        f"{row['seconds']:.1f} s, about {left:.0f} s left"
    )


def _checkpoint(network: keras.Model, history: pd.DataFrame, folder: Path, epoch: int) -> None:
    write_table(history, folder / f"epoch_{epoch:03d}.csv")
    with whole(folder / f"epoch_{epoch:03d}.keras") as temporary:
        network.save(temporary)  # with the optimizer's state: training goes on from here with the same bits
    for suffix in ("keras", "csv"):
        (folder / f"epoch_{epoch - 1:03d}.{suffix}").unlink(missing_ok=True)


def _resume(folder: Path) -> tuple[keras.Model, pd.DataFrame] | None:
    checkpoints = sorted(folder.glob("epoch_*.keras"))
    if not checkpoints:
        return None
    return keras.models.load_model(checkpoints[-1]), pd.read_csv(checkpoints[-1].with_suffix(".csv"))


def predict(
    network: keras.Model,
    images: np.ndarray,
    rows: np.ndarray | None = None,
    spoil: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """Probability of PNEUMONIA, float64 (m,), of rows (int (m,); None: all) of uint8 (n, size, size) images.

    Each image is seen in augment.FRAME, as `spoil` leaves it. Of a mapped file, a thousand images at a time are in
    memory.
    """
    size = network.input_shape[1]
    rows = np.arange(len(images)) if rows is None else rows
    logits = []
    for part in np.array_split(rows, max(1, -(-len(rows) // 1024))):
        films = tf.cast(spoil(images[part])[..., None], tf.float32)
        logits.append(backend.outputs(network, augment.view(films, size)))
    return expit(np.concatenate(logits).astype(np.float64))


def predictors(config: Config) -> dict[tuple[str, int], Callable[[np.ndarray], np.ndarray]]:
    """(network, seed) -> the trained network of config.models as a function of uint8 (n, size, size) images to (n,)."""
    apply = {"published": published.predict_arrays, "xray_cnn": predict}
    return {
        (network, seed): partial(apply[network], load_network(config.network_file(network, seed)))
        for network in NETWORKS
        for seed in config.seeds
    }


def _in_float32(network: keras.Model, config: Config) -> keras.Model:
    """The same weights in float32 arithmetic, without the optimizer: it predicts alike on every kind of CPU."""
    weights = network.get_weights()
    backend.start(0)  # layers are numbered anew, so that their names in the file do not tell what was built before
    exact = model.build(config)
    exact.set_weights(weights)
    return exact


def _without_optimizer(network: keras.Model) -> keras.Model:
    """The same network as it predicts: the optimizer's moments would make its file three times as large."""
    bare = keras.Sequential.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    return bare
