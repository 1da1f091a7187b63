"""Decoding gives the right pixels, once, for any file that the index holds."""

import numpy as np
import pytest
from PIL import Image

from xraylib.data.images import decode, load_images
from xraylib.data.index import build_index
from xraylib.files import UserError


@pytest.fixture
def indexed(folder):
    return *folder, build_index(folder[1])[0]


def picture(size=(300, 200)):
    """A smooth picture whose left is dark and right bright, and whose top is brighter than its bottom."""
    x, y = np.meshgrid(np.linspace(0, 180, size[0]), np.linspace(60, 0, size[1]))
    return Image.fromarray((x + y).astype(np.uint8))


def test_a_film_that_was_turned_in_the_camera_is_turned_back(tmp_path):
    turned = picture().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the row 0 is at the right: turn clockwise to see it upright
    turned.save(tmp_path / "turned.jpeg", exif=exif, quality=98)
    picture().save(tmp_path / "upright.jpeg", quality=98)
    np.testing.assert_allclose(decode(tmp_path / "turned.jpeg", 64), decode(tmp_path / "upright.jpeg", 64), atol=4)


def test_scaled_decoding_changes_little(tmp_path):
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (9, 12), dtype=np.uint8)).resize(
        (1600, 1200), Image.Resampling.BICUBIC
    )
    rough.save(tmp_path / "large.jpeg", quality=90)
    with Image.open(tmp_path / "large.jpeg") as image:
        plain = np.asarray(image.convert("L").resize((128, 128), Image.Resampling.BOX), int)
    assert np.abs(decode(tmp_path / "large.jpeg", 128) - plain).mean() < 1


def test_a_deep_png_of_12_bits_is_stretched(tmp_path):
    Image.fromarray(np.tile(np.arange(256, dtype=np.uint16) * 16, (256, 1))).save(tmp_path / "a.png")
    assert np.abs(decode(tmp_path / "a.png", 256)[100].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2916, 127)])
def test_extreme_shapes_are_squares_afterwards(tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "a.png")
    assert (decode(tmp_path / "a.png", 32) == 77).all()


def test_rows_follow_the_index_and_are_mapped_from_disk(indexed):
    root, config, index = indexed
    images = load_images(config, index)
    assert isinstance(images, np.memmap)
    assert images.shape == (len(index), 32, 32)
    for row in (0, 40, len(index) - 1):
        np.testing.assert_array_equal(images[row], decode(root / index.path[row], 32))


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
    np.testing.assert_array_equal(load_images(config, index[1:])[0], decode(root / index.path[1], 32))
    assert {p.name for p in config.build.iterdir()} == {"images.npy", "images.csv"}
