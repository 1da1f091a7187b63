"""The locator: a small segmentation network that finds the lungs in a film, so that every film is cropped to them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from xraylib.config import REPOSITORY, Config
from xraylib.data import frames
from xraylib.data.frames import MASK, SMALL, Box
from xraylib.files import UserError, say, whole, write_table
from xraylib.network import augment, backend
from xraylib.network.backend import keras, tf
from xraylib.network.model import FusedBatchNormalization
from xraylib.network.weights import load_network, save_network

layers = keras.layers
RELEASED = REPOSITORY / "models" / "lungs.keras"
CHANNELS = (32, 64, 96)  # of the three resolutions, from 48 to 12 pixels a side


def build() -> keras.Model:
    """A U-Net (Ronneberger 2015): float32 (batch, 96, 96, 1) in [0, 255] -> logit of lung (batch, 48, 48, 1)."""
    inputs = keras.Input((SMALL, SMALL, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = _convolved(x, CHANNELS[0], size=5, stride=2)
    skipped = []
    for channels in CHANNELS:
        x = _convolved(_convolved(x, channels), channels)
        skipped.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = skipped.pop()
    for channels, skip in zip(CHANNELS[-2::-1], skipped[::-1], strict=True):
        x = layers.Concatenate()([layers.UpSampling2D(2, interpolation="bilinear")(x), skip])
        x = _convolved(_convolved(x, channels), channels)
    return keras.Model(inputs, layers.Conv2D(1, 1, dtype="float32")(x), name="lungs")


def _convolved(x, channels: int, size: int = 3, stride: int = 1):
    x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(FusedBatchNormalization()(x))


def load_masks(config: Config, index: pd.DataFrame, size: int = MASK) -> tuple[np.ndarray, np.ndarray]:
    """Lung masks of the films that have one, uint8 (m, size, size), 255 = lung; and their rows, int (m,)."""
    if config.masks is None:
        return np.empty((0, size, size), np.uint8), np.empty(0, int)
    files = [(config.masks / path).with_suffix(".png") for path in index.path]
    rows = np.array([row for row, file in enumerate(files) if file.is_file()], int)
    return np.stack([_read_mask(files[row], size) for row in rows]), rows


def _read_mask(file: Path, size: int) -> np.ndarray:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX))
    except OSError as error:
        raise UserError(
            f"{file}: no image ({error}). Wanted a lung mask, white = lung. Remove or replace it."
        ) from error


def locator(films: np.ndarray, index: pd.DataFrame, config: Config) -> keras.Model:
    """The network that finds the lungs, trained on the train split's masks once, or the released one without masks.

    Writes config.locator_file. Says what it does.
    """
    source = RELEASED
    if config.masks is None or (config.profile == "sample" and not config.phantoms):
        say(f"lungs: found by the released network, {RELEASED.relative_to(REPOSITORY)}")
    else:
        masks, rows = load_masks(config, index)
        learned = (index.split.to_numpy()[rows] == "train").nonzero()[0]
        films, masks = films[rows[learned]], masks[learned]
        source = config.build / "trained" / f"lungs_{_fingerprint(films, masks, config)}.keras"
        if not source.exists():
            say(f"lungs: trained on {len(masks):,} masks of the train split, 1 to 2 minutes")
            save_network(train(films, masks, config), source)
    if source != config.locator_file:
        with whole(config.locator_file) as temporary:
            shutil.copyfile(source, temporary)
    return load_network(config.locator_file, (MASK, MASK, 1))


def _fingerprint(films: np.ndarray, masks: np.ndarray, config: Config) -> str:
    """12 hexadecimal digits of all that the locator depends on: films, masks, code, settings, machine."""
    digest = hashlib.sha256(f"{config.locator_epochs} {config.batch_size} {backend.describe()}".encode())
    for module in (frames.__file__, augment.__file__, backend.__file__, __file__):
        digest.update(Path(str(module)).read_bytes())
    for array in (films, masks):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]


def small_films(films: np.ndarray) -> np.ndarray:
    """Films, uint8 (n, h, w), as the locator sees them: uint8 (n, 96, 96)."""
    return np.stack([frames.shrink(film) for film in films])


def train(films: np.ndarray, masks: np.ndarray, config: Config) -> keras.Model:
    """The locator trained on films, uint8 (n, h, w), and their masks, uint8 (n, 48, 48). Shows progress."""
    small = small_films(films)
    order = augment.shuffled(np.arange(len(small)), config.batch_size, config.locator_epochs, seed=0)

    def make(step: int, rows: np.ndarray) -> list[tf.Tensor]:
        seed = tf.constant([0, step])
        return augmented(tf.cast(small[rows, ..., None], tf.float32), tf.cast(masks[rows, ..., None], tf.float32), seed)

    n = config.batch_size
    backend.start(0, backend.precision())
    network = build()
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, len(order))
    network.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-4), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    epochs = config.locator_epochs
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: say(f"lungs: epoch {epoch + 1} of {epochs}, loss {logs['loss']:.3f}")
    )
    batches = augment.dataset(order, make, [(n, SMALL, SMALL, 1), (n, MASK, MASK, 1)])
    network.fit(
        batches, epochs=epochs, steps_per_epoch=len(order) // epochs, shuffle=False, verbose=0, callbacks=[report]
    )
    return backend.in_float32(network, build)


@tf.function
def augmented(films: tf.Tensor, masks: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
    """Films and masks, float32 (n, size, size, 1) in [0, 255], posed alike; masks come out in [0, 1]."""
    amounts = augment.draw(films.shape[0], seed)
    return [augment.exposed(augment.posed(films, amounts), amounts, seed), augment.posed(masks, amounts) / 255]


def locate(network: keras.Model, films: np.ndarray) -> np.ndarray:
    """Probability of lung, float32 (n, 48, 48), of films, uint8 (n, h, w): mean logit of film and mirror image."""
    parts = []
    for start in tqdm(range(0, len(films), 256), "finding lungs", delay=5, mininterval=2):
        small = small_films(films[start : start + 256])[..., None].astype(np.float32)
        both = network.predict_on_batch(small) + network.predict_on_batch(small[:, :, ::-1])[:, :, ::-1]
        parts.append(1 / (1 + np.exp(-both[..., 0] / 2)))
    return np.concatenate(parts).astype(np.float32)


def boxes(masks: np.ndarray) -> list[Box | None]:
    """The box of the lungs of each mask, (n, 48, 48) in [0, 1]; None where no lungs are found."""
    return [frames.lung_box(mask) for mask in masks]


def cut(films: np.ndarray, found: list[Box | None], size: int, stretch: bool = True) -> np.ndarray:
    """The frames of films, uint8 (n, size, size); a film without a box is taken whole."""
    return np.stack([frames.frame(film, box, size, stretch) for film, box in zip(films, found, strict=True)])


def enlarged(masks: np.ndarray, size: int) -> np.ndarray:
    """Where the lungs are, bool (n, size, size), of their probabilities, float32 (n, 48, 48)."""
    large = [Image.fromarray(mask).resize((size, size), Image.Resampling.BILINEAR) for mask in masks]
    return np.stack([np.asarray(mask) >= 0.5 for mask in large])


def masks_in_frames(masks: list[np.ndarray], rows: np.ndarray, found: list[Box | None], config: Config) -> np.ndarray:
    """Masks of films, bool (h, w) each, as their frames show them: bool (m, image_size, image_size).

    rows: int (m,), the place of each mask's film in `found`.
    """
    cropped = [
        frames.frame(np.uint8(255) * mask, found[row], config.image_size, stretch=False)
        for mask, row in zip(masks, rows, strict=True)
    ]
    return np.stack(cropped) >= 128


def load_frames(config: Config, index: pd.DataFrame) -> np.ndarray:
    """The frames that notebook 02 cut, uint8 (len(index), size, size); UserError where they are not there yet."""
    return _load(config.build / "frames.npy", len(index))


def load_found(config: Config, index: pd.DataFrame) -> np.ndarray:
    """The lungs that notebook 02 found, float32 (len(index), 48, 48); UserError where they are not there yet."""
    return _load(config.build / "lungs.npy", len(index))


def _load(path: Path, n: int) -> np.ndarray:
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 02_train first, or: make reproduce")
    found = np.load(path, mmap_mode="r")
    if len(found) != n:
        raise UserError(f"{path}: {len(found):,} films, wanted {n:,}. Run notebook 02_train again, or: make reproduce")
    return found


def report_films_without_lungs(rows: pd.DataFrame, config: Config) -> None:
    """Add the index's rows of films without recognisable lungs to skipped.csv, and say how many there are."""
    path = config.results / "skipped.csv"
    skipped = pd.read_csv(path, keep_default_na=False)
    new = rows.assign(reason="no lungs found")[list(skipped.columns)]
    write_table(pd.concat([skipped[skipped.reason != "no lungs found"], new], ignore_index=True), path)
    say(f"{len(rows)} films without recognisable lungs: left out of training, taken whole in test")


def film_boxes(films: np.ndarray, index: pd.DataFrame, config: Config) -> tuple[list[Box | None], str]:
    """The box of the lungs in each film (None where unknown), and who found it.

    The boxes of the masks that there are; without masks, those of the released locator in films, uint8 (n, h, w).
    """
    masks, rows = load_masks(config, index)
    if not len(rows):
        released = load_network(RELEASED, (MASK, MASK, 1))
        return boxes(locate(released, films)), "the released locator"
    found: list[Box | None] = [None] * len(index)
    for row, mask in zip(rows, masks, strict=True):
        found[row] = frames.lung_box(mask / 255)
    return found, "the phantoms' masks" if config.phantoms else "people's masks"


def framing_properties(masks: np.ndarray, rows: np.ndarray, cropped: list[Box | None]) -> dict[str, np.ndarray]:
    """Boxes of masks, uint8 (m, 48, 48), in the film and in the frame: float (n, 4) each, NaN without a mask.

    rows: int (m,), the films of the masks; cropped: the frames' boxes in the n films.
    """
    in_film, in_frame = np.full((2, len(cropped), 4), np.nan)
    for row, mask in zip(rows, masks, strict=True):
        if box := frames.lung_box(mask / 255):
            in_film[row], in_frame[row] = box, frames.seen_in(box, cropped[row])
    return {"lungs' box in the film": in_film, "lungs' box in the frame": in_frame}


def accuracy(found: np.ndarray, truth: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """Dice and the boxes' overlap by split and class: columns split, class, films, dice, dice_p5, iou, iou_p5.

    found, truth: (n, 48, 48) in [0, 1], lung where at least .5; rows: the index's rows.
    """
    a, b = found >= 0.5, truth >= 0.5
    dice = 2 * (a & b).sum(axis=(1, 2)) / np.maximum(a.sum(axis=(1, 2)) + b.sum(axis=(1, 2)), 1)
    iou = [
        frames.area_of_overlap(one, other) if one and other else 0.0
        for one, other in zip(boxes(found), boxes(truth.astype(np.float64)), strict=True)
    ]
    table = pd.DataFrame({"split": rows.split.to_numpy(), "class": np.where(rows.label == 1, "PNEUMONIA", "NORMAL")})
    by = table.assign(dice=dice, iou=iou).groupby(["split", "class"], sort=False)
    low = by[["dice", "iou"]].quantile(0.05).add_suffix("_p5")
    return by.size().rename("films").to_frame().join(by[["dice", "iou"]].mean()).join(low).reset_index()
