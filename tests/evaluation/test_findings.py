"""A finding's words follow from its table: the opposite table gives the opposite words."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest

from xraylib.config import REPOSITORY
from xraylib.evaluation import findings, metrics

FINDINGS = re.findall(r"^def ([a-z]\w*)", inspect.getsource(findings), re.MULTILINE)
AGGREGATED = {"ablation", "training", "locator", "sensitivity_analyses", "decision_curve"}  # numbers of no single cell


def tables_of(folder, name):
    """The tables in results/ that the finding's arguments are named after (or words); None where one is not there."""
    given = []
    for argument in inspect.signature(getattr(findings, name)).parameters:
        file = REPOSITORY / folder / f"{ {'table': name, 'test': 'predictions'}.get(argument, argument) }.csv"
        if (name, argument) == ("framing_film", "source"):
            given.append("people's masks")
        elif not file.exists():
            return None
        else:
            given.append(pd.read_csv(file))
        if argument == "test":
            given[-1] = metrics.check(given[-1].query("split == 'test' and network != 'published_unscaled'"))
    return given


def rounded(table):
    """Every number of a table, and 1 minus it, times 1 and 100, with 0 to 4 decimals."""
    numbers = table.select_dtypes("number").to_numpy(float).ravel()
    return {f"{scale * abs(x):,.{d}f}" for x in np.r_[numbers, 1 - numbers] for scale in (1, 100) for d in range(5)}


PLACES = [(folder, name) for folder in ("results", "results/demo") for name in FINDINGS if tables_of(folder, name)]


def test_every_finding_is_in_the_results_or_the_demo():
    assert {name for _, name in PLACES} == set(FINDINGS)


@pytest.mark.parametrize(("folder", "name"), PLACES)
def test_each_finding_is_one_paragraph_with_numbers_of_its_table(folder, name):
    given = tables_of(folder, name)
    text = getattr(findings, name)(*given)
    assert text.startswith("**What this shows.** ") and text.endswith(".")
    assert "nan" not in text and "\n" not in text and len(text) < 450
    decimals = set(re.findall(r"(?<![\d-])\d+\.\d{3,4}\b", text))
    assert name in AGGREGATED or decimals <= set().union(*(rounded(t) for t in given if isinstance(t, pd.DataFrame)))


def frame(columns, *rows, **constants):
    return pd.DataFrame(rows, columns=columns.split()).assign(**constants)


def framing(film, frame_):
    rows = [(f"lungs' box in the {place}", auroc, 0.7) for place, auroc in (("film", film), ("frame", frame_))]
    return frame("property train test", *rows)


def curve(own):
    rows = [(metrics.STUDY, own, own - 0.05, own + 0.05), (metrics.PUBLISHED, 0.58, 0.53, 0.63)]
    table = frame("network value lower upper", *rows, split="test", seed="mean", n_films=9)
    return pd.concat([table.assign(statistic=name) for name in ("auroc", "average_precision")])


def parts(unseen):
    rows = [("all", 0.9, 0.89, 0.91), ("earlier", 0.9, 0.89, 0.91), ("unseen", unseen, unseen - 0.01, unseen + 0.01)]
    table = frame("part value lower upper", *rows, statistic="auroc", n_films=9, n_children=7)
    return pd.concat([table.assign(network=metrics.STUDY, unit=unit) for unit in ("film", "child")])


def seen(accuracy):
    rows = [("seen in training", accuracy, 0.9), ("train folder, not seen", 0.88, 0.9), ("test folder", 0.8, 0.7)]
    return frame("films accuracy specificity", *rows)


def ablation(whole, crop):
    rows = [("whole film", "tune", whole), ("whole film", "test", 0.97), ("crop", "tune", crop), ("crop", "test", 0.99)]
    return frame("variant split auroc", *rows, accuracy=0.9)


def hidden(lower, upper):
    rows = [(name, lower, upper) for name in ("lungs", "all but the lungs")]
    return frame("hidden lower upper", *rows, network="xray_cnn", auroc=0.6, n_films=9)


def corrupted(worst):
    rows = [("none", 0, 0.9), ("crop", 2, 0.88), (worst, 2, 0.5)]
    constants = {"network": "xray_cnn", "statistic": "specificity", "amount": 1, "unit": "%"}
    return frame("corruption severity value", *rows, **constants)


COUNTS, PAIRS = "folder subtype here official difference", "splits patients patients_bare_number"
COPIES, ERRORS = "identical same_split same_class", "error probability seeds_wrong"
MAPS, AREAS = "layers map correlation n_films", "method difference_lower difference_upper"


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("patients", frame("patient", "a", "a", "b"), "50 % of the 2 children have one film, one child has 2"),
        ("official_counts", frame(COUNTS, ("val", "virus", 8, 8, 0)), "No folder"),
        ("official_counts", frame(COUNTS, ("val", "virus", 7, 8, -1)), "val virus -1"),
        ("shared_patients", frame(PAIRS, ("a, b", 0, 0)), "share no children"),
        ("shared_patients", frame(PAIRS, ("a, b", 2, 3)), "3 of them between a and b"),
        ("copies", frame(COPIES, (True, False, True)), "1 of the pairs lie in two splits"),
        ("copies", frame(COPIES, (True, True, False)), "1 in two classes"),
        ("framing", framing(0.55, 0.55), "little that the crop could take away"),
        ("framing", framing(0.8, 0.6), "The crop takes most of the shortcut away."),
        ("framing", framing(0.8, 0.7), "The crop leaves most of the shortcut."),
        ("worst_errors", frame(ERRORS), "No seed decides"),
        ("worst_errors", frame(ERRORS, ("false positive", 0.9, 2)), "1 of 1 false positives"),
        ("sanity_check", frame(MAPS, (0, "a", 1, 9), (1, "a", 0.1, 9)), "was learned"),
        ("sanity_check", frame(MAPS, (0, "a", 1, 9), (1, "a", 0.9, 9)), "the film alone"),
        ("curves", curve(0.95), "0.950 (0.900 to 1.000), higher"),
        ("curves", curve(0.6), "not clearly higher"),
        ("parts", parts(0.8), "0.800 (0.790 to 0.810), clearly lower"),
        ("parts", parts(0.89), "not clearly lower"),
        ("published_seen", seen(0.885), "did not memorise"),
        ("published_seen", seen(0.95), "does better on what it saw"),
        ("ablation", ablation(0.99, 0.98), "would have kept the whole film."),
        ("ablation", ablation(0.97, 0.98), "would have kept the crop."),
        ("hidden", hidden(0.4, 0.6), "at chance"),
        ("hidden", hidden(0.3, 0.4), "at chance"),
        ("hidden", hidden(0.6, 0.7), "above chance"),
        ("removal", frame(AREAS, ("Grad-CAM", -0.2, -0.1)), "Grad-CAM does better than"),
        ("removal", frame(AREAS, ("Grad-CAM", 0.1, 0.2)), "Grad-CAM does worse than"),
        ("removal", frame(AREAS, ("Grad-CAM", -0.1, 0.1)), "Grad-CAM does no better than"),
        ("robustness", corrupted("blur"), "under crop. Worst is blur (1 %): specificity 0.500 instead of 0.900"),
        ("robustness", corrupted("inverted"), "Worst is inverted: specificity 0.500"),
    ],
)
def test_the_words_follow_the_numbers(name, table, words):
    assert words in getattr(findings, name)(table)


def test_the_field_leaves_out_thresholds_chosen_on_test():
    own = frame("statistic value", ("auroc", 0.9), ("accuracy", 0.9), network="xray_cnn", split="test", seed="mean")
    rows = [("A", "no", "no", 0.95, 0.85), ("B", "yes", "no", 0.97, 0.93), ("C", "yes", "yes", 0.99, 0.99)]
    output = findings.field(own, frame("source pretrained test_chose_threshold auroc accuracy", *rows))
    assert "0.950 (A)" in output and "0.970 (B)" in output and "(C)" not in output
