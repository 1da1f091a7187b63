"""What makes it work: whole film, grey levels stretched, lung crop, both, longer, mixed over stations; every seed."""

import sys
from dataclasses import replace
from itertools import product

import pandas as pd

from xraylib.config import Config, load_config
from xraylib.data.images import load_images
from xraylib.data.index import load_index
from xraylib.data.stations import partners
from xraylib.evaluation import metrics, tables
from xraylib.files import UserError, say, write_table
from xraylib.network import lungs, train

SHORT = 10  # epochs of the short training
VARIANTS = {  # name -> lung crop, grey levels stretched, trained for all epochs, mixed; the last is the study's network
    "whole film": (False, False, False, False),
    "grey levels stretched": (False, True, False, False),
    "lung crop": (True, False, False, False),
    "crop and stretch": (True, True, False, False),
    "crop and stretch, longer": (True, True, True, False),
    "mixed over stations": (True, True, True, True),
}


def run(config: Config) -> pd.DataFrame:
    """Columns variant, seed, split, films, and statistics at the threshold of tune. Finished trainings are kept."""
    stations = pd.read_csv(config.results / "stations.csv")
    index = partners(load_index(config), stations)
    table, splits = pd.DataFrame(), ("tune", "test") if config.score_test else ("tune",)
    films, boxes = load_images(config, index), lungs.boxes(lungs.load_frames(config, index, "lungs.npy"))
    for variant, (crop, stretch, longer, mixed) in VARIANTS.items():
        say(variant)
        frames = lungs.cut(films, boxes if crop else [None] * len(films), config.image_size, stretch)
        varied = replace(config, epochs=config.epochs if longer else SHORT, mixed=config.mixed if mixed else 0.0)
        folders = [train.train_one(metrics.STUDY, seed, index, frames, varied, say) for seed in config.seeds]
        predictions = metrics.check(pd.concat([pd.read_csv(folder / "predictions.csv") for folder in folders]))
        points, rows = metrics.operating_points(predictions), []
        for seed, split in product(config.seeds, splits):
            part = predictions[(predictions.seed == seed) & (predictions.split == split)]
            values = metrics.once(metrics.statistics(part, points[metrics.STUDY, seed]), len(part))
            shown = {name: values[name] for name in tables.REPORTED}
            rows.append({"variant": variant, "seed": seed, "split": split, "films": len(part)} | shown)
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        if config.score_test:
            tables.record_test(predictions, points, config, f"{metrics.STUDY}, {variant}")
        if config.score_test and variant == tables.UNMIXED:
            groups = tables.subgroups(predictions[predictions.split == "test"], points, config, stations)
            write_table(groups, config.results / "subgroups_unmixed.csv")
    return table


def main() -> int:
    """Command line: python -m tools.ablation; writes ablation.csv and subgroups_unmixed.csv; prints means and SDs."""
    config = load_config()
    try:
        table = run(config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    write_table(table, config.results / "ablation.csv")
    groups = table.groupby(["variant", "split"], sort=False)[list(tables.REPORTED)]
    print(groups.agg(["mean", "std"]).round(3).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
