"""What is measured grows: copies are other patients' films, memory is the process' own, and every step is run."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tools import growth
from xraylib import plots
from xraylib.data.index import build_index
from xraylib.files import UserError


def test_copies_are_other_patients_and_no_file_is_there_twice(world, config, tmp_path):
    growth.repeat(world[0], tmp_path / "chest_xray", 300)
    grown = dataclasses.replace(config, data=tmp_path / "chest_xray", sample_patients=None)
    index, skipped = build_index(grown)
    drawn, _ = build_index(dataclasses.replace(config, data=world[0], sample_patients=None))
    assert len(index) == 300 and skipped.empty
    assert index.sha256.nunique() == 300
    assert set(index.subtype) == set(drawn.subtype)
    times = 300 / len(drawn)
    assert index.patient.nunique() == pytest.approx(times * drawn.patient.nunique(), rel=0.1)


def test_memory_held_during_a_step_is_seen_and_what_is_mapped_is_not(config, tmp_path, monkeypatch):
    np.save(tmp_path / "mapped.npy", np.ones(60_000_000, np.uint8))

    def hold(_):
        assert np.ones(120_000_000, np.uint8).sum() == 120_000_000

    def read_mapped(_):
        assert np.load(tmp_path / "mapped.npy", mmap_mode="r").sum() == 60_000_000

    monkeypatch.setitem(growth.STEPS, "index", ("holding", hold))
    monkeypatch.setitem(growth.STEPS, "decode", ("mapping", read_mapped))
    before = growth._own_memory() / 1e6
    assert growth.measure("decode", config)["peak_mb"] < before + 40
    assert growth.measure("index", config)["peak_mb"] > before + 100


def test_every_step_is_measured_at_every_size_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("XRAY_PROFILE", "sample")
    table = growth.run((150, 300), tmp_path)
    assert table.groupby("images", sort=True).step.apply(list).tolist() == [[d for d, _ in growth.STEPS.values()]] * 2
    assert (table.seconds > 0).all() and (table.peak_mb > 20).all()
    assert [p.name for p in tmp_path.iterdir()] == ["drawn"]  # the films of a size go before the next
    _, axes = plots.figure(1, 2, width=plots.DOUBLE)
    plots.growth(table, axes)
    assert len(axes[0].lines) == 2 * len(growth.STEPS)


def test_a_step_that_stops_stops_all(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "repeat", lambda *_: None)  # no images
    with pytest.raises(UserError, match="150 images, hashing and checking files: stopped"):
        growth.run((150,), tmp_path)


def test_the_command_writes_its_table_and_figure(config, monkeypatch, capsys):
    monkeypatch.setenv("XRAY_PROFILE", "sample")
    monkeypatch.setattr(growth, "SIZES", (150,))
    monkeypatch.setattr(growth, "load_config", lambda: config)
    monkeypatch.setattr("sys.argv", ["growth"])
    assert growth.main() == 0
    assert len(pd.read_csv(config.results / "growth.csv")) == len(growth.STEPS)
    assert (config.plots / "growth.png").exists()
    monkeypatch.setattr(growth, "repeat", lambda *_: None)
    assert growth.main() == 1
    assert "stopped, see above" in capsys.readouterr().err
