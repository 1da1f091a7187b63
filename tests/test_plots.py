"""Figures say what they show, of whom and of how many, and are the same bytes each time."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib import plots
from xraylib.evaluation import metrics
from xraylib.files import UserError

PHANTOMS = "synthetic phantoms"


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


@pytest.fixture
def predictions():
    """Both networks, two seeds, 60 test films of 30 children."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    common = {"path": [f"{i}.jpeg" for i in range(60)], "folder": "test", "split": "test", "label": label}
    common |= {"subtype": np.where(label, "virus", "normal"), "patient": np.arange(60) // 2}
    each = [(network, seed) for network in ("published", "xray_cnn") for seed in (0, 1)]
    tables = [
        pd.DataFrame(common | {"probability": np.clip(rng.normal(0.3 + 0.4 * label, 0.15), 0, 1)}).assign(
            network=network, seed=seed
        )
        for network, seed in each
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def points():
    half = metrics.FIXED
    return {(network, seed): half for network in ("published", "xray_cnn") for seed in (0, 1)}


DRAWINGS = {
    "roc": lambda t, p, ax: plots.roc(t, ax, p, PHANTOMS),
    "precision_recall": lambda t, p, ax: plots.precision_recall(t, ax, p, PHANTOMS),
    "confusion": lambda t, p, ax: plots.confusion(t[t.network == "xray_cnn"], p, ax, PHANTOMS),
    "score_histogram": lambda t, p, ax: plots.score_histogram(t[t.network == "xray_cnn"], p, ax, PHANTOMS),
    "decision_curve": lambda t, p, ax: plots.decision_curve(t, ax, PHANTOMS),
}


def test_people_of_another_hospital_are_not_called_children(predictions, points):
    _, ax = plots.figure()
    plots.roc(predictions.assign(split="elsewhere"), ax, points)
    assert ax.get_title() == "ROC, elsewhere\n(n = 60, 30 patients)"


@pytest.mark.parametrize("name", DRAWINGS)
def test_titles_and_axes_say_what_is_shown_and_no_text_is_cut_off_or_covered(name, predictions, points):
    fig, ax = plots.figure(height=3.4)
    DRAWINGS[name](predictions, points, ax)
    for text in ("test split", "n = 60, 30 children", PHANTOMS):
        assert text in ax.get_title()
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    fig.canvas.draw()
    legend = [text for one in (ax.get_legend(), *fig.legends) if one for text in one.get_texts()]
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]
    boxes = [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]
    for i, box in enumerate(boxes):
        assert not any(box.shrunk(0.9, 0.9).overlaps(other) for other in boxes[i + 1 :])
    for box in [text.get_window_extent() for text in [ax.title, ax.xaxis.label, ax.yaxis.label, *legend]]:
        assert fig.bbox.expanded(1.01, 1.01).containsx(box.x0)
        assert fig.bbox.expanded(1.01, 1.01).containsx(box.x1)


@pytest.mark.parametrize("name", DRAWINGS)
def test_an_empty_table_is_reported(name, predictions, points):
    with pytest.raises(UserError, match=f"plots.{name}: the table has no rows"):
        DRAWINGS[name](predictions.iloc[:0], points, plots.figure()[1])


def test_a_figure_is_the_same_bytes_each_time_and_small(predictions, points, tmp_path):
    for name in ("first.png", "second.png"):
        fig, ax = plots.figure()
        plots.roc(predictions, ax, points)
        assert plots.save(fig, tmp_path / name) is fig
        assert not plots.plt.get_fignums()  # an open figure would be shown twice by a notebook
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_radiographs_that_compress_badly_are_made_to_fit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 256, 256), dtype=np.uint8)
    fig, axes = plots.figure(2, 2, width=plots.DOUBLE)
    plots.radiographs(noise, list("abcd"), axes, "Noise (n = 4)", PHANTOMS)
    assert fig.get_suptitle() == f"Noise (n = 4)\n{PHANTOMS}"
    plots.save(fig, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size <= plots.LIMIT
    with Image.open(tmp_path / "noise.png") as image:
        assert image.width >= 500


def test_the_curve_drawn_is_the_curve_of_the_table(predictions, points):
    _, ax = plots.figure()
    plots.roc(predictions, ax, points)
    for network, text in zip(("published", "xray_cnn"), ax.get_legend().get_texts(), strict=True):
        seeds = predictions[predictions.network == network].groupby("seed")
        mean = np.mean([metrics.ranking(part.label, part.probability)["auroc"] for _, part in seeds])
        assert text.get_text().endswith(f"AUROC {mean:.3f}")


def test_the_confusion_matrix_counts_of_100_films(predictions, points):
    _, ax = plots.figure()
    table = predictions[predictions.network == "xray_cnn"]
    plots.confusion(table.assign(probability=np.where(table.patient < 15, 1 - table.label, table.label)), points, ax)
    assert [text.get_text() for text in ax.texts] == ["50 of 100\n(15 films)"] * 4


def test_plots_need_no_tensorflow():
    code = "import sys, xraylib.plots; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_forest_plot_has_values_intervals_and_n():
    row = {"lower": 0.91, "upper": 0.98}
    table = pd.DataFrame(
        [
            {"part": "virus", "value": 0.95, "n_films": 148} | row,
            {"part": "bacteria", "value": 0.96, "n_films": 9} | row,
        ]
    )
    _, ax = plots.figure()
    plots.forest(table, ax, "part", "Subgroups", reference=0.5, kind=PHANTOMS)
    assert [text.get_text() for text in ax.texts] == ["0.950 (0.910-0.980), n = 148", "0.960 (0.910-0.980), n = 9"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["virus", "bacteria"]
    assert ax.get_title() == f"Subgroups\n{PHANTOMS}"
    assert all(not line.get_clip_on() for line in ax.lines[:4])


def test_operating_points_show_the_mean_of_seeds_and_the_ensemble():
    common = {"sd": 0.01, "lower": 0.8, "upper": 0.99, "n_films": 624, "n_children": 400}
    rows = [
        ("published", "mean", 0.8),
        ("xray_cnn", "0", 0.1),
        ("xray_cnn", "mean", 0.9),
        ("xray_cnn", "ensemble", 0.95),
    ]
    table = pd.DataFrame(
        [{"network": n, "split": "test", "seed": s, "statistic": t, "value": v} | common
         for n, s, v in rows for t in ("accuracy", "auroc")]
    )  # fmt: skip
    _, ax = plots.figure()
    plots.operating_points(table, ax, statistics=("auroc", "accuracy"))
    assert [text.get_text()[:5] for text in ax.texts] == ["0.800", "0.900", "0.950"] * 2
    assert [label.get_text() for label in ax.get_yticklabels()] == ["AUROC", "accuracy"]
    assert "n = 624, 400 children" in ax.get_title()


def test_the_ablation_sets_tune_beside_test():
    rows = [("whole film", 0, "tune", 0.98), ("whole film", 1, "tune", 1.0), ("whole film", 0, "test", 0.9),
            ("lung crop", 0, "tune", 0.97), ("lung crop", 0, "test", 0.96)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["variant", "seed", "split", "auroc"]).assign(films=624)
    _, ax = plots.figure()
    plots.ablation(table, ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["tune 0.990 ± 0.014", "test 0.900", "tune 0.970", "test 0.960"]
    assert "test n = 624" in ax.get_title()


def test_robustness_is_sorted_by_the_strongest_corruption():
    rows = [("none", 0, 0, ""), ("blur", 1, 0.5, "px"), ("blur", 2, 1, "px"), ("noise", 1, 9, "grey")]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "amount", "unit"])
    table = table.assign(network="xray_cnn", statistic="auroc", value=[0.99, 0.9, 0.8, 0.85], sd=0.01)
    _, ax = plots.figure()
    plots.robustness(table, "auroc", ax, 342)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["noise 9 grey", "blur 1 px"]
    assert "n = 342" in ax.get_title()


def test_counts_per_bin_stand_under_reliability(predictions):
    _, axes = plots.figure(2, 1)
    plots.reliability(predictions, axes)
    assert sum(int(text.get_text()) for text in axes[1].texts) == pytest.approx(120, abs=10)  # rounded means of seeds


def test_learning_curves_have_one_metric_an_axis_and_leave_out_a_single_epoch():
    curves = pd.DataFrame({"network": "xray_cnn", "seed": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "loss": [4.0, 2, 2, 1],
                           "tune_loss": 3.0, "accuracy": 0.5, "tune_accuracy": 0.9})  # fmt: skip
    once = pd.DataFrame({"network": "published", "seed": [0], "epoch": [1], "loss": [9.0]})
    fig, axes = plots.figure(1, 2)
    plots.learning_curves(
        pd.concat([once, curves]), axes, pd.DataFrame({"split": ["train", "tune"]}), events={2: "last"}
    )
    assert [line.get_ydata().tolist() for line in axes[0].lines[:2]] == [[3, 1.5], [3, 3]]
    assert [line.get_ydata().tolist() for line in axes[1].lines[:2]] == [[0.5, 0.5], [0.9, 0.9]]
    assert [text.get_text().split()[0] for text in fig.legends[0].get_texts()] == ["train", "tune"]
    assert [text.get_text().strip() for text in axes[0].texts] == ["last"]


def test_a_threshold_that_test_chose_is_hollow_and_what_the_train_folder_gave_has_a_star():
    rows = [("published experiment", "claimed", "train folder", False), ("this study", "ours", "test", False),
            ("field", "theirs", "official test", True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["group", "row", "measured_on", "test_chose_threshold"])
    table = table.assign(statistic="accuracy", value=0.9, lower=0.8, upper=0.95, n_films=624)
    fig, axes = plots.figure(1, 2)
    plots.comparison(table, axes)
    faces = [line.get_markerfacecolor() for line in axes[1].lines[1:6:2]]
    assert [face == "white" for face in faces] == [False, False, True]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["claimed *", "ours", "theirs"]
    assert "hollow: threshold chosen on test" in [text.get_text() for text in fig.legends[0].get_texts()]


def test_deletion_names_the_area_under_each_curve():
    curves = pd.DataFrame({"method": "Grad-CAM", "share": [0, 1], "probability": [0.9, 0.2]})
    areas = pd.DataFrame({"method": ["Grad-CAM"], "n_films": 78, "area": 0.5, "lower": 0.4, "upper": 0.95})
    fig, ax = plots.figure()
    plots.deletion(curves, areas, ax)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.9, 0.2]]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["Grad-CAM: 0.50 (0.40-0.95)"]


def test_the_flow_chart_counts_films_and_children():
    table = pd.DataFrame({"name": ["archive", "train", "test"], "parent": ["", "archive", "archive"],
                          "n_films": [5856, 5216, 624], "n_children": [3000, 2600, 1]})  # fmt: skip
    _, ax = plots.figure()
    plots.flow(table, ax)
    texts = [text.get_text() for text in ax.texts if text.get_text()]
    assert texts == ["archive\n5,856 films\n3,000 children", "train\n5,216 films\n2,600 children",
                     "test\n624 films\n1 child"]  # fmt: skip


def test_the_val_folder_is_drawn_with_decisions_and_errors(points):
    table = pd.DataFrame({"path": ["a", "b"], "label": [0, 1], "split": "val", "network": "xray_cnn", "seed": 0})
    images = {path: np.zeros((8, 8), np.uint8) for path in "ab"}
    _, axes = plots.figure(1, 2)
    plots.val_grid(table.assign(probability=1.0), images, points, axes)
    assert [ax.texts[0].get_text() for ax in axes] == ["ours 1.00 PNEUMONIA ✗", "ours 1.00 PNEUMONIA"]
