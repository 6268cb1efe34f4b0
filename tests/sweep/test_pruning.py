"""Trials that really train: the hopeless ones are stopped, the others are what they would be without a sweep, and no interruption changes a byte."""
import json
import os
import signal
import time

import pytest

NETS = """
import time
from pathlib import Path
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, TensorDataset

class Net(LightningModule):
    def __init__(self, lr, folder):
        super().__init__()
        self.lr, self.folder = lr, Path(folder)
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))
    def training_step(self, batch, index): return torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1])
    def validation_step(self, batch, index): self.log("val_loss", torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1]))
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), self.lr)
    def on_train_epoch_end(self):
        (self.folder / f"{self.lr:g}").open("a").write(f"{self.current_epoch}\\n")
        for one, epoch in (("hold", 3), ("hopeless", 5)):
            while self.current_epoch == epoch and self.lr < 1e-3 * (one == "hopeless") + (one == "hold") and (self.folder / one).exists():
                time.sleep(0.02)

def loaders():
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(points, points.sum(1, keepdim=True))
    return DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=40)
"""
PARAMETERS = """
from pathlib import Path
lr: float = 0.1
folder: str = ""
weights: Path = Path("out/model.safetensors")
metrics: Path = Path("out/metrics.json")
"""
TRAINS = """
fitted = fit(Net(lr, folder), loaders(), {"max_epochs": 8, "accelerator": "cpu"}, seed=3)
save_weights(fitted.model, weights)
metrics.write_text(json.dumps(fitted.metrics));
"""
SWEEP = """
defaults: [grid, _self_]
parallel: 1
pruner: {kind: median, n_startup_trials: 1, n_warmup_steps: 2}
metrics: {train.val_loss: minimize}
space: {pipeline.steps.train.params.lr: {choice: [5e-2, 1e-6, 1e-1, 1e-5]}}
"""
GOOD, HOPELESS = [5e-2, 1e-1], [1e-6, 1e-5]  # the second good one is better, so that no pruner minds it
WORDS = "sweep", "pipeline=demo", "sweep=rates", "threads=1", "executor.workers=1"
LR = "pipeline.steps.train.params.lr"


@pytest.fixture
def trained(project, tmp_path):
    "A project with one training step; the epochs of each trial are written to a folder, and a file there holds training up"
    project.epochs = tmp_path / "epochs"
    project.epochs.mkdir()
    (project.root / "nets.py").write_text(NETS)
    project.notebook("train", "import json\nfrom nets import Net, loaders\nfrom mlops_kit.training import fit, save_weights", TRAINS, parameters=PARAMETERS.strip())
    project.pipeline(f"train: {{notebook: notebooks/train.ipynb, params: {{folder: {project.epochs}}}, outs: {{weights: model.safetensors, metrics: metrics.json}}, metrics: metrics}}")
    (project.root / "conf/sweep").mkdir()
    (project.root / "conf/sweep/rates.yaml").write_text(SWEEP)
    project.seen = lambda lr: [int(line) for line in (project.epochs / f"{lr:g}").read_text().split()] if (project.epochs / f"{lr:g}").exists() else []
    return project


def outs_of(project, board: dict, store: str = ".mlops") -> dict:
    "The digests of all outputs, by the learning rate of a trial that ended"
    runs = {row["values"][LR]: project.root / store / "runs" / row["run"] / "run.json" for row in board["trials"] if row["status"] == "done"}
    return {lr: {name: out["digest"] if isinstance(out, dict) else out for name, out in json.loads(path.read_text())["steps"]["train"]["outs"].items()} for lr, path in runs.items()}


@pytest.mark.long
def test_hopeless_trials_are_pruned_and_the_others_are_as_without_a_sweep(trained):
    (trained.epochs / "hopeless").touch()  # the pruner has all the time it needs
    board = trained.json(*WORDS)
    assert {row["values"][LR]: row["status"] for row in board["trials"]} == dict.fromkeys(GOOD, "done") | dict.fromkeys(HOPELESS, "pruned")
    assert board["trials"][0]["best"] and [row["best"] for row in board["trials"]].count(True) == 1
    assert all(row["results"] == [None] for row in board["trials"] if row["status"] == "pruned")
    assert all(len(trained.seen(lr)) == 8 for lr in GOOD) and all(3 <= len(trained.seen(lr)) < 8 for lr in HOPELESS)
    assert "2 done, 2 pruned" in trained.mlops("sweep", board["sweep"])
    found = outs_of(trained, board)
    for lr in GOOD:
        alone = trained.json("run", "pipeline=demo", f"{LR}={lr}", "threads=1", "store=.alone")
        assert alone["steps"]["train"]["status"] == "ran" and alone["steps"]["train"]["outs"] == found[lr]
    assert trained.json(*WORDS)["ran"] == [], "what was pruned is over"


@pytest.mark.long
def test_a_sweep_interrupted_while_training_resumes_with_the_same_bytes(trained):
    trained.edit("conf/sweep/rates.yaml", "[5e-2, 1e-6, 1e-1, 1e-5]", "[5e-2, 1e-1]")
    whole = outs_of(trained, trained.json(*WORDS, "store=.whole"), ".whole")
    for path in trained.epochs.iterdir():
        path.unlink()
    (trained.epochs / "hold").touch()
    process = trained.start(*WORDS, "snapshots=0")
    while 3 not in trained.seen(GOOD[0]) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    (trained.epochs / "hold").unlink()
    assert process.returncode == 130
    assert trained.mlops("sweep", "demo-grid").count("interrupted") and os.listdir(trained.root / ".mlops/tmp") == []
    board = trained.json(*WORDS)
    assert outs_of(trained, board) == whole and {row["status"] for row in board["trials"]} == {"done"}
    assert trained.seen(GOOD[0]).count(0) == 1, "the training resumed where it stopped"
