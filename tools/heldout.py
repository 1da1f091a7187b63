"""What of the AUROC is the station's: within a station, out of fold, and on a station kept out of training; no test.

The released design is the variant with the highest score: the mean of AUROC on the other station and of AUROC on tune
with both stations weighing the same. This rule was written down before the design was frozen.
"""

import sys
from collections import namedtuple
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.model_selection import StratifiedGroupKFold

from xraylib.config import Config, load_config
from xraylib.data.index import linked_patients, load_index
from xraylib.data.stations import RARE, partners
from xraylib.evaluation import metrics
from xraylib.files import UserError, say, write_table
from xraylib.network import lungs, train

# Share of films mixed; whether partners come from the other station, else the control's; seeds that train on folds too.
Variant = namedtuple("Variant", "share other folds")
VARIANTS = {
    "unmixed": Variant(0.0, True, (0,)),
    "mixed 0.3": Variant(0.3, True, (0,)),
    "mixed 0.15": Variant(0.15, True, ()),
    "control 0.3": Variant(0.3, False, ()),
}
MEAN = ("unmixed", "mixed 0.3")  # whose mean logit is a variant too
FOLDS, EPOCHS = 4, 12  # half of the study's epochs: six trainings a variant and seed
LEAST = 20  # films of each class, for an AUROC within a station
OTHER, BALANCED = "other station", "tune, balanced over stations"  # their mean is the score
SPECIFICITY = "other station, specificity"


def load(config: Config) -> tuple[pd.DataFrame, np.ndarray]:
    """The index of the train folder with marker, ranges and partner (bool: rare station for its class); its frames."""
    index = partners(load_index(config), pd.read_csv(config.results / "stations.csv"))
    rows = index.index[index.folder == "train"]
    return index.loc[rows].reset_index(drop=True), lungs.load_frames(config, index)[rows]


def control(index: pd.DataFrame) -> pd.DataFrame:
    """The index with as many partners, drawn from the station that is common in the class: mixing without its point."""
    common = np.where(index.label == 1, index.marker != RARE, (index.marker == RARE) & index.ranges.isna())
    rng, counts = np.random.default_rng(0), index.groupby("label").partner.sum()
    drawn = [rng.choice(index.index[common & (index.label == k)], n, replace=False) for k, n in counts.items()]
    return index.assign(partner=index.index.isin(np.concatenate(drawn)))


def splits(index: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    """Name of a training -> the split of each film there: a fold of patients in tune, or a range held out of both."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    strata = index.subtype + (index.marker == RARE).astype(str)
    parts = folds.split(index, strata, linked_patients(index))
    out_of_fold = {f"fold {k}": np.where(index.index.isin(tune), "tune", "train") for k, (_, tune) in enumerate(parts)}
    names = sorted(index.ranges.dropna().unique())
    return out_of_fold | {name: np.where(index.ranges == name, "held out", index.split) for name in names}


def predict(index: pd.DataFrame, frames: np.ndarray, config: Config) -> pd.DataFrame:
    """A row per training and film that it did not learn from: `run`, and a logit in each column (variant, seed).

    NaN where the variant is not trained on folds.
    """
    parts, taught = [], {True: index, False: control(index)}
    for run, split in splits(index, config.split_seed).items():
        films = index.assign(run=run, split=split)
        for (name, variant), seed in product(VARIANTS.items(), config.seeds):
            if run.startswith("fold") and seed not in variant.folds:
                continue
            say(f"{name}, without {run}")
            part, varied = taught[variant.other].assign(split=split), replace(config, mixed=variant.share)
            folder = train.train_one(metrics.STUDY, seed, part, frames, varied, say)
            logits = pd.read_csv(folder / "predictions.csv").set_index("path").logit
            films[name, seed] = logits.loc[films.path].to_numpy()
        parts.append(films[films.split != "train"])
    films = pd.concat(parts, ignore_index=True)
    for seed in config.seeds:
        films[f"mean of {' and '.join(MEAN)}", seed] = sum(films[name, seed] for name in MEAN) / len(MEAN)
    return films


def measures(films: pd.DataFrame) -> dict[str, pd.Series]:
    """Measure -> the group of each of its films; in a class, groups weigh the same. Logits of trainings are pooled.

    films: those of the folds, or those of the ranges, where tune's pneumonia has a logit of each range's training.
    """
    if films.run.str.startswith("fold").all():
        counts = pd.crosstab(films.marker, films.label).min(axis=1)
        within = {f"within {name}": films.label[films.marker == name] for name in counts.index[counts >= LEAST]}
        return within | {"all out of fold": films.label}
    tune, held_out = films.split == "tune", films.split == "held out"
    return {
        OTHER: films.label[held_out | (tune & (films.label == 1))],
        "tune": films.label[tune],
        BALANCED: (2 * films.label + (films.marker == RARE))[tune],
        SPECIFICITY: films.label[held_out],
    }


def correct(films: pd.DataFrame, key: tuple) -> pd.Series:
    """1 where a film is decided rightly, else 0, at the threshold that its training's tune films give."""
    films = films.assign(probability=expit(films[key]))
    tune = films[films.split == "tune"].groupby("run")
    points = {run: metrics.choose_operating_point(part) for run, part in tune}
    return ((films.probability >= films.run.map(points)) == films.label).astype(float)


def statistic(films: pd.DataFrame) -> metrics.Statistic:
    """(measure, variant, seed) -> value, and differences of variants to the first, as a function of film weights."""
    keys = [name for name in films if isinstance(name, tuple) and films[name].notna().all()]
    parts = {name: (group.index, np.eye(4)[group]) for name, group in measures(films).items()}
    ranking = {
        (name, *key): metrics.weighted_ranking(films.label[rows], expit(films[key][rows]))
        for (name, (rows, _)), key in product(parts.items(), keys)
    }
    right = {key: correct(films, key)[measures(films)[SPECIFICITY].index] for key in keys if SPECIFICITY in parts}

    def of(weights: np.ndarray) -> dict:
        values = {}
        for name, (rows, groups) in parts.items():
            part = weights[:, rows]
            with np.errstate(invalid="ignore"):  # a resample without a group has no value
                part = part / (part @ groups @ groups.T)  # every group has the weight 1
            for key in keys:
                values[name, *key] = part @ right[key] if name == SPECIFICITY else ranking[name, *key](part)["auroc"]
        if OTHER in parts:
            values |= {("score", *key): (values[OTHER, *key] + values[BALANCED, *key]) / 2 for key in keys}
        first = keys[0][0]
        less = {(m, f"{v} - {first}", s): values[m, v, s] - values[m, first, s] for m, v, s in values if v != first}
        return values | less

    return of


def compare(films: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Rows of heldout.csv: mean and SD over seeds, interval over resamples of patients, the same for all variants."""
    each = statistic(films)

    def mean(weights: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(each(weights)).T.groupby(level=[0, 1], sort=False).mean().T

    table = metrics.patient_bootstrap(films, mean, config.bootstrap_resamples, config.split_seed)
    seeds = pd.Series(metrics.once(each, len(films))).groupby(level=[0, 1], sort=False)
    table = table.assign(sd=seeds.std(), seeds=seeds.size()).rename_axis(["measure", "variant"]).reset_index()
    groups = measures(films)
    n = [films.loc[groups.get(name, films.label).index].groupby("label").path.nunique() for name in table.measure]
    return table.assign(n_normal=[of.get(0, 0) for of in n], n_pneumonia=[of.get(1, 0) for of in n])


def main() -> None:
    """Command line: python -m tools.heldout; writes heldout.csv. Finished trainings are kept."""
    config = replace(load_config(), epochs=EPOCHS)
    try:
        films = predict(*load(config), config)
    except UserError as error:
        sys.exit(str(error))
    folds = films.run.str.startswith("fold")
    table = pd.concat([compare(part.reset_index(drop=True), config) for part in (films[folds], films[~folds])])
    columns = ["variant", "measure", "seeds", "n_normal", "n_pneumonia", "value", "sd", "lower", "upper"]
    write_table(table[columns], config.results / "heldout.csv")
    print(table[columns].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
