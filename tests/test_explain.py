"""Maps point where a network that is known by hand looks, and lose their meaning when its weights do."""

import numpy as np
import pytest

from xraylib import backend, explain, model, published
from xraylib.backend import keras


@pytest.fixture
def by_hand():
    """A network that doubles brightness and averages it: float32 (batch, 8, 8, 1) -> logit."""
    backend.start(0)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(2, 1, activation="relu", use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    network.layers[0].set_weights([np.array([[[[2.0, 1.0]]]])])
    network.layers[2].set_weights([np.array([[3.0], [-1.0]]), np.array([0.5])])
    return network


def spots(n=3):
    images = np.zeros((n, 8, 8, 1), np.float32)
    for i in range(n):
        images[i, i, 2 * i] = 10
    return images


def test_with_average_pooling_the_map_is_the_class_activation_map(by_hand):
    images = spots()
    maps = explain.grad_cam(by_hand, images)
    # channels 2x and x, weights 3 and -1: 5 x, divided by the 64 places of the mean
    np.testing.assert_allclose(maps, 5 * images[..., 0] / 64, rtol=1e-6)


def test_chunks_do_not_change_a_map(by_hand):
    np.testing.assert_array_equal(explain.grad_cam(by_hand, spots(), chunk=2), explain.grad_cam(by_hand, spots()))


@pytest.mark.parametrize("build", [published.build, None])
def test_both_networks_have_maps(build, config):
    backend.start(0)
    network = build() if build else model.build(config)
    shape = (2, *network.input_shape[1:])
    maps = explain.grad_cam(network, np.random.default_rng(0).uniform(0, 1, shape))
    assert maps.shape == (2, *network.get_layer(explain.last_maps(network)).output.shape[1:3])
    assert (maps >= 0).all()


def test_a_sure_network_keeps_its_map():
    backend.start(0)
    network = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(1, 1, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    network.layers[0].set_weights([np.ones((1, 1, 1, 1))])
    network.layers[2].set_weights([np.array([[1.0]]), np.array([8.0])])  # probability 0.9997
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, 1, 2] = 1
    np.testing.assert_allclose(explain.grad_cam(network, image)[0], image[0, ..., 0] / 16, rtol=0.02, atol=1e-6)


def test_pointing_by_hand():
    maps, masks = np.zeros((3, 4, 4)), np.zeros((3, 4, 4), bool)
    masks[:, :2, :2] = True
    maps[0, 0, 1], maps[0, 3, 3] = 3, 1
    maps[1, 0, 0], maps[1, 3, 3] = 1, 3
    hit, inside = explain.pointing(maps, masks)
    assert hit.tolist() == [True, False, False]
    np.testing.assert_allclose(inside, [0.75, 0.25, np.nan])


def test_hiding_what_counts_lowers_the_answer():
    images = np.full((1, 16, 16), 50, np.uint8)
    images[0, 8:12, 4:8] = 250
    maps = explain.occlusion(lambda x: x[:, 8:12, 4:8].mean(axis=(1, 2)) / 255, images, patch=4, stride=4)
    assert maps.shape == (1, 4, 4)
    assert np.unravel_index(maps[0].argmax(), (4, 4)) == (2, 1)
    assert np.count_nonzero(maps) == 1


def test_the_centre_prior_points_to_the_middle():
    prior = explain.centre_prior(2, 9)
    assert prior.shape == (2, 9, 9)
    assert prior[0].argmax() == 40


def test_shuffled_weights_lose_the_map_and_the_network_is_left_alone(config):
    backend.start(0)
    network = model.build(config)
    before = [w.copy() for w in network.get_weights()]
    images = np.random.default_rng(0).uniform(0, 255, (6, config.image_size, config.image_size, 1))
    table = explain.sanity_check(network, images)
    assert table.likeness.iloc[0] == 1
    assert table.likeness.iloc[-1] < 0.8
    assert table.layers.tolist() == list(range(len(table)))
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_enlarged_maps_keep_their_place():
    maps = np.zeros((1, 3, 3), np.float32)
    maps[0, 2, 0] = 1
    row, column = np.unravel_index(explain.enlarge(maps, 12)[0].argmax(), (12, 12))
    assert row >= 8
    assert column < 4


def test_the_game_is_won_by_who_knows_the_lesion(by_hand):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (30, 8, 8)).astype(np.uint8)
    masks = np.zeros((30, 8, 8), bool)
    for image, mask in zip(images, masks, strict=True):
        y, x = rng.integers(0, 2, 2) * 6
        image[y : y + 2, x : x + 2] = 250
        mask[y : y + 2, x : x + 2] = True
    table = explain.pointing_game({"xray_cnn": by_hand}, images, masks, np.arange(30) // 2).set_index("method")
    assert table.hits["own CNN, Grad-CAM"] == 1
    assert table.hits["centre prior"] == 0
    assert table.hits["random map"] < 0.3
    assert table.inside["random map"] == pytest.approx(4 / 64, abs=0.02)
    assert (table.lesion == 4 / 64).all()


def test_inputs_are_made_for_each_network(by_hand):
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    backend.start(0)
    assert explain.as_input(published.build(), images).max() <= 1
    assert explain.as_input(published.build(), images).shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(explain.as_input(by_hand, images)[..., 0], images)
