"""The network's graph is a file, without root; where it can't be drawn, that is said."""

import sys

import pytest
from PIL import Image

from xraylib.files import UserError
from xraylib.network import backend, diagram, model, published
from xraylib.plots import LIMIT


@pytest.mark.parametrize("build", [lambda config: published.build(), model.build], ids=["published", "xray_cnn"])
def test_both_networks_are_drawn_top_to_bottom_and_small(build, config, tmp_path):
    backend.start(0)
    diagram.model_diagram(build(config), tmp_path / "network.png")
    with Image.open(tmp_path / "network.png") as image:
        assert image.height > image.width > 300
    assert (tmp_path / "network.png").stat().st_size < LIMIT


def test_the_same_network_gives_the_same_bytes(tmp_path):
    for name in "ab":
        backend.start(0)
        diagram.model_diagram(published.build(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_graphviz_the_remedy_is_said_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install graphviz-pure"):
        diagram.model_diagram(published.build(), tmp_path / "out" / "network.png")
    assert not list((tmp_path / "out").iterdir())
