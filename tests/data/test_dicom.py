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


def test_the_first_of_several_windows_is_taken(tmp_path, ramp):
    one = shown(film(tmp_path / "a.dcm", ramp, **WINDOW))
    several = film(tmp_path / "b.dcm", ramp, WindowCenter=[700, 20], WindowWidth=[401, 10], VOILUTFunction=None)
    np.testing.assert_array_equal(shown(several), one)


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
    cut = film(tmp_path / "b.dcm", ramp, syntax=JPEGLosslessSV1, compressed=LOSSLESS[:-60] + b"\xff\xd9")
    with pytest.raises(ValueError, match="damaged: Corrupt JPEG data"):
        shown(cut)


def test_jpeg_of_12_bits_is_read():
    levels, _, _ = dicom.read(Path(get_testdata_file("JPGExtended.dcm", download=False)), decode.MOST_PIXELS)
    np.testing.assert_allclose(levels[420, 64:200:16], [16, 22, 40, 72, 156, 211, 79, 53, 29], atol=1)  # dcmj2pnm's


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


def palette(levels, *ramps):
    """A film by palette; ramps: uint16 (256,) of red, green and blue."""
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, ramp in zip(("Red", "Green", "Blue"), ramps, strict=True):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = ramp.astype("<u2").tobytes()
    return dicom_film(levels, 8, **tags)


def test_grey_stored_in_colour_is_grey_and_colour_is_refused(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    ramp = np.arange(256) * 257
    films = {
        "grey": dicom_film(grey, 8, WindowCenter=127.5, WindowWidth=255, VOILUTFunction="LINEAR_EXACT"),
        "rgb": dicom_film(np.stack([grey] * 3, -1), 8),
        "palette": palette(grey, ramp, ramp, ramp),
        "coloured": dicom_film(np.stack([grey, grey // 2, 255 - grey], -1), 8),
        "false colours": palette(grey, ramp, ramp[::-1], ramp // 2),
    }
    for name, data in films.items():
        (tmp_path / name).write_bytes(data)
        read = decode.read(tmp_path / name, 16)
        assert read.refused == (["in colour"] if name.startswith(("coloured", "false")) else []), name
        if not read.refused:
            np.testing.assert_array_equal(read.pixels, grey, err_msg=name)


def test_levels_stand_in_any_bits_beside_any_padding(tmp_path, ramp):
    edge = np.arange(16) < 3
    padded = np.where(edge, 0, ramp).astype(int)
    noise = np.random.default_rng(0).integers(65530, 65536, ramp.shape)
    sixteen = {"BitsStored": 16, "HighBit": 15}
    wanted = np.where(edge, 0, (ramp[0] - 300.0) * 255 / 1200)
    for levels, tags in (
        (ramp << 4, {"HighBit": 15}),  # the upper 12 of 16 bits
        (ramp | 0x8000, {}),  # an overlay in the upper bits
        (4095 - ramp, {"PresentationLUTShape": "INVERSE", "WindowCenter": 3345, "WindowWidth": 1501}),
        (ramp, {"PresentationLUTShape": "IDENTITY", "PhotometricInterpretation": "MONOCHROME1"}),  # as in DCMTK
    ):
        np.testing.assert_allclose(shown(film(tmp_path / "a.dcm", levels, **tags)), FULL, atol=1, err_msg=str(tags))
    for levels, tags in (
        (np.where(edge, noise, padded), {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 65530}),
        (np.where(edge, -32768, padded), {}),
        (np.where(edge, -1000, padded), {"PixelPaddingValue": -1000}),
    ):
        kind = np.int16 if levels.min() < 0 else np.uint16
        found = shown(film(tmp_path / "a.dcm", levels.astype(kind), **sixteen, **tags))
        np.testing.assert_allclose(found, wanted, atol=1, err_msg=str(tags))
    marked = ramp.copy()
    marked[0, 0] = 65535
    np.testing.assert_allclose(shown(film(tmp_path / "a.dcm", marked, **sixteen)), FULL, atol=1)


HEADERS = [
    ({"PatientBirthDate": "1950.01.01", "StudyDate": "01/01/2020"}, "70 years old"),
    ({"PatientAge": "000Y", "PatientBirthDate": "19500101", "AcquisitionDateTime": "20200101120000"}, "70 years old"),
    ({"PatientAge": "34 YEARS", "PatientBirthDate": "20180101", "StudyDate": "20200101"}, "34 years old"),
    ({"PatientOrientation": ["A", "F"]}, "view A\\F"),
    ({"PatientOrientation": ["L", "F"]}, ""),
    ({"ViewPosition": "AP SUPINE"}, ""),
    ({"ViewPosition": "A.P."}, ""),
    ({"ViewPosition": "PA_OBLIQUE"}, "view PA OBLIQUE"),
    ({"SeriesDescription": "Thorax seitlich"}, "view THORAX SEITLICH"),
    ({"ProtocolName": "CHEST_LAT"}, "view CHEST LAT"),
    ({"SeriesDescription": "Chest PA/LAT, bilateral"}, ""),
    ({"SeriesDescription": "HAND AP"}, "body part HAND AP"),
    ({"BodyPartExamined": "TÓRAX", "SpecificCharacterSet": "ISO_IR 100"}, ""),
    ({"BodyPartExamined": "THORACIC SPINE"}, "body part THORACIC SPINE"),
]


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(("tags", "wanted"), HEADERS)
def test_adults_and_other_views_and_parts_are_refused_whichever_tag_says_so(tmp_path, ramp, tags, wanted):
    assert "; ".join(decode.read(film(tmp_path / "a.dcm", ramp, **tags), 16).refused) == wanted


def test_an_empty_tag_is_as_an_absent_one(tmp_path, ramp):
    for tags in (
        {"WindowCenter": "", "WindowWidth": None},
        {"WindowCenter": 700, "WindowWidth": 0},
        {"VOILUTSequence": [], "ModalityLUTSequence": []},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"PixelPaddingValue": None},
    ):
        np.testing.assert_array_equal(shown(film(tmp_path / "a.dcm", ramp, **tags)), FULL, err_msg=str(tags))
