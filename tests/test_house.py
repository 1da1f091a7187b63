"""The house: imports run one way, nothing is there for tests alone, and CONTRIBUTING.md knows every module."""

import ast
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = {path.stem: path for room in ("xraylib", "tools") for path in sorted((ROOT / room).rglob("[a-z]*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_the_first_line_of_a_module_is_its_summary(name):
    first = (ast.get_docstring(TREES[name]) or "").split("\n")[0]
    assert first.endswith((".", ":")) or first.endswith(")."), f"{name}: {first!r}"
    assert len(first) > 30


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_there_for_tests_alone(name):
    code = "\n".join(path.read_text() for path in MODULES.values())
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        code += "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    code += "".join((ROOT / page).read_text() for page in ("README.md", "MODEL_CARD.md", "DATASHEET.md", "Makefile"))
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Assign)
    named = [node for node in TREES[name].body if isinstance(node, kinds)]
    names = [t.id for node in named if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)]
    names += [node.name for node in named if not isinstance(node, ast.Assign)]
    unused = [one for one in names if one != "__all__" and len(re.findall(rf"\b{one}\b", code)) < 2]
    assert not unused


def test_contributing_knows_every_module_and_no_other():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    said = set(re.findall(r"`(\w+)`", page.split("## How to add")[0]))
    assert set(MODULES) - {"bench_torch"} <= said


def test_ctrl_c_while_a_command_is_still_importing_is_one_line_and_the_status_says_so():
    code = "import xraylib; raise KeyboardInterrupt"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stderr == "Stopped by Ctrl-C. The same command goes on from here.\n"
    assert ran.returncode in (-signal.SIGINT, 130)
    other = subprocess.run([sys.executable, "-c", "import xraylib; 1 / 0"], capture_output=True, text=True, cwd=ROOT)
    assert "ZeroDivisionError" in other.stderr and "Traceback" in other.stderr
