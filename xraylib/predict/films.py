"""Any folder of frontal chest films -> a table with probability and decision, by the published networks of models/.

Nothing here imports TensorFlow, pandas or scikit-learn: one film is predicted before they would have started.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from xraylib.config import REPOSITORY
from xraylib.data import decode, dicom
from xraylib.files import UserError, quiet, whole
from xraylib.predict import outliers

MODELS = REPOSITORY / "models"
SUFFIXES = decode.SUFFIXES | dicom.SUFFIXES
MOST_THREADS = 16  # each keeps an interpreter of its own, 32 MB with the three networks
TOGETHER = 4  # films that a thread predicts at once: more are hardly faster, and the last would wait for each other
COLUMNS = ("path", "probability", "decision", "threshold", "seed_spread", "foreignness", "warning", "problem")


@dataclass(frozen=True)
class Published:
    """What predicts: the portable copy of all seeds' networks, where they decide, and which films they know."""

    file: Path
    image_size: int
    threshold: float  # on the seeds' mean probability, chosen on tune
    slope: float  # of the recalibration, fitted on tune
    intercept: float
    familiar: outliers.Familiar

    def network(self) -> Callable[[np.ndarray], np.ndarray]:
        """uint8 (n, size, size) -> float64 probabilities (n, seeds), before recalibration; for one thread at a time."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(self.file), num_threads=1)
        interpreter.allocate_tensors()  # announces itself, the first time in a process
        given, logits = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))

        def predict(images: np.ndarray) -> np.ndarray:
            interpreter.resize_tensor_input(given, images.shape)  # costs nothing where it is as before
            interpreter.allocate_tensors()
            interpreter.set_tensor(given, images)
            interpreter.invoke()
            return 1 / (1 + np.exp(-interpreter.get_tensor(logits).astype(np.float64)))

        return predict

    def calibrated(self, probability: float) -> float:
        """metrics.Recalibration of one probability, without what that module imports."""
        clipped = np.clip(probability, 1e-7, 1 - 1e-7)
        return float(1 / (1 + np.exp(-(self.slope * np.log(clipped / (1 - clipped)) + self.intercept))))


def load(models: Path = MODELS) -> Published:
    """The published networks of a models folder. UserError where a file is missing or not the one of decision.json."""
    described = models / "decision.json"
    if not described.exists():
        raise UserError(
            f"{described}: not there. Run the study first (make reproduce DATA=folder), or get the repository whole."
        )
    decision = json.loads(described.read_text())
    wanted = {"portable", "sha256", "image_size", "threshold", "slope", "intercept"}
    if missing := sorted(wanted - set(decision)):
        raise UserError(
            f"{described}: of another version, without {', '.join(missing)}. Get it again, or run: make reproduce"
        )
    for name in (decision["portable"], outliers.FILE):
        file, digest = models / name, decision["sha256"][name]
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no file"
        if found != digest:
            raise UserError(f"{file}: {found[:12]}; wanted {digest[:12]}, that of the published run. Get it again.")
    fitted = {name: decision[name] for name in ("image_size", "threshold", "slope", "intercept")}
    return Published(models / decision["portable"], **fitted, familiar=outliers.read(models))


def find_films(path: Path) -> list[str]:
    """The image files at `path`: itself, or all inside, sorted; hidden files are left out.

    Raises UserError where there is none.
    """
    if path.is_file():
        return [str(path)]
    found = [
        os.path.join(folder, name)  # strings: a hundred thousand Paths are tens of megabytes
        for folder, _, names in os.walk(path)  # follows no symbolic link to a folder, so it ends
        for name in names
        if not name.startswith(".") and _may_be_film(Path(folder, name))
    ]
    if not found:
        what = "no such file or folder" if not path.exists() else "no images inside"
        wanted = ", ".join(sorted(SUFFIXES))
        raise UserError(f"{path}: {what}. Wanted an image, or a folder with DICOM files or files ending in {wanted}.")
    return sorted(found)


def _may_be_film(path: Path) -> bool:
    try:
        return path.suffix.lower() in SUFFIXES or dicom.is_dicom(path)
    except OSError:  # a pipe, or a file that may not be read and has no suffix
        return False


def predict_films(paths: list[str], published: Published) -> Iterator[dict]:
    """A row (COLUMNS) per file, in order, as soon as it is known; shows progress.

    probability and threshold are calibrated on tune; decisions are those of the ensemble; seed_spread is the SD over
    the networks' probabilities. foreignness above 1, and whatever stands in warning, says that the file is unlike the
    films of the study. A file that cannot be read has its reason in `problem`, and no probability. Every core decodes
    and predicts; memory grows neither with the number of files nor with their size in all.
    """
    per_thread = threading.local()
    threshold = round(published.calibrated(published.threshold), 6)

    def rows(some: list[str]) -> list[dict]:
        if not hasattr(per_thread, "network"):
            per_thread.network = next(first, None) or published.network()
        return [row | {"threshold": threshold} for row in _rows(some, published, per_thread.network)]

    with quiet():
        first = iter([published.network()])
    parts = [paths[i : i + TOGETHER] for i in range(0, len(paths), TOGETHER)]
    bar = tqdm(total=len(paths), unit="film", delay=5, mininterval=2)
    with bar, ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        for i in range(0, len(parts), 64):
            for some in pool.map(rows, parts[i : i + 64]):
                bar.update(len(some))
                yield from some


def _rows(paths: list[str], published: Published, network: Callable[[np.ndarray], np.ndarray]) -> list[dict]:
    """A row per file; what can be read of them is predicted at once."""
    rows: list[dict] = [{**dict.fromkeys(COLUMNS, ""), "path": path} for path in paths]
    read = []
    for row, path in zip(rows, paths, strict=True):
        try:
            read.append((row, *_read(Path(path), published.image_size)))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            row["problem"] = f"{type(error).__name__}: {error}".replace(path, Path(path).name)
    if read:
        films = np.stack([film for _, film, _ in read])
        told = zip(read, network(films), published.familiar.foreignness(films).tolist(), strict=True)
        for (row, _, oddities), each, strange in told:
            row |= _told(each, strange, oddities, published)
    return rows


def _told(each: np.ndarray, strange: float, oddities: list[str], published: Published) -> dict:
    """What the networks' probabilities (seeds,), the foreignness and the file's own oddities add to a row."""
    return {
        "probability": round(published.calibrated(each.mean()), 6),
        "decision": "PNEUMONIA" if each.mean() >= published.threshold else "NORMAL",
        "seed_spread": round(float(each.std()), 6),
        "foreignness": round(strange, 3),
        "warning": "; ".join(["unlike the films of the study"] * (strange > 1) + oddities),
    }


def _read(path: Path, size: int) -> tuple[np.ndarray, list[str]]:
    """The film, uint8 (size, size), and what the file itself says that the study's films are not."""
    if dicom.is_dicom(path):
        return dicom.read(path, size)
    return decode.decode(path, size), ["in colour"] if decode.colour(path) > outliers.COLOUR else []


def main() -> int:
    """Command line: python -m xraylib.predict IMAGES [--output predictions.csv]; status 1 if a file was not read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="an image (DICOM, PNG or JPEG), or a folder of them")
    parser.add_argument("--output", type=Path, default=Path("predictions.csv"), help="default: predictions.csv")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    said: list[str] = []
    try:
        films = find_films(arguments.images)
        published = load()
        with whole(arguments.output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            for row in predict_films(films, published):
                table.writerow(row)
                notes = {what: row[what] for what in ("problem", "warning") if row[what]}
                said += [f"{what}: {row['path']}: {note}" for what, note in notes.items() if counts[what] < 20]
                counts.update([row["decision"], *notes])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(said), file=sys.stderr, end="\n" if said else "")
    print(
        f"wrote {arguments.output}: {len(films):,} films, {counts['PNEUMONIA']:,} called PNEUMONIA, "
        f"{counts['warning']:,} with a warning, {counts['problem']:,} not read. Not a medical device."
    )
    return 1 if counts["problem"] else 0


if __name__ == "__main__":
    sys.exit(main())
