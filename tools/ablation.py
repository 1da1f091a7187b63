"""What each ingredient of the recipe is worth: left out in turn, three seeds each, judged without test.

Beside them, the recipe with fewer pixels, which would be faster.

The judges are harder than tune, whose films come from the days that training saw. Films of one acquisition series
(healthy children named NORMAL2-IM-) are kept out of training altogether and set against tune's pneumonia: `series`.
The same films are judged with the spectra and the grey levels of the classes exchanged, since in train healthy films
have more contrast in every detail and in the bright parts, from other devices, sizes and JPEG qualities, which a
network can learn instead of lungs: `exchanged`. And tune's films are cut, shifted, flattened and exposed otherwise:
`spoilt`. Trainings are kept, so that a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from xraylib import plots
from xraylib.config import Config, load_config
from xraylib.data.images import load_images
from xraylib.data.index import load_index
from xraylib.evaluation import metrics
from xraylib.files import UserError, say, write_table
from xraylib.network import train
from xraylib.network.weights import load_network

SERIES = "NORMAL2-"  # in the names of the films that are kept out
EXCHANGED = "exchanged"  # a network's predictions of films whose spectra and grey levels are exchanged
WHOLE = "the whole recipe"
VARIANTS: dict[str, dict] = {
    WHOLE: {},
    "without frame, stretch and shift": {"without": ("frame", "stretch", "shift")},
    "without turn and mirror": {"without": ("turn", "mirror")},
    "without sharpness": {"without": ("sharpness",)},
    "without shading": {"without": ("shading",)},
    "without tone": {"without": ("tone",)},
    "without gamma, contrast and exposure": {"without": ("gamma", "contrast", "exposure")},
    "without noise": {"without": ("noise",)},
    "without label smoothing": {"label_smoothing": 0.0},
    "with 64 pixels a side": {"input_size": 64},
    "with 96 pixels a side": {"input_size": 96},
}
JUDGES = {
    "tune": "tune",
    "series": "series not seen",
    "exchanged": "series not seen,\nstyles exchanged",
    "spoilt": "tune, spoilt",
}
COARSEST = 8  # waves from side to side: what is coarser is the chest itself, and stays
RANKS = (np.arange(256) + 0.5) / 256  # the share of a film's pixels that are darker


def keep_series_out(index: pd.DataFrame) -> pd.DataFrame:
    """The train folder's part of the index, with the healthy children of one series in a split "series" of their own.

    The other folders are left out, so that no variant can have seen, nor even predicted, a film of test. Raises
    UserError where there is no such child, or no other healthy one.
    """
    index = index[index.split.isin(["train", "tune"])]
    inside = index.path.str.contains(SERIES)
    others = (index.label == 0) & ~inside
    if not inside.any() or not others.any():
        raise UserError(
            f"train/NORMAL: {inside.sum()} images of the series {SERIES}, {others.sum()} others; wanted some of both. "
            "Use the images of the published archive."
        )
    return index.assign(split=index.split.mask(inside, "series"))


def spectral_gap(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much more contrast PNEUMONIA films have than NORMAL ones, as log of amplitude, float64 (size // 2 + 1,).

    By ring of the spectrum, that is by waves from side to side; images uint8 (n, size, size), labels (n,) of 0 and 1.
    """
    size = images.shape[1]
    rings, window = _rings(size), np.hanning(size)[:, None] * np.hanning(size)
    sums = np.zeros((2, size // 2 + 1))
    for image, label in zip(images, labels, strict=True):
        amplitudes = np.log1p(np.abs(np.fft.fft2((image - image.mean()) * window)))
        sums[label] += np.bincount(rings.ravel(), amplitudes.ravel())
    means = sums / np.bincount(labels, minlength=2)[:, None] / np.bincount(rings.ravel())
    return means[1] - means[0]


def exchange_spectra(images: np.ndarray, labels: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The films, uint8 (n, size, size), with the contrast of details (from COARSEST on) that the other class has."""
    gain = np.where(np.arange(len(gap)) >= COARSEST, gap, 0)[_rings(images.shape[1])]
    changed = np.empty_like(images)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        other = np.fft.ifft2(np.fft.fft2(image) * np.exp(-gain if label else gain)).real
        changed[row] = np.clip(np.rint(other), 0, 255)
    return changed


def grey_gap(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much brighter PNEUMONIA films are than NORMAL ones at each of RANKS, in grey levels: float64 (256,).

    images: uint8 (n, size, size); labels: (n,) of 0 and 1.
    """
    quantiles = np.stack([np.quantile(image, RANKS) for image in images])
    return quantiles[labels == 1].mean(axis=0) - quantiles[labels == 0].mean(axis=0)


def exchange_greys(images: np.ndarray, labels: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The films, uint8 (n, size, size), with the distribution of grey levels that the other class has."""
    changed = np.empty_like(images)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        counts = np.bincount(image.ravel(), minlength=256)
        rank = (np.cumsum(counts) - counts / 2) / image.size
        other = np.arange(256) + (-1 if label else 1) * np.interp(rank, RANKS, gap)
        changed[row] = np.clip(np.rint(other), 0, 255).astype(np.uint8)[image]
    return changed


def _rings(size: int) -> np.ndarray:
    """Waves from side to side of each place of a spectrum, int (size, size); the corners count as the last ring."""
    waves = np.fft.fftfreq(size, 1 / size)
    return np.minimum(np.rint(np.hypot(waves[:, None], waves)), size // 2).astype(int)


def _exchanged(images: np.ndarray, labels: np.ndarray, seen: np.ndarray, seen_labels: np.ndarray) -> np.ndarray:
    """The films with the spectra and grey levels that the other class has among the films that were `seen`."""
    images = exchange_spectra(images, labels, spectral_gap(seen, seen_labels))
    return exchange_greys(images, labels, grey_gap(seen, seen_labels))


def _in_series(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of the healthy children kept out, and of tune's ill ones that they are set against."""
    return (rows.split == "series") | ((rows.split == "tune") & (rows.label == 1))


def judge(predictions: pd.DataFrame) -> list[dict]:
    """judge, images and auroc by each of JUDGES, of the predictions of one training on `keep_series_out`'s index."""
    own, exchanged = (predictions[predictions.network == name] for name in (metrics.OWN, EXCHANGED))
    parts = {
        "tune": own[own.split == "tune"],
        "series": own[_in_series(own)],
        "exchanged": exchanged,
        "spoilt": predictions[predictions.network.str.contains(metrics.SPOILT)],
    }
    return [
        {"judge": name, "images": len(part), "auroc": metrics.ranking(part.label, part.probability)["auroc"]}
        for name, part in parts.items()
    ]


def run(index: pd.DataFrame, images, config: Config) -> pd.DataFrame:
    """Every variant trained once per seed and judged: variant, seed, judge, images, auroc. Shows progress."""
    apart = keep_series_out(index)
    images, apart = images[apart.index], apart.reset_index(drop=True)
    seen = (apart.split == "train").to_numpy()
    harder = apart[_in_series(apart)]
    exchanged = _exchanged(images[harder.index], harder.label.to_numpy(), images[seen], apart.label.to_numpy()[seen])
    rows = []
    for number, (name, changes) in enumerate(VARIANTS.items(), 1):
        other = replace(config, build=config.build / "ablation", **changes)
        for seed in config.seeds:
            say(f"variant {number} of {len(VARIANTS)}, {name}")
            training = train.train_one(metrics.OWN, seed, apart, images, other, say)
            probability = train.predict(load_network(training.model), exchanged)
            more = harder.assign(network=EXCHANGED, probability=probability)
            found = judge(pd.concat([training.predictions, more]))
            rows += [{"variant": name, "seed": seed} | judged for judged in found]
    return pd.DataFrame(rows)


def main() -> int:
    """Command line: python -m tools.ablation; writes ablation.csv and ablation.png, prints means and SDs."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    config = load_config()
    try:
        index = load_index(config)
        table = run(index, load_images(config, index), config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    write_table(table, config.results / "ablation.csv")
    plots.style()
    fig, axes = plots.figure(1, len(JUDGES), width=plots.DOUBLE, height=3.2, sharey=True)
    plots.ablation(table, axes, JUDGES, WHOLE, config.kind)
    plots.save(fig, config.plots / "ablation.png")
    shown = table.pivot_table(values="auroc", index="variant", columns="judge", aggfunc=["mean", "std"], sort=False)
    print(shown.round(4).to_string())
    print(f"wrote {config.results / 'ablation.csv'} and {config.plots / 'ablation.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
