"""A training run that is killed at any optimizer step and resumed ends with the same bytes as an undisturbed one (F45, F46, F49)."""
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from helpers.interrupted import in_order, wait_until

from mlops_kit.store import files

# every kind of state that a training run may have; each is a set of features of the network and its data below
KINDS = {
    "plain": {"mode": "max"},  # the first epoch is the best one
    "workers": {"workers": 2},
    "accumulating": {"accumulate": 3},
    "bf16": {"precision": "bf16-mixed"},
    "often": {"val_check_interval": 3, "workers": 2},
    "generators": {"own": True},
    "manual": {"manual": True},
    "stream": {"stream": True},
    "stream-workers": {"stream": True, "workers": 2},
}


def parts(kind: dict):
    "A network and loaders that draw random numbers and keep state wherever possible"
    import numpy
    import torch
    from lightning.pytorch import Callback, LightningModule
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset
    from torchmetrics import MeanMetric, MetricCollection
    from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, BinaryPrecision

    class Net(LightningModule):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.ReLU(), torch.nn.Linear(8, 1))
            self.auc, self.mean, self.more = BinaryAUROC(), MeanMetric(), MetricCollection([BinaryAccuracy(), BinaryPrecision()])
            self.losses, self.seen, self.automatic_optimization = [], 0, not kind.get("manual")
            self.register_buffer("average", torch.zeros(1), persistent=False)

        def loss(self, batch):
            found = self.layers(batch[0]).squeeze(1)
            return found, torch.nn.functional.binary_cross_entropy_with_logits(found, batch[1])

        def training_step(self, batch, index):
            found, loss = self.loss(batch)
            self.losses.append(float(loss))
            self.average, self.seen = 0.9 * self.average + 0.1 * loss.detach(), self.seen + len(found)
            self.mean.update(loss.detach())
            self.more.update(found.detach().float(), batch[1].int())
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            self.log("train_largest", loss, on_step=False, on_epoch=True, reduce_fx="max")
            self.log("train_mean", self.mean, on_step=False, on_epoch=True)
            self.log_dict(self.more, on_step=False, on_epoch=True)
            if index == 1:
                self.log("early", loss, on_step=False, on_epoch=True)
            if kind.get("manual"):
                optimizer = self.optimizers()
                self.manual_backward(loss)
                if index % 2:
                    optimizer.step()
                    optimizer.zero_grad()
                return None
            return loss

        def on_train_epoch_end(self):
            self.log("own", sum(self.losses) + float(self.average))
            self.losses.clear()

        def validation_step(self, batch, index):
            if self.trainer.global_step == 6 and "signal" in kind and not self.trainer.sanity_checking:
                os.kill(os.getpid(), kind["signal"])
            found, loss = self.loss(batch)
            self.auc.update(found.float(), batch[1].int())
            self.log("val_loss", loss)
            self.log("val_auc", self.auc)

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), 0.05)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    class Counts(Callback):
        def __init__(self): self.batches, self.best = 0, {"loss": 9.0}
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            self.batches += 1
            self.best["loss"] = min(self.best["loss"], module.losses[-1])
        def on_validation_end(self, trainer, module):
            if not trainer.sanity_checking:
                trainer.callback_metrics["batches"] = torch.tensor(self.batches + self.best["loss"])

    class Noisy(TensorDataset):
        def __init__(self, *tensors):
            super().__init__(*tensors)
            self.draw, self.count = numpy.random.default_rng(3) if kind.get("own") else numpy.random, 0
        def __getitem__(self, row):
            self.count += 1
            noise = torch.rand(()) + random.random() + (self.draw.random() if kind.get("own") else self.draw.rand()) + self.count / 1000
            return self.tensors[0][row] + 0.1 * noise, self.tensors[1][row]

    class Stream(IterableDataset):
        def __len__(self): return 24
        def __iter__(self):
            info = torch.utils.data.get_worker_info()
            for row in range(info.id if info else 0, 24, info.num_workers if info else 1):
                point = torch.rand(3)
                yield point, (point.sum() > 1.5).float()

    points = torch.rand(28, 3, generator=torch.Generator().manual_seed(0))
    data = Noisy(points, (points.sum(1) > 1.5).float())
    workers = kind.get("workers", 0)
    own = {"generator": torch.Generator().manual_seed(4)} if kind.get("own") else {}
    train = DataLoader(Stream(), batch_size=4, num_workers=workers) if kind.get("stream") else DataLoader(data, batch_size=4, shuffle=True, num_workers=workers, **own)
    return Net(), (train, DataLoader(data, batch_size=14)), Counts()


def train(folder: Path, kind: dict, partial: Path, die: int | None = None, how=None) -> None:
    "Train in `folder`, and die after so many batches of this attempt"
    import lightning.pytorch as L
    import torch

    from mlops_kit.ledger import HISTORY_FILE, read_history
    from mlops_kit.training import checkpoint, fit, save_weights

    class Dies(L.Callback):
        batches = 0
        def on_train_batch_end(self, trainer, *_):
            type(self).batches += 1
            if type(self).batches == die:
                (how or (lambda: os.kill(os.getpid(), signal.SIGKILL)))()

    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["MLOPS_PARTIAL"] = str(partial)
    (partial / HISTORY_FILE).unlink(missing_ok=True)  # as a step starts
    L.seed_everything(7, verbose=False)
    net, loaders, counts = parts(kind)
    options = {name: kind[name] for name in ("precision", "val_check_interval") if name in kind} | ({"accumulate_grad_batches": kind["accumulate"]} if "accumulate" in kind else {})
    callbacks = {"best": checkpoint(monitor="val_loss", mode=kind.get("mode", "min")), "stop": L.callbacks.EarlyStopping("val_loss", patience=5), "counts": counts, "dies": Dies()}
    fitted = fit(net, loaders, {"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, **options}, callbacks, seed=3)
    save_weights(net, Path("model.safetensors"))
    Path("history.json").write_text(json.dumps([fitted.metrics, fitted.history, fitted.epochs]))
    points = [{**point, "time": None} for point in read_history(partial / HISTORY_FILE)]
    Path("points.json").write_text(json.dumps(points))


def forked(function, *args) -> int:
    "The exit code of a function that is called in a fork of this process"
    if (pid := os.fork()) == 0:
        try:
            files._failpoint_numbers = itertools.count(1)  # failpoints count from here
            sys.stdout = sys.stderr = open(args[0].parent / f"{args[0].name}.said", "w", buffering=1)
            function(*args)
            os._exit(0)
        except BaseException as error:
            (args[0].parent / f"{args[0].name}.error").write_text(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def digests(folder: Path) -> dict[str, str]:
    "The digests of the files that a training run has left"
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    "The files that an undisturbed training run of each kind leaves"
    for name in ("hydra.utils", "lightning.pytorch", "s3fs", "torch", "torchmetrics.classification"):  # forks have them then
        with suppress(ImportError):
            import_module(name)
    made = {}

    def of(kind: str) -> dict[str, str]:
        if kind not in made:
            folder = tmp_path_factory.mktemp("undisturbed") / kind
            assert forked(train, folder, KINDS[kind], folder.with_name(f"{kind}-partial")) == 0, (folder.parent / f"{kind}.error").read_text()
            made[kind] = digests(folder)
        return made[kind]

    return of


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    "Train in a new folder with the same snapshots, one after each batch; the exit code and the folder"
    monkeypatch.setenv("MLOPS_SNAPSHOTS", "0")
    count = itertools.count()

    def one(kind: str, die: int | None = None, how=None) -> tuple[int, Path]:
        folder = tmp_path / f"attempt-{next(count)}"
        return forked(train, folder, KINDS[kind], tmp_path / "partial", die, how), folder

    return one


def error_of(folder: Path) -> str:
    "The error of an attempt"
    path = folder.parent / f"{folder.name}.error"
    return path.read_text() if path.exists() else ""


def ends_well(kind: str, attempt, undisturbed) -> Path:
    "Training is resumed to its end and leaves the same files as an undisturbed run"
    code, folder = attempt(kind)
    assert code == 0, error_of(folder)
    assert digests(folder) == undisturbed(kind)
    return folder


QUICK = {"plain", "workers", "accumulating", "manual"}


@pytest.mark.parametrize("kind, seed", [
    pytest.param(kind, seed, marks=[pytest.mark.long] * (seed > 0 or kind not in QUICK)) for kind in KINDS for seed in range(8)])
def test_a_killed_training_ends_with_the_same_bytes(attempt, undisturbed, kind, seed):
    done = [0, *sorted(random.Random(f"{kind} {seed}").sample(range(1, 17), 3))]  # batches before each kill; one more is lost
    for before, after in itertools.pairwise(done):
        code, folder = attempt(kind, after - before + 1)
        assert code == -signal.SIGKILL, error_of(folder)
    ends_well(kind, attempt, undisturbed)


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, "Preempted"), (signal.SIGINT, "KeyboardInterrupt")])
@pytest.mark.parametrize("validating", [pytest.param(False, marks=pytest.mark.long), True])
def test_training_that_is_asked_to_stop_saves_its_state(attempt, undisturbed, monkeypatch, number, error, validating):
    monkeypatch.setenv("MLOPS_SNAPSHOTS", "1000")
    kind = "asked in validation" if validating else "often"
    monkeypatch.setitem(KINDS, "asked in validation", KINDS["often"] | {"signal": number})
    code, folder = attempt(kind, None if validating else 5, lambda: os.kill(os.getpid(), number))
    steps = 6 if validating else 5
    said = f"{error}: training was interrupted after {steps} steps: its state was saved and it can be resumed"
    assert code == 1 and error_of(folder).startswith(said), error_of(folder)
    ends_well("often", attempt, undisturbed)


@pytest.mark.parametrize("change", [pytest.param(number, marks=[] if number in (9, 10, 14) else pytest.mark.long) for number in range(1, 40)])
def test_a_kill_while_a_snapshot_is_written(attempt, undisturbed, monkeypatch, change):
    monkeypatch.setenv("MLOPS_FAILPOINT", f"{change}:kill")
    code, folder = attempt("accumulating")
    assert code == -signal.SIGKILL, error_of(folder)
    monkeypatch.delenv("MLOPS_FAILPOINT")
    ends_well("accumulating", attempt, undisturbed)


@pytest.mark.parametrize("damage", [
    lambda raw, before: raw[:len(raw) // 2], lambda raw, before: raw[:len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4]) + raw[len(raw) // 2 + 1:],
    lambda raw, before: before], ids=["truncated", "flipped", "exchanged"])
def test_a_damaged_snapshot_is_skipped(attempt, undisturbed, damage, tmp_path):
    attempt("plain", 6)
    before, last = sorted((tmp_path / "partial").glob("fit-*/*.ckpt"))
    last.chmod(0o644)
    last.write_bytes(damage(last.read_bytes(), before.read_bytes()))
    folder = ends_well("plain", attempt, undisturbed)
    said = (folder.parent / f"{folder.name}.said").read_text()
    assert f"{last.name} is damaged" in said and "resumes after 4 steps" in said, said


def test_a_snapshot_of_another_training_run_is_not_used(attempt, undisturbed):
    attempt("plain", 6)
    folder = ends_well("accumulating", attempt, undisturbed)
    assert "resumes" not in (folder.parent / f"{folder.name}.said").read_text()


STEP = """
import json, os, random, time
import torch
from lightning.pytorch import Callback, LightningModule
from torch.utils.data import DataLoader, TensorDataset
from mlops_kit.training import checkpoint, fit, save_weights

class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    def training_step(self, batch):
        loss = self.layers(batch[0]).square().mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss
    def validation_step(self, batch):
        time.sleep(SLEEP_IN_VALIDATION)
        self.log("val_loss", self.layers(batch[0]).square().mean())
    def configure_optimizers(self): return torch.optim.Adam(self.parameters(), 0.01)

class Slow(Callback):
    def on_train_batch_end(self, trainer, *_):
        open(JOURNAL, "a").write(f"{trainer.global_step}\\n")
        time.sleep(SLEEP)

open(PIDS, "a").write(f"{os.getpid()}\\n")
points = TensorDataset(torch.rand(40, 2, generator=torch.Generator().manual_seed(0)))
fitted = fit(Net(), (DataLoader(points, batch_size=4, shuffle=True), DataLoader(points, batch_size=4)), {"max_epochs": 4, "accelerator": "cpu"}, {"best": checkpoint(monitor="val_loss"), "slow": Slow()})
save_weights(fitted.model, model)
history.write_text(json.dumps(fitted.history))
"""


@pytest.fixture
def slow(project, tmp_path):
    "A project whose training takes a while and journals its steps"
    project.journal = tmp_path / "journal"
    project.pids = tmp_path / "pids"
    project.journal.touch()

    def write(batch: float = 0.0, validation: float = 0.0) -> None:
        code = STEP.replace("SLEEP_IN_VALIDATION", str(validation)).replace("SLEEP", str(batch)).replace("JOURNAL", repr(str(project.journal))).replace("PIDS", repr(str(project.pids)))
        parameters = "from pathlib import Path\nmodel: Path = Path('out/model.safetensors')\nhistory: Path = Path('out/history.json')"
        project.notebook("train", code, parameters=parameters)
        project.pipeline("train: {notebook: notebooks/train.ipynb, outs: {model: model.safetensors, history: history.json}}")

    write(0.1)
    project.write = write
    return project


def outs_of(project) -> dict[str, str]:
    "The digests of the outputs of the last run"
    return project.json("show")["steps"]["train"]["outs"]


def asked(project, number: int, batches: int = 15) -> dict:
    "Start a run and send it a signal in the middle of an epoch; the step's status afterwards"
    process = project.start("run", "pipeline=demo", "threads=1", "tracking=disabled")
    wait_until(lambda: len(project.journal.read_text().split()) >= batches, 60)
    signalled = time.monotonic()
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, error
    assert time.monotonic() - signalled < 40
    return in_order(project)["steps"]["train"]


@pytest.mark.long
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, "preempted"), (signal.SIGINT, "interrupted")])
def test_a_run_that_is_stopped_resumes_where_it_stopped(slow, number, status):
    step = asked(slow, number)
    assert step["status"] == status
    done = len(slow.journal.read_text().split())
    said = slow.json("resume")
    assert said["steps"]["train"]["status"] == "ran"
    numbers = slow.journal.read_text().split()
    assert numbers == [str(step) for step in range(1, 41)], "no batch was trained twice"
    assert f"resumes after {done} steps" in (slow.root / ".mlops/runs" / said["run"] / "train.log").read_text()
    assert not list((slow.root / ".mlops/partial").iterdir())
    interrupted = outs_of(slow)
    shutil.rmtree(slow.root / ".mlops")
    slow.mlops("run", "pipeline=demo", "threads=1", "tracking=disabled")
    assert outs_of(slow) == interrupted


@pytest.mark.long
def test_only_the_process_of_a_step_is_asked_to_stop(slow):
    process = slow.start("run", "pipeline=demo", "threads=1", "tracking=disabled")
    wait_until(lambda: len(slow.journal.read_text().split()) >= 15, 60)
    [child] = [int(pid) for pid in slow.pids.read_text().split()]
    os.kill(child, signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM, error
    assert in_order(slow)["steps"]["train"]["status"] == "preempted"
    assert slow.statuses("threads=1", "tracking=disabled") == {"train": "ran"}
    assert slow.journal.read_text().split() == [str(step) for step in range(1, 41)]
