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


def hospital(pa):
    rows = [("all", "released networks", 0.9), ("all", "predicted view alone", 0.8)]
    rows += [("predicted PA", "released networks", pa), ("predicted AP", "released networks", 0.85)]
    table = frame("films score value", *rows, lower=0.5, upper=1, n_negative=4, n_positive=5)
    return pd.concat([table.assign(data=name) for name in ("rsna_adults", "nih_adults")])


def steps(*aurocs):
    rows = [(name, split, value) for name, value in zip("abc", aurocs, strict=True) for split in ("tune", "test")]
    return frame("variant split auroc", *rows)


def held_out(unmixed, mixed):
    variants = {"unmixed": unmixed, "mixed 0.3": mixed, "mixed 0.3 - unmixed": 0.99, "control 0.3 - unmixed": 0.01}
    rows = [(name, of, value) for name, value in variants.items() for of in ("other station", "tune", "score")]
    return frame("variant measure value", *rows, lower=-0.1, upper=0.1)


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
        ("hidden_regions", hidden(0.3, 0.4), "below chance, so what is left tells the class the wrong way round"),
        (
            "elsewhere",
            hospital(0.8),
            "alone reaches 0.800. Within a view it is lower: 0.800 (0.500 to 1.000) in PA, 0.850",
        ),
        ("elsewhere", hospital(0.95), "Within a view it is not lower in both: 0.950"),
        ("heldout", held_out(0.9, 0.8), "chooses *unmixed* (0.900)"),
        ("heldout", held_out(0.8, 0.9), "chooses *mixed 0.3* (0.900)"),
        ("ablation", steps(0.7, 0.9, 0.8), "from 0.900 to 0.800. A choice by tune alone would have kept *b*."),
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


def test_the_field_is_compared_with_rows_like_it_and_with_all_that_are_higher():
    own = frame("statistic value", ("auroc", 0.9), ("accuracy", 0.9), network="xray_cnn", split="test", seed="mean")
    rows = [
        ("A", "no", "no", 0.95, 0.85),
        ("B", "no", "unknown", np.nan, 0.88),
        ("C", "yes", "no", 0.97, 0.9),
        ("D", "no", "yes", 0.96, 0.99),
        ("E", "unknown", "no", 0.7, 0.7),
    ]
    field = frame("source pretrained test_chose_threshold auroc accuracy", *rows)
    output = findings.comparison(own, field)
    assert "highest of 1 rows like it is 0.950 (A); 3 of all 4 are higher than here, up to 0.970 (C)." in output
    assert "highest of 2 rows like it is 0.880 (B); 1 of all 5 are higher than here, up to 0.990 (D)." in output
    assert "0 of all 4 are higher than here." in findings.comparison(own.assign(value=0.995), field)


def test_the_val_folder_says_whether_chance_explains_it_and_what_its_films_share():
    rows = [("NORMAL", 0, 2), ("NORMAL", -1, 1), ("PNEUMONIA", -1, 8)]
    table = frame("class seed right", *rows, films=8, value=0.125, lower=0.003, upper=0.527, test=0.9)
    names = ["val/NORMAL/a", "val/NORMAL/b", "val/PNEUMONIA/c", "train/NORMAL/d", "test/NORMAL/e", "test/NORMAL/f"]
    ranges = ["1427-1442", None, None, None, None, "0171-0275"]
    stations = pd.DataFrame({"path": names, "ranges": ranges, "marker": ["large R", "thin R", *["large R"] * 4]})
    table["p"] = [1, 0.001, 0.4]
    text = findings.val_folder(table, stations)
    assert (
        "1 of 8 NORMAL films (each seed: 2), 0.125" in text and "so few are not explained by chance. On 8 of 8" in text
    )
    assert "the difference may be chance. 1 of these 2 films" in text
    assert "(1427-1442); a large R is on 1 of them, and on 2 of 2 normal" in text


def test_subgroups_name_the_worst_supported_group():
    rows = [("a", "specificity", 0.2, 19), ("b", "specificity", 0.6, 30), ("c", "sensitivity", 0.9, 40)]
    rows += [("all films", "auroc", 0.98, 99), ("within small bold R", "auroc", 0.91, 50)]
    table = frame("part statistic value n_films", *rows, lower=0.1, upper=1.0)
    text = findings.subgroups(table)
    assert "specificity 0.600 (0.100 to 1.000) (b, n = 30)" in text and "(c, n = 40)" in text
    assert "0.910 (0.100 to 1.000) within small bold R (n = 50), 0.980" in text
    assert "AUROC" not in findings.subgroups(table.head(3))
