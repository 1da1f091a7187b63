"""Any folder is predicted as the study predicts; what cannot be read is listed, and the rest is not lost."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from xraylib import evaluate, predict, train
from xraylib.config import REPOSITORY
from xraylib.files import UserError


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A models folder with one small network, and the predictions of the run that made it."""
    from xraylib.config import Config

    home = tmp_path_factory.mktemp("trained")
    homes = {name: home / name for name in ("results", "plots", "models", "build")}
    short = {"seeds": (0,), "image_size": 32, "batch_size": 8, "epochs": 4}
    config = Config("sample", world[0], True, **homes, **short, published_steps=8, published_validation_steps=4)
    _, index, images = world
    train.train_all(index, images, config, lambda text: None)
    predictions = pd.read_csv(config.results / "predictions.csv")
    evaluate.decision_file(predictions, config)
    return config, predictions


def test_a_folder_is_predicted_as_the_study_did(trained, world):
    config, predictions = trained
    networks, decision = predict.load_networks(config.models)
    root = world[0]
    table = predict.predict_films(predict.find_films(root / "test"), networks, decision)
    own = predictions[(predictions.network == "xray_cnn") & (predictions.split == "test")]
    own = own.set_index(own.path.map(lambda path: str(root / path))).loc[table.path]
    # the study's world holds arrays, the folder their JPEG copies: alike, but not to the bit
    order = np.corrcoef(own.probability, table.probability)[0, 1]
    assert order > 0.95
    called = np.where(table.probability >= table.threshold, "PNEUMONIA", "NORMAL")
    assert (table.decision == called).all()
    assert (table.problem == "").all()


def test_the_published_networks_are_loaded_by_a_process_that_knows_nothing_else(world, tmp_path):
    film = next((world[0] / "test" / "NORMAL").iterdir())
    command = [sys.executable, "-m", "xraylib.predict", str(film), "--output", str(tmp_path / "table.csv")]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "1 films" in ran.stdout
    table = pd.read_csv(tmp_path / "table.csv")
    assert table.path.tolist() == [str(film)]
    assert 0 <= table.probability[0] <= 1


def test_what_cannot_be_read_is_listed_and_the_rest_predicted(trained, world, tmp_path):
    config, _ = trained
    folder = tmp_path / "a folder" / "deeper"
    folder.mkdir(parents=True)
    good = next((world[0] / "test" / "NORMAL").iterdir())
    shutil.copy(good, folder / "good.JPG")
    (folder / "text.jpeg").write_text("no image")
    (folder / "cut.jpeg").write_bytes(good.read_bytes()[:300])
    (folder / ".hidden.jpeg").write_text("")
    (folder / "notes.txt").write_text("")
    networks, decision = predict.load_networks(config.models)
    table = predict.predict_films(predict.find_films(tmp_path / "a folder"), networks, decision)
    table.index = [path.rsplit("/", 1)[-1] for path in table.path]
    assert sorted(table.index) == ["cut.jpeg", "good.JPG", "text.jpeg"]
    assert table.problem["good.JPG"] == "" and 0 <= table.probability["good.JPG"] <= 1
    assert table.problem[["cut.jpeg", "text.jpeg"]].ne("").all()
    assert table.probability[["cut.jpeg", "text.jpeg"]].isna().all()


def test_chunks_do_not_change_the_answer(trained, world, monkeypatch):
    config, _ = trained
    networks, decision = predict.load_networks(config.models)
    films = predict.find_films(world[0] / "val")
    whole = predict.predict_films(films, networks, decision)
    monkeypatch.setattr(predict, "CHUNK", 3)
    pd.testing.assert_frame_equal(predict.predict_films(films, networks, decision), whole, rtol=1e-5)


@pytest.mark.parametrize("spoil", ["missing", "changed", "undescribed"])
def test_another_network_than_the_published_one_is_refused(trained, tmp_path, spoil):
    models = shutil.copytree(trained[0].models, tmp_path / "models")
    if spoil == "missing":
        (models / "xray_cnn_seed0.keras").unlink()
    elif spoil == "changed":
        with (models / "xray_cnn_seed0.keras").open("ab") as file:
            file.write(b"x")
    else:
        (models / "decision.json").unlink()
    with pytest.raises(UserError, match=str(models)):
        predict.load_networks(models)


def test_no_images_is_one_message(tmp_path):
    with pytest.raises(UserError, match="no images inside"):
        predict.find_films(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        predict.find_films(tmp_path / "nowhere")


def test_the_decision_comes_from_tune_alone(trained, tmp_path):
    config, predictions = trained
    kept = json.loads((config.models / "decision.json").read_text())
    changed = predictions.assign(probability=predictions.probability.where(predictions.split == "tune", 0.5))
    assert evaluate.decision_file(changed, config) == kept
