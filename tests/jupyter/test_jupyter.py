"""The kernel `mlops` is a kernel like `python3`, only born differently: what Jupyter can do to a kernel, and what may go wrong."""
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import nbformat
import psutil
import pytest
from jupyter_client.ioloop import AsyncIOLoopKernelManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from helpers.fidelity import CORPUS, compare, normal

from mlops_kit.errors import ConfigError
from mlops_kit.jupyter import kernelspec

# PYDEVD_USE_FRAME_EVAL is set when debugpy is imported, for debugpy
FACTS = """
import json, os, signal, sys
watched = {name: str(signal.getsignal(getattr(signal, name))) for name in ("SIGTERM", "SIGCHLD", "SIGHUP", "SIGPIPE")}
print(json.dumps({
    "path": sys.path, "argv": sys.argv[:2], "folder": os.getcwd(), "stdin": sys.stdin.closed, "signals": watched, "bytecode": sys.dont_write_bytecode,
    "environment": sorted(set(os.environ) - {"PYDEVD_USE_FRAME_EVAL"}), "value": os.environ["ASKED"], "leader": os.getpgrp() == os.getpid() == os.getsid(0),
    "history": get_ipython().history_manager.enabled, "kit": sorted(name for name in sys.modules if name.startswith("mlops_kit")), "main": __name__,
    "loop": str(type(__import__("asyncio").get_event_loop())), "inherited": os.environ["PYTHONPATH"],
}))
"""


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    "What Jupyter and IPython keep goes where it ends with the test"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PATH", str(kernelspec.JUPYTER_DATA_DIR))
    monkeypatch.setenv("ASKED", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "beside"))
    (tmp_path / "runtime").mkdir()


class Kernel:
    "A running kernel with somebody who talks to it"

    def __init__(self, folder: Path, name: str = "mlops", **environment: str):
        outer = {one: value for one, value in os.environ.items() if one != "PYTEST_CURRENT_TEST"}
        self.manager = KernelManager(kernel_name=name, connection_file=str(folder / f"{name}-{time.monotonic_ns()}.json"))
        self.manager.start_kernel(cwd=str(folder), env=outer | environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    @property
    def pid(self) -> int:
        return self.manager.provisioner.pid

    def __call__(self, code: str) -> str:
        "Execute a cell; what it prints, or the name of its error"
        texts = []
        self.client.execute_interactive(code, timeout=60, output_hook=lambda one: texts.append(one["content"].get("text") or one["content"].get("ename", "")))
        return "".join(texts).strip()

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()


@pytest.fixture
def start(tmp_path):
    "Starts kernels that end with the test"
    started = []
    yield lambda *words, **environment: started.append(Kernel(tmp_path, *words, **environment)) or started[-1]
    for one in started:
        if one.manager.has_kernel:
            one.end()


def is_warm(kernel: Kernel) -> bool:
    return isinstance(kernel.manager.provisioner.process, kernelspec.ForkedKernel)


def gone(pid: int, patience: float = 5) -> bool:
    "Is that process gone, or will it be in a moment?"
    until = time.monotonic() + patience
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


# -- a kernel like any other -------------------------------------------------------------------------------------------------


def test_it_is_like_a_fresh_kernel(start):
    warm, fresh = start(), start("python3")
    assert is_warm(warm) and not is_warm(fresh)
    got, expected = (json.loads(kernel(FACTS)) for kernel in (warm, fresh))
    assert got == expected


def test_interrupt(start):
    kernel = start()
    kernel.client.execute("import time\nwhile True: time.sleep(0.01)", stop_on_error=False)
    time.sleep(0.5)
    kernel.manager.interrupt_kernel()
    assert kernel.client.get_shell_msg(timeout=60)["content"]["ename"] == "KeyboardInterrupt"
    assert kernel("print(1 + 1)") == "2"


def test_restart_gives_an_empty_namespace_and_a_new_process(start):
    kernel = start()
    before = kernel.pid
    assert kernel("a = 1; print(a)") == "1"
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=60)
    assert is_warm(kernel) and kernel.pid != before and gone(before)
    assert kernel("a") == "NameError"


def test_shutdown_leaves_nothing(start, tmp_path):
    kernel = start()
    child = int(kernel("import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)"))
    kernel.end()
    assert gone(kernel.pid) and gone(child)
    assert list(tmp_path.glob("mlops-*")) == [] and list((tmp_path / "runtime").iterdir()) == []


def test_two_at_once(start):
    one, two = start(), start()
    one("a = 1")
    assert two("a") == "NameError" and one("print(a)") == "1" and one.pid != two.pid


def test_input_is_asked_for(start):
    kernel = start()
    answers = []
    kernel.client.execute_interactive("print(input('name? ') * 2)", allow_stdin=True, timeout=60, stdin_hook=lambda _: kernel.client.input("ab"),
                                      output_hook=lambda one: answers.append(one["content"].get("text", "")))
    assert "".join(answers) == "abab\n"


def test_the_debugger_stops_at_a_breakpoint(start):
    kernel, code = start(), "x = 1\ny = x + 1\nprint(y)"

    def ask(command: str, **arguments):
        message = kernel.client.session.msg("debug_request", {"type": "request", "seq": 1, "command": command, "arguments": arguments})
        kernel.client.control_channel.send(message)
        while (reply := kernel.client.get_control_msg(timeout=60))["parent_header"].get("msg_id") != message["msg_id"]:
            pass
        assert reply["content"].get("success"), reply["content"]
        return reply["content"].get("body", {})

    def event(name: str):
        while not ((found := kernel.client.get_iopub_msg(timeout=60))["msg_type"] == "debug_event" and found["content"]["event"] == name):
            pass
        return found["content"]["body"]

    ask("initialize", clientID="test", adapterID="", linesStartAt1=True, columnsStartAt1=True, pathFormat="path", locale="en")
    ask("attach")
    source = ask("dumpCell", code=code)["sourcePath"]
    ask("setBreakpoints", breakpoints=[{"line": 2}], source={"path": source}, sourceModified=False)
    ask("configurationDone")
    kernel.client.execute(code)
    thread = event("stopped")["threadId"]
    assert ask("stackTrace", threadId=thread)["stackFrames"][0]["line"] == 2
    ask("continue", threadId=thread)
    assert kernel.client.get_shell_msg(timeout=60)["content"]["status"] == "ok"


@pytest.mark.parametrize("name", ["stream_interleaving", "matplotlib_inline", "widgets", *(pytest.param(name, marks=pytest.mark.long) for name in ("c_output", "logging", "traceback_of_module", "multiprocessing"))])
def test_a_notebook_gives_the_same_outputs(name, tmp_path):
    if "matplotlib" in name:
        pytest.importorskip("matplotlib")
    if "widgets" in name:
        pytest.importorskip("ipywidgets")
    done = []
    for kernel in ("python3", "mlops"):
        folder = tmp_path / kernel
        folder.mkdir()
        book = nbformat.read(CORPUS / f"{name}.ipynb", as_version=4)
        outer = {one: value for one, value in os.environ.items() if one != "PYTEST_CURRENT_TEST"}
        NotebookClient(book, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}, timeout=60, record_timing=False, allow_errors=True).execute(
            env=outer | {"JPY_SESSION_NAME": str(CORPUS / f"{name}.ipynb")})
        done.append(("well", normal(json.loads(nbformat.writes(book)), str(folder))))
    assert compare(name, *done) == []


# -- what is imported before -------------------------------------------------------------------------------------------------


def test_what_the_opened_notebook_imports_is_there_but_nothing_of_the_project(start, tmp_path):
    (tmp_path / "mine.py").write_text("value = 1")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import sqlite3, yaml, mine")])
    nbformat.write(book, tmp_path / "explore.ipynb")
    look = "import sys; print('yaml' in sys.modules, 'mine' in sys.modules); import mine; print(mine.value)"
    session = {"JPY_SESSION_NAME": str(tmp_path / "explore.ipynb")}
    assert start(**session)(look).split() == ["True", "False", "1"]
    (tmp_path / "mine.py").write_text("value = 22")
    assert start(**session)(look).split() == ["True", "False", "22"]


def test_the_configuration_names_modules(project):
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]\nwarm: [torch, lightning]")
    kernelspec.project_modules.cache_clear()
    assert kernelspec.project_modules(project.root) == ("torch", "lightning")


def test_a_broken_configuration_or_notebook_is_no_obstacle(project, start):
    (project.root / "conf/config.yaml").write_text("warm: [")
    (project.root / "explore.ipynb").write_text("{")
    assert "json" in kernelspec.project_modules(project.root)
    assert start(JPY_SESSION_NAME=str(project.root / "explore.ipynb"))("print(1)") == "1"


# -- what may go wrong -------------------------------------------------------------------------------------------------------


def test_without_a_warm_parent_it_starts_like_any_kernel(start, monkeypatch, caplog):
    monkeypatch.setenv("MLOPS_RUNTIME_DIR", "/dev/null")
    with caplog.at_level(logging.WARNING):
        kernel = start()
    assert not is_warm(kernel) and kernel("print(1)") == "1"
    assert "no fork server (NotADirectoryError" in caplog.text


def test_a_parent_that_does_not_answer_is_not_waited_for(start, monkeypatch, caplog):
    import socket
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0mlops-test-deaf")
    listener.listen()

    def deaf(threads: int) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect("\0mlops-test-deaf")
        return connection

    monkeypatch.setattr(kernelspec, "connect_server", deaf)
    monkeypatch.setattr(kernelspec, "IMPORT_TIMEOUT", 0.5)
    kernel = start()
    assert not is_warm(kernel) and kernel("print(1)") == "1" and "no fork server (TimeoutError" in caplog.text


def test_another_python_or_a_wish_that_a_fork_can_not_grant(tmp_path):
    manager = KernelManager(kernel_name="mlops")
    manager.start_kernel(cwd=str(tmp_path), stderr=subprocess.DEVNULL)
    assert isinstance(manager.provisioner.process, subprocess.Popen)
    manager.shutdown_kernel(now=True)


def test_a_crash_is_noticed(start):
    kernel = start()
    kernel.client.execute("import os; os._exit(3)")
    assert kernel.manager.provisioner.process.wait() == 3 and not kernel.manager.is_alive()
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=60)
    assert kernel("print(1)") == "1"
    os.kill(kernel.pid, signal.SIGSEGV)
    assert kernel.manager.provisioner.process.wait() == -signal.SIGSEGV


def test_the_server_starts_a_dead_kernel_again(tmp_path):
    async def crash() -> tuple[int, int]:
        manager = AsyncIOLoopKernelManager(kernel_name="mlops", connection_file=str(tmp_path / "kernel.json"))
        await manager.start_kernel(cwd=str(tmp_path))
        manager._restarter.time_to_dead = manager._restarter.stable_start_time = 0.2
        manager._restarter.stop()
        manager._restarter._pcallback = None
        manager._restarter.start()
        before = manager.provisioner.pid
        await asyncio.sleep(0.5)
        os.kill(before, signal.SIGKILL)
        for _ in range(100):
            await asyncio.sleep(0.1)
            if manager.provisioner.pid != before:
                break
        after, alive = manager.provisioner.pid, await manager.is_alive()
        await manager.shutdown_kernel(now=True)
        return before, after, alive

    before, after, alive = asyncio.run(crash())
    assert before != after and alive and gone(after)


def test_without_its_warm_parent_a_kernel_ends(start):
    kernel = start()
    os.kill(psutil.Process(kernel.pid).ppid(), signal.SIGKILL)
    assert gone(kernel.pid) and kernel.manager.provisioner.process.wait() == -signal.SIGKILL


def test_a_kernel_does_not_outlive_its_server(tmp_path):
    code = "import sys, time; from jupyter_client.manager import start_new_kernel as start; print(start(kernel_name='mlops')[0].provisioner.pid, flush=True); time.sleep(100)"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    pid = int(server.stdout.readline())
    assert psutil.pid_exists(pid)
    server.kill()
    server.wait()
    assert gone(pid)


# -- mlops lab ---------------------------------------------------------------------------------------------------------------


def test_lab_names_its_extra(project, monkeypatch):
    monkeypatch.setattr(kernelspec, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mlops_kit\[lab\]'"):
        kernelspec.lab_command(project.root, [])


def test_options_of_a_person_win(project):
    pytest.importorskip("jupyterlab")
    command, environment = kernelspec.lab_command(project.root, ["--ip=::1", "--no-browser", "notebooks/adds.ipynb"])
    assert [one for one in command if "ip=" in one] == ["--ip=::1"] and command[-2:] == ["--no-browser", "notebooks/adds.ipynb"]
    assert environment["JUPYTER_PATH"].split(":")[0] == str(kernelspec.JUPYTER_DATA_DIR)


def test_lab_has_the_kernel_and_serves_this_machine_only(project, tmp_path):
    pytest.importorskip("jupyterlab")
    home = tmp_path / "home"
    home.mkdir()
    server = project.start("lab", "--no-browser", "--allow-root", "--port=0", HOME=str(home))
    try:
        until = time.monotonic() + 60
        while not (found := list((tmp_path / "runtime").glob("jpserver-*.json"))):
            assert time.monotonic() < until and server.poll() is None
            time.sleep(0.1)
        time.sleep(0.2)
        told = json.loads(found[0].read_text())

        def ask(path: str, body: dict | None = None):
            request = Request(told["url"] + path, data=body and json.dumps(body).encode(), headers={"Authorization": f"token {told['token']}"})
            return json.loads(urlopen(request, timeout=60).read())

        assert told["hostname"] == "127.0.0.1" and told["root_dir"] == str(project.root) and told["pid"] == server.pid
        assert ask("api/kernelspecs")["default"] == "python3", "a new notebook can be executed anywhere"
        for name in ("mlops", "python3"):
            ask("api/kernels", {"name": name})
        kernels = [one for one in psutil.process_iter() if logs_below(one, tmp_path / "runtime")]
        assert len(kernels) == 2 and not psutil.Process(server.pid).children()
    finally:
        server.kill()
        server.communicate()
    assert all(gone(one.pid) for one in kernels)


def logs_below(process: psutil.Process, folder: Path) -> bool:
    "Is that a forked kernel whose connection file lies in the folder?"
    try:
        return any(str(folder) in one.path and one.path.endswith(".log") for one in process.open_files())
    except psutil.Error:
        return False
