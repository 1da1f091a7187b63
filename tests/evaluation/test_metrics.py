"""Numbers: as scikit-learn and scipy have them where they define the same thing, as a hand count has them elsewhere."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from sklearn import metrics as sk

from xraylib.evaluation import metrics, tables
from xraylib.files import UserError

FIXED = {("xray_cnn", 0): metrics.FIXED}


def table(label, probability, patient=None, **columns):
    n = len(label)
    base = {"network": "xray_cnn", "seed": 0, "folder": "test", "split": "test", "subtype": "virus"}
    given_columns = {"path": [f"{i}.jpeg" for i in range(n)], "label": label, "probability": probability}
    given_columns["logit"] = metrics.logit(probability)
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
        wanted["npv"] = sk.precision_score(label, decision, pos_label=0)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert [found[k] for k in ("tn", "fp", "fn", "tp")] == sk.confusion_matrix(label, decision).ravel().tolist()


@settings(max_examples=60, deadline=None)
@given(scored())
def test_rankings_are_scikit_learns(world):
    label, probability = world
    found = metrics.ranking(label, probability)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(label, probability), abs=1e-12)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(label, probability), abs=1e-12)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(label, probability), abs=1e-12)


def test_expected_calibration_error_by_hand():
    # bin (0.1, 0.2]: two films at 0.2, one positive: |0.5 - 0.2|; bin (0.9, 1]: 0. Half of 0.3.
    assert metrics.ranking([0, 1, 1, 1], [0.2, 0.2, 1.0, 1.0])["expected_calibration_error"] == pytest.approx(0.15)


def test_weights_count_films(rng=np.random.default_rng(0)):  # noqa: B008
    label, probability = np.r_[0, 1, rng.integers(0, 2, 30)], rng.random(32).round(2)
    weights = rng.integers(0, 4, 32)
    weights[:2] = 1
    once = metrics.statistics(table(label, probability), 0.5)(weights[None].astype(float))
    repeated = metrics.statistics(table(np.repeat(label, weights), np.repeat(probability, weights)), 0.5)
    for name, value in repeated(np.ones((1, weights.sum()))).items():
        assert once[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_ppv_of_a_good_test_for_a_rare_disease_is_poor():
    # of 10,000 children 500 have pneumonia: 450 found; of 9,500 healthy 950 false positives
    ppv, npv = metrics.ppv_npv_at(0.9, 0.9, 0.05)
    assert ppv == pytest.approx(450 / 1400)
    assert npv == pytest.approx(8550 / 8600)


# --- operating point ---


def test_the_threshold_lies_midway_between_the_classes_in_logits():
    tune = table([0, 0, 0, 1, 1, 1], [0.05, 0.1, 0.2, 0.8, 0.9, 0.95], split="tune")
    assert metrics.choose_operating_point(tune) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_no_other_threshold_has_a_higher_balanced_accuracy(world):
    label, probability = world
    assume(0 < label.sum() < len(label))

    def balanced(threshold):
        return metrics.at_threshold(label, probability, threshold)["balanced_accuracy"]

    threshold = metrics.choose_operating_point(table(label, probability, split="tune"))
    assert balanced(threshold) >= max(map(balanced, np.unique(probability))) - 1e-12


@pytest.mark.parametrize(("label", "name"), [(0, "PNEUMONIA"), (1, "NORMAL")])
def test_without_a_class_there_is_no_threshold(label, name):
    with pytest.raises(UserError, match=f"none of them {name}"):
        metrics.choose_operating_point(table([label] * 2, [0.1, 0.2], split="tune"))


# --- intervals ---


def test_intervals_cover_what_they_should_when_films_of_a_child_go_together():
    """400 studies of 60 children with 1 to 5 films, all right or all wrong together: 95 % should cover the truth.

    The binomial SD of the coverage is 1.1 points. An interval that resampled films would cover about 75 %.
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


# --- comparisons ---


def test_other_films_cannot_be_compared(config):
    one, other = table([0, 1], [0.1, 0.9]), table([0, 1], [0.1, 0.9], path=["a.jpeg", "b.jpeg"])
    for pair in ((one, other), (other, one)):
        with pytest.raises(ValueError, match="same films"):
            metrics.paired_bootstrap(*pair, FIXED, config)


# --- calibration and usefulness ---


def test_reliability_bins_by_hand():
    found = tables.calibration(table([0, 1, 1, 1], [0.15, 0.15, 0.95, 1.0]))
    assert found.lower.tolist() == [0.1, 0.9]
    assert found.n.tolist() == [2, 2]
    assert found.mean_probability.tolist() == pytest.approx([0.15, 0.975])
    assert found.observed.tolist() == [0.5, 1.0]


def test_net_benefit_by_hand():
    # threshold 0.2: odds 1/4. 2 of 4 true positives, 1 of 4 false positive: 2/4 - 1/4 * 1/4
    found = metrics.net_benefit([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.1], [0.2]).iloc[0]
    assert found.network == pytest.approx(2 / 4 - 1 / 16)
    assert found.treat_all == pytest.approx(2 / 4 - 2 / 4 / 4)
    assert found.treat_none == 0


# --- the summary ---


@pytest.fixture
def predictions():
    """Two seeds of each network on tune and test, 40 films of 20 children a split."""
    rng = np.random.default_rng(0)
    parts = []
    for network, skill in (("published", 0.3), ("xray_cnn", 0.6)):
        for seed in (0, 1):
            for split in ("tune", "test"):
                label = np.arange(40) % 2
                probability = np.clip(rng.random(40) * (1 - skill) + skill * label, 0.001, 0.999)
                names = [f"{split}/{i}.jpeg" for i in range(40)]
                children = [f"{split}{i // 4}-{i % 2}" for i in range(40)]
                columns = {"network": network, "seed": seed, "split": split, "folder": split, "path": names}
                parts.append(table(label, probability, children, **columns))
    return pd.concat(parts, ignore_index=True)


def summary_of(predictions, config, resamples=100):
    every = metrics.with_ensemble(predictions)
    points = metrics.operating_points(every)
    found = metrics.summarise(every, points, dataclasses.replace(config, bootstrap_resamples=resamples))
    return found.set_index(["network", "split", "seed", "statistic"])


def test_metrics_hold_each_seed_their_mean_and_sd(predictions, config):
    found = summary_of(predictions, config)
    assert tuple(found.reset_index()) == metrics.TIDY
    theirs = predictions[(predictions.network == "published") & (predictions.split == "test")]
    each = [((part.probability >= 0.5) == part.label).mean() for _, part in theirs.groupby("seed")]
    for seed, value in zip("01", each, strict=True):
        assert found.loc[("published", "test", seed, "accuracy")].value == pytest.approx(value)
    mean = found.loc[("published", "test", "mean", "accuracy")]
    assert (mean.value, mean.sd) == (pytest.approx(np.mean(each)), pytest.approx(np.std(each, ddof=1)))
    assert mean.lower <= mean.value <= mean.upper
    assert (mean.n_films, mean.n_children) == (40, 20)


def test_the_ensemble_is_the_mean_logit_and_has_its_own_threshold(predictions, config):
    every = metrics.with_ensemble(predictions)
    together = every[every.network == metrics.ENSEMBLE]
    mean = predictions[predictions.network == "xray_cnn"].groupby("path").logit.mean()
    np.testing.assert_allclose(together.set_index("path").logit, mean[together.path])
    np.testing.assert_allclose(together.probability, expit(together.logit))
    found = summary_of(predictions, config, 10)
    wanted = metrics.choose_operating_point(together[together.split == "tune"])
    assert found.loc[("xray_cnn", "tune", "ensemble", "threshold")].value == wanted


def test_the_published_network_decides_at_one_half_unless_asked_otherwise(predictions):
    unscaled = predictions[predictions.network == "published"].assign(network="published_unscaled", split="val")
    points = metrics.operating_points(pd.concat([predictions, unscaled]))
    assert points["published", 0] == points["published_unscaled", 1] == metrics.FIXED
    tune = predictions[(predictions.network == "published") & (predictions.seed == 0) & (predictions.split == "tune")]
    assert metrics.operating_points(predictions, ())["published", 0] == metrics.choose_operating_point(tune)


def test_the_threshold_does_not_depend_on_test(predictions):
    changed = predictions.assign(probability=predictions.probability.where(predictions.split == "tune", 0.5))
    assert metrics.operating_points(predictions) == metrics.operating_points(changed)


def test_per_child_is_the_mean_logit_of_the_childs_films():
    films = table([1, 1, 0], expit([1.0, 3.0, -1.0]), ["a", "a", "b"])
    children = metrics.mean_logit(films, "patient")
    assert children.patient.tolist() == ["a", "b"]
    assert children.logit.tolist() == pytest.approx([2, -1])
    assert children.probability.tolist() == pytest.approx(expit([2, -1]).tolist())
    assert children.label.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.drop(columns="patient"), "no column patient"),
        (lambda p: p.assign(logit=p.logit.where(p.index > 0, np.inf)), "no finite logit"),
        (lambda p: p.assign(logit=p.logit.where(p.index > 0)), "no finite logit"),
        (lambda p: pd.concat([p, p.head(1)]), "comes twice"),
    ],
)
def test_an_invalid_predictions_table_is_refused(predictions, change, words):
    with pytest.raises(UserError, match=words):
        metrics.check(change(predictions))


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
    assert np.isfinite(metrics._percentiles(values)).all() == known
