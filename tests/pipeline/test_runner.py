"""What a run promises when things go wrong: true ends, nothing lost, nothing twice."""
import json
import os
import signal
import subprocess
import time
from pathlib import Path
import pytest
from helpers.processes import left_over, started


FAULTS = """
good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}
after: {notebook: notebooks/adds.ipynb, ins: {given: good.result}, outs: {result: result.json}, metrics: result}
raises: {notebook: notebooks/raises.ipynb, outs: {result: result.json}}
below: {notebook: notebooks/adds.ipynb, ins: {given: raises.result}, outs: {result: result.json}}
exits: {notebook: notebooks/exits.ipynb, outs: {result: result.json}}
os_exit: {notebook: notebooks/os_exit.ipynb, outs: {result: result.json}}
killed: {notebook: notebooks/killed.ipynb, outs: {result: result.json}}
endless: {notebook: notebooks/endless.ipynb, outs: {result: result.json}, timeout: 4s}
nothing: {notebook: notebooks/writes_nothing.ipynb, outs: {result: result.json}}
spoils: {notebook: notebooks/spoils_input.ipynb, ins: {given: good.result}, outs: {result: result.json}}
"""
REASONS = {
    "raises": "In [3] raised ValueError: the third cell gives up",
    "exits": "left the notebook with sys.exit(0)",
    "os_exit": "its process ended with exit status 0",
    "killed": "its process was killed by SIGKILL",
    "endless": "the step ran longer than its timeout of 4 s",
    "nothing": "without writing out/result.json; in out/ there is resalt.json",
    "spoils": "the notebook changed its input in/result.json",
}


def error_outputs(notebook: Path) -> list[str]:
    "The errors that an executed notebook shows"
    cells = json.loads(notebook.read_text())["cells"]
    return [output["evalue"] for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "error"]


@pytest.mark.parametrize("engine", ["mlops", pytest.param("kernel", marks=pytest.mark.long)])
def test_every_end_is_told_truly(project, engine):
    project.pipeline(FAULTS)
    run = project.json("run", "pipeline=demo", f"engine={engine}", code=1)
    steps = run["steps"]
    assert {name for name, step in steps.items() if step["status"] == "ran"} == {"good", "after"}
    assert steps["below"]["status"] == "skipped"
    for name, reason in REASONS.items():
        assert steps[name]["status"] == "failed" and reason in steps[name]["error"], steps[name]
    assert run["metrics"] == {"after": {"number": 2}}
    assert len(project.records()) == 2, "only what ended well is kept"

    folder = project.root / ".mlops/runs" / run["run"]
    for name in ("raises", "exits", "os_exit", "killed", "endless"):
        assert error_outputs(folder / f"{name}.ipynb"), f"the notebook of {name} shows no error"
        statuses = [cell["metadata"]["papermill"]["status"] for cell in json.loads((folder / f"{name}.ipynb").read_text())["cells"] if "papermill" in cell["metadata"]]
        assert "failed" in statuses and "completed" not in statuses[statuses.index("failed"):], (name, statuses)
    assert REASONS["raises"] in project.mlops("show", "last", "raises")

    again = project.json("run", "pipeline=demo", "--until", "after")
    assert {step["status"] for step in again["steps"].values()} == {"hit"}
    assert not list((project.root / ".mlops/tmp").iterdir()) and not list((project.root / ".mlops/leases").glob("*.json"))


def test_temporary_files_are_where_the_user_wants_them(project, tmp_path):
    pytest.importorskip("wandb")
    project.notebook("temporary", "import tempfile, wandb  # which looks where they are while it is imported", "result.write_text(json.dumps({'folder': tempfile.gettempdir()}))", parameters="import json\nfrom pathlib import Path\nnumber: int = 0\nresult: Path = Path('out/result.json')")
    project.pipeline("one: {notebook: notebooks/temporary.ipynb, outs: {result: result.json}, metrics: result}")
    for number, name in enumerate(("here", "there")):
        (tmp_path / name).mkdir()
        done = project.json("run", "pipeline=demo", f"pipeline.steps.one.params.number={number}", TMPDIR=str(tmp_path / name))
        assert done["metrics"]["one"]["folder"] == str(tmp_path / name)


def test_files_left_open_are_written_to_their_end(project):
    project.pipeline("open: {notebook: notebooks/leaves_files_open.ipynb, outs: {text: text.txt, archive: archive.zip, last: last.txt}}")
    warm = project.json("run", "pipeline=demo")["steps"]["open"]["outs"]
    kernel = project.json("run", "pipeline=demo", "engine=kernel", "store=.other")["steps"]["open"]["outs"]
    assert warm == kernel


@pytest.mark.parametrize("engine, reason", [("mlops", "was killed, and the step with it"), pytest.param("kernel", "its process was killed by SIGKILL", marks=pytest.mark.long)])
def test_what_executes_the_notebook_is_killed(project, engine, reason):
    project.pipeline("killed: {notebook: notebooks/kills_runner_child.ipynb, outs: {result: result.json}}")
    run = project.json("run", "pipeline=demo", f"engine={engine}", code=1)
    assert reason in run["steps"]["killed"]["error"]
    assert error_outputs(project.root / ".mlops/runs" / run["run"] / "killed.ipynb")
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    assert project.statuses(f"engine={engine}") == {"good": "ran"}, "a new parent is started"


def test_a_failed_step_continues_after_the_mend(project):
    project.pipeline("""
good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}
raises: {notebook: notebooks/raises.ipynb, outs: {result: result.json}}
""")
    assert project.statuses(code=1) == {"good": "ran", "raises": "failed"}
    project.edit("notebooks/raises.ipynb", "raise ValueError", "print")
    assert project.statuses() == {"good": "hit", "raises": "ran"}


def test_retries(project, tmp_path):
    project.pipeline(f"once: {{notebook: notebooks/fails_once.ipynb, params: {{journal: {tmp_path}/tried}}, outs: {{result: result.json}}, retries: 1}}")
    assert project.statuses() == {"once": "ran"}
    assert json.loads(project.records()[0].read_text())["attempt"] == 2


def test_metrics_that_json_cannot_hold(project):
    project.pipeline("numbers: {notebook: notebooks/many_numbers.ipynb, outs: {metrics: metrics.json}, metrics: metrics}")
    assert project.json("run", "pipeline=demo")["metrics"] == {"numbers": {"loss": "NaN", "auc": 0.5}}


def test_any_papermill_notebook_is_a_step(project):
    project.pipeline("""
good: {notebook: notebooks/good.ipynb, params: {number: 21}, outs: {result: result.json}}
plain: {notebook: notebooks/plain_papermill.ipynb, ins: {source: good.result}, outs: {target: doubled.json}, metrics: target}
""")
    assert project.json("run", "pipeline=demo")["metrics"]["plain"] == {"number": 42}
SLOW = "\n".join(
    f"{name}: {{notebook: notebooks/sleeps.ipynb, params: {{name: {name}, seconds: 2, journal: JOURNAL}}, outs: {{result: result.json}}}}" for name in ("one", "two", "three")
)


@pytest.fixture
def slow(project, tmp_path):
    "A project of three slow steps that keep a journal outside the store"
    project.journal = tmp_path / "journal"
    project.pipeline(SLOW.replace("JOURNAL", str(project.journal)))
    return project


def test_two_at_once_end_with_one_record_per_key(slow):
    both = [slow.start("run", "pipeline=demo", "--json") for _ in range(2)]
    answers = [one.communicate(timeout=200)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    keys = [{name: step["key"] for name, step in json.loads(answer)["steps"].items()} for answer in answers]
    assert keys[0] == keys[1] and len(slow.records()) == 3
    assert slow.journal.read_text().count("START") == 3, "each key was computed once"


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)])
def test_an_interrupted_run_says_so_and_continues(slow, number, code):
    process = slow.start("run", "pipeline=demo", "--json")
    started(slow)
    process.send_signal(number)
    answer = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == code and answer["status"] == "interrupted"
    assert not left_over(slow)
    assert slow.json("runs")[0]["status"] == "interrupted"
    before = len(slow.records())
    assert list(slow.statuses().values()).count("hit") == before


def test_a_killed_run_leaves_nothing_running_and_nothing_locked(slow):
    process = slow.start("run", "pipeline=demo")
    started(slow, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while left_over(slow) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_over(slow), "the kernels die with the run"
    assert slow.json("runs")[0]["status"] == "interrupted"
    begun = time.monotonic()
    assert set(slow.statuses().values()) <= {"ran", "hit"}
    assert time.monotonic() - begun < 60


def test_grid_is_one_run_each(project):
    project.pipeline("good: {notebook: notebooks/good.ipynb, params: {number: 1}, outs: {result: result.json}, metrics: result}")
    runs = project.json("run", "-m", "pipeline=demo", "pipeline.steps.good.params.number=3,4")["runs"]
    assert [run["metrics"]["good"]["number"] for run in runs] == [3, 4]


def test_foreach_fans_out_and_in(project):
    project.pipeline("""
part: {foreach: [1, 2], notebook: notebooks/good.ipynb, params: {number: "{item}"}, outs: {result: result.json}}
both: {notebook: notebooks/joins.ipynb, ins: {parts: part.result, records: "*.record"}, outs: {total: total.json}, metrics: total}
""")
    assert project.json("run", "pipeline=demo")["metrics"]["both"] == {"files": ["1.json", "2.json"], "steps": ["part@1", "part@2"], "total": 3}


def test_sources_of_every_kind(project):
    (project.root / "data").mkdir()
    for name in ("a", "b"):
        (project.root / f"data/{name}.json").write_text('{"number": 4}')
    project.pipeline("""
one: {notebook: notebooks/adds.ipynb, sources: {given: data/a.json}, outs: {result: result.json}, metrics: result}
all: {notebook: notebooks/lists.ipynb, sources: {folder: data, some: "data/*.json", packaged: "pkg://mlops_kit/conf/config.yaml"}, outs: {found: found.json}, metrics: found}
""")
    metrics = project.json("run", "pipeline=demo")["metrics"]
    assert metrics["one"] == {"number": 5}
    assert metrics["all"] == {"folder": ["a.json", "b.json"], "some": ["a.json", "b.json"], "packaged": "config.yaml"}
    project.mlops("run", "pipeline=demo", "store=again", "sources_limit=0")
    kept = [path.read_bytes() for path in (project.root / "again/objects").rglob("*") if path.is_file()]
    assert b'{"number": 4}' not in kept, "above the limit a source is not kept"
    (project.root / "data/b.json").write_text('{"number": 9}')
    plan = project.json("plan", "pipeline=demo")
    assert plan["one"]["action"] == "hit" and plan["all"]["action"] == "run" and "source folder changed" in plan["all"]["reason"]


def test_plain_papermill_in_the_laid_out_folder_gives_the_same(project, tmp_path):
    project.pipeline("""
good: {notebook: notebooks/good.ipynb, params: {number: 7}, outs: {result: result.json}}
after: {notebook: notebooks/adds.ipynb, ins: {given: good.result}, outs: {result: result.json}}
""")
    project.mlops("run", "pipeline=demo")
    project.mlops("show", "last", "after", "--folder", str(tmp_path / "again"))
    subprocess.run([Path(os.sys.executable).with_name("papermill"), "notebook.ipynb", "executed.ipynb", "-f", "parameters.yaml", "-k", "python3"], cwd=tmp_path / "again", check=True, capture_output=True)
    made = project.json("show", "last", "after")["outs"]["result"]
    from mlops_kit.store.objects import digest_path
    assert digest_path(tmp_path / "again/out/result.json") == made
