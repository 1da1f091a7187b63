"""Findings in words: one table -> one sentence in Markdown, whose numbers and direction follow from the table.

A function is named after its result; its argument `table` is that result, another argument is the table of its name.
"""

import numpy as np
import pandas as pd

from xraylib.evaluation import tables
from xraylib.evaluation.corruptions import described
from xraylib.evaluation.metrics import PUBLISHED, STUDY, net_benefit


def _value(row: pd.Series, name: str = "value") -> str:
    return f"{row[name]:.3f} ({row.lower:.3f} to {row.upper:.3f})"


def _on_test(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds on test, by network and statistic."""
    return metrics[(metrics.split == "test") & (metrics.seed == "mean")].set_index(["network", "statistic"])


def counts(index: pd.DataFrame) -> str:
    share = 100 * index.groupby("split").label.mean()
    return (
        f"Of the {len(index):,} films of {index.patient.nunique():,} children, {100 * index.label.mean():.0f} % "
        f"show pneumonia ({share['train']:.0f} % of train, {share['test']:.0f} % of test): calling every film "
        f"PNEUMONIA would be right for {share['test']:.0f} % of the test films."
    )


def patients(index: pd.DataFrame) -> str:
    counts = index.groupby("patient").size()
    return (
        f"{100 * (counts == 1).mean():.0f} % of the {len(counts):,} children have one film, one child has "
        f"{counts.max()}: films of a child must stay together, so we divide by child."
    )


def copies(table: pd.DataFrame) -> str:
    return (
        f"{len(table)} pairs of films look alike, {table.identical.sum()} of them byte for byte. "
        f"{(~table.same_split).sum() or 'None'} of the pairs lie in two splits, where a copy is a leak; "
        f"{(~table.same_class).sum() or 'none'} in two classes, where it is a wrong label."
    )


def stations(table: pd.DataFrame) -> str:
    place = table.path.str.split("/", expand=True)  # folder, class, name
    small = 100 * table.marker.eq("small bold R").groupby([place[0], place[1]]).mean()
    parts = [f"{small[f, 'NORMAL']:.0f} % and {small[f, 'PNEUMONIA']:.0f} % in {f}" for f in ("train", "test")]
    return (
        f"Of the normal films and of those with pneumonia, {' and '.join(parts)} show a small bold R: the marker is "
        "associated with the class, in train more than on test. A network that sees the station needs no lung."
    )


def shortcuts(table: pd.DataFrame) -> str:
    best = table.loc[table.train.idxmax()]
    return (
        f"The strongest, *{best.property}*, tells the class at AUROC {best.train:.3f} on children of train held "
        f"out in turn, and at {best.test:.3f} on test. A high figure proves nothing about lungs."
    )


def framing_film(table: pd.DataFrame) -> str:
    box, height, aspect = table.itertuples()
    return (
        f"The {box.property} in the film tells the class at AUROC {box.train:.3f} on children of "
        f"train held out in turn and {box.test:.3f} on test (n = {box.films:,} films); its height alone at "
        f"{height.train:.3f} and {height.test:.3f}, its width / height at {aspect.train:.3f} and {aspect.test:.3f}."
    )


def framing(table: pd.DataFrame) -> str:
    by = table.set_index("property")
    film, frame = by.loc["lungs' box in the film"], by.loc["lungs' box in the frame"]
    halved = frame.train - 0.5 < (film.train - 0.5) / 2
    crop = "takes most of the shortcut away" if halved else "leaves most of the shortcut"
    return (
        f"Where the lungs lie in the film tells the class at AUROC {film.train:.3f} on train and "
        f"{film.test:.3f} on test; where they lie in the frame, at {frame.train:.3f} and {frame.test:.3f}. "
        + (f"The crop {crop}." if film.train > 0.6 else "There is little that the crop could take away.")
    )


def lungs(table: pd.DataFrame) -> str:
    test = table[table.split == "test"]
    parts = ", ".join(f"{row['class']} {row.dice:.3f} (n = {row.films})" for _, row in test.iterrows())
    return f"Dice on test: {parts}. The box of the lungs overlaps people's by {test.iou.min():.2f} or more."


def ablation(table: pd.DataFrame) -> str:
    auroc = table.pivot_table("auroc", "variant", "split", sort=False)
    first, before, last = (auroc.loc[name] for name in auroc.index[[0, -2, -1]])
    return (
        f"From *{first.name}* to *{last.name}*, AUROC goes from {first.tune:.3f} to {last.tune:.3f} on tune and from "
        f"{first.test:.3f} to {last.test:.3f} on test; the last step alone takes it from {before.tune:.3f} to "
        f"{last.tune:.3f} and from {before.test:.3f} to {last.test:.3f}. A choice by tune alone would have kept "
        f"*{auroc.tune.idxmax()}*."
    )


def heldout(table: pd.DataFrame) -> str:
    by = table.set_index(["measure", "variant"])
    change = by.apply(lambda row: f"{row.value:+.3f} ({row.lower:+.3f} to {row.upper:+.3f})", axis=1)
    other, tune, score = change["other station"], change["tune"], by.value["score"]
    best = score[~score.index.str.contains(" - ")].idxmax()
    return (
        f"On the other station, held out, AUROC is {by.value['other station', 'unmixed']:.3f} unmixed; *mixed 0.3* "
        f"changes it by {other['mixed 0.3 - unmixed']} and tune by {tune['mixed 0.3 - unmixed']}; partners of the same "
        f"station (the control) change it by {other['control 0.3 - unmixed']}. The rule, the highest mean of the other "
        f"station and of tune balanced over stations, chooses *{best}* ({score[best]:.3f})."
    )


def learning_curves(history: pd.DataFrame) -> str:
    own = history[history.network == STUDY]
    ends = own[own.epoch == own.epoch.max()]
    train, tune = (f"{ends[name].mean():.3f} ± {ends[name].std():.3f}" for name in ("accuracy", "tune_accuracy"))
    return (
        f"After {own.epoch.max()} epochs accuracy at 0.5 is {train} on the augmented frames of train and "
        f"{tune} on tune ({len(ends)} seeds), where AUROC is {ends.tune_auroc.mean():.3f}. The published curve has one "
        "point, measured on the films that it learned from."
    )


def operating_points(metrics: pd.DataFrame) -> str:
    own, published = (_on_test(metrics).loc[network] for network in (STUDY, PUBLISHED))
    return (
        f"On {own.n_films.iloc[0]:.0f} test films of {own.n_children.iloc[0]:.0f} children, this study's "
        f"network has AUROC {_value(own.loc['auroc'])} and accuracy {_value(own.loc['accuracy'])}; the published one "
        f"{_value(published.loc['auroc'])} and {_value(published.loc['accuracy'])}. {of_100_films(metrics)}"
    )


def of_100_films(metrics: pd.DataFrame) -> str:
    """What `make predict`, which decides by the networks' mean logit, does with 100 films of each class."""
    value = metrics[(metrics.split == "test") & (metrics.seed == "ensemble")].set_index("statistic").value
    return (
        f"Of 100 films with pneumonia `make predict` finds {100 * value.sensitivity:.0f}; of 100 normal films it calls "
        f"{100 - 100 * value.specificity:.0f} PNEUMONIA."
    )


def confusion_test(metrics: pd.DataFrame) -> str:
    test = _on_test(metrics)
    wrong = 100 - 100 * test.value
    counts = [f"{wrong[name, 'sensitivity']:.0f} and {wrong[name, 'specificity']:.0f}" for name in (STUDY, PUBLISHED)]
    return (
        f"Wrong decisions in 100 films with pneumonia and in 100 normal ones: this study's network {counts[0]}, "
        f"the published one {counts[1]} (n = {test.n_films.iloc[0]} test films)."
    )


def roc(metrics: pd.DataFrame) -> str:
    test, parts = _on_test(metrics), []
    for statistic in ("auroc", "average_precision"):
        own, published = test.loc[(STUDY, statistic)], test.loc[(PUBLISHED, statistic)]
        word = "higher than" if own.lower > published.upper else "not clearly higher than"
        parts.append(f"is {_value(own)}, {word} the published network's {_value(published)}")
    return f"On {own.n_films} test films, AUROC {parts[0]}; average precision {parts[1]}."


def scores(metrics: pd.DataFrame) -> str:
    own = metrics[(metrics.network == STUDY) & (metrics.seed == "mean")].set_index(["statistic", "split"]).value
    parts = [f"{name} {own[name, 'tune']:.3f} and {own[name, 'test']:.3f}" for name in ("sensitivity", "specificity")]
    return f"At the threshold of tune, on tune and on test: {'; '.join(parts)}."


def published_replay(table: pd.DataFrame) -> str:
    by = table.set_index("quantity")
    val, train = by[by.index.str.contains("val_accuracy")].iloc[0], by.loc["accuracy, train folder"]
    far = ((by.replayed - by.published).abs() > 2 * by.sd).sum()
    return (
        f"The published val_accuracy of {val.published:.4f} is {val.replayed:.4f} ± {val.sd:.4f} when replayed "
        f"({val.seeds:.0f} seeds), accuracy on the train folder {train.published:.4f} and {train.replayed:.4f} ± "
        f"{train.sd:.4f}. Further than two SD from the replay: {far} of {len(by)} quantities. "
        "None is measured on test."
    )


def published_seen(table: pd.DataFrame) -> str:
    by = table.set_index("films")
    seen, others, test = (by.loc[name] for name in ("seen in training", "train folder, not seen", "test folder"))
    memory = "did not memorise" if seen.accuracy - others.accuracy < 0.02 else "does better on what it saw"
    alike = "look different" if test.specificity < others.specificity - 0.05 else "look like the others"
    return (
        f"Accuracy is {seen.accuracy:.3f} on the films that it learned from and {others.accuracy:.3f} on the "
        f"others of the same folder: it {memory}. On test it is {test.accuracy:.3f}, and specificity "
        f"{test.specificity:.3f} instead of {others.specificity:.3f}: the normal films of test {alike}."
    )


def against_baselines(table: pd.DataFrame) -> str:
    aurocs = table[table.statistic == "auroc"].set_index("network")
    best = aurocs.loc[aurocs.value.drop([STUDY, PUBLISHED]).idxmax()]
    return (
        f"The best baseline, *{best.name}*, has AUROC {best.value:.3f} on test, this study's network "
        f"{aurocs.value[STUDY]:.3f}; the difference is {best.difference:.3f} ({best.difference_lower:.3f} to "
        f"{best.difference_upper:.3f})."
    )


def comparison(metrics: pd.DataFrame, field: pd.DataFrame) -> str:
    if field.empty:
        return "Others report on films of patients: none of their figures stands beside those of phantoms."
    own, chosen, parts = _on_test(metrics).value[STUDY].round(3), field.test_chose_threshold.eq("yes"), []
    for statistic, name in (("auroc", "AUROC"), ("accuracy", "Accuracy")):
        alike = field[field.pretrained.eq("no") & ~chosen].dropna(subset=statistic)
        best, highest = (rows.loc[rows[statistic].idxmax()] for rows in (alike, field))
        above = field[statistic].gt(own[statistic]).sum()
        parts.append(
            f"{name} here is {own[statistic]:.3f}; the highest of {len(alike)} rows like it is {best[statistic]:.3f} "
            f"({best.source}); {above} of all {field[statistic].notna().sum()} are higher than here"
            f"{f', up to {highest[statistic]:.3f} ({highest.source})' if above else ''}. "
        )
    return f"{''.join(parts)}Like it: no pretrained weights, and the threshold is not known to come from test."


def val_films(table: pd.DataFrame) -> str:
    assessed = table[table.decision != "not assessed"]
    right = (assessed.decision == assessed.path.str.split("/").str[1]).sum()
    return f"Of the {len(table)} films {len(assessed)} are assessed, {right} of them rightly."


def val_folder(table: pd.DataFrame, stations: pd.DataFrame) -> str:
    parts = []
    for name in ("NORMAL", "PNEUMONIA"):
        rows = table[table["class"] == name].set_index("seed")
        own, seeds = rows.loc[-1], ", ".join(f"{right}" for right in rows.right.drop(-1))
        word = "so few are not explained by chance" if own.p < 0.05 else "the difference may be chance"
        right = f"{own.right} of {own.films} {name} films (each seed: {seeds})"
        parts.append(f"{right}, {_value(own)}; on test {own.test:.3f}: {word}")
    return f"The networks together decide rightly on {'. On '.join(parts)}. {val_station(stations)}"


def val_station(stations: pd.DataFrame) -> str:
    """What the normal films of the val folder have in common."""
    normal = stations[stations.path.str.contains("/NORMAL/")]
    val, large = normal.path.str.startswith("val/"), normal.marker == "large R"
    others = large[normal.ranges.isna() & ~val]
    names = ", ".join(sorted(normal.ranges[val].dropna().unique())) or "none"
    return (
        f"{normal.ranges[val].notna().sum()} of these {val.sum()} films have numbers in a range of pneumonia's "
        f"stations ({names}); a large R is on {large[val].sum()} of them, and on {others.sum()} of {len(others):,} "
        "normal films outside of such ranges."
    )


def ood(table: pd.DataFrame) -> str:
    share = 100 * table.groupby("wanted").not_assessed.agg(["min", "max"])
    as_is = 100 * table.set_index("kind").not_assessed["as it is"]
    refused = share["min"]["not assessed"]
    return (
        f"{as_is:.1f} % of the test films are not assessed as they are, at most "
        f"{share['max']['assessed']:.1f} % when shifted, cropped, darkened or flattened; of those that "
        f"should not be assessed, {'all' if refused == 100 else f'at least {refused:.1f} %'} are refused."
    )


def robustness(table: pd.DataFrame) -> str:
    own = table[(table.network == STUDY) & table.statistic.isin(("sensitivity", "specificity"))]
    clean = own[own.corruption == "none"].set_index("statistic").value
    loss = own[own.corruption != "none"].assign(loss=lambda rows: rows.statistic.map(clean) - rows.value)
    held = loss[loss.severity == 2].groupby("corruption").loss.max()
    worst = loss.sort_values("loss", ascending=False).drop_duplicates("corruption").query("loss > 0.1")
    falls = "; ".join(f"{described(row)}: {row.statistic} {row.value:.3f}" for row in worst.head(4).itertuples())
    return (
        f"At middle severity, sensitivity and specificity stay within 0.05 of the clean films' "
        f"({clean.sensitivity:.3f} and {clean.specificity:.3f}) under "
        f"{', '.join(held[held <= 0.05].index) or 'no corruption'}. Worst at their strongest: "
        f"{falls or 'none by more than 0.1'}."
    )


def subgroups(table: pd.DataFrame) -> str:
    low = [tables.worst_group(table, statistic) for statistic in ("specificity", "sensitivity")]
    parts = [f"{row.statistic} {_value(row)} ({row.part}, n = {row.n_films})" for row in low]
    text = f"Worst groups of {tables.LEAST} films or more: {' and '.join(parts)}."
    within = table[table.part.str.startswith("within ")]
    if len(within):
        every = table[table.part == "all films"].iloc[0]
        aurocs = " and ".join(f"{_value(row)} {row.part} (n = {row.n_films})" for _, row in within.iterrows())
        text += f" AUROC is {aurocs}, {_value(every)} over all."
    return text


def reliability(metrics: pd.DataFrame) -> str:
    rows = _on_test(metrics).xs("expected_calibration_error", level="statistic")
    parts = ", ".join(f"{name} {_value(row)}" for name, row in rows.iterrows())
    return f"Mean gap between probability and frequency on test: {parts}."


def decision_curve(test: pd.DataFrame) -> str:
    """test: predictions on test, as for plots.decision_curve; thresholds from 2 % to 60 %."""
    parts, thresholds = [], np.linspace(0.02, 0.6, 59)
    for network, rows in test.groupby("network", sort=False):
        each = [net_benefit(part.label, part.probability, thresholds) for _, part in rows.groupby("seed")]
        benefit = np.mean([one.network for one in each], axis=0)
        parts.append(f"{network} at {(benefit > np.maximum(each[0].treat_all, 0)).sum()}")
    return (
        f"Of {len(thresholds)} threshold probabilities between 2 % and 60 %, these networks do more good than "
        f"treating all and than treating none: {', '.join(parts)} (n = {test.path.nunique()} films)."
    )


def abstaining(table: pd.DataFrame) -> str:
    own = table[table.network == STUDY].set_index("share_decided").accuracy
    text = "Leaving a fifth of the films to a human reader takes accuracy on the others"
    return f"{text} from {own[1.0]:.3f} to {own[0.8]:.3f}."


def elsewhere(table: pd.DataFrame) -> str:
    rows = table.set_index(["data", "films", "score"])
    every, view = (rows.loc["rsna_adults", "all", score] for score in ("released networks", "predicted view alone"))
    within = [rows.loc["rsna_adults", f"predicted {name}", "released networks"] for name in ("PA", "AP")]
    program = rows.loc["nih_adults", "all", "released networks"]
    word = "lower" if max(row.value for row in within) < every.value else "not lower in both"
    return (
        f"Where radiologists read the films (n = {every.n_negative + every.n_positive:,}), AUROC is {_value(every)}; "
        f"the predicted view alone reaches {view.value:.3f}. Within a view it is {word}: {_value(within[0])} in PA, "
        f"{_value(within[1])} in AP. With labels read from reports by program it is {_value(program)}, which says "
        "little of the networks."
    )


def hidden_regions(table: pd.DataFrame) -> str:
    rows = table[table.network == STUDY].set_index("hidden")
    lungs, rest = rows.loc["lungs"], rows.loc["all but the lungs"]
    word = "at chance" if lungs.lower <= 0.5 else "above chance"
    if lungs.upper < 0.5:
        word = "below chance, so what is left tells the class the wrong way round"
    return (
        f"Without the lungs the mean network is {word}: AUROC "
        f"{_value(lungs, 'auroc')}. With the lungs alone it is {_value(rest, 'auroc')} (n = {lungs.n_films} films)."
    )


def pointing_game(table: pd.DataFrame) -> str:
    hits = 100 * table.set_index("method").hits
    word = "more often than" if hits["Grad-CAM"] > hits["centre prior"] else "no more often than"
    return (
        f"Grad-CAM peaks in the lesion in {hits['Grad-CAM']:.0f} % of films, {word} the centre of the film "
        f"({hits['centre prior']:.0f} %); occlusion in {hits['occlusion']:.0f} %."
    )


def sanity_check(table: pd.DataFrame) -> str:
    randomised = table[table.layers > 0].set_index("map").correlation
    furthest = randomised.groupby(level=0, sort=False).agg(lambda values: max(values, key=abs))
    parts = ", ".join(f"{name} {value:.2f}" for name, value in furthest.items())
    film = furthest[furthest.abs() >= 0.5].index
    words = f"{' and '.join(film)} partly shows the film alone, or its negative" if len(film) else "The maps change"
    return (
        f"With weights randomised, the correlation with the trained map that is furthest from 0 is: {parts} "
        f"(n = {table.n_films.iloc[0]} films). {words}."
    )


def deletion(deletion_areas: pd.DataFrame) -> str:
    maps, parts = deletion_areas[deletion_areas.method != "centre prior"], []
    for filling, rows in maps.groupby("filling", sort=False):
        better = ", ".join(rows.method[rows.difference_upper < 0]) or "no map"
        worse = ", ".join(rows.method[rows.difference_lower > 0]) or "no map"
        parts.append(f"Deletion with {filling}: better than the centre of the film: {better}; worse: {worse}. ")
    filled = [f"{row.filled:.2f} ({row.filling})" for row in maps.drop_duplicates("filling").itertuples()]
    return (
        f"{''.join(parts)}Filled from edge to edge, films still have probability "
        f"{' or '.join(filled)}, so curves that fall lower rise again: the filling is a part of the answer."
    )


def lung_share(table: pd.DataFrame) -> str:
    by = table.set_index("group")
    ratio, shown, empty = by.loc["all films", ["ratio", "n_films", "empty"]]
    word = "no more than" if ratio <= 1 else "little more than" if ratio < 1.1 else "more than"
    normal = empty - by["empty"].get("PNEUMONIA", 0)
    return (
        f"The lungs hold {ratio:.2f} times their share of the map: {word} a map that knows nothing. "
        f"Left out: {empty:.0f} of {shown + empty:.0f} films ({normal:.0f} normal) whose map is empty, since Grad-CAM "
        "keeps only what speaks for pneumonia."
    )
