"""What make does around the notebooks: set-up of .venv, the list of images, clean. Set-up needs only Python itself."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

VENV, INSTALLED, LOCKED = Path(".venv"), Path(".venv/installed"), Path("requirements.lock")
LOG, PYTHON = VENV / "setup.log", str(VENV / "bin" / "python")
PIP = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
# A user's settings of pip and uv that say how packages are reached; others decide what is installed, and where.
REACH = re.compile(r"(PIP|UV)_(.*(INDEX|HOST|CERT|PROXY|TIMEOUT|RETRIES|CACHE|KEYRING|TLS).*|FIND_LINKS|OFFLINE)")


def install() -> int:
    """Make .venv from requirements.lock, with progress: by uv, where that fails by pip, whose words go to LOG."""
    import fcntl

    with open(".lock", "a") as lock:  # the lock of files.alone, by Python itself
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting: another run writes here.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCKED.stat().st_mtime:
            return 0
        return _install()


def _install() -> int:
    if os.pathsep in os.getcwd():
        print(
            f"{os.getcwd()}: '{os.pathsep}' is in the path, so Python makes no environment there. Rename that folder."
        )
        return 1
    print(f"Setting up {VENV} with Python {sys.version.split()[0]}: about 150 packages, up to 3 minutes", flush=True)
    if subprocess.run([sys.executable, "-m", "venv", VENV]).returncode:
        print(f"{sys.executable}: can't make {VENV}. Install its venv module, or name another: make PYTHON=path")
        return 1
    uv = [f"{VENV}/bin/uv", "pip", "install", "--python", str(VENV), "--system-certs"]  # as pip, behind a proxy too
    only_uv = VENV / "uv.txt"
    only_uv.write_text(re.findall(r"^uv==[^#]+", LOCKED.read_text(), re.MULTILINE)[0])
    # pip installs all where uv can't reach what pip is set up for.
    done = _run(PIP, "--require-hashes", "-r", only_uv) and _run(uv, "--require-hashes", "-r", LOCKED)
    done = done or _run(PIP, "--require-hashes", "-r", LOCKED)
    if not (done and _run(PIP, "--no-deps", "--no-build-isolation", "-e", ".")):
        print("".join(LOG.read_text().splitlines(True)[-20:]) + f"Set-up failed; {LOG} says why.")
        return 1
    INSTALLED.touch()
    return 0


def environment() -> dict[str, str]:
    """The user's environment; of the settings of pip and uv, in variables and pip.conf, only those that REACH names."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}
    # With `user = true`, the user's own file alone would be listed.
    asked = kept | {"PIP_CONFIG_FILE": os.environ.get("PIP_CONFIG_FILE", ""), "PIP_USER": "0"}
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], env=asked, capture_output=True, text=True).stdout
    lines = re.findall(r"^(global|install)\.(\S+?)=(.+)$", listed, re.MULTILINE)  # sorted: install's come last, and win
    settings = {f"PIP_{name.upper().replace('-', '_')}": ast.literal_eval(value) for _, name, value in lines}
    reached = {name: value for name, value in (settings | os.environ).items() if REACH.fullmatch(name)}
    return kept | reached | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}


def _run(installer: list[str], *packages: str | Path) -> bool:
    """Whether the installer succeeds; its words go to LOG, those of progress to the screen too."""
    command = [*installer, *map(str, packages)]
    with LOG.open("a") as log, Popen(command, stdout=PIPE, stderr=STDOUT, text=True, env=environment()) as process:
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
    """Command line: python tools/setup.py install | add PACKAGE | images TARGET | clean."""
    if sys.argv[1] == "install":
        return install()
    if sys.argv[1] == "add":
        return int(not _run(PIP, sys.argv[2]))
    from xraylib.files import UserError

    try:
        return clean() if sys.argv[1] == "clean" else images(Path(sys.argv[2]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
