"""A fork server that has served a thousand notebooks is no larger than one that has served twenty, and leaves nothing lying about.

`MLOPS_TEST_NOTEBOOKS` is the number of notebooks, 1,000 when it is not set.
"""
import os
import re
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from papermill import execute_notebook

from helpers.project import notebook

pytestmark = pytest.mark.long

NUMBER = int(os.environ.get("MLOPS_TEST_NOTEBOOKS", 1000))
WARM_UP = 20
MB = 1 << 20

# the cells of a notebook, and whether it ends well
KINDS = {
    "prints": (["print('hello')", "1 + 1"], True),
    "parameters": (["print(number)"], True),
    "raises": (["print('before')", "raise ValueError('no')"], False),
    "exits": (["import os", "os._exit(3)"], False),
    "killed": (["import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"], False),
    "much": (["print('x' * 1_000_000)"], True),
    "plots": (["import matplotlib.pyplot as plt", "plt.plot([1, 2, 3])\nplt.show()"], True),
    "polars": (["import polars", "polars.DataFrame({'a': [1, 2]}).select(polars.col('a').sum())"], True),
    "numpy": (["import numpy", "numpy.random.default_rng(0).random((1000, 1000)).sum()"], True),
    "torch": (["import torch", "torch.ones(1000, 1000).sum()"], True),
    "threads": (["import threading", "threading.Thread(target=print, args=['from a thread']).start()"], True),
    "strays": (["import subprocess", "subprocess.Popen(['sleep', '1000'])\nsubprocess.run('sleep 1000 &', shell=True)"], True),
    "files": (["import tempfile", "open_file = open('/dev/null')\nkept = tempfile.TemporaryDirectory()"], True),
    "pools": (["from concurrent.futures import ProcessPoolExecutor", "with ProcessPoolExecutor(2) as pool:\n    print(list(pool.map(abs, [-1, -2])))"], True),
}
NEEDED = {"plots": "matplotlib", "polars": "polars", "torch": "torch", "numpy": "numpy"}


def private_memory(pid: int) -> int:
    "Bytes that a process has written and shares with nobody, when its children are gone"
    deadline = time.monotonic() + 60
    while psutil.Process(pid).children() and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(re.search(r"^Private_Dirty:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) * 1024


def state(pid: int, *folders: Path) -> dict:
    "What must be the same before and after many notebooks"
    process = psutil.Process(pid)
    return {
        "descriptors": process.num_fds(), "threads": process.num_threads(), "children": [one.name() for one in process.children(recursive=True)],
        "descriptors of the caller": psutil.Process().num_fds(), "threads of the caller": psutil.Process().num_threads(), "children of the caller": [one.name() for one in psutil.Process().children()],
        "files": sorted(str(one.relative_to(folder)) for folder in folders for one in folder.rglob("*")),
    }


def parent_of(project) -> dict:
    "What the only fork server says about itself"
    parent, = project.json("engine", "status")
    return parent


@pytest.fixture
def own_folders(tmp_path, monkeypatch):
    "A runtime folder and a folder for temporary files of this test alone"
    runtime, temp = tmp_path / "runtime", tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setenv("MLOPS_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("TMPDIR", str(temp))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path)
    return runtime, temp


@pytest.fixture
def kinds(tmp_path):
    "Notebooks of every kind: name -> file, ends well"
    there = {name: kind for name, kind in KINDS.items() if name not in NEEDED or find_spec(NEEDED[name])}
    for name, (sources, _) in there.items():
        (tmp_path / f"{name}.ipynb").write_text(notebook("number = 1", *sources))
    return {name: (str(tmp_path / f"{name}.ipynb"), good) for name, (_, good) in there.items()}


def test_a_thousand_notebooks_leave_no_trace(project, own_folders, kinds):
    def serve(numbers: range) -> None:
        for number in numbers:
            name, (path, good) = list(kinds.items())[number % len(kinds)]
            try:
                execute_notebook(path, "executed.ipynb", {"number": number}, engine_name="mlops", progress_bar=False)
                ended = True
            except Exception:
                ended = False
            assert ended == good, f"notebook {number}, {name}"

    serve(range(WARM_UP))
    parent = parent_of(project)
    memory, before = [private_memory(parent["pid"])], state(parent["pid"], *own_folders)
    for begin in range(WARM_UP, NUMBER, 100):
        serve(range(begin, min(begin + 100, NUMBER)))
        memory.append(private_memory(parent["pid"]))
    after = parent_of(project)
    print(f"{after['served']} notebooks; private memory of the parent in MB: {[round(one / MB, 1) for one in memory]}")
    assert (after["pid"], after["served"], after["running"]) == (parent["pid"], NUMBER, 0), "one parent served them all"
    assert memory[-1] - memory[0] < 20 * MB, [round(one / MB, 1) for one in memory]
    assert state(parent["pid"], *own_folders) == before
    project.mlops("engine", "stop")
    assert not [one for one in own_folders[1].rglob("*")], "the folder for temporary files is empty"


def test_a_run_of_many_steps_leaves_no_trace(project, own_folders):
    for number in range(120):
        project.notebook(f"step{number}", ("import torch" if number % 10 == 3 else "import numpy") + f"\nresult.write_text('{number}')")

    def run(begin: int, end: int) -> None:
        project.pipeline("\n".join(f"step{number}: {{notebook: notebooks/step{number}.ipynb, outs: {{result: result.json}}}}" for number in range(begin, end)))
        assert set(project.statuses().values()) == {"ran"}

    run(0, WARM_UP)
    parent = parent_of(project)
    memory, before = private_memory(parent["pid"]), state(parent["pid"], *own_folders)
    run(WARM_UP, 120)
    after = parent_of(project)
    assert (after["pid"], after["served"], after["running"]) == (parent["pid"], 120, 0)
    assert private_memory(parent["pid"]) - memory < 20 * MB
    assert state(parent["pid"], *own_folders) == before
    project.mlops("engine", "stop")
    assert not list((project.root / ".mlops/tmp").iterdir()) and not list((project.root / ".mlops/leases").glob("*.json"))


def test_a_leak_is_seen(tmp_path):
    "The measures used above see a descriptor, a file and memory"
    before, memory = state(os.getpid(), tmp_path), private_memory(os.getpid())
    kept, more = open(tmp_path / "file", "w"), bytearray(os.urandom(30 * MB))
    after = state(os.getpid(), tmp_path)
    assert after["descriptors"] == before["descriptors"] + 1 and after["files"] == ["file"] and private_memory(os.getpid()) - memory > 20 * MB
    kept.close()
    assert more
