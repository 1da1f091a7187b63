"""Pairs timed in one run: this study's way against another way of doing the same, as ratios (above 1: ours is faster).

Each pair is timed alternately, three times each, and the best of each counts: a shared machine only ever adds time. The
trainings are timed once a seed, and their mean counts.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from xraylib.data.parallel import CORES, in_order

from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data import images
from xraylib.data.index import find_root, list_images, load_index
from xraylib.evaluation import metrics
from xraylib.files import UserError, quiet, say, write_json, write_table
from xraylib.network import augment, backend, model, published, train
from xraylib.network.backend import keras, tf
from xraylib.predict import export, films, outliers

ROUNDS = 3
FILMS = 600  # files that the input pipelines read and decode
MANY = 1000  # images to predict at once
ASKED = 10  # batches from one look at tune's AUROC to the next


def pair(name: str, unit: str, work: float, ours: Callable[[], object], other: Callable[[], object]) -> dict:
    """{"name", "ours", "other", "unit", "ratio"}: `work` units a second by each of two functions, best of ROUNDS."""
    for function in (ours, other):
        function()  # what is done once, and traced or cached, is not what is compared
    best = {"ours": np.inf, "other": np.inf}
    for _ in range(ROUNDS):
        for which, function in (("ours", ours), ("other", other)):
            started = time.perf_counter()
            function()
            best[which] = min(best[which], time.perf_counter() - started)
    rate = {which: work / seconds for which, seconds in best.items()}
    return {
        "name": name,
        "ours": rate["ours"],
        "other": rate["other"],
        "unit": unit,
        "ratio": rate["ours"] / rate["other"],
    }


def plain_pillow(file: Path | str, size: int) -> np.ndarray:
    """What most would write: the whole file decoded, then made small; uint8 (size, size)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.LANCZOS))


def typical(files: list[Path]) -> str:
    """How large the films are, which decides what can be gained on them: "films of 1368 x 960", the median."""
    width, height = np.median([Image.open(file).size for file in files], axis=0)
    return f"films of {width:.0f} x {height:.0f}"


def bench_decoding(files: list[Path], config: Config) -> list[dict]:
    """Decoding to the study's size on one core, against plain Pillow and against tf.io."""
    size, films = config.image_size, typical(files)

    def ours():
        for file in files:
            images.decode(file, size)

    def pillow():
        for file in files:
            plain_pillow(file, size)

    def tf_io():
        for file in files:
            grey = tf.io.decode_jpeg(tf.io.read_file(str(file)), channels=1)
            tf.image.resize(grey, (size, size), antialias=True).numpy()

    n = len(files)
    return [
        pair(f"decoding {films}, against plain Pillow", "images/s", n, ours, pillow),
        pair(f"decoding {films}, against tf.io", "images/s", n, ours, tf_io),
    ]


def bench_pipeline(files: list[Path], config: Config) -> dict:
    """An augmented epoch of decoded images, against keras' image_dataset_from_directory with Random* layers.

    Keras' layers vary the same by about the same amounts, but for shading, tone and gamma, which have none.
    """
    array = np.stack([images.decode(file, config.image_size) for file in files])
    label = np.array([file.parent.name == "PNEUMONIA" for file in files]).astype(int)
    frame, most = augment.AMOUNTS["frame"], {name: high for name, (_, high) in augment.AMOUNTS.items()}
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(most["turn"] / 360, fill_mode="constant"),
            keras.layers.RandomZoom(frame, frame, fill_mode="constant"),  # width and height apart
            keras.layers.RandomTranslation(most["shift"], most["shift"], fill_mode="constant"),
            keras.layers.RandomSharpness(most["sharpness"]),
            keras.layers.RandomContrast(most["contrast"]),
            keras.layers.RandomBrightness(most["exposure"]),
        ]
    )
    with tempfile.TemporaryDirectory() as name:
        for file in files:
            folder = Path(name) / file.parent.name
            folder.mkdir(exist_ok=True)
            (folder / f"{len(list(folder.iterdir())):05d}.jpeg").symlink_to(file.resolve())
        read = keras.utils.image_dataset_from_directory(
            name, color_mode="grayscale", image_size=(config.input_size,) * 2, batch_size=config.batch_size, verbose=0
        ).map(lambda x, y: (layers(x, training=True), y), tf.data.AUTOTUNE)

        def drain(dataset):
            for _ in dataset:
                pass

        epoch = augment.batches(array, np.arange(len(array)), label, config, seed=0, epoch=1)
        n = len(files) // config.batch_size * config.batch_size
        return pair(
            f"input pipeline on {typical(files)}, against Keras' Random* layers",
            "images/s",
            n,
            lambda: drain(epoch),
            lambda: drain(read),
        )


def bench_prediction(files: list[Path], config: Config) -> list[dict]:
    """The portable copy of all seeds' networks: against Keras' `predict` for 1 image and MANY, and against decoding.

    The names say how large the portable copy is. Weights are random: the time does not depend on them.
    """
    backend.start(0)  # published networks are float32, whatever was trained before
    networks = [model.build(config) for _ in config.seeds]
    many = np.random.default_rng(0).integers(0, 256, (MANY, config.image_size, config.image_size), np.uint8)
    paths = [str(file) for file in files]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(CORES) as pool:
        file = Path(name) / "networks.tflite"
        file.write_bytes(export.export(networks, config.image_size))
        portable_copy = films.Published(file, config.image_size, 0.5, 1.0, 0.0, outliers.fit(many, many))
        with quiet():
            alone = [portable_copy.network() for _ in range(CORES)]  # one for each thread

        def by_threads(images):
            parts = np.array_split(images, len(alone))
            list(pool.map(lambda network, part: network(part), alone, parts))

        def by_keras(images):
            seen = augment.view(tf.cast(images[..., None], tf.float32), config.input_size)
            for network in networks:
                network.predict(seen, batch_size=256, verbose=0)

        size = f"portable copy, {file.stat().st_size / 1e6:.1f} MB"
        return [
            pair(
                f"{size}: 1 image, against Keras", "images/s", 1, lambda: alone[0](many[:1]), lambda: by_keras(many[:1])
            ),
            pair(
                f"{size}: {MANY:,} images, against Keras",
                "images/s",
                MANY,
                lambda: by_threads(many),
                lambda: by_keras(many),
            ),
            pair(
                f"predicting {typical(files)} from files, against plain Pillow that only decodes them, on all cores",
                "images/s",
                len(paths),
                lambda: deque(films.predict_films(paths, portable_copy), maxlen=0),
                lambda: deque(in_order(lambda path: plain_pillow(path, config.image_size), paths, CORES), maxlen=0),
            ),
        ]


def bench_start(file: Path) -> list[dict]:
    """One film from a cold start by `python -m xraylib.predict`, against the published networks loaded by Keras."""
    decision = films.MODELS / "decision.json"
    if not decision.exists():
        return []
    keras_way = (
        "import json, numpy as np; from xraylib import train; from xraylib.data.images import decode\n"
        f"decision = json.loads(open({str(decision)!r}).read())\n"
        f"image = decode({str(file)!r}, decision['image_size'])[None]\n"
        f"files = [{str(films.MODELS)!r} + f'/xray_cnn_seed{{seed}}.keras' for seed in decision['seeds']]\n"
        "print(np.mean([train.predict(train.keras.models.load_model(file), image) for file in files]))"
    )

    def start(*arguments):
        subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        ours = ("-m", "xraylib.predict", str(file), "--output", f"{folder}/predictions.csv")
        name = "one film from a cold start, against Keras"
        return [pair(name, "films/s", 1, lambda: start(*ours), lambda: start("-c", keras_way))]


def bench_step(config: Config, steps: int = 10) -> list[dict]:
    """Training steps of the study's network, against the same network in PyTorch, where PyTorch is installed.

    And against what this machine could do at most: see `as_products`.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (config.batch_size, config.input_size, config.input_size, 1)).astype(np.float32)
    y = (np.arange(config.batch_size) % 2).astype(np.float32)[:, None]
    backend.start(0, backend.precision())
    network = train.compiled(pd.DataFrame({"split": ["train"] * 4 * config.batch_size}), config)
    batches = tf.data.Dataset.from_tensors((x, y)).repeat(steps).with_options(augment.UNTUNED)
    others = {"its multiplications as one matrix product": as_products(network, x, steps)}
    try:
        from tools.bench_torch import training_steps
    except ImportError:
        say("PyTorch is not installed: the training step is not compared with its")
    else:
        for kind in ("float32", "bfloat16"):
            others[f"PyTorch in {kind}"] = training_steps(network, x, y, steps, kind == "bfloat16")
    return [
        pair(
            f"training step, against {name}",
            "images/s",
            steps * config.batch_size,
            lambda: network.fit(batches, epochs=1, shuffle=False, verbose=0),
            other,
        )
        for name, other in others.items()
    ]


def as_products(network: keras.Model, x: np.ndarray, steps: int) -> Callable[[], None]:
    """A function that makes, for each of `steps` steps on x, one matrix product of as many multiplications.

    Those of the convolutions, three times over: for their outputs, and for the gradients of kernels and inputs. One
    large product is what a processor is fastest at, so that no library's step can be much faster.
    """
    graph = tf.function(network).get_concrete_function(tf.TensorSpec(x.shape)).graph
    convolutions = [op for op in graph.get_operations() if op.type == "Conv2D"]
    forward = sum(math.prod(op.outputs[0].shape) * math.prod(op.inputs[1].shape[:-1]) for op in convolutions)
    side = 2048
    left, right = (
        tf.cast(tf.random.stateless_normal((rows, side), [0, 0]), network.compute_dtype)
        for rows in (max(1, 3 * forward // side**2), side)
    )
    product = tf.function(tf.matmul)

    def run() -> None:
        for _ in range(steps):
            product(left, right)

    return run


def seconds_to(wanted: float, seed: int, index: pd.DataFrame, decoded: np.ndarray, config: Config) -> float:
    """Seconds that the study's CNN trains, from nothing, until its AUROC on tune is `wanted`; inf: it never is.

    Asked every ASKED batches; what the asking takes is not counted.
    """
    rows, tune = (np.flatnonzero(index.split == split) for split in ("train", "tune"))
    labels = index.label.to_numpy()
    asking = 0.0

    def ask(batch: int, logs=None) -> None:
        nonlocal asking
        if (batch + 1) % ASKED == 0:
            began = time.perf_counter()
            probability = train.predict(network, decoded, tune)
            network.stop_training = metrics.ranking(labels[tune], probability)["auroc"] >= wanted
            asking += time.perf_counter() - began

    started = time.perf_counter()
    backend.start(seed, backend.precision())
    network = train.compiled(index, config)
    asked = keras.callbacks.LambdaCallback(on_train_batch_end=ask)
    for epoch in range(1, config.epochs + 1):
        train.fit_epoch(network, decoded, rows, labels, config, seed, epoch, [asked])
        if network.stop_training:
            return time.perf_counter() - started - asking
    return np.inf


def bench_training(config: Config) -> list[dict]:
    """Seconds of both trainings, start included, until AUROC on tune is what the published experiment ends with.

    Means over seeds. Nothing, and a line that says so, where notebook 01 has not indexed these images.
    """
    try:
        index = load_index(config)
        if missing := [path for path in index.path if not (config.data / path).exists()]:
            raise UserError(f"{config.data}: {missing[0]} is not there. Run notebook 01_explore, or: make reproduce")
        decoded, tune = images.load_images(config, index), index[index.split == "tune"]
    except UserError as error:
        say(f"trainings are not timed: {error}")
        return []
    ours, other, reached = [], [], []
    for seed in config.seeds:
        say(f"seed {seed}: both trainings")
        started = time.perf_counter()
        backend.start(seed)
        network, _ = published.train(index, config, seed, say)
        other.append(time.perf_counter() - started)
        reached.append(metrics.ranking(tune.label, published.predict(network, tune, config))["auroc"])
        ours.append(seconds_to(reached[-1], seed, index, decoded, config))
        say(f"seed {seed}: AUROC {reached[-1]:.3f} on tune after {ours[-1]:.1f} s, published {other[-1]:.1f} s")
    if np.inf in ours:
        say("trainings are not compared: the study's CNN did not reach the published AUROC with every seed")
        return []
    row = {"ours": np.mean(ours), "other": np.mean(other), "unit": "s", "ratio": np.mean(other) / np.mean(ours)}
    return [{"name": "training until tune is told as well as by the published experiment, against that", **row}]


def keep(rows: list[dict], table: Path) -> None:
    """Put the pairs into the table, in the place of those of the same name: other films give other pairs."""
    new = pd.DataFrame(rows).assign(cores=CORES, precision=backend.precision())
    if table.exists():
        old = pd.read_csv(table)
        new = pd.concat([old[~old.name.isin(new.name)], new])
    write_table(new.round(4), table)


def main() -> int:
    """Command line: python -m tools.bench; writes build/bench.json and prints it as a table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    config = load_config()
    try:
        found = list_images(find_root(config.data), ["train"])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    files = [found[i] for i in np.linspace(0, len(found) - 1, min(FILMS, len(found))).astype(int)]
    rows = []
    for part in (
        lambda: bench_decoding([f for f in files if f.suffix.lower() != ".png"][:200], config),
        lambda: [bench_pipeline(found, config)],
        lambda: bench_prediction(files, config),
        lambda: bench_start(files[0]),
        lambda: bench_step(config),
        lambda: bench_training(config),
    ):
        for row in part():
            rows.append(row)
            print(
                f"{row['name']}: {row['ours']:.1f} against {row['other']:.1f} {row['unit']}, ratio {row['ratio']:.2f}",
                flush=True,
            )
    target, table = config.build.parent / "bench.json", config.results / "bench.csv"
    write_json(rows, target)
    keep(rows, table)
    print(f"wrote {target} and {table}: {len(rows)} pairs on {CORES} cores, {backend.precision()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
