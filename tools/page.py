"""Executed notebooks -> one HTML page that needs nothing else: no network, no font, no script from elsewhere."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from xraylib.files import UserError, write_bytes

# Jupyter's own page without the scripts that it would fetch: the notebooks hold no formula, widget or diagram.
TEMPLATE = """{% extends 'index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block extra_css %}<style>
main { max-width: 62rem; margin: auto; }
.jp-RenderedImage img { display: block; margin: auto; max-height: 60rem; width: auto; }
</style>{% endblock %}
"""
TITLE = "Pneumonia or normal? The four notebooks"


def together(paths: list[Path]) -> nbformat.NotebookNode:
    """The notebooks, one after another, as one notebook that opens with a table of contents."""
    notebook = nbformat.v4.new_notebook()
    contents = [f"# {TITLE}", ""]
    for path in paths:
        one = nbformat.read(path, as_version=4)
        notebook.metadata = one.metadata  # the same kernel and language in all
        for cell in one.cells:
            cell.id = f"{path.stem}-{cell.id}"[:64]
            notebook.cells.append(cell)
        contents += [f"- [{heading}](#{heading.replace(' ', '-')})" for heading in headings(one)]
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("\n".join(contents), id="contents"))
    return notebook


def headings(notebook: nbformat.NotebookNode) -> list[str]:
    """The titles (lines that start with one #) of the notebook's text."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"^# (.+)$", text, re.MULTILINE)


def to_html(notebook: nbformat.NotebookNode, title: str) -> str:
    """The notebook as an HTML page with its figures inside and no reference to anything outside."""
    page, _ = HTMLExporter(raw_template=TEMPLATE).from_notebook_node(notebook, {"metadata": {"name": title}})
    return page


def main() -> int:
    """Command line: python -m tools.page build/demo build/demo/report.html."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of executed notebooks")
    parser.add_argument("target", type=Path, help="the page to write")
    arguments = parser.parse_args()
    try:
        paths = sorted(arguments.folder.glob("[0-9]*.ipynb"))
        if not paths:
            raise UserError(f"{arguments.folder}: no executed notebooks. Run the study first: make reproduce")
        write_bytes(to_html(together(paths), TITLE).encode(), arguments.target)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {arguments.target}: {len(paths)} notebooks, {arguments.target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
