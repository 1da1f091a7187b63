"""What makes it work: whole film, grey levels stretched, lung crop, both, longer training; three seeds each."""

import argparse
import sys
from dataclasses import replace

import pandas as pd

from xraylib import plots
from xraylib.config import Config, load_config
from xraylib.data.images import load_images
from xraylib.data.index import load_index
from xraylib.evaluation import metrics, tables
from xraylib.files import UserError, say, write_table
from xraylib.network import locator, lungs, train

SHORT = 10  # epochs of the short training
VARIANTS = {  # name -> lung crop, grey levels stretched, trained for all epochs
    "whole film": (False, False, False),
    "grey levels stretched": (False, True, False),
    "lung crop": (True, False, False),
    "crop and stretch": (True, True, False),
    "crop and stretch, longer": (True, True, True),
}


def run(config: Config) -> pd.DataFrame:
    """Columns variant, seed, split, films, and statistics at the threshold of tune. Finished trainings are kept."""
    index, parts = load_index(config), []
    films = load_images(config, index)
    found = lungs.boxes(locator.locate(locator.load(config.locator_file), films))
    for name, (crop, stretch, longer) in VARIANTS.items():
        say(name)
        frames = lungs.cut(films, found if crop else [None] * len(films), config.image_size, stretch)
        varied = config if longer else replace(config, epochs=SHORT)
        trained = [train.train_one(metrics.STUDY, seed, index, frames, varied, say) for seed in config.seeds]
        predictions = metrics.check(pd.concat([pd.read_csv(folder / "predictions.csv") for folder in trained]))
        scores = _scores(predictions)
        if (predictions.split == "test").any():
            points = metrics.operating_points(predictions)
            tables.record_test(predictions, points, config, f"{metrics.STUDY}, {name}")
        scores.insert(0, "variant", name)
        parts.append(scores)
    return pd.concat(parts, ignore_index=True)


def _scores(predictions: pd.DataFrame) -> pd.DataFrame:
    points, rows = metrics.operating_points(predictions), []
    for seed, table in predictions.groupby("seed"):
        for split in ("tune", "test"):
            part = table[table.split == split]
            if len(part):
                values = metrics.once(metrics.statistics(part, points[metrics.STUDY, seed]), len(part))
                shown = {name: values[name] for name in tables.REPORTED}
                rows.append({"seed": seed, "split": split, "films": len(part)} | shown)
    return pd.DataFrame(rows)


def main() -> int:
    """Command line: python -m tools.ablation; writes ablation.csv and ablation.png, prints means and SDs."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    config = load_config()
    try:
        table = run(config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    write_table(table, config.results / "ablation.csv")
    fig, ax = plots.figure(width=plots.DOUBLE, height=2.8)
    plots.ablation(table, ax, kind=config.kind)
    plots.save(fig, config.plots / "ablation.png")
    groups = table.groupby(["variant", "split"], sort=False)[list(tables.REPORTED)]
    print(groups.agg(["mean", "std"]).round(3).to_string())
    print(f"wrote {config.results / 'ablation.csv'} and {config.plots / 'ablation.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
