"""Notebooks run in order with progress shown; what is stored has no clock, no half-written file and no patient."""

import os
import re
import signal
import sys
from base64 import b64encode

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import execute, pages

USER_ERROR = "from xraylib.files import UserError\nraise UserError('x.jpeg: found a, wanted b. Do c.')"


def write(path, *cells):
    """Write a notebook of cells given as (source, tags)."""
    made = [new_code_cell(text, metadata={"tags": tags}, id=f"c{i}") for i, (text, tags) in enumerate(cells)]
    nbformat.write(new_notebook(cells=made), path)


@pytest.fixture
def execute_cells(tmp_path, monkeypatch):
    """Executes such cells; returns the exit status and the target's path."""

    def of(*cells):
        source, target = tmp_path / "n.ipynb", tmp_path / "build" / "n.ipynb"
        write(source, *cells)
        monkeypatch.setattr(sys, "argv", ["execute", "execute", str(source), str(target)])
        return execute.main(), target

    return of


def test_progress_is_shown_and_only_lasting_outputs_are_stored(execute_cells, capsys):
    cells = ("import time\nprint('epoch 1', time.time())\n'kept'", ["live"]), ("print(2)\n1 + 1", []), ("# nothing", [])
    status, target = execute_cells(*cells)
    shown = capsys.readouterr().out
    assert status == 0 and "[n 1/3] import time" in shown and "    epoch 1" in shown
    first, second, _ = nbformat.read(target, 4).cells
    assert [o.output_type for o in first.outputs] == ["execute_result"]
    assert [o.output_type for o in second.outputs] == ["stream", "execute_result"]
    assert "kept" in target.with_suffix(".html").read_text()
    bytes_of_first_run = target.read_bytes()
    execute_cells(*cells)
    assert target.read_bytes() == bytes_of_first_run


@pytest.mark.parametrize(
    ("cell", "words", "lines"),
    [("1 / 0", "ZeroDivisionError", 25), (USER_ERROR, "UserError: x.jpeg: found a, wanted b. Do c.", 6)],
    ids=["an error", "an error that the user can correct"],
)
def test_a_failure_writes_nothing_and_is_short(execute_cells, capsys, cell, words, lines):
    status, target = execute_cells((cell, []), ("print('never')", []))
    assert status == 1 and not target.parent.exists()
    shown = capsys.readouterr().out
    assert words in shown and "never" not in shown.replace("print('never')", "")
    assert len(shown.splitlines()) < lines and ("---->" in shown) == (cell == "1 / 0")


def test_ctrl_c_is_short_and_writes_nothing(clone, start):
    write(clone / "n.ipynb", ("import time\nprint('at work', flush=True)\ntime.sleep(60)", []))
    process = start(sys.executable, "-m", "tools.execute", "execute", "n.ipynb", "build/out.ipynb")
    while "    at work" not in (line := process.stdout.readline()):
        assert line
    os.killpg(process.pid, signal.SIGINT)
    printed = process.communicate()[0]
    assert process.returncode == 130
    assert "Traceback" not in printed and "The same command continues from here" in printed
    assert not (clone / "build").exists()


@pytest.fixture
def executed(tmp_path):
    """A folder with an executed notebook: pictures of patients, with and without a twin of phantoms, and a plot."""
    figures = {"val_images": ["patients"], "unknown": ["patients"], "roc": []}
    cells = [new_markdown_cell(f"# T\n{execute.ANSWER} An earlier one.\nMore.")]
    for name, tags in figures.items():
        picture = new_output("display_data", {"image/png": "aGVsbG8="}, metadata={"figure": name})
        cells.append(new_code_cell("show()", metadata={"tags": tags}, outputs=[picture], execution_count=1))
    (tmp_path / "full").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "full" / "01_explore.ipynb")
    return tmp_path / "full"


def test_published_notebooks_show_no_patient_and_the_answer_of_now(executed):
    published = executed.parent / "01_explore.ipynb"
    execute.publish(executed, published.parent)
    opening, replaced, hidden, plot = nbformat.read(published, 4).cells
    assert opening.source == f"# T\n{execute.ANSWER} {pages.answer('01_explore')}\nMore."
    phantoms = b64encode((execute.PHANTOMS / "val_images.png").read_bytes()).decode()
    assert replaced.outputs[0].data["image/png"] == phantoms and replaced.outputs[0].metadata["figure"] == "val_images"
    assert [list(o.data) for o in hidden.outputs] == [["text/markdown", "text/plain"]]
    assert plot.outputs[0].data["image/png"] == "aGVsbG8=" and replaced.execution_count == 1
    assert published.stat().st_mtime == (executed / published.name).stat().st_mtime  # make does not execute it again


def test_the_report_holds_every_figure_described_and_needs_nothing_else(executed):
    execute.report(executed, executed / "report.html")
    html = (executed / "report.html").read_text()
    page = BeautifulSoup(html, "html.parser")
    references = [tag[name] for name in ("src", "href", "srcset") for tag in page.find_all(attrs={name: True})]
    assert all(reference.startswith(("data:", "#")) for reference in references) and not page.find_all("script")
    assert not re.findall(r"@import|url\((?![\"']?(?:data:|#))", html)
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids)) and {link[1:] for link in references if link.startswith("#")} <= set(ids)
    described = {image["alt"] for image in page.find_all("img")}
    assert len(described) == 3 and "A figure of this study." in described
    assert all(f"![{text}]" in execute.CAPTIONS.read_text() for text in described - {"A figure of this study."})
