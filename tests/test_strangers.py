"""Images of other kinds are what they say, and the table counts them rightly."""

import dataclasses

import numpy as np
import pytest

from xraylib.data import phantom
from xraylib.data.images import decode
from xraylib.predict import outliers, strangers


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Phantoms, as the study's films are for a run without images."""
    items = [item for item in phantom.plan(160) if item.path.startswith("train")]
    folder = tmp_path_factory.mktemp("films")
    for i, item in enumerate(items):
        phantom.expose(phantom.shadow(item)[0], item).save(folder / f"{i}.png")
    patients = np.array([str(item.patient) for item in items])
    return np.stack([decode(folder / f"{i}.png", 48) for i in range(len(items))]), patients


@pytest.fixture(scope="module")
def table(films):
    from xraylib.config import load_config

    images, patients = films
    config = dataclasses.replace(load_config("sample"), bootstrap_resamples=100)
    familiar = outliers.fit(images[:70], images[70:90])
    return strangers.table(familiar, images[90:], patients[90:], config).set_index("kind")


def test_every_kind_of_the_question_has_its_row(table):
    asked = {"colour photographs", "inverted", "phantom, lateral", "adult's chest film", "CT slices"}
    assert asked <= set(table.index)
    assert (table.pictures <= table.images).all()
    assert table.pictures["colour photographs"] * strangers.PARTS == table.images["colour photographs"]


def test_it_tells_what_it_should(table):
    for kind in ("inverted", "a quarter turned", "colour photographs", "CT slices", "phantom, lateral"):
        assert table.auroc[kind] > 0.95, kind
    # phantoms of another seed are of the kind that was learned: they must not look foreign
    assert table.auroc["phantom, frontal"] < 0.7
    assert table.flagged["phantom, frontal"] < 0.3


def test_intervals_stand_where_there_are_pictures_enough(table):
    few = table.pictures < 10
    assert table.lower[few].isna().all()
    rest = table[~few].dropna(subset="auroc")
    assert ((rest.lower <= rest.auroc) & (rest.auroc <= rest.upper)).all()


def test_a_file_that_tells_is_flagged_whatever_its_score(table):
    assert (table.flagged >= table.flagged_by_score).all()
    assert table.flagged["colour photographs"] == 1  # the rule of colour
    assert table.flagged["CT slices"] == 1  # their headers say so


def test_a_side_shadow_has_no_symmetry_and_two_lungs_behind_each_other():
    item = phantom.Item("x", "normal", 1, 1)
    side, front = phantom.side_shadow(item), phantom.shadow(item)[0]
    assert side.shape == front.shape and np.isfinite(side).all()
    lung, heart = side[80:100, 100:120].mean(), side[130:150, 85:100].mean()
    assert lung < heart


def test_the_turned_films_are_the_same_children(films):
    images, patients = films
    found = strangers.turned(images[:3], patients[:3])
    np.testing.assert_array_equal(found["inverted"].images, 255 - images[:3])
    np.testing.assert_array_equal(found["upside down"].images[:, 0], images[:3][:, -1])
    np.testing.assert_array_equal(found["a quarter turned"].images[:, :, 0], images[:3][:, 0, ::-1])
    np.testing.assert_array_equal(found["inverted"].of, patients[:3])
