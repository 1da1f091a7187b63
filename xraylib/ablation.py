"""What each ingredient of the recipe is worth: left out in turn, three seeds each, judged without test.

The judges are harder than tune, whose films come from the days that training saw. Films of one acquisition series
(healthy children named NORMAL2-IM-) are kept out of training altogether and set against tune's pneumonia: `series`.
And tune's films are cut, shifted, flattened and exposed otherwise: `spoilt`. Trainings are kept, so that a run goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import pandas as pd

from xraylib import metrics, plots, train
from xraylib.config import Config, load_config
from xraylib.files import UserError, say, write_table
from xraylib.images import load_images
from xraylib.index import load_index

EPOCHS = 12  # half of the study's: enough to tell ingredients apart, and 30 trainings have to be paid for
SERIES = "NORMAL2-"  # in the names of the films that are kept out
WHOLE = "the whole recipe"
VARIANTS: dict[str, dict] = {
    WHOLE: {},
    "frame, stretch and shift": {"without": ("frame", "stretch", "shift")},
    "turn and mirror": {"without": ("turn", "mirror")},
    "sharpness": {"without": ("sharpness",)},
    "shading": {"without": ("shading",)},
    "gamma, contrast and exposure": {"without": ("gamma", "contrast", "exposure")},
    "noise": {"without": ("noise",)},
    "hidden square": {"without": ("hidden square",)},
    "label smoothing": {"label_smoothing": 0.0},
    "views at prediction": {"without": ("views",)},
}
JUDGES = {"tune": "tune", "series": "series not seen", "spoilt": "tune, spoilt"}


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


def judge(predictions: pd.DataFrame) -> list[dict]:
    """judge, images and auroc by each of JUDGES, of the predictions of one training on `keep_series_out`'s index."""
    own = predictions[predictions.network == metrics.OWN]
    ill = own[(own.split == "tune") & (own.label == 1)]
    parts = {
        "tune": own[own.split == "tune"],
        "series": pd.concat([ill, own[own.split == "series"]]),
        "spoilt": predictions[predictions.network.str.contains(metrics.SPOILT)],
    }
    return [
        {"judge": name, "images": len(part), "auroc": metrics.ranking(part.label, part.probability)["auroc"]}
        for name, part in parts.items()
    ]


def run(index: pd.DataFrame, images, config: Config) -> pd.DataFrame:
    """Every variant trained once per seed and judged: left_out, seed, judge, images, auroc. Shows progress."""
    apart = keep_series_out(index)
    images, apart = images[apart.index], apart.reset_index(drop=True)
    rows = []
    for number, (name, changes) in enumerate(VARIANTS.items(), 1):
        other = replace(config, epochs=min(EPOCHS, config.epochs), build=config.build / "ablation", **changes)
        for seed in config.seeds:
            say(f"variant {number} of {len(VARIANTS)}, without {name if changes else 'nothing'}")
            training = train.train_one(metrics.OWN, seed, apart, images, other, say)
            rows += [{"left_out": name, "seed": seed} | found for found in judge(training.predictions)]
    return pd.DataFrame(rows)


def main() -> int:
    """Command line: python -m xraylib.ablation; writes ablation.csv and ablation.png, prints means and SDs."""
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
    shown = table.pivot_table(values="auroc", index="left_out", columns="judge", aggfunc=["mean", "std"], sort=False)
    print(shown.round(4).to_string())
    print(f"wrote {config.results / 'ablation.csv'} and {config.plots / 'ablation.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
