"""Faults planted in phantoms and in small arrays are found, and what is clean is called clean."""

import dataclasses
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from xraylib.config import load_config
from xraylib.data import audit
from xraylib.data.decode import area_means, read
from xraylib.data.index import build_index
from xraylib.evaluation import metrics


def look(root):
    """Index and decoded films of a folder."""
    index, skipped = build_index(dataclasses.replace(load_config("demo", {}), data=root, tune_folds=4))
    assert skipped.empty
    return index, np.stack([read(root / path, 128).pixels for path in index.path])


@pytest.fixture(scope="module")
def audited(phantoms):
    """Index and films of the phantoms, and which rows are of train."""
    index, films = look(phantoms)
    return index, films, (index.split == "train").to_numpy()


# --- patients and copies ---


def test_phantoms_share_no_patient_and_hold_no_copy(audited):
    index, films, _ = audited
    assert (audit.shared_patients(index).patients == 0).all()
    counted = audit.count_copies(audit.copies(index, films))
    assert counted.loc["identical", "pairs"] == 0
    assert counted.loc["near", "of two patients"] <= 2e-4 * len(index) * (len(index) - 1) / 2


def test_a_shared_patient_and_copies_across_classes_are_found(phantoms, tmp_path):
    root = shutil.copytree(phantoms, tmp_path / "chest_xray")
    first, second = sorted((root / "train" / "PNEUMONIA").glob("*bacteria*"))[:2]
    with Image.open(first) as film:
        blurred = film.filter(ImageFilter.BLUR)
    blurred.save(root / "test" / "PNEUMONIA" / f"{first.name.split('_')[0]}_bacteria_9999.jpeg")
    shutil.copy(first, root / "train" / "NORMAL" / "IM-9001-0001.jpeg")
    with Image.open(second) as film:
        film.resize((150, 130)).save(root / "test" / "NORMAL" / "IM-9002-0001.jpeg", quality=60)
    index, films = look(root)
    shared = audit.shared_patients(index).set_index("splits").patients
    assert shared["train, test"] + shared["tune, test"] == 1 and shared["train, tune"] == shared["val, test"] == 0
    table = audit.copies(index, films)
    pairs = {(row.first, row.second): row.identical for row in table[~table.same_class].itertuples()}
    assert pairs["train/NORMAL/IM-9001-0001.jpeg", f"train/PNEUMONIA/{first.name}"]
    assert not pairs["test/NORMAL/IM-9002-0001.jpeg", f"train/PNEUMONIA/{second.name}"]
    assert audit.count_copies(table).loc["identical", "of two classes"] == 1


def test_the_bare_number_joins_what_the_subtype_keeps_apart():
    patients = {"patient": ["person1_bacteria", "person1_virus", "person2_virus"]}
    numbers = {"patient_number": ["person1", "person1", "person2"]}
    index = pd.DataFrame({"split": ["train", "test", "test"]} | patients | numbers)
    row = audit.shared_patients(index).set_index("splits").loc["train, test"]
    assert (row.patients, row.patients_bare_number) == (0, 1)


def test_the_hash_ignores_exposure_size_and_quality_and_sees_another_film(audited):
    films = audited[1][:8]
    saved_small = []
    for film in films:
        buffer = io.BytesIO()
        Image.fromarray(film).resize((112, 112)).save(buffer, "JPEG", quality=60)
        saved_small.append(np.asarray(Image.open(buffer).resize((128, 128), Image.Resampling.LANCZOS)))
    for other in ((films * 0.8 + 10).astype(np.uint8), np.stack(saved_small)):
        bits = (audit.difference_hash(films)[:, None] != audit.difference_hash(other)).sum(-1)
        assert np.diag(bits).max() <= audit.NEAR < bits[~np.eye(len(bits), dtype=bool)].min()


def test_cells_are_means_of_their_pixels():
    pixels = np.arange(12.0)
    assert area_means(12, 4) @ pixels == pytest.approx([1, 4, 7, 10])
    assert area_means(12, 5).sum(axis=1) == pytest.approx(np.ones(5))
    assert (area_means(12, 5) @ pixels)[0] == pytest.approx((0 + 1 + 2 * 0.4) / 2.4)


# --- shortcuts ---


def test_a_shortcut_planted_in_train_is_caught_and_leads_nowhere_in_test(audited):
    index, films, train = audited
    films, healthy = films.copy(), train & (index.label == 0).to_numpy()
    films[train & ~healthy, :10] = 250  # a marker over the upper margin of PNEUMONIA
    planted = index.assign(quality=np.where(healthy, 97, index.quality), width=96, height=96, mode="L")
    marker = pd.Series(np.where(healthy, "small bold R", "large R"))
    table = audit.shortcuts(planted, films, marker).set_index("property")
    assert table.train["side marker"] == 1 and table.test["side marker"] == 0.5  # on test all show a large R
    assert table.train["JPEG quality"] > 0.95 and table.train["border of the film"] > 0.95
    assert table.test["JPEG quality"] == pytest.approx(0.5, abs=0.15)
    gone = ["width", "height", "aspect ratio", "colour mode"]
    assert table.train[gone].isna().all() and table.note["width"] == f"all {train.sum()} train films alike: 96"
    assert table.train.drop(gone).notna().all() and (table.note.drop(gone) == "").all()


def test_the_border_is_the_margin_and_nothing_inside():
    images = np.zeros((2, 100, 100), np.uint8)
    wide = round(100 * audit.BORDER)
    images[1, wide:-wide, wide:-wide] = 255
    assert not audit._border(images).any()
    images[0, :wide] = 80  # the upper margin, and the ends of those at the sides
    upper, lower, left, _ = np.split(audit._border(images)[0], 4)
    assert upper == pytest.approx(80) and not lower.any()
    assert left[0] == pytest.approx(80 * wide / 12.5) and not left[2:].any()


def test_baselines_are_predictions_of_every_film_learned_from_train_alone(audited):
    index, films, train = audited
    table = metrics.check(audit.baselines(index, films))
    assert table.groupby("network").size().to_dict() == dict.fromkeys(("majority", "metadata", "thumbnail"), len(index))
    assert (table.logit[table.network == "majority"] > 16).all()
    thumbnail = table[(table.network == "thumbnail") & (table.split == "train")]
    assert metrics.ranking(thumbnail.label, thumbnail.probability)["auroc"] > 0.7  # it has learned these
    exchanged = audit.baselines(index.assign(label=index.label.where(train, 1 - index.label)), films)
    np.testing.assert_array_equal(table.logit, exchanged.logit)


def test_the_properties_of_a_box():
    index = pd.DataFrame({"width": [200, 300, 100], "height": [100, 200, 100]})
    properties = audit.box_properties([(0.25, 0.1, 0.75, 0.6), None, (0.0, 0.0, 1.0, 0.5)], index)
    assert properties["box of the lungs"].shape == (3, 4)
    assert properties["height of the box"] == pytest.approx([0.5, np.nan, 0.5], nan_ok=True)
    assert properties["width / height of the box"] == pytest.approx([2.0, np.nan, 2.0], nan_ok=True)


def test_the_auroc_of_a_property_by_hand():
    """It is 1 in 80 % of films of PNEUMONIA and 30 % of NORMAL: AUROC .5 + (.8 - .3) / 2. NaN counts nowhere."""
    value = np.tile(np.repeat([1.0, 0.0, 1.0, 0.0], [80, 20, 30, 70]), 2)
    index = pd.DataFrame({"split": np.repeat(["train", "test"], 200), "label": np.tile(np.repeat([1, 0], 100), 2)})
    index["patient"] = [f"child {i}" for i in range(400)]
    index = pd.concat([index, index[:4]], ignore_index=True)
    value = np.append(value, [np.nan] * 4)
    table = audit.framing(index, {"alone": value, "of two columns": np.stack([value, index.label], axis=1)})
    assert (table.films == 400).all() and list(table.test) == [0.75, 1]
    assert list(table.train) == pytest.approx([0.75, 1], abs=0.05)  # less: the folds' shares differ a little


# --- the shift to test ---


def test_a_brighter_test_folder_is_measured(audited):
    index, films, _ = audited
    brighter, is_test = films.copy(), (index.split == "test").to_numpy()
    brighter[is_test] = np.clip(brighter[is_test].astype(int) + 40, 0, 255)
    before, after = (audit.shift(index, x).set_index(["label", "statistic"]) for x in (films, brighter))
    assert abs(before.effect["NORMAL", "mean grey"]) < 0.8 < 1.5 < after.effect["NORMAL", "mean grey"]
    assert before.test["NORMAL", "AUROC, 8 x 8 of the film"] < 0.7 < after.test["NORMAL", "AUROC, 8 x 8 of the film"]
