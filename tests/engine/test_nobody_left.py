"""However a step or a run ends, no process of it is left.

Everything here happens in a namespace of processes, in which nothing else runs.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from helpers.papermill import JOURNAL, SECONDS, Papermill, wait_for

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


@pytest.mark.parametrize("what", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.long), "SIGKILL", "engine stop"])
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
