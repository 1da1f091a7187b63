"""Mutation testing: spoil one place of a module at a time, and see whether its tests notice; the survivors are printed.

python tests/mutate.py index --most 60    needs cosmic-ray, in whatever environment: --cosmic-ray path/to/it
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import kills
import numpy as np

TESTS = {
    "metrics": ("tests/test_metrics.py",),
    "index": ("tests/test_index.py", "tests/test_faults.py"),
    "audit": ("tests/test_audit.py",),
}

CONFIG = """
[cosmic-ray]
module-path = "xraylib/{name}.py"
timeout = 300.0
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def sample(session: Path, most: int, seed: int) -> tuple[int, int]:
    """Keep `most` random mutants of the session; returns how many there were, and how many are left."""
    with sqlite3.connect(session) as database:
        in_order = "select job_id from mutation_specs order by operator_name, operator_args, occurrence"
        jobs = [job for (job,) in database.execute(in_order)]
        kept = sorted(np.random.default_rng(seed).permutation(jobs)[:most].tolist())
        for table in ("mutation_specs", "work_items"):
            marks = ",".join("?" * len(kept))
            database.execute(f"delete from {table} where job_id not in ({marks})", kept)
    return len(jobs), len(kept)


def main() -> int:
    """Command line: see above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", choices=TESTS)
    parser.add_argument("--most", type=int, default=10_000, help="mutants, drawn at random; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cosmic-ray", default="cosmic-ray")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        clone, session = kills.copy(Path(name) / "clone"), Path(name) / "session.sqlite"
        shutil.copytree(kills.ROOT / "tests", clone / "tests")
        config = Path(name) / "config.toml"
        tests = " ".join(TESTS[arguments.module])
        config.write_text(CONFIG.format(name=arguments.module, python=sys.executable, tests=tests))
        ray = [arguments.cosmic_ray]
        common = {"cwd": clone, "env": kills.environment(clone), "check": True}
        subprocess.run([*ray, "baseline", str(config)], **common)
        subprocess.run([*ray, "init", str(config), str(session)], **common)
        n, kept = sample(session, arguments.most, arguments.seed)
        print(f"{arguments.module}: {kept} of {n} mutants", flush=True)
        subprocess.run([*ray, "exec", str(config), str(session)], **common)
        reporter = ray[0].replace("cosmic-ray", "cr-report")
        subprocess.run([reporter, "--surviving-only", "--show-diff", str(session)], **common)
    return 0


if __name__ == "__main__":
    sys.exit(main())
