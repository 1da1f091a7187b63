"""Batches hold every image once, with its own label, and are the same at every run."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xraylib.network import augment
from xraylib.network.backend import tf


@pytest.fixture
def labelled(config):
    """Images of one grey level each, which tells the label: 60 is 0 and 180 is 1."""
    labels = np.arange(37) % 2
    images = (
        np.full((37, config.image_size, config.image_size), 60, np.uint8)
        + (120 * labels).astype(np.uint8)[:, None, None]
    )
    return images, labels


def gather(dataset):
    return [np.concatenate(parts) for parts in zip(*((x.numpy(), y.numpy()) for x, y in dataset), strict=True)]


def test_an_image_keeps_its_label_and_comes_once(labelled, config):
    images, labels = labelled
    x, y = gather(augment.batches(images, np.arange(len(images)), labels, config, seed=0, epoch=1))
    assert x.shape == (32, config.input_size, config.input_size, 1)  # four whole batches of eight
    centre = x[:, 12:20, 12:20].mean(axis=(1, 2, 3))
    assert centre[y[:, 0] == 1].mean() > centre[y[:, 0] == 0].mean() + 60
    assert abs(y.sum() - 16) <= 5


def test_the_same_epoch_gives_the_same_bits_and_another_does_not(labelled, config):
    images, labels = labelled
    rows = np.arange(len(images))
    first, again, other = (
        gather(augment.batches(images, rows, labels, config, seed=0, epoch=epoch))[0] for epoch in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_epoch_traces_nothing_and_ends_without_waiting_for_the_tuner(labelled, config):
    images, labels = labelled
    rows = np.arange(len(images))
    traced = set()
    for epoch in (1, 2, 3):
        dataset = augment.batches(images, rows, labels, config, seed=0, epoch=epoch)
        gather(dataset)
        traced.add(augment.augment.experimental_get_tracing_count())
        assert dataset.options().autotune.enabled is False
    assert len(traced) == 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**30), st.integers(0, 255))
def test_augmented_pixels_stay_in_range(seed, grey):
    images = tf.fill((3, 16, 16, 1), float(grey))
    x = augment.augment(images, tf.constant([seed, 0]), 8).numpy()
    assert x.shape == (3, 8, 8, 1)
    assert x.min() >= 0
    assert x.max() <= 255


def test_images_of_a_batch_are_varied_each_in_its_own_way(config):
    same = tf.tile(tf.random.stateless_uniform((1, 32, 32, 1), [1, 2], 0, 255), (4, 1, 1, 1))
    x = augment.augment(same, tf.constant([0, 0]), 32).numpy()
    assert all(np.abs(x[i] - x[j]).mean() > 1 for i in range(4) for j in range(i))


def test_too_few_images_for_a_batch_give_none(labelled, config):
    images, labels = labelled
    assert not list(augment.batches(images, np.arange(5), labels, dataclasses.replace(config, batch_size=8), 0, 1))


def test_only_the_rows_asked_for_are_drawn_also_from_a_file(labelled, config, tmp_path):
    images, labels = labelled
    np.save(tmp_path / "images.npy", images)
    ill = np.flatnonzero(labels)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    x, y = gather(augment.batches(mapped, ill, labels, config, seed=0, epoch=1))
    assert len(y) == len(ill) // config.batch_size * config.batch_size and y.all()
    alone, _ = gather(augment.batches(images[ill], np.arange(len(ill)), labels[ill], config, seed=0, epoch=1))
    np.testing.assert_array_equal(x, alone)


def test_a_warp_turns_and_scales_about_the_middle():
    spot = np.zeros((1, 33, 33, 1), np.float32)
    spot[0, 16, 26] = 100  # ten pixels right of the middle
    for degrees, frame, row, column in ((0, 1, 16, 26), (90, 1, 6, 16), (0, 2, 16, 21)):
        angle = degrees * np.pi / 180
        seen = augment._warp(tf.constant(spot), 33, angle, frame, frame, 1.0, 0.0, 0.0).numpy()[0, :, :, 0]
        assert seen[row, column] == pytest.approx(100, abs=1)
        assert seen.argmax() == row * 33 + column


def test_a_prediction_sees_a_film_a_little_tighter_about_its_middle():
    ramp = np.broadcast_to(np.arange(101, dtype=np.float32)[None, None, :, None], (1, 101, 101, 1))
    seen = augment.view(tf.constant(ramp), 101).numpy()[0, :, :, 0]
    np.testing.assert_allclose(seen, np.broadcast_to(50 + augment.FRAME * np.arange(-50, 51), (101, 101)), atol=1e-3)
    low, high = np.exp(augment.AMOUNTS["frame"])
    assert low < augment.FRAME < high  # as training framed them


def test_a_view_of_fewer_pixels_shows_the_whole_film():
    # corners of 2 x 2 blocks: bilinear sampling in the middle of each block gives its mean
    film = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    seen = augment.view(tf.constant(film), 4, frame=1).numpy()[0, :, :, 0]
    np.testing.assert_allclose(seen, film.reshape(4, 2, 4, 2).mean(axis=(1, 3)), rtol=1e-6)


def test_a_tighter_frame_enlarges_each_side_by_its_own():
    y, x = np.mgrid[:65, :65] - 32
    film = tf.constant((100.0 * ((abs(x) <= 8) & (abs(y) <= 8)))[None, :, :, None], tf.float32)
    seen = augment._warp(film, 65, 0.0, 0.5, 1.0, 1.0, 0.0, 0.0).numpy()[0, :, :, 0] > 50
    assert (seen.sum(axis=1).max(), seen.sum(axis=0).max()) == pytest.approx((34, 17), abs=2)  # twice as wide, as high


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**30))
def test_a_tone_curve_increases_from_black_to_white_and_bends_otherwise_for_each_film(seed):
    ramp = np.tile(np.linspace(0, 1, 65, dtype=np.float32).reshape(1, 5, 13), (4, 1, 1))
    amounts = augment._draw(4, tf.constant([seed, 0]), ())["tone"][..., None, None]
    toned = augment._vary_tone(tf.constant(ramp), amounts).numpy().reshape(4, -1)
    steps = np.diff(toned, axis=1)
    assert (steps > 0).all()
    np.testing.assert_allclose(toned[:, [0, -1]], [[0, 1]] * 4, atol=1e-5)
    bends = np.abs(np.diff(steps, axis=1)) > 1e-5  # only at knots, every eighth of 64 steps
    assert not bends[:, [i for i in range(63) if (i + 1) % 8]].any()
    assert all(np.abs(toned[i] - toned[j]).max() > 1e-3 for i in range(4) for j in range(i))


@pytest.mark.parametrize("name", augment.INGREDIENTS)
def test_an_ingredient_left_out_is_left_out_and_no_other(name):
    """Alone, each ingredient changes the film; with all left out the film stays as it is."""
    film = tf.tile(tf.random.stateless_uniform((1, 32, 32, 1), [1, 2], 60, 190), (8, 1, 1, 1))
    seed = tf.constant([0, 0])
    every = augment.augment(film, seed, 32, augment.INGREDIENTS).numpy()
    np.testing.assert_allclose(every, film, atol=0.01)
    alone = augment.augment(film, seed, 32, tuple(one for one in augment.INGREDIENTS if one != name)).numpy()
    assert np.abs(alone - every).max() > 1
    without = augment.augment(film, seed, 32, (name,)).numpy()
    assert np.abs(without - augment.augment(film, seed, 32).numpy()).max() > 1


def blurred(x, times):
    for _ in range(times):
        x = ndimage.convolve(x, np.outer([1, 2, 1], [1, 2, 1])[None] / 16, mode="nearest")
    return x


def test_details_are_what_blurs_take_away():
    x = np.random.default_rng(0).random((2, 25, 25)).astype(np.float32)
    amounts = np.random.default_rng(1).normal(size=(3, 2, 1, 1)).astype(np.float32)
    blurs = [x, *(blurred(x, times) for times in (1, 4, 16))]
    wanted = blurs[-1] + sum(np.exp(amounts[k]) * (blurs[k] - blurs[k + 1]) for k in range(3))
    assert augment.DETAILS == (1, 4, 16)
    np.testing.assert_allclose(augment._vary_sharpness(tf.constant(x), tf.constant(amounts)), wanted, atol=1e-5)


def test_sharpness_changes_fine_and_coarse_details_apart_and_no_mean():
    _, x = np.mgrid[:64, :64]
    waves = [0.5 + 0.1 * np.sin(2 * np.pi * x / length) for length in (4, 16)]
    amounts = augment._draw(200, tf.constant([0, 0]), ())["sharpness"][..., None, None]
    both = tf.constant(np.tile((waves[0] + waves[1] - 0.5)[None], (200, 1, 1)), tf.float32)
    varied = augment._vary_sharpness(both, amounts).numpy()
    np.testing.assert_allclose(varied.mean(axis=(1, 2)), 0.5, atol=0.01)
    fine, coarse = (np.abs(np.fft.fft(varied[:, 32], axis=1))[:, 64 // length] for length in (4, 16))
    for amplitude in (fine, coarse):
        assert amplitude.max() / amplitude.min() > 1.5
    assert abs(np.corrcoef(fine, coarse)[0, 1]) < 0.8


def test_amounts_are_drawn_evenly_between_their_ends_each_by_itself():
    amounts = augment._draw(4000, tf.constant([3, 4]), ("tone",))
    assert {name: len(amount) for name, amount in amounts.items() if len(amount) > 1} == augment.TIMES
    assert not np.any(amounts.pop("tone"))
    rows = []
    for name, amount in amounts.items():
        low, high = augment.AMOUNTS[name]
        rows += list((amount.numpy() - low) / (high - low))
    shares = np.stack(rows)
    assert shares.min() >= 0 and shares.max() <= 1
    for share in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(np.quantile(shares, share, axis=1), share, atol=0.03)
    assert np.abs(np.corrcoef(shares) - np.eye(len(rows))).max() < 0.07  # 4.4 SD of no correlation


def test_noise_is_even_and_no_pixel_tells_another():
    noise = augment._noise((2, 64, 64), tf.constant([1, 2])).numpy()
    assert len(np.unique(noise)) == 256
    assert (noise.min(), noise.max()) == (-1, 1)
    assert noise.mean() == pytest.approx(0, abs=0.03)
    assert noise.std() == pytest.approx(1 / np.sqrt(3), abs=0.02)
    assert np.abs(np.corrcoef(noise.reshape(-1, 4).T) - np.eye(4)).max() < 0.1  # the four of one number drawn
    assert augment._noise((1, 5, 3), tf.constant([1, 2])).shape == (1, 5, 3)
