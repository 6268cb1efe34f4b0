"""A changed step always runs (I1): tables of changes, each judged by what a run in another store gives.

`python tests/capture/test_changes.py [PREFIX...]` prints the verdict and the reason of each row whose group or name begins so.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]  # as a script

import pytest
from changes import code, data, neutral, surroundings
from helpers.prepared import outer_environment
from helpers.trial import Row, Trial, Verdict, show

ROWS: dict[str, dict[str, Row]] = {  # group -> rows of one project
    "imports": code.IMPORTS, "shadowed": code.SHADOWED, "reached": code.REACHED, "defined": code.DEFINED, "cells": code.CELLS,
    "files": data.FILES, "names": data.NAMES, "declared": data.DECLARED, "programs": data.PROGRAMS, "native": data.NATIVE, "unseen": data.UNSEEN,
    "passed": surroundings.PASSED, "later": surroundings.LATER, "composed": surroundings.COMPOSED, "caller": surroundings.CALLER,
    "home": surroundings.HOME, "kernel": surroundings.KERNEL, "kernel start": surroundings.KERNEL_START, "packages": surroundings.PACKAGES,
    "neutral code": neutral.CODE, "neutral cells": neutral.CELLS, "neutral files": neutral.FILES, "neutral packages": surroundings.PACKAGES_NEUTRAL,
    "in doubt": neutral.IN_DOUBT,
}
NEEDED = "torch", "safetensors", "onnxruntime"  # by some rows
MISSING = [name for name in NEEDED if not find_spec(name)]
ROWS = {group: {name: row for name, row in rows.items() if not any(package in f"{row.cells} {row.files}" for package in MISSING)} for group, rows in ROWS.items()}
EVERY = 5  # each day another fifth of the rows of several groups, in one project: all of them take minutes
PARTS = {
    "some code": ("imports", "reached", "defined", "cells"), "some data": ("files", "names", "declared", "programs", "native"), "some passed": ("passed",),
    "some packages": ("packages",), "some neutral": ("neutral code", "neutral cells", "neutral files"), "some caller": ("caller",),
}
SOME = {part: {f"{group}, {name}": row for group in groups for name, row in list(ROWS[group].items())[time.localtime().tm_yday % EVERY::EVERY]} for part, groups in PARTS.items()}
MOUNTED = surroundings.PLACES + ("/etc/opt", "/usr/local/games")
ELSEWHERE = {"elsewhere": surroundings.ELSEWHERE} | {f"inside {place}": surroundings.INSIDE for place in surroundings.PLACES}  # as root
EXPECTED = {name: "hit" for name in ROWS if name.startswith("neutral")} | {"neutral": "hit"} | {"in doubt": "hit", "unseen": "noted"} | dict.fromkeys(("caller", "home", "kernel", "kernel start"), "any")
LONG = ("kernel", "kernel start", "in doubt", *(group for groups in PARTS.values() for group in groups))


def colours(rows: dict[str, Row], value: str) -> dict[str, str]:
    return {f"COLOUR_{number}": value for number in range(1, len(rows) + 1)}


def trial(group: str, folder: Path) -> Trial:
    "The trial of a group in a folder of its own"
    rows, root, group = (ELSEWHERE | ROWS | SOME)[group], folder / "project", group.removeprefix("some ")
    if group.startswith("inside"):
        return Trial(Path(group.removeprefix("inside "), "work/project"), rows)
    words = (f"pass_env=[{','.join(colours(rows, ''))}]",)
    if group == "later":
        return Trial(root, rows, words_after=words, environment=colours(rows, "red"))
    if group in ("passed", "composed"):
        return Trial(root, rows, words, environment=colours(rows, "red"), environment_after=colours(rows, "blue"))
    if group == "caller":
        return Trial(root, rows, environment=caller(folder, "anna"), environment_after=caller(folder, "berta"))
    if group in ("home", "kernel", "kernel start"):
        words = () if group == "home" else ("engine=kernel",)
        return Trial(root, rows, words, environment={"HOME": str(folder / "home")})
    if group.endswith("packages"):
        folder.mkdir(exist_ok=True)
        python = surroundings.environment_for(folder)
        return Trial(root, rows, call=lambda *words, **variables: call_python(python, *words, **variables))
    return Trial(root, rows)


def caller(folder: Path, name: str) -> dict[str, str]:
    "What a user's shell tells a program"
    home = folder / name
    for path, text in {"rates.txt": name, "bin/rates-tool": f"#!/bin/sh\necho {name}\n", "tmp/x": ""}.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    (home / "bin/rates-tool").chmod(0o755)
    others = {row: f"{home}/{row}" for row in surroundings.CALLER if row.isupper() or row == "https_proxy"}
    paths = {"PATH": f"{home}/bin:{os.environ['PATH']}", "TMPDIR": f"{home}/tmp", "HOME": str(home), "USER": name, "LOGNAME": name}
    numbers = {row: "12" if name == "anna" else "21" for row in ("PYTHONHASHSEED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "COLUMNS")}
    names = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8" if name == "anna" else "C", "TZ": "UTC" if name == "anna" else "Asia/Tokyo", "MPLBACKEND": "agg" if name == "anna" else "svg", "TERM": "dumb" if name == "anna" else "vt100"}
    return others | paths | numbers | names


def call_python(python: Path, root: Path, *words: str, **variables: str) -> dict:
    "Call the `mlops` of another environment"
    code = "import sys; from mlops_kit.cli import main; sys.exit(main())"
    done = subprocess.run([python, "-c", code, *words], cwd=root, env=outer_environment() | variables, capture_output=True, text=True, timeout=300)
    return {"code": done.returncode, "output": done.stdout, "error": done.stderr}


@cache
def judged(group: str, folder: Path, is_thorough: bool = False) -> dict[str, Verdict]:
    asked = replace(trial(group, folder), is_thorough=is_thorough)
    try:
        return asked.judge(EXPECTED.get(group.removeprefix("some "), "miss"))
    except AssertionError as error:  # once for all rows
        return dict.fromkeys(asked.rows, Verdict("broken", str(error)))


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    "A folder for each group"
    return {group: tmp_path_factory.mktemp(group.replace(" ", "-")) for group in ROWS | SOME}


def row_of(group: str, name: str):
    return pytest.param(group, name, marks=[pytest.mark.long] if group in LONG else [], id=f"{group}: {name}")


@pytest.mark.parametrize("group, name", [row_of(group, name) for group, rows in (ROWS | SOME).items() for name in rows])
def test_a_change_is_never_a_hit_and_nothing_else_is_a_miss(folders, group, name):
    verdict = judged(group, folders[group])[name]
    assert verdict.kind == "right", verdict


@pytest.mark.parametrize("group", ["later", "composed", pytest.param("home", marks=pytest.mark.long)])
def test_the_run_does_what_the_plan_says(tmp_path, group):
    verdicts = judged(group, tmp_path, is_thorough=True)
    assert not {name: str(verdict) for name, verdict in verdicts.items() if verdict.kind == "broken"}


@pytest.mark.long
@pytest.mark.parametrize("warm", ["[]", "[json,attr]"])
def test_packages_that_the_fork_server_does_not_hold(tmp_path, warm):
    ended = replace(trial("packages", tmp_path / "work"), words=(f"warm={warm}",)).judge("miss")
    assert not {name: str(verdict) for name, verdict in ended.items() if verdict.kind != "right"}


@pytest.mark.parametrize("name", ["patched in place", "loose module"])
def test_a_package_that_the_fork_server_holds_is_patched(tmp_path, name):
    "Nothing else changes that would make another server"
    verdicts = replace(trial("packages", tmp_path / "work"), rows={name: surroundings.PACKAGES[name]}, is_thorough=True).judge("miss")
    assert verdicts[name].kind == "right", verdicts[name]


def test_pass_env_is_a_list(project):
    project.notebook("step", "result.write_text('1')")
    project.pipeline("step: {notebook: notebooks/step.ipynb, outs: {result: result.json}}")
    assert "pass_env" in project.mlops("plan", "pipeline=demo", "pass_env=SITE", code=2)


def test_another_folder(tmp_path):
    "A project that moved, with its store, is the same project"
    before = Trial(tmp_path / "one/project", dict(list((data.FILES | code.REACHED).items())[::4]))
    ran = {name for name, step in before.prepare().items() if step["status"] == "ran"}
    shutil.move(tmp_path / "one", tmp_path / "two")
    plan = replace(before, root=tmp_path / "two/project").plan()
    assert ran and not {name: step["reason"] for name, step in plan.items() if name in ran and step["action"] != "hit"}


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts are for root")
def test_places_that_belong_to_the_system(tmp_path):
    "In a mount namespace of its own, where these places are empty"
    mounts = " && ".join(f"mount -t tmpfs tmpfs {place}" for place in MOUNTED)
    script = f'{mounts} && exec "$0" "$@"'
    words = ["unshare", "-m", "sh", "-c", script, sys.executable, __file__, "elsewhere", "inside"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    wrong = [line for line in done.stdout.splitlines() if line[58:].strip() and not line[58:].startswith(" right")]
    assert "right" in done.stdout and not wrong, done.stdout + done.stderr


def main(wanted: tuple[str, ...]) -> None:
    "Print the verdicts of the rows whose group or name begins with one of these words"
    as_root = any(word.startswith(("elsewhere", "inside")) for word in wanted)
    with tempfile.TemporaryDirectory(prefix="changes-") as work:
        os.environ["MLOPS_RUNTIME_DIR"] = f"{work}/runtime"
        for group in (ELSEWHERE if as_root else ROWS):
            rows = (ROWS | ELSEWHERE)[group]
            ROWS[group] = {name: row for name, row in rows.items() if group.startswith(wanted) or name.startswith(wanted)}
            if ROWS[group]:
                print(f"-- {group}")
                show(judged(group, Path(work, group.replace(" ", "-").replace("/", "")), is_thorough=True).items())
        subprocess.run([Path(sys.executable).with_name("mlops"), "engine", "stop"], capture_output=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("",))
