"""make predict on damaged files, by hand: .venv/bin/python tests/fuzz_predict.py [DAMAGES] [SEED].

Every file must get its row, with a decision or a problem; no run may end in a traceback, an abort or a time-out.
"""

import csv
import io
import subprocess
import sys
import tempfile
from itertools import cycle
from pathlib import Path

import numpy as np
from dicom_film import dicom_film
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit

from xraylib.config import REPOSITORY
from xraylib.data import phantom


def whole_files() -> dict[str, bytes]:
    """A phantom as PNG (8 and 16 bits), JPEG (baseline and progressive) and DICOM, and pydicom's compressed films."""
    item = phantom.plan(66)[0]
    film = phantom.expose(phantom.shadow(item)[0], item).convert("L").resize((400, 320))
    deep = np.asarray(film, np.uint16) * 16

    def saved(image: Image.Image, kind: str, **options: bool) -> bytes:
        image.save(buffer := io.BytesIO(), kind, **options)
        return buffer.getvalue()

    files = {"png": saved(film, "PNG"), "deep.png": saved(Image.fromarray(deep), "PNG"), "dcm": dicom_film(deep)}
    files |= {"jpeg": saved(film, "JPEG"), "progressive.jpeg": saved(film, "JPEG", progressive=True)}
    files["baseline.dcm"] = dicom_film(np.asarray(film), 8, JPEGBaseline8Bit, files["jpeg"])
    for kind in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        files[kind] = Path(get_testdata_file(kind, download=False)).read_bytes()
    return files


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One or two of: bytes flipped, a run of zeros, a cut (half of them with JPEG's end mark), a repeated block."""
    new = bytearray(data)
    for _ in range(rng.integers(1, 3)):
        start = int(rng.integers(len(new) if rng.random() < 0.6 else min(len(new), 1500)))  # a header is the weak spot
        length = int(2 ** rng.uniform(0, 12))
        kind = rng.integers(4)
        if kind == 0:
            for at in rng.integers(start, min(start + length, len(new)), min(length, 20)):
                new[at] ^= int(rng.integers(1, 256))
        elif kind == 1:
            new[start : start + length] = bytes(len(new[start : start + length]))
        elif kind == 2:
            new[max(start, 20) :] = b"\xff\xd9" if rng.random() < 0.5 else b""
        else:
            new[start:start] = new[start : start + length]
    return bytes(new)


def main(damages: int = 5000, seed: int = 0) -> None:
    """Says how many files were read; an AssertionError says what went wrong."""
    rng, files = np.random.default_rng(seed), whole_files()
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, data) in zip(range(damages), cycle(files.items()), strict=False):
            Path(folder, f"{i}.{name}").write_bytes(damaged(data, rng))
        table = Path(folder, "rows")
        command = [sys.executable, "-m", "xraylib.predict", folder, "--output", table]
        ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=damages)
        assert ran.returncode in (0, 1) and "Traceback" not in ran.stderr, f"{ran.returncode}: {ran.stderr}"
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
        lost = {path.name for path in Path(folder).iterdir()} - {Path(row["path"]).name for row in rows} - {"rows"}
        assert not lost and len(rows) == damages, f"{len(rows)} rows; lost: {lost}"
    assert all((row["decision"] == "") == (row["problem"] != "") for row in rows), "a row without decision and problem"
    print(f"{damages} damages, seed {seed}: {sum(row['decision'] != '' for row in rows)} read, all with their row")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
