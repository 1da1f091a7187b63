"""Results -> the Markdown that README.md and the cards show; cog inserts it (make publish) and a test checks it."""

import json

import pandas as pd

from xraylib.config import REPOSITORY
from xraylib.evaluation import findings as found
from xraylib.evaluation import metrics, tables

RESULTS = REPOSITORY / "results"
OWN, PUBLISHED = "this study's network", "published experiment, on test"  # rows of comparison.csv
TITLES = {"n_films": "films", "auroc": "AUROC", "brier": "Brier score", "wanted": "should be", "peak_mb": "peak MB"}
SHOWN = "Mean ± SD over seeds (95 % interval over patients). Threshold: 0.5 for the published network, else from tune."


def read(name: str) -> pd.DataFrame:
    """A table of results/."""
    return pd.read_csv(RESULTS / f"{name}.csv", dtype={"seed": str} if name == "metrics" else None)


def markdown(table: pd.DataFrame, decimals: int = 3) -> str:
    """The table as Markdown: counts with commas, other numbers with so many decimals."""

    def text(value) -> str:
        if isinstance(value, str):
            return value
        return "" if pd.isna(value) else f"{value:,.{decimals}f}" if isinstance(value, float) else f"{value:,}"

    titles = [TITLES.get(name, name.replace("_", " ")) for name in table.columns]
    rows = [titles, ["---"] * len(titles), *table.map(text).to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def interval(row) -> str:
    """Value, SD and interval of a row, on two lines that break nowhere else."""
    text = tables.interval_text(row).replace(" (", "<br>(")
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def intervals(rows: pd.DataFrame, names: list[str], statistics=metrics.HEADLINE) -> str:
    """A table with a row for each value of `names` and a column for each statistic."""
    rows = rows.assign(text=[interval(row) for row in rows.itertuples()])
    table = rows.pivot_table("text", names, "statistic", aggfunc="first", sort=False)
    return markdown(table[list(statistics)].reset_index())


def value(row: pd.Series, name: str = "value") -> str:
    return f"{row[name]:.3f} ({row.lower:.3f}-{row.upper:.3f})"


def difference(thresholds: str) -> str:
    """Accuracy of the study's network less that of the published one on test."""
    row = read("differences").set_index(["thresholds", "statistic"]).loc[(thresholds, "accuracy")]
    return f"{row.difference:+.3f} ({row.lower:+.3f} to {row.upper:+.3f})"


def _timing() -> tuple[dict, pd.Series]:
    """The machine of the committed run, and mean seconds per training of each network there."""
    timing = json.loads((RESULTS / "timing.json").read_text())
    return timing["machine"], pd.DataFrame(timing["seconds"]).mean()


def results() -> str:
    """The one result table: the published experiment, baselines, this study and the field, each with its films."""
    rows = read("comparison")
    linked = zip(rows.row, rows.source.fillna(""), rows.link, strict=True)
    rows["network"] = [row.replace(source, f"[{source}]({link})", 1) if source else row for row, source, link in linked]
    rows["measured on"] = rows.measured_on + rows.n_films.map(",<br>n = {:,.0f}".format)
    return (
        f"{intervals(rows, ['network', 'measured on'])}\n\n{SHOWN} The field's figures are its authors'; [field.csv]"
        "(field.csv) says whose weights were pretrained, who used extra labels (here: lung masks) and who chose the "
        "threshold on test. Claims on other splits do not compare and are left out."
    )


def short_results() -> str:
    """The published network, 8 x 8 pixels and this study on test, the study's network per child too."""
    rows = read("comparison").rename(columns={"row": "network"})
    rows = rows[rows.network.isin([PUBLISHED, tables.BASELINES["thumbnail"], *tables.STUDY_NETWORKS.values()])]
    child = read("parts").query("network == 'xray_cnn' and unit == 'child' and part == 'all'")
    films, children = child[["n_films", "n_children"]].iloc[0]
    rate = rows[rows.network == OWN].set_index("statistic").value
    table = intervals(pd.concat([rows, child.assign(network=f"{OWN}, per child")]), ["network"])
    return (
        f"{table}\n\nTest, n = {films} films of {children} children. {SHOWN} Per child: "
        "mean logit over films. With both thresholds from tune, accuracy differs from the published network's by "
        f"{difference('both on tune')}.\n\nIn plain words: of 100 test films with pneumonia it finds "
        f"{100 * rate.sensitivity:.0f}; of 100 healthy ones it calls {100 * (1 - rate.specificity):.0f} PNEUMONIA."
    )


def card() -> str:
    """Headline and calibration of the published network, the study's and its ensemble on test."""
    rows = read("metrics").query("split == 'test' and seed in ('mean', 'ensemble')")
    rows = rows.assign(network=rows.network.where(rows.seed == "mean", "its ensemble").replace("xray_cnn", OWN))
    table = intervals(rows, ["network"], [*metrics.HEADLINE, "brier", "expected_calibration_error"])
    return f"{table}\n\nTest, n = {rows.n_films.iloc[0]} films of {rows.n_children.iloc[0]} children. {SHOWN}"


def ablation() -> str:
    """Each variant on tune and on test: mean and SD over seeds."""
    rows = read("ablation").melt(["variant", "split", "seed"], ["auroc", "accuracy", "specificity"], "statistic")
    rows = rows.groupby(["variant", "split", "statistic"], sort=False).value.agg(value="mean", sd="std").reset_index()
    return intervals(rows.assign(lower=float("nan"), upper=float("nan")), ["variant", "split"], rows.statistic.unique())


def heldout() -> str:
    """Each held-out measure of each variant: mean and SD over seeds, interval over patients."""
    rows = read("heldout").query("not variant.str.contains(' - ')").rename(columns={"variant": "statistic"})
    n = rows.n_normal.map("{:,}".format) + " + " + rows.n_pneumonia.map("{:,}".format)
    return intervals(
        rows.assign(**{"normal + pneumonia": n}), ["measure", "normal + pneumonia", "seeds"], rows.statistic.unique()
    )


def replay() -> str:
    """The published figures beside the replayed ones, and what was printed."""
    printed = tables.published_printed(metrics.check(read("predictions")))
    return f"{markdown(read('published_replay'), 4)}\n\n{markdown(printed)}"


def counts() -> str:
    """Films and patients by split and subtype."""
    table = read("index").groupby(["split", "subtype"]).agg(films=("path", "size"), patients=("patient", "nunique"))
    return markdown(table.loc[["train", "tune", "val", "test"]].reset_index())


def claim() -> str:
    """The study in two sentences: what the published experiment measured, and what this study's network reaches."""
    rows = read("comparison").query("statistic == 'accuracy'").set_index("row")
    printed, theirs, own = (rows.loc[name] for name in ("published experiment, as published", PUBLISHED, OWN))
    seconds = _timing()[1].xray_cnn
    return (
        f"The published experiment reports an accuracy of {printed.value:.3f}, measured on the films of its training "
        f"folder; on {theirs.n_films:.0f} test films of {theirs.n_children:.0f} other children it is {value(theirs)}. "
        f"On these, this study's network, trained in {seconds:.0f} seconds on two CPU cores, has an accuracy of "
        f"{value(own)}, a difference of {difference('published at 0.5')} (brackets: 95 % interval over patients)."
    )


def framing() -> str:
    """What the position of the lungs tells, and what is left when they are hidden."""
    film, frame = read("framing").set_index("property").train[["lungs' box in the film", "lungs' box in the frame"]]
    hidden = read("hidden_regions").query("network == 'xray_cnn'").set_index("hidden")
    return (
        f"The position and size of the lungs in the film alone tell the class at AUROC {film:.3f} (children of "
        f"train held out in turn); in the frame, at {frame:.3f}. With the lungs of the test films hidden, AUROC is "
        f"{value(hidden.loc['lungs'], 'auroc')}, where 0.5 is chance; with all but the lungs hidden, "
        f"{value(hidden.loc['all but the lungs'], 'auroc')}."
    )


def station() -> str:
    """Specificity by the marker of the X-ray station."""
    rows = read("subgroups").set_index("part")
    large, small = (rows.loc[f"NORMAL, {marker}"] for marker in ("large R", "small bold R"))
    return (
        f"On the {large.n_films} normal test films with a large R, which in train stands on films with pneumonia, "
        f"specificity is {value(large)}; on the {small.n_films} with a small bold R, {value(small)}."
    )


def elsewhere() -> str:
    """The released networks on films of another hospital, mostly adults."""
    row = read("nih_adults").set_index("statistic").loc["auroc"]
    return (
        f"On {row.films:,.0f} films of {row.patients:,.0f} patients of another hospital, mostly adults (NIH "
        f"ChestX-ray), its AUROC is {value(row, 'mean')}: near chance."
    )


def timing() -> str:
    """Seconds per training on the machine of the committed run."""
    machine, seconds = _timing()
    table = seconds.rename_axis("network").rename("seconds").reset_index()
    return markdown(table.assign(threads=machine["threads"], precision=machine["precision"]), 0)


def answer(notebook: str) -> str:
    """The findings of the committed run that answer a notebook's question ("01_explore", ...)."""
    answers = {
        "01_explore": lambda: [found.framing_film(read("framing_film"))],
        "02_train": lambda: [found.framing(read("framing")), found.ablation(read("ablation"))],
        "03_evaluate": lambda: [found.operating_points(read("metrics"))],
        "04_predict_val": lambda: [found.val_films(read("val_films"))],
        "05_robustness": lambda: [found.robustness(read("robustness"))],
        "06_explain": lambda: [found.hidden_regions(read("hidden_regions")), found.deletion(read("deletion_areas"))],
    }
    return " ".join(answers[notebook]())
