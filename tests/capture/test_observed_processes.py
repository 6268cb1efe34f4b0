"""What other processes look at for a step counts like what its own cells look at: the fork server, and Python children."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.project import Project, environment, install

TONED = '''import os
from pathlib import Path
home = Path.home()

def text(name):
    try:
        return (home / name).read_text()
    except OSError:
        return "none"

SEEN = {
    "file": text("toned.txt"), "missing": text("missing.txt"), "there": (home / "there.txt").exists(),
    "folder": sorted(os.listdir(home / "folder")), "glob": len(list((home / "folder").glob("*.txt"))),
    "variable": os.environ.get("XDG_DATA_TONE", "none"), "all": {name: value for name, value in os.environ.items() if name.startswith("TONE_")},
    "stat": (home / "stat.txt").stat().st_size,
}
'''
CHANGES = {  # what a package reads while it is imported -> a change of it
    "file": lambda home: (home / "toned.txt").write_text("green"),
    "missing": lambda home: (home / "missing.txt").write_text("new"),
    "there": lambda home: (home / "there.txt").write_text(""),
    "folder": lambda home: (home / "folder/b").write_text(""),
    "glob": lambda home: (home / "folder/b.txt").write_text(""),
    "stat": lambda home: (home / "stat.txt").write_text("123"),
    "variable": lambda home: {"XDG_DATA_TONE": "loud"},
    "all": lambda home: {"TONE_A": "loud"},
}


class Elsewhere:
    "A project with an environment, a home folder and fork servers of its own"

    def __init__(self, root: Path):
        self.python, self.home = environment(root / "env"), root / "home"
        install(self.python, "toned", "1.0", TONED)
        install(self.python, "other", "1.0", "from pathlib import Path\nVALUE = (Path.home() / 'other.txt').read_text()\n")
        (self.home / "folder").mkdir(parents=True)
        for name, content in {"toned.txt": "red", "stat.txt": "1", "other.txt": "1", "folder/a": ""}.items():
            (self.home / name).write_text(content)
        self.project = Project(root / "project")
        for name in ("toned", "other"):
            value = "toned.SEEN" if name == "toned" else "other.VALUE"
            self.project.notebook(name, f"import json, {name}", f"result.write_text(json.dumps({value}))")
        self.project.pipeline("toned: {notebook: notebooks/toned.ipynb, outs: {result: result.json}}\nother: {notebook: notebooks/other.ipynb, outs: {result: result.json}}")
        (root / "runtime").mkdir()
        self.variables = {**os.environ, "HOME": str(self.home), "MLOPS_RUNTIME_DIR": str(root / "runtime")}

    def __call__(self, *words: str, **variables: str) -> dict:
        "What `mlops ... --json` prints"
        code = "import sys; from mlops_kit.cli import main; sys.exit(main())"
        command = [self.python, "-c", code, *words, "--json"]
        done = subprocess.run(command, cwd=self.project.root, env=self.variables | variables, capture_output=True, text=True, timeout=120)
        return json.loads(done.stdout)

    def run(self, **variables: str) -> tuple[dict[str, str], dict]:
        "Run the pipeline: how each step ended, and what the package saw"
        steps = self("run", "pipeline=demo", "pass_env=[TONE_A]", **variables)["steps"]
        out = next((self.project.root / ".mlops/objects").glob(f"*/*{steps['toned']['outs']['result'][4:]}*"))
        return {name: step["status"] for name, step in steps.items()}, json.loads(out.read_text())

    def close(self) -> None:
        self("engine", "stop")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    "Such a project that has run once"
    made = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    statuses, made.seen = made.run()
    assert set(statuses.values()) == {"ran"} and set(made.run()[0].values()) == {"hit"}
    yield made
    made.close()


@pytest.mark.parametrize("kind", CHANGES)
def test_what_a_package_read_in_the_fork_server_counts(elsewhere, kind):
    before, variables = elsewhere.seen, CHANGES[kind](elsewhere.home)
    statuses, elsewhere.seen = elsewhere.run(**(variables if isinstance(variables, dict) else {}))
    assert statuses["toned"] == "ran" and elsewhere.seen[kind] != before[kind], "the server's answer was not used again"
    assert statuses["other"] == ("ran" if kind == "all" else "hit"), "only what the step's own package read counts"


SHOP = '''import os
from pathlib import Path
try:
    import fast
except ImportError:
    fast = None

def price(number=1):
    import xmltodict_like
    return number * int((Path(os.environ["MLOPS_PROJECT"]) / "rate.txt").read_text())

def never():
    return 1
'''
WAYS = '''import json, multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import shop
project, spawn = os.environ["MLOPS_PROJECT"], multiprocessing.get_context("spawn")
started = f"import sys; sys.path.insert(0, {project!r}); import shop; print(shop.price())"

def run(*words, **options):
    return int(subprocess.run(words, capture_output=True, text=True, check=True, **options).stdout)

def of_shell(command):
    return int(get_ipython().getoutput(command)[0])

def of_magic():
    get_ipython().run_cell_magic("python", "--out printed", started)
    return int(get_ipython().user_ns["printed"])

def of_pool(kind):
    with multiprocessing.get_context(kind).Pool(1) as pool:
        answer = pool.apply(shop.price)
        pool.close()
        pool.join()
    return answer

def of_executor():
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(shop.price).result()

def of_fork():
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(shop.price()).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reader, 99))

def of_loky():
    from joblib import Parallel, delayed
    return Parallel(n_jobs=2)(delayed(shop.price)(number) for number in (1, 2))

def of_killed():
    code = started + "; sys.stdout.flush(); import os; os.kill(os.getpid(), 9)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)

WAYS = {
    "script": lambda: run(sys.executable, f"{project}/scripts/script.py"),
    "module": lambda: run(sys.executable, "-m", "scripts.script", cwd=project),
    "code": lambda: run(sys.executable, "-c", started),
    "exec": lambda: run("/bin/sh", "-c", f"exec {sys.executable} {project}/scripts/script.py"),
    "shell": lambda: of_shell(f"{sys.executable} {project}/scripts/script.py"),
    "written": lambda: Path("own.py").write_text(started) and run(sys.executable, "own.py"),
    "magic": of_magic, "spawn": lambda: of_pool("spawn"), "executor": of_executor,
    "pool": lambda: of_pool("fork"), "fork": of_fork, "loky": of_loky, "killed": of_killed,
    "isolated": lambda: run(sys.executable, "-Ic", started), "bare": lambda: run(sys.executable, "-c", started, env={"MLOPS_PROJECT": project}),
}'''
REPORTING = {"script", "written", "bare", "module", "code", "exec", "shell", "magic", "spawn", "executor", "loky"}
WHOLE = {"pool", "fork", "killed"}
SILENT = {"isolated"}  # what such a process reads is seen by the access log alone
SCRIPTS = {"script", "module", "exec", "shell"}
EDITS = {  # what changes -> the steps that must run
    "a function that only the child calls": (lambda project: project.edit("shop.py", "return number *", "return 2 * number *"), REPORTING | WHOLE | SILENT),
    "a function that nobody calls": (lambda project: project.edit("shop.py", "return 1", "return 2"), WHOLE | SILENT),
    "a file that only the child reads": (lambda project: (project.root / "rate.txt").write_text("3"), REPORTING | WHOLE | SILENT),
    "a module that was not there": (lambda project: (project.root / "fast.py").write_text(""), REPORTING | WHOLE | SILENT),
    "a script": (lambda project: project.edit("scripts/script.py", "price()", "price(3)"), SCRIPTS),
    "a module beside a script": (lambda project: (project.root / "scripts/shop.py").write_text(""), SCRIPTS - {"module"}),
    "a module of the standard library beside a script": (lambda project: (project.root / "scripts/colorsys.py").write_text(""), SCRIPTS - {"module"}),
    "a module that only the child loads": (lambda project: (project.root / "xmltodict_like.py").write_text("VALUE = 2\n"), REPORTING | WHOLE | SILENT),
}


def lay_out(root: Path) -> None:
    "The files of a project whose steps start processes, as they were in the beginning"
    (root / "scripts").mkdir(exist_ok=True)
    for name in ("fast.py", "scripts/shop.py", "scripts/colorsys.py"):
        (root / name).unlink(missing_ok=True)
    script = "import colorsys, os, sys\nsys.path.append(os.environ['MLOPS_PROJECT'])\nimport shop\nprint(shop.price())\n"
    for name, text in {"shop.py": SHOP, "rate.txt": "2", "scripts/script.py": script, "xmltodict_like.py": "VALUE = 1\n"}.items():
        if not (root / name).exists() or (root / name).read_text() != text:  # programs look at times
            (root / name).write_text(text)


@pytest.fixture(scope="module")
def starters(tmp_path_factory):
    "A project whose steps start Python in many ways, and that has run once"
    project = Project(tmp_path_factory.mktemp("starters") / "project")
    lay_out(project.root)
    parameters = 'from pathlib import Path\nkind: str = "script"\nresult: Path = Path("out/result.json")'
    project.notebook("ways", WAYS, "result.write_text(json.dumps(WAYS[kind]()))", parameters=parameters)
    ways = ", ".join(sorted(REPORTING | WHOLE | SILENT))
    project.pipeline(f"way: {{foreach: [{ways}], notebook: notebooks/ways.ipynb, params: {{kind: '{{item}}'}}, outs: {{result: result.json}}}}")
    assert set(project.statuses().values()) == {"ran"}
    return project


def must_run(project: Project) -> set[str]:
    "The ways that the plan would run"
    return {name.partition("@")[2] for name in project.must_run()}


def test_an_unchanged_step_that_starts_processes_is_a_hit(starters):
    assert must_run(starters) == set()


@pytest.mark.parametrize("kind", EDITS)
def test_what_only_a_python_child_uses_counts(starters, kind):
    edit, expected = EDITS[kind]
    edit(starters)
    changed = must_run(starters)
    lay_out(starters.root)
    assert expected <= changed <= expected | SILENT  # which also depend on the times of files


ALIKE = """import subprocess, sys, os
plain = {**os.environ, "PYTHONPATH": os.environ["MLOPS_PROJECT"]}
script = os.environ["MLOPS_PROJECT"] + "/scripts/tells.py"
commands = [[script], ["-c", open(script).read()], ["-m", "scripts.tells"], ["-I", script], ["-E", script]]
call = lambda command, **options: subprocess.run([sys.executable, *command], capture_output=True, text=True, **options)
seen = [[(done.returncode, done.stdout, done.stderr) for done in (call(command, **options), call(command, env=plain, **options))] for command in commands for options in ({}, {"cwd": os.environ["MLOPS_PROJECT"]})]"""
TELLS = """import json, re, sys
import sitecustomize
print(sys.path, sys.argv, json.__file__, re.__file__, sitecustomize.__file__, getattr(sitecustomize, "VALUE", None), sys.flags)
raise ValueError("as always")"""


def outputs_of_children(project: Project) -> list:
    """For each way to start a Python child: its return code and what it printed; and the same with a PYTHONPATH of the step's own."""
    outs = project.json("run", "pipeline=demo")["steps"]["alike"]["outs"]
    text = (project.root / f".mlops/objects/{outs['result'][:2]}/{outs['result'][2:]}").read_text()
    return json.loads(re.sub(r"\.mlops/tmp/[\w-]+", "FOLDER", text))


@pytest.mark.parametrize("with_sitecustomize", [True, False])
def test_a_python_child_does_not_notice_that_it_is_observed(project, monkeypatch, with_sitecustomize):
    (project.root / "scripts").mkdir()
    (project.root / "scripts/tells.py").write_text(TELLS if with_sitecustomize else TELLS.replace("sitecustomize", "shlex"))
    (project.root / "scripts/json.py").write_text("")
    if with_sitecustomize:
        (project.root / "sitecustomize.py").write_text("VALUE = 1\n")
    project.notebook("alike", ALIKE, "import json\nresult.write_text(json.dumps(seen))")
    project.pipeline("alike: {notebook: notebooks/alike.ipynb, outs: {result: result.json}}")
    observed = outputs_of_children(project)
    shutil.rmtree(project.root / ".mlops")
    monkeypatch.setenv("MLOPS_NO_PRELOAD", "1")  # then a PYTHONPATH of the step's own leaves our sitecustomize out
    coarse = outputs_of_children(project)
    plain = [alone for _, alone in coarse]
    assert [one for one, _ in observed] == [one for _, one in observed] == [one for one, _ in coarse] == plain
    assert all("as always" in one[2] or "sitecustomize" in one[2] for one in plain)


def test_what_observes_a_step_is_not_among_its_variables(project):
    project.notebook("variables", """import json, os, subprocess, sys
TELL = "import os; print({name: os.environ.get(name) for name in ('PYTHONPATH', 'LD_PRELOAD', 'MLOPS_ACCESS_LOG', 'MLOPS_ACCESS_SKIP')})"
child = lambda **options: subprocess.run([sys.executable, "-c", TELL], capture_output=True, text=True, check=True, **options).stdout
os.system("true")
seen = [eval(child()), eval(child(env=dict(os.environ))), {name: os.environ.get(name) for name in eval(child())}]
result.write_text(json.dumps(seen))""")
    project.pipeline("variables: {notebook: notebooks/variables.ipynb, outs: {result: result.json}}")
    outs = project.json("run", "pipeline=demo")["steps"]["variables"]["outs"]
    for variables in json.loads((project.root / f".mlops/objects/{outs['result'][:2]}/{outs['result'][2:]}").read_text()):
        assert {name: value for name, value in variables.items() if value} == {"PYTHONPATH": str(project.root)}
