"""The digits pipelines: another example on the same kit, and learning from rows that stay where they are, as the records show it."""
import json
from collections import defaultdict

import pytest

from helpers.project import Project
from mlops_kit.store.objects import Store, tree_entries

STEPS = ["ingest", "split", "train", "evaluate", "export", "report"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    "A copy of this repository's project in which the smoke experiment has run"
    project = Project.of_repository(tmp_path_factory.mktemp("digits") / "project")
    project.run = project.json("run", "pipeline=digits", "experiment=digits_smoke")
    return project


@pytest.fixture(scope="module")
def federated(digits):
    "The same, after the federated one"
    digits.federated = digits.json("run", "pipeline=digits_federated", "experiment=federated_smoke")
    return digits


def page_of(project: Project, run: dict) -> str:
    "The report of a run"
    return (project.root / ".mlops/runs" / run["run"] / "out/report/report.html").read_text()


def records_of(project: Project, run: dict) -> dict[str, dict]:
    "The record of every step of a run"
    return {name: json.loads((project.root / f".mlops/records/{step['key']}.json").read_text()) for name, step in run["steps"].items()}


def test_every_step_runs_once(digits):
    assert {name: step["status"] for name, step in digits.run["steps"].items()} == dict.fromkeys(STEPS, "ran")
    again = digits.json("run", "pipeline=digits", "experiment=digits_smoke")
    assert {step["status"] for step in again["steps"].values()} == {"hit"}
    assert again["metrics"] == digits.run["metrics"]
    assert digits.run["metrics"]["evaluate"]["accuracy"] > 0.3, "hardly better than guessing"


@pytest.mark.long
def test_pipelines_share_what_they_have_in_common(federated):
    assert {name: federated.federated["steps"][name]["status"] for name in ("ingest", "split")} == {"ingest": "hit", "split": "hit"}


def test_nobody_sees_the_test_images_before_they_are_judged_on(digits):
    records = records_of(digits, digits.run)
    test = records["split"]["outs"]["test"]["digest"]
    assert [name for name, one in records.items() if test in (digest for _, digest in one["parts"]["ins"].values())] == ["evaluate", "export", "report"]


def check_report(project: Project, run: dict) -> None:
    "The report of a run stands alone, and names all steps"
    page = page_of(project, run)
    assert page.lower().startswith("<!doctype html>") and str(project.root) not in page
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")
    missing = [name for name, step in run["steps"].items() if name != "report" and step["key"][:12] not in page]
    assert missing == [], "the report does not say where these came from"


def test_the_report_is_whole(digits):
    check_report(digits, digits.run)


@pytest.mark.long
def test_the_report_of_the_federated_run_is_whole(federated):
    check_report(federated, federated.federated)


def test_a_small_network_is_as_good_and_smaller(digits):
    found = digits.run["metrics"]["export"]
    assert found["bytes_int8"] < found["bytes_onnx"] / 2 and abs(found["accuracy_int8"] - found["accuracy_onnx"]) < 0.05
    assert found["accuracy_onnx"] == digits.run["metrics"]["evaluate"]["accuracy"]


@pytest.mark.long
def test_a_proof_forgives_the_latency_and_nothing_else(digits):
    verdict = digits.json("verify", digits.run["run"], "export")["steps"]["export"]
    assert verdict["status"] in ("near", "identical")
    assert {one["where"] for found in verdict["outs"].values() for one in found} <= {"latency_ms_onnx", "latency_ms_int8"}


@pytest.mark.long
def test_no_row_leaves_its_client(federated):
    "Rows and whatever holds them are given to steps of the same client only; a mean is given weights and counts"
    records, store, given = records_of(federated, federated.federated), Store(federated.root / ".mlops"), defaultdict(set)
    for name, record in records.items():
        for _, digest in record["parts"]["ins"].values():
            for one in [digest, *(inner for _, inner, _ in (tree_entries(store, digest) if digest.endswith(".tree") else ()))]:
                given[one].add(name)
    clients = {name.partition("@")[2]: record for name, record in records.items() if name.startswith("deal@")}
    assert set(clients) == {"north", "south"}
    for client, record in clients.items():
        for out in record["outs"].values():
            assert given[out["digest"]] == {f"local@1@{client}", f"local@2@{client}", f"alone@{client}"}
    learned = {record["outs"]["learned"]["digest"] for name, record in records.items() if name.startswith("local@2@")}
    assert all("join@2" in given[one] for one in learned), "the trees were not looked into"
    for name in ("join@1", "join@2"):
        assert set(records[name]["parts"]["ins"]) == {"learned", "counts"} and not records[name]["sources"]


@pytest.mark.long
def test_the_lineage_of_the_common_network_names_every_round(federated):
    weights = federated.federated["steps"]["join@2"]["outs"]["weights"]
    told = json.dumps(federated.json("lineage", weights))
    missing = [name for name in ("start", "join@1", *(f"local@{number}@{client}" for number in (1, 2) for client in ("north", "south"))) if f'"{name}"' not in told]
    assert missing == []


@pytest.mark.long
def test_it_reads_digits(tmp_path):
    project = Project.of_repository(tmp_path / "project")
    run = project.json("run", "pipeline=digits")
    assert run["metrics"]["evaluate"]["accuracy"] >= 0.97
    assert run["metrics"]["export"]["accuracy_int8"] >= 0.965
    together = project.json("run", "pipeline=digits_federated")["metrics"]["compare"]
    alone = [value for name, value in together.items() if name.startswith("accuracy_alone_")]
    assert max(alone) < together["accuracy"] < together["accuracy_central"]
