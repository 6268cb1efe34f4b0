"""What a newcomer types first, in a copy of the tree."""

import os
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree without environment, records and history."""
    private = shutil.ignore_patterns(".venv*", ".mlops", ".git", ".*_cache", ".ipynb_checkpoints", "__pycache__", "*.egg-info")
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=private)


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make as a person would, outside the environment and the make of these tests."""
    env = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONPATH")}
    return subprocess.run(["make", *words], cwd=folder, env=env, capture_output=True, text=True)


def python(folder: Path, answer: str) -> str:
    """A `python` that answers every call in the same way."""
    path = folder / "python-for-the-test"
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_make_alone_lists_what_there_is(copy: Path):
    listed = make(copy).stdout
    assert all(f"make {target} " in listed for target in ("run", "check", "test", "lab", "lock"))


def test_a_change_selects_the_lessons_and_tests_of_its_package():
    commands = runpy.run_path(str(ROOT / "tools/check.py"))["commands"]
    selected = [" ".join(words) for words in commands(["mlops_kit/store/files.py", "nbs/01_config.ipynb", "README.md"])]
    assert selected[-3:-1] == ["nbdev-test nbs/01_config.ipynb --n-workers 2", "nbdev-test nbs/10_store --n-workers 2"]
    assert selected[-1].endswith("tests/store") and selected[0].endswith("tests/test_shape.py")
    assert commands(["README.md"]) == commands([])


@pytest.mark.parametrize("answer, told", [
    ("case $1 in -V) echo Python 3.9.2;; *) exit 1;; esac", "needs Python 3.11 or newer; "),
    ("case \"$*\" in *ensurepip*) exit 1;; esac", "apt install python3-venv")])
def test_a_python_that_will_not_do_is_named(copy: Path, answer: str, told: str):
    done = make(copy, "run", python(copy, answer))
    assert done.returncode and told in done.stderr
    assert not (copy / ".venv").exists()


def test_a_python_that_is_not_there_is_named_and_left_out():
    done = subprocess.run([ROOT / "tools/test_pythons.sh", "3.99"], capture_output=True, text=True, check=True)
    assert "Python 3.99: not found" in done.stdout


@pytest.mark.long
def test_a_fresh_copy_runs_and_then_has_nothing_to_run(copy: Path):
    first = make(copy, "run")
    assert first.returncode == 0, first.stdout + first.stderr
    records = sorted((copy / ".mlops/records").iterdir())
    second = make(copy, "run")
    assert second.returncode == 0 and "installing" not in second.stderr
    assert records and sorted((copy / ".mlops/records").iterdir()) == records
