"""make data: from the archive as it unpacks to data/chest_xray, or one message that says what to do by hand."""

import shutil
import sys

import pytest

from xraylib.data import download
from xraylib.files import UserError


@pytest.fixture
def archive(world, tmp_path):
    """What the archive unpacks to: the images twice, and a Mac's leavings."""
    root = tmp_path / "cache" / "chest_xray"
    shutil.copytree(world[0], root)
    shutil.copytree(world[0], root / "chest_xray")
    (root / "__MACOSX").mkdir()
    return root.parent


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run the command with kagglehub, the one part that needs a network, replaced; returns status, output, target."""

    def of(downloaded):
        import kagglehub

        def answer(handle):
            assert handle == "paultimothymooney/chest-xray-pneumonia/versions/2"
            if isinstance(downloaded, Exception):
                raise downloaded
            return str(downloaded)

        target = tmp_path / "data" / "chest_xray"
        monkeypatch.setattr(kagglehub, "dataset_download", answer)
        monkeypatch.setattr(sys, "argv", ["download", str(target)])
        return download.main(), capsys.readouterr().out, target

    return of


def test_the_archive_becomes_the_folder_once_and_its_difference_is_stated(run, archive):
    status, shown, target = run(archive)
    assert status == 0
    assert (target / "train" / "NORMAL").is_dir()
    assert "train/NORMAL: 32 images; the official archive has 1,341" in shown
    assert shown.splitlines()[-1].startswith("84 images in")
    assert run(AssertionError("asked again"))[:2] == (0, shown.split("\n", 1)[1])  # but for "Downloading"


def test_without_a_network_one_message_says_what_to_do(run):
    status, shown, target = run(ConnectionError("no route to host\nlong\ntraceback"))
    assert status == 1
    assert "no route to host" in shown
    assert "in a browser" in shown
    assert "Traceback" not in shown
    assert not target.parent.exists()


def test_an_archive_without_images_is_said_and_nothing_is_placed(run, tmp_path):
    (tmp_path / "cache").mkdir()
    status, shown, target = run(tmp_path / "cache")
    assert status == 1
    assert "no train folder" in shown
    assert not target.exists()


def test_a_folder_of_the_users_is_never_replaced(archive, tmp_path):
    target = tmp_path / "chest_xray"
    target.mkdir()
    with pytest.raises(UserError, match="already there"):
        download.place(archive / "chest_xray", target)


def test_where_links_are_impossible_the_images_are_copied(archive, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    target = tmp_path / "data" / "chest_xray"
    download.place(archive / "chest_xray", target)
    assert not target.is_symlink()
    assert len(list((target / "train" / "NORMAL").iterdir())) == 32
    assert [p.name for p in target.parent.iterdir()] == ["chest_xray"]


def test_official_counts_are_those_of_the_archive(world):
    official = {key: wanted for key, (_, wanted) in download.count(world[0]).items()}
    assert official == {
        ("train", "NORMAL"): 1341,
        ("train", "PNEUMONIA"): 3875,
        ("val", "NORMAL"): 8,
        ("val", "PNEUMONIA"): 8,
        ("test", "NORMAL"): 234,
        ("test", "PNEUMONIA"): 390,
    }
