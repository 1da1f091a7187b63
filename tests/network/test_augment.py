"""Augmentation: every image once with its label, the same at every run, grey levels in range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xraylib.network import augment
from xraylib.network.backend import tf

SEED = tf.constant([0, 0])
NOISE = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1)).astype(np.float32)
RAMP = np.linspace(0, 255, 256, dtype=np.float32).reshape(1, 16, 16, 1)


def amounts_of(n=1, **changed):
    zeros = {name: tf.zeros((augment.DRAWS.get(name, 1), n)) for name in augment.RANGES}
    return zeros | {name: tf.zeros_like(zeros[name]) + value for name, value in changed.items()}


def test_each_epoch_holds_each_row_at_most_once_in_another_order():
    rows = np.arange(100, 137)
    order = augment.shuffled(rows, 8, epochs=2, seed=0)
    assert order.shape == (8, 8)  # 37 rows give 4 whole batches of 8 an epoch
    first, second = order[:4].ravel(), order[4:].ravel()
    assert len(set(first)) == len(set(second)) == 32
    assert set(first) <= set(rows) and not np.array_equal(first, second)
    np.testing.assert_array_equal(order, augment.shuffled(rows, 8, 2, 0))


def test_batches_come_in_order_with_what_was_made_of_their_rows():
    order = np.arange(24).reshape(6, 4)

    def make(step, rows):
        return [tf.constant(rows, tf.float32) + 100 * step, tf.constant(rows[:1], tf.float32)]

    batches = list(augment.dataset(order, make, [(4,), (1,)]))
    np.testing.assert_array_equal(np.stack([a for a, _ in batches]), order + 100 * np.arange(6)[:, None])
    np.testing.assert_array_equal([b[0] for _, b in batches], order[:, 0])


def test_a_share_of_films_is_mixed_with_a_partner_mirrored_or_not_and_no_share_changes_nothing():
    images = np.uint8([[[0, 0]], [[120, 200]]])  # a black film, so that a mixed one shows its partner alone
    rows, partners = np.zeros(400, int), [np.array([1])] * 400
    for unchanged in ((partners, 0), ([np.array([], int)] * 400, 1)):
        np.testing.assert_array_equal(augment.mix(images, rows, *unchanged, [0, 0]), images[rows])
    left, right = augment.mix(images, rows, partners, 0.5, [0, 0])[:, 0].T
    mixed = left > 0
    assert 150 < mixed.sum() < 250 and 0.3 < (left > right)[mixed].mean() < 0.7
    np.testing.assert_allclose(np.minimum(left, right), 0.6 * np.maximum(left, right), rtol=1e-5)
    assert np.maximum(left, right)[mixed].min() == pytest.approx(40, abs=5)  # a fifth of the partner at least


def test_nothing_drawn_changes_nothing_and_what_is_left_out_is_not_drawn():
    amounts = augment.draw(3, SEED, tuple(augment.RANGES))
    np.testing.assert_allclose(augment.exposed(augment.posed(NOISE, amounts), amounts, SEED), NOISE, atol=0.05)
    amounts = augment.draw(5, SEED, ("zoom", "tone"))
    assert not np.any(amounts["zoom"]) and not np.any(amounts["tone"]) and np.any(amounts["rotation"])


def test_a_seed_gives_the_same_bits_and_another_seed_others():
    first, again, other = (augment.augment(NOISE, tf.constant([0, step])).numpy() for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**30), st.integers(0, 255))
def test_grey_levels_stay_in_range(seed, grey):
    x = augment.augment(tf.fill((3, 16, 16, 1), float(grey)), tf.constant([seed, 0])).numpy()
    assert x.min() >= 0 and x.max() <= 255


def test_a_flip_mirrors_a_quarter_turn_turns_and_a_translation_moves_by_its_share_of_the_side():
    np.testing.assert_allclose(augment.posed(NOISE, amounts_of(3, flip=-1)), NOISE[:, :, ::-1], atol=1e-3)
    turned = augment.posed(NOISE, amounts_of(3, rotation=90)).numpy()
    assert min(np.abs(turned - np.rot90(NOISE, k, axes=(1, 2))).max() for k in (1, 3)) < 0.1
    moved = augment.posed(NOISE, amounts_of(3, translation=0.125)).numpy()
    np.testing.assert_allclose(moved[:, :-2, :-2], NOISE[:, 2:, 2:], atol=0.01)


@pytest.mark.parametrize("changed", [{"contrast": -0.4}, {"gamma": 0.3}, {"tone": np.linspace(-0.8, 0.8, 8)[:, None]}])
def test_exposure_keeps_the_order_of_grey_levels_and_a_tone_curve_keeps_black_and_white(changed):
    grey = augment.exposed(RAMP, amounts_of(**changed), SEED).numpy().ravel()
    assert (np.diff(grey) > 0).all() and np.abs(grey - RAMP.ravel()).max() > 5
    assert "contrast" in changed or grey[[0, -1]] == pytest.approx([0, 255], abs=0.1)


def test_sharpness_of_the_smallest_details_is_what_one_blur_removes():
    x = NOISE[..., 0] / 255
    amounts = tf.constant(np.log([2.0, 1.0, 1.0])[:, None, None, None], tf.float32)
    kernel = np.array([1, 2, 1]) / 4
    blurred = ndimage.convolve1d(ndimage.convolve1d(x, kernel, 1, mode="reflect"), kernel, 2, mode="reflect")
    np.testing.assert_allclose(augment._sharpened(tf.constant(x), amounts), x + (x - blurred), atol=1e-5)
