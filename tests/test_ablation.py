"""The judges of the ablation see films that training did not, and a training of every variant is judged."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tools import ablation
from xraylib import plots
from xraylib.config import Config
from xraylib.files import UserError
from xraylib.network import augment


def test_the_series_is_kept_out_of_training_and_of_tune_and_nothing_else_is():
    paths = ["train/NORMAL/IM-1.jpeg", "train/NORMAL/NORMAL2-IM-2.jpeg", "train/PNEUMONIA/person1.jpeg",
             "train/NORMAL/NORMAL2-IM-3.jpeg", "test/NORMAL/NORMAL2-IM-4.jpeg"]  # fmt: skip
    index = pd.DataFrame({"path": paths, "label": [0, 0, 1, 0, 0], "split": ["train", "train", "tune", "tune", "test"]})
    assert ablation.keep_series_out(index).split.tolist() == ["train", "series", "tune", "series"]  # and test is gone
    assert index.split.tolist() == ["train", "train", "tune", "tune", "test"]


def test_without_such_a_series_it_is_said():
    index = pd.DataFrame({"path": ["train/NORMAL/IM-1.jpeg"], "label": [0], "split": ["train"]})
    with pytest.raises(UserError, match="0 images of the series NORMAL2-, 1 others"):
        ablation.keep_series_out(index)


def test_judges_by_hand():
    def rows(network, split, label, probability):
        return pd.DataFrame({"network": network, "split": split, "label": label, "probability": probability})

    found = ablation.judge(
        pd.concat(
            [
                rows("xray_cnn", "tune", [0, 1, 1], [0.1, 0.4, 0.9]),  # all pairs in order
                rows("xray_cnn", "series", [0, 0], [0.2, 0.6]),  # one of four pairs is not
                rows("xray_cnn", "test", [0, 1], [0.9, 0.1]),  # nobody's business
                rows("xray_cnn@crop", "tune", [0, 1], [0.5, 0.5]),  # a tie counts half
                rows("exchanged", "series", [0, 1, 1], [0.5, 0.4, 0.6]),
            ]
        )
    )
    assert [(row["judge"], row["images"], row["auroc"]) for row in found] == [
        ("tune", 3, 1.0),
        ("series", 4, 0.75),
        ("exchanged", 3, 0.5),
        ("spoilt", 2, 0.5),
    ]


def amplitude(images, low, high):
    """Mean amplitude of the waves from side to side from low to high, per image."""
    waves = np.hypot(*np.meshgrid(*[np.fft.fftfreq(images.shape[1], 1 / images.shape[1])] * 2))
    return np.abs(np.fft.fft2(images))[:, (waves >= low) & (waves < high)].mean(axis=1)


def test_exchanged_films_have_the_details_of_the_other_class_and_their_own_outline():
    """Healthy films with twice the contrast of the ill: their details change sides, what is coarse stays."""
    noise = np.random.default_rng(0).normal(size=(6, 64, 64))
    labels = np.repeat([0, 1], 6)
    images = np.rint(128 + np.concatenate([24 * noise, 12 * noise])).astype(np.uint8)
    gap = ablation.spectral_gap(images, labels)
    np.testing.assert_allclose(gap[2:], -np.log(2), atol=0.1)
    changed = ablation.exchange_spectra(images, labels, gap)
    details, coarse = ((9, 30), (1, 7))
    for band, ratio in ((details, np.repeat([0.5, 2], 6)), (coarse, 1)):
        np.testing.assert_allclose(amplitude(changed, *band) / amplitude(images, *band), ratio, rtol=0.1)


def test_exchanged_films_have_the_grey_levels_of_the_other_class_and_their_own_order():
    """Healthy films from 20 to 220, ill ones from 60 to 120: the grey levels change sides, no pixel passes another."""
    rng = np.random.default_rng(0)
    films = {0: (20, 220), 1: (60, 120)}
    labels = np.repeat([0, 1], 4)
    images = np.stack([rng.permutation(np.linspace(*films[y], 64 * 64)).reshape(64, 64) for y in labels])
    images = np.rint(images).astype(np.uint8)
    gap = ablation.grey_gap(images, labels)
    np.testing.assert_allclose(gap, 40 - 140 * ablation.RANKS, atol=1.1)
    changed = ablation.exchange_greys(images, labels, gap)
    for image, other, label in zip(images, changed, labels, strict=True):
        np.testing.assert_allclose(np.quantile(other, [0.02, 0.5, 0.98]),
                                   np.interp([0.02, 0.5, 0.98], [0, 1], films[1 - label]), atol=4)  # fmt: skip
        order = np.argsort(image.ravel())
        assert (np.diff(other.ravel()[order].astype(int)) >= 0).all()


def test_without_a_gap_nothing_changes():
    images, labels = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8), np.array([0, 1, 1])
    np.testing.assert_array_equal(ablation.exchange_spectra(images, labels, np.zeros(9)), images)
    np.testing.assert_array_equal(ablation.exchange_greys(images, labels, np.zeros(256)), images)


def test_every_variant_but_the_first_changes_the_recipe(config):
    known = set(augment.INGREDIENTS)
    left_out = [changes.get("without", ()) for changes in ablation.VARIANTS.values()]
    assert set().union(*left_out) == known  # each ingredient is questioned
    whole = dataclasses.replace(config, image_size=Config.image_size, input_size=Config.input_size)
    others = [dataclasses.replace(whole, **changes) for changes in ablation.VARIANTS.values()]
    assert [other == whole for other in others] == [True] + [False] * (len(others) - 1)
    assert max(other.input_size for other in others) <= whole.image_size  # no variant sees pixels that are not there


def test_every_variant_is_trained_judged_and_drawn_and_kept(world, config, tmp_path, monkeypatch):
    _, index, images = world
    monkeypatch.setattr(ablation, "VARIANTS", dict(list(ablation.VARIANTS.items())[:2]))
    index = index.assign(path=index.path.str.replace("NORMAL/IM-000", "NORMAL/NORMAL2-IM-000"))
    short = dataclasses.replace(config, epochs=1)
    table = ablation.run(index, images, short)
    assert len(table) == 2 * 4
    _, axes = plots.figure(1, 4, width=plots.DOUBLE)
    plots.ablation(table, axes, ablation.JUDGES, ablation.WHOLE)
    shown = [np.asarray(line.get_xdata()).tolist() for line in axes[1].lines if line.get_marker() == "o"]
    assert shown == [[value] for value in table.auroc[table.judge == "series"]]
    done = sorted((config.build / "ablation").glob("trained/*/done.json"))
    assert len(done) == 2
    before = [path.stat().st_mtime_ns for path in done]
    pd.testing.assert_frame_equal(ablation.run(index, images, short), table)
    assert [path.stat().st_mtime_ns for path in done] == before


def test_the_command_writes_its_table_and_figure(world, config, monkeypatch, capsys):
    _, index, images = world
    index = index.assign(path=index.path.str.replace("NORMAL/IM-000", "NORMAL/NORMAL2-IM-000"))
    short = dataclasses.replace(config, epochs=1)
    monkeypatch.setattr(ablation, "VARIANTS", dict(list(ablation.VARIANTS.items())[:1]))
    monkeypatch.setattr(ablation, "load_config", lambda: short)
    monkeypatch.setattr(ablation, "load_index", lambda _: index)
    monkeypatch.setattr(ablation, "load_images", lambda *_: images)
    monkeypatch.setattr("sys.argv", ["ablation"])
    assert ablation.main() == 0
    assert len(pd.read_csv(config.results / "ablation.csv")) == 4
    assert (config.plots / "ablation.png").exists()
    assert capsys.readouterr().out.splitlines()[-1].startswith("wrote ")
    monkeypatch.setattr(ablation, "load_index", lambda _: index.assign(path="IM-1.jpeg"))
    assert ablation.main() == 1
    assert "0 images of the series NORMAL2-" in capsys.readouterr().err
