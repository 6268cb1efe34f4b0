"""Killed at any write, a run goes on where it was: nothing lost, nothing twice, nothing locked, nothing left."""
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import pytest

from conftest import Project
from prepared import Prepared

STEP = """
import json, os
def note(what):
    "Tell somebody outside, for good"
    journal = os.open({journal!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_SYNC)
    os.write(journal, f"{{what}} {{name}}\\n".encode())
    os.close(journal)
note("START")
found = [json.loads(path.read_text()) for path in sorted(Path("in").glob("*")) if path.is_file()]
Path(result).write_text(json.dumps([name, found]))
note("END")
"""
PARAMETERS = 'from pathlib import Path\nname: str = ""\nresult: str = ""'
BEFORE = {"one": (), "two": ("one",), "three": ("one",), "four": ("two", "three"), "five": ("four",), "six": ()}
WORKERS = 2  # steps at a time


class Subject:
    "A pipeline of six steps that tell somebody outside what they do, and a prepared process to run it"

    def __init__(self, root: Path):
        self.project = Project(root / "project")
        self.store, self.journal = self.project.root / ".mlops", root / "journal"
        self.project.notebook("step", STEP.format(journal=str(self.journal)), parameters=PARAMETERS)
        steps = (f"{name}: {{notebook: notebooks/step.ipynb, params: {{name: {name}}}, ins: {{{', '.join(f'{one}: {one}.result' for one in before)}}}, outs: {{result: {name}.json}}}}" for name, before in BEFORE.items())
        self.project.pipeline("\n".join(steps))
        self.mlops = Prepared(self.project.root)

    def run(self, **environment: str) -> dict:
        "Run the pipeline"
        return self.mlops("run", "pipeline=demo", f"executor.workers={WORKERS}", "--json", **environment)

    def told(self) -> list[str]:
        "What the steps have told"
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def reset(self, composed: bool = True) -> None:
        "As if nothing had ever run; but what Hydra composed may be remembered, as composing takes as long as all the rest"
        for path in self.store.iterdir():
            if path.name != "composed" or not composed:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.journal.unlink(missing_ok=True)

    def ended(self) -> set[str]:
        "The steps that the record of some run calls ended"
        lines = [json.loads(line) for path in self.store.glob("runs/*/events.jsonl") for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        return {line["step"] for line in lines if line["event"] == "ended"}


def outs(answer: dict) -> dict:
    "The digests of all outs that a run tells of"
    return {name: step["outs"] for name, step in json.loads(answer["output"])["steps"].items()}


def check_continuation(subject: Subject, wanted: dict, what: str) -> None:
    "After a kill: run again, and everything is as if nothing had happened"
    before, ended = subject.told(), subject.ended()
    again = subject.run()
    assert again["code"] == 0, f"{what}: {again}"
    assert outs(again) == wanted, what
    told = subject.told()
    twice = {name for name in BEFORE if told.count(f"START {name}") > 1}
    assert all(told.count(f"START {name}") in (1, 2) for name in BEFORE), f"{what}: {told}"
    followed = {one for name, needed in BEFORE.items() if f"START {name}" in before for one in needed}
    assert len(twice) <= WORKERS and not twice & (ended | followed), f"{what}: {twice} ran again; before the kill {before}, ended {ended}"
    for folder in ("tmp", "leases"):
        left = [path.name for path in (subject.store / folder).iterdir() if not path.name.startswith(".")]
        assert not left, f"{what}: left in {folder}: {left}"
    health = subject.mlops("fsck", "--json")
    assert health["code"] == 0 and not json.loads(health["output"])["incomplete"], f"{what}: {health}"


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    "Two of them, for two cores, and what an undisturbed run tells"
    made = [Subject(tmp_path_factory.mktemp("crash")) for _ in range(2)]
    for one in made:
        for words in (("run", "pipeline=demo", f"executor.workers={WORKERS}"), ("fsck",)) * 2:
            assert (answer := one.mlops(*words))["code"] == 0, answer
        one.reset()
    whole = made[0].run()
    yield made, outs(whole), whole["changes"]
    for one in made:
        one.mlops.close()


def kill_at(subject: Subject, number: int, wanted: dict, composed: bool = True) -> bool:
    "A fresh start, killed at its n-th change; was there one?"
    subject.reset(composed)
    killed = subject.run(MLOPS_FAILPOINT=f"{number}:kill")
    if killed["code"] == 0:
        return False
    assert killed["code"] == -9, f"change {number}: {killed}"
    check_continuation(subject, wanted, f"killed at change {number}")
    return True


def sweep(subjects: list[Subject], numbers, check) -> int:
    "Check each number, half of them with each subject, until there is nothing left to check; how many there were"
    with ThreadPoolExecutor(len(subjects)) as pool:
        return sum(pool.map(lambda at: sum(1 for _ in takewhile(lambda number: check(subjects[at], number), numbers[at::len(subjects)])), range(len(subjects))))


@pytest.mark.parametrize("every, first", [(6, time.localtime().tm_yday % 6), pytest.param(1, 0, marks=pytest.mark.long)])
def test_killed_at_every_write(subjects, every, first):
    made, wanted, changes = subjects
    begun = time.monotonic()
    checked = sweep(made, range(1 + first, 2 * changes, every), lambda subject, number: kill_at(subject, number, wanted))
    print(f"{checked} of {changes} changes, {time.monotonic() - begun:.0f} s")
    assert checked >= (changes - 12) // every, f"{checked} of {changes}: how many there are depends a little on which step comes first"


def test_killed_while_the_configuration_is_kept(subjects):
    made, wanted, _ = subjects
    assert sweep(made, range(1, 7), lambda subject, number: kill_at(subject, number, wanted, composed=False)) == 6
