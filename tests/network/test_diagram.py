"""The network's graph is a file, without root; where it can't be drawn, a message names the reason."""

import sys

import pytest
from PIL import Image

from xraylib.files import UserError
from xraylib.network import backend, diagram, model, published
from xraylib.plots import LIMIT


def test_the_table_of_layers_holds_every_weight_and_joins_repeated_blocks(config):
    backend.start(0)
    networks = {"published": published.build(), "xray_cnn": model.build(config)}
    table = diagram.layers(networks)
    weights = table.groupby("network").weights.sum()
    assert weights.to_dict() == {name: network.count_params() for name, network in networks.items()}
    assert weights.xray_cnn <= 700_000
    ours = table[table.network == "xray_cnn"].layer.tolist()
    assert ours.count("2 residual blocks") == 2
    assert ours[1] == "convolution 11 x 11, stride 5, norm, ReLU"


def test_a_graph_is_drawn_top_to_bottom_small_and_the_same_bytes_each_time(tmp_path):
    for name in "ab":
        backend.start(0)
        diagram.model_diagram(published.build(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Image.open(tmp_path / "a") as image:
        assert image.height > image.width > 300
    assert (tmp_path / "a").stat().st_size < LIMIT


def test_without_graphviz_the_remedy_is_said_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install graphviz-pure"):
        diagram.model_diagram(published.build(), tmp_path / "out" / "network.png")
    assert not list((tmp_path / "out").iterdir())
