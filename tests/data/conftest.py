"""Phantoms for the tests of the images."""

import pytest

from xraylib.data import phantom


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A chest_xray folder of 160 phantoms."""
    root = tmp_path_factory.mktemp("phantoms") / "chest_xray"
    phantom.draw(root, images=160)
    return root
