"""Stations: drawn markers are found at all sizes and named, ribs alone are not; the tables in git are whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xraylib.data import stations
from xraylib.data.stations import BOLD, SANS, SERIF, Letter

RESULTS = Path(__file__).parents[2] / "results"


def film(letter=None, row=0, column=0, white=0, seed=0):
    """A chest with ribs and noise, uint8 (224, 224), and a letter whose centre stands at row and column."""
    y, x = np.mgrid[:224, :224]
    aside = np.abs(x - 112)
    grey = np.clip(150 - aside * 1.6, 10, None) + 15 * np.sin((y + aside / 3) / 4) * (aside < 70)
    grey += np.random.default_rng(seed).normal(0, 2, grey.shape)
    if letter:
        drawn = stations.draw(letter) * white / 255
        top, left = row - drawn.shape[0] // 2, column - drawn.shape[1] // 2
        drawn, top = drawn[max(-top, 0) :], max(top, 0)  # what stands above the film is cut
        grey[top : top + len(drawn), left : left + drawn.shape[1]] += drawn
    return np.clip(grey, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("marker", "font", "sizes", "row", "column", "white"),
    [
        ("large R", SANS, [(16, 10), (19, 12), (22, 14)], 40, 15, 170),
        ("large R", SANS, [(14, 8), (16, 9), (20, 11)], 4, 10, 170),  # cut by the upper edge of the film
        ("small bold R", BOLD, [(8, 8), (9, 8), (10, 8), (12, 9)], 100, 10, 130),
        ("A-P", SERIF, [(16, 8), (18, 9), (22, 11)], 60, 10, 130),
        ("thin R", BOLD, [(8, 5), (10, 6), (12, 6)], 12, 20, 90),
        ("thin R", SANS, [(11, 6), (13, 7)], 12, 20, 90),
    ],
)
def test_a_drawn_letter_is_found_and_named(marker, font, sizes, row, column, white):
    films = np.stack([film(Letter("R", font, *size, 0), row, column, white) for size in sizes])
    found = stations.find(films)
    assert set(found.marker) == {marker}
    assert np.abs(found["row"] - row).max() <= 3 and np.abs(found["column"] - column).max() <= 2


def test_ribs_alone_are_no_marker_and_the_ranges_follow_the_file_names():
    names = [
        "test/NORMAL/NORMAL2-IM-0171-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0773-0001.jpeg",
        "train/NORMAL/IM-0171-0001.jpeg",
    ]
    found = stations.table(pd.DataFrame({"path": names}), np.stack([film(seed=seed) for seed in range(3)]))
    assert set(found.marker) == {"none found"} and list(found.ranges) == ["0171-0275", "", ""]


def test_partners_are_the_films_whose_station_is_rare_in_their_class():
    films = pd.DataFrame({"path": list("abcdef"), "label": [0, 0, 0, 1, 1, 1], "split": "train"})
    rows = [("d", None, stations.RARE), ("a", "0705-0772", "A-P"), ("b", None, stations.RARE), ("e", None, "A-P")]
    found = stations.partners(films, pd.DataFrame(rows, columns=["path", "ranges", "marker"]))
    assert found.partner.tolist() == [True, False, False, True, False, False] and found.partner.dtype == bool
    phantoms = [("a", None, "large R"), ("b", None, stations.RARE), ("d", None, stations.RARE)]
    found = stations.partners(films, pd.DataFrame(phantoms, columns=["path", "ranges", "marker"]))
    assert found.path[found.partner].tolist() == ["a", "d"]


def test_the_tables_in_git_have_one_row_a_film_and_known_markers():
    table, check = (pd.read_csv(RESULTS / name) for name in ("stations.csv", "stations_check.csv"))
    assert table.path.is_unique and check.path.is_unique
    assert list(table.set_index("path").marker[check.path]) == list(check.marker)
    assert set(table.marker) == set(check.marker) == set(check.by_eye) == set(stations.MARKERS)
