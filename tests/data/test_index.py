"""The index knows whose image each file is, keeps patients apart, and says what it could not read."""

import dataclasses
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xraylib.data import decode
from xraylib.data import index as index_module
from xraylib.data.index import assign_splits, build_index, compare_with_official, find_root, parse_name, sample_patients
from xraylib.files import UserError

# --- names ---


@pytest.mark.parametrize(
    ("name", "subtype", "patient", "number"),
    [
        ("person1234_bacteria_5678.jpeg", "bacteria", "person1234_bacteria", "person1234"),
        ("person1234_virus_5678.jpeg", "virus", "person1234_virus", "person1234"),
        ("IM-0115-0001.jpeg", "normal", "IM-0115", "IM-0115"),
        ("IM-0115-0001-0002.jpeg", "normal", "IM-0115", "IM-0115"),
        ("NORMAL2-IM-0587-0001-0002.jpeg", "normal", "NORMAL2-IM-0587", "IM-0587"),
        ("holiday.jpeg", "unknown", "holiday", "holiday"),
    ],
)
def test_names_of_the_archive(name, subtype, patient, number):
    assert parse_name(name) == (subtype, patient, number)


@given(st.integers(1, 9999), st.sampled_from(["bacteria", "virus"]), st.integers(1, 9999), st.integers(1, 9999))
def test_images_of_one_person_and_subtype_are_one_patient(person, subtype, first, second):
    one, other = (parse_name(f"person{person}_{subtype}_{n}.jpeg") for n in (first, second))
    assert one == other
    assert one[1] != parse_name(f"person{person + 1}_{subtype}_{first}.jpeg")[1]


@given(st.text(min_size=1, max_size=40))
def test_any_name_gives_some_patient(name):
    subtype, patient, number = parse_name(name)
    assert subtype in {"bacteria", "virus", "normal", "unknown"}
    assert patient or not Path(name).stem
    assert number or not Path(name).stem


# --- folders ---


def test_every_image_has_its_row(folder):
    root, config = folder
    index, skipped = build_index(config)
    assert len(index) == 84
    assert skipped.empty
    assert index.path.is_monotonic_increasing
    first = index.iloc[0]
    assert (first.path, first.label, first.width, first.height, first["mode"]) == (
        "test/NORMAL/IM-0000-0001.jpeg", 0, 32, 32, "L",
    )  # fmt: skip
    assert first.bytes == (root / first.path).stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", first.sha256)


def test_the_archives_rubbish_is_passed_over(folder):
    root, config = folder
    shutil.copytree(root, root / "chest_xray")
    (root / "__MACOSX").mkdir()
    (root / "train" / "NORMAL" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "NORMAL" / "._IM-0001-0001.jpeg").write_bytes(b"x")
    (root / "train" / "NORMAL" / "notes.txt").write_bytes(b"x")
    (root / "test" / ".ipynb_checkpoints").mkdir()
    shutil.copy(root / "train/NORMAL/IM-0000-0001.jpeg", root / "test" / ".ipynb_checkpoints")
    index, skipped = build_index(config)
    assert len(index) == 84
    assert skipped.to_numpy().tolist() == [["train/NORMAL/notes.txt", "no film by its name or content"]]
    assert find_root(root) == root


def test_links_to_folders_and_other_suffixes_are_read_and_the_rest_is_listed(folder, tmp_path):
    root, config = folder
    (tmp_path / "elsewhere").mkdir()
    for i, suffix in enumerate((".jfif", ".jpe", ".dcm")):
        Image.fromarray(np.full((32, 32), 40 * i + 9, np.uint8)).save(tmp_path / "elsewhere" / f"x{i}{suffix}", "JPEG")
    (root / "train" / "NORMAL" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "NORMAL" / "loop").symlink_to(root / "train")
    shutil.copy(root / "train/NORMAL/IM-0000-0001.jpeg", root / "val" / "stray.jpeg")
    index, skipped = build_index(config)
    assert len(index) == 87 and "train/NORMAL/more/x0.jfif" in set(index.path)
    assert dict(skipped.to_numpy()) == {
        "val/stray.jpeg": "not in a folder NORMAL or PNEUMONIA",
    }


def test_the_archives_outer_folder_will_do(folder, tmp_path):
    root, config = folder
    outer = tmp_path / "archive"
    outer.mkdir()
    root.rename(outer / "chest_xray")
    assert find_root(outer) == outer / "chest_xray"
    assert len(build_index(dataclasses.replace(config, data=outer))[0]) == 84


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 100])
def test_the_quality_that_a_file_was_saved_with_is_found(tmp_path, quality):
    Image.new("L", (32, 32), 99).save(tmp_path / "a.jpeg", quality=quality)
    Image.new("L", (32, 32), 99).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.jpeg") as film, Image.open(tmp_path / "a.png") as other:
        assert abs(decode.jpeg_quality(film) - quality) <= 1
        assert decode.jpeg_quality(other) == 0


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


def test_a_name_that_is_not_unicode_is_listed(folder):
    root, config = folder
    try:
        os.rename(root / "val/NORMAL/IM-0000-0001.jpeg", os.fsencode(root) + b"/val/NORMAL/caf\xe9.jpeg")
    except OSError:
        return  # a file system that has no such names needs no rule for them
    index, skipped = build_index(config)
    assert len(index) == 83
    assert "UTF-8" in skipped.reason[0]
    skipped.to_csv().encode()


# --- splits ---


def patients(rows):
    return pd.DataFrame(rows, columns=["folder", "label", "subtype", "patient", "sha256"])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_no_patient_and_no_identical_file_stands_on_both_sides(seed, folds):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(120) % 2)
    owner = rng.integers(0, 30, 120)
    table = patients(
        {
            "folder": "train",
            "label": label,
            "subtype": np.where(label == 1, "virus", "normal"),
            "patient": [f"{x}-{p}" for x, p in zip(label, owner, strict=True)],
            "sha256": [f"{x}-{f}" for x, f in zip(label, rng.integers(0, 100, 120), strict=True)],
        }
    )
    try:
        split = assign_splits(table, folds, seed)
    except UserError:
        return  # chance linked all patients of a class
    for key in ("patient", "sha256"):
        assert not set(table[key][split == "train"]) & set(table[key][split == "tune"])
    assert set(split) == {"train", "tune"}


def test_two_patients_with_one_file_are_kept_together():
    # a, b share file 1, b, c share file 2: one group of three; with 2 folds the others must balance it
    rows = [
        ("train", 0, "normal", p, f)
        for p, f in [("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("d", "3"), ("e", "4")]
    ]
    rows += [("train", 1, "virus", f"v{i}", f"f{i}") for i in range(6)]
    split = assign_splits(patients(rows), 2, 0)
    assert len(set(split[:4])) == 1


def test_test_and_val_keep_their_names_and_shares_are_as_asked(world):
    _, index, _ = world
    split = assign_splits(index, 4, 0)
    assert (split[index.folder != "train"] == index.folder[index.folder != "train"]).all()
    assert (split == "tune").sum() == 16
    assert index.label[split == "tune"].mean() == 0.5


def test_too_few_patients_are_said(world):
    _, index, _ = world
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
    assert sum(n for (folder, _), n in index_module.OFFICIAL.items() if folder == "train") == 5216
    assert sum(n for (folder, _), n in index_module.OFFICIAL.items() if folder == "test") == 624
    one = pd.DataFrame({"folder": ["train"], "subtype": ["unknown"]})
    table = compare_with_official(one).set_index(["folder", "subtype"])
    assert table.difference["train", "unknown"] == 1
    assert table.difference["train", "normal"] == -1341
