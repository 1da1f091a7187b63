"""What is timed does the work, and its rows are kept by name."""

import pandas as pd
import pytest

from tools import bench
from xraylib.data.index import build_index


def test_the_command_times_every_pair_and_keeps_those_of_other_films(world, config, monkeypatch):
    table, cold = config.results / "bench.csv", "one film from a cold start, against Keras"
    table.parent.mkdir()
    table.write_text(f'name,ours,other,unit,ratio\n"{cold}",0,1,films/s,0\ndecoding films of 9 x 9,1,1,images/s,1\n')
    for name, value in {"ROUNDS": 1, "SIZES": (150,), "STEPS": ["hashing and checking files"], "DRAWN": 40}.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "load_config", lambda: config)
    assert bench.main() == 0
    kept = pd.read_csv(table).set_index("name").ratio
    assert kept.index.is_unique and kept[cold] > 0 and kept["decoding films of 9 x 9"] == 1
    assert kept.index.str.contains("plain Pillow").sum() == 2 and kept.index.str.contains(r"Keras' Random\*").any()
    grown = pd.read_csv(config.results / "growth.csv")
    assert list(grown.images) == [150] and (grown.seconds > 0).all() and (grown.peak_mb > 20).all()


def test_copies_are_other_patients_and_no_file_is_there_twice(world, config, tmp_path):
    bench.repeat(world[0], tmp_path / "chest_xray", 300)
    index, skipped = build_index(bench.replace(config, data=tmp_path / "chest_xray"))
    drawn, _ = build_index(config)
    assert len(index) == index.sha256.nunique() == 300 and skipped.empty
    assert index.patient.nunique() == pytest.approx(300 / len(drawn) * drawn.patient.nunique(), rel=0.1)
