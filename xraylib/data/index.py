"""Index of films: a chest_xray folder -> one row a film, with label, subtype, patient, split, size and hash."""

import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from xraylib.config import Config
from xraylib.data import walk
from xraylib.data.decode import read
from xraylib.files import UserError, printable

FOLDERS = ("train", "val", "test")
SPLITS = ("train", "tune", "val", "test")
CLASSES = ("NORMAL", "PNEUMONIA")  # their positions are their labels
REMEDY = "Get the images with: make data. Or name a chest_xray folder: make reproduce DATA=folder."
WORKERS = min(os.cpu_count() or 1, 8)  # files at once: 8 of MOST_PIXELS at 4 bytes are 1.3 GB, and no more is ever held
LEAST_SIDE = 16  # pixels; the smallest image published has 127: fewer show no lung
COLUMNS = ["path", "folder", "split", "label", "subtype", "patient", "patient_number"]
COLUMNS += ["width", "height", "mode", "quality", "trimmed", "bytes", "sha256"]

# Counted in the archive; Kaggle's page says 5,863 images, the true number is 5,856.
OFFICIAL = {
    ("train", "normal"): 1341,
    ("train", "bacteria"): 2530,
    ("train", "virus"): 1345,
    ("val", "normal"): 8,
    ("val", "bacteria"): 8,
    ("test", "normal"): 234,
    ("test", "bacteria"): 242,
    ("test", "virus"): 148,
}

_KAGGLE = re.compile(r"(person\d+)_(bacteria|virus)_\d+|((?:NORMAL2-)?(IM-\d+))-\d+", re.IGNORECASE)
_MENDELEY = re.compile(r"(normal|bacteria|virus)-(\d+)-\d+", re.IGNORECASE)


def parse_name(path: str) -> tuple[str, str, str]:
    """Subtype, patient and bare-number patient key of a film, by its path in the data set.

    "person1_virus_6.jpeg" -> ("virus", "person1_virus", "person1"): bacteria and virus run separate counters, so that
    the patient is number and subtype. "NORMAL2-IM-0587-0001-0002.jpeg" -> ("normal", "NORMAL2-IM-0587", "IM-0587"): the
    prefix counts. In the first publication (Mendeley Data), "VIRUS-1008087-0001.jpeg" -> ("virus", "virus-1008087",
    "1008087"). A film whose name has another form is a patient of its own, whose key is the path: "0.jpeg" may be in
    each folder.
    """
    name = Path(path).name
    if match := _KAGGLE.match(name):
        person, subtype, series, number = match.groups()
        if person:
            return subtype.lower(), f"{person}_{subtype}".lower(), person.lower()
        return "normal", series.upper(), number.upper()
    if match := _MENDELEY.match(name):
        subtype, number = match[1].lower(), match[2]
        return subtype, f"{subtype}-{number}", number
    return "normal" if CLASSES[0] in Path(path).parts else "unknown", path, path


def find_root(path: Path) -> Path:
    """The chest_xray folder at `path`: itself, or the one just inside it where `path` is what the archive unpacks to.

    The archive holds the images twice, in chest_xray/ and in chest_xray/chest_xray/; exactly one root is ever walked.
    Raises UserError where neither is a chest_xray folder.
    """
    for root in (path, path / "chest_xray"):
        if (root / "train").is_dir():
            return root
    reason = "no train folder inside" if path.is_dir() else "no such folder"
    raise UserError(f"{path}: {reason}. Wanted a chest_xray folder with train/, val/ and test/. {REMEDY}")


def list_images(root: Path, folders: Sequence[str] = FOLDERS) -> tuple[list[Path], list[tuple[str, str]]]:
    """What may be a film in root/<folders>/{NORMAL,PNEUMONIA}, sorted, and path and reason of the other files there.

    Raises OSError where a folder is missing or may not be read.
    """
    films, left_out = [], []
    apart = [root, *(root / folder for folder in FOLDERS)]  # a link keeps no label
    for folder in folders:
        named, others = walk.films(root / folder, strict=True, apart=apart)
        left_out += [(_shown(file, root), "no film by its name or content") for file in others]
        for file in named:
            if Path(file).relative_to(root).parts[1] in CLASSES:
                films.append(Path(file))
            else:
                left_out.append((_shown(file, root), f"not in a folder {' or '.join(CLASSES)}"))
    return sorted(films), left_out


def build_index(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The index table, and the table of files of train, val and test that were left out (path, reason).

    Each file is read as the study reads its film, so that whatever is in the index can be trained on. Shows progress.
    The sample profile keeps config.sample_patients a group.

    Raises UserError where a folder is missing or has no film that can be read.
    """
    try:
        root = find_root(config.data)
        files, left_out = list_images(root)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}. Wanted a folder that you may read. {REMEDY}") from error
    with warnings.catch_warnings(), ThreadPoolExecutor(WORKERS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata: what matters raises, and is listed
        reading = pool.map(lambda file: _row(file, root, config.film_size), files)
        rows = list(tqdm(reading, "reading films", len(files), delay=5))
    index = pd.DataFrame([row for row in rows if isinstance(row, dict)], columns=COLUMNS)
    unread = [row for row in rows if isinstance(row, tuple)]
    skipped = pd.DataFrame(sorted(unread + left_out), columns=["path", "reason"])
    for folder, (label, name) in product(FOLDERS, enumerate(CLASSES)):
        if not ((index.folder == folder) & (index.label == label)).any():
            first = next((": ".join(row) for row in unread if row[0].startswith(f"{folder}/{name}/")), "")
            reason = f"no film that can be read ({first})" if first else "no films"
            raise UserError(f"{root / folder / name}: {reason}. Wanted at least one film. {REMEDY}")
    if config.sample_patients:
        index = sample_patients(index, config.sample_patients, config.split_seed)
    return index.assign(split=assign_splits(index, config.tune_folds, config.split_seed)), skipped


def _shown(path: Path | str, root: Path) -> str:
    """The path inside root as a table shows it, with forward slashes."""
    return printable(Path(path).relative_to(root).as_posix())


def _row(path: Path, root: Path, size: int) -> dict | tuple[str, str]:
    """The row of a film (COLUMNS but split), or its path and the reason why it cannot be read."""
    shown = _shown(path, root)
    try:
        if shown != path.relative_to(root).as_posix():
            raise ValueError("control characters, or bytes that are not UTF-8, in its name; rename it")
        film, data = read(path, size), path.read_bytes()
        if min(film.width, film.height) < LEAST_SIDE:
            raise ValueError(f"{film.width} x {film.height} pixels; wanted at least {LEAST_SIDE} a side")
        if film.refused:
            raise ValueError("; ".join(film.refused))
    except Exception as error:  # whatever a decoder makes of hostile bytes: the file is listed, and the others go on
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "  # a library's words need their kind
        reason = f"{kind}{error}".replace(str(root) + os.sep, "")
        return shown, printable(" ".join(reason.split()))
    folder, name, *_ = Path(shown).parts
    row = {"path": shown, "folder": folder, "label": CLASSES.index(name)}
    row |= dict(zip(("subtype", "patient", "patient_number"), parse_name(shown), strict=True))
    row |= {name: getattr(film, name) for name in ("width", "height", "mode", "quality", "trimmed")}
    return row | {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def compare_with_official(index: pd.DataFrame) -> pd.DataFrame:
    """Images per folder and subtype here and in the official archive, and the difference (here - official)."""
    here = index.groupby(["folder", "subtype"]).size()
    table = pd.DataFrame({"here": here, "official": pd.Series(OFFICIAL)}).fillna(0).astype(int)
    table.index.names = ["folder", "subtype"]
    return table.assign(difference=table.here - table.official).reset_index()


def assign_splits(index: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """The split of each row: the folders val and test as they are; one patient in `folds` of folder train to tune.

    Neither a patient nor a byte-identical image stands on both sides: groups are the patients joined by shared files.
    Raises UserError where a class has fewer than `folds` such groups.
    """
    split = index.folder.to_numpy(dtype=object).copy()
    train = index[index.folder == "train"]
    groups = linked_patients(train)
    for label, name in enumerate(CLASSES):
        n = len(set(groups[train.label == label]))
        if n < folds:
            raise UserError(
                f"train/{name}: images of {n} patients; wanted at least {folds}, to keep tune patients apart. "
                "Add images of other patients."
            )
    folded = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    strata = train.subtype if train.subtype.value_counts().min() >= folds else train.label
    _, tune = next(folded.split(train, strata, groups))
    split[np.flatnonzero(index.folder == "train")[tune]] = "tune"
    return split


def linked_patients(table: pd.DataFrame) -> np.ndarray:
    """A group number per row: patients who share a byte-identical file, directly or through others, are one group."""
    patient, _ = pd.factorize(table.patient)
    file, _ = pd.factorize(table.sha256)
    n = patient.max(initial=-1) + 1
    links = coo_array((np.ones(len(table)), (patient, n + file)), shape=(n + file.max(initial=-1) + 1,) * 2)
    return connected_components(links, directed=False)[1][patient]


def sample_patients(index: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """All images of at most `n` patients of each folder and subtype, drawn at random by `seed`; rows stay in order."""
    rng = np.random.default_rng(seed)
    kept = set()
    for _, group in index.groupby(["folder", "subtype"], sort=True):
        patients = np.sort(group.patient.unique())
        kept |= set(rng.permutation(patients)[:n])
    return index[index.patient.isin(kept)].reset_index(drop=True)


def load_index(config: Config) -> pd.DataFrame:
    """The index table that notebook 01 wrote; UserError where it is not there yet, or of another version."""
    path = config.results / "index.csv"
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 01_explore first, or: make reproduce")
    index = pd.read_csv(path, dtype={"patient": str, "patient_number": str, "path": str}, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in index]:
        raise UserError(f"{path}: no column {', '.join(missing)}; another version wrote it. Run: make reproduce")
    return index
