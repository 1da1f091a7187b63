"""Films out of distribution are found by a distance whose parts can be worked out by hand."""

from itertools import product

import numpy as np
import pytest
from PIL import Image

from xraylib.data.decode import resized
from xraylib.predict import ood


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
def study():
    return ood.fit(films(400, 0), films(200, 1), masks(400), masks(200))


def test_one_in_a_hundred_tune_films_is_beyond_the_limit(study):
    assert (study.distance(films(200, 1), masks(200)) > 1).sum() == 2
    assert (study.distance(films(400, 2), masks(400)) > 1).mean() < 0.05  # others of their kind


def test_changed_films_are_beyond_the_limit(study):
    shuffled = np.random.default_rng(0).permuted(films(20, 3), axis=2)
    for changed in (255 - films(20, 3), films(20, 3)[:, :, ::-1], np.full_like(films(20, 3), 120), shuffled):
        assert (study.distance(changed, masks(20)) > 1).all()


def test_the_distance_is_mahalanobis(study):
    train = ood.statistics(films(400, 0), masks(400))
    standard = (train - train.mean(0)) / (train.std(0) + 1e-6)
    inverse = np.linalg.inv(np.cov(standard.T, bias=True) + ood.RIDGE * np.eye(train.shape[1]))
    z = (ood.statistics(films(5, 9), masks(5)) - train.mean(0)) / (train.std(0) + 1e-6)
    wanted = np.sqrt(np.einsum("ni,ij,nj->n", z, inverse, z) / z.shape[1]) / float(study.limit)
    np.testing.assert_allclose(study.distance(films(5, 9), masks(5)), wanted, rtol=1e-9)


def test_a_statistic_that_never_varies_stays_finite():
    black = np.zeros((50, 32, 32), np.uint8)
    study = ood.fit(black, black, masks(50), masks(50))
    assert np.isfinite(study.distance(films(3, 0), masks(3))).all()


def test_a_film_of_64_pixels_is_coarse_however_it_was_enlarged_and_one_of_128_is_not():
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(600, 1 / 600), np.fft.fftfreq(600, 1 / 600))).clip(1)
    for seed in range(4):  # texture at every scale, as films have
        noise = np.random.default_rng(seed).normal(size=(600, 600))
        texture = np.fft.ifft2(np.fft.fft2(noise) / frequency**1.5).real
        film = Image.fromarray(np.clip(128 + 40 * texture / texture.std(), 0, 255).astype(np.uint8))
        assert not ood.coarse(resized(film, 224)) and not ood.coarse(resized(film.resize((128, 128)), 224))
        for side, how in product((28, 48, 64), ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")):
            small = film.resize((side, side), Image.Resampling.BOX)
            large = small.resize((900, 700), Image.Resampling[how])
            assert ood.coarse(resized(small, 224)) and ood.coarse(resized(large, 224)), (side, how)


def test_it_is_written_with_the_same_bytes_and_read_back(study, tmp_path):
    for name in ("one", "two"):
        ood.write(study, tmp_path / name)
    assert (tmp_path / "one" / ood.FILE).read_bytes() == (tmp_path / "two" / ood.FILE).read_bytes()
    back = ood.read(tmp_path / "one")
    np.testing.assert_array_equal(back.distance(films(5, 4), masks(5)), study.distance(films(5, 4), masks(5)))


def test_the_shape_of_the_lungs_counts_and_their_place_does_not(study):
    mask = np.zeros((4, 48, 48), np.float32)
    mask[0, 5:25, 4:20] = mask[1, 15:35, 14:30] = mask[2, 5:25, 4:20] = 0.9
    mask[2, 5:15, 4:12] = 0
    one, shifted, other, none = ood.statistics(films(4, 0), mask)[:, -37:]
    np.testing.assert_allclose(one, shifted, atol=1e-6)
    assert np.abs(one - other).max() > 0.5
    assert one[-1] == pytest.approx(0.9) and none[-1] == 0


def test_the_table_has_a_row_a_kind_with_the_share_not_assessed():
    def assess(images):
        assert images.shape[1:] == (32, 32)
        return images, ["brighter on the left" if image[:, 0].mean() > image[:, -1].mean() else "" for image in images]

    table = ood.table(assess, films(8, 0)).set_index("kind")
    assert (table.not_assessed.loc[["as it is", "inverted", "blank"]] == [0, 1, 0]).all()
    assert set(table.wanted) == {"assessed", "not assessed"} and table.films["blank"] == 1
    np.testing.assert_array_equal(ood.changed(films(3, 0))["upside down"][1][:, 0], films(3, 0)[:, -1])
