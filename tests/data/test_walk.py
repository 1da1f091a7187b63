"""One walk sees the films of a folder, by name or by content, and hands back what it leaves out."""

import io
import os

import numpy as np
import pytest
from dicom_film import dicom_film
from PIL import Image

from xraylib.data import walk


def saved(kind):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


def names(paths, folder):
    return [os.path.relpath(path, folder) for path in paths]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP"])
def test_an_image_under_another_name_is_a_film(tmp_path, kind):
    (tmp_path / "DOE J. 1").write_bytes(saved(kind))
    assert names(walk.films(tmp_path)[0], tmp_path) == ["DOE J. 1"]


def test_dicom_is_known_by_content_and_what_is_left_out_is_listed(tmp_path):
    whole = dicom_film(np.zeros((8, 8), np.uint16), 12)
    files = {"a.IMA": whole, "b": whole[132:], "c.dcm": b"", "d.txt": b"BMI: 17", "e": b"", ".f": whole}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    (tmp_path / "g").symlink_to(tmp_path / "nowhere")
    (tmp_path / "h.jpg").symlink_to(tmp_path / "nowhere")
    films, left_out = walk.films(tmp_path)
    assert names(films, tmp_path) == ["a.IMA", "b", "c.dcm", "h.jpg"]
    assert names(left_out, tmp_path) == ["d.txt", "e", "g", "pipe"]


def test_links_are_followed_once_and_never_into_folders_kept_apart(tmp_path):
    for folder in ("in/real", "apart", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.png").touch()
    for name, target in {"again": "in/real", "loop": "in", "more": "elsewhere", "other": "apart"}.items():
        (tmp_path / "in" / name).symlink_to(tmp_path / target)
    films, left_out = walk.films(tmp_path / "in", apart=[tmp_path / "apart", tmp_path / "in"])
    assert names(films, tmp_path / "in") == ["more/x.png", "real/x.png"] and not left_out
