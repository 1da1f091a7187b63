"""Get the Kaggle data set into data/chest_xray: no account, resumed where it stopped, counted when it is there."""

import os
import shutil
import sys
from pathlib import Path

from xraylib.config import REPOSITORY
from xraylib.data.index import CLASSES, FOLDERS, OFFICIAL, find_root, list_images
from xraylib.files import UserError

# With its version the handle is found in kagglehub's cache without a network; without it, never.
HANDLE = "paultimothymooney/chest-xray-pneumonia/versions/2"
BY_HAND = (
    "Download the archive in a browser from the Kaggle page of the data set paultimothymooney/chest-xray-pneumonia, "
    "unpack it, and move its folder chest_xray to {target}; or name a folder that you have: make reproduce DATA=folder."
)


def fetch() -> Path:
    """Download with kagglehub, which resumes and checks the archive's hash; returns the folder that it unpacked to.

    Raises UserError, with what to do by hand, where it can't be had.
    """
    import kagglehub  # slow to import, and needed here alone

    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # every network has its own way to fail, and the remedy is the same
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"{HANDLE}: not downloaded ({reason}).") from error


def place(root: Path, target: Path) -> None:
    """Make `target` the chest_xray folder `root`: a link into the cache where links are possible, else a copy.

    Raises UserError where something else already stands at `target`.
    """
    if target.is_symlink():
        target.unlink()
    if target.exists():
        raise UserError(f"{target}: already there, and not a link of ours. Move it away, or use it as it is.")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(root, target_is_directory=True)
    except OSError:
        unfinished = target.with_name(f".{target.name}-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(root, unfinished)
        os.replace(unfinished, target)


def count(root: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """(folder, class) -> files here, files in the official archive."""
    files = [path.relative_to(root).parts[:2] for path in list_images(root)[0]]
    official = {
        (folder, name): sum(n for (f, subtype), n in OFFICIAL.items() if f == folder and (subtype != "normal") == label)
        for folder in FOLDERS
        for label, name in enumerate(CLASSES)
    }
    return {key: (files.count(key), wanted) for key, wanted in official.items()}


def main() -> int:
    """Command line: python -m xraylib.data.download [data/chest_xray]."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "data" / "chest_xray"
    try:
        if not target.exists():
            print("Downloading 1.2 GB from Kaggle; if it stops, the same command goes on where it was.", flush=True)
            place(find_root(fetch()), target)
        counts = count(find_root(target))
    except UserError as error:
        print(f"{error}\n{BY_HAND.format(target=target)}")
        return 1
    wrong = {key: numbers for key, numbers in counts.items() if numbers[0] != numbers[1]}
    for (folder, name), (here, official) in wrong.items():
        print(f"{target}/{folder}/{name}: {here:,} images; the official archive has {official:,}")
    total = sum(here for here, _ in counts.values())
    print(f"{total:,} images in {target}{'' if wrong else ', as in the official archive'}. Next: make reproduce")
    return 0


if __name__ == "__main__":
    sys.exit(main())
