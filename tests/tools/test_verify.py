"""The same tables are called the same, a changed number is found and named, and no image is needed."""

import json
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import verify

VERIFY = (sys.executable, "-m", "tools.verify")
MACHINE = dict.fromkeys(verify.KIND, "this")
TABLE = b"network,value\nxray_cnn,0.9\npublished,0.8\n"
CELL = """
import pandas as pd
from xraylib.config import load_config
from xraylib.files import write_table
results = load_config().results
logits = pd.read_csv(results / "predictions.csv").groupby("network", sort=False).logit
write_table(logits.mean().rename("value").reset_index(), results / "metrics.csv")
"""


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "found"),
    [
        (b"0.9", b"0.9", 0.0, 0),
        (b"0.9", b"0.90001", 0.0, 1),
        (b"0.9", b"0.90001", 1e-4, 0),
        (b"0.9", b"0.91", 1e-4, 1),
        (b"xray_cnn", b"other", 0.5, 1),
        (b"published,0.8\n", b"", 0.5, 1),
    ],
)
def test_a_cell_is_compared_within_the_tolerance(old, new, tolerance, found):
    assert len(verify.differences("results/a.csv", TABLE, TABLE.replace(old, new), tolerance)) == found


def test_a_difference_names_file_cell_and_both_values():
    (message,) = verify.differences("results/a.csv", TABLE, TABLE.replace(b"0.9", b"0.7"))
    assert message == "results/a.csv: row 1, column value: 0.7, wanted 0.9"
    assert verify.differences("a.png", b"1", b"2") == ["a.png: other bytes"]
    assert verify.differences("a.csv", b"1", None) == ["a.csv: missing"]


def test_machines_are_of_one_kind_where_all_that_decides_rounding_is_alike():
    assert verify.same_kind(MACHINE, MACHINE | {"cores": 7})
    assert not verify.same_kind(MACHINE, MACHINE | {"cpu": "other"})
    assert not verify.same_kind({k: v for k, v in MACHINE.items() if k != "cpu"}, MACHINE)


@pytest.fixture
def study(clone):
    """The clone with a small results/ in git and a notebook 03 of two cells, the second of which needs images."""
    (clone / "results" / "timing.json").write_text(json.dumps({"machine": MACHINE}))
    (clone / "results" / "predictions.csv").write_text("network,logit\nxray_cnn,1\nxray_cnn,2\npublished,3\n")
    (clone / "results" / "metrics.csv").write_text("network,value\nxray_cnn,1.5\npublished,3.0\n")
    cells = [new_code_cell(CELL), new_code_cell("1 / 0", metadata={"tags": ["images"]})]
    nbformat.write(new_notebook(cells=cells), clone / "notebooks" / "03_evaluate.ipynb")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "results"], [*who, "commit", "-q", "-m", "results"]):
        subprocess.run(["git", *command], cwd=clone, check=True)
    return clone


def test_a_changed_number_is_found_here_and_in_git(study, run):
    shown, status = run(*VERIFY)
    assert status == 0 and "the same kind of machine, exactly" in shown and "Every number agrees." in shown, shown
    table = study / "results" / "metrics.csv"
    table.write_text(table.read_text().replace("1.5", "1.6"))
    shown, status = run(*VERIFY)
    assert status == 1
    assert "row 1, column value: 1.6, wanted 1.5" in shown  # here, and in git
    assert "row 1, column value: 1.5, wanted 1.6" in shown  # computed again, and here


def test_what_cannot_be_compared_is_one_message(study, run):
    shown, status = run(*VERIFY, PATH="")
    assert status == 2 and "git: not found" in shown and "Traceback" not in shown
