"""Scoring another folder: who is a patient, and how films that the study has too are compared."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from tools import score
from xraylib.files import UserError


def folder(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_patients_are_those_of_index_csv_and_else_the_file(tmp_path):
    folder(tmp_path, ["NORMAL/a.png", "NORMAL/b.png", "PNEUMONIA/c.png"])
    (tmp_path / "index.csv").write_text("file,patient\nNORMAL/a.png,7\nPNEUMONIA/c.png,7\n")
    table = score.index_folder(tmp_path)
    assert table.label.tolist() == [0, 0, 1]
    assert table.patient.tolist() == ["7", "b", "7"]


def test_a_class_without_films_is_named(tmp_path):
    with pytest.raises(UserError, match="PNEUMONIA: no films"):
        score.index_folder(folder(tmp_path, ["NORMAL/a.png"]))


def rows(probabilities, split, seed=0):
    names = [f"{'ab'[label]}{i}.png" for i, (label, _) in enumerate(probabilities)]
    return pd.DataFrame(
        {
            "network": "xray_cnn", "seed": seed, "split": split, "label": [label for label, _ in probabilities],
            "path": [f"{split}/{name}" for name in names], "patient": names, "subtype": "x",
            "logit": logit([p for _, p in probabilities]),
        }
    )  # fmt: skip


def test_films_of_both_are_compared_by_name_at_the_threshold_of_tune():
    known = pd.concat([rows([(0, 0.1), (0, 0.4), (1, 0.6), (1, 0.9)], "tune"), rows([(0, 0.2), (1, 0.7)], "train")])
    known = known[~((known.split == "tune") & known.path.str.contains("a0|b1"))]  # names are unique in the study
    given = pd.DataFrame(
        {"path": ["NORMAL/a0.png", "PNEUMONIA/b1.png", "NORMAL/new.png"], "label": [0, 1, 0], "seed": 0}
    ).assign(probability=[0.3, 0.05, 0.5])
    (row,) = score.twins(given, known).itertuples()
    assert (row.films, row.seeds, row.decisions_differ) == (2, 1, 1)  # b1 falls below every threshold of tune
    assert row.mean == pytest.approx((0.1 + 0.65) / 2)
    assert score.twins(given[given.path == "NORMAL/new.png"], known).empty
    assert np.isfinite(row.p95)
