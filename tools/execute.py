"""Execute notebooks with live progress, and keep each, with an HTML page, whole or not at all."""

import argparse
import asyncio
import os
import re
import shutil
import signal
import sys
import time
from base64 import b64encode
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook, new_output

from xraylib.config import REPOSITORY
from xraylib.files import UserError, alone, say, write_bytes

LIVE = "live"  # tag of cells whose printed lines are progress: shown while they run, not stored
PATIENTS = "patients"  # tag of cells that show radiographs: stored in build/, never published
TRACEBACK_LINES = 12
TITLE = "Pneumonia or normal? The notebooks"
PHANTOMS = REPOSITORY / "Plot" / "demo"
ANSWER = "**Answer** (patients)."
STAND_IN = "Phantoms: pictures of patients are not published. `make reproduce DATA=folder` draws them."
REMOVED = "This cell shows radiographs, which are not published. `make reproduce DATA=folder` draws them."

# Jupyter's own page without the scripts that it would fetch (the notebooks hold no formula, widget or diagram), with
# code folded, JupyterLab's dark theme where the reader's system is dark, and figures described.
TEMPLATE = """{% extends 'index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block input_group %}<details class="code"><summary>code</summary>{{ super() }}</details>{% endblock %}
{% block data_png %}<div class="jp-RenderedImage jp-OutputArea-output">
<img alt="{{ output.metadata.alt | escape_html }}" src="data:image/png;base64,{{ output.data['image/png'] }}">
</div>{% endblock %}
{% block html_head_css %}
{{ resources.include_css("static/theme-dark.css")
   | replace('<style', '<style media="screen and (prefers-color-scheme: dark)"') }}
<style>
:root { color-scheme: light dark; --jp-mirror-editor-operator-color: var(--jp-content-font-color1);
  --jp-mirror-editor-comment-color: var(--jp-content-font-color2); }
main { max-width: 60rem; margin: auto; }
.code summary { cursor: pointer; font-size: small; color: var(--jp-content-font-color2); }
.highlight pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.jp-RenderedImage img { display: block; margin: auto; max-width: 100%; max-height: 60rem; width: auto; }
.jp-RenderedHTMLCommon table { display: block; overflow-x: auto; max-width: 100%;
  color: var(--jp-content-font-color1); }
thead th { overflow-wrap: anywhere; }
</style>{% endblock %}
"""


class _Runner(NotebookClient):
    """Executes a notebook, shows which cell runs and what it prints, and stores no clock."""

    def __init__(self, notebook: nbformat.NotebookNode, path: Path):
        self.label, self.total = path.stem, sum(cell.cell_type == "code" for cell in notebook.cells)
        super().__init__(
            notebook,
            timeout=None,
            startup_timeout=300,  # seconds; a busy machine takes more than the default 60
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            shutdown_kernel="immediate",  # each file is written whole, so the kernel has nothing to finish
            resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            on_cell_execute=self._started,
        )

    def _started(self, cell, cell_index):
        for number in (signal.SIGINT, signal.SIGTERM):  # nbclient's handlers wait for a kernel that they have ended
            asyncio.get_event_loop().remove_signal_handler(number)
        first = cell.source.strip().splitlines()[0]
        say(f"[{self.label} {self.code_cells_executed + 1}/{self.total}] {first[:90]}")

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            for line in msg["content"]["text"].splitlines():
                if line.strip():
                    say(f"    {line}")
        return super().output(outs, msg, display_id, cell_index)


def run(notebook: nbformat.NotebookNode, path: Path) -> nbformat.NotebookNode:
    """The notebook, executed in the folder of `path`, without printed progress. Raises CellExecutionError."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # the kernel's debugger warns about frozen modules
    _Runner(notebook, path).execute()
    for cell in _tagged(notebook, LIVE):
        cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
    notebook.metadata.pop("widgets", None)
    return notebook


def _tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def execute(source: Path, target: Path) -> int:
    """Execute the notebook in its own folder; write `target` (.ipynb) and the HTML page beside it.

    Returns the status, 1 where a cell fails and 130 where the kernel ended: then nothing is written, and it says why.
    """
    started = time.monotonic()
    try:
        notebook = run(nbformat.read(source, as_version=4), source)
        write_bytes(to_html(notebook, source.stem).encode(), target.with_suffix(".html"))
        write_bytes(nbformat.writes(notebook).encode(), target)  # last: for make it means that all is done
    except CellExecutionError as error:
        short = [] if error.ename == UserError.__name__ else ["", *error.traceback.splitlines()[-TRACEBACK_LINES:]]
        say("\n".join([f"\n{source} stopped. {error.ename}: {error.evalue}", *short]))
        say(f"\nNothing was written to {target}; earlier results are as they were.")
        return 1
    except (DeadKernelError, KeyboardInterrupt):
        say(f"\n{source} stopped: by Ctrl-C, or, if nobody pressed it, for want of memory (4 GB are enough).")
        say("Results are as they were; the same command goes on from here.")
        return 130
    say(f"[{source.stem}] wrote {target} and its .html in {time.monotonic() - started:.0f} s")
    return 0


def done(target: Path, needs: list[Path], table: Path | None = None) -> bool:
    """Whether `target` is newer than all that it needs, as make asks, and the table that it writes is there."""
    if not target.exists() or (table is not None and not table.exists()):
        return False
    return all(need.stat().st_mtime <= target.stat().st_mtime for need in needs if need.exists())


def executed(folder: Path) -> list[Path]:
    """The executed notebooks of `folder`, in order; UserError where there is none."""
    paths = sorted(folder.glob("[0-9]*.ipynb"))
    if not paths:
        raise UserError(f"{folder}: no executed notebooks. Run the study first: make reproduce")
    return paths


def publish(folder: Path, target: Path) -> str:
    """Copy the executed notebooks of `folder` to `target` without pictures of patients; returns what was written."""
    from tools import pages  # here: an execution needs no SciPy

    written = []
    for source in executed(folder):
        notebook = nbformat.read(source, as_version=4)
        hide_patients(notebook)
        lines = notebook.cells[0].source.split("\n")
        answered = [f"{ANSWER} {pages.answer(source.stem)}" if one.startswith(ANSWER) else one for one in lines]
        notebook.cells[0].source = "\n".join(answered)
        published, text = target / source.name, nbformat.writes(notebook).encode()
        if not published.exists() or published.read_bytes() != text:
            write_bytes(text, published)
            shutil.copystat(source, published)  # the time of its source, so that make does not execute it again
            written.append(str(published))
    return f"wrote {', '.join(written) or f'nothing: {target} holds these notebooks already'}"


def hide_patients(notebook: nbformat.NotebookNode) -> None:
    """Replace the outputs of cells tagged PATIENTS by the figures that they draw of phantoms, or by a sentence."""
    for cell in _tagged(notebook, PATIENTS):
        names = re.findall(r'"(\w+)(?:\.png"|": \d)', cell.source)
        figures = [figure for name in names if (figure := PHANTOMS / f"{name}.png").exists()]
        shown = [
            {"image/png": b64encode(one.read_bytes()).decode(), "text/plain": f"{one.stem}, of phantoms"}
            for one in figures
        ]
        words = STAND_IN if figures else REMOVED
        shown.append({"text/markdown": words, "text/plain": words})
        cell.outputs = [new_output("display_data", data) for data in shown]


def together(paths: list[Path]) -> nbformat.NotebookNode:
    """The notebooks, one after another, as one notebook that opens with a table of contents."""
    notebook, contents = new_notebook(), [f"# {TITLE}", ""]
    for path in paths:
        one = nbformat.read(path, as_version=4)
        notebook.metadata = one.metadata  # the same kernel and language in all
        for cell in one.cells:
            cell.id = f"{path.stem}-{cell.id}"[:64]
            notebook.cells.append(cell)
        text = "\n".join(cell.source for cell in one.cells if cell.cell_type == "markdown")
        for marks, heading in re.findall(r"^(##?) (.+)$", text, re.MULTILINE):
            contents.append(f"{'  ' * (len(marks) - 1)}- [{heading}](#{heading.replace(' ', '-')})")
    notebook.cells.insert(0, new_markdown_cell("\n".join(contents), id="contents"))
    return notebook


def to_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """The notebook as an HTML page with its figures inside and no reference to anything outside."""
    exporter = HTMLExporter(raw_template=TEMPLATE, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor(_describe)  # on a copy
    return exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]


def _describe(notebook: nbformat.NotebookNode, resources: dict) -> tuple[nbformat.NotebookNode, dict]:
    """Gives each figure the sentence of the atlas, Plot/README.md, as its alternative text."""
    atlas = REPOSITORY / "Plot" / "README.md"
    captions = re.findall(r"!\[(.+?)\]\((.+?\.png)\)", atlas.read_text() if atlas.exists() else "")
    sentences = {Path(file).stem: text for text, file in captions}
    for cell in notebook.cells:
        names = iter(name for name in re.findall(r'"(\w+)(?:\.png"|": )', cell.source) if name in sentences)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata["alt"] = sentences.get(next(names, ""), "A figure of this study.")
    return notebook, resources


def report(folder: Path, target: Path) -> str:
    """Write the executed notebooks of `folder` as one HTML page; returns what was written."""
    paths = executed(folder)
    write_bytes(to_html(together(paths), TITLE).encode(), target)
    return f"wrote {target}: {len(paths)} notebooks, {target.stat().st_size / 1e6:.1f} MB"


def main() -> int:
    """Command line: python -m tools.execute notebooks/01_explore.ipynb build/demo/01_explore.ipynb [files it needs]."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a notebook; with an option, a folder of executed notebooks")
    parser.add_argument("target", type=Path, help="the executed notebook; the folder to copy to; the page")
    parser.add_argument("needs", type=Path, nargs="*", help="files that the executed notebook must be newer than")
    parser.add_argument("--table", type=Path, help="a table that the notebook writes: without it, nothing is done")
    for write, words in ((publish, "copy, without the images of patients"), (report, "write one HTML page")):
        parser.add_argument(f"--{write.__name__}", dest="write", action="store_const", const=write, help=words)
    arguments = parser.parse_args()
    source, target = arguments.source, arguments.target
    try:
        with alone():  # after waiting, the work may be done
            if arguments.write:
                say(arguments.write(source, target))
            elif not done(target, [source, *arguments.needs], arguments.table):
                return execute(source, target)
    except UserError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
