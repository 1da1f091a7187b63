"""The exported file computes what Keras does; the decision file follows from tune alone."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter
from scipy.special import expit

from xraylib.data import phantom
from xraylib.data.frames import shrink
from xraylib.files import UserError
from xraylib.network import backend, locator, model, published
from xraylib.network.weights import save_network
from xraylib.predict import export, ood
from xraylib.predict.films import load


def network(config, seed):
    """A network of the study, whose statistics are not those it starts with."""
    backend.start(seed)
    built = model.build(config)
    rng = np.random.default_rng(seed)
    built.set_weights([w + rng.uniform(0.02, 0.2, w.shape) * (w.ndim == 1) for w in built.get_weights()])
    return built


def computed(content, images, name):
    interpreter = Interpreter(model_content=content, num_threads=2)
    return interpreter.get_signature_runner("serving_default")(images=images)[name]


@pytest.fixture(scope="module")
def films():
    """200 phantoms, uint8 (200, 32, 32): twenty drawn, each with ten random contrasts."""
    drawn = [phantom.expose(phantom.shadow(item)[0], item) for item in phantom.plan(66)[:20]]
    small = np.stack([shrink(np.asarray(film.convert("L")), 32) for film in drawn])
    return (np.repeat(small, 10, axis=0) * np.random.default_rng(0).uniform(0.3, 1, (200, 1, 1))).astype(np.uint8)


def test_probabilities_equal_keras(config, films):
    networks = [network(config, seed) for seed in (0, 1)]
    found = computed(export.export(networks, 32), films, "logits")
    wanted = np.stack([backend.outputs(each, films[..., None].astype(np.float32)) for each in networks], axis=1)
    assert wanted.std(axis=0).min() > 1e-2  # not all alike, or the comparison would say little
    assert np.abs(expit(found.astype(np.float64)) - expit(wanted.astype(np.float64))).max() < 2e-3


def test_lungs_equal_keras(films):
    backend.start(0)
    network = locator.build()
    found = computed(export.export_locator(network), locator.small_films(films[::10]), "lungs")
    assert np.abs(found - locator.locate(network, films[::10])).max() < 5e-3


@pytest.fixture
def made(config, shared):
    """Networks and predictions of the seeds 0 and 1, and what export.write makes of them."""
    config = dataclasses.replace(config, seeds=(0, 1))

    def make(folder):
        here = dataclasses.replace(config, models=folder / "models", results=folder / "results")
        for seed in config.seeds:
            save_network(network(config, seed), here.network_file("xray_cnn", seed))
        save_network(locator.build(), here.locator_file)
        rng = np.random.default_rng(0)
        frames, masks = rng.integers(0, 255, (50, 32, 32), np.uint8), rng.random((50, 48, 48))
        ood.write(ood.fit(frames, frames, masks, masks), here.models)
        rows = pd.DataFrame({"path": [f"{i}.png" for i in range(400)], "label": np.arange(400) % 2})
        rows["split"] = np.repeat(["tune", "test"], 200)
        logits = [rows.label * 4 - 1 + rng.normal(0, 1, 400) for _ in config.seeds]
        seeds = [rows.assign(network="xray_cnn", seed=seed, logit=logit) for seed, logit in enumerate(logits)]
        here.results.mkdir()
        pd.concat(seeds).to_csv(here.results / "predictions.csv", index=False)
        written(here)

    folder = shared("exported", make)
    shutil.copytree(folder / "models", config.models)
    shutil.copytree(folder / "results", config.results)
    return config


def written(config):
    export.write(config)
    export.write_decision(pd.read_csv(config.results / "predictions.csv"), config)


def test_the_bytes_are_the_same_at_every_run_and_predict_reads_them(made):
    once = {file.name: file.read_bytes() for file in made.models.iterdir()}
    published.build()  # whatever else was built in between
    written(made)
    assert {file.name: file.read_bytes() for file in made.models.iterdir()} == once
    released = load(made.models)
    assert len(released.thresholds) == 2 and sum(films for _, _, films, _ in released.bands) == 200
    (made.models / ood.FILE).unlink()
    with pytest.raises(UserError, match=r"no familiar\.npz"):
        export.write_decision(pd.read_csv(made.results / "predictions.csv"), made)


def test_what_decides_comes_from_tune_alone(made):
    decision = json.loads((made.models / "decision.json").read_text())
    predictions = pd.read_csv(made.results / "predictions.csv")
    export.write_decision(predictions.assign(logit=predictions.logit.where(predictions.split == "tune", 0.5)), made)
    other = json.loads((made.models / "decision.json").read_text())
    assert other["bands"].pop("test") != decision["bands"].pop("test")
    assert other == decision


def test_bounds_and_bands_by_hand():
    label, logit = np.array([0, 0, 1, 0, 1, 1]), np.array([-3.0, -2, -1, 0, 2, 3])
    table = pd.DataFrame({"label": label, "logit": logit})
    assert export.threshold(table.assign(logit=[-3.0, -2, 2, -1, 1, 3])) == pytest.approx(0, abs=1e-3)  # mirror images
    assert export.bounds(label, logit) == (-1, 0)
    many = np.repeat([0, 1], 100), np.concatenate([np.arange(100) - 90.0, np.arange(100) - 10.0])
    assert export.bounds(*many) == (-9, 8)  # one of each hundred lies beyond
    assert export.bands(table, 0.0) == [(0, 10, 1, 0), (10, 50, 2, 1), (50, 90, 2, 1), (90, 100, 1, 1)]
