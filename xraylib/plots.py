"""All figures: a table and Axes in, Axes out; only `save` writes. kind=config.kind names phantoms in the title."""

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
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from xraylib.data.index import SPLITS
from xraylib.evaluation import metrics
from xraylib.files import UserError, write_bytes

SINGLE, DOUBLE = 3.4, 7.0  # inches: one column of a journal's page, and both
LIMIT = 200_000  # bytes of a PNG

# Okabe and Ito's colours, safe for colour-blind readers; marker or dash repeats what the colour says.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#666666"
Look = tuple[str, str, str, str]  # colour, dash, marker, name
NETWORKS: dict[str, Look] = {
    "published": (ORANGE, "--", "s", "published CNN"),
    "xray_cnn": (BLUE, "-", "o", "this study's CNN"),
    "xray_cnn_ensemble": (GREEN, "-.", "D", "this study's ensemble"),
}
CLASSES = {0: ("NORMAL", SKY, "o", ""), 1: ("PNEUMONIA", VERMILLION, "x", "////")}  # name, colour, marker, hatch
PALETTE = {name: colour for name, colour, *_ in CLASSES.values()}
GROUPS: dict[str, Look] = {
    "published experiment": (ORANGE, "--", "s", "published experiment"),
    "baselines": (GREY, ":", "^", "baselines"),
    "this study": (BLUE, "-", "o", "this study"),
    "field": (PURPLE, "-.", "D", "other work"),
    "tune": (ORANGE, "--", "s", "tune"),
    "test": (BLUE, "-", "o", "test"),
    "sensitivity": (VERMILLION, "-", "o", "sensitivity"),
    "specificity": (SKY, "--", "s", "specificity"),
}
LOOKS = NETWORKS | GROUPS
OTHERS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "D"), (GREY, ":", "^"), (PURPLE, "-", "v"))
STATISTICS = {
    "auroc": "AUROC", "ppv": "PPV", "npv": "NPV", "mcc": "MCC", "brier": "Brier score",
    "sensitivity_bacteria": "sensitivity, bacteria", "sensitivity_virus": "sensitivity, virus",
}  # fmt: skip
STYLE = {
    "figure.dpi": 200, "savefig.dpi": 200, "figure.constrained_layout.use": True, "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 7.5, "axes.titlesize": 8, "axes.labelsize": 7.5, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "legend.title_fontsize": 7, "legend.frameon": False, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": False, "axes.axisbelow": True, "grid.color": "#dddddd",
    "grid.linewidth": 0.5, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "lines.linewidth": 1.2, "hatch.linewidth": 0.5, "image.cmap": "cividis",
}  # fmt: skip
MARK = {"markersize": 4.5, "markeredgecolor": "black", "markeredgewidth": 0.5, "clip_on": False, "zorder": 3}


def style() -> None:
    """Set the study's style for all figures that follow; `figure` does it too."""
    mpl.rcParams.update(STYLE)


def figure(rows: int = 1, columns: int = 1, width: float = SINGLE, height: float | None = None, **subplots):
    """A figure in the study's style and its Axes (one or an array): width, height (0.8 of it by default) in inches."""
    style()
    return plt.subplots(rows, columns, figsize=(width, height or 0.8 * width), **subplots)


def save(fig: Figure, path: Path, limit: int = LIMIT) -> Figure:
    """Write the figure as PNG, whole or not at all, with the same bytes each time; returns it, closed, for a notebook.

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
    plt.close(fig)  # else the notebook shows it a second time
    return fig


def _png(fig: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # else its bytes depend on the version
    return buffer.getvalue()


def _fewer_colours(data: bytes, colours: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# --- films (notebooks 01 and 04) ---


def counts(index: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Films by split and subtype, a bar each; beside it the number of films and of children."""
    table = index.groupby(["split", "subtype"]).agg(films=("path", "size"), children=("patient", "nunique"))
    table = table.reset_index().sort_values("split", key=lambda s: s.map(SPLITS.index), kind="stable")
    names = table.split + ", " + table.subtype
    colours = dict(zip(names, np.where(table.subtype == "normal", SKY, VERMILLION), strict=True))
    sns.barplot(x=table.films, y=names, hue=names, palette=colours, saturation=1, legend=False, ax=ax)
    for y, row in enumerate(table.itertuples()):
        ax.annotate(f" {row.films:,} ({_n(row.children, 'child')})", (row.films, y), va="center", fontsize=6.5)
    ax.set(xlim=(0, 2 * table.films.max()), xlabel="films", ylabel="")
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    return _title(ax, f"{100 * index.label.mean():.0f} of 100 films show pneumonia", index, kind)


def patients(index: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """How many children have how many films, by class, on a logarithmic axis."""
    each = index.groupby(["label", "patient"]).size().rename("films").reset_index()
    sns.histplot(each.assign(true=_true(each)), x="films", hue="true", palette=PALETTE, hue_order=PALETTE,
                 discrete=True, multiple="dodge", shrink=0.8, ax=ax)  # fmt: skip
    ax.set(yscale="log", ylim=(0.7, None), xlabel="films of one child", ylabel="children (log scale)")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.get_legend().set_title("")
    return _title(ax, f"{100 * (each.films == 1).mean():.0f} of 100 children have one film", index, kind)


def sizes(index: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Width against height in pixels, a point per film, by class."""
    mixed = index.assign(true=_true(index)).sample(frac=1, random_state=0)  # else the class drawn last hides the other
    sns.scatterplot(mixed, x="width", y="height", hue="true", style="true", palette=PALETTE, hue_order=PALETTE, s=10,
                    alpha=0.6, markers={"NORMAL": "o", "PNEUMONIA": "X"}, clip_on=False, ax=ax)  # fmt: skip
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)")
    ax.get_legend().set_title("")
    return _title(ax, "Sizes of the files", index, kind)


def radiographs(images: Sequence[np.ndarray], titles: Sequence[str], axes, what: str, kind: str = ""):
    """Grey images, (h, w) or (h, w, 1) in [0, 255], one per Axes; left-over Axes are emptied. what: title of all."""
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
    """A training batch: float32 or uint8 (n, h, w, 1), as many as there are Axes, with class and range."""
    n = min(len(images), np.size(axes))
    titles = [f"{CLASSES[int(y)][0]}, {x.min():.0f} to {x.max():.0f}" for x, y in zip(images[:n], labels, strict=False)]
    return radiographs(images[:n], titles, axes, f"Train split, augmented (n = {n})", kind)


def val_grid(table: pd.DataFrame, images: Mapping[str, np.ndarray], points: Mapping, axes, kind: str = ""):
    """Films with their class, and beneath each the probability and decision of every network.

    table: predictions, one seed per network; images: path -> uint8 (h, w); points: (network, seed) -> operating point.
    """
    rows = table.drop_duplicates("path").sort_values(["label", "path"])
    what = f"Val split (n = {len(rows)}), one seed of each CNN; ✗: wrong"
    axes = radiographs([images[path] for path in rows.path], ["" for _ in rows.path], axes, what, kind)
    axes.flat[0].figure.get_layout_engine().set(hspace=0.2, rect=(0, 0.03, 1, 0.97))  # room for the lines below
    for ax, film in zip(axes.flat, rows.itertuples(), strict=False):
        ax.set_title(CLASSES[film.label][0], fontsize=7, pad=2)
        for line, (network, seeds) in enumerate(_networks(table[table.path == film.path], "val_grid")):
            ((seed, of),) = seeds
            probability = of.probability.iloc[0]
            decision = int(probability >= points[network, seed])
            wrong, name = decision != film.label, network.replace("xray_cnn", "ours")
            text = f"{name} {probability:.2f} {CLASSES[decision][0]}{' ✗' if wrong else ''}"
            label = ax.text(0.5, -0.03 - 0.095 * line, text, transform=ax.transAxes, ha="center", va="top",
                            fontsize=6.2, color=VERMILLION if wrong else BLACK)  # fmt: skip
            label.set_in_layout(False)  # wider than its image, it would shrink all of them
    return axes


def method(film, lungs, box, frame, saliency, probability: float, axes, kind: str = ""):
    """The method in six panels: film, lungs, box, frame, map and score.

    film: uint8 (h, w); lungs: (h, w) or smaller, above 0.5 is lung; box: (left, top, right, bottom) in shares of the
    film; frame: uint8 (size, size); saliency: float, the same shape; probability: of pneumonia.
    """
    titles = ("1 film", "2 lungs found", "3 box of the lungs", "4 frame", "5 Grad-CAM", "6 score")
    height, width = film.shape[:2]
    radiographs((film, film, film, frame, frame), titles[:5], axes, "From a film to a score", kind)
    found = Image.fromarray(np.asarray(lungs, np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    axes[1].contourf(np.asarray(found), levels=[0.5, np.inf], colors=[SKY], alpha=0.45)
    left, top, right, bottom = np.asarray(box) * (width, height, width, height)
    axes[2].add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, color=ORANGE, linewidth=1.2))
    axes[4].imshow(saliency / max(saliency.max(), 1e-9), cmap="magma", alpha=0.45, vmin=0, vmax=1)
    axes[5].set(xlim=(0, 1), ylim=(-1, 1), aspect=0.5)
    axes[5].barh(0, 1, 0.3, color="#eeeeee")
    axes[5].barh(0, probability, 0.3, color=VERMILLION if probability >= 0.5 else SKY)
    axes[5].text(0.5, 0.4, f"{probability:.2f}", ha="center", fontsize=10)
    axes[5].text(0.5, -0.55, "probability\nof pneumonia", ha="center", fontsize=7, va="center")
    axes[5].set_title(titles[5], fontsize=7)
    return axes


def flow(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Flow chart of films and children (STARD), from the archive to the splits, as a tree.

    table: name, parent (a name, "" for the first), n_films, n_children; each parent stands before its children.
    """
    children = table.groupby("parent").name.apply(list).to_dict()
    at: dict[str, tuple[float, float]] = {}

    def place(name: str, depth: int, left: int) -> int:
        """Puts a box over the middle of what follows from it; returns the next free column."""
        right = left
        for child in children.get(name, []):
            right = place(child, depth + 1, right)
        under = [at[child][0] for child in children.get(name, [])]
        at[name] = (float(np.mean(under)) if under else left + 0.5, -depth)
        return max(right, left + 1)

    columns = place(children[""][0], 0, 0)
    deepest = min(y for _, y in at.values())
    gap = 0.25 * (1 - deepest) / ax.figure.get_figheight()  # from the middle of a box to its edge
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": BLUE, "linewidth": 0.8}
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    for row in table.itertuples():
        x, y = at[row.name]
        if row.parent:
            ax.annotate("", (x, y + gap), (at[row.parent][0], at[row.parent][1] - gap), arrowprops=arrow, zorder=1)
        text = f"{row.name}\n{_n(row.n_films, 'film')}\n{_n(row.n_children, 'child')}"
        ax.text(x, y, text, ha="center", va="center", fontsize=7, bbox=box, zorder=3)
    ax.set(xlim=(0, columns), ylim=(deepest - 0.5, 0.5))
    ax.set_axis_off()
    return _title(ax, "Films and children, from the archive to test", None, kind)


# --- training (notebook 02) ---


def networks(layers: pd.DataFrame, axes) -> np.ndarray:
    """Each network from input to output, a box a layer, filled by its share of the weights. layers: diagram.layers."""
    for ax, (network, rows) in zip(axes, layers.groupby("network", sort=False), strict=True):
        colour, _, _, name = _look(network)
        y, total = np.arange(len(rows)), rows.weights.sum()
        ax.barh(y, 1, 0.72, color="white", edgecolor=colour, linewidth=0.8)
        ax.barh(y, rows.weights / total, 0.72, color=colour, alpha=0.35)
        for at, row in zip(y, rows.itertuples(), strict=True):
            ax.text(0.02, at, row.layer, va="center", fontsize=6.8)
            ax.text(0.79, at, row.output, va="center", ha="right", fontsize=6.8)
            ax.text(0.98, at, f"{row.weights:,}" if row.weights else "-", va="center", ha="right", fontsize=6.8)
            if at:
                ax.annotate("", (0.5, at - 0.36), (0.5, at - 0.64), arrowprops={"arrowstyle": "-|>", "linewidth": 0.6,
                            "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6})  # fmt: skip
        ax.set(xlim=(0, 1), ylim=(layers.groupby("network").size().max() - 0.5, -0.5))
        ax.set_axis_off()
        ax.set_title(f"{name}: {total:,} weights\n(layer, output, weights; filled: share of them)")
    return axes


def dice(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """How well the locator finds lungs, by split and class: mean Dice and IoU of the box, bars to the 5th percentile.

    table: columns split, class, films, dice, dice_p5, iou and iou_p5.
    """
    label = table.split + ", " + table["class"] + " (n = " + table.films.map("{:,}".format) + ")"
    measures = {"dice": "Dice of the lungs", "iou": "IoU of the box"}
    parts = [pd.DataFrame({"part": label, "measure": name, "value": table[column], "upper": table[column],
                           "lower": table[f"{column}_p5"]}) for column, name in measures.items()]  # fmt: skip
    rows = pd.concat(parts).sort_index(kind="stable")
    xlabel = "agreement with masks drawn by people (bar: to the 5th percentile)"
    return forest(rows, ax, "part", "How well the locator finds the lungs", group="measure", xlabel=xlabel,
                  figures=False, kind=kind)  # fmt: skip


def learning_curves(history: pd.DataFrame, axes, index: pd.DataFrame, kind: str = "", events=None):
    """Loss on axes[0] and accuracy on axes[1] over epochs, train and tune: mean and range over seeds.

    history: network, seed, epoch, loss, tune_loss, accuracy, tune_accuracy, of networks with several epochs; index:
    adds n; events: epoch -> name, drawn as vertical lines.
    """
    long = history[history.groupby("network").epoch.transform("nunique") > 1]
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for name, column, colour, dash in (
            ("train (augmented frames)", metric, BLUE, "-"),
            ("tune", f"tune_{metric}", ORANGE, "--"),
        ):
            sns.lineplot(long, x="epoch", y=column, color=colour, linestyle=dash, label=name, legend=False,
                         errorbar=("pi", 100), ax=ax)  # fmt: skip
        for epoch, event in (events or {}).items():
            ax.axvline(epoch, color=GREY, linestyle=":", linewidth=0.8)
            ax.annotate(f" {event}", (epoch, 1), xycoords=("data", "axes fraction"), va="bottom", fontsize=6.5)
        label = {"loss": "loss (train: smoothed labels)"}.get(metric, metric)
        ax.set(xlabel="epoch (band: range over seeds)", ylabel=label)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        ax.grid(axis="y")
    _legend_below(axes[0], 2)
    n = [f"{split} n = {(index.split == split).sum():,}" for split in ("train", "tune")]
    title = f"Training, this study's CNN, {', '.join(n)}"
    axes[0].figure.suptitle(_with_kind(title, kind), fontsize=8)
    return axes


def ablation(table: pd.DataFrame, ax: Axes, statistic: str = "auroc", kind: str = "") -> Axes:
    """Tune and test side by side for each variant: a dot per seed, mean and SD as marker and bar, and in figures.

    table: columns variant, seed, split ("tune" or "test"), films and the statistic.
    """
    each = table.groupby(["variant", "split"], sort=False)[statistic].agg(average="mean", sd="std").reset_index()
    each = each.assign(lower=each.average - each.sd.fillna(0), upper=each.average + each.sd.fillna(0))
    forest(each, ax, "variant", "", "average", group="split", figures=False,
           xlabel=f"{STATISTICS.get(statistic, statistic)} (dot: a seed; mean ± SD)")  # fmt: skip
    for line, row in zip(ax.lines[1::2], each.itertuples(), strict=False):
        seeds = table[(table.variant == row.variant) & (table.split == row.split)][statistic]
        y, colour = np.asarray(line.get_ydata())[0], line.get_color()
        ax.plot(seeds, [y] * len(seeds), ".", color=colour, alpha=0.5, markersize=4, clip_on=False)
        text = f"{row.split} {row.average:.3f}" + (f" ± {row.sd:.3f}" if row.sd == row.sd else "")
        ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=6.5, color=colour)
    n = ", ".join(f"{split} n = {films:,}" for split, films in table.groupby("split", sort=False).films.first().items())
    return _title(ax, f"What makes it work, {table.seed.nunique()} seeds each ({n})", None, kind)


# --- evaluation (notebooks 03 and 05) ---


def forest(table: pd.DataFrame, ax: Axes, row: str, title: str, value: str = "value", group: str | None = None,
           xlabel: str = "value, with 95 % interval over patients", reference: float | None = None,
           hollow: str | None = None, figures: bool = True, legend: bool = True, kind: str = "") -> Axes:  # fmt: skip
    """Values with their intervals, one line each, and the same in figures at the right.

    table: columns `row` (what stands at the left; consecutive equal ones share a label), `value`, lower, upper; group:
    the column that sets colour and marker (networks, splits, statistics); hollow: a bool column. reference: a line.
    """
    _some(table, "forest", f"columns {row}, {value}, lower and upper")
    looks = _looks(table[group]) if group else {}
    several = "n_films" in table and len(set(table.n_films)) > 1
    start = table[row].ne(table[row].shift()).to_numpy()
    y = np.arange(len(table)) + 0.6 * (np.cumsum(start) - 1) * (not start.all())
    for at, line in zip(y, table.to_dict("records"), strict=True):
        colour, _, marker, _ = looks[line[group]] if group else (BLUE, "-", "o", "")
        ax.plot((line["lower"], line["upper"]), (at, at), color=colour, linewidth=1.5, clip_on=False)
        face = "white" if hollow and line[hollow] else colour
        ax.plot(line[value], at, marker, color=colour, mfc=face, **MARK)
        if figures:
            interval = f" ({line['lower']:.3f}-{line['upper']:.3f})" if np.isfinite(line["lower"]) else ""
            n = f", n = {line['n_films']:,}" if several else ""
            text = f"{line[value]:.3f}{interval}{n}"
            ax.annotate(text, (1.02, at), xycoords=("axes fraction", "data"), va="center", fontsize=6.5)
    if reference is not None:
        ax.axvline(reference, color=BLACK, linestyle=":", linewidth=0.8)
    blocks = [y[np.cumsum(start) == k + 1].mean() for k in range(start.sum())]
    ax.set_yticks(blocks, [STATISTICS.get(name, name) for name in table[row][start]])
    ax.set(ylim=(y[-1] + 0.6, -0.6), xlabel=xlabel)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    if legend and len(looks) > 1:
        for colour, _, marker, name in looks.values():
            ax.plot([], [], marker, color=colour, label=name, markersize=4.5)
        _legend_below(ax, 3)
    return _title(ax, title, None, kind)


def operating_points(table: pd.DataFrame, ax: Axes, split: str = "test", kind: str = "",
                     statistics: Sequence[str] = metrics.HEADLINE) -> Axes:  # fmt: skip
    """Forest plot of every network's statistics on one split: mean over seeds, and the ensemble. table: metrics.csv."""
    seed = table.seed.astype(str)
    rows = table[(table.split == split) & seed.isin(("mean", "ensemble")) & table.statistic.isin(statistics)]
    named = rows.network.where(seed[rows.index] == "mean", rows.network + "_ensemble")
    rows = rows.assign(look=named.str.replace("_ensemble_ensemble", "_ensemble"))
    rows = rows[rows.look.isin(NETWORKS)]
    rows = rows.sort_values(["statistic", "look"], key=lambda s: s.map([*statistics, *NETWORKS].index), kind="stable")
    n = f"(n = {int(rows.n_films.iloc[0]):,}, {_n(int(rows.n_children.iloc[0]), 'child')})"
    return forest(rows, ax, "statistic", f"Results, {split} split {n}", group="look", kind=kind)


def comparison(table: pd.DataFrame, axes, kind: str = ""):
    """What was claimed, the same on test, baselines, this study and other work: AUROC on axes[0], accuracy on axes[1].

    table: group, row, measured_on, statistic, value, lower, upper, n_films, and test_chose_threshold (bool).
    """
    rows, train = list(dict.fromkeys(table.row)), set(table.row[table.measured_on == "train folder"])
    for ax, statistic in zip(axes, ("auroc", "accuracy"), strict=True):
        part = table[table.statistic == statistic].set_index("row").reindex(rows).reset_index()
        chose = part.test_chose_threshold.eq(True)
        names = part.row + np.where(part.row.isin(train), " *", "")
        part = part.assign(hollow=chose, group=part.group.fillna("field"), row=names)
        xlabel = STATISTICS.get(statistic, statistic)
        forest(part, ax, "row", "", group="group", hollow="hollow", figures=False, xlabel=xlabel, legend=False)
        ax.margins(x=0.06)
    axes[1].set_yticklabels([])
    for look in [GROUPS[group] for group in dict.fromkeys(table.group)]:
        axes[1].plot([], [], look[2], color=look[0], label=look[3], markersize=4.5)
    if table.test_chose_threshold.any():
        axes[1].plot([], [], "D", color=GREY, mfc="white", label="hollow: threshold chosen on test", markersize=4.5)
    _legend_below(axes[1], 3)
    n = table[table.measured_on == "test"].n_films.iloc[0]
    star = "; *: on the train folder" if train else ""
    title = f"Claimed, replayed and reached, test split (n = {int(n):,}), 95 % intervals{star}"
    axes[0].figure.suptitle(_with_kind(title, kind), fontsize=8)
    return axes


def published_comparison(table: pd.DataFrame, ax: Axes, index: pd.DataFrame, kind: str = "") -> Axes:
    """Published figures beside the replayed ones, a marker per seed.

    table: quantity, source ("published" or "replayed"), value (shares); index: adds n.
    """
    looks = {"published": (BLACK, "|", 12), "replayed": (ORANGE, "s", 4.5)}
    for source, (colour, marker, size) in looks.items():
        part = table[table.source == source]
        ax.plot(part.value, part.quantity, marker, label=source, **MARK | {"markersize": size, "color": colour})
    ax.margins(y=0.15)
    ax.invert_yaxis()
    ax.grid()
    ax.set(xlabel="share of films", ylabel="")
    _legend_below(ax, 2)
    folders = [f"{name} folder (n = {(index.folder == name).sum():,})" for name in ("train", "val")]
    return _title(ax, f"As published and as replayed, {' and '.join(folders)}", None, kind)


def confusion(table: pd.DataFrame, points: Mapping, ax: Axes, kind: str = "") -> Axes:
    """Confusion matrix of one network: of 100 films of each class, how many are called what; mean over seeds.

    points: (network, seed) -> operating point.
    """
    ((network, seeds),) = _networks(table, "confusion")
    each = [metrics.at_threshold(part.label, part.probability, points[network, seed]) for seed, part in seeds]
    matrix = np.mean([[[c["tn"], c["fp"]], [c["fn"], c["tp"]]] for c in each], axis=0)
    share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    text = np.array([f"{s:.0f} of 100\n({m:,.0f} films)" for s, m in zip(share.flat, matrix.flat, strict=True)])
    names = [name for name, *_ in CLASSES.values()]
    sns.heatmap(share, annot=text.reshape(2, 2), fmt="", cmap="cividis", vmin=0, vmax=100, cbar=False, ax=ax,
                xticklabels=names, yticklabels=names, annot_kws={"fontsize": 8.5})  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true")
    over = f", mean of {len(each)} seeds" if len(each) > 1 else ""
    return _title(ax, _look(network)[3] + over, table, kind)


def roc(table: pd.DataFrame, ax: Axes, points: Mapping | None = None, kind: str = "") -> Axes:
    """ROC curves of every network in the table, a thin line per seed; markers at the operating points."""
    _curves(_networks(table, "roc"), ax, points, lambda label, p: roc_curve(label, p)[:2], roc_auc_score, "AUROC",
            lambda at: (1 - at["specificity"], at["sensitivity"]))  # fmt: skip
    ax.plot((0, 1), (0, 1), ":", color=GREY, linewidth=0.8)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity")
    ax.legend(loc="lower right")
    return _title(ax, "ROC", table, kind)


def precision_recall(table: pd.DataFrame, ax: Axes, points: Mapping | None = None, kind: str = "") -> Axes:
    """Precision (PPV) against recall (sensitivity), a thin line per seed; dotted: the split's prevalence."""
    networks = _networks(table, "precision_recall")
    _curves(networks, ax, points, lambda label, p: precision_recall_curve(label, p, drop_intermediate=True)[1::-1],
            average_precision_score, "average precision", lambda at: (at["sensitivity"], at["ppv"]))  # fmt: skip
    prevalence = table.drop_duplicates("path").label.mean()
    ax.axhline(prevalence, linestyle=":", color=GREY, linewidth=0.8, label=f"prevalence {prevalence:.2f}")
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    ax.legend(loc="lower left")
    return _title(ax, "Precision and recall", table, kind)


def _curves(networks, ax: Axes, points, curve, area, what: str, place) -> None:
    """curve, area: label, probability -> x, y and the area, called `what`; place: statistics -> x, y of the marker."""
    for network, seeds in networks:
        colour, dash, marker, name = _look(network)
        for seed, part in seeds:
            ax.plot(*curve(part.label, part.probability), dash, color=colour, linewidth=0.8, drawstyle="steps-post")
            if points:
                at = metrics.at_threshold(part.label, part.probability, points[network, seed])
                ax.plot(*place(at), marker, color=colour, **MARK)
        mean = np.mean([area(part.label, part.probability) for _, part in seeds])
        look = dash + (marker if points else "")
        ax.plot([], [], look, color=colour, markersize=4, label=f"{name}: {what} {mean:.3f}")
    ax.grid()


def score_histogram(table: pd.DataFrame, points: Mapping, ax: Axes, kind: str = "") -> Axes:
    """Probabilities of one network by true class, mean count over seeds, with the threshold of each seed."""
    ((network, seeds),) = _networks(table, "score_histogram")
    sns.histplot(table.assign(weight=1 / len(seeds), true=_true(table)), x="probability", hue="true", palette=PALETTE,
                 bins=20, binrange=(0, 1), weights="weight", element="step", ax=ax)  # fmt: skip
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for i, (seed, _) in enumerate(seeds):  # each lower than the last, so that near ones do not cover each other
        threshold = points[network, seed]
        ax.axvline(threshold, color=BLACK, linestyle="--", linewidth=0.8)
        ax.annotate(f"threshold of seed {seed}: {threshold:.2f}", (threshold + 0.01, 0.97 - 0.07 * i), va="top",
                    xycoords=("data", "axes fraction"), fontsize=6.5, bbox=white)  # fmt: skip
    ax.set(yscale="log", ylim=(0.2, 1e4), xlim=(0, 1), xlabel="probability of pneumonia", ylabel="films (log scale)")
    ax.yaxis.set_major_formatter("{x:,g}")
    sns.move_legend(ax, "upper right", title=None, bbox_to_anchor=(0.94, 0.8))
    return _title(ax, _look(network)[3], table, kind)


def shortcuts(table: pd.DataFrame, network: Mapping[str, float], ax: Axes, index: pd.DataFrame, kind: str = "") -> Axes:
    """AUROC of properties that are not lung, on held-out children of train and on test; constant ones are left out.

    table: audit.shortcuts (property, train, test); network: AUROC of this study's CNN on "tune" and "test".
    """
    ours = {"property": NETWORKS["xray_cnn"][3], "train": network["tune"], "test": network["test"]}
    rows = pd.concat([pd.DataFrame([ours]), table[table.train.notna()]], ignore_index=True)
    ax.hlines(rows.index, rows.train, rows.test, color=GREY, linewidth=0.8)
    ax.plot(rows.train, rows.index, "s", color=ORANGE, label="held-out children of train", **MARK)
    ax.plot(rows.test, rows.index, "o", color=BLUE, label="test", **MARK)
    ax.axvline(0.5, color=BLACK, linestyle=":", linewidth=0.8)
    ax.set_yticks(rows.index, rows.property)
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.set(xlim=(None, 1), xlabel="AUROC (0.5: chance)")
    _legend_below(ax, 2)
    n = [f"{name} n = {(index.split == name).sum():,}" for name in ("train", "test")]
    return _title(ax, "Shortcuts, " + ", ".join(n), None, kind)


def reliability(table: pd.DataFrame, axes, kind: str = "") -> np.ndarray:
    """Observed share of PNEUMONIA by predicted probability, with Wilson's intervals, and counts per bin underneath."""
    upper, lower = axes
    networks = _networks(table, "reliability")
    for i, (network, seeds) in enumerate(networks):
        colour, dash, marker, name = _look(network)
        together = pd.concat([part for _, part in seeds])
        bars = together.groupby(metrics.bin_of(together.probability)).agg(
            p=("probability", "mean"), observed=("label", "mean"), n=("label", "size")
        )
        films = np.maximum((bars.n / len(seeds)).round().astype(int), 1)  # films, not seeds times films
        found = (bars.observed * films).round().astype(int)
        ends = [binomtest(k, n).proportion_ci(method="wilson") for k, n in zip(found, films, strict=True)]
        error = np.mean([metrics.ranking(p.label, p.probability)["expected_calibration_error"] for _, p in seeds])
        upper.vlines(bars.p, [end.low for end in ends], [end.high for end in ends], color=colour, linewidth=0.8)
        upper.plot(bars.p, bars.observed, dash + marker, color=colour, label=f"{name}: ECE {error:.3f}", **MARK)
        for bin_, n in films.items():
            lower.text((bin_ + 0.5) / metrics.BINS, i, n, color=colour, ha="center", va="center", fontsize=6.5)
    upper.plot((0, 1), (0, 1), ":", color=GREY, linewidth=0.8, label="perfect")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed share of pneumonia")
    lower.set(xlim=(0, 1), ylim=(len(networks) - 0.5, -0.5), yticks=[], ylabel="films\nper bin")
    lower.set(xlabel="predicted probability", xticks=np.linspace(0, 1, 6))
    upper.grid()
    _legend_below(upper, 2)
    _title(upper, "Reliability", table, kind)
    return axes


def decision_curve(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Net benefit against threshold probability, mean over seeds, beside treating all and none."""
    thresholds = np.linspace(0.02, 0.6, 117)  # those that a clinic may use
    for network, seeds in _networks(table, "decision_curve"):
        colour, dash, _, name = _look(network)
        curves = [metrics.net_benefit(part.label, part.probability, thresholds) for _, part in seeds]
        ax.plot(thresholds, np.mean([curve.network for curve in curves], axis=0), dash, color=colour, label=name)
    ax.plot(thresholds, curves[0].treat_all, color=GREY, linewidth=0.9, label="treat all")
    ax.axhline(0, color=BLACK, linewidth=0.9, linestyle=":", label="treat none")
    top = table.drop_duplicates("path").label.mean()
    ax.set(xlim=(0, 0.6), ylim=(-0.1 * top, 1.05 * top))
    ax.set(xlabel="threshold probability", ylabel="net benefit (true positives per film)")
    ax.grid()
    _legend_below(ax, 2)
    return _title(ax, "Decision curve", table, kind)


def risk_coverage(table: pd.DataFrame, ax: Axes, n: int, kind: str = "") -> Axes:
    """Accuracy on the films that the network is surest of. table: network, coverage, accuracy, sd."""
    for network, part in table.groupby("network", sort=False):
        colour, dash, marker, name = _look(network)
        ax.plot(100 * part.coverage, part.accuracy, dash + marker, color=colour, label=name, **MARK)
        ax.fill_between(100 * part.coverage, part.accuracy - part.sd, part.accuracy + part.sd, color=colour, alpha=0.2)
    ax.set_xlim(102, 100 * table.coverage.min() - 2)
    ax.yaxis.set_major_formatter("{x:.2f}")
    ax.grid(axis="y")
    ax.set(xlabel="films decided (%), the surest first", ylabel="accuracy (mean; band: SD)")
    _legend_below(ax, 2)
    return _title(ax, f"Abstaining, test split (n = {n:,})", None, kind)


def robustness(table: pd.DataFrame, statistic: str, ax: Axes, n: int, kind: str = "") -> Axes:
    """A statistic at the worst severity of each corruption, worst last; dotted: the films as they are.

    table: corruption ("none": as they are), severity, amount, unit, network, statistic, value, sd.
    """
    part = table[table.statistic == statistic].assign(sd=lambda t: t.sd.fillna(0))
    last = part[(part.corruption != "none") & (part.severity == part.groupby("corruption").severity.transform("max"))]
    order = last[last.network == "xray_cnn"].sort_values("value", ascending=False, kind="stable").corruption.tolist()
    names = last.corruption + " " + last.amount.map("{:g}".format) + " " + last.unit
    names = names.replace({"JPEG quality 5 quality": "JPEG quality 5", "inverted 1 grey levels inverted": "inverted"})
    last = last.assign(name=names, lower=(last.value - last.sd).clip(0), upper=(last.value + last.sd).clip(None, 1))
    last = last.sort_values(["corruption", "network"], key=lambda s: s.map([*order, *NETWORKS].index), kind="stable")
    name = STATISTICS.get(statistic, statistic)
    title = f"{name[0].upper() + name[1:]} under the strongest corruptions, test split (n = {n:,})"
    forest(last, ax, "name", title, group="network", figures=False, kind=kind,
           xlabel=f"{name}, mean ± SD over seeds (dotted: films as they are)")  # fmt: skip
    for clean in part[part.corruption == "none"].itertuples():
        ax.axvline(clean.value, color=_look(clean.network)[0], linestyle=":", linewidth=0.9)
    return ax


# --- maps (notebook 06) ---


def maps_over(images, maps, titles: Sequence[str], axes, what: str, kind: str = "", masks=None):
    """Radiographs with their maps laid over, and lesions outlined where masks (bool, n, size, size) are known."""
    radiographs(images, titles, axes, what, kind)
    for i, (ax, one) in enumerate(zip(np.ravel(axes), maps, strict=False)):
        ax.imshow(one / max(one.max(), 1e-9), cmap="magma", alpha=0.45, vmin=0, vmax=1)
        if masks is not None:
            ax.contour(masks[i], levels=[0.5], colors=SKY, linewidths=0.8)
    return axes


def sanity_check(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Correlation of maps with the trained network's while weights are randomised from the top layer on.

    table: saliency.sanity_check's, with columns network, map and n_films added.
    """
    groups = table.groupby(["network", "map"], sort=False)
    for (colour, dash, marker), ((network, name), part) in zip(OTHERS, groups, strict=False):
        x = 100 * part.layers / part.layers.max()
        label = name if len(set(table.network)) == 1 else f"{_look(network)[3]}, {name}"
        ax.plot(x, part.correlation, dash + marker, color=colour, label=label, **MARK)
    ax.axhline(0, color=BLACK, linestyle=":", linewidth=0.8)
    ax.set(
        xlabel="layers with randomised weights, from the top (%)", ylabel="Spearman correlation\nwith the trained map"
    )
    ax.set_ylim(min(-0.1, table.correlation.min() - 0.05), 1.05)
    ax.grid(axis="y")
    _legend_below(ax, 1)
    return _title(ax, f"Randomised weights, test split (n = {table.n_films.iloc[0]:,})", None, kind)


def deletion(curves: pd.DataFrame, areas: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """Mean probability as places are greyed in the order of each map: a good map's curve falls early.

    curves: method, share, probability; areas: method, n_films, area, lower, upper (columns of saliency.deletion).
    """
    of = areas.set_index("method")
    for (colour, dash, marker), (name, rows) in zip(OTHERS, curves.groupby("method", sort=False), strict=False):
        text = f"{name}: {of.area[name]:.2f} ({of.lower[name]:.2f}-{of.upper[name]:.2f})"
        ax.plot(100 * rows.share, rows.probability, dash + marker, color=colour, label=text, **MARK)
    ax.set(xlabel="places made grey, highest first (%)", ylim=(0, 1), ylabel="mean probability of pneumonia")
    ax.grid()
    _legend_below(ax, 1, title="area under the curve (95 % interval)")
    return _title(ax, f"Deletion, test split, PNEUMONIA (n = {areas.n_films.iloc[0]:,})", None, kind)


def hidden_regions(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """AUROC of both networks with nothing, the lungs, or all but the lungs hidden. table: saliency.hidden_regions."""
    order = list(dict.fromkeys(table.hidden))
    rows = table.sort_values("hidden", key=lambda s: s.map(order.index), kind="stable")
    title = f"What is left when the lungs are hidden, test split (n = {rows.n_films.iloc[0]:,})"
    rows = rows.assign(hidden="hidden: " + rows.hidden)
    xlabel = "AUROC (dotted: chance)"
    return forest(rows, ax, "hidden", title, "auroc", group="network", reference=0.5, xlabel=xlabel, kind=kind)


def pointing_game(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """How often each map peaks in the lesion. table: saliency.pointing_game."""
    title = f"Pointing game: does the map peak in the lesion? Test, PNEUMONIA (n = {table.n_films.iloc[0]:,})"
    return forest(table, ax, "method", title, "hits", reference=table.lesion.iloc[0], kind=kind,
                  xlabel="hit rate (dotted: a random place)")  # fmt: skip


def lung_share(table: pd.DataFrame, ax: Axes, kind: str = "") -> Axes:
    """The share of a map in the lungs over the lungs' share of the frame. table: saliency.lung_share."""
    title = f"{table['map'].iloc[0]} in the lungs, test split (n = {table.n_films.max():,} films with a map)"
    return forest(table, ax, "group", title, "ratio", reference=1, kind=kind,
                  xlabel="share of the map / share of the frame (dotted: a map that knows nothing)")  # fmt: skip


def subgroups(table: pd.DataFrame, ax: Axes, n: int, kind: str = "") -> Axes:
    """Sensitivity by subtype and specificity by series of file names. table: tables.subgroups; n: films of test."""
    return forest(table, ax, "part", f"Subgroups, test split (n = {n:,})", group="statistic", kind=kind)


# --- shared ---


def _networks(table: pd.DataFrame, function: str) -> list[tuple[str, list[tuple]]]:
    """(network, [(seed, its predictions), ...]), in the order of NETWORKS, then others."""
    _some(table, function, "predictions of one split")
    if len(set(table.split)) > 1 and function != "confusion":
        raise ValueError(f"plots.{function}: splits {', '.join(table.split.unique())}; wanted one.")
    names = sorted(table.network.unique(), key=lambda name: [*NETWORKS, name].index(name))
    return [(name, list(table[table.network == name].groupby("seed"))) for name in names]


def _true(table: pd.DataFrame) -> pd.Series:
    return table.label.map({label: name for label, (name, *_) in CLASSES.items()})


def _look(name: str) -> Look:
    return LOOKS.get(name, (PURPLE, "-", "v", name))


def _looks(column: pd.Series) -> dict[str, Look]:
    """A look for each value: its own in LOOKS, else the next of OTHERS."""
    values = list(dict.fromkeys(column))
    return {v: LOOKS.get(v, (*OTHERS[i % len(OTHERS)], str(v))) for i, v in enumerate(values)}


def _legend_below(ax: Axes, columns: int, **options) -> None:
    """One legend under the figure, of what has a name in ax."""
    handles = ax.get_legend_handles_labels()
    ax.figure.legend(*handles, loc="outside lower center", ncols=columns, columnspacing=1, **options)


def _some(table: pd.DataFrame, function: str, wanted: str) -> None:
    if len(table) == 0:
        raise UserError(f"plots.{function}: the table has no rows; wanted {wanted}. Is a split or a class empty?")


def _n(count: int, what: str) -> str:
    return f"{count:,} {what if count == 1 else {'child': 'children'}.get(what, what + 's')}"


def _title(ax: Axes, what: str, table: pd.DataFrame | None, kind: str) -> Axes:
    """What it shows, of which split, of how many films and children."""
    if table is not None:
        films = table.drop_duplicates("path")
        found = list(dict.fromkeys([*(s for s in SPLITS if (films.split == s).any()), *films.split.unique()]))
        own = set(found) <= set(SPLITS)  # the study's films are of children, another hospital's of anybody
        splits = f" split{'s' * (len(found) > 1)}" if own else ""
        of = "all splits" if len(found) == len(SPLITS) else f"{' and '.join(found)}{splits}"
        what = f"{what}, {of}\n(n = {len(films):,}, {_n(films.patient.nunique(), 'child' if own else 'patient')})"
    ax.set_title(_with_kind(what, kind))
    return ax


def _with_kind(text: str, kind: str) -> str:
    return f"{text}\n{kind}" if "phantom" in kind else text
