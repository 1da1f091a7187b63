"""Notebooks run in order with progress shown; what is stored has no clock, no half-written file and no patient."""

import os
import signal
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import alone, execute
from xraylib.files import UserError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute cells, given as (source, tags); returns the exit status and the target's path."""

    def of(*cells):
        source, target = tmp_path / "n.ipynb", tmp_path / "build" / "n.ipynb"
        notebook = new_notebook(
            cells=[new_code_cell(text, metadata={"tags": tags}, id=f"c{i}") for i, (text, tags) in enumerate(cells)]
        )
        nbformat.write(notebook, source)
        monkeypatch.setattr(sys, "argv", ["execute", str(source), str(target)])
        return execute.main(), target

    return of


def test_progress_is_shown_and_only_lasting_outputs_are_stored(run, capsys):
    status, target = run(
        ("import time\nprint('epoch 1', time.time())\n'kept'", ["live"]), ("print(2)\n1 + 1", []), ("# nothing", [])
    )
    assert status == 0
    shown = capsys.readouterr().out
    assert "[n 1/3] import time" in shown
    assert "    epoch 1" in shown
    first, second, _ = nbformat.read(target, 4).cells
    assert [o.output_type for o in first.outputs] == ["execute_result"]
    assert [o.output_type for o in second.outputs] == ["stream", "execute_result"]
    assert "kept" in target.with_suffix(".html").read_text()
    bytes_of_first_run = target.read_bytes()
    run(("import time\nprint('epoch 1', time.time())\n'kept'", ["live"]), ("print(2)\n1 + 1", []), ("# nothing", []))
    assert target.read_bytes() == bytes_of_first_run


def test_a_failure_writes_nothing_and_is_short(run, capsys):
    status, target = run(("1 / 0", []), ("print('never')", []))
    assert status == 1
    assert not target.parent.exists() or not list(target.parent.iterdir())
    shown = capsys.readouterr().out
    assert "ZeroDivisionError" in shown
    assert "never" not in shown.replace("print('never')", "")
    assert len(shown.splitlines()) < 25


def test_what_the_user_can_mend_comes_without_a_traceback(run, capsys):
    status, _ = run(("from xraylib.files import UserError\nraise UserError('x.jpeg: found a, wanted b. Do c.')", []))
    assert status == 1
    shown = capsys.readouterr().out
    assert "x.jpeg: found a, wanted b. Do c." in shown
    assert "Traceback" not in shown
    assert "---->" not in shown


@pytest.mark.parametrize("number", ["SIGINT", "SIGKILL"])
def test_an_interruption_is_short_and_writes_nothing(tmp_path, number):
    source, target, lock = (tmp_path / name for name in ("n.ipynb", "out.ipynb", "lock"))
    cell = "import time\nprint('at work', flush=True)\ntime.sleep(60)"
    nbformat.write(new_notebook(cells=[new_code_cell(cell, id="c")]), source)
    command = [sys.executable, alone.__file__, str(lock), sys.executable, "-m", "tools.execute", source, target]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    while "    at work" not in (line := run.stdout.readline()):
        assert line or run.poll() is None
    os.killpg(run.pid, getattr(signal, number))
    said = run.communicate()[0]
    assert run.returncode == (130 if number == "SIGINT" else -signal.SIGKILL)
    assert "Traceback" not in said
    assert ("the same command goes on from here" in said) == (number == "SIGINT")
    with alone.alone(lock):  # the notebook's kernel, which outlives a kill by a second, keeps the lock until it ends
        assert {path.name for path in tmp_path.iterdir()} == {"n.ipynb", "lock"}


def test_published_notebooks_show_no_patient(tmp_path):
    picture = new_output("display_data", {"image/png": "aGVsbG8="})
    cells = [new_code_cell("show()", metadata={"tags": ["patients"]}, outputs=[picture], execution_count=1)]
    cells += [new_code_cell("plot()", outputs=[picture], execution_count=2)]
    (tmp_path / "full").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "full" / "01_explore.ipynb")
    published = tmp_path / "notebooks" / "01_explore.ipynb"
    assert execute.publish(tmp_path / "full", published.parent) == [published]
    shown, plot = nbformat.read(published, 4).cells
    assert [list(o.data) for o in shown.outputs] == [["text/markdown", "text/plain"]]
    assert shown.execution_count == 1
    assert "image/png" in plot.outputs[0].data
    assert execute.publish(tmp_path / "full", published.parent) == []  # same bytes: make need not execute it again


def test_nothing_to_publish_is_said(tmp_path):
    with pytest.raises(UserError, match="make reproduce"):
        execute.publish(tmp_path, tmp_path / "out")
