"""pyproject.toml, requirements.lock and environment.yml ask for the same packages, and the lock pins each by hash."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
ENTRY = r"^([A-Za-z0-9._-]+==[^\\\n]+?)\s*\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+"
LOCK = (ROOT / "requirements.lock").read_text()
PINS = [Requirement(pin) for pin in re.findall(ENTRY, LOCK, re.MULTILINE)]
HERE = {pin.name: pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}


def test_every_line_of_the_lock_is_a_hashed_pin():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(lines) == len(PINS) > 100


@pytest.mark.parametrize("wanted", DIRECT, ids=str)
def test_the_lock_satisfies_the_project(wanted):
    pins = [pin for pin in PINS if pin.name == wanted.name.lower()]
    assert pins, f"{wanted.name} is not in requirements.lock: make lock"
    for pin in pins:
        (exact,) = pin.specifier
        assert wanted.specifier.contains(exact.version), f"{wanted} but the lock has {pin}: make lock"


def test_linux_x86_64_takes_the_small_tensorflow_and_others_the_full_one():
    def chosen(system, machine):
        environment = {"sys_platform": system, "platform_machine": machine}
        return {p.name for p in PINS if p.name.startswith("tensorflow") and p.marker and p.marker.evaluate(environment)}

    assert chosen("linux", "x86_64") == {"tensorflow-cpu"}
    assert chosen("darwin", "arm64") == chosen("linux", "aarch64") == chosen("win32", "AMD64") == {"tensorflow"}


def test_what_runs_here_is_what_the_lock_pins():
    for wanted in DIRECT:
        if wanted.marker is None or wanted.marker.evaluate():
            (exact,) = HERE[wanted.name.lower()].specifier
            assert version(wanted.name) == exact.version


def test_conda_users_get_the_same_lock():
    text = (ROOT / "environment.yml").read_text()
    assert "- -r requirements.lock" in text
    assert PROJECT["requires-python"] == ">=3.11,<3.14" and re.findall(r"python=(\S+)", text) == ["3.11"]
