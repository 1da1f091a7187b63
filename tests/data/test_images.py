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
    assert isinstance(images, np.memmap)
    assert images.shape == (len(index), 32, 32)
    for row in (0, 40, len(index) - 1):
        np.testing.assert_array_equal(images[row], read(root / index.path[row], 32).pixels)


def test_a_second_call_decodes_nothing_and_a_changed_file_alone_again(indexed, capsys):
    root, config, index = indexed
    before = np.array(load_images(config, index))
    capsys.readouterr()
    load_images(config, index)
    assert capsys.readouterr().out == ""
    Image.new("L", (32, 32), 255).save(root / index.path[3])
    changed = build_index(config)[0]
    after = load_images(config, changed)
    assert "decoded 1 films" in capsys.readouterr().out
    assert (after[3] == 255).all()
    np.testing.assert_array_equal(np.delete(after, 3, 0), np.delete(before, 3, 0))


def test_another_order_or_a_sample_reuses_what_is_decoded(indexed, capsys):
    _, config, index = indexed
    before = np.array(load_images(config, index))
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
