"""Lungs in films: masks, the boxes around them, and the frames cut by these. Without masks, the locator finds them."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from xraylib.config import Config
from xraylib.data import frames
from xraylib.data.frames import MASK, Box
from xraylib.files import UserError, say, write_array, write_table


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


def boxes(masks: np.ndarray) -> list[Box | None]:
    """The box of the lungs of each mask, (n, 48, 48) in [0, 1]; None where no lungs are found."""
    return [frames.lung_box(mask) for mask in masks]


def film_boxes(films: np.ndarray, index: pd.DataFrame, config: Config) -> list[Box | None]:
    """The box of the lungs in each film, uint8 (n, h, w), from its mask; without any masks, by the released locator."""
    masks, rows = load_masks(config, index)
    if not len(rows):
        from xraylib.network import locator  # here: with masks, TensorFlow is not needed

        return boxes(locator.locate(locator.load(), films))
    of_row = dict(zip(rows, boxes(masks / 255), strict=True))
    return [of_row.get(row) for row in range(len(index))]


def cut(films: np.ndarray, lung_boxes: list[Box | None], size: int, stretch: bool = True) -> np.ndarray:
    """The frames of films, uint8 (n, size, size); a film without a box is taken whole."""
    return np.stack([frames.frame(film, box, size, stretch) for film, box in zip(films, lung_boxes, strict=True)])


def masks_in_frames(masks: np.ndarray, lung_boxes: list[Box | None], config: Config) -> np.ndarray:
    """Masks, bool (n, h, w), as the frames of their films show them: bool (n, size, size)."""
    return cut(np.uint8(255) * masks, lung_boxes, config.image_size, stretch=False) >= 128


def store(images: np.ndarray, masks: np.ndarray, config: Config) -> None:
    """Keep what notebook 02 cut and found for `load_frames`."""
    write_array(images, config.build / "frames.npy")
    write_array(masks, config.build / "lungs.npy")


def load_frames(config: Config, index: pd.DataFrame, name: str = "frames.npy") -> np.ndarray:
    """What notebook 02 cut, uint8 (len(index), size, size), or with name "lungs.npy" found, float32 (n, 48, 48).

    UserError where it is not there yet.
    """
    path, n, remedy = config.build / name, len(index), "Run notebook 02_train, or: make reproduce"
    if not path.exists():
        raise UserError(f"{path}: not there. {remedy}")
    array = np.load(path, mmap_mode="r")
    if len(array) != n:
        raise UserError(f"{path}: {len(array):,} films, wanted {n:,}. {remedy}")
    return array


def report_films_without_lungs(rows: pd.DataFrame, config: Config) -> None:
    """Add the index's rows of films without recognisable lungs to skipped.csv, and say how many there are."""
    path = config.results / "skipped.csv"
    skipped = pd.read_csv(path, keep_default_na=False)
    new = rows.assign(reason="no lungs found")[list(skipped.columns)]
    write_table(pd.concat([skipped[skipped.reason != "no lungs found"], new], ignore_index=True), path)
    say(f"{len(rows)} films without recognisable lungs: left out of training, taken whole in test")


def framing_properties(masks: np.ndarray, rows: np.ndarray, cropped: list[Box | None]) -> dict[str, np.ndarray]:
    """Boxes of the masks of films `rows` in the film and in its frame, `cropped`: float (n, 4) each, else NaN."""
    in_film, in_frame = np.full((2, len(cropped), 4), np.nan)
    for row, box in zip(rows, boxes(masks / 255), strict=True):
        if box:
            in_film[row], in_frame[row] = box, frames.seen_in(box, cropped[row])
    return {"lungs' box in the film": in_film, "lungs' box in the frame": in_frame}
