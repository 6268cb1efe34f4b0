"""The flights pipeline on real data, small: it runs, what it computes does not depend on the way it is started, and it is never stale."""
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.project import Project
from mlops_kit.store.objects import digest_path

STEPS = ["ingest", "features", "train", "evaluate", "report"]
FEATURE_EDIT = ("(arrival - minute) % 1440", "(arrival - minute) % 1441", "add_schedule")
OUTS = {"weights": "model.safetensors", "metrics": "metrics.json", "history": "history.json", "checkpoints": "checkpoints"}


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    "A copy of this repository's project in which the smoke experiment has run"
    project = Project.of_repository(tmp_path_factory.mktemp("flights") / "project")
    project.run = project.json("run", "experiment=smoke")
    return project


def actions(project) -> dict[str, str]:
    "What the plan says now"
    return {name: one["action"] for name, one in project.json("plan", "experiment=smoke").items()}


def train_outs(project) -> dict[str, str]:
    "The digests of what the train step made"
    return project.run["steps"]["train"]["outs"]


def test_every_step_runs_once(flights):
    assert {name: step["status"] for name, step in flights.run["steps"].items()} == dict.fromkeys(STEPS, "ran")
    again = flights.json("run", "experiment=smoke")
    assert {step["status"] for step in again["steps"].values()} == {"hit"}
    assert again["metrics"] == flights.run["metrics"]


def test_the_report_is_whole(flights):
    page = (flights.root / ".mlops/runs" / flights.run["run"] / "out/report/report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "") and str(flights.root) not in page
    for key in ("ingest", "features", "train", "evaluate"):
        assert flights.run["steps"][key]["key"][:8] in page, f"the report does not say where {key} came from"


def test_the_course_of_the_training_is_in_the_ledger(flights):
    points = flights.json("show", flights.run["run"], "train", "--history")
    assert [one["epoch"] for one in points if "val_auc" in one["metrics"]] == [0, 1]
    assert not (flights.root / ".mlops/runs" / flights.run["run"] / "wandb").exists(), "W&B is told by mlops sync"


def test_one_literal_in_a_function(flights):
    "A function of features only: ingest stays, features runs. A function that no step uses: nothing runs, unless code that lists names is part of the project, as the kit itself is here, which train uses."
    module = flights.root / "mlops_kit/examples/flights/data.py"
    before = module.read_text()
    try:
        module.write_text(before + "\n\ndef nobody_uses_this():\n    return 1\n")
        assert [actions(flights)[name] for name in ("ingest", "features")] == ["hit", "hit"]
        old, new, function = FEATURE_EDIT
        assert before.count(old) == 1
        module.write_text(before.replace(old, new))
        plan = flights.json("plan", "experiment=smoke")
        assert (plan["ingest"]["action"], plan["features"]["action"], plan["train"]["action"]) == ("hit", "run", "wait")
        assert f"mlops_kit.examples.flights.data.{function} (mlops_kit/examples/flights/data.py) changed" in plan["features"]["reason"]
    finally:
        module.write_text(before)


def test_cells_that_do_not_matter(flights):
    for path in (flights.root / "nbs/steps").glob("*.ipynb"):
        content = json.loads(path.read_text())
        content["cells"].insert(0, {"cell_type": "markdown", "id": "new", "metadata": {}, "source": "# A new heading"})
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                cell["source"] = "".join(cell["source"]) + "\n# a comment"
        path.write_text(json.dumps(content))
    assert set(actions(flights).values()) == {"hit"}


def test_plain_papermill_gives_the_same(flights, tmp_path):
    flights.mlops("show", flights.run["run"], "train", "--folder", str(tmp_path / "train"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS", "WANDB"))} | {"PYTHONPATH": str(flights.root), "OMP_NUM_THREADS": "1"}  # as in conf/config.yaml
    command = [Path(sys.executable).with_name("papermill"), "notebook.ipynb", "executed.ipynb", "-f", "parameters.yaml"]
    subprocess.run(command, cwd=tmp_path / "train", env=environment, check=True, capture_output=True)
    assert {name: digest_path(tmp_path / "train/out" / file) for name, file in OUTS.items()} == train_outs(flights)


def test_jupyter_gives_the_same(flights):
    notebook = nbformat.read(flights.root / "nbs/steps/flights/train.ipynb", 4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%load_ext mlops_kit\n%mlops step train experiment=smoke"))
    NotebookClient(notebook, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(flights.root / "nbs/steps")}}).execute()
    folder = flights.root / ".mlops/tmp/lab/flights.train/out"
    assert {name: digest_path(folder / file) for name, file in OUTS.items()} == train_outs(flights)


@pytest.mark.long
def test_the_library_gives_the_same(flights, tmp_path):
    code = "import json, mlops_kit; run = mlops_kit.run('flights', ['experiment=smoke', 'store=other'], until=['train']); print(json.dumps(run.steps['train']['outs']))"
    environment = os.environ | {"PYTHONPATH": str(flights.root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=flights.root, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == train_outs(flights)
