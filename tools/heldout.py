"""What of the AUROC is the station's: within a station, out of fold, and on a station kept out of training; no test."""

import sys
from dataclasses import replace

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

VARIANTS = {"unmixed": 0.0, "mixed 0.3": 0.3, "mixed 0.15": 0.15}  # name -> share of films mixed
FOLDS, EPOCHS = 4, 12  # half of the study's epochs: six trainings a variant and seed
LEAST = 20  # films of each class, for an AUROC within a station


def load(config: Config) -> tuple[pd.DataFrame, np.ndarray]:
    """The index of the train folder with marker, ranges and partner (bool: rare station for its class); its frames."""
    index = partners(load_index(config), pd.read_csv(config.results / "stations.csv"))
    rows = index.index[index.folder == "train"]
    return index.loc[rows].reset_index(drop=True), lungs.load_frames(config, index)[rows]


def splits(index: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    """Name of a training -> the split of each film there: a fold of patients in tune, or a range held out of both."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    strata = index.subtype + (index.marker == RARE).astype(str)
    parts = folds.split(index, strata, linked_patients(index))
    out_of_fold = {f"fold {k}": np.where(index.index.isin(tune), "tune", "train") for k, (_, tune) in enumerate(parts)}
    names = sorted(index.ranges.dropna().unique())
    return out_of_fold | {name: np.where(index.ranges == name, "held out", index.split) for name in names}


def predict(index: pd.DataFrame, frames: np.ndarray, seed: int, config: Config) -> pd.DataFrame:
    """A row per training and film that it did not learn from: `run`, and a logit per variant and mean of variants."""
    parts = []
    for name, split in splits(index, config.split_seed).items():
        part = index.assign(run=name, split=split)
        for variant, share in VARIANTS.items():
            say(f"{variant}, without {name}")
            folder = train.train_one(metrics.STUDY, seed, part, frames, replace(config, mixed=share), say)
            part[variant] = pd.read_csv(folder / "predictions.csv").set_index("path").logit.loc[part.path].to_numpy()
        parts.append(part[part.split != "train"])
    films, (first, *others) = pd.concat(parts, ignore_index=True), VARIANTS
    return films.assign(**{f"mean of {first} and {name}": films[[first, name]].mean(axis=1) for name in others})


def measures(films: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Measure -> its films. Logits of trainings are pooled; tune's pneumonia has one of each range's training."""
    folds = films[films.run.str.startswith("fold")]
    counts = pd.crosstab(folds.marker, folds.label).min(axis=1)
    chosen = {f"within {marker}": folds[folds.marker == marker] for marker in counts.index[counts >= LEAST]}
    ranges = films.drop(folds.index)
    chosen["other station"] = ranges[(ranges.split == "held out") | ((ranges.split == "tune") & (ranges.label == 1))]
    return chosen | {"all out of fold": folds, "tune": ranges[ranges.split == "tune"]}


def compare(films: pd.DataFrame, config: Config) -> pd.DataFrame:
    """AUROC of each variant, and its difference to the first, with intervals over the same resamples of patients."""
    first, *others = films.columns[films.columns.get_loc("run") + 1 :]
    ranking = {name: metrics.weighted_ranking(films.label, expit(films[name])) for name in (first, *others)}

    def statistic(weights: np.ndarray) -> dict:
        values = {name: of(weights)["auroc"] for name, of in ranking.items()}
        return values | {f"{name} - {first}": values[name] - values[first] for name in others}

    table = metrics.patient_bootstrap(films, statistic, config.bootstrap_resamples, config.split_seed)
    n = films.groupby("label").path.nunique()
    return table.rename_axis("variant").reset_index().assign(n_normal=n[0], n_pneumonia=n[1])


def main() -> None:
    """Command line: python -m tools.heldout; writes heldout.csv. Finished trainings are kept."""
    config = replace(load_config(), epochs=EPOCHS)
    try:
        index, frames = load(config)
        found = [(seed, measures(predict(index, frames, seed, config))) for seed in config.seeds]
    except UserError as error:
        sys.exit(str(error))
    parts = [compare(films, config).assign(measure=name, seed=seed) for seed, of in found for name, films in of.items()]
    table = pd.concat(parts)[["variant", "measure", "seed", "n_normal", "n_pneumonia", "value", "lower", "upper"]]
    write_table(table, config.results / "heldout.csv")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
