"""make passes paths on untouched, says in one message what a user can mend, and leaves nothing half-written."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
CELL = """
import time
from xraylib.config import load_config
from xraylib.files import write_bytes
print("at work", flush=True)
time.sleep(2)
write_bytes(b"table", load_config().results / {name!r})
"""


@pytest.fixture
def clone(tmp_path):
    """The project's files in a folder whose name has a space, with the environment that runs these tests."""
    clone = tmp_path / "a clone"
    for name in ("xraylib", "tools", "notebooks"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "results").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "results/field.csv"):
        shutil.copy2(ROOT / name, clone / name)
        os.utime(clone / name, (0, 0))  # older than the environment, which is not set up here
    (clone / ".venv").symlink_to(ROOT / ".venv")
    return clone


def start(clone, *arguments, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XRAY", "DATA", "MAKE", "MFLAGS"))}
    return subprocess.Popen(
        ["make", *arguments],
        cwd=clone,
        env=kept | {"PYTHONPATH": str(clone)} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def make(clone, *arguments, **more):
    run = start(clone, *arguments, **more)
    return run.communicate()[0], run.returncode


@pytest.fixture
def short_study(clone):
    """The clone with two notebooks that take two seconds each, and phantoms that need no drawing."""
    shutil.rmtree(clone / "notebooks")
    (clone / "notebooks").mkdir()
    for name, table in {"01_explore": "index.csv", "02_train": "predictions.csv"}.items():
        notebook = new_notebook(cells=[new_code_cell(CELL.format(name=table), id="a")])
        nbformat.write(notebook, clone / "notebooks" / f"{name}.ipynb")
    phantoms = clone / "build" / "phantoms" / "chest_xray"
    phantoms.mkdir(parents=True)
    (phantoms / "PHANTOMS.txt").write_text("none")
    return clone


def test_help_lists_every_target(clone):
    shown, status = make(clone, "help")
    assert status == 0
    for word in ("make reproduce", "make test", "make data", "make clean", "make verify", "profile demo"):
        assert word in shown
    assert "profile full" in make(clone, "help", "DATA=somewhere")[0]


@pytest.mark.parametrize("path", ["~/films", "a $b $(shell touch made) c", "it's", 'say "so"', "`touch made`", "a;b"])
def test_paths_pass_untouched(clone, path):
    (clone / ".venv").unlink()
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "installed").touch()
    python = clone / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s|%s" "$XRAY_IMAGES" "$XRAY_DATA"\n')
    python.chmod(0o755)
    assert make(clone, "predict", f"IMAGES={path}", f"DATA={path}") == (f"{path}|{path}", 0)
    assert make(clone, "predict", "IMAGES=x", XRAY_DATA=path) == (f"x|{path}", 0)
    assert not (clone / "made").exists()


@pytest.mark.parametrize("problem", ["no folder", "a link to nothing", "an empty class"])
def test_what_a_user_can_mend_is_one_message_and_nothing_is_written(clone, world, problem):
    arguments, words = ["DATA=no such folder"], "no such folder: no such folder. Wanted a chest_xray folder"
    if problem == "a link to nothing":
        (clone / "data").mkdir()
        (clone / "data" / "chest_xray").symlink_to("nowhere")
        arguments, words = [], "chest_xray: no such folder"
    if problem == "an empty class":
        shutil.copytree(world[0], clone / "my images")
        for path in (clone / "my images" / "val" / "NORMAL").iterdir():
            path.unlink()
        arguments, words = [f"DATA={clone / 'my images'}"], "val/NORMAL: no images. Wanted at least one file"
    shown, status = make(clone, "reproduce", *arguments)
    assert status != 0 and words in shown and "Traceback" not in shown
    assert [path.name for path in (clone / "results").iterdir()] == ["field.csv"]


def wait_for(run, words):
    seen = ""
    while words not in seen:
        line = run.stdout.readline()
        assert line, seen
        seen += line
    return seen


def test_of_two_runs_the_second_waits_and_finds_nothing_to_do(short_study):
    first = start(short_study, "reproduce")
    wait_for(first, "at work")
    second, status = make(short_study, "reproduce")
    assert status == 0 and first.wait() == 0
    assert "Waiting: process" in second and "[01_explore 1/1]" not in second
    times = {path: path.stat().st_mtime for path in (short_study / "build" / "demo").glob("*.ipynb")}
    shown, _ = make(short_study, "reproduce")
    assert "[0" not in shown and len(times) == 2
    (short_study / "results" / "demo" / "predictions.csv").unlink()
    shown, _ = make(short_study, "reproduce")
    assert "[02_train 1/1]" in shown and "[01_explore 1/1]" not in shown


def test_a_killed_run_leaves_the_earlier_table_and_the_next_run_finishes(short_study):
    table = short_study / "results" / "demo" / "index.csv"
    table.parent.mkdir()
    table.write_text("earlier")
    run = start(short_study, "reproduce")
    wait_for(run, "at work")
    os.killpg(run.pid, 9)
    run.wait()
    assert table.read_text() == "earlier"
    (table.parent / ".unfinished-1").touch()  # what a kill in the middle of a write leaves
    time.sleep(0.1)
    shown, status = make(short_study, "reproduce")
    assert status == 0, shown
    assert table.read_text() == "table"
    assert make(short_study, "clean")[1] == 0
    assert not (short_study / "build").exists() and not (table.parent / ".unfinished-1").exists()
