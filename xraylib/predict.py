"""Any folder of frontal chest films -> a table with probability and decision, by the published networks of models/."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from xraylib import metrics
from xraylib.config import REPOSITORY
from xraylib.files import UserError, write_table
from xraylib.images import decode
from xraylib.index import SUFFIXES

MODELS = REPOSITORY / "models"
CHUNK = 512  # images decoded and predicted at once, whatever the size of the folder


def load_networks(models: Path = MODELS) -> tuple[list, dict]:
    """The study's networks and what decision.json says of them: image_size, threshold, slope, intercept, sha256.

    Raises UserError where a file is missing or is not the one that decision.json names.
    """
    described = models / "decision.json"
    if not described.exists():
        raise UserError(
            f"{described}: not there. Run the study first (make reproduce DATA=folder), or get the repository whole."
        )
    decision = json.loads(described.read_text())
    for name, digest in decision["sha256"].items():
        file = models / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no file"
        if found != digest:
            raise UserError(
                f"{file}: {found[:12]}; wanted {digest[:12]}, the network of the published run. Get it again."
            )
    # TensorFlow takes seconds to start, so only when everything else is in order; model registers the study's layers.
    from xraylib.model import keras

    return [keras.models.load_model(models / name) for name in sorted(decision["sha256"])], decision


def find_films(path: Path) -> list[Path]:
    """The image files at `path`: itself, or all inside, sorted; hidden files are left out.

    Raises UserError where there is none.
    """
    if path.is_file():
        return [path]
    found = [
        Path(folder) / name
        for folder, _, names in os.walk(path)  # follows no symbolic link to a folder, so it ends
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
    ]
    if not found:
        what = "no such file or folder" if not path.exists() else "no images inside"
        raise UserError(
            f"{path}: {what}. Wanted an image, or a folder with files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return sorted(found)


def predict_films(paths: list[Path], networks: list, decision: dict) -> pd.DataFrame:
    """A row per file: path, probability (calibrated on tune), decision, threshold, seed_spread, problem.

    Decisions are those of the ensemble at the threshold chosen on tune; seed_spread is the SD over the networks'
    probabilities. A file that cannot be read has its reason in `problem`, and no probability. Shows progress; memory
    does not grow with the number of files but for the table.
    """
    from xraylib.train import predict

    recalibration = metrics.Recalibration(decision["slope"], decision["intercept"])
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, tqdm(total=len(paths), delay=5, mininterval=2, unit="film") as bar:
        for part in _chunks(paths):
            decoded = list(pool.map(lambda path: _decoded(path, decision["image_size"]), part))
            images = [image for image, _ in decoded if image is not None]
            each = (
                np.array([predict(network, np.stack(images)) for network in networks]) if images else np.empty((1, 0))
            )
            mean, spread = iter(each.mean(axis=0)), iter(each.std(axis=0))
            for path, (image, problem) in zip(part, decoded, strict=True):
                row = {
                    "path": str(path),
                    "probability": np.nan,
                    "decision": "",
                    "seed_spread": np.nan,
                    "problem": problem,
                }
                if image is not None:
                    probability = next(mean)
                    called = "PNEUMONIA" if probability >= decision["threshold"] else "NORMAL"
                    row |= {"probability": probability, "decision": called, "seed_spread": next(spread)}
                rows.append(row)
            bar.update(len(part))
    table = pd.DataFrame(rows)
    known = table.probability.notna()
    table.loc[known, "probability"] = recalibration.apply(table.probability[known])
    table.insert(3, "threshold", float(recalibration.apply(decision["threshold"])))
    return table


def _chunks(paths: list[Path]) -> Iterator[list[Path]]:
    left = iter(paths)
    while part := list(islice(left, CHUNK)):
        yield part


def _decoded(path: Path, size: int) -> tuple[np.ndarray | None, str]:
    try:
        return decode(path, size), ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return None, f"{type(error).__name__}: {error}".replace(str(path), path.name)


def main() -> int:
    """Command line: python -m xraylib.predict IMAGES [--output predictions.csv]; status 1 if a file was not read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="an image, or a folder of them")
    parser.add_argument("--output", type=Path, default=Path("predictions.csv"), help="default: predictions.csv")
    arguments = parser.parse_args()
    try:
        films = find_films(arguments.images)
        table = predict_films(films, *load_networks())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    write_table(table, arguments.output)
    bad = table[table.problem != ""]
    for row in bad.head(20).itertuples():
        print(f"not read: {row.path}: {row.problem}", file=sys.stderr)
    called = (table.decision == "PNEUMONIA").sum()
    counts = f"{len(table) - len(bad):,} films, {called:,} called PNEUMONIA, {len(bad):,} not read"
    print(f"wrote {arguments.output}: {counts}. Not a medical device.")
    return 1 if len(bad) else 0


if __name__ == "__main__":
    sys.exit(main())
