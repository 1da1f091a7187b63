"""The held-out measures: no film is measured by a network that saw it, its child or its range."""

import numpy as np
import pandas as pd
import pytest

from tools import heldout


def test_no_child_is_on_both_sides_and_a_range_is_on_neither(world):
    index = world[1][world[1].folder == "train"].reset_index(drop=True).replace("train1", "train3")
    index = index.assign(marker="R", ranges=np.where(index.patient.isin(["train0", "train50"]), "a", None))
    *folds, kept_out = found = list(heldout.splits(index, 0).values())
    assert all(pd.Series(split).groupby(index.patient).nunique().max() == 1 for split in found)
    assert (np.sum([split == "tune" for split in folds], axis=0) == [1] * len(index)).all() and len(folds) == 4
    assert kept_out.tolist() == index.split.where(index.ranges.isna(), "held out").tolist()


def test_measures_and_differences_solved_by_hand(config, monkeypatch):
    monkeypatch.setattr(heldout, "LEAST", 2)
    rows = [("R", 0, "fold 0", 0.0, 1.0), ("R", 1, "fold 1", 1, 2)] * 2 + [("L", 0, "fold 0", 9, 9)]
    rows += [("L", 0, "a", 2, 0), ("R", 1, "a", 1, 1), ("R", 1, "a", 3, 3), ("R", 0, "a", 4, 0)]
    films = pd.DataFrame(rows, columns=["marker", "label", "run", "old", "new"])
    split = ["held out" if row == 5 else "tune" for row in films.index]
    films = pd.concat([films.index.to_frame(name="path").assign(patient=films.index, split=split), films], axis=1)
    found = heldout.measures(films)
    assert [len(part) for part in found.values()] == [4, 3, 5, 3]  # within R, other station, all out of fold, tune
    table = heldout.compare(found["other station"], config).set_index("variant")
    assert table.value.to_dict() == pytest.approx({"old": 0.5, "new": 1, "new - old": 0.5})
