"""Any folder is predicted as the study predicts; what cannot be read is listed, and the rest is not lost."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from xraylib.config import REPOSITORY
from xraylib.evaluation import metrics
from xraylib.files import UserError
from xraylib.network import train
from xraylib.predict import export, films, outliers


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A models folder with one small network, and the predictions of the run that made it."""
    from xraylib.config import Config

    home = tmp_path_factory.mktemp("trained")
    homes = {name: home / name for name in ("results", "plots", "models", "build")}
    short = {"seeds": (0,), "film_size": 32, "image_size": 32, "batch_size": 8, "epochs": 4}
    config = Config("sample", world[0], True, **homes, **short, published_steps=8, published_validation_steps=4)
    _, index, images = world
    train.train_all(index, images, config, lambda text: None)
    predictions = pd.read_csv(config.results / "predictions.csv")
    export.write(config)
    split = index.split.to_numpy()
    outliers.write(outliers.fit(images[split == "train"], images[split == "tune"]), config.models)
    export.decision_file(predictions, config)
    return config, predictions


def table(folder, models):
    return pd.DataFrame(films.predict_films(films.find_films(folder), films.load(models)))


def run(*arguments, **options):
    command = [sys.executable, "-m", "xraylib.predict", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, **options)


def test_a_folder_is_predicted_as_the_study_did(trained, world):
    config, predictions = trained
    root = world[0]
    found = table(root / "test", config.models)
    own = predictions[(predictions.network == "xray_cnn") & (predictions.split == "test")]
    own = own.set_index(own.path.map(lambda path: str(root / path))).loc[found.path]
    # the study's world holds arrays, the folder their JPEG copies: alike, but not to the bit
    order = np.corrcoef(own.probability, found.probability.astype(float))[0, 1]
    assert order > 0.95
    called = np.where(found.probability >= found.threshold, "PNEUMONIA", "NORMAL")
    assert (found.decision == called).all()
    assert (found.problem == "").all()


def test_the_published_networks_are_loaded_without_what_is_slow_to_start(world, tmp_path):
    film = next((world[0] / "test" / "NORMAL").iterdir())
    code = (
        f"import sys; sys.argv = ['predict', {str(film)!r}, '--output', {str(tmp_path / 'table.csv')!r}]\n"
        "from xraylib.predict import films\n"
        "status = films.main()\n"
        "slow = {'tensorflow', 'keras', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'pydicom'} & set(sys.modules)\n"
        "print(sorted(slow)); sys.exit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said = ran.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in said), said  # no library announces itself
    assert "1 films" in ran.stdout and ran.stdout.endswith("[]\n")
    found = pd.read_csv(tmp_path / "table.csv")
    assert found.path.tolist() == [str(film)]
    assert 0 <= found.probability[0] <= 1


def test_the_files_of_models_are_those_of_the_decision():
    digests = json.loads((films.MODELS / "decision.json").read_text())["sha256"]
    for name in digests:
        file = films.MODELS / name
        assert films.hashlib.sha256(file.read_bytes()).hexdigest() == digests[name], name
    networks = {path.name for path in films.MODELS.iterdir()} - {"decision.json"}
    assert networks == set(digests)


def test_what_cannot_be_read_is_listed_and_the_rest_predicted(trained, world, tmp_path):
    config, _ = trained
    folder = tmp_path / "a folder" / "deeper"
    folder.mkdir(parents=True)
    good = next((world[0] / "test" / "NORMAL").iterdir())
    shutil.copy(good, folder / "good.JPG")
    (folder / "text.jpeg").write_text("no image")
    (folder / "cut.jpeg").write_bytes(good.read_bytes()[:300])
    (folder / "cut.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (folder / ".hidden.jpeg").write_text("")
    (folder / "notes.txt").write_text("")
    (folder / "README").write_text("")
    found = table(tmp_path / "a folder", config.models)
    found.index = [path.rsplit("/", 1)[-1] for path in found.path]
    assert sorted(found.index) == ["cut.dcm", "cut.jpeg", "good.JPG", "text.jpeg"]
    assert found.problem["good.JPG"] == "" and 0 <= found.probability["good.JPG"] <= 1
    bad = ["cut.dcm", "cut.jpeg", "text.jpeg"]
    assert found.problem[bad].ne("").all()
    assert found.probability[bad].eq("").all()


def test_dicom_and_png_are_read_beside_jpeg(trained, tmp_path):
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path / "IM0001")
    Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 50), np.uint16)).save(tmp_path / "deep.png")
    found = table(tmp_path, trained[0].models)
    assert [os.path.basename(path) for path in found.path] == ["IM0001", "deep.png"]
    assert found.problem.eq("").all()
    assert "modality CT" in found.warning[0]


def test_a_warning_says_what_is_unlike_the_study(trained, world, tmp_path):
    film = next((world[0] / "test" / "NORMAL").iterdir())
    shutil.copy(film, tmp_path / "a film.jpeg")
    grey = np.asarray(Image.open(film))
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "b three equal channels.png")
    Image.fromarray(np.stack([grey, grey // 2, grey // 4], -1)).save(tmp_path / "c colour.png")
    Image.fromarray(255 - grey // 8).save(tmp_path / "d nearly white.png")
    found = table(tmp_path, trained[0].models)
    assert "in colour" not in found.warning[0] + found.warning[1] + found.warning[3]
    assert "in colour" in found.warning[2]
    assert "unlike the films of the study" in found.warning[3] and found.foreignness[3] > 1
    assert ((found.foreignness > 1) == found.warning.str.contains("unlike")).all()


def test_the_status_and_the_table_tell_what_was_not_read(tmp_path, world):
    good = next((world[0] / "test" / "NORMAL").iterdir())
    folder = tmp_path / "films"
    folder.mkdir()
    shutil.copy(good, folder / "good.jpeg")
    (folder / "bad.jpeg").write_text("no image")
    ran = run(folder, "--output", tmp_path / "table.csv")
    assert ran.returncode == 1
    assert "problem: " in ran.stderr and "bad.jpeg" in ran.stderr
    found = pd.read_csv(tmp_path / "table.csv")
    assert tuple(found.columns) == films.COLUMNS
    assert found.probability.notna().tolist() == [False, True]
    assert run(tmp_path / "nowhere").returncode == 2


def test_how_many_work_at_once_does_not_change_the_answer(trained, world, monkeypatch):
    folder = world[0] / "test"
    whole = table(folder, trained[0].models)
    monkeypatch.setattr(films, "MOST_THREADS", 1)
    pd.testing.assert_frame_equal(table(folder, trained[0].models), whole)
    for together in (1, 5):  # of 16 films, 5 leave one over
        monkeypatch.setattr(films, "TOGETHER", together)
        pd.testing.assert_frame_equal(table(folder, trained[0].models), whole)


def test_memory_does_not_grow_with_the_number_of_films(trained, world):
    film = str(next((world[0] / "test" / "NORMAL").iterdir()))
    code = (
        "import resource; from pathlib import Path; from xraylib import predict\n"
        f"published = films.load(Path({str(trained[0].models)!r}))\n"
        "used = []\n"
        f"for i, _ in enumerate(films.predict_films([{film!r}] * 3000, published)):\n"
        "    if i in (500, 2999): used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(used[1] / used[0])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 1.02


@pytest.mark.parametrize("spoil", ["missing", "changed", "undescribed", "unfamiliar", "older"])
def test_another_network_than_the_published_one_is_refused(trained, tmp_path, spoil):
    models = shutil.copytree(trained[0].models, tmp_path / "models")
    if spoil == "missing":
        (models / "xray_cnn.tflite").unlink()
    elif spoil == "undescribed":
        (models / "decision.json").unlink()
    elif spoil == "older":
        (models / "decision.json").write_text('{"image_size": 96, "threshold": 0.3}')
    else:
        with (models / ("xray_cnn.tflite" if spoil == "changed" else "familiar.npz")).open("ab") as file:
            file.write(b"x")
    with pytest.raises(UserError, match=str(models)):
        films.load(models)


def test_no_images_is_one_message(tmp_path):
    with pytest.raises(UserError, match="no images inside"):
        films.find_films(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        films.find_films(tmp_path / "nowhere")


@pytest.mark.parametrize("probability", [0, 1e-9, 0.2, 0.5, 0.999, 1])
def test_recalibration_is_that_of_the_study(trained, probability):
    published = films.load(trained[0].models)
    wanted = metrics.Recalibration(published.slope, published.intercept).apply(probability)
    assert published.calibrated(probability) == pytest.approx(float(wanted), abs=1e-12)


def test_the_decision_comes_from_tune_alone(trained, tmp_path):
    config, predictions = trained
    kept = json.loads((config.models / "decision.json").read_text())
    changed = predictions.assign(probability=predictions.probability.where(predictions.split == "tune", 0.5))
    assert export.decision_file(changed, config) == kept


def test_a_decision_without_its_networks_is_refused(trained, tmp_path):
    import dataclasses

    config, predictions = trained
    models = shutil.copytree(config.models, tmp_path / "models")
    (models / "familiar.npz").unlink()
    with pytest.raises(UserError, match=r"no familiar\.npz"):
        export.decision_file(predictions, dataclasses.replace(config, models=models))
