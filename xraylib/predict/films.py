"""Any film -> a decision: read it, find the lungs, crop to them, run the released networks.

Nothing here imports TensorFlow, pandas or scikit-learn: one film is predicted before they would have started.
"""

import argparse
import csv
import hashlib
import json
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from xraylib.config import REPOSITORY
from xraylib.data import decode, frames, walk
from xraylib.files import UserError, atomic, printable, quiet, say
from xraylib.predict import ood

MODELS = REPOSITORY / "models"
NETWORKS, LOCATOR = "xray_cnn.tflite", "lungs.tflite"
FILM = 224  # pixels a side of a film, of which the lungs are cropped
THREADS = min(os.cpu_count() or 1, 16)  # each keeps interpreters of its own, 32 MB
TOGETHER = 4  # films that a thread predicts at once: more are hardly faster, and the last would wait for each other
CHUNK = 512  # films whose rows are awaited together
COLUMNS = ("path", "decision", "score", "certain", "networks_agree", "reason", "problem")
EXAMPLE = """example:
  python -m xraylib.predict film.dcm "a folder of films" --output results.csv

  writes a table such as (score: 0 to 100; 50 is the threshold; 90 does not mean 90 %: how many of
  the study's test films with such a score had pneumonia is printed at the end)
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
    distribution: ood.Distribution

    def row(self, logits: np.ndarray) -> dict[str, str]:
        """Decision, score, certain, networks_agree and reason of one film's logits (networks,)."""
        logits = logits.astype(np.float64)
        mean = float(logits.mean())
        positive = mean >= self.threshold
        score = 100 / (1 + float(np.exp(-np.clip(mean - self.threshold, -700, 700))))
        agree = int(((logits >= self.thresholds) == positive).sum())
        lonely = 2 * agree < len(logits)  # where one network outweighs the others in the mean
        return {
            "decision": "PNEUMONIA" if positive else "NORMAL",
            "score": f"{score if positive else min(score, 49.99):.2f}",  # never rounded across 50
            "certain": "no" if lonely or self.lower <= mean <= self.upper else "yes",
            "networks_agree": f"{agree} of {len(logits)}",
            "reason": "fewer than half of the networks agree" if lonely else "",
        }


def load(models: Path = MODELS) -> Released:
    """The released networks of a models folder. UserError where a file is missing or not the one of decision.json."""
    file = models / "decision.json"
    try:
        decision = json.loads(file.read_text())
        digests = {name: decision["sha256"][name] for name in (NETWORKS, LOCATOR, ood.FILE)}
        values = {name: decision[name] for name in ("image_size", "threshold", "thresholds", "lower", "upper")}
        values["bands"] = [tuple(band) for band in decision["bands"]["test"]]
        for name, digest in digests.items():
            file = models / name
            if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                raise ValueError("not the file that decision.json names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        wanted = "Wanted the files of one run: get the repository again, or run: make reproduce DATA=folder"
        raise UserError(f"{file}: {type(error).__name__}: {error}. {wanted}") from error
    return Released(models, distribution=ood.read(models), **values)


class Runner:
    """The networks, loaded: for one caller at a time, which may use several threads; results do not depend on them."""

    def __init__(self, released: Released, threads: int = THREADS) -> None:
        self.released = released
        self.networks, self.locator = (_interpreter(released.models / file, threads) for file in (NETWORKS, LOCATOR))

    def locate(self, films: np.ndarray) -> np.ndarray:
        """Probability of lung, float32 (n, 48, 48), in uint8 (n, size, size) films."""
        return self.locator(np.stack([frames.shrink(film) for film in films]))

    def assess(self, films: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Logits, float32 (n, networks), of uint8 (n, FILM, FILM) films, and why each is not to be assessed, else "".

        A film without lungs is taken whole.
        """
        masks = self.locate(films)
        boxes = [frames.lung_box(mask) for mask in masks]
        size = self.released.image_size
        pictures = np.stack([frames.frame(film, box, size) for film, box in zip(films, boxes, strict=True)])
        distances = self.released.distribution.distance(pictures, masks)
        reasons = [_reason(*film) for film in zip(films, boxes, distances, strict=True)]
        return self.networks(pictures), reasons


def _reason(film: np.ndarray, box: frames.Box | None, distance: float) -> str:
    """Why a film is not to be assessed, else ""."""
    if ood.coarse(film):
        return f"too little detail, as of {ood.SIDE} x {ood.SIDE} pixels or fewer"
    if box is None:
        return "no recognisable lungs"
    return "unlike the films of the study" if distance > 1 else ""


def _interpreter(file: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A .tflite file as a function of one array."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=threads)
    with quiet():  # it announces itself, the first time in a process
        interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    return lambda images: next(iter(run(images=images).values()))


def find_films(*images: str | os.PathLike) -> tuple[list[str], list[str]]:
    """The films of files and folders, by content or by name, and the files of the folders that are none. ~ is expanded.

    A file that is not there, or a folder without films, is listed, so that its row says so. UserError without any film.
    """
    found, left_out = [], []
    for path in map(os.path.expanduser, images):
        films, others = walk.films(path) if os.path.isdir(path) else ([path], [])
        found += films or [path]
        left_out += others
    if not any(os.path.lexists(path) and not os.path.isdir(path) for path in found):
        what = "no films inside" if any(map(os.path.isdir, found)) else "no such file or folder"
        wanted = "Wanted a film (DICOM, PNG or JPEG), or a folder with films."
        raise UserError(f"{', '.join(map(str, images))}: {what}. {wanted}")
    return list(dict.fromkeys(found)), left_out


def predict_films(paths: Sequence[str], released: Released) -> Iterator[dict[str, str]]:
    """A row (COLUMNS) per file, in order; one that cannot be read has its reason in `problem`. Shows progress."""
    return (row for row, _ in assess_films(paths, released))


def assess_films(paths: Sequence[str], released: Released) -> Iterator[tuple[dict[str, str], np.ndarray | None]]:
    """The rows of predict_films, each with the film's logits, float32 (networks,), or None where it cannot be read.

    Every core reads and predicts; memory grows neither with the number of files nor with their size in all.
    """
    local = threading.local()

    def start() -> None:
        local.runner = Runner(released, threads=1)

    pool = ThreadPoolExecutor(THREADS, initializer=start)
    unseen = not (sys.stderr and sys.stderr.isatty())
    with tqdm(total=len(paths), unit="film", delay=5, mininterval=2, disable=unseen) as bar:
        try:
            for first in range(0, len(paths), CHUNK):
                chunk = paths[first : first + CHUNK]
                parts = [chunk[i : i + TOGETHER] for i in range(0, len(chunk), TOGETHER)]
                for part in pool.map(lambda part: _assess(part, local.runner), parts):
                    bar.update(len(part))
                    yield from part
        finally:
            pool.shutdown(cancel_futures=True)


def _assess(paths: Sequence[str], runner: Runner) -> list[tuple[dict[str, str], np.ndarray | None]]:
    """A row per file and its logits; what can be read of them is predicted at once."""
    rows = [dict.fromkeys(COLUMNS, "") | {"path": printable(path)} for path in paths]
    read = {}
    for i, path in enumerate(paths):
        try:
            read[i] = decode.read(Path(path), FILM)
        except Exception as error:  # whatever a decoder makes of damaged bytes: the others go on
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "  # a library's words need their kind
            message = getattr(error, "strerror", "") or f"{kind}{error}".replace(path, os.path.basename(path))
            rows[i]["problem"] = printable(" ".join(message.split()))
    if not read:
        return [(row, None) for row in rows]
    logits, reasons = runner.assess(np.stack([film.pixels for film in read.values()]))
    of = dict(zip(read, logits, strict=True))
    for (i, film), reason in zip(read.items(), reasons, strict=True):
        refused = {"decision": "not assessed", "reason": reason}
        rows[i] |= refused if film.refused or reason else runner.released.row(of[i])
        rows[i]["reason"] = printable("; ".join(film.refused or filter(None, [rows[i]["reason"], *film.notes])))
    return [(row, of.get(i)) for i, row in enumerate(rows)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 0 where all files were read (not assessed or not), 1 where some were not, 2 for nothing."""
    parser = argparse.ArgumentParser(
        "python -m xraylib.predict",
        description="Chest films of children -> PNEUMONIA, NORMAL or not assessed.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="*", help="DICOM, PNG or JPEG files, or folders; else that of XRAY_IMAGES")
    parser.add_argument("--output", default="predictions.csv", help="default: predictions.csv")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # Pillow's and pydicom's, of odd headers: what matters is a problem
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing unfinished is left
    _open_streams()
    try:
        images = given.images or [os.environ.get("XRAY_IMAGES", "")]
        if images == [""]:
            raise UserError("Which films? make predict IMAGES=file-or-folder, or: python -m xraylib.predict film.png")
        released, (films, left_out), output = load(), find_films(*images), Path(given.output).expanduser()
        counts = _write(films, released, output)
    except UserError as error:
        say(printable(str(error)), sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("Stopped: no table was written. Run it again for all films.", sys.stderr)
        return 2
    stream = sys.stdout if output.is_file() else sys.stderr  # what reads the table from a pipe reads it alone
    say(printable(f"wrote {output}: {len(films):,} films. Not a medical device."), stream)
    say(summary(counts, released), stream)
    if kinds := Counter(os.path.splitext(path)[1].lower() or "no suffix" for path in left_out):
        say(printable(f"Left out, no films: {', '.join(f'{n} x {kind}' for kind, n in kinds.most_common())}."), stream)
    return 1 if counts["not read"] else 0


def _open_streams() -> None:
    """Open the standard streams that are closed, or the table's file would get the number of one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _write(films: Sequence[str], released: Released, output: Path) -> Counter:
    """Write the table; returns how many films have each decision or were not read."""
    counts: Counter = Counter()
    with atomic(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        if output.is_file() and walk.recognised(output):
            raise UserError(f"{output}: a film, which the table would replace. Choose another --output.")
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in predict_films(films, released):
            table.writerow(row)
            if row["problem"] and counts["not read"] < 20:
                say(f"not read: {row['path']}: {row['problem']}", sys.stderr)
            counts[row["decision"] or "not read"] += 1
    return counts


def summary(counts: Counter, released: Released) -> str:
    """How many films have each decision; how many test films of each band of scores had pneumonia: two lines."""
    kinds = ", ".join(f"{kind}: {counts[kind]:,}" for kind in ("PNEUMONIA", "NORMAL", "not assessed", "not read"))
    parts = [f"score {low:g} to {high:g}: {ill} of {films}" for low, high, films, ill in released.bands]
    return f"{kinds}\nOf the study's test films with such a score, so many had pneumonia: {'; '.join(parts)}."
