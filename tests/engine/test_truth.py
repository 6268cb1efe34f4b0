"""However a notebook ends, what is said about it is true, and what it had shown is kept.

Everything here is seen from outside: the command line, its exit code and JSON, executed notebooks, logs, and the table of processes. Each promise is tested for both faces of the engine,
a step of `mlops run` and plain `papermill --engine mlops`, and for a step also with the reference engine `kernel`.
"""
import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from helpers.papermill import JOURNAL, SECONDS, Papermill, wait_for
from helpers.project import Project

from mlops_kit.engine.kernel import OUTPUT_LIMIT

MB = 1 << 20
PATIENCE = 60  # from the end of a time limit to the end of whatever heeds no signal
LIMIT = 4      # seconds that an endless step may run
CELL_LIMIT = 1 # seconds that an endless cell may run
SHOWN = "print('dying words', flush=True)\ntime.sleep(0.5)\n"

LESS_MEMORY = """
import resource
have = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (have + (256 << 20),) * 2)
"""

# what the dying cell does, and what is said about it
DEATHS = {
    "endless": ("while True:\n    time.sleep(0.01)", "timeout"),
    "ignores_interrupt": ("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(1000)", "timeout"),
    "ignores_all": ("import signal\nfor one in (signal.SIGINT, signal.SIGTERM):\n    signal.signal(one, signal.SIG_IGN)\ntime.sleep(1000)\ntime.sleep(1000)", "timeout"),
    "swallows_interrupts": ("while True:\n    try:\n        time.sleep(1000)\n    except BaseException:\n        pass", "timeout"),
    "stopped": ("import signal\nos.kill(os.getpid(), signal.SIGSTOP)", "timeout"),
    "segfault": ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    "exits": ("os._exit(0)", "exit status 0"),
    "aborts": ("os.abort()", "SIGABRT"),
    "too_large": (LESS_MEMORY + "bytearray(4 << 30)", "MemoryError"),
    "out_of_memory": (LESS_MEMORY + "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))", "MemoryError"),
    "killed_by_the_system": ("import signal\nos.kill(os.getpid(), signal.SIGKILL)", r"SIGKILL \(perhaps out of memory\)"),
}


def cells_that_end_in(death: str, journal: Path) -> list[str]:
    "Code cells: one that ends well, the one that dies, one that must not run"
    return ["print('good words')", JOURNAL.format(journal=str(journal)) + SHOWN + death, "print('never')", "result.write_text('{}')"]


@pytest.mark.long
def test_a_step_without_memory_can_always_say_so(project):
    project.notebook("hungry", "print('good words')", DEATHS["out_of_memory"][0], parameters='from pathlib import Path\nnumber: int = 0\nresult: Path = Path("out/result.json")')
    project.pipeline(f"hungry: {{foreach: {list(range(40))}, notebook: notebooks/hungry.ipynb, params: {{number: '{{item}}'}}, outs: {{result: result.json}}, timeout: 60s}}")
    steps = project.json("run", "pipeline=demo", "executor.workers=6", "warm=[torch,lightning,polars,sklearn,matplotlib,wandb]", code=1)["steps"]
    assert {step["error"] for step in steps.values()} == {"In [4] raised MemoryError: "}


def book_of(path: Path) -> dict:
    "An executed notebook, whole"
    return json.loads(path.read_text())


def statuses(book: dict) -> list[str]:
    "What papermill's metadata say about each code cell"
    return [cell["metadata"]["papermill"]["status"] for cell in book["cells"] if cell["cell_type"] == "code" and "papermill" in cell["metadata"]]


def printed(book: dict) -> str:
    "All that the cells wrote to their streams"
    return "".join("".join(output["text"]) for cell in book["cells"] for output in cell.get("outputs", []) if output["output_type"] == "stream")


def errors(book: dict) -> str:
    "The errors that the cells show"
    return "\n".join(f"{output['ename']}: {output['evalue']}" for cell in book["cells"] for output in cell.get("outputs", []) if output["output_type"] == "error")


def check_book(book: dict, reason: str) -> None:
    "An executed notebook tells the whole story up to the death, and nothing after it"
    text, ends = printed(book), statuses(book)
    failed = ends.index("failed") if "failed" in ends else len(ends)
    assert ends[:failed] == ["completed"] * failed and set(ends[failed:]) <= {"failed", "pending"} and ends.count("failed") == 1, ends
    assert "good words" in text, "the outputs of completed cells are kept"
    assert "never" not in text
    assert re.search(reason if reason != "timeout" else "timeout|KeyboardInterrupt", errors(book)), f"the notebook says {errors(book)!r}"
    assert "dying words" in text, "what the dying cell had shown is kept"


def ended_at(folder: Path) -> dict[str, float]:
    "When the run learned how each step ended"
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {event["step"]: datetime.fromisoformat(event["time"]).timestamp() for event in events if event["event"] == "ended"}


def last_line(text: str) -> str:
    "The last line of what was said"
    return text.strip().rpartition("\n")[2]


# -- deaths ------------------------------------------------------------------------------------------------------------------


WITH_A_KERNEL = ("ignores_all", "segfault", "too_large")


def let_steps_die(project: Project, engine: str, names: tuple[str, ...]) -> Project:
    "One run in which every step dies, all at once; run again after the repair"
    steps = {name: f"notebook: notebooks/{name}.ipynb, outs: {{result: result.json}}" + f", timeout: {LIMIT}s" * (DEATHS[name][1] == "timeout") for name in names}
    project.pipeline("\n".join(f"{name}: {{{step}}}" for name, step in steps.items()))
    for name in names:
        project.notebook(name, *cells_that_end_in(DEATHS[name][0], project.root / f"{name}.journal"))
    options = ("pipeline=demo", f"engine={engine}", f"executor.workers={len(names)}")
    project.told = project.json("run", *options, code=1)
    project.kept = len(project.records())
    for name in names:
        project.notebook(name, f"result.write_text({name!r})")
    project.repaired = {name: step["status"] for name, step in project.json("run", *options)["steps"].items()}
    return project


def let_papermill_die(folder: Path, name: str) -> tuple[int, str, float, Path]:
    "Plain papermill executes a dying notebook: exit code, standard error, seconds from the event to its end, executed notebook"
    death, reason = DEATHS[name]
    journal, limit = folder / f"{name}.journal", ("--execution-timeout", str(CELL_LIMIT)) * (reason == "timeout")
    one = Papermill(folder / name, "mlops", *cells_that_end_in(death, journal), options=limit)
    told = one.wait()
    return (*told, time.time() - float(journal.read_text()), one.output)


def start_fork_server(project: Project) -> None:
    "Let a step run that has no limit: on a busy machine, starting the fork server takes longer than `LIMIT`"
    project.notebook("quick", "result.write_text('{}')")
    project.pipeline("quick: {notebook: notebooks/quick.ipynb, outs: {result: result.json}}")
    project.json("run", "pipeline=demo", f"executor.workers={len(DEATHS)}")


@pytest.fixture(scope="module")
def deaths(tmp_path_factory):
    "All deaths at once, as most of them wait for a limit: futures of what became of them"
    top = tmp_path_factory.mktemp("deaths")
    start_fork_server(Project(top / "first"))
    with ThreadPoolExecutor(len(DEATHS) + 1) as pool:
        done = {"mlops": pool.submit(let_steps_die, Project(top / "mlops"), "mlops", tuple(DEATHS))}
        wait_for([top / f"mlops/{name}.journal" for name in DEATHS])  # what follows would take their time
        yield done | {name: pool.submit(let_papermill_die, top, name) for name in DEATHS}


@pytest.mark.parametrize("name", DEATHS)
def test_a_step_that_dies_says_so(deaths, name):
    check_step(deaths["mlops"].result(), name)


@pytest.mark.long
def test_a_step_that_dies_in_a_kernel_says_so(project):
    let_steps_die(project, "kernel", WITH_A_KERNEL)
    for name in WITH_A_KERNEL:
        check_step(project, name)
    assert project.kept == 0


def check_step(project: Project, name: str) -> None:
    "Status, reason, time and executed notebook of a step that died are right"
    reason = DEATHS[name][1]
    step, folder = project.told["steps"][name], project.root / ".mlops/runs" / project.told["run"]
    assert step["status"] == "failed" and re.search(reason, step["error"]), step
    took = ended_at(folder)[name] - float((project.root / f"{name}.journal").read_text())
    assert took < (LIMIT + PATIENCE if reason == "timeout" else SECONDS), f"{took:.1f} s after the event"
    check_book(book_of(folder / f"{name}.ipynb"), reason)


def test_a_death_records_no_result_and_can_be_repaired(deaths):
    project = deaths["mlops"].result()
    assert project.kept == 0
    assert project.repaired == dict.fromkeys(DEATHS, "ran") and len(project.records()) == len(DEATHS)
    assert not list((project.root / ".mlops/tmp").iterdir()) and not list((project.root / ".mlops/leases").glob("*.json"))


@pytest.mark.parametrize("name", DEATHS)
def test_papermill_says_how_a_notebook_died(deaths, name):
    code, error, took, output = deaths[name].result()
    reason = DEATHS[name][1]
    assert code in (1, 138) and re.search(reason, last_line(error)), f"{code}: {error[-600:]}"  # 138 is papermill's for a dead kernel
    assert took < (CELL_LIMIT + PATIENCE if reason == "timeout" else SECONDS), f"{took:.1f} s after the event"
    check_book(book_of(output), reason)


# -- the log -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["mlops", pytest.param("kernel", marks=pytest.mark.long)])
def test_the_log_grows_while_a_cell_runs(project, engine):
    project.notebook("talks", "import subprocess, time\nfor number in range(8):\n    print('line', number)\n    time.sleep(0.3)\nsubprocess.run(['echo', 'from a child'])\ntime.sleep(1)\nprint('END')\nresult.write_text('{}')")
    project.pipeline("talks: {notebook: notebooks/talks.ipynb, outs: {result: result.json}}")
    process, seen = project.start("run", "pipeline=demo", f"engine={engine}"), []
    while process.poll() is None:
        seen += [path.read_text() for path in project.root.glob(".mlops/runs/*/talks.log")]
        time.sleep(0.05)
    assert process.wait() == 0, process.communicate()
    early = {text.count("line ") for text in seen if "END" not in text}
    assert len(early - {0}) >= 4, f"numbers of lines seen in the log before the cell ended: {sorted(early)}"
    assert any("from a child" in text and "END" not in text for text in seen)


# -- floods ------------------------------------------------------------------------------------------------------------------

FLOODS = {
    "prints": "while True:\n    print('x' * 10_000)",
    "short_lines": "while True:\n    print('x')",
    "errors": "import sys\nwhile True:\n    print('x' * 10_000, file=sys.stderr)",
    "child": "import subprocess\nsubprocess.run(['yes', 'x' * 1_000])",
    "descriptor": "import os\nwhile True:\n    os.write(1, b'x' * 65_536)",
    "displays": "from IPython.display import HTML, display\nwhile True:\n    display(HTML('x' * 10_000))",
    "values": "from IPython.display import display\nwhile True:\n    display(1)",
}
FLOOD = "for _ in range(20_000):\n    print('x' * 10_000)"
NOTE = r"(?i)\b(capped|cut|cut off|truncated|left out|dropped|not kept|too much output|limit)\b"
CHILD_LIMIT = 3000 * MB  # beyond it the machine is in danger, and the test with it


class Watched:
    "The highest memory of a process while it runs; what eats the machine's memory is killed"

    def __init__(self, pid: int):
        self.pid, self.peak, self.danger = pid, 0, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        with suppress(OSError, TypeError):  # gone, or a zombie
            while True:
                self.peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024
                for one in psutil.process_iter(["memory_info", "name"]):
                    if (memory := one.info["memory_info"]) and memory.rss > CHILD_LIMIT:
                        one.kill()
                        self.danger = True
                time.sleep(0.1)


def check_flood(book: Path) -> None:
    "The notebook of a flood is small, says that something is missing, and ended for the right reason"
    assert book.stat().st_size < 64 * MB, f"{book.stat().st_size / MB:.0f} MB"
    cell = next(cell for cell in book_of(book)["cells"] if "".join(cell["source"]) in [FLOOD, *FLOODS.values()])
    said = [json.dumps(output)[-500:] for output in cell["outputs"]]
    slow = "".join(cell["source"]) in FLOODS.values() and book.stat().st_size < OUTPUT_LIMIT  # it was ended before it was too much
    assert slow or any(re.search(NOTE, one) for one in said), f"no note about what is missing among {len(said)} outputs that end with {said[-3:]}"
    assert "good words" in printed(book_of(book))


@pytest.fixture(scope="module")
def flooded(tmp_path_factory):
    "A run in which every step puts out without end, and one that puts out too much and then ends well"
    project = Project(tmp_path_factory.mktemp("flooded") / "project")
    for kind, flood in FLOODS.items():
        project.notebook(kind, "print('good words')", flood, "print('never')")
    project.notebook("ends", "print('good words')", FLOOD, "result.write_text('{}')\nprint('last words')")
    steps = {**dict.fromkeys(FLOODS, f", timeout: {LIMIT}s"), "ends": ""}
    project.pipeline("\n".join(f"{kind}: {{notebook: notebooks/{kind}.ipynb, outs: {{result: result.json}}{limit}}}" for kind, limit in steps.items()))
    process = project.start("run", "pipeline=demo", "--json", f"executor.workers={len(steps)}")
    project.watched = Watched(process.pid)
    project.told, project.code = json.loads(process.communicate(timeout=120)[0]), process.returncode
    project.folder = project.root / ".mlops/runs" / project.told["run"]
    return project


def test_a_flood_does_not_reach_the_runner(flooded):
    assert not flooded.watched.danger, "a flood filled the memory"
    assert flooded.code == 1 and flooded.watched.peak < 150 * MB, f"the runner took {flooded.watched.peak / MB:.0f} MB"


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_outputs_is_capped(flooded, kind):
    step = flooded.told["steps"][kind]
    assert step["status"] == "failed" and "timeout" in step["error"], step
    assert step["seconds"] < LIMIT + PATIENCE
    check_flood(flooded.folder / f"{kind}.ipynb")
    assert (flooded.folder / f"{kind}.log").stat().st_size < 64 * MB, f"the log has {(flooded.folder / f'{kind}.log').stat().st_size / MB:.0f} MB"


def test_a_step_that_said_too_much_still_counts(flooded):
    assert flooded.told["steps"]["ends"]["status"] == "ran", flooded.told["steps"]["ends"]
    check_flood(flooded.folder / "ends.ipynb")
    assert printed(book_of(flooded.folder / "ends.ipynb")).endswith("last words\n"), "the cap is for a cell, not for those after it"
    assert (flooded.folder / "ends.log").stat().st_size < 64 * MB


@pytest.mark.long
@pytest.mark.parametrize("kind", ["prints", "child", "displays"])
def test_a_flood_of_outputs_is_capped_in_papermill(tmp_path, kind):
    flood = Papermill(tmp_path / "floods", "mlops", "print('good words')", FLOODS[kind], options=("--execution-timeout", str(LIMIT)))
    begun, watched = time.monotonic(), Watched(flood.process.pid)
    code, error = flood.wait()
    assert time.monotonic() - begun < LIMIT + PATIENCE + SECONDS, "the flood kept the limit away"
    assert not watched.danger, "the flood filled the memory"
    assert code in (1, 138) and "timeout" in last_line(error), f"{code}: {error[-600:]}"
    assert watched.peak < 400 * MB, f"papermill took {watched.peak / MB:.0f} MB"
    check_flood(flood.output)


# -- the fork server is killed -----------------------------------------------------------------------------------------------


LOST = "process that had started the step was killed"


def warm_parents(project) -> list[int]:
    "Process ids of the fork servers"
    return [one["pid"] for one in project.json("engine", "status")]


def test_a_killed_warm_parent_fails_its_steps_only(project):
    journal = project.root / "journal"
    project.notebook("waits", *cells_that_end_in("time.sleep(1000)", journal))
    project.pipeline("waits: {notebook: notebooks/waits.ipynb, outs: {result: result.json}}")
    process = project.start("run", "pipeline=demo", "--json")
    wait_for([journal], process)
    time.sleep(1)
    for pid in warm_parents(project):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    told = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 1 and time.monotonic() - killed < SECONDS
    assert told["steps"]["waits"]["status"] == "failed" and re.search(LOST, told["steps"]["waits"]["error"]), told
    assert not project.records()
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    assert project.statuses() == {"good": "ran"}, "a new parent is started"
    check_book(book_of(project.root / ".mlops/runs" / told["run"] / "waits.ipynb"), LOST)


@pytest.mark.long
def test_papermill_survives_a_killed_warm_parent(project, tmp_path):
    journal = tmp_path / "journal"
    plain = Papermill(tmp_path / "waits", "mlops", *cells_that_end_in("time.sleep(1000)", journal))
    wait_for([journal], plain.process)
    time.sleep(1)
    for pid in warm_parents(project):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    code, error = plain.wait()
    assert code in (1, 138) and time.monotonic() - killed < SECONDS and re.search(LOST, last_line(error)), f"{code}: {error[-600:]}"
    again = Papermill(tmp_path / "again", "mlops", "print('works')")
    assert again.wait()[0] == 0 and "works" in printed(book_of(again.output)), "a new parent is started"
    check_book(book_of(plain.output), LOST)
