"""Results -> the Markdown that README.md and the cards show; cog inserts it (make publish) and a test checks it."""

import json
from collections.abc import Callable, Iterable

import pandas as pd

from xraylib.config import REPOSITORY
from xraylib.evaluation import findings as found
from xraylib.evaluation import metrics, tables
from xraylib.evaluation.corruptions import described

RESULTS = REPOSITORY / "results"
NAMES = {("published", "mean"): "published network"} | {("xray_cnn", s): n for s, n in tables.STUDY_NETWORKS.items()}


def _read(name: str, **options) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv", **options)


def _metrics() -> pd.DataFrame:
    return _read("metrics", dtype={"seed": str}).set_index(["network", "split", "seed", "statistic"]).sort_index()


def _timing() -> tuple[dict, pd.Series]:
    """The machine of the committed run, and mean seconds per training of each network there."""
    timing = json.loads((RESULTS / "timing.json").read_text())
    return timing["machine"], pd.DataFrame(timing["seconds"]).mean()


def _interval(row: pd.Series, value: str = "value") -> str:
    return f"{row[value]:.3f} ({row.lower:.3f}-{row.upper:.3f})"


def _narrow(row: pd.Series) -> str:
    """A cell on two lines that break nowhere else."""
    text = tables.interval_text(row)
    return text.replace(" (", "<br>(").replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def _difference(statistic: str, thresholds: str = "published at 0.5") -> str:
    """The study's network minus the published one, in words that follow from the interval of the difference."""
    row = _read("differences").set_index(["thresholds", "statistic"]).loc[(thresholds, statistic)]
    if row.lower <= 0 <= row.upper:
        return f"no clear difference ({row.difference:+.3f}, {row.lower:+.3f} to {row.upper:+.3f})"
    side = "higher" if row.difference > 0 else "lower"
    small, large = sorted((abs(row.lower), abs(row.upper)))
    return f"{side} by {abs(row.difference):.3f} ({small:.3f}-{large:.3f})"


def _table(header: str, rows: Iterable[str]) -> str:
    return "\n".join([f"| {header} |", "|" + "---|" * (header.count("|") + 1), *(f"| {row} |" for row in rows)])


def _lines(table: pd.DataFrame, line: str) -> list[str]:
    """A line of text for each row of the table, whose columns the line names in braces."""
    return [line.format(**row) for row in table.to_dict("records")]


def _row(name: str, part: pd.DataFrame, statistics: Iterable[str] = metrics.HEADLINE, cell: Callable = _narrow) -> str:
    """The name and a cell for each statistic, empty where `part`, a row per statistic, has none."""
    return " | ".join([name, *(cell(part.loc[one]) if one in part.index else "" for one in statistics)])


def _rows_on_test(statistics: Iterable[str]) -> list[str]:
    """A row for each of NAMES: those statistics of test, with SD and interval."""
    rows = _metrics().xs("test", level="split")
    return [_row(name, rows.loc[key], statistics, tables.interval_text) for key, name in NAMES.items()]


def _result_table(first: str, rows: list[str]) -> str:
    """A table of the four headline statistics, and what its figures are."""
    own = _metrics().loc["xray_cnn", "test"]
    one, seeds = own.loc["mean", "auroc"], own.index.unique("seed").str.isdigit().sum()
    return _table(f"{first} | AUROC | accuracy | sensitivity | specificity", rows) + (
        f"\n\nTest, n = {one.n_films:,.0f} films of {one.n_children:.0f} children; mean ± SD over {seeds} seeds (95 % "
        "interval over patients). The published network decides at 0.5, as it did; the others at the threshold chosen "
        "on tune. Per child: the mean logit over a child's films. With both thresholds chosen on tune, accuracy is "
        f"{_difference('accuracy', 'both on tune')}."
    )


def results() -> str:
    """The one result table: the published experiment, baselines, this study and the field, each with its films."""
    rows = []
    for name, part in _read("comparison").groupby("row", sort=False):
        first = part.iloc[0]
        if pd.notna(first.link):
            name = name.replace(first.source, f"[{first.source}]({first.link})", 1)
        if first.group == "this study":
            name = f"**{name}**"
        measured = f"{first.measured_on},<br>n = {first.n_films:,.0f}"
        rows.append(_row(f"{name} | {measured}", part.set_index("statistic")))
    return _result_table(" | measured on", rows) + (
        " The field's figures are those that its authors give; [field.csv](field.csv) says whose weights were "
        "pretrained, who used extra labels (here: lung masks) and who chose the threshold on test. Claims on other "
        "splits do not compare and are left out."
    )


def headline() -> str:
    """The result table of test: network, AUROC, accuracy, sensitivity, specificity, with SD and interval."""
    return _result_table("network", _rows_on_test(metrics.HEADLINE))


def short_results() -> str:
    """The headline: the published network, 8 x 8 pixels and this study on test."""
    names = ["published experiment, on test", tables.BASELINES["thumbnail"], *tables.STUDY_NETWORKS.values()]
    compared = _read("comparison").set_index(["row", "statistic"]).sort_index()
    child = _read("parts").query("network == 'xray_cnn' and unit == 'child' and part == 'all'").set_index("statistic")
    rows = [_row(name, compared.loc[name]) for name in names]
    return _result_table("network", [*rows, _row("this study's network, per child", child)])


def locator() -> str:
    """Dice and overlap of the boxes by split and class."""
    line = "{split} | {class} | {films:,} | {dice:.3f} | {dice_p5:.3f} | {iou:.3f} | {iou_p5:.3f}"
    header = "split | class | films | Dice | 5th percentile | box overlap | 5th percentile"
    return _table(header, _lines(_read("lungs"), line))


def growth() -> str:
    """What `make bench` measured of the study's own steps: seconds and memory on more and more films."""
    header = "films | step | seconds | peak memory (MB)"
    return _table(header, _lines(_read("growth"), "{images:,} | {step} | {seconds:.1f} | {peak_mb:,}"))


def subgroups() -> str:
    """Sensitivity and specificity by subgroup, with intervals and n."""
    lines = _lines(_read("subgroups"), "{part} | {n_films} | {statistic} | {value:.3f} ({lower:.3f}-{upper:.3f})")
    return _table("part of test | films | statistic | mean over seeds (95 % interval)", lines)


def outliers() -> str:
    """Share of changed test films that are not assessed, a row per kind."""
    header = "test films, changed | should be | films | share not assessed"
    return _table(header, _lines(_read("ood"), "{kind} | {wanted} | {films:,} | {not_assessed:.3f}"))


def calibration() -> str:
    """Brier score and expected calibration error on test, with intervals."""
    rows = _rows_on_test(("brier", "expected_calibration_error"))
    return _table("network | Brier score | expected calibration error", rows)


def ablation() -> str:
    """AUROC on tune and on test, accuracy and specificity on test, of each variant; mean and SD over seeds."""
    table, columns = _read("ablation"), ["auroc", "accuracy", "specificity"]
    groups = table.groupby(["variant", "split"])[columns]
    cells = groups.agg(lambda values: f"{values.mean():.3f} ± {values.std():.3f}")
    rows = [" | ".join([name, cells.auroc[name, "tune"], *cells.loc[name, "test"]]) for name in table.variant.unique()]
    return _table("input | tune: AUROC | test: AUROC | test: accuracy | test: specificity", rows)


def replay() -> str:
    """The published figures beside the replayed ones."""
    figures = _read("published_replay")
    figures["spread"] = figures.sd.map(" ± {:.3f}".format, na_action="ignore").fillna("")
    lines = _lines(figures, "{quantity} | {published:.4f} | {replayed:.4f}{spread}")
    printed = tables.published_printed(metrics.check(_read("predictions")))
    for quantity, published, *seeds in printed.itertuples(index=False):
        lines.append(f"{quantity} | {published} | {'; '.join(seeds)}")
    return _table("figure of the published experiment | published | replayed", lines)


def speed() -> str:
    """What `make bench` measured: units a second, or seconds, of each pair, and the ratio."""
    lines = []
    for row in _read("bench").itertuples():
        ours, other = (f"{value:,.{0 if value >= 100 else 1}f} {row.unit}" for value in (row.ours, row.other))
        lines.append(f"{row.name} | {ours} | {other} | {row.ratio:.2f}")
    return _table("what, against what | ours | other | ratio", lines)


def counts() -> str:
    """Films and patients by split and subtype."""
    table = _read("index", keep_default_na=False).groupby(["split", "subtype"])
    table = table.agg(films=("path", "size"), patients=("patient", "nunique")).loc[["train", "tune", "val", "test"]]
    lines = _lines(table.reset_index(), "{split} | {subtype} | {films:,} | {patients:,}")
    return _table("split | subtype | films | patients", lines)


def claim() -> str:
    """The study in two sentences: what the published experiment measured, and what this study's network reaches."""
    rows = _read("comparison").set_index(["row", "statistic"]).sort_index()
    claimed = rows.loc[("published experiment, as published", "accuracy")]
    theirs, own = (
        rows.loc[(name, "accuracy")] for name in ("published experiment, on test", tables.STUDY_NETWORKS["mean"])
    )
    return (
        f"The published experiment reports an accuracy of {claimed.value:.3f}, measured on the films of its training "
        f"folder; on {theirs.n_films:.0f} test films of {theirs.n_children:.0f} other children it is "
        f"{_interval(theirs)}. On the same films this study's network, trained in {_timing()[1].xray_cnn:.0f} seconds "
        f"on two CPU cores, has an accuracy of {_interval(own)}, {_difference('accuracy')} (brackets: 95 % interval "
        "over patients)."
    )


def plain() -> str:
    """Sensitivity and specificity as numbers of a hundred films."""
    value = _metrics().value["xray_cnn", "test", "mean"]
    return (
        f"In plain words: of 100 test films with pneumonia it finds {100 * value.sensitivity:.0f}; of 100 healthy ones "
        f"it calls {100 * (1 - value.specificity):.0f} PNEUMONIA."
    )


def framing() -> str:
    """What the position of the lungs tells, and what is left when they are hidden."""
    film, frame = _read("framing").set_index("property").train[["lungs' box in the film", "lungs' box in the frame"]]
    hidden = _read("hidden_regions").set_index(["network", "hidden"]).loc["xray_cnn"]
    return (
        f"The position and size of the lungs in the film alone tell the class at AUROC {film:.3f} (children of "
        f"train held out in turn); in the frame, at {frame:.3f}. With the lungs of the test films hidden, AUROC is "
        f"{_interval(hidden.loc['lungs'], 'auroc')}, where 0.5 is chance; with all but the lungs hidden, "
        f"{_interval(hidden.loc['all but the lungs'], 'auroc')}."
    )


def elsewhere() -> str:
    """The released networks on films of another hospital, mostly adults."""
    row = _read("nih_adults").set_index("statistic").loc["auroc"]
    return (
        f"On {row.films:,.0f} films of {row.patients:,.0f} patients of another hospital, mostly adults (NIH "
        f"ChestX-ray), its AUROC is {_interval(row, 'mean')}: near chance."
    )


def twins() -> str:
    """How far predictions of films at their published size differ from those of the same films at 224 pixels."""
    return (
        "{films:.0f} films of train at their published size, beside the same films at 224 pixels: the probability "
        "differs by {mean:.3f} on average (95th percentile {p95:.3f}); of {films:.0f} decisions "
        "{decisions_differ:.1f} differ (means over {seeds:.0f} seeds)."
    ).format(**_read("originals_twins").iloc[0])


def findings() -> str:
    """Findings as a list whose words follow from the figures."""
    value, changed = _metrics().value["xray_cnn"], _read("robustness")
    thresholds = "; ".join(
        f"{name} {value['tune', 'mean', name]:.3f} on tune, {value['test', 'mean', name]:.3f} on test"
        for name in ("sensitivity", "specificity")
    )
    changed = changed.query("network == 'xray_cnn' and statistic == 'specificity'").sort_values(["value", "severity"])
    worst, as_is = changed.iloc[0], changed.query("corruption == 'none'").iloc[0]
    cut = changed.query("corruption == 'crop' and severity == 2").iloc[0]
    field = found.field(_metrics().reset_index(), _read("field")).removeprefix(found.SHOWS)
    return (
        f"- The threshold chosen on tune (children kept apart from the train folder), applied to test: {thresholds}.\n"
        f"- With {cut.amount:g} % of each margin cut off, specificity goes from {as_is.value:.3f} to {cut.value:.3f}; "
        f"the worst corruption is {described(worst)}, at {worst.value:.3f} "
        f"([robustness.csv](robustness.csv)).\n- {field}"
    )


def timing() -> str:
    """Seconds per training on the machine of the committed run."""
    machine, mean = _timing()
    return (
        f"On {machine['threads']} threads ({machine['precision']}): {mean.xray_cnn:.0f} s per seed for the study's "
        f"network, {mean.published:.0f} s for the published experiment ({tables.PUBLISHED_SECONDS:.0f} s on its "
        "author's machine)."
    )


def portable() -> str:
    """The files of models/ with their sizes."""
    kinds = (".tflite", ".keras", ".npz")
    files = sorted(path for path in (REPOSITORY / "models").glob("[!p]*") if path.suffix in kinds)  # not published_*
    return ", ".join(f"`{path.name}` ({path.stat().st_size / 1e6:.2f} MB)" for path in files) + "."


def answer(notebook: str) -> str:
    """The findings of the committed run that answer a notebook's question ("01_explore", ...)."""
    texts = {
        "01_explore": lambda: [found.framing_film(_read("framing_film"), "people's masks")],
        "02_train": lambda: [found.framing(_read("framing")), found.ablation(_read("ablation"))],
        "03_evaluate": lambda: [found.headline(_metrics().reset_index())],
        "04_predict_val": lambda: [found.val(_read("val_films"))],
        "05_robustness": lambda: [found.robustness(_read("robustness"))],
        "06_explain": lambda: [found.hidden(_read("hidden_regions")), found.removal(_read("removal_areas"))],
    }
    return " ".join(text.removeprefix(found.SHOWS) for text in texts[notebook]())
