"""Any film -> a decision: decode it, find the lungs, crop to them, run the released networks.

Nothing here imports TensorFlow, pandas or scikit-learn: one film is predicted before they would have started.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import os
import shlex
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from xraylib.config import REPOSITORY
from xraylib.data import decode, frames, walk
from xraylib.files import UNFINISHED, UserError, atomic, quiet
from xraylib.predict import outliers

MODELS = REPOSITORY / "models"
NETWORKS, LOCATOR = "xray_cnn.tflite", "lungs.tflite"
FILM = 224  # pixels a side of a film, of which the lungs are cropped
MOST_THREADS = 16  # each keeps interpreters of its own, 32 MB
TOGETHER = 4  # films that a thread predicts at once: more are hardly faster, and the last would wait for each other
CHUNK = 512  # films whose rows are awaited together
COLUMNS = ("path", "decision", "score", "certain", "networks_agree", "reason", "problem")
EXAMPLE = """example:
  python -m xraylib.predict film.dcm "a folder of films" --output results.csv

  writes a table such as (score: 0 to 100, 50 is the threshold; it is no percentage)
  path,decision,score,certain,networks_agree,reason,problem
  film.dcm,PNEUMONIA,93.27,yes,3 of 3,,
  a folder of films/hand.jpeg,not assessed,,,,no recognisable lungs,

exit status: 0 all files read, 1 some not read, 2 nothing done. Not a medical device."""


@dataclass(frozen=True)
class Released:
    """The released networks, their thresholds and bounds (logits, chosen on tune), and the statistics of the films."""

    models: Path
    image_size: int
    threshold: float  # on the mean logit of the networks
    thresholds: Sequence[float]  # each network's own
    lower: float  # from lower to upper a decision is not certain
    upper: float
    bands: Sequence[tuple[float, float, int, int]]  # score from, to: films of test, of these with pneumonia
    familiar: outliers.Familiar

    def row(self, logits: np.ndarray) -> dict[str, str]:
        """Decision, score, certain and networks_agree of one film's logits (networks,)."""
        logits = logits.astype(np.float64)
        mean = float(logits.mean())
        positive = mean >= self.threshold
        score = 100 / (1 + float(np.exp(-np.clip(mean - self.threshold, -700, 700))))
        return {
            "decision": "PNEUMONIA" if positive else "NORMAL",
            "score": f"{score if positive else min(score, 49.99):.2f}",  # never rounded across 50
            "certain": "no" if self.lower <= mean <= self.upper else "yes",
            "networks_agree": f"{((logits >= self.thresholds) == positive).sum()} of {len(logits)}",
        }


def load(models: Path = MODELS) -> Released:
    """The released networks of a models folder. UserError where a file is missing or not the one of decision.json."""
    file = models / "decision.json"
    if not file.exists():
        raise UserError(
            f"{file}: not there. Run the study first (make reproduce DATA=folder), or get the repository whole."
        )
    try:
        decision = json.loads(file.read_text())
        digests = {name: decision["sha256"][name] for name in (NETWORKS, LOCATOR, outliers.FILE)}
        values = {name: decision[name] for name in ("image_size", "threshold", "thresholds", "lower", "upper")}
        bands = [tuple(band) for band in decision["bands"]["test"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: of another version ({error}). Get it again, or run: make reproduce") from error
    for name, digest in digests.items():
        file = models / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no file"
        if found != digest:
            raise UserError(f"{file}: {found[:12]}; wanted {digest[:12]}, that of the released run. Get it again.")
    return Released(models, bands=bands, familiar=outliers.read(models), **values)


class Runner:
    """The networks, loaded: for one caller at a time, which may use several threads; results do not depend on them."""

    def __init__(self, released: Released, threads: int = os.cpu_count() or 1) -> None:
        self.released = released
        self.networks, self.locator = (_interpreter(released.models / file, threads) for file in (NETWORKS, LOCATOR))

    def locate(self, films: np.ndarray) -> np.ndarray:
        """Probability of lung, float32 (n, 48, 48), in uint8 (n, size, size) films."""
        return self.locator(np.stack([frames.shrink(film) for film in films]))

    def refuse(self, films: np.ndarray) -> np.ndarray:
        """Whether each of uint8 (n, FILM, FILM) films is not assessed, bool (n,)."""
        return np.array([row["decision"] == "not assessed" for row in self.assess(films)], bool)

    def assess(self, films: np.ndarray) -> list[dict[str, str]]:
        """What each of uint8 (n, FILM, FILM) films adds to its row: decision and score, or a reason."""
        rows = [{"decision": "not assessed", "reason": "no recognisable lungs"} for _ in films]
        masks = self.locate(films)
        boxes = [frames.lung_box(mask) for mask in masks]
        kept = [i for i, box in enumerate(boxes) if box]
        if not kept:
            return rows
        pictures = np.stack([frames.frame(films[i], boxes[i], self.released.image_size) for i in kept])
        distances = self.released.familiar.distance(pictures, masks[kept])
        for i, logits, distance in zip(kept, self.networks(pictures), distances, strict=True):
            rows[i]["reason"] = "" if distance <= 1 else "unlike the films of the study"
            if distance <= 1:
                rows[i] |= self.released.row(logits)
        return rows


def _interpreter(file: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A .tflite file as a function of one array."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=threads)
    interpreter.allocate_tensors()  # announces itself, the first time in a process
    run = interpreter.get_signature_runner()
    return lambda images: next(iter(run(images=images).values()))


def find_films(*images: str | os.PathLike) -> list[str]:
    """The films of files and folders, those of a folder sorted; hidden files are left out and ~ is expanded.

    A path that does not exist is listed, so that its row says so. Raises UserError where there is no film at all.
    """
    found: list[str] = []
    for path in (os.path.expanduser(os.fspath(image)) for image in images):
        if os.path.isdir(path):
            inside = walk.films(path)[0]
            found += inside or ([path] if len(images) > 1 else [])
        elif os.path.lexists(path) or len(images) > 1:
            found.append(path)
    if not any(os.path.lexists(path) and not os.path.isdir(path) for path in found):
        named, wanted = ", ".join(map(str, images)), ", ".join(sorted(walk.SUFFIXES))
        is_folder = any(os.path.isdir(os.path.expanduser(image)) for image in images)
        what = "no images inside" if is_folder else "no such file or folder"
        raise UserError(f"{named}: {what}. Wanted an image, or a folder with DICOM files or files ending in {wanted}.")
    return list(dict.fromkeys(found))


def predict_films(paths: Sequence[str], released: Released) -> Iterator[dict[str, str]]:
    """A row (COLUMNS) per file, in order; one that cannot be read has its reason in `problem`. Shows progress.

    Every core decodes and predicts; memory grows neither with the number of files nor with their size in all.
    """
    local = threading.local()
    with quiet():
        first = [Runner(released, threads=1)]

    def work(some: Sequence[str]) -> list[dict[str, str]]:
        if not hasattr(local, "runner"):
            local.runner = first.pop() if first else Runner(released, threads=1)
        return _rows(some, local.runner)

    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS))
    with tqdm(total=len(paths), unit="film", delay=5, mininterval=2) as bar:
        try:
            for start in range(0, len(paths), CHUNK):
                chunk = paths[start : start + CHUNK]
                for rows in pool.map(work, (chunk[i : i + TOGETHER] for i in range(0, len(chunk), TOGETHER))):
                    bar.update(len(rows))
                    yield from rows
        finally:
            pool.shutdown(cancel_futures=True)


def _rows(paths: Sequence[str], runner: Runner) -> list[dict[str, str]]:
    """A row per file; what can be read of them is predicted at once."""
    rows = [dict.fromkeys(COLUMNS, "") | {"path": _printable(path)} for path in paths]
    read = []
    for row, path in zip(rows, paths, strict=True):
        try:
            film, reasons, notes = _read(Path(path))
        except Exception as error:  # whatever a decoder makes of damaged bytes: the others go on
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "  # a library's words need their kind
            message = f"{kind}{error}".replace(path, Path(path).name)
            row["problem"] = _printable(" ".join(message.split()))
        else:
            if reasons:
                row |= {"decision": "not assessed", "reason": _printable("; ".join(reasons))}
            else:
                read.append((row, film, notes))
    if read:
        found = runner.assess(np.stack([film for _, film, _ in read]))
        for (row, _, notes), assessed in zip(read, found, strict=True):
            row |= assessed | {"reason": _printable("; ".join(filter(None, [assessed["reason"], *notes])))}
    return rows


def _read(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """The film, uint8 (FILM, FILM); why the file says that it is not to be assessed; and what to warn of."""
    if not path.exists():
        raise ValueError("broken link" if path.is_symlink() else "no such file or folder")
    film = decode.read(path, FILM)
    return film.pixels, film.refused, film.notes


def _printable(text: str) -> str:
    """Text in which bytes that are not UTF-8 stand as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 0 where all files were read (refusals included), 1 where some were not, 2 for nothing."""
    parser = argparse.ArgumentParser(
        "python -m xraylib.predict",
        description="Chest films of children -> PNEUMONIA, NORMAL or not assessed.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="*", help="DICOM, PNG or JPEG files, or folders; else those of XRAY_IMAGES")
    parser.add_argument("--output", default="predictions.csv", help="default: predictions.csv")
    given = parser.parse_args(arguments)
    try:
        released = load()
        films = find_films(*(given.images or _from_environment(os.environ.get("XRAY_IMAGES", ""))))
        output = Path(given.output).expanduser()
        counts = _write(films, released, output)
    except UserError as error:
        print(_printable(str(error)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped by Ctrl-C: no table was written. Run it again for all films.", file=sys.stderr)
        return 2
    print(_printable(f"wrote {output}: {len(films):,} films. Not a medical device."))
    print(summary(counts, released))
    return 1 if counts["not read"] else 0


def _from_environment(images: str) -> list[str]:
    """The paths of XRAY_IMAGES: one path if it exists as a whole, else split as a shell would."""
    if not images.strip():
        raise UserError("Which films? make predict IMAGES=file-or-folder, or: python -m xraylib.predict file-or-folder")
    if os.path.lexists(os.path.expanduser(images)):
        return [images]
    try:
        return shlex.split(images) or [images]
    except ValueError:  # an unbalanced quote
        return [images]


def _write(films: Sequence[str], released: Released, output: Path) -> Counter:
    """Write the table; returns how many films have each decision, were not read, and lie in each band of score."""
    counts: Counter = Counter()
    _sweep(output)
    with atomic(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        _hold(file)
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's and pydicom's, of odd headers: what matters is a problem
            for row in predict_films(films, released):
                table.writerow(row)
                if row["problem"] and counts["not read"] < 20:
                    print(f"not read: {row['path']}: {row['problem']}", file=sys.stderr)
                counts[row["decision"] or "not read"] += 1
                if row["score"]:  # it lies in the last band whose lower end it reaches
                    counts[max(band for band in released.bands if float(row["score"]) >= band[0])] += 1
    return counts


def _hold(file: IO) -> bool:
    """Whether no other process holds the file; then this one does, while it is open."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # Windows locks what is open, and some network disks know no locks
        return False
    return True


def _sweep(output: Path) -> None:
    """Remove what killed runs had begun to write beside the output."""
    for left in output.parent.glob(f"{UNFINISHED}*{output.suffix}"):
        with contextlib.suppress(OSError), left.open() as file:
            if _hold(file):  # else a living run does
                left.unlink()


def summary(counts: Counter, released: Released) -> str:
    """Three lines: how many of each decision; how many test films with such scores had pneumonia; its share there."""
    kinds = ", ".join(f"{kind}: {counts[kind]:,}" for kind in ("PNEUMONIA", "NORMAL", "not assessed", "not read"))
    parts = [f"score {band[0]:g} to {band[1]:g}: {_share(*band[2:])}" for band in released.bands if counts[band]]
    _, _, films, positive = (sum(column) for column in zip(*released.bands, strict=True))
    return (
        f"{kinds}\nOf the study's test films with such a score, so many had pneumonia: "
        f"{'; '.join(parts) or 'no film has a score'}.\n"
        f"Of all the study's test films, {_share(films, positive)} had pneumonia; elsewhere it is rarer or commoner."
    )


def _share(films: int, positive: int) -> str:
    return f"{100 * positive / films:.0f} % ({positive} of {films})" if films else "none"
