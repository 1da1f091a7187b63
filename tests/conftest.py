"""A world small enough for every test: bright discs are PNEUMONIA, and files lie as Kaggle lays them."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from xraylib.config import Config

SIZE = 32


def draw(rng: np.random.Generator, label: int) -> np.ndarray:
    """A grey noise image, uint8 (SIZE, SIZE), with a bright disc where label is 1."""
    y, x = np.mgrid[:SIZE, :SIZE] - rng.integers(8, 24, 2)[:, None, None]
    return (rng.integers(40, 120, (SIZE, SIZE)) + 100 * label * (x**2 + y**2 < 36)).astype(np.uint8)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """shared(name, make): a folder that make(folder) fills once for all workers; tests change nothing in it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def of(name: str, make: Callable[[Path], None]) -> Path:
        folder, unfinished = base / name, base / f"{name}-unfinished"
        with FileLock(base / f"{name}.lock"):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return of


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> tuple[Path, pd.DataFrame, np.ndarray]:
    """A chest_xray folder of 64 train, 4 val and 16 test images, its index table and its images."""
    root = tmp_path_factory.mktemp("world") / "chest_xray"
    rng = np.random.default_rng(0)
    rows, images = [], []
    for folder, n in (("test", 16), ("train", 64), ("val", 4)):
        for i in range(n):
            label = i % 2
            name = f"person{i}_bacteria_{i}.jpeg" if label else f"IM-{i:04d}-0001.jpeg"
            path = root / folder / ("PNEUMONIA" if label else "NORMAL") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            images.append(draw(rng, label))
            Image.fromarray(images[-1]).save(path, quality=95)
            split = "tune" if folder == "train" and i >= 48 else folder
            subtype, patient = ("normal", "bacteria")[label], f"{folder}{i}"
            rows.append((path.relative_to(root).as_posix(), folder, split, label, subtype, patient, patient))
    columns = ["path", "folder", "split", "label", "subtype", "patient", "sha256"]
    return root, pd.DataFrame(rows, columns=columns), np.stack(images)


@pytest.fixture
def config(world, tmp_path) -> Config:
    """Settings under which both networks train in seconds on the world."""
    homes = {name: tmp_path / name for name in ("results", "plots", "models", "build")}
    return Config(
        profile="sample",
        data=world[0],
        phantoms=True,
        **homes,
        masks=None,
        seeds=(0,),
        film_size=SIZE,
        image_size=SIZE,
        batch_size=8,
        epochs=3,
        published_steps=8,
        published_validation_steps=4,
    )


@pytest.fixture
def folder(world, tmp_path, config) -> tuple[Path, Config]:
    """A copy of the world that a test may spoil, and the settings that name it."""
    root = shutil.copytree(world[0], tmp_path / "chest_xray")
    return root, dataclasses.replace(config, data=root, tune_folds=4)
