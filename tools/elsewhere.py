"""The released networks on adults of another hospital, by view, beside what the view and the mean grey tell alone."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tools import score
from xraylib.config import REPOSITORY, Config, load_config
from xraylib.data import decode, frames
from xraylib.evaluation import metrics
from xraylib.files import UserError, say, write_table
from xraylib.predict import films as released

READ, LISTED = "rsna_adults", "nih_adults"  # labels by radiologists, no ids; by program, with patients and views
VIEWS = "PA", "AP"  # standing; mostly lying in bed
SIDE = 40  # pixels a side of the thumbnails that tell the view
NETWORK, VIEW, GREY = "released networks", "predicted view alone", "mean grey of the lungs"


def load(root: Path, seeds: tuple[int, ...]) -> pd.DataFrame:
    """A row per film: path, label, patient, reason, mean logit, mean grey of the lungs, thumbnail (float64, SIDE²).

    A thumbnail has mean 0 and SD 1, since the copies' grey levels differ. With that, the predicted views of rsna_adults
    are AP as often as those of all of RSNA (78 % of opacities, 19 % of normal films).
    """
    say(f"{root.name}: predicting")
    predictions, unread = score.predict(root, seeds)
    films = metrics.mean_logit(predictions.assign(seed=-1), "path").rename(columns={"logit": NETWORK})
    say(f"{root.name}: {len(films):,} films; not assessed: {(films.reason != '').sum():,}; not read: {unread:,}")
    runner, grey, small = released.Runner(released.load()), [], []
    for path in films.path:
        film = decode.read(root / path, released.FILM).pixels
        lungs = runner.locate(film[None])[0]
        grey.append(np.average(frames.shrink(film, frames.MASK), weights=lungs + 1e-6))  # without lungs: the film's
        thumbnail = frames.shrink(film, SIDE).ravel().astype(float)
        small.append((thumbnail - thumbnail.mean()) / (thumbnail.std() + 1e-6))
    return films.assign(**{GREY: grey, "thumbnail": small})


def add_views(listed: pd.DataFrame, read: pd.DataFrame) -> None:
    """Add column VIEW, above 0 for AP: a support vector machine learns the views of `listed`, where it is out of fold.

    About 28 films of nih_adults are in rsna_adults too: their class is not learned.
    """
    learner, ap = make_pipeline(StandardScaler(), SVC()), listed["view"] == "AP"
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    options = {"groups": listed.patient, "cv": folds, "method": "decision_function"}
    listed[VIEW] = cross_val_predict(learner, np.stack(listed.thumbnail), ap, **options)
    read[VIEW] = learner.fit(np.stack(listed.thumbnail), ap).decision_function(np.stack(read.thumbnail))


def compare(films: pd.DataFrame, names: list[str], config: Config) -> pd.DataFrame:
    """A row per score of `names`: its AUROC with an interval over patients, and counts of films."""
    ranking = {name: metrics.weighted_ranking(films.label, rankdata(films[name]) / len(films)) for name in names}

    def aurocs(weights: np.ndarray) -> dict:
        return {name: of(weights)["auroc"] for name, of in ranking.items()}

    table = metrics.patient_bootstrap(films, aurocs, config.bootstrap_resamples, config.split_seed)
    positive, refused = int(films.label.sum()), int((films.reason != "").sum())
    counts = {"n_negative": len(films) - positive, "n_positive": positive, "n_patients": films.patient.nunique()}
    return table.rename_axis("score").reset_index().assign(**counts, not_assessed=refused)


def by_view(films: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Rows of `compare` for all films, those assessed, and those of each view: predicted and, where listed, known."""
    groups = {"all": films, "assessed by make predict": films[films.reason == ""]}
    groups |= {f"predicted {view}": films[(films[VIEW] > 0) == (view == "AP")] for view in VIEWS}
    groups |= {f"view {view}": films[films["view"] == view] for view in VIEWS if "view" in films}
    parts = []
    for name, part in groups.items():
        names = [NETWORK, GREY] if name.endswith(VIEWS) else [NETWORK, VIEW, GREY]  # within a view, it is the same
        parts.append(compare(part, names, config).assign(films=name, outcome="pneumonia"))
    return pd.concat(parts)


def run(root: Path, config: Config) -> pd.DataFrame:
    """elsewhere.csv: data, films, score, outcome (what the AUROC tells), value, lower, upper, and counts of films."""
    if missing := [name for name in (READ, LISTED) if not (root / name).is_dir()]:
        wanted = f"Wanted {READ}/ and {LISTED}/, each with NORMAL/ and PNEUMONIA/: make elsewhere IMAGES=folder"
        raise UserError(f"{root}: no folder {' and no '.join(missing)}. {wanted}")
    file = root / LISTED / "index.csv"
    columns = pd.read_csv(file, dtype=str) if file.exists() else pd.DataFrame(columns=["path"])
    read, listed = (load(root / name, config.seeds) for name in (READ, LISTED))
    listed["view"] = listed.path.map(columns.set_index("path").get("view", pd.Series(dtype=str)))
    if unknown := (~listed["view"].isin(VIEWS)).sum():
        raise UserError(f"{file}: no view of {unknown:,} films. Wanted columns path, patient and view, PA or AP.")
    add_views(listed, read)
    told = compare(listed.assign(label=(listed["view"] == "AP").astype(int)), [VIEW], config)
    parts = [by_view(films, config).assign(data=name) for name, films in ((READ, read), (LISTED, listed))]
    table = pd.concat([*parts, told.assign(data=LISTED, films="all", outcome="view AP")])
    first = ["data", "films", "score", "outcome"]
    return table[[*first, *table.columns.drop(first)]]


def main() -> int:
    """Command line: python -m tools.elsewhere; the folder is XRAY_IMAGES. Writes elsewhere.csv for notebook 05."""
    root, config = Path(os.environ.get("XRAY_IMAGES", "")).expanduser(), load_config("verify", {})
    config = replace(config, results=REPOSITORY / "results")
    try:
        table = run(root, config)
        write_table(table, config.results / "elsewhere.csv")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    say(f"{table.round(3).to_string(index=False)}\nwrote results/elsewhere.csv: {len(table)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
