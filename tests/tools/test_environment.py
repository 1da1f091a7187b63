"""pyproject.toml and requirements.lock ask for the same packages, and these run here."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
ENTRY = r"^([A-Za-z0-9._-]+==[^\\\n]+?)\s*\\\n(?:    --hash=sha256:[0-9a-f]{64}.*\n)+"
LOCK = (ROOT / "requirements.lock").read_text()
PINS = [Requirement(pin) for pin in re.findall(ENTRY, LOCK, re.MULTILINE)]
HERE = {pin.name: pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}


def test_the_lock_satisfies_the_project():
    for wanted in DIRECT:
        pins = [pin for pin in PINS if pin.name == wanted.name.lower()]
        exact = [next(iter(pin.specifier)).version for pin in pins]
        assert pins and all(map(wanted.specifier.contains, exact)), (
            f"{wanted}: the lock has {exact or 'none'}: make lock"
        )


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
