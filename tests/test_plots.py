"""Figures say what they show, of whom and of how many, and are the same bytes each time."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib import plots
from xraylib.evaluation import metrics
from xraylib.files import UserError


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


@pytest.fixture
def predictions():
    """Both networks, two seeds, 60 test images of 30 children."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    parts = [
        pd.DataFrame(
            {
                "network": network, "seed": seed, "path": [f"{i}.jpeg" for i in range(60)], "folder": "test",
                "split": "test", "label": label, "subtype": np.where(label, "virus", "normal"),
                "patient": np.arange(60) // 2, "probability": np.clip(rng.normal(0.3 + 0.4 * label, 0.15), 0, 1),
            }
        )
        for network in ("published", "xray_cnn")
        for seed in (0, 1)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def points():
    return {(network, seed): metrics.HALF for network in ("published", "xray_cnn") for seed in (0, 1)}


def drawings(predictions, points):
    own = predictions[predictions.network == "xray_cnn"]
    return {
        "roc": lambda ax, kind: plots.roc(predictions, ax, points, kind),
        "precision_recall": lambda ax, kind: plots.precision_recall(predictions, ax, points, kind),
        "confusion": lambda ax, kind: plots.confusion(own, points, ax, kind),
        "score_histogram": lambda ax, kind: plots.score_histogram(own, points, ax, kind),
        "reliability_diagram": lambda ax, kind: plots.reliability_diagram(predictions, ax, kind=kind),
        "decision_curve": lambda ax, kind: plots.decision_curve(predictions, ax, kind=kind),
    }


NAMES = ["roc", "precision_recall", "confusion", "score_histogram", "reliability_diagram", "decision_curve"]


@pytest.mark.parametrize("name", NAMES)
def test_titles_and_axes_say_what_is_shown(name, predictions, points):
    _, ax = plots.figure()
    drawings(predictions, points)[name](ax, "synthetic phantoms")
    assert "test split" in ax.get_title()
    assert "n = 60, 30 patients" in ax.get_title()
    assert "synthetic phantoms" in ax.get_title()
    assert ax.get_xlabel()
    assert ax.get_ylabel()


@pytest.mark.parametrize("name", NAMES)
def test_no_text_lies_on_another(name, predictions, points):
    fig, ax = plots.figure(height=3.4)
    drawings(predictions, points)[name](ax, "Kermany chest X-rays")
    fig.canvas.draw()
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]
    boxes = [t.get_window_extent() for t in texts if t.get_text() and t.get_visible()]
    for i, one in enumerate(boxes):
        assert not any(one.shrunk(0.9, 0.9).overlaps(other) for other in boxes[i + 1 :])


@pytest.mark.parametrize("name", [*NAMES, "risk_coverage"])
def test_no_text_is_cut_off(name, predictions, points):
    few = pd.DataFrame({"coverage": [1.0, 0.5] * 2, "network": ["published"] * 2 + ["xray_cnn"] * 2})
    few = few.assign(accuracy=[0.62, 0.64, 0.9, 0.99], sd=[0.004, 0.03, 0.06, 0.02])
    each = drawings(predictions, points) | {"risk_coverage": lambda ax, kind: plots.risk_coverage(few, ax, 60, kind)}
    fig, ax = plots.figure(height=3.4 if name != "risk_coverage" else None)
    each[name](ax, "synthetic phantoms")
    fig.canvas.draw()
    legend = ax.get_legend()
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *(legend.get_texts() if legend else [])]
    for box in (text.get_window_extent() for text in texts if text.get_text()):
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= fig.bbox.x1 + 1
        assert box.y1 <= fig.bbox.y1 + 1


def test_a_figure_is_the_same_bytes_each_time_and_small(predictions, points, tmp_path):
    for name in ("first.png", "second.png"):
        fig, ax = plots.figure()
        plots.roc(predictions, ax, points)
        plots.save(fig, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert (tmp_path / "first.png").stat().st_size < plots.LIMIT


def test_radiographs_that_compress_badly_are_made_to_fit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 256, 256), dtype=np.uint8)
    fig, axes = plots.figure(2, 2, width=plots.DOUBLE)
    plots.radiographs(noise, list("abcd"), axes, "Noise (n = 4)")
    plots.save(fig, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size <= plots.LIMIT
    with Image.open(tmp_path / "noise.png") as image:
        assert image.width >= 500


def test_phantoms_are_never_shown_as_patients():
    fig, axes = plots.figure(1, 2)
    plots.radiographs(
        np.zeros((2, 8, 8), np.uint8), ["NORMAL", "PNEUMONIA"], axes, "Train split (n = 2)", "synthetic phantoms"
    )
    assert fig.get_suptitle() == "Train split (n = 2)\nsynthetic phantoms"


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_table_is_said(name, predictions, points):
    _, ax = plots.figure()
    with pytest.raises((UserError, ValueError), match=r"no rows|wanted one"):
        drawings(predictions.iloc[:0], points)[name](ax, "")


def test_the_curve_drawn_is_the_curve_of_the_table(predictions, points):
    _, ax = plots.figure()
    plots.roc(predictions, ax, points)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    for network, label in zip(("published", "xray_cnn"), labels, strict=True):
        each = [
            metrics.ranking(part.label, part.probability)["auroc"]
            for _, part in predictions[predictions.network == network].groupby("seed")
        ]
        assert label.endswith(f"AUROC {np.mean(each):.3f}")


def test_tables_and_figures_need_no_tensorflow():
    code = (
        "import sys, xraylib.index, xraylib.images, xraylib.metrics, xraylib.plots, xraylib.evaluate, xraylib.phantom\n"
    )
    code += "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_shortcuts_show_both_splits_and_say_what_is_alike():
    values = {"train": [np.nan, 0.9], "test": [np.nan, 0.6], "note": ["all", ""]}
    table = pd.DataFrame({"property": ["width", "border"], **values})
    index = pd.DataFrame({"split": ["train"] * 30 + ["test"] * 20})
    _, ax = plots.figure()
    plots.shortcuts(table, {"tune": 0.99, "test": 0.97}, ax, index, "synthetic phantoms")
    held_out, test = ax.lines[:2]
    assert list(held_out.get_xdata())[::2] == [0.99, 0.9]
    assert list(test.get_xdata())[::2] == [0.97, 0.6]
    assert [text.get_text() for text in ax.texts] == ["all alike: tells nothing"]
    assert "train n = 30, test n = 20, synthetic phantoms" in ax.get_title().replace("\n", ", ")


def test_a_forest_says_part_figure_and_n():
    row = {"part": "virus", "images": 148, "patients": 90, "statistic": "sensitivity"}
    table = pd.DataFrame([row | {"mean": 0.95, "sd": 0.01, "lower": 0.91, "upper": 0.98}])
    _, ax = plots.figure()
    plots.forest(table, ax, "Subgroups", "synthetic phantoms")
    assert [text.get_text() for text in ax.texts] == ["0.950 (0.910-0.980), n = 148"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["virus: sensitivity"]
    assert ax.get_title() == "Subgroups\nsynthetic phantoms"


def test_every_corruption_has_a_panel_that_starts_at_the_untouched_images():
    rows = [("none", 0, 0.0, ""), ("blur", 1, 0.5, "px"), ("blur", 2, 1.0, "px"), ("inverted", 1, 1.0, "x")]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "amount", "unit"])
    table = table.assign(network="xray_cnn", statistic="auroc", mean=[0.99, 0.9, 0.8, 0.2], sd=0.01)
    fig, axes = plots.figure(1, 3)
    plots.robustness(table, "auroc", axes, 342)
    assert [ax.get_title() for ax in axes[:2]] == ["blur", "inverted"]
    assert axes[0].lines[0].get_ydata().tolist() == [0.99, 0.9, 0.8]
    assert not axes[2].axison
    assert "n = 342" in fig.get_suptitle()


def test_the_story_fills_what_was_measured_on_test_and_says_n():
    common = {"statistic": "accuracy", "lower": np.nan, "upper": np.nan}
    table = pd.DataFrame(
        [
            {
                "group": "published experiment",
                "row": "claimed",
                "measured_on": "train folder",
                "images": 5216,
                "mean": 0.9,
            },
            {"group": "published experiment", "row": "measured", "measured_on": "test", "images": 342, "mean": 0.8},
            {"group": "field", "row": "others", "measured_on": "official test", "images": 624, "mean": 0.85},
        ]
    ).assign(patients=225, **common)
    fig, axes = plots.figure(1, 2, width=plots.DOUBLE)
    plots.story(table, axes, "synthetic phantoms")
    marks = [line for line in axes[1].lines if line.get_marker() not in ("None", "", None)]
    assert [line.get_xdata()[0] for line in marks] == [0.9, 0.8, 0.85]
    assert [line.get_markerfacecolor() == "white" for line in marks] == [True, False, True]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["claimed", "measured", "others"]
    assert "n = 342, 225 patients" in fig.get_suptitle()
    assert "synthetic phantoms" in fig.get_suptitle()


def test_the_published_comparison_says_of_which_folders():
    table = pd.DataFrame({"quantity": "accuracy", "source": ["published", "replayed"], "value": [0.9, 0.8]})
    index = pd.DataFrame({"folder": ["train"] * 5 + ["val"] * 2 + ["test"]})
    _, ax = plots.figure()
    plots.published_comparison(table, ax, index)
    assert "train folder (n = 5) and val folder (n = 2)" in ax.get_title()


def test_abstention_is_drawn_from_all_images_to_few():
    table = pd.DataFrame({"coverage": [1.0, 0.5], "network": "xray_cnn", "accuracy": [0.9, 1.0], "sd": [0.01, 0]})
    _, ax = plots.figure()
    plots.risk_coverage(table, ax, 342)
    assert ax.lines[0].get_xdata().tolist() == [100, 50]
    assert ax.get_xlim()[0] > ax.get_xlim()[1]


def test_the_pointing_game_says_how_often_and_how_sure():
    row = {"method": "own CNN, Grad-CAM", "images": 90, "seeds": 3, "hits": 0.7, "lower": 0.6, "upper": 0.8}
    row |= {"inside": 0.3, "inside_lower": 0.2, "inside_upper": 0.4, "lesion": 0.1}
    fig, axes = plots.figure(1, 2)
    plots.pointing_game(pd.DataFrame([row]), axes, "synthetic phantoms")
    assert [ax.texts[0].get_text() for ax in axes] == ["0.70 (0.60-0.80)", "0.30 (0.20-0.40)"]
    assert "n = 90, mean over 3 seeds" in fig.get_suptitle()
    assert "synthetic phantoms" in fig.get_suptitle()


def test_the_sanity_check_starts_at_the_untouched_network():
    table = pd.DataFrame({"layers": [0, 1, 2], "likeness": [1.0, 0.4, 0.1], "images": 48, "map": "Grad-CAM"})
    both = [table.assign(network=name) for name in ("xray_cnn", "published")]
    _, axes = plots.figure(1, 2)
    plots.sanity_check(pd.concat(both), axes)
    assert axes[0].lines[0].get_xdata().tolist() == [0, 50, 100]
    assert axes[0].lines[0].get_ydata().tolist() == [1.0, 0.4, 0.1]
    assert "own CNN, test split (n = 48)" in axes[0].get_title()


def test_removal_has_a_curve_and_an_area_per_map_and_test():
    curves = [
        {"test": test, "method": method, "share": share, "probability": 1 - share}
        for test in ("deletion", "insertion")
        for method in ("a map", "random map")
        for share in (0.0, 0.5, 1.0)
    ]
    areas = [{"test": t, "method": m, "images": 60, "area": 0.5, "lower": 0.4, "upper": 0.6}
             for t in ("deletion", "insertion") for m in ("a map", "random map")]  # fmt: skip
    _, axes = plots.figure(1, 2)
    plots.removal(pd.DataFrame(curves), pd.DataFrame(areas), axes, "synthetic phantoms")
    for ax, name in zip(axes, ("Deletion", "Insertion"), strict=True):
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert labels == ["a map: 0.50 (0.40-0.60)", "random map: 0.50 (0.40-0.60)"]
        assert ax.get_title().startswith(f"{name}, test split, PNEUMONIA (n = 60)")
        assert "synthetic phantoms" in ax.get_title()


def test_the_share_in_the_lungs_stands_beside_their_room():
    table = pd.DataFrame(
        {"map": "occlusion", "group": ["all", "all"], "region": ["lungs", "border"], "images": 9, "share": [0.5, 0.1],
         "lower": [0.4, 0.05], "upper": [0.6, 0.2], "area": [0.3, 0.4]}
    )  # fmt: skip
    _, ax = plots.figure()
    plots.lung_share(table, ax, "synthetic phantoms")
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0.5], [0.3], [0.1], [0.4]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["all (n = 9)"]
    assert "Occlusion, test split" in ax.get_title()


def test_the_explainer_shows_every_stage_and_sums_up_to_the_answer():
    rng = np.random.default_rng(0)
    one = SimpleNamespace(
        filters=rng.normal(size=(3, 3, 5)),
        maps=[("8 x 8, 12 channels", rng.random((8, 8, 12))), ("last", rng.random((4, 4, 2)))],
        features=np.array([1.0, 2.0, 3.0]), weights=np.array([1.0, -1.0, 0.5]), logit=0.6, probability=0.646,
    )  # fmt: skip
    fig = plots.explainer(
        {"published": one, "xray_cnn": one}, np.zeros((8, 8), np.uint8), "PNEUMONIA", "synthetic phantoms"
    )
    fig.canvas.draw()
    titles = [ax.get_title() for block in fig.subfigs for ax in block.axes]
    assert titles.count("8 x 8, 12 channels") == titles.count("last") == titles.count("5 first filters") == 2
    assert titles.count("for +2.50, against -2.00") == 2
    text = [text.get_text() for ax in fig.subfigs[0].axes for text in ax.texts]
    assert "logit +0.60" in text[0]
    assert "0.646" in text[0]
    assert "synthetic phantoms" in fig.get_suptitle()


def test_a_mosaic_keeps_every_tile_apart():
    tiles = np.arange(1, 4)[:, None, None] * np.ones((3, 2, 2))
    mosaic = plots._mosaic(tiles)
    assert mosaic.shape == (5, 5)
    assert np.nansum(mosaic) == tiles.sum()
    assert np.isnan(mosaic[2]).all()


def test_maps_are_laid_over_films_and_lesions_outlined():
    images, maps = np.full((2, 8, 8), 90, np.uint8), np.zeros((2, 8, 8))
    maps[0, 2, 2] = 4
    masks = maps > 0
    _, axes = plots.figure(1, 2)
    plots.maps_over(
        images, maps, ["a", "b"], axes, "Test split (n = 2)", "synthetic phantoms", masks | np.eye(8, dtype=bool)
    )
    assert [len(ax.images) for ax in axes] == [2, 2]
    assert axes[0].images[1].get_array().max() == 1


def test_learning_curves_are_a_thin_line_per_seed_and_their_mean():
    epochs = pd.DataFrame({"network": "xray_cnn", "seed": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "loss": [4.0, 2, 2, 1]})
    once = pd.DataFrame({"network": "published", "seed": [0], "epoch": [1], "loss": [3.0]})
    _, axes = plots.figure(1, 2)
    plots.histories(pd.concat([once, epochs]), axes)
    drawn = [line.get_ydata().tolist() for line in axes[0].lines]
    assert drawn == [[3], [4, 2], [2, 1], [3, 1.5]]
    widths = [line.get_linewidth() for line in axes[0].lines]
    assert widths[3] > 2 * max(widths[1:3])
    texts = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert texts == ["published CNN: training", "own CNN: training"]


def test_the_val_folder_is_drawn_with_what_was_decided_and_whether_rightly(points):
    table = pd.DataFrame({"path": ["a", "b"], "label": [0, 1], "split": "val", "network": "xray_cnn", "seed": 0})
    images = {path: np.zeros((8, 8), np.uint8) for path in "ab"}
    fig, axes = plots.figure(1, 2)
    plots.val_grid(table.assign(probability=1.0), images, points, axes)
    assert "n = 2" in fig.get_suptitle()
    said = [ax.texts[0].get_text() for ax in axes]
    assert said == ["own 1.00 PNEUMONIA ✗", "own 1.00 PNEUMONIA"]
