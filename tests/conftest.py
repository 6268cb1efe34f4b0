"""One small project for each test, and the command line as a user calls it."""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest
from helpers.project import Project

pytest_plugins = ["helpers.s3"]


# the files that take longest, so that none of them is what all others wait for at the end (pytest --durations)
SLOWEST = (
    "test_resume", "test_fidelity", "test_runner", "test_sweep", "test_secrets", "test_executors", "test_identity",
    "test_training", "test_store", "test_keys", "test_remote", "test_why", "test_ranks", "test_proof", "test_sync", "test_tracking",
    "test_damage", "test_jupyter", "test_flights", "test_faces", "test_wheel", "test_together", "test_digits",
)


# of their parametrized tests, each day another part runs; `make test-long` runs the rest
IN_TURN = {
    "test_fidelity": 4, "test_secrets": 3, "test_keys": 2, "test_jupyter": 3, "test_remote": 3, "test_observed": 2, "test_variables": 2, "test_settings": 3,
    "test_store": 2, "test_damage": 2, "test_executors": 2, "test_sweep": 2, "test_tracking": 2, "test_sync": 2, "test_runner": 2, "test_observed_processes": 2,
}


def leave_out_today(items: list) -> None:
    "Mark those as long whose turn it is another day"
    groups = defaultdict(list)
    for item in items:
        if item.path.stem in IN_TURN and hasattr(item, "callspec"):
            groups[item.path, item.originalname].append(item)
    day = int(os.environ.get("TEST_DAY", time.localtime().tm_yday))
    for (path, _), group in groups.items():
        every = min(IN_TURN[path.stem], len(group))
        for number, item in enumerate(group):
            if number % every != day % every:
                item.add_marker(pytest.mark.long)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    "The slowest files first, the others as they come"
    leave_out_today(items)
    items.sort(key=lambda item: SLOWEST.index(item.path.stem) if item.path.stem in SLOWEST else len(SLOWEST))


@pytest.fixture(scope="session", autouse=True)
def warm_parents():
    "The fork servers of the tests are theirs alone, and end with them"
    folder = tempfile.mkdtemp(prefix="mlops-test-")
    os.environ["MLOPS_RUNTIME_DIR"] = folder
    yield
    subprocess.run([Path(sys.executable).with_name("mlops"), "engine", "stop"], capture_output=True, timeout=60)
    shutil.rmtree(folder)


@pytest.fixture
def project(tmp_path):
    "An empty project with the fixture notebooks in notebooks/"
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def subjects(tmp_path_factory):
    "Two pipelines of six steps, for two cores, and what an undisturbed run tells"
    from helpers.subject import Subject, outs

    made = [Subject(tmp_path_factory.mktemp("six")) for _ in range(2)]
    whole = made[0].run()
    for one in made:
        one.wanted, one.changes = outs(whole), whole["changes"]
    yield made
    for one in made:
        one.mlops.close()


@pytest.fixture
def subject(subjects):
    "One of them, as if nothing had ever run"
    subjects[0].reset()
    return subjects[0]
