"""Phantoms: of the body only the lesion tells the class, and its place is known; the marker is a planted shortcut."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from xraylib.data import decode, phantom, stations
from xraylib.data.index import parse_name


def items(subtype, n):
    return [item for item in phantom.plan(480) if item.subtype == subtype][:n]


def paths(root):
    return sorted(file.relative_to(root).as_posix() for file in root.rglob("*.jpeg"))


@pytest.mark.parametrize("images", [100, 480])
def test_the_list_has_the_archives_folders_and_shares(images):
    table = pd.DataFrame(phantom.plan(images))
    assert len(table) == images and table.path.is_unique
    counts = table.groupby([table.path.str.split("/").str[0], "subtype"]).size()
    assert counts["val", "normal"] == counts["val", "bacteria"] == 8
    assert counts["test", "normal"] / counts["test"].sum() == pytest.approx(234 / 624, abs=0.03)
    assert counts["train", "normal"] / counts["train"].sum() == pytest.approx(0.26, abs=0.03)


def test_names_are_read_as_the_children_that_were_drawn():
    children = {}
    for item in phantom.plan(480):
        folder, _, name = item.path.split("/")
        subtype, patient, _ = parse_name(name)
        assert subtype == item.subtype
        children.setdefault(patient, []).append((folder, item.patient))
    assert all(len(set(films)) == 1 for films in children.values())  # one folder, one child
    assert max(map(len, children.values())) == 3


def test_a_lesion_adds_attenuation_where_its_mask_is_and_hardly_elsewhere():
    for item in items("bacteria", 4) + items("virus", 4):
        diseased, mask = phantom.shadow(item)
        healthy, none = phantom.shadow(item._replace(subtype="normal"))
        added = diseased - healthy
        assert added[mask].mean() > 10 * np.abs(added[~mask]).mean()
        assert added.min() > -1e-3 and not none.any()


def test_bacterial_lesions_are_one_sided_and_compact_and_viral_ones_are_on_both_sides():
    for subtype in ("bacteria", "virus"):
        for item in items(subtype, 8):
            mask = phantom.shadow(item)[1]
            smaller, larger = sorted(half.sum() for half in np.split(mask, 2, axis=1))
            if subtype == "virus":
                assert smaller > 0.15 * larger
            else:
                assert smaller < 0.1 * larger
                assert max(np.bincount(label(mask)[0].ravel())[1:]) > 0.8 * mask.sum()


def test_lungs_are_two_do_not_depend_on_the_disease_and_hold_the_lesion():
    for item in items("bacteria", 4) + items("virus", 4):
        field = phantom.lung_fields(item)
        np.testing.assert_array_equal(field, phantom.lung_fields(item._replace(subtype="normal")))
        assert (np.bincount(label(field)[0].ravel())[1:] > 0.05 * field.size).sum() == 2
        lesion = phantom.shadow(item)[1]
        assert (lesion & field).sum() > 0.75 * lesion.sum()


def test_masks_have_the_size_of_their_films_and_lesions_lie_inside(phantoms):
    for path in paths(phantoms):
        mask, lungs = phantom.lesion_mask(phantoms, path), (phantoms.parent / "lungs" / path).with_suffix(".png")
        with Image.open(phantoms / path) as film, Image.open(lungs) as lung_mask:
            assert mask.shape == film.size[::-1] == lung_mask.size[::-1]
            assert 0.2 < np.mean(np.asarray(lung_mask) > 127) < 0.5
        assert mask.any() == ("PNEUMONIA" in path)
        if mask.any():
            assert 0.003 < mask.mean() < 0.3
            rows, columns = np.nonzero(mask)
            assert rows.max() < 0.93 * mask.shape[0] and columns.min() > 0.03 * mask.shape[1]


def test_the_class_cannot_be_read_from_what_is_not_the_lesion(phantoms):
    rows = []
    for path in paths(phantoms):
        with Image.open(phantoms / path) as film:
            grey, pixels = np.asarray(film, float), film.width * film.height
            of_file = (film.width, film.height, film.width / film.height, sum(film.quantization[0]))
        rows.append((grey.mean(), grey.std(), (phantoms / path).stat().st_size / pixels, *of_file))
    labels = ["PNEUMONIA" in path for path in paths(phantoms)]
    names = ("mean", "SD", "bytes per pixel", "width", "height", "width / height", "JPEG quality")
    for name, column in zip(names, np.array(rows).T, strict=True):
        auroc = roc_auc_score(labels, column)
        assert abs(auroc - 0.5) < 0.14, f"{name} tells the class: AUROC {auroc:.2f}"  # of chance the SD is .048


def excess(items, markers):
    """By how much more often a small bold R stands on normal films than on films with pneumonia."""
    small, normal = np.array(markers) == "small bold R", np.array([item.subtype == "normal" for item in items])
    return small[normal].mean() - small[~normal].mean()


def test_the_marker_is_found_and_tells_the_class_well_in_train_and_less_well_in_test(phantoms):
    train = [item for item in phantom.plan(120) if item.path.startswith("train")]
    found = stations.find(np.stack([decode.read(phantoms / item.path, 224).pixels for item in train])).marker
    assert np.mean(found == [phantom.station_marker(item) for item in train]) > 0.95
    assert excess(train, found) > 0.6  # of chance the SD is .12
    for folder, expected in (("train", 0.9 - 0.13), ("test", 0.48 - 0.11)):
        many = [item for item in phantom.plan(8000) if item.path.startswith(folder)]
        assert excess(many, list(map(phantom.station_marker, many))) == pytest.approx(expected, abs=0.06)


def test_a_film_is_the_same_in_any_process_and_says_what_it_is(phantoms, tmp_path):
    for item in phantom.plan(120)[::60]:
        phantom._draw_one(item, tmp_path)
        drawn, other = phantoms / item.path, tmp_path / "chest_xray" / item.path
        assert drawn.read_bytes() == other.read_bytes() and b"synthetic phantom" in drawn.read_bytes()
    assert "no patients" in (phantoms / phantom.MARKER).read_text()


def test_an_interrupted_drawing_leaves_the_earlier_folder(tmp_path, monkeypatch):
    root = tmp_path / "chest_xray"
    root.mkdir()
    (root / "earlier").touch()
    monkeypatch.setattr(phantom, "ProcessPoolExecutor", None)
    with pytest.raises(TypeError):
        phantom.draw(root, images=40)
    assert [p.name for p in tmp_path.iterdir()] == ["chest_xray"] and (root / "earlier").exists()
