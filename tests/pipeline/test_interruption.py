"""A run that is asked to end does so in good order, says so, and goes on where it was."""
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
import pytest
from helpers.interrupted import in_order, wait_until


WAITS = """
import time
journal = open({journal!r}, "a", buffering=1)
print("START", file=journal)
try:
    time.sleep(1000)
except KeyboardInterrupt:
    print("CLEAN", file=journal)
    raise
"""
DEAF = """
import signal, time
journal = open({journal!r}, "a", buffering=1)
print("START", file=journal)
while True:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    except BaseException:
        print("HEARD", file=journal)
"""


@pytest.fixture
def waiting(project, tmp_path):
    "A project of which one step ends at once, and one waits for Ctrl-C"
    project.journal = tmp_path / "journal"
    project.notebook("waits", WAITS.format(journal=str(project.journal)), """result.write_text('{"number": 1}')""")
    project.pipeline("""
good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}
waits: {notebook: notebooks/waits.ipynb, outs: {result: result.json}}
after: {notebook: notebooks/adds.ipynb, ins: {given: waits.result}, outs: {result: result.json}}
""")
    return project


def begun(project) -> None:
    "Wait until the waiting step waits and the other one has ended"
    wait_until(lambda: project.journal.exists() and "START" in project.journal.read_text() and len(project.records()) == 1)


@pytest.mark.parametrize("number, engine", [
    (signal.SIGINT, "mlops"), (signal.SIGTERM, "mlops"), (signal.SIGHUP, "mlops"), pytest.param(signal.SIGINT, "kernel", marks=pytest.mark.long),
    pytest.param(signal.SIGTERM, "kernel", marks=pytest.mark.long), pytest.param(signal.SIGHUP, "kernel", marks=pytest.mark.long)])
def test_asked_once_notebooks_may_clean_up(waiting, number, engine):
    process = waiting.start("run", "pipeline=demo", f"engine={engine}")
    begun(waiting)
    process.send_signal(number)
    said, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, error
    assert error.count("no new steps start") == 1 and ("Ctrl-C: no new" if number == signal.SIGINT else f"{number.name}: no new") in error
    assert waiting.journal.read_text().split() == ["START", "CLEAN"]
    run = in_order(waiting)
    assert {name: step["status"] for name, step in run["steps"].items()} == {"good": "ran", "waits": "interrupted", "after": "skipped"} and run["signal"] == number
    assert f"mlops resume {run['run']}" in said or number == signal.SIGHUP
    book = json.loads((waiting.root / ".mlops/runs" / run["run"] / "waits.ipynb").read_text())
    assert any(output.get("ename") == "KeyboardInterrupt" for cell in book["cells"] for output in cell.get("outputs", []))


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.long), 2])
def test_who_does_not_listen_is_killed_and_asked_twice_at_once(waiting, times):
    waiting.notebook("waits", DEAF.format(journal=str(waiting.journal)))
    process = waiting.start("run", "pipeline=demo")
    begun(waiting)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "HEARD" in waiting.journal.read_text())
    if times == 2:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and (times == 2 or time.monotonic() - asked > 6.5)
    in_order(waiting)


def test_the_terminal_goes(waiting):
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("mlops"), "run", "pipeline=demo"]
    process = subprocess.Popen(command, cwd=waiting.root, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=os.environ | {"TERM": "xterm"}, preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
    os.close(theirs)
    begun(waiting)
    os.close(ours)
    assert process.wait(timeout=60) == 129
    assert waiting.journal.read_text().split() == ["START", "CLEAN"]
    in_order(waiting)


def test_under_nohup_a_run_goes_on_without_its_terminal(project):
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    process = project.start("run", "pipeline=demo", before=("nohup",))
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_who_waits_for_another_run_can_be_interrupted(waiting):
    first = waiting.start("run", "pipeline=demo")
    begun(waiting)
    second = waiting.start("run", "pipeline=demo")
    wait_until(lambda: len(list(waiting.root.glob(".mlops/runs/*/events.jsonl"))) == 2)
    time.sleep(0.3)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)
    assert second.returncode == 130 and first.poll() is None
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    in_order(waiting)


def test_resume_takes_the_configuration_and_the_steps_of_the_run(project):
    project.pipeline("""
good: {notebook: notebooks/good.ipynb, params: {number: 1}, outs: {result: result.json}}
part: {foreach: [1, 2], notebook: notebooks/good.ipynb, params: {number: "{item}"}, outs: {result: result.json}}
raises: {notebook: notebooks/raises.ipynb, ins: {given: good.result}, outs: {result: result.json}}
other: {notebook: notebooks/good.ipynb, params: {number: 9}, outs: {result: result.json}}
""")
    options = "pipeline=demo", "pipeline.steps.good.params.number=7", "--until", "raises", "--until", "part"
    project.edit("notebooks/raises.ipynb", "from pathlib import Path", "from pathlib import Path\\ngiven: Path = Path('in/given.json')")
    failed = project.json("run", *options, code=1)
    assert failed["steps"]["raises"]["status"] == "failed" and "other" not in failed["steps"]
    project.edit("notebooks/raises.ipynb", "raise ValueError", "print")
    project.edit("conf/pipeline/demo.yaml", "number: 1}", "number: 2}")
    resumed = project.json("resume", failed["run"][-6:])
    assert {name: step["status"] for name, step in resumed["steps"].items()} == {"good": "hit", "part@1": "hit", "part@2": "hit", "raises": "ran"}
    assert project.json("show")["resumes"] == failed["run"]
    assert {step["status"] for step in project.json("resume", failed["run"])["steps"].values()} == {"hit"}


def test_resume_after_a_kill(waiting):
    process = waiting.start("run", "pipeline=demo")
    begun(waiting)
    process.kill()
    process.communicate()
    waiting.edit("notebooks/waits.ipynb", "time.sleep(1000)", "pass")
    steps = waiting.json("resume")["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {"good": "hit", "waits": "ran", "after": "ran"}
    in_order(waiting, "done")


def test_resume_needs_secrets_from_today(project):
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]\nwarehouse: {password: canary-one, url: 's3://me:canary-two@host'}\n")
    run = project.json("run", "pipeline=demo")
    everything = b"".join(path.read_bytes() for path in (project.root / ".mlops").rglob("*") if path.is_file())
    assert b"canary" not in everything
    assert project.json("resume", run["run"])["steps"]["good"]["status"] == "hit"
    typed = project.json("run", "pipeline=demo", "warehouse.password=canary-three")
    told = project.mlops("resume", typed["run"], code=2)
    assert "warehouse.password" in told and "canary" not in told
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]\n")
    told = project.mlops("resume", run["run"], code=2)
    assert "warehouse.password, warehouse.url" in told


def test_a_grid_ends_with_the_run_that_is_interrupted(waiting):
    process = waiting.start("run", "-m", "pipeline=demo", "seed=range(0,9)", "executor.workers=2", "--json")
    wait_until(lambda: waiting.journal.exists() and "START" in waiting.journal.read_text() and waiting.records())  # of several runs
    process.send_signal(signal.SIGINT)
    answer = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 130 and {run["status"] for run in answer["runs"]} == {"interrupted"}
    assert len(answer["runs"]) < 9, "those that had not begun don't begin"
