"""A network's file is the study's, or is refused with one message; nothing in it is ever run."""

import re
import zipfile

import numpy as np
import pytest

from xraylib.files import UserError
from xraylib.network.backend import keras
from xraylib.network.weights import load_network, save_network


def network(*layers):
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *layers])


def save(path, *layers):
    network(*layers).save(path)


def test_a_file_predicts_as_it_was_saved_without_a_clock_and_with_the_same_bytes(tmp_path):
    policy = keras.DTypePolicy("float32")
    own = network(keras.layers.ReLU(dtype=policy), keras.layers.Dense(1, dtype=policy))
    files = [tmp_path / "first.keras", tmp_path / "second.keras"]
    for file in files:
        save_network(own, file)
        with zipfile.ZipFile(file) as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            assert not re.search(rb"20\d\d-\d\d", archive.read("metadata.json"))
            assert b"shared_object_id" not in archive.read("config.json")  # an address in memory
    assert files[0].read_bytes() == files[1].read_bytes()
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(load_network(files[0])(images), own(images))


def truncated(path):
    save(path, keras.layers.Dense(1))
    path.write_bytes(path.read_bytes()[:-100])


def not_finite(path):
    own = network(keras.layers.Dense(1))
    own.set_weights([np.full_like(weight, np.nan) for weight in own.get_weights()])
    own.save(path)


def of_other_code(path):
    save(path, keras.layers.Dense(1))
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    other = members["config.json"].replace(b'"module": "keras.layers"', b'"module": "os"')
    members["config.json"] = other.replace(b'"class_name": "Dense"', b'"class_name": "system"')
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


DAMAGED = {
    "missing": (lambda path: None, "not there"),
    "text": (lambda path: path.write_text("no network"), "no network of this study"),
    "empty": (lambda path: path.write_bytes(b""), "no network of this study"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch x'\ntR."), "no network of this study"),
    "truncated": (truncated, "no network of this study"),
    "Lambda": (lambda path: save(path, keras.layers.Lambda(lambda x: x[:, :1])), "no network of this study"),
    "other code": (of_other_code, "no network of this study"),
    "two outputs": (lambda path: save(path, keras.layers.Dense(2)), r"to \(2,\); wanted \(1,\)"),
    "not finite": (not_finite, "not finite"),
    "older format": (lambda path: path.write_bytes(b"x"), r"not a \.keras file"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_another_file_is_one_message_with_the_remedy(tmp_path, kind):
    damage, words = DAMAGED[kind]
    path = tmp_path / ("own.h5" if kind == "older format" else "own.keras")
    damage(path)
    with pytest.raises(UserError, match=words) as error:
        load_network(path)
    message = str(error.value)
    assert str(path) in message and "make reproduce" in message and "\n" not in message
