"""A network's file is the study's, or is refused with one message; its graph is a picture."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from xraylib.files import UserError
from xraylib.network import backend, model, published
from xraylib.network.backend import keras
from xraylib.network.weights import graph, load_network, save_network


def build(units=1):
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(units)])


def test_a_file_is_the_same_bytes_each_time_without_a_clock_and_gives_the_weights_back(config, tmp_path):
    backend.start(0, "mixed_bfloat16")
    network = model.build(config)
    files = [tmp_path / "first.keras", tmp_path / "second.keras"]
    for file in files:
        save_network(network, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    with zipfile.ZipFile(files[0]) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b'"date_saved": ""' in archive.read("metadata.json")
        assert b"shared_object_id" not in archive.read("config.json")  # an address in memory
    backend.start(1)
    loaded = [load_network(files[0], lambda: model.build(config)), keras.models.load_model(files[0])]
    for network_read in loaded:
        for weight, saved in zip(network_read.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, saved)


def truncated(path):
    build().save(path)
    path.write_bytes(path.read_bytes()[:-100])


def not_finite(path):
    network = build()
    network.set_weights([np.full_like(weight, np.nan) for weight in network.get_weights()])
    network.save(path)


DAMAGED = {
    "missing": (lambda path: None, "not there"),
    "text": (lambda path: path.write_text("no network"), "no weights"),
    "truncated": (truncated, "no weights"),
    "two outputs": (lambda path: build(2).save(path), "no weights"),
    "not finite": (not_finite, "not finite"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_another_file_is_one_message_with_the_remedy(tmp_path, kind):
    damage, words = DAMAGED[kind]
    path = tmp_path / "network.keras"
    damage(path)
    with pytest.raises(UserError, match=words) as error:
        load_network(path, build)
    message = str(error.value)
    assert str(path) in message and "make reproduce" in message and "\n" not in message


def test_graphs_are_legible_at_1000_pixels_small_and_the_same_bytes_each_time(config):
    for network in (published.build(), model.build(config)):
        png = graph(network)
        assert png == graph(network)
        image = Image.open(io.BytesIO(png))
        assert 300 < image.width <= 1000 and image.height < 2500
        assert len(png) < 200_000
