"""The same tables are called the same, a changed number is found and named, and no image is needed."""

import json
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import verify

VERIFY = (sys.executable, "-m", "tools.verify")
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
    ("old", "new", "tolerance", "words"),
    [
        (b"0.9", b"0.9", 0.0, []),
        (b"0.9", b"0.90001", 0.0, ["a.csv", 'name="value"', "0.90001 != 0.9"]),
        (b"0.9", b"0.90", 0.0, ["a.csv: other bytes"]),
        (b"0.9", b"0.90001", 1e-4, []),
        (b"0.9", b"0.91", 1e-4, ["position", "0.91 != 0.9"]),
        (b"xray_cnn", b"other", 0.5, ['name="network"', "'other' != 'xray_cnn'"]),
        (b"published,0.8\n", b"", 0.5, ["a.csv"]),
    ],
)
def test_a_difference_names_file_column_and_both_values(tmp_path, old, new, tolerance, words):
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE.replace(old, new))
    found = verify.differs("a.csv", TABLE, path, tolerance)
    assert bool(found) == bool(words) and all(word in found for word in words)


def test_other_files_are_compared_byte_for_byte(tmp_path):
    (tmp_path / "a.png").write_bytes(b"2")
    assert verify.differs("a.png", b"1", tmp_path / "a.png", 0.5) == "a.png: other bytes"
    assert verify.differs("b.csv", b"1", tmp_path / "b.csv") == "b.csv: missing"


@pytest.fixture
def study(clone):
    """The clone with a small results/ in git and a notebook 03 of two cells, the second of which needs images."""
    machine = dict.fromkeys(verify.KIND, "this")
    (clone / "results" / "timing.json").write_text(json.dumps({"machine": machine}))
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
    assert "1.6 != 1.5" in shown  # here, and in git
    assert "1.5 != 1.6" in shown  # computed again, and here
    timing = study / "results" / "timing.json"
    timing.write_text(timing.read_text().replace("this", "another", 1))
    assert "another kind of machine" in run(*VERIFY)[0]


def test_what_cannot_be_compared_is_one_message(study, run):
    shown, status = run(*VERIFY, PATH="")
    assert status == 2 and "'git'" in shown and "Traceback" not in shown
