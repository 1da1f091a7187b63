"""A copy of the project in which commands run as a user runs them."""

import os
import shutil
from subprocess import PIPE, STDOUT, Popen

import pytest

from xraylib.config import REPOSITORY


@pytest.fixture
def clone(tmp_path):
    """xraylib/ and tools/ in a folder whose name has a space, with empty notebooks/ and results/."""
    clone = tmp_path / "a clone"
    for name in ("xraylib", "tools"):
        shutil.copytree(REPOSITORY / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("notebooks", "results", "Plot"):
        (clone / name).mkdir()
    shutil.copy2(REPOSITORY / "Plot" / "README.md", clone / "Plot")
    return clone


@pytest.fixture
def start(clone):
    """Starts a command in the clone, without the settings of the user; what it prints is one text."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XRAY", "DATA", "MAKE", "MFLAGS"))}

    def of(*command, **more):
        environment = kept | {"PYTHONPATH": str(clone)} | more
        return Popen(command, cwd=clone, env=environment, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True)

    return of


@pytest.fixture
def run(start):
    """Runs a command in the clone; returns what it prints, and its status."""

    def of(*command, **more):
        process = start(*command, **more)
        return process.communicate()[0], process.returncode

    return of
