"""A flipped bit anywhere in the store is found, and what it damaged is never served."""
import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from mlops_kit.errors import StoreError
from mlops_kit.ledger.maintenance import fsck
from mlops_kit.ledger.records import read_run, run_ids, runs, read_record
from mlops_kit.store.objects import Store, get_bytes
from helpers.subject import outs


@pytest.fixture(scope="module")
def whole(subjects, tmp_path_factory):
    "A store after two runs, with everything that a store may hold"
    subject, kept = subjects[0], tmp_path_factory.mktemp("whole") / "store"
    subject.reset()
    for _ in range(2):
        assert subject.run()["code"] == 0
    subject.mlops("runs")
    shutil.copytree(subject.store, kept)
    return kept


def files_of(store: Path) -> dict[str, list[Path]]:
    "What there is to damage: objects, records of steps and runs, journals, the index"
    return {name: sorted(one.relative_to(store) for one in store.glob(glob) if one.stat().st_size) for name, glob in {
        "object": "objects/*/*", "record": "records/*.json", "run": "runs/*/run.json", "events": "runs/*/events.jsonl", "index": "index.json"}.items()}


def flip(path: Path, chance: random.Random, alike: bool) -> None:
    "Flip one bit; size, time and mode may stay as they were"
    data, about = bytearray(path.read_bytes()), path.stat()
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.unlink()  # the whole store shares the file
    path.write_bytes(data)
    if alike:
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        os.chmod(path, about.st_mode)


def restore(store: Path, whole: Path) -> None:
    "The store as it was; files are links, which is faster: nobody writes into a file that is there"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(whole, store, copy_function=os.link)


def name_of(kind: str, path: Path) -> str:
    "How a report names a file"
    return {"object": path.parent.name + path.name, "record": path.stem, "index": "index.json"}.get(kind, path.parent.name)


def check_readers(store: Store, kind: str, name: str, listed: list[dict]) -> None:
    "Nobody who reads gets what is damaged"
    if kind == "object":
        with pytest.raises(StoreError):
            get_bytes(store, name)
    elif kind == "record":
        assert read_record(store, name) is None
    elif kind == "run":
        with pytest.raises(StoreError):
            read_run(store, name)
    assert runs(store) == listed, "the index, or what the records say"


@pytest.mark.parametrize("flips", [500, pytest.param(5000, marks=pytest.mark.long)])
def test_every_flipped_bit_is_found_and_none_is_served(whole, tmp_path, flips):
    chance, kinds, begun = random.Random(45), files_of(whole), time.monotonic()
    counts = dict.fromkeys(kinds, 0)
    root = tmp_path / "store"
    restore(root, whole)
    listed = runs(Store(root))
    for number in range(flips):
        kind = chance.choice([*kinds, "object", "object"])
        path = chance.choice(kinds[kind])
        flip(root / path, chance, alike=number % 2 == 0)
        if number % 4 < 2:
            check_readers(Store(root), kind, name_of(kind, path), listed)
            if kind in ("object", "index"):  # who reads an object puts it aside, who lists runs makes the index again
                restore(root, whole)
                continue
        found = fsck(Store(root))
        assert (kind, name_of(kind, path).removesuffix("-events")) in [(one["what"], one["name"].removesuffix("-events")) for one in found.damaged], f"{path}: {found}"
        if number % 5 == 0:
            assert fsck(Store(root)).damaged == (), f"{path}: the second time all is well"
        counts[kind] += 1
        restore(root, whole)
    print(f"{flips} flips, checked by fsck: {counts}, {time.monotonic() - begun:.0f} s")
    assert all(counts.values())


@pytest.mark.parametrize("flips", [8, pytest.param(200, marks=pytest.mark.long)])
def test_a_run_over_damage_gives_the_right_result_or_says_what_is_damaged(subject, whole, flips):
    chance, said = random.Random(46), 0
    for number in range(flips):
        restore(subject.store, whole)
        for path in subject.store.glob("records/*"):  # some steps have to run, and read what the others made
            if json.loads(path.read_bytes())["step"] in ("four", "five"):
                path.unlink()
        there = files_of(subject.store)
        flip(subject.store / chance.choice(there[chance.choice(["object", "object", "record", "run", "index"])]), chance, alike=True)
        for attempt in range(3):
            run = subject.run()
            told = json.loads(run["output"])
            assert all(step["outs"] in ({}, subject.wanted[name]) for name, step in told["steps"].items()), run
            if run["code"] == 0:
                break
            assert "damaged" in run["error"], run
            said += 1
        assert run["code"] == 0 and outs(run) == subject.wanted, run
        health = json.loads(subject.mlops("fsck", "--json")["output"])
        again = subject.run()
        assert again["code"] == 0 and outs(again) == subject.wanted, (health, again)
        assert subject.mlops("fsck")["code"] == 0
        for one in outs(again).values():
            get_bytes(Store(subject.store), one["result"])
    print(f"{said} of {flips} flips were met by a run")


def test_the_last_bits_of_every_file_count(whole, tmp_path):
    root = tmp_path / "store"
    for kind, paths in files_of(whole).items():
        restore(root, whole)
        data = bytearray((root / paths[-1]).read_bytes())
        data[-1] ^= 1
        (root / paths[-1]).unlink()
        (root / paths[-1]).write_bytes(data)
        assert kind in [one["what"] for one in fsck(Store(root)).damaged], paths[-1]


def test_a_damaged_run_is_listed_and_put_aside(subject):
    first, second = (json.loads(subject.run()["output"])["run"] for _ in range(2))
    flip(subject.store / f"runs/{second}/run.json", random.Random(1), alike=True)
    listed = json.loads(subject.mlops("runs", "--json")["output"])
    assert {one["run"]: one["status"] for one in listed} == {first: "done", second: "damaged"} and "damaged" in subject.mlops("runs")["output"]
    shown = subject.mlops("show", second)
    assert shown["code"] == 4 and f"run {second} is damaged" in shown["error"] and "mlops fsck" in shown["error"]
    assert subject.mlops("show")["code"] == 4 and subject.mlops("show", first)["code"] == 0
    told = subject.mlops("fsck")
    assert told["code"] == 4 and second in told["output"]
    assert [one["run"] for one in json.loads(subject.mlops("runs", "--json")["output"])] == [first] and run_ids(Store(subject.store)) == [first]
    assert subject.mlops("fsck")["code"] == 0


def test_the_report_names_the_steps_that_must_run_again(subject):
    assert subject.run()["code"] == 0
    out = Store(subject.store).path(subject.wanted["two"]["result"])
    out.chmod(0o600)
    out.write_bytes(b"grown " + out.read_bytes())
    health = subject.mlops("fsck", "--json")
    assert health["code"] == 4 and json.loads(health["output"])["rerun"] == ["demo/two"]
    run = json.loads(subject.run()["output"])["steps"]
    assert {name: step["status"] for name, step in run.items() if step["status"] == "ran"} == {"two": "ran"}


@pytest.mark.parametrize("kind", ["truncated", "emptied", "gone", "folder", "link"])
def test_an_object_that_is_something_else(subject, tmp_path, kind):
    assert subject.run()["code"] == 0
    out = Store(subject.store).path(subject.wanted["six"]["result"])
    content = out.read_bytes()
    out.unlink()
    (tmp_path / "canary").write_bytes(content)
    match kind:
        case "truncated": out.write_bytes(content[:-1])
        case "emptied": out.write_bytes(b"")
        case "folder": out.mkdir()
        case "link": out.symlink_to(tmp_path / "canary")
    health = json.loads(subject.mlops("fsck", "--json")["output"])
    assert health["rerun"] == ["demo/six"]
    assert subject.mlops("fsck")["code"] == 0
    assert outs(subject.run()) == subject.wanted and out.read_bytes() == content and not out.is_symlink()
    assert (tmp_path / "canary").read_bytes() == content
