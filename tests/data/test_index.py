"""The index knows whose film each file is, keeps patients apart, and says what it could not read."""

import csv
import dataclasses
import io
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from xraylib.data import audit, phantom
from xraylib.data.index import (
    OFFICIAL,
    assign_splits,
    build_index,
    compare_with_official,
    parse_name,
    sample_patients,
)
from xraylib.files import UserError

# --- names ---


NAMES = {  # subtype, patient, bare number
    "person1234_bacteria_5678.jpeg": ("bacteria", "person1234_bacteria", "person1234"),
    "person1234_virus_5678.jpeg": ("virus", "person1234_virus", "person1234"),
    "IM-0115-0001.jpeg": ("normal", "IM-0115", "IM-0115"),
    "IM-0115-0001-0002.jpeg": ("normal", "IM-0115", "IM-0115"),
    "NORMAL2-IM-0587-0001-0002.jpeg": ("normal", "NORMAL2-IM-0587", "IM-0587"),
    "NORMAL-1003233-0001.jpeg": ("normal", "normal-1003233", "1003233"),
    "VIRUS-1008087-0003.jpeg": ("virus", "virus-1008087", "1008087"),
    "0.jpeg": ("unknown", "train/PNEUMONIA/0.jpeg", "train/PNEUMONIA/0.jpeg"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_give_subtype_and_patient(name):
    assert parse_name(f"train/PNEUMONIA/{name}") == NAMES[name]


@given(st.text(min_size=1, max_size=40))
def test_a_name_without_a_patient_is_a_patient_of_its_folder_and_class(name):
    folders = [f"{folder}/{kind}" for folder in ("train", "val", "test") for kind in ("NORMAL", "PNEUMONIA")]
    parsed = [parse_name(f"{folder}/a{name}.jpeg") for folder in folders]
    assert len({patient for _, patient, _ in parsed}) == len({number for _, _, number in parsed}) == 6
    assert [subtype for subtype, _, _ in parsed] == ["normal", "unknown"] * 3


# --- folders ---


def test_every_film_has_its_row(folder):
    root, config = folder
    index, skipped = build_index(config)
    assert len(index) == 84 and skipped.empty and index.path.is_monotonic_increasing
    first = index.iloc[0]
    assert (first.path, first.label) == ("test/NORMAL/IM-0000-0001.jpeg", 0)
    assert (first.width, first.height, first["mode"], first.quality) == (32, 32, "L", 95)
    assert first.bytes == (root / first.path).stat().st_size and re.fullmatch("[0-9a-f]{64}", first.sha256)


def test_the_archive_is_read_once_without_its_rubbish_and_the_rest_is_listed(folder):
    root, config = folder
    shutil.copytree(root, root / "chest_xray")
    for rubbish in ("__MACOSX/a.jpeg", "train/NORMAL/.DS_Store", "train/NORMAL/._IM-0001.jpeg", "test/.cache/a.jpeg"):
        (root / rubbish).parent.mkdir(exist_ok=True)
        (root / rubbish).write_bytes(b"x")
    (root / "train/NORMAL/notes.txt").write_bytes(b"x")
    shutil.copy(root / "train/NORMAL/IM-0000-0001.jpeg", root / "val/stray.jpeg")
    (root / "train/NORMAL/IM-0000-0001.jpeg").rename(root / "train/NORMAL/IM-0000-0001")  # known by its content
    index, skipped = build_index(dataclasses.replace(config, data=root.parent))  # the archive's outer folder will do
    assert len(index) == 84 and "train/NORMAL/IM-0000-0001" in set(index.path)
    assert dict(skipped.to_numpy()) == {
        "train/NORMAL/notes.txt": "no film by its name or content",
        "val/stray.jpeg": "not in a folder NORMAL or PNEUMONIA",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: shutil.rmtree(root), "no such folder.*make data"),
        (lambda root: (shutil.rmtree(root), root.symlink_to(root)), "no such folder"),  # a loop of links
        (lambda root: shutil.rmtree(root / "train"), "no train folder.*make data"),
        (lambda root: shutil.rmtree(root / "test"), "test: No such file or directory"),
        (lambda root: shutil.rmtree(root / "train" / "NORMAL"), "train/NORMAL: no films"),
        (lambda root: [p.write_text("a") for p in (root / "val" / "NORMAL").iterdir()], "no film that can be read"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_message(folder, change, words):
    root, config = folder
    change(root)
    with pytest.raises(UserError, match=words) as error:
        build_index(config)
    assert "\n" not in str(error.value)


def test_tables_have_a_row_a_film_whatever_the_names(folder):
    root, config = folder
    for i, name in enumerate((b"a\rb", b"c\nd", b"caf\xe9", b'quote"', b"comma,", "e\u2028f".encode())):
        os.rename(root / f"train/NORMAL/IM-{2 * i:04d}-0001.jpeg", os.fsencode(root / "train/NORMAL") + b"/" + name)
    index, skipped = build_index(config)
    for table, rows in ((index, 80), (skipped, 4)):
        text = table.to_csv(index=False)
        assert len(table) == rows and len(text.splitlines()) == rows + 1
        assert len(list(csv.reader(io.StringIO(text)))) == rows + 1
    assert skipped.path.tolist() == [f"train/NORMAL/{name}" for name in (r"a\rb", r"c\nd", r"caf\udce9", r"e\u2028f")]
    assert skipped.reason.str.contains("control characters, or bytes that are not UTF-8, in its name").all()


def test_a_damaged_film_is_listed_and_a_trimmed_border_is_counted(folder):
    root, config = folder
    films = [phantom.expose(phantom.shadow(item)[0], item) for item in phantom.plan(66)[:2]]
    films[0].save(root / "train/NORMAL/IM-0000-0001.jpeg", quality=90)
    whole = (root / "train/NORMAL/IM-0000-0001.jpeg").read_bytes()
    (root / "train/NORMAL/IM-0000-0001.jpeg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    ImageOps.expand(films[1], 12, 255).save(root / "test/PNEUMONIA/person1_bacteria_1.jpeg", "PNG")
    index, skipped = build_index(dataclasses.replace(config, film_size=224))
    assert skipped.path.tolist() == ["train/NORMAL/IM-0000-0001.jpeg"]
    table = audit.trimmed(index).set_index(["split", "class"])
    assert table.films.sum() == 83 and table.trimmed.sum() == 1 and table.trimmed["test", "PNEUMONIA"] == 1
    margin = 1 - films[1].width * films[1].height / ((films[1].width + 24) * (films[1].height + 24))
    assert index.set_index("path").trimmed["test/PNEUMONIA/person1_bacteria_1.jpeg"] == pytest.approx(margin, rel=0.1)


# --- splits ---


def patients(rows):
    return pd.DataFrame(rows, columns=["folder", "label", "subtype", "patient", "sha256"])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_no_patient_and_no_identical_file_stands_on_both_sides(seed, folds):
    rng = np.random.default_rng(seed)
    table = patients({"folder": "train", "label": rng.permutation(np.arange(120) % 2)})
    table["subtype"] = np.where(table.label == 1, "virus", "normal")
    for key, n in (("patient", 30), ("sha256", 100)):
        table[key] = table.label.astype(str) + "-" + pd.Series(rng.integers(0, n, 120)).astype(str)
    try:
        split = assign_splits(table, folds, seed)
    except UserError:
        return  # chance linked all patients of a class
    for key in ("patient", "sha256"):
        assert not set(table[key][split == "train"]) & set(table[key][split == "tune"])
    assert set(split) == {"train", "tune"}


def test_two_patients_with_one_file_are_kept_together():
    # a, b share file 1, b, c share file 2: one group of three; with 2 folds the others must balance it
    owners = [("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("d", "3"), ("e", "4")]
    rows = [("train", 0, "normal", patient, file) for patient, file in owners]
    rows += [("train", 1, "virus", f"v{i}", f"f{i}") for i in range(6)]
    assert len(set(assign_splits(patients(rows), 2, 0)[:4])) == 1


def test_test_and_val_keep_their_names_and_shares_are_as_asked(world):
    _, index, _ = world
    split = assign_splits(index, 4, 0)
    assert (split[index.folder != "train"] == index.folder[index.folder != "train"]).all()
    assert (split == "tune").sum() == 16 and index.label[split == "tune"].mean() == 0.5
    with pytest.raises(UserError, match="train/NORMAL: images of 32 patients; wanted at least 40"):
        assign_splits(index, 40, 0)


def test_a_sample_takes_whole_patients_of_every_group(world):
    _, index, _ = world
    twice = pd.concat([index, index], ignore_index=True)
    sample = sample_patients(twice, 3, 0)
    assert sample.groupby(["folder", "subtype"]).patient.nunique().max() == 3
    assert (sample.groupby("patient").size() == 2).all()
    assert sample.equals(sample_patients(twice, 3, 0))


def test_counts_are_compared_with_the_archive():
    films = pd.Series(OFFICIAL).groupby(level=0).sum()
    assert films.to_dict() == {"train": 5216, "val": 16, "test": 624}
    table = compare_with_official(pd.DataFrame({"folder": ["train"], "subtype": ["unknown"]}))
    table = table.set_index(["folder", "subtype"])
    assert table.difference["train", "unknown"] == 1 and table.difference["train", "normal"] == -1341
