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
    assert len(atlas) > 20
    for section in atlas:
        name, caption, image = section.strip().split("\n\n")
        sentence, drawn_by, sources = re.fullmatch(r"(.+\.) (Notebook \S+|`make \w+`), from (.+)\.", caption).groups()
        assert sentence.count(". ") == 0, name
        assert re.search(r"\[.+?\]\(\.\./(results|xraylib)/.+?\)", sources), name
        assert re.search(rf"\((demo/)?{name}\.png\)$", image), name
        if command := re.fullmatch("`make (.+)`", drawn_by):
            assert f"python -m tools.{command[1]}" in (ROOT / "tools" / f"{command[1]}.py").read_text()
            continue
        notebook = nbformat.read(ROOT / "Plot" / LINK.search(drawn_by)[1], 4)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        assert any(f'"{name}.png"' in cell or f'{{"{name}":' in cell or f', "{name}":' in cell for cell in code), name


@pytest.mark.parametrize("name", PAGES)
def test_no_result_is_typed_by_hand(name):
    assert not re.findall(r"(?<![\w./])0\.\d{2,}", COG.sub("", text(name)))


def test_the_readme_keeps_its_order():
    headings = re.findall(r"^## (.+)$", text("README.md"), re.MULTILINE)
    wanted = ["What makes it work", "Three warnings", "Two commands", "What the notebooks show", "How to cite"]
    places = [headings.index(one) for one in wanted]
    assert places == sorted(places)
    assert text("README.md").index("pages.claim()") < text("README.md").index("## What makes it work")


@pytest.mark.parametrize("name", [one for one in TRACKED if one.startswith(".github/workflows/")])
def test_actions_are_pinned_by_commit(name):
    steps = [s for job in yaml.safe_load((ROOT / name).read_text())["jobs"].values() for s in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used)


def test_binder_gets_the_lock_and_the_python_of_the_study():
    (line,) = (ROOT / "binder/requirements.txt").read_text().split("\n")[:-1]
    assert (ROOT / "binder" / line.removeprefix("-r ")).resolve() == ROOT / "requirements.lock"
    python = (ROOT / "binder/runtime.txt").read_text().strip().removeprefix("python-")
    assert f"python={python}\n" in (ROOT / "environment.yml").read_text()
    assert (ROOT / "binder/postBuild").stat().st_mode & 0o111


def test_the_citation_names_what_pyproject_says():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in text("CHANGELOG.md")
    assert text("README.md").startswith(f"# {cited['title']}\n")
