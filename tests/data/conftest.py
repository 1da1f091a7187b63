"""Phantoms for the tests of the images."""

import pytest

from xraylib.data import phantom


@pytest.fixture(scope="session")
def phantoms(shared):
    """A chest_xray folder of 120 phantoms."""
    return shared("phantoms", lambda folder: phantom.draw(folder / "chest_xray", images=120)) / "chest_xray"
