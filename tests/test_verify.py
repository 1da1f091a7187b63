"""The same results are called the same, other rounding is tolerated, and another result is called different."""

import copy
import json

import pytest

from xraylib import verify
from xraylib.config import REPOSITORY


@pytest.fixture
def published():
    return json.loads((REPOSITORY / "results" / "metrics.json").read_text())


def test_a_run_agrees_with_itself(published):
    table = verify.compare(published, copy.deepcopy(published), 0.03)
    assert set(table.verdict) == {"same bits"}
    assert len(table) == 3 * len(verify.STATISTICS)  # published, own and its ensemble


@pytest.mark.parametrize(
    ("moved", "verdict"), [(1e-9, "within tolerance"), (0.02, "within tolerance"), (0.2, "DIFFERENT")]
)
def test_a_moved_result_is_judged_by_how_far(published, moved, verdict):
    here = copy.deepcopy(published)
    block = here["networks"]["xray_cnn"]["test"]["chosen"]["auroc"]
    block["mean"] -= moved
    block["per_seed"] = [value - moved for value in block["per_seed"]]
    table = verify.compare(published, here, 0.03).set_index(["network", "statistic"]).verdict
    assert table["xray_cnn", "auroc"] == verdict
    assert (table.drop(("xray_cnn", "auroc")) == "same bits").all()


def test_a_result_that_is_missing_is_different(published):
    here = copy.deepcopy(published)
    del here["networks"]["xray_cnn"]
    table = verify.compare(published, here, 0.03).set_index("network").verdict
    assert (table["xray_cnn"] == "DIFFERENT").all()


def test_what_was_never_committed_is_said():
    with pytest.raises(verify.UserError, match="not in the last commit"):
        verify.committed("results/never.csv")
