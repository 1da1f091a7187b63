"""A DICOM film becomes what a viewer shows, whatever its bits, window, sense and compression."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_film import dicom_film
from pydicom.data import get_testdata_file

from xraylib.data import dicom
from xraylib.data.decode import shrink


def film(path, levels, bits=12, **tags):
    path.write_bytes(dicom_film(levels, bits, **tags))
    return path


@pytest.fixture
def ramp():
    """0, 100, ... from left to right, 16 x 16."""
    return np.tile(np.arange(16, dtype=np.uint16) * 100, (16, 1))


def shown(path):
    """One row of the film, at its own size."""
    return dicom.read(path, 16)[0][8].astype(int)


def test_a_window_decides_what_is_black_and_white(tmp_path, ramp):
    levels = shown(film(tmp_path / "a.dcm", ramp, WindowCenter=700, WindowWidth=401))
    # PS3.3 C.11.2.1.2.1: black up to 700 - 0.5 - 200, white from 700 - 0.5 + 200 on
    assert (levels[:5] == 0).all() and (levels[10:] == 255).all()
    np.testing.assert_allclose(levels[5:9], [(x - 499.5) / 400 * 255 for x in (500, 600, 700, 800)], atol=1)


def test_a_window_wider_than_the_film_does_not_stretch_it(tmp_path, ramp):
    levels = shown(film(tmp_path / "a.dcm", ramp, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(levels, np.arange(16) * 100 / 4095 * 255, atol=1)


def test_the_first_of_several_windows_is_taken(tmp_path, ramp):
    one = shown(film(tmp_path / "a.dcm", ramp, WindowCenter=700, WindowWidth=401))
    several = shown(film(tmp_path / "b.dcm", ramp, WindowCenter=[700, 20], WindowWidth=[401, 10]))
    np.testing.assert_array_equal(several, one)


def test_a_lookup_table_goes_before_a_window(tmp_path, ramp):
    table = pydicom.Dataset()
    table.LUTDescriptor = [1501, 0, 16]
    table.LUTData = np.linspace(65535, 0, 1501).astype("<u2").tobytes()  # inverts
    levels = shown(film(tmp_path / "a.dcm", ramp, VOILUTSequence=[table], WindowCenter=700, WindowWidth=401))
    np.testing.assert_allclose(levels, 255 - np.arange(16) * 17, atol=2)


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
    plain = dicom.read(Path(get_testdata_file("MR_small.dcm", download=False)), 64)[0]
    same = dicom.read(Path(get_testdata_file(f"MR_small_{encoding}.dcm", download=False)), 64)[0]
    np.testing.assert_array_equal(same, plain)
    assert plain.std() > 10


def lossless_jpeg(path, plain):
    """The same film as lossless JPEG, which gdcm alone writes and reads."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


def test_lossless_jpeg_is_read(tmp_path, ramp):
    plain = film(tmp_path / "a.dcm", ramp)
    np.testing.assert_array_equal(shown(lossless_jpeg(tmp_path / "b.dcm", plain)), shown(plain))


def test_more_than_one_film_is_refused(tmp_path, ramp):
    path = film(tmp_path / "a.dcm", ramp, NumberOfFrames=2)
    with pytest.raises(ValueError, match="2 frames; wanted one film"):
        dicom.read(path, 16)


def test_what_is_no_film_says_why(tmp_path, ramp):
    (tmp_path / "text.dcm").write_text("no DICOM at all, but long enough to be looked at" * 9)
    with pytest.raises(ValueError, match="no DICOM file"):
        dicom.read(tmp_path / "text.dcm", 16)
    with pytest.raises(ValueError, match="without an image"):
        dicom.read(Path(get_testdata_file("rtplan.dcm", download=False)), 16)
    cut = film(tmp_path / "cut.dcm", ramp)
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"DICOM|pixel data"):
        dicom.read(cut, 16)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, ramp, monkeypatch):
    monkeypatch.setattr(dicom, "MOST_PIXELS", 255)
    with pytest.raises(ValueError, match="wanted at most 255"):
        dicom.read(film(tmp_path / "a.dcm", ramp), 16)


def test_it_is_resized_as_other_files_are(tmp_path):
    from PIL import Image

    levels = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    levels[0, :2] = 0, 255
    path = film(tmp_path / "a.dcm", levels, 8)
    np.testing.assert_array_equal(dicom.read(path, 32)[0], shrink(Image.fromarray(levels), 32))


def test_colour_is_said(tmp_path, ramp):
    levels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    image, refused, _ = dicom.read(film(tmp_path / "a.dcm", levels, 8), 16)
    assert refused == ["in colour"]
    np.testing.assert_allclose(image, levels.mean(axis=-1), atol=1)


FULL = np.round(np.arange(16) * 17)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 700, "WindowWidth": 0},
        {"WindowCenter": 700, "WindowWidth": None},
        {"VOILUTSequence": []},
        {"ModalityLUTSequence": []},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"PixelPaddingValue": None},
    ],
)
def test_an_empty_tag_is_as_an_absent_one(tmp_path, ramp, tags):
    np.testing.assert_array_equal(shown(film(tmp_path / "a.dcm", ramp, **tags)), FULL)


def test_an_empty_function_is_linear(tmp_path, ramp):
    window = {"WindowCenter": 700, "WindowWidth": 401}
    plain = shown(film(tmp_path / "a.dcm", ramp, **window))
    np.testing.assert_array_equal(shown(film(tmp_path / "b.dcm", ramp, VOILUTFunction=None, **window)), plain)


@pytest.mark.parametrize("bits", [0, 8, 12, 16])
def test_a_lookup_table_of_any_bits(tmp_path, ramp, bits):
    table = pydicom.Dataset()
    table.LUTDescriptor = [1501, 0, bits]
    table.LUTData = np.linspace(0, 2 ** (bits or 12) - 1, 1501).astype("<u2").tobytes()
    np.testing.assert_allclose(shown(film(tmp_path / "a.dcm", ramp, VOILUTSequence=[table])), FULL, atol=1)


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
        found = dicom.read(film(tmp_path / "a.dcm", grid, bits, **tags), 256)[0][100, ::17].astype(int)
        rounding = 256 / span if slope == -0.5 else 0  # DCMTK rounds rescaled levels to whole numbers
        output = f"{kind} {slope} {bits} {signed} {sense}"
        np.testing.assert_allclose(found, wanted, atol=2 + rounding, err_msg=output)


@pytest.mark.parametrize(("code", "limit"), [("import os; os.abort()", 60), ("import time; time.sleep(60)", 0.3)])
def test_a_decoder_that_dies_or_hangs_costs_one_film(tmp_path, ramp, monkeypatch, code, limit):
    lossless = lossless_jpeg(tmp_path / "b.dcm", film(tmp_path / "a.dcm", ramp))
    monkeypatch.setattr(dicom, "_DECODE", code)
    monkeypatch.setattr(dicom, "TIME_LIMIT", limit)
    with pytest.raises(ValueError, match="damaged"):
        dicom.read(lossless, 16)


def test_dicom_is_known_by_name_or_by_mark(tmp_path, ramp):
    for name in ("a.dcm", "b.DCM", "IM0001", "1.2.840.10008.7"):
        film(tmp_path / name, ramp)
        assert dicom.is_dicom(tmp_path / name), name
    (tmp_path / "bare").write_bytes((tmp_path / "a.dcm").read_bytes()[132:])
    assert dicom.is_dicom(tmp_path / "bare")
    np.testing.assert_array_equal(dicom.read(tmp_path / "bare", 16)[0], dicom.read(tmp_path / "a.dcm", 16)[0])
    (tmp_path / "README").write_text("no film")
    (tmp_path / "photo.jpeg").write_bytes((tmp_path / "a.dcm").read_bytes())
    assert not dicom.is_dicom(tmp_path / "README")
    assert not dicom.is_dicom(tmp_path / "photo.jpeg")
