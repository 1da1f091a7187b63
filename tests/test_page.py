"""All notebooks as one page that needs nothing else."""

import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from tools import page

ROOT = Path(__file__).resolve().parent.parent
STORED = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


class Page(HTMLParser):
    """What a page refers to, its ids, and how many figures it holds."""

    def __init__(self, html: str):
        super().__init__()
        self.references, self.ids, self.figures = [], [], 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.references += [given[name] for name in ("src", "href", "srcset", "action") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        self.figures += tag == "img" and given.get("src", "").startswith("data:image/png")


@pytest.fixture(scope="module")
def html():
    return page.to_html(page.together(STORED), page.TITLE)


def test_nothing_outside_is_asked_for(html):
    outside = [one for one in Page(html).references if not one.startswith(("data:", "#"))]
    assert not outside
    assert not re.findall(r"@import|url\((?![\"']?(?:data:|#))|\bimport\s*\(|\bfrom\s+[\"']http|fetch\(", html)


def test_every_entry_of_the_contents_leads_somewhere_and_no_place_is_named_twice(html):
    found = Page(html)
    inside = [one.removeprefix("#") for one in found.references if one.startswith("#")]
    assert set(inside) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_every_figure_and_text_of_the_notebooks_is_there(html):
    cells = [cell for path in STORED for cell in nbformat.read(path, 4).cells]
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert Page(html).figures == sum("image/png" in output.get("data", {}) for output in outputs) > 10
    for path in STORED:
        assert page.headings(nbformat.read(path, 4))[0] in html


def test_a_folder_without_notebooks_is_one_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["page", str(tmp_path), str(tmp_path / "report.html")])
    assert page.main() == 2
    assert "make reproduce" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
