"""Environment variables: what a step can see is fixed or counts, and of a secret no digest is kept that could be guessed (I1, I11)."""
import json
import re
import shutil
from pathlib import Path

import pytest

from helpers.project import PARAMETERS, Project
from mlops_kit.capture.environment import _INHERITED_VARIABLES, VariableDigests, make_env_variables, variables_key
from mlops_kit.store import Store, digest

READERS = {
    "nobody": "",
    "os.environ": "import os\nos.environ.get('SITE'), os.environ.get('MY_TOKEN')",
    "a copy": "import os\ndict(os.environ).get('SITE')",
    "a program": "import subprocess\nsubprocess.run('echo $SITE $MY_TOKEN', shell=True)",
    "the C library": "import ctypes\nctypes.CDLL(None).getenv(b'SITE')",
}
PASSED = "pass_env=[SITE,MY_TOKEN,SOME_URL]"
URL = "https://anna:{}@example.org"


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Project:
    "A project whose steps have read variables in all these ways"
    project = Project(tmp_path_factory.mktemp("variables") / "project")
    steps = []
    for number, code in enumerate(READERS.values()):
        project.notebook(f"read{number}", code, "result.write_text('1')")
        steps.append(f"read{number}: {{notebook: notebooks/read{number}.ipynb, outs: {{result: result.json}}}}")
    project.pipeline("\n".join(steps))
    run = project.json("run", "pipeline=demo", PASSED, SITE="oslo", MY_TOKEN="first-k7Q9", SOME_URL=URL.format("pw-k7Q9"))
    assert {step["status"] for step in run["steps"].values()} == {"ran"}
    return project


CHANGES = {  # other values -> the reason
    "a value": ({"SITE": "bergen"}, "variable SITE changed"),
    "a variable that is gone": ({"SITE": None}, "variable SITE is gone"),
    "a secret": ({"MY_TOKEN": "second-k7Q9"}, "variable MY_TOKEN changed"),
    "a secret in a URL": ({"SOME_URL": URL.format("pw-second")}, "variable SOME_URL changed"),
}


def plan(project: Project, **environment: str | None) -> dict:
    "The plan with these variables"
    values = {"SITE": "oslo", "MY_TOKEN": "first-k7Q9", "SOME_URL": URL.format("pw-k7Q9")} | environment
    return project.json("plan", "pipeline=demo", PASSED, **{name: value for name, value in values.items() if value})


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_passed_counts_whoever_reads_it(read: Project, kind: str):
    environment, reason = CHANGES[kind]
    assert {(step["action"], step["reason"]) for step in plan(read, **environment).values()} == {("run", reason)}
    assert {step["action"] for step in plan(read).values()} == {"hit"}


def test_a_digest_of_a_secret_can_not_be_guessed(read: Project):
    "Whoever has all of the store but its key learns nothing by trying values"
    (key,) = (read.root / ".mlops").glob("variables.key")
    assert key.stat().st_mode & 0o077 == 0 and len(key.read_bytes()) == 32
    kept = b"".join(path.read_bytes() for path in (read.root / ".mlops").rglob("*") if path.is_file() and path != key)
    for name, value in {"MY_TOKEN": "first-k7Q9", "SOME_URL": URL.format("pw-k7Q9")}.items():
        guesses = [digest(["variable", name, value]), digest(value.encode()), digest([value]), digest([name, value])]
        assert not [guess for guess in guesses if guess.encode() in kept]
    assert digest(["variable", "SITE", "oslo"]).encode() in kept, "of what is no secret there is one that all stores share"


@pytest.mark.parametrize("shown", ["plan", "show"])
def test_what_is_shown_holds_no_value(read: Project, shown: str):
    said = json.dumps(plan(read, MY_TOKEN="third-k7Q9")) if shown == "plan" else read.mlops("show", "last", "read1")
    assert "k7Q9" not in said


def test_results_that_depend_on_a_secret_are_no_hits_in_another_store(read: Project, tmp_path: Path):
    read.mlops("run", "pipeline=demo", "pass_env=[SITE]", SITE="oslo")
    read.mlops("push", str(tmp_path / "remote"))
    key = (read.root / ".mlops/variables.key").read_bytes()
    assert not [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and key in path.read_bytes()]
    shutil.copytree(read.root, tmp_path / "other", ignore=shutil.ignore_patterns("variables.key"))
    other = object.__new__(Project)
    other.root = tmp_path / "other"
    assert {step["action"] for step in plan(other).values()} == {"run"}
    shared = other.json("plan", "pipeline=demo", "pass_env=[SITE]", SITE="oslo")
    assert {step["action"] for step in shared.values()} == {"hit"}


SECRET = {  # why a variable is secret -> its name, its value, the configuration
    "its name": ("MY_TOKEN", "v", []),
    "its place in a URL": ("PLACE", "redis://u:v@host", []),
    "mask": ("SITE", "v-k7Q9", ["mask=[SITE]"]),
    "the configuration takes it from the environment": ("MY_WORD", "7v-k7Q9", ["++db.word='${oc.env:MY_WORD}'"]),
}


@pytest.mark.parametrize("why", SECRET)
def test_a_secret_counts_by_a_digest_that_needs_the_key(project: Project, why: str):
    name, value, words = SECRET[why]
    project.notebook("says", "result.write_text('1')")
    project.pipeline("says: {notebook: notebooks/says.ipynb, outs: {result: result.json}}")
    words = [f"pass_env=[{name}]", *words]
    project.json("run", "pipeline=demo", *words, **{name: value})
    (path,) = project.records()
    answer = json.loads(path.read_text())["parts"]["env"]["variables"][name]
    assert answer.startswith("keyed ") and digest(["variable", name, value]) not in path.read_text()
    assert project.json("plan", "pipeline=demo", *words, **{name: value})["says"]["action"] == "hit"
    assert project.json("plan", "pipeline=demo", *words, **{name: value + "w"})["says"]["action"] == "run"
    assert "changed since recording" not in project.mlops("verify", **{name: value})


def test_the_key_is_made_once(tmp_path: Path):
    store = Store(tmp_path / "store")
    assert variables_key(store) == variables_key(store) != variables_key(Store(tmp_path / "other"))
    tmp_path.joinpath("other/variables.key").chmod(0)
    (tmp_path / "none").write_text("")
    assert len(variables_key(Store(tmp_path / "none"))) == 32, "a store that can't be written to"


WRONG = ["pass_env=SITE", "pass_env=[1]", "pass_env=true", "mask=SITE", "unmask=SITE", "warm=torch"]


@pytest.mark.parametrize("word", WRONG)
def test_a_list_of_names_is_a_list(project: Project, word: str):
    project.notebook("says", "result.write_text('1')")
    project.pipeline("says: {notebook: notebooks/says.ipynb, outs: {result: result.json}}")
    said = project.mlops("run", "pipeline=demo", word, code=2, SITE="oslo")
    assert f"{word.partition('=')[0]} wants a list of names, not " in said and "write" in said


# ---- what the kit itself lets through

ALWAYS, READ, NEVER = "counts in any case", "counts when it is read", "never counts"
INHERITED = {  # alternative in the pattern -> the rule, a name that fits
    "PATH": (READ, "PATH"), "HOME": (READ, "HOME"), "USER": (READ, "USER"), "LOGNAME": (READ, "LOGNAME"),
    "SHELL": (READ, "SHELL"), "TMPDIR": (READ, "TMPDIR"), "VIRTUAL_ENV": (READ, "VIRTUAL_ENV"),
    "CONDA_PREFIX": (READ, "CONDA_PREFIX"), r"SSL_CERT_\w+": (READ, "SSL_CERT_FILE"),
    **{rf"XDG_{what}_\w+": (READ, f"XDG_{what}_HOME") for what in ("CONFIG", "DATA", "CACHE", "STATE")},
    "REQUESTS_CA_BUNDLE": (READ, "REQUESTS_CA_BUNDLE"), r"\w+_proxy": (READ, "https_proxy"), r"\w+_PROXY": (READ, "HTTPS_PROXY"),
    r"JUPYTER_\w+": (READ, "JUPYTER_PATH"), "LD_LIBRARY_PATH": (ALWAYS, "LD_LIBRARY_PATH"),
    r"NVIDIA_\w+": (ALWAYS, "NVIDIA_TF32_OVERRIDE"), r"OPENBLAS_\w+": (ALWAYS, "OPENBLAS_CORETYPE"),
    "CUDA_VISIBLE_DEVICES": (NEVER, "CUDA_VISIBLE_DEVICES"),  # which device: schedulers choose; hardware is recorded
    "MLOPS_FAILPOINT": (NEVER, "MLOPS_FAILPOINT"),            # for tests of the kit
}
FIXED = ("LANG", "LC_ALL", "TZ", "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SOURCE_DATE_EPOCH", "PYTHONPATH")


def test_a_variable_that_a_program_may_see_appears(project):
    "A shell takes it from all variables, and asks nobody"
    project.notebook("step", "result.write_text(get_ipython().getoutput('echo ${XDG_DATA_TONE:-none}')[0])")
    project.pipeline("step: {notebook: notebooks/step.ipynb, outs: {result: result.json}}")
    project.mlops("run", "pipeline=demo")
    assert project.must_run() == set() and project.must_run(XDG_DATA_TONE="loud") == {"step"}


def test_every_variable_that_passes_has_a_rule():
    assert set(_INHERITED_VARIABLES.pattern.split("|")) == set(INHERITED)


@pytest.fixture(scope="module")
def inherits(tmp_path_factory) -> Project:
    "A project with a step for each variable that reads it, and one that reads none"
    project = Project(tmp_path_factory.mktemp("inherits") / "project")
    parameters = PARAMETERS + "\nname: str = ''"
    project.notebook("reads", "import os", "result.write_text(os.environ.get(name, 'none'))", parameters=parameters)
    project.notebook("blind", "import tempfile, urllib.request", "tempfile.gettempdir(), urllib.request.getproxies()", "result.write_text('1')")
    names = json.dumps([name for _, name in INHERITED.values()] + list(FIXED))
    project.pipeline(f"reads: {{foreach: {names}, notebook: notebooks/reads.ipynb, params: {{name: '{{item}}'}}, outs: {{result: result.json}}}}\nblind: {{notebook: notebooks/blind.ipynb, outs: {{result: result.json}}}}")
    assert set(project.statuses().values()) == {"ran"}
    return project


@pytest.mark.parametrize("pattern", [pattern for pattern in INHERITED if pattern != "MLOPS_FAILPOINT"])
def test_a_variable_that_passes_counts(inherits: Project, tmp_path: Path, pattern: str):
    rule, name = INHERITED[pattern]
    found = inherits.must_run(**{name: f"/bin:{tmp_path}" if name == "PATH" else str(tmp_path)})
    if rule == ALWAYS:
        assert len(found) == len(INHERITED) + len(FIXED) + 1
    else:
        assert found == ({f"reads@{name}"} if rule == READ else set())


@pytest.mark.parametrize("name", [*FIXED, "ANYTHING_ELSE"])
def test_other_variables_are_fixed_or_unseen(inherits: Project, tmp_path: Path, name: str):
    values = [make_env_variables(tmp_path, 1).get(name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "7")
        values.append(make_env_variables(tmp_path, 1).get(name))
    assert values[0] == values[1]
    assert name in ("PYTHONPATH", "PYTHONHASHSEED") or inherits.must_run(**{name: "7"}) == set()


def test_where_the_environment_lies_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    variables = VariableDigests(Store(tmp_path))
    answers = set()
    for prefix in ("/here/.venv", "/there/.venv"):
        monkeypatch.setattr("sys.prefix", prefix)
        monkeypatch.setenv("PATH", f"{prefix}/bin:/usr/bin")
        answers.add(variables("PATH"))
    assert len(answers) == 1 and not re.search("there", str(answers))
