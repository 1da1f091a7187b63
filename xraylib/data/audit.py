"""Index and decoded images -> what is wrong with the data: shared patients, copies, shortcuts, the shift to test.

A shortcut is a property that is not lung and yet predicts the class. Each is scored as a network would be: a small
model learns it from the train split and predicts patients that it has not met.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from xraylib.data.decode import area_means
from xraylib.data.frames import Box
from xraylib.data.index import CLASSES, SPLITS

HASH_SIDE = 32  # difference hash of 32 x 32 = 1,024 bits

# Bits of 1,024. Copies of 300 real films, at 0.7 of the size, JPEG quality 50 and 0.9 of the contrast, differ from them
# in 32 bits (median; 59 for the worst in a hundred), films of two patients in at least 171 (median 380).
NEAR = 64
THUMBNAIL = 8  # pixels a side
BORDER = 1 / 16  # of the side: collimator, markers and film edge, hardly any lung
FOLDS = 5


# --- patients and copies ---


def flow(index: pd.DataFrame, skipped: pd.DataFrame) -> pd.DataFrame:
    """Films and children from the folder to the splits: columns name, parent, n_films, n_children, from the root on."""
    files = len(index) + len(skipped)
    rows = [
        ("image files", "", files, index.patient.nunique()),
        ("read", "image files", len(index), index.patient.nunique()),
    ]
    for folder in ("train", "val", "test"):
        part = index[index.folder == folder]
        rows.append((f"{folder} folder", "read", len(part), part.patient.nunique()))
    for split in ("train", "tune"):
        part = index[index.split == split]
        rows.append((split, "train folder", len(part), part.patient.nunique()))
    return pd.DataFrame(rows, columns=["name", "parent", "n_films", "n_children"])


def shared_patients(index: pd.DataFrame) -> pd.DataFrame:
    """Patients that two splits share, by both keys: splits, patients (number and subtype), patients_bare_number."""
    held = {key: {s: set(index[index.split == s][key]) for s in SPLITS} for key in ("patient", "patient_number")}
    return pd.DataFrame(
        [
            {
                "splits": f"{a}, {b}",
                "patients": len(held["patient"][a] & held["patient"][b]),
                "patients_bare_number": len(held["patient_number"][a] & held["patient_number"][b]),
            }
            for a, b in combinations(SPLITS, 2)
        ]
    )


def copies(index: pd.DataFrame, images: np.ndarray, near: int = NEAR) -> pd.DataFrame:
    """Pairs of images that are copies of each other, byte for byte or nearly.

    images: uint8 (len(index), size, size). Columns: first, second (paths), bits (Hamming distance of the difference
    hashes, at most `near` unless the bytes are identical), identical, same_split, same_class, same_patient.
    """
    first, second, bits = _near_pairs(difference_hash(images), near)
    identical = index.sha256.to_numpy()[first] == index.sha256.to_numpy()[second]
    table = pd.DataFrame(
        {"first": index.path.to_numpy()[first], "second": index.path.to_numpy()[second], "bits": bits}
    ).assign(identical=identical)
    for column, name in (("split", "same_split"), ("label", "same_class"), ("patient", "same_patient")):
        values = index[column].to_numpy()
        table[name] = values[first] == values[second]
    return table.sort_values(["bits", "first", "second"], ignore_index=True)


def count_copies(table: pd.DataFrame) -> pd.DataFrame:
    """`copies` counted: rows identical and near; columns pairs, of two patients, of two splits, of two classes."""
    counts = {}
    for name, part in (("identical", table[table.identical]), ("near", table[~table.identical])):
        counts[name] = {
            "pairs": len(part),
            "of two patients": int((~part.same_patient).sum()),
            "of two splits": int((~part.same_split).sum()),
            "of two classes": int((~part.same_class).sum()),
        }
    return pd.DataFrame.from_dict(counts, orient="index").rename_axis("copies")


def difference_hash(images: np.ndarray) -> np.ndarray:
    """Whether brightness rises from each of 32 x 33 cells to its right neighbour: uint8 (n, 128), 1,024 bits an image.

    It sees where things are and not how bright, sharp or large the file is (Krawetz 2013, "Kind of like that").
    """
    cells = _cells(images, HASH_SIDE, HASH_SIDE + 1)
    return np.packbits((cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(images), -1), axis=1)


def _cells(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Mean grey of rows x columns equal cells of each image: float32 (n, rows, columns)."""
    down, across = (area_means(images.shape[1], cells).astype(np.float32) for cells in (rows, columns))
    return np.concatenate([down @ part @ across.T for part in _parts(images)])


def _near_pairs(hashes: np.ndarray, near: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """first < second and their distance, for all pairs at most `near` bits apart."""
    words = hashes.view(np.uint64)
    found = [np.empty((3, 0), int)]
    for i in range(len(words) - 1):  # a row at a time: the full table of 10,000 images would take 800 MB
        bits = np.bitwise_count(words[i] ^ words[i + 1 :]).sum(axis=1, dtype=int)
        close = np.flatnonzero(bits <= near)
        found.append(np.stack([np.full(len(close), i), i + 1 + close, bits[close]]))
    return tuple(np.concatenate(found, axis=1))


# --- shortcuts ---


def shortcuts(index: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """How well what is not lung predicts the class.

    Columns: property, train (AUROC on patients held out in turn from the train split), test (AUROC on test of the model
    learned from the train split), note. Where a property has one value everywhere, AUROCs are NaN and the note
    says so.
    """
    train, test = (np.flatnonzero(index.split == split) for split in ("train", "test"))
    rows = []
    for name, (values, learner, text) in _properties(index, images).items():
        row = {"property": name, "train": np.nan, "test": np.nan, "note": ""}
        if (values[train] == values[train[0]]).all():
            row["note"] = f"all {len(train):,} train images alike: {text[train[0]]}"
        else:
            row |= _aurocs(learner(), index, values, train, test)
        rows.append(row)
    return pd.DataFrame(rows)


def _aurocs(learner, index: pd.DataFrame, values: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """AUROC on the rows `train`, their patients held out in turn, and on the rows `test`, learned from `train`."""
    label, patient = index.label.to_numpy(), index.patient.to_numpy()
    held_out = _out_of_fold(learner, values[train], label[train], patient[train])
    on_test = learner.fit(values[train], label[train]).predict_proba(values[test])[:, 1]
    return {"train": roc_auc_score(label[train], held_out), "test": roc_auc_score(label[test], on_test)}


def baselines(index: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """What a network must beat, as a predictions table: "majority", "metadata" and "thumbnail", learned from train.

    majority calls every film PNEUMONIA; metadata knows the file alone (sizes, bytes, quality, mode); thumbnail is a
    logistic regression on 8 x 8 pixels.
    """
    train = (index.split == "train").to_numpy()
    of_file = pd.DataFrame(_file_properties(index)).assign(grey=(index["mode"] == "L").to_numpy())
    forest = RandomForestClassifier(200, min_samples_leaf=5, class_weight="balanced", random_state=0)
    probabilities = {"majority": np.ones(len(index))}
    for name, values, learner in (
        ("metadata", of_file.to_numpy(), forest),
        ("thumbnail", _thumbnails(images), _linear()),
    ):
        probabilities[name] = learner.fit(values[train], index.label[train]).predict_proba(values)[:, 1]
    rows = index[["path", "folder", "split", "label", "subtype", "patient"]]
    logits = {name: logit(np.clip(p, 1e-7, 1 - 1e-7)) for name, p in probabilities.items()}  # finite at 0 and 1
    table = pd.concat([rows.assign(network=n, seed=0, logit=x) for n, x in logits.items()], ignore_index=True)
    return table[["network", "seed", *rows.columns, "logit"]]


def _properties(index: pd.DataFrame, images: np.ndarray) -> dict[str, tuple[np.ndarray, Callable, Sequence]]:
    """Name -> (values (n, features), what learns from them, how a value is written)."""
    columns = _file_properties(index)
    grey = np.concatenate([part.mean(axis=(1, 2), dtype=np.float64) for part in _parts(images)])
    modes, _ = pd.factorize(index["mode"])
    border, thumbnails = _border(images), _thumbnails(images)
    return {
        **{name: (values[:, None], _steps, values) for name, values in columns.items()},
        "colour mode": (modes[:, None], _steps, index["mode"].to_numpy()),
        "mean grey": (grey[:, None], _steps, grey),
        "border of the image": (border, _linear, border),
        "8 x 8 thumbnail": (thumbnails, _linear, thumbnails),
    }


def _file_properties(index: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = {
        "width": index.width,
        "height": index.height,
        "aspect ratio": (index.width / index.height).round(3),
        "bytes per pixel": (index.bytes / (index.width * index.height)).round(5),
        "JPEG quality": index.quality,
    }
    return {name: column.to_numpy() for name, column in columns.items()}


def _steps() -> DecisionTreeClassifier:
    """Learns any dependence on one number, as up to ten steps."""
    return DecisionTreeClassifier(max_leaf_nodes=10, min_samples_leaf=0.01, class_weight="balanced", random_state=0)


def _linear():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))


def _out_of_fold(learner, values: np.ndarray, label: np.ndarray, patient: np.ndarray) -> np.ndarray:
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(learner, values, label, groups=patient, cv=folds, method="predict_proba")[:, 1]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    return _cells(images, THUMBNAIL, THUMBNAIL).reshape(len(images), -1)


def _border(images: np.ndarray) -> np.ndarray:
    """Means of eight pieces of each of the four margins: float32 (n, 32)."""
    wide = max(1, round(images.shape[1] * BORDER))
    pieces = area_means(images.shape[1], 8).astype(np.float32)
    margins = []
    for part in _parts(images):
        sides = (part[:, :wide].mean(1), part[:, -wide:].mean(1), part[:, :, :wide].mean(2), part[:, :, -wide:].mean(2))
        margins.append(np.concatenate([side @ pieces.T for side in sides], axis=1))
    return np.concatenate(margins)


def _parts(images: np.ndarray, at_once: int = 2048) -> Iterator[np.ndarray]:
    """Some images at a time, as float32."""
    return (images[i : i + at_once].astype(np.float32) for i in range(0, len(images), at_once))


def box_properties(boxes: Sequence[Box | None] | np.ndarray, index: pd.DataFrame) -> dict[str, np.ndarray]:
    """What the box of the lungs in the film says without the lungs, for `framing`: name -> float (n,) or (n, 4).

    boxes: for each row of the index left, top, right, bottom in shares of the film; None or NaN where unknown.
    """
    edges = np.array([(np.nan,) * 4 if box is None else box for box in boxes])
    left, top, right, bottom = edges.T
    width, height = (right - left) * index.width.to_numpy(), (bottom - top) * index.height.to_numpy()
    return {
        "box of the lungs": edges,
        "height of the box": bottom - top,
        "width / height of the box": width / height,
    }


def framing(index: pd.DataFrame, properties: dict[str, np.ndarray]) -> pd.DataFrame:
    """How well each property predicts the class: columns property, films, train, test (AUROCs).

    properties: name -> float (len(index),) or (len(index), k); films where it is NaN are left out. train: gradient
    boosting on patients held out in turn from the train split; test: learned from all of train.
    """
    rows = []
    for name, values in properties.items():
        values = values.reshape(len(index), -1)
        known = np.isfinite(values).all(axis=1)
        train, test = (np.flatnonzero(known & (index.split == split)) for split in ("train", "test"))
        learner = HistGradientBoostingClassifier(max_iter=100, random_state=0)
        aurocs = _aurocs(learner, index, values, train, test)
        rows.append({"property": name, "films": len(train) + len(test)} | aurocs)
    return pd.DataFrame(rows)


# --- the shift from train to test ---


def shift(index: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """How the films of the train and test splits differ, class by class.

    Columns: label, statistic, train, test (means), train_sd, test_sd, effect (difference of means in SDs of train), and
    one row per class, "AUROC of 8 x 8 pixels", whose value in `test` is the AUROC of a classifier of 8 x 8 thumbnails
    that tells test from train films of that class, on patients held out in turn: 0.5 means the same kind of film.
    """
    grey = grey_statistics(images)
    thumbnails = _thumbnails(images)
    rows = []
    for label, name in enumerate(CLASSES):
        train, test = (((index.label == label) & (index.split == s)).to_numpy() for s in ("train", "test"))
        for statistic, values in grey.items():
            a, b = values[train], values[test]
            effect = (b.mean() - a.mean()) / a.std(ddof=1) if a.std(ddof=1) > 0 else np.nan
            row = {"train": a.mean(), "test": b.mean(), "train_sd": a.std(ddof=1), "test_sd": b.std(ddof=1)}
            rows.append({"label": name, "statistic": statistic} | row | {"effect": effect})
        both = train | test
        apart = _out_of_fold(_linear(), thumbnails[both], test[both].astype(int), index.patient.to_numpy()[both])
        auroc = roc_auc_score(test[both], apart)
        rows.append({"label": name, "statistic": "AUROC of 8 x 8 pixels", "train": np.nan, "test": auroc})
    return pd.DataFrame(rows)


def grey_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Per image, in grey levels (0 to 255): mean, contrast (SD) and sharpness (mean step between neighbours)."""
    values = [
        [part.mean(axis=(1, 2)), part.std(axis=(1, 2)), np.abs(np.diff(part, axis=2)).mean(axis=(1, 2))]
        for part in _parts(images)
    ]
    return dict(zip(("mean grey", "contrast", "sharpness"), np.concatenate(values, axis=1), strict=True))
