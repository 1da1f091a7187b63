"""Index and decoded films -> what is wrong with the data: shared patients, copies, shortcuts, the shift to test.

A shortcut is a simple property that predicts the class, most without a lung (mean grey and 8 x 8 pixels hold the lungs
coarsely). Each is scored as a network would be: a small classifier learns it from train and predicts other patients.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import sparse, special
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import radius_neighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from xraylib.data.decode import area_means
from xraylib.data.frames import Box
from xraylib.data.index import CLASSES, FOLDERS, SPLITS

HASH_SIDE = 32  # difference hash of 32 x 32 = 1,024 bits

# Bits of 1,024. Copies of 300 real films, at 0.7 of the size, JPEG quality 50 and 0.9 of the contrast, differ from them
# in 32 bits (median; 59 for the worst in a hundred), films of two patients in at least 171 (median 380).
NEAR = 64
THUMBNAIL = 8  # pixels a side
BORDER = 1 / 16  # of the side: collimator, markers and film edge, hardly any lung


def flow(index: pd.DataFrame, skipped: pd.DataFrame) -> pd.DataFrame:
    """Films and children from the folder to the splits: columns name, parent, n_films, n_children, from the root on."""
    parts = [("read", "image files", index)]
    parts += [(f"{folder} folder", "read", index[index.folder == folder]) for folder in FOLDERS]
    parts += [(split, "train folder", index[index.split == split]) for split in ("train", "tune")]
    rows = [("image files", "", len(index) + len(skipped), index.patient.nunique())]
    rows += [(name, parent, len(part), part.patient.nunique()) for name, parent, part in parts]
    return pd.DataFrame(rows, columns=["name", "parent", "n_films", "n_children"])


def shared_patients(index: pd.DataFrame) -> pd.DataFrame:
    """Patients that two splits share, by both keys: splits, patients (number and subtype), patients_bare_number."""
    table = pd.DataFrame({"splits": [f"{a}, {b}" for a, b in combinations(SPLITS, 2)]})
    for key, column in (("patient", "patients"), ("patient_number", "patients_bare_number")):
        held = [set(index[index.split == split][key]) for split in SPLITS]
        table[column] = [len(a & b) for a, b in combinations(held, 2)]
    return table


def trimmed(index: pd.DataFrame) -> pd.DataFrame:
    """Films whose uniform border was trimmed, so that it can be no framing cue: split, class, films, trimmed, share."""
    rows = index.assign(**{"class": index.label.map(dict(enumerate(CLASSES))), "trimmed": index.trimmed > 0})
    groups = rows.groupby([pd.Categorical(rows.split, SPLITS), "class"], observed=True).trimmed
    table = groups.agg(films="size", trimmed="sum", share="mean")
    return table.rename_axis(["split", "class"]).reset_index()


def copies(index: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Pairs of films that are copies of each other, byte for byte or nearly.

    images: uint8 (len(index), size, size). Columns: first, second (paths), bits (Hamming distance of the difference
    hashes, at most NEAR), identical, same_split, same_class, same_patient.
    """
    # Of bits, the squared Euclidean distance is the Hamming distance.
    graph = radius_neighbors_graph(difference_hash(images).astype(float), (NEAR + 0.5) ** 0.5, mode="distance")
    pairs = sparse.triu(graph, k=1, format="coo")
    first, second = (index.iloc[rows].reset_index(drop=True) for rows in (pairs.row, pairs.col))
    table = pd.DataFrame({"first": first.path, "second": second.path, "bits": np.rint(pairs.data**2).astype(int)})
    same = {"identical": "sha256", "same_split": "split", "same_class": "label", "same_patient": "patient"}
    table = table.assign(**{name: first[column] == second[column] for name, column in same.items()})
    return table.sort_values(["bits", "first", "second"], ignore_index=True)


def count_copies(table: pd.DataFrame) -> pd.DataFrame:
    """`copies` counted: rows identical and near; columns pairs, of two patients, of two splits, of two classes."""
    other = ~table[["same_patient", "same_split", "same_class"]].astype(bool)
    counts = other.assign(pairs=True).groupby(np.where(table.identical, "identical", "near")).sum().astype(int)
    counts.columns = ["of two patients", "of two splits", "of two classes", "pairs"]
    counts = counts.reindex(["identical", "near"], fill_value=0).rename_axis("copies")
    return counts[["pairs", "of two patients", "of two splits", "of two classes"]]


def difference_hash(images: np.ndarray) -> np.ndarray:
    """Whether brightness rises from each of 32 x 33 cells to its right neighbour: bool (n, 1024).

    It sees where things are and not how bright, sharp or large the file is (Krawetz 2013, "Kind of like that").
    """
    means = _cell_means(images, HASH_SIDE, HASH_SIDE + 1)
    return (means[:, :, 1:] > means[:, :, :-1]).reshape(len(images), -1)


def _cell_means(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Mean grey of rows x columns equal cells of each image: float32 (n, rows, columns)."""
    down, across = (area_means(images.shape[1], cells).astype(np.float32) for cells in (rows, columns))
    return _in_parts(lambda part: down @ part @ across.T, images)


# Threads of OpenBLAS and OpenMP spin while they wait for each other: on busy cores small work takes 30 times as long.
_on_one_thread = threadpool_limits.wrap(limits=1)


@_on_one_thread
def _in_parts(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """The function of the images as float32, computed for 2,048 at a time."""
    return np.concatenate([function(images[i : i + 2048].astype(np.float32)) for i in range(0, len(images), 2048)])


def shortcuts(index: pd.DataFrame, images: np.ndarray, marker: pd.Series) -> pd.DataFrame:
    """How well simple properties of a film predict the class. marker: the side marker of each film (stations.table).

    Columns: property, train (AUROC on patients held out in turn from the train split), test (AUROC on test of the model
    learned from the train split), note. Where a property has one value everywhere, AUROCs are NaN and the note
    says so.
    """
    train, test = (np.flatnonzero(index.split == split) for split in ("train", "test"))
    grey = _in_parts(lambda part: part.mean(axis=(1, 2), dtype=np.float64), images)
    columns = _file_properties(index).assign(**{"colour mode": index["mode"], "mean grey": grey})
    # A tree learns any dependence on one number, as up to ten steps.
    tree = DecisionTreeClassifier(max_leaf_nodes=10, min_samples_leaf=0.01, class_weight="balanced", random_state=0)
    properties = {str(name): (column.to_numpy(), tree) for name, column in columns.items()}
    properties["side marker"] = marker.to_numpy(object), tree
    properties["border of the film"] = _border(images), _linear()
    properties["8 x 8 pixels of the film"] = _thumbnails(images), _linear()
    rows = []
    for name, (values, learner) in properties.items():
        row = {"property": name, "train": np.nan, "test": np.nan, "note": ""}
        if (values[train] == values[train[0]]).all():
            row["note"] = f"all {len(train):,} train films alike: {values[train[0]]}"
        else:
            numbers = pd.factorize(values)[0] if values.dtype == object else values
            row |= _aurocs(learner, index, numbers, train, test)
        rows.append(row)
    return pd.DataFrame(rows)


def _file_properties(index: pd.DataFrame) -> pd.DataFrame:
    columns = {
        "width": index.width,
        "height": index.height,
        "aspect ratio": (index.width / index.height).round(3),
        "bytes per pixel": (index.bytes / (index.width * index.height)).round(5),
        "JPEG quality": index.quality,
    }
    return pd.DataFrame(columns)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    return _cell_means(images, THUMBNAIL, THUMBNAIL).reshape(len(images), -1)


def _border(images: np.ndarray) -> np.ndarray:
    """Means of eight pieces of each of the four margins: float32 (n, 32)."""
    wide = max(1, round(images.shape[1] * BORDER))
    pieces = area_means(images.shape[1], 8).astype(np.float32)

    def margins(part: np.ndarray) -> np.ndarray:
        sides = (part[:, :wide].mean(1), part[:, -wide:].mean(1), part[:, :, :wide].mean(2), part[:, :, -wide:].mean(2))
        return np.concatenate([side @ pieces.T for side in sides], axis=1)

    return _in_parts(margins, images)


def _linear():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))


def _out_of_fold(learner, values: np.ndarray, label: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """The probability of label 1 of each row, by a learner that met no film of its patient."""
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(learner, values, label, groups=patient, cv=folds, method="predict_proba")[:, 1]


def _aurocs(learner, index: pd.DataFrame, values: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """AUROC on the rows `train`, their patients held out in turn, and on the rows `test`, learned from `train`."""
    values, label, patient = values.reshape(len(index), -1), index.label.to_numpy(), index.patient.to_numpy()
    held_out = _out_of_fold(learner, values[train], label[train], patient[train])
    on_test = learner.fit(values[train], label[train]).predict_proba(values[test])[:, 1]
    return {"train": roc_auc_score(label[train], held_out), "test": roc_auc_score(label[test], on_test)}


def baselines(index: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """What a network must beat, as a predictions table: "majority", "metadata" and "thumbnail", learned from train.

    majority calls every film PNEUMONIA; metadata knows the file alone (sizes, bytes, quality, mode); thumbnail is a
    logistic regression on 8 x 8 pixels (of the frames that notebook 02 hands over).
    """
    train = (index.split == "train").to_numpy()
    of_file = _file_properties(index).assign(grey=index["mode"] == "L").to_numpy(float)
    forest = RandomForestClassifier(200, min_samples_leaf=5, class_weight="balanced", random_state=0)
    columns = ["path", "folder", "split", "label", "subtype", "patient"]
    probabilities = {"majority": np.ones(len(index))}
    for name, values, learner in (("metadata", of_file, forest), ("thumbnail", _thumbnails(images), _linear())):
        probabilities[name] = learner.fit(values[train], index.label[train]).predict_proba(values)[:, 1]
    logits = {name: special.logit(np.clip(p, 1e-7, 1 - 1e-7)) for name, p in probabilities.items()}  # finite at 0 and 1
    table = pd.concat([index[columns].assign(network=name, seed=0, logit=x) for name, x in logits.items()])
    return table[["network", "seed", *columns, "logit"]].reset_index(drop=True)


def box_properties(boxes: Sequence[Box | None] | np.ndarray, index: pd.DataFrame) -> dict[str, np.ndarray]:
    """What the box of the lungs in the film says without the lungs, for `framing`: name -> float (n,) or (n, 4).

    boxes: for each row of the index left, top, right, bottom in shares of the film; None or NaN where unknown.
    """
    edges = np.array([(np.nan,) * 4 if box is None else box for box in boxes])
    left, top, right, bottom = edges.T
    ratio = (right - left) * index.width.to_numpy() / ((bottom - top) * index.height.to_numpy())
    return {"box of the lungs": edges, "height of the box": bottom - top, "width / height of the box": ratio}


@_on_one_thread
def framing(index: pd.DataFrame, properties: dict[str, np.ndarray]) -> pd.DataFrame:
    """How well each property predicts the class: columns property, films, train, test (AUROCs).

    properties: name -> float (len(index),) or (len(index), k); films where it is NaN are left out. train: gradient
    boosting on patients held out in turn from the train split; test: learned from all of train.
    """
    rows = []
    for name, values in properties.items():
        known = np.isfinite(values.reshape(len(index), -1)).all(axis=1)
        train, test = (np.flatnonzero(known & (index.split == split)) for split in ("train", "test"))
        learner = HistGradientBoostingClassifier(max_iter=100, random_state=0)
        aurocs = _aurocs(learner, index, values, train, test)
        rows.append({"property": name, "films": len(train) + len(test)} | aurocs)
    return pd.DataFrame(rows)


def shift(index: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """How the films of the train and test splits differ, class by class.

    Columns: label, statistic, train, test (means), train_sd, test_sd, effect (difference of means in SDs of train), and
    one row per class, "AUROC, 8 x 8 of the film", whose value in `test` is that of a classifier of 8 x 8 pixels that
    tells test from train films of that class, on patients held out in turn: 0.5 means the same kind of film.
    """
    grey, thumbnails, rows = grey_statistics(images), _thumbnails(images), []
    for label, name in enumerate(CLASSES):
        train, test = (((index.label == label) & (index.split == s)).to_numpy() for s in ("train", "test"))
        for statistic, values in grey.items():
            a, b = values[train], values[test]
            effect = (b.mean() - a.mean()) / a.std(ddof=1) if a.std(ddof=1) > 0 else np.nan
            row = {"train": a.mean(), "test": b.mean(), "train_sd": a.std(ddof=1), "test_sd": b.std(ddof=1)}
            rows.append({"label": name, "statistic": statistic} | row | {"effect": effect})
        both = train | test
        predicted = _out_of_fold(_linear(), thumbnails[both], test[both].astype(int), index.patient.to_numpy()[both])
        auroc = roc_auc_score(test[both], predicted)
        rows.append({"label": name, "statistic": "AUROC, 8 x 8 of the film", "train": np.nan, "test": auroc})
    return pd.DataFrame(rows)


def grey_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Per image, in grey levels (0 to 255): mean, contrast (SD) and sharpness (mean step between neighbours)."""
    statistics = {
        "mean grey": lambda part: part.mean(axis=(1, 2)),
        "contrast": lambda part: part.std(axis=(1, 2)),
        "sharpness": lambda part: np.abs(np.diff(part, axis=2)).mean(axis=(1, 2)),
    }
    return {name: _in_parts(function, images) for name, function in statistics.items()}
