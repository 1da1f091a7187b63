"""Kill `make reproduce` at random moments; each time it is run again, and must end as a run that nobody killed.

python tests/kills.py --kills 30    in a copy of the clone, sample profile; prints each kill and the checksums' verdict
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CLOCKS = ("timing.json", "done.json", "images.txt")  # what holds seconds, or the dates of the images

# Whom the signal reaches: all processes of the run (a power cut, Ctrl-C), or make alone (its notebook goes on).
WAYS = {
    "SIGKILL to all": (os.killpg, signal.SIGKILL),
    "Ctrl-C": (os.killpg, signal.SIGINT),
    "SIGTERM to all": (os.killpg, signal.SIGTERM),
    "SIGKILL to make alone": (os.kill, signal.SIGKILL),
}


def copy(target: Path, notebooks: Path = ROOT / "notebooks") -> Path:
    """The project's files in the folder `target`, with these notebooks and the environment that runs this."""
    shutil.copytree(ROOT / "xraylib", target / "xraylib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(notebooks, target / "notebooks")
    (target / "results").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "results/field.csv"):
        shutil.copy2(ROOT / name, target / name)
        os.utime(target / name, (0, 0))  # older than the environment, which is not to be set up here
    (target / ".venv").symlink_to(ROOT / ".venv")
    return target


def environment(clone: Path) -> dict[str, str]:
    """This process' environment, with the clone's xraylib, and without what make or a study was told here."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XRAY", "DATA", "MAKE", "MFLAGS"))}
    return kept | {"PYTHONPATH": str(clone)}


def start(clone: Path, log: Path, *arguments: str) -> subprocess.Popen:
    """`make reproduce` in the clone, as a group of processes of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["make", "reproduce", *arguments],
            cwd=clone,
            env=environment(clone),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def checksums(*folders: Path) -> dict[str, str]:
    """Path -> SHA-256 of the files in the folders, but for those with a clock."""
    files = sorted(p for folder in folders for p in folder.rglob("*") if p.is_file() and p.name not in CLOCKS)
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def unfinished(clone: Path) -> list[Path]:
    """What a killed run had begun to write and nobody has swept."""
    return list(clone.rglob(".unfinished-*"))


def kill(run: subprocess.Popen, way: str, after: float) -> bool:
    """Whether the run was killed; it may have ended before."""
    try:
        run.wait(after)
    except subprocess.TimeoutExpired:
        send, number = WAYS[way]
        send(run.pid, number)
        run.wait()
        return True
    return False


def finish(clone: Path, log: Path, *arguments: str) -> None:
    """Run to the end; RuntimeError, with the end of the log, where it fails."""
    if start(clone, log, *arguments).wait():
        raise RuntimeError(f"make reproduce failed:\n{log.read_text()[-3000:]}")


def main() -> int:
    """Command line: see above; status 1 where a result differs or something is left over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", default="sample")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    profile = f"PROFILE={arguments.profile}"
    with tempfile.TemporaryDirectory() as name:
        clone, log = copy(Path(name) / "a clone"), Path(name) / "log"
        build = clone / "build" / arguments.profile
        results = [build] if arguments.profile == "sample" else [build, clone / "results", clone / "Plot"]
        started = time.monotonic()
        finish(clone, log, profile)
        whole, wanted = time.monotonic() - started, checksums(*results)
        print(f"a run that nobody kills: {len(wanted)} files in {whole:.0f} s", flush=True)
        done, wrong, rounds = 0, 0, 0
        while done < arguments.kills:
            rounds += 1
            for folder in (*results, clone / "build" / "phantoms"):
                shutil.rmtree(folder, ignore_errors=True)
            while done < arguments.kills:
                way = list(WAYS)[int(rng.integers(len(WAYS)))]
                after = float(rng.uniform(0.2, whole / 3))
                if not kill(start(clone, log, profile), way, after):
                    break
                done += 1
                print(f"kill {done}: {way} after {after:.1f} s", flush=True)
            finish(clone, log, profile)
            found = checksums(*results)
            differ = sorted(str(Path(p).relative_to(clone)) for p in wanted.keys() | found.keys()
                            if wanted.get(p) != found.get(p))  # fmt: skip
            left = unfinished(clone)
            wrong += len(differ) + len(left)
            print(f"run {rounds} done: {len(differ)} of {len(wanted)} files differ {differ}, {len(left)} left over",
                  flush=True)  # fmt: skip
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
