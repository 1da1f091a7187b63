"""All figures: a function takes a table, the Axes to draw on and what else it needs, and writes nothing."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from xraylib.data.stations import MARKERS
from xraylib.evaluation import metrics, tables
from xraylib.evaluation.corruptions import described

SINGLE, DOUBLE = 3.4, 7.0  # inches: one column of a journal's page, and both
MOST_BYTES = 200_000  # of a PNG

# Okabe and Ito's colours, safe for colour-blind readers; marker or dash repeats what the colour says.
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
BLACK, GREY = "black", "#666666"
Look = tuple[str, str, str, str]  # colour, dash, marker, name
NETWORKS: dict[str, Look] = {
    "published": (ORANGE, "--", "s", "published CNN"),
    "xray_cnn": (BLUE, "-", "o", "this study's CNN"),
    "xray_cnn_ensemble": (GREEN, "-.", "D", "this study's ensemble"),
}
LOOKS = NETWORKS | {
    "published experiment": (ORANGE, "--", "s", "published experiment"),
    "baselines": (GREY, ":", "^", "baselines"),
    "this study": (BLUE, "-", "o", "this study"),
    "field": (PURPLE, "-.", "D", "other work"),
    "tune": (ORANGE, "--", "s", "tune"),
    "test": (BLUE, "-", "o", "test"),
    "sensitivity": (VERMILLION, "-", "o", "sensitivity"),
    "specificity": (SKY, "--", "s", "specificity"),
}
OTHERS = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "D"), (GREY, ":", "^"), (PURPLE, "-", "v"))
PALETTE = {"NORMAL": SKY, "PNEUMONIA": VERMILLION}
CLASSES = list(PALETTE)  # by label
STATISTICS = {"auroc": "AUROC"}  # where the name is not that of the column
MARK = {"markeredgecolor": "black", "clip_on": False, "zorder": 3}


def figure(rows: int = 1, columns: int = 1, width: float = SINGLE, height: float | None = None, **subplots):
    """A figure in the study's style and its Axes (one, or an array): width, height (0.8 of it by default) in inches."""
    plt.style.use(Path(__file__).with_suffix(".mplstyle"))
    return plt.subplots(rows, columns, figsize=(width, height or 0.8 * width), **subplots)


def png(fig: Figure) -> bytes:
    """The figure as PNG, with the same bytes each time; the figure is closed, so that a notebook shows it once.

    A PNG above MOST_BYTES (films compress badly) gets 64 colours, then fewer dots per inch.
    """
    for dpi in (200, 140, 95, 75):
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # else its bytes depend on the version
        if buffer.tell() > MOST_BYTES:
            image = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
            image.save(buffer := io.BytesIO(), "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    plt.close(fig)
    return buffer.getvalue()


def name_phantoms(fig: Figure, kind: str) -> None:
    """Add to the titles that the images are phantoms: a reader must never take one for a patient. kind: Config.kind."""
    if "phantom" not in kind:
        return
    if fig.get_suptitle():
        fig.suptitle(f"{fig.get_suptitle()}\n{kind}")
    else:
        for ax in fig.axes:
            ax.set_title(f"{title}\n{kind}" if (title := ax.get_title()) else "")


def no_films(table, axes, *details) -> None:
    """What stands for any figure whose table has no rows."""
    for ax in np.ravel(axes):
        ax.text(0.5, 0.5, "no films", ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()


# --- films (notebooks 01 and 04) ---


def counts(index: pd.DataFrame, ax: Axes) -> None:
    """Films by split and subtype, a bar each; beside it the number of films and of children."""
    table = index.groupby(["split", "subtype"]).agg(films=("path", "size"), children=("patient", "nunique"))
    order = [*SPLITS, "normal", "bacteria", "virus"].index
    table = table.reset_index().sort_values(["split", "subtype"], key=lambda s: s.map(order))
    names, colours = table.split + " " + table.subtype, np.where(table.subtype == "normal", SKY, VERMILLION)
    bars = ax.barh(names, table.films, color=colours)
    ax.bar_label(bars, [f" {row.films:,} ({_n(row.children, 'child')})" for row in table.itertuples()])
    ax.invert_yaxis()
    ax.set(xlim=(0, 2.2 * table.films.max()), xlabel="films")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    _title(ax, f"{100 * index.label.mean():.0f} of 100 films show pneumonia", index)


def patients(index: pd.DataFrame, ax: Axes) -> None:
    """How many children have how many films, by class, on a logarithmic axis."""
    each = index.groupby(["label", "patient"]).size().rename("films").reset_index()
    _histogram(each, ax, "films", discrete=True, multiple="dodge", shrink=0.8)
    ax.set(yscale="log", ylim=(0.7, None), xlabel="films of one child", ylabel="children (log scale)")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    _title(ax, f"{100 * (each.films == 1).mean():.0f} of 100 children have one film", index)


def stations(table: pd.DataFrame, ax: Axes, index: pd.DataFrame) -> None:
    """Side markers of the films of each split and class: shares of a bar, with counts. table: data.stations.table."""
    groups = [f"{split}, {name}" for split in SPLITS for name in CLASSES][::-1]
    counts = pd.crosstab(index.split + ", " + index.label.map(dict(enumerate(CLASSES))), table.marker.to_numpy())
    counts = counts.reindex(index=groups, columns=MARKERS, fill_value=0)
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    share.plot.barh(stacked=True, ax=ax, width=0.8, legend=False, color=[VERMILLION, SKY, ORANGE, PURPLE, "#dddddd"])
    for bars, marker in zip(ax.containers, MARKERS, strict=True):
        shown = counts[marker].map("{:,}".format).where(share[marker] > 4, "")
        ax.bar_label(bars, shown, label_type="center", fontsize=6.5)
    ax.set(xlim=(0, 100), xlabel="films (%), with counts", ylabel="")
    _legend_below(ax, 5)
    normal, pneumonia = (share[MARKERS[1]][f"train, {name}"] for name in CLASSES)
    title = f"A {MARKERS[1]} is on {normal:.0f} of 100 normal films of train, on {pneumonia:.0f} of 100 with pneumonia"
    _title(ax, title, index)


def radiographs(images: Sequence[np.ndarray], axes, titles: Sequence[str], what: str):
    """Grey images, (h, w) or (h, w, 1) in [0, 255], one per Axes; left-over Axes are emptied. what: title of all."""
    axes = np.atleast_1d(axes).ravel()
    if len(images) != len(titles) or len(images) > axes.size:
        raise ValueError(f"radiographs: {len(images)} images, {len(titles)} titles, {axes.size} Axes; wanted a match.")
    for ax in axes:
        ax.set_axis_off()
    for ax, image, title in zip(axes, images, titles, strict=False):
        ax.imshow(np.asarray(image).reshape(image.shape[:2]), cmap="gray", interpolation="nearest", vmin=0, vmax=255)
        ax.set_title(title, fontsize=7)
    axes[0].figure.suptitle(what)
    return axes


def batch(images: np.ndarray, axes, labels: Sequence[int]) -> None:
    """Augmented frames, float32 (n, h, w, 1), with their class."""
    what = f"Frames as one epoch shows them, augmented; train split (n = {len(images)})"
    radiographs(images, axes, [CLASSES[label] for label in labels], what)


def val_grid(table: pd.DataFrame, axes, images: Mapping[str, np.ndarray], points: Mapping) -> None:
    """Films with their class, and beneath each the probability of every network, crossed where it decides wrongly.

    table: predictions, one seed per network; images: path -> uint8 (h, w); points: (network, seed) -> operating point.
    """
    films = table.drop_duplicates("path").sort_values(["label", "path"])
    what = f"Probability of pneumonia, one seed of each CNN\n✗: wrong decision; val split (n = {len(films)})"
    axes = radiographs([images[path] for path in films.path], axes, [CLASSES[label] for label in films.label], what)
    axes[0].figure.get_layout_engine().set(hspace=0.25, rect=(0, 0.04, 1, 0.96))  # room for the lines below
    for ax, path in zip(axes, films.path, strict=False):
        for line, row in enumerate(table[table.path == path].sort_values("network").itertuples()):
            wrong = (row.probability >= points[row.network, row.seed]) != row.label
            text = f"{'ours' if row.network == metrics.STUDY else 'publ.'} {row.probability:.2f}{' ✗' * wrong}"
            options = {"ha": "center", "va": "top", "fontsize": 7, "color": VERMILLION if wrong else BLACK}
            ax.text(0.5, -0.04 - 0.16 * line, text, transform=ax.transAxes, **options).set_in_layout(False)


def method(film: np.ndarray, axes, lungs, box, frame, probability: float) -> None:
    """The method in five panels: film, lungs, box, frame and score.

    film: uint8 (h, w); lungs: (h, w) or smaller, above 0.5 is lung; box: (left, top, right, bottom) in shares of the
    film; frame: uint8 (size, size); probability: of pneumonia.
    """
    titles = ("1 film", "2 lungs found", "3 box of the lungs", "4 frame", "5 score")
    height, width = film.shape
    radiographs((film, film, film, frame), axes, titles[:4], "From a film to a score")
    large = Image.fromarray(np.asarray(lungs, np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    axes[1].contourf(np.asarray(large), levels=[0.5, np.inf], colors=[SKY], alpha=0.45)
    left, top, right, bottom = np.asarray(box) * (width, height, width, height)
    axes[2].add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, color=ORANGE))
    axes[4].text(0.5, 0.55, f"{probability:.2f}", ha="center", fontsize=12)
    axes[4].text(0.5, 0.45, "probability\nof pneumonia", ha="center", va="top")
    axes[4].set_title(titles[4], fontsize=7)


# --- training (notebook 02) ---


def learning_curves(history: pd.DataFrame, axes, index: pd.DataFrame, warm: float) -> None:
    """Loss on axes[0] and accuracy on axes[1] over the study's epochs, train and tune: mean and range over seeds.

    history: network, seed, epoch, loss, tune_loss, accuracy, tune_accuracy; warm: epoch of the highest learning rate.
    """
    rows = history[history.network == metrics.STUDY]
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for name, column in (("train (augmented frames)", metric), ("tune", f"tune_{metric}")):
            colour, dash = (ORANGE, "--") if name == "tune" else (BLUE, "-")
            options = {"color": colour, "linestyle": dash, "label": name, "legend": False, "errorbar": ("pi", 100)}
            sns.lineplot(rows, x="epoch", y=column, ax=ax, **options)
        ax.axvline(warm, color=GREY, linestyle=":", linewidth=0.8)
        ax.annotate(" learning rate highest", (warm, 1), xycoords=("data", "axes fraction"), va="bottom", fontsize=6.5)
        ax.set(xlabel="epoch (band: range over seeds)", ylabel=metric)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        ax.grid(axis="y")
    axes[0].set_ylabel("loss (train: smoothed labels)")
    _legend_below(axes[0], 2)
    axes[0].figure.suptitle(f"Training, this study's CNN\n{_sizes(index.split, ('train', 'tune'))}")


def ablation(table: pd.DataFrame, ax: Axes) -> None:
    """AUROC on tune and test side by side for each variant: a dot per seed, mean and SD as marker, bar and figures.

    table: columns variant, seed, split ("tune" or "test"), films and auroc.
    """
    each = table.groupby(["variant", "split"], sort=False).auroc.agg(average="mean", sd="std").reset_index()
    each = each.assign(lower=each.average - each.sd.fillna(0), upper=each.average + each.sd.fillna(0))
    n = ", ".join(f"{split} n = {films:,}" for split, films in table.groupby("split", sort=False).films.first().items())
    title = f"What makes it work, {table.seed.nunique()} seeds each ({n})"
    xlabel = "AUROC (dot: a seed; mean ± SD)"
    places = forest(each, ax, "variant", title, "average", group="split", figures=False, xlabel=xlabel)
    for y, row in zip(places, each.itertuples(), strict=True):
        seeds, colour = table[(table.variant == row.variant) & (table.split == row.split)].auroc, LOOKS[row.split][0]
        ax.plot(seeds, [y] * len(seeds), ".", color=colour, alpha=0.5, markersize=4, clip_on=False)
        text = f"{row.split} {row.average:.3f}" + (f" ± {row.sd:.3f}" if row.sd == row.sd else "")
        _at_the_right(ax, y, text, color=colour)


def tradeoff(table: pd.DataFrame, axes, ablation: pd.DataFrame) -> None:
    """What was paid on tune (x) and what was gained (y), mean ± SD over seeds: framing on axes[0], station on axes[1].

    table: heldout.csv; ablation: ablation.csv.
    """
    framing = ablation.pivot_table("auroc", "variant", "split", ["mean", "std"], dropna=False)
    station = table[~table.variant.str.contains(" - ")].rename(columns={"value": "mean", "sd": "std"})
    station = station.pivot_table(["mean", "std"], "variant", "measure", dropna=False)
    panels = [(framing, "test", "test", "Framing", "whole film", "crop and stretch, longer")]
    panels += [(station, "other station", "the other station", "Station", "unmixed", "mixed 0.3")]
    for ax, (points, column, gained, what, start, end) in zip(axes, panels, strict=True):
        value = points["mean"][["tune", column]].dropna().sort_values(column)
        sd, middle = points["std"].loc[value.index], value.tune.agg(["min", "max"]).mean()
        ax.errorbar(value.tune, value[column], sd[column], sd.tune, "o", color=BLUE, elinewidth=0.7, mec=BLACK)
        ax.annotate("", value.loc[end], value.loc[start], arrowprops={"arrowstyle": "->", "color": GREY}, zorder=0)
        ax.margins(0.12)
        gap = 0.045 * np.ptp(ax.get_ylim())
        for name, (
            x,
            y,
        ) in value.iterrows():  # a label stands on the inner side, below its point where one is close above
            left = x > middle
            beside = value[column][(value.tune > middle) == left]
            shift = -gap / 2 if ((beside > y) & (beside < y + gap)).any() else gap / 2
            place = {"xytext": (-4 if left else 4, 0), "textcoords": "offset points", "ha": "right" if left else "left"}
            ax.annotate(name, (x, y + shift), fontsize=6.5, va="center", **place)
        paid, gain = value.loc[end] - value.loc[start]
        ax.set(xlabel="AUROC on tune (left: paid; bar: SD over seeds)", ylabel=f"AUROC on {gained} (up: gained)")
        ax.set_title(f"{what}: {paid:+.3f} on tune, {gain:+.3f} on {gained}")
        ax.grid()


# --- evaluation (notebooks 03 and 05) ---


def forest(
    table: pd.DataFrame,
    ax: Axes,
    row: str,
    title: str,
    value: str = "value",
    group: str | None = None,
    xlabel: str = "value, with 95 % interval",
    reference: float | None = None,
    figures: bool = True,
    legend: bool = True,
) -> np.ndarray:
    """Values with their intervals, one line each, and the same in figures at the right; returns the lines' places.

    table: columns `row` (what stands at the left; consecutive equal ones share a label), `value`, lower, upper; group:
    the column that sets colour and marker (networks, splits, statistics); hollow (bool, optional). reference: a line.
    """
    looks = _looks(table[group]) if group else {}
    start = table[row].ne(table[row].shift()).to_numpy()
    y = np.arange(len(table)) + 0.6 * (np.cumsum(start) - 1) * (not start.all())
    for at, line in zip(y, table.to_dict("records"), strict=True):
        colour, _, marker, _ = looks[line[group]] if group else (BLUE, "-", "o", "")
        ax.plot((line["lower"], line["upper"]), (at, at), color=colour, linewidth=1.5, clip_on=False)
        ax.plot(line[value], at, marker, color=colour, mfc="white" if line.get("hollow") else colour, **MARK)
        if figures:
            interval = f" ({line['lower']:.3f}-{line['upper']:.3f})" if np.isfinite(line["lower"]) else ""
            n = f", n = {line['n_films']:,}" if len(set(table.get("n_films", ()))) > 1 else ""
            _at_the_right(ax, at, f"{line[value]:.3f}{interval}{n}")
    if reference is not None:
        ax.axvline(reference, color=BLACK, linestyle=":", linewidth=0.8)
    blocks = pd.Series(y).groupby(np.cumsum(start)).mean()
    ax.set_yticks(blocks, [STATISTICS.get(name, name) for name in table[row][start]])
    ax.set(ylim=(y[-1] + 0.6, -0.6), xlabel=xlabel, title=title)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    if legend and len(looks) > 1:
        _name(ax, list(looks.values()))
        _legend_below(ax, 3)
    return y


def operating_points(table: pd.DataFrame, ax: Axes) -> None:
    """Every network's headline statistics on test: mean over seeds, and the ensemble. table: metrics.csv."""
    rows = table[(table.split == "test") & table.seed.isin(("mean", "ensemble"))]
    ensemble = (rows.seed == "ensemble") & ~rows.network.str.endswith("_ensemble")
    rows = rows.assign(look=rows.network + np.where(ensemble, "_ensemble", ""))
    rows = rows[rows.look.isin(NETWORKS) & rows.statistic.isin(metrics.HEADLINE)]
    order = [*metrics.HEADLINE, *NETWORKS].index
    rows = rows.sort_values(["statistic", "look"], key=lambda s: s.map(order), kind="stable")
    own = 100 * rows[rows.look == metrics.STUDY].set_index("statistic").value
    found, called = own["sensitivity"], 100 - own["specificity"]
    what = f"Finds {found:.0f} of 100 films with pneumonia, calls {called:.0f} of 100 normal ones PNEUMONIA (our CNN)"
    n = f"test split (n = {int(rows.n_films.iloc[0]):,}, {_n(int(rows.n_children.iloc[0]), 'child')})"
    forest(rows, ax, "statistic", f"{what}\n{n}", group="look")


def comparison(table: pd.DataFrame, axes) -> None:
    """What was claimed, the same on test, baselines, this study and other work: AUROC on axes[0], accuracy on axes[1].

    table: group, row, measured_on, statistic, value, lower, upper, n_films, source, test_chose_threshold (bool). Of
    each source in the field, the row with the best accuracy is drawn.
    """
    field = table[(table.group == "field") & (table.statistic == "accuracy")].sort_values("value", ascending=False)
    table = table[table.group.ne("field") | table.row.isin(field.drop_duplicates("source").row)]
    names, on_train = list(dict.fromkeys(table.row)), set(table.row[table.measured_on == "train folder"])
    marks = {row: " *" for row in on_train} | {row: " †" for row in table.row[table.group == "this study"]}
    for ax, statistic, low in zip(axes, ("auroc", "accuracy"), (0.85, 0.55), strict=True):
        part = table[table.statistic == statistic].set_index("row").reindex(names).reset_index()
        part = part.assign(hollow=part.test_chose_threshold.eq(True), group=part.group.fillna("field"))
        shown = part.value >= low
        part[["value", "lower", "upper"]], value = part[["value", "lower", "upper"]].clip(low).where(shown), part.value
        part = part.assign(row=part.row + part.row.map(marks).fillna(""))
        forest(part, ax, "row", "", group="group", figures=False, legend=False)
        ax.set(xlim=(low, 1.005), xlabel=STATISTICS.get(statistic, statistic))
        for y in np.flatnonzero(value < low):
            ax.text(low, y, f" ◂ {value[y]:.2f}", va="center", fontsize=7, color=GREY)
    axes[1].set_yticklabels([])
    _name(axes[1], [LOOKS[group] for group in dict.fromkeys(table.group)])
    if table.test_chose_threshold.any():
        axes[1].plot([], [], "D", color=GREY, mfc="white", label="hollow: threshold chosen on test")
    _legend_below(axes[1], 3)
    n = int(table[table.measured_on == "test"].n_films.iloc[0])
    notes = "95 % intervals where known; *: on the train folder; †: trained with extra labels (here: lung masks)"
    axes[0].figure.suptitle(f"Claimed, replayed and reached, test split (n = {n:,})\n{notes}")


def confusion(table: pd.DataFrame, axes, points: Mapping) -> None:
    """Of 100 films of each class, how many are called what: mean over seeds, one of Axes for each network.

    table: predictions; points: (network, seed) -> operating point.
    """
    for ax, (network, rows) in zip(np.ravel(axes), _networks(table), strict=True):
        seeds = list(rows.groupby("seed"))
        each = [metrics.at_threshold(part.label, part.probability, points[network, seed]) for seed, part in seeds]
        matrix = np.mean([[[c["tn"], c["fp"]], [c["fn"], c["tp"]]] for c in each], axis=0)
        share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        text = np.array([f"{s:.0f} of 100\n({m:,.0f} films)" for s, m in zip(share.flat, matrix.flat, strict=True)])
        names = {"xticklabels": CLASSES, "yticklabels": CLASSES, "cbar": False, "cmap": "Blues", "vmin": 0, "vmax": 200}
        options = {"fontsize": 8.5, "color": BLACK}  # on the lighter half of the colours: black is legible everywhere
        sns.heatmap(share, annot=text.reshape(2, 2), fmt="", annot_kws=options, ax=ax, **names)
        ax.set(xlabel="predicted", ylabel="true")
        _title(ax, _look(network)[3] + (f", mean of {len(each)} seeds" if len(each) > 1 else ""), rows)


def roc(table: pd.DataFrame, ax: Axes, points: Mapping) -> None:
    """ROC curves of every network in the table, a thin line per seed; markers at the operating points."""
    ax.plot((0, 1), (0, 1), ":", color=GREY, linewidth=0.8)
    options = {"x": "false positive rate", "y": "sensitivity"}
    draw = partial(_threshold_curves, table, ax, points, lambda label, p: roc_curve(label, p)[:2])
    aurocs = draw(roc_auc_score, "AUROC", **options)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity")
    ax.legend(loc="lower right")
    published = f" (published CNN: {100 * aurocs[metrics.PUBLISHED]:.0f})" if metrics.PUBLISHED in aurocs else ""
    _title(ax, f"Ranks {100 * aurocs[metrics.STUDY]:.0f} of 100 pairs rightly{published}", table)


def precision_recall(table: pd.DataFrame, ax: Axes, points: Mapping) -> None:
    """Precision (PPV) against recall (sensitivity), a thin line per seed; dotted: the split's prevalence."""
    curve, options = partial(precision_recall_curve, drop_intermediate=True), {"x": "sensitivity", "y": "ppv"}
    area, what = average_precision_score, "average precision"
    _threshold_curves(table, ax, points, lambda label, p: curve(label, p)[1::-1], area, what, **options)
    prevalence = table.drop_duplicates("path").label.mean()
    ax.axhline(prevalence, linestyle=":", color=GREY, linewidth=0.8, label=f"prevalence {prevalence:.2f}")
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    ax.legend(loc="lower left")
    _title(ax, "Precision and recall", table)


def scores(table: pd.DataFrame, axes, points: Mapping, splits: Sequence[str] = ("tune", "test")) -> None:
    """Probabilities of one network by true class, mean count over seeds, with each seed's threshold; Axes per split."""
    keys = list(dict.fromkeys(zip(table.network, table.seed, strict=True)))
    for ax, split in zip(axes, splits, strict=True):
        part = table[table.split == split].assign(weight=1 / len(keys))
        _histogram(part, ax, "probability", bins=20, binrange=(0, 1), weights="weight", element="step", legend=False)
        for key in keys:
            ax.axvline(points[key], color=BLACK, linestyle="--", linewidth=0.8)
        ax.set(yscale="log", ylim=(0.2, None), ylabel="films (log scale)")
        ax.set(xlim=(0, 1), xlabel="probability of pneumonia")
        ax.yaxis.set_major_formatter("{x:,g}")
        _title(ax, _look(keys[0][0])[3], part)
    for name in CLASSES:
        axes[0].fill_between([], [], color=PALETTE[name], alpha=0.5, label=name)
    thresholds = ", ".join(f"{points[key]:.2f}" for key in keys)
    axes[0].plot([], [], "--", color=BLACK, linewidth=0.8, label=f"thresholds: {thresholds}")
    _legend_below(axes[0], 3)


def shortcuts(table: pd.DataFrame, ax: Axes, network: Mapping[str, float], index: pd.DataFrame) -> None:
    """AUROC of properties of the film, on held-out children of train and on test; constant ones are left out.

    table: audit.shortcuts (property, train, test); network: AUROC of this study's CNN on "tune" and "test".
    """
    study = {"property": NETWORKS["xray_cnn"][3], "train": network["tune"], "test": network["test"]}
    rows = pd.concat([pd.DataFrame([study]), table[table.train.notna()]], ignore_index=True)
    ax.hlines(rows.property, rows.train, rows.test, color=GREY, linewidth=0.8)
    ax.plot(rows.train, rows.property, "s", color=ORANGE, label="held-out children of train", **MARK)
    ax.plot(rows.test, rows.property, "o", color=BLUE, label="test", **MARK)
    ax.axvline(0.5, color=BLACK, linestyle=":", linewidth=0.8)
    ax.invert_yaxis()
    ax.grid(axis="x")
    _legend_below(ax, 2)
    ax.set(xlim=(None, 1), xlabel="AUROC (0.5: chance)", title=f"Shortcuts, {_sizes(index.split, ('train', 'test'))}")


def reliability(table: pd.DataFrame, axes) -> None:
    """Observed share of PNEUMONIA by predicted probability, with Wilson's intervals, and counts per bin underneath."""
    upper, lower = axes
    networks = _networks(table)
    for line, (network, rows) in enumerate(networks):
        colour, dash, marker, name = _look(network)
        seeds = [part for _, part in rows.groupby("seed")]
        bars = rows.groupby(metrics.bin_of(rows.probability)).agg(
            p=("probability", "mean"), observed=("label", "mean"), n=("label", "size")
        )
        films = np.maximum((bars.n / len(seeds)).round().astype(int), 1)  # films, not seeds times films
        positive = (bars.observed * films).round().astype(int)
        ends = [binomtest(k, n).proportion_ci(method="wilson") for k, n in zip(positive, films, strict=True)]
        error = np.mean([metrics.ranking(p.label, p.probability)["expected_calibration_error"] for p in seeds])
        upper.vlines(bars.p, [end.low for end in ends], [end.high for end in ends], color=colour, linewidth=0.8)
        upper.plot(bars.p, bars.observed, dash + marker, color=colour, label=f"{name}: ECE {error:.3f}", **MARK)
        for bin_, n in films.items():
            lower.text((bin_ + 0.5) / metrics.BINS, line, n, color=colour, ha="center", va="center", fontsize=6.5)
    upper.plot((0, 1), (0, 1), ":", color=GREY, linewidth=0.8, label="perfect")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed share of pneumonia")
    lower.set(xlim=(0, 1), ylim=(len(networks) - 0.5, -0.5), yticks=[], ylabel="films\nper bin")
    lower.set(xlabel="predicted probability", xticks=np.linspace(0, 1, 6))
    upper.grid()
    _legend_below(upper, 2, title="vertical lines: 95 % interval of a bin (Wilson)")
    _title(upper, "Does a probability mean what it says?", table)


def decision_curve(table: pd.DataFrame, ax: Axes) -> None:
    """Net benefit against threshold probability, mean over seeds, beside treating all and none."""
    thresholds = np.linspace(0.02, 0.6, 59)  # those that a clinic may use
    for network, rows in _networks(table):
        colour, dash, _, name = _look(network)
        each = [metrics.net_benefit(part.label, part.probability, thresholds) for _, part in rows.groupby("seed")]
        benefit = np.mean([curve.network for curve in each], axis=0)
        ax.plot(thresholds, benefit, dash, color=colour, label=name)
        if network == metrics.STUDY:
            better = 100 * np.mean(benefit > np.maximum(each[0].treat_all, 0))
    ax.plot(thresholds, each[0].treat_all, color=GREY, linewidth=0.9, label="treat all")
    ax.axhline(0, color=BLACK, linewidth=0.9, linestyle=":", label="treat none")
    top = table.drop_duplicates("path").label.mean()
    ax.set(xlim=(0, 0.6), ylim=(-0.1 * top, 1.05 * top))
    ax.set(xlabel="threshold probability", ylabel="net benefit (true positives per film)")
    ax.grid()
    _legend_below(ax, 2)
    _title(ax, f"Above both rules at {better:.0f} % of thresholds (our CNN)", table)


def abstaining(table: pd.DataFrame, ax: Axes, n: int) -> None:
    """Accuracy on the films that the network is surest of. table: network, share_decided, accuracy, sd."""
    _curves(table.assign(x=100 * table.share_decided), ax, "x", "accuracy", "network", sd="sd")
    ax.set_xlim(102, 100 * table.share_decided.min() - 2)
    ax.yaxis.set_major_formatter("{x:.2f}")
    ax.set(xlabel="films decided (%), the surest first", ylabel="accuracy (mean; band: SD)")
    _legend_below(ax, 2)
    ax.set_title(f"Abstaining, test split (n = {n:,})")


def robustness(table: pd.DataFrame, ax: Axes, statistic: str, n: int) -> None:
    """A statistic at the worst severity of each corruption, worst last; dotted: the films as they are.

    table: corruption ("none": as they are), severity, amount, unit, network, statistic, value, sd.
    """
    part = table[table.statistic == statistic].assign(sd=lambda t: t.sd.fillna(0))
    last = part[(part.corruption != "none") & (part.severity == part.groupby("corruption").severity.transform("max"))]
    order = last[last.network == metrics.STUDY].sort_values("value", ascending=False, kind="stable").corruption.tolist()
    last = last.sort_values(["corruption", "network"], key=lambda s: s.map([*order, *NETWORKS].index), kind="stable")
    last = last.assign(lower=(last.value - last.sd).clip(0), upper=(last.value + last.sd).clip(None, 1))
    last = last.assign(name=[described(row) for row in last.itertuples()])
    xlabel, name = (
        "mean ± SD over seeds\n(dotted: films as they are)",
        STATISTICS.get(statistic, statistic.capitalize()),
    )
    ax.figure.suptitle(f"{name} under the strongest corruptions\ntest split (n = {n:,})")
    forest(last, ax, "name", "", group="network", figures=False, xlabel=xlabel)
    for clean in part[part.corruption == "none"].itertuples():
        ax.axvline(clean.value, color=_look(clean.network)[0], linestyle=":", linewidth=0.9)


def subgroups(table: pd.DataFrame, ax: Axes, n: int) -> None:
    """Specificity, sensitivity and AUROC of groups of films. table: tables.subgroups; n: films of test."""
    worst = tables.worst_group(table)
    title = (
        f"Worst group: {worst.part}, {worst.statistic} {worst.value:.2f}, n = {worst.n_films}; test split, n = {n:,}"
    )
    rows = table.replace({"statistic": STATISTICS})
    forest(rows, ax, "part", title, group="statistic", xlabel="mean over seeds, with 95 % interval")


def elsewhere(table: pd.DataFrame, axes) -> None:
    """AUROC on the two data sets of another hospital, by view, beside baselines. table: elsewhere.csv."""
    rows = table[table.outcome == "pneumonia"].replace("assessed by make predict", "assessed")
    for ax, (name, part) in zip(axes, rows.groupby("data", sort=False), strict=True):
        n = int(part[["n_negative", "n_positive"]].iloc[0].sum())
        labels = {"rsna_adults": "read by radiologists", "nih_adults": "labels by program"}[name]
        options = {"group": "score", "figures": False, "reference": 0.5, "legend": ax is axes[0]}
        forest(part, ax, "films", f"{name}, {labels} (n = {n:,})", xlabel="AUROC (dotted: chance)", **options)
        ax.set_xlim(0, 1)
    axes[0].figure.suptitle("Adults of another hospital: compare within a view, 95 % intervals over patients")


# --- maps (notebook 06) ---


def maps_over(images, axes, maps, titles: Sequence[str], what: str, masks=None) -> None:
    """Radiographs with their maps laid over, and lesions outlined where masks (bool, n, size, size) are known."""
    axes = radiographs(images, axes, titles, what)
    for i, (ax, saliency) in enumerate(zip(axes, maps, strict=False)):
        _lay_over(ax, saliency)
        if masks is not None:
            ax.contour(masks[i], levels=[0.5], colors=SKY, linewidths=0.8)


def sanity_check(table: pd.DataFrame, ax: Axes) -> None:
    """Correlation of maps with the trained network's while weights are randomised from the top layer on.

    table: saliency.sanity_check's, with columns map and n_films.
    """
    _curves(table.assign(x=100 * table.layers / table.layers.max()), ax, "x", "correlation", "map")
    ax.axhline(0, color=BLACK, linestyle=":", linewidth=0.8)
    ylabel = "Spearman correlation\nwith the trained map"
    ax.set(xlabel="layers with randomised weights, from the top (%)", ylabel=ylabel)
    ax.set_ylim(min(-0.1, table.correlation.min() - 0.05), 1.05)
    _legend_below(ax, 1)
    ax.set_title(f"Randomised weights, test split (n = {table.n_films.iloc[0]:,})")


def deletion(table: pd.DataFrame, axes, areas: pd.DataFrame) -> None:
    """Mean probability as places are filled in the order of each map, Axes per filling: a good map's curve falls early.

    table: filling, method, share, probability; areas: filling, method, n_films, area, lower, upper (columns of
    saliency.deletion).
    """
    for ax, (filling, part) in zip(axes, table.groupby("filling", sort=False), strict=True):
        of_filling = areas[areas.filling == filling].itertuples()
        labels = {of.method: f"{of.method}: {of.area:.2f} ({of.lower:.2f}-{of.upper:.2f})" for of in of_filling}
        named = part.assign(x=100 * part.share, method=part.method.map(labels))
        _curves(named, ax, "x", "probability", "method")
        ax.set(xlabel=f"places filled with {filling}, highest first (%)", ylim=(0, 1))
        ax.set_title("area under the curve (95 % interval)", fontsize=7)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
    axes[0].set_ylabel("mean probability of pneumonia")
    axes[0].figure.suptitle(f"Deletion, test split, PNEUMONIA (n = {areas.n_films.iloc[0]:,})")


def hidden_regions(table: pd.DataFrame, ax: Axes) -> None:
    """AUROC of the mean logit over seeds with a region hidden. table: saliency.hidden_regions."""
    order = list(dict.fromkeys(table.hidden)).index
    rows = table.sort_values("hidden", key=lambda s: s.map(order), kind="stable")
    title = f"What is left when the lungs are hidden\nmean network, test split (n = {rows.n_films.iloc[0]:,})"
    rows = rows.assign(hidden="hidden:\n" + rows.hidden.str.replace("but", "but\n"))
    forest(rows, ax, "hidden", title, "auroc", group="network", reference=0.5, xlabel="AUROC (dotted: chance)")


def pointing_game(table: pd.DataFrame, ax: Axes) -> None:
    """How often each map peaks in the lesion. table: saliency.pointing_game."""
    title = f"Pointing game: does the map peak in the lesion? Test, PNEUMONIA (n = {table.n_films.iloc[0]:,})"
    xlabel = "hit rate (dotted: a random place)"
    forest(table, ax, "method", title, "hits", reference=table.lesion.iloc[0], xlabel=xlabel)


# --- shared ---


def _curves(table: pd.DataFrame, ax: Axes, x: str, y: str, by: str, sd: str | None = None) -> None:
    """A line for each value of column `by`, with a band of one SD on both sides where the column is named."""
    for value, (colour, dash, marker, name) in _looks(table[by]).items():
        part = table[table[by] == value]
        ax.plot(part[x], part[y], dash + marker, color=colour, label=name, **MARK)
        if sd:
            ax.fill_between(part[x], part[y] - part[sd], part[y] + part[sd], color=colour, alpha=0.2)
    ax.grid(axis="y")


def _threshold_curves(table, ax: Axes, points, curve: Callable, area: Callable, what: str, x: str, y: str):
    """curve(label, p) of each network and seed, a marker at its operating point's x, y; network -> mean area."""
    means = {}
    for network, rows in _networks(table):
        colour, dash, marker, name = _look(network)
        seeds = list(rows.groupby("seed"))
        for seed, part in seeds:
            ax.plot(*curve(part.label, part.probability), dash, color=colour, linewidth=0.9, alpha=0.8)
            at = metrics.at_threshold(part.label, part.probability, points[network, seed])
            at["false positive rate"] = 1 - at["specificity"]
            ax.plot(at[x], at[y], marker, color=colour, **MARK)
        means[network] = np.mean([area(part.label, part.probability) for _, part in seeds])
        ax.plot([], [], dash + marker, color=colour, label=f"{name}: {what} {means[network]:.3f}")
    ax.grid()
    return means


def _histogram(table: pd.DataFrame, ax: Axes, x: str, **options) -> None:
    """Counts of column `x` by true class."""
    named = table.assign(**{"class": table.label.map(dict(enumerate(CLASSES)))})
    sns.histplot(named, x=x, hue="class", palette=PALETTE, hue_order=CLASSES, ax=ax, **options)


def _lay_over(ax: Axes, saliency: np.ndarray) -> None:
    ax.imshow(saliency / max(saliency.max(), 1e-9), cmap="magma", alpha=0.45, vmin=0, vmax=1)


def _at_the_right(ax: Axes, y: float, text: str, **options) -> None:
    ax.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=6.5, **options)


def _networks(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(network, its predictions), in the order of NETWORKS, then others."""
    names = sorted(table.network.unique(), key=lambda name: [*NETWORKS, name].index(name))
    return [(name, table[table.network == name]) for name in names]


def _look(name: str) -> Look:
    return LOOKS.get(name, (PURPLE, "-", "v", name))


def _looks(column: pd.Series) -> dict[str, Look]:
    """A look for each value: its own in LOOKS, else the next of OTHERS."""
    return {v: LOOKS.get(v, (*OTHERS[i % len(OTHERS)], str(v))) for i, v in enumerate(dict.fromkeys(column))}


def _name(ax: Axes, looks: Sequence[Look]) -> None:
    for colour, _, marker, name in looks:
        ax.plot([], [], marker, color=colour, label=name)


def _legend_below(ax: Axes, columns: int, **options) -> None:
    """One legend under the figure, of what has a name in ax."""
    handles = ax.get_legend_handles_labels()
    ax.figure.legend(*handles, loc="outside lower center", ncols=columns, columnspacing=1, **options)


def _n(count: int, what: str) -> str:
    return f"{count:,} {what if count == 1 else {'child': 'children'}.get(what, what + 's')}"


def _sizes(column: pd.Series, names: Sequence[str]) -> str:
    return ", ".join(f"{name} n = {(column == name).sum():,}" for name in names)


def _title(ax: Axes, what: str, table: pd.DataFrame) -> None:
    """What it shows, of which split, of how many films and children, or patients of another hospital."""
    films = table.drop_duplicates("path")
    splits = [split for split in SPLITS if (films.split == split).any()]
    of = "all splits" if len(splits) == len(SPLITS) else f"{' and '.join(splits)} split{'s' * (len(splits) > 1)}"
    of = of if splits else films.split.iloc[0]
    ax.set_title(f"{what}\n{of} (n = {len(films):,}, {_n(films.patient.nunique(), 'child' if splits else 'patient')})")
