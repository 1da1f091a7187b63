"""Decoded films: index -> one uint8 array on disk; each file is decoded once, on all cores."""

import hashlib
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from xraylib.config import Config
from xraylib.data import decode, dicom
from xraylib.data.index import WORKERS, find_root
from xraylib.files import UserError, say, write_array, write_table

CODE = hashlib.sha256("".join(map(inspect.getsource, (decode, dicom))).encode()).hexdigest()


def load_images(config: Config, index: pd.DataFrame) -> np.ndarray:
    """The decoded films, uint8 (len(index), film_size, film_size), memory-mapped, in the index's order.

    Kept in config.build/images.npy with images.csv, which names the file of each row and the code that decoded it by
    their hashes; only new and changed files are decoded again. Shows progress and says how many films a second were
    decoded. Raises UserError where a file cannot be read.
    """
    array, rows = config.build / "images.npy", config.build / "images.csv"
    kept = _kept(array, rows, config.film_size)
    if kept == list(index.sha256):
        return np.load(array, mmap_mode="r")
    started = time.monotonic()
    is_kept = index.sha256.isin(kept).to_numpy()
    films = np.empty((len(index), config.film_size, config.film_size), np.uint8)
    if is_kept.any():
        row_of = {digest: row for row, digest in enumerate(kept)}
        films[is_kept] = np.load(array, mmap_mode="r")[index.sha256[is_kept].map(row_of)]
    _decode_into(films, np.flatnonzero(~is_kept), config, index)
    rows.unlink(missing_ok=True)  # until both files are whole, neither is believed
    write_array(films, array)
    write_table(index[["sha256"]].assign(code=CODE), rows)
    n, seconds = (~is_kept).sum(), time.monotonic() - started
    say(f"decoded {n:,} films, {n / seconds:.0f} a second; {is_kept.sum():,} were decoded before")
    return np.load(array, mmap_mode="r")


def _decode_into(films: np.ndarray, rows: np.ndarray, config: Config, index: pd.DataFrame) -> None:
    root = find_root(config.data)

    def fill(row: int) -> None:
        path = root / index.path.iloc[row]
        try:
            films[row] = decode.read(path, config.film_size).pixels
        except Exception as error:  # whatever a decoder raises
            raise UserError(
                f"{path}: can't be read ({type(error).__name__}), though it could when notebook 01_explore indexed it. "
                "Put it back, or run that notebook again: make reproduce"
            ) from error

    with ThreadPoolExecutor(WORKERS) as pool:
        list(tqdm(pool.map(fill, rows), "decoding films", len(rows), unit="film", delay=5, mininterval=2))


def _kept(array: Path, rows: Path, size: int) -> list[str]:
    """Hashes of the films in the array, in its order; none where it is missing, damaged, or of another size or code."""
    try:
        shape = np.load(array, mmap_mode="r").shape
        kept = pd.read_csv(rows)
        return list(kept.sha256) if shape == (len(kept), size, size) and (kept.code == CODE).all() else []
    except (OSError, EOFError, ValueError, AttributeError):  # decoding again costs seconds
        return []
