"""W&B as a mirror of the ledger: the real wandb-core, a server on the loopback, and everything that can go wrong in between."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from helpers.project import Project
from helpers.wandb_backend import KEY, Backend

from mlops_kit.ledger.history import make_point
from mlops_kit.ledger import Run, blank_outcome, blank_record, end_run, publish_record, read_run, run_ids, start_run
from mlops_kit.store.files import canonical_json, write_file
from mlops_kit.store.objects import Store, put_bytes
from mlops_kit.tracking.mirror import build_wandb_runs

TRAIN = """
import json, sys, time
from mlops_kit import tracking
with tracking.logger() as log:
    for step in range(points):
        log.log_metrics({"loss": 1 / (step + 1), "odd": float("nan"), "../../x": float("inf"), "_step": 7, "n" * 10_000: step, "epoch": step // 10}, step=step)
        time.sleep(pause)
Path("out/model.safetensors").write_bytes(b"weights")
Path("out/metrics.json").write_text(json.dumps({"loss": 1 / points, "broken": float("nan")}))
"""
PARAMETERS = """from pathlib import Path
points: int = 30
pause: float = 0.0
model: Path = Path("out/model.safetensors")
metrics: Path = Path("out/metrics.json")"""
EVALUATE = """
import json
from IPython.display import Image, display
from matplotlib import pyplot
pyplot.plot([1, 3, 2])
pyplot.show()
Path("out/scores.json").write_text(json.dumps([{"month": 1, "auc": 0.5}, {"month": 2, "auc": 0.25}]))
Path("out/page.html").write_text("<h1>scores</h1>")
Path("out/metrics.json").write_text(json.dumps({"auc": 0.5}))
"""
PIPELINE = """
train: {notebook: notebooks/train.ipynb, params: {points: 30, pause: 0.0}, outs: {model: model.safetensors, metrics: metrics.json}, metrics: metrics}
evaluate: {notebook: notebooks/evaluate.ipynb, ins: {model: train.model}, outs: {scores: scores.json, page: page.html, metrics: metrics.json}, metrics: metrics}
"""


@pytest.fixture
def server(monkeypatch) -> Iterator[Backend]:
    """A server that this process, and what it starts, would use."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    with Backend() as backend:
        monkeypatch.setenv("WANDB_BASE_URL", backend.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield backend
        backend.shutdown()


@pytest.fixture
def training(project: Project) -> Project:
    """A project that trains and evaluates."""
    project.notebook("train", TRAIN, parameters=PARAMETERS)
    ins = 'from pathlib import Path\nmodel: Path = Path("in/model.safetensors")\nscores: Path = Path("out/scores.json")\npage: Path = Path("out/page.html")\nmetrics: Path = Path("out/metrics.json")'
    project.notebook("evaluate", EVALUATE, parameters=ins)
    project.pipeline(PIPELINE)
    return project


def ledger(project: Project, runs: int, points: int) -> Store:
    """A project whose ledger has some runs, with a series of so many points each."""
    (project.root / "conf/pipeline/demo.yaml").write_text("name: demo\nsteps: {}\n")
    store = Store(project.root / ".mlops")
    for number in range(runs):
        run = start_run(store, {"pipeline": "demo", "order": ["train"], "overrides": []})
        write_file(store.files, f"runs/{run.id}/config.json", canonical_json({"seed": number, "tracking": {"project": None}}))
        rows = [make_point({"loss": number + 1 / (step + 1), "rate": 0.1}, step, step // 100, 1.7e9 + step) for step in range(points)]
        out = {"file": "model.safetensors", "digest": put_bytes(store, b"weights %d" % number), "size": 9}
        record = blank_record("train", key=f"{number:064}", run=run.id, parts={"params": {"lr": 0.1}}, outs={"model": out}, metrics={"loss": 1.0})
        series = put_bytes(store, b"".join(map(canonical_json, rows)))
        end_run(run, "done", {"train": blank_outcome(publish_record(store, record), series=series, began=run.id)}, 1.0)
    return store


def runs_of(store: Store) -> list[Run]:
    """All runs of a ledger."""
    return [read_run(store, name) for name in run_ids(store)]


def same(store: Store, server: Backend) -> None:
    """The server has exactly what the ledger has: every point once and in its place, numbers, artifacts, the end."""
    wanted = {one.id: one for run in runs_of(store) for one in build_wandb_runs(run)}
    assert set(server.runs) == set(wanted) and wanted and not server.faults
    for id, copy in wanted.items():
        rows = server.history(id)
        assert [row["_step"] for row in rows] == list(range(len(copy.points)))
        assert [(row["trainer/global_step"], row.get("epoch"), row["_timestamp"]) for row in rows] == [(one["step"], one["epoch"], one["time"]) for one in copy.points]
        for row, one in zip(rows, copy.points):
            told = {name.removeprefix("metric") if name.startswith("metric_") else name: value for name, value in row.items()}
            assert {name: str(float(told[name])) for name in one["metrics"] if name != "_step"} == {name: str(float(value)) for name, value in one["metrics"].items() if name != "_step"}
        told = server.summary(id)
        assert {name: told.get(name) for name in copy.summary} == copy.summary and server.runs[id]["exit"] == copy.exit_code
        assert server.runs[id]["groupName"] == copy.run and server.runs[id]["displayName"] == copy.step and server.config(id).get("params", {}) == copy.config["params"]
        for one in copy.logged_artifacts:
            found = [it for it in server.artifacts.values() if it["artifactCollectionName"] == one["name"] and it["metadata"]["digest"] == one["digest"]]
            assert len(found) == 1 and found[0]["state"] == "COMMITTED" and id in found[0]["by"]
            assert [server.uploads[path] for path in found[0]["files"].values()] == ([store.path(one["digest"]).read_bytes()] if one["type"] == "model" else [])


def no_leftovers(store: Store) -> None:
    """What sent is gone, with its folder."""
    assert not list((store.root / "tmp").glob("*"))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            assert str(store.root).encode() not in (folder / "environ").read_bytes() or b"wandb-core" not in (folder / "cmdline").read_bytes()
        except OSError:
            continue


def killed(project: Project, server: Backend, times: int) -> None:
    """`mlops sync` is killed at random moments, then it may end: no point is lost, none is there twice."""
    store, chance = ledger(project, 3, 1000), random.Random(7)
    for _ in range(times):
        process = project.start("sync")
        time.sleep(chance.uniform(0.5, 4.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    lines = project.json("sync")["sent"]
    assert [one["points"] for one in lines] == [1000] * 3 and {one["status"] for one in lines} <= {"sent", "there already"}
    same(store, server)
    asked = len(server.bodies)
    assert {one["status"] for one in project.json("sync")["sent"]} == {"there already"} and len(server.bodies) == asked
    project.mlops("fsck")
    no_leftovers(store)


def test_sync_may_be_killed_at_any_moment(project: Project, server: Backend):
    killed(project, server, 2)


@pytest.mark.long
def test_sync_may_be_killed_twenty_times(project: Project, server: Backend):
    killed(project, server, 20)


long = lambda *values: pytest.param(*values, marks=pytest.mark.long)

@pytest.mark.parametrize("trouble, after", [(500, 0), ("refuse", 0), long("hang", 0), long(429, 0), long(500, 4), long(429, 4), long("hang", 4), long("die", 4)])
def test_a_server_in_trouble_costs_only_the_time_that_was_given(project: Project, server: Backend, trouble: str | int, after: int):
    store = ledger(project, 1, 300)
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    server.trouble, server.left = trouble if trouble in ("hang", 500, 429) else None, after
    begun = time.monotonic()
    told = project.mlops("sync", "--timeout", "6s", code=1, **({"WANDB_BASE_URL": "http://127.0.0.1:9"} if trouble == "refuse" else {}))
    assert time.monotonic() - begun < 60 and "W&B: nothing can be sent" in told or "not sent within 6 s" in told or "failed" in told, told
    assert {path: path.read_bytes() for path in before} == before
    no_leftovers(store)
    server.trouble, server.left, server.hang_up = None, None, False
    server.closing.set()
    assert [one["status"] for one in project.json("sync")["sent"]] == ["sent"]
    same(store, server)


def test_a_run_is_mirrored_from_the_ledger_alone(training: Project, server: Backend):
    said = training.json("run", "pipeline=demo", WANDB_API_KEY="", DB_PASSWORD="CANARY-4711")
    store = Store(training.root / ".mlops")
    assert said["status"] == "done" and not server.bodies and not list(store.root.glob("runs/*/wandb"))
    assert [one["status"] for one in training.json("sync", "last", DB_PASSWORD="CANARY-4711")["sent"]] == ["sent", "sent"]
    same(store, server)
    train, evaluate = (f"{said['run']}-{step}" for step in ("train", "evaluate"))
    assert server.history(train)[3]["../../x"] == float("inf") and server.history(evaluate) == []
    assert server.used == {(evaluate, "demo-train-model")} and server.summary(evaluate)["auc"] == 0.5
    kinds = {name: one["_type"] for name, one in server.summary(evaluate).items() if isinstance(one, dict) and "_type" in one}
    assert kinds == {"pictures/02-0": "image-file", "outs/scores": "table-file", "outs/page": "html-file"}
    shown = {name: server.uploads[f"/upload/{evaluate}/{server.summary(evaluate)[name]['path']}"] for name in kinds}
    assert shown["pictures/02-0"].startswith(b"\x89PNG") and b"<h1>" in shown["outs/page"] and json.loads(shown["outs/scores"])["data"] == [[1, 0.5], [2, 0.25]]
    assert "CANARY" not in "".join(server.bodies) and KEY not in "".join(server.bodies)
    assert training.json("run", "pipeline=demo")["status"] == "done" and {one["status"] for one in training.json("sync")["sent"]} == {"there already"}
    assert [one["status"] for one in training.json("sync", "--again")["sent"]] == ["sent", "sent"]
    same(store, server)
    no_leftovers(store)


@pytest.mark.long
def test_online_the_points_arrive_while_the_training_goes_on(training: Project, server: Backend):
    process = training.start("run", "pipeline=demo", "tracking=online", "pipeline.steps.train.params.pause=0.1", "pipeline.steps.train.params.points=60")
    live, store = 0, Store(training.root / ".mlops")
    while process.poll() is None:
        live = max(live, *(len(one["lines"].get("wandb-history.jsonl", [])) for one in [{"lines": {}}, *list(server.runs.values())] if "exit" not in one))
        time.sleep(0.05)
    assert process.returncode == 0, process.communicate()
    assert 5 < live and {one["status"] for one in training.json("sync")["sent"]} == {"there already"}
    same(store, server)
    no_leftovers(store)


@pytest.mark.parametrize("trouble", ["die", long("hang"), long(500), long(429)])
def test_a_server_that_goes_away_costs_a_run_five_seconds(training: Project, server: Backend, trouble: str | int):
    process = training.start("run", "pipeline=demo", "tracking=online", "pipeline.steps.train.params.pause=0.1", "pipeline.steps.train.params.points=40", "--json")
    while not any(one["lines"].get("wandb-history.jsonl") for one in list(server.runs.values())):
        assert process.poll() is None
        time.sleep(0.05)
    server.trouble, server.hang_up = None if trouble == "die" else trouble, trouble == "die"
    out, err = process.communicate(timeout=60)
    ended, store = time.time(), Store(training.root / ".mlops")
    said = json.loads(out)
    run = read_run(store, said["run"])
    journal = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert process.returncode == 0 and said["status"] == "done"
    assert ended - datetime.fromisoformat(journal[-1]["time"]).timestamp() < 60 and "mlops sync" in err
    server.trouble, server.hang_up = None, False
    server.closing.set()
    assert {one["status"] for one in training.json("sync")["sent"]} <= {"sent", "there already"}
    same(store, server)
    no_leftovers(store)


@pytest.mark.long
def test_an_interrupted_training_that_goes_on_elsewhere_is_one_wandb_run(training: Project, server: Backend):
    goes_on = "from mlops_kit import ledger as series\\nkept = series.current_history_path().with_name('kept')\\ndone = len(series.read_history(kept)) if kept.exists() else 0\\nif done: series.restore_history(series.current_history_path(), 0, kept.read_text())\\nwith tracking.logger() as log:"
    training.edit("notebooks/train.ipynb", "with tracking.logger() as log:", goes_on)
    training.edit("notebooks/train.ipynb", "for step in range(points):", "for step in range(done, points):\\n        if step == 12 and not done:\\n            kept.write_text(series.read_points_after(series.current_history_path(), 0))\\n            raise ValueError('lost')")
    first = training.json("run", "pipeline=demo", code=1)
    assert training.json("show", first["run"], "train", "--history")[-1]["step"] == 11
    assert [(one["points"], one["status"]) for one in training.json("sync")["sent"]] == [(12, "sent")]
    assert server.runs[f"{first['run']}-train"]["exit"] == 1
    training.json("run", "pipeline=demo")
    store = Store(training.root / ".mlops")
    assert {one["points"] for one in training.json("sync")["sent"]} == {30, 0}
    same(store, server)
    assert len(server.history(f"{first['run']}-train")) == 30 and len(server.runs) == 2


def test_a_series_that_has_become_another_one_is_another_wandb_run(project: Project, server: Backend):
    store = ledger(project, 1, 50)
    project.json("sync")
    run = runs_of(store)[0]
    other = put_bytes(store, b"".join(canonical_json(make_point({"loss": -step, "rate": 0.1}, step, 0, 1.7e9 + step)) for step in range(40)))
    end_run(run, "done", {"train": {**run.steps["train"], "series": other}}, 1.0)
    assert project.json("sync")["sent"][0]["status"] == "sent"
    assert len(server.history(f"{run.id}-train")) == 50 and [row["loss"] for row in server.history(f"{run.id}-train-1")] == [-step for step in range(40)] and not server.faults


@pytest.mark.long
def test_the_history_is_read_while_the_training_runs(training: Project):
    process = training.start("run", "pipeline=demo", "pipeline.steps.train.params.pause=0.2")
    try:
        while not list(training.root.glob(".mlops/partial/*/series.jsonl")):
            assert process.poll() is None
            time.sleep(0.1)
        told = training.json("show", "last", "--history")
        assert told["status"] == "running" and 0 < len(told["history"]["train"]) < 30
        assert "loss" in training.mlops("show", "last", "--history") and "no step evaluate" in training.mlops("show", "last", "evaluate", "--history", code=2)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert training.json("show", "last", "train", "--history")[0]["metrics"]["odd"] == "nan"
