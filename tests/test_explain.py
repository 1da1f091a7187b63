"""Maps point where a network that is known by hand looks, and lose their meaning when its weights do."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from xraylib.evaluation import saliency
from xraylib.evaluation.saliency import CAM, CAMS, PATHS, Kind
from xraylib.files import UserError
from xraylib.network import backend, model, published
from xraylib.network.backend import keras


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


def film(rng, label, side=16):
    """A dark film with, for PNEUMONIA, a bright square of a quarter of the side: (image, mask)."""
    image, mask = rng.integers(20, 40, (side, side)).astype(np.uint8), np.zeros((side, side), bool)
    if label:
        y, x = rng.integers(0, 4, 2) * (side // 4)
        mask[y : y + side // 4, x : x + side // 4] = True
    image[mask] = 250
    return image, mask


@pytest.fixture
def films():
    rng = np.random.default_rng(0)
    pairs = [film(rng, 1) for _ in range(30)]
    return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])


@pytest.fixture
def of_films():
    """As by_hand, for films of 16 x 16 pixels."""
    backend.start(0)
    network = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(2, 1, activation="relu", use_bias=False),
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(1, 1, activation="relu", use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    network.layers[0].set_weights([np.array([[[[2.0, 1.0]]]])])
    network.layers[2].set_weights([np.array([[[[3.0], [-1.0]]]])])
    network.layers[4].set_weights([np.array([[0.02]]), np.array([-0.1])])
    return network


# --- maps ---


@pytest.mark.parametrize("rule", CAMS[:2])
def test_with_average_pooling_the_map_is_the_class_activation_map(by_hand, rule):
    images = spots()
    (layer,) = [one for one in by_hand.layers if isinstance(one, keras.layers.Conv2D)]
    maps = saliency.activation_maps(by_hand, rule, layer.name)(images).numpy()
    # channels 2x and x, weights 3 and -1: 5 x, divided by the 64 places of the mean
    np.testing.assert_allclose(maps, 5 * images[..., 0] / 64, rtol=1e-6)


def test_layer_cam_leaves_out_what_speaks_against(by_hand):
    images = spots()
    maps = saliency.activation_maps(by_hand, "LayerCAM", by_hand.layers[0].name)(images).numpy()
    np.testing.assert_allclose(maps, 6 * images[..., 0] / 64, rtol=1e-6)  # the channel of weight -1 is not subtracted


def test_integrated_gradients_of_a_linear_network_add_up_to_its_answer(of_films, films, monkeypatch):
    monkeypatch.setattr(saliency, "_smooth", lambda maps, places, fade: maps)
    images, _ = films
    answer = saliency.answerer(of_films)
    maps = saliency.mapper(of_films, Kind(PATHS[0], 0))(images)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), answer(images) - answer(images * 0), rtol=1e-4)
    maps = saliency.mapper(of_films, Kind(PATHS[1], 0))(images)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), answer(images) - answer(saliency.dark(images)), rtol=1e-4)


def test_chunks_do_not_change_a_map(of_films, films):
    images, _ = films
    for kind in (CAM, Kind("LayerCAM", 2, 4), Kind(PATHS[1], 0)):
        np.testing.assert_allclose(
            saliency.mapper(of_films, kind, chunk=7)(images), saliency.mapper(of_films, kind)(images), rtol=1e-5
        )


@pytest.mark.parametrize("build", [published.build, None])
def test_both_networks_have_all_kinds_of_maps(build, config):
    backend.start(0)
    network = build() if build else model.build(config)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32)).astype(np.uint8)
    tried = saliency.kinds(network)
    assert len({str(kind) for kind in tried}) == len(tried) >= 7
    for kind in (tried[0], tried[-3], tried[-1]):
        maps = saliency.mapper(network, kind)(images)
        assert maps.shape == images.shape
        assert maps.dtype == np.float32
        assert (maps >= 0).all()


def test_stages_are_the_last_layers_of_each_size(of_films):
    pooled = of_films.layers[2].name
    assert saliency.stages(of_films) == [of_films.layers[0].name, pooled]


def test_a_sure_network_keeps_its_map():
    backend.start(0)
    network = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 1, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    network.layers[0].set_weights([np.ones((1, 1, 1, 2))])
    network.layers[2].set_weights([np.array([[0.5], [0.5]]), np.array([8.0])])  # probability 0.9997
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, 1, 2] = 1
    maps = saliency.activation_maps(network, "Grad-CAM", network.layers[0].name)(image)
    np.testing.assert_allclose(maps[0], image[0, ..., 0] / 16, rtol=0.02, atol=1e-6)
    assert saliency.answerer(network)(np.zeros((1, 4, 4), np.uint8))[0] == pytest.approx(8, rel=0.01)


@pytest.mark.parametrize("kind", [Kind("LayerCAM", 2, 1), Kind("LayerCAM", 2, 4), Kind(PATHS[0], 0)])
def test_a_map_keeps_its_place(of_films, kind):
    image = np.zeros((1, 16, 16), np.uint8)
    image[0, 11:13, 3:5] = 250
    row, column = np.unravel_index(saliency.mapper(of_films, kind)(image)[0].argmax(), (16, 16))
    assert abs(row - 11.5) <= 1
    assert abs(column - 3.5) <= 1


def test_shifting_there_and_back_loses_only_the_edge():
    images = np.random.default_rng(0).integers(1, 256, (2, 12, 12)).astype(np.uint8)
    back = saliency._shifted(saliency._shifted(images, 2, -1), -2, 1)
    np.testing.assert_array_equal(back[:, 2:, :-1], images[:, 2:, :-1])
    assert not back[:, :2].any()


def test_hiding_what_counts_lowers_the_answer():
    images = np.full((1, 16, 16), 50, np.uint8)
    images[0, 8:12, 4:8] = 250
    maps = saliency.occlusion(lambda x: x[:, 8:12, 4:8].mean(axis=(1, 2)) / 255, images, patch=4, stride=4)
    assert maps.shape == (1, 4, 4)
    assert np.unravel_index(maps[0].argmax(), (4, 4)) == (2, 1)
    assert np.count_nonzero(maps) == 1


def test_the_centre_prior_points_to_the_middle():
    prior = saliency.centre_prior(2, 9)
    assert prior.shape == (2, 9, 9)
    assert prior[0].argmax() == 40


def test_inputs_are_made_for_each_network(by_hand):
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    backend.start(0)
    assert saliency.as_input(published.build(), images).max() <= 1
    assert saliency.as_input(published.build(), images).shape == (2, 64, 64, 3)
    own = images[:, :8, :8]
    np.testing.assert_array_equal(saliency.as_input(by_hand, own)[..., 0], own)


# --- the pointing game ---


def test_pointing_by_hand():
    maps, masks = np.zeros((3, 4, 4)), np.zeros((3, 4, 4), bool)
    masks[:, :2, :2] = True
    maps[0, 0, 1], maps[0, 3, 3] = 3, 1
    maps[1, 0, 0], maps[1, 3, 3] = 1, 3
    hit, inside = saliency.pointing(maps, masks)
    assert hit.tolist() == [True, False, False]
    np.testing.assert_allclose(inside, [0.75, 0.25, np.nan])


def test_seeds_are_averaged_and_spread():
    right, wrong, masks = np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool)
    masks[:, 0, 0] = True
    right[:, 0, 0] = wrong[:, 3, 3] = 1
    row = saliency.scored([right, wrong, right, right], masks, np.arange(4), 100)
    assert row["hits"] == row["inside"] == 0.75
    assert row["sd"] == pytest.approx(0.5)
    assert (row["images"], row["seeds"]) == (4, 4)
    assert row["lower"] == row["upper"] == 0.75  # all films alike


def test_the_game_is_won_by_who_knows_the_lesion_and_lost_with_another_films_map(of_films, films):
    images, masks = films
    networks = {"xray_cnn": [of_films], "published": [of_films]}
    kinds = {"xray_cnn": Kind("LayerCAM", 1), "published": CAM}
    table = saliency.pointing_game(networks, kinds, images, masks, np.arange(30) // 2, masks.mean(axis=0))
    table = table.set_index("method")
    own = table.loc["own CNN, LayerCAM, stage -1"]
    assert own.hits == 1
    assert own.lower == 1
    assert table.hits["own CNN, occlusion"] >= 0.9
    assert table.hits["own CNN, another film's map"] < 0.4
    assert table.hits["centre prior"] < 0.4
    assert table.hits["random map"] < 0.3
    assert table.inside["random map"] == pytest.approx(1 / 16, abs=0.02)
    assert (table.lesion == 1 / 16).all()


def test_the_best_kind_is_chosen_and_read_back(of_films, films, config):
    images, masks = films
    tried = {"xray_cnn": [Kind(PATHS[0], 0), CAM]}
    of_films.layers[4].set_weights([np.array([[-0.02]]), np.array([0.1])])  # answers with the darkness: no map of light
    table = saliency.choose({"xray_cnn": [of_films]}, tried, images, masks, np.arange(30))
    assert (table.hits == 0).all()
    of_films.layers[4].set_weights([np.array([[0.02]]), np.array([0.1])])
    table = saliency.choose({"xray_cnn": [of_films]}, tried, images, masks, np.arange(30))
    assert table.hits.is_monotonic_decreasing
    assert table.hits[0] == 1
    config.results.mkdir()
    table.to_csv(config.results / "map_choice.csv", index=False)
    assert saliency.chosen(config)["xray_cnn"] == Kind(table.rule[0], int(table.stage[0]), int(table.views[0]))


def test_no_choice_is_said(config, monkeypatch, tmp_path):
    monkeypatch.setattr(saliency, "REPOSITORY", tmp_path)
    for phantoms in (True, False):
        with pytest.raises(UserError, match=r"map_choice.csv.*make reproduce"):
            saliency.chosen(dataclasses.replace(config, phantoms=phantoms))


# --- the network, or the film? ---


@pytest.mark.parametrize("kind", [CAM, Kind(PATHS[0], 0)])
def test_shuffled_weights_lose_the_map_and_the_network_is_left_alone(config, kind):
    backend.start(0)
    network = model.build(config)
    before = [w.copy() for w in network.get_weights()]
    images = np.random.default_rng(0).integers(0, 256, (6, config.image_size, config.image_size)).astype(np.uint8)
    table = saliency.sanity_check(network, images, kind)
    assert table.likeness.iloc[0] == 1
    assert table.likeness.iloc[-1] < 0.8
    assert table.layers.tolist() == list(range(len(table)))
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_map_that_draws_the_film_stays(config, monkeypatch):
    backend.start(0)
    monkeypatch.setattr(saliency, "mapper", lambda network, kind, fade: lambda images: images.astype(np.float32))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32)).astype(np.uint8)
    table = saliency.sanity_check(model.build(config), images)
    np.testing.assert_allclose(table.likeness, 1)


def test_likeness_by_hand():
    up = np.arange(16.0).reshape(1, 4, 4)
    assert saliency.likeness(up, up, 1) == pytest.approx(1)
    assert saliency.likeness(up, -up, 1) == pytest.approx(-1)
    assert saliency.likeness(up, up * 0, 1) == 0


def test_a_map_agrees_with_occlusion_that_it_was_made_of():
    falls = np.random.default_rng(0).random((4, 5, 5)).astype(np.float32)
    maps = np.repeat(np.repeat(falls, 4, axis=1), 4, axis=2)
    table = saliency.agreement({"itself": maps, "its opposite": -maps}, falls, np.arange(4)).set_index("method")
    assert table.agreement["itself"] == pytest.approx(1)
    assert table.upper["its opposite"] == pytest.approx(-1)


# --- deletion and insertion ---


def test_the_order_of_removal_takes_the_highest_square_first_and_each_once():
    maps = np.zeros((1, 24, 24), np.float32)
    maps[0, 4:6, 20:22] = 2
    maps[0, 0:2, 0:2] = 1
    order = saliency._order(maps)
    assert (order[0, 4:6, 20:22] == 0).all()
    np.testing.assert_allclose(order[0, 0:2, 0:2], 1 / 144)
    assert len(np.unique(order)) == 144
    assert order.max() < 1


def test_who_knows_the_lesion_removes_and_restores_the_answer_sooner():
    rng = np.random.default_rng(0)
    pairs = [film(rng, 1, 24) for _ in range(12)]
    images, masks = np.stack([i for i, _ in pairs]), np.stack([m for _, m in pairs])
    maps = {"lesion": masks.astype(np.float32), "random map": rng.random(images.shape, np.float32)}
    curves, areas = saliency.removal(lambda x: x.max(axis=(1, 2)) / 25.0 - 5, images, maps, np.arange(12))
    areas = areas.set_index(["test", "method"])
    assert areas.less_upper["deletion", "lesion"] < 0
    assert areas.less_lower["insertion", "lesion"] > 0
    assert (areas.less[:, "random map"] == 0).all()
    ends = curves[curves.share.isin([0, 1])].groupby(["test", "share"]).probability.nunique()
    assert (ends == 1).all()  # all orders begin and end with the same films
    first = curves[(curves.method == "lesion") & (curves.test == "deletion")]
    assert first.probability.iloc[0] > 0.9
    assert first.probability.iloc[2] < 0.1  # a sixteenth of the film is the lesion


# --- the lungs ---


def test_a_map_in_the_lungs_has_all_its_share_there(monkeypatch):
    parts = {name: np.zeros((4, 8, 8), bool) for name in ("lungs", "border", "elsewhere")}
    parts["lungs"][:, 2:4], parts["border"][:, :2], parts["elsewhere"][:, 4:] = True, True, True
    monkeypatch.setattr(saliency.lungs, "regions", lambda images: parts)
    maps = parts["lungs"].astype(float)
    maps[2:] = parts["border"][2:]
    rows = pd.DataFrame({"label": [0, 1, 0, 1], "patient": list("abcd")})
    table = saliency.lung_share(maps, np.zeros((4, 8, 8), np.uint8), rows, [0, 1, 1, 1], "a map")
    table = table.set_index(["group", "region"])
    assert table.share["all", "lungs"] == 0.5
    assert table.share["NORMAL, spared", "lungs"] == 1
    assert table.share["NORMAL, false alarm", "border"] == 1
    assert table.ratio["NORMAL, spared", "lungs"] == 4
    assert table.images["PNEUMONIA, found", "lungs"] == 2
    assert "PNEUMONIA, missed" not in table.index.get_level_values(0)


def test_hiding_what_a_network_looks_at_costs_it_its_auroc(monkeypatch):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"label": np.arange(40) % 2, "patient": np.arange(40)})
    images = rng.integers(60, 80, (40, 40, 40)).astype(np.uint8)
    images[rows.label == 1, 0:3, 0:3] = 250  # the class is written at the border
    lung = np.zeros(images.shape, bool)
    lung[:, 10:30, 10:30] = True
    monkeypatch.setattr(saliency.lungs, "fields", lambda x: lung)
    table = saliency.hidden_regions({"a": lambda x: x[:, :3, :3].mean(axis=(1, 2)) / 255}, images, rows)
    auroc = table.set_index("hidden").auroc
    assert auroc["nothing"] == auroc["lungs"] == 1
    assert auroc["border"] < 0.8
    assert auroc["all but lungs"] < 0.8
    assert table.set_index("hidden").moved["nothing"] == 0


# --- one film ---


def test_a_journey_adds_up_to_the_answer(of_films, films):
    image = films[0][0]
    one = saliency.journey(of_films, image)
    bias = of_films.layers[-1].get_weights()[1][0]
    assert (one.features * one.weights).sum() + bias == pytest.approx(one.logit, rel=1e-5)
    assert one.logit == pytest.approx(saliency.answerer(of_films)(image[None])[0], rel=1e-5)
    assert one.probability == pytest.approx(1 / (1 + np.exp(-one.logit)))
    assert [maps.shape for _, maps in one.maps] == [(16, 16, 2), (8, 8, 1)]
    np.testing.assert_allclose(one.maps[0][1][..., 0], 2.0 * image)
    assert one.filters.shape == (1, 1, 2)


def test_the_published_network_has_a_journey():
    backend.start(0)
    one = saliency.journey(published.build(), np.full((64, 64), 100, np.uint8))
    assert len(one.features) == len(one.weights) == 128
    assert 0 < one.probability < 1
