"""A killed run leaves whole files and no lock; run again, it ends as if nobody had killed it."""

import shutil
import subprocess
import sys
import time

import kills
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook

# As the study's notebooks do, each reads what earlier ones wrote and writes its tables, in several steps.
STANDS_FOR = {
    "01_explore": ("", ["index.csv"]),
    "02_train": ("index.csv", ["history.csv", "predictions.csv"]),
    "03_evaluate": ("predictions.csv", ["metrics.json"]),
    "04_predict_val": ("metrics.json", ["val_predictions.csv"]),
}
CELL = """
import hashlib, time
from xraylib.config import load_config
from xraylib.files import write_bytes
config = load_config()
read = (config.results / {reads!r}).read_bytes() if {reads!r} else b"images"
for name in {writes!r}:
    for size in (1, 1_000_000):
        write_bytes(hashlib.sha256(read + name.encode()).hexdigest().encode() * size, config.results / name)
        time.sleep(0.1)
print(hashlib.sha256(read).hexdigest())
"""

WRITER = """
import os, random, signal, sys, time
from pathlib import Path
from xraylib.files import write_bytes
path, rng = Path(sys.argv[1]), random.Random(0)
write_bytes(b"a" * 300_000, path)
seen = set()
for _ in range(int(sys.argv[2])):
    if not (writer := os.fork()):
        while True:
            for letter in (b"a", b"b"):
                write_bytes(letter * 300_000, path)
    time.sleep(rng.uniform(0, 0.03))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    data = path.read_bytes()
    seen.add(data)
    assert data in (b"a" * 300_000, b"b" * 300_000), f"{len(data)} bytes of {set(data)}"
print(len(seen), len(list(path.parent.glob(".unfinished-*"))))
"""


def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "table.csv"), "40"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=kills.ROOT)
    assert ran.returncode == 0, ran.stderr
    contents, left = map(int, ran.stdout.split())
    assert contents == 2, "no kill came between two writings: the test proves nothing"
    assert left > 0, "no kill came within a writing: the test proves nothing"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A clone with a space in its name of quick notebooks; what two runs at once said; checksums of the results."""
    home = tmp_path_factory.mktemp("kills")
    notebooks, logs = home / "notebooks", [home / "first", home / "second"]
    notebooks.mkdir()
    for name, (reads, writes) in STANDS_FOR.items():
        cell = new_code_cell(CELL.format(reads=reads, writes=writes), id="a")
        nbformat.write(new_notebook(cells=[cell]), notebooks / f"{name}.ipynb")
    clone = kills.copy(home / "a clone", notebooks)
    phantoms = clone / "build" / "phantoms" / "chest_xray"
    phantoms.mkdir(parents=True)
    (phantoms / "PHANTOMS.txt").write_text("none")
    runs = [kills.start(clone, logs[0], "PROFILE=sample")]
    while "[01_explore 1/1]" not in logs[0].read_text():
        assert runs[0].poll() is None, logs[0].read_text()
        time.sleep(0.05)
    runs.append(kills.start(clone, logs[1], "PROFILE=sample"))
    for run, log in zip(runs, logs, strict=True):
        assert run.wait() == 0, log.read_text()
    return clone, [log.read_text() for log in logs], kills.checksums(clone / "build" / "sample")


def test_of_two_runs_at_once_the_second_waits_and_finds_nothing_left_to_do(study):
    _, said, _ = study
    first, second = said
    assert "Waiting: process" not in first
    assert "Waiting: process" in second
    assert "01_explore" not in second
    for name in STANDS_FOR:
        assert first.count(f"[{name} 1/1]") == 1


def test_make_killed_at_random_moments_ends_as_if_it_had_not_been(study, tmp_path):
    clone, _, wanted = study
    assert {path.rsplit("/", 1)[-1] for path in wanted} >= {"index.csv", "metrics.json", "04_predict_val.ipynb"}
    shutil.rmtree(clone / "build" / "sample")
    rng, killed = np.random.default_rng(0), 0
    for way in [*kills.WAYS, "SIGKILL to all"]:
        killed += kills.kill(kills.start(clone, tmp_path / "log", "PROFILE=sample"), way, float(rng.uniform(0.5, 4)))
    assert killed
    kills.finish(clone, tmp_path / "log", "PROFILE=sample")
    assert kills.checksums(clone / "build" / "sample") == wanted
    assert not kills.unfinished(clone)
