"""Execute notebooks with live progress, and keep each, with an HTML page, whole or not at all."""

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook, new_output

from xraylib.config import REPOSITORY
from xraylib.files import UserError, alone, say, write_bytes

LIVE = "live"  # tag of cells whose printed lines are progress: shown while they run, not stored
PATIENTS = "patients"  # tag of cells that show films: stored in build/, never published
FIGURE = "figure"  # key of an output's metadata: the name of the figure that it shows ("roc")
CAPTIONS, PHANTOMS = REPOSITORY / "Plot" / "README.md", REPOSITORY / "Plot" / "demo"
ANSWER = "**Answer** (patients)."
WORDS = "Films of patients are not published; phantoms stand in. `make reproduce DATA=folder` draws them."


class _Runner(NotebookClient):
    """Executes a notebook and shows which cell runs and what it prints."""

    label = ""  # the notebook's name

    def begin(self, cell, cell_index):
        for number in (signal.SIGINT, signal.SIGTERM):  # nbclient's handlers wait for a kernel that they have ended
            asyncio.get_event_loop().remove_signal_handler(number)
        total, first = sum(c.cell_type == "code" for c in self.nb.cells), cell.source.strip().splitlines()[0]
        say(f"[{self.label} {self.code_cells_executed + 1}/{total}] {first[:90]}")

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            for line in filter(str.strip, msg["content"]["text"].splitlines()):
                say(f"    {line}")
        return super().output(outs, msg, display_id, cell_index)


def run(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Execute the notebook in the folder of `path`; printed progress is not stored. Raises CellExecutionError."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # the kernel's debugger warns about frozen modules
    runner = _Runner(
        notebook,
        startup_timeout=300,  # seconds; a busy machine takes more than the default 60
        kernel_name="python3",
        record_timing=False,  # the clock differs at every run
        coalesce_streams=True,
        shutdown_kernel="immediate",  # each file is written whole, so the kernel has nothing to finish
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    runner.label, runner.on_cell_execute = path.stem, runner.begin
    runner.execute()
    for cell in notebook.cells:
        if LIVE in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]


def execute(source: Path, target: Path, *needs: Path) -> None:
    """Execute the notebook; write `target` (.ipynb) and the HTML page beside it, unless it is newer than all needs."""
    newest = max(need.stat().st_mtime if need.exists() else float("inf") for need in (source, *needs))
    if target.exists() and newest <= target.stat().st_mtime:  # as make asks, but after waiting for another run
        return
    started, notebook = time.monotonic(), nbformat.read(source, as_version=4)
    run(notebook, source)
    write_bytes(to_html(notebook, source.stem).encode(), target.with_suffix(".html"))
    write_bytes(nbformat.writes(notebook).encode(), target)  # last: for make it means that all is done
    say(f"[{source.stem}] wrote {target} and its .html in {time.monotonic() - started:.0f} s")


def executed(folder: Path) -> list[tuple[Path, nbformat.NotebookNode]]:
    """The executed notebooks of `folder`, in order, with their paths; UserError where there is none."""
    if paths := sorted(folder.glob("[0-9]*.ipynb")):
        return [(path, nbformat.read(path, as_version=4)) for path in paths]
    raise UserError(f"{folder}: no executed notebooks. Run the study first: make reproduce")


def publish(folder: Path, target: Path) -> None:
    """Copy the executed notebooks of `folder` to `target`, with this run's answers and without patients' pictures."""
    from tools import pages  # here: an execution needs no SciPy

    for path, notebook in executed(folder):
        hide_patients(notebook)
        lines, answer = notebook.cells[0].source.split("\n"), f"{ANSWER} {pages.answer(path.stem)}"
        notebook.cells[0].source = "\n".join(answer if line.startswith(ANSWER) else line for line in lines)
        write_bytes(nbformat.writes(notebook).encode(), target / path.name)
        shutil.copystat(path, target / path.name)  # the time of its source, so that make does not execute it again
        say(f"wrote {target / path.name}")


def hide_patients(notebook: nbformat.NotebookNode) -> None:
    """Replace the outputs of cells tagged PATIENTS by the same figures of phantoms, as far as there are, and WORDS."""
    for cell in (cell for cell in notebook.cells if PATIENTS in cell.metadata.get("tags", [])):
        names = [output.metadata[FIGURE] for output in cell.outputs if FIGURE in output.get("metadata", {})]
        cell.outputs = [new_output("display_data", {"text/markdown": WORDS, "text/plain": WORDS})]
        for name in names:
            if (file := PHANTOMS / f"{name}.png").exists():
                data = {"image/png": b64encode(file.read_bytes()).decode(), "text/plain": f"{name}, of phantoms"}
                cell.outputs.insert(-1, new_output("display_data", data, metadata={FIGURE: name}))


def report(folder: Path, target: Path) -> None:
    """Write the executed notebooks of `folder` as one HTML page that opens with its contents."""
    whole, contents = new_notebook(), ["# Pneumonia or normal? The notebooks\n"]
    for path, notebook in executed(folder):
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        contents.append(f"- [{title}](#{title.replace(' ', '-')})")
        whole.metadata = notebook.metadata  # the same kernel and language in all
        for cell in notebook.cells:
            cell.id = f"{path.stem}-{cell.id}"[:64]
        whole.cells += notebook.cells
    whole.cells.insert(0, new_markdown_cell("\n".join(contents), id="contents"))
    write_bytes(to_html(whole, "Pneumonia or normal?").encode(), target)
    say(f"wrote {target}: {len(contents) - 1} notebooks, {target.stat().st_size / 1e6:.1f} MB")


def to_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """The notebook as nbconvert's HTML page, with its figures inside and described, that needs nothing else."""
    page = BeautifulSoup(HTMLExporter().from_notebook_node(notebook, {"metadata": {"name": title}})[0], "html.parser")
    for script in page.find_all("script"):  # fetched for formulas, widgets and diagrams, which no notebook holds
        script.decompose()
    captions = {Path(file).stem: text for text, file in re.findall(r"!\[(.+?)\]\((.+?\.png)\)", CAPTIONS.read_text())}
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    for image, output in zip(page.select(".jp-RenderedImage img"), figures, strict=True):
        image["alt"] = captions.get(output.metadata.get(FIGURE), "A figure of this study.")
    return str(page)


def main() -> int:
    """Command line: python -m tools.execute execute|publish|report SOURCE TARGET [files TARGET must be newer than]."""
    actions: dict[str, Callable[..., None]] = {"execute": execute, "publish": publish, "report": report}
    try:
        with alone():
            actions[sys.argv[1]](*map(Path, sys.argv[2:]))
    except UserError as error:
        say(str(error))
        return 1
    except CellExecutionError as error:
        trace = [] if error.ename == UserError.__name__ else ["", *error.traceback.splitlines()[-12:]]
        say("\n".join([f"\nStopped. {error.ename}: {error.evalue}", *trace]))
        say(f"\n{sys.argv[3]} is not written; earlier results are as they were.")
        return 1
    except (DeadKernelError, KeyboardInterrupt):
        say("\nStopped by Ctrl-C, or because memory ran out (4 GB are enough). The same command continues from here.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
