"""The study's own steps with a clock, against another way of doing the same; seconds and memory by number of films.

Each pair is timed alternately, four times each, and the best of each counts: a shared machine only ever adds time,
and the first time of each also traces and caches. A ratio above 1 says that ours is faster.
"""

import importlib.util
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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
from xraylib.files import say, write_table

ROUNDS, FILMS, SIZES, DRAWN = 4, 600, (500, 5_000, 50_000), 500
PREDICT = ("-m", "xraylib.predict", "--output")
# What users of Keras would write; argument: a film.
KERAS_WAY = """
import sys
from pathlib import Path
from xraylib.config import load_config
from xraylib.data.decode import read
from xraylib.network import train
config = load_config("verify")
image = read(Path(sys.argv[1]), config.image_size).pixels
for seed in config.seeds:
    train.load("xray_cnn", seed, config).predict(image[None, ..., None].astype("float32"), verbose=0)
"""


def pair(name: str, work: float, ours: Callable[[], object], other: Callable[[], object], unit="images/s") -> dict:
    """Print and return name, ours, other, unit, ratio: `work` units a second by two functions, best of ROUNDS."""
    seconds = [[timeit.timeit(function, number=1) for function in (ours, other)] for _ in range(ROUNDS)]
    rate, other_rate = work / np.min(seconds, axis=0)
    say(f"{name}: {rate:.1f} against {other_rate:.1f} {unit}, ratio {rate / other_rate:.2f}")
    return {"name": name, "ours": rate, "other": other_rate, "unit": unit, "ratio": rate / other_rate}


def plain_pillow(file: Path, size: int) -> np.ndarray:
    """What most would write: the whole file decoded, then made small; uint8 (size, size)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.LANCZOS))


def decode_all(decode: Callable, files: list[Path], size: int, threads: int | None) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(partial(decode, size=size), files))


def typical(files: list[Path]) -> str:
    """How large the films are, which decides what can be gained on them: "films of 1368 x 960", the median."""
    return "films of {:.0f} x {:.0f}".format(*np.median([Image.open(file).size for file in files], axis=0))


def python(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True, capture_output=True)


def bench_files(files: list[Path], config: Config) -> list[dict]:
    """Decoding and `python -m xraylib.predict`, against plain Pillow and against networks loaded by Keras."""
    output = config.build / "bench.csv"
    ours, pillow = (partial(decode_all, way, files, config.image_size) for way in (decode.read, plain_pillow))
    predict, one = (partial(python, *PREDICT, output, *some) for some in (files, files[:1]))
    what = f"predicting {len(files)} {typical(files)} from files, against plain Pillow that only decodes them"
    keras_way = partial(python, "-c", KERAS_WAY, files[0])
    return [
        pair(f"decoding {typical(files)}, against plain Pillow", len(files), partial(ours, 1), partial(pillow, 1)),
        pair(what, len(files), predict, partial(pillow, os.cpu_count())),
        pair("one film from a cold start, against Keras", 1, one, keras_way, "films/s"),
    ]


def bench_pipeline(files: list[Path], config: Config) -> dict:
    """An augmented epoch, against image_dataset_from_directory with Random* layers that vary as much where they can."""
    from xraylib.network import augment
    from xraylib.network.backend import keras, tf

    size, batch, layers = (config.image_size,) * 2, config.batch_size, keras.layers
    array = np.stack([decode.read(file, size[0]).pixels for file in files])
    # Amounts are about those of augment.RANGES; shading, tone and gamma have no layer.
    varied = [layers.RandomFlip("horizontal"), layers.RandomRotation(12 / 360), layers.RandomZoom((-0.15, 0.06))]
    varied += [layers.RandomTranslation(0.04, 0.04), layers.RandomSharpness(0.8), layers.RandomContrast(0.45)]
    network = keras.Sequential([*varied, layers.RandomBrightness(0.18)])
    folder, options = find_root(config.data) / "train", {"color_mode": "grayscale", "batch_size": batch, "verbose": 0}
    other = keras.utils.image_dataset_from_directory(folder, image_size=size, **options)
    other = other.map(lambda x, y: (network(x, training=True), y), tf.data.AUTOTUNE)

    def make(step, rows):
        return [augment.augment(tf.cast(array[rows], tf.float32)[..., None], tf.constant([0, step]))]

    order = augment.shuffled(np.arange(len(array)), batch, epochs=1, seed=0)
    ours = augment.dataset(order, make, [(batch, *size, 1)])
    each = [partial(lambda batches: sum(1 for _ in batches), batches) for batches in (ours, other)]
    return pair(f"input pipeline on {typical(files)}, against Keras' Random* layers", order.size, *each)


def torch_network():
    """The network of model.build after its scaling, in PyTorch: float (batch, 1, size, size) -> logit (batch, 1)."""
    import torch
    from torch import nn

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm2d(outputs)]

    class Residual(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int):
            super().__init__()
            first, second = convolution(inputs, outputs, 3, stride, 1), convolution(outputs, outputs, 3, 1, 1)
            self.main, pool = nn.Sequential(*first, nn.ReLU(), *second), nn.AvgPool2d(stride, ceil_mode=True)
            self.shortcut = nn.Sequential(*([pool, *convolution(inputs, outputs, 1)] if stride > 1 else []))

        def forward(self, x):
            return torch.relu(self.main(x) + self.shortcut(x))

    blocks = [(32, 32, 1), (32, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1), (96, 128, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 1)]
    return nn.Sequential(*convolution(1, 32, 11, 5), nn.ReLU(), *(Residual(*block) for block in blocks), *head)


def bench_step(config: Config, steps: int = 10) -> list[dict]:
    """Training steps of the study's network, against the same network in PyTorch, which `make bench` installs."""
    import torch

    from xraylib.network import backend, train

    backend.start(0, backend.precision())
    torch.set_num_threads(backend.THREADS)
    network, other = train.compiled(steps, config), torch_network().to(memory_format=torch.channels_last).train()
    here, there = (sum(math.prod(w.shape) for w in ws) for ws in (network.trainable_weights, other.parameters()))
    if here != there:
        raise ValueError(f"{there:,} weights in PyTorch, {here:,} in model.build: copy its change")
    x = np.random.default_rng(0).uniform(0, 255, (config.batch_size, *[config.image_size] * 2, 1)).astype(np.float32)
    y = (np.arange(len(x)) % 2).astype(np.float32)[:, None]
    batches = backend.tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    pixels, labels, optimizer = (
        torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last),
        torch.tensor(y),
        torch.optim.AdamW(other.parameters()),
    )

    def theirs(bfloat16: bool) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logit = other(pixels / 127.5 - 1)
            torch.nn.functional.binary_cross_entropy_with_logits(logit.float(), labels).backward()
            optimizer.step()

    ours, name = partial(network.fit, batches, shuffle=False, verbose=0), "training step, against PyTorch in"
    kinds = {"float32": False, "bfloat16": True}
    return [pair(f"{name} {k}", steps * len(x), ours, partial(theirs, b)) for k, b in kinds.items()]


def train_and_predict(config: Config) -> None:
    from xraylib.network import lungs, train

    index = load_index(config)
    films = images.load_images(config, index)
    frames = lungs.cut(films, [None] * len(films), config.image_size)
    train.train_one("xray_cnn", 0, index, frames, replace(config, epochs=1), say)


STEPS: dict[str, Callable[[Config], object]] = {
    "hashing and checking files": lambda config: write_table(build_index(config)[0], config.results / "index.csv"),
    "decoding": lambda config: images.load_images(config, load_index(config)),
    "one epoch, then predicting all": train_and_predict,
    "make predict": lambda config: python(*PREDICT, config.build / "predictions.csv", config.data),
}


def measure(step: str, folder: Path) -> dict:
    """Seconds, and the peak of memory in megabytes, of one step in this process and its children."""
    config = replace(load_config("demo"), data=folder / "chest_xray", results=folder / "results", build=folder)
    seconds = timeit.timeit(lambda: STEPS[step](config), number=1)
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": round(seconds, 2), "peak_mb": round(most / (1e6 if sys.platform == "darwin" else 1e3))}


def growth(folder: Path) -> pd.DataFrame:
    """images, step, seconds, peak_mb of each step in a process of its own; works in `folder` and shows progress."""
    rows: list[dict] = []
    phantom.draw(folder / "drawn", images=min(DRAWN, *SIZES))
    for count in SIZES:
        repeat(folder / "drawn", folder / str(count) / "chest_xray", count)
        for step in STEPS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                measured = process.submit(measure, step, folder / str(count)).result()
            rows.append({"images": count, "step": step} | measured)
            say(f"{count:,} films, {step}: {measured['seconds']:.1f} s, at most {measured['peak_mb']:,} MB")
    return pd.DataFrame(rows)


def repeat(drawn: Path, root: Path, count: int) -> None:
    """Fill the chest_xray folder `root` with `count` films: those of `drawn` in turn, as other patients' each time."""
    films = sorted(drawn.glob("*/*/*.jpeg"))
    for i in range(count):
        film, copy = films[i % len(films)], i // len(films)
        name = re.sub(r"(IM-|person)(\d+)", rf"\g<1>{copy + 1:03d}\2", film.name)
        target = root / film.relative_to(drawn).with_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(film.read_bytes() + str(i).encode())  # what follows a JPEG's end is no picture


def main() -> int:
    """Command line: python -m tools.bench; writes growth.csv and bench.csv, which keeps rows of other names."""
    from xraylib.network.backend import precision

    config, table = (config := load_config()), config.results / "bench.csv"
    found, _ = list_images(find_root(config.data), ["train"])
    files = [found[i] for i in np.linspace(0, len(found) - 1, min(FILMS, len(found))).astype(int)]
    step = bench_step(config) if importlib.util.find_spec("torch") else []
    rows = pd.DataFrame([*bench_files(files, config), bench_pipeline(found, config), *step])
    rows = rows.assign(cores=os.cpu_count(), precision=precision())
    old = pd.read_csv(table) if table.exists() else rows[:0]
    write_table(pd.concat([old[~old.name.isin(rows.name)], rows]).round(4), table)
    with tempfile.TemporaryDirectory() as folder:
        write_table(growth(Path(folder)), config.results / "growth.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
