"""Any file gives the right pixels, upright and grey, whatever its name and its storage."""

import struct
import zlib

import numpy as np
import pytest
from dicom_film import dicom_film
from PIL import Image, ImageOps
from pydicom.uid import JPEGBaseline8Bit

from xraylib.data.decode import read


def picture(size=(300, 200)):
    """A smooth picture whose left is dark and right bright, and whose top is brighter than its bottom."""
    x, y = np.meshgrid(np.linspace(0, 180, size[0]), np.linspace(60, 0, size[1]))
    return Image.fromarray((x + y).astype(np.uint8))


def test_a_film_that_was_turned_in_the_camera_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the row 0 is at the right: turn clockwise to see it upright
    picture().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpeg", exif=exif, quality=98)
    picture().save(tmp_path / "upright.jpeg", quality=98)
    turned, upright = (read(tmp_path / f"{name}.jpeg", 64) for name in ("turned", "upright"))
    np.testing.assert_allclose(turned.pixels, upright.pixels, atol=4)
    assert turned[3:] == (200, 300, "L", 98, 0)  # as in the file


def test_scaled_decoding_changes_little(tmp_path):
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (9, 12), dtype=np.uint8)).resize(
        (1600, 1200), Image.Resampling.BICUBIC
    )
    rough.save(tmp_path / "large.jpeg", quality=90)
    with Image.open(tmp_path / "large.jpeg") as image:
        plain = np.asarray(image.convert("L").resize((128, 128), Image.Resampling.BOX), int)
    assert np.abs(read(tmp_path / "large.jpeg", 128).pixels - plain).mean() < 1


def test_a_deep_png_of_12_bits_is_stretched(tmp_path):
    levels = np.random.default_rng(0).permutation(65536).reshape(256, 256).astype(np.uint16) // 16
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_allclose(read(tmp_path / "a.png", 256).pixels, levels / 16.06, atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2916, 127)])
def test_extreme_shapes_are_squares_afterwards(tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png", 32).pixels == 77).all()


@pytest.mark.parametrize("kind", ["film.jpeg", "film.dcm"])
def test_a_jpeg_of_which_a_part_is_missing_is_refused(tmp_path, kind):
    levels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(levels).save(tmp_path / "whole.jpeg", quality=90)
    whole = (tmp_path / "whole.jpeg").read_bytes()
    half = len(whole) // 2
    for damaged in (
        whole[:half] + b"\xff\xd9",
        whole[:half] + bytes(16) + whole[half + 16 :],
        whole[:-3] + b"\xff\xd9",
    ):
        data = dicom_film(levels, 8, JPEGBaseline8Bit, damaged) if kind == "film.dcm" else damaged
        (tmp_path / kind).write_bytes(data)
        with pytest.raises(ValueError, match="Corrupt JPEG data"):
            read(tmp_path / kind, 32)


@pytest.mark.parametrize("level", [70, 128, 255])
def test_a_uniform_border_that_is_not_black_is_trimmed_on_any_side(tmp_path, level):
    film = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8))
    film.save(tmp_path / "film.png")
    alone = read(tmp_path / "film.png", 64)
    for border in (12, (0, 0, 30, 0), (0, 9, 0, 0)):
        ImageOps.expand(ImageOps.expand(film, border, level), 2, 255).save(tmp_path / "framed.png")
        framed = read(tmp_path / "framed.png", 64)
        np.testing.assert_array_equal(framed.pixels, alone.pixels)
        assert 0 < framed.trimmed < 0.3 and alone.trimmed == 0
    ImageOps.expand(film, 12, 0).save(tmp_path / "black.png")
    assert read(tmp_path / "black.png", 64).trimmed == 0


def png48(levels):
    """A PNG of three times 16 bits, which Pillow does not write."""
    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", *levels.shape[::-1], 16, 2, 0, 0, 0)
    parts = [b"IHDR" + head, b"IDAT" + zlib.compress(rows), b"IEND"]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_levels_that_start_elsewhere_or_have_a_mark_are_stretched_and_lost_ones_refused(tmp_path):
    levels = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    levels[0, :2] = 0, 4095
    marked = levels.copy()
    marked[9, 9] = 65535
    for name, stored in {"plain": levels, "elsewhere": levels + 30000, "marked": marked}.items():
        Image.fromarray(stored).save(tmp_path / f"{name}.png")
        found = read(tmp_path / f"{name}.png", 64).pixels
        np.testing.assert_allclose(found, np.where(stored == 65535, 255, levels / 16.06), atol=1, err_msg=name)
    Image.fromarray(levels.astype(np.float32) / 4095).save(tmp_path / "share.tiff")
    np.testing.assert_allclose(read(tmp_path / "share.tiff", 64).pixels, levels / 16.06, atol=1)
    (tmp_path / "colour.png").write_bytes(png48(levels))
    with pytest.raises(ValueError, match="16 grey levels of 16 bits in colour"):
        read(tmp_path / "colour.png", 64)
    (tmp_path / "colour.png").write_bytes(png48(levels * 16))
    np.testing.assert_allclose(read(tmp_path / "colour.png", 64).pixels, levels / 16.06, atol=1)


def test_colour_is_refused_and_three_equal_channels_are_not(tmp_path):
    grey = np.asarray(picture())
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey, grey // 2, grey // 4], -1)).save(tmp_path / "colour.jpeg")
    assert read(tmp_path / "grey.png", 64).refused == []
    assert read(tmp_path / "colour.jpeg", 64).refused == ["in colour"]


def test_a_file_is_what_its_content_says_and_dicom_is_resized_as_other_files_are(tmp_path):
    levels = np.asarray(picture((90, 60))).copy()
    levels[0, :2] = 0, 255
    (tmp_path / "photo.jpeg").write_bytes(dicom_film(levels, 8))
    (tmp_path / "bare").write_bytes(dicom_film(levels, 8)[132:])
    Image.fromarray(levels).save(tmp_path / "film.dcm", "PNG")
    films = [read(tmp_path / name, 32) for name in ("photo.jpeg", "bare", "film.dcm")]
    assert [film.mode for film in films] == ["DICOM", "DICOM", "L"] and {film.width for film in films} == {90}
    for film in films:
        np.testing.assert_array_equal(film.pixels, films[0].pixels)
    (tmp_path / "text.dcm").write_text("no DICOM at all, but long enough to be looked at" * 9)
    with pytest.raises(OSError, match="cannot identify image file"):
        read(tmp_path / "text.dcm", 16)
