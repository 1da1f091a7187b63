"""What is unlike the training films is found by a distance whose parts can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xraylib.files import UserError
from xraylib.predict import outliers


def films(n: int, seed: int, size: int = 32) -> np.ndarray:
    """Dark left, bright right, noise over it: what these films are like."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(60, 180, size) + rng.normal(0, 10, (n, 1, 1))
    return np.clip(ramp + rng.normal(0, 6, (n, size, size)), 0, 255).astype(np.uint8)


def masks(n: int) -> np.ndarray:
    """The same lungs in every film."""
    lungs = np.zeros((n, 48, 48), np.float32)
    lungs[:, 8:40, 6:42] = 0.9
    return lungs


@pytest.fixture(scope="module")
def familiar():
    return outliers.fit(films(400, 0), films(200, 1), masks(400), masks(200))


def test_one_in_a_hundred_tune_films_is_beyond_the_limit(familiar):
    assert (familiar.distance(films(200, 1), masks(200)) > 1).sum() == 2
    assert (familiar.distance(films(400, 2), masks(400)) > 1).mean() < 0.05  # others of their kind


CHANGES = {
    "inverted": lambda x: 255 - x,
    "mirrored": lambda x: x[:, :, ::-1],
    "turned": lambda x: np.rot90(x, axes=(1, 2)),
    "blank": lambda x: np.full_like(x, 120),
    "shuffled": lambda x: np.random.default_rng(0).permuted(x, axis=2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_films_are_beyond_the_limit(familiar, change):
    assert (familiar.distance(CHANGES[change](films(20, 3)), masks(20)) > 1).all()


def test_the_distance_is_mahalanobis(familiar):
    train = outliers.statistics(films(400, 0), masks(400))
    standard = (train - train.mean(0)) / (train.std(0) + 1e-6)
    inverse = np.linalg.inv(np.cov(standard.T, bias=True) + outliers.RIDGE * np.eye(train.shape[1]))
    z = (outliers.statistics(films(5, 9), masks(5)) - train.mean(0)) / (train.std(0) + 1e-6)
    wanted = np.sqrt(np.einsum("ni,ij,nj->n", z, inverse, z) / z.shape[1]) / float(familiar.limit)
    np.testing.assert_allclose(familiar.distance(films(5, 9), masks(5)), wanted, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(0, 255), st.integers(0, 99))
def test_counted_quantiles_are_those_of_the_sorted_levels(size, spread, seed):
    image = np.random.default_rng(seed).integers(0, spread + 1, (size, size), np.uint8)
    *quantiles, sd = outliers._levels(image)
    np.testing.assert_array_equal(quantiles, np.quantile(image, outliers.QUANTILES, method="inverted_cdf"))
    assert sd == pytest.approx(image.std())


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 130), st.integers(0, 255))
def test_the_mean_of_places_is_the_mean_of_pixels_at_any_size(size, level):
    image = np.random.default_rng(size).integers(0, 256, (1, size, size)).astype(np.float64)
    assert outliers._shrunk(image, 6).mean() == pytest.approx(image.mean())
    np.testing.assert_allclose(outliers._shrunk(np.full((1, size, size), level), 6), level)


def test_a_statistic_that_never_varies_stays_finite():
    black = np.zeros((50, 32, 32), np.uint8)
    familiar = outliers.fit(black, black, masks(50), masks(50))
    assert np.isfinite(familiar.distance(films(3, 0), masks(3))).all()


def test_it_is_written_with_the_same_bytes_and_read_back(familiar, tmp_path):
    for name in ("one", "two"):
        outliers.write(familiar, tmp_path / name)
    assert (tmp_path / "one" / outliers.FILE).read_bytes() == (tmp_path / "two" / outliers.FILE).read_bytes()
    back = outliers.read(tmp_path / "one")
    np.testing.assert_array_equal(back.distance(films(5, 4), masks(5)), familiar.distance(films(5, 4), masks(5)))
    with pytest.raises(UserError, match=r"familiar\.npz: not there"):
        outliers.read(tmp_path)


def test_the_shape_of_the_lungs_counts_and_their_place_does_not(familiar):
    mask = np.zeros((4, 48, 48), np.float32)
    mask[0, 5:25, 4:20] = mask[1, 15:35, 14:30] = mask[2, 5:25, 4:20] = 0.9
    mask[2, 5:15, 4:12] = 0
    one, shifted, other, none = outliers.statistics(films(4, 0), mask)[:, -37:]
    np.testing.assert_allclose(one, shifted, atol=1e-6)
    assert np.abs(one - other).max() > 0.5
    assert one[-1] == pytest.approx(0.9) and none[-1] == 0


def test_the_table_has_a_row_a_kind_with_the_share_not_assessed():
    asked = []

    def refuse(images):
        asked.append(images)
        return images[:, :, 0].mean(axis=1) > images[:, :, -1].mean(axis=1)

    table = outliers.table(refuse, films(8, 0)).set_index("kind")
    assert (table.not_assessed.loc[["as it is", "inverted", "blank"]] == [0, 1, 0]).all()
    assert set(table.wanted) == {"assessed", "not assessed"}
    assert table.films["blank"] == 1 and all(images.shape[1:] == (32, 32) for images in asked)
    np.testing.assert_array_equal(outliers.changed(films(3, 0))["upside down"][1][:, 0], films(3, 0)[:, -1])
