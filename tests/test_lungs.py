"""Lungs are found where they were drawn, wherever they lie, and letters beside the chest are found as marks."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from xraylib.data import phantom
from xraylib.evaluation import lungs


@pytest.fixture(scope="module")
def drawn():
    """24 phantoms of 96 pixels a side without letters or collimator, and their lungs."""
    items = [phantom.Item("", ("normal", "bacteria", "virus")[i % 3], 3000 + i, 3000 + i) for i in range(24)]
    films = [_film(phantom.shadow(item)[0]) for item in items]
    truth = [Image.fromarray(phantom.lung_fields(item)).resize((96, 96)) for item in items]
    return np.stack(films), np.stack([np.asarray(one) for one in truth])


def _film(attenuation):
    low, high = np.percentile(attenuation, [1, 99.5])
    film = Image.fromarray((255 * np.clip((attenuation - low) / (high - low), 0, 1)).astype(np.uint8))
    return np.asarray(film.resize((96, 96)))


def test_the_lungs_of_phantoms_are_found(drawn):
    films, truth = drawn
    table = lungs.error(lungs.fields(films), truth, np.arange(24) % 3, truth)
    assert (table.dice > 0.65).all()
    assert (table.worst > 0.5).all()
    assert table.images.tolist() == [8, 8, 8]
    np.testing.assert_allclose(table.lesion, table.covered)  # the lungs themselves, taken for lesions


def test_lungs_are_found_where_they_were_moved_to(drawn):
    films, truth = drawn
    moved, at = (np.zeros_like(part) for part in (films, truth))
    moved[:, 10:, :-8], at[:, 10:, :-8] = films[:, :-10, 8:], truth[:, :-10, 8:]
    found = lungs.fields(moved)
    assert lungs.agreement(found, at).mean() > 0.6
    assert lungs.agreement(found, at).mean() > lungs.agreement(found, truth).mean() + 0.1


def test_exposure_does_not_move_the_lungs(drawn):
    films, _ = drawn
    darker = (0.6 * films + 30).astype(np.uint8)
    assert lungs.agreement(lungs.fields(films), lungs.fields(darker)).mean() > 0.93


def test_regions_are_a_partition(drawn):
    films, _ = drawn
    parts = lungs.regions(films)
    assert tuple(parts) == lungs.REGIONS
    assert (sum(part.astype(int) for part in parts.values()) == 1).all()
    assert not parts["border"][:, 20:-20, 20:-20].any()


def test_a_letter_beside_the_chest_is_a_mark_and_little_else_is(drawn):
    films, _ = drawn
    where = lungs.fields(films)
    before = lungs.marks(films, where)
    assert before.mean() < 0.01
    lettered = []
    for film in films:
        image = Image.fromarray(film)
        ImageDraw.Draw(image).text((3, 5), "R", fill=245, font_size=9)
        lettered.append(np.asarray(image))
    lettered = np.stack(lettered)
    letter = lettered.astype(int) - films > 64
    found = (lungs.marks(lettered, where) & letter).sum(axis=(1, 2)) / letter.sum(axis=(1, 2))
    assert found.mean() > 0.9


def test_agreement_by_hand():
    one = np.zeros((3, 2, 2), bool)
    one[:, 0] = True
    other = one.copy()
    other[1], other[2, 0, 0] = ~one[1], False
    np.testing.assert_allclose(lungs.agreement(one, other), [1, 0, 2 / 3])


def test_what_is_hidden_leaves_no_trace_and_the_rest_stays():
    rng = np.random.default_rng(0)
    images = rng.integers(90, 110, (2, 40, 40)).astype(np.uint8)
    hidden = np.zeros(images.shape, bool)
    hidden[:, 10:20, 10:20] = True
    bright = np.where(hidden, 250, images).astype(np.uint8)
    np.testing.assert_array_equal(lungs.without(images, hidden), lungs.without(bright, hidden))
    np.testing.assert_array_equal(lungs.without(bright, hidden)[~hidden], images[~hidden])
    assert 95 <= lungs.without(bright, hidden)[hidden].mean() <= 105
    everything = lungs.without(images, np.ones_like(hidden))
    assert everything.shape == images.shape
