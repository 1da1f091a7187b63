"""A ratio says how many times faster ours is, and what is timed does the work."""

import dataclasses
import json
import shutil
import time

import pandas as pd
import pytest

from xraylib import bench
from xraylib.files import UserError


def test_a_pair_is_a_ratio_of_rates():
    row = bench.pair("sleeping", "naps/s", 1, lambda: time.sleep(0.01), lambda: time.sleep(0.05))
    assert row["ratio"] == pytest.approx(row["ours"] / row["other"])
    assert row["ratio"] > 1
    assert row["ours"] < 1 / 0.01


def test_decoding_is_timed_on_the_files_given(world, config):
    files = sorted((world[0] / "test" / "NORMAL").iterdir())
    rows = bench.bench_decoding(files, config)
    assert [row["unit"] for row in rows] == ["images/s"] * 2
    assert all(row["ours"] > 0 and row["other"] > 0 for row in rows)


def test_the_pipelines_see_the_same_files(world, config):
    files = sorted((world[0] / "train").rglob("*.jpeg"))
    row = bench.bench_pipeline(files, config)
    assert row["ratio"] > 0


def test_the_portable_copy_is_timed_on_the_same_work_as_keras(world, config, monkeypatch):
    monkeypatch.setattr(bench, "MANY", 60)
    one, many, films = bench.bench_prediction(sorted((world[0] / "test" / "NORMAL").iterdir()), config)
    assert "MB: 1 image, against Keras" in one["name"] and "60 images" in many["name"]
    assert one["ratio"] > 1  # model.predict takes tens of milliseconds to begin
    assert films["ratio"] < 1  # phantoms' files are small: to decode them is the lesser half of the work
    assert many["ours"] > 0


def test_both_ways_of_starting_predict_one_film(world, monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    (row,) = bench.bench_start(next((world[0] / "test" / "NORMAL").iterdir()))  # raises where one of them fails
    assert row["unit"] == "films/s"
    assert row["ours"] > 0 and row["other"] > 0


def test_time_to_the_published_auroc_is_the_share_of_epochs_until_it_is_reached(config):
    config.results.mkdir()
    epochs = pd.DataFrame(
        {"network": "xray_cnn", "seed": 0, "epoch": [1, 2, 3, 4], "tune_auroc": [0.6, 0.9, 0.95, 0.99]}
    )
    epochs.to_csv(config.results / "history.csv", index=False)
    tune = {
        "network": "published",
        "seed": 0,
        "split": "tune",
        "label": [0, 0, 1, 1],
        "probability": [0.1, 0.6, 0.5, 0.9],
    }
    pd.DataFrame(tune).to_csv(config.results / "predictions.csv", index=False)  # three of four pairs rightly ordered
    timing = {"seconds": {"published": {"0": 30.0}, "xray_cnn": {"0": 40.0}}}
    (config.results / "timing.json").write_text(json.dumps(timing))
    (row,) = bench.bench_training(config)
    assert (row["ours"], row["other"], row["ratio"]) == (20, 30, 1.5)
    assert "0.750" in row["name"]


def test_without_a_run_there_is_no_time_to_compare(config):
    assert bench.bench_training(config) == []


def test_a_folder_with_train_alone_is_enough(world, tmp_path):
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(UserError, match="train/NORMAL: no images"):
        bench.list_images(tmp_path, ["train"])
    films = [next((world[0] / "train" / name).iterdir()) for name in ("NORMAL", "PNEUMONIA")]
    for film in films:
        shutil.copy(film, tmp_path / "train" / film.parent.name)
    (tmp_path / "train" / "NORMAL" / "._film.jpeg").write_bytes(b"no film")
    assert [path.name for path in bench.list_images(tmp_path, ["train"])] == [film.name for film in films]


def test_the_command_times_every_pair_and_says_where_they_are(world, config, monkeypatch, capsys):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "MANY", 16)
    monkeypatch.setattr(bench, "load_config", lambda: config)
    monkeypatch.setattr("sys.argv", ["bench"])
    assert bench.main() == 0
    rows = json.loads((config.build.parent / "bench.json").read_text())
    assert all(set(row) == {"name", "ours", "other", "unit", "ratio"} for row in rows)
    assert len(rows) >= 7  # two more where PyTorch is installed, one more after a run
    assert f"{len(rows)} pairs" in capsys.readouterr().out
    monkeypatch.setattr(bench, "load_config", lambda: dataclasses.replace(config, data=config.data / "nowhere"))
    assert bench.main() == 2
    assert "no such folder" in capsys.readouterr().err
