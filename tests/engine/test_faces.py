"""A notebook gives the same outputs as a step of `mlops run` as through `papermill --engine mlops`, warm or not.

In a step, papermill and the kernel are one process, which the light caller only watches; through papermill, papermill is in the caller
and the kernel in the child. Both are compared on the notebooks of `tests/corpus/`, with the eyes of `test_fidelity`.
"""
import json
import os
from pathlib import Path

import pytest
from helpers.fidelity import CORPUS, NAMES, compare, normal

from mlops_kit.engine.execute import Execution, execute_notebook

EVERY = 12  # of so many notebooks one is executed in each test run, the others in the long one
COLD = ("stream_interleaving", "pandas_table", "matplotlib_inline", "traceback_kinds", "subprocess_output", "display_update")


def as_step(name: str, folder: Path) -> tuple[str, dict]:
    "Execute a notebook as `mlops run` does; how it ended, and the executed notebook"
    folder.mkdir()
    environment = {**os.environ, "MLOPS_STEP": "corpus", "PYTHONUTF8": "1"}
    work = Execution(str(CORPUS / f"{name}.ipynb"), str(folder / "executed.ipynb"), str(folder / "log"), str(folder), environment=environment)
    execute_notebook(work)
    return told(folder)


def through_papermill(name: str, folder: Path, monkeypatch) -> tuple[str, dict]:
    "Execute a notebook as `papermill --engine mlops` does"
    from papermill import execute_notebook

    folder.mkdir()
    (folder / ".kernel").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLOPS_STEP", "corpus")
    monkeypatch.setenv("PYTHONUTF8", "1")
    try:
        execute_notebook(str(CORPUS / f"{name}.ipynb"), "executed.ipynb", engine_name="mlops", progress_bar=False)
    except Exception:
        pass  # what it ended with stands in the notebook
    return told(folder)


def told(folder: Path) -> tuple[str, dict]:
    "The executed notebook, without what papermill says about itself"
    book = json.loads((folder / "executed.ipynb").read_text())
    book["metadata"].pop("papermill", None)
    return "", normal(book, str(folder))


@pytest.mark.parametrize("name", [name if place % EVERY == 0 else pytest.param(name, marks=pytest.mark.long) for place, name in enumerate(NAMES)])
def test_a_step_and_papermill_give_the_same(name, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    step, papermill = as_step(name, tmp_path / "a"), through_papermill(name, tmp_path / "b", monkeypatch)
    if faults := compare(name, papermill, step):
        pytest.fail("\n\n".join(faults), pytrace=False)


@pytest.mark.parametrize("name", [name if place % 2 else pytest.param(name, marks=pytest.mark.long) for place, name in enumerate(COLD)])
def test_warm_and_fresh_give_the_same(name, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    warm = as_step(name, tmp_path / "a")
    monkeypatch.setenv("MLOPS_RUNTIME_DIR", "/proc/nowhere")
    if faults := compare(name, warm, as_step(name, tmp_path / "b")):
        pytest.fail("\n\n".join(faults), pytrace=False)
