"""The published experiment, replayed as it was, flaws included: its network, its recipe and its figures.

Its flaws, kept on purpose: it validates on augmented training images, draws its confusion matrix on the train folder,
and predicts the val folder from images in 0..255 although it was trained on 0..1.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
import pandas as pd

from xraylib.config import Config
from xraylib.network import backend
from xraylib.network.backend import keras, tf

SIZE = 64  # pixels a side, three equal channels


def build() -> keras.Model:
    """The published CNN (813,217 weights): float32 (batch, 64, 64, 3) in [0, 1] -> probability (batch, 1)."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="published",
    )


def _flow(index: pd.DataFrame, config: Config, generator, batch_size: int, shuffle: bool, seed: int):
    rows = pd.DataFrame({"file": [str(config.data / path) for path in index.path], "label": index.label.astype(str)})
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many files it found, which the index knows
        return generator.flow_from_dataframe(
            rows,
            x_col="file",
            y_col="label",
            classes=["0", "1"],
            class_mode="binary",
            target_size=(SIZE, SIZE),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            validate_filenames=False,  # the index holds only images that decode
        )


def train(index: pd.DataFrame, config: Config, seed: int, say: Callable[[str], None]) -> tuple[keras.Model, dict]:
    """Train as published: one epoch of config.published_steps steps of one image of the train folder, Adam.

    Returns the network and a history row with loss, accuracy, val_loss and val_accuracy; val_ means
    config.published_validation_steps *augmented training images*, which is the experiment's first flaw.
    """
    folder = index[index.folder == "train"]
    augment = tf.keras.preprocessing.image.ImageDataGenerator(
        rescale=1 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True
    )
    network = build()
    network.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    history = network.fit(
        _flow(folder, config, augment, 1, True, seed),
        steps_per_epoch=min(config.published_steps, len(folder)),
        epochs=1,
        validation_data=_flow(folder, config, augment, 1, True, seed + 1000),
        validation_steps=min(config.published_validation_steps, len(folder)),
        verbose=0,
        shuffle=False,  # the generator shuffles
        callbacks=[_Progress(config, say)],
    )
    return network, {name: float(values[-1]) for name, values in history.history.items()}


def seen(index: pd.DataFrame, config: Config, seed: int) -> pd.Series:
    """Paths of the films that `train` learns from: the first steps of Keras' shuffle of the train folder."""
    paths = index.path[index.folder == "train"]
    order = np.random.RandomState(seed).permutation(len(paths))  # as keras' Iterator draws it
    return paths.iloc[order[: config.published_steps]]


class _Progress(keras.callbacks.Callback):
    def __init__(self, config: Config, say: Callable[[str], None]):
        super().__init__()
        self.steps = {"step": config.published_steps, "validation step": config.published_validation_steps}
        self.say = say

    def _report(self, what: str, batch: int) -> None:
        if (batch + 1) % 500 == 0 or batch + 1 == self.steps[what]:
            self.say(f"{what} {batch + 1} of {self.steps[what]}")

    def on_train_batch_end(self, batch, logs=None):
        self._report("step", batch)

    def on_test_batch_end(self, batch, logs=None):
        self._report("validation step", batch)


def predict(network: keras.Model, index: pd.DataFrame, config: Config, scaled: bool = True) -> np.ndarray:
    """Logit of PNEUMONIA for each row of the index, float64 (n,).

    scaled=False feeds images in 0..255 to the network trained on 0..1, as the experiment did with the val folder: the
    sigmoid saturates and the "probabilities" are zeros and ones.
    """
    generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255 if scaled else None)
    batches = _flow(index, config, generator, 32, False, 0)
    return logit(network.predict(batches, verbose=0)[:, 0])


def logit(probability: np.ndarray) -> np.ndarray:
    """Logits, float64, of probabilities; exact zeros and ones become -30 and 30."""
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -30, 30)


def as_input(images: np.ndarray) -> np.ndarray:
    """Decoded images, uint8 (n, size, size), as the network wants them: float32 (n, 64, 64, 3) in [0, 1].

    Resized by nearest pixel, as files are.
    """
    small = tf.image.resize(images[..., None], (SIZE, SIZE), "nearest").numpy() / np.float32(255)
    return np.repeat(small, 3, axis=-1)


def predict_arrays(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """`predict` for decoded images, uint8 (n, size, size): float64 (n,)."""
    return logit(backend.outputs(network, as_input(images)))
