"""make passes paths on untouched, says in one message what a user can correct, and leaves nothing half-written."""

import os
import shutil
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import setup
from xraylib.config import REPOSITORY

CELL = """
import time
from xraylib.config import load_config
from xraylib.files import write_bytes
print("at work", flush=True)
time.sleep(2)
write_bytes(b"table", load_config().results / {name!r})
"""


@pytest.fixture
def project(clone):
    """The clone with its Makefile, and the environment that runs these tests, with the clone's modules first."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "results/field.csv"):
        shutil.copy2(REPOSITORY / name, clone / name)
        os.utime(clone / name, (0, 0))  # older than the environment, which is not set up here
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "installed").touch()
    python = clone / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{clone}" exec "{REPOSITORY}/.venv/bin/python" "$@"\n')
    python.chmod(0o755)
    return clone


def write_notebook(project, name, cell):
    nbformat.write(new_notebook(cells=[new_code_cell(cell, id="a")]), project / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def short_study(project):
    """The project with two notebooks that take two seconds each, and phantoms that need no drawing."""
    write_notebook(project, "01_explore", CELL.format(name="index.csv"))
    write_notebook(project, "02_train", CELL.format(name="predictions.csv"))
    phantoms = project / "build" / "phantoms" / "chest_xray"
    phantoms.mkdir(parents=True)
    (phantoms / "PHANTOMS.txt").write_text("none")
    return project


@pytest.mark.parametrize("path", ["~/films", "a $b $(shell touch made) c", "it's", 'say "so"', "`touch made`", "a;b"])
def test_paths_pass_untouched(project, run, path):
    python = project / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s|%s|%s" "$XRAY_IMAGES" "$XRAY_DATA" "$XRAY_MASKS"\n')
    assert run("make", "predict", f"IMAGES={path}", f"DATA={path}", f"MASKS={path}") == (f"{path}|{path}|{path}", 0)
    assert run("make", "predict", "IMAGES=x", XRAY_DATA=path) == (f"x|{path}|", 0)
    python.write_text('#!/bin/sh\nprintf "%s" "$XRAY_PREDICTIONS"\n')
    assert run("make", "evaluate", f"PREDICTIONS={path}") == (path, 0)
    assert not (project / "made").exists()


def test_a_folder_that_is_not_there_is_one_message_and_nothing_is_written(project, run):
    write_notebook(project, "01_explore", "1 / 0")
    (project / "data").mkdir()
    (project / "data" / "chest_xray").symlink_to("nowhere")
    for arguments, words in (
        (["DATA=no such folder"], "no such folder: no such folder. Wanted"),
        ([], "chest_xray: no such"),
    ):
        shown, status = run("make", "reproduce", *arguments)
        assert status != 0 and words in shown and "Traceback" not in shown
    assert [path.name for path in (project / "results").iterdir()] == ["field.csv"]


def test_of_two_runs_the_second_waits_and_a_missing_table_is_computed_again(short_study, start, run):
    first = start("make", "reproduce")
    while "at work" not in (line := first.stdout.readline()):
        assert line
    second, status = run("make", "reproduce")
    assert status == 0 and first.wait() == 0
    assert "Waiting: another run" in second and "[01_explore 1/1]" not in second
    assert len(list((short_study / "build" / "demo").glob("*.ipynb"))) == 2
    assert "[0" not in run("make", "reproduce")[0]
    results = short_study / "results" / "demo"
    (results / "predictions.csv").unlink()
    shown, _ = run("make", "reproduce")
    assert "[02_train 1/1]" in shown and "[01_explore 1/1]" not in shown and (results / "predictions.csv").exists()
    (results / ".unfinished-1").touch()  # what a kill in the middle of a write leaves
    assert run("make", "clean")[1] == 0
    assert not (short_study / "build").exists() and [path.name for path in results.glob(".*")] == []


def test_settings_for_other_work_do_not_reach_the_study(project, run):
    (project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nenv\n")
    others = {"PYTHONPATH": "/ros", "PYTHONHOME": "/usr", "PYTHONOPTIMIZE": "2", "KERAS_BACKEND": "jax"}
    shown, status = run(
        "make", "predict", "IMAGES=x", **others, JUPYTER_PATH="/other", MPLBACKEND="tkagg", NVIDIA="kept"
    )
    assert status == 0 and "NVIDIA=kept" in shown and f"KERAS_HOME={project}/build/keras" in shown
    assert not [name for name in (*others, "JUPYTER_PATH", "MPLBACKEND") if f"{name}=" in shown]


def test_settings_of_pip_and_uv_say_how_packages_are_reached_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://a\nuser = true\n[install]\ntarget = /x\nindex-url = https://b\n")
    reach = {"PIP_TRUSTED_HOST": "c", "UV_DEFAULT_INDEX": "https://d", "UV_INDEX_OURS_PASSWORD": "e"}
    others = dict.fromkeys(("PIP_USER", "PIP_PREFIX", "PIP_NO_DEPS", "UV_PYTHON", "UV_NO_BINARY", "PYTHONHOME"), "1")
    for name, value in (reach | others | {"PIP_CONFIG_FILE": str(file)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setattr(setup, "PYTHON", sys.executable)
    found, wanted = setup.environment(), reach | {"PIP_INDEX_URL": "https://b", "PIP_CONFIG_FILE": os.devnull}
    assert wanted.items() <= found.items() and not {*others, "PIP_TARGET"} & set(found)


def test_a_colon_in_the_path_is_named(tmp_path, run):
    (tmp_path / "a:b").mkdir()
    shown, status = run(
        "sh", "-c", 'cd "$1" && "$2" "$3" install', "", tmp_path / "a:b", sys.executable, setup.__file__
    )
    assert status == 1 and "a:b: ':' is in the path" in shown and not (tmp_path / "a:b" / ".venv").exists()
