"""What the pages say is there: links, commands, paths and figures; and what they show is what results/ says."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
PAGES = [name for name in TRACKED if name.endswith(".md")]
NOTEBOOKS = [name for name in TRACKED if name.endswith(".ipynb")]
GENERATED = [name for name in PAGES if "[[[cog" in (ROOT / name).read_text()]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
COG = re.compile(r"<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", re.DOTALL)
DRAWN_LATER = ("Plot/normal.png", "Plot/pneumonia.png")  # by a run on the user's images


def text(name: str) -> str:
    """A page's Markdown; of a notebook, its text cells."""
    if name.endswith(".md"):
        return (ROOT / name).read_text()
    cells = nbformat.read(ROOT / name, 4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def anchors(name: str) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    titles = re.findall(r"^#+ (.+)$", text(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def code(name: str) -> list[str]:
    """What stands in backticks or in fenced blocks."""
    fenced = re.findall(r"^```.*?$(.*?)^```", text(name), re.DOTALL | re.MULTILINE)
    return fenced + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text(name), flags=re.DOTALL | re.MULTILINE))


def in_git(path: str) -> bool:
    """Whether git has such a file, or a folder with files; * stands for anything."""
    return any(fnmatch(name, path) or name.startswith(f"{path.rstrip('/')}/") for name in TRACKED)


@pytest.mark.parametrize("name", PAGES + NOTEBOOKS)
def test_every_link_resolves(name):
    broken = []
    for link in (a or b for a, b in LINK.findall(text(name))):
        path, _, anchor = link.partition("#")
        if not path.startswith(("https://", "http://", "mailto:")):
            target = (ROOT / name).parent / path if path else ROOT / name
            inside = target.resolve().relative_to(ROOT).as_posix()
            if not in_git(inside) or (anchor and anchor not in anchors(inside)):
                broken.append(link)
    assert not broken


@pytest.mark.parametrize("name", PAGES + NOTEBOOKS)
def test_every_path_and_make_target_in_code_is_there(name):
    quoted, makefile = " ".join(code(name)), (ROOT / "Makefile").read_text()
    paths = re.findall(r"(?<![\w/.])((?:results|Plot|models|notebooks|xraylib|tests|binder)/[\w./*-]*)", quoted)
    assert not [path for path in paths if path not in DRAWN_LATER and not in_git(path.rstrip("."))]
    for target in re.findall(r"\bmake ([a-z][\w-]*)", quoted):
        described = "" if target in ("lint", "unit", "notebooks") else ".*## "  # parts of make test
        assert re.search(rf"^{target}:{described}", makefile, re.MULTILINE), target


def test_generated_pages_are_current_and_make_publish_writes_them():
    # cog runs the pages' snippets and compares what they print with what stands there
    command = [sys.executable, "-m", "cogapp", "-P", "--check", "--diff", *GENERATED]
    checked = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert checked.returncode == 0, f"make publish brings them up to date:\n{checked.stdout[-2000:]}"
    (publish,) = re.findall(r"^publish:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(GENERATED) <= set(publish.split())


def test_every_figure_of_the_atlas_has_a_sentence_its_notebook_and_its_table():
    atlas = text("Plot/README.md").split("\n## ")[1:]
    for section in atlas:
        name, caption, image = section.strip().split("\n\n")
        sentence, drawn_by, sources = re.fullmatch(r"(.+\.) (Notebook \S+|`make \w+`), from (.+)\.", caption).groups()
        assert sentence.count(". ") == 0, name
        assert re.search(r"\[.+?\]\(\.\./(results|xraylib)/.+?\)", sources), name
        file = ROOT / "Plot" / re.search(rf"\(((?:demo/)?{name}\.png)\)$", image)[1]
        assert file.stat().st_size <= 200_000
        if drawn_by.startswith("Notebook"):
            cells = nbformat.read(ROOT / "Plot" / LINK.search(drawn_by)[1], 4).cells
            assert any(f'"{name}"' in cell.source for cell in cells if cell.cell_type == "code"), name
    figures = {Path(name).stem for name in TRACKED if name.endswith(".png")}
    assert {section.split("\n")[0] for section in atlas} == figures


@pytest.mark.parametrize("name", PAGES)
def test_no_result_is_typed_by_hand(name):
    assert not re.findall(r"(?<![\w./])0\.\d{2,}", COG.sub("", text(name)))


def test_the_citation_names_what_pyproject_says():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in text("CHANGELOG.md")
    assert text("README.md").startswith(f"# {cited['title']}\n")
