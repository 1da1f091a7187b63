"""Results -> the Markdown that README.md and the cards show; cog inserts it (make publish) and a test checks it."""

import json

import pandas as pd

from xraylib.config import REPOSITORY
from xraylib.evaluation import findings, metrics, tables
from xraylib.evaluation.corruptions import described

RESULTS = REPOSITORY / "results"
EXPERIMENT = "https://github.com/doguilmak/Classify-X-Ray-Images-with-Convolutional-Neural-Network"
GROUPS = {  # parts of subgroups.csv, for README
    "NORMAL, 0171-0275": "normal films of pneumonia's stations (numbers 0171-0275)",
    "other normal films": "other normal films",
    "PNEUMONIA, large R": "pneumonia, large R",
    "PNEUMONIA, small bold R": "pneumonia, small bold R",
    "virus": "pneumonia, viral",
    "within small bold R": "both classes with a small bold R",
    "all films": "all",
}
OWN, PUBLISHED = "this study's network", "published experiment, on test"  # rows of comparison.csv
TITLES = {"n_films": "films", "auroc": "AUROC", "brier": "Brier score", "wanted": "should be", "peak_mb": "peak MB"}
SHOWN = (
    "Mean ± SD over seeds (95 % interval over patients and seeds). "
    "Threshold: 0.5 for the published network, else from tune."
)


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


def _timing() -> tuple[dict, pd.DataFrame]:
    """The machine of the committed run, and the seconds of each training there: a row a seed, a column a network."""
    timing = json.loads((RESULTS / "timing.json").read_text())
    return timing["machine"], pd.DataFrame(timing["seconds"])


def results() -> str:
    """The one result table: the published experiment, baselines, this study and the field, each with its films."""
    rows = read("comparison")
    linked = zip(rows.row, rows.source.fillna(""), rows.link, strict=True)
    rows["network"] = [row.replace(source, f"[{source}]({link})", 1) if source else row for row, source, link in linked]
    rows["measured on"] = rows.measured_on + rows.n_films.map(",<br>n = {:,.0f}".format)
    return (
        f"{intervals(rows, ['network', 'measured on'])}\n\n{SHOWN} The field's figures are its authors'; [field.csv]"
        "(field.csv) says whose weights were pretrained, who used extra labels (here: lung masks) and who chose the "
        "threshold on test. Claims on other splits do not compare and are left out; so is "
        "[MedViTV2](https://github.com/Omid-Nejati/MedViTV2), which keeps the epoch with the best AUC on test."
    )


def groups() -> str:
    """Groups of test films, with and without mixing films across stations: what was gained, and what was paid."""
    keys = ["part", "n_films", "statistic"]
    released, unmixed = (
        read(name).assign(text=lambda rows: [interval(row) for row in rows.itertuples()]).set_index(keys).text
        for name in ("subgroups", "subgroups_unmixed")
    )
    table = pd.DataFrame({"without mixing": unmixed, OWN: released}).reset_index().set_index("part").loc[list(GROUPS)]
    table.index = table.index.map(GROUPS).rename("test films")
    return markdown(table.rename(columns={"n_films": "n"}).replace({"statistic": TITLES}).reset_index())


def short_results() -> str:
    """The networks and a baseline on all of test, the study's network without mixing and per child too."""
    rows = read("comparison").rename(columns={"row": "network"})
    rows = rows[rows.network.isin([PUBLISHED, tables.BASELINES["thumbnail"], *tables.STUDY_NETWORKS.values()])]
    films, children = rows[["n_films", "n_children"]].iloc[0].astype(int)
    child = read("sensitivity_analyses").query("part == 'per child'").assign(network=f"{OWN}, per child")
    unmixed = _variants(list(metrics.HEADLINE)).query("split == 'test' and variant == @tables.UNMIXED")
    unmixed = unmixed.assign(network=f"{OWN}, without mixing")
    return (
        f"{intervals(pd.concat([rows, unmixed, child]), ['network'])}\n\nTest, n = {films} films of {children} "
        f"children. {SHOWN} Per child: mean logit over films. "
        "With both thresholds from tune, accuracy differs from the published network's by "
        f"{difference('both on tune')}.\n\n{findings.of_100_films(read('metrics'))}"
    )


def card() -> str:
    """Headline and calibration of the published network, the study's and its ensemble on test."""
    rows = read("metrics").query("split == 'test' and seed in ('mean', 'ensemble')")
    rows = rows.assign(network=rows.network.where(rows.seed == "mean", "its ensemble").replace("xray_cnn", OWN))
    table = intervals(rows, ["network"], [*metrics.HEADLINE, "brier", "expected_calibration_error"])
    return f"{table}\n\nTest, n = {rows.n_films.iloc[0]} films of {rows.n_children.iloc[0]} children. {SHOWN}"


def _variants(statistics: list[str]) -> pd.DataFrame:
    """Each variant of the ablation on tune and on test: mean and SD over seeds, no intervals."""
    rows = read("ablation").melt(["variant", "split", "seed"], statistics, "statistic")
    rows = rows.groupby(["variant", "split", "statistic"], sort=False).value.agg(value="mean", sd="std").reset_index()
    return rows.assign(lower=float("nan"), upper=float("nan"))


def ablation() -> str:
    """Each variant on tune and on test: mean and SD over seeds."""
    statistics = ["auroc", "accuracy", "specificity"]
    return intervals(_variants(statistics), ["variant", "split"], statistics)


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
    """The study in short: what the published experiment measured, what this study's network reaches and cost."""
    rows = read("comparison").query("statistic == 'accuracy'").set_index("row")
    printed, theirs, own = (rows.loc[name] for name in ("published experiment, as published", PUBLISHED, OWN))
    return (
        f"The [published experiment]({EXPERIMENT}) reports an accuracy of {printed.value:.3f}, measured on its "
        f"training folder; on the {theirs.n_films:.0f} test films (by file name, of {theirs.n_children:.0f} other "
        f"children) it is {value(theirs)}. This study's network has {value(own)} there, a difference of "
        f"{difference('published at 0.5')} (brackets: 95 % interval). {cost()}"
    )


def cost() -> str:
    """What the trainings of the study's network cost in the committed run."""
    machine, seconds = _timing()
    own = seconds.xray_cnn
    return (
        f"Its {len(own)} seeds took {own.sum():.0f} seconds to train on {machine['threads']} CPU cores; its locator of "
        "the lungs, which is not timed, comes on top."
    )


def framing() -> str:
    """What the position of the lungs tells on train and on test, and what is left when they are hidden."""
    film, frame = (read("framing").set_index("property").loc[f"lungs' box in the {name}"] for name in ("film", "frame"))
    hidden = read("hidden_regions").query("network == 'xray_cnn'").set_index("hidden")
    turned = " (the wrong way round)" if hidden.upper["lungs"] < 0.5 else ""
    return (
        f"The lungs' position and size tell the class at AUROC {film.train:.3f} on train (children held out in turn) "
        f"and {film.test:.3f} on test; after the crop, at {frame.train:.3f} and {frame.test:.3f} (0.5 is chance). "
        f"With the lungs hidden, the network has {value(hidden.loc['lungs'], 'auroc')} on test{turned}; with the lungs "
        f"alone, {value(hidden.loc['all but the lungs'], 'auroc')}."
    )


def cure() -> str:
    """What mixing films across stations is worth where the station is new, and what it costs on tune."""
    rows = read("heldout").set_index(["measure", "variant"])
    parts = []
    for measure in ("other station", "tune"):
        plain, mixed = (rows.value[measure, name] for name in ("unmixed", "mixed 0.3"))
        parts.append(f"from {plain:.3f} to {mixed:.3f}")
    return (
        f"On {rows.n_normal['other station', 'unmixed']} normal films whose stations were held out of training, "
        f"mixing takes AUROC {parts[0]}; on tune, which shares the stations of train, {parts[1]}."
    )


def bands() -> str:
    """How many test films of each band of scores had pneumonia."""
    rows = json.loads((REPOSITORY / "models" / "decision.json").read_text())["bands"]["test"]
    counts = {f"{low:g} to {high:g}": f"{ill} of {films}" for low, high, films, ill in rows}
    return markdown(pd.DataFrame([{"score": "test films with pneumonia"} | counts]))


def printed() -> str:
    """What Python's three lines print of the val folder, at its beginning, as a block of code."""
    rows = read("val_films").head(3)
    lines = [f"data/chest_xray/{row.path} {row.decision} {row.score:.2f}" for row in rows.itertuples()]
    return "\n".join(["```text", *lines, "```"])


def missing() -> str:
    """Which official films this run lacked."""
    lacking = read("official_counts").query("difference < 0")
    parts = [f"{-row.difference} of {row.official:,} {row.subtype} in {row.folder}" for row in lacking.itertuples()]
    return f"Official films that this run lacked: {', '.join(parts) or 'none'}."


def station() -> str:
    """The group with pneumonia in which most is missed, and the val folder."""
    worst, every = tables.worst_group(read("subgroups"), "sensitivity"), read("metrics")
    every = every.query("network == 'xray_cnn' and split == 'test' and seed == 'mean'").set_index("statistic")
    val = read("val_folder").query("seed == -1").set_index("class")
    return (
        f"Of the {worst.n_films} test films of its worst group with pneumonia ({worst.part}), the network finds "
        f"{value(worst)}, of all {value(every.loc['sensitivity'])}. Of the val folder, the networks together call "
        f"{val.right.NORMAL} of {val.films.NORMAL} normal films NORMAL and {val.right.PNEUMONIA} of "
        f"{val.films.PNEUMONIA} others PNEUMONIA."
    )


def elsewhere() -> str:
    """The released networks on films of another hospital that radiologists read."""
    rows = read("elsewhere").query("data == 'rsna_adults'").set_index(["films", "score"])
    own = rows.xs("released networks", level="score")
    every, alone = own.loc["all"], rows.loc[("all", "predicted view alone"), "value"]
    n = every.n_negative + every.n_positive
    return (
        f"On {n:,} films of another hospital, mostly of adults and read by radiologists, AUROC is {value(every)}; but "
        f"there the view goes with the class and alone, predicted from thumbnails, reaches {alone:.3f}. Among films "
        f"predicted PA (standing) it is {value(own.loc['predicted PA'])}, among AP (mostly in bed) "
        f"{value(own.loc['predicted AP'])}. `make predict` does not assess {every.not_assessed:,} of them."
    )


def timing() -> str:
    """Seconds per training on the machine of the committed run."""
    machine, seconds = _timing()
    table = seconds.mean().rename_axis("network").rename("seconds").reset_index()
    return markdown(table.assign(threads=machine["threads"], precision=machine["precision"]), 0)


def answer(notebook: str) -> str:
    """The committed run's answer to a notebook's question ("01_explore", ...): one sentence."""
    answers = {"01_explore": _explored, "02_train": _trained, "03_evaluate": _evaluated}
    answers |= {"04_predict_val": _predicted, "05_robustness": _corrupted, "06_explain": _explained}
    return answers[notebook]()


def _explored() -> str:
    marker, box = read("shortcuts").set_index("property").train["side marker"], read("framing").train[0]
    return (
        f"How a film was framed (the box of the lungs) tells the class at AUROC {box:.3f} on train, and which X-ray "
        f"station took it, at {marker:.3f} (the side marker): neither is a sign of disease."
    )


def _trained() -> str:
    rows = read("heldout").set_index(["measure", "variant"]).value
    new, paid = (rows[measure, "mixed 0.3 - unmixed"] for measure in ("other station", "tune"))
    return (
        "The framing, which a crop to the lungs takes away, and the X-ray station: mixing films across stations adds "
        f"{new:.3f} to the AUROC on a station that training has not seen, {rows['other station', 'unmixed']:.3f} "
        f"without it, and costs {-paid:.3f} on tune."
    )


def _evaluated() -> str:
    rows = read("metrics").query("split == 'test' and seed == 'mean' and statistic == 'auroc'").set_index("network")
    worst = tables.worst_group(read("subgroups"))
    return (
        f"This study's network reaches AUROC {rows.value.xray_cnn:.3f} on test and the published one "
        f"{rows.value.published:.3f}, but in the worst group ({worst.part}) {worst.statistic} is {worst.value:.3f}."
    )


def _predicted() -> str:
    rows = read("val_folder").query("seed == -1").set_index("class")
    fits = "fits" if (rows.p >= 0.05).all() else "does not fit"
    return (
        f"Together the networks call {rows.right.NORMAL} of the {rows.films.NORMAL} normal films NORMAL and "
        f"{rows.right.PNEUMONIA} of the others PNEUMONIA, which {fits} their figures on test; so few tell no more."
    )


def _corrupted() -> str:
    rows = read("robustness").query("network == 'xray_cnn' and statistic == 'specificity'")
    clean, worst = rows.value[rows.corruption == "none"].iloc[0], rows.loc[rows.value.idxmin()]
    return (
        f"Not everywhere: specificity, {clean:.3f} on films as they are, falls to {worst.value:.3f} under "
        f"{described(worst)}, the worst of {rows.corruption.nunique() - 1} corruptions."
    )


def _explained() -> str:
    rows = read("hidden_regions").query("network == 'xray_cnn'").set_index("hidden")
    hidden, alone = rows.loc["lungs"], rows.auroc["all but the lungs"]
    turned = ", the wrong way round," if hidden.upper < 0.5 else ""
    return (
        f"With the lungs alone AUROC stays at {alone:.3f}, with them hidden it is {hidden.auroc:.3f}{turned} where 0.5 "
        "is chance: the network decides by the lungs, though few maps show it."
    )
