"""However a notebook ends, what is said about it is true, what it had shown is kept, and no process of it is left.

Everything here is seen from outside: the command line, its exit code and JSON, executed notebooks, logs, and the table of processes. Each promise is tested for both faces of the engine,
a step of `mlops run` and plain `papermill --engine mlops`, and for a step also with the reference engine `kernel`.
"""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from helpers.project import Project, notebook

from mlops_kit.engine.kernel import OUTPUT_LIMIT

MB = 1 << 20
SECONDS = 60   # from what happened to the news about it, on a loaded machine; a hang lasts for ever
PATIENCE = 60  # from the end of a time limit to the end of whatever heeds no signal
LIMIT = 4      # seconds that an endless step may run
CELL_LIMIT = 1 # seconds that an endless cell may run
JOURNAL = "import os, time\nwith open({journal!r}, 'w') as journal:\n    journal.write(str(time.time()))\n"
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


def wait_for(journals: list[Path], process: subprocess.Popen | None = None, seconds: float = 30) -> None:
    "Wait until all dying cells have come to their end"
    deadline = time.monotonic() + seconds
    while not all(one.exists() for one in journals):
        assert not process or process.poll() is None, f"ended before: {process.communicate()}"
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def ended_at(folder: Path) -> dict[str, float]:
    "When the run learned how each step ended"
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {event["step"]: datetime.fromisoformat(event["time"]).timestamp() for event in events if event["event"] == "ended"}


class Papermill:
    "Plain papermill in a folder of its own"

    def __init__(self, folder: Path, engine: str, *sources: str, options: tuple[str, ...] = (), before: tuple[str, ...] = ()):
        self.folder, self.output = folder, folder / "executed.ipynb"
        (folder / "out").mkdir(parents=True)
        (folder / "notebook.ipynb").write_text(notebook("from pathlib import Path\nresult = Path('out/result.json')", *sources))
        outer = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"} | {"IPYTHONDIR": str(folder / ".ipython")}
        command = [*before, Path(sys.executable).with_name("papermill"), "--engine", engine, "notebook.ipynb", "executed.ipynb", "--no-progress-bar", *options]
        self.process = subprocess.Popen(command, cwd=folder, env=outer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def wait(self) -> tuple[int, str]:
        "Exit code and what was said on standard error"
        try:
            error = self.process.communicate(timeout=40)[1]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            error = "killed by the test: it took 40 s\n" + self.process.communicate()[1]
        return self.process.returncode, error

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


# -- nothing is left ---------------------------------------------------------------------------------------------------------

INIT = "import signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint('ready', flush=True)\nsys.stdin.read()"  # reaps whoever it inherits, ends with the test
STRAYS = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", "1001"])
subprocess.Popen(["sleep", "1002"], start_new_session=True)
subprocess.Popen("nohup sleep 1003 >/dev/null 2>&1 &", shell=True)
import multiprocessing
multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1004,), daemon=True).start()
multiprocessing.get_context("fork").Process(target=time.sleep, args=(1005,)).start()
import threading
threading.Thread(target=time.sleep, args=(1000,)).start()
if (pid := os.fork()) == 0:  # a daemon as in the textbooks
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1006"])
    os._exit(0)
os.waitpid(pid, 0)
if os.fork() == 0:           # the same, and never another program
    os.setsid()
    if os.fork() == 0:
        time.sleep(1007)
    os._exit(0)
"""
ENDS = {"well": "multiprocessing.active_children()[0].terminate()\n[one.kill() for one in multiprocessing.active_children()]\nresult.write_text('{}')", "raised": "raise ValueError", "died": "os._exit(0)", "timeout": "time.sleep(1000)"}
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class Namespace:
    "Processes that see only each other"

    def __init__(self):
        self.unshare = subprocess.Popen([*UNSHARE, sys.executable, "-c", INIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.unshare.stdout.readline() == "ready\n"
        self.init = psutil.Process(self.unshare.pid).children()[0].pid
        self.name = os.readlink(f"/proc/{self.init}/ns/pid")

    def inside(self, folder: Path) -> tuple[str, ...]:
        "The words before a command that is to run inside, in a folder"
        return ("nsenter", "--target", str(self.init), "--pid", "--mount", f"--wd={folder}")

    def processes(self) -> dict[int, str]:
        "The command lines of all processes inside but the first; zombies are called so"
        found = {}
        for one in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if one.pid != self.init and os.readlink(f"/proc/{one.pid}/ns/pid") == self.name:
                    found[one.pid] = " ".join(one.cmdline()) if one.status() != psutil.STATUS_ZOMBIE else f"zombie of {one.ppid()}: {one.name()}"
        return found

    def pids(self, inner: list[int]) -> set[int]:
        "The process ids here of those that have these inside"
        return {pid for pid in self.processes() if int(re.search(r"NSpid:.*\t(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) in inner}

    def pid_of(self, words: str) -> int:
        "The process with these words in its command line"
        return next(pid for pid, line in self.processes().items() if words in line and not line.startswith("nsenter"))

    def close(self) -> None:
        self.unshare.communicate()


@pytest.fixture(scope="module")
def shared_namespace(tmp_path_factory):
    "A private namespace of processes, with fork servers of its own"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this user may not make a namespace of processes: {tried.stderr.strip()}")
    one, before = Namespace(), os.environ["MLOPS_RUNTIME_DIR"]
    os.environ["MLOPS_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("runtime"))
    yield one
    os.environ["MLOPS_RUNTIME_DIR"] = before
    one.close()


@pytest.fixture
def namespace(shared_namespace):
    "The namespace, rid of what a failed test left"
    yield shared_namespace
    if len(left := shared_namespace.processes()) > 1:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def nobody_is_left(namespace: Namespace, project) -> None:
    "But for the fork servers, within seconds after the end"
    parents = namespace.pids([one["pid"] for one in json.loads(project.start("engine", "status", "--json", before=namespace.inside(project.root)).communicate(timeout=60)[0])])
    deadline = time.monotonic() + SECONDS
    while (left := {pid: words for pid, words in namespace.processes().items() if pid not in parents}) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def strays(project, end: str) -> Path:
    "A step that starts processes and ends; the file that appears when they are there"
    journal = project.root / f"{end}.journal"
    project.notebook(end, STRAYS.replace("100", f"10{list(ENDS).index(end)}"), JOURNAL.format(journal=str(journal)) + "time.sleep(1)\n" + ENDS[end])
    return journal


def pipeline_of_strays(project, limit: str, ends: tuple[str, ...] = tuple(ENDS)) -> list[Path]:
    "A pipeline of such steps, of which one has a time limit"
    project.pipeline("\n".join(f"{end}: {{notebook: notebooks/{end}.ipynb, outs: {{result: result.json}}{f', timeout: {limit}' * (end == 'timeout')}}}" for end in ends))
    return [strays(project, end) for end in ends]


@pytest.mark.parametrize("engine", ["mlops", pytest.param("kernel", marks=pytest.mark.long)])
def test_no_process_is_left_by_a_step(project, namespace, engine):
    journals = pipeline_of_strays(project, "15s")  # in which a loaded machine has started them
    process = project.start("run", "pipeline=demo", f"engine={engine}", "executor.workers=4", "--json", before=namespace.inside(project.root))
    wait_for(journals, process)
    assert "sleep 1036" in namespace.processes().values(), "the test sees what it is about"
    steps = json.loads(process.communicate(timeout=60)[0])["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {"well": "ran", "raised": "failed", "died": "failed", "timeout": "failed"}, steps
    nobody_is_left(namespace, project)


@pytest.mark.parametrize("what", ["SIGINT", "SIGTERM", "SIGKILL", "engine stop"])
def test_no_process_is_left_by_a_run_that_is_cut_short(project, namespace, what):
    journal, = pipeline_of_strays(project, "100s", ("timeout",))
    process = project.start("run", "pipeline=demo", before=namespace.inside(project.root))
    wait_for([journal], process)
    if what == "engine stop":
        assert project.start("engine", "stop", before=namespace.inside(project.root)).wait(timeout=60) == 0
    else:
        os.kill(namespace.pid_of("mlops run"), signal.Signals[what])
    process.communicate(timeout=60)
    nobody_is_left(namespace, project)
    assert what != "engine stop" or not namespace.processes(), "the parent itself is gone, too"


@pytest.mark.long
@pytest.mark.parametrize("end", ["well", "died", "SIGKILL"])
def test_no_process_is_left_by_papermill(project, namespace, tmp_path, end):
    journal = tmp_path / "journal"
    cells = STRAYS, JOURNAL.format(journal=str(journal)) + "time.sleep(1)\n" + ENDS.get(end, "time.sleep(1000)")
    plain = Papermill(tmp_path / "strays", "mlops", *cells, before=namespace.inside(tmp_path / "strays"))
    wait_for([journal], plain.process)
    if end == "SIGKILL":
        os.kill(namespace.pid_of("papermill"), signal.SIGKILL)
    plain.wait()
    nobody_is_left(namespace, project)
