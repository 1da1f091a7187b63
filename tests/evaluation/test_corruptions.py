"""Each corruption does what its name says, more of it at a higher severity, and the same at every run."""

import numpy as np
import pytest

from xraylib.evaluation.corruptions import CORRUPTIONS, corrupt

GRADED = [name for name in CORRUPTIONS if name != "inverted"]


@pytest.fixture
def films():
    """Two smooth discs on a ramp, uint8 (2, 64, 64)."""
    y, x = np.mgrid[:64, :64]
    one = 60 + x + 60 * ((x - 24) ** 2 + (y - 30) ** 2 < 150)
    return np.stack([one, one[:, ::-1]]).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shape_and_type_stay_and_the_seed_decides(name, films):
    changed = corrupt(films, name, 1)
    assert (changed.shape, changed.dtype) == (films.shape, np.uint8)
    assert (changed != films).any()
    assert (changed == corrupt(films, name, 1)).all()
    assert (corrupt(films, name, 0) == films).all()


@pytest.mark.parametrize("name", GRADED)
def test_severity_grows(name, films):
    far = [np.abs(corrupt(films, name, severity).astype(float) - films).mean() for severity in (1, 2, 3)]
    assert far[0] < far[1] < far[2]


def test_what_each_does_is_what_it_says(films):
    flat = np.full((1, 50, 50), 100, np.uint8)
    assert (corrupt(flat, "brighter", 2) == 150).all()
    assert (corrupt(flat, "darker", 1) == 75).all()
    assert (corrupt(films, "inverted", 1) == 255 - films).all()
    assert corrupt(films, "contrast", 2).std() == pytest.approx(films.std() / 2, rel=0.02)
    assert (corrupt(np.full((9, 64, 64), 128, np.uint8), "noise", 2) - 128.0).std() == pytest.approx(16, rel=0.05)
    moved = corrupt(np.eye(50, dtype=np.uint8)[None] * 200, "shift", 2)[0]  # 8 % of 50 pixels: 4
    assert {(y, x) for y, x in np.argwhere(moved > 100)} <= {
        (i + a, i + b) for i in range(50) for a in (-4, 4) for b in (-4, 4)
    }
    marked = corrupt(np.zeros((1, 50, 50), np.uint8), "marker", 2)[0]
    assert (marked == 250).sum() == 8 * 4  # 16 % wide, half as high


def test_values_never_wrap_around():
    white = np.full((1, 32, 32), 250, np.uint8)
    assert (corrupt(white, "brighter", 3) == 255).all()
    assert (corrupt(255 - white, "darker", 3) == 0).all()
