"""What a step looks at without having declared it counts as its input: a change is never a hit, anything else is one (I1)."""
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from mlops_kit.capture import stage_observed
from mlops_kit.store import Store, put_bytes

LOOKS = '''import importlib, json, os, sqlite3, sys
from pathlib import Path
project = Path(os.environ["MLOPS_PROJECT"])

def content():
    return (project / "notes/content.txt").read_text()

def missing():
    try:
        return open(project / "notes/missing.txt").read()
    except FileNotFoundError:
        return "nothing"

def there():
    return (project / "notes/there.txt").exists()

def names():
    return sorted(os.listdir(project / "notes/names"))

def pattern():
    return [path.read_text() for path in sorted((project / "notes/pattern").glob("*.txt"))]

def variable():
    return os.environ.get("COLOUR", "none")

def table():
    import polars as pl
    return pl.read_csv(project / "notes/table.csv").to_dicts()

def link():
    return (project / "notes/link.txt").read_text()

def outside():
    return Path("OUTSIDE/far.txt").read_text()

def plugin():
    sys.path.append("OUTSIDE")
    import plugin_of_somebody
    return plugin_of_somebody.VALUE

def base():
    connection = sqlite3.connect(f"file:{project / 'notes/base.db'}?mode=ro", uri=True)
    return connection.execute("SELECT value FROM facts").fetchall()

def size():
    return (project / "notes/size.txt").stat().st_size

def program():
    import subprocess
    return subprocess.run(["echo", "1"], capture_output=True, text=True).stdout

def version():
    from importlib import metadata
    try:
        return metadata.version("colours")
    except metadata.PackageNotFoundError:
        return "none"

def versions():
    from importlib import metadata
    return sorted(one.name for one in metadata.distributions())

def own():
    Path("/tmp/mlops-test-own").write_text("1")
    return Path("/tmp/mlops-test-own").read_text()'''
CELL = "result.write_text(json.dumps(globals()[kind]()))"
KINDS = ("content", "missing", "there", "names", "pattern", "variable", "table", "link", "outside", "plugin", "base", "size", "program", "version", "versions", "own")


def same_size_and_time(path: Path) -> None:
    "Other bytes, the same size and time"
    before = os.stat(path)
    path.write_text(path.read_text()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_database(path: Path) -> None:
    import sqlite3

    with sqlite3.connect(path) as base:
        base.execute("UPDATE facts SET value = 2")


CHANGES = {  # kind of change -> step that must run, and what is done in the project
    "content of a file": ("content", lambda notes: (notes / "content.txt").write_text("12\n")),
    "content with the same size and time": ("content", lambda notes: same_size_and_time(notes / "content.txt")),
    "a file that is gone": ("content", lambda notes: (notes / "content.txt").unlink()),
    "a file that was missing": ("missing", lambda notes: (notes / "missing.txt").write_text("")),
    "a file that somebody asked for": ("there", lambda notes: (notes / "there.txt").write_text("")),
    "a new name in a folder": ("names", lambda notes: (notes / "names/d").write_text("")),
    "another name in a folder": ("names", lambda notes: (notes / "names/a").rename(notes / "names/e")),
    "a new file that fits a pattern": ("pattern", lambda notes: (notes / "pattern/2.txt").write_text("2")),
    "content of a file that fits a pattern": ("pattern", lambda notes: (notes / "pattern/1.txt").write_text("2")),
    "a table that another language reads": ("table", lambda notes: (notes / "table.csv").write_text("a\n2\n")),
    "the target of a link": ("link", lambda notes: (notes / "target.txt").write_text("2")),
    "a file outside the project": ("outside", lambda notes: (notes / "../../outside/far.txt").write_text("2")),
    "a module outside the project": ("plugin", lambda notes: (notes / "../../outside/plugin_of_somebody.py").write_text("VALUE = 2\n")),
    "the size of a file": ("size", lambda notes: (notes / "size.txt").write_text("12")),
    "a database": ("base", lambda notes: other_database(notes / "base.db")),
}
NEUTRAL = {
    "a file that nobody reads": lambda notes: (notes / "unread.txt").write_text("2"),
    "a new file in the project": lambda notes: (notes / "../new.txt").write_text("2"),
    "a new folder in the project": lambda notes: (notes / "../new").mkdir(),
    "a new module that nobody imports": lambda notes: (notes / "../new.py").write_text("x = 1"),
    "a touched file": lambda notes: os.utime(notes / "content.txt"),
    "a touched folder": lambda notes: os.utime(notes / "names"),
    "a file written again with the same content": lambda notes: (notes / "content.txt").write_bytes((notes / "content.txt").read_bytes()),
    "a file that does not fit a pattern, in another folder": lambda notes: (notes / "other").mkdir(),
}


def make_world(root: Path) -> None:
    "What the steps look at, as it was in the beginning"
    notes, outside = root / "notes", root.parent / "outside"
    for folder in (notes, outside):
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("new.txt", "new.py"):
        (root / name).unlink(missing_ok=True)
    for name in ("new", "colours-1.dist-info", "sounds-1.dist-info"):
        shutil.rmtree(root / name, ignore_errors=True)
    for name, text in {"content.txt": "10\n", "names/a": "", "names/b": "", "pattern/1.txt": "1", "table.csv": "a\n1\n", "target.txt": "1", "size.txt": "1", "unread.txt": "1", "../../outside/far.txt": "1", "../../outside/plugin_of_somebody.py": "VALUE = 1\n"}.items():
        (notes / name).parent.mkdir(parents=True, exist_ok=True)
        (notes / name).write_text(text)
    os.utime(notes / "size.txt", ns=(10**18, 10**18))
    (notes / "link.txt").symlink_to("target.txt")
    import sqlite3

    with sqlite3.connect(notes / "base.db") as base:
        base.execute("CREATE TABLE facts (value INT)")
        base.execute("INSERT INTO facts VALUES (1)")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    "A project whose steps have looked around once"
    from helpers.project import Project

    project = Project(tmp_path_factory.mktemp("observed") / "project")
    make_world(project.root)
    parameters = 'from pathlib import Path\nkind: str = "content"\nresult: Path = Path("out/result.json")'
    project.notebook("looks", LOOKS.replace("OUTSIDE", str(project.root.parent / "outside")), CELL, parameters=parameters)
    project.pipeline(f"look: {{foreach: [{', '.join(KINDS)}], notebook: notebooks/looks.ipynb, params: {{kind: '{{item}}'}}, outs: {{result: result.json}}}}")
    assert set(project.statuses("pass_env=[COLOUR,UNREAD]").values()) == {"ran"}
    return project


def must_run(world, *words: str, **environment: str) -> set[str]:
    "The kinds that the plan would run"
    return {name.partition("@")[2] for name in world.must_run("pass_env=[COLOUR,UNREAD]", *words, **environment)}


@pytest.fixture
def restored(world):
    "Put everything back after a test"
    yield world
    make_world(world.root)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_of_what_was_looked_at_is_never_a_hit(restored, kind):
    step, change = CHANGES[kind]
    change(restored.root / "notes")
    assert must_run(restored) == {step}


@pytest.mark.parametrize("kind", NEUTRAL)
def test_what_nobody_looked_at_does_not_matter(restored, kind):
    NEUTRAL[kind](restored.root / "notes")
    assert must_run(restored) == set()


def test_variables(world):
    assert must_run(world, COLOUR="red") == set(KINDS), "whoever reads it"
    assert must_run(world, ANYTHING="2") == set()


@pytest.mark.parametrize("package, steps", [("colours", {"version", "versions"}), ("sounds", {"versions"})])
def test_a_package_in_the_project_that_was_not_there(restored, package, steps):
    info = restored.root / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    assert must_run(restored) == steps


def test_the_plan_says_what_changed_and_the_run_goes_on(restored):
    (restored.root / "notes/content.txt").write_text("11\n")
    plan = restored.json("plan", "pipeline=demo", "pass_env=[COLOUR,UNREAD]")
    assert plan["look@content"]["reason"] == "file notes/content.txt changed"
    run = restored.json("run", "pipeline=demo", "pass_env=[COLOUR,UNREAD]")
    assert {name for name, step in run["steps"].items() if step["status"] == "ran"} == {"look@content"}
    (restored.root / "notes/content.txt").write_text("10\n")
    assert must_run(restored) == set(), "both results stand"


def test_what_a_step_did_besides_is_in_its_record(world):
    records = {record["step"]: record for record in map(json.loads, (path.read_text() for path in world.records()))}
    assert "program echo" in records["look@program"]["parts"]["observed"] and "program" not in records["look@program"]["notes"], "it was observed, too"
    assert "clock" not in records["look@own"]["notes"]
    data = "file ", "folder ", "entries ", "there ", "stat ", "link ", "variable "
    asked = [name for name in records["look@own"]["parts"]["observed"] if name.startswith(data)]
    assert [name for name in asked if " /usr/lib" not in name] == [], "what a step wrote itself is no input"


def test_a_file_that_changes_while_a_step_reads_it(project):
    (project.root / "slow.txt").write_text("1")
    project.notebook("slow", "import os, time\nfrom pathlib import Path\npath = Path(os.environ['MLOPS_PROJECT']) / 'slow.txt'\ntext = path.read_text()\nPath(os.environ['MLOPS_PROJECT'], 'begun').touch()\ntime.sleep(3)", "result.write_text(text)")
    project.pipeline("slow: {notebook: notebooks/slow.ipynb, outs: {result: result.json}}")
    running = project.start("run", "pipeline=demo", "--json")
    while not (project.root / "begun").exists():
        time.sleep(0.05)
    same_size_and_time(project.root / "slow.txt")
    (project.root / "slow.txt").write_text("2")
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 1 and "file slow.txt changed while the step used it" in json.loads(out)["steps"]["slow"]["error"]
    assert project.records() == []


def test_a_file_that_a_step_reads_and_changes_is_never_a_hit(project):
    (project.root / "counter.txt").write_text("1")
    project.notebook("counts", "import os\nfrom pathlib import Path\npath = Path(os.environ['MLOPS_PROJECT']) / 'counter.txt'\nnumber = int(path.read_text())\npath.write_text(str(number + 1))", "result.write_text(str(number))")
    project.pipeline("counts: {notebook: notebooks/counts.ipynb, outs: {result: result.json}}")
    assert [project.statuses()["counts"] for _ in range(2)] == ["ran", "ran"]


def test_use_of_the_clock_and_the_network_is_in_the_record(project):
    project.notebook("clock", "import socket, time\nfrom datetime import datetime\nnow = datetime.now()\ntry:\n    socket.create_connection(('127.0.0.1', 9), timeout=1)\nexcept OSError:\n    pass", "result.write_text('1')")
    project.pipeline("clock: {notebook: notebooks/clock.ipynb, outs: {result: result.json}}")
    project.statuses()
    notes = json.loads(project.records()[0].read_text())["notes"]
    assert "datetime.datetime.now" in notes["clock"] and "127.0.0.1:9" in notes["network"]


@pytest.mark.parametrize("engine", ["kernel"])
def test_other_engines_observe_the_same(project, engine):
    (project.root / "beside.txt").write_text("1")
    project.notebook("beside", "import os\nfrom pathlib import Path\nresult.write_text(Path(os.environ['MLOPS_PROJECT'], 'beside.txt').read_text())")
    project.pipeline("beside: {notebook: notebooks/beside.ipynb, outs: {result: result.json}}")
    project.statuses(f"engine={engine}")
    assert "file beside.txt" in json.loads(project.records()[0].read_text())["parts"]["observed"]
    assert project.statuses() == {"beside": "hit"}


@pytest.mark.parametrize("name", ["../outside.txt", ".env", "conf.d/credentials.json"])
def test_what_lies_elsewhere_or_holds_secrets_is_compared_and_not_kept(project, name):
    path = project.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("PASSWORD=hunter-seven-2")
    project.notebook("step", f"import os\nfrom pathlib import Path\nresult.write_text(str(len(Path(os.environ['MLOPS_PROJECT'], {name!r}).read_text())))")
    project.pipeline("step: {notebook: notebooks/step.ipynb, outs: {result: result.json}}")
    project.mlops("run", "pipeline=demo")
    kept = [file for file in (project.root / ".mlops").rglob("*") if file.is_file() and b"hunter-seven" in file.read_bytes()]
    assert kept == [] and project.must_run() == set()
    path.write_text("PASSWORD=hunter-seven-3")
    assert project.must_run() == {"step"}


def test_a_recorded_folder_is_laid_out_in_its_place_only(tmp_path):
    store = Store(tmp_path / "store")
    names = put_bytes(store, json.dumps([["fine", False], ["../out", True], ["/tmp/mlops-out", True], ["a/b", False], ["..", True]]).encode())
    stage_observed(store, {"folder data": names, "there ../beside": "file", "stat a/../../beside": "file"}, tmp_path / "project")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if "store" not in path.parts) == ["project", "project/data", "project/data/fine"]
