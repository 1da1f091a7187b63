"""Each corruption does what its name says, more of it at a higher severity, and the same at every run."""

import numpy as np
import pytest

from xraylib.evaluation.corruptions import CORRUPTIONS, corrupt


@pytest.fixture
def films():
    """Two smooth discs on a ramp, uint8 (2, 64, 64)."""
    y, x = np.mgrid[:64, :64]
    one = 60 + x + 60 * ((x - 24) ** 2 + (y - 30) ** 2 < 150)
    return np.stack([one, one[:, ::-1]]).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_grows_and_the_same_films_are_corrupted_alike(name, films):
    assert (corrupt(films, name, 0) == films).all()
    changed = [corrupt(films, name, severity) for severity, _ in enumerate(CORRUPTIONS[name].amounts, 1)]
    assert all((images.shape, images.dtype) == (films.shape, np.uint8) for images in changed)
    assert (changed[0] == corrupt(films, name, 1)).all()
    distance = [0.0, *(np.abs(images.astype(float) - films).mean() for images in changed)]
    assert (np.diff(distance) > 0).all()


def test_what_each_does_is_what_it_says(films):
    flat = np.full((1, 50, 50), 100, np.uint8)
    assert (corrupt(flat, "brighter", 2) == 150).all()
    assert (corrupt(flat, "darker", 1) == 75).all()
    assert (corrupt(flat + 150, "brighter", 3) == 255).all()  # grey levels never wrap around
    assert (corrupt(films, "inverted", 1) == 255 - films).all()
    assert corrupt(films, "contrast", 2).std() == pytest.approx(films.std() / 2, rel=0.02)
    assert (corrupt(np.full((9, 64, 64), 128, np.uint8), "noise", 2) - 128.0).std() == pytest.approx(16, rel=0.05)
    moved = corrupt(np.eye(50, dtype=np.uint8)[None] * 200, "shift", 2)[0]  # 8 % of 50 pixels: 4
    y, x = np.nonzero(moved > 100)
    assert set(abs(y - x)) <= {0, 8} and len(y) > 40
    marked = corrupt(np.zeros((1, 50, 50), np.uint8), "marker", 2)[0]
    assert (marked == 250).sum() == 8 * 4  # 16 % wide, half as high
