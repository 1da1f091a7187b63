"""Every file gets its row: a decision, a reason why it is not assessed, or the problem; the status is 0, 1 or 2."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_film import dicom_film
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGBaseline8Bit

from xraylib.config import REPOSITORY
from xraylib.files import UNFINISHED, UserError
from xraylib.predict import films, ood, predict

NOISE = np.random.default_rng(0).integers(0, 64, (256, 256))  # a film without detail is not assessed
RAMP = (np.arange(256) * 15 + NOISE).astype(np.uint16)
GREY = (RAMP // 16).astype(np.uint8)


def saved(kind="JPEG", **options):
    """Bytes of a grey ramp as an image."""
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind, **options)
    return buffer.getvalue()


JPEG = saved()


def dicom(syntax=ExplicitVRLittleEndian, compressed=None, **tags):
    """Bytes of a 12-bit film, or of an 8-bit one with compressed pixels."""
    levels, bits = (RAMP, 12) if compressed is None else (GREY, 8)
    return dicom_film(levels, bits, syntax, compressed, **tags)


MASK = np.zeros((48, 48), np.float32)
MASK[8:40, 6:42] = 0.9


@pytest.fixture(scope="module")
def released():
    """The released networks, to which any picture is like the study's films and shows lungs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(films.Runner, "locate", lambda self, pictures: np.stack([MASK] * len(pictures)))
        kept = films.load()
        yield dataclasses.replace(kept, distribution=dataclasses.replace(kept.distribution, limit=np.array(1e9)))


def rows(released, *paths):
    return {Path(row["path"]).name: row for row in films.predict_films(films.find_films(*paths)[0], released)}


def run(*arguments, **options):
    command = [sys.executable, "-m", "xraylib.predict", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, **options)


def read(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# --- the row ---


@pytest.mark.parametrize(
    ("logit", "score", "decision"),
    [
        (-1.5, "50.00", "PNEUMONIA"),
        (-1.5 - 1e-9, "49.99", "NORMAL"),
        (-1.5 + np.log(9), "90.00", "PNEUMONIA"),
        (-1.5 - np.log(9), "10.00", "NORMAL"),
        (-9000, "0.00", "NORMAL"),
        (9000, "100.00", "PNEUMONIA"),
    ],
)
def test_the_score_is_50_at_the_threshold_and_never_rounded_across(released, logit, score, decision):
    row = dataclasses.replace(released, threshold=-1.5).row(np.array([logit]))
    assert (row["score"], row["decision"]) == (score, decision)


def test_certain_and_agreement_follow_from_bounds_and_each_networks_threshold(released):
    made = dataclasses.replace(released, threshold=0.0, thresholds=(0.0, 0.0, 2.0), lower=-1.0, upper=1.5)
    assert list(made.row(np.ones(3)).values()) == ["PNEUMONIA", "73.11", "no", "2 of 3", ""]
    assert made.row(np.full(3, -4.0))["certain"] == "yes"
    lonely = made.row(np.array([-1.0, -1.0, 9.0]))  # the mean lies above, beyond the bounds, two networks below
    assert list(lonely.values())[2:] == ["no", "1 of 3", "fewer than half of the networks agree"]
    crossed = dataclasses.replace(made, lower=1.0, upper=-1.0)
    assert all(crossed.row(np.full(3, logit))["certain"] == "yes" for logit in (-1.0, 0.0, 1.0))


def test_a_film_without_lungs_or_unlike_the_study_gets_no_score(released, tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        Image.fromarray(GREY).save(tmp_path / name)
    monkeypatch.setattr(films.Runner, "locate", lambda self, pictures: np.stack([MASK, 0 * MASK][: len(pictures)]))
    found = rows(released, tmp_path)
    assert found["a.png"]["decision"] in ("PNEUMONIA", "NORMAL")
    assert found["b.png"]["decision"] == "not assessed" and found["b.png"]["reason"] == "no recognisable lungs"
    assert found["b.png"]["score"] == found["b.png"]["certain"] == ""
    monkeypatch.setattr(ood.Distribution, "distance", lambda self, frames, masks: np.full(len(frames), 1.1))
    assert rows(released, tmp_path)["a.png"]["reason"] == "unlike the films of the study"


def view(code, meaning):
    item = pydicom.Dataset()
    item.CodeValue, item.CodeMeaning = code, meaning
    return {"ViewCodeSequence": [item]}


HEADERS = [
    ({"PatientAge": "018Y"}, "not assessed", "18 years old"),
    ({"PatientAge": "017Y"}, "", "17 years old; the study's children are 1 to 5"),
    ({"PatientAge": "006Y"}, "", "6 years old; the study's children are 1 to 5"),
    ({"PatientAge": "003W"}, "", "under 1 year old; the study's children are 1 to 5"),
    ({"PatientAge": "018M"}, "", ""),
    ({"PatientAge": "005Y"}, "", ""),
    ({"ViewPosition": "LL"}, "not assessed", "view LL"),
    ({"ViewPosition": "LLD"}, "", ""),
    ({"ViewPosition": "PA", "BodyPartExamined": "CHEST"}, "", ""),
    ({"Modality": "CT"}, "not assessed", "modality CT"),
    (view("R-10206", "antero-posterior"), "", ""),
    (view("R-10214", "postero-anterior"), "", ""),
    (view("399348003", ""), "", ""),
    (view("R-10236", "left lateral"), "not assessed", "view LEFT LATERAL"),
    (view("R-10208", "antero-posterior oblique"), "not assessed", "view ANTERO-POSTERIOR OBLIQUE"),
]


@pytest.mark.parametrize(("tags", "decision", "reason"), HEADERS)
def test_the_header_decides_who_and_which_view_is_assessed(released, tmp_path, tags, decision, reason):
    (tmp_path / "a.dcm").write_bytes(dicom(**tags))
    row = rows(released, tmp_path / "a.dcm")["a.dcm"]
    assert row["reason"] == reason and row["problem"] == ""
    assert (row["decision"] == "not assessed") == (decision == "not assessed")


# --- any file ---


def raw_tag(name, text, **tags):
    """A film with a numeric tag that holds no number."""
    marker = "7777777"
    return dicom(**{name: marker}, **tags).replace(marker.encode(), text.ljust(7).encode()[:7])


TABLE = JPEG.index(b"\xff\xdb") + 4
TURNED = [Image.fromarray(GREY).rotate(90)]
READ = {
    "plain.dcm": dicom(),
    "without_preamble": dicom()[128 + 4 :],
    "photo.jfif": JPEG,
    "photo.jpe": JPEG,
    "two pictures.jpeg": saved("MPO", save_all=True, append_images=TURNED),
    "baseline.dcm": dicom(JPEGBaseline8Bit, JPEG),
}
NOT_READ = {
    "damaged table.dcm": dicom(JPEGBaseline8Bit, JPEG[:TABLE] + b"\x0f" + JPEG[TABLE + 1 :]),  # there are only 4
    "deflated.dcm": dicom(DeflatedExplicitVRLittleEndian)[:-200],
    "slope.dcm": raw_tag("RescaleSlope", "abc", RescaleIntercept="0"),
    "window.dcm": raw_tag("WindowCenter", "x", WindowWidth="4"),
    "text.jpeg": b"no image",
    "cut.jpeg": JPEG[:300],
    "empty.dcm": b"",
    "animated.png": saved("PNG", save_all=True, append_images=TURNED),
}


def test_one_bad_file_costs_one_row_and_the_good_ones_are_what_they_are_alone(released, tmp_path):
    for name, data in {**READ, **NOT_READ}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".hidden.jpeg").write_bytes(JPEG)
    (tmp_path / "notes.txt").write_text("")
    found = rows(released, tmp_path)
    assert set(found) == {*READ, *NOT_READ}
    for name, row in found.items():
        assert (row["problem"] != "") == (row["decision"] == "") == (name in NOT_READ), row
        assert "\n" not in row["problem"] and str(tmp_path) not in row["problem"]
    for name in READ:
        assert rows(released, tmp_path / name)[name] == found[name]


def test_a_pipe_is_listed_and_not_waited_for(released, tmp_path):
    for name in ("pipe.jpeg", "pipe.dcm"):
        os.mkfifo(tmp_path / name)
        assert "pipe" in rows(released, tmp_path)[name]["problem"]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_gives_a_row_and_changes_no_other(released, data):
    kind = data.draw(st.sampled_from([".jpeg", ".png", ".dcm", ".dicom"]))
    damaged = bytearray({".jpeg": JPEG, ".png": saved("PNG"), ".dcm": dicom(), ".dicom": READ["baseline.dcm"]}[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(damaged), data.draw(st.sampled_from([700, len(damaged)]))) - 1))
        damaged[at : at + 8] = data.draw(st.binary(min_size=1, max_size=8))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"bad{kind}").write_bytes(bytes(damaged)[: data.draw(st.integers(1, len(damaged)))])
        (Path(folder) / "good.jpeg").write_bytes(JPEG)
        found = rows(released, folder)
        assert len(found) == 2
        assert (found[f"bad{kind}"]["decision"] == "") == (found[f"bad{kind}"]["problem"] != "")
        assert found["good.jpeg"] == rows(released, Path(folder) / "good.jpeg")["good.jpeg"]


# --- the command ---


def test_the_command_writes_the_whole_table_and_its_status_says_what_was_read(tmp_path):
    folder = tmp_path / "a folder's `films` $HOME"
    folder.mkdir()
    (folder / "good.jpeg").write_bytes(JPEG)
    table = tmp_path / "table.csv"
    ran = run(folder, folder / "good.jpeg", "--output", table)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1 film" in ran.stdout and "not assessed: " in ran.stdout and "had pneumonia" in ran.stdout
    (folder / "bad.jpeg").write_text("no image")
    (folder / "notes.txt").write_text("no film")
    (folder / "new\rline").write_bytes(JPEG)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpeg")).write_bytes(JPEG)
    ran = run("--output", table, env={**os.environ, "XRAY_IMAGES": str(folder), "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 1 and "bad.jpeg" in ran.stderr and "Traceback" not in ran.stderr
    found = read(table)
    assert tuple(found[0]) == films.COLUMNS
    assert [Path(row["path"]).name for row in found] == ["bad.jpeg", "caf\\udce9.jpeg", "good.jpeg", "new\\rline"]
    assert [row["problem"] != "" for row in found] == [True, False, False, False]
    assert "Left out, no films: 1 x .txt" in ran.stdout
    for arguments in ([tmp_path / "nowhere"], [tmp_path / "nowhere", tmp_path / "neither"], []):
        ran = run(*arguments, env={key: value for key, value in os.environ.items() if key != "XRAY_IMAGES"})
        assert ran.returncode == 2 and "Traceback" not in ran.stderr and ran.stderr.count("\n") == 1
    assert run(tmp_path / "nowhere", folder / "good.jpeg", "--output", table).returncode == 1
    assert len(read(table)) == 2
    ran = run(folder, "--output", folder / "good.jpeg")
    assert ran.returncode == 2 and "a film" in ran.stderr and (folder / "good.jpeg").read_bytes() == JPEG


@pytest.mark.parametrize("redirected", ["2>&-", "2>&- >&- <&-", "| true", "2>&1 | true"])
def test_the_table_is_whole_wherever_messages_go(tmp_path, redirected):
    (tmp_path / "a.jpeg").write_bytes(JPEG)
    (tmp_path / "bad.jpeg").write_text("no image")
    command = f'"{sys.executable}" -m xraylib.predict "{tmp_path}" --output "{tmp_path}/t.csv" {redirected}'
    ran = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], cwd=REPOSITORY, stderr=subprocess.PIPE)
    assert ran.returncode == 1 and b"Traceback" not in ran.stderr  # 1: a file was not read
    assert len(read(tmp_path / "t.csv")) == 2


def test_a_run_that_is_ended_leaves_nothing(tmp_path):
    (tmp_path / "good.jpeg").write_bytes(JPEG)
    code = (
        "import sys, time; from xraylib.predict import films\n"
        "films.predict_films = lambda *_: (time.sleep(60) for _ in [0])\n"
        f"sys.exit(films.main([{str(tmp_path / 'good.jpeg')!r}, '--output', {str(tmp_path / 't.csv')!r}]))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(f"{UNFINISHED}*")) and running.poll() is None:
        time.sleep(0.05)
    running.terminate()
    assert "no table was written" in running.communicate()[1] and running.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["good.jpeg"]


def test_python_gives_the_same_rows_and_is_quick_to_import(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.jpeg").write_bytes(JPEG)
    assert run(tmp_path / "a.jpeg", "--output", tmp_path / "t.csv").returncode == 0
    assert predict("~/a.jpeg") == read(tmp_path / "t.csv")
    slow = {"tensorflow", "keras", "pandas", "scipy", "sklearn", "matplotlib", "pydicom"}
    code = (
        f"import sys; from xraylib.predict import predict; before = len(sys.modules); n = 'numpy' in sys.modules\n"
        f"predict({str(tmp_path / 'a.jpeg')!r}); print(n, sorted({slow} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("False []\n", "")


# --- the models ---


def test_the_files_of_models_are_those_of_the_decision():
    digests = json.loads((films.MODELS / "decision.json").read_text())["sha256"]
    assert {films.NETWORKS, films.LOCATOR, ood.FILE} <= set(digests)
    for name, digest in digests.items():
        assert hashlib.sha256((films.MODELS / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", ["decision.json", "familiar.npz", "lungs.tflite", "xray_cnn.tflite"])
def test_other_networks_than_the_released_ones_are_refused(tmp_path, name):
    shutil.copytree(films.MODELS, tmp_path / "models")
    films.load(tmp_path / "models")
    for content in (b"x", b"{", b'{"image_size": 96}', None):
        (tmp_path / "models" / name).unlink()
        if content:
            (tmp_path / "models" / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{tmp_path / 'models' / name}: "):
            films.load(tmp_path / "models")


def test_how_many_work_at_once_does_not_change_the_answer(released, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(7):
        Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(tmp_path / f"{i}.png")
    before = rows(released, tmp_path)
    for together, chunk in ((1, 3), (5, 512)):
        monkeypatch.setattr(films, "TOGETHER", together)
        monkeypatch.setattr(films, "CHUNK", chunk)
        assert rows(released, tmp_path) == before
