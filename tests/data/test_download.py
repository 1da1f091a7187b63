"""make data: from the archive as it unpacks to data/chest_xray, or one message that says what to do by hand."""

import shutil
import sys

import pytest

from xraylib.data import download


@pytest.fixture
def archive(world, tmp_path):
    """What the archive unpacks to: the images twice, and a Mac's leavings."""
    root = tmp_path / "cache" / "chest_xray"
    for copy in (root, root / "chest_xray"):
        shutil.copytree(world[0], copy)
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


def test_the_archive_becomes_the_folder_once_and_its_difference_is_stated(run, archive, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "chest_xray").symlink_to(tmp_path / "a cache that was removed")
    status, shown, target = run(archive)
    assert status == 0 and target.resolve() == archive / "chest_xray"
    assert "train/NORMAL: 32 films; the official archive has 1,341" in shown
    assert shown.splitlines()[-1].startswith("84 films in")
    assert run(AssertionError("asked again"))[:2] == (0, shown.split("\n", 1)[1])  # but for "Downloading"


def test_without_a_network_or_with_another_archive_one_message_says_what_to_do(run, tmp_path):
    for downloaded, reason in (
        (ConnectionError("no route\nlong traceback"), "no route"),
        (tmp_path, "no train folder"),
    ):
        status, shown, target = run(downloaded)
        assert status == 1 and reason in shown and "in a browser" in shown and "long" not in shown
        assert not target.parent.exists()


def test_a_folder_of_the_users_is_never_replaced(run, tmp_path):
    (tmp_path / "data" / "chest_xray").mkdir(parents=True)
    assert run(AssertionError("asked"))[0] == 1 and not (tmp_path / "data" / "chest_xray").is_symlink()


def test_official_counts_are_those_of_the_archive(world):
    official = {key: wanted for key, (_, wanted) in download.count(world[0]).items()}
    assert official == {
        ("train", "NORMAL"): 1341, ("train", "PNEUMONIA"): 3875, ("val", "NORMAL"): 8,
        ("val", "PNEUMONIA"): 8, ("test", "NORMAL"): 234, ("test", "PNEUMONIA"): 390,
    }  # fmt: skip
