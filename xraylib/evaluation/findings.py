"""Findings in words: one table -> one sentence in Markdown, whose numbers and direction follow from the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from xraylib.evaluation import metrics

SHOWS = "**What this shows.** "


def _value(row: pd.Series) -> str:
    return f"{row.value:.3f} ({row.lower:.3f} to {row.upper:.3f})"


def _mean_on_test(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of metrics.csv on test, mean over seeds, by network and statistic."""
    return table[(table.split == "test") & (table.seed == "mean")].set_index(["network", "statistic"])


def _compared(row: pd.Series, names: tuple[str, str, str]) -> str:
    """Words for an interval of a difference: below zero, above zero, or holding zero."""
    return names[0] if row.upper < 0 else names[1] if row.lower > 0 else names[2]


def films(index: pd.DataFrame) -> str:
    """index: index.csv."""
    share = 100 * index.groupby("split").label.mean()
    return (
        f"{SHOWS}Of the {len(index):,} films of {index.patient.nunique():,} children, {100 * index.label.mean():.0f} % "
        f"show pneumonia ({share['train']:.0f} % of train, {share['test']:.0f} % of test): calling every film "
        f"PNEUMONIA would be right for {share['test']:.0f} % of the test films."
    )


def patients(index: pd.DataFrame) -> str:
    """index: index.csv."""
    counts = index.groupby("patient").size()
    return (
        f"{SHOWS}{100 * (counts == 1).mean():.0f} % of the {len(counts):,} children have one film, one child has "
        f"{counts.max()}: films of a child must stay together, so we divide by child."
    )


def official_counts(table: pd.DataFrame) -> str:
    """table: official_counts.csv."""
    other = table[table.difference != 0]
    parts = ", ".join(f"{row.folder} {row.subtype} {row.difference:+,}" for row in other.itertuples())
    return f"{SHOWS}{table.here.sum():,} of the {table.official.sum():,} films of the archive are here. " + (
        f"What differs: {parts}." if parts else "No folder differs."
    )


def shared_patients(table: pd.DataFrame) -> str:
    """table: shared_patients.csv."""
    bare = table.set_index("splits").patients_bare_number
    most = f", {bare.max()} of them between {bare.idxmax().replace(', ', ' and ')}" if bare.any() else ""
    return (
        f"{SHOWS}By number and subtype, pairs of splits share {table.patients.sum() or 'no'} children; by the bare "
        f"number they seem to share {bare.sum() or 'none'}{most}."
    )


def copies(table: pd.DataFrame) -> str:
    """table: copies.csv."""
    leaks, wrong = (~table.same_split).sum(), (~table.same_class).sum()
    return (
        f"{SHOWS}{len(table)} pairs of films look alike, {table.identical.sum()} of them byte for byte. "
        f"{leaks or 'None'} of the pairs lie in two splits, where a copy is a leak; {wrong or 'none'} in two classes, "
        "where it is a wrong label."
    )


def shortcuts(table: pd.DataFrame) -> str:
    """table: shortcuts.csv."""
    best = table.loc[table.train.idxmax()]
    return (
        f"{SHOWS}The strongest, *{best.property}*, tells the class at AUROC {best.train:.3f} on children of train held "
        f"out in turn, and at {best.test:.3f} on test. A high figure proves nothing about lungs."
    )


def shift(table: pd.DataFrame) -> str:
    """table: shift.csv."""
    aurocs = table[table.statistic.str.contains("AUROC")].set_index("label").test
    parts = ", ".join(f"{label} {value:.3f}" for label, value in aurocs.items())
    return f"{SHOWS}8 x 8 pixels tell a test film from a train film of the same class at AUROC {parts} (0.5: alike)."


def sizes(index: pd.DataFrame) -> str:
    """index: index.csv."""
    by = index.groupby("label")[["width", "height"]].median()
    if index.width.nunique() == index.height.nunique() == 1:
        return f"{SHOWS}Here every film has {by.width[0]:.0f} x {by.height[0]:.0f} pixels: no size to learn from."
    normal, ill = (f"{by.width[label]:,.0f} x {by.height[label]:,.0f}" for label in (0, 1))
    word = "differ: the size tells the class" if (by.loc[0] / by.loc[1] - 1).abs().max() > 0.1 else "are much the same"
    return f"{SHOWS}Medians of NORMAL films, {normal} pixels, and of PNEUMONIA films, {ill}, {word}."


def framing_film(table: pd.DataFrame, source: str) -> str:
    """table: framing_film.csv; source: who found the lungs."""
    (box, height, aspect) = table.itertuples()
    return (
        f"{SHOWS}By {source}, the {box.property} in the film tells the class at AUROC {box.train:.3f} on children of "
        f"train held out in turn and {box.test:.3f} on test (n = {box.films:,} films); its height alone at "
        f"{height.train:.3f} and {height.test:.3f}, its width / height at {aspect.train:.3f} and {aspect.test:.3f}."
    )


def framing(table: pd.DataFrame) -> str:
    """table: framing.csv."""
    by = table.set_index("property")
    film, frame = by.loc["lungs' box in the film"], by.loc["lungs' box in the frame"]
    some, most = film.train > 0.6, frame.train - 0.5 < (film.train - 0.5) / 2
    word = "takes most of the shortcut away" if most else "leaves most of the shortcut"
    return (
        f"{SHOWS}Where the lungs lie in the film tells the class at AUROC {film.train:.3f} on train and "
        f"{film.test:.3f} on test; where they lie in the frame, at {frame.train:.3f} and {frame.test:.3f}. "
        + (f"The crop {word}." if some else "There is little that the crop could take away.")
    )


def locator(table: pd.DataFrame) -> str:
    """table: lungs.csv."""
    test = table[table.split == "test"].set_index("class")
    parts = ", ".join(f"{name} {row.dice:.3f} (n = {row.films})" for name, row in test.iterrows())
    return f"{SHOWS}Dice on test: {parts}. The box of the lungs overlaps people's by {test.iou.min():.2f} or more."


def ablation(table: pd.DataFrame) -> str:
    """table: ablation.csv."""
    mean = table.groupby(["variant", "split"], sort=False)[["auroc", "accuracy"]].mean()
    first, last = table.variant.iloc[0], table.variant.iloc[-1]
    tune, test = (f"{mean.auroc[first, split]:.3f} to {mean.auroc[last, split]:.3f}" for split in ("tune", "test"))
    return (
        f"{SHOWS}From *{first}* to *{last}*, AUROC goes from {tune} on tune and from {test} on test; accuracy on test "
        f"from {mean.accuracy[first, 'test']:.3f} to {mean.accuracy[last, 'test']:.3f}. A choice by tune alone would "
        "have kept " + ("the whole film." if mean.auroc[first, "tune"] > mean.auroc[last, "tune"] else "the crop.")
    )


def training(history: pd.DataFrame) -> str:
    """history: history.csv."""
    own = history[history.network == metrics.STUDY]
    ends = own[own.epoch == own.epoch.max()]
    train, tune = (f"{ends[name].mean():.3f} ± {ends[name].std():.3f}" for name in ("accuracy", "tune_accuracy"))
    return (
        f"{SHOWS}After {own.epoch.max()} epochs accuracy at 0.5 is {train} on the augmented frames of train and "
        f"{tune} on tune ({len(ends)} seeds), where AUROC is {ends.tune_auroc.mean():.3f}. The published curve has one "
        "point, measured on the films that it learned from."
    )


def headline(table: pd.DataFrame) -> str:
    """table: metrics.csv."""
    test = _mean_on_test(table)
    own, published = test.loc[metrics.STUDY], test.loc[metrics.PUBLISHED]
    return (
        f"{SHOWS}On {own.n_films.iloc[0]:.0f} test films of {own.n_children.iloc[0]:.0f} children, this study's "
        f"network has AUROC {_value(own.loc['auroc'])} and accuracy {_value(own.loc['accuracy'])}; the published one "
        f"{_value(published.loc['auroc'])} and {_value(published.loc['accuracy'])}. Of 100 films with pneumonia it "
        f"finds {100 * own.loc['sensitivity'].value:.0f}; of 100 normal films it calls "
        f"{100 - 100 * own.loc['specificity'].value:.0f} PNEUMONIA."
    )


def parts(table: pd.DataFrame) -> str:
    """table: parts.csv."""
    own = table[(table.network == metrics.STUDY) & (table.statistic == "auroc")].set_index(["unit", "part"])
    film, child = own.loc["film", "all"], own.loc["child", "all"]
    text = (
        f"{SHOWS}AUROC is {_value(film)} per film (n = {film.n_films}) and {_value(child)} per child "
        f"(n = {child.n_children})."
    )
    if ("film", "unseen") not in own.index:
        return text
    earlier, unseen = own.loc["film", "earlier"], own.loc["film", "unseen"]
    word = "clearly lower" if unseen.upper < earlier.lower else "not clearly lower"
    return (
        f"{text} On the {unseen.n_films} films that were kept apart it is {_value(unseen)}, {word} than on the "
        f"{earlier.n_films} that earlier versions were scored on, {_value(earlier)}."
    )


def confusion(table: pd.DataFrame) -> str:
    """table: metrics.csv."""
    test = _mean_on_test(table)
    parts = []
    for network, name in ((metrics.STUDY, "this study's network"), (metrics.PUBLISHED, "the published one")):
        missed, alarms = (100 - 100 * test.value[network, name] for name in ("sensitivity", "specificity"))
        parts.append(f"{name} {missed:.0f} and {alarms:.0f}")
    return (
        f"{SHOWS}Wrong decisions in 100 films with pneumonia and in 100 normal ones: {', '.join(parts)} "
        f"(n = {test.n_films.iloc[0]} test films)."
    )


def curves(table: pd.DataFrame) -> str:
    """table: metrics.csv."""
    test = _mean_on_test(table)
    parts = []
    for statistic, name in {"auroc": "AUROC", "average_precision": "average precision"}.items():
        own, published = (test.loc[(network, statistic)] for network in (metrics.STUDY, metrics.PUBLISHED))
        word = "higher than" if own.lower > published.upper else "not clearly higher than"
        parts.append(f"{name} is {_value(own)}, {word} the published network's {_value(published)}")
    return f"{SHOWS}On {own.n_films} test films, {'; '.join(parts)}."


def differences(table: pd.DataFrame) -> str:
    """table: differences.csv."""
    parts = []
    for thresholds, part in table[table.statistic == "accuracy"].groupby("thresholds", sort=False):
        row = part.iloc[0].rename({"difference": "value"})
        word = _compared(row, ("lower", "higher", "not clearly different"))
        parts.append(f"{thresholds}: {word}, by {_value(row)}")
    return f"{SHOWS}Accuracy beside the published network's, on the same films: {'; '.join(parts)}."


def tune_and_test(table: pd.DataFrame) -> str:
    """table: metrics.csv."""
    by = table[(table.network == metrics.STUDY) & (table.seed == "mean")].set_index(["split", "statistic"]).value
    parts = [f"{name} {by['tune', name]:.3f} and {by['test', name]:.3f}" for name in ("sensitivity", "specificity")]
    return f"{SHOWS}At the threshold of tune, on tune and on test: {'; '.join(parts)}."


def published_comparison(table: pd.DataFrame) -> str:
    """table: published_replay.csv."""
    by = table.set_index("quantity")
    val, train = by[by.index.str.contains("val_accuracy")].iloc[0], by.loc["accuracy, train folder"]
    far = ((table.replayed - table.published).abs() > 2 * table.sd).sum()
    return (
        f"{SHOWS}The published val_accuracy of {val.published:.4f} is {val.replayed:.4f} ± {val.sd:.4f} when replayed "
        f"({val.seeds:.0f} seeds), accuracy on the train folder {train.published:.4f} and {train.replayed:.4f} ± "
        f"{train.sd:.4f}. Of the {len(table)} quantities, {far or 'none'} lie further than two SD from the replay. "
        "None is measured on test."
    )


def published_seen(table: pd.DataFrame) -> str:
    """table: published_seen.csv."""
    by = table.set_index("films")
    seen, others, test = (by.loc[name] for name in ("seen in training", "train folder, not seen", "test folder"))
    memory = "did not memorise" if seen.accuracy - others.accuracy < 0.02 else "does better on what it saw"
    alike = "look different" if test.specificity < others.specificity - 0.05 else "look like the others"
    return (
        f"{SHOWS}Accuracy is {seen.accuracy:.3f} on the films that it learned from and {others.accuracy:.3f} on the "
        f"others of the same folder: it {memory}. On test it is {test.accuracy:.3f}, and specificity "
        f"{test.specificity:.3f} instead of {others.specificity:.3f}: the normal films of test {alike}."
    )


def baselines(table: pd.DataFrame) -> str:
    """table: against_baselines.csv."""
    own = table[table.network == metrics.STUDY].set_index("statistic")
    other = table[~table.network.isin((metrics.STUDY, metrics.PUBLISHED)) & (table.statistic == "auroc")]
    best = other.loc[other.value.idxmax()]
    return (
        f"{SHOWS}The best baseline, *{best.network}*, has AUROC {best.value:.3f} on test, this study's network "
        f"{own.loc['auroc'].value:.3f}; the difference is {best.difference:.3f} ({best.difference_lower:.3f} to "
        f"{best.difference_upper:.3f})."
    )


def field(table: pd.DataFrame, others: pd.DataFrame) -> str:
    """table: metrics.csv; others: field.csv."""
    own = _mean_on_test(table).value[metrics.STUDY]
    fair = others[others.test_chose_threshold != "yes"]
    groups = {"without pretrained weights": fair[fair.pretrained == "no"], "of all": fair}
    parts = []
    for statistic, name in (("auroc", "AUROC"), ("accuracy", "Accuracy")):
        best = {key: part.loc[part[statistic].idxmax()] for key, part in groups.items()}
        rows = "; ".join(f"the best {key} is {row[statistic]:.3f} ({row.source})" for key, row in best.items())
        parts.append(f"{name} here is {own[statistic]:.3f}: {rows}")
    return f"{SHOWS}{'. '.join(parts)}. Rows whose threshold was chosen on test are not counted."


def val_predictions(table: pd.DataFrame) -> str:
    """table: val_predictions.csv."""
    called = table[f"{metrics.UNSCALED}_decision"] == 1
    own, published = ((table[f"{name}_decision"] == table.label).sum() for name in (metrics.STUDY, metrics.PUBLISHED))
    return (
        f"{SHOWS}From unscaled images, {called.sum()} of the {len(table)} films are called PNEUMONIA, "
        f"{(called & (table.label == 0)).sum()} of them normal. From scaled ones, the published network decides "
        f"{published} rightly, this study's {own} (one seed each)."
    )


def val(table: pd.DataFrame) -> str:
    """table: val_films.csv."""
    assessed = table[table.decision != "not assessed"]
    right, n = int((assessed.decision == assessed.path.str.split("/").str[1]).sum()), len(assessed)
    lower = binomtest(right, n).proportion_ci().low if n else 0.0
    return (
        f"{SHOWS}Of the {len(table)} films {n} are assessed, {right} of them rightly. That proves little: the true "
        f"accuracy may be as low as {100 * lower:.0f} % (95 % interval, Clopper-Pearson)."
    )


def sixteen(table: pd.DataFrame) -> str:
    """table: tables.sixteen."""
    best = table.iloc[0]
    return (
        f"{SHOWS}{best.right:.0f} right of {best.of:.0f} prove no more than a true accuracy of at least "
        f"{100 * best.lower:.0f} %."
    )


def refused(table: pd.DataFrame) -> str:
    """table: ood.csv."""
    share = 100 * table.groupby("wanted").not_assessed.agg(["min", "max"])
    as_is = 100 * table.set_index("kind").not_assessed["as it is"]
    refused = share["min"]["not assessed"]
    return (
        f"{SHOWS}{as_is:.1f} % of the test films are not assessed as they are, at most "
        f"{share['max']['assessed']:.1f} % when shifted, cropped, darkened or flattened; of what is no such "
        f"film, {'all' if refused == 100 else f'at least {refused:.1f} %'} is refused."
    )


def robustness(table: pd.DataFrame) -> str:
    """table: robustness.csv."""
    own = table[table.network == metrics.STUDY]
    clean = own[own.corruption == "none"].set_index("statistic").value
    other = own[own.statistic.isin(("sensitivity", "specificity")) & (own.corruption != "none")]
    loss = other.assign(loss=other.statistic.map(clean) - other.value)
    held = loss[loss.severity == 2].groupby("corruption").loss.max()
    worst = loss.loc[loss.loss.idxmax()]
    amount = "" if worst.corruption == "inverted" else f" ({worst.amount:g} {worst.unit})"
    return (
        f"{SHOWS}At middle severity, sensitivity and specificity stay within 0.05 of the clean films' under "
        f"{', '.join(held[held <= 0.05].index) or 'no corruption'}. Worst is "
        f"{worst.corruption}{amount}: {worst.statistic} {worst.value:.3f} instead of {clean[worst.statistic]:.3f}."
    )


def subgroups(table: pd.DataFrame) -> str:
    """table: subgroups.csv."""
    low, high = (table.loc[getattr(table.value, find)()] for find in ("idxmin", "idxmax"))
    ends = [f"{row.part} ({row.statistic} {_value(row)}, n = {row.n_films})" for row in (low, high)]
    return f"{SHOWS}Lowest: {ends[0]}. Highest: {ends[1]}. Where intervals overlap, a difference may be chance."


def sensitivity_analyses(table: pd.DataFrame) -> str:
    """table: sensitivity_analyses.csv."""
    parts = []
    for statistic, name in (("auroc", "AUROC"), ("accuracy", "accuracy")):
        rows = table[table.statistic == statistic].sort_values("value", kind="stable")
        low, high = (f"{row.value:.3f} ({row.part}, n = {row.n_films})" for _, row in rows.iloc[[0, -1]].iterrows())
        same = rows.value.iloc[0] == rows.value.iloc[-1]
        parts.append(f"{name} is the same in all, {low}" if same else f"{name} goes from {low} to {high}")
    return f"{SHOWS}Over these analyses, {'; '.join(parts)}."


def calibration(table: pd.DataFrame) -> str:
    """table: metrics.csv."""
    ece = _mean_on_test(table).xs("expected_calibration_error", level="statistic")
    parts = [f"{name} {_value(row)}" for name, row in ece.iterrows()]
    return f"{SHOWS}Mean gap between probability and frequency on test: {', '.join(parts)}."


def decision_curve(test: pd.DataFrame) -> str:
    """test: predictions on test, as for plots.decision_curve; thresholds from 2 % to 60 %, as in the figure."""
    parts, thresholds = [], np.linspace(0.02, 0.6, 59)
    for network, rows in test.groupby("network", sort=False):
        each = [metrics.net_benefit(part.label, part.probability, thresholds) for _, part in rows.groupby("seed")]
        benefit = np.mean([one.network for one in each], axis=0)
        parts.append(f"{network} at {(benefit > np.maximum(each[0].treat_all, 0)).sum()}")
    return (
        f"{SHOWS}Of {len(thresholds)} threshold probabilities between 2 % and 60 %, these networks do more good than "
        f"treating all and than treating none: {', '.join(parts)} (n = {test.path.nunique()} films)."
    )


def worst_errors(table: pd.DataFrame) -> str:
    """table: worst_errors.csv."""
    if table.empty:
        return f"{SHOWS}No seed decides a test film wrongly."
    seeds = table.seeds_wrong.max()
    counts = [f"{(part.seeds_wrong == seeds).sum()} of {len(part)} {name}s" for name, part in table.groupby("error")]
    worst = table.loc[(table.probability - (table.error == "false negative")).abs().idxmax()]
    return (
        f"{SHOWS}Of those listed, {' and '.join(counts)} are wrong with {seeds} of the seeds. "
        f"Furthest off is a {worst.error} with a mean probability of {worst.probability:.3f}."
    )


def coverage(table: pd.DataFrame) -> str:
    """table: risk_coverage.csv."""
    own = table[table.network == metrics.STUDY].set_index("coverage").accuracy
    return (
        f"{SHOWS}Leaving a fifth of the films to a human reader takes accuracy on the others from {own[1.0]:.3f} to "
        f"{own[0.8]:.3f}."
    )


def hidden(table: pd.DataFrame) -> str:
    """table: hidden_regions.csv."""
    rows = table[table.network == metrics.STUDY].set_index("hidden").rename(columns={"auroc": "value"})
    lungs, rest = rows.loc["lungs"], rows.loc["all but the lungs"]
    chance = lungs.lower <= 0.5 <= lungs.upper or lungs.upper < 0.5
    return (
        f"{SHOWS}Without the lungs the network is {'at chance' if chance else 'above chance'}: AUROC {_value(lungs)}. "
        f"With the lungs alone it is {_value(rest)} (n = {lungs.n_films} films)."
    )


def pointing(table: pd.DataFrame) -> str:
    """table: pointing_game.csv."""
    by = table.set_index("method").hits
    word = "more often than" if by["Grad-CAM"] > by["centre prior"] else "no more often than"
    return (
        f"{SHOWS}Grad-CAM peaks in the lesion in {100 * by['Grad-CAM']:.0f} % of films, {word} the centre of the film "
        f"({100 * by['centre prior']:.0f} %); occlusion in {100 * by['occlusion']:.0f} %."
    )


def sanity_check(table: pd.DataFrame) -> str:
    """table: sanity_check.csv."""
    highest = table[table.layers > 0].groupby("map", sort=False).correlation.max()
    parts = ", ".join(f"{name} {value:.2f}" for name, value in highest.items())
    word = "follow what was learned" if highest.max() < 0.5 else "partly show the film alone"
    return (
        f"{SHOWS}With weights randomised, the correlation with the trained map is at most: {parts} "
        f"(n = {table.n_films.iloc[0]} films). These maps {word}."
    )


def removal(areas: pd.DataFrame) -> str:
    """areas: removal_areas.csv; difference: the map's area minus the centre prior's."""
    names = ("does better than", "does worse than", "does no better than")  # deletion: the smaller area is the better
    parts = []
    for row in areas[areas.method != "centre prior"].itertuples():
        one = pd.Series({"lower": row.difference_lower, "upper": row.difference_upper})
        parts.append(f"{row.method} {_compared(one, names)} the centre of the film")
    return f"{SHOWS}By deletion: {'; '.join(parts)}."


def lung_share(table: pd.DataFrame) -> str:
    """table: lung_share.csv."""
    row = table[table.group == "all films"].iloc[0]
    word = "little more than" if 1 < row.ratio < 1.1 else "no more than" if row.ratio <= 1 else "more than"
    return f"{SHOWS}The lungs hold {row.ratio:.2f} times their share of the map: {word} a map that knows nothing."
