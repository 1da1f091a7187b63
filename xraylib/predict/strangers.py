"""Images that are no frontal films of children, of every kind at hand, to see whether xraylib.foreign tells them apart.

Real ones come with packages (photographs with scikit-image and scikit-learn, DICOM samples with pydicom), turned ones
are made of the study's own films, drawn ones of phantoms.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import skimage
from PIL import Image
from pydicom.data import get_testdata_file
from sklearn.datasets import load_sample_images

from xraylib.config import Config
from xraylib.data import phantom
from xraylib.data.decode import colour, decode, shrink
from xraylib.data.dicom import read
from xraylib.evaluation import metrics
from xraylib.files import UserError
from xraylib.predict.outliers import COLOUR, Familiar

PARTS = 6  # the whole picture and five parts of it: more images, yet no more pictures
DRAWN = 40  # phantoms of each view

_SHIPPED = Path(skimage.__file__).parent / "data"
_COLOURED = ("astronaut", "chelsea", "coffee", "color", "ihc", "motorcycle_left", "motorcycle_right")
_GREY = ("brick", "camera", "cell", "coins", "grass", "gravel", "microaneurysms", "moon", "page", "text")
_DICOM = {
    "CT slices": ("CT_small", "693_J2KI", "J2K_pixelrep_mismatch", "explicit_VR-UN", "bad_sequence"),
    "MR slices": ("MR_small", "examples_overlay", "MR2_UNCR"),
    "ultrasound": ("examples_rgb_color", "examples_palette", "color-px", "OBXXXX1A"),
    "adult's chest film": ("RG1_UNCR",),
    "film of a leg": ("RG3_UNCR",),
}


@dataclass(frozen=True)
class Kind:
    """Images of a kind, uint8 (n, size, size), what picture or patient each shows, and whether its file tells."""

    source: str
    images: np.ndarray
    of: np.ndarray  # str (n,)
    told: np.ndarray  # bool (n,): the file itself tells, by colour or by its DICOM header


def kinds(films: np.ndarray, patients: np.ndarray) -> dict[str, Kind]:
    """Name -> images of that kind; films: uint8 (n, size, size) of the study, patients: whose they are."""
    size = films.shape[1]
    found = turned(films, patients)
    found["colour photographs"] = _pictures("scikit-image, scikit-learn", _coloured(), size)
    found["grey pictures"] = _pictures("scikit-image", [_SHIPPED / f"{name}.png" for name in _GREY], size)
    found |= {name: _samples(names, size) for name, names in _DICOM.items()}
    return found | {
        "phantom, frontal": _drawn(lambda item: phantom.shadow(item)[0], size),
        "phantom, lateral": _drawn(phantom.side_shadow, size),
    }


def turned(films: np.ndarray, patients: np.ndarray) -> dict[str, Kind]:
    """The study's own films, inverted, upside down, and a quarter turned against the clock."""
    changed = {"inverted": 255 - films, "upside down": films[:, ::-1], "a quarter turned": np.rot90(films, axes=(1, 2))}
    untold = np.zeros(len(films), bool)
    return {name: Kind("films of test, changed", images, patients, untold) for name, images in changed.items()}


def _coloured() -> list[Path | Image.Image]:
    photographs = [_SHIPPED / f"{name}.png" for name in _COLOURED]
    photographs += [_SHIPPED / f"{name}.jpg" for name in ("hubble_deep_field", "retina", "rocket")]
    return photographs + [Image.fromarray(picture) for picture in load_sample_images().images]


def _pictures(source: str, pictures: list[Path | Image.Image], size: int) -> Kind:
    """Each picture and parts of it, read back from files, as whoever predicts them would."""
    rng = np.random.default_rng(0)
    images, told = [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        for picture in pictures:
            whole = Image.open(picture) if isinstance(picture, Path) else picture
            for box in [(0, 0, *whole.size), *(_box(whole.size, rng) for _ in range(PARTS - 1))]:
                whole.crop(box).save(file, compress_level=0)
                images.append(decode(file, size))
                told.append(colour(file) > COLOUR)
    return Kind(source, np.stack(images), np.repeat(np.arange(len(pictures)), PARTS).astype(str), np.array(told))


def _box(sides: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    width, height = (int(rng.uniform(0.4, 0.8) * side) for side in sides)
    left, top = int(rng.integers(sides[0] - width + 1)), int(rng.integers(sides[1] - height + 1))
    return left, top, left + width, top + height


def _samples(names: tuple[str, ...], size: int) -> Kind:
    files = {name: get_testdata_file(f"{name}.dcm", download=False) for name in names}
    if missing := [name for name, file in files.items() if file is None]:
        raise UserError(f"pydicom's samples: no {', '.join(missing)}. Wanted pydicom-data: make test installs it.")
    images, oddities = zip(*(read(Path(str(file)), size) for file in files.values()), strict=True)
    return Kind("pydicom", np.stack(images), np.array(names), np.array([bool(said) for said in oddities]))


def _drawn(shadow: Callable[[phantom.Item], np.ndarray], size: int) -> Kind:
    seed = 1  # not that of the phantoms which a run without images learns from
    items = phantom.plan(DRAWN + 16, seed)[-DRAWN:]
    films = [phantom.expose(shadow(item), item, seed).convert("L") for item in items]
    images = [shrink(film, size) for film in films]
    of = np.array([str(item.patient) for item in items])
    return Kind("xraylib.phantom", np.stack(images), of, np.zeros(len(items), bool))


def table(familiar: Familiar, films: np.ndarray, patients: np.ndarray, config: Config) -> pd.DataFrame:
    """A row per kind: how well foreignness tells it from the study's films (of test, say), and how often it is flagged.

    kind, source, images, pictures (or patients), auroc with lower and upper (95 % interval over pictures and patients;
    none for fewer than ten), flagged_by_score, flagged (by score or by what the file says): shares of the images.
    """
    usual = familiar.foreignness(films)
    usual_rows = pd.DataFrame({"label": 0, "score": usual, "patient": patients})
    share = float((usual > 1).mean())
    rows = [_row("films of test: false alarms", "the study", usual_rows, np.nan, (np.nan,) * 2, share, share)]
    for name, kind in kinds(films, patients).items():
        score = familiar.foreignness(kind.images)
        of_kind = pd.DataFrame({"label": 1, "score": score, "patient": kind.of})
        if kind.of is not patients:  # a turned film is the same child's; a picture is nobody's
            of_kind["patient"] = name + of_kind.patient
        auroc, interval = _auroc(pd.concat([usual_rows, of_kind], ignore_index=True), config)
        if of_kind.patient.nunique() < 10:
            interval = (np.nan, np.nan)
        by_score = score > 1
        flagged = float(by_score.mean()), float((by_score | kind.told).mean())
        rows.append(_row(name, kind.source, of_kind, auroc, interval, *flagged))
    return pd.DataFrame(rows)


def _row(name, source, images: pd.DataFrame, auroc, interval, by_score, flagged) -> dict:
    counts = {"kind": name, "source": source, "images": len(images), "pictures": images.patient.nunique()}
    lower, upper = interval
    return counts | {
        "auroc": auroc,
        "lower": lower,
        "upper": upper,
        "flagged_by_score": by_score,
        "flagged": flagged,
    }


def _auroc(rows: pd.DataFrame, config: Config) -> tuple[float, tuple[float, float]]:
    statistic = metrics.auroc(rows.label, rows.score / (1 + rows.score))  # keeps the order, and lies in 0 to 1
    intervals = metrics.patient_bootstrap(rows, statistic, config.bootstrap_resamples, config.split_seed)
    return float(statistic(np.ones((1, len(rows))))["auroc"][0]), intervals["auroc"]
