"""make says in one message what a user can mend, and leaves nothing half-written."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def clone(tmp_path):
    """The project's files in a folder whose name has a space, with the environment that runs these tests."""
    clone = tmp_path / "a clone"
    for name in ("xraylib", "notebooks"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, clone / name)
    (clone / ".venv").symlink_to(ROOT / ".venv")
    return clone


def make(clone, *arguments):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("XRAY", "DATA", "MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=clone,
        env=environment | {"PYTHONPATH": str(clone)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def written(clone):
    return [p for name in ("results", "Plot", "models") if (clone / name).exists() for p in (clone / name).rglob("*")]


def test_help_says_what_there_is_and_what_would_happen(clone):
    shown = make(clone, "help")
    assert shown.returncode == 0
    for word in ("make reproduce", "make test", "make data", "make clean", "profile demo"):
        assert word in shown.stdout


def test_a_named_folder_is_the_full_profile(clone):
    assert "profile full, images from somewhere" in make(clone, "help", "DATA=somewhere").stdout


def test_a_missing_folder_is_one_message(clone):
    shown = make(clone, "reproduce", "DATA=no such folder")
    assert shown.returncode != 0
    assert "no such folder: no such folder. Wanted a chest_xray folder" in shown.stdout
    assert "make data" in shown.stdout
    assert "Traceback" not in shown.stdout
    assert not written(clone)


def test_an_empty_class_is_one_message_and_nothing_is_written(clone, world):
    images = clone / "my images"
    shutil.copytree(world[0], images)
    for path in (images / "val" / "NORMAL").iterdir():
        path.unlink()
    shown = make(clone, "reproduce", f"DATA={images}")
    assert shown.returncode != 0
    assert "val/NORMAL: no images. Wanted at least one file" in shown.stdout
    assert "Traceback" not in shown.stdout
    assert not written(clone)
