"""Where images come from, where results go, and every hyper-parameter of the study: one frozen Config."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on, besides the images themselves."""

    profile: str  # full: real images; demo: phantoms; sample: some patients of either, for tests
    data: Path  # a chest_xray folder, with train/, val/ and test/ inside
    phantoms: bool  # data was drawn by xraylib.data.phantom
    results: Path  # tables: index, history, predictions, metrics
    plots: Path  # figures
    models: Path  # trained networks
    build: Path  # decoded images, executed notebooks; never in git
    masks: Path | None  # lung masks, white = lung, named like the films; None: the released locator finds the lungs

    seeds: tuple[int, ...] = (0, 1, 2)  # one training of the study's CNN each
    split_seed: int = 0  # which patients of the train folder form the tune split
    tune_folds: int = 8  # one patient in this many goes to tune
    sample_patients: int | None = None  # patients per folder and class, in the sample profile

    film_size: int = 224  # pixels a side of the decoded films, grey
    image_size: int = 128  # pixels a side of a frame: a film cropped to its lungs, all that the network sees
    batch_size: int = 64
    epochs: int = 24
    locator_epochs: int = 6
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    augmentations_off: tuple[str, ...] = ()  # names of augment.RANGES
    mixed: float = 0.3  # share of the films of a batch that are mixed with one of their class from another station

    published_steps: int = 3000  # the published experiment: one epoch of 3,000 steps of one image
    published_validation_steps: int = 2000
    bootstrap_resamples: int = 2000
    saliency_films: int = 128  # films with pneumonia whose maps are tested
    score_test: bool = True  # XRAY_STOP_AT=tune: False, while a design is chosen

    def network_file(self, network: str, seed: int) -> Path:
        """Where a trained network ("xray_cnn", "published") lies."""
        return self.models / f"{network}_seed{seed}.keras"

    @property
    def locator_file(self) -> Path:
        """Where the network that finds the lungs lies."""
        return self.models / "lungs.keras"

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting but the folders."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, Path)}

    @property
    def kind(self) -> str:
        """What the images are, for titles: a reader must never take a phantom for a patient."""
        return "synthetic phantoms" if self.phantoms else "Kermany chest X-rays"


# What each profile changes. Phantoms prove nothing about patients, so a training just long enough to work will do.
PROFILES: dict[str, dict[str, Any]] = {
    "full": {},
    "demo": {
        "seeds": (0, 1),
        "epochs": 16,
        "locator_epochs": 4,
        "batch_size": 16,
        # From 300 phantoms a network learns small, faint lesions only where it sees them at one size and contrast.
        "augmentations_off": ("zoom", "aspect", "tone"),
        "published_steps": 300,
        "published_validation_steps": 100,
    },
    "sample": {
        "seeds": (0, 1),
        "epochs": 2,
        "locator_epochs": 2,
        "sample_patients": 20,
        "batch_size": 16,
        "tune_folds": 3,
        "published_steps": 40,
        "published_validation_steps": 20,
        "bootstrap_resamples": 200,
        "saliency_films": 12,
    },
    "verify": {},  # the tables and figures of full, computed again from its predictions
}


def _named(variable: str, environ) -> Path | None:
    """The folder that a variable names; a relative name means the same from every folder."""
    name = environ.get(variable)
    return (REPOSITORY / Path(name).expanduser()).resolve() if name else None


def load_config(profile: str | None = None, environ=os.environ) -> Config:
    """The settings of a profile, by default XRAY_PROFILE, else full with real images, else demo. Raises ValueError."""
    data = _named("XRAY_DATA", environ)
    usual = REPOSITORY / "data" / "chest_xray"
    if data is None and (usual.is_dir() or usual.is_symlink()):  # a link to nothing is an error, no reason for phantoms
        data = usual
    profile = profile or environ.get("XRAY_PROFILE") or ("full" if data else "demo")
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r}: wanted one of {', '.join(PROFILES)}. Change or unset XRAY_PROFILE.")
    if profile == "full" and data is None:
        raise ValueError("profile full: no images. Get them with: make data, or name them: make reproduce DATA=folder.")
    phantoms = profile == "demo" or (data is None and profile != "verify")
    if data is None or phantoms:
        data = REPOSITORY / "build" / "phantoms" / "chest_xray"
    beside = data.parent / "lung_masks"
    masks = _named("XRAY_MASKS", environ) or (beside if beside.is_dir() else None)
    build = REPOSITORY / "build" / profile
    home = REPOSITORY if profile in ("full", "demo") else build
    inside = "demo" if profile == "demo" else ""
    return Config(
        profile,
        data,
        phantoms,
        results=home / "results" / inside,
        plots=home / "Plot" / inside,
        models=(REPOSITORY if profile in ("full", "verify") else build) / "models",
        build=build,
        masks=data.parent / "lungs" if phantoms else masks,
        score_test=environ.get("XRAY_STOP_AT") != "tune",
        **PROFILES[profile],
    )
