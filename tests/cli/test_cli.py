"""Wrong use is answered before anything starts: exit 2, all problems at once, the nearest known name."""

import pytest

GOOD = "good: {notebook: notebooks/good.ipynb, params: {number: 1}, outs: {result: result.json}}"
AFTER = "after: {notebook: notebooks/adds.ipynb, ins: {given: good.result}, outs: {result: result.json}}"


def refused(project, *words: str) -> str:
    "What a run is refused with; nothing was started"
    text = project.mlops("run", "pipeline=demo", *words, code=2)
    assert "Traceback" not in text and not (project.root / ".mlops").exists()
    return text


@pytest.mark.parametrize("override, words", [
    ("pipeline.steps.good.params.number=three", ["notebooks/good.ipynb, cell 2 (step good)", "parameter number: expected int, got 'three'"]),
    ("pipeline.steps.good.params.nunber=3", ["no parameter 'nunber': did you mean 'number'?"]),
    ("pipeline.steps.god.params.number=3", ["no step 'god': did you mean 'good'?"]),
    ("pipeline.steps.after.ins.given=good.resalt", ["no out 'resalt': did you mean 'result'?"]),
    ("pipeline.steps.after.ins.given=goood.result", ["no step 'goood': did you mean 'good'?"]),
    ("pipeline.steps.good.outs.resalt=a.json", ["did you mean 'result'?"]),
    ("pipeline.steps.good.notebook=notebooks/missing.ipynb", ["notebooks/missing.ipynb: there is no such notebook"]),
    ("pipeline.steps.good.notebook=notebooks/no_parameters.ipynb", ["no cell is tagged `parameters`"]),
    ("pipeline=dmo", ["dmo"]),
    ("engin=kernel", ["did you mean 'engine'?"]),
    ("+pipeline.steps.good.timeout=soon", ["'soon' is not a duration"]),
])
def test_wrong_words(project, override, words):
    project.pipeline(f"{GOOD}\n{AFTER}")
    text = refused(project, override)
    for word in words:
        assert word in text


def test_all_problems_in_one_go(project):
    project.pipeline("""
good: {notebook: notebooks/good.ipynb, params: {number: x}, outs: {result: result.json, other: result.json}, retires: 1}
bare: {notebook: notebooks/no_parameters.ipynb}
gone: {notebook: notebooks/gone.ipynb, sources: {given: data/gone.csv}}
one: {notebook: notebooks/adds.ipynb, ins: {given: two.result}, outs: {result: result.json}}
two: {notebook: notebooks/adds.ipynb, ins: {given: one.result}, outs: {result: result.json}}
last: {notebook: notebooks/adds.ipynb, ins: {given: good.resalt}, outs: {result: ../result.json}, metrics: numbers}
""")
    text = refused(project)
    for words in ("expected int, got 'x'", "two outs write result.json", "did you mean 'retries'", "no cell is tagged", "no such notebook", "there is no such file",
                  "wait for each other", "did you mean 'result'", "must be a relative path below out/", "metrics: no out 'numbers'"):
        assert words in text, f"{words!r} is not in\n{text}"


def test_inputs_that_would_lie_at_one_place(project):
    (project.root / "a").mkdir()
    (project.root / "a/words.txt").touch()
    (project.root / "words.txt").touch()
    project.pipeline("good: {notebook: notebooks/good.ipynb, sources: {one: words.txt, other: a/words.txt}, outs: {result: result.json}}")
    assert "one and other would both lie at in/words.txt" in project.mlops("plan", "pipeline=demo", code=2)


def test_broken_yaml(project):
    (project.root / "conf/pipeline/demo.yaml").write_text("name: demo\nsteps: {good: [\n")
    assert "line 2" in refused(project) or "line 3" in refused(project)
    project.pipeline(f"{GOOD}\n{GOOD}")
    assert "duplicate key" in refused(project)


def test_errors_as_json(project):
    project.pipeline(GOOD)
    answer = project.json("run", "pipeline=demo", "pipeline.steps.good.params.number=three", code=2)
    assert answer["status"] == "error" and answer["exit"] == 2 and len(answer["problems"]) == 1


def test_help_has_an_example_everywhere(project):
    for command in ("run", "plan", "runs", "show", "check", "verify", "why", "lineage", "resume", "fsck", "gc", "push", "pull"):
        assert f"example: mlops {command}" in project.mlops(command, "--help")


def test_plan_starts_nothing(project):
    project.pipeline(f"{GOOD}\n{AFTER}")
    plan = project.json("plan", "pipeline=demo")
    assert {name: step["action"] for name, step in plan.items()} == {"good": "run", "after": "wait"}
    assert not (project.root / ".mlops").exists()


def test_check_names_every_pipeline(project):
    project.pipeline(GOOD)
    project.pipeline(GOOD.replace("number: 1", "number: two"), "other")
    text = project.mlops("check", code=2)
    assert "expected int, got 'two'" in text
    assert "demo: 1 steps" in project.mlops("check", "pipeline=demo")


def test_the_documented_json_of_a_run(project):
    project.pipeline(GOOD)
    run = project.json("run", "pipeline=demo")
    assert set(run) == {"run", "status", "steps", "metrics"}
    assert set(run["steps"]["good"]) == {"status", "key", "seconds", "outs", "error"}
    shown = project.json("show")
    assert shown["run"] == run["run"] and shown["command"][0] == "mlops"


def test_secrets_are_not_kept(project):
    project.pipeline(GOOD)
    project.mlops("run", "pipeline=demo", "+warehouse.password=canary-4711", "+warehouse.token=${oc.env:CANARY}", CANARY="canary-4712")
    kept = [path for path in (project.root / ".mlops").rglob("*") if path.is_file() and b"canary-471" in path.read_bytes()]
    assert not kept, kept
