"""W&B as a guest, with the real wandb-core: against a server on the loopback, and against none."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.wandb_backend import KEY, Backend

from mlops_kit.errors import MlopsError
from mlops_kit.tracking import wandb_client

PLAIN = """
import time, wandb
with wandb.init(config={"lr": 0.1}) as run:
    for i in range(3): run.log({"loss": 1.0 / (i + 1)})
"""
LOGGER = """
import os, sys, time
import lightning.pytorch, wandb
from mlops_kit import tracking
start = time.monotonic()
with tracking.logger({"lr": 0.1, "token": "CANARY"}) as log:
    started = time.monotonic()
    log.log_metrics({"loss": 0.5}, step=1)
    if len(sys.argv) > 2: input()
    ended = time.monotonic()
print(started - start, time.monotonic() - ended)
assert not open(f"/proc/self/task/{os.getpid()}/children").read(), "no process of wandb stays"
"""


@pytest.fixture
def server() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend
        backend.shutdown()


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> Path:
    """The folder of a run, with the config in it; this process has the outer environment of a runner."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name in ("home", "work", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    (tmp_path / "run/config.json").write_text(json.dumps({"pipeline": "flights"}))
    return tmp_path / "run"


def step(run: Path, mode: str, code: str, *args: str) -> subprocess.Popen:
    """A step in a process of its own, with a secret on its command line."""
    told = wandb_client.wandb_variables(mode, "flights", "r1", "train", run, run / "config.json")
    return subprocess.Popen([sys.executable, "-c", code, "db.password=CANARY", *args], env=os.environ | told, cwd=run.parent / "work",
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(run: Path, process: subprocess.Popen, tell: str = "") -> tuple[str, str]:
    """What a step printed; it has to end well, and to leave files only in its run."""
    out, err = process.communicate(tell, timeout=60)
    assert process.returncode == 0, err
    assert [*(run.parent / "home").iterdir(), *(run.parent / "work").iterdir()] == []
    files = [path for path in run.rglob("*") if path.is_file()]
    assert not [path for path in files if b"CANARY" in path.read_bytes() or KEY.encode() in path.read_bytes()]
    assert all(path.resolve().is_relative_to(run) for path in run.rglob("*"))
    assert {path.relative_to(run).parts[0] for path in files} <= {"config.json", "wandb"}
    return out, err


@pytest.mark.parametrize("code", [pytest.param(PLAIN, marks=pytest.mark.long), LOGGER])
def test_offline_stays_inside_the_run_and_is_sent_later(run: Path, server: Backend, monkeypatch, code: str):
    finish(run, step(run, "offline", code))
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    with pytest.raises(MlopsError, match="no API key"):
        wandb_client.sync_offline_run(wandb_client.find_unsynced(run)[0])
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    with pytest.raises(MlopsError, match="Unauthorized"):
        wandb_client.sync_offline_run(wandb_client.find_unsynced(run)[0])
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb_client.sync_offline_run(wandb_client.find_unsynced(run)[0])
    assert wandb_client.find_unsynced(run) == []
    assert server.streamed("wandb-summary.json")[-1]["loss"] == pytest.approx(1 / 3 if code == PLAIN else 0.5)
    assert "CANARY" not in "".join(server.bodies) and "r1" in "".join(server.bodies)
    assert list((run.parent / "home").iterdir()) == []


@pytest.mark.parametrize("code", [pytest.param(PLAIN, marks=pytest.mark.long), LOGGER])
def test_online_tells_the_server_and_nothing_secret(run: Path, server: Backend, monkeypatch, code: str):
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_client.resolve_mode("online") == ("online", "")
    finish(run, step(run, "online", code))
    assert server.streamed("wandb-summary.json")[-1]["loss"] == pytest.approx(1 / 3 if code == PLAIN else 0.5)
    told = "".join(server.bodies)
    assert "CANARY" not in told and socket.gethostname() not in told and "flights" in told


def test_disabled_writes_nothing_and_does_not_import_wandb(run: Path):
    code = ("import sys", "from mlops_kit import tracking", "with tracking.logger() as log: assert log is None",
            "assert 'wandb' not in sys.modules")
    finish(run, step(run, "disabled", "\n".join(code)))
    finish(run, step(run, "disabled", PLAIN))
    assert [path.name for path in run.iterdir()] == ["config.json"]


def test_a_server_that_never_answers_costs_five_seconds_at_most(run: Path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        start = time.monotonic()
        mode, notice = wandb_client.resolve_mode("online")
        assert mode == "offline" and "did not answer" in notice or "timed out" in notice
        assert time.monotonic() - start < 60
        out, err = finish(run, step(run, "online", LOGGER))
        assert err.count("W&B is offline for this step") == 1 and float(out.split()[0]) < 60
        assert len(wandb_client.find_unsynced(run)) == 1


@pytest.mark.long
def test_a_server_that_goes_away_in_between_costs_five_seconds_at_most(run: Path, server: Backend, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    process = step(run, "online", LOGGER, "wait")
    while not server.streamed("wandb-summary.json") and not any("UpsertBucket" in body for body in server.bodies):
        time.sleep(0.05)
    server.hang_up = True
    out, err = finish(run, process, "go on\n")
    assert float(out.split()[1]) < 60, "four seconds for the data, two for wandb's own telemetry"
    assert "did not take everything" in err


def test_a_run_that_the_notebook_began_is_used_and_left_open(run: Path):
    code = """
import wandb
from mlops_kit import tracking
with wandb.init() as run:
    with tracking.logger({"lr": 0.1}) as log: log.log_metrics({"loss": 0.5}, step=1)
    assert wandb.run is run and run.config["lr"] == 0.1
"""
    finish(run, step(run, "offline", code))
    assert len(wandb_client.find_unsynced(run)) == 1
