"""Execute notebooks with live progress, and keep each, with an HTML page, whole or not at all."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tools.page import to_html
from xraylib.files import UserError, say, write_bytes

LIVE = "live"  # tag of cells whose printed lines are progress: shown while they run, not stored
PATIENTS = "patients"  # tag of cells that show radiographs: stored in build/, never published
TRACEBACK_LINES = 12
REMOVED = "This cell shows radiographs, which are not published. `make reproduce DATA=folder` draws them."


class _Runner(NotebookClient):
    """Executes a notebook, shows which cell runs and what it prints, and stores no clock."""

    def __init__(self, notebook: nbformat.NotebookNode, path: Path):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.number = {cell.id: i for i, cell in enumerate(code, 1)}
        self.label = path.stem
        super().__init__(
            notebook,
            timeout=None,
            startup_timeout=300,  # seconds; a busy machine takes more than the usual 60
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            shutdown_kernel="immediate",  # files are whole or not there, so nothing needs a farewell
            resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            on_cell_start=self._cell_started,
        )

    def _cell_started(self, cell, cell_index):
        loop = asyncio.get_event_loop()
        for number in (signal.SIGINT, signal.SIGTERM):  # nbclient's handlers wait for a kernel that they have ended
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
        if cell.cell_type == "code":
            first = next((line for line in cell.source.splitlines() if line.strip()), "")
            say(f"[{self.label} {self.number[cell.id]}/{len(self.number)}] {first[:90]}")

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            for line in msg["content"]["text"].splitlines():
                if line.strip():
                    say(f"    {line}")
        return super().output(outs, msg, display_id, cell_index)


def execute(path: Path, target: Path) -> None:
    """Execute the notebook `path` in its own folder; write `target` (.ipynb) and the HTML page beside it.

    Raises CellExecutionError where a cell fails; nothing is then written.
    """
    notebook = nbformat.read(path, as_version=4)
    _Runner(notebook, path).execute(close_fds=False)  # the kernel holds the run's lock too (xraylib.alone), to its end
    for cell in notebook.cells:
        if cell.cell_type == "code" and LIVE in cell.metadata.get("tags", []):
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
    notebook.metadata.pop("widgets", None)
    write_bytes(to_html(notebook, path.stem).encode(), target.with_suffix(".html"))
    write_bytes(nbformat.writes(notebook).encode(), target)  # last: make takes its presence for success


def publish(folder: Path, target: Path) -> list[Path]:
    """Copy the executed notebooks of `folder` to `target`, with the outputs of cells that show patients removed.

    One that is there with the same bytes is left alone: make would take it for new and execute it again. Returns what
    was written. Raises UserError where there is nothing to copy.
    """
    sources = sorted(folder.glob("[0-9]*.ipynb"))
    if not sources:
        raise UserError(f"{folder}: no executed notebooks. Wanted those of a full run: make reproduce DATA=folder.")
    written = []
    for source in sources:
        notebook = nbformat.read(source, as_version=4)
        for cell in notebook.cells:
            if PATIENTS in cell.metadata.get("tags", []):
                cell.outputs = [
                    nbformat.v4.new_output("display_data", {"text/markdown": REMOVED, "text/plain": REMOVED})
                ]
        published, text = target / source.name, nbformat.writes(notebook).encode()
        if not published.exists() or published.read_bytes() != text:
            write_bytes(text, published)
            written.append(published)
    return written


def main() -> int:
    """Command line: python -m tools.execute notebooks/01_explore.ipynb build/demo/01_explore.ipynb [--publish]."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a notebook; with --publish, a folder of executed notebooks")
    parser.add_argument("target", type=Path, help="the executed notebook; with --publish, the folder to copy to")
    parser.add_argument("--publish", action="store_true", help="copy, without the images of patients")
    arguments = parser.parse_args()
    try:
        return _publish(arguments) if arguments.publish else _execute(arguments)
    except UserError as error:
        say(str(error))
        return 1


def _publish(arguments: argparse.Namespace) -> int:
    written = publish(arguments.source, arguments.target)
    say(f"wrote {', '.join(map(str, written)) or f'nothing: {arguments.target} holds these notebooks already'}")
    return 0


def _execute(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # the kernel's debugger warns about frozen modules
    try:
        execute(arguments.source, arguments.target)
    except CellExecutionError as error:
        short = [] if error.ename == UserError.__name__ else ["", *error.traceback.splitlines()[-TRACEBACK_LINES:]]
        say("\n".join([f"\n{arguments.source} stopped. {error.ename}: {error.evalue}", *short]))
        say(f"\nNothing was written to {arguments.target}; earlier results are as they were.")
        return 1
    except (DeadKernelError, KeyboardInterrupt):
        say(f"\n{arguments.source} stopped: by Ctrl-C, or, if nobody pressed it, for want of memory (4 GB are enough).")
        say("Results are as they were; the same command goes on from here.")
        return 130
    say(f"[{arguments.source.stem}] wrote {arguments.target} and its .html in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
