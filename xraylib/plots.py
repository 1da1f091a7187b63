"""Tables and Axes -> figures in one style; nothing is computed here that a table could hold, and only `save` writes.

Every function takes Axes and gives them back. Pass kind=config.kind: a reader must never take a phantom for a patient.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from xraylib.data.index import SPLITS
from xraylib.evaluation import metrics
from xraylib.files import UserError, write_bytes

SINGLE, DOUBLE = 3.4, 7.0  # inches: one column of a journal's page, and both
LIMIT = 200_000  # bytes of a PNG

# Okabe and Ito's colours, which colour-blind readers can tell apart; shape or dash repeats what colour says.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#666666"
NETWORKS = {  # colour, dash, marker, name
    "published": (ORANGE, "--", "s", "published CNN"),
    "xray_cnn": (BLUE, "-", "o", "own CNN"),
    "xray_cnn_ensemble": (GREEN, "-.", "D", "own ensemble"),
}
CLASSES = {0: ("NORMAL", SKY, "o", ""), 1: ("PNEUMONIA", VERMILLION, "x", "////")}  # name, colour, marker, hatch
SUBTYPES = {"normal": (SKY, ""), "bacteria": (VERMILLION, "////"), "virus": (PURPLE, "...."), "unknown": (GREY, "")}

GROUPS = {  # of the story: colour, marker
    "published experiment": (ORANGE, "s"),
    "baselines": (GREY, "^"),
    "this study": (BLUE, "o"),
    "field": (PURPLE, "D"),
}

STYLE = {
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "image.cmap": "cividis",
}


def style() -> None:
    """Set the study's style for all figures that follow; `figure` does it too."""
    mpl.rcParams.update(STYLE)


def figure(rows: int = 1, columns: int = 1, width: float = SINGLE, height: float | None = None, **subplots):
    """A figure in the study's style and its Axes (one or an array): width, height (0.8 of it by default) in inches."""
    style()
    return plt.subplots(rows, columns, figsize=(width, height or 0.8 * width), **subplots)


def save(fig: Figure, path: Path, limit: int = LIMIT) -> None:
    """Write the figure as PNG, whole or not at all, with the same bytes each time, and close it.

    A PNG above `limit` bytes (radiographs compress badly) gets 256 colours, then 64, then fewer dots per inch.
    """
    for dpi in (200, 170, 140, 115, 95, 75):
        data = _png(fig, dpi)
        for colours in (256, 64):
            if len(data) > limit:
                data = _fewer_colours(data, colours)
        if len(data) <= limit:
            break
    write_bytes(data, path)
    plt.close(fig)


def _png(fig: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # else its bytes depend on the version
    return buffer.getvalue()


def _fewer_colours(data: bytes, colours: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# --- the images (notebook 01) ---


def counts(index: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Images by split and subtype, a bar each; beside it the number of images and of patients."""
    _some(index, "counts", "the index table")
    bars = [(s, t) for s in SPLITS for t in SUBTYPES if ((index.split == s) & (index.subtype == t)).any()]
    for y, (split, subtype) in enumerate(bars):
        part = index[(index.split == split) & (index.subtype == subtype)]
        colour, hatch = SUBTYPES[subtype]
        ax.barh(y, len(part), color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        ax.annotate(
            f" {len(part):,} ({_n(part.patient.nunique(), 'patient')})", (len(part), y), va="center", fontsize=6.5
        )
    ax.set_yticks(range(len(bars)), [f"{split}, {subtype}" for split, subtype in bars])
    ax.invert_yaxis()
    longest = max(len(index[(index.split == s) & (index.subtype == t)]) for s, t in bars)
    ax.set_xlim(0, 1.7 * longest)  # room for the numbers
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.set_xlabel("images")
    ax.set_ylabel("split, subtype")
    return _title(ax, "Images", index, kind)


def patients(index: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """How many patients have how many images, by class; both axes logarithmic where there is much to show."""
    _some(index, "patients", "the index table")
    for offset, (label, (name, colour, _, hatch)) in zip((-0.2, 0.2), CLASSES.items(), strict=True):
        each = index[index.label == label].groupby("patient").size()
        n = each.value_counts().sort_index()
        ax.bar(n.index + offset, n, 0.4, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name)
    ax.set_yscale("log")
    ax.set_ylim(0.7, None)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("images of one patient")
    ax.set_ylabel("patients (log scale)")
    ax.legend()
    return _title(ax, "Images per patient", index, kind)


def sizes(index: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Width against height in pixels, a point per image, by class."""
    _some(index, "sizes", "the index table")
    shuffled = index.sample(frac=1, random_state=0)  # else the class drawn last hides the other
    for label, (name, colour, marker, _) in CLASSES.items():
        part = shuffled[shuffled.label == label]
        ax.scatter(part.width, part.height, s=5, c=colour, marker=marker, alpha=0.5, linewidths=0.5, label=name)
    if len(index[["width", "height"]].drop_duplicates()) == 1:
        ax.text(0.5, 0.3, "all images have this size", transform=ax.transAxes, ha="center")
    ax.set_xlabel("width (pixels)")
    ax.set_ylabel("height (pixels)")
    legend = ax.legend(loc="upper left", markerscale=2)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    return _title(ax, "Size of the files", index, kind)


def radiographs(images: Sequence[np.ndarray], titles: Sequence[str], axes, what: str, kind: str = ""):
    """Grey images, (h, w) or (h, w, 1) in [0, 255], one per Axes; Axes left over are emptied.

    what: stands above them all: of which split they are, and how many.
    """
    axes = np.atleast_1d(axes)
    if len(images) == 0 or len(images) != len(titles) or len(images) > axes.size:
        raise ValueError(f"radiographs: {len(images)} images, {len(titles)} titles, {axes.size} Axes; wanted a match.")
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(np.asarray(image).reshape(image.shape[:2]), cmap="gray", interpolation="nearest", vmin=0, vmax=255)
        ax.set_title(title, fontsize=7)
    axes.flat[0].figure.suptitle(_with_kind(what, kind), fontsize=8)
    return axes


def batch(images: np.ndarray, labels, axes, kind: str = ""):
    """A batch as the network sees it: float32 or uint8 (n, h, w, 1), as many as there are Axes, with class, range."""
    n = min(len(images), np.size(axes))
    titles = [f"{CLASSES[int(y)][0]}, {x.min():.0f} to {x.max():.0f}" for x, y in zip(images[:n], labels, strict=False)]
    return radiographs(images[:n], titles, axes, f"Train split, as a batch shows it (n = {n})", kind)


# --- training (notebook 02) ---


def histories(history: pd.DataFrame, axes, kind: str = "", index: pd.DataFrame | None = None):
    """Learning curves over epochs, a thin line per seed, thick their mean: loss on axes[0], accuracy, AUROC on axes[1].

    The published CNN has one epoch, so a marker; its val_ figures are of augmented training images. index: adds n.
    """
    _some(history, "histories", "the history table")
    marks = {  # column: dash, marker, filled, what it is
        "loss": ("-", "o", True, "training"),
        "tune_loss": ("--", "D", False, "tune"),
        "val_loss": ("--", "s", False, "augmented training"),
        "accuracy": ("-", "o", True, "accuracy, training"),
        "tune_auroc": ("--", "D", False, "AUROC, tune"),
        "val_accuracy": ("--", "s", False, "accuracy, augmented training"),
    }
    for ax, quantity, columns in (
        (axes[0], "loss (log scale)", ("loss", "tune_loss", "val_loss")),
        (axes[1], "accuracy, AUROC", ("accuracy", "tune_auroc", "val_accuracy")),
    ):
        for network, part in history.groupby("network", sort=False):
            colour, _, _, name = NETWORKS[network]
            for column in columns:
                if column not in part or part[column].isna().all():
                    continue
                dash, marker, filled, what = marks[column]
                seeds, label = part.pivot_table(values=column, index="epoch", columns="seed"), f"{name}: {what}"
                if len(seeds) == 1:
                    look = {"markersize": 4, "mfc": colour if filled else "white"}
                    ax.plot(seeds.index, seeds, marker, color=colour, label=label, **look)
                else:
                    ax.plot(seeds.index, seeds, dash, color=colour, linewidth=0.5, alpha=0.4)
                    ax.plot(seeds.index, seeds.mean(axis=1), dash, color=colour, linewidth=1.4, label=label)
        ax.set_xlabel("epoch (thick: mean over seeds; thin: each)")
        ax.set_ylabel(quantity)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y")
        handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))  # one entry for all seeds
        ax.legend(handles.values(), handles.keys(), fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.16))
        learned = None if index is None else index[index.split.isin(("train", "tune"))]
        what = "Loss" if ax is axes[0] else "Accuracy and AUROC"
        _title(ax, what, learned, kind)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    return axes


# --- evaluation (notebook 03) ---


def confusion(table: pd.DataFrame, points: Mapping, ax: Axes, kind: str = "") -> Axes:
    """Confusion matrix of one network: rows true, columns predicted; mean count over seeds, row percent.

    points: (network, seed) -> operating point, see metrics.operating_points.
    """
    _some(table, "confusion", "predictions of one network")
    network = _one(table.network, "confusion", "network")
    each = [
        metrics.at_threshold(part.label, part.probability, points[network, seed].threshold)
        for seed, part in table.groupby("seed")
    ]
    matrix = np.mean([[[c["tn"], c["fp"]], [c["fn"], c["tp"]]] for c in each], axis=0)
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)
    ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
    for i, j in np.ndindex(2, 2):
        count = f"{matrix[i, j]:,.0f}" if len(each) == 1 else f"{matrix[i, j]:,.1f}"
        ax.text(j, i, f"{count}\n{share[i, j]:.1%}", ha="center", va="center", fontsize=9,
                color="black" if share[i, j] > 0.5 else "white")  # fmt: skip
    names = [name for name, *_ in CLASSES.values()]
    ax.set_xticks((0, 1), names)
    ax.set_yticks((0, 1), names, rotation=90, va="center")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    over = f", mean of {len(each)} seeds" if len(each) > 1 else ""
    return _title(ax, NETWORKS[network][3] + over, table, kind)


def roc(table: pd.DataFrame, ax: Axes, points: Mapping | None = None, kind: str = "") -> Axes:
    """ROC curves of every network in the table, a thin line per seed; markers at the operating points."""
    for network, seeds in _networks(table, "roc"):
        colour, dash, marker, name = NETWORKS[network]
        aurocs = []
        for seed, part in seeds:
            aurocs.append(roc_auc_score(part.label, part.probability))
            fpr, tpr, _ = roc_curve(part.label, part.probability)
            ax.plot(fpr, tpr, dash, color=colour, linewidth=0.8)
            if points:
                at = metrics.at_threshold(part.label, part.probability, points[network, seed].threshold)
                _mark(ax, 1 - at["specificity"], at["sensitivity"], colour, marker)
        ax.plot([], [], dash, color=colour, marker=marker if points else "", markersize=4, markeredgecolor="black",
                markeredgewidth=0.5, label=f"{name}: AUROC {np.mean(aurocs):.3f}")  # fmt: skip
    ax.plot((0, 1), (0, 1), ":", color=GREY, linewidth=0.8)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity")
    ax.grid()
    ax.legend(loc="lower right")
    return _title(ax, "ROC", table, kind)


def precision_recall(table: pd.DataFrame, ax: Axes, points: Mapping | None = None, kind: str = "") -> Axes:
    """Precision (PPV) against recall (sensitivity), a thin line per seed; dotted: the split's prevalence."""
    for network, seeds in _networks(table, "precision_recall"):
        colour, dash, marker, name = NETWORKS[network]
        averages = []
        for seed, part in seeds:
            averages.append(metrics.ranking(part.label, part.probability)["average_precision"])
            precision, recall, _ = precision_recall_curve(part.label, part.probability, drop_intermediate=True)
            ax.plot(recall, precision, dash, color=colour, linewidth=0.8, drawstyle="steps-post")
            if points:
                at = metrics.at_threshold(part.label, part.probability, points[network, seed].threshold)
                _mark(ax, at["sensitivity"], at["ppv"], colour, marker)
        ax.plot([], [], dash, color=colour, marker=marker if points else "", markersize=4, markeredgecolor="black",
                markeredgewidth=0.5, label=f"{name}: average precision {np.mean(averages):.3f}")  # fmt: skip
    prevalence = table.drop_duplicates("path").label.mean()
    ax.axhline(prevalence, linestyle=":", color=GREY, linewidth=0.8, label=f"prevalence {prevalence:.2f}")
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    ax.grid()
    ax.legend(loc="lower left")
    return _title(ax, "Precision and recall", table, kind)


STATISTICS = {
    "auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "ppv": "PPV",
    "npv": "NPV",
    "mcc": "MCC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "expected_calibration_error": "expected calibration error",
    "sensitivity_bacteria": "sensitivity, bacteria",
    "sensitivity_virus": "sensitivity, virus",
}


def operating_points(
    table: pd.DataFrame,
    ax: Axes,
    statistics: Sequence[str] = ("auroc", "sensitivity", "specificity", "accuracy"),
    kind: str = "",
) -> Axes:
    """Forest plot: statistics of every network with their intervals, and the same in figures at the right.

    table: rows of metrics.as_table of one split and point (chosen or half).
    """
    _some(table, "operating_points", "rows of metrics.as_table")
    split = _one(table.split, "operating_points", "split")
    _one(table.point, "operating_points", "point")
    networks = [network for network in NETWORKS if (table.network == network).any()]
    values = table.set_index(["network", "statistic"])
    step = len(networks) + 1
    for i, statistic in enumerate(statistics):
        for j, network in enumerate(networks):
            row, y = values.loc[(network, statistic)], i * step + j
            colour, _, marker, name = NETWORKS[network]
            ax.plot((row.lower, row.upper), (y, y), color=colour, linewidth=1.5)
            ax.plot(row["mean"], y, marker, color=colour, markersize=4.5, markeredgecolor="black", markeredgewidth=0.5,
                    label=name if i == 0 else None)  # fmt: skip
            text = f"{row['mean']:.3f}" + (f" ({row.lower:.3f}-{row.upper:.3f})" if np.isfinite(row.lower) else "")
            ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=6.5)
    ax.set_yticks([i * step + (step - 2) / 2 for i in range(len(statistics))], [STATISTICS[s] for s in statistics])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(statistics) * step - 1, -1)
    ax.grid(axis="x")
    ax.set_xlabel("value, with 95 % interval over patients")
    ax.set_ylabel("statistic")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, columnspacing=1, handletextpad=0.2)
    n = table.iloc[0]
    return _set_title(ax, f"Results, {split} split", n.n_images, n.n_patients, kind)


def score_histogram(table: pd.DataFrame, points: Mapping, ax: Axes, kind: str = "") -> Axes:
    """Probabilities of one network by true class, mean count over seeds, with the threshold of each seed."""
    _some(table, "score_histogram", "predictions of one network")
    network = _one(table.network, "score_histogram", "network")
    seeds = sorted(table.seed.unique())
    for label, (name, colour, _, hatch) in CLASSES.items():
        part = table[table.label == label].probability
        common = {"bins": np.linspace(0, 1, 21), "weights": np.full(len(part), 1 / len(seeds))}
        ax.hist(part, color=colour, alpha=0.45, hatch=hatch, edgecolor="white", linewidth=0, label=name, **common)
        ax.hist(part, color=colour, histtype="step", linewidth=1, **common)
    for i, seed in enumerate(seeds):
        ax.axvline(points[network, seed].threshold, color=BLACK, linestyle="--", linewidth=0.8,
                   label=None if i else "threshold")  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(0.2, None)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xlim(0, 1)
    ax.set_xlabel("probability of pneumonia")
    ax.set_ylabel("images (log scale)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)  # inside, it would hide bars or thresholds
    return _title(ax, NETWORKS[network][3], table, kind)


def shortcuts(table: pd.DataFrame, network: Mapping[str, float], ax: Axes, index: pd.DataFrame, kind: str = ""):
    """How well each property that is not lung tells the class, on train (children held out) and on test.

    table: audit.shortcuts; network: AUROC of the study's CNN on "tune" and "test"; index: adds n.
    """
    own = {"property": NETWORKS[metrics.OWN][3], "train": network["tune"], "test": network["test"], "note": ""}
    rows = pd.concat([pd.DataFrame([own]), table], ignore_index=True)
    for column, name, filled in (("train", "children held out of train", False), ("test", "test", True)):
        ax.plot(rows[column], rows.index, "o", color=BLUE, mfc=BLUE if filled else "white", markersize=5, label=name)
    for y, row in rows.iterrows():
        if np.isnan(row.train):
            ax.annotate("all alike: tells nothing", (0.51, y), va="center", ha="left", fontsize=6.5, color=GREY)
        else:
            ax.plot((row.train, row.test), (y, y), "-", color=BLUE, linewidth=0.8, zorder=1)
    ax.axvline(0.5, color=BLACK, linestyle=":", linewidth=0.8)
    ax.axhline(0.5, color=GREY, linewidth=0.6)
    ax.set_yticks(rows.index, rows.property)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(min(0.38, np.nanmin(rows[["train", "test"]].to_numpy()) - 0.03), 1.02)
    ax.set_xlabel("AUROC (0.5: tells nothing)")
    ax.set_ylabel("what the class is told from")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.17), ncols=2)
    counts = [f"{name} n = {_n_of(index, name)}" for name in ("train", "test")]
    ax.set_title(_with_kind("Shortcuts, " + ", ".join(counts), kind))
    return ax


def _n_of(index: pd.DataFrame, split: str) -> str:
    return f"{(index.split == split).sum():,}"


def reliability_diagram(
    table: pd.DataFrame, ax: Axes, bins: int = metrics.BINS, kind: str = "", what: str = "Reliability"
) -> Axes:
    """Share of PNEUMONIA among images of like probability, all seeds of a network together, with Wilson's intervals."""
    for network, seeds in _networks(table, "reliability_diagram"):
        colour, dash, marker, name = NETWORKS[network]
        together = pd.concat([part for _, part in seeds])
        bars = metrics.reliability(together.label, together.probability, bins)
        bars = bars[bars.n > 0]
        lower, upper = metrics.wilson(bars.observed * bars.n / len(seeds), bars.n / len(seeds))  # images, not seeds
        error = np.mean(
            [metrics.ranking(part.label, part.probability, bins)["expected_calibration_error"] for _, part in seeds]
        )
        ax.vlines(bars.mean_probability, lower, upper, color=colour, linewidth=0.8)
        ax.plot(bars.mean_probability, bars.observed, dash, color=colour, marker=marker, markersize=4,
                linewidth=0.9, label=f"{name}: ECE {error:.3f}")  # fmt: skip
    ax.plot((0, 1), (0, 1), ":", color=GREY, linewidth=0.8, label="perfect")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set(xlabel="mean predicted probability", ylabel="observed share of pneumonia")
    ax.grid()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return _title(ax, what, table, kind)


def decision_curve(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Net benefit against threshold probability, mean over seeds, beside treating all children and none."""
    thresholds = np.linspace(0.01, 0.95, 189)
    for network, seeds in _networks(table, "decision_curve"):
        colour, dash, _, name = NETWORKS[network]
        curves = [metrics.net_benefit(part.label, part.probability, thresholds) for _, part in seeds]
        ax.plot(thresholds, np.mean([curve.network for curve in curves], axis=0), dash, color=colour, label=name)
    ax.plot(thresholds, curves[0].treat_all, color=GREY, linewidth=0.9, label="treat all")
    ax.axhline(0, color=BLACK, linewidth=0.9, linestyle=":", label="treat none")
    top = table.drop_duplicates("path").label.mean()
    ax.set(xlim=(0, 1), ylim=(-0.15 * top, 1.08 * top))
    ax.set(xlabel="threshold probability", ylabel="net benefit (true positives per child)")
    ax.grid()
    ax.legend(loc="lower left", bbox_to_anchor=(0, 0.1))
    return _title(ax, "Decision curve", table, kind)


def forest(table: pd.DataFrame, ax: Axes, title: str, kind: str = "") -> Axes:
    """A statistic of parts of the images with its interval, and figures and n at the right.

    table: evidence.in_parts, a row per part and statistic.
    """
    _some(table, "forest", "evidence.in_parts")
    looks = {"sensitivity": (VERMILLION, "o"), "specificity": (SKY, "s")}
    for y, row in enumerate(table.itertuples()):
        colour, marker = looks.get(row.statistic, (BLUE, "o"))
        ax.plot((row.lower, row.upper), (y, y), color=colour, linewidth=1.5)
        _mark(ax, row.mean, y, colour, marker)
        text = f"{row.mean:.3f} ({row.lower:.3f}-{row.upper:.3f}), n = {row.images}"
        ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=6.5)
    ax.set_yticks(range(len(table)), [f"{row.part}: {row.statistic}" for row in table.itertuples()])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlim(None, 1)  # a share ends there; a mark that lies on it is not clipped
    ax.grid(axis="x")
    ax.set_xlabel("mean over seeds, with 95 % interval over patients")
    ax.set_ylabel("part of the images")
    ax.set_title(_with_kind(title, kind))
    return ax


def ablation(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """AUROC of each variant on tune and on test, a dot a seed, a bar at their mean; table: tools.ablation."""
    _some(table, "ablation", "tools.ablation")
    common = {"data": table, "x": "auroc", "y": "variant", "hue": "split", "palette": [ORANGE, BLUE], "ax": ax}
    common["palette"] = common["palette"][: table.split.nunique()]
    sns.stripplot(**common, dodge=True, size=4, jitter=False)
    means = table.groupby(["variant", "split"], sort=False).auroc.mean().reset_index()
    sns.stripplot(**common | {"data": means}, dodge=True, size=11, marker="|", linewidth=1.5, legend=False)
    ax.set(xlabel="AUROC (dot: a seed, bar: their mean)", ylabel="")
    ax.grid(axis="x")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), title=None)
    n = ", ".join(f"{split} n = {part.films.iloc[0]:,}" for split, part in table.groupby("split", sort=False))
    ax.set_title(_with_kind(f"What makes it work ({n})", kind))
    return ax


def risk_coverage(table: pd.DataFrame, ax: Axes, n: int, kind: str = "") -> Axes:
    """Accuracy on the images decided when the network abstains from the least sure; table: evidence.risk_coverage."""
    _some(table, "risk_coverage", "evidence.risk_coverage")
    for network, part in table.groupby("network", sort=False):
        colour, dash, marker, name = NETWORKS[network]
        ax.errorbar(100 * part.coverage, part.accuracy, part.sd, fmt=dash + marker, color=colour, markersize=4,
                    linewidth=0.9, capsize=2, label=name)  # fmt: skip
    ax.set_xlim(102, 100 * table.coverage.min() - 2)
    ax.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter("{x:.2f}")  # labels of one width, for which the layout leaves room
    ax.grid(axis="y")
    ax.set(xlabel="images decided (%), the surest first", ylabel="accuracy (mean, SD)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    ax.set_title(_with_kind(f"Abstaining, test split (n = {n:,})", kind))
    return ax


def robustness(table: pd.DataFrame, statistic: str, axes, n: int, kind: str = "") -> None:
    """One small panel per corruption: a statistic against severity, both networks; table: evidence.robustness."""
    part = table[table.statistic == statistic]
    corruptions = [name for name in dict.fromkeys(part.corruption) if name != "none"]
    untouched = part[part.corruption == "none"]
    low = 0.05 * np.floor(part["mean"].min() / 0.05)
    for ax, corruption in zip(np.ravel(axes), corruptions, strict=False):
        rows = pd.concat([untouched, part[part.corruption == corruption]])
        for network, of_network in rows.groupby("network", sort=False):
            colour, dash, marker, name = NETWORKS[network]
            ax.errorbar(of_network.severity, of_network["mean"], of_network.sd, fmt=dash + marker, color=colour,
                        markersize=3.5, linewidth=0.9, capsize=1.5, label=name)  # fmt: skip
        graded = rows[(rows.severity > 0) & (rows.network == rows.network.iloc[0])]
        ax.set_xticks([0, *graded.severity], ["as is", *(f"{amount:g}" for amount in graded.amount)])
        ax.set_xlim(-0.3, 3.3)
        ax.set_ylim(low, 1.01)
        ax.grid(axis="y")
        ax.set_title(corruption)
        ax.set_xlabel(graded.unit.iloc[0], fontsize=6.5)
    for ax in np.ravel(axes)[len(corruptions) :]:
        ax.set_axis_off()
    figure = np.ravel(axes)[0].figure
    figure.supylabel(STATISTICS[statistic] + ", mean and SD over seeds", fontsize=7.5)
    handles, names = np.ravel(axes)[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    figure.suptitle(_with_kind(f"{STATISTICS[statistic]} under corruptions, test split (n = {n:,})", kind), fontsize=8)


def sanity_check(table: pd.DataFrame, ax: Axes, n: int, kind: str = "") -> Axes:
    """Similarity of Grad-CAM to the untouched network's while weights are shuffled; table: saliency.sanity_check."""
    sns.lineplot(table, x="layers", y="similarity", marker="o", color=BLUE, ax=ax)
    ax.axhline(0, color=BLACK, linestyle=":", linewidth=0.8)
    ax.set(xlabel="layers with shuffled weights, from the top", ylim=(-1.05, 1.05))
    ax.set_ylabel("similarity (Spearman)")
    ax.set_title(_with_kind(f"Maps change when weights are shuffled, test (n = {n})", kind))
    return ax


def deletion(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Mean probability while squares are removed in each map's order; table: saliency.deletion."""
    shares = [name for name in table if name.startswith("at_")]
    long = table.melt("method", shares, "share", "probability")
    long["share"] = 100 * long.share.str.removeprefix("at_").astype(float)
    sns.lineplot(long, x="share", y="probability", hue="method", style="method", markers=True, dashes=False, ax=ax)
    ax.set(xlabel="squares removed, the map's highest first (%)", ylabel="mean probability", ylim=(0, 1))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), title=None)
    ax.set_title(_with_kind(f"Deletion, test, PNEUMONIA (n = {table.films.iloc[0]})", kind))
    return ax


def hidden(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """AUROC with regions of the film hidden, by network; table: saliency.hidden_regions."""
    places = list(dict.fromkeys(table.hidden))
    for offset, (network, part) in zip((-0.12, 0.12), table.groupby("network", sort=False), strict=True):
        colour, _, marker, name = NETWORKS[network]
        y = np.array([places.index(place) for place in part.hidden]) + offset
        ax.hlines(y, part.lower, part.upper, color=colour, linewidth=1.5)
        ax.plot(part.auroc, y, marker, color=colour, markersize=4.5, label=name, clip_on=False)
    ax.axvline(0.5, color=BLACK, linestyle=":", linewidth=0.8)
    ax.set_yticks(range(len(places)), places)
    ax.set_ylim(len(places) - 0.5, -0.5)
    ax.set(xlabel="AUROC, 95 % interval (dotted: chance)", ylabel="hidden")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.22), ncols=2)
    ax.set_title(_with_kind(f"What is left when a region is hidden, test (n = {table.films.iloc[0]:,})", kind))
    return ax


def maps_over(
    images: np.ndarray, maps: np.ndarray, titles: Sequence[str], axes, what: str, kind: str = "", masks=None
) -> None:
    """Radiographs with their maps laid over, and lesions outlined where masks (bool, n, size, size) are known."""
    radiographs(images, titles, axes, what, kind)
    for i, (ax, one) in enumerate(zip(np.ravel(axes), maps, strict=False)):
        ax.imshow(one / max(one.max(), 1e-9), cmap="magma", alpha=0.45, vmin=0, vmax=1)
        if masks is not None:
            ax.contour(masks[i], levels=[0.5], colors=SKY, linewidths=0.8)


def published_comparison(table: pd.DataFrame, ax: Axes, index: pd.DataFrame, kind: str = "") -> Axes:
    """The published figures beside the replayed ones, a marker per seed.

    table: columns quantity, source ("published" or "replayed"), value (shares, 0 to 1); quantities in the order wanted.
    index: adds n.
    """
    _some(table, "published_comparison", "columns quantity, source and value")
    quantities = list(dict.fromkeys(table.quantity))
    for source, colour, marker, size in (("published", BLACK, "|", 12), ("replayed", ORANGE, "s", 4.5)):
        part = table[table.source == source]
        ax.plot(part.value, [quantities.index(q) for q in part.quantity], marker, color=colour, markersize=size,
                markeredgewidth=2 if marker == "|" else 0.5, markeredgecolor="black", label=source)  # fmt: skip
    ax.set_yticks(range(len(quantities)), quantities)
    ax.set_ylim(len(quantities) - 0.5, -0.5)
    ax.grid()
    ax.set_xlabel("share of images")
    ax.set_ylabel("quantity")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    folders = [f"{name} folder (n = {(index.folder == name).sum():,})" for name in ("train", "val")]
    ax.set_title(_with_kind(f"As published and as replayed, {' and '.join(folders)}", kind))
    return ax


def story(table: pd.DataFrame, axes, kind: str = "") -> np.ndarray:
    """What was claimed, what it is worth on unseen children, and what others reach; table: tables.story.

    A row per line of the table, AUROC on axes[0] and accuracy on axes[1]. Filled: on this study's test split; hollow:
    on other images (the train folder, or the official test folder), which no interval makes comparable.
    """
    _some(table, "story", "evaluate.story")
    rows = table.drop_duplicates(["group", "row"]).reset_index(drop=True)
    for ax, statistic in zip(axes, ("auroc", "accuracy"), strict=True):
        for value in table[table.statistic == statistic].itertuples():
            y = int(np.flatnonzero((rows.group == value.group) & (rows.row == value.row))[0])
            colour, marker = GROUPS[value.group]
            ax.plot((value.lower, value.upper), (y, y), color=colour, linewidth=1.5)
            ax.plot(value.mean, y, marker, color=colour, markersize=4.5, markeredgewidth=0.8,
                    mfc=colour if value.measured_on == "test" else "white")  # fmt: skip
        for y in np.flatnonzero(rows.group.ne(rows.group.shift()))[1:]:
            ax.axhline(y - 0.5, color=GREY, linewidth=0.5)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(None, 1.01)
        ax.grid(axis="x")
        ax.set_xlabel(STATISTICS[statistic])
        ax.set_yticks(range(len(rows)), rows.row if ax is axes[0] else [])
    n = rows[rows.measured_on == "test"].iloc[0]
    title = (
        f"Filled: test split (n = {n.images:,}, {_n(int(n.patients), 'patient')}), 95 % intervals. Hollow: other images"
    )
    axes[0].figure.suptitle(_with_kind(title, kind), fontsize=8)
    return axes


# --- the val folder (notebook 04) ---


def val_grid(table: pd.DataFrame, images: Mapping[str, np.ndarray], points: Mapping, axes, kind: str = ""):
    """Every image of the table with its true class, and each network's probability and decision beneath.

    table: predictions, one seed per network; images: path -> uint8 (h, w); as many axes as images, or more.
    """
    _some(table, "val_grid", "predictions of the val folder")
    axes = np.atleast_1d(axes)
    rows = table.drop_duplicates("path").sort_values(["label", "path"])
    what = f"Val split (n = {len(rows)}), one seed of each CNN; ✗: wrong"
    radiographs([images[path] for path in rows.path], ["" for _ in rows.path], axes, what, kind)
    axes.flat[0].figure.get_layout_engine().set(hspace=0.2, rect=(0, 0.03, 1, 0.97))  # room for the lines below
    for ax, row in zip(axes.flat, rows.itertuples(), strict=False):
        ax.set_title(CLASSES[row.label][0], fontsize=7, pad=2)
        for line, (network, seeds) in enumerate(_networks(table[table.path == row.path], "val_grid")):
            (seed, part), *others = seeds
            if others:
                raise ValueError(f"val_grid: {len(seeds)} seeds of {network}; wanted one. Choose one, or the ensemble.")
            probability = part.probability.iloc[0]
            decision = int(probability >= points[network, seed].threshold)
            wrong = decision != row.label
            name = NETWORKS[network][3].removesuffix(" CNN")  # else it is wider than its film
            text = f"{name} {probability:.2f} {CLASSES[decision][0]}{' ✗' if wrong else ''}"
            style = {"color": VERMILLION, "weight": "bold"} if wrong else {"color": BLACK}
            below = {"transform": ax.transAxes, "ha": "center", "va": "top", "fontsize": 6.2}
            label = ax.text(0.5, -0.03 - 0.095 * line, text, **below, **style)
            label.set_in_layout(False)  # wider than its image, it would squeeze all of them
    return axes


# --- shared ---


def _networks(table: pd.DataFrame, function: str) -> list[tuple[str, list[tuple[int, pd.DataFrame]]]]:
    """(network, [(seed, its predictions), ...]) in the order of NETWORKS, which is that of every legend."""
    _some(table, function, "predictions of one split")
    _one(table.split, function, "split")
    return [
        (network, [(int(seed), part) for seed, part in table[table.network == network].groupby("seed")])
        for network in NETWORKS
        if (table.network == network).any()
    ]


def _mark(ax: Axes, x: float, y: float, colour: str, marker: str) -> None:
    ax.plot(x, y, marker, color=colour, markersize=4.5, markeredgecolor="black", markeredgewidth=0.5, zorder=3,
            clip_on=False)  # fmt: skip


def _some(table: pd.DataFrame, function: str, wanted: str) -> None:
    if len(table) == 0:
        raise UserError(f"plots.{function}: the table has no rows; wanted {wanted}. Is a split or a class empty?")


def _one(column: pd.Series, function: str, what: str) -> str:
    values = column.unique().tolist()
    if len(values) != 1:
        raise ValueError(f"plots.{function}: {what}s {', '.join(map(str, values))}; wanted one.")
    return values[0]


def _n(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _title(ax: Axes, what: str, table: pd.DataFrame | None, kind: str) -> Axes:
    """What it shows, of which split, of how many images and patients."""
    if table is None:
        ax.set_title(_with_kind(what, kind))
        return ax
    images = table.drop_duplicates("path")
    splits = [split for split in SPLITS if (images.split == split).any()]
    of = "all splits" if len(splits) == len(SPLITS) else f"{' and '.join(splits)} split{'s' * (len(splits) > 1)}"
    return _set_title(ax, f"{what}, {of}", len(images), images.patient.nunique(), kind)


def _set_title(ax: Axes, what: str, n_images: int, n_patients: int, kind: str) -> Axes:
    text, n = what, f"(n = {n_images:,}, {_n(n_patients, 'patient')})"
    alone = ax.get_gridspec().ncols == 1  # titles of panels side by side break alike
    fits = len(text) + len(n) < ax.figure.get_figwidth() / 0.075  # inches; a character takes about 0.062
    text += (" " if alone and fits else "\n") + n
    ax.set_title(_with_kind(text, kind))
    return ax


def _with_kind(text: str, kind: str) -> str:
    return f"{text}\n{kind}" if "phantom" in kind else text
