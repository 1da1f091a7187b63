"""The published experiment is replayed as it was."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib.config import load_config
from xraylib.network import backend, published


@pytest.fixture(scope="module")
def network():
    backend.start(0)
    return published.build()


def test_the_network_has_the_published_number_of_weights(network):
    assert network.count_params() == 813_217


def test_training_takes_its_steps_and_validates_on_images_of_the_train_folder_alone(world, config):
    _, index, _ = world
    others_missing = index.assign(path=index.path.where(index.folder == "train", "no such file"))
    output = []
    backend.start(0)
    trained, history = published.train(others_missing, config, 0, output.append)
    assert trained.optimizer.iterations == config.published_steps
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert output == ["step 8 of 8", "validation step 4 of 4"]


def test_predictions_follow_the_rows_of_the_index(world, config, network):
    _, index, _ = world
    forward = published.predict(network, index, config)
    backward = published.predict(network, index[::-1], config)
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-5)


def test_unscaled_images_drive_the_sigmoid_to_its_ends(world, config, network):
    _, index, _ = world
    scaled = published.predict(network, index, config)
    unscaled = published.predict(network, index, config, scaled=False)
    assert np.abs(unscaled - 0.5).mean() > 5 * np.abs(scaled - 0.5).mean()


def test_decoded_images_and_files_are_predicted_alike(world, config, network):
    _, index, images = world
    from_files = published.predict(network, index, config)
    np.testing.assert_allclose(published.predict_arrays(network, images), from_files, atol=0.01)


def test_the_films_that_training_saw_are_those_that_keras_draws(tmp_path):
    paths = [f"train/NORMAL/{number}.png" for number in range(9)]
    index = pd.DataFrame({"path": paths, "folder": "train", "label": [0, 1] * 4 + [0]})
    config = replace(load_config("sample"), data=tmp_path, published_steps=5)
    (tmp_path / "train/NORMAL").mkdir(parents=True)
    for path in paths:
        Image.new("L", (8, 8)).save(tmp_path / path)
    generator = published.tf.keras.preprocessing.image.ImageDataGenerator()
    flow = published._flow(index, config, generator, 1, True, 3)
    flow[0]
    assert published.seen(index, config, 3).tolist() == [paths[row] for row in flow.index_array[:5]]
