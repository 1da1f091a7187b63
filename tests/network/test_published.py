"""The published experiment is replayed as it was."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib.evaluation import tables
from xraylib.network import backend, published


@pytest.fixture(scope="module")
def network():
    backend.start(0)
    made = published.build()
    assert made.count_params() == 813_217  # as published
    return made


def test_training_takes_its_steps_and_validates_on_images_of_the_train_folder_alone(world, config):
    index = world[1]
    others_missing = index.assign(path=index.path.where(index.folder == "train", "no such file"))
    backend.start(0)
    trained, history = published.train(others_missing, config, 0)
    assert trained.optimizer.iterations == config.published_steps
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}


def test_predictions_follow_the_rows_of_the_index_from_files_as_from_decoded_images(world, config, network):
    _, index, images = world
    backward = published.predict(network, index[::-1], config)
    np.testing.assert_allclose(published.predict_arrays(network, images), backward[::-1], atol=0.01)
    assert np.ptp(backward) > 0.1


def test_unscaled_images_drive_the_sigmoid_to_its_ends(world, config, network):
    _, index, _ = world
    scaled, unscaled = (published.predict(network, index, config, scaled=scaled) for scaled in (True, False))
    assert np.abs(unscaled).mean() > 5 * np.abs(scaled).mean()


def test_the_films_that_training_saw_are_those_that_keras_draws(config, tmp_path):
    paths = [f"train/NORMAL/{number}.png" for number in range(9)]
    index = pd.DataFrame({"path": paths, "folder": "train", "label": [0, 1] * 4 + [0]})
    config = replace(config, data=tmp_path, published_steps=5)
    (tmp_path / "train/NORMAL").mkdir(parents=True)
    for path in paths:
        Image.new("L", (8, 8)).save(tmp_path / path)
    batches = published.batches(index, config, {}, batch_size=1, seed=3)
    batches[0]
    assert tables.seen_in_training(index, config, 3).tolist() == [paths[row] for row in batches.index_array[:5]]
