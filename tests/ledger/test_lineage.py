"""From a file on disk back to steps, data, code and commit, and forward to what used it, in projects that were really run."""
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mlops_kit.ledger.schema import blank_record, seal, unseal
from mlops_kit.ledger.lineage import trace_lineage, read_ledger
from mlops_kit.store.files import canonical_json
from mlops_kit.store.objects import Store, digest, put_bytes, encode_tree

from helpers.project import PARAMETERS, Project

STEPS = """
draw:
  foreach: [1, 2, 3]
  notebook: notebooks/draw.ipynb
  sources: {raw: data/raw.csv}
  params: {month: "{item}"}
  outs: {result: result.json, many: many}
total: {notebook: notebooks/total.ipynb, ins: {months: draw.result}, outs: {result: result.json}, metrics: result}
report: {notebook: notebooks/report.ipynb, ins: {total: total.result, about: "*.record"}, outs: {result: result.json}}
"""


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Project:
    "A project with a fan-out, a sum and a report, in a git repository, run once"
    project = Project(tmp_path_factory.mktemp("ready") / "project")
    project.notebook("draw", "import helper\n(result.parent / 'many/deep').mkdir(parents=True)\n(result.parent / 'many/deep/one.txt').write_text(f'deep {month}')\nresult.write_text(f'[{month}]')", parameters=PARAMETERS + '\nmonth: int = 0\nraw: Path = Path("in/raw.csv")')
    project.notebook("total", "result.write_text('{\"sum\": 6}')", parameters=PARAMETERS + '\nmonths: Path = Path("in/months")')
    project.notebook("report", "result.write_text('{\"report\": true}')", parameters=PARAMETERS + '\ntotal: Path = Path("in/total")\nabout: Path = Path("in/about.json")')
    project.pipeline(STEPS)
    (project.root / "helper.py").write_text("ONE = 1\n")
    (project.root / "data").mkdir()
    (project.root / "data/raw.csv").write_text("a,b\n")
    (project.root / ".gitignore").write_text(".mlops\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@a"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project.root, check=True)
    assert set(project.statuses().values()) == {"ran"}
    return project


@pytest.fixture
def done(ready: Project, tmp_path: Path) -> Project:
    "A copy of it"
    project = object.__new__(Project)
    project.root = shutil.copytree(ready.root, tmp_path / "project")
    return project


def names(found: dict, which: str) -> list[str]:
    "The steps that made or used what was asked for"
    return sorted({found["steps"][one["key"]]["step"] for one in found[which]})


def edges(found: dict) -> set[tuple[str, str, str]]:
    return {(found["steps"][one["from"]]["step"], one["out"], found["steps"][one["to"]]["step"]) for one in found["edges"]}


def test_back_from_a_copy_of_an_out(done: Project, tmp_path: Path):
    total = done.json("run", "pipeline=demo")["steps"]["total"]["outs"]["result"]
    copy = tmp_path / "from a mail.json"
    shutil.copy(done.root / ".mlops/objects" / total[:2] / total[2:], copy)
    found = done.json("lineage", str(copy))
    assert (found["digest"], names(found, "made_by"), names(found, "used_by")) == (total, ["total"], ["report"])
    assert edges(found) == {(f"draw@{one}", "result", "total") for one in (1, 2, 3)}
    draw = next(step for step in found["steps"].values() if step["step"] == "draw@2")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=done.root, capture_output=True, text=True).stdout.strip()
    assert draw["sources"]["raw"]["url"] == "data/raw.csv" and draw["params"] == {"month": 2} and draw["commit"] == commit and not draw["changed"]
    assert done.json("lineage", total[:10])["made_by"] == found["made_by"] == done.json("lineage", "last/total.result")["made_by"]
    text = done.mlops("lineage", str(copy))
    for words in ("made by total", "months <- result of draw@3", "source raw: data/raw.csv", f"commit {commit[:10]}", "parameters month=2, seed=0", "used by (as input total) report"):
        assert words in text, text


def test_on_from_data_and_from_code(done: Project):
    data = done.json("lineage", "data/raw.csv")
    assert (names(data, "made_by"), names(data, "used_by")) == ([], ["draw@1", "draw@2", "draw@3"]) and {one["kind"] for one in data["used_by"]} == {"source"}
    assert edges(data) >= {("draw@1", "result", "total"), ("total", "result", "report"), ("draw@1", "record", "report")}
    for code in ("helper.py", "notebooks/draw.ipynb"):
        found = done.json("lineage", code)
        assert names(found, "used_by") == ["draw@1", "draw@2", "draw@3"] and {one["kind"] for one in found["used_by"]} == {"code"}


def test_a_file_in_a_kept_folder_and_the_folder(done: Project, tmp_path: Path):
    (tmp_path / "one.txt").write_text("deep 2")
    found = done.json("lineage", str(tmp_path / "one.txt"))
    assert names(found, "made_by") == ["draw@2"] and found["made_by"][0]["file"] == "deep/one.txt" and found["made_by"][0]["out"] == "many"
    (tmp_path / "copy/deep").mkdir(parents=True)
    (tmp_path / "copy/deep/one.txt").write_text("deep 3")
    assert names(done.json("lineage", str(tmp_path / "copy")), "made_by") == ["draw@3"]


def test_what_nobody_knows_is_said_so(done: Project, tmp_path: Path):
    (tmp_path / "new.txt").write_text("new")
    assert "no record knows it. 5 records" in done.mlops("lineage", str(tmp_path / "new.txt"), code=2)
    assert "no record knows it" in done.mlops("lineage", "0123456789abcdef", code=2)
    assert "neither a file nor a digest" in done.mlops("lineage", "nothing", code=2)
    assert "did you mean 'total'" in done.mlops("lineage", "last/totl.result", code=2)
    assert "did you mean 'result'" in done.mlops("lineage", "last/total.reslt", code=2)
    assert done.json("lineage", "nothing", code=2)["exit"] == 2


def test_of_several_that_made_the_same_the_one_that_was_used(done: Project):
    done.edit("notebooks/total.ipynb", "6}", "7}")
    done.statuses("seed=1")  # other keys, the same content of draw
    found = done.json("lineage", "last/total.result")
    runs = {step["run"] for step in found["steps"].values()}
    assert len(runs) == 1 and edges(found) == {(f"draw@{one}", "result", "total") for one in (1, 2, 3)}


def test_a_graph_that_mermaid_can_read(done: Project):
    done.edit("conf/pipeline/demo.yaml", 'month: "{item}"', 'month: "{item}", text: "a\\"] --> x; `b` <i> #quot; end"')
    done.notebook("draw", "(result.parent / 'many').mkdir()\nresult.write_text(f'[{month}]')", parameters=PARAMETERS + '\nmonth: int = 0\ntext: str = ""\nraw: Path = Path("in/raw.csv")')
    done.statuses()
    graph = done.mlops("lineage", "last/report.result", "--mermaid").splitlines()
    assert graph[0] == "flowchart LR" and any("draw@1" in line for line in graph)
    box = r'"[\w .,/@:+*=()#;<>-]*"'
    for line in graph[1:]:
        assert re.fullmatch(rf'  (s\d+\[{box}\]|d\w+\[\({box}\)\]|target\{{\{{{box}\}}\}}|\w+ [-=]{{2}}>\|{box}\| \w+)', line), line
        assert "<" not in line.replace("<br>", "")
    book = json.dumps({"shown": trace_lineage(Store(done.root / ".mlops"), "last/report.result")._repr_markdown_()})
    assert "```mermaid" in book


@pytest.mark.parametrize("count", [1000, pytest.param(5000, marks=pytest.mark.long)])
def test_a_ledger_of_many_records(tmp_path: Path, count: int):
    store, last = Store(tmp_path / ".mlops"), None
    packages = {f"package package-{one}": f"{one}.0.{one} 0123456789abcdef" for one in range(60)}
    functions = {f"code module.py:function{one}": digest(b"%d" % one) for one in range(40)}
    for one in range(count):
        folder = put_bytes(store, encode_tree([(f"a{part}", digest(b"%d %d" % (one, part)), 3) for part in range(3)]), ".tree") if one % 5 == 0 else None
        outs = {"a": {"file": "a", "digest": digest(b"out%d" % one), "size": 1}} | ({"many": {"file": "many", "digest": folder, "size": 9}} if folder else {})
        path = store.root / "records" / f"{digest(b'k%d' % one)}.json"
        path.parent.mkdir(exist_ok=True)
        record = blank_record(f"s{one % 10}", key=path.stem, pipeline="p", run=f"r{one // 10}", started=f"{one:05}", ended=f"{one:05}", outs=outs)
        record["parts"] |= {"params": {"lr": 0.1}, "ins": {"a": ["in/a", last]} if one % 10 else {}}
        record["parts"]["observed"], record["parts"]["code"] = packages | functions, {"cells": list(functions.values()), "outs": {}}
        path.write_bytes(canonical_json(seal(record)))
        last = digest(b"out%d" % one)
    started = time.process_time()
    for record in (store.root / "records").iterdir():
        unseal(record.read_bytes())
    reading, started = time.process_time() - started, time.process_time()
    found = trace_lineage(store, last)
    assert time.process_time() - started < 20 * reading, "checking and joining the records is far from the cost of reading them (some 4 x)"
    assert len(found.steps) == 10 and found.records == count
    assert trace_lineage(store, digest(b"%d 1" % (count - 5))).made_by[0]["file"] == "a1"
    (store.root / "records" / "torn.json").write_text('{"key": ')
    (store.root / "records" / "other.json").write_text("[]")
    (store.root / "records" / "flipped.json").write_bytes(path.read_bytes().replace(b'"lr":0.1', b'"lr":0.2'))
    assert len(read_ledger(store).steps) == count
