"""What needs a process of its own: the same bytes in every process and folder, a safe config, no trace outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.forked import run_python
from helpers.project import ROOT

# a project with a model and data of its own, named by config
PROJECT = {
    "nets.py": """
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset

class Net(LightningModule):
    def __init__(self, hidden=16, lr=0.01, broken=False):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, hidden), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(hidden, 1))
    def training_step(self, batch):
        loss = torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1]) * (float("nan") if self.hparams.broken else 1)
        self.log("train_loss", loss)
        return loss
    def on_train_epoch_end(self): self.log("late", float(self.current_epoch))
    def validation_step(self, batch): self.log("val_loss", torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1]))
    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.hparams.lr)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}

class Noisy(TensorDataset):
    def __getitem__(self, i): return self.tensors[0][i] + 0.01 * torch.randn(2), self.tensors[1][i]

class Data(LightningDataModule):
    def __init__(self, workers=0):
        super().__init__()
        points = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
        self.set, self.workers = Noisy(points, points.prod(1, keepdim=True)), workers
    def train_dataloader(self): return DataLoader(self.set, batch_size=20, shuffle=True, num_workers=self.workers)
    def val_dataloader(self): return DataLoader(self.set, batch_size=200)
""",
    "fit.py": """
import json, sys
from pathlib import Path
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from mlops_kit import training
asked = json.loads(sys.argv[1])
with initialize_config_module("mlops_kit.conf", version_base="1.3"):
    config = OmegaConf.to_container(compose(overrides=["+trainer=cpu", "+callbacks=" + asked.get("callbacks", "default")]))
fitted = training.fit({"_target_": "nets.Net"} | asked.get("model", {}), {"_target_": "nets.Data"} | asked.get("data", {}),
                      config["trainer"] | {"max_epochs": 3} | asked.get("trainer", {}), config.get("callbacks"), seed=asked.get("seed", 0))
training.save_weights(fitted.model, Path("model.safetensors"))
Path("history.json").write_text(json.dumps([fitted.metrics, fitted.history]))
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder, with a home folder that must stay empty beside it."""
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "home").mkdir()
    for name, text in PROJECT.items():
        (root / name).write_text(text)
    return root


def python(project: Path, folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess:
    """Run Python in `folder`, as the runner would start a step of `project`: in a fork, if no variable must be there from the start."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "MLOPS"))}
    told = {"HOME": str(project.parent / "home"), "MLOPS_PROJECT": str(project), "PYTHONPATH": f"{project}:{ROOT}", "OMP_NUM_THREADS": "2",
            "MPLCONFIGDIR": str(project.parent / "matplotlib")}
    if not env and args[0] != "-m":
        return run_python(*args, cwd=folder, env=kept | told)
    return subprocess.run([sys.executable, *args], cwd=folder, env=kept | told | env, capture_output=True, text=True, timeout=120)


def fit(project: Path, folder: Path, asked: dict | None = None, **env: str) -> dict[str, bytes]:
    """Every file that a training leaves, by its path."""
    done = python(project, folder, str(project / "fit.py"), json.dumps(asked or {}), **env)
    assert done.returncode == 0, done.stderr
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_the_same_training_gives_the_same_bytes(project: Path, workers: int):
    asked = {"data": {"workers": workers}}
    first = fit(project, project / "a", asked, PYTHONHASHSEED="1")
    second = fit(project, project.parent / "quite/another/folder", asked, PYTHONHASHSEED="2")
    assert list(first) == ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "history.json", "model.safetensors"]
    assert [name for name in first if first[name] != second[name]] == []
    other = fit(project, project / "b", asked | {"seed": 1}, PYTHONHASHSEED="1")
    assert [name for name in first if first[name] == other[name]] == []
    assert list((project.parent / "home").iterdir()) == []


def test_metrics_of_every_epoch_are_kept_also_late_and_broken_ones(project: Path):
    best, history = json.loads(fit(project, project / "fine", {"callbacks": "none"})["history.json"])
    assert [row["epoch"] for row in history] == [row["late"] for row in history] == [0, 1, 2]
    assert best == history[-1], "without a callback that chooses, the last epoch counts"
    best, history = json.loads(fit(project, project / "broken", {"model": {"broken": True}})["history.json"])
    assert len(history) == 1 and best["val_loss"] != best["val_loss"], "stopped early, and the NaN is told"


def test_the_best_epoch_is_not_the_last_one(project: Path):
    files = fit(project, project / "a", {"model": {"lr": 30.0}, "trainer": {"max_epochs": 4}})
    best, history = json.loads(files["history.json"])
    assert best == min(history, key=lambda row: row["val_loss"]) != history[-1]
    assert files["checkpoints/best.ckpt"] != files["checkpoints/last.ckpt"]
    code = """
import torch
from safetensors.torch import load_file
best, last = [torch.load(f"checkpoints/{name}.ckpt", weights_only=True) for name in ("best", "last")]
weights = load_file("model.safetensors")
assert last["epoch"] == 3 and all(torch.equal(value, weights[name]) for name, value in best["state_dict"].items())
"""
    done = python(project, project / "a", "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_config_names_only_what_is_allowed(project: Path):
    installed = project / ".venv/lib/python3.11/site-packages"
    installed.mkdir(parents=True)
    (installed / "foreign.py").write_text("class Thing: pass\n")
    loud = "print('imported')", "import subprocess", "from foreign import Thing", "class Own: pass", "def make(): return Own()"
    (project / "loud.py").write_text("\n".join(loud))
    code = """
import sys
from mlops_kit.training import build
from mlops_kit.errors import ConfigError
for bad in ["foreign.Thing", "loud.Thing", "loud.subprocess.Popen", "json.dumps", "loud.missing"]:
    try:
        build({"_target_": "torch.nn.Sequential", "_args_": [{"_target_": bad}, {"_target_": "loud.Own"}]})
    except ConfigError as error:
        assert bad in str(error), error
    else:
        raise AssertionError(bad)
    if bad == "foreign.Thing":
        assert "loud" not in sys.modules and "foreign" not in sys.modules, "names are judged before anything is imported"
print(type(build({"_target_": "loud.Own"})).__name__, type(build({"_target_": "loud.make"})).__name__)
"""
    done = python(project, project, "-c", code, PYTHONPATH=f"{project}:{ROOT}:{installed}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "imported\nOwn Own\n"


@pytest.mark.long
def test_weights_and_biases_gets_the_history_and_leaves_nothing_behind(project: Path):
    run = project.parent / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"pipeline": "flights"}))
    from mlops_kit.tracking.wandb_client import wandb_variables
    told = wandb_variables("offline", "flights", "r1", "train", run, run / "config.json")
    tracked = fit(project, project / "a", **told)
    assert tracked == fit(project, project / "b", **wandb_variables("disabled", "flights", "r1", "train", run, run / "config.json"))
    [kept] = run.glob("wandb/offline-run-*")
    said = python(project, run, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(kept), **told)
    held = json.loads(said.stdout)
    assert held["state"] == "finished" and held["config"]["pipeline"] == "flights" and held["config"]["trainer"]["max_epochs"] == 3
    assert held["summary"]["val_loss"] == pytest.approx(json.loads(tracked["history.json"])[1][-1]["val_loss"])
    assert list((project.parent / "home").iterdir()) == []


def test_real_warnings_stay_and_noise_does_not(project: Path):
    code = """
import warnings, nets, torch
from mlops_kit import training
class Net(nets.Net):
    def on_train_start(self): warnings.warn("this one matters")
training.fit(Net(), nets.Data(), {"max_epochs": 1, "accelerator": "cpu"})
"""
    done = python(project, project, "-c", code)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "Warning" in line or "Tip" in line or "GPU" in line] == [
        line for line in done.stderr.splitlines() if "this one matters" in line and "Warning" in line]
    assert "this one matters" in done.stderr and done.stdout.startswith("epoch 1/1  late 0")
