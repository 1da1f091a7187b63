"""Results -> the Markdown that README.md and the cards show; cog puts it there (make publish), a test checks it."""

from __future__ import annotations

import json
import re

import pandas as pd

from xraylib.config import REPOSITORY
from xraylib.evaluation import metrics, tables

RESULTS = REPOSITORY / "results"
RATES = ("sensitivity", "specificity")
NAMES = {metrics.PUBLISHED: "published CNN"} | tables.OWN_NETWORKS


def claim() -> str:
    """The study in two sentences: what the published experiment is worth, and what this study's CNN reaches."""
    rows = _story()
    claimed = rows.loc[("published experiment, as published", "accuracy")]
    theirs = {name: rows.loc[("published experiment, on unseen children", name)] for name in ("accuracy", "auroc")}
    own = {name: rows.loc[("this study's CNN", name)] for name in ("accuracy", "auroc")}
    n = theirs["auroc"]
    return (
        f"A published experiment reports an accuracy of {claimed['mean']:.3f} in telling pneumonia from normal, "
        f"measured on films that it learned from; replayed, and asked about {n.images:.0f} films of {n.patients:.0f} "
        f"children that it has not seen, its accuracy is {_mean_interval(theirs['accuracy'])} and its AUROC "
        f"{_mean_interval(theirs['auroc'])}. On the same films this study's small network, trained from scratch in "
        f"{_seconds()['xray_cnn']:.0f} seconds on two CPU cores, has an accuracy of "
        f"{_mean_interval(own['accuracy'])}, {_apart('accuracy')}, and an AUROC of {_mean_interval(own['auroc'])}, "
        f"{_apart('auroc')} (brackets: 95 % interval over patients)."
    )


def _story() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "story.csv").set_index(["row", "statistic"])


def _seconds() -> dict[str, float]:
    """Mean seconds per training of each network on the machine of the published run."""
    seconds = json.loads((RESULTS / "timing.json").read_text())["seconds"]
    return {network: sum(each.values()) / len(each) for network, each in seconds.items()}


def _mean_interval(row: pd.Series) -> str:
    return f"{row['mean']:.3f} ({row.lower:.3f}-{row.upper:.3f})"


def _apart(statistic: str) -> str:
    """The study's CNN against the published one, in words that follow from the interval of the difference."""
    row = pd.read_csv(RESULTS / "differences.csv").set_index("statistic").loc[statistic]
    if row.lower <= 0 <= row.upper:
        return f"not told apart from it (difference {row.difference:+.3f}, {row.lower:+.3f} to {row.upper:+.3f})"
    side = "higher" if row.difference > 0 else "lower"
    small, large = sorted(abs(row[name]) for name in ("lower", "upper"))
    return f"{side} by {abs(row.difference):.3f} ({small:.3f}-{large:.3f})"


def results() -> str:
    """The one result table: the published experiment, baselines, this study and the field, each with its images."""
    table = pd.read_csv(RESULTS / "story.csv")
    lines = ["| | measured on | AUROC | accuracy | sensitivity | specificity |", "|---|---|---|---|---|---|"]
    for name, part in table.groupby("row", sort=False):
        first, by = part.iloc[0], part.set_index("statistic")
        named = name if pd.isna(first.link) else name.replace(first.source, f"[{first.source}]({first.link})", 1)
        own = f"**{named}**" if first.group == "this study" else named
        cells = [_narrow(by.loc[statistic]) if statistic in by.index else "" for statistic in metrics.HEADLINE]
        lines.append(f"| {own} | {first.measured_on},<br>n = {first.images:,} | {' | '.join(cells)} |")
    test = table[table.measured_on == "test"].iloc[0]
    counts = pd.read_csv(RESULTS / "official_counts.csv")
    official = counts.official[counts.folder == "test"].sum()
    seeds = len(json.loads((RESULTS / "metrics.json").read_text())["networks"]["xray_cnn"]["seeds"])
    below = (
        f"Mean ± SD over {seeds} seeds (95 % interval over patients). Test: {test.images:,} images of "
        f"{test.patients:.0f} patients, of the official {official:,}"
    )
    if test.images < official:
        below += ", since the copy at hand lacks the others: the field's figures are near, not on the same images"
    below += (
        ". The published CNN decides at 0.5, as it did; the others at the threshold chosen on tune. The field's "
        "figures are those that its authors give ([results/field.csv](results/field.csv)); claims on other splits, or "
        "chosen on test, do not compare and are left out."
    )
    return "\n".join([*lines, "", below])


def online() -> str:
    """How to open the study in a browser: links if CITATION.cff names a repository on GitHub, else the way there."""
    text = (REPOSITORY / "CITATION.cff").read_text()
    found = re.search(r"^repository-code: *[\"']?https://github\.com/([\w.-]+/[\w.-]+)", text, re.MULTILINE)
    if not found:
        return (
            "In a browser, without installing: give this repository's address to [Binder](https://mybinder.org), or in "
            "[Colab](https://colab.research.google.com) choose File, Open notebook, GitHub, that address and "
            "`binder/colab.ipynb`. Both run on phantoms."
        )
    name = found[1].removesuffix(".git")
    binder = f"https://mybinder.org/v2/gh/{name}/HEAD?labpath=notebooks%2F01_explore.ipynb"
    colab = f"https://colab.research.google.com/github/{name}/blob/main/binder/colab.ipynb"
    return f"In a browser, without installing, on phantoms: [Binder]({binder}) or [Colab]({colab})."


def findings() -> str:
    """What came out, as a list whose words follow from the figures."""
    return "\n".join(f"- {text}" for text in (_carried_over(), _framing(), _variants(), _against_field(), _grown()))


def _carried_over() -> str:
    own = json.loads((RESULTS / "metrics.json").read_text())["networks"]["xray_cnn"]
    values = {name: [own[split]["chosen"][name]["mean"] for split in ("tune", "test")] for name in RATES}
    moved = [f"{name} {tune:.3f} on tune, {test:.3f} on test" for name, (tune, test) in values.items()]
    return (
        f"The threshold chosen on held-out children of the train folder, taken to the test folder: {'; '.join(moved)}."
    )


def _framing() -> str:
    table = pd.read_csv(RESULTS / "robustness.csv")
    own = table[(table.network == "xray_cnn") & (table.statistic == "specificity")]
    untouched = own[own.corruption == "none"]["mean"].iloc[0]
    worst = own.sort_values(["mean", "severity"]).iloc[0]
    cut = own[(own.corruption == "crop") & (own.severity == 2)].iloc[0]
    return (
        f"How a film is framed counts: with {cut.amount:g} % of each margin cut off, specificity goes from "
        f"{untouched:.3f} to {cut['mean']:.3f}; the worst corruption of all is {worst.corruption} "
        f"({worst.amount:g} {worst.unit}), at {worst['mean']:.3f} ([figure](Plot/robustness_specificity.png))."
    )


def _variants() -> str:
    table = pd.read_csv(RESULTS / "ablation.csv")
    whole = table.variant.iloc[0]  # the recipe in which nothing is changed comes first
    said = []
    judges = {
        "spoilt": "tune films cut, shifted or exposed otherwise",
        "series": "a series not seen",
        "exchanged": "the same with the classes' details and grey levels exchanged",
    }
    for judge, films in judges.items():
        seeds = table[table.judge == judge].groupby("variant").auroc
        # Of three seeds, some variant's spread is tiny by luck: the typical one stands for all.
        change, sd = seeds.mean().drop(whole) - seeds.mean()[whole], seeds.std().median()
        told = [f"{auroc:+.3f} {name}" for name, auroc in change.sort_values().items() if abs(auroc) > 2 * sd]
        said.append(f"on {films}: {', '.join(told) or 'none'}")
    return (
        f"Ingredients of the recipe left out in turn, and fewer pixels ({table.seed.nunique()} seeds each, judged on "
        "the train folder's children): what that does to AUROC, where it is more than twice the usual SD over seeds; "
        f"{'; '.join(said)} ([figure](Plot/ablation.png))."
    )


def _grown() -> str:
    table = pd.read_csv(RESULTS / "growth.csv")
    first, last = (table[table.images == n] for n in (table.images.min(), table.images.max()))
    spent = ", ".join(f"{row.step} {row.seconds / 60:.1f} minutes" for row in last.itertuples())
    return (
        f"{last.images.iloc[0]:,} films instead of {first.images.iloc[0]:,} (phantoms, repeated): {spent}; peak memory "
        f"{last.peak_mb.max():,} MB instead of {first.peak_mb.max():,} ([figure](Plot/growth.png))."
    )


def _against_field() -> str:
    rows, field = _story(), pd.read_csv(RESULTS / "field.csv")
    said = []
    for statistic, name in (("auroc", "AUROC"), ("accuracy", "accuracy")):
        best, own = field.loc[field[statistic].idxmax()], rows.loc[("its seeds averaged", statistic), "mean"]
        side = "below" if own < best[statistic] else "at or above"
        said.append(f"{name} {own:.3f}, {side} the {best[statistic]:.3f} of {best.method} ({best.source})")
    return f"The seeds averaged, beside the best that others report: {'; '.join(said)}."


def readings() -> str:
    """AUROC and balanced accuracy of each published configuration on test, in the order of the readings."""
    ledger = pd.read_csv(RESULTS / "test_ledger.csv")
    auroc, balanced = (", ".join(f"{value:.3f}" for value in ledger[name]) for name in ("auroc", "balanced_accuracy"))
    return f"Test, reading by reading (mean over seeds): AUROC {auroc}; balanced accuracy at the threshold {balanced}."


def headline() -> str:
    """The result table of test: network, AUROC, accuracy, sensitivity, specificity, with SD and interval."""
    summary = json.loads((RESULTS / "metrics.json").read_text())
    rows = tables.headline_rows(summary).set_index(["network", "statistic"])
    lines = ["| network | AUROC | accuracy | sensitivity | specificity |", "|---|---|---|---|---|"]
    for network, name in NAMES.items():
        cells = [_cell(rows.loc[(network, statistic)]) for statistic in metrics.HEADLINE]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    one = rows.iloc[0]
    seeds = len(summary["networks"]["xray_cnn"]["seeds"])
    below = (
        f"Test, n = {one.n_images} images of {one.n_patients} patients; mean ± SD over {seeds} seeds (95 % interval "
        f"over patients). The published CNN decides at 0.5, as it did; the study's at the threshold chosen on tune."
    )
    return "\n".join([*lines, "", below])


def _cell(row: pd.Series) -> str:
    sd = f" ± {row.sd:.3f}" if pd.notna(row.sd) else ""
    interval = f" ({row.lower:.3f}-{row.upper:.3f})" if pd.notna(row.lower) else ""
    return f"{row['mean']:.3f}{sd}{interval}"


def _narrow(row: pd.Series) -> str:
    """`_cell` on two lines that break nowhere else."""
    return _cell(row).replace(" (", "<br>(").replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def replay() -> str:
    """The published figures beside the replayed ones."""
    table = pd.read_csv(RESULTS / "published_replay.csv")
    lines = ["| figure of the published experiment | published | replayed |", "|---|---|---|"]
    for row in table.itertuples():
        sd = f" ± {row.sd:.3f}" if pd.notna(row.sd) else ""
        lines.append(f"| {row.quantity} | {row.published:.4f} | {row.replayed:.4f}{sd} |")
    timing = json.loads((RESULTS / "timing.json").read_text())["seconds"]["published"]
    printed = tables.published_printed(pd.read_csv(RESULTS / "predictions.csv"), timing)
    for row in printed.itertuples(index=False):
        quantity, published, *seeds = row
        lines.append(f"| {quantity} | {published} | {'; '.join(seeds)} |")
    return "\n".join(lines)


def timing() -> str:
    """Seconds per training on the machine of the published run."""
    machine, mean = json.loads((RESULTS / "timing.json").read_text())["machine"], _seconds()
    return (
        f"On {machine['threads']} threads ({machine['precision']}): {mean['xray_cnn']:.0f} s per "
        f"seed for the study's CNN, {mean['published']:.0f} s for the published experiment "
        f"({tables.PUBLISHED_SECONDS:.0f} s on its author's machine)."
    )


def speed() -> str:
    """What `make bench` measured last, as a table: units a second, or seconds, by each of two ways, and the ratio."""
    table = pd.read_csv(RESULTS / "bench.csv")
    lines = ["| what, against what | ours | other | ratio |", "|---|---|---|---|"]
    for row in table.itertuples():
        ours, other = (f"{value:,.{0 if value >= 100 else 1}f} {row.unit}" for value in (row.ours, row.other))
        lines.append(f"| {row.name} | {ours} | {other} | {row.ratio:.2f} |")
    return "\n".join(lines)


def subgroups() -> str:
    """Sensitivity and specificity by subgroup, with intervals and n."""
    lines = ["| part of test | images | statistic | mean over seeds (95 % interval) |", "|---|---|---|---|"]
    for row in pd.read_csv(RESULTS / "subgroups.csv").itertuples():
        value = f"{row.mean:.3f} ({row.lower:.3f}-{row.upper:.3f})"
        lines.append(f"| {row.part} | {row.images} | {row.statistic} | {value} |")
    return "\n".join(lines)


def calibration() -> str:
    """Brier score and expected calibration error before and after recalibration."""
    table = pd.read_csv(RESULTS / "calibration.csv").set_index(["recalibration", "statistic"])
    lines = ["| recalibration | Brier score | expected calibration error |", "|---|---|---|"]
    for name in ("before", "after"):
        rows = [table.loc[(name, statistic)] for statistic in ("brier", "expected_calibration_error")]
        lines.append(f"| {name} | " + " | ".join(f"{row['mean']:.3f} ± {row.sd:.3f}" for row in rows) + " |")
    return "\n".join(lines)


def foreign() -> str:
    """How well images that are no films of children are told from those of test, a row per kind."""
    lines = ["| images | from | n | AUROC | flagged |", "|---|---|---|---|---|"]
    for row in pd.read_csv(RESULTS / "foreign.csv").itertuples():
        interval = f" ({row.lower:.3f}-{row.upper:.3f})" if pd.notna(row.lower) else ""
        auroc = f"{row.auroc:.3f}{interval}" if pd.notna(row.auroc) else ""
        n = f"{row.images:,} of {row.pictures:,}" if row.pictures < row.images else f"{row.images:,}"
        lines.append(f"| {row.kind} | {row.source} | {n} | {auroc} | {row.flagged:.3f} |")
    return "\n".join(lines)


def portable() -> str:
    """The files of models/ with their sizes."""
    files = sorted(path for path in (REPOSITORY / "models").iterdir() if path.suffix in (".tflite", ".keras", ".npz"))
    return ", ".join(f"`{path.name}` ({path.stat().st_size / 1e6:.2f} MB)" for path in files) + "."


def counts() -> str:
    """Images and patients by split and subtype."""
    index = pd.read_csv(RESULTS / "index.csv", keep_default_na=False)
    table = index.groupby(["split", "subtype"]).agg(images=("path", "size"), patients=("patient", "nunique"))
    lines = ["| split | subtype | images | patients |", "|---|---|---|---|"]
    for split in ("train", "tune", "val", "test"):
        for subtype, row in table.loc[split].iterrows():
            lines.append(f"| {split} | {subtype} | {row.images:,} | {row.patients:,} |")
    return "\n".join(lines)
