"""Numbers: as scikit-learn and scipy have them where they define the same thing, as a hand count has them elsewhere."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from xraylib.evaluation import metrics
from xraylib.files import UserError


def table(label, probability, patient=None, **columns):
    n = len(label)
    base = {"network": "xray_cnn", "seed": 0, "folder": "test", "split": "test", "subtype": "virus"}
    given_columns = {"path": [f"{i}.jpeg" for i in range(n)], "label": label, "probability": probability}
    return pd.DataFrame(
        base | given_columns | {"patient": range(n) if patient is None else patient} | columns, index=range(n)
    )


@st.composite
def scored(draw, most=60):
    """Labels with both classes, and probabilities with many ties."""
    n = draw(st.integers(4, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    label = np.r_[0, 0, 1, 1, rng.integers(0, 2, n - 4)]
    return label, np.round(rng.random(n) * 0.7 + 0.3 * label * rng.random(n), draw(st.integers(1, 8)))


# --- one network, one seed ---


def test_rates_counted_by_hand():
    # 3 healthy children, one of them alarmed; 5 ill ones, one of them missed
    found = metrics.at_threshold([0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.2, 0.6, 0.4, 0.5, 0.7, 0.8, 0.9], 0.5)
    assert [found[k] for k in ("tn", "fp", "fn", "tp")] == [2, 1, 1, 4]
    assert found["accuracy"] == 6 / 8
    assert found["sensitivity"] == 4 / 5
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["ppv"] == 4 / 5
    assert found["npv"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == pytest.approx((0.8 + 2 / 3) / 2)


@settings(max_examples=60, deadline=None)
@given(scored(), st.floats(0.05, 0.95))
def test_rates_are_scikit_learns(world, threshold):
    label, probability = world
    decision = (probability >= threshold).astype(int)
    found = metrics.at_threshold(label, probability, threshold)
    wanted = {
        "accuracy": sk.accuracy_score(label, decision),
        "balanced_accuracy": sk.balanced_accuracy_score(label, decision),
        "sensitivity": sk.recall_score(label, decision),
        "specificity": sk.recall_score(label, decision, pos_label=0),
    }
    if 0 < decision.sum() < len(decision):
        wanted |= {"ppv": sk.precision_score(label, decision), "mcc": sk.matthews_corrcoef(label, decision)}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(scored())
def test_rankings_are_scikit_learns(world):
    label, probability = world
    found = metrics.ranking(label, probability)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(label, probability), abs=1e-12)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(label, probability), abs=1e-12)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(label, probability), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(scored())
def test_auroc_ignores_any_increasing_change_and_turns_round_with_the_classes(world):
    label, probability = world
    auroc = metrics.ranking(label, probability)["auroc"]
    assert metrics.ranking(label, probability**3 / 2)["auroc"] == pytest.approx(auroc, abs=1e-12)
    assert metrics.ranking(1 - label, probability)["auroc"] == pytest.approx(1 - auroc, abs=1e-12)


def test_expected_calibration_error_by_hand():
    # bin (0.1, 0.2]: two images at 0.2, one ill: |0.5 - 0.2|; bin (0.9, 1]: two at 1.0, both ill: 0. Half of 0.3.
    assert metrics.ranking([0, 1, 1, 1], [0.2, 0.2, 1.0, 1.0])["expected_calibration_error"] == pytest.approx(0.15)


def test_weights_count_images(rng=np.random.default_rng(0)):  # noqa: B008
    label, probability = np.r_[0, 1, rng.integers(0, 2, 30)], rng.random(32).round(2)
    weights = rng.integers(0, 4, 32)
    weights[:2] = 1
    once = metrics.statistics(table(label, probability), 0.5)(weights[None].astype(float))
    repeated = metrics.statistics(table(np.repeat(label, weights), np.repeat(probability, weights)), 0.5)
    for name, value in repeated(np.ones((1, weights.sum()))).items():
        assert once[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_ppv_of_a_good_test_for_a_rare_disease_is_poor():
    # of 10,000 children 500 are ill: 450 found; of 9,500 healthy 950 alarmed
    ppv, npv = metrics.ppv_npv_at(0.9, 0.9, 0.05)
    assert ppv == pytest.approx(450 / 1400)
    assert npv == pytest.approx(8550 / 8600)


# --- operating point ---


def test_the_threshold_parts_the_classes_midway_in_logits():
    tune = table([0, 0, 0, 1, 1, 1], [0.05, 0.1, 0.2, 0.8, 0.9, 0.95], split="tune")
    assert metrics.choose_operating_point(tune).threshold == pytest.approx(0.5)


def test_the_rarer_class_counts_as_much_as_the_other():
    # at 0.25 one NORMAL of two is called ill; a threshold of 0.65 would spare it and miss two children of eight
    tune = table([1] * 8 + [0] * 2, [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.1, 0.65], split="tune")
    threshold = metrics.choose_operating_point(tune).threshold
    assert 0.65 < threshold < 0.7  # (6/8 + 2/2) beats (8/8 + 1/2)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_no_other_threshold_has_a_higher_balanced_accuracy(world):
    label, probability = world
    assume(0 < label.sum() < len(label))

    def balanced(threshold):
        return metrics.at_threshold(label, probability, threshold)["balanced_accuracy"]

    threshold = metrics.choose_operating_point(table(label, probability, split="tune")).threshold
    assert balanced(threshold) >= max(map(balanced, np.unique(probability))) - 1e-12


@pytest.mark.parametrize(("label", "name"), [(0, "PNEUMONIA"), (1, "NORMAL")])
def test_without_a_class_there_is_no_threshold(label, name):
    with pytest.raises(UserError, match=f"none of them {name}"):
        metrics.choose_operating_point(table([label] * 2, [0.1, 0.2], split="tune"))


# --- intervals ---


def test_intervals_cover_what_they_should_when_images_of_a_child_go_together():
    """400 studies of 60 children with 1 to 5 images, all right or all wrong together: 95 % should cover the truth.

    The binomial SD of the coverage is 1.1 points. An interval that resampled images would cover about 75 %.
    """
    rng, covered, studies = np.random.default_rng(1), 0, 400
    for study in range(studies):
        sizes = rng.integers(1, 6, 60)
        right = np.repeat(rng.random(60) < 0.7, sizes)
        label = np.ones(len(right), int)
        drawn = table(label, np.where(right, 0.9, 0.1), np.repeat(np.arange(60), sizes))
        statistic = metrics.statistics(drawn, 0.5)
        lower, upper = metrics.patient_bootstrap(drawn, lambda w, s=statistic: {"s": s(w)["sensitivity"]}, 300, study)[
            "s"
        ]
        covered += lower <= 0.7 <= upper
    assert 0.93 <= covered / studies <= 0.97


def test_one_image_a_child_gives_scipys_bootstrap():
    rng = np.random.default_rng(0)
    right = rng.random(300) < 0.9
    drawn = table(np.ones(300, int), np.where(right, 0.9, 0.1))
    lower, upper = metrics.patient_bootstrap(drawn, metrics.statistics(drawn, 0.5), 4000, 0)["sensitivity"]
    wanted = stats.bootstrap((right.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=0)
    assert lower == pytest.approx(wanted.confidence_interval.low, abs=0.006)
    assert upper == pytest.approx(wanted.confidence_interval.high, abs=0.006)


def test_twins_widen_the_interval():
    rng = np.random.default_rng(0)
    label, probability = rng.integers(0, 2, 80), rng.random(80)

    def width(patient):
        twice = table(np.tile(label, 2), np.tile(probability, 2), patient)
        lower, upper = metrics.patient_bootstrap(twice, metrics.statistics(twice, 0.5), 1000, 0)["accuracy"]
        return upper - lower

    assert width(np.tile(np.arange(80), 2)) == pytest.approx(np.sqrt(2) * width(np.arange(160)), rel=0.12)


@settings(max_examples=30, deadline=None)
@given(scored(30))
def test_delong_by_its_definition(world):
    label, probability = world
    positive, negative = probability[label == 1], probability[label == 0]
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = kernel.mean(1).var(ddof=1) / len(positive) + kernel.mean(0).var(ddof=1) / len(negative)
    found = metrics.delong(label, probability)
    assert found["auroc"] == pytest.approx(kernel.mean(), abs=1e-12)
    assert found["variance"] == pytest.approx(variance, abs=1e-12)


def test_delong_and_the_bootstrap_agree_where_images_are_independent():
    rng = np.random.default_rng(0)
    label = np.arange(600) % 2
    probability = stats.norm.cdf(rng.normal(label * 1.5, 1))
    drawn = table(label, probability)
    lower, upper = metrics.patient_bootstrap(drawn, metrics.statistics(drawn, 0.5), 2000, 0)["auroc"]
    found = metrics.delong(label, probability)
    assert lower == pytest.approx(found["lower"], abs=0.006)
    assert upper == pytest.approx(found["upper"], abs=0.006)


# --- comparisons ---


def test_a_network_compared_with_itself_differs_by_nothing():
    rng = np.random.default_rng(0)
    one = table(rng.integers(0, 2, 50), rng.random(50))
    found = metrics.paired_bootstrap(one, one, {0: metrics.HALF}, {0: metrics.HALF}, 200, 0)
    assert found["accuracy"] == {"difference": 0, "lower": 0, "upper": 0}


def test_other_images_cannot_be_compared():
    one, other = table([0, 1], [0.1, 0.9]), table([0, 1], [0.1, 0.9], path=["a.jpeg", "b.jpeg"])
    with pytest.raises(ValueError, match="same images"):
        metrics.paired_bootstrap(one, other, {0: metrics.HALF}, {0: metrics.HALF}, 10, 0)
    with pytest.raises(ValueError, match="same images"):  # whichever comes first by name
        metrics.paired_bootstrap(other, one, {0: metrics.HALF}, {0: metrics.HALF}, 10, 0)


def test_mcnemar_is_the_exact_binomial_of_the_images_that_one_alone_has_right():
    first = np.array([1] * 8 + [0] * 2 + [1] * 5, bool)
    second = np.array([0] * 8 + [1] * 2 + [1] * 5, bool)
    found = metrics.mcnemar(first, second)
    assert (found["only_first"], found["only_second"]) == (8, 2)
    assert found["p_value"] == pytest.approx(stats.binomtest(8, 10).pvalue)


# --- calibration and usefulness ---


def test_reliability_bins_by_hand():
    found = metrics.reliability([0, 1, 1, 1], [0.15, 0.15, 0.95, 1.0]).dropna()
    assert found.n.tolist() == [2, 2]
    assert found.mean_probability.tolist() == pytest.approx([0.15, 0.975])
    assert found.observed.tolist() == [0.5, 1.0]


def test_wilson_is_scipys():
    lower, upper = metrics.wilson(7, 9)
    wanted = stats.binomtest(7, 9).proportion_ci(method="wilson")
    assert (lower, upper) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_platt_is_an_unpenalised_logistic_regression():
    rng = np.random.default_rng(0)
    probability = rng.random(4000)
    label = (rng.random(4000) < probability**2).astype(int)
    found = metrics.recalibrate(label, probability)
    logit = np.log(probability / (1 - probability))
    wanted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(logit[:, None], label)
    assert found.slope == pytest.approx(wanted.coef_[0, 0], abs=0.02)  # Platt's targets are a little short of 0 and 1
    assert found.intercept == pytest.approx(wanted.intercept_[0], abs=0.02)


def test_a_prior_shift_is_bayes_rule():
    # odds 1:1 at a prevalence of one half become 1:9 at one tenth
    assert metrics.shift_prevalence(0.5, 0.5, 0.1) == pytest.approx(0.1)
    assert metrics.shift_prevalence(metrics.shift_prevalence(0.3, 0.6, 0.2), 0.2, 0.6) == pytest.approx(0.3)


def test_net_benefit_by_hand():
    # threshold 0.2: odds 1/4. Found 2 of 4 children ill, 1 of 4 alarmed in vain: 2/4 - 1/4 * 1/4
    found = metrics.net_benefit([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.1], [0.2]).iloc[0]
    assert found.network == pytest.approx(2 / 4 - 1 / 16)
    assert found.treat_all == pytest.approx(2 / 4 - 2 / 4 / 4)
    assert found.treat_none == 0


# --- the summary ---


@pytest.fixture
def predictions():
    """Two seeds of each network on tune and test, 40 images of 20 children a split."""
    rng = np.random.default_rng(0)
    parts = []
    for network, skill in (("published", 0.3), ("xray_cnn", 0.6)):
        for seed in (0, 1):
            for split in ("tune", "test"):
                label = np.arange(40) % 2
                probability = np.clip(rng.random(40) * (1 - skill) + skill * label, 0, 1)
                names = [f"{split}/{i}.jpeg" for i in range(40)]
                children = [f"{split}{i // 4}-{i % 2}" for i in range(40)]
                columns = {"network": network, "seed": seed, "split": split, "folder": split, "path": names}
                parts.append(table(label, probability, children, **columns))
    return pd.concat(parts, ignore_index=True)


def test_the_summary_holds_each_seed_their_mean_and_sd(predictions, config):
    summary = metrics.summarise(predictions, dataclasses.replace(config, bootstrap_resamples=100))
    json.dumps(summary, allow_nan=False)
    block = summary["networks"]["xray_cnn"]["test"]["half"]["accuracy"]
    own = predictions[(predictions.network == "xray_cnn") & (predictions.split == "test")]
    each = [((part.probability >= 0.5) == part.label).mean() for _, part in own.groupby("seed")]
    assert block["per_seed"] == pytest.approx(each)
    assert block["mean"] == pytest.approx(np.mean(each))
    assert block["sd"] == pytest.approx(np.std(each, ddof=1))
    assert block["lower"] <= block["mean"] <= block["upper"]
    assert summary["networks"]["xray_cnn"]["test"]["n_patients"] == 20


def test_the_ensemble_is_the_mean_probability_and_has_a_threshold_of_its_own(predictions, config):
    together = metrics.ensemble(predictions)
    own = predictions[predictions.network == "xray_cnn"].groupby("path").probability.mean()
    np.testing.assert_allclose(together.set_index("path").probability, own[together.path])
    summary = metrics.summarise(predictions, dataclasses.replace(config, bootstrap_resamples=50))
    (point,) = summary["networks"]["xray_cnn_ensemble"]["operating_points"]
    tune = together[together.split == "tune"]
    assert point["threshold"] == metrics.choose_operating_point(tune).threshold


def test_the_threshold_stands_films_that_were_spoilt():
    """As filmed, anything between .2 and .6 parts the classes; a healthy child whose film was cut scores .5."""
    tune = table([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], split="tune")
    cut = table([0, 0, 1, 1], [0.1, 0.5, 0.6, 0.9], split="tune", network="xray_cnn@crop")
    assert 0.2 < metrics.operating_points(tune)["xray_cnn", 0].threshold < 0.5
    both = metrics.operating_points(pd.concat([tune, cut]))
    assert list(both) == [("xray_cnn", 0)]
    assert 0.5 < both["xray_cnn", 0].threshold < 0.6
    assert both["xray_cnn", 0].chosen_on == "tune, also spoilt"


def test_the_ensemble_of_spoilt_films_is_kept_apart():
    rows = [
        table([0, 1], values, seed=seed, network=network)
        for seed, network, values in (
            (0, "xray_cnn", [0.1, 0.5]),
            (1, "xray_cnn", [0.3, 0.7]),
            (0, "xray_cnn@crop", [0.2, 0.8]),
            (1, "xray_cnn@crop", [0.6, 0.8]),
            (0, "published", [0.0, 0.0]),
        )
    ]
    together = metrics.ensemble(pd.concat(rows))
    assert together.network.tolist() == ["xray_cnn_ensemble"] * 2 + ["xray_cnn_ensemble@crop"] * 2
    assert together.probability.tolist() == pytest.approx([0.2, 0.6, 0.4, 0.8])


def test_the_threshold_never_sees_test(predictions, config):
    config = dataclasses.replace(config, bootstrap_resamples=10)
    changed = predictions.assign(probability=predictions.probability.where(predictions.split == "tune", 0.5))
    points = [metrics.summarise(p, config)["networks"]["xray_cnn"]["operating_points"] for p in (predictions, changed)]
    assert points[0] == points[1]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.drop(columns="patient"), "no column patient"),
        (lambda p: p.assign(probability=p.probability.where(p.index > 0, 1.5)), "probability 1.5"),
        (lambda p: p.assign(probability=p.probability.where(p.index > 0)), "probability nan"),
        (lambda p: pd.concat([p, p.head(1)]), "comes twice"),
    ],
)
def test_a_spoilt_predictions_table_is_refused(predictions, spoil, words):
    with pytest.raises(UserError, match=words):
        metrics.check(spoil(predictions))


def test_sensitivity_of_a_subtype_by_hand():
    table = pd.DataFrame(
        {
            "label": [0, 1, 1, 1, 1, 1],
            "subtype": ["normal", "bacteria", "bacteria", "bacteria", "virus", "virus"],
            "probability": [0.9, 0.9, 0.2, 0.1, 0.8, 0.3],
        }
    )
    found = metrics.statistics(table, 0.5)(np.ones((1, 6)))
    assert found["sensitivity_bacteria"][0] == pytest.approx(1 / 3)
    assert found["sensitivity_virus"][0] == pytest.approx(1 / 2)


@pytest.mark.parametrize(("undefined", "known"), [(5, True), (6, False)])
def test_an_interval_is_known_where_at_least_half_of_the_resamples_are_defined(undefined, known):
    values = np.array([np.nan] * undefined + [0.5] * (10 - undefined))
    assert np.isfinite(metrics._percentiles(values, 0.95)).all() == known
