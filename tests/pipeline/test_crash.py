"""Killed at any write, a run goes on where it was: nothing lost, nothing twice, nothing locked, nothing left."""
import json
import os
import random
import signal
import time

import pytest

from helpers.subject import BEFORE, WORKERS, Subject, outs, sweep


def check_continuation(subject: Subject, what: str) -> None:
    "After a kill: run again, and everything is as if nothing had happened"
    before, ended = subject.told(), subject.ended()
    again = subject.run()
    assert again["code"] == 0, f"{what}: {again}"
    assert outs(again) == subject.wanted, what
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


def kill_at(subject: Subject, number: int, composed: bool = True) -> bool:
    "A fresh start, killed at its n-th change; was there one?"
    subject.reset(composed)
    killed = subject.run(MLOPS_FAILPOINT=f"{number}:kill")
    if killed["code"] == 0:
        return False
    assert killed["code"] == -9, f"change {number}: {killed}"
    check_continuation(subject, f"killed at change {number}")
    return True


@pytest.mark.parametrize("every, first", [(16, time.localtime().tm_yday % 16), pytest.param(1, 0, marks=pytest.mark.long)])
def test_killed_at_every_write(subjects, every, first):
    changes, begun = subjects[0].changes, time.monotonic()
    checked = sweep(subjects, range(1 + first, 2 * changes, every), kill_at)
    print(f"{checked} of {changes} changes, {time.monotonic() - begun:.0f} s")
    assert checked >= (changes - 12) // every, f"{checked} of {changes}: how many there are depends a little on which step comes first"


def test_killed_while_the_configuration_and_what_is_known_of_packages_are_kept(subjects):
    assert sweep(subjects, [1, 3, 5, 7, 40, 300], lambda subject, number: kill_at(subject, number, composed=False)) == 6


REAL = """
import numpy as np, polars as pl, matplotlib.pyplot as plt
rows = pl.DataFrame({"x": np.random.default_rng(len(name)).normal(size=20_000)}).with_columns(y=pl.col("x") ** 2)
plt.hist(rows["x"], bins=50)
plt.show()
rows.describe()
"""


@pytest.mark.long
@pytest.mark.parametrize("engine, kills", [("mlops", 300), ("kernel", 30)])
def test_killed_at_random_times(tmp_path, engine, kills):
    "Notebooks as people write them; the process alone is killed, or its whole group"
    chance, begun = random.Random(45), time.monotonic()
    subjects = [Subject(tmp_path / str(number), REAL, engine=engine) for number in range(2)]
    for one in subjects:
        clock = time.monotonic()
        one.wanted, one.seconds, one.killed = outs(one.run()), time.monotonic() - clock, 0
    moments = [(chance.uniform(0, 0.8), chance.choice([os.kill, os.killpg])) for _ in range(kills)]

    def kill(subject: Subject, number: int) -> bool:
        share, how = moments[number]  # the last fifth of an undisturbed run is often over before
        subject.reset()
        pid = subject.start()
        time.sleep(share * subject.seconds)
        how(pid, signal.SIGKILL)
        subject.killed += subject.mlops.wait()["code"] == -9
        check_continuation(subject, f"killed after {share * subject.seconds:.3f} s")
        return True

    assert sweep(subjects, range(kills), kill) == kills
    for one in subjects:
        one.mlops.close()
    print(f"{engine}: killed {sum(one.killed for one in subjects)} times of {kills}, {time.monotonic() - begun:.0f} s")
