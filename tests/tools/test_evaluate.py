"""Anybody's predictions: a world solved by hand, what is wrong with a table, and the study's own predictions."""

import numpy as np
import pandas as pd
import pytest

from tools import evaluate
from xraylib.config import REPOSITORY
from xraylib.evaluation import metrics
from xraylib.files import UserError

NAMES = ["IM-1.jpeg", "IM-2.jpeg", "IM-3.jpeg", "person1_virus_1.jpeg", "person2_bacteria_2.jpeg"]
SCORES = [0.1, 0.5, 0.2, 0.5, 0.3]  # AUROC: 1.5 and 2 of 3 films lie below the two with pneumonia, one of them tied


@pytest.fixture
def test():
    """Three normal films, the first two of one child, and two with pneumonia."""
    label = [int("person" in name) for name in NAMES]
    films = pd.DataFrame(
        {"path": [f"test/{('NORMAL', 'PNEUMONIA')[i]}/{n}" for i, n in zip(label, NAMES, strict=True)]}
    )
    return films.assign(
        label=label, split="test", patient=list("aabcd"), subtype=["normal"] * 3 + ["virus", "bacteria"]
    )


def given(tmp_path, **columns):
    file = tmp_path / "mine.csv"
    pd.DataFrame({"path": NAMES, "score": SCORES} | columns).to_csv(file, index=False)
    return file


def figures(films, config):
    kinds = ["large R", "small bold R", "small bold R", "A-P", "large R"]
    markers = films[["path"]].assign(marker=kinds, ranges=["0171-0275", None, None, None, None])
    table, how = evaluate.evaluate(films, markers, config)
    return table.set_index(["part", "statistic"]), how


def test_figures_in_all_and_by_marker_are_those_by_hand(tmp_path, test, config):
    table, how = figures(evaluate.read(given(tmp_path), test), config)
    assert (
        "no column decision: PNEUMONIA from a score of 0.5" in how
    )  # a normal film and the virus are at the threshold
    wanted = {"auroc": 4.5 / 6, "accuracy": 3 / 5, "sensitivity": 1 / 2, "specificity": 2 / 3}
    assert table.value["all"].to_dict() == pytest.approx(wanted)
    assert (table.n_films["all"] == 5).all() and (table.n_children["all"] == 4).all()
    assert table.loc[("NORMAL, small bold R", "specificity"), ["value", "n_films", "n_children"]].tolist() == [
        0.5,
        2,
        2,
    ]
    assert table.value["NORMAL, 0171-0275 vs. PNEUMONIA", "auroc"] == 1  # by scores, where decisions give less
    assert table.value["PNEUMONIA, large R", "sensitivity"] == 0 and table.value["virus", "sensitivity"] == 1


@pytest.mark.parametrize(
    "decision", [[0, 0, 0, 1, 0], ["0.0"] * 3 + ["1.0", "0.0"], ["NORMAL"] * 3 + ["Pneumonia", "normal"]]
)
def test_decisions_count_whatever_the_scores_are_and_auroc_follows_from_scores_in_any_unit(
    tmp_path, test, config, decision
):
    paths = [f"C:\\films\\{NAMES[0]}", *test.path[1:3], f"./x/{test.path[3]}", NAMES[4]]
    columns = {"path": paths, "score": [100 * score - 30 for score in SCORES]}
    table, how = figures(evaluate.read(given(tmp_path, **columns), test), config)
    assert "AUROC alone" in how and set(table.reset_index().statistic) == {"auroc"}
    assert table.value["all", "auroc"] == pytest.approx(4.5 / 6)
    films = evaluate.read(given(tmp_path, **columns, decision=decision), test)
    table, how = figures(films, config)
    wanted = {"auroc": 0.75, "accuracy": 0.8, "sensitivity": 0.5, "specificity": 1}
    assert table.value["all"].to_dict() == pytest.approx(wanted) and "decided by the column decision" in how


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": [*NAMES[:3], "a.png", "b.png"]}, r"no test film: 2 \(a.png, b.png\); missing: 2 \(person1_virus_1"),
        (
            {"path": [*NAMES[:4], f"test/PNEUMONIA/{NAMES[3]}"]},
            r"missing: 1 .*; more than once: 1 \(test/PNEUMONIA/per",
        ),
        ({"score": [0.1, "", "high", "0,5", "inf"]}, r"score is no number: 4 \(IM-2.jpeg, IM-3.jpeg, person1_virus_1"),
        ({"decision": [0, 1, 2, "", "not assessed"]}, r"decision is not 0, 1, NORMAL or PNEUMONIA: 3 \(IM-3.jpeg, per"),
    ],
)
def test_what_is_wrong_with_a_row_is_named_with_its_count_and_the_remedy(tmp_path, test, columns, words):
    with pytest.raises(
        UserError, match=rf"mine\.csv: {words}.*Wanted one row for each test film.*5 films: results/index\.csv"
    ):
        evaluate.read(given(tmp_path, **columns), test)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"path;score\nIM-1.jpeg;1\n", "no column path, score; there are: path;score"),
        ("path,score\n\xe9.png,1\n".encode("latin-1"), "can't be read .*UTF-8"),
        (b"", "can't be read"),
        (b'path,score\n"a', "can't be read"),
        (b"score,path\n0.5\n", r"no test film: 1 \(\)"),
    ],
)
def test_a_file_that_is_no_such_table_is_one_message(tmp_path, test, data, words):
    (tmp_path / "mine.csv").write_bytes(data)
    with pytest.raises(UserError, match=words):
        evaluate.read(tmp_path / "mine.csv", test)


def test_two_test_films_of_one_name_can_not_be_told_from_each_other(tmp_path, test):
    test.loc[1, "path"] = f"test/NORMAL/other/{NAMES[0]}"
    with pytest.raises(UserError, match=r"no test film: 1 .*of two test films: 1"):
        evaluate.read(given(tmp_path), test)


def test_the_command_finds_the_figures_of_the_study_s_own_seed(tmp_path, monkeypatch, capsys):
    own = pd.read_csv(REPOSITORY / "results" / "predictions.csv").query("network == 'xray_cnn' and split == 'test'")
    own = own[own.seed == 0].assign(score=lambda rows: rows.logit)
    threshold = pd.read_csv(REPOSITORY / "results" / "metrics.csv").query("network == 'xray_cnn' and seed == '0'")
    threshold, wanted = (threshold[threshold.split == split].set_index("statistic").value for split in ("tune", "test"))
    own["decision"] = (own.score >= np.log(threshold.threshold / (1 - threshold.threshold))).astype(int)
    own[["path", "score", "decision"]].to_csv(tmp_path / "own.csv", index=False)
    monkeypatch.setattr(evaluate, "REPOSITORY", tmp_path)
    (tmp_path / "results").symlink_to(REPOSITORY / "results")
    monkeypatch.setattr(evaluate.sys, "argv", ["evaluate"])
    monkeypatch.setenv("XRAY_PREDICTIONS", str(tmp_path / "own.csv"))
    assert evaluate.main() == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("624 test films of 428 children") and f"wrote {tmp_path}/build/evaluate/own.csv" in last
    table = pd.read_csv(tmp_path / "build" / "evaluate" / "own.csv").set_index(["part", "statistic"])
    for statistic in metrics.HEADLINE:
        assert table.value["all", statistic] == pytest.approx(wanted[statistic], abs=1e-5)
    assert table.drop(columns="n_children").notna().all(axis=None)  # this study's figure stands beside each
    for error, words in ((KeyboardInterrupt, "nothing was written"), (UserError("a\nb"), r"a\nb")):
        monkeypatch.setattr(evaluate, "write_table", lambda *_, error=error: (_ for _ in ()).throw(error))
        assert evaluate.main() == 2 and words in capsys.readouterr().err
