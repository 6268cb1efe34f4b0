"""A training that is killed at any optimiser step, and goes on, ends with the same bytes as one that was left alone (F45, F46, F49)."""
import hashlib
import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path

import pytest

# every kind of state that a training may have; each is a set of features of the net and its data below
KINDS = {
    "plain": {},
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
    "A net and loaders that draw and gather wherever one can"
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
        own = numpy.random.default_rng(3) if kind.get("own") else None
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


def train(folder: Path, kind: dict, partial: Path | None, die: int | None = None, how=None) -> None:
    "Train in `folder`, and die after so many batches of this attempt"
    import lightning.pytorch as L
    import torch

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
    os.environ |= {"MLOPS_PARTIAL": str(partial)} if partial else {}
    L.seed_everything(7, verbose=False)
    net, loaders, counts = parts(kind)
    options = {name: kind[name] for name in ("precision", "val_check_interval") if name in kind} | ({"accumulate_grad_batches": kind["accumulate"]} if "accumulate" in kind else {})
    callbacks = {"best": checkpoint(monitor="val_loss"), "stop": L.callbacks.EarlyStopping("val_loss", patience=5), "counts": counts, "dies": Dies()}
    fitted = fit(net, loaders, {"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, **options}, callbacks, seed=3)
    save_weights(net, Path("model.safetensors"))
    Path("history.json").write_text(json.dumps([fitted.metrics, fitted.history, fitted.epochs]))


def forked(function, *args) -> int:
    "Call a function in a fork of this process; how it ended"
    if (pid := os.fork()) == 0:
        try:
            sys.stdout = sys.stderr = open(os.devnull if "RESUME_LOUD" not in os.environ else "/dev/stderr", "w")
            function(*args)
            os._exit(0)
        except BaseException as error:
            (args[0].parent / f"{args[0].name}.error").write_text(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def digests(folder: Path) -> dict[str, str]:
    "What a training has left"
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    "What a training of each kind leaves that nobody has disturbed"
    import lightning.pytorch  # forks have it then
    import torch
    import torchmetrics.classification
    torch.set_num_threads(1)
    made = {}

    def of(kind: str) -> dict[str, str]:
        if kind not in made:
            folder = tmp_path_factory.mktemp("undisturbed") / kind
            assert forked(train, folder, KINDS[kind], None) == 0, (folder.parent / f"{kind}.error").read_text()
            made[kind] = digests(folder)
        return made[kind]

    return of


def killed(tmp_path, kind: str, deaths: list[int], monkeypatch) -> dict[str, str]:
    "What a training leaves that was killed after so many batches, again and again, each time in another folder"
    monkeypatch.setenv("MLOPS_SNAPSHOTS", "0")
    for number, die in enumerate([*deaths, None]):
        folder = tmp_path / f"attempt-{number}"
        code = forked(train, folder, KINDS[kind], tmp_path / "partial", die)
        error = folder.parent / f"{folder.name}.error"
        assert code == (-9 if die else 0), error.exists() and error.read_text()
    return digests(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_ends_with_the_same_bytes(tmp_path, undisturbed, monkeypatch, kind):
    deaths = random.Random(kind).sample(range(2, 9), 3)
    assert killed(tmp_path, kind, deaths, monkeypatch) == undisturbed(kind), deaths
