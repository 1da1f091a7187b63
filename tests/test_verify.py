"""The same results are called the same, other rounding is tolerated, and another result is called different."""

import copy
import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from tools import verify
from xraylib.config import REPOSITORY

MACHINE = dict.fromkeys(verify.KIND, "this")


@pytest.fixture
def published():
    return json.loads((REPOSITORY / "results" / "metrics.json").read_text())


def test_a_run_agrees_with_itself(published):
    for least in (0.03, 0.0):
        table = verify.compare(published, copy.deepcopy(published), least)
        assert set(table.verdict) == {"same bits"}
        assert len(table) == 3 * len(verify.STATISTICS)  # published, own and its ensemble


@pytest.mark.parametrize(
    ("moved", "least", "verdict"),
    [
        (1e-9, 0.03, "within tolerance"),
        (0.02, 0.03, "within tolerance"),
        (0.2, 0.03, "DIFFERENT"),
        (1e-9, 0.0, "DIFFERENT"),  # on the same kind of machine every bit counts
    ],
)
def test_a_moved_result_is_judged_by_how_far(published, moved, least, verdict):
    here = copy.deepcopy(published)
    block = here["networks"]["xray_cnn"]["test"]["chosen"]["auroc"]
    block["mean"] -= moved
    block["per_seed"] = [value - moved for value in block["per_seed"]]
    table = verify.compare(published, here, least).set_index("result").verdict
    assert table["xray_cnn, auroc"] == verdict
    assert (table.drop("xray_cnn, auroc") == "same bits").all()


def test_the_tolerance_is_four_sds_over_seeds_where_that_is_more(published):
    block = published["networks"]["xray_cnn"]["test"]["chosen"]["specificity"]
    for sd, tolerance in ((0.02, 0.08), (0.001, 0.03), (None, 0.03)):
        block["sd"] = sd
        table = verify.compare(published, published, 0.03).set_index("result").tolerance
        assert table["xray_cnn, specificity"] == pytest.approx(tolerance)


def test_a_result_that_is_missing_is_different(published):
    here = copy.deepcopy(published)
    del here["networks"]["xray_cnn"]
    table = verify.compare(published, here, 0.03)
    assert (table.verdict[table.result.str.startswith("xray_cnn,")] == "DIFFERENT").all()


def test_files_are_compared_to_the_byte_on_the_same_kind_of_machine_alone():
    published = {"a.csv": b"1", "b.png": b"2", "c.csv": b"3"}
    here = {"a.csv": b"1", "b.png": b"other", "c.csv": None}
    exact = verify.compare_files(published, here, True).set_index("result")
    assert exact.verdict.tolist() == ["same bits", "DIFFERENT", "DIFFERENT"]
    elsewhere = verify.compare_files(published, here, False).set_index("result")
    assert elsewhere.verdict.tolist() == ["same bits", "not compared", "DIFFERENT"]
    assert exact.here["c.csv"] == "missing"


def test_machines_are_of_one_kind_where_all_that_decides_the_bits_is_alike():
    assert verify.same_kind(MACHINE, MACHINE | {"cores": 7}) == []
    assert verify.same_kind(MACHINE, MACHINE | {"cpu": "other"}) == ["cpu"]
    assert verify.same_kind({k: v for k, v in MACHINE.items() if k != "cpu"}, MACHINE) == ["cpu"]


def test_what_was_never_committed_is_said():
    with pytest.raises(verify.UserError, match="not in the last commit"):
        verify.committed("results/never.csv")


# --- the command, in a clone with results of its own ---


@pytest.fixture
def clone(tmp_path):
    """A repository whose last commit holds the demo's results, as if a machine called "this" had made them."""
    clone = tmp_path / "a clone"
    shutil.copytree(REPOSITORY / "xraylib", clone / "xraylib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("results/demo", "Plot/demo"):
        shutil.copytree(REPOSITORY / name, clone / name)
    timing = clone / "results" / "demo" / "timing.json"
    timing.write_text(json.dumps({"machine": MACHINE, "seconds": {}}))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "results", "Plot"], [*who, "commit", "-q", "-m", "results"]):
        subprocess.run(["git", *command], cwd=clone, check=True)
    return clone


def run(clone, **more):
    command = [sys.executable, "-m", "tools.verify"]
    environment = os.environ | {"PYTHONPATH": str(clone), "XRAY_PROFILE": "demo"} | more
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)


def change(clone, name, old, new):
    path = clone / name
    path.write_text(path.read_text().replace(old, new, 1))


def test_each_result_has_its_verdict_and_a_difference_its_status(clone):
    shown = run(clone)
    assert shown.returncode == 0, shown.stderr
    assert "on the same kind of machine: no tolerance" in shown.stdout
    assert "DIFFERENT" not in shown.stdout and "timing.json" not in shown.stdout
    for name in ("results/demo/predictions.csv", "Plot/demo/roc.png", "xray_cnn, auroc"):
        assert name in shown.stdout
    with (clone / "Plot/demo/roc.png").open("ab") as file:
        file.write(b"x")
    assert run(clone).returncode == 1
    change(clone, "results/demo/timing.json", '"cpu": "this"', '"cpu": "another"')
    shown = run(clone)
    assert shown.returncode == 0
    assert "another kind of machine (cpu)" in shown.stdout and "1 not compared" in shown.stdout


def test_what_cannot_be_compared_is_one_message(clone):
    assert "git: not found" in run(clone, PATH="").stderr
    metrics, index = (clone / "results" / "demo" / name for name in ("metrics.json", "index.csv"))
    for text, words in (("<", "metrics.json: no JSON"), ('{"networks": []}', "not of this version")):
        metrics.write_text(text)
        shown = run(clone)
        assert (shown.returncode, shown.stdout) == (2, "")
        assert words in shown.stderr and "Traceback" not in shown.stderr
    metrics.unlink()
    assert "Run the study first" in run(clone).stderr
    pd.read_csv(index)[1:].to_csv(index, index=False)
    shown = run(clone)
    assert shown.returncode == 0 and "other images" in shown.stdout
    index.unlink()
    assert "no results" in run(clone).stderr
    assert "nothing of it is published" in run(clone, XRAY_PROFILE="sample").stdout
