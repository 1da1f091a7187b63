"""The locator learns where lungs are, and is trained on masks of train alone."""

from dataclasses import replace

import numpy as np
import pytest

from xraylib.data import frames
from xraylib.files import UserError
from xraylib.network import locator


@pytest.fixture(scope="module")
def films():
    """Films with a dark rectangle, the lungs, at random places: uint8 films (64, 96, 96) and masks (64, 48, 48)."""
    rng = np.random.default_rng(0)
    films = rng.integers(150, 200, (64, 96, 96)).astype(np.uint8)
    masks = np.zeros((64, 48, 48), np.uint8)
    for film, mask in zip(films, masks, strict=True):
        top, left = rng.integers(3, 18, 2)
        film[2 * top : 2 * top + 48, 2 * left : 2 * left + 44] = rng.integers(20, 60, (48, 44))
        mask[top : top + 24, left : left + 22] = 255
    return films, masks


def test_the_locator_learns_where_the_lungs_are_and_sees_mirror_images_alike(config, films):
    films, masks = films
    network = locator.train(films, masks, replace(config, locator_epochs=4))
    lungs = locator.locate(network, films)
    assert lungs.shape == masks.shape and lungs.dtype == np.float32
    overlap = ((lungs >= 0.5) & (masks > 127)).sum(axis=(1, 2))
    dice = 2 * overlap / ((lungs >= 0.5).sum(axis=(1, 2)) + (masks > 127).sum(axis=(1, 2)))
    assert dice.mean() > 0.8
    mirrored = locator.locate(network, films[:4, :, ::-1])
    np.testing.assert_allclose(lungs[:4], mirrored[:, :, ::-1], atol=1e-4)
    assert all(frames.lung_box(mask) for mask in lungs)


def test_a_folder_without_masks_is_named(config, tmp_path, world, capsys):
    with pytest.raises(UserError, match="0 films to learn from"):
        locator.load_or_train(world[2], world[1], replace(config, masks=tmp_path / "empty"))
    assert f"0 masks of the train split in {tmp_path / 'empty'}" in capsys.readouterr().out
