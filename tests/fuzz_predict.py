"""Does make predict survive damaged files? By hand: .venv/bin/python tests/fuzz_predict.py [DAMAGES] [SEED].

Every file must get its row, with a decision or a problem, and no run may end in a traceback, an abort or a time-out.
"""

import csv
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from dicom_film import dicom_film
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit

from xraylib.config import REPOSITORY
from xraylib.data import phantom

TOGETHER, TIME_LIMIT = 250, 900  # files and seconds of a run


def whole_files() -> dict[str, bytes]:
    """A phantom as PNG (8 and 16 bits), JPEG (baseline and progressive) and DICOM, and pydicom's compressed films."""
    item = phantom.plan(66)[0]
    film = phantom.expose(phantom.shadow(item)[0], item).convert("L").resize((400, 320))
    deep = np.asarray(film, np.uint16) * 16
    kinds = {"png": (film, "PNG", {}), "deep.png": (Image.fromarray(deep), "PNG", {}), "jpeg": (film, "JPEG", {})}
    kinds["progressive.jpeg"] = (film, "JPEG", {"progressive": True})
    files = {}
    for name, (image, kind, options) in kinds.items():
        image.save(buffer := io.BytesIO(), kind, **options)
        files[name] = buffer.getvalue()
    files["dcm"] = dicom_film(deep)
    files["baseline.dcm"] = dicom_film(np.asarray(film), 8, JPEGBaseline8Bit, files["jpeg"])
    for kind in ("RLE", "jp2klossless", "jpeg_ls_lossless"):
        files[f"{kind}.dcm"] = Path(get_testdata_file(f"MR_small_{kind}.dcm", download=False)).read_bytes()
    return files


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three of: bytes flipped, a run of zeros, a cut (half of them with JPEG's end mark), a repeated block."""
    new = bytearray(data)
    for _ in range(rng.integers(1, 4)):
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


def main(damages: int = 5000, seed: int = 0) -> int:
    """Returns how many runs failed; says how many files were read."""
    rng, files, failed, read = np.random.default_rng(seed), whole_files(), 0, 0
    for first in range(0, damages, TOGETHER):
        with tempfile.TemporaryDirectory() as folder:
            names = [f"{i}.{list(files)[i % len(files)]}" for i in range(first, min(first + TOGETHER, damages))]
            for name in names:
                Path(folder, name).write_bytes(damaged(files[name.split(".", 1)[1]], rng))
            command = [sys.executable, "-m", "xraylib.predict", folder, "--output", f"{folder}/rows"]
            ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIME_LIMIT)
            with open(f"{folder}/rows", newline="", encoding="utf-8") as table:
                rows = list(csv.DictReader(table))
            whole = all((row["decision"] == "") == (row["problem"] != "") for row in rows)
            lost = {Path(row["path"]).name for row in rows} ^ set(names)
            if lost or not whole or ran.returncode not in (0, 1) or "Traceback" in ran.stderr:
                failed += 1
                print(f"files {first} to {first + TOGETHER}, seed {seed}: {ran.returncode} {lost} {ran.stderr[-2000:]}")
            read += sum(row["decision"] != "" for row in rows)
    print(f"{damages} damages, seed {seed}: {read} read, {damages - read} not read, {failed} runs failed")
    return failed


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
