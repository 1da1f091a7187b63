"""What make does around the notebooks: set-up of .venv, the list of images, clean. Set-up needs only Python itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

VENV, INSTALLED, LOCKED = Path(".venv"), Path(".venv/installed"), Path("requirements.lock")
LOG = VENV / "setup.log"


def install() -> int:
    """Make .venv from requirements.lock, with progress: by uv, where that fails by pip, whose words go to LOG."""
    import fcntl

    with open(".lock", "a") as lock:  # the lock of files.alone: filelock is not installed yet
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting: another run writes here.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCKED.stat().st_mtime:
            return 0
        return _install()


def _install() -> int:
    print(f"Setting up {VENV} with Python {sys.version.split()[0]}: about 150 packages, up to 3 minutes", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", VENV]).returncode:
        print(f"{sys.executable}: can't make {VENV}. Install its venv module, or name another: make PYTHON=path")
        return 1
    pip = [f"{VENV}/bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
    uv = [f"{VENV}/bin/uv", "pip", "install", "--python", str(VENV), "--system-certs"]  # as pip, behind a proxy too
    only_uv = VENV / "uv.txt"
    only_uv.write_text(re.findall(r"^uv==[^#]+", LOCKED.read_text(), re.MULTILINE)[0])
    # pip installs all where uv can't reach what pip is set up for.
    done = _run(pip, "--require-hashes", "-r", only_uv) and _run(uv, "--require-hashes", "-r", LOCKED)
    done = done or _run(pip, "--require-hashes", "-r", LOCKED)
    if not (done and _run(pip, "--no-deps", "--no-build-isolation", "-e", ".")):
        print("".join(LOG.read_text().splitlines(True)[-20:]) + f"Set-up failed; {LOG} says why.")
        return 1
    INSTALLED.touch()
    return 0


def _run(installer: list[str], *packages: str | Path) -> bool:
    """Whether the installer succeeds; its words go to LOG, those of progress to the screen too."""
    command = [*installer, *map(str, packages)]
    with LOG.open("a") as log, Popen(command, stdout=PIPE, stderr=STDOUT, text=True) as process:
        for line in process.stdout or ():
            log.write(line)
            if line.lstrip().startswith(("Downloading", "Prepared", "Installing", "Installed")):
                print(f"  {line.strip()[:100]}", flush=True)
    return process.returncode == 0


def images(target: Path) -> int:
    """Write the list of images and masks, with sizes and times, to `target`; a list that is the same keeps its time."""
    from xraylib.config import load_config
    from xraylib.files import UserError, write_bytes

    config = load_config()
    if not config.data.is_dir():
        raise UserError(
            f"{config.data}: no such folder. Wanted a chest_xray folder with train/, val/ and test/. Get the images "
            "with: make data. Or name the folder: make reproduce DATA=folder. Without either, phantoms are used."
        )
    lines = [str(config.data), str(config.masks)]
    for root in filter(None, (config.data, config.masks)):
        for folder, _, names in os.walk(root):
            for path in (os.path.join(folder, name) for name in names):
                status = os.stat(path) if os.path.exists(path) else os.lstat(path)  # the index says what can't be read
                lines.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    listed = os.fsencode("\n".join(sorted(lines)))
    if not target.exists() or target.read_bytes() != listed:
        write_bytes(listed, target)
    return 0


def clean() -> int:
    """Remove build/, and what killed runs left beside results, figures and networks."""
    from xraylib.files import UNFINISHED, alone

    with alone():
        shutil.rmtree("build", ignore_errors=True)
        for folder in ("results", "Plot", "models", "notebooks"):
            for path in Path(folder).rglob(f"{UNFINISHED}*"):
                path.unlink()
    return 0


def main() -> int:
    """Command line: python tools/setup.py install | images TARGET | clean."""
    if sys.argv[1] == "install":
        return install()
    from xraylib.files import UserError

    try:
        return clean() if sys.argv[1] == "clean" else images(Path(sys.argv[2]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
