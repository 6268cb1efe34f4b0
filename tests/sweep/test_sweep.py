"""Sweeps: what trials share runs once, one that fails is one, and no interruption loses or repeats any."""
import json
import os
import signal
import sqlite3
import tempfile
import time

import pytest

HEAD = 'from pathlib import Path\nimport json, os, time\n'
SHARED = """
draw: {notebook: notebooks/draw.ipynb, outs: {best: best.json}}
tidy: {notebook: notebooks/tidy.ipynb, ins: {best: draw.best}, outs: {clean: clean.json}}
rate: {notebook: notebooks/rate.ipynb, ins: {clean: tidy.clean}, outs: {result: result.json}, metrics: result, params: {journal: JOURNAL}}
"""
SPACE = """
defaults: [KIND, _self_]
trials: 6
parallel: 2
metrics: {rate.loss: minimize}
space:
  pipeline.steps.rate.params.x: {low: 0, high: 10, step: 1}
"""


@pytest.fixture
def near(project):
    "Two steps that all trials share, and one that rates x; a journal outside the store says which x were rated"
    project.notebook("draw", "best.write_text('3')", parameters=HEAD + 'best: Path = Path("out/best.json")')
    project.notebook("tidy", "clean.write_text(best.read_text())", parameters=HEAD + 'best: Path = Path("in/best.json")\nclean: Path = Path("out/clean.json")')
    project.notebook(
        "rate", 'with open(journal, "a") as file: file.write(f"{x:g}\\n")', "assert x != bad", "time.sleep(seconds)", 'result.write_text(json.dumps({"loss": (x - int(clean.read_text())) ** 2, "size": x}))',
        parameters=HEAD + 'journal: str = ""\nx: float = 0.0\nbad: float = -1.0\nseconds: float = 0.0\nclean: Path = Path("in/clean.json")\nresult: Path = Path("out/result.json")',
    )
    project.journal = project.root.parent / "journal"
    project.pipeline(SHARED.replace("JOURNAL", str(project.journal)))
    (project.root / "conf/sweep").mkdir()
    for kind in ("random", "tpe", "grid", "cmaes"):
        (project.root / f"conf/sweep/my_{kind}.yaml").write_text(SPACE.replace("KIND", kind).replace("trials: 6", "trials: null" if kind == "grid" else "trials: 6"))
    project.rated = lambda: [float(line) for line in project.journal.read_text().split()] if project.journal.exists() else []
    return project


def run_of(project, name: str) -> dict:
    return json.loads((project.root / ".mlops/runs" / name / "run.json").read_text())


def test_what_trials_share_runs_once(near):
    done = near.json("run", "-m", "pipeline=demo", "pipeline.steps.rate.params.x=range(0,4)", "pipeline.steps.rate.params.seconds=0,0.1", "threads=1", "executor.workers=2")
    steps = [run["steps"] for run in done["runs"]]
    assert len(steps) == 8 and {step["status"] for trial in steps for name, step in trial.items() if name == "rate"} == {"ran"}
    for shared in ("draw", "tidy"):
        assert sorted(trial[shared]["status"] for trial in steps) == ["hit"] * 7 + ["ran"]
    marks = [run_of(near, run["run"])["sweep"] for run in done["runs"]]
    assert [mark["trial"] for mark in marks] == list(range(8)) and {mark["name"] for mark in marks} == {done["sweep"]}
    assert marks[3]["values"] == {"pipeline.steps.rate.params.x": 1, "pipeline.steps.rate.params.seconds": 0.1}
    assert near.json("verify", done["runs"][0]["run"])["identical"], "each trial is an ordinary run"
    board = near.json("sweep", done["sweep"])
    assert [row["results"][0] for row in board["trials"]] == [9, 9, 4, 4, 1, 1, 0, 0]
    again = near.json("run", "-m", "pipeline=demo", "pipeline.steps.rate.params.x=range(0,4)", "pipeline.steps.rate.params.seconds=0,0.1", "threads=1", "executor.workers=2")
    assert {step["status"] for run in again["runs"] for step in run["steps"].values()} == {"hit"}
    assert len(near.rated()) == 8 + 1, "once in its run, once to verify it"


@pytest.mark.long
def test_trials_fill_the_workers_of_a_cluster(near):
    meet = "while not (Path(f'{journal}.{x:g}').touch() or Path(f'{journal}.{3 - x:g}').exists()): time.sleep(0.1)"
    near.notebook("rate", meet, 'result.write_text(json.dumps({"loss": x}))', parameters=HEAD + 'journal: str = ""\nx: float = 0.0\nclean: Path = Path("in/clean.json")\nresult: Path = Path("out/result.json")')
    done = near.json("run", "-m", "pipeline=demo", "pipeline.steps.rate.params.x=1,2", "executor=dask", "executor.workers=2", "+pipeline.steps.rate.timeout=60s")
    assert [run["metrics"]["rate"]["loss"] for run in done["runs"]] == [1, 2]


def test_a_group_may_be_swept_by_glob(near):
    (near.root / "conf/size").mkdir()
    for number in (1, 2):
        (near.root / f"conf/size/is{number}.yaml").write_text(f"x: {number}.0")
    (near.root / "conf/config.yaml").write_text("defaults: [mlops_kit, size: is1, _self_]\n")
    near.edit("conf/pipeline/demo.yaml", "params: {", 'params: {x: "${size.x}", ')
    done = near.json("run", "-m", "pipeline=demo", "size=glob(*)")
    assert [run["metrics"]["rate"]["loss"] for run in done["runs"]] == [4, 1]
    assert "interval has no end" in near.mlops("run", "-m", "pipeline=demo", "pipeline.steps.rate.params.x=interval(0,1)", code=2)


def test_a_failed_trial_is_one_failed_trial(near):
    done = near.json("run", "-m", "pipeline=demo", "pipeline.steps.rate.params.bad=2", "pipeline.steps.rate.params.x=range(0,4)", code=1)
    assert [run["status"] for run in done["runs"]] == ["done", "done", "failed", "done"]


def test_a_shared_step_that_fails_is_tried_once(near):
    near.notebook("tidy", "1 / 0", parameters=HEAD + 'best: Path = Path("in/best.json")\nclean: Path = Path("out/clean.json")')
    done = near.json("run", "-m", "pipeline=demo", "pipeline.steps.rate.params.x=range(0,4)", code=1)
    notebooks = list((near.root / ".mlops/runs").glob("*/tidy.ipynb"))
    assert {run["status"] for run in done["runs"]} == {"failed"} and len(notebooks) == 1
    assert {run["steps"]["rate"]["status"] for run in done["runs"]} == {"skipped"} and all("ZeroDivisionError" in run["steps"]["tidy"]["error"] for run in done["runs"])


@pytest.mark.parametrize("kind", ["grid", pytest.param("tpe", marks=pytest.mark.long), pytest.param("random", marks=pytest.mark.long), pytest.param("cmaes", marks=pytest.mark.long)])
def test_every_sampler_finds_the_place_and_goes_on(near, kind):
    words = ["sweep", "pipeline=demo", f"sweep=my_{kind}", "sweep.parallel=1"]
    board = near.json(*words)
    assert len(board["trials"]) == (11 if kind == "grid" else 6) and board["trials"][0]["best"]
    assert board["trials"][0]["results"] == [min(row["results"][0] for row in board["trials"])]
    tried = near.rated()
    if kind == "grid":
        assert tried == list(range(11))
        assert near.json(*words)["ran"] == [] and near.rated() == tried, "all trials are done"
    else:
        assert len(near.json(*words, "sweep.trials=8")["ran"]) == 2


def test_a_sweep_one_by_one_is_repeatable_whatever_interrupts_it(near):
    words = ["sweep", "pipeline=demo", "sweep=my_tpe", "sweep.parallel=1"]
    first = {row["trial"]: row["values"] for row in near.json(*words, "store=.other", "sweep.trials=5")["trials"]}
    parts = [near.json(*words, f"sweep.trials={number}") for number in (2, 5)]
    assert {row["trial"]: row["values"] for row in parts[-1]["trials"]} == first
    assert [len(one["ran"]) for one in parts] == [2, 3]


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_sweep_that_was_ended_goes_on(near, number):
    near.edit("conf/sweep/my_random.yaml", "step: 1", "step: 0.5")
    words = ["sweep", "pipeline=demo", "sweep=my_random", "pipeline.steps.rate.params.seconds=0.7"]
    process = near.start(*words)
    while len(near.rated()) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    board = near.json(*words)
    assert sorted(row["trial"] for row in board["trials"]) == list(range(6)) and {row["status"] for row in board["trials"]} == {"done"}
    told = sqlite3.connect(near.root / ".mlops/sweeps.db").execute("select number, state from trials").fetchall()
    assert sorted(told) == [(number, "COMPLETE") for number in range(6)], "none is lost, none is told twice"
    assert 6 <= len(near.rated()) <= 6 + 2, "only what was running is run again"
    assert {value for value in near.rated()} == {row["values"]["pipeline.steps.rate.params.x"] for row in board["trials"]}, "with the same values"


def test_all_that_is_wrong_is_said_before_anything_starts(near):
    (near.root / "conf/sweep/wrong.yaml").write_text(
        "defaults: [tpe, _self_]\nsampler: {kind: tpo}\nparalel: 2\nmetrics: {rite.loss: minimize, draw.loss: maximise}\n"
        "space: {pipeline.steps.rate.params.y: [1, 2], pipeline.steps.rate.params.x: [a], sed: [1], pipeline.steps.rate.params.bad: {low: 2, high: 1}}\n")
    said = near.mlops("sweep", "pipeline=demo", "sweep=wrong", code=2)
    for words in ("did you mean 'tpe'", "did you mean 'parallel'", "did you mean 'rate'", "draws no metrics", "did you mean 'maximize'", "no parameter 'y'", "expected float, got 'a'", "did you mean 'seed'", "bad: "):
        assert words.replace("draws", "step draw declares") in said, (words, said)
    assert not (near.root / ".mlops/runs").exists()


def test_an_unknown_metric_ends_the_sweep(near):
    near.edit("conf/sweep/my_random.yaml", "rate.loss", "rate.lost")
    said = near.mlops("sweep", "pipeline=demo", "sweep=my_random", "sweep.parallel=1", code=1)
    assert "did you mean 'rate.loss'" in said and len(near.rated()) <= 2
    assert "did you mean 'rate.loss'" in near.mlops("sweep", "pipeline=demo", "sweep=my_random", "sweep.name=again", code=2), "the second time it is known"


def test_a_sweep_that_has_changed_needs_another_name(near):
    words = ["sweep", "pipeline=demo", "sweep=my_random", "sweep.trials=2"]
    near.json(*words)
    near.notebook("draw", "best.write_text('4')", parameters=HEAD + 'best: Path = Path("out/best.json")')
    near.edit("conf/sweep/my_random.yaml", "high: 10", "high: 12")
    said = near.mlops(*words, code=2)
    assert "steps.draw changed" in said and "space.pipeline.steps.rate.params.x changed" in said and "sweep.name" in said
    assert len(near.json(*words, "sweep.name=other")["ran"]) == 2


@pytest.mark.long
def test_two_wishes_give_a_front(near):
    near.edit("conf/sweep/my_grid.yaml", "{rate.loss: minimize}", "{rate.loss: minimize, rate.size: maximize}")
    board = near.json("sweep", "pipeline=demo", "sweep=my_grid", "--html", "board.html")
    assert sorted(row["results"] for row in board["trials"] if row["best"]) == [[(x - 3) ** 2, x] for x in range(3, 11)]
    page = (near.root / "board.html").read_text()
    assert "Pareto front" in page and "★" in page and "<script" not in page and "default-src 'none'" in page
    known = ("http://www.w3.org", "http://purl.org", "http://creativecommons.org", "https://matplotlib.org")  # names in an SVG, which nothing loads
    assert sum(page.count(one) for one in known) == page.count("://"), "a page needs nothing else"


def test_a_trial_that_falls_behind_is_pruned(near):
    near.notebook(
        "rate", "for epoch in range(40):\n    series.open('a').write(json.dumps({'step': epoch, 'epoch': epoch, 'time': time.time(), 'metrics': {'loss': x + 1 / (epoch + 1)}}) + '\\n')\n    time.sleep(0.1 if x else 0.02)",
        "while x: time.sleep(0.1)  # this one can't end by itself",
        'result.write_text(json.dumps({"loss": x}))',
        parameters=HEAD + 'journal: str = ""\nx: float = 0.0\nclean: Path = Path("in/clean.json")\nresult: Path = Path("out/result.json")\nseries = Path(os.environ["MLOPS_PARTIAL"]) / "series.jsonl"',
    )
    near.edit("conf/sweep/my_grid.yaml", "high: 10, step: 1", "high: 9, step: 9")
    board = near.json("sweep", "pipeline=demo", "sweep=my_grid", "sweep.parallel=1", "executor.workers=1", "sweep.pruner={kind: median, n_startup_trials: 1, n_warmup_steps: 2}")
    assert [(row["status"], row["best"]) for row in board["trials"]] == [("done", True), ("pruned", False)]
    run = run_of(near, board["trials"][1]["run"])
    assert run["status"] == run["steps"]["rate"]["status"] == "pruned" and run["steps"]["draw"]["status"] == "hit"
    assert "pruned" in near.mlops("show", run["run"])


def test_one_sweep_is_carried_out_by_one_process(near):
    (gate := near.root.parent / "gate").touch()
    near.notebook(
        "rate", 'with open(journal, "a") as file: file.write(f"{x:g}\\n")', f"while Path({str(gate)!r}).exists(): time.sleep(0.02)",
        'result.write_text(json.dumps({"loss": x}))',
        parameters=HEAD + 'journal: str = ""\nx: float = 0.0\nclean: Path = Path("in/clean.json")\nresult: Path = Path("out/result.json")',
    )
    words = ["sweep", "pipeline=demo", "sweep=my_random", "sweep.trials=2"]
    process = near.start(*words)
    while not near.rated() and process.poll() is None:
        time.sleep(0.02)
    assert "already running" in near.mlops(*words, code=2)  # the first one waits at the gate
    gate.unlink()
    process.communicate(timeout=600)
    assert process.returncode == 0 and os.listdir(near.root / ".mlops/tmp") == []


@pytest.mark.long
def test_the_parent_imports_what_trials_need_while_the_search_begins(near, monkeypatch, tmp_path):
    "The optimiser's own imports too, in one thread; and nothing when there is nothing to do"
    from mlops_kit.capture.environment import make_env_variables
    from mlops_kit.config import compose
    from mlops_kit.engine.execute import Execution, execute_notebook
    from mlops_kit.engine.forkserver import query_servers
    from mlops_kit.pipeline.plan import make_plan
    from mlops_kit.pipeline.step import preimport_for_plan

    monkeypatch.setenv("MLOPS_RUNTIME_DIR", tempfile.mkdtemp())  # the path of a socket must be short
    plan = lambda *words: make_plan(compose(["pipeline=demo", "threads=1", *words], near.root))
    preimport_for_plan(plan("engine=kernel"))
    assert query_servers("status") == []
    near.notebook("tidy", "import torch", "clean.write_text(best.read_text())", parameters=HEAD + 'best: Path = Path("in/best.json")\nclean: Path = Path("out/clean.json")')
    preimport_for_plan(plan())
    said = near.notebook("said", "import sys\nPath(out).write_text(f\"{'torch' in sys.modules} {'torch._dynamo' in sys.modules}\")", parameters=f"from pathlib import Path\nout: str = {str(tmp_path / 'said')!r}")
    work = Execution(str(said), str(tmp_path / "executed.ipynb"), str(tmp_path / "log"), str(tmp_path), {}, make_env_variables(near.root, 1), "", "mlops", 60, 1)
    assert execute_notebook(work).status == "done" and (tmp_path / "said").read_text() == "True True"
    parent, = query_servers("status")
    assert len(os.listdir(f"/proc/{parent['pid']}/task")) == 1
    query_servers("stop")
    near.mlops("run", "pipeline=demo", "threads=1", MLOPS_RUNTIME_DIR=str(tmp_path / "other"))
    near.mlops("engine", "stop", MLOPS_RUNTIME_DIR=str(tmp_path / "other"))
    preimport_for_plan(plan())
    assert query_servers("status") == []
