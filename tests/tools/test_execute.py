"""Notebooks run in order with progress shown; what is stored has no clock, no half-written file and no patient."""

import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import execute
from xraylib.config import REPOSITORY


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
    cells = ("import time\nprint('epoch 1', time.time())\n'kept'", ["live"]), ("print(2)\n1 + 1", []), ("# nothing", [])
    status, target = run(*cells)
    shown = capsys.readouterr().out
    assert status == 0 and "[n 1/3] import time" in shown and "    epoch 1" in shown
    first, second, _ = nbformat.read(target, 4).cells
    assert [o.output_type for o in first.outputs] == ["execute_result"]
    assert [o.output_type for o in second.outputs] == ["stream", "execute_result"]
    assert "kept" in target.with_suffix(".html").read_text()
    bytes_of_first_run = target.read_bytes()
    run(*cells)
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
    shown = capsys.readouterr().out
    assert status == 1 and "x.jpeg: found a, wanted b. Do c." in shown
    assert "Traceback" not in shown and "---->" not in shown


def test_ctrl_c_is_short_and_writes_nothing(tmp_path):
    source, target = tmp_path / "n.ipynb", tmp_path / "out.ipynb"
    cell = "import time\nprint('at work', flush=True)\ntime.sleep(60)"
    nbformat.write(new_notebook(cells=[new_code_cell(cell, id="c")]), source)
    command = [sys.executable, "-m", "tools.execute", source, target]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    while "    at work" not in (line := run.stdout.readline()):
        assert line or run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    printed = run.communicate()[0]
    assert run.returncode == 130
    assert "Traceback" not in printed and "the same command goes on from here" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["n.ipynb"]


def test_published_notebooks_show_no_patient(tmp_path):
    picture = new_output("display_data", {"image/png": "aGVsbG8="})
    cells = [new_code_cell("show()", metadata={"tags": ["patients"]}, outputs=[picture], execution_count=1)]
    cells += [new_code_cell("plot()", outputs=[picture], execution_count=2)]
    (tmp_path / "full").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "full" / "01_explore.ipynb")
    published = tmp_path / "notebooks" / "01_explore.ipynb"
    assert str(published) in execute.publish(tmp_path / "full", published.parent)
    shown, plot = nbformat.read(published, 4).cells
    assert [list(o.data) for o in shown.outputs] == [["text/markdown", "text/plain"]]
    assert shown.execution_count == 1
    assert "image/png" in plot.outputs[0].data
    assert "wrote nothing" in execute.publish(tmp_path / "full", published.parent)  # same bytes keep their time


@pytest.mark.parametrize("option", ["--publish", "--report"])
def test_a_folder_without_notebooks_is_one_message(tmp_path, monkeypatch, capsys, option):
    monkeypatch.setattr(sys, "argv", ["execute", str(tmp_path), str(tmp_path / "out"), option])
    assert execute.main() == 1
    assert "make reproduce" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


class Page(HTMLParser):
    """What a page refers to, its ids, and how many figures it holds."""

    def __init__(self, html: str):
        super().__init__()
        self.references, self.ids, self.figures, self.described = [], [], 0, []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.references += [given[name] for name in ("src", "href", "srcset", "action") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "img" and given.get("src", "").startswith("data:image/png"):
            self.figures += 1
            self.described.append(given.get("alt"))


def test_the_report_holds_every_figure_and_asks_for_nothing_outside():
    stored = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    html = execute.to_html(execute.together(stored), execute.TITLE)
    page = Page(html)
    assert all(one.startswith(("data:", "#")) for one in page.references)
    assert not re.findall(r"@import|url\((?![\"']?(?:data:|#))|\bimport\s*\(|\bfrom\s+[\"']http|fetch\(", html)
    assert {one.removeprefix("#") for one in page.references if one.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    cells = [cell for path in stored for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert page.figures == sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs) > 10
    assert all(page.described) and page.described.count("A figure of this study.") < page.figures / 10
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
