"""Images and results are found by name, by habit, or replaced by phantoms; nothing else decides the profile."""

import pytest

from xraylib import config as config_module
from xraylib.config import find_data, load_config


@pytest.fixture
def no_default_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(config_module, "REPOSITORY", tmp_path)
    return tmp_path


def test_named_folder_wins(no_default_folder):
    default = no_default_folder / "data" / "chest_xray"
    default.mkdir(parents=True)
    assert find_data({}) == default
    assert find_data({"XRAY_DATA": str(no_default_folder / "mine")}) == no_default_folder / "mine"


def test_a_relative_folder_is_named_from_the_repositorys_root(no_default_folder, monkeypatch):
    monkeypatch.chdir("/")
    assert find_data({"XRAY_DATA": "../mine"}) == no_default_folder.parent / "mine"


def test_without_images_the_phantoms_are_used(no_default_folder):
    config = load_config(environ={})
    assert (config.profile, config.phantoms) == ("demo", True)
    assert config.results == no_default_folder / "results" / "demo"


def test_only_full_on_real_images_writes_the_committed_folders(no_default_folder):
    environ = {"XRAY_DATA": str(no_default_folder / "mine")}
    committed = {no_default_folder / name for name in ("results", "Plot")}
    for profile in config_module.PROFILES:
        config = load_config(profile, environ)
        written = {config.results, config.plots}
        assert written == committed if profile == "full" else not written & committed


def test_demo_draws_phantoms_even_where_real_images_are(no_default_folder):
    assert load_config("demo", {"XRAY_DATA": "somewhere"}).phantoms
    assert not load_config("sample", {"XRAY_DATA": "somewhere"}).phantoms


@pytest.mark.parametrize(
    ("profile", "words"), [("fulll", "wanted one of full, demo, sample, verify"), ("full", "make data")]
)
def test_a_wrong_profile_says_what_to_do(no_default_folder, profile, words):
    with pytest.raises(ValueError, match=words):
        load_config(profile, {})
