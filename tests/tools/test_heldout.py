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


def test_the_control_draws_as_many_partners_from_the_common_station():
    index = pd.DataFrame({"label": [0] * 20 + [1] * 20, "marker": ([heldout.RARE] * 10 + ["A-P"] * 10) * 2})
    index = index.assign(ranges=[None] * 15 + ["a"] * 5 + [None] * 20, partner=index.index.isin([15, 16, 20, 21, 22]))
    drawn = heldout.control(index)
    assert drawn[drawn.partner].groupby(["label", "marker"]).size().to_dict() == {(0, heldout.RARE): 2, (1, "A-P"): 3}


def test_measures_solved_by_hand_are_means_over_seeds(config):
    rows = [(heldout.RARE, 0, "tune", 0, 0, 0), ("L", 0, "tune", 4, 0, 0), ("L", 0, "held out", 2, 0, 4)]
    rows += [(heldout.RARE, 1, "tune", 1, 1, 3)] * 3 + [("L", 1, "tune", 5, 5, 5)]
    films = pd.DataFrame(rows, columns=["marker", "label", "split", ("old", 0), ("new", 0), ("new", 1)])
    films = films.assign(path=films.index, patient=films.index, run="a")
    films["old", 1] = films["old", 0]
    table = heldout.compare(films, config).set_index(["measure", "variant"])
    of_old = {"other station": 1 / 4, "tune": 5 / 8, "tune, balanced over stations": 3 / 4, "score": 1 / 2}
    assert table.value.xs("old", level=1)[list(of_old)].to_dict() == pytest.approx(of_old)
    new = table.loc["other station"]
    assert new.value.to_dict() == pytest.approx({"old": 1 / 4, "new": 5 / 8, "new - old": 3 / 8})
    assert new.sd.new == pytest.approx(np.std([1, 1 / 4], ddof=1)) and table.seeds.eq(2).all()
    right = table.value["other station, specificity"]  # thresholds lie between 0 and 1 or 3, and in the midst for old
    assert right.new == 1 / 2


def test_stations_with_few_films_of_a_class_are_not_measured(monkeypatch):
    monkeypatch.setattr(heldout, "LEAST", 2)
    films = pd.DataFrame({"run": "fold 0", "marker": list("RRRRLLL"), "label": [0, 0, 1, 1, 0, 1, 1]})
    found = heldout.measures(films)
    assert {name: len(group) for name, group in found.items()} == {"within R": 4, "all out of fold": 7}
