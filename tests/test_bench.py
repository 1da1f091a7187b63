"""A ratio says how many times faster ours is, and what is timed does the work."""

import dataclasses
import json
import shutil
import time

import numpy as np
import pandas as pd
import pytest

from tools import bench
from xraylib.evaluation import metrics
from xraylib.files import UserError
from xraylib.network import train
from xraylib.network.backend import keras


def test_a_pair_is_a_ratio_of_rates():
    row = bench.pair("sleeping", "naps/s", 1, lambda: time.sleep(0.01), lambda: time.sleep(0.05))
    assert row["ratio"] == pytest.approx(row["ours"] / row["other"])
    assert row["ratio"] > 1
    assert row["ours"] < 1 / 0.01


def test_decoding_is_timed_on_the_files_given(world, config):
    files = sorted((world[0] / "test" / "NORMAL").iterdir())
    rows = bench.bench_decoding(files, config)
    assert [row["unit"] for row in rows] == ["images/s"] * 2
    assert all("films of 32 x 32, against" in row["name"] for row in rows)
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


def test_as_many_multiplications_are_made_as_one_product(config, monkeypatch):
    network = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.Conv2D(512, 8, strides=8), keras.layers.ReLU()])
    made = []
    monkeypatch.setattr(bench.tf, "matmul", lambda left, right: made.append((left.shape, right.shape)) or left)
    bench.as_products(network, np.zeros((32, 64, 64, 1), np.float32), steps=3)()
    (left, right) = made[0]  # traced once
    assert left == (3 * 32 * 8 * 8 * 512 * 8 * 8 // 2048**2, 2048) and right == (2048, 2048)


def test_both_ways_of_starting_predict_one_film(world, monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    (row,) = bench.bench_start(next((world[0] / "test" / "NORMAL").iterdir()))  # raises where one of them fails
    assert row["unit"] == "films/s"
    assert row["ours"] > 0 and row["other"] > 0


def test_a_training_is_timed_until_tune_is_told_apart_so_well(world, config, monkeypatch):
    _, index, images = world
    monkeypatch.setattr(bench, "ASKED", 2)
    asked = []
    ranking = metrics.ranking
    monkeypatch.setattr(metrics, "ranking", lambda *part: asked.append(len(part[0])) or ranking(*part))
    assert 0 < bench.seconds_to(0.0, 0, index, images, config) < np.inf
    assert asked == [16]  # the first look is enough, and only tune's images are looked at
    assert bench.seconds_to(1.1, 0, index, images, config) == np.inf
    assert len(asked) == 1 + 3 * 3  # six batches of eight an epoch


def test_looking_at_tune_is_not_counted(world, config, monkeypatch):
    _, index, images = world
    monkeypatch.setattr(bench, "ASKED", 6)
    monkeypatch.setattr(train, "predict", lambda *_: time.sleep(10) or np.zeros(16))  # slower than all the training
    assert bench.seconds_to(0.0, 0, index, images, config) < 10


def test_both_trainings_are_timed_where_the_images_are_indexed(world, config, monkeypatch, capsys):
    assert bench.bench_training(config) == []
    assert "index.csv: not there" in capsys.readouterr().out
    config.results.mkdir()
    index = world[1].assign(patient_number="", width=32, height=32)
    index.to_csv(config.results / "index.csv", index=False)
    monkeypatch.setattr(bench, "ASKED", 1)
    (row,) = bench.bench_training(config)
    assert row["other"] > 0 and row["ratio"] == pytest.approx(row["other"] / row["ours"])
    assert "seed 0: AUROC " in capsys.readouterr().out
    monkeypatch.setattr(bench, "seconds_to", lambda *_: np.inf)
    assert bench.bench_training(config) == []  # JSON knows no infinity
    assert "did not reach" in capsys.readouterr().out
    assert bench.bench_training(dataclasses.replace(config, data=world[0] / "test")) == []
    assert "jpeg is not there" in capsys.readouterr().out


def test_pairs_of_other_films_are_kept_and_of_the_same_replaced(tmp_path):
    def row(films, ratio):
        return {"name": f"decoding films of {films}", "ours": ratio, "other": 1.0, "unit": "images/s", "ratio": ratio}

    for rows in ([row("9 x 9", 1.0), row("8 x 8", 2.0)], [row("9 x 9", 3.0)]):
        bench.keep(rows, tmp_path / "results" / "bench.csv")
    kept = pd.read_csv(tmp_path / "results" / "bench.csv")
    assert dict(zip(kept.name, kept.ratio, strict=True)) == {"decoding films of 8 x 8": 2, "decoding films of 9 x 9": 3}


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
    assert len(rows) >= 8  # two more where PyTorch is installed, one more after a run
    kept = pd.read_csv(config.results / "bench.csv")
    assert kept.name.tolist() == [row["name"] for row in rows]
    np.testing.assert_allclose(kept.ratio, [row["ratio"] for row in rows], atol=1e-4)
    assert f"{len(rows)} pairs" in capsys.readouterr().out
    monkeypatch.setattr(bench, "load_config", lambda: dataclasses.replace(config, data=config.data / "nowhere"))
    assert bench.main() == 2
    assert "no such folder" in capsys.readouterr().err
