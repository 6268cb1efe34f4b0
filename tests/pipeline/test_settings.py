"""Each setting of a step is in its key, or takes effect without running it; what can't be observed is told (I1)."""
import json
from dataclasses import fields

import pytest

from helpers.project import PARAMETERS, Project
from mlops_kit.ledger import seal
from mlops_kit.pipeline import graph
from mlops_kit.store import canonical_json

STEP = {"notebook": "notebooks/one.ipynb", "params": {"number": 1}, "sources": {"data": "data.txt"}, "outs": {"result": "result.json", "more": "more.json"}}
OUTS = PARAMETERS + '\nmore: Path = Path("out/more.json")\nnumber: int = 1\ndata: Path = Path("in/data.txt")'
CELL = "import json\nresult.write_text(json.dumps({'n': number}))\nmore.write_text(json.dumps({'m': 2}))"

RUN, NOTHING = "run", {}
SETTINGS = {  # setting -> another value, and what it does: the step must run, or what a hit tells from then on
    "notebook": ({"notebook": "notebooks/other.ipynb"}, RUN),
    "foreach": ({"foreach": [2], "params": {"number": "{item}"}}, RUN),
    "matrix": ({"matrix": {"one": [2]}, "params": {"number": "{one}"}}, RUN),
    "params": ({"params": {"number": 2}}, RUN),
    "ins": ({"ins": {"data": "two.result"}, "sources": {}}, RUN),
    "sources": ({"sources": {"data": "other.txt"}}, RUN),
    "outs": ({"outs": {**STEP["outs"], "third": "third.json"}}, RUN),
    "metrics": ({"metrics": "more"}, {"metrics": {"m": 2}, "metrics_out": "more"}),
    "tolerance": ({"tolerance": {"result": 0.1}}, {"tolerance": {"result": {"abs": 0.1, "rel": 0.1}}}),
    "timeout": ({"timeout": "0.001s"}, NOTHING),
    "retries": ({"retries": 3}, NOTHING),
    "resources": ({"resources": {"cpu": 1}}, NOTHING),
    "hermetic": ({"hermetic": True}, NOTHING),
}


def declare(project: Project, name: str = "one", **settings) -> None:
    "Write the pipeline of one step, and of one beside it"
    project.pipeline(f"{name}: {json.dumps(settings)}\ntwo: {json.dumps(STEP)}")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Project:
    "A project that has run once"
    project = Project(tmp_path_factory.mktemp("settings") / "project")
    project.notebook("one", CELL, parameters=OUTS)
    project.notebook("other", CELL + "\nprint(1)", parameters=OUTS)
    for name in ("data", "other"):
        (project.root / f"{name}.txt").write_text(name)
    declare(project, **STEP)
    assert project.statuses() == {"one": "ran", "two": "hit"}
    return project


def test_every_setting_is_in_the_table():
    assert set(SETTINGS) == set(graph._STEP_KEYS)
    assert {field.name for field in fields(graph.Step)} - {"name"} <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_is_in_the_key_or_takes_effect_without_running(done: Project, setting: str):
    change, effect = SETTINGS[setting]
    declare(done, **STEP | change)
    plan = done.json("plan", "pipeline=demo")
    (action,) = {step["action"] for name, step in plan.items() if name.startswith("one")}
    if isinstance(effect, str):
        assert action == effect, plan
        return
    assert action == "hit"
    assert done.statuses() == {"one": "hit", "two": "hit"}
    outcome = done.json("show", "last")["steps"]["one"]
    assert {name: outcome[name] for name in effect} == effect
    record = done.json("show", "last", "one")["record"]
    assert {name: record[name] for name in effect} == effect


def test_metrics_of_a_hit_are_those_that_its_run_declared(done: Project):
    for metrics, wanted in (("more", {"m": 2}), ("result", {"n": 1}), (None, {}), ("more", {"m": 2})):
        declare(done, **STEP | {"metrics": metrics})
        run = done.json("run", "pipeline=demo")
        assert (run["steps"]["one"]["status"], run["metrics"]) == ("hit", {"one": wanted} if wanted else {})
    assert len(done.records()) == 1


def test_a_hit_without_the_metrics_that_are_declared_says_so(project: Project):
    project.notebook("one", "result.write_text('no JSON')")
    step = {"notebook": "notebooks/one.ipynb", "outs": {"result": "result.json"}}
    project.pipeline(f"one: {json.dumps(step)}")
    project.statuses()
    project.pipeline(f"one: {json.dumps(step | {'metrics': 'result'})}")
    plan = project.json("plan", "pipeline=demo")["one"]
    assert plan["action"] == "run" and plan["reason"].startswith("the metrics in out/result.json are not JSON")


def test_a_tolerance_takes_effect_without_running(project: Project):
    project.notebook("noisy", "import json, uuid\nresult.write_text(json.dumps({'n': 1 + uuid.uuid4().int * 1e-50}))")
    step = {"notebook": "notebooks/noisy.ipynb", "outs": {"result": "result.json"}}
    project.pipeline(f"noisy: {json.dumps(step)}")
    strict = project.json("run", "pipeline=demo")["run"]
    project.pipeline(f"noisy: {json.dumps(step | {'tolerance': {'result': 1e-3}})}")
    tolerant = project.json("run", "pipeline=demo")
    assert tolerant["steps"]["noisy"]["status"] == "hit"
    assert project.json("verify", tolerant["run"])["steps"]["noisy"]["status"] == "near"
    assert project.json("verify", strict, code=3)["steps"]["noisy"]["status"] == "different", "as that run declared it"


# ---- what can't be observed

USES = {  # how a step uses what can't be observed -> code, what is said about it
    "program": ("import subprocess\nsubprocess.run(['/sbin/ldconfig', '--version'])", "ldconfig (program)"),  # linked statically
    "shell": ("import os\nos.system('/sbin/ldconfig --version')", "ldconfig (program)"),
    "network": ("import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), timeout=1)\nexcept OSError:\n    pass", "127.0.0.1:9 (network)"),
}
SAYS = "depends on things that can't be observed: {}"


def uses(project: Project, hermetic: bool, *codes: str) -> None:
    "One step that does this"
    project.notebook("uses", *codes, "result.write_text('1')")
    project.pipeline(f"uses: {{notebook: notebooks/uses.ipynb, outs: {{result: result.json}}, hermetic: {json.dumps(hermetic)}}}")


@pytest.mark.parametrize("kind", USES)
def test_what_can_not_be_observed_is_told(project: Project, kind: str):
    code, name = USES[kind]
    uses(project, False, code)
    ran = project.json("run", "pipeline=demo")["steps"]["uses"]
    assert (ran["status"], ran["unobserved"]) == ("ran", [name])
    plan = project.json("plan", "pipeline=demo")["uses"]
    assert (plan["action"], plan["reason"], plan["unobserved"]) == ("hit", SAYS.format(name), [name])
    assert project.json("run", "pipeline=demo")["steps"]["uses"]["unobserved"] == [name]
    for words in (["plan", "pipeline=demo"], ["run", "pipeline=demo"], ["show", "last"]):
        lines = [line for line in project.mlops(*words).splitlines() if SAYS.format(name) in line]
        assert lines and all("hit" in line and len(line.rstrip()) <= 80 for line in lines), words


def test_many_such_things_are_one_line(project: Project):
    uses(project, False, *(code for code, _ in USES.values()))
    project.json("run", "pipeline=demo")
    plan = project.json("plan", "pipeline=demo")["uses"]
    assert plan["reason"] == SAYS.format("ldconfig (program) and 1 more") and len(plan["unobserved"]) == 2


@pytest.mark.parametrize("kind", USES)
def test_a_hermetic_step_fails_that_uses_such_things(project: Project, kind: str):
    code, name = USES[kind]
    uses(project, True, "import json", code)
    error = project.json("run", "pipeline=demo", code=1)["steps"]["uses"]["error"]
    assert error.startswith(f"the step is hermetic, but it used what can't be observed: {name} in In [3]"), error
    assert project.records() == []


@pytest.mark.parametrize("kind", USES)
def test_a_result_that_depends_on_such_things_is_no_hit_for_a_hermetic_step(project: Project, kind: str):
    code, name = USES[kind]
    uses(project, False, code)
    project.statuses()
    uses(project, True, code)
    plan = project.json("plan", "pipeline=demo")["uses"]
    assert (plan["action"], plan["reason"]) == ("run", f"it is hermetic, but its result {SAYS.format(name)}")
    assert project.statuses(code=1) == {"uses": "failed"}
    uses(project, False, code)
    assert project.statuses() == {"uses": "hit"}


def test_a_hermetic_step_that_uses_nothing_of_the_kind(project: Project):
    uses(project, True)
    assert project.statuses() == {"uses": "ran"}
    uses(project, False)
    assert project.statuses() == {"uses": "hit"}


def test_a_hermetic_result_takes_the_place_of_one_that_was_not(project: Project):
    "What a step asks the network for is in no key, so two executions may share one"
    uses(project, True)
    project.statuses()
    (path,) = project.records()
    path.write_bytes(canonical_json(seal(json.loads(path.read_text()) | {"notes": {"network": {"example.org:443": 2}}})))
    assert project.statuses() == {"uses": "ran"} and project.statuses() == {"uses": "hit"}


@pytest.mark.parametrize("value", ["'yes'", "1", "[true]"])
def test_hermetic_is_true_or_false(project: Project, value: str):
    project.notebook("uses", "result.write_text('1')")
    project.pipeline(f"uses: {{notebook: notebooks/uses.ipynb, outs: {{result: result.json}}, hermetic: {value}}}")
    assert "hermetic wants true or false" in project.mlops("plan", "pipeline=demo", code=2)
