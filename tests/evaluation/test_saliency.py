"""Maps of networks set by hand point where these look, and change when the weights do."""

import numpy as np
import pandas as pd
import pytest

from xraylib.evaluation import saliency
from xraylib.network import backend, model
from xraylib.network.backend import keras


def network_by_hand(size, weights=(3.0, -1.0)):
    """Two channels, 2x and x, averaged and weighed: uint8 (n, size, size) -> logit = (2 * w0 + w1) * mean + 0.5."""
    backend.start(0)
    network = keras.Sequential(
        [
            keras.Input((size, size, 1)),
            keras.layers.Conv2D(2, 1, activation="relu", use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    network.layers[0].set_weights([np.array([[[[2.0, 1.0]]]])])
    network.layers[2].set_weights([np.array(weights)[:, None], np.array([0.5])])
    return network


@pytest.fixture
def lesions():
    """30 dark films of 24 x 24 pixels with a bright square of 6 x 6: uint8 images, bool masks."""
    rng = np.random.default_rng(0)
    images, masks = rng.integers(20, 40, (30, 24, 24)).astype(np.uint8), np.zeros((30, 24, 24), bool)
    for mask, (y, x) in zip(masks, 6 * rng.integers(0, 4, (30, 2)), strict=True):
        mask[y : y + 6, x : x + 6] = True
    images[masks] = 250
    return images, masks


@pytest.fixture
def unsmoothed(monkeypatch):
    monkeypatch.setattr(saliency, "upsample", lambda maps, size, fade=True: maps)


def predictor(network):
    return lambda images: network.predict_on_batch(images[..., None].astype(np.float32))[:, 0]


# --- maps ---


def test_gradcam_with_average_pooling_is_the_class_activation_map(unsmoothed):
    images = np.zeros((3, 8, 8), np.uint8)
    images[0, 1, 2], images[1, 3, 3], images[2, 7, 0] = 10, 20, 30
    maps = saliency.gradcam(network_by_hand(8), images)
    np.testing.assert_allclose(maps, 5 * images / 64, rtol=1e-5)  # 3 * 2x - 1 * x, over the 64 places of the mean
    assert not saliency.gradcam(network_by_hand(8, weights=(-3.0, 1.0)), images).any()  # it speaks against pneumonia


def test_integrated_gradients_add_up_to_the_difference_in_logits(unsmoothed, lesions):
    images, network = lesions[0], network_by_hand(24)
    predict = predictor(network)
    total = saliency.integrated_gradients(network, images).sum(axis=(1, 2))
    np.testing.assert_allclose(total, predict(images) - predict(images * 0), rtol=1e-4)


def test_occlusion_finds_the_one_patch_that_counts():
    images = np.full((1, 24, 24), 50, np.uint8)
    images[0, 8:12, 4:8] = 250
    falls = saliency.occlusion(lambda x: x[:, 8:12, 4:8].mean(axis=(1, 2)) / 255, images)
    assert falls.shape == (1, 11, 11)  # patches of 4 pixels at steps of 2
    assert np.unravel_index(falls[0].argmax(), (11, 11)) == (4, 2)
    assert falls.max() == pytest.approx(200 / 255)
    assert np.count_nonzero(falls) == 9  # the patch and those that overlap it


# --- tests of a map ---


def test_pointing_by_hand_and_hit_rates():
    maps, masks = np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool)
    masks[:, :2, :2] = True
    maps[0, 0, 1], maps[0, 3, 3] = 3, 1
    maps[1, 0, 0], maps[1, 3, 3] = 1, 3
    hit, inside = saliency.pointing(maps, masks)
    assert hit.tolist() == [True, False, False, False]
    np.testing.assert_allclose(inside, [0.75, 0.25, 0, 0])  # two maps are empty
    inside, outside = masks.astype(float), (~masks).astype(float)
    game = saliency.pointing_game({"inside": inside, "outside": outside}, masks, np.arange(4)).set_index("method")
    assert game.hits.tolist() == game.inside.tolist() == game.lower.tolist() == game.upper.tolist() == [1, 0]
    assert game[["n_films", "lesion"]].to_numpy().tolist() == [[4, 1 / 4]] * 2


def test_the_network_finds_the_lesion_and_maps_without_it_do_not(lesions):
    images, masks = lesions
    network = network_by_hand(24)
    gradcam = saliency.gradcam(network, images)
    maps = {
        "Grad-CAM": gradcam,
        "occlusion": saliency.upsample(saliency.occlusion(predictor(network), images), 24),
        "another film's": np.roll(gradcam, 15, axis=0),
        "centre prior": saliency.centre_prior(30, 24),
        "random map": np.random.default_rng(0).random((30, 24, 24), np.float32),
    }
    table = saliency.pointing_game(maps, masks, np.arange(30) // 2).set_index("method")
    assert table.lower["Grad-CAM"] == 1
    assert table.hits["occlusion"] >= 0.9
    assert (table.hits[["another film's", "centre prior", "random map"]] < 0.4).all()
    assert table.inside["random map"] == pytest.approx(1 / 16, abs=0.02)


def test_randomised_weights_change_the_map_and_not_the_network(config):
    backend.start(0)
    network = model.build(config)
    before = network.get_weights()
    images = np.random.default_rng(0).integers(0, 256, (6, config.image_size, config.image_size)).astype(np.uint8)
    table = saliency.sanity_check(network, images)
    for method in saliency.METHODS:
        rows = table[table["map"] == method]
        assert rows.correlation.iloc[0] == 1 and rows.correlation.iloc[-1] < 0.8
        assert rows.layers.tolist() == list(range(len(rows)))
    assert all((a == b).all() for a, b in zip(before, network.get_weights(), strict=True))


def test_a_map_of_the_film_alone_fails_the_sanity_check():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32)).astype(np.uint8)
    edges = {"edges": lambda network, films, fade: films.astype(float)}
    np.testing.assert_allclose(saliency.sanity_check(network_by_hand(32), images, edges).correlation, 1)


def test_rank_correlation_by_hand():
    up = np.arange(16.0).reshape(1, 4, 4)
    both = saliency.rank_correlation(np.concatenate([up] * 3), np.concatenate([up, -up, 0 * up]), 1)
    np.testing.assert_allclose(both, [1, -1, 0])


def test_places_are_deleted_highest_square_first_and_each_once():
    maps = np.zeros((1, 24, 24), np.float32)
    maps[0, 4:6, 20:22] = 2
    maps[0, 0:2, 0:2] = 1
    order = saliency._order(maps)
    assert (order[0, 4:6, 20:22] == 0).all()
    np.testing.assert_allclose(order[0, 0:2, 0:2], 1 / 144)
    assert len(np.unique(order)) == 144
    assert order.max() < 1


def test_deleting_the_lesion_lowers_the_probability_sooner_than_chance(lesions):
    images, masks = lesions
    maps = {"lesion": masks.astype(np.float32), "centre prior": saliency.centre_prior(len(images), images.shape[1])}
    curves, areas = saliency.deletion(lambda x: x.max(axis=(1, 2)) / 25.0 - 5, images, maps, np.arange(len(images)))
    ends = curves[curves.share.isin([0, 1])].groupby(["filling", "share"]).probability.nunique()
    assert (ends == 1).all()  # all orders begin and end with the same films
    for filling, of_filling in areas.groupby("filling"):
        by = of_filling.set_index("method")
        assert by.difference_upper["lesion"] < 0 and by.difference["centre prior"] == 0
        deleted = curves[(curves.method == "lesion") & (curves.filling == filling)].set_index("share").probability
        assert deleted[0.0] > 0.9
        assert deleted[0.1] < (0.1 if filling == "lung grey" else deleted[0.0])  # a lesion is a sixteenth of the film
        assert by.filled["lesion"] == deleted[1.0]


# --- lungs ---


def test_the_share_in_the_lungs_is_set_against_their_area():
    lungs = np.zeros((4, 8, 8), bool)
    lungs[:, 2:4] = True
    maps = lungs.astype(float)
    maps[2:] = ~lungs[2:]
    rows = pd.DataFrame({"label": [0, 1, 1, 1], "patient": list("abcc")})
    table = saliency.lung_share(maps, lungs, rows, "a map").set_index("group")
    assert table.share.tolist() == pytest.approx([0.5, 1, 1 / 3])
    assert table.ratio.tolist() == pytest.approx([2, 4, 4 / 3])
    assert (table.area == 0.25).all()
    assert table.n_films.tolist() == [4, 1, 3]
    maps[0] = 0
    assert saliency.lung_share(maps, lungs, rows, "a map")["empty"].tolist() == [1, 0]  # no normal film has a map
    assert table.n_children.tolist() == [3, 1, 2]


@pytest.mark.parametrize("n", [0, 2])
def test_films_without_a_map_or_no_films_at_all_give_the_same_columns_without_rows(n):
    """Grad-CAM of a network of two epochs can be zero everywhere."""
    rows = pd.DataFrame({"label": [0, 1][:n], "patient": ["a", "b"][:n]})
    maps, masks, images = np.zeros((n, 24, 24), np.float32), np.ones((n, 24, 24), bool), np.zeros((n, 24, 24), np.uint8)
    table = saliency.lung_share(maps, masks, rows, "Grad-CAM")
    assert len(table) == 0 and list(table) == list(saliency.lung_share(maps + 1, masks, rows, "Grad-CAM"))
    by_method, predict = {"Grad-CAM": maps, "centre prior": saliency.centre_prior(n, 24)}, lambda x: x.mean(axis=(1, 2))
    tables = [
        saliency.pointing_game(by_method, masks, rows.patient),
        *saliency.deletion(predict, images, by_method, rows.patient),
        saliency.hidden_regions(lambda x: {("xray_cnn", 0): predict(x)}, images, masks, rows),
        saliency.sanity_check(network_by_hand(24), images),
    ]
    names = ["hits", "probability", "area", "auroc", "correlation"]
    assert all(name in table and (len(table) > 0) == (n > 0) for name, table in zip(names, tables, strict=True))


def test_hidden_pixels_do_not_count_and_the_others_stay():
    rng = np.random.default_rng(0)
    images, masks = rng.integers(90, 110, (2, 40, 40)).astype(np.uint8), np.zeros((2, 40, 40), bool)
    masks[:, 10:20, 10:20] = True
    bright = np.where(masks, 250, images).astype(np.uint8)
    hidden = saliency.hide(bright, masks)
    np.testing.assert_array_equal(hidden, saliency.hide(images, masks))
    np.testing.assert_array_equal(hidden[~masks], images[~masks])
    assert 95 <= hidden[masks].mean() <= 105
    assert np.ptp(saliency.hide(images, np.ones_like(masks))) == 0


def test_auroc_falls_to_chance_where_the_class_is_hidden():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"label": np.arange(40) % 2, "patient": np.arange(40) // 2})
    images, lungs = rng.integers(60, 80, (40, 40, 40)).astype(np.uint8), np.zeros((40, 40, 40), bool)
    lungs[:, 10:30, 10:30] = True
    images[rows.label == 1, 18:22, 18:22] = 250  # the class is written in the lungs

    def predict(x):
        """Two seeds, whose mean logit is the brightness of the place."""
        brightness = x[:, 18:22, 18:22].mean(axis=(1, 2)) / 255
        return {("xray_cnn", 0): brightness + 1, ("xray_cnn", 1): brightness - 1}

    table = saliency.hidden_regions(predict, images, lungs, rows).set_index("hidden")
    assert table.auroc["nothing"] == table.auroc["all but the lungs"] == 1
    assert table.lower["lungs"] < 0.5 < table.upper["lungs"] or table.auroc["lungs"] < 0.7
    assert table.change["nothing"] == 0
    assert table.area.tolist() == [0, 0.25, 0.75]
    assert (table.n_films == 40).all()
    assert (table.n_children == 20).all()
