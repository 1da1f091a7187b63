"""Pairs timed in one run: this study's way against another way of doing the same, as ratios (above 1: ours is faster).

Each pair is timed alternately, four times each, and the best of each counts: a shared machine only ever adds time,
and the first time of each also traces and caches.
With --growth: seconds and memory of each step on 500, 5,000 and 50,000 films.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import timeit
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
from xraylib.data import decode, images, phantom
from xraylib.data.index import build_index, find_root, list_images, load_index
from xraylib.files import UserError, say, write_table

ROUNDS = 4
FILMS = 600  # files that are predicted
SIZES = (500, 5_000, 50_000)  # films, for --growth
DRAWN = 500  # phantoms; more films are copies of them
# What users of Keras would write; arguments: a film, and networks.
KERAS_WAY = """
import sys, keras, xraylib.network.model
from pathlib import Path
from xraylib.data.decode import read
for file in sys.argv[2:]:
    network = keras.models.load_model(file)
    image = read(Path(sys.argv[1]), network.input_shape[1]).pixels
    network.predict(image[None, ..., None].astype("float32"), verbose=0)
"""


def pair(name: str, unit: str, work: float, ours: Callable[[], object], other: Callable[[], object]) -> dict:
    """Print and return name, ours, other, unit, ratio: `work` units a second by two functions, best of ROUNDS."""
    seconds = [[timeit.timeit(function, number=1) for function in (ours, other)] for _ in range(ROUNDS)]
    rate, other_rate = work / np.min(seconds, axis=0)
    say(f"{name}: {rate:.1f} against {other_rate:.1f} {unit}, ratio {rate / other_rate:.2f}")
    return {"name": name, "ours": rate, "other": other_rate, "unit": unit, "ratio": rate / other_rate}


def plain_pillow(file: Path, size: int) -> np.ndarray:
    """What most would write: the whole file decoded, then made small; uint8 (size, size)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.LANCZOS))


def typical(files: list[Path]) -> str:
    """How large the films are, which decides what can be gained on them: "films of 1368 x 960", the median."""
    width, height = np.median([Image.open(file).size for file in files], axis=0)
    return f"films of {width:.0f} x {height:.0f}"


def decode_all(decode: Callable, files: list[Path], size: int, threads: int | None = 1) -> None:
    """Decode the files to `size` pixels a side, on so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(decode, size=size), files))


def bench_decoding(files: list[Path], size: int) -> dict:
    """Decoding to `size` pixels a side on one core, against plain Pillow."""
    ours, other = (partial(decode_all, decode, files, size) for decode in (decode.read, plain_pillow))
    return pair(f"decoding {typical(files)}, against plain Pillow", "images/s", len(files), ours, other)


def bench_pipeline(files: list[Path], config: Config) -> dict:
    """An augmented epoch of decoded images, against keras' image_dataset_from_directory with Random* layers.

    Keras' layers vary the same by about the same amounts, but for shading, tone and gamma, which have none.
    """
    from xraylib.network import augment
    from xraylib.network.backend import keras, tf

    size, batch = config.image_size, config.batch_size
    array = np.stack([decode.read(file, size).pixels for file in files])
    label = np.array([file.parent.name == "PNEUMONIA" for file in files], np.float32)
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
    other = keras.utils.image_dataset_from_directory(
        find_root(config.data) / "train", color_mode="grayscale", image_size=(size, size), batch_size=batch, verbose=0
    ).map(lambda x, y: (layers(x, training=True), y), tf.data.AUTOTUNE)

    def make(step, rows):
        pixels = tf.cast(array[rows], tf.float32)[..., None]
        return augment.augment(pixels, tf.constant([0, step])), label[rows, None]

    order = augment.shuffled(np.arange(len(array)), batch, epochs=1, seed=0)
    ours = augment.dataset(order, make, [(batch, size, size, 1), (batch, 1)])
    name = f"input pipeline on {typical(files)}, against Keras' Random* layers"
    return pair(name, "images/s", order.size, lambda: sum(1 for _ in ours), lambda: sum(1 for _ in other))


def bench_prediction(files: list[Path], config: Config) -> list[dict]:
    """`python -m xraylib.predict` on all files, against decoding them; on one, against networks loaded by Keras."""
    networks = sorted((REPOSITORY / "models").glob("xray_cnn_seed*.keras"))

    def start(*arguments: str | Path) -> None:
        subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, capture_output=True)

    def predict(*films: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            start("-m", "xraylib.predict", "--output", f"{folder}/predictions.csv", *films)

    what = f"predicting {len(files)} {typical(files)} from files, against plain Pillow that only decodes them"
    one, cold = files[0], "one film from a cold start, against Keras"
    decoded = partial(decode_all, plain_pillow, files, config.image_size, os.cpu_count())
    return [
        pair(what, "images/s", len(files), partial(predict, *files), decoded),
        pair(cold, "films/s", 1, partial(predict, one), partial(start, "-c", KERAS_WAY, one, *networks)),
    ]


def bench_step(config: Config, steps: int = 10) -> list[dict]:
    """Training steps of the study's network, against the same network in PyTorch, where PyTorch is installed."""
    try:
        from tools.bench_torch import training_steps
    except ImportError:
        say("PyTorch is not installed: the training step is not compared with its")
        return []
    from xraylib.network import backend, train

    size, batch = config.image_size, config.batch_size
    x = np.random.default_rng(0).uniform(0, 255, (batch, size, size, 1)).astype(np.float32)
    y = (np.arange(batch) % 2).astype(np.float32)[:, None]
    backend.start(0, backend.precision())
    network = train.compiled(steps, config)
    batches = backend.tf.data.Dataset.from_tensors((x, y)).repeat(steps)

    ours, rows = partial(network.fit, batches, epochs=1, shuffle=False, verbose=0), []
    for kind in ("float32", "bfloat16"):
        theirs = training_steps(network, x, y, steps, kind == "bfloat16")
        rows.append(pair(f"training step, against PyTorch in {kind}", "images/s", steps * batch, ours, theirs))
    return rows


def bench(config: Config) -> None:
    """Time every pair; each takes the place in bench.csv of the one of its name, and other films give other names."""
    from xraylib.network import backend

    found, _ = list_images(find_root(config.data), ["train"])
    files = [found[i] for i in np.linspace(0, len(found) - 1, min(FILMS, len(found))).astype(int)]
    jpegs = [file for file in files if file.suffix.lower() != ".png"][:200]
    rows = [bench_decoding(jpegs, config.image_size), bench_pipeline(found, config), *bench_prediction(files, config)]
    new = pd.DataFrame(rows + bench_step(config)).assign(cores=os.cpu_count(), precision=backend.precision())
    table = config.results / "bench.csv"
    if table.exists():
        old = pd.read_csv(table)
        new = pd.concat([old[~old.name.isin(new.name)], new])
    write_table(new.round(4), table)


def _train(config: Config) -> None:
    from xraylib.network import lungs, train

    index = load_index(config)
    films = images.load_images(config, index)
    frames = lungs.cut(films, [None] * len(films), config.image_size)
    train.train_one("xray_cnn", 0, index, frames, replace(config, epochs=1), say)


def _predict(config: Config) -> None:
    command = [sys.executable, "-m", "xraylib.predict", str(config.data), "--output", f"{config.build}/predictions.csv"]
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
    """images, step, seconds, peak_mb of each step in a process of its own; works in `folder` and shows progress."""
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
                say(f"{count:,} films, {step}: {measured['seconds']:.1f} s, at most {measured['peak_mb']:,} MB")
    return pd.DataFrame(rows)


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


if __name__ == "__main__":
    sys.exit(main())
