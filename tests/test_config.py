"""Images and results are found by name, by habit, or replaced by phantoms; nothing else decides the profile."""

import pytest

from xraylib import config as config_module
from xraylib.config import load_config


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A repository without images."""
    monkeypatch.setattr(config_module, "REPOSITORY", tmp_path)
    return tmp_path


def test_a_named_folder_wins_and_is_named_from_the_repositorys_root(root, monkeypatch):
    monkeypatch.chdir("/")
    default = root / "data" / "chest_xray"
    default.mkdir(parents=True)
    assert load_config(environ={}).data == default
    assert load_config(environ={"XRAY_DATA": str(root / "mine")}).data == root / "mine"
    assert load_config(environ={"XRAY_DATA": "../mine"}).data == root.parent / "mine"


def test_without_images_the_phantoms_are_used(root):
    config = load_config(environ={})
    assert (config.profile, config.phantoms, config.results) == ("demo", True, root / "results" / "demo")


def test_only_full_on_real_images_writes_the_committed_folders(root):
    committed = {root / name for name in ("results", "Plot")}
    for profile in config_module.PROFILES:
        config = load_config(profile, {"XRAY_DATA": "mine"})
        written = {config.results, config.plots}
        assert written == committed if profile == "full" else not written & committed
        assert config.phantoms == (profile == "demo")  # even where real images are


@pytest.mark.parametrize(
    ("profile", "words"), [("fulll", "wanted one of full, demo, sample, verify"), ("full", "make data")]
)
def test_a_wrong_profile_says_what_to_do(root, profile, words):
    with pytest.raises(ValueError, match=words):
        load_config(profile, {})
