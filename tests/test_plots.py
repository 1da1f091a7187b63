"""Figures say what they show, of whom and of how many, and are the same bytes each time."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib import plots, show
from xraylib.evaluation import metrics

POINTS = {(network, seed): metrics.FIXED for network in ("published", "xray_cnn") for seed in (0, 1)}


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


@pytest.fixture
def predictions():
    """Both networks, two seeds, 60 test films of 30 children."""
    rng, label = np.random.default_rng(0), np.arange(60) % 2
    films = {"path": [f"{i}.jpeg" for i in range(60)], "folder": "test", "split": "test", "label": label}
    films |= {"subtype": np.where(label, "virus", "normal"), "patient": np.arange(60) // 2}
    probability = {key: np.clip(rng.normal(0.3 + 0.4 * label, 0.15), 0, 1) for key in POINTS}
    parts = [pd.DataFrame(films).assign(network=n, seed=s, probability=p) for (n, s), p in probability.items()]
    return pd.concat(parts, ignore_index=True)


DRAWINGS = {
    "roc": lambda t, ax: plots.roc(t, ax, POINTS),
    "precision_recall": lambda t, ax: plots.precision_recall(t, ax, POINTS),
    "confusion": lambda t, ax: plots.confusion(t[t.network == "xray_cnn"], ax, POINTS),
    "scores": lambda t, ax: plots.scores(t[t.network == "xray_cnn"], [ax], POINTS, ["test"]),
    "decision_curve": plots.decision_curve,
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_titles_and_axes_say_what_is_shown_no_text_is_cut_off_or_covered(name, predictions):
    fig, ax = plots.figure(height=3.4)
    DRAWINGS[name](predictions, ax)
    plots.name_phantoms(fig, "synthetic phantoms")
    for text in ("test split", "n = 60, 30 children", "synthetic phantoms"):
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


def test_a_figure_is_the_same_bytes_each_time_and_is_closed(predictions):
    figures = [plots.figure() for _ in range(2)]
    for _, ax in figures:
        plots.roc(predictions, ax, POINTS)
    first, second = (plots.png(fig) for fig, _ in figures)
    assert first == second
    assert not plots.plt.get_fignums()  # an open figure would be shown twice by a notebook


def test_films_that_compress_badly_are_made_to_fit():
    noise = np.random.default_rng(0).integers(0, 256, (4, 256, 256), dtype=np.uint8)
    fig, axes = plots.figure(2, 2, width=plots.DOUBLE)
    plots.radiographs(noise, axes, list("abcd"), "Noise (n = 4)")
    plots.name_phantoms(fig, "synthetic phantoms")
    assert fig.get_suptitle() == "Noise (n = 4)\nsynthetic phantoms"
    data = plots.png(fig)
    assert len(data) <= plots.MOST_BYTES
    assert Image.open(io.BytesIO(data)).width >= 500


def test_the_curve_drawn_is_the_curve_of_the_table(predictions):
    _, ax = plots.figure()
    plots.roc(predictions, ax, POINTS)
    for network, text in zip(("published", "xray_cnn"), ax.get_legend().get_texts(), strict=True):
        seeds = predictions[predictions.network == network].groupby("seed")
        mean = np.mean([metrics.ranking(part.label, part.probability)["auroc"] for _, part in seeds])
        assert text.get_text().endswith(f"AUROC {mean:.3f}")


def test_the_confusion_matrix_counts_of_100_films(predictions):
    _, ax = plots.figure()
    table = predictions[predictions.network == "xray_cnn"]
    plots.confusion(table.assign(probability=np.where(table.patient < 15, 1 - table.label, table.label)), ax, POINTS)
    assert [text.get_text() for text in ax.texts] == ["50 of 100\n(15 films)"] * 4


def test_operating_points_show_mean_and_ensemble_with_intervals():
    rows = [("published", "mean", 0.8), ("xray_cnn", "0", 0.1), ("xray_cnn", "mean", 0.9)]
    rows.append(("xray_cnn", "ensemble", 1.0))
    table = pd.DataFrame(rows, columns=["network", "seed", "value"]).assign(split="test", sd=0.01, lower=0.7, upper=1.0)
    names = ("accuracy", "auroc", "sensitivity", "specificity")
    table = pd.concat([table.assign(statistic=name, n_films=624, n_children=400) for name in names])
    _, ax = plots.figure()
    plots.operating_points(table, ax)
    of_each = ["0.800 (0.700-1.000)", "0.900 (0.700-1.000)", "1.000 (0.700-1.000)"]
    assert [text.get_text() for text in ax.texts] == 4 * of_each
    assert [label.get_text() for label in ax.get_yticklabels()] == ["AUROC", *names[:1], *names[2:]]
    assert "Finds 90 of 100 films with pneumonia, calls 10 of 100 normal ones PNEUMONIA" in ax.get_title()
    assert "n = 624, 400 children" in ax.get_title()


def test_the_ablation_sets_tune_beside_test():
    rows = [("whole film", 0, "tune", 0.98), ("whole film", 1, "tune", 1.0), ("whole film", 0, "test", 0.9)]
    table = pd.DataFrame(rows, columns=["variant", "seed", "split", "auroc"]).assign(films=624)
    _, ax = plots.figure()
    plots.ablation(table, ax)
    assert [text.get_text() for text in ax.texts] == ["tune 0.990 ± 0.014", "test 0.900"]


def test_the_tradeoff_says_what_was_paid_and_gained_and_labels_do_not_meet():
    rows = [("whole film", "tune", 0.99), ("lung crop", "tune", 0.985), ("crop and stretch, longer", "tune", 0.97)]
    rows += [("whole film", "test", 0.96), ("lung crop", "test", 0.9601), ("crop and stretch, longer", "test", 0.98)]
    ablation = pd.DataFrame(rows, columns=["variant", "split", "auroc"])
    held_out = pd.DataFrame({"variant": ["unmixed", "mixed 0.3", "mixed 0.3 - unmixed"] * 2, "sd": 0.01})
    held_out = held_out.assign(value=[0.9, 0.89, -0.01, 0.8, 0.85, 0.05], measure=["tune"] * 3 + ["other station"] * 3)
    _, axes = plots.figure(1, 2)
    plots.tradeoff(held_out, axes, ablation)
    assert [ax.get_title() for ax in axes] == [
        "Framing: -0.020 on tune, +0.020 on test",
        "Station: -0.010 on tune, +0.050 on the other station",
    ]
    labels = {text.get_text(): text.xy[1] for ax in axes for text in ax.texts}
    assert labels["lung crop"] - labels["whole film"] > 0.001 and "mixed 0.3 - unmixed" not in labels


def test_robustness_is_sorted_by_the_strongest_corruption():
    rows = [("none", 0, 0, ""), ("blur", 1, 0.5, "px"), ("blur", 2, 1, "px"), ("noise", 1, 9, "grey")]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "amount", "unit"])
    table = table.assign(network="xray_cnn", statistic="auroc", value=[0.99, 0.9, 0.8, 0.85], sd=0.01)
    _, ax = plots.figure()
    plots.robustness(table, ax, "auroc", 342)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["noise (9 grey)", "blur (1 px)"]


def test_another_hospital_has_a_panel_for_each_data_set_without_the_auroc_of_the_view():
    rows = [("rsna_adults", "all", "pneumonia", 0.9), ("rsna_adults", "predicted PA", "pneumonia", 0.8)]
    rows += [("nih_adults", "assessed by make predict", "pneumonia", 0.6), ("nih_adults", "all", "view AP", 0.97)]
    table = pd.DataFrame(rows, columns=["data", "films", "outcome", "value"]).assign(score="a", lower=0.5, upper=1)
    _, axes = plots.figure(1, 2)
    plots.elsewhere(table.assign(n_negative=[4, 1, 2, 3], n_positive=5), axes)
    assert [[label.get_text() for label in ax.get_yticklabels()] for ax in axes] == [
        ["all", "predicted PA"],
        ["assessed"],
    ]
    assert [ax.get_title().rsplit("(")[-1] for ax in axes] == ["n = 9)", "n = 7)"]


def test_counts_per_bin_stand_under_reliability(predictions):
    _, axes = plots.figure(2, 1)
    plots.reliability(predictions, axes)
    assert sum(int(text.get_text()) for text in axes[1].texts) == pytest.approx(120, abs=10)  # rounded means of seeds


def test_learning_curves_have_one_metric_an_axis_and_leave_out_the_published_epoch():
    curves = {"network": "xray_cnn", "seed": [0, 0, 1, 1], "epoch": [1, 2, 1, 2], "loss": [4.0, 2, 2, 1]}
    curves = pd.DataFrame(curves | {"tune_loss": 3.0, "accuracy": 0.5, "tune_accuracy": 0.9})
    once = pd.DataFrame({"network": "published", "seed": [0], "epoch": [1], "loss": [9.0]})
    _, axes = plots.figure(1, 2)
    plots.learning_curves(pd.concat([once, curves]), axes, pd.DataFrame({"split": ["train", "tune"]}), 2)
    assert [line.get_ydata().tolist() for line in axes[0].lines[:2]] == [[3, 1.5], [3, 3]]
    assert [line.get_ydata().tolist() for line in axes[1].lines[:2]] == [[0.5, 0.5], [0.9, 0.9]]


def test_the_comparison_shows_one_row_a_source_marked_for_train_folder_extra_labels_and_thresholds_of_test():
    rows = [("published experiment", "claimed", "train folder", False, 0.3), ("this study", "ours", "test", False, 0.9)]
    rows += [("field", "theirs", "official test", True, 0.9), ("field", "their worse", "official test", True, 0.8)]
    table = pd.DataFrame(rows, columns=["group", "row", "measured_on", "test_chose_threshold", "value"])
    table = table.assign(statistic="accuracy", lower=0.7, upper=0.95, n_films=624, source="they")
    fig, axes = plots.figure(1, 2)
    plots.comparison(table, axes)
    assert [line.get_markerfacecolor() == "white" for line in axes[1].lines[1:6:2]] == [False, False, True]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["claimed *", "ours †", "theirs"]
    assert [text.get_text() for text in axes[1].texts] == [" ◂ 0.30"]  # below the axis: in figures
    assert "hollow: threshold chosen on test" in [text.get_text() for text in fig.legends[0].get_texts()]


def test_deletion_names_the_area_under_each_curve():
    curves = pd.DataFrame({"filling": list("aabb"), "share": [0, 1, 0, 1], "probability": [0.9, 0.2, 0.9, 0.4]})
    areas = pd.DataFrame({"filling": ["a", "b"], "n_films": 78, "area": [0.5, 0.6], "lower": 0.4, "upper": 0.95})
    _, axes = plots.figure(1, 2)
    plots.deletion(curves.assign(method="Grad-CAM"), axes, areas.assign(method="Grad-CAM"))
    assert [line.get_ydata().tolist() for ax in axes for line in ax.lines] == [[0.9, 0.2], [0.9, 0.4]]
    texts = [text.get_text() for ax in axes for text in ax.get_legend().get_texts()]
    assert texts == ["Grad-CAM: 0.50 (0.40-0.95)", "Grad-CAM: 0.60 (0.40-0.95)"]


def test_the_val_folder_is_drawn_with_decisions_and_errors():
    table = pd.DataFrame({"path": ["a", "b"], "label": [0, 1], "split": "val", "network": "xray_cnn", "seed": 0})
    _, axes = plots.figure(1, 2)
    plots.val_grid(table.assign(probability=1.0), axes, {path: np.zeros((8, 8), np.uint8) for path in "ab"}, POINTS)
    assert [ax.texts[0].get_text() for ax in axes] == ["ours 1.00 ✗", "ours 1.00"]


@pytest.fixture
def shown(config, monkeypatch):
    """What `show` displays, as a list, where results and figures go to the test's own folders."""
    displayed: list = []
    monkeypatch.setattr(show, "load_config", lambda: config)
    monkeypatch.setattr(show, "display", lambda item, **more: displayed.append((item, more)))
    return displayed


def test_a_result_is_written_drawn_and_explained(shown, config):
    table = pd.DataFrame({"method": ["Grad-CAM"], "difference_lower": -0.2, "difference_upper": -0.1})
    table = table.assign(filling="grey", filled=0.67)
    show.show("deletion", table, lambda result, ax: ax.set_title(f"n = {len(result)}"), by="method")
    assert pd.read_csv(config.results / "deletion.csv").equals(table)
    (view, _), (image, more), (words, _) = shown
    assert view.index.tolist() == ["Grad-CAM"]
    assert image.data == (config.plots / "deletion.png").read_bytes()
    assert more == {"metadata": {"figure": "deletion"}}
    assert words.data.startswith("**What this shows.** Deletion with grey: better than")


def test_a_table_without_rows_is_no_error(shown, config):
    """Two epochs may leave a network without any Grad-CAM: notebook 06 ended there."""
    show.show("lung_share", pd.DataFrame(columns=["group", "ratio"]), by="group")
    assert "No film has a row" in shown[-1][0].data
    show.show("subgroups", pd.DataFrame(columns=["part", "value"]), plots.subgroups, 0)
    assert (config.plots / "subgroups.png").exists()
