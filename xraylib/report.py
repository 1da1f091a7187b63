"""Results -> the Markdown that README.md shows; cog puts it there (make publish) and checks it (make lint)."""

from __future__ import annotations

import json

import pandas as pd

from xraylib import evaluate
from xraylib.config import REPOSITORY

RESULTS = REPOSITORY / "results"
NAMES = {"published": "published CNN", "xray_cnn": "this study's CNN", "xray_cnn_ensemble": "its seeds averaged"}


def headline() -> str:
    """The result table of test: network, AUROC, accuracy, sensitivity, specificity, with SD and interval."""
    summary = json.loads((RESULTS / "metrics.json").read_text())
    rows = evaluate.headline_rows(summary).set_index(["network", "statistic"])
    shown = ["auroc", "accuracy", "sensitivity", "specificity"]
    lines = ["| network | AUROC | accuracy | sensitivity | specificity |", "|---|---|---|---|---|"]
    for network, name in NAMES.items():
        cells = [_cell(rows.loc[(network, statistic)]) for statistic in shown]
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
    return f"{row['mean']:.3f}{sd} ({row.lower:.3f}-{row.upper:.3f})"


def replay() -> str:
    """The published figures beside the replayed ones."""
    table = pd.read_csv(RESULTS / "published_replay.csv")
    lines = ["| figure of the published experiment | published | replayed |", "|---|---|---|"]
    for row in table.itertuples():
        sd = f" ± {row.sd:.3f}" if pd.notna(row.sd) else ""
        lines.append(f"| {row.quantity} | {row.published:.4f} | {row.replayed:.4f}{sd} |")
    timing = json.loads((RESULTS / "timing.json").read_text())["seconds"]["published"]
    printed = evaluate.published_printed(pd.read_csv(RESULTS / "predictions.csv"), timing)
    for row in printed.itertuples(index=False):
        quantity, published, *seeds = row
        lines.append(f"| {quantity} | {published} | {'; '.join(seeds)} |")
    return "\n".join(lines)


def timing() -> str:
    """Seconds per training on the machine of the published run."""
    timing = json.loads((RESULTS / "timing.json").read_text())
    mean = {network: sum(s.values()) / len(s) for network, s in timing["seconds"].items()}
    return (
        f"On {timing['machine']['threads']} threads ({timing['machine']['precision']}): {mean['xray_cnn']:.0f} s per "
        f"seed for the study's CNN, {mean['published']:.0f} s for the published experiment (250 s on its author's "
        f"machine)."
    )


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
