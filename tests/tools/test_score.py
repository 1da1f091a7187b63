"""Scoring another folder: who is a patient, and how films that the study has too are compared."""

import pandas as pd
import pytest

from tools import score
from xraylib.evaluation import metrics
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


def test_films_of_both_are_compared_by_name_at_the_threshold_of_tune():
    known = pd.DataFrame({"path": ["train/a.png", "train/b.png"], "label": [0, 1], "probability": [0.2, 0.7]})
    known = known.assign(network="xray_cnn", seed=0)
    given = pd.DataFrame({"path": ["NORMAL/a.png", "PNEUMONIA/b.png", "NORMAL/new.png"], "label": [0, 1, 0], "seed": 0})
    given["probability"] = [0.3, 0.05, 0.5]
    points = {("xray_cnn", 0): metrics.FIXED}
    (row,) = score.twins(given, known, points).itertuples()
    assert (row.films, row.seeds, row.decisions_differ) == (2, 1, 1)  # b falls below the threshold
    assert row.mean == pytest.approx((0.1 + 0.65) / 2)
    assert row.p95 == pytest.approx(0.1 + 0.95 * 0.55)
    assert score.twins(given[2:], known, points).empty
