"""Index of images: a chest_xray folder -> one row per image, with label, subtype, patient, split, size and hash."""

import hashlib
import itertools
import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
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
from xraylib.data.walk import SUFFIXES
from xraylib.files import UserError

FOLDERS = ("train", "val", "test")
SPLITS = ("train", "tune", "val", "test")
CLASSES = ("NORMAL", "PNEUMONIA")  # their positions are their labels
REMEDY = "Get the images with: make data. Or name a chest_xray folder: make reproduce DATA=folder."
WORKERS = min(os.cpu_count() or 1, 8)  # files at once: 8 of MOST_PIXELS at 4 bytes are 1.3 GB, and no more is ever held
LEAST_SIDE = 16  # pixels; the smallest image published has 127: fewer show no lung
CHUNK = 512  # files whose rows are awaited together
COLUMNS = ("path", "folder", "split", "label", "subtype", "patient", "patient_number", "width", "height", "sha256")

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

_PNEUMONIA = re.compile(r"(person\d+)_(bacteria|virus)_\d+", re.IGNORECASE)
_NORMAL = re.compile(r"(?P<series>NORMAL2-)?(?P<number>IM-\d+)-\d+", re.IGNORECASE)


def parse_name(name: str) -> tuple[str, str, str]:
    """Subtype, patient and bare-number patient key of a file name.

    "person1_virus_6.jpeg" -> ("virus", "person1_virus", "person1"): bacteria and virus run separate counters, so that
    the patient is number and subtype. "NORMAL2-IM-0587-0001-0002.jpeg" -> ("normal", "NORMAL2-IM-0587", "IM-0587"): the
    prefix counts. A name of another form is a patient of its own, of subtype "unknown".
    """
    stem = Path(name).stem
    if match := _PNEUMONIA.match(stem):
        number, subtype = match[1].lower(), match[2].lower()
        return subtype, f"{number}_{subtype}", number
    if match := _NORMAL.match(stem):
        number = match["number"].upper()
        return "normal", (match["series"] or "").upper() + number, number
    return "unknown", stem, stem


def find_root(path: Path) -> Path:
    """The chest_xray folder at `path`: itself, or the one just inside it where `path` is what the archive unpacks to.

    The archive holds the images twice, in chest_xray/ and in chest_xray/chest_xray/; exactly one root is ever walked.
    Raises UserError where neither is a chest_xray folder.
    """
    if not path.is_dir():
        found = "no folder, but a file" if path.is_file() else "no such folder"
        raise UserError(f"{path}: {found}. Wanted a chest_xray folder with train/, val/ and test/. {REMEDY}")
    for root in (path, path / "chest_xray"):
        if (root / "train").is_dir():
            return root
    found = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
    raise UserError(f"{path}: no train folder inside; found {found}. Wanted train/, val/ and test/. {REMEDY}")


def list_images(root: Path, folders: Sequence[str] = FOLDERS) -> list[Path]:
    """The image files of root/<folders>/{NORMAL,PNEUMONIA}, sorted, those of folders inside included.

    What has an image's name is listed, be it a broken link or a folder: build_index says what is wrong with it.
    Raises UserError where a folder is missing or holds no image.
    """
    files = []
    apart = [root, *(root / folder / name for folder in FOLDERS for name in ("", *CLASSES))]  # a link keeps no label
    for folder in folders:
        for name in CLASSES:
            directory = _directory(root, folder, name)
            films, _ = walk.films(directory, strict=True, apart=apart)
            inside = [Path(file) for file in films if _is_named_image(file)]
            if not inside:
                wanted = ", ".join(sorted(SUFFIXES))
                raise UserError(f"{directory}: no images. Wanted at least one file ending in {wanted}. {REMEDY}")
            files += inside
    return sorted(files)


def _is_named_image(file: str | Path) -> bool:
    return Path(file).suffix.lower() in SUFFIXES


def _left_out(root: Path, listed: Sequence[Path]) -> pd.DataFrame:
    """The files of train, val and test that are not listed (path, reason), but for hidden ones."""
    known = {str(file) for file in listed}
    rows = []
    for folder in FOLDERS:
        apart = [root, *(root / other for other in FOLDERS)]
        for file in itertools.chain(*walk.films(root / folder, strict=True, apart=apart)):
            if file not in known:
                reason = f"not in a folder {' or '.join(CLASSES)}" if _is_named_image(file) else "no image by its name"
                rows.append({"path": _printable(Path(file).relative_to(root)), "reason": reason})
    return pd.DataFrame(rows, columns=["path", "reason"])


def _printable(path: Path) -> str:
    """The path with forward slashes; bytes that are not UTF-8 are replaced."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")


def _directory(root: Path, *parts: str) -> Path:
    directory = root
    for part in parts:
        if not (directory / part).is_dir():
            there = sorted(p.name for p in directory.iterdir() if p.is_dir())
            near = get_close_matches(part.lower(), [name.lower() for name in there], n=1)
            hint = f" Found {', '.join(there) or 'no folders'}" + ("; rename it?" if near else ".")
            raise UserError(f"{root}: no {'/'.join(parts)} folder.{hint} {REMEDY}")
        directory = directory / part
    return directory


def build_index(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The index table, and the table of files of train, val and test that were left out (path, reason).

    Reads every file once: its bytes are hashed, and decoded to the end at the JPEG decoder's smallest scale, so that
    whatever is in the index can be trained on. Shows progress. The sample profile keeps config.sample_patients a group.

    Raises UserError where a folder is missing, holds no image, or has no readable one.
    """
    try:
        root = find_root(config.data)
        files = list_images(root)
        left_out = _left_out(root, files)
    except OSError as error:  # an unreadable folder, or a loop of links
        raise UserError(f"{error.filename}: {error.strerror}. Wanted a folder that you may read. {REMEDY}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata: what matters raises, and is listed
        rows = _rows(files, root)
    table = pd.DataFrame(rows)
    skipped = pd.concat([table.loc[table.reason != "", ["path", "reason"]], left_out]).sort_values("path")
    skipped = skipped.reset_index(drop=True)
    index = table[table.reason == ""].drop(columns="reason").reset_index(drop=True)
    index = index.astype({"width": "int64", "height": "int64", "quality": "int64"})
    for folder in FOLDERS:
        for label, name in enumerate(CLASSES):
            if not ((index.folder == folder) & (index.label == label)).any():
                first = skipped[skipped.path.str.startswith(f"{folder}/{name}/")].iloc[0]
                raise UserError(f"{root / folder / name}: no readable image; {first.path}: {first.reason}. {REMEDY}")
    if config.sample_patients:
        index = sample_patients(index, config.sample_patients, config.split_seed)
    index.insert(2, "split", assign_splits(index, config.tune_folds, config.split_seed))
    return index, skipped


def _rows(files: list[Path], root: Path) -> list[dict]:
    """A row per file, in order, by WORKERS threads; shows progress."""
    rows: list[dict] = []
    with ThreadPoolExecutor(WORKERS) as pool, tqdm(total=len(files), desc="reading images", delay=5) as bar:
        for start in range(0, len(files), CHUNK):
            rows += pool.map(lambda path: _row(path, root), files[start : start + CHUNK])
            bar.update(len(rows) - bar.n)
    return rows


def _row(path: Path, root: Path) -> dict:
    relative = path.relative_to(root)
    subtype, patient, number = parse_name(path.name)
    row = {
        "path": _printable(relative),
        "folder": relative.parts[0],
        "label": CLASSES.index(relative.parts[1]),
        "subtype": subtype,
        "patient": patient,
        "patient_number": number,
        "width": 0,
        "height": 0,
        "mode": "",
        "quality": 0,
        "bytes": 0,
        "sha256": "",
        "reason": "" if _printable(relative) == relative.as_posix() else "the file's name is not UTF-8; rename it",
    }
    if row["reason"]:
        return row
    try:
        row |= {"bytes": path.stat().st_size, "sha256": _sha256(path), **_look(path)}
    except Exception as error:  # whatever a decoder makes of hostile bytes: the file is listed, and the others go on
        row["reason"] = " ".join(f"{type(error).__name__}: {error}".replace(str(root) + os.sep, "").split())
    return row


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # in pieces: a file may be larger than the memory


def _look(path: Path) -> dict:
    """Size, mode and JPEG quality of a film that is read as it is for the study, which shows whether it is whole."""
    film = read(path, LEAST_SIDE)
    if min(film.width, film.height) < LEAST_SIDE:
        raise ValueError(f"{film.width} x {film.height} pixels; wanted at least {LEAST_SIDE} a side")
    if film.refused:
        raise ValueError("; ".join(film.refused))
    return {name: getattr(film, name) for name in ("width", "height", "mode", "quality")}


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
    groups = _linked_patients(train)
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


def _linked_patients(table: pd.DataFrame) -> np.ndarray:
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
    """The index table that notebook 01 wrote; UserError where it is not there yet."""
    path = config.results / "index.csv"
    if not path.exists():
        raise UserError(f"{path}: not there. Run notebook 01_explore first, or: make reproduce")
    index = pd.read_csv(path, dtype={"patient": str, "patient_number": str, "path": str}, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in index]:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; another version wrote it, or a hand. "
            "Remove it and run notebook 01_explore again, or: make reproduce"
        )
    return index
