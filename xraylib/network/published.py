"""The published experiment, replayed as it was, its flaws kept on purpose.

It validates on augmented training images, draws its confusion matrix on the train folder, and predicts the val folder
from images in 0..255 although it was trained on 0..1.
"""

import contextlib
import io

import numpy as np
import pandas as pd
from scipy.special import logit

from xraylib.config import Config
from xraylib.files import say
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


def batches(index: pd.DataFrame, config: Config, varied: dict, **options):
    """Keras' generator of batches of the index's films, augmented by the options `varied` of ImageDataGenerator."""
    files = [str(config.data / path) for path in index.path]
    generator = tf.keras.preprocessing.image.ImageDataGenerator(**varied)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many files it found, which the index knows
        return generator.flow_from_dataframe(
            pd.DataFrame({"filename": files, "class": index.label.astype(str)}),
            classes=["0", "1"],
            class_mode="binary",
            target_size=(SIZE, SIZE),
            validate_filenames=False,  # the index holds only images that decode
            **options,
        )


def train(index: pd.DataFrame, config: Config, seed: int) -> tuple[keras.Model, dict[str, float]]:
    """The network and its history row after one epoch of steps of one image; val_ means augmented *training* images."""
    folder = index[index.folder == "train"]
    varied = {"rescale": 1 / 255, "shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}

    def report(batch: int, logs: dict) -> None:
        if (batch + 1) % 500 == 0:
            say(f"published, seed {seed}: step {batch + 1:,} of {config.published_steps:,}")

    network = build()
    network.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    history = network.fit(
        batches(folder, config, varied, batch_size=1, seed=seed),
        steps_per_epoch=min(config.published_steps, len(folder)),
        validation_data=batches(folder, config, varied, batch_size=1, seed=seed + 1000),
        validation_steps=min(config.published_validation_steps, len(folder)),
        verbose=0,
        shuffle=False,  # the generator shuffles
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=report)],
    )
    return network, {name: float(values[-1]) for name, values in history.history.items()}


def predict(network: keras.Model, index: pd.DataFrame, config: Config, scaled: bool = True) -> np.ndarray:
    """Logit of PNEUMONIA of each row of the index, float64 (n,); unscaled, 0..255 drives the sigmoid to 0 and 1."""
    varied = {"rescale": 1 / 255 if scaled else None}
    return to_logits(network.predict(batches(index, config, varied, batch_size=32, shuffle=False), verbose=0)[:, 0])


def to_logits(probability: np.ndarray) -> np.ndarray:
    """Logits, float64, of probabilities; exact zeros and ones become -30 and 30."""
    return np.clip(logit(probability.astype(np.float64)), -30, 30)


def inputs(images: np.ndarray) -> np.ndarray:
    """Decoded images, uint8 (n, size, size), as Keras reads files: float32 (n, 64, 64, 3) in [0, 1], nearest pixels."""
    nearest = ((np.arange(SIZE) + 0.5) * (images.shape[1] / SIZE)).astype(int)
    return np.repeat(images[:, nearest[:, None], nearest, None] / np.float32(255), 3, axis=-1)


def predict_arrays(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """`predict` for decoded images, uint8 (n, size, size): float64 (n,)."""
    return to_logits(backend.outputs(network, inputs(images)))
