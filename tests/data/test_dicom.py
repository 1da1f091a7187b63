"""A DICOM film becomes what a viewer shows, whatever its bits, window, sense and compression."""

import base64
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_film import dicom_film
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLosslessSV1

from xraylib.data import decode, dicom

FULL = np.arange(16) * 17
WINDOW = {"WindowCenter": 700, "WindowWidth": 401}


def film(path, levels, bits=12, **tags):
    path.write_bytes(dicom_film(levels, bits, **tags))
    return path


@pytest.fixture
def ramp():
    """0, 100, ... from left to right, 16 x 16."""
    return np.tile(np.arange(16, dtype=np.uint16) * 100, (16, 1))


def shown(path):
    """One row of the film, at its own size."""
    return dicom.read(path, decode.MOST_PIXELS)[0][8].astype(int)


CASES = json.loads((Path(__file__).parent / "dcmtk.json").read_text())


@pytest.mark.parametrize("kind", sorted({case[0] for case in CASES}))
def test_grey_levels_are_those_of_dcmtk(tmp_path, kind):
    """dcmtk.json: kind, RescaleSlope, bits, signed, photometric interpretation, each 17th level of dcm2pnm 3.6.7."""
    for _, slope, bits, signed, sense, wanted in (case for case in CASES if case[0] == kind):
        levels = np.round(np.arange(256) * (2**bits - 1) / 255).astype(int) - signed * 2 ** (bits - 1)
        rescaled = levels * (slope or 1) + (10 if slope else 0)
        tags = {"PhotometricInterpretation": sense} | ({"RescaleSlope": slope, "RescaleIntercept": 10} if slope else {})
        span = (2**bits - 1) * abs(slope or 1)
        if kind in ("LINEAR", "SIGMOID", "narrow"):
            tags["VOILUTFunction"] = "SIGMOID" if kind == "SIGMOID" else "LINEAR"
            tags["WindowCenter"] = round((rescaled[0] + rescaled[-1]) / 2 + span / 8)
            span = tags["WindowWidth"] = max(2, round(span / (16 if kind == "narrow" else 2)))
        if kind.startswith("lut") or kind == "modality":
            deep, n, first = 12 if kind == "lut12" else 16, 256 if bits == 8 else 4096, int(min(rescaled))
            table = pydicom.Dataset()
            table.LUTDescriptor = [n, first if first >= 0 else first + 65536, deep]
            table.LUTData = (np.linspace(0, 1, n) ** 2 * (2**deep - 1)).astype("<u2").tobytes()
            table.ModalityLUTType = "US"
            tags["ModalityLUTSequence" if kind == "modality" else "VOILUTSequence"] = [table]
        grid = np.tile(levels, (256, 1)).astype(np.int16 if signed else np.uint16 if bits > 8 else np.uint8)
        found = shown(film(tmp_path / "a.dcm", grid, bits, **tags))[::17]
        rounding = 256 / span if slope == -0.5 else 0  # DCMTK rounds rescaled levels to whole numbers
        output = f"{kind} {slope} {bits} {signed} {sense}"
        np.testing.assert_allclose(found, wanted, atol=2 + rounding, err_msg=output)


def test_a_window_decides_what_is_black_and_white_and_the_first_of_several_is_taken(tmp_path, ramp):
    levels = shown(film(tmp_path / "a.dcm", ramp, **WINDOW))
    # PS3.3 C.11.2.1.2.1: black up to 700 - 0.5 - 200, white from 700 - 0.5 + 200 on
    assert (levels[:5] == 0).all() and (levels[10:] == 255).all()
    np.testing.assert_allclose(levels[5:9], [(x - 499.5) / 400 * 255 for x in (500, 600, 700, 800)], atol=1)
    several = film(tmp_path / "b.dcm", ramp, WindowCenter=[700, 20], WindowWidth=[401, 10], VOILUTFunction=None)
    np.testing.assert_array_equal(shown(several), levels)


def table(count, bits, top):
    item = pydicom.Dataset()
    item.LUTDescriptor = [count, 0, bits]
    item.LUTData = np.linspace(top, 0, count).astype("<u2").tobytes()  # inverts
    return [item]


def test_a_lookup_table_goes_before_a_window(tmp_path, ramp):
    levels = shown(film(tmp_path / "a.dcm", ramp, VOILUTSequence=table(1501, 12, 4095), **WINDOW))
    np.testing.assert_allclose(levels, 255 - FULL, atol=2)


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_lookup_table_that_pydicom_would_misread_is_refused(tmp_path, ramp, name):
    for bits, top in ((0, 4095), (8, 255), (12, 65535)):
        with pytest.raises(ValueError, match=f"{name} of {bits} bits and "):
            shown(film(tmp_path / "a.dcm", ramp, **{name: table(1501, bits, top)}))


@pytest.mark.parametrize("sense", ["MONOCHROME1", "MONOCHROME2"])
def test_what_surrounds_the_film_is_black_and_stretches_nothing(tmp_path, ramp, sense):
    padded = ramp.copy()
    padded[:, :4] = 4000
    path = film(tmp_path / "a.dcm", padded, PixelPaddingValue=4000, PhotometricInterpretation=sense)
    levels = shown(path)
    assert (levels[:3] < 40).all()
    assert (levels[5], levels[15]) == ((pytest.approx(232, abs=12), 0) if sense[-1] == "1" else (23, 255))


@pytest.mark.parametrize("encoding", ["RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless", "expb"])
def test_every_lossless_encoding_gives_the_same_film(encoding):
    plain, same = (
        decode.read(Path(get_testdata_file(f"MR_small{end}.dcm", download=False)), 64) for end in ("", f"_{encoding}")
    )
    np.testing.assert_array_equal(same.pixels, plain.pixels)
    assert plain.pixels.std() > 10 and plain.refused == ["modality MR"]


LOSSLESS = base64.b64decode(  # the ramp, by dcmcjpeg +e1 of DCMTK 3.6.7
    "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAQABABAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABwAQ/9oACAEBAAEAAMyMjIyMjIyMjIyMjIyM"
    "jJMjIyMjIyMjIyMjIyMjIyTIyMjIyMjIyMjIyMjIyMkyMjIyMjIyMjIyMjIyMjJMjIyMjIyMjIyMjIyMjIyTIyMjIyMjIyMjIyMjIyMkyMjI"
    "yMjIyMjIyMjIyMjJMjIyMjIyMjIyMjIyMjIyTIyMjIyMjIyMjIyMjIyMkyMjIyMjIyMjIyMjIyMjJMjIyMjIyMjIyMjIyMjIyTIyMjIyMjIy"
    "MjIyMjIyMkyMjIyMjIyMjIyMjIyMjJMjIyMjIyMjIyMjIyMjIyTIyMjIyMjIyMjIyMjIyMkyMjIyMjIyMjIyMjIyMjJ//9k="
)


def test_lossless_jpeg_is_read(tmp_path, ramp):
    lossless = film(tmp_path / "a.dcm", ramp, syntax=JPEGLosslessSV1, compressed=LOSSLESS)
    np.testing.assert_array_equal(shown(lossless), FULL)


@pytest.mark.parametrize(("code", "limit"), [("import os; os.abort()", 60), ("import time; time.sleep(60)", 0.3)])
def test_a_decoder_that_dies_or_hangs_costs_one_film(tmp_path, ramp, monkeypatch, code, limit):
    lossless = film(tmp_path / "a.dcm", ramp, syntax=JPEGLosslessSV1, compressed=LOSSLESS)
    monkeypatch.setattr(dicom, "_PLAIN", code)
    monkeypatch.setattr(dicom, "TIME_LIMIT", limit)
    with pytest.raises(ValueError, match="damaged"):
        decode.read(lossless, 16)


def test_what_is_no_single_film_says_why(tmp_path, ramp, monkeypatch):
    with pytest.raises(ValueError, match="2 frames; wanted one film"):
        shown(film(tmp_path / "a.dcm", ramp, NumberOfFrames=2))
    with pytest.raises(ValueError, match="without an image"):
        shown(Path(get_testdata_file("rtplan.dcm", download=False)))
    cut = film(tmp_path / "cut.dcm", ramp)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"DICOM|pixel data"):
        shown(cut)
    monkeypatch.setattr(decode, "MOST_PIXELS", 255)
    with pytest.raises(ValueError, match="wanted at most 255"):
        shown(film(tmp_path / "a.dcm", ramp))


def test_colour_is_said(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    read = decode.read(film(tmp_path / "a.dcm", levels, 8), 16)
    assert read.refused == ["in colour"]
    np.testing.assert_allclose(read.pixels, levels.mean(axis=-1), atol=1)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": "", "WindowWidth": None},
        {"WindowCenter": 700, "WindowWidth": 0},
        {"VOILUTSequence": [], "ModalityLUTSequence": []},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"PixelPaddingValue": None},
    ],
)
def test_an_empty_tag_is_as_an_absent_one(tmp_path, ramp, tags):
    np.testing.assert_array_equal(shown(film(tmp_path / "a.dcm", ramp, **tags)), FULL)
