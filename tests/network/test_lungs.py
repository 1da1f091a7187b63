"""The locator: learns where lungs are, is trained once, and its error is what it is by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib.config import load_config
from xraylib.data import frames
from xraylib.files import UserError
from xraylib.network import lungs


def films_with_lungs(n=64, size=64):
    """Films with a dark rectangle, the lungs, at random places: uint8 films and masks."""
    rng = np.random.default_rng(0)
    films = rng.integers(150, 200, (n, size, size)).astype(np.uint8)
    masks = np.zeros((n, size, size), np.uint8)
    for film, mask in zip(films, masks, strict=True):
        top, left = rng.integers(4, 24, 2)
        film[top : top + 32, left : left + 30] = rng.integers(20, 60, (32, 30))
        mask[top : top + 32, left : left + 30] = 255
    return films, masks


@pytest.fixture(scope="module")
def trained():
    films, masks = films_with_lungs()
    config = dataclasses.replace(load_config("sample", {}), batch_size=8, locator_epochs=4)
    small = np.stack([frames.shrink(mask, lungs.MASK) for mask in masks])
    return lungs.train(films, small, config), films, small


def test_the_locator_learns_where_the_lungs_are(trained):
    network, films, masks = trained
    found = lungs.locate(network, films)
    assert found.shape == masks.shape and found.dtype == np.float32
    table = lungs.accuracy(found, masks / 255, pd.DataFrame({"split": "tune", "label": np.arange(len(films)) % 2}))
    assert list(table["class"]) == ["NORMAL", "PNEUMONIA"] and list(table.films) == [32, 32]
    assert table.dice.min() > 0.8 and table.iou.min() > 0.7


def test_a_film_and_its_mirror_image_are_located_alike(trained):
    network, films, _ = trained
    small = np.stack([frames.shrink(film) for film in films[:4]])  # at the locator's size, which is not resized
    found, mirrored = lungs.locate(network, small), lungs.locate(network, small[:, :, ::-1])
    np.testing.assert_allclose(found, mirrored[:, :, ::-1], atol=1e-4)


def test_accuracy_by_hand():
    truth = np.zeros((2, 48, 48))
    truth[:, 8:40, 8:40] = 1
    found = truth.copy()
    found[0, :, 24:] = 0  # the left half: Dice 2 * .5 / 1.5
    table = lungs.accuracy(found, truth, pd.DataFrame({"split": "test", "label": [0, 1]}))
    assert table.dice.tolist() == pytest.approx([2 / 3, 1]) and table.iou[1] == pytest.approx(1)


def test_a_film_without_lungs_is_taken_whole():
    film = np.random.default_rng(0).integers(0, 255, (1, 40, 40)).astype(np.uint8)
    found = lungs.boxes(np.zeros((1, 48, 48)))
    assert found == [None]
    np.testing.assert_array_equal(lungs.cut(film, found, 40, stretch=False), film)


def test_masks_are_found_by_the_films_names(config, tmp_path):
    masked = dataclasses.replace(config, masks=tmp_path)
    (tmp_path / "train").mkdir()
    Image.fromarray(np.uint8(255) * np.eye(64, dtype=np.uint8)).save(tmp_path / "train" / "a.png")
    masks, rows = lungs.load_masks(masked, pd.DataFrame({"path": ["train/b.jpeg", "train/a.jpeg"]}))
    assert rows.tolist() == [1] and masks.shape == (1, 48, 48)
    without = lungs.load_masks(dataclasses.replace(config, masks=None), pd.DataFrame({"path": ["train/a.jpeg"]}))
    assert [len(part) for part in without] == [0, 0]
    (tmp_path / "train" / "b.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"b.png: no image"):
        lungs.load_masks(masked, pd.DataFrame({"path": ["train/b.jpeg"]}))


def test_a_folder_without_masks_is_named(config, tmp_path, world):
    with pytest.raises(UserError, match=r"empty: 0 lung masks of films of train\. Wanted 8 .*MASKS="):
        lungs.locator(world[2], world[1], dataclasses.replace(config, masks=tmp_path / "empty"))
