"""Frames: the box follows the lungs, and position, size and exposure leave no trace in a frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xraylib.data import frames


def mask_of(left, top, right, bottom, side=100):
    mask = np.zeros((side, side), np.float32)
    mask[top:bottom, left:right] = 1
    return mask


def test_the_box_leaves_one_percent_of_the_mass_on_each_side():
    # 50 columns and 40 rows of equal mass: 1 % of them is half a column and .4 of a row
    left, top, right, bottom = frames.lung_box(mask_of(20, 30, 70, 70))
    assert (left, right) == pytest.approx((0.205, 0.695))
    assert (top, bottom) == pytest.approx((0.304, 0.696))


def test_faint_probabilities_do_not_move_the_box():
    mask = mask_of(20, 30, 70, 70)
    faint = np.where(mask == 0, 0.29, mask)
    assert frames.lung_box(faint) == frames.lung_box(mask)


@pytest.mark.parametrize("mask", [np.zeros((48, 48)), np.full((48, 48), 0.2), mask_of(0, 0, 10, 10)])
def test_a_film_with_hardly_any_lung_has_no_box(mask):
    assert frames.lung_box(mask) is None


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(30, 60), st.integers(30, 60))
def test_a_frame_does_not_tell_where_the_lungs_lie_in_the_film(left, top, width, height):
    pattern = np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)
    film = np.full((100, 100), 7, np.uint8)
    inside = np.repeat(np.repeat(pattern, -(-height // 8), axis=0), -(-width // 8), axis=1)
    height, width = (min(inside.shape[0], 100 - top), min(inside.shape[1], 100 - left))
    film[top : top + height, left : left + width] = inside[:height, :width]
    box = (left / 100, top / 100, (left + width) / 100, (top + height) / 100)
    cut = frames.frame(film, box, 64, stretch=False)
    alone = frames.frame(inside[:height, :width], None, 64, stretch=False)
    assert np.abs(cut.astype(int) - alone)[12:-12, 12:-12].max() <= 1


@settings(deadline=None, max_examples=30)
@given(st.floats(0.3, 1.5), st.integers(-40, 40))
def test_exposure_leaves_no_trace_in_a_frame(contrast, brightness):
    film = np.random.default_rng(0).integers(90, 160, (64, 64))
    exposed = np.clip((film - 125) * contrast + 125 + brightness, 0, 255).astype(np.uint8)
    plain = frames.frame(film.astype(np.uint8), None, 64)
    assert np.abs(frames.frame(exposed, None, 64).astype(int) - plain).mean() < 6
    assert not frames.frame(np.full((50, 60), brightness % 256, np.uint8), None, 16).any()  # one grey level: black


def test_overlap_by_hand():
    # two unit squares, shifted by half: .5 of 1.5
    assert frames.iou((0, 0, 1, 1), (0.5, 0, 1.5, 1)) == pytest.approx(1 / 3)
    assert frames.iou((0, 0, 0.2, 0.2), (0.5, 0.5, 1, 1)) == 0


def test_a_box_seen_in_its_own_frame_is_the_whole_frame():
    box = (0.2, 0.1, 0.7, 0.9)
    assert frames.seen_in(box, box) == pytest.approx((0, 0, 1, 1))
    assert frames.seen_in(box, None) == box
