"""Decoded images: index -> one uint8 array on disk, decoded once on all cores and memory-mapped afterwards."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from xraylib.config import Config
from xraylib.decode import decode
from xraylib.files import whole, write_table
from xraylib.index import find_root


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
