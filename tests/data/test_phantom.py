"""Phantoms: the lesion, and nothing but the lesion, tells the classes apart, and its place is known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from xraylib.data import phantom
from xraylib.data.index import parse_name


@pytest.fixture(scope="module")
def drawn(phantoms):
    return phantoms, sorted(phantoms.rglob("*.jpeg"))


def items(subtype, n=12):
    return [item for item in phantom.plan(480) if item.subtype == subtype][:n]


# --- the list ---


@pytest.mark.parametrize("images", [100, 160, 480])
def test_the_list_has_the_archives_folders_and_shares(images):
    table = pd.DataFrame(map(dataclasses.asdict, phantom.plan(images)))
    assert len(table) == images
    assert table.path.is_unique
    counts = table.groupby([table.path.str.split("/").str[0], "subtype"]).size()
    assert counts["val", "normal"] == counts["val", "bacteria"] == 8
    assert counts["test", "normal"] / counts["test"].sum() == pytest.approx(234 / 624, abs=0.03)
    assert counts["train", "normal"] / counts["train"].sum() == pytest.approx(0.26, abs=0.03)


def test_names_are_read_as_the_children_that_were_drawn():
    plan = phantom.plan(480)
    folders = {}
    for item in plan:
        subtype, patient, _ = parse_name(item.path.split("/")[-1])
        assert subtype == item.subtype
        folders.setdefault(patient, set()).add((item.path.split("/")[0], item.patient))
    assert all(len(seen) == 1 for seen in folders.values())  # one folder, one child
    assert len(folders) < len(plan)  # some children have several films


# --- lesions ---


@pytest.mark.parametrize("subtype", ["bacteria", "virus"])
def test_a_lesion_adds_attenuation_where_its_mask_is_and_hardly_elsewhere(subtype):
    for item in items(subtype, 6):
        diseased, mask = phantom.shadow(item)
        healthy, _ = phantom.shadow(item, lesion=False)
        added = diseased - healthy
        assert added[mask].mean() > 10 * np.abs(added[~mask]).mean()
        assert added.min() > -1e-3


def test_bacterial_lesions_are_one_sided_and_compact_and_viral_ones_are_on_both_sides():
    middle = phantom.GRID // 2
    for item in items("bacteria"):
        mask = phantom.shadow(item)[1]
        left, right = mask[:, :middle].sum(), mask[:, middle:].sum()
        assert min(left, right) < 0.1 * max(left, right)
        pieces, n = label(mask)
        assert max(np.bincount(pieces.ravel())[1:]) > 0.8 * mask.sum(), n
    for item in items("virus"):
        mask = phantom.shadow(item)[1]
        left, right = mask[:, :middle].sum(), mask[:, middle:].sum()
        assert min(left, right) > 0.15 * max(left, right)


def test_masks_lie_over_lungs_of_the_film(drawn):
    root, files = drawn
    for file in files:
        path = file.relative_to(root).as_posix()
        mask = phantom.lesion_mask(root, path)
        with Image.open(file) as image:
            assert mask.shape == image.size[::-1]
        assert mask.any() == ("PNEUMONIA" in path)
        if mask.any():
            assert 0.003 < mask.mean() < 0.3
            rows, columns = np.nonzero(mask)
            assert rows.max() < 0.93 * mask.shape[0]
            assert columns.min() > 0.03 * mask.shape[1]


def test_lungs_are_two_do_not_depend_on_the_disease_and_hold_the_lesion(drawn):
    root, files = drawn
    for item in items("bacteria", 4) + items("virus", 4):
        field = phantom.lung_fields(item)
        np.testing.assert_array_equal(field, phantom.lung_fields(dataclasses.replace(item, subtype="normal")))
        pieces, _ = label(field)
        assert (np.bincount(pieces.ravel())[1:] > 0.05 * field.size).sum() == 2
        lesion = phantom.shadow(item)[1]
        assert (lesion & field).sum() > 0.75 * lesion.sum()
    for file in files[::20]:
        path = file.relative_to(root).as_posix()
        with Image.open(file) as image:
            assert phantom.lung_mask(root, path).shape == image.size[::-1]
        assert 0.2 < phantom.lung_mask(root, path).mean() < 0.5


# --- what must not tell the class ---


def test_the_class_cannot_be_read_from_what_is_not_the_lesion(drawn):
    rows = []
    for file in drawn[1]:
        with Image.open(file) as film:
            grey, pixels = np.asarray(film, float), film.width * film.height
            of_file = (film.width, film.height, film.width / film.height, sum(film.quantization[0]))
        rows.append((grey.mean(), grey.std(), file.stat().st_size / pixels, *of_file))
    label = ["PNEUMONIA" in file.parts for file in drawn[1]]
    names = ("mean", "SD", "bytes per pixel", "width", "height", "width / height", "JPEG quality")
    for name, column in zip(names, np.array(rows).T, strict=True):
        auroc = roc_auc_score(label, column)
        assert abs(auroc - 0.5) < 0.14, f"{name} tells the class: AUROC {auroc:.2f}"  # of chance the SD is .048


# --- files ---


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    for processes in (1, 2):
        phantom.draw(tmp_path / str(processes) / "chest_xray", images=24, processes=processes)
    first, second = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in "12"
    )
    assert len(first) > 40
    assert first == second


def test_every_file_says_what_it_is(drawn):
    root, files = drawn
    assert "no patients" in (root / phantom.MARKER).read_text()
    with Image.open(files[0]) as image:
        assert image.info["comment"] == b"synthetic phantom"


def test_an_interrupted_drawing_leaves_the_earlier_folder(tmp_path, monkeypatch):
    root = tmp_path / "chest_xray"
    root.mkdir()
    (root / "earlier").touch()
    monkeypatch.setattr(phantom, "ProcessPoolExecutor", None)
    with pytest.raises(TypeError):
        phantom.draw(root, images=40)
    assert [p.name for p in tmp_path.iterdir()] == ["chest_xray"]
    assert (root / "earlier").exists()
