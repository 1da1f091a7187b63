"""Results -> the Markdown that README.md and the cards show; cog inserts it (make publish) and a test checks it."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd

from xraylib.config import REPOSITORY
from xraylib.data.corruptions import described
from xraylib.evaluation import findings as found
from xraylib.evaluation import metrics, tables

RESULTS = REPOSITORY / "results"
NAMES = {("published", "mean"): "published network"} | {("xray_cnn", s): n for s, n in tables.STUDY_NETWORKS.items()}


def _read(name: str, **options) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv", **options)


def _table(header: str, rows: list[str]) -> str:
    return "\n".join([f"| {header} |", "|" + "---|" * (header.count("|") + 1), *(f"| {row} |" for row in rows)])


def _lines(table: pd.DataFrame, line: str) -> list[str]:
    """A line of text for each row of the table, whose columns the line names in braces."""
    return [line.format(**row) for row in table.to_dict("records")]


def _metrics() -> pd.DataFrame:
    return _read("metrics", dtype={"seed": str}).set_index(["network", "split", "seed", "statistic"])


def _on_test(statistics: Iterable[str]) -> list[str]:
    """A line for each of NAMES: its name and those statistics of test, with SD and interval."""
    rows, names = _metrics(), NAMES.items()
    cells = {key: [tables.interval_text(rows.loc[(key[0], "test", key[1], s)]) for s in statistics] for key, _ in names}
    return [" | ".join([name, *cells[key]]) for key, name in names]


def _seconds() -> dict[str, float]:
    """Mean seconds per training of each network on the machine of the committed run."""
    seconds = json.loads((RESULTS / "timing.json").read_text())["seconds"]
    return {network: sum(each.values()) / len(each) for network, each in seconds.items()}


def _interval(row: pd.Series) -> str:
    return f"{row.value:.3f} ({row.lower:.3f}-{row.upper:.3f})"


def claim() -> str:
    """The study in two sentences: what the published experiment measured, and what this study's network reaches."""
    rows = _read("comparison").set_index(["row", "statistic"])
    claimed = rows.loc[("published experiment, as published", "accuracy")]
    theirs, own = rows.loc["published experiment, on test"], rows.loc[tables.STUDY_NETWORKS["mean"]]
    n = theirs.loc["auroc"]
    return (
        f"The published experiment reports an accuracy of {claimed.value:.3f}, measured on the films of its training "
        f"folder; on {n.n_films:.0f} test films of {n.n_children:.0f} other children it is "
        f"{_interval(theirs.loc['accuracy'])}. On the same films this study's network, trained in "
        f"{_seconds()['xray_cnn']:.0f} seconds on two CPU cores, has an accuracy of {_interval(own.loc['accuracy'])}, "
        f"{_difference('accuracy')} (brackets: 95 % interval over patients)."
    )


def _difference(statistic: str, thresholds: str = "published at 0.5") -> str:
    """The study's network minus the published one, in words that follow from the interval of the difference."""
    row = _read("differences").set_index(["thresholds", "statistic"]).loc[(thresholds, statistic)]
    if row.lower <= 0 <= row.upper:
        return f"no clear difference ({row.difference:+.3f}, {row.lower:+.3f} to {row.upper:+.3f})"
    side = "higher" if row.difference > 0 else "lower"
    small, large = sorted(abs(row[name]) for name in ("lower", "upper"))
    return f"{side} by {abs(row.difference):.3f} ({small:.3f}-{large:.3f})"


def results() -> str:
    """The one result table: the published experiment, baselines, this study and the field, each with its films."""
    table = _read("comparison")
    rows = []
    for name, part in table.groupby("row", sort=False):
        first, by = part.iloc[0], part.set_index("statistic")
        named = name if pd.isna(first.link) else name.replace(first.source, f"[{first.source}]({first.link})", 1)
        own = f"**{named}**" if first.group == "this study" else named
        cells = [_narrow(by.loc[statistic]) if statistic in by.index else "" for statistic in metrics.HEADLINE]
        rows.append(f"{own} | {first.measured_on},<br>n = {first.n_films:,.0f} | {' | '.join(cells)}")
    return _result_table(" | measured on", rows) + (
        " The field's figures are those that its authors give; [field.csv](field.csv) says whose weights were "
        "pretrained, who used extra labels (here: lung masks) and who chose the threshold on test. Claims on other "
        "splits do not compare and are left out."
    )


def _result_table(first: str, rows: list[str]) -> str:
    """A table of the four headline statistics, and what its figures are."""
    one = _metrics().loc[("xray_cnn", "test", "mean", "auroc")]
    seeds = len({seed for network, _, seed, _ in _metrics().index if network == "xray_cnn" and seed.isdigit()})
    return _table(f"{first} | AUROC | accuracy | sensitivity | specificity", rows) + (
        f"\n\nTest, n = {one.n_films:,.0f} films of {one.n_children:.0f} children; mean ± SD over {seeds} seeds (95 % "
        "interval over patients). The published network decides at 0.5, as it did; the others at the threshold chosen "
        "on tune. Per child: the mean logit over a child's films. With both thresholds chosen on tune, accuracy is "
        f"{_difference('accuracy', 'both on tune')}."
    )


def _narrow(row: pd.Series) -> str:
    """A cell on two lines that break nowhere else."""
    text = tables.interval_text(row)
    return text.replace(" (", "<br>(").replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def headline() -> str:
    """The result table of test: network, AUROC, accuracy, sensitivity, specificity, with SD and interval."""
    return _result_table("network", _on_test(metrics.HEADLINE))


def short_results() -> str:
    """The headline: the published network, 8 x 8 pixels and this study on test."""
    names = ("published experiment, on test", tables.BASELINES["thumbnail"], *tables.STUDY_NETWORKS.values())
    compared = _read("comparison")
    shown = {name: compared[compared.row == name] for name in names}
    shown["this study's network, per child"] = _read("parts").query(
        "network == 'xray_cnn' and unit == 'child' and part == 'all'"
    )
    rows = []
    for name, part in shown.items():
        by = part.set_index("statistic")
        rows.append(f"{name} | {' | '.join(_narrow(by.loc[statistic]) for statistic in metrics.HEADLINE)}")
    return _result_table("network", rows)


def plain() -> str:
    """Sensitivity and specificity as numbers of a hundred films."""
    rows = _metrics()
    sensitivity, specificity = (rows.loc[("xray_cnn", "test", "mean", n)].value for n in ("sensitivity", "specificity"))
    return (
        f"In plain words: of 100 test films with pneumonia it finds {100 * sensitivity:.0f}; of 100 healthy ones it "
        f"calls {100 * (1 - specificity):.0f} PNEUMONIA."
    )


def framing() -> str:
    """What the position of the lungs tells, and what is left when they are hidden."""
    tells = _read("framing").set_index("property").train
    film, frame = (tells[f"lungs' box in the {place}"] for place in ("film", "frame"))
    hidden = _read("hidden_regions").set_index(["network", "hidden"])
    lungs, rest = (hidden.loc[("xray_cnn", name)] for name in ("lungs", "all but the lungs"))
    return (
        f"The position and size of the lungs in the film alone tell the class at AUROC {film:.3f} (children of "
        f"train held out in turn); in the frame, at {frame:.3f}. With the lungs of the test films hidden, AUROC is "
        f"{_interval(lungs.rename({'auroc': 'value'}))}, where 0.5 is chance; with all but the lungs hidden, "
        f"{_interval(rest.rename({'auroc': 'value'}))}."
    )


def elsewhere() -> str:
    """The released networks on films of another hospital, mostly adults."""
    table = _read("nih_adults").set_index("statistic")
    one = table.loc["auroc"]
    return (
        f"On {one.films:,.0f} films of {one.patients:,.0f} patients of another hospital, mostly adults (NIH "
        f"ChestX-ray), its AUROC is {one['mean']:.3f} ({one.lower:.3f}-{one.upper:.3f}): near chance."
    )


def twins() -> str:
    """How far predictions of films at their published size differ from those of the same films at 224 pixels."""
    row = _read("originals_twins").iloc[0]
    return (
        f"{row.films:.0f} films of train at their published size, beside the same films at 224 pixels: the probability "
        f"differs by {row['mean']:.3f} on average (95th percentile {row.p95:.3f}); of {row.films:.0f} decisions "
        f"{row.decisions_differ:.1f} differ (means over {row.seeds:.0f} seeds)."
    )


def ablation() -> str:
    """AUROC on tune and on test, accuracy on test, of each variant; mean and SD over seeds."""
    table = _read("ablation")
    rows = []
    for variant, part in table.groupby("variant", sort=False):
        cells = []
        for split, statistic in (("tune", "auroc"), ("test", "auroc"), ("test", "accuracy"), ("test", "specificity")):
            values = part[part.split == split][statistic]
            cells.append(f"{values.mean():.3f} ± {values.std():.3f}")
        rows.append(f"{variant} | {' | '.join(cells)}")
    return _table("input | tune: AUROC | test: AUROC | test: accuracy | test: specificity", rows)


def locator() -> str:
    """Dice and overlap of the boxes by split and class."""
    line = "{split} | {class} | {films:,} | {dice:.3f} | {dice_p5:.3f} | {iou:.3f} | {iou_p5:.3f}"
    header = "split | class | films | Dice | 5th percentile | box overlap | 5th percentile"
    return _table(header, _lines(_read("lungs"), line))


def findings() -> str:
    """Findings as a list whose words follow from the figures."""
    field = _bare(found.field(_metrics().reset_index(), _read("field")))
    return "\n".join(f"- {text}" for text in (_threshold(), _corruptions(), field))


def _threshold() -> str:
    rows = _metrics()
    names = ("sensitivity", "specificity")
    values = {n: [rows.loc[("xray_cnn", split, "mean", n)].value for split in ("tune", "test")] for n in names}
    text = "; ".join(f"{name} {tune:.3f} on tune, {test:.3f} on test" for name, (tune, test) in values.items())
    return f"The threshold chosen on tune (children kept apart from the train folder), applied to test: {text}."


def _corruptions() -> str:
    table = _read("robustness")
    own = table[(table.network == "xray_cnn") & (table.statistic == "specificity")]
    as_is = own[own.corruption == "none"].value.iloc[0]
    worst = own.sort_values(["value", "severity"]).iloc[0]
    cut = own[(own.corruption == "crop") & (own.severity == 2)].iloc[0]
    return (
        f"With {cut.amount:g} % of each margin cut off, specificity goes from {as_is:.3f} to {cut.value:.3f}; the "
        f"worst corruption is {described(worst)}, at {worst.value:.3f} "
        "([robustness.csv](robustness.csv))."
    )


def replay() -> str:
    """The published figures beside the replayed ones."""
    lines = []
    for row in _read("published_replay").itertuples():
        sd = f" ± {row.sd:.3f}" if pd.notna(row.sd) else ""
        lines.append(f"{row.quantity} | {row.published:.4f} | {row.replayed:.4f}{sd}")
    printed = tables.published_printed(metrics.check(_read("predictions")))
    for quantity, published, *seeds in printed.itertuples(index=False):
        lines.append(f"{quantity} | {published} | {'; '.join(seeds)}")
    return _table("figure of the published experiment | published | replayed", lines)


def timing() -> str:
    """Seconds per training on the machine of the committed run."""
    machine, mean = json.loads((RESULTS / "timing.json").read_text())["machine"], _seconds()
    return (
        f"On {machine['threads']} threads ({machine['precision']}): {mean['xray_cnn']:.0f} s per seed for the study's "
        f"network, {mean['published']:.0f} s for the published experiment ({tables.PUBLISHED_SECONDS:.0f} s on its "
        "author's machine)."
    )


def speed() -> str:
    """What `make bench` measured: units a second, or seconds, of each pair, and the ratio."""
    lines = []
    for row in _read("bench").itertuples():
        ours, other = (f"{value:,.{0 if value >= 100 else 1}f} {row.unit}" for value in (row.ours, row.other))
        lines.append(f"{row.name} | {ours} | {other} | {row.ratio:.2f}")
    return _table("what, against what | ours | other | ratio", lines)


def growth() -> str:
    """What `make bench` measured of the study's own steps: seconds and memory on more and more films."""
    lines = _lines(_read("growth"), "{images:,} | {step} | {seconds:.1f} | {peak_mb:,}")
    return _table("films | step | seconds | peak memory (MB)", lines)


def subgroups() -> str:
    """Sensitivity and specificity by subgroup, with intervals and n."""
    line = "{part} | {n_films} | {statistic} | {value:.3f} ({lower:.3f}-{upper:.3f})"
    header = "part of test | films | statistic | mean over seeds (95 % interval)"
    return _table(header, _lines(_read("subgroups"), line))


def calibration() -> str:
    """Brier score and expected calibration error on test, with intervals."""
    lines = _on_test(("brier", "expected_calibration_error"))
    return _table("network | Brier score | expected calibration error", lines)


def outliers() -> str:
    """Share of changed test films that are not assessed, a row per kind."""
    lines = _lines(_read("ood"), "{kind} | {wanted} | {films:,} | {not_assessed:.3f}")
    return _table("test films, changed | should be | films | share not assessed", lines)


def portable() -> str:
    """The files of models/ with their sizes."""
    kinds = (".tflite", ".keras", ".npz")
    files = sorted(
        path for path in (REPOSITORY / "models").iterdir() if path.suffix in kinds and "published" not in path.name
    )
    return ", ".join(f"`{path.name}` ({path.stat().st_size / 1e6:.2f} MB)" for path in files) + "."


def counts() -> str:
    """Films and patients by split and subtype."""
    table = _read("index", keep_default_na=False).groupby(["split", "subtype"])
    table = table.agg(films=("path", "size"), patients=("patient", "nunique")).loc[["train", "tune", "val", "test"]]
    line = "{split} | {subtype} | {films:,} | {patients:,}"
    return _table("split | subtype | films | patients", _lines(table.reset_index(), line))


def _bare(finding: str) -> str:
    return finding.removeprefix(found.SHOWS)


ANSWERS = {  # notebook -> its answer, a finding of the committed run
    "01_explore": lambda: _bare(found.framing_film(_read("framing_film"), "people's masks")),
    "02_train": lambda: f"{_bare(found.framing(_read('framing')))} {_bare(found.ablation(_read('ablation')))}",
    "03_evaluate": lambda: _bare(found.headline(_metrics().reset_index())),
    "04_predict_val": lambda: _bare(found.val(_read("val_films"))),
    "05_robustness": lambda: _bare(
        found.robustness(_read("robustness", na_values={"sd": [""]}, keep_default_na=False))
    ),
    "06_explain": lambda: (
        f"{_bare(found.hidden(_read('hidden_regions')))} {_bare(found.removal(_read('removal_areas')))}"
    ),
}
