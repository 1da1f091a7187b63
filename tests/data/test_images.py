"""Decoding gives the right pixels, once, for any file that the index holds."""

import numpy as np
import pytest
from PIL import Image

from xraylib.data.decode import read
from xraylib.data.images import load_images
from xraylib.data.index import build_index
from xraylib.files import UserError


@pytest.fixture
def indexed(folder):
    return *folder, build_index(folder[1])[0]


def test_rows_follow_the_index_and_are_mapped_from_disk(indexed):
    root, config, index = indexed
    images = load_images(config, index)
    assert isinstance(images, np.memmap) and images.shape == (len(index), 32, 32)
    for row in (0, 40, len(index) - 1):
        np.testing.assert_array_equal(images[row], read(root / index.path[row], 32).pixels)


def test_each_file_is_decoded_once_whatever_the_order_and_a_changed_one_again(indexed, capsys):
    root, config, index = indexed
    before = np.array(load_images(config, index))
    capsys.readouterr()
    load_images(config, index)
    assert capsys.readouterr().out == ""
    Image.new("L", (32, 32), 255).save(root / index.path[4])
    after = load_images(config, build_index(config)[0])
    assert "decoded 1 films" in capsys.readouterr().out and (after[4] == 255).all()
    np.testing.assert_array_equal(np.delete(after, 4, 0), np.delete(before, 4, 0))
    fewer = index[::-2].reset_index(drop=True)
    np.testing.assert_array_equal(load_images(config, fewer), before[::-2])
    assert "decoded 0 films" in capsys.readouterr().out


def test_a_failure_while_decoding_leaves_no_array_that_is_believed(indexed):
    root, config, index = indexed
    load_images(config, index)
    (root / index.path[0]).write_bytes(b"damaged after indexing")
    changed = index.assign(sha256=["changed", *index.sha256[1:]])
    with pytest.raises(UserError, match=f"{index.path[0]}: can't be read"):
        load_images(config, changed)
    np.testing.assert_array_equal(load_images(config, index[1:])[0], read(root / index.path[1], 32).pixels)
    assert {p.name for p in config.build.iterdir()} == {"images.npy", "images.csv"}
