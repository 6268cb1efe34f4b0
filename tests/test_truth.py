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
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from conftest import Project, notebook

MB = 1 << 20
SECONDS = 5    # from what happened to the news about it
PATIENCE = 10  # from the end of a time limit to the end of whatever heeds no signal
LIMIT = 4      # seconds that an endless step may run
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


# -- deaths ------------------------------------------------------------------------------------------------------------------


WITH_A_KERNEL = ("ignores_all", "segfault", "too_large")


@pytest.fixture(scope="module")
def deaths_of_steps(tmp_path_factory):
    "One run for each engine in which every step dies, all at once; run again after the repair"
    done = {}
    for engine, names, limit in (("mlops", tuple(DEATHS), LIMIT), ("kernel", WITH_A_KERNEL, LIMIT + 2)):
        project = done[engine] = Project(tmp_path_factory.mktemp(engine) / "project")
        steps = {name: f"notebook: notebooks/{name}.ipynb, outs: {{result: result.json}}" + f", timeout: {limit}s" * (DEATHS[name][1] == "timeout") for name in names}
        project.pipeline("\n".join(f"{name}: {{{step}}}" for name, step in steps.items()))
        for name in names:
            project.notebook(name, *cells_that_end_in(DEATHS[name][0], project.root / f"{name}.journal"))
        options = ("pipeline=demo", f"engine={engine}", f"executor.workers={len(names)}")
        project.told = project.json("run", *options, code=1)
        project.kept = len(project.records())
        for name in names:
            project.notebook(name, f"result.write_text({name!r})")
        project.repaired = {name: step["status"] for name, step in project.json("run", *options)["steps"].items()} if engine == "mlops" else {}
    return done


@pytest.mark.parametrize("engine, name", [*(("mlops", name) for name in DEATHS), *(("kernel", name) for name in WITH_A_KERNEL)])
def test_a_step_that_dies_says_so(deaths_of_steps, engine, name):
    project, reason = deaths_of_steps[engine], DEATHS[name][1]
    step, folder = project.told["steps"][name], project.root / ".mlops/runs" / project.told["run"]
    assert step["status"] == "failed" and re.search(reason, step["error"]), step
    took = ended_at(folder)[name] - float((project.root / f"{name}.journal").read_text())
    assert took < (LIMIT + PATIENCE if reason == "timeout" else SECONDS), f"{took:.1f} s after the event"
    check_book(book_of(folder / f"{name}.ipynb"), reason)


def test_a_death_records_no_result_and_can_be_repaired(deaths_of_steps):
    project = deaths_of_steps["mlops"]
    assert project.kept == deaths_of_steps["kernel"].kept == 0
    assert project.repaired == dict.fromkeys(DEATHS, "ran") and len(project.records()) == len(DEATHS)
    assert not list((project.root / ".mlops/tmp").iterdir()) and not list((project.root / ".mlops/leases").glob("*.json"))


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


@pytest.fixture(scope="module")
def deaths_of_papermill(tmp_path_factory):
    "Plain papermill executes each dying notebook, all at once: exit code, standard error, and when it ended"
    top = tmp_path_factory.mktemp("papermill")
    limit = ("--execution-timeout", str(LIMIT))
    running = {name: Papermill(top / name, "mlops", *cells_that_end_in(death, top / f"{name}.journal"), options=limit if reason == "timeout" else ()) for name, (death, reason) in DEATHS.items()}
    done, lock = {}, threading.Lock()

    def wait(name: str) -> None:
        told = running[name].wait()
        with lock:
            done[name] = (*told, time.time() - float((top / f"{name}.journal").read_text()), running[name].output)

    threads = [threading.Thread(target=wait, args=[name]) for name in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


@pytest.mark.parametrize("name", DEATHS)
def test_papermill_says_how_a_notebook_died(deaths_of_papermill, name):
    code, error, took, output = deaths_of_papermill[name]
    reason = DEATHS[name][1]
    assert code in (1, 138) and re.search(reason, last_line(error)), f"{code}: {error[-600:]}"  # 138 is papermill's for a dead kernel
    assert took < (LIMIT + PATIENCE if reason == "timeout" else SECONDS), f"{took:.1f} s after the event"
    check_book(book_of(output), reason)


# -- the log -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["mlops", "kernel"])
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
NOTE = r"(?i)\b(capped|cut|cut off|truncated|left out|dropped|not kept|too much output|limit)\b"
TALKS_LONG = 3  # seconds that a flood may last
CHILD_LIMIT = 3000 * MB  # beyond it the machine is in danger, and the test with it


class Watched:
    "The highest memory of a process while it runs; what eats the machine's memory is killed"

    def __init__(self, pid: int):
        self.pid, self.peak, self.danger = pid, 0, False
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        with suppress(OSError, AttributeError):
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
    text = printed(book_of(book))
    assert "good words" in text and re.search(NOTE, text[-2000:] + book.read_text()[-20_000:]), "no note about what is missing"


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_outputs_is_capped(project, kind):
    project.notebook("floods", "print('good words')", FLOODS[kind], "print('never')")
    project.pipeline(f"floods: {{notebook: notebooks/floods.ipynb, outs: {{result: result.json}}, timeout: {TALKS_LONG}s}}")
    begun, process = time.monotonic(), project.start("run", "pipeline=demo", "--json")
    watched = Watched(process.pid)
    told = json.loads(process.communicate(timeout=120)[0])
    assert not watched.danger, "the flood filled the memory"
    assert process.returncode == 1 and re.search("timeout", told["steps"]["floods"]["error"]), told
    assert time.monotonic() - begun < TALKS_LONG + PATIENCE + SECONDS
    assert watched.peak < 150 * MB, f"the runner took {watched.peak / MB:.0f} MB"
    folder = project.root / ".mlops/runs" / told["run"]
    assert (folder / "floods.log").stat().st_size < 64 * MB, f"the log has {(folder / 'floods.log').stat().st_size / MB:.0f} MB"
    check_flood(folder / "floods.ipynb")


def test_a_step_that_said_too_much_still_counts(project):
    project.notebook("floods", "print('good words')", "for _ in range(20_000):\n    print('x' * 10_000)", "result.write_text('{}')\nprint('last words')")
    project.pipeline("floods: {notebook: notebooks/floods.ipynb, outs: {result: result.json}}")
    told = project.json("run", "pipeline=demo")
    assert told["steps"]["floods"]["status"] == "ran"
    folder = project.root / ".mlops/runs" / told["run"]
    check_flood(folder / "floods.ipynb")
    assert printed(book_of(folder / "floods.ipynb")).endswith("last words\n"), "the cap is for a cell, not for those after it"
    assert (folder / "floods.log").stat().st_size < 64 * MB


@pytest.mark.parametrize("kind", ["prints", "child", "displays"])
def test_a_flood_of_outputs_is_capped_in_papermill(tmp_path, kind):
    flood = Papermill(tmp_path / "floods", "mlops", "print('good words')", FLOODS[kind], options=("--execution-timeout", str(TALKS_LONG)))
    watched = Watched(flood.process.pid)
    code, error = flood.wait()
    assert not watched.danger, "the flood filled the memory"
    assert code in (1, 138) and "timeout" in last_line(error), f"{code}: {error[-600:]}"
    assert watched.peak < 400 * MB, f"papermill took {watched.peak / MB:.0f} MB"
    check_flood(flood.output)


# -- the warm parent is killed -----------------------------------------------------------------------------------------------


def warm_parents(project) -> list[int]:
    "Process ids of the warm parents"
    return [one["pid"] for one in project.json("engine", "status")]


def wait_for(condition, what: str, seconds: float = 30):
    "Wait until a condition holds; what it gave"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def test_a_killed_warm_parent_fails_its_steps_only(project):
    journal = project.root / "journal"
    project.notebook("waits", *cells_that_end_in("time.sleep(1000)", journal))
    project.pipeline("waits: {notebook: notebooks/waits.ipynb, outs: {result: result.json}}")
    process = project.start("run", "pipeline=demo", "--json")
    wait_for(journal.exists, "the step began")
    time.sleep(1)
    for pid in warm_parents(project):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    told = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 1 and time.monotonic() - killed < SECONDS
    assert told["steps"]["waits"]["status"] == "failed" and "warm parent was killed" in told["steps"]["waits"]["error"], told
    assert not project.records()
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    assert project.statuses() == {"good": "ran"}, "a new parent is started"
    check_book(book_of(project.root / ".mlops/runs" / told["run"] / "waits.ipynb"), "warm parent was killed")


def test_papermill_survives_a_killed_warm_parent(project, tmp_path):
    journal = tmp_path / "journal"
    plain = Papermill(tmp_path / "waits", "mlops", *cells_that_end_in("time.sleep(1000)", journal))
    wait_for(journal.exists, "the cell began")
    time.sleep(1)
    for pid in warm_parents(project):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    code, error = plain.wait()
    assert code in (1, 138) and time.monotonic() - killed < SECONDS and "warm parent was killed" in last_line(error), f"{code}: {error[-600:]}"
    again = Papermill(tmp_path / "again", "mlops", "print('works')")
    assert again.wait()[0] == 0 and "works" in printed(book_of(again.output)), "a new parent is started"
    check_book(book_of(plain.output), "warm parent was killed")


# -- nothing is left ---------------------------------------------------------------------------------------------------------

INIT = "import signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True:\n    time.sleep(1000)"  # reaps whoever it inherits
STRAYS = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", "1001"])
subprocess.Popen(["sleep", "1002"], start_new_session=True)
subprocess.Popen("nohup sleep 1003 >/dev/null 2>&1 &", shell=True)
import multiprocessing
multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1004,), daemon=True).start()
multiprocessing.get_context("fork").Process(target=time.sleep, args=(1005,)).start()
if os.fork() == 0:          # a daemon as in the textbooks
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1006"])
    os._exit(0)
os.wait()
"""
ENDS = {"well": "multiprocessing.active_children()[0].terminate()\n[one.kill() for one in multiprocessing.active_children()]\nresult.write_text('{}')", "raised": "raise ValueError", "died": "os._exit(0)", "timeout": "time.sleep(1000)"}
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class Namespace:
    "Processes that see only each other"

    def __init__(self):
        self.unshare = subprocess.Popen([*UNSHARE, sys.executable, "-c", INIT], stdout=subprocess.PIPE, text=True)
        assert self.unshare.stdout.readline() == "ready\n"
        self.init = psutil.Process(self.unshare.pid).children()[0].pid
        self.name = os.readlink(f"/proc/{self.init}/ns/pid")
        self.enter = ("nsenter", "--target", str(self.init), "--pid", "--mount")

    def processes(self) -> dict[int, str]:
        "The command lines of all processes inside but the first; zombies are called so"
        found = {}
        for one in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if one.pid != self.init and os.readlink(f"/proc/{one.pid}/ns/pid") == self.name:
                    found[one.pid] = " ".join(one.cmdline()) if one.status() != psutil.STATUS_ZOMBIE else f"zombie of {one.ppid()}: {one.name()}"
        return found

    def survivors(self) -> dict[int, str]:
        "Those that are no warm parent"
        return {pid: words for pid, words in self.processes().items() if "mlops_kit.warm" not in words or psutil.Process(pid).ppid() != self.init}

    def pid_of(self, words: str) -> int:
        "The process with these words in its command line"
        return next(pid for pid, line in self.processes().items() if words in line and not line.startswith("nsenter"))

    def close(self) -> None:
        self.unshare.kill()
        self.unshare.wait()


@pytest.fixture
def namespace(tmp_path, monkeypatch):
    "A private namespace of processes, with warm parents of its own"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this user may not make a namespace of processes: {tried.stderr.strip()}")
    monkeypatch.setenv("MLOPS_RUNTIME_DIR", str(tmp_path / "runtime"))
    one = Namespace()
    yield one
    one.close()


def nobody_is_left(namespace: Namespace) -> None:
    "Within seconds after the end"
    deadline = time.monotonic() + SECONDS
    while namespace.survivors() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not namespace.survivors()


def strays(project, end: str) -> Path:
    "A pipeline of one step that starts processes and ends; the file that appears when they are there"
    journal = project.root / "journal"
    project.notebook("strays", STRAYS, JOURNAL.format(journal=str(journal)) + "time.sleep(1)\n" + ENDS[end])
    project.pipeline(f"strays: {{notebook: notebooks/strays.ipynb, outs: {{result: result.json}}{', timeout: 3s' if end == 'timeout' else ''}}}")
    return journal


@pytest.mark.parametrize("engine", ["mlops", "kernel"])
@pytest.mark.parametrize("end", ENDS)
def test_no_process_is_left_by_a_step(project, namespace, end, engine):
    journal = strays(project, end)
    process = project.start("run", "pipeline=demo", f"engine={engine}", before=namespace.enter)
    wait_for(journal.exists, "the strays were started")
    assert len([words for words in namespace.survivors().values() if words.startswith("sleep 100")]) == 4, "the test sees what it is about"
    process.communicate(timeout=60)
    assert process.returncode == (0 if end == "well" else 1)
    nobody_is_left(namespace)


@pytest.mark.parametrize("what", ["SIGINT", "SIGTERM", "SIGKILL", "engine stop"])
def test_no_process_is_left_by_a_run_that_is_cut_short(project, namespace, what):
    journal = strays(project, "timeout")
    project.edit("conf/pipeline/demo.yaml", "3s", "100s")
    process = project.start("run", "pipeline=demo", before=namespace.enter)
    wait_for(journal.exists, "the strays were started")
    if what == "engine stop":
        assert project.start("engine", "stop", before=namespace.enter).wait(timeout=30) == 0
    else:
        os.kill(namespace.pid_of("mlops run"), signal.Signals[what])
    process.communicate(timeout=30)
    nobody_is_left(namespace)
    if what == "engine stop":
        assert not namespace.processes(), "the parent itself is gone, too"


@pytest.mark.parametrize("end", ["well", "died", "SIGKILL"])
def test_no_process_is_left_by_papermill(namespace, tmp_path, end):
    journal = tmp_path / "journal"
    cells = STRAYS, JOURNAL.format(journal=str(journal)) + "time.sleep(1)\n" + ENDS.get(end, "time.sleep(1000)")
    plain = Papermill(tmp_path / "strays", "mlops", *cells, before=namespace.enter)
    wait_for(journal.exists, "the strays were started")
    if end == "SIGKILL":
        os.kill(namespace.pid_of("papermill"), signal.SIGKILL)
    plain.wait()
    nobody_is_left(namespace)
