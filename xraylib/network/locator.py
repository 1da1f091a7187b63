"""The locator: a small segmentation network that finds the lungs in a film, so that every film is cropped to them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from xraylib.config import REPOSITORY, Config
from xraylib.data import frames
from xraylib.data.frames import MASK, SMALL
from xraylib.files import atomic, say
from xraylib.network import augment, backend
from xraylib.network.backend import keras, tf
from xraylib.network.lungs import load_masks
from xraylib.network.model import convolution
from xraylib.network.weights import load_network, save_network

layers = keras.layers
RELEASED = REPOSITORY / "models" / "lungs.keras"
BATCH = 32  # films that `locate` takes at once: their layers fit in a CPU's cache, those of 256 take half as long again


def build() -> keras.Model:
    """A U-Net (Ronneberger 2015): float32 (batch, 96, 96, 1) in [0, 255] -> logit of lung (batch, 48, 48, 1)."""
    inputs = keras.Input((SMALL, SMALL, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.ReLU()(convolution(x, 32, 5, stride=2))
    skipped = []
    for channels in (32, 64):  # 48 and 24 pixels a side
        x = _two_convolutions(x, channels)
        skipped.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _two_convolutions(x, 96)
    for channels in (64, 32):
        x = layers.Concatenate()([layers.UpSampling2D(2, interpolation="bilinear")(x), skipped.pop()])
        x = _two_convolutions(x, channels)
    return keras.Model(inputs, layers.Conv2D(1, 1, dtype="float32")(x), name="lungs")


def _two_convolutions(x, channels: int):
    for _ in range(2):
        x = layers.ReLU()(convolution(x, channels, 3))
    return x


def load(path: Path = RELEASED) -> keras.Model:
    """The locator of a .keras file; UserError where it can't be read."""
    return load_network(path, build)


def load_or_train(films: np.ndarray, index: pd.DataFrame, config: Config) -> keras.Model:
    """The network of config.locator_file: trained once on the masks of train, or without masks the released one."""
    source = RELEASED
    if config.masks is None or (config.profile == "sample" and not config.phantoms):
        say(f"lungs: found by the released network, {RELEASED.relative_to(REPOSITORY)}")
    else:
        train_rows = index[index.split == "train"]
        masks, rows = load_masks(config, train_rows)
        films = small_films(films[train_rows.index[rows]])
        name = backend.fingerprint([config.locator_epochs, config.batch_size], films, masks)
        source = config.build / "trained" / f"lungs_{name}.keras"
        if not source.exists():
            say(f"lungs: trained on {len(masks):,} masks of the train split in {config.masks}, 1 to 2 minutes")
            save_network(train(films, masks, config), source)
    if source != config.locator_file:
        with atomic(config.locator_file) as temporary:
            shutil.copyfile(source, temporary)
    return load(config.locator_file)


def small_films(films: np.ndarray) -> np.ndarray:
    """Films, uint8 (n, h, w), as the locator sees them: uint8 (n, 96, 96)."""
    return np.array([frames.shrink(film) for film in films])


def train(films: np.ndarray, masks: np.ndarray, config: Config) -> keras.Model:
    """The locator trained on films, uint8 (n, h, w), and their masks, uint8 (n, 48, 48). Shows progress."""
    small, n, epochs = small_films(films), config.batch_size, config.locator_epochs
    order = augment.shuffled(np.arange(len(small)), n, epochs, seed=0)

    def make(step: int, rows: np.ndarray) -> list[tf.Tensor]:
        pixels, lungs = (tf.cast(array[rows, ..., None], tf.float32) for array in (small, masks))
        return augmented(pixels, lungs, tf.constant([0, step]))

    backend.start(0, backend.precision())
    network = build()
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, len(order))
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=1e-4)
    network.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True))
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: say(f"lungs: epoch {epoch + 1} of {epochs}, loss {logs['loss']:.3f}")
    )
    batches, steps = augment.dataset(order, make, [(n, SMALL, SMALL, 1), (n, MASK, MASK, 1)]), len(order) // epochs
    network.fit(batches, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[report])
    return backend.in_float32(network, build)


@tf.function
def augmented(films: tf.Tensor, masks: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
    """Films and masks, float32 (n, size, size, 1) in [0, 255], posed alike; masks come out in [0, 1]."""
    amounts = augment.draw(films.shape[0], seed)
    return [augment.exposed(augment.posed(films, amounts), amounts, seed), augment.posed(masks, amounts) / 255]


def locate(network: keras.Model, films: np.ndarray) -> np.ndarray:
    """Probability of lung, float32 (n, 48, 48), of films, uint8 (n, h, w): mean logit of film and mirror image."""
    parts = []
    for start in tqdm(range(0, max(len(films), 1), 16 * BATCH), "finding lungs", delay=5, mininterval=2):
        small = small_films(films[start : start + 16 * BATCH])[..., None]
        film, mirrored = (backend.outputs(network, images, BATCH) for images in (small, small[:, :, ::-1]))
        parts.append(1 / (1 + np.exp(-(film + mirrored[:, :, ::-1]) / 2)))
    return np.concatenate(parts)
