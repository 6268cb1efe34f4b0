"""Many at once, and the broom among them: one record for a key, nothing locked, nothing swept away that is needed."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.subject import outs, sweep

def healthy(subject) -> None:
    "The store is whole, and nothing is left in it"
    health = subject.mlops("fsck", "--json")
    assert health["code"] == 0 and not json.loads(health["output"])["incomplete"], health
    assert not list((subject.store / "tmp").iterdir()) and not list((subject.store / "leases").glob("*.json"))


# -- one key -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.long)])
def test_eight_at_once_end_with_one_record(subject, times):
    "The first time on an empty folder"
    for number in range(times):
        subject.reset(composed=number > 0)
        if number == 0:
            shutil.rmtree(subject.store)
        for _ in range(8):
            subject.start("--until", "one")
        answers = [subject.mlops.wait() for _ in range(8)]
        assert [one["code"] for one in answers] == [0] * 8, answers
        assert all(outs(one) == {"one": subject.wanted["one"]} for one in answers)
        assert subject.told() == ["START one", "END one"], "it was executed once"
        assert len(list(subject.store.glob("records/*"))) == 1 and len(json.loads(subject.mlops("runs", "--json")["output"])) == 8
    healthy(subject)


# -- many writers ------------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from mlops_kit.ledger import append_event, blank_outcome, blank_record, end_run, runs, start_run
from mlops_kit.store import Store

store = Store(Path(sys.argv[1]))
sys.stdin.readline()  # until all are there
for number in range(20):
    run = start_run(store, {"pipeline": "demo", "order": ["step"]})
    append_event(run, "started", step="step", key="0" * 64)
    end_run(run, "done", {"step": blank_outcome(blank_record("step"))}, 1.0)
    assert run.id in [one["run"] for one in runs(store)]
"""


def test_sixteen_write_and_list_runs(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "store"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(16)]
    time.sleep(1)
    for one in writers:
        one.stdin.write("go\n")
        one.stdin.flush()
    errors = [one.communicate(timeout=120)[1] for one in writers]
    assert [one.returncode for one in writers] == [0] * 16, errors
    from mlops_kit.ledger.records import runs
    from mlops_kit.store.objects import Store
    found = runs(Store(tmp_path / "store"))
    assert len(found) == 320 and {one["status"] for one in found} == {"done"}
    assert runs(Store(tmp_path / "store"), 5) == found[:5]


# -- the broom ---------------------------------------------------------------------------------------------------------------


def forget(subject) -> None:
    "Nothing refers any more to what was made"
    for name in ("records", "refs", "runs"):
        shutil.rmtree(subject.store / name)


def waiting(subject, pid: int) -> None:
    "Until a process stands still"
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline, "it does not stop"
        time.sleep(0.02)


@pytest.mark.parametrize("at", [2, *(pytest.param(at, marks=pytest.mark.long) for at in (1, 5, 9))])
@pytest.mark.parametrize("end", [pytest.param(signal.SIGCONT, marks=pytest.mark.long), signal.SIGKILL])
def test_gc_stands_still_between_looking_and_moving_while_a_run_starts(subject, at, end):
    assert subject.run()["code"] == 0
    forget(subject)  # the run will make and need what gc has found to be loose
    pid = subject.mlops.start("gc", "--grace", "0s", MLOPS_FAILPOINT=f"{at}:stop")
    waiting(subject, pid)
    started = subject.start()
    time.sleep(2)
    assert Path(f"/proc/{started}").exists() and not list(subject.store.glob("runs/*")), "the run waits"
    os.kill(pid, end)
    swept, run = subject.mlops.wait(), subject.mlops.wait()
    assert swept["code"] == (0 if end == signal.SIGCONT else -9)
    assert run["code"] == 0 and outs(run) == subject.wanted and "waiting until `mlops gc` has ended" in run["error"], run
    healthy(subject)


def test_gc_does_not_come_between_content_and_record(subject):
    "A run stands still somewhere in the middle of its work"
    for at in range(30, 120, 30):
        subject.reset()
        pid = subject.start(MLOPS_FAILPOINT=f"{at}:stop")
        waiting(subject, pid)
        run = next(subject.store.glob("runs/*")).name
        # a second prepared process, as answers come in order
        refused = subprocess.run([Path(sys.executable).with_name("mlops"), "gc", "--grace", "0s"], cwd=subject.project.root, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 2 and run in refused.stderr, refused
        os.kill(pid, signal.SIGCONT)
        assert outs(subject.mlops.wait()) == subject.wanted
    healthy(subject)


@pytest.mark.parametrize("times", [2, pytest.param(30, marks=pytest.mark.long)])
def test_runs_and_gc_mixed(subject, times):
    for _ in range(times):
        subject.reset()
        for number in range(6):
            subject.start(*(["--until", "four"] if number % 2 else []))
            subject.mlops.start("gc", "--wait", "--grace", "0s", "--keep", "1")
        answers = [subject.mlops.wait() for _ in range(12)]
        assert {one["code"] for one in answers} == {0}, answers
        assert all(found[name] == subject.wanted[name] for one in answers[::2] for found in [outs(one)] for name in found)
        healthy(subject)
        again = subject.run()
        assert again["code"] == 0 and outs(again) == subject.wanted


@pytest.fixture(scope="module")
def dirty(subjects, tmp_path_factory):
    "Stores with two runs, one of them old, and content that nothing refers to"
    kept = tmp_path_factory.mktemp("dirty")
    for number, one in enumerate(subjects):
        one.reset()
        assert one.run()["code"] == 0
        records = sorted(one.store.glob("records/*"))
        for path in records[:3]:
            path.unlink()  # made again by the next run
        one.project.edit("conf/pipeline/demo.yaml", "name: six", "name: seven")
        assert one.run()["code"] == 0
        (one.store / "tmp/1-1-0abc").mkdir()
        from mlops_kit.store.objects import Store, put_bytes
        for content in (b"loose", b"looser"):
            put_bytes(Store(one.store), content)
        shutil.copytree(one.store, kept / str(number))
    yield kept
    for one in subjects:
        one.project.edit("conf/pipeline/demo.yaml", "name: seven", "name: six")


@pytest.mark.parametrize("every, first", [(20, time.localtime().tm_yday % 20), pytest.param(1, 0, marks=pytest.mark.long)])
def test_gc_killed_at_every_change(subjects, dirty, every, first):
    def kill_at(subject, number: int) -> bool:
        shutil.rmtree(subject.store)
        shutil.copytree(dirty / str(subjects.index(subject)), subject.store)
        killed = subject.mlops("gc", "--keep", "1", "--grace", "0s", MLOPS_FAILPOINT=f"{number}:kill")
        assert killed["code"] in (0, -9), killed
        health = subject.mlops("fsck", "--json")
        assert health["code"] == 0 and not json.loads(health["output"])["incomplete"], f"{number}: {health}"
        swept = subject.mlops("gc", "--keep", "1", "--grace", "0s", "--json")
        assert swept["code"] == 0, f"{number}: {swept}"
        assert not [path for path in (subject.store / "trash").iterdir()] and not list((subject.store / "tmp").iterdir())
        run = subject.run()
        statuses = {step["status"] for step in json.loads(run["output"])["steps"].values()}
        assert run["code"] == 0 and statuses == {"hit"}, f"{number}: {run}"
        objects = subject.mlops("gc", "--keep", "1", "--grace", "0s", "--json")
        assert json.loads(objects["output"])["objects"] == 0, "the first two have done all there was to do"
        return killed["code"] == -9

    checked = sweep(subjects, range(1 + first, 500, every), kill_at)
    print(f"gc: killed at {checked} changes")
    assert checked >= 20 // every
