"""A finding's words follow from its table: the opposite table gives the opposite words."""

import re

import numpy as np
import pandas as pd
import pytest

from xraylib.config import REPOSITORY
from xraylib.evaluation import findings, metrics

TABLES = {
    "films": "index", "patients": "index", "official_counts": "official_counts", "shared_patients": "shared_patients",
    "copies": "copies", "shortcuts": "shortcuts", "shift": "shift", "locator": "lungs", "framing": "framing",
    "training": "history", "headline": "metrics", "parts": "parts", "differences": "differences",
    "confusion": "metrics", "curves": "metrics", "tune_and_test": "metrics",
    "published_comparison": "published_replay", "published_seen": "published_seen", "baselines": "against_baselines",
    "val_predictions": "val_predictions", "val": "val_films", "refused": "ood", "robustness": "robustness",
    "subgroups": "subgroups", "sensitivity_analyses": "sensitivity_analyses", "calibration": "metrics",
    "decision_curve": "predictions", "coverage": "risk_coverage", "worst_errors": "worst_errors",
    "hidden": "hidden_regions", "sanity_check": "sanity_check", "removal": "removal_areas", "lung_share": "lung_share",
}  # fmt: skip


def rounded(table):
    """Every number of a table, and 1 minus it, times 1 and 100, with 0 to 4 decimals; and its counts."""
    numbers = table.select_dtypes("number").to_numpy(float).ravel()
    numbers = np.r_[numbers, 1 - numbers]
    return {f"{scale * abs(x):,.{d}f}" for x in numbers for scale in (1, 100) for d in range(5)}


@pytest.mark.parametrize("folder", ["results", "results/demo"])
@pytest.mark.parametrize("name", TABLES)
def test_each_finding_is_one_paragraph_with_numbers_of_its_table(folder, name):
    table = pd.read_csv(REPOSITORY / folder / f"{TABLES[name]}.csv", keep_default_na=name != "robustness")
    if name == "robustness":
        table["value"] = table.value.astype(float)
    if name == "decision_curve":
        table = metrics.check(table[(table.split == "test") & (table.network != metrics.UNSCALED)])
    text = getattr(findings, name)(table)
    assert text.startswith("**What this shows.** ") and text.endswith(".")
    assert "nan" not in text and "\n" not in text and len(text) < 450
    decimals = set(re.findall(r"(?<![\d-])\d+\.\d{3,4}\b", text))
    aggregated = {"training", "locator", "sensitivity_analyses", "decision_curve"}
    assert name in aggregated or decimals <= rounded(table)


def index(patients):
    return pd.DataFrame({"patient": list(patients)})


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("patients", index("aab"), "50 % of the 2 children have one film, one child has 2"),
        ("official_counts", ("folder subtype here official difference", [("val", "virus", 8, 8, 0)]), "No folder"),
        ("official_counts", ("folder subtype here official difference", [("val", "virus", 7, 8, -1)]), "val virus -1"),
        ("shared_patients", ("splits patients patients_bare_number", [("a, b", 0, 0)]), "share no children"),
        ("shared_patients", ("splits patients patients_bare_number", [("a, b", 2, 3)]), "3 of them between a and b"),
        ("copies", ("identical same_split same_class", [(True, False, True)]), "1 of the pairs lie in two splits"),
        ("copies", ("identical same_split same_class", [(True, True, False)]), "1 in two classes"),
        ("worst_errors", ("error probability seeds_wrong", []), "No seed decides"),
        ("worst_errors", ("error probability seeds_wrong", [("false positive", 0.9, 2)]), "1 of 1 false positives"),
        ("sanity_check", ("layers map correlation n_films", [(0, "a", 1, 9), (1, "a", 0.1, 9)]), "was learned"),
        ("sanity_check", ("layers map correlation n_films", [(0, "a", 1, 9), (1, "a", 0.9, 9)]), "the film alone"),
    ],
)
def test_the_words_follow_the_numbers(name, table, words):
    if isinstance(table, tuple):
        table = pd.DataFrame(table[1], columns=table[0].split())
    assert words in getattr(findings, name)(table)


@pytest.mark.parametrize(("own", "words"), [(0.95, "0.950 (0.900 to 1.000), higher"), (0.6, "not clearly higher")])
def test_a_curve_is_higher_only_where_the_intervals_part(own, words):
    rows = [(n, s, v, v - 0.05, v + 0.05) for n, v in ((metrics.STUDY, own), (metrics.PUBLISHED, 0.58))
            for s in ("auroc", "average_precision")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["network", "statistic", "value", "lower", "upper"])
    assert words in findings.curves(table.assign(split="test", seed="mean", n_films=9))


def test_films_kept_apart_are_lower_only_where_the_intervals_part():
    def table(value):
        rows = [(u, p, v, v - 0.01, v + 0.01) for u in ("film", "child")
                for p, v in (("all", 0.9), ("earlier", 0.9), ("unseen", value))]  # fmt: skip
        table = pd.DataFrame(rows, columns=["unit", "part", "value", "lower", "upper"])
        return table.assign(network=metrics.STUDY, statistic="auroc", n_films=9, n_children=7)

    assert "not clearly lower" in findings.parts(table(0.89))
    assert "0.800 (0.790 to 0.810), clearly lower" in findings.parts(table(0.8))


def hidden(lower, upper):
    row = {"network": "xray_cnn", "n_films": 9, "auroc": (lower + upper) / 2, "lower": lower, "upper": upper}
    return pd.DataFrame([row | {"hidden": name} for name in ("lungs", "all but the lungs")])


@pytest.mark.parametrize(("interval", "words"), [((0.4, 0.6), "at chance"), ((0.6, 0.7), "above chance")])
def test_chance_is_said_where_the_interval_holds_one_half(interval, words):
    assert words in findings.hidden(hidden(*interval))


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        (-0.2, -0.1, "Grad-CAM does better than"),
        (0.1, 0.2, "Grad-CAM does worse than"),
        (-0.1, 0.1, "Grad-CAM does no better than"),
    ],
)
def test_a_map_is_better_than_the_centre_only_where_the_interval_says_so(lower, upper, words):
    row = {"method": "Grad-CAM", "difference_lower": lower, "difference_upper": upper}
    assert words in findings.removal(pd.DataFrame([row]))


@pytest.mark.parametrize(("tune", "kept"), [((0.99, 0.98), "the whole film"), ((0.97, 0.98), "the crop")])
def test_the_ablation_says_what_tune_alone_would_have_kept(tune, kept):
    rows = [
        ("whole film", "tune", tune[0]),
        ("whole film", "test", 0.97),
        ("crop", "tune", tune[1]),
        ("crop", "test", 0.99),
    ]
    table = pd.DataFrame(rows, columns=["variant", "split", "auroc"]).assign(accuracy=0.9)
    assert findings.ablation(table).endswith(f"would have kept {kept}.")


def test_robustness_names_what_holds_and_the_worst():
    rows = [("none", 0, 0.9), ("crop", 2, 0.88), ("blur", 2, 0.5)]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "value"])
    table = table.assign(network="xray_cnn", statistic="specificity", amount=1, unit="%")
    output = findings.robustness(table)
    assert "under crop." in output and "Worst is blur (1 %): specificity 0.500 instead of 0.900" in output


def test_nothing_memorised_is_said_only_where_both_parts_agree():
    def table(seen):
        rows = [("seen in training", seen, 0.9), ("train folder, not seen", 0.88, 0.9), ("test folder", 0.8, 0.7)]
        return pd.DataFrame(rows, columns=["films", "accuracy", "specificity"])

    assert "did not memorise" in findings.published_seen(table(0.885))
    assert "does better on what it saw" in findings.published_seen(table(0.95))


def test_the_field_leaves_out_thresholds_chosen_on_test():
    own = pd.DataFrame({"statistic": ["auroc", "accuracy"], "value": [0.9, 0.9]})
    own = own.assign(network="xray_cnn", split="test", seed="mean")
    columns = ["source", "pretrained", "test_chose_threshold", "auroc", "accuracy"]
    rows = [("A", "no", "no", 0.95, 0.85), ("B", "yes", "no", 0.97, 0.93), ("C", "yes", "yes", 0.99, 0.99)]
    output = findings.field(own, pd.DataFrame(rows, columns=columns))
    assert "0.950 (A)" in output and "0.970 (B)" in output and "(C)" not in output
