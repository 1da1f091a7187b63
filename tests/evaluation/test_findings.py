"""A finding's words follow from its table: the opposite table gives the opposite words."""

import pandas as pd
import pytest

from xraylib.evaluation import findings


def hidden(lower, upper):
    row = {"network": "xray_cnn", "n_films": 9, "auroc": (lower + upper) / 2, "lower": lower, "upper": upper}
    return pd.DataFrame([row | {"hidden": name} for name in ("lungs", "all but the lungs")])


@pytest.mark.parametrize(("interval", "words"), [((0.4, 0.6), "at chance"), ((0.6, 0.7), "above chance")])
def test_chance_is_said_where_the_interval_holds_one_half(interval, words):
    assert words in findings.hidden(hidden(*interval))


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [(-0.2, -0.1, "Grad-CAM better than"), (0.1, 0.2, "Grad-CAM worse than"), (-0.1, 0.1, "Grad-CAM no better than")],
)
def test_a_map_is_better_than_the_centre_only_where_the_interval_says_so(lower, upper, words):
    row = {"test": "deletion", "method": "Grad-CAM", "difference_lower": lower, "difference_upper": upper}
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
    said = findings.robustness(table)
    assert "under crop." in said and "Worst is blur (1 %): specificity 0.500 instead of 0.900" in said


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
    said = findings.field(own, pd.DataFrame(rows, columns=columns))
    assert "0.950 (A)" in said and "0.970 (B)" in said and "(C)" not in said
