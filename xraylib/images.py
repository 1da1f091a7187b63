"""Decoded images: index -> one uint8 array on disk, decoded once on all cores and memory-mapped afterwards."""

from __future__ import annotations

import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from xraylib.config import Config
from xraylib.files import whole, write_table
from xraylib.index import find_root


def decode(path: Path, size: int) -> np.ndarray:
    """One image as grey levels: uint8 (size, size).

    A JPEG is decoded at the smallest scale (1, 1/2, 1/4, 1/8) that keeps twice the wanted size, which costs a fraction
    of the full decoding and changes 0.6 grey levels on average. The aspect ratio is not kept: it differs between the
    classes (1.21 against 1.50), so that keeping it would hand the network a shortcut that says nothing about lungs.
    Raises OSError where the file is no image or is cut short.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # build_index has bounded the size
        with Image.open(path) as image:
            image.draft("L", (2 * size, 2 * size))
            grey = _grey(ImageOps.exif_transpose(image))
    return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def _grey(image: Image.Image) -> Image.Image:
    """Any mode as "L": 16 bits are scaled to 8, transparency is laid on black as film is."""
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, np.float64)
        top = 65535 if levels.max(initial=0) > 255 else 255
        return Image.fromarray(np.clip(levels * (255 / top), 0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("L")
    return image.convert("L")


def load_images(config: Config, index: pd.DataFrame) -> np.ndarray:
    """The decoded images, uint8 (len(index), image_size, image_size), memory-mapped, in the index's order.

    Kept in config.build/images.npy with images.csv, which says what row holds which file (by hash); only files that are
    new or changed are decoded again. Shows progress and says how many images a second were decoded.
    """
    array, rows = config.build / "images.npy", config.build / "images.csv"
    kept = _kept(array, rows, config.image_size)
    if kept is not None and list(kept.index) == list(index.sha256):
        return np.load(array, mmap_mode="r")
    at_hand = {} if kept is None else {digest: row for row, digest in enumerate(kept.index)}
    todo = [i for i, digest in enumerate(index.sha256) if digest not in at_hand]
    old = np.load(array, mmap_mode="r") if at_hand else None
    rows.unlink(missing_ok=True)  # from here until both files are whole, neither is believed
    started = time.monotonic()
    with whole(array) as temporary:
        shape = (len(index), config.image_size, config.image_size)
        new = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        for i, digest in enumerate(index.sha256):
            if digest in at_hand:
                new[i] = old[at_hand[digest]]
        _decode_into(new, todo, find_root(config.data), index, config.image_size)
        new.flush()
    write_table(index[["sha256"]].assign(size=config.image_size), rows)
    seconds = time.monotonic() - started
    print(f"decoded {len(todo):,} images, {len(todo) / seconds:.0f} a second; {len(index) - len(todo):,} were at hand")
    return np.load(array, mmap_mode="r")


def _decode_into(array: np.ndarray, rows: list[int], root: Path, index: pd.DataFrame, size: int) -> None:
    def fill(row: int) -> None:
        array[row] = decode(root / index.path.iloc[row], size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock
        list(tqdm(pool.map(fill, rows), "decoding images", len(rows), delay=5, mininterval=2))


def _kept(array: Path, rows: Path, size: int) -> pd.DataFrame | None:
    if not (array.exists() and rows.exists()):
        return None
    kept = pd.read_csv(rows)
    return kept.set_index("sha256") if (kept["size"] == size).all() else None
