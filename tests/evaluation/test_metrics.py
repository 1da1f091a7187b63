"""Numbers: as scikit-learn and scipy have them where they define the same thing, as a hand count has them elsewhere."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit
from sklearn import metrics as sk

from xraylib.evaluation import metrics, tables
from xraylib.files import UserError


def table(label, probability, patient=None, **columns):
    n = len(label)
    base = {"network": "xray_cnn", "seed": 0, "folder": "test", "split": "test", "subtype": "virus", "label": label}
    base |= {"path": [f"{i}.jpeg" for i in range(n)], "patient": range(n) if patient is None else patient}
    return pd.DataFrame(base | {"probability": probability, "logit": logit(probability)} | columns, range(n))


@st.composite
def scored(draw):
    """Labels with both classes, and probabilities with many ties."""
    n = draw(st.integers(4, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    label = np.r_[0, 0, 1, 1, rng.integers(0, 2, n - 4)]
    return label, np.round(rng.random(n) * 0.7 + 0.3 * label * rng.random(n), draw(st.integers(1, 8)))


def test_rates_by_hand():
    # of 10 films with pneumonia 8 are found, of 20 normal ones 5 are called PNEUMONIA
    found = metrics.at_threshold([1] * 10 + [0] * 20, [0.5] * 8 + [0.4] * 2 + [0.9] * 5 + [0.1] * 15, 0.5)
    assert [found[name] for name in ("tn", "fp", "fn", "tp")] == [15, 5, 2, 8]
    wanted = {"sensitivity": 8 / 10, "specificity": 15 / 20, "accuracy": 23 / 30, "balanced_accuracy": 0.775}
    wanted |= {"ppv": 8 / 13, "npv": 15 / 17, "mcc": (8 * 15 - 5 * 2) / np.sqrt(13 * 10 * 20 * 17)}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert np.isnan(metrics.at_threshold([0, 0], [0.1, 0.9], 0.5)["sensitivity"])


@settings(max_examples=60, deadline=None)
@given(scored(), st.floats(0.05, 0.95))
def test_rates_and_rankings_are_scikit_learns(world, threshold):
    label, probability = world
    decision = (probability >= threshold).astype(int)
    found = metrics.at_threshold(label, probability, threshold) | metrics.ranking(label, probability)
    wanted = {
        "accuracy": sk.accuracy_score(label, decision),
        "balanced_accuracy": sk.balanced_accuracy_score(label, decision),
        "sensitivity": sk.recall_score(label, decision),
        "specificity": sk.recall_score(label, decision, pos_label=0),
        "auroc": sk.roc_auc_score(label, probability),
        "average_precision": sk.average_precision_score(label, probability),
        "brier": sk.brier_score_loss(label, probability),
    }
    if 0 < decision.sum() < len(decision):
        wanted |= {"ppv": sk.precision_score(label, decision), "mcc": sk.matthews_corrcoef(label, decision)}
        wanted["npv"] = sk.precision_score(label, decision, pos_label=0)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    assert [found[k] for k in ("tn", "fp", "fn", "tp")] == sk.confusion_matrix(label, decision).ravel().tolist()


def test_expected_calibration_error_and_its_bins_by_hand():
    # bin (0.1, 0.2]: two films at 0.2, one positive: |0.5 - 0.2|; bin (0.9, 1]: 0. Half of 0.3.
    films = table([0, 1, 1, 1], [0.2, 0.2, 1.0, 1.0])
    assert metrics.ranking(films.label, films.probability)["expected_calibration_error"] == pytest.approx(0.15)
    bins = [["xray_cnn", 0.1, 0.2, 2, 0.2, 0.5], ["xray_cnn", 0.9, 1.0, 2, 1.0, 1.0]]
    assert tables.calibration(films).to_numpy().tolist() == bins


def test_weights_count_films():
    rng = np.random.default_rng(0)
    label, probability = np.r_[0, 1, rng.integers(0, 2, 30)], rng.random(32).round(2)
    weights = np.r_[1, 1, rng.integers(0, 4, 30)]
    once = metrics.statistics(table(label, probability), 0.5)(weights[None].astype(float))
    repeated = metrics.statistics(table(np.repeat(label, weights), np.repeat(probability, weights)), 0.5)
    for name, value in metrics.once(repeated, weights.sum()).items():
        assert once[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_ppv_of_a_good_test_for_a_rare_disease_is_poor():
    # of 10,000 children 500 have pneumonia: 450 found; of 9,500 healthy 950 false positives
    films = table([1] * 10 + [0] * 10, [0.9] * 9 + [0.1] + [0.9] + [0.1] * 9)
    figures = metrics.once(metrics.statistics(films, 0.5), 20)
    assert (figures["ppv_at_0.05"], figures["npv_at_0.05"]) == pytest.approx((450 / 1400, 8550 / 8600))


def test_sensitivity_of_a_subtype_by_hand():
    subtype = ["normal", "bacteria", "bacteria", "bacteria", "virus", "virus"]
    films = table([0, 1, 1, 1, 1, 1], [0.9, 0.9, 0.2, 0.1, 0.8, 0.3], subtype=subtype)
    found = metrics.once(metrics.statistics(films, 0.5), 6)
    assert (found["sensitivity_bacteria"], found["sensitivity_virus"]) == pytest.approx((1 / 3, 1 / 2))


def test_net_benefit_by_hand():
    # threshold 0.2: odds 1/4. 2 of 4 true positives, 1 of 4 false positive: 2/4 - 1/4 * 1/4
    found = metrics.net_benefit([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.1], [0.2]).to_numpy()
    assert found.ravel().tolist() == pytest.approx([2 / 4 - 1 / 16, 2 / 4 - 2 / 4 / 4])


def test_the_threshold_lies_midway_between_two_normal_distributions_whatever_the_share_of_each_class():
    label = np.repeat([0, 1], [2000, 18000])  # of equal SD: the linear discriminant is undecided at the mean of means
    logits = np.random.default_rng(0).normal(4.0 * label - 3, 1.5)
    assert logit(metrics.choose_operating_point(table(label, expit(logits)))) == pytest.approx(-1, abs=0.1)


@settings(max_examples=60, deadline=None)
@given(scored(), st.floats(-3, 3))
def test_the_threshold_moves_with_the_logits_and_lies_among_them(world, shift):
    label, probability = world[0], np.clip(world[1], 0.01, 0.99)
    threshold = metrics.choose_operating_point(table(label, probability))
    means = [probability[label == k].mean() for k in (0, 1)]
    if means[1] - means[0] > 0.1:
        assert probability.min() <= threshold <= probability.max()
        moved = metrics.choose_operating_point(table(label, expit(logit(probability) + shift)))
        assert logit(moved) == pytest.approx(logit(threshold) + shift, abs=0.05)


def test_without_any_difference_every_film_is_called_pneumonia():
    assert metrics.choose_operating_point(table([0, 1, 1], [0.62, 0.62, 0.62])) == 0.62


@pytest.mark.parametrize(("label", "name"), [(0, "PNEUMONIA"), (1, "NORMAL")])
def test_without_a_class_there_is_no_threshold(label, name):
    with pytest.raises(UserError, match=f"none of them {name}"):
        metrics.choose_operating_point(table([label] * 2, [0.1, 0.2]))


def interval(films, resamples, seed=0):
    """Of sensitivity; `films` with pneumonia alone."""
    right = (films.probability >= 0.5).to_numpy(float)
    found = metrics.patient_bootstrap(films, lambda w: {"": w @ right / w.sum(axis=1)}, resamples, seed).loc[""]
    assert found.value == right.mean()
    return found.lower, found.upper


def test_intervals_cover_what_they_should_when_films_of_a_child_go_together():
    """400 studies of 60 children with 1 to 5 films, all right or all wrong together: 95 % should cover the truth.

    The binomial SD of the coverage is 1.1 points. An interval that resampled films would cover about 75 %.
    """
    rng, covered = np.random.default_rng(1), []
    for study in range(400):
        child = np.repeat(np.arange(60), rng.integers(1, 6, 60))
        probability = np.where(rng.random(60) < 0.7, 0.9, 0.1)[child]
        lower, upper = interval(table(np.ones(len(child), int), probability, child), 300, study)
        covered.append(lower <= 0.7 <= upper)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_one_film_a_child_gives_scipys_bootstrap_and_copies_of_its_films_the_same():
    right = np.random.default_rng(0).random(300) < 0.9
    films = table(np.ones(300, int), np.where(right, 0.9, 0.1))
    wanted = stats.bootstrap((right.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=0)
    assert interval(films, 4000) == pytest.approx(tuple(wanted.confidence_interval), abs=0.006)
    assert interval(pd.concat([films, films]), 4000) == pytest.approx(interval(films, 4000))


@pytest.mark.parametrize(("undefined", "known"), [(5, True), (6, False)])
def test_an_interval_is_known_where_at_least_half_of_the_resamples_are_defined(undefined, known):
    values = np.array([np.nan] * undefined + [0.5] * (10 - undefined))
    found = metrics.patient_bootstrap(table([0], [0.5]), lambda weights: {"": values}, 10, 0)
    assert np.isfinite(found.lower[""]) == np.isfinite(found.upper[""]) == known


SKILLS = {"published": 0.3, "xray_cnn": 0.6}


@pytest.fixture
def predictions():
    """Two seeds of each network on tune and test, 40 films of 20 children a split."""
    rng, label, parts = np.random.default_rng(0), np.arange(40) % 2, []
    children = pd.Series([f"{i // 4}-{i % 2}" for i in range(40)])
    for (network, skill), seed, split in itertools.product(SKILLS.items(), (0, 1), ("tune", "test")):
        probability = np.clip(rng.random(40) * (1 - skill) + skill * label, 0.001, 0.999)
        part = table(label, probability, split + children, network=network, seed=seed, split=split)
        parts.append(part.assign(path=f"{split}/" + part.path))
    return pd.concat(parts, ignore_index=True)


def test_a_network_does_not_differ_from_itself_and_other_films_cannot_be_compared(predictions, config):
    config, points = dataclasses.replace(config, bootstrap_resamples=20), metrics.operating_points(predictions)
    test = predictions[(predictions.network == "xray_cnn") & (predictions.split == "test")]
    once = test[test.seed == 0]
    assert (metrics.paired_bootstrap(once, once, points, config).loc[list(metrics.HEADLINE)] == 0).all(axis=None)
    with pytest.raises(ValueError, match="same films"):
        metrics.paired_bootstrap(test, test.assign(path=test.path + "x"), points, config)


def test_intervals_draw_seeds_with_patients(config):
    """One seed: patients alone. Two that never agree, one always right: the interval holds both, as one in four
    resamples has each seed twice; of a difference to an equal network, drawn apart, from -1 to 1."""
    label = np.arange(40) % 2
    right, wrong = np.where(label, 0.9, 0.1), np.where(label, 0.1, 0.9)
    points = {("xray_cnn", seed): 0.5 for seed in (0, 1)}
    both = pd.concat([table(label, right), table(label, wrong, seed=1)])
    found = metrics.summarise_split(both, points, config).query("seed == 'mean'").set_index("statistic")
    for name in metrics.HEADLINE:
        assert found.loc[name, ["value", "lower", "upper"]].tolist() == [0.5, 0, 1]
    difference = metrics.paired_bootstrap(both, both, points, config).loc["accuracy"]
    assert difference.tolist() == [0, -1, 1]
    half = table(label, np.where(np.arange(40) < 20, right, wrong))
    films = half.sort_values("path")
    alone = metrics.patient_bootstrap(
        films, metrics.statistics(films, 0.5), config.bootstrap_resamples, config.split_seed
    )
    found = metrics.summarise_split(half, points, config).query("seed == 'mean'").set_index("statistic")
    pd.testing.assert_frame_equal(found[["value", "lower", "upper"]], alone, check_names=False)


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
    assert [found.value["published", "test", seed, "accuracy"] for seed in "01"] == pytest.approx(each)
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
    assert found.value["xray_cnn", "tune", "ensemble", "threshold"] == wanted


def test_thresholds_come_from_tune_alone_and_the_published_network_decides_at_one_half(predictions):
    unscaled = predictions[predictions.network == "published"].assign(network="published_unscaled", split="val")
    points = metrics.operating_points(pd.concat([predictions, unscaled]))
    assert points["published", 0] == points["published_unscaled", 1] == 0.5
    tune = predictions[(predictions.network == "published") & (predictions.seed == 0) & (predictions.split == "tune")]
    assert metrics.operating_points(predictions, ())["published", 0] == metrics.choose_operating_point(tune)
    changed = predictions.assign(probability=predictions.probability.where(predictions.split == "tune", 0.5))
    assert metrics.operating_points(predictions) == metrics.operating_points(changed)


def test_per_child_is_the_mean_logit_of_the_childs_films():
    children = metrics.mean_logit(table([1, 1, 0], expit([1.0, 3.0, -1.0]), ["a", "a", "b"]), "patient")
    assert children[["patient", "label", "path"]].to_numpy().tolist() == [["a", 1, "0.jpeg"], ["b", 0, "2.jpeg"]]
    assert children.logit.tolist() == pytest.approx([2, -1])
    assert children.probability.tolist() == pytest.approx(expit([2, -1]).tolist())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.drop(columns="patient"), "no column patient"),
        (lambda p: p.assign(label=p.label + 1), "label that is not 0 or 1"),
        (lambda p: p.assign(logit=p.logit.where(p.index > 0)), r"seed 0, 0.jpeg has no finite logit \(1 such"),
        (lambda p: pd.concat([p, p.head(1)]), "comes twice"),
    ],
)
def test_an_invalid_predictions_table_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        metrics.check(change(table([0, 1], [0.1, 0.9])))
