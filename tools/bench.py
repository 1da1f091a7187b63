"""Pairs timed in one run: this study's way against another way of doing the same, as ratios (above 1: ours is faster).

Each pair is timed alternately, four times each, and the best of each counts: a shared machine only ever adds time,
and the first time of each also traces and caches.
With --growth: seconds and memory of each step on 500, 5,000 and 50,000 films.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data import images, phantom
from xraylib.data.index import build_index, find_root, list_images, load_index
from xraylib.files import UserError, say, write_table

ROUNDS = 4
FILMS = 600  # files that are decoded, and predicted
SIZES = (500, 5_000, 50_000)  # films, for --growth
DRAWN = 500  # phantoms; more films are copies of them
PREDICT = ("-m", "xraylib.predict")


def pair(name: str, unit: str, work: float, ours: Callable[[], object], other: Callable[[], object]) -> dict:
    """Print and return name, ours, other, unit, ratio: `work` units a second by two functions, best of ROUNDS."""
    best = {"ours": np.inf, "other": np.inf}
    for _ in range(ROUNDS):
        for which, function in (("ours", ours), ("other", other)):
            started = time.perf_counter()
            function()
            best[which] = min(best[which], time.perf_counter() - started)
    rate = {which: work / seconds for which, seconds in best.items()}
    ratio = rate["ours"] / rate["other"]
    say(f"{name}: {rate['ours']:.1f} against {rate['other']:.1f} {unit}, ratio {ratio:.2f}")
    return {"name": name, "ours": rate["ours"], "other": rate["other"], "unit": unit, "ratio": ratio}


def plain_pillow(file: Path | str, size: int) -> np.ndarray:
    """What most would write: the whole file decoded, then made small; uint8 (size, size)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.LANCZOS))


def typical(files: list[Path]) -> str:
    """How large the films are, which decides what can be gained on them: "films of 1368 x 960", the median."""
    width, height = np.median([Image.open(file).size for file in files], axis=0)
    return f"films of {width:.0f} x {height:.0f}"


def bench_decoding(files: list[Path], config: Config) -> dict:
    """Decoding to the study's size on one core, against plain Pillow."""

    def all_by(decode: Callable[[Path, int], np.ndarray]) -> Callable[[], object]:
        return lambda: [decode(file, config.image_size) for file in files]

    name = f"decoding {typical(files)}, against plain Pillow"
    return pair(name, "images/s", len(files), all_by(images.decode), all_by(plain_pillow))


def bench_pipeline(files: list[Path], config: Config) -> dict:
    """An augmented epoch of decoded images, against keras' image_dataset_from_directory with Random* layers.

    Keras' layers vary the same by about the same amounts, but for shading, tone and gamma, which have none.
    """
    from xraylib.network import augment
    from xraylib.network.backend import keras, tf

    array = np.stack([images.decode(file, config.image_size) for file in files])
    label = np.array([file.parent.name == "PNEUMONIA" for file in files]).astype(np.float32)
    zoom, most = augment.RANGES["zoom"], {name: high for name, (_, high) in augment.RANGES.items()}
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(most["rotation"] / 360, fill_mode="constant"),
            keras.layers.RandomZoom(zoom, zoom, fill_mode="constant"),  # width and height apart
            keras.layers.RandomTranslation(most["translation"], most["translation"], fill_mode="constant"),
            keras.layers.RandomSharpness(most["sharpness"]),
            keras.layers.RandomContrast(most["contrast"]),
            keras.layers.RandomBrightness(most["brightness"]),
        ]
    )
    with tempfile.TemporaryDirectory() as name:
        for file in files:
            folder = Path(name) / file.parent.name
            folder.mkdir(exist_ok=True)
            (folder / f"{len(list(folder.iterdir())):05d}.jpeg").symlink_to(file.resolve())
        read = keras.utils.image_dataset_from_directory(
            name, color_mode="grayscale", image_size=(config.image_size,) * 2, batch_size=config.batch_size, verbose=0
        ).map(lambda x, y: (layers(x, training=True), y), tf.data.AUTOTUNE)

        def drain(dataset):
            for _ in dataset:
                pass

        def make(step, rows):
            pixels = tf.cast(array[rows], tf.float32)[..., None]
            return augment.augment(pixels, tf.constant([0, step])), label[rows, None]

        size, batch = config.image_size, config.batch_size
        order = augment.shuffled(np.arange(len(array)), batch, epochs=1, seed=0)
        epoch = augment.dataset(order, make, [(batch, size, size, 1), (batch, 1)])
        n = len(files) // batch * batch
        name = f"input pipeline on {typical(files)}, against Keras' Random* layers"
        return pair(name, "images/s", n, lambda: drain(epoch), lambda: drain(read))


def bench_prediction(files: list[Path], config: Config) -> list[dict]:
    """`python -m xraylib.predict` on all files, against decoding them; on one, against networks loaded by Keras."""
    keras_way = (
        "import sys, keras; import xraylib.network.model; from pathlib import Path; "
        "from xraylib.data.images import decode\n"
        "for file in sys.argv[1:]:\n"
        "    network = keras.models.load_model(file)\n"
        f"    image = decode(Path({str(files[0])!r}), network.input_shape[1])\n"
        "    network.predict(image[None, ..., None].astype('float32'), verbose=0)"
    )
    networks = [str(path) for path in sorted((REPOSITORY / "models").glob("xray_cnn_seed*.keras"))]

    def start(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, capture_output=True)

    def decode_all() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(partial(plain_pillow, size=config.image_size), files))

    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name) / "films", ("--output", f"{name}/predictions.csv")
        folder.mkdir()
        for i, file in enumerate(files):
            (folder / f"{i:04d}{file.suffix}").symlink_to(file.resolve())
        every, one = (*PREDICT, str(folder), *output), (*PREDICT, str(files[0]), *output)
        what = f"predicting {len(files)} {typical(files)} from files, against plain Pillow that only decodes them"
        cold = "one film from a cold start, against Keras"
        return [
            pair(what, "images/s", len(files), lambda: start(*every), decode_all),
            pair(cold, "films/s", 1, lambda: start(*one), lambda: start("-c", keras_way, *networks)),
        ]


def bench_step(config: Config, steps: int = 10) -> list[dict]:
    """Training steps of the study's network, against the same network in PyTorch, where PyTorch is installed."""
    from xraylib.network import backend, train
    from xraylib.network.backend import tf

    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (config.batch_size, config.image_size, config.image_size, 1)).astype(np.float32)
    y = (np.arange(config.batch_size) % 2).astype(np.float32)[:, None]
    backend.start(0, backend.precision())
    network = train.compiled(steps, config)
    batches = tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    try:
        from tools.bench_torch import training_steps
    except ImportError:
        say("PyTorch is not installed: the training step is not compared with its")
        return []

    def ours() -> object:
        return network.fit(batches, epochs=1, shuffle=False, verbose=0)

    rows = []
    for kind in ("float32", "bfloat16"):
        theirs = training_steps(network, x, y, steps, kind == "bfloat16")
        name = f"training step, against PyTorch in {kind}"
        rows.append(pair(name, "images/s", steps * config.batch_size, ours, theirs))
    return rows


# --- growth: the study's own steps on more and more films, each in a process of its own ---


def _train(config: Config) -> None:
    from xraylib.network import lungs, train

    index = load_index(config)
    films = images.load_images(config, index)
    frames = lungs.cut(films, [None] * len(films), config.image_size)
    train.train_one("xray_cnn", 0, index, frames, replace(config, epochs=1), say)


def _predict(config: Config) -> None:
    command = [sys.executable, *PREDICT, str(config.data), "--output", str(config.build / "predictions.csv")]
    subprocess.run(command, cwd=REPOSITORY, check=True)


STEPS: dict[str, Callable[[Config], object]] = {
    "hashing and checking files": lambda config: write_table(build_index(config)[0], config.results / "index.csv"),
    "decoding": lambda config: images.load_images(config, load_index(config)),
    "one epoch, then predicting all": _train,
    "make predict": _predict,
}


def repeat(drawn: Path, root: Path, count: int) -> None:
    """Fill the chest_xray folder `root` with `count` films: those of `drawn` in turn, as other patients' each time."""
    films = sorted(drawn.glob("*/*/*.jpeg"))
    for i in range(count):
        film, copy = films[i % len(films)], i // len(films)
        name = re.sub(r"(IM-|person)(\d+)", rf"\g<1>{copy + 1:03d}\2", film.name)
        target = root / film.relative_to(drawn).with_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(film.read_bytes() + str(i).encode())  # what follows a JPEG's end is no picture


def measure(step: str, folder: Path) -> dict:
    """Seconds, and the peak of memory in megabytes, of one step in this process and its children."""
    config = replace(load_config("demo"), data=folder / "chest_xray", results=folder / "results", build=folder)
    started = time.perf_counter()
    STEPS[step](config)
    seconds = time.perf_counter() - started
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": round(seconds, 2), "peak_mb": round(most / (1e6 if sys.platform == "darwin" else 1e3))}


def growth(sizes: tuple[int, ...], folder: Path) -> pd.DataFrame:
    """images, step, seconds, peak_mb of each step; works in `folder` and shows progress."""
    drawn, rows = folder / "drawn" / "chest_xray", []
    phantom.draw(drawn, images=min(DRAWN, *sizes))
    for count in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            repeat(drawn, Path(name) / "chest_xray", count)
            for step in STEPS:
                try:
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                        measured = alone.submit(measure, step, Path(name)).result()
                except (BrokenProcessPool, subprocess.CalledProcessError) as error:
                    raise UserError(f"{count:,} films, {step}: stopped. {error} Nothing is written.") from error
                rows.append({"images": count, "step": step} | measured)
                say(f"{count:,} films, {step}: {rows[-1]['seconds']:.1f} s, at most {rows[-1]['peak_mb']:,} MB")
    return pd.DataFrame(rows)


def keep(rows: list[dict], table: Path) -> None:
    """Put the pairs into the table, in the place of those of the same name: other films give other pairs."""
    from xraylib.network import backend

    new = pd.DataFrame(rows).assign(cores=os.cpu_count(), precision=backend.precision())
    if table.exists():
        old = pd.read_csv(table)
        new = pd.concat([old[~old.name.isin(new.name)], new])
    write_table(new.round(4), table)


def main() -> int:
    """Command line: python -m tools.bench [--growth]; writes bench.csv, with --growth growth.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth", action="store_true", help="seconds and memory by number of films")
    config, arguments = load_config(), parser.parse_args()
    try:
        if arguments.growth:
            config.build.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=config.build) as name:
                write_table(growth(SIZES, Path(name)), config.results / "growth.csv")
        else:
            bench(config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def bench(config: Config) -> None:
    """Time every pair and keep it in bench.csv."""
    found = list_images(find_root(config.data), ["train"])
    files = [found[i] for i in np.linspace(0, len(found) - 1, min(FILMS, len(found))).astype(int)]
    jpegs = [file for file in files if file.suffix.lower() != ".png"][:200]
    rows = [bench_decoding(jpegs, config), bench_pipeline(found, config), *bench_prediction(files, config)]
    rows += bench_step(config)
    keep(rows, config.results / "bench.csv")


if __name__ == "__main__":
    sys.exit(main())
