"""A run that is killed while it writes leaves the earlier file or the new one, never part of one."""

import subprocess
import sys
from pathlib import Path

WRITER = """
import os, random, signal, sys, time
from pathlib import Path
from xraylib.files import write_bytes
path, rng = Path(sys.argv[1]), random.Random(0)
write_bytes(b"a" * 300_000, path)
seen = set()
for _ in range(int(sys.argv[2])):
    if not (writer := os.fork()):
        while True:
            for letter in (b"a", b"b"):
                write_bytes(letter * 300_000, path)
    time.sleep(rng.uniform(0, 0.03))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    data = path.read_bytes()
    seen.add(data)
    assert data in (b"a" * 300_000, b"b" * 300_000), f"{len(data)} bytes of {set(data)}"
print(len(seen), len(list(path.parent.glob(".unfinished-*"))))
"""


def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "table.csv"), "40"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent)
    assert ran.returncode == 0, ran.stderr
    contents, left = map(int, ran.stdout.split())
    assert contents == 2, "no kill came between two writes: the test proves nothing"
    assert left > 0, "no kill came within a write: the test proves nothing"
