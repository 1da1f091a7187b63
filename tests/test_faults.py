"""Bad files and folders: each is read rightly, or listed, or refused with one message; never a traceback or a hang."""

import contextlib
import dataclasses
import io
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xraylib.data.decode import MOST_PIXELS
from xraylib.data.images import load_images
from xraylib.data.index import LEAST_SIDE, WORKERS, build_index, load_index
from xraylib.files import UserError, write_array, write_bytes, write_table

RNG = np.random.default_rng(0)
FILM = Image.fromarray(RNG.integers(40, 220, (6, 5), dtype=np.uint8)).resize((40, 48), Image.Resampling.BICUBIC)
HERE = "train/PNEUMONIA"


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width, height, depth=1):
    """A PNG that says it is of this size, and holds a few bytes."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


JPEG = saved(FILM, "JPEG", quality=90)
FRAMES = [Image.fromarray(RNG.integers(0, 255, (48, 40), dtype=np.uint8)) for _ in range(3)]
DEEP = Image.fromarray(np.asarray(FILM).astype(np.uint16) * 257)
HOLED = Image.fromarray(np.where(np.eye(48, 40) > 0, np.nan, 1).astype(np.float32))

# Contents of files that are listed, with a word of the reason; all are named .jpeg but for those that say so.
LISTED = {
    "empty": (b"", "cannot identify"),
    "html": (b"<!DOCTYPE html><html><title>404</title></html>", "cannot identify"),
    "dicom": (bytes(128) + b"DICM" + bytes(200), "without an image"),
    "truncated": (JPEG[: len(JPEG) // 2], "Premature end"),
    "truncated.png": (saved(FILM, "PNG")[:-200], "truncated"),
    "animated gif": (saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "3 frames"),
    "animated.png": (saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "3 frames"),
    "two pages": (saved(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:2]), "2 frames"),
    "1x1": (saved(Image.new("L", (1, 1)), "JPEG"), "1 x 1 pixels; wanted at least"),
    "thread": (saved(Image.new("L", (2000, LEAST_SIDE - 1)), "JPEG"), "wanted at least"),
    "bomb.png": (png_header(60_000, 60_000), "exceeds limit"),
    "large.png": (png_header(MOST_PIXELS // 1000 + 1, 1000), "wanted at most"),
    "not finite": (saved(HOLED, "TIFF"), "no finite numbers"),
}

# Contents of files that are read, with what they are to look like (None: anything of grey levels).
READ = {
    "as it is": (JPEG, FILM),
    "png as jpeg": (saved(FILM, "PNG"), FILM),
    "tiff as jpeg": (saved(FILM, "TIFF"), FILM),
    "bmp as jpeg": (saved(FILM, "BMP"), FILM),
    "webp as jpeg": (saved(FILM, "WEBP", lossless=True), FILM),
    "jpeg as.png": (JPEG, FILM),
    "deep.png": (saved(DEEP, "PNG"), FILM),
    "cmyk": (saved(FILM.convert("RGB").convert("CMYK"), "JPEG", quality=98), FILM),
    "palette.png": (saved(FILM.convert("P"), "PNG"), FILM),
    "alpha.png": (saved(FILM.convert("LA"), "PNG"), FILM),
    "short exif": (saved(FILM, "JPEG", exif=b"Exif\0\0MM"), None),
    "UPPER.JPG": (JPEG, FILM),
    "one bit.png": (saved(FILM.convert("1"), "PNG"), None),
    "rgb.png": (saved(FILM.convert("RGB"), "PNG"), FILM),
    "rgba.png": (saved(FILM.convert("RGBA"), "PNG"), FILM),
    "a phone's two": (saved(FILM, "MPO", save_all=True, append_images=[FILM.rotate(180)]), FILM),
    "a" * 245: (JPEG, FILM),
    "grey": (saved(Image.new("L", (40, 48), 77), "JPEG", quality=98), Image.new("L", (40, 48), 77)),
    "long": (saved(Image.new("L", (4000, LEAST_SIDE), 77), "JPEG"), None),
}  # fmt: skip


KINDS = {kind: data for kind, (data, _) in (LISTED | READ).items()}


def named(kind):
    return kind if Path(kind).suffix else f"{kind}.jpeg"


def index_with(folder, kinds):
    """The index, and the reasons of what is listed, where the files of these kinds lie beside the world's."""
    root, config = folder
    for kind in kinds:
        (root / HERE / named(kind)).write_bytes(KINDS[kind])
    index, skipped = build_index(config)
    return index, skipped.set_index("path").reason


def test_what_is_no_film_is_listed_with_its_reason(folder):
    index, reasons = index_with(folder, LISTED)
    assert len(index) == 84 and set(reasons.index) == {f"{HERE}/{named(kind)}" for kind in LISTED}
    for kind, (_, word) in LISTED.items():
        reason = reasons[f"{HERE}/{named(kind)}"]
        assert word in reason and "\n" not in reason and str(folder[0]) not in reason, (kind, reason)


def test_what_is_a_film_is_read_as_the_film_that_it_is(folder):
    index, reasons = index_with(folder, READ)
    assert reasons.empty, reasons.to_string()
    images = dict(zip(index.path, load_images(folder[1], index), strict=True))
    for kind, (_, film) in READ.items():
        if film:
            wanted = np.asarray(film.resize((32, 32), Image.Resampling.LANCZOS), int)
            worst = np.abs(images[f"{HERE}/{named(kind)}"] - wanted).max()
            assert worst <= (12 if kind in ("palette.png", "cmyk") else 5), (kind, worst)


def test_links_pipes_and_folders_are_followed_or_listed(folder, tmp_path):
    root, config = folder
    here, film = root / HERE, tmp_path / "film"
    film.write_bytes(JPEG)
    links = {"link": film, "broken": tmp_path / "nowhere", "loop": here / "loop.jpeg", "around": root}
    for name, target in (links | {"zero": "/dev/zero"}).items():
        (here / f"{name}.jpeg").symlink_to(target)
    (here / "folder.jpeg").mkdir()
    os.mkfifo(here / "pipe.jpeg")
    index, skipped = build_index(config)
    assert f"{HERE}/link.jpeg" in set(index.path)
    reasons = skipped.set_index("path").reason.rename(lambda path: Path(path).stem)
    assert reasons.index.tolist() == ["broken", "loop", "pipe", "zero"]
    assert reasons.broken.startswith("FileNotFoundError") and "symbolic links" in reasons.loop
    assert reasons[["pipe", "zero"]].str.contains("no file, but a folder, pipe or device").all()


PEAK = """
import resource, sys, dataclasses; from pathlib import Path
from xraylib.config import load_config
from xraylib.data.index import build_index
config = dataclasses.replace(load_config("demo", {}), data=Path(sys.argv[1]), tune_folds=4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index, skipped = build_index(config)
print(len(index), len(skipped), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_below_its_bound_whatever_the_files_say(folder):
    side = int(MOST_PIXELS**0.5)
    for name, image in (("large", Image.new("L", (side, side))), ("bomb", Image.new("1", (15_000, 10_000)))):
        data = saved(image, "PNG", compress_level=1)
        for i in range(4):
            (folder[0] / HERE / f"{name}{i}.png").write_bytes(data)
    ran = subprocess.run([sys.executable, "-c", PEAK, folder[0]], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    read, listed, kilobytes = map(int, ran.stdout.split())
    assert (read, listed) == (88, 4)
    unit = 1 if sys.platform == "linux" else 1024  # macOS counts bytes
    assert kilobytes / unit < 50_000 + WORKERS * MOST_PIXELS * 4 / 1024


@contextlib.contextmanager
def nobody():
    """Inside, this process may do no more than a user without rights, even where tests are run by root."""
    me = os.geteuid()
    os.seteuid(me or 65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.fixture
def open_folder(world):
    """A copy of the world where everybody may enter (pytest's own folders are closed)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield shutil.copytree(world[0], Path(name) / "chest_xray")


def test_what_may_not_be_read_is_listed_or_one_message(open_folder, config):
    config = dataclasses.replace(config, data=open_folder, tune_folds=4)
    (open_folder / HERE / "person1_bacteria_1.jpeg").chmod(0)
    with nobody():
        index, skipped = build_index(config)
    assert len(index) == 83 and skipped.path.tolist() == [f"{HERE}/person1_bacteria_1.jpeg"]
    assert "Permission denied" in skipped.reason[0]
    for inside in ("train/PNEUMONIA", "train", ""):
        (open_folder / inside).chmod(0)
        with nobody(), pytest.raises(UserError, match=r"Permission denied\. Wanted a folder that you may read"):
            build_index(config)


def test_what_may_not_be_written_is_one_message(open_folder):
    (open_folder / "file").touch()
    open_folder.chmod(0o555)
    for name in ("results.csv", "new/results.csv", "file/results.csv"):
        with nobody(), pytest.raises(UserError, match=r"results.csv: can't be written \("):
            write_table(pd.DataFrame({"a": [1]}), open_folder / name)


@contextlib.contextmanager
def small_disk():
    """Inside, no file may grow beyond 20,000 bytes. No fixture: pytest writes within those, perhaps to a longer log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metrics.csv", lambda path: write_bytes(bytes(20_001), path)),
        ("frames.npy", lambda path: write_array(np.zeros(20_001, np.uint8), path)),
    ],
)
def test_what_does_not_fit_on_the_disk_leaves_the_earlier_file(tmp_path, name, write):
    path = tmp_path / name
    write_bytes(b"earlier", path)
    with small_disk(), pytest.raises(UserError, match=rf"{name}: can't be written \(File too large\)"):
        write(path)
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]


def test_an_index_of_another_version_is_refused(world, config):
    write_table(world[1].drop(columns=["split", "patient"]), config.results / "index.csv")
    with pytest.raises(UserError, match=r"no column split, patient, patient_number, .*; another version"):
        load_index(config)


def test_decoded_images_that_are_damaged_are_decoded_again(folder, capsys):
    _, config = folder
    index, _ = build_index(config)
    before = np.array(load_images(config, index))
    other = load_images(dataclasses.replace(config, film_size=16), index)  # of another size: decoded again too
    assert other.shape == (84, 16, 16)
    load_images(config, index)
    capsys.readouterr()
    for damage in (b"", b"\x93NUMPY", (config.build / "images.npy").read_bytes()[:-1000]):
        (config.build / "images.npy").write_bytes(damage)
        np.testing.assert_array_equal(load_images(config, index), before)
        assert "decoded 84 films" in capsys.readouterr().out
