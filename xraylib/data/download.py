"""Get the Kaggle data set into data/chest_xray: no account, resumed where it stopped, counted when it is there."""

import sys
from collections import Counter
from pathlib import Path

from xraylib.config import REPOSITORY
from xraylib.data.index import CLASSES, OFFICIAL, find_root, list_images
from xraylib.files import UserError

# With its version the handle is found in kagglehub's cache without a network; without it, never.
HANDLE = "paultimothymooney/chest-xray-pneumonia/versions/2"
BY_HAND = (
    "Download the archive in a browser from the Kaggle page of the data set paultimothymooney/chest-xray-pneumonia, "
    "unpack it, and move its folder chest_xray to {target}; or name a folder that you have: make reproduce DATA=folder."
)


def fetch() -> Path:
    """The folder that kagglehub, which resumes and checks the archive's hash, unpacks to; UserError where it cannot."""
    import kagglehub  # slow to import

    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # every network has its own way to fail, and the remedy is the same
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"{HANDLE}: not downloaded ({reason}).") from error


def count(root: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """(folder, class) -> films here, films in the official archive."""
    here = Counter(path.relative_to(root).parts[:2] for path in list_images(root)[0])
    official: Counter = Counter()
    for (folder, subtype), films in OFFICIAL.items():
        official[folder, CLASSES[subtype != "normal"]] += films
    return {key: (here[key], films) for key, films in official.items()}


def main() -> int:
    """Command line: python -m xraylib.data.download [data/chest_xray]."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "data" / "chest_xray"
    try:
        if not target.exists():
            print("Downloading 1.2 GB from Kaggle; if it stops, the same command goes on where it was.", flush=True)
            root = find_root(fetch())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # a link to a cache that was removed
            target.symlink_to(root, target_is_directory=True)
        counts = count(find_root(target))
    except (UserError, OSError) as error:
        print(f"{error}\n{BY_HAND.format(target=target)}")
        return 1
    wrong = {key: numbers for key, numbers in counts.items() if numbers[0] != numbers[1]}
    for (folder, name), (here, official) in wrong.items():
        print(f"{target}/{folder}/{name}: {here:,} films; the official archive has {official:,}")
    total = sum(here for here, _ in counts.values())
    print(f"{total:,} films in {target}{'' if wrong else ', as in the official archive'}. Next: make reproduce")
    return 0


if __name__ == "__main__":
    sys.exit(main())
