"""Why two results differ: what was planted stands first, named as a person would name it."""
import json
import signal
import time
from pathlib import Path

import pytest
from helpers.project import Project, environment, install, mlops_of, notebook

HELPERS = {
    "lab/__init__.py": "",
    "lab/model.py": 'from lab.scale import scaled\n\nBIAS = 1.0\n\n\ndef fitted(values, slope=2.0):\n    "The model"\n    return [scaled(one) * slope + BIAS for one in values]\n',
    "lab/scale.py": "def scaled(value):\n    return value / 10\n\n\ndef unused(value):\n    return value\n",
}
CLEAN = ["import polars", "table = polars.read_csv(raw).head(rows)", "table.write_parquet(clean)"]
FIT = [
    "import json, os, random\nimport polars\nfrom lab.model import fitted  # from the project",
    "extra = json.loads(open(os.environ['MLOPS_PROJECT'] + '/extra.json').read())",
    "values = fitted(polars.read_parquet(clean)['x'].cast(polars.Float64).to_list())\nnoise = random.random() + int(os.environ['OMP_NUM_THREADS'])",
    "print(title)",
    "result.write_text(json.dumps({'total': sum(values) * weight + noise + extra['shift']}))",
]
HEAD = "from pathlib import Path\n"
PIPELINE = """
clean:
  notebook: notebooks/clean.ipynb
  sources: {raw: data.csv}
  params: {rows: 3}
  outs: {clean: clean.parquet}
fit:
  notebook: notebooks/fit.ipynb
  ins: {clean: clean.clean}
  params: {weight: 1.0, title: first}
  outs: {result: result.json}
  metrics: result
"""
DETAILS = {  # and what is told about it
    "row of a source": "column x, row 2: 3 -> 7 (1 of 4 rows, by at most 4 (relative 1.3))",
    "type of a column": "column x: Int64 -> Float64",
    "file that nobody declared": "shift: 0 -> 5 (+5)",
}
DECOY = ["pipeline.steps.fit.params.title=second"]  # is only printed, so it can't be the reason

# what is planted: file, old, new, overrides; then the cause that must stand first: kind, name, step, and words of the answer
PLANTED = {
    "parameter": ("", "", "", ["pipeline.steps.fit.params.weight=2.0"], "parameter", "weight", "fit", "weight changed from 1.0 to 2.0"),
    "upstream parameter": ("", "", "", ["pipeline.steps.clean.params.rows=2"], "parameter", "rows", "clean", "rows changed from 3 to 2"),
    "literal in a cell": ("notebooks/fit.ipynb", "sum(values) * weight", "3 * sum(values) * weight", [], "cell", "cell 6", "fit", "cell 6 changed"),
    "code of the metrics": ("notebooks/fit.ipynb", "'total': sum(values)", "'total': max(values)", [], "cell", "cell 6", "fit", "cell 6 changed"),
    "function two modules away": ("lab/scale.py", "value / 10", "value / 20", [], "function", "lab.scale.scaled", "fit", "lab.scale.scaled changed"),
    "default argument": ("lab/model.py", "slope=2.0", "slope=2.5", [], "function", "lab.model", "fit", "lab.model changed"),
    "module constant": ("lab/model.py", "BIAS = 1.0", "BIAS = 1.5", [], "function", "lab.model", "fit", "lab.model changed"),
    "row of a source": ("data.csv", "3,c", "7,c", [], "source", "raw", "clean", "source raw changed: 4 rows, 2 columns"),
    "type of a column": ("data.csv", "3,c", "3.5,c", [], "source", "raw", "clean", "source raw changed"),
    "seed": ("", "", "", ["seed=1"], "seed", "seed", "fit", "the seed changed from 0 to 1"),
    "threads": ("", "", "", ["threads=2"], "threads", "number of threads", "fit", "the number of threads changed from 1 to 2"),
    "file that nobody declared": ("extra.json", '"shift": 0', '"shift": 5', [], "observed", "file extra.json", "fit", "undeclared file extra.json changed"),
}


def lab(root: Path) -> Project:
    "A project of two steps"
    project = Project(root)
    (root / "lab").mkdir()
    for name, text in HELPERS.items():
        (root / name).write_text(text)
    (root / "data.csv").write_text("x,name\n1,a\n2,b\n3,c\n4,d\n")
    (root / "extra.json").write_text('{"shift": 0}')
    project.notebook("clean", *CLEAN, parameters=HEAD + 'rows: int = 1\nraw: Path = Path("in/data.csv")\nclean: Path = Path("out/clean.parquet")')
    project.notebook("fit", *FIT, parameters=HEAD + 'weight: float = 1.0\ntitle: str = "a"\nclean: Path = Path("in/clean.parquet")\nresult: Path = Path("out/result.json")')
    project.pipeline(PIPELINE)
    return project


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    "The project, and the name of its first run"
    project = lab(tmp_path_factory.mktemp("why") / "project")
    return project, project.json("run", "pipeline=demo", "threads=1")["run"]


def why_after(project: Project, first: str, file: str, old: str, new: str, *words: str) -> dict:
    "Plant a change beside a decoy and a comment, run, ask why, and take the change back"
    saved = {name: (project.root / name).read_text() for name in [file, "notebooks/fit.ipynb"] if name}
    project.edit("notebooks/fit.ipynb", "# from the project", "# from our project")
    if file:
        project.edit(file, old, new)
    try:
        project.json("run", "pipeline=demo", *words)
        return project.json("why", first, "last")
    finally:
        for name, text in saved.items():
            (project.root / name).write_text(text)


@pytest.mark.parametrize("name", [name if place % 2 == 0 else pytest.param(name, marks=pytest.mark.long) for place, name in enumerate(PLANTED)])
def test_a_planted_cause_stands_first(ran, name):
    project, first = ran
    file, old, new, overrides, kind, what, step, words = PLANTED[name]
    threads = [] if "threads=2" in overrides else ["threads=1"]
    found = why_after(project, first, file, old, new, *threads, *overrides, *DECOY)
    cause = found["causes"][0]
    assert (cause["kind"], cause["name"]) == (kind, what) and step in cause["steps"] and words in cause["summary"]
    assert [other["name"] for other in found["causes"]][1:] in ([], ["title"]), "nothing besides it and the decoy"
    assert words in found["verdict"] and "fit" in cause["affected_steps"]
    assert cause["file"] == (file if kind == "function" else "")
    assert f", in step {step}" in found["verdict"] and (not cause["file"] or f"({file})" in found["verdict"])
    assert cause["details"] == [DETAILS[name]] if name in DETAILS else cause["diff"] or not cause["details"]
    assert any(metric[0] == "total" and metric[1] != metric[2] for effect in found["effects"] for metric in effect["metrics"])


def test_two_causes_are_both_named_and_bisect_tells_them_apart(ran):
    project, first = ran
    found = why_after(project, first, "lab/scale.py", "value / 10", "value / 20", "threads=1", "pipeline.steps.clean.params.rows=4", *DECOY)
    assert {cause["name"] for cause in found["causes"][:2]} == {"rows", "lab.scale.scaled"} and found["verdict"].startswith("3 possible causes")
    bisection = project.json("why", first, "last", "--bisect")["bisect"]
    weights = {share["name"]: share["weight"] for share in bisection["shares"]}
    assert bisection["all"] == bisection["new"] and abs(sum(weights.values()) - 1) < 1e-6, "the shares are the whole difference"
    assert weights["title"] == 0 and weights["rows"] != 0 and weights["lab/scale.py"] != 0


def test_bisect_names_the_culprit_where_two_things_changed_and_one_matters(ran):
    project, first = ran
    why_after(project, first, "lab/model.py", "BIAS = 1.0", "BIAS = 2.0", "threads=1", *DECOY)
    text = project.mlops("why", first, "last", "--bisect", "--html", "why.html")
    assert "lab.model alone accounts for the difference." in text and "parameter title of fit has no effect" in text
    assert "with only lab.model " in text and "fit.total" in text
    answer, again = (project.mlops("why", first, "last", "--json") for _ in range(2))
    assert answer == again and list(json.loads(answer)) == ["old", "new", "pipeline", "verdict", "causes", "without_effect", "effects", "notes"]
    page = (project.root / "why.html").read_text()
    assert "<script" not in page and "BIAS = 2.0" in page and "http" not in page.replace("http-equiv", "")


def test_what_changed_without_effect_is_told_apart(ran):
    project, first = ran
    found = why_after(project, first, "", "", "", "threads=1", *DECOY)
    assert found["causes"] == [] and [change["name"] for change in found["without_effect"]] == ["title"] and found["verdict"] == "The results are the same, although something changed."


BRANCHES = {
    "choice.py": "def small(x):\n    return x\n\n\ndef large(x):\n    import lazy\n    return lazy.doubled(x)\n",
    "lazy.py": "def doubled(x):\n    return 2 * x\n",
}


def branching(project: Project, *cells: str) -> None:
    "A step that may take another way than before"
    for name, text in BRANCHES.items():
        (project.root / name).write_text(text)
    project.notebook("one", "import json", *cells, parameters=HEAD + 'way: str = "small"\nresult: Path = Path("out/result.json")')
    project.pipeline("one:\n  notebook: notebooks/one.ipynb\n  params: {way: small}\n  outs: {result: result.json}\n  metrics: result")
    project.mlops("run", "pipeline=demo")


def test_code_that_came_with_a_change_is_no_cause_of_its_own(project):
    branching(project, "import choice", "result.write_text(json.dumps({'n': getattr(choice, way)(2)}))")
    project.mlops("run", "pipeline=demo", "pipeline.steps.one.params.way=large")
    [cause] = project.json("why")["causes"]
    assert (cause["kind"], cause["name"]) == ("parameter", "way")
    assert "with it" in cause["details"][0] and "choice.large is now used" in cause["details"][0]
    bisection = project.json("why", "--bisect")["bisect"]
    assert bisection["all"] == bisection["new"] and [share["weight"] for share in bisection["shares"]] == [1]


def test_a_module_that_is_found_now_is_the_cause(project):
    branching(project, "try:\n    import fast\nexcept ImportError:\n    import lazy as fast", "result.write_text(json.dumps({'n': fast.doubled(2)}))")
    (project.root / "fast.py").write_text("def doubled(x):\n    return 3 * x\n")
    project.mlops("run", "pipeline=demo")
    found = project.json("why")
    [cause] = found["causes"]
    assert (cause["kind"], cause["name"], cause["file"]) == ("import", "fast", "fast.py") and "found at fast.py" in found["verdict"]
    bisection = project.json("why", "--bisect")["bisect"]
    assert [(share["name"], share["weight"]) for share in bisection["shares"]] == [("fast.py", 1)] and bisection["all"] == bisection["new"]


def test_a_module_and_its_function_changed_together_are_exchanged_together(project):
    branching(project, "import choice", "result.write_text(json.dumps({'n': getattr(choice, way)(2)}))")
    project.edit("choice.py", "def small(x):\n    return x", "import lazy\n\n\ndef small(x):\n    return lazy.doubled(x) + 1")
    project.mlops("run", "pipeline=demo")
    found = project.json("why", "--bisect")
    assert [(cause["kind"], cause["name"]) for cause in found["causes"]] == [("function", "choice"), ("function", "choice.small")]
    [share] = found["bisect"]["shares"]
    assert (share["name"], share["weight"]) == ("choice.py", 1) and found["bisect"]["all"] == found["bisect"]["new"]


def test_a_variable_that_the_step_may_see_is_the_cause(project):
    project.pipeline("one:\n  notebook: notebooks/one.ipynb\n  outs: {result: result.json}\n  metrics: result")
    project.notebook("one", "import json, os", "result.write_text(json.dumps({'n': len(os.environ.get('SITE', ''))}))")
    project.mlops("run", "pipeline=demo", "pass_env=[SITE]", SITE="north")
    project.mlops("run", "pipeline=demo", "pass_env=[SITE]", SITE="northwest")
    [cause] = project.json("why")["causes"]
    assert (cause["kind"], cause["summary"]) == ("observed", "environment variable SITE changed") and "north" not in str(cause)


def test_a_step_that_is_gone_is_the_cause(project):
    project.pipeline("""
item:
  foreach: [1, 2]
  notebook: notebooks/item.ipynb
  params: {number: "{item}"}
  outs: {result: result.json}
sum:
  notebook: notebooks/sum.ipynb
  ins: {parts: item.result}
  outs: {result: result.json}
  metrics: result
""")
    project.notebook("item", "result.write_text(str(number))", parameters=HEAD + 'number: int = 1\nresult: Path = Path("out/result.json")')
    project.notebook("sum", "import json", "result.write_text(json.dumps({'sum': sum(int(one.read_text()) for one in parts.iterdir())}))", parameters=HEAD + 'parts: Path = Path("in/parts")\nresult: Path = Path("out/result.json")')
    project.mlops("run", "pipeline=demo")
    project.mlops("run", "pipeline=demo", "pipeline.steps.item.foreach=[1]")
    found = project.json("why")
    assert found["verdict"] == "One recorded change can explain the difference: item@2 is no longer an input, in step sum."
    assert "item@2 has no whole record in both runs" in project.mlops("why", "--bisect", code=2)
    assert "parameter number changed from 1 to 2, in step item@1" in project.mlops("why", "last~1/item@1", "last~1/item@2")


def test_same_key_and_other_bytes_is_chance(project):
    project.pipeline("draw:\n  notebook: notebooks/draw.ipynb\n  outs: {result: result.json}\n  metrics: result")
    project.notebook("draw", "import json, os\nresult.write_text(json.dumps({'number': int.from_bytes(os.urandom(4), 'big')}))")
    project.mlops("run", "pipeline=demo")
    for record in project.records():
        record.unlink()  # somebody removed the result; the next run makes it again
    project.mlops("run", "pipeline=demo")
    found = project.json("why")
    assert found["causes"] == found["without_effect"] == [] and "mlops verify" in found["verdict"]


def test_a_step_that_failed_is_compared_as_far_as_it_is_known(project):
    project.pipeline("one:\n  notebook: notebooks/one.ipynb\n  params: {number: 1}\n  outs: {result: result.json}")
    project.notebook("one", "import json", "result.write_text(json.dumps(1 / number))", parameters=HEAD + 'number: int = 1\nresult: Path = Path("out/result.json")')
    project.mlops("run", "pipeline=demo")
    project.mlops("run", "pipeline=demo", "pipeline.steps.one.params.number=0", code=1)
    text = project.mlops("why")
    assert "parameter number changed from 1 to 0, in step one" in text and "ZeroDivisionError" in text and "only its parameters and cells" in text
    assert "no whole record" in project.mlops("why", "--bisect", code=2)


def test_wrong_use_is_explained(project):
    project.pipeline("one:\n  notebook: notebooks/one.ipynb\n  outs: {result: result.json}")
    project.notebook("one", "result.write_text('1')")
    project.mlops("run", "pipeline=demo")
    assert "is the first run of demo" in project.mlops("why", code=2)
    assert "did you mean 'one'" in project.mlops("why", "last/on", code=2)
    assert "name two runs" in project.mlops("why", "last", "last", code=2)
    assert "at most two" in project.mlops("why", "last", "last", "last", code=2)


def test_a_bisection_can_be_interrupted(project):
    project.pipeline("one:\n  notebook: notebooks/one.ipynb\n  params: {x: 1, y: 1}\n  outs: {result: result.json}\n  metrics: result")
    project.notebook("one", "import json, os, time", "time.sleep(0 if x == y else 600)", "result.write_text(json.dumps({'sum': x + y}))", parameters=HEAD + 'x: int = 1\ny: int = 1\nresult: Path = Path("out/result.json")')
    project.mlops("run", "pipeline=demo")
    project.mlops("run", "pipeline=demo", "pipeline.steps.one.params.x=2", "pipeline.steps.one.params.y=2")
    process = project.start("why", "--bisect")
    while "2 of" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    sleeping = [path for path in Path("/proc").glob("[0-9]*/environ") if read(path).count(str(project.root).encode())]
    assert sleeping == [], "nothing of it goes on"


def read(path: Path) -> bytes:
    "The content of a file that may be gone"
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.long
def test_a_package_version_is_the_cause(project, tmp_path):
    python = environment(tmp_path / "environment")
    project.pipeline("measure:\n  notebook: notebooks/measure.ipynb\n  params: {title: a}\n  outs: {result: result.json}\n  metrics: result")
    (project.root / "notebooks/measure.ipynb").write_text(notebook(HEAD + 'title: str = "a"\nresult: Path = Path("out/result.json")', "import json, ruler", "print(title)", "result.write_text(json.dumps({'length': 3 * ruler.FACTOR}))"))

    call = mlops_of(python, project)

    def mlops(*words: str) -> str:
        done = call(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    install(python, "ruler", "1.0", "FACTOR = 1\n")
    mlops("run", "pipeline=demo", "warm=[json]")
    install(python, "ruler", "1.1", "FACTOR = 2\n")
    mlops("run", "pipeline=demo", "warm=[json]", "pipeline.steps.measure.params.title=b")
    found = json.loads(mlops("why", "--json"))
    first = found["causes"][0]
    assert (first["kind"], first["name"], first["summary"]) == ("package", "ruler", 'package ruler changed from "1.0" to "1.1"')
    bisection = json.loads(mlops("why", "--bisect", "--json"))["bisect"]
    assert any("ruler" in note and "can't be exchanged here" in note for note in bisection["notes"])
