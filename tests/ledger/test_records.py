"""Whatever a record, a run.json or an event contains, its reader returns it unchanged or raises the one error with the path."""
import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mlops_kit.errors import StoreError
from mlops_kit.ledger import (
    blank_outcome, blank_record, end_run, event_from_json, fsck, gc, known_questions, publish_record, read_record, read_run, record_from_json,
    run_from_json, runs, seal, start_run, unseal,
)
from mlops_kit.ledger.lineage import read_ledger
from mlops_kit.store import Store, canonical_json, digest, put_bytes

CONTENT = digest(b"content")
RECORD = blank_record(
    "draw@1", parts={"params": {"month": 1}, "ins": {"a": ["in/a", CONTENT]}, "sources": {"raw": ["in/raw.csv", CONTENT]},
                     "observed": {"file helper.csv": None, "code shop.py:total": CONTENT}, "code": {"cells": [CONTENT], "outs": {"n": "n.json"}}},
    outs={"n": {"file": "deep/n.json", "digest": CONTENT, "size": 3}}, sources={"raw": {"url": "data/raw.csv", "size": 3, "kept": True}},
    metrics={"loss": 0.5}, series=CONTENT, began="r1", cells=[{"cell": 1, "status": "completed", "seconds": 0.1}])
OUTCOME = blank_outcome(RECORD, series=CONTENT, began="r1")
RUN = {"schema": 2, "run": "r1", "status": "done", "started": "2026-11-23T10:00:00Z", "owner": {"pid": 1, "start": 1}, "pipeline": "demo",
       "steps": {"draw@1": OUTCOME}, "order": ["draw@1"], "plan": {"draw@1": {"action": "run", "reason": "first time", "key": None}}}
EVENT = {"time": "2026-11-23T10:00:00Z", "event": "ended", "step": "draw@1", "outcome": OUTCOME}
READERS = [(record_from_json, RECORD), (run_from_json, RUN), (event_from_json, EVENT)]

odd_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", ".", "..", "../../x", "/etc/passwd", "a/../../b", "a\x1b[2Jb", "a\nb", "a\0", "x" * 300, CONTENT[:-1], CONTENT.upper(), CONTENT + ".tree", CONTENT + "\n"]))
odd_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), odd_texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_texts, inner, max_size=3)), max_leaves=5)


def places(value: object, path: tuple = ()) -> list[tuple]:
    "The paths of all values inside a JSON value"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here for name, inner in items for here in [(*path, name), *places(inner, (*path, name))]]


def mutate(value: dict, path: tuple, kind: str, odd: object) -> dict:
    "Drop, replace or rename what stands at a path"
    changed = copy.deepcopy(value)
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    old = holder.pop(path[-1])
    if kind == "replace":
        holder.insert(path[-1], odd) if isinstance(holder, list) else holder.update({path[-1]: odd})
    if kind == "rename" and isinstance(holder, dict):
        holder[str(odd)] = old
    return changed


@pytest.mark.parametrize("reader, good", READERS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_mutated_file_is_read_unchanged_or_refused_with_its_path(reader, good, data):
    path = data.draw(st.sampled_from(places(good)))
    kind = data.draw(st.sampled_from(["drop", "replace", "rename"]))
    odd = data.draw(odd_texts if kind == "rename" else odd_values)
    changed = mutate(good, path, kind, odd)
    try:
        assert reader(changed, "some/where.json") == changed
    except StoreError as error:
        assert "some/where.json" in str(error) and str(error).isprintable() and len(str(error)) < 1000


@pytest.mark.parametrize("reader, good", READERS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_bytes_are_read_or_refused(reader, good, data):
    whole = canonical_json(seal(good))
    cut = data.draw(st.integers(0, len(whole)))
    raw = data.draw(st.one_of(st.binary(max_size=50), st.builds(lambda more: whole[:cut] + more, st.binary(max_size=5)), odd_values.map(lambda odd: json.dumps(odd).encode())))
    try:
        assert reader(raw, "some/where.json") == unseal(raw)
    except StoreError as error:
        assert "some/where.json" in str(error)


@pytest.mark.parametrize("reader, good", READERS)
def test_good_files_pass(reader, good):
    assert reader(canonical_json(seal(good)), "x") == seal(json.loads(json.dumps(good)))


WRONG = [
    (("parts",), "drop"), (("parts", "ins", "a", 1), "../../x"), (("parts", "ins", "a", 0), "/etc/passwd"), (("parts", "seed"), True), (("outs", "n", "digest"), CONTENT[:-1]),
    (("outs", "n", "file"), "../../.bashrc"), (("outs", "n", "digest"), CONTENT + "\n"), (("step",), "../x"), (("step",), "a\x1b[2J"), (("run",), ""), (("attempt",), "1"),
    (("notebook",), None), (("notebook", "name"), "a\nb"), (("key",), CONTENT + ".tree"), (("cells",), [{}]), (("seconds",), "2"), (("git",), []), (("sources", "raw"), {}), (("log",), None)]


@pytest.mark.parametrize("path, odd", WRONG)
def test_a_malformed_record_is_damaged_for_everybody(tmp_path: Path, path: tuple, odd: object):
    store = Store(tmp_path / "store")
    run = start_run(store, {"pipeline": "demo"})
    record = blank_record("draw@1", run=run.id)
    publish_record(store, record)
    bad = mutate(RECORD, path, "drop" if odd == "drop" else "replace", odd)
    file = store.root / "records" / f"{RECORD['key']}.json"
    file.write_bytes(canonical_json(seal(bad)))
    with pytest.raises(StoreError):
        record_from_json(file.read_bytes(), str(file))
    assert read_record(store, RECORD["key"]) is None and not read_ledger(store).steps
    assert [(one["what"], one["name"]) for one in fsck(store).damaged] == [("record", RECORD["key"])]
    assert not file.exists()


@pytest.mark.parametrize("path, odd", [(("steps", "draw@1", "key"), "x"), (("owner",), None), (("steps",), []), (("run",), "../x"), (("started",), 1), (("run",), "another")])
def test_a_malformed_run_is_damaged_for_everybody(tmp_path: Path, path: tuple, odd: object):
    store = Store(tmp_path / "store")
    run = end_run(start_run(store, {"pipeline": "demo"}), "done", {"draw@1": OUTCOME}, 1.0)
    file = run.folder / "run.json"
    file.write_bytes(canonical_json(seal(mutate(run.data, path, "replace", odd)), pretty=True))
    with pytest.raises(StoreError, match=f"run {run.id} is damaged"):
        read_run(store, run.id)
    assert [line["status"] for line in runs(store)] == ["damaged"]
    assert [(one["what"], one["name"]) for one in fsck(store).damaged] == [("run", run.id)]


def test_a_malformed_record_is_not_published(tmp_path: Path):
    with pytest.raises(StoreError, match="step is '../x'"):
        publish_record(Store(tmp_path), RECORD | {"step": "../x"})
    assert not list(tmp_path.rglob("*.json"))


def test_the_questions_of_records_are_remembered_as_long_as_one_of_them_is_there(tmp_path: Path):
    store, base = Store(tmp_path), digest(b"base")
    sets = [put_bytes(store, b"%d" % number) for number in range(30)]
    for number, questions in enumerate(sets):
        run = start_run(store, {"pipeline": "demo"})
        record = publish_record(store, blank_record("draw", key=digest(b"%d" % number), base=base, run=run.id, questions=questions))
        end_run(run, "done", {"draw": blank_outcome(record)}, 1.0)
    assert known_questions(store, base) == sets[:9:-1], "the newest twenty"
    publish_record(store, blank_record("draw", key=digest(b"20"), base=base, run=run.id, questions=sets[20]))
    assert known_questions(store, base)[:2] == [sets[20], sets[29]]
    gc(store, keep=1, grace=0)
    assert sets[29] in known_questions(store, base) and sets[29] in store
    (store.root / f"runs/{run.id}/run.json").unlink()
    start_run(store, {"pipeline": "demo"})
    gc(store, keep=1, grace=0)
    assert known_questions(store, base) == []
