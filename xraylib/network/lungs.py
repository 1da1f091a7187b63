"""The locator: a small segmentation network that finds the lungs in a film, so that every film is cropped to them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from xraylib.config import REPOSITORY, Config
from xraylib.data import frames
from xraylib.data.frames import MASK, SMALL, Box
from xraylib.files import UserError, atomic, say, write_table
from xraylib.network import augment, backend
from xraylib.network.backend import keras, tf
from xraylib.network.model import FusedBatchNormalization
from xraylib.network.weights import load_network, save_network

layers = keras.layers
RELEASED = REPOSITORY / "models" / "lungs.keras"
BATCH = 32  # films that `locate` takes at once: their layers fit in a CPU's cache, those of 256 take half as long again


def build() -> keras.Model:
    """A U-Net (Ronneberger 2015): float32 (batch, 96, 96, 1) in [0, 255] -> logit of lung (batch, 48, 48, 1)."""
    inputs = keras.Input((SMALL, SMALL, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = _convolved(x, 32, size=5, stride=2)
    skipped = []
    for channels in (32, 64):  # 48 and 24 pixels a side
        x = _convolved(_convolved(x, channels), channels)
        skipped.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _convolved(_convolved(x, 96), 96)
    for channels in (64, 32):
        x = layers.Concatenate()([layers.UpSampling2D(2, interpolation="bilinear")(x), skipped.pop()])
        x = _convolved(_convolved(x, channels), channels)
    return keras.Model(inputs, layers.Conv2D(1, 1, dtype="float32")(x), name="lungs")


def _convolved(x, channels: int, size: int = 3, stride: int = 1):
    x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(FusedBatchNormalization()(x))


def load_masks(config: Config, index: pd.DataFrame, size: int = MASK) -> tuple[np.ndarray, np.ndarray]:
    """Lung masks of the films that have one, uint8 (m, size, size), 255 = lung; and their rows, int (m,)."""
    files = [(config.masks / path).with_suffix(".png") for path in index.path] if config.masks else []
    rows = np.array([row for row, file in enumerate(files) if file.is_file()], int)
    return np.array([_read_mask(files[row], size) for row in rows], np.uint8).reshape(-1, size, size), rows


def _read_mask(file: Path, size: int) -> np.ndarray:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX))
    except OSError as error:
        message = f"{file}: no image ({error}). Wanted a lung mask, white = lung. Remove or replace it."
        raise UserError(message) from error


def locator(films: np.ndarray, index: pd.DataFrame, config: Config) -> keras.Model:
    """The network of config.locator_file: trained once on the masks of train, or without masks the released one."""
    source = RELEASED
    if config.masks is None or (config.profile == "sample" and not config.phantoms):
        say(f"lungs: found by the released network, {RELEASED.relative_to(REPOSITORY)}")
    else:
        masks, rows = load_masks(config, index)
        learned = (index.split.to_numpy()[rows] == "train").nonzero()[0]
        if len(learned) < config.batch_size:
            raise UserError(
                f"{config.masks}: {len(learned)} lung masks of films of train. Wanted {config.batch_size} or more, PNG "
                "files named like the films, white = lung. Name their folder: MASKS=folder."
            )
        films, masks = films[rows[learned]], masks[learned]
        settings, code = [config.locator_epochs, config.batch_size], [frames.__file__, augment.__file__, __file__]
        source = config.build / "trained" / f"lungs_{backend.fingerprint(settings, code, films, masks)}.keras"
        if not source.exists():
            say(f"lungs: trained on {len(masks):,} masks of the train split, 1 to 2 minutes")
            save_network(train(films, masks, config), source)
    if source != config.locator_file:
        with atomic(config.locator_file) as temporary:
            shutil.copyfile(source, temporary)
    return load_network(config.locator_file, (MASK, MASK, 1))


def small_films(films: np.ndarray) -> np.ndarray:
    """Films, uint8 (n, h, w), as the locator sees them: uint8 (n, 96, 96)."""
    return np.stack([frames.shrink(film) for film in films])


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
    for start in tqdm(range(0, len(films), BATCH), "finding lungs", delay=5, mininterval=2):
        small = small_films(films[start : start + BATCH])[..., None].astype(np.float32)
        both = network.predict_on_batch(small) + network.predict_on_batch(small[:, :, ::-1])[:, :, ::-1]
        parts.append(1 / (1 + np.exp(-both[..., 0] / 2)))
    return np.concatenate(parts).astype(np.float32)


def boxes(masks: np.ndarray) -> list[Box | None]:
    """The box of the lungs of each mask, (n, 48, 48) in [0, 1]; None where no lungs are found."""
    return [frames.lung_box(mask) for mask in masks]


def cut(films: np.ndarray, found: list[Box | None], size: int, stretch: bool = True) -> np.ndarray:
    """The frames of films, uint8 (n, size, size); a film without a box is taken whole."""
    return np.stack([frames.frame(film, box, size, stretch) for film, box in zip(films, found, strict=True)])


def masks_in_frames(masks: list[np.ndarray], rows: np.ndarray, found: list[Box | None], config: Config) -> np.ndarray:
    """Masks, bool (h, w) each, of the films `rows`, int (m,), as their frames show them: bool (m, size, size)."""
    return cut(np.uint8(255) * np.stack(masks), [found[row] for row in rows], config.image_size, stretch=False) >= 128


def load_frames(config: Config, index: pd.DataFrame, name: str = "frames.npy") -> np.ndarray:
    """The frames that notebook 02 cut, uint8 (len(index), size, size); UserError where they are not there yet."""
    path, n = config.build / name, len(index)
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 02_train first, or: make reproduce")
    found = np.load(path, mmap_mode="r")
    if len(found) != n:
        raise UserError(f"{path}: {len(found):,} films, wanted {n:,}. Run notebook 02_train again, or: make reproduce")
    return found


def load_found(config: Config, index: pd.DataFrame) -> np.ndarray:
    """The lungs that notebook 02 found, float32 (len(index), 48, 48); UserError where they are not there yet."""
    return load_frames(config, index, "lungs.npy")


def report_films_without_lungs(rows: pd.DataFrame, config: Config) -> None:
    """Add the index's rows of films without recognisable lungs to skipped.csv, and say how many there are."""
    path = config.results / "skipped.csv"
    skipped = pd.read_csv(path, keep_default_na=False)
    new = rows.assign(reason="no lungs found")[list(skipped.columns)]
    write_table(pd.concat([skipped[skipped.reason != "no lungs found"], new], ignore_index=True), path)
    say(f"{len(rows)} films without recognisable lungs: left out of training, taken whole in test")


def film_boxes(films: np.ndarray, index: pd.DataFrame, config: Config) -> tuple[list[Box | None], str]:
    """The box of the lungs in each film, uint8 (n, h, w), from its mask; without any masks, by the released locator."""
    masks, rows = load_masks(config, index)
    if not len(rows):
        return boxes(locate(load_network(RELEASED, (MASK, MASK, 1)), films)), "the released locator"
    found = {row: frames.lung_box(mask / 255) for row, mask in zip(rows, masks, strict=True)}
    who = "the phantoms' masks" if config.phantoms else "people's masks"
    return [found.get(row) for row in range(len(index))], who


def framing_properties(masks: np.ndarray, rows: np.ndarray, cropped: list[Box | None]) -> dict[str, np.ndarray]:
    """Boxes of the masks of films `rows` in the film and in its frame, `cropped`: float (n, 4) each, else NaN."""
    in_film, in_frame = np.full((2, len(cropped), 4), np.nan)
    for row, mask in zip(rows, masks, strict=True):
        if box := frames.lung_box(mask / 255):
            in_film[row], in_frame[row] = box, frames.seen_in(box, cropped[row])
    return {"lungs' box in the film": in_film, "lungs' box in the frame": in_frame}


def accuracy(found: np.ndarray, truth: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and 5th percentile of Dice and box overlap by split and class; found, truth: (n, 48, 48) in [0, 1]."""
    a, b = (masks.reshape(len(rows), -1) >= 0.5 for masks in (found, truth))
    dice = 2 * (a & b).sum(axis=1) / np.maximum(a.sum(axis=1) + b.sum(axis=1), 1)
    iou = [
        frames.iou(one, other) if one and other else 0.0
        for one, other in zip(boxes(found), boxes(truth.astype(np.float64)), strict=True)
    ]
    table = pd.DataFrame({"split": rows.split.to_numpy(), "class": np.where(rows.label == 1, "PNEUMONIA", "NORMAL")})
    by = table.assign(dice=dice, iou=iou).groupby(["split", "class"], sort=False)
    low = by[["dice", "iou"]].quantile(0.05).add_suffix("_p5")
    return by.size().rename("films").to_frame().join(by[["dice", "iou"]].mean()).join(low).reset_index()
