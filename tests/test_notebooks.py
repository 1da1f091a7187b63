"""The notebooks in git were executed in order, hold what nbval compares, and show no patient."""

import base64
import os
import re
import subprocess
import sys

import nbformat
import pytest

from tools import execute, pages
from xraylib.config import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
PHANTOMS = {base64.b64encode(path.read_bytes()).decode() for path in execute.PHANTOMS.glob("*.png")}
STORED = [pytest.param(nbformat.read(path, 4), id=path.stem) for path in NOTEBOOKS]
DRAWING = ("plots.radiographs", "plots.batch", "plots.val_grid", "plots.maps_over", "plots.method")
LONGEST = 10  # lines of a cell but the first, which imports


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebooks_are_those_of_the_study():
    names = ["01_explore", "02_train", "03_evaluate", "04_predict_val", "05_robustness", "06_explain"]
    assert [p.stem for p in NOTEBOOKS] == names


@pytest.mark.parametrize("notebook", STORED)
def test_all_cells_were_executed_in_order_without_error(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not any(output.output_type == "error" for cell in code(notebook) for output in cell.outputs)
    assert all(cell.outputs for cell in code(notebook) if "NBVAL_CHECK_OUTPUT" in cell.source)  # to compare


@pytest.mark.parametrize("notebook", STORED)
def test_stored_outputs_hold_no_patient_and_no_clock(notebook):
    for cell in code(notebook):
        tags = cell.metadata.get("tags", [])
        assert "patients" in tags or not any(name in cell.source for name in DRAWING)
        if "patients" in tags:
            assert {o.data["image/png"].strip() for o in cell.outputs if "image/png" in o.data} <= PHANTOMS
        if "live" in tags:
            assert not any(o.output_type == "stream" for o in cell.outputs)
        assert "execution" not in cell.metadata  # time stamps


@pytest.mark.parametrize("notebook", STORED)
def test_cells_are_results_and_explained(notebook):
    """All plumbing is show's: it names a result's files, stamps phantoms and knows what to say."""
    assert max(len(cell.source.splitlines()) for cell in code(notebook)[1:]) <= LONGEST
    assert not any("import " in cell.source or "write_table" in cell.source for cell in code(notebook)[1:])
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= len(code(notebook)) / 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_opens_with_its_question_and_the_answer_of_the_committed_run(path):
    opening = nbformat.read(path, 4).cells[0].source
    assert [*re.findall(r"\*\*(\w+ ?\w* ?\w*)\.?\*\*", opening)] == ["Question", "Answer", "You will learn"]
    assert f"{execute.ANSWER} {pages.answer(path.stem)}" in opening


@pytest.mark.parametrize("notebook", STORED)
def test_no_path_hangs_on_the_folder_that_the_notebook_is_opened_from(notebook):
    for cell in code(notebook):
        assert not re.search(r"""(?<!/ )["'](\.\.?/|results/|Plot/|models/|build/|data/)""", cell.source), cell.source


def test_the_settings_are_the_same_from_every_folder():
    command = [sys.executable, "-c", "from xraylib.config import load_config; print(load_config('demo', {}))"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    folders = (REPOSITORY, REPOSITORY / "notebooks", "/")
    assert len({subprocess.check_output(command, cwd=folder, env=environment) for folder in folders}) == 1
