"""Decoded images: index -> one uint8 array on disk, decoded once on all cores and memory-mapped afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from xraylib.config import Config
from xraylib.data.decode import read
from xraylib.data.index import CHUNK, WORKERS, find_root
from xraylib.files import UserError, atomic, write_table


def load_images(config: Config, index: pd.DataFrame) -> np.ndarray:
    """The decoded images, uint8 (len(index), film_size, film_size), memory-mapped, in the index's order.

    Kept in config.build/images.npy with images.csv, which says what row holds which file (by hash); only files that are
    new or changed are decoded again. Shows progress and says how many images a second were decoded.
    """
    array, rows = config.build / "images.npy", config.build / "images.csv"
    kept = _kept(array, rows, config.film_size)
    if kept == list(index.sha256):
        return np.load(array, mmap_mode="r")
    at_hand = {digest: row for row, digest in enumerate(kept)}
    todo = [i for i, digest in enumerate(index.sha256) if digest not in at_hand]
    old = np.load(array, mmap_mode="r") if at_hand else np.empty(0)
    rows.unlink(missing_ok=True)  # from here until both files are whole, neither is believed
    started = time.monotonic()
    with atomic(array) as temporary:
        new = _blank(temporary, (len(index), config.film_size, config.film_size))
        for i, digest in enumerate(index.sha256):
            if digest in at_hand:
                new[i] = old[at_hand[digest]]
        _decode_into(new, todo, find_root(config.data), index, config.film_size)
        new.flush()
    write_table(index[["sha256"]].assign(size=config.film_size), rows)
    seconds = time.monotonic() - started
    print(f"decoded {len(todo):,} images, {len(todo) / seconds:.0f} a second; {len(index) - len(todo):,} were at hand")
    return np.load(array, mmap_mode="r")


def _blank(path: Path, shape: tuple[int, int, int]) -> np.memmap:
    """A new array file, mapped for writing.

    It is written in full first: where a disk is full, a write says so, and a mapped page would kill the process.
    """
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for _ in range(shape[0]):
            file.write(bytes(shape[1] * shape[2]))
    return np.load(path, mmap_mode="r+")


def _decode_into(array: np.ndarray, rows: list[int], root: Path, index: pd.DataFrame, size: int) -> None:
    def fill(row: int) -> None:
        path = root / index.path.iloc[row]
        try:
            array[row] = read(path, size).pixels
        except Exception as error:  # whatever a decoder raises
            raise UserError(
                f"{path}: can't be read ({type(error).__name__}), though it could when notebook 01_explore indexed it. "
                "Put it back, or run that notebook again: make reproduce"
            ) from error

    bar = tqdm(total=len(rows), desc="decoding images", unit="film", delay=5, mininterval=2)
    with bar, ThreadPoolExecutor(WORKERS) as pool:
        for i in range(0, len(rows), CHUNK):
            for _ in pool.map(fill, rows[i : i + CHUNK]):
                bar.update()


def _kept(array: Path, rows: Path, size: int) -> list[str]:
    """Hashes of the images in the array, in its order; none where it is missing, damaged or of another size."""
    try:
        shape = np.load(array, mmap_mode="r").shape
        kept = pd.read_csv(rows)
        return list(kept.sha256) if shape == (len(kept), size, size) else []
    except (OSError, EOFError, ValueError, AttributeError):  # decoding again costs seconds
        return []
