"""How time and memory grow with the number of images: the study's own steps on 500 to 100,000 films, one at a time.

The films are phantoms, repeated: each copy is another patient's and has other bytes, so that nothing is found twice.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil

from xraylib import plots
from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data import phantom
from xraylib.data.images import load_images
from xraylib.data.index import build_index, load_index
from xraylib.evaluation import metrics
from xraylib.files import UserError, say, write_table
from xraylib.predict import films

SIZES = (500, 5_000, 50_000, 100_000)
DRAWN = 500  # phantoms; more images are copies of them
EVERY = 0.02  # seconds between two looks at the memory


def _index(config: Config) -> None:
    write_table(build_index(config)[0], config.results / "index.csv")


def _decode(config: Config) -> None:
    load_images(config, load_index(config))


def _train(config: Config) -> None:
    from xraylib.network import train  # here, so that the memory of the other steps is theirs and not TensorFlow's

    index = load_index(config)
    train.train_one(metrics.OWN, 0, index, load_images(config, index), replace(config, epochs=1), say)


def _predict(config: Config) -> None:
    deque(films.predict_films(films.find_films(config.data), films.load()), maxlen=0)


# In this order: each finds what the one before has written.
STEPS: dict[str, tuple[str, Callable[[Config], None]]] = {
    "index": ("hashing and checking files", _index),
    "decode": ("decoding", _decode),
    "train": ("one epoch, then predicting all", _train),
    "predict": ("make predict", _predict),
}


def repeat(drawn: Path, root: Path, images: int) -> None:
    """Fill the chest_xray folder `root` with `images` films: those of `drawn` in turn, as other patients' each time."""
    films = sorted(drawn.glob("*/*/*.jpeg"))
    for i in range(images):
        film, copy = films[i % len(films)], i // len(films)
        name = re.sub(r"(IM-|person)(\d+)", rf"\g<1>{copy + 1:03d}\2", film.name)
        target = root / film.relative_to(drawn).with_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(film.read_bytes() + str(i).encode())  # what follows a JPEG's end is no picture


def measure(step: str, config: Config) -> dict:
    """Seconds and the peak of this process' own memory in megabytes (10^6 bytes) while the step runs.

    Pages of mapped files are not counted: the system takes them back when it wants.
    """
    peak, done = [_own_memory()], threading.Event()

    def watch() -> None:
        while not done.wait(EVERY):
            peak[0] = max(peak[0], _own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        STEPS[step][1](config)
    finally:
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
    return {"seconds": round(seconds, 2), "peak_mb": round(peak[0] / 1e6)}


def _own_memory() -> int:
    memory = psutil.Process().memory_info()
    return memory.rss - getattr(memory, "shared", 0)  # Linux alone says what is shared with files


def place(config: Config, folder: Path) -> Config:
    """The configuration with images and everything that is written in `folder`."""
    return replace(config, data=folder / "chest_xray", results=folder / "results", build=folder, phantoms=True)


def run(sizes: tuple[int, ...], folder: Path) -> pd.DataFrame:
    """images, step, seconds, peak_mb of each step in a process of its own; shows progress. Works in `folder`."""
    drawn = folder / "drawn" / "chest_xray"
    phantom.draw(drawn, images=min(DRAWN, *sizes))
    rows = []
    for images in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            repeat(drawn, Path(name) / "chest_xray", images)
            for step, (doing, _) in STEPS.items():
                print(f"{images:,} images, {doing}", flush=True)
                command = [sys.executable, "-m", "tools.growth", "--step", step, "--folder", name]
                done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    raise UserError(f"{images:,} images, {doing}: stopped, see above. Nothing is written.")
                found = json.loads(done.stdout.splitlines()[-1])
                print(f"    {found['seconds']:.1f} s, at most {found['peak_mb']:,} MB", flush=True)
                rows.append({"images": images, "step": doing} | found)
    return pd.DataFrame(rows)


def main() -> int:
    """Command line: python -m tools.growth; writes growth.csv and growth.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", choices=STEPS, help="measure this one, on the images of --folder; prints JSON")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    config = load_config()
    try:
        if arguments.step:
            print(json.dumps(measure(arguments.step, place(config, arguments.folder))))
            return 0
        config.build.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=config.build) as name:
            table = run(SIZES, Path(name))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    write_table(table, config.results / "growth.csv")
    plots.style()
    fig, axes = plots.figure(1, 2, width=plots.DOUBLE, height=3)
    plots.growth(table, axes)
    plots.save(fig, config.plots / "growth.png")
    print(table.to_string(index=False))
    print(f"wrote {config.results / 'growth.csv'} and {config.plots / 'growth.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
