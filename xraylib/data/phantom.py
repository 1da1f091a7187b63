"""Phantoms: synthetic children's chest radiographs with lesions at known places, in the layout of the Kaggle archive.

A radiograph is the shadow of a body: along each ray the attenuation adds up, path length (cm) times attenuation
coefficient (1/cm). Every organ is an ellipsoid or a tube, whose path lengths have closed forms. Bodies of NORMAL and
PNEUMONIA differ by the lesion alone; pose, exposure, size and encoding are drawn independently of the class. The letter
of the X-ray station is associated with the class, strongly in train and weakly in val and test: the shortcut of the
patients' films (xraylib.data.stations), to be found here too.
"""

import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, zoom
from tqdm import tqdm

from xraylib.data.stations import BOLD, SANS, Letter
from xraylib.data.stations import draw as draw_letter
from xraylib.files import UNFINISHED, UserError, alone, writing

GRID = 224  # pixels a side of the computed shadow
FIELD = 22.0  # cm a side: the thorax of a child of about three years, with shoulders and upper abdomen

# Linear attenuation at 60 keV, 1/cm: NIST XCOM mass coefficients times density.
SOFT_TISSUE = 0.21
LUNG = 0.06  # inflated, a quarter of the density of soft tissue
BONE = 0.55  # cortical
CANCELLOUS = 0.32  # vertebral bodies: marrow between thin plates of bone

AIR = 2.0  # cm of lung along a ray that make it part of the lung fields; behind the heart there is less

SEED = 0
FILMS = 480
KINDS = ("chest_xray", "masks", "lungs")  # the folders: films, where their lesions are, where their lungs are
MARKER = "PHANTOMS.txt"
NOTICE = "Synthetic phantoms drawn by xraylib.data.phantom: no patients, and no evidence about any.\n"

# Of a film at 224 pixels: the font of the letter R, its heights, height / width, and rows of its centre.
LETTERS = {"small bold R": (BOLD, (10, 12), 1.1, (60, 120)), "large R": (SANS, (17, 20), 1.2, (16, 40))}
# In train or not, normal or not: share of children with a small bold R (as of patients' films), and with a large one.
STATIONS = {
    (True, True): (0.9, 0.05),
    (True, False): (0.13, 0.7),
    (False, True): (0.48, 0.25),
    (False, False): (0.11, 0.6),
}


class Item(NamedTuple):
    """One film to be drawn: where it goes, and the numbers that seed its anatomy and its exposure."""

    path: str
    subtype: str
    patient: int
    image: int


def plan(images: int) -> list[Item]:
    """The films to draw, in the proportions of the archive (but with a val folder of 8 + 8, as it has)."""
    rng, items, patient = np.random.default_rng(SEED), list[Item](), 0
    test = round((images - 16) / 4)
    wanted = {("val", "normal"): 8, ("val", "bacteria"): 8}
    for folder, n, normal, virus in (("train", images - 16 - test, 0.26, 0.26), ("test", test, 234 / 624, 148 / 624)):
        counts = {"normal": round(normal * n), "bacteria": 0, "virus": round(virus * n)}
        counts["bacteria"] = n - sum(counts.values())
        wanted |= {(folder, subtype): count for subtype, count in counts.items()}
    for (folder, subtype), left in wanted.items():
        while left > 0:
            patient += 1
            films = min(left, int(rng.choice([1, 2, 3], p=[0.75, 0.2, 0.05])))
            for film in range(films):
                name = _name(subtype, patient, film, len(items))
                items.append(Item(f"{folder}/{name}", subtype, patient, len(items)))
            left -= films
    return items


def _name(subtype: str, patient: int, film: int, image: int) -> str:
    if subtype == "normal":
        series = "NORMAL2-" if patient % 2 else ""  # two series, as in the archive
        return f"NORMAL/{series}IM-{patient:04d}-0001{f'-{film:04d}' if film else ''}.jpeg"
    return f"PNEUMONIA/person{patient}_{subtype}_{image}.jpeg"


def _ellipsoid(x, y, centre, radii, angle: float = 0.0) -> np.ndarray:
    """Chord of each ray through an ellipsoid; radii: half axes across, down and along the ray."""
    dx, dy = x - centre[0], y - centre[1]
    c, s = np.cos(angle), np.sin(angle)
    inside = 1 - ((c * dx + s * dy) / radii[0]) ** 2 - ((c * dy - s * dx) / radii[1]) ** 2
    return 2 * radii[2] * np.sqrt(np.maximum(inside, 0))


def _tube(distance, radius: float, hollow: float = 0.0) -> np.ndarray:
    """Chord through a cylinder across the ray; hollow: share of the radius that is empty, which brightens the edges."""
    outer = np.sqrt(np.maximum(radius**2 - distance**2, 0))
    return 2 * (outer - np.sqrt(np.maximum((hollow * radius) ** 2 - distance**2, 0)))


def _segment(x, y, start, end) -> np.ndarray:
    """Distance of each ray from the line segment between two points."""
    (ax, ay), (bx, by) = start, end
    length = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-6)
    t = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
    return np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))


def _window(x, y, start, end, margin: float) -> tuple[slice, slice]:
    """The part of the grid near a segment; what a thin tube adds elsewhere is nothing, and costs as much."""
    middle = len(x) // 2
    margin += 0.12 * FIELD / 2  # the grid is turned a little
    rows = np.searchsorted(y[:, middle], (min(start[1], end[1]) - margin, max(start[1], end[1]) + margin))
    columns = np.searchsorted(x[middle], (min(start[0], end[0]) - margin, max(start[0], end[0]) + margin))
    return slice(*rows), slice(*columns)


def _soft_step(value, width: float) -> np.ndarray:
    """0 below, 1 above, over about `width` cm."""
    return 1 / (1 + np.exp(-np.clip(4 * value / width, -40, 40)))


def _clouds(rng: np.random.Generator, coarse: int) -> np.ndarray:
    """Smooth noise (GRID, GRID) of mean 0 and SD 1, with blobs of about GRID / coarse pixels."""
    small = rng.standard_normal((coarse + 3, coarse + 3))
    return zoom(small, GRID / coarse, order=3)[:GRID, :GRID].astype(np.float32)


class Child(NamedTuple):
    """One child's proportions, factors about 1; the number seeds what varies more finely."""

    number: int
    width: float
    height: float
    heart: float
    vessels: float
    fat: float


def _child(patient: int) -> Child:
    rng = np.random.default_rng([SEED, patient])
    return Child(patient, *rng.uniform([0.92, 0.92, 0.85, 0.5, 0.8], [1.08, 1.08, 1.2, 1.3, 1.25]))


def _lungs(x, y, child: Child) -> tuple[np.ndarray, np.ndarray]:
    """Air-filled paths (cm) of the lung at the image's left and at its right, cut by domes, heart and mediastinum."""
    heart = _ellipsoid(x, y, (1.3, 3.0), (3.7 * child.heart, 3.6 * child.heart, 3.5), 0.5)
    middle = 1.5 + 0.35 * np.cos(y * 0.8)  # mediastinum: spine, great vessels, thymus
    paths = []
    for side, dome in ((-1, 5.6), (1, 6.3)):  # the liver lifts the dome at the image's left
        shape = _ellipsoid(x, y, (side * 4.1 * child.width, 1.3), (3.9 * child.width, 9.2 * child.height, 5.2))
        below = dome * child.height + 0.14 * (x - side * 3.6) ** 2 - y  # positive above the dome
        path = shape * _soft_step(below, 0.5) * _soft_step(side * x - middle, 0.7)
        paths.append(np.maximum(path - heart, 0.16 * path) if side > 0 else np.maximum(path - 0.8 * heart, 0.16 * path))
    return paths[0], paths[1]


def _ribs(x, y, child: Child) -> np.ndarray:
    """Bone paths (cm) of posterior ribs, which fall outwards, and anterior ribs, which fall inwards and fade."""
    u = np.minimum(np.abs(x) / (8.2 * child.width), 1)
    inside = (u < 1.0) & (u > 0.12)
    bone = np.zeros_like(x)
    outwards, bent, inwards = u**2.2, u**1.2, (1 - u) ** 1.3
    fade = 0.75 * inside * np.clip((u - 0.3) * 2.2, 0, 1)  # cartilage towards the breastbone casts no shadow
    for k in range(10):
        start = (-7.3 + 1.42 * k) * child.height
        slope = 1.0 + 0.13 * k
        posterior = start - 1.1 * u * (1 - u) + slope * 1.9 * outwards
        tilt = np.sqrt(1 + (slope * 4.2 * bent / 8.2) ** 2)
        bone += inside * _tube((y - posterior) / tilt, 0.31, 0.72)
        if 0 < k < 8:
            anterior = start + 2.4 + 2.8 * inwards + 0.4 * k * (1 - u)
            bone += fade * _tube((y - anterior) / 1.12, 0.36, 0.75)
    return bone


def _skeleton(x, y, child: Child) -> tuple[np.ndarray, np.ndarray]:
    """Paths (cm) of cortical bone (ribs, clavicles, upper arms, shoulder blades) and of cancellous bone (spine)."""
    bone = 1.25 * _ribs(x, y, child)
    for side in (-1, 1):
        joint, bend, tip = (side * 1.0, -6.9), (side * 4.0, -7.6), (side * 7.6 * child.width, -8.4)
        distance = np.minimum(_segment(x, y, joint, bend), _segment(x, y, bend, tip))
        bone += 0.8 * _tube(distance, 0.38, 0.6)
        bone += 0.9 * _tube(_segment(x, y, (side * 9.1, -7.6), (side * 10.4, 2)), 0.62, 0.7)
        blade = _segment(x, y, (side * 7.7 * child.width, -7.0), (side * 6.7 * child.width, -1.6))
        bone += 0.12 * _tube(blade, 1.3, 0.9)
    column = _soft_step(1.05 - np.abs(x), 0.25) * 1.5
    discs = 0.72 + 0.28 * np.tanh(3 * np.cos(2 * np.pi * y / (1.42 * child.height)) + 1.5)
    pedicles = sum(_ellipsoid(x, (y + 0.3) % 1.42 - 0.7, (s * 0.75, 0), (0.2, 0.3, 0.35)) for s in (-1, 1))
    return bone + 0.5 * pedicles, column * discs


def _vessels(x, y, child: Child) -> np.ndarray:
    """Soft-tissue paths (cm) of the vessels that branch from both hila into the lungs."""
    rng = np.random.default_rng([SEED, child.number, 1])
    path = np.zeros_like(x)
    for side in (-1, 1):
        trunks = [((side * 2.2, 0.2), a, 0.34) for a in rng.normal([-1.1, -0.35, 0.35, 0.95, 1.35], 0.12)]
        while trunks:
            (px, py), angle, radius = trunks.pop()
            length = rng.uniform(5.0, 8.0) * radius**0.55
            end = (px + side * length * np.cos(angle), py + length * np.sin(angle))
            near = _window(x, y, (px, py), end, radius)
            path[near] += _tube(_segment(x[near], y[near], (px, py), end), radius)
            if radius > 0.13:
                trunks += [(end, angle + turn, radius * 0.62) for turn in rng.normal([-0.35, 0.35], 0.12)]
    return path * child.vessels


def _bacterial(x, y, lungs, rng: np.random.Generator) -> np.ndarray:
    """Share of the air replaced, 0 to 1: one dense, bounded consolidation in one lobe, with air in its bronchi."""
    side = int(rng.integers(2))
    sign = (-1, 1)[side]
    top = rng.random() < 0.4
    centre = (sign * rng.uniform(3.2, 5.4), rng.uniform(-4.5, -2.0) if top else rng.uniform(0.8, 4.2))
    radii = rng.uniform([1.9, 1.7], [3.3, 2.9])
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    share = _soft_step(1 - distance + 0.16 * _clouds(rng, 14), rng.uniform(0.5, 1.0)) * rng.uniform(0.4, 0.75)
    fissure = centre[1] + rng.uniform(0.9, 1.6) * (1 if top else -1) + rng.uniform(-0.25, 0.25) * (x - centre[0])
    share = share * _soft_step((fissure - y) if top else (y - fissure), 0.6)  # a lobe ends at its fissure
    share = share * np.clip(0.9 + 0.12 * _clouds(rng, 40), 0.5, 1.2)
    for angle in rng.uniform(-1.2, 1.2, 3):
        start = (centre[0] - sign, centre[1])
        end = (centre[0] + sign * 2 * np.cos(angle), centre[1] + 2 * np.sin(angle))
        share = share * (1 - 0.3 * np.exp(-((_segment(x, y, start, end) / 0.13) ** 2)))
    return share * (lungs[side] > 0)


def _viral(x, y, lungs, rng: np.random.Generator) -> np.ndarray:
    """Share of the air replaced, 0 to 1: haze about both hila, uneven, with streaks along the bronchi."""
    share = np.zeros_like(x)
    strength = rng.uniform(0.22, 0.42)
    for sign in (-1, 1):
        hilum = np.exp(-(((x - sign * 3.4) / 3.1) ** 2) - ((y - rng.uniform(0.0, 1.6)) / 4.2) ** 2)
        share += strength * hilum * np.clip(0.8 + 0.4 * _clouds(rng, 20) + 0.3 * _clouds(rng, 48), 0, 2)
        for angle in rng.uniform(-1.4, 1.4, 14):
            length, reach = rng.uniform(1.0, 2.6), rng.uniform(0.4, 2.6)
            start = (sign * (2.0 + reach * np.cos(angle)), 0.5 + reach * np.sin(angle))
            turned = angle + rng.normal(0, 0.35)
            end = (start[0] + sign * length * np.cos(turned), start[1] + length * np.sin(turned))
            near = _window(x, y, start, end, 0.4)
            share[near] += 0.13 * np.exp(-((_segment(x[near], y[near], start, end) / 0.13) ** 2))
    return np.clip(share, 0, 0.8) * ((lungs[0] > 0) | (lungs[1] > 0))


def lung_fields(item: Item) -> np.ndarray:
    """Where the rays meet more than AIR cm of lung, diseased or not: bool (GRID, GRID), without heart and domes."""
    x, y = _rays(np.random.default_rng([SEED, item.image, 3]))
    left, right = _lungs(x, y, _child(item.patient))
    return left + right > AIR


def shadow(item: Item) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation along each ray, float (GRID, GRID), and the mask of the lesion, bool (all False without one)."""
    child = _child(item.patient)
    rng = np.random.default_rng([SEED, item.patient, 2])  # the disease is the child's, the pose is the film's
    x, y = _rays(np.random.default_rng([SEED, item.image, 3]))
    lungs = _lungs(x, y, child)
    air = lungs[0] + lungs[1]
    share = np.zeros_like(x)
    if item.subtype != "normal":
        share = (_bacterial if item.subtype == "bacteria" else _viral)(x, y, lungs, rng)
    mask = (share > 0.15) & (air > 1.0)
    air = air * (1 - share)
    vessels = np.minimum(_vessels(x, y, child), air)
    bone, spine = _skeleton(x, y, child)
    body = _body(x, y, child)
    bubble = _ellipsoid(x, y, (4.2, 8.2), (1.6, 0.9, 1.2))  # air in the stomach
    windpipe = _tube(np.where(y < -1.5, np.abs(x - 0.15), 9.0), 0.55)
    inside = body > 0
    return (
        SOFT_TISSUE * np.maximum(body - bubble - windpipe, 0)
        - (SOFT_TISSUE - LUNG) * (air - vessels) * inside
        + (BONE - SOFT_TISSUE) * bone * inside
        + (CANCELLOUS - SOFT_TISSUE) * spine * inside
    ), mask


def _rays(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions (cm) of the rays on a child who lies a little turned, shifted, nearer or farther."""
    step = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID - 0.5
    x, y = np.meshgrid(step * FIELD, step * FIELD)
    angle, scale = rng.normal(0, 0.04), rng.uniform(0.9, 1.06)
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    dx, dy = rng.normal(0, 0.4, 2)
    return (c * x + s * y + dx).astype(np.float32), (c * y - s * x + dy).astype(np.float32)


def _body(x, y, child: Child) -> np.ndarray:
    """Paths (cm) through chest, neck, shoulders and arms."""
    chest = _ellipsoid(x, y, (0, 3.0), (9.6 * child.width * child.fat**0.2, 17, 6.2 * child.fat**0.5))
    neck = _ellipsoid(x, y, (0, -11), (3.2, 6.5, 3.6))
    arms = sum(_ellipsoid(x, y, (s * 9.6, -4.5), (2.1, 8.5, 2.6), s * 0.12) for s in (-1, 1))
    shoulders = sum(_ellipsoid(x, y, (s * 6.4, -8.6), (4.2, 2.8, 3.2), s * 0.25) for s in (-1, 1))
    return np.maximum(np.maximum(chest, neck), np.maximum(arms, shoulders))


def expose(attenuation: np.ndarray, item: Item) -> Image.Image:
    """The film of a shadow: scatter, noise, exposure, collimator and size, blind to the class, and the marker."""
    rng = np.random.default_rng([SEED, item.image, 4])
    primary = np.exp(-attenuation)
    scatter = gaussian_filter(primary, GRID * 0.09) * rng.uniform(0.25, 0.6)
    quanta = rng.uniform(1500, 6000)
    counted = np.maximum(primary + scatter, 1e-3)
    counted = counted + rng.standard_normal(counted.shape) * np.sqrt(counted / quanta)
    film = -np.log(np.maximum(gaussian_filter(counted, rng.uniform(0.35, 0.7)), 1e-3))
    low, high = np.percentile(film, [1, 99.5])
    film = np.clip((film - low) / (high - low), 0, 1) ** rng.uniform(0.8, 1.25)
    film = (film - film.mean()) / film.std() * rng.uniform(48, 66) + rng.uniform(105, 140)
    image = Image.fromarray(np.clip(film, 0, 255).astype(np.uint8))
    height = int(rng.integers(180, 420))
    image = image.resize((int(height * rng.uniform(1.0, 1.5)), height), Image.Resampling.BICUBIC)
    return _furnish(image, LETTERS.get(station_marker(item)), rng)


def station_marker(item: Item) -> str:
    """The child's marker: "small bold R", "large R" or "none found" (none), as stations.find calls them."""
    small, large = STATIONS[item.path.startswith("train/"), item.subtype == "normal"]
    drawn = np.random.default_rng([SEED, item.patient, 6]).random()
    return "small bold R" if drawn < small else "large R" if drawn < small + large else "none found"


def _furnish(image: Image.Image, letter: tuple | None, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    if rng.random() < 0.3:  # the collimator's edge
        border = int(rng.uniform(0.01, 0.04) * width)
        ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=8, width=border)
    if letter:
        font, heights, ratio, rows = letter
        tall = rng.uniform(*heights) / 224 * height
        white = Image.fromarray(draw_letter(Letter("R", font, round(tall), round(tall / ratio), 0)).astype(np.uint8))
        place = rng.uniform(0.05, 0.07) * width, rng.uniform(*rows) / 224 * height
        image.paste(245, (int(place[0] - white.width / 2), int(place[1] - white.height / 2)), white)
    return image


def lesion_mask(root: Path, path: str) -> np.ndarray:
    """Where the lesion of root/path is: bool (height, width); all False for NORMAL."""
    with Image.open((root.parent / "masks" / path).with_suffix(".png")) as image:
        return np.asarray(image) > 127


def _draw_one(item: Item, home: Path) -> None:
    attenuation, lesion = shadow(item)
    film = expose(attenuation, item)
    masks = [Image.fromarray(np.uint8(255) * mask) for mask in (lesion, lung_fields(item))]
    pictures = [film, *(mask.resize(film.size, Image.Resampling.NEAREST) for mask in masks)]
    quality = int(np.random.default_rng([SEED, item.image, 5]).integers(70, 96))
    for kind, suffix, picture in zip(KINDS, (".jpeg", ".png", ".png"), pictures, strict=True):
        file = (home / kind / item.path).with_suffix(suffix)
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, quality=quality, comment=b"synthetic phantom")


def draw(root: Path, images: int = FILMS) -> None:
    """Draw a chest_xray folder at `root`, and masks in root.parent: lesions in masks/, lungs in lungs/; all or nothing.

    The bytes follow from `images` alone. Shows progress; raises UserError where the folder cannot be written to.
    """
    items = plan(images)
    with writing(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=UNFINISHED) as home:
            with ProcessPoolExecutor() as pool:
                drawn = pool.map(partial(_draw_one, home=Path(home)), items, chunksize=8)
                list(tqdm(drawn, "drawing phantoms", len(items), mininterval=2, delay=2))
            (Path(home) / KINDS[0] / MARKER).write_text(NOTICE)
            for kind in reversed(KINDS):
                target = root.parent / kind if kind != KINDS[0] else root
                shutil.rmtree(target, ignore_errors=True)
                (Path(home) / kind).rename(target)


def main() -> int:
    """Command line: python -m xraylib.data.phantom build/phantoms/chest_xray."""
    folder = Path(sys.argv[1])
    try:
        with alone() as waited:
            drawn, code = folder / MARKER, Path(__file__)
            if not (waited and drawn.exists() and drawn.stat().st_mtime >= code.stat().st_mtime):  # by another run
                draw(folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"wrote {FILMS} synthetic phantoms to {folder}; their lesions and lungs: masks/, lungs/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
