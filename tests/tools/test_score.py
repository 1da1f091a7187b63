"""Scoring another folder: read and refused as make predict does, and compared with films that the study has too."""

import numpy as np
import pandas as pd
import pytest

from tools import score
from xraylib.evaluation import metrics
from xraylib.files import UserError
from xraylib.predict import films


def test_all_films_of_both_classes_count_and_those_that_predict_refuses_are_said(tmp_path, monkeypatch, config):
    names = [
        "NORMAL/a.png",
        "NORMAL/b.jpe",
        "NORMAL/ward/c.dcm",
        "NORMAL/._a.png",
        "PNEUMONIA/a.png",
        "PNEUMONIA/e.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "index.csv").write_text("path,patient\nNORMAL/a.png,7\nPNEUMONIA/e.png,7\n")
    told = {"b.jpe": ({"decision": "not assessed", "reason": "in colour"}, [3.0]), "c.dcm": ({"problem": "cut"}, None)}

    def assess(paths, released):
        for path in paths:
            row, logits = told.get(path.rsplit("/")[-1], ({"decision": "NORMAL"}, [-3.0 if "NORMAL" in path else 3.0]))
            yield dict.fromkeys(films.COLUMNS, "") | row, logits and np.array(logits)

    monkeypatch.setattr(films, "assess_films", assess)
    table, unread = score.predict(tmp_path, (0,))
    assert unread == 1 and table.path.tolist() == ["NORMAL/a.png", "NORMAL/b.jpe", "PNEUMONIA/a.png", "PNEUMONIA/e.png"]
    assert table.patient.tolist() == ["7", "NORMAL/b.jpe", "PNEUMONIA/a.png", "7"]
    rows = score.figures(table, {(metrics.STUDY, 0): 0.5}, config).set_index("statistic")
    assert (rows.films == 4).all() and (rows.not_assessed == 1).all()
    assert rows["mean"].specificity == 0.5 and rows.mean_assessed.specificity == 1
    one_class = score.figures(table.assign(reason=np.where(table.label, "", "x")), {(metrics.STUDY, 0): 0.5}, config)
    assert "mean_assessed" not in one_class and (one_class.not_assessed == 2).all()
    for path in (tmp_path / "PNEUMONIA").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="PNEUMONIA: no films"):
        score.predict(tmp_path, (0,))


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
