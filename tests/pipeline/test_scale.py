"""Many steps at once: each starts when it can, none takes what another one has, and whoever watches them stays light."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "papermill nbformat nbclient torch lightning IPython numpy jupyter_client".split()


def sleeping(project, steps: dict[str, str]) -> None:
    "A pipeline of steps that keep a journal outside the store; for each what else it says"
    project.journal = project.root.parent / "journal"
    head = f"notebook: notebooks/sleeps.ipynb, outs: {{result: result.json}}, params: {{journal: {project.journal}, seconds: SECONDS, name: NAME}}"
    lines = [f"{name}: {{{head.replace('NAME', name).replace('SECONDS', '2' if name == 'long' else '0.5')}{more}}}" for name, more in steps.items()]
    project.pipeline("\n".join(lines))


def most_at_once(project, *names: str) -> int:
    "How many of these steps ran at the same time, as they told the journal"
    running = most = 0
    for line in project.journal.read_text().splitlines():
        what, name = line.split()
        running += (1 if what == "START" else -1) * (name in names)
        most = max(most, running)
    return most


PAIRS = {"one": "", "two": "", "wide": ", resources: {cpu: 2}", "wider": ", resources: {cpu: 9}", "drawn": ", resources: {gpu: 1}", "painted": ", resources: {gpu: 1}"}


def test_resources_are_respected(project):
    sleeping(project, PAIRS)
    assert set(project.statuses("executor.workers=2", "executor.gpus=1").values()) == {"ran"}
    assert most_at_once(project, *PAIRS) == 2, "two workers are used, and no third one"
    assert most_at_once(project, "wide", "wider") == 1 == most_at_once(project, "drawn", "painted")
    for wide in ("wide", "wider"):
        assert max(most_at_once(project, wide, other) for other in PAIRS if other != wide) == 1, f"{wide} takes both cpus"


def test_two_gpus_are_two(project):
    sleeping(project, {name: PAIRS[name] for name in ("drawn", "painted")})
    assert set(project.statuses("executor.workers=2", "executor.gpus=2").values()) == {"ran"}
    assert most_at_once(project, "drawn", "painted") == 2


def test_a_step_that_takes_a_gpu_sees_no_other(project):
    project.notebook("sees", 'import json, os, time; time.sleep(1); result.write_text(json.dumps(os.environ.get("CUDA_VISIBLE_DEVICES")))')
    project.pipeline("".join(f"{name}: {{notebook: notebooks/sees.ipynb, params: {{number: {name[-1]}}}, outs: {{result: result.json}}{more}}}\n" for name, more in {"a1": ", resources: {gpu: 1}", "b2": ", resources: {gpu: 1}", "c3": ", resources: {gpu: 2}", "d4": ""}.items()))
    project.edit("notebooks/sees.ipynb", '\\nresult: Path', '\\nnumber: int = 0\\nresult: Path')
    done = project.json("run", "pipeline=demo", "executor.workers=4", "executor.gpus=2")["steps"]
    seen = {name: json.loads((project.root / ".mlops/objects" / one["outs"]["result"][:2] / one["outs"]["result"][2:]).read_text()) for name, one in done.items()}
    assert {seen["a1"], seen["b2"]} == {"0", "1"} and set(seen["c3"].split(",")) == {"0", "1"} and seen["d4"] is None


def test_a_step_starts_as_soon_as_its_own_inputs_are_there(project):
    notebook = json.loads((project.root / "notebooks/sleeps.ipynb").read_text())
    notebook["cells"][1]["source"] += '\nearlier: Path = Path("in/result.json")'
    (project.root / "notebooks/sleeps_after.ipynb").write_text(json.dumps(notebook))
    sleeping(project, {"long": "", "short": "", "after": ", ins: {earlier: short.result}"})
    project.edit("conf/pipeline/demo.yaml", "after: {notebook: notebooks/sleeps.ipynb", "after: {notebook: notebooks/sleeps_after.ipynb")
    assert set(project.statuses("executor.workers=2").values()) == {"ran"}
    journal = project.journal.read_text().splitlines()
    assert journal.index("END after") < journal.index("END long"), journal


def test_what_waits_for_a_failed_step_is_skipped_and_the_rest_runs(project):
    project.pipeline("""
part: {foreach: [1, 2], notebook: notebooks/good.ipynb, params: {number: "{item}"}, outs: {result: result.json}}
raises: {notebook: notebooks/raises.ipynb, outs: {result: result.json}}
below: {notebook: notebooks/adds.ipynb, ins: {given: raises.result}, outs: {result: result.json}}
deeper: {notebook: notebooks/adds.ipynb, ins: {given: below.result}, outs: {result: result.json}}
both: {notebook: notebooks/joins.ipynb, ins: {parts: part.result, records: "*.record"}, outs: {total: total.json}}
""")
    steps = project.json("run", "pipeline=demo", code=1)["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {"part@1": "ran", "part@2": "ran", "raises": "failed", "below": "skipped", "deeper": "skipped", "both": "ran"}
    assert steps["deeper"]["error"] == "below has no result"


@pytest.mark.parametrize("resources", ["{cpu: many}", "{gpu: -1}", "{cpu: 0.5}"])
def test_resources_that_are_no_numbers(project, resources):
    project.pipeline(f"good: {{notebook: notebooks/good.ipynb, outs: {{result: result.json}}, resources: {resources}}}")
    assert "wants a whole number" in project.mlops("plan", "pipeline=demo", code=2)


def test_the_client_stays_light(project):
    project.pipeline('part: {foreach: [1, 2, 3], notebook: notebooks/good.ipynb, params: {number: "{item}"}, outs: {result: result.json}}')
    code = f"import mlops_kit, sys; done = mlops_kit.run('demo'); print(done.status, [name for name in {HEAVY} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, env={name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"})
    assert told.stdout == "done []\n", told.stdout + told.stderr
    assert [Path(record).suffix for record in project.records()] == [".json"] * 3, "its steps have run"


def test_a_log_file_has_a_line_for_each_step_that_ran_and_one_for_all_hits(project):
    items = list(range(40))
    project.pipeline(f'part: {{foreach: {items}, notebook: notebooks/good.ipynb, params: {{number: "{{item}}"}}, outs: {{result: result.json}}}}')

    def log(*words: str) -> list[str]:
        process = project.start("run", "pipeline=demo", "--json", *words)
        out, err = process.communicate(timeout=300)
        assert len(json.loads(out)["steps"]) == 40, "standard output is one document"
        return err.splitlines()

    first = log()
    assert len(first) == 41 and {line.split()[2].split("/")[0] for line in first[1:]} == {str(number) for number in range(1, 41)}, first
    second = log()
    assert len(second) == 2 and second[1] == "mlops: = 40/40 part@0, part@1 and 38 more: hit", second
    project.edit("conf/pipeline/demo.yaml", "[0, 1,", "[0, 41,")
    third = log()
    assert len(third) == 4 and "ran" in third[3] and "> part@41: starts" in third[2], third
