"""A file is written whole or not at all."""

import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from xraylib.files import (
    UNFINISHED,
    UserError,
    alone,
    atomic,
    printable,
    quiet,
    say,
    write_bytes,
    write_json,
    write_table,
)


def test_a_failure_leaves_the_earlier_file_and_no_rest(tmp_path):
    path = tmp_path / "metrics.json"
    write_bytes(b"earlier", path)
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_is_complete_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "table.csv"
    write_table(pd.DataFrame({"a": [1, 2], "b": [0.1, None]}), path)
    assert path.read_bytes() == b"a,b\n1,0.1\n2,\n"
    assert path.stat().st_mode & 0o044 == 0o044 and list(path.parent.iterdir()) == [path]


def test_links_modes_devices_and_pipes_stay_what_they_are(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "target").chmod(0o640)
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("new/file")
    before = os.umask(0o077)
    try:
        for name in ("link", "dangling"):
            write_bytes(b"new", tmp_path / name)
    finally:
        os.umask(before)
    assert (tmp_path / "target").read_bytes() == (tmp_path / "new" / "file").read_bytes() == b"new"
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("target", "new/file")]
    assert modes == [0o640, 0o600] and (tmp_path / "link").is_symlink() and (tmp_path / "dangling").is_symlink()
    master, slave = os.openpty()  # a device
    read, write = os.pipe()
    for path, other in ((os.ttyname(slave), master), (f"/dev/fd/{write}", read)):
        write_bytes(b"for a reader", Path(path))
        assert os.read(other, 100) == b"for a reader"
    os.close(read)
    for path, why in ((f"/dev/fd/{write}", "Broken pipe"), (tmp_path, "directory")):
        with pytest.raises(UserError, match=why):
            write_bytes(b"nobody reads this", Path(path))
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))


def test_text_is_one_line_of_a_table():
    assert printable("a\rb\n\x85\u2028\x1b\udce9 \u00e9 \u80f8") == "a\\rb\\n\\x85\\u2028\\x1b\\udce9 \u00e9 \u80f8"


def test_silence_in_many_threads_leaves_standard_error_as_it_was():
    def silent(_):
        with quiet():
            os.write(2, b"an announcement")
            time.sleep(0.001)

    before = os.fstat(2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(silent, range(40)))
    assert os.path.samestat(os.fstat(2), before)


def test_what_is_said_to_nobody_ends_no_work():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="ascii") as stream:
        for message in ("caf\u00e9", "more"):
            say(message, stream)


def test_json_is_the_same_for_the_same_values_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    for value in ({"b": 1, "a": 0.1}, {"a": 0.1, "b": 1}):
        write_json(value, path)
        assert path.read_bytes() == b'{\n "a": 0.1,\n "b": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"a": float("nan")}, path)


def test_the_lock_lets_one_process_in_at_a_time(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from xraylib.files import alone\n"
        "with alone(Path(sys.argv[1])) as waited:\n    print('in', waited, flush=True); time.sleep(float(sys.argv[2]))"
    )

    def start(seconds):
        command = [sys.executable, "-c", code, str(tmp_path / "lock"), seconds]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    first = start("60")
    assert first.stdout.readline() == "in False\n"
    second = start("0")
    assert second.stdout.readline().startswith("Waiting: another run writes here")
    first.kill()  # the system takes its lock back
    assert second.communicate()[0] == "in True\n"
    with alone(tmp_path / "lock") as waited:
        assert not waited


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
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    contents, left = map(int, ran.stdout.split())
    assert contents == 2, "no kill came between two writes: the test proves nothing"
    assert left > 0, "no kill came within a write: the test proves nothing"
