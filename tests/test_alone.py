"""A command that must be alone is; a lock lasts as long as whoever works under it, and no longer."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from tools import alone

MARK = """
import pathlib, sys, time
f = open(sys.argv[1], 'a', buffering=1)
print('in', file=f)
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.02)
print('out', file=f)
"""


def start(lock, *code, **kwargs):
    command = [sys.executable, alone.__file__, str(lock), sys.executable, "-c", *code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)


def test_commands_take_turns_and_whoever_waits_says_so(tmp_path):
    marks, leave = tmp_path / "marks", tmp_path / "leave"
    runs = [start(tmp_path / "lock", MARK, str(marks), str(leave)) for _ in range(4)]
    while sum(run.stdout in select.select([run.stdout], [], [], 0.02)[0] for run in runs) < 3:
        assert all(run.poll() is None for run in runs)  # one is in; it leaves when the others have said that they wait
    leave.touch()
    said = [run.communicate()[0] for run in runs]
    assert marks.read_text().split() == ["in", "out"] * 4
    assert sum("Waiting: process" in text for text in said) == 3


def test_a_killed_holder_leaves_no_lock_but_its_children_keep_it(tmp_path):
    lock, child = tmp_path / "lock", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    run = start(lock, child)
    pid = int(run.stdout.readline())
    run.kill()
    run.wait()
    other = start(lock, "print('my turn')")
    assert "Waiting: process" in other.stdout.readline()
    time.sleep(0.3)
    assert other.poll() is None, "the child still works, and yet another began"
    os.kill(pid, signal.SIGKILL)
    assert other.communicate()[0] == "my turn\n"


def test_the_commands_status_is_passed_on(tmp_path):
    assert start(tmp_path / "lock", "raise SystemExit(7)").wait() == 7
    assert start(tmp_path / "lock", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)").wait() == 128 + 15


def test_a_place_that_cannot_be_written_to_is_one_message(tmp_path):
    run = start(tmp_path / "nowhere" / "lock", "print('never')")
    said = run.communicate()[0]
    assert run.returncode == 1
    assert "No such file or directory. Wanted a folder that can be written to" in said
    assert len(said.splitlines()) == 1


def test_within_one_process_the_lock_is_free_again_after_a_failure(tmp_path):
    with pytest.raises(RuntimeError), alone.alone(tmp_path / "lock"):
        raise RuntimeError
    with alone.alone(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()}"
