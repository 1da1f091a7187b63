"""Notebooks run in order with progress shown; what is stored has no clock, no half-written file and no patient."""

import os
import re
import signal
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import execute, pages
from xraylib.config import REPOSITORY

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
        monkeypatch.setattr(sys, "argv", ["execute", str(source), str(target)])
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
    ids=["an error", "what the user can mend"],
)
def test_a_failure_writes_nothing_and_is_short(execute_cells, capsys, cell, words, lines):
    status, target = execute_cells((cell, []), ("print('never')", []))
    assert status == 1 and not target.parent.exists()
    shown = capsys.readouterr().out
    assert words in shown and "never" not in shown.replace("print('never')", "")
    assert len(shown.splitlines()) < lines and ("---->" in shown) == (cell == "1 / 0")


def test_ctrl_c_is_short_and_writes_nothing(clone, start):
    write(clone / "n.ipynb", ("import time\nprint('at work', flush=True)\ntime.sleep(60)", []))
    process = start(sys.executable, "-m", "tools.execute", "n.ipynb", "build/out.ipynb")
    while "    at work" not in (line := process.stdout.readline()):
        assert line
    os.killpg(process.pid, signal.SIGINT)
    printed = process.communicate()[0]
    assert process.returncode == 130
    assert "Traceback" not in printed and "the same command goes on from here" in printed
    assert not (clone / "build").exists()


def test_published_notebooks_show_no_patient_and_the_answer_of_now(tmp_path):
    picture = new_output("display_data", {"image/png": "aGVsbG8="})
    cells = [new_markdown_cell(f"# T\n{execute.ANSWER} An earlier one.\nMore.")]
    cells += [new_code_cell("show()", metadata={"tags": ["patients"]}, outputs=[picture], execution_count=1)]
    cells += [new_code_cell("plot()", outputs=[picture], execution_count=2)]
    (tmp_path / "full").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "full" / "01_explore.ipynb")
    published = tmp_path / "notebooks" / "01_explore.ipynb"
    assert str(published) in execute.publish(tmp_path / "full", published.parent)
    opening, shown, plot = nbformat.read(published, 4).cells
    assert opening.source == f"# T\n{execute.ANSWER} {pages.answer('01_explore')}\nMore."
    assert [list(o.data) for o in shown.outputs] == [["text/markdown", "text/plain"]]
    assert shown.execution_count == 1 and "image/png" in plot.outputs[0].data
    assert "wrote nothing" in execute.publish(tmp_path / "full", published.parent)  # same bytes keep their time


@pytest.mark.parametrize("option", ["--publish", "--report"])
def test_a_folder_without_notebooks_is_one_message(tmp_path, monkeypatch, capsys, option):
    monkeypatch.setattr(sys, "argv", ["execute", str(tmp_path), str(tmp_path / "out"), option])
    assert execute.main() == 1
    assert "make reproduce" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_report_holds_every_figure_and_asks_for_nothing_outside():
    stored = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    html = execute.to_html(execute.together(stored), execute.TITLE)
    page = BeautifulSoup(html, "html.parser")
    references = [
        tag[name] for name in ("src", "href", "srcset", "action") for tag in page.find_all(attrs={name: True})
    ]
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert all(one.startswith(("data:", "#")) for one in references)
    assert not re.findall(r"@import|url\((?![\"']?(?:data:|#))|\bimport\s*\(|\bfrom\s+[\"']http|fetch\(", html)
    assert {one.removeprefix("#") for one in references if one.startswith("#")} <= set(ids)
    assert len(ids) == len(set(ids))
    cells = [cell for path in stored for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    described = [image["alt"] for image in page.find_all("img", src=re.compile("^data:image/png"))]
    assert len(described) == sum("image/png" in o.get("data", {}) for cell in cells for o in cell.outputs) > 10
    assert all(described) and described.count("A figure of this study.") < len(described) / 10
    assert html.count('<details class="code">') == len(cells)
    assert html.count("(prefers-color-scheme: dark)") == 1


def test_done_is_as_make_asks(tmp_path):
    target, need = tmp_path / "target", tmp_path / "need"
    need.touch()
    assert not execute.done(target, [need])
    target.touch()
    os.utime(need, (0, 0))
    assert execute.done(target, [need, tmp_path / "FORCE"], table=need)
    assert not execute.done(target, [need], table=tmp_path / "removed.csv")
    os.utime(target, (-1, -1))
    assert not execute.done(target, [need])
