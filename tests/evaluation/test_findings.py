"""A finding's words follow from its table: the opposite table gives the opposite words."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest

from xraylib.config import REPOSITORY
from xraylib.evaluation import findings, metrics

FINDINGS = re.findall(r"^def ([a-z]\w*)", inspect.getsource(findings), re.MULTILINE)
AGGREGATED = {"ablation", "learning_curves", "decision_curve"}  # numbers of no single cell


def tables_of(folder, name):
    """The tables in results/ that the finding's arguments are named after; None where one is not there."""
    given = []
    for argument in inspect.signature(getattr(findings, name)).parameters:
        file = REPOSITORY / folder / f"{ {'table': name, 'test': 'predictions'}.get(argument, argument) }.csv"
        if not file.exists():
            return None
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
    assert text.endswith(".") and "nan" not in text and "\n" not in text and len(text) < 450
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


def seen(accuracy):
    rows = [("seen in training", accuracy, 0.9), ("train folder, not seen", 0.88, 0.9), ("test folder", 0.8, 0.7)]
    return frame("films accuracy specificity", *rows)


def hidden(lower, upper):
    rows = [(name, lower, upper) for name in ("lungs", "all but the lungs")]
    return frame("hidden lower upper", *rows, network="xray_cnn", auroc=0.6, n_films=9)


def corrupted(worst):
    rows = [("none", 0, 0.9), ("crop", 2, 0.88), ("crop", 3, 0.79), (worst, 2, 0.6), (worst, 3, 0.5)]
    table = frame("corruption severity value", *rows, network="xray_cnn", amount=1, unit="%")
    return pd.concat([table.assign(statistic="specificity"), table.assign(statistic="sensitivity", value=0.9)])


AREAS, MAPS = "filling method difference_lower difference_upper filled", "layers map correlation n_films"
SHARES = "group ratio n_films empty"


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("framing", framing(0.55, 0.55), "little that the crop could take away"),
        ("framing", framing(0.8, 0.6), "The crop takes most of the shortcut away."),
        ("framing", framing(0.8, 0.7), "The crop leaves most of the shortcut."),
        ("roc", curve(0.95), "0.950 (0.900 to 1.000), higher"),
        ("roc", curve(0.6), "not clearly higher"),
        ("published_seen", seen(0.885), "did not memorise"),
        ("published_seen", seen(0.95), "does better on what it saw"),
        ("hidden_regions", hidden(0.4, 0.6), "at chance"),
        ("hidden_regions", hidden(0.6, 0.7), "above chance"),
        (
            "sanity_check",
            frame(MAPS, (0, "a", 1, 9), (1, "a", -0.9, 9), (2, "a", 0.1, 9)),
            "a -0.90 (n = 9 films). a part",
        ),
        ("sanity_check", frame(MAPS, (0, "a", 1, 9), (1, "a", -0.1, 9)), "The maps change"),
        (
            "deletion",
            frame(AREAS, ("grey", "A", 0.1, 0.2, 0.7)),
            "the film: no map; worse: A. Filled from edge to edge",
        ),
        ("deletion", frame(AREAS, ("grey", "A", -0.1, 0.1, 0.7)), "the film: no map; worse: no map."),
        (
            "robustness",
            corrupted("blur"),
            "under crop. Worst at their strongest: blur (1 %): specificity 0.500; crop (1 %)",
        ),
        ("lung_share", frame(SHARES, ("all films", 1.2, 4, 3), ("PNEUMONIA", 1.1, 4, 1)), "3 of 7 films (2 normal)"),
    ],
)
def test_the_words_follow_the_numbers(name, table, words):
    assert words in getattr(findings, name)(table)


def test_the_field_leaves_out_thresholds_chosen_on_test():
    own = frame("statistic value", ("auroc", 0.9), ("accuracy", 0.9), network="xray_cnn", split="test", seed="mean")
    rows = [("A", "no", "no", 0.95, 0.85), ("B", "yes", "no", 0.97, 0.93), ("C", "yes", "yes", 0.99, 0.99)]
    output = findings.comparison(own, frame("source pretrained test_chose_threshold auroc accuracy", *rows))
    assert "0.950 (A)" in output and "0.970 (B)" in output and "(C)" not in output
