"""The marker of the X-ray station on each film, found by matching drawn letters.

Settled on films of train and on a first check by eye, which held films of test and val too. stations_check.csv is a
second check, blind and after the last change; normal films of RANGES, with a large R or with A-P were in both. Weighted
to all films, marker and eye agree on 86 %. About 95 % or more are right: small bold R of normal films, large R and thin
R of pneumonia. Mostly wrong: A-P and thin R of normal films. About half of "none found" show a letter by eye.
Station goes with age, date and referral: a marker is associated with a class.
"""

from collections import namedtuple
from functools import cache
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy import fft

MARKERS = ("large R", "small bold R", "A-P", "thin R", "none found")
RANGES = ((171, 275), (705, 772), (1356, 1426), (1427, 1442))  # of NORMAL2-IM-: by eye, half show the large R
RARE = "small bold R"  # rare on films with pneumonia, on most normal ones; those of RANGES come from other stations
COLUMNS, MARGIN, RIM = 112, 8, 2  # pixels: markers stand in the left half; added around a film; around a letter
REACH = np.array([40, 32])  # rows and columns around the best of FEW letters, where all are tried
FIRST_NOISE, NOISE = 20, 6  # grey levels: what has less contrast scores low, ribs for one
SANS, BOLD, SERIF = "DejaVuSans", "DejaVuSans-Bold", "STIXGeneral"  # matplotlib brings these fonts

# Heights and widths in pixels, rows cut off by the film's upper edge, range of height / width: the copy squashes films.
Letter = namedtuple("Letter", "text font height width cut")
SIZES = (
    ("R", BOLD, range(7, 15), range(4, 11), (0,), (1.0, 2.1)),
    ("R", SANS, range(10, 15), range(5, 10), (0,), (1.4, 2.2)),
    ("R", SANS, range(15, 23), range(9, 17), (0,), (1.3, 2.0)),
    ("R", SANS, range(12, 23, 2), range(6, 15), (1, 2, 4, 6, 9), (1.5, 2.2)),
    ("R", SERIF, range(16, 25, 2), range(6, 15), (0,), (1.6, 2.6)),
    ("–P", SERIF, (12, 15, 18), (9, 12, 15, 18), (0, 4, 7), (0.5, 2.6)),
    ("A-P", BOLD, (8, 10, 12), (11, 13, 16), (0,), (0.5, 2.6)),
)
ALL = [Letter(t, f, h, w, c) for t, f, *sizes, (a, b) in SIZES for h, w, c in product(*sizes) if a <= h / w <= b]
FEW = [Letter("R", BOLD, h, w, 0) for h, w in ((7, 5), (10, 8), (10, 6))]
FEW += [Letter("R", SANS, h, w, 0) for h, w in ((13, 8), (16, 9), (20, 12))]
FEW += [Letter("R", SANS, h, w, c) for h, w, c in ((13, 8, 5), (18, 11, 7), (22, 13, 1))]
FEW += [Letter("R", SERIF, 17, 9, 0), Letter("–P", SERIF, 15, 15, 7), Letter("A-P", BOLD, 9, 15, 0)]


@cache
def draw(letter: Letter) -> np.ndarray:
    """The letter, 255 on 0, with a rim, float32; rows that are cut repeat the row below, as where a film is padded."""
    image = Image.new("L", (400, 300))
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf", letter.font + ".ttf")), 160)
    ImageDraw.Draw(image).text((50, 50), letter.text, 255, font=font)
    small = image.crop(image.getbbox()).resize((letter.width, letter.height), Image.Resampling.BOX)
    grey = np.pad(np.asarray(small, np.float32), RIM)
    if letter.cut:
        grey[: RIM + letter.cut] = grey[RIM + letter.cut]
    return grey


def match(images: np.ndarray, letters: list[Letter], edge: np.ndarray, noise: float) -> np.ndarray:
    """Each letter's best place in each image, float (images, letters, 4): score, contrast, row, column of the centre.

    images: float32 (n, h, w); edge: the row where each film begins, where alone a cut letter may stand.
    Score: normalised cross-correlation. Contrast: slope of the image's grey levels on the letter's, times 255.
    """
    shape, n, found = images.shape[1:], np.arange(len(images)), []
    spectrum = fft.rfft2(images)
    sums = [np.pad(x.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0))) for x in (images.astype(float), images**2.0)]
    for letter in letters:
        drawn = draw(letter) - draw(letter).mean()
        (h, w), norm = drawn.shape, np.linalg.norm(drawn)
        total, square = (s[:, h:, w:] - s[:, :-h, w:] - s[:, h:, :-w] + s[:, :-h, :-w] for s in sums)
        variance = np.maximum(square - total**2 / (h * w), 0) + h * w * noise**2
        covariance = fft.irfft2(spectrum * fft.rfft2(drawn / norm, shape).conj(), shape)[:, : 1 - h, : 1 - w]
        score = covariance * (1 / np.sqrt(variance)).astype(np.float32)
        if letter.cut:
            score[np.abs(np.arange(score.shape[1]) + RIM + letter.cut - edge[:, None]) > 1] = -1
        row, column = np.unravel_index(score.reshape(len(n), -1).argmax(axis=1), score.shape[1:])
        found.append((score[n, row, column], covariance[n, row, column] / norm * 255, row + h / 2, column + w / 2))
    return np.moveaxis(np.array(found), 2, 0)


def name(letter: Letter, score: float, contrast: float, row: float, column: float) -> str:
    """The marker of a match: a small R is bold where it is wide, low and white, and stands at the edge under "A-P"."""
    if score < (0.7 if letter.cut else 0.6) or contrast < 40 or score + contrast / 300 < 0.84:
        return "none found"
    cut = letter.cut or row < letter.height / 2 - 0.5
    if letter.text != "R" or (letter.font == SERIF and not cut) or (letter.cut and 17 < column < 36 and contrast < 130):
        return "A-P"
    if cut or (letter.height > 13 and letter.width > 8):
        return "small bold R" if cut and column > 17 else "large R"
    bold = letter.width - letter.height / 4 + contrast / 40
    if column < 7 and 12 < row < 40 and bold < 6:
        return "A-P"
    return "small bold R" if bold > (5.7 if row > 30 else 6.8) else "thin R"  # white stands out less from the body


def find(films: np.ndarray) -> pd.DataFrame:
    """A row a film, uint8 (n, 224, 224): marker, the text that fits best, its score, row and column of its centre."""
    padded = np.pad(films[:, :, :COLUMNS], ((0, 0), (MARGIN, MARGIN), (MARGIN, 0)), mode="edge").astype(np.float32)
    few = match(padded, FEW, np.full(len(films), MARGIN), FIRST_NOISE)
    centre = np.array([places[places[:, 0].argmax(), 2:] for places in few]).round().astype(int)
    corner = np.clip(centre - REACH // 2, 0, np.array(padded.shape[1:]) - REACH)
    near = np.stack([film[y : y + REACH[0], x : x + REACH[1]] for film, (y, x) in zip(padded, corner, strict=True)])
    places = match(near, ALL, MARGIN - corner[:, 0], NOISE)
    places[:, :, 2:] += corner[:, None] - MARGIN
    best = [(ALL[k], *place[k]) for k, place in zip(places[:, :, 0].argmax(axis=1), places, strict=True)]
    rows = [(name(*place), place[0].text, place[1], *place[3:]) for place in best]
    found = pd.DataFrame(rows, columns=["marker", "text", "score", "row", "column"])
    return found.round({"score": 2, "row": 0, "column": 0}).astype({"row": int, "column": int})


def table(index: pd.DataFrame, films: np.ndarray) -> pd.DataFrame:
    """A row a film of the index, stations.csv: path, range of file numbers (post hoc; empty outside), `find`'s row."""
    found = pd.concat([find(films[start : start + 64]) for start in range(0, len(films), 64)], ignore_index=True)
    found.insert(0, "path", index.path.to_numpy())
    number = found.path.str.extract(r"NORMAL2-IM-(\d+)-", expand=False).astype(float)
    found.insert(1, "ranges", [next((f"{a:04}-{b:04}" for a, b in RANGES if a <= n <= b), "") for n in number])
    return found


def partners(index: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The index with marker, ranges and partner, bool: the station is rare in the film's class, so it is mixed in.

    table: stations.csv as read (ranges NaN outside). A film without a row is no partner. Where no file name of
    train lies in RANGES, as with phantoms, the normal films with a large R are taken.
    """
    found = index.merge(table[["path", "marker", "ranges"]], "left", "path", validate="1:1")
    ranges = found.ranges.notna()
    other = ranges if ranges[found.split == "train"].any() else found.marker == "large R"
    return found.assign(partner=np.where(found.label == 1, found.marker == RARE, other))
