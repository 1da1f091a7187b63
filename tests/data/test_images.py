"""Each film of the index is decoded once, and into the same frame as for a prediction."""

import dataclasses

import numpy as np
import pytest
from dicom_film import dicom_film
from PIL import Image, ImageOps

from xraylib.config import load_config
from xraylib.data import frames, images, phantom
from xraylib.data.decode import read
from xraylib.data.images import load_images
from xraylib.data.index import build_index
from xraylib.files import UserError
from xraylib.predict import films


@pytest.fixture
def indexed(folder):
    return *folder, build_index(folder[1])[0]


def test_rows_follow_the_index_and_are_mapped_from_disk(indexed):
    root, config, index = indexed
    decoded = load_images(config, index)
    assert isinstance(decoded, np.memmap) and decoded.shape == (len(index), 32, 32)
    for row in (0, 40, len(index) - 1):
        np.testing.assert_array_equal(decoded[row], read(root / index.path[row], 32).pixels)


def test_each_file_is_decoded_once_by_the_same_code_and_a_changed_one_again(indexed, capsys, monkeypatch):
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
    monkeypatch.setattr(images, "CODE", "that of another version")
    load_images(config, fewer)
    assert "decoded 42 films" in capsys.readouterr().out


def test_a_failure_while_decoding_leaves_no_array_that_is_believed(indexed):
    root, config, index = indexed
    load_images(config, index)
    (root / index.path[0]).write_bytes(b"damaged after indexing")
    changed = index.assign(sha256=["changed", *index.sha256[1:]])
    with pytest.raises(UserError, match=f"{index.path[0]}: can't be read"):
        load_images(config, changed)
    np.testing.assert_array_equal(load_images(config, index[1:])[0], read(root / index.path[1], 32).pixels)
    assert {p.name for p in config.build.iterdir()} == {"images.npy", "images.csv"}


def test_the_study_and_predict_cut_the_same_frame_from_a_file(folder):
    root, config = folder
    names = [f"test/NORMAL/IM-000{i}-0001.jpeg" for i in (0, 2, 4)]
    jpeg, png, levels = (phantom.expose(phantom.shadow(item)[0], item) for item in phantom.plan(66)[:3])
    jpeg.save(root / names[0], quality=80)
    ImageOps.expand(png, 9, 255).save(root / names[1], "PNG")
    (root / names[2]).write_bytes(dicom_film(np.asarray(levels, np.uint16) * 16))
    config = dataclasses.replace(config, film_size=load_config("demo", {}).film_size)
    index = build_index(config)[0]
    studied = load_images(config, index)[index.path.isin(names)]
    runner, cut = films.Runner(films.load()), []
    boxes, networks = [frames.lung_box(mask) for mask in runner.locate(studied)], runner.networks
    runner.networks = lambda pictures: cut.append(pictures) or networks(pictures)
    assert not any(row["problem"] for row, _ in films._assess([str(root / name) for name in names], runner))
    expected = [frames.frame(film, box, cut[0].shape[1]) for film, box in zip(studied, boxes, strict=True)]
    assert all(boxes)
    np.testing.assert_array_equal(cut[0], expected)
