"""A sweep of 20 trials with two shared steps in front of them, on two cores.

  mlops run -m    all combinations: wall time against the training time of the trials alone, shared by two cores
  mlops sweep     the same number of trials, chosen by Optuna's TPE
  Hydra           its basic launcher on the same code as one plain script, which does everything in each trial

The training is that of a small network on the 1,797 digits that come with scikit-learn. `--pipeline NAME --train STEP` takes a pipeline
of this repository instead, and leaves Hydra out. Steps have one thread each; the plain script has both cores. Of ours, the
first starts with nothing warm.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from peers import BIN, CORES, Row, call, command_line, show, write_notebook, write_pipeline

ROOT = Path(__file__).parents[2]
INGEST = "from sklearn.datasets import load_digits\nimport numpy as np\ndigits = load_digits()\nnp.savez(raw, x=digits.data, y=digits.target)"
FEATURES = "import numpy as np\nloaded = np.load(raw)\norder = np.random.default_rng(0).permutation(len(loaded['y']))\nnp.savez(features, x=(loaded['x'][order] / 16).astype('float32'), y=loaded['y'][order])"
TRAIN = """import json
import numpy as np
import torch
torch.manual_seed(0)
loaded = np.load(features)
x, y = torch.from_numpy(loaded["x"]).reshape(-1, 1, 8, 8), torch.from_numpy(loaded["y"])
net = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2048, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
for epoch in range(epochs):
    for batch in torch.randperm(1400).split(32):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
with torch.no_grad():
    loss = torch.nn.functional.cross_entropy(net(x[1400:]), y[1400:]).item()
Path(metrics).write_text(json.dumps({"val_loss": loss}))"""
PLAIN = f"""import sys
from pathlib import Path
from time import perf_counter
import hydra
raw, features, metrics = "raw.npz", "features.npz", "metrics.json"
@hydra.main(version_base=None, config_path="conf", config_name="plain")
def main(config):
    lr, momentum, epochs = config.lr, config.momentum, config.epochs
{chr(10).join("    " + line for part in (INGEST, FEATURES) for line in part.splitlines())}
    begun = perf_counter()
{chr(10).join("    " + line for line in TRAIN.splitlines())}
    print("trained", perf_counter() - begun)
main()
"""
RATES, MOMENTA = "0.001,0.003,0.01,0.03,0.1", "0.0,0.3,0.6,0.9"  # 20 combinations


def write_project(folder: Path, epochs: int) -> Path:
    """The digits as a pipeline, and as a plain script."""
    path = "from pathlib import Path\n"
    folder.mkdir()
    write_notebook(folder / "ingest.ipynb", path + 'raw: Path = Path("out/raw.npz")', INGEST)
    write_notebook(folder / "features.ipynb", path + 'raw: Path = Path("in/raw.npz")\nfeatures: Path = Path("out/features.npz")', FEATURES)
    knobs = f"lr: float = 0.01\nmomentum: float = 0.0\nepochs: int = {epochs}\n"
    write_notebook(folder / "train.ipynb", path + knobs + 'features: Path = Path("in/features.npz")\nmetrics: Path = Path("out/metrics.json")', TRAIN)
    steps = {
        "ingest": {"notebook": "ingest.ipynb", "outs": {"raw": "raw.npz"}},
        "features": {"notebook": "features.ipynb", "ins": {"raw": "ingest.raw"}, "outs": {"features": "features.npz"}},
        "train": {"notebook": "train.ipynb", "ins": {"features": "features.features"}, "outs": {"metrics": "metrics.json"}, "metrics": "metrics"},
    }
    write_pipeline(folder, steps)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "conf/plain.yaml").write_text(f"lr: 0.01\nmomentum: 0.0\nepochs: {epochs}\n")
    return folder


def sweep(what: str, folder: Path, train: str, *words: str) -> Row:
    """How much longer a sweep takes than its trainings, when nothing is warm and nothing is there."""
    shutil.rmtree(folder / ".mlops", ignore_errors=True)
    seconds = call(BIN / "mlops", *words, cwd=folder)
    records = [json.loads(path.read_text()) for path in (folder / ".mlops/records").glob("*.json")]
    trained = [sum(cell["seconds"] for cell in one["cells"]) for one in records if one["step"] == train]
    shared = len(records) - len(trained)
    return Row(f"{what}, {len(trained)} trainings, {shared} shared steps ran once", seconds / (sum(trained) / CORES), "x", "<= 1.15", {"wall": seconds, "trainings / 2": sum(trained) / CORES})


def hydra(folder: Path, *words: str) -> Row:
    """The same by Hydra's basic launcher: one trial after the other, in one process."""
    begun = perf_counter()
    told = subprocess.run([sys.executable, "plain.py", "-m", *words, "hydra.sweep.dir=swept"], cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": str(CORES)})
    seconds, trained = perf_counter() - begun, [float(line.split()[1]) for line in told.stdout.splitlines() if line.startswith("trained ")]
    return Row(f"Hydra's basic launcher, plain script, {len(trained)} trainings, both cores each", seconds / (sum(trained) / CORES), "x", "", {"wall": seconds, "trainings / 2": sum(trained) / CORES})


def measure(folder: Path, quick: bool, pipeline: str | None, train: str) -> Iterator[Row]:
    """Our two ways, and Hydra."""
    own = pipeline is None
    project = write_project(folder / "project", 1 if quick else 20) if own else folder / "project"
    if not own:
        for name in ("mlops_kit", "conf", "nbs/steps"):
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    rates = RATES.partition(",0.03")[0] if quick else RATES
    lr, momentum = f"pipeline.steps.{train}.params.lr", f"pipeline.steps.{train}.params.momentum"
    values = [f"{lr}={rates}"] + [f"{momentum}={MOMENTA}" if own else f"pipeline.steps.{train}.params.seed=0,1,2,3"]
    name = pipeline or "bench"
    yield sweep("mlops run -m, cold", project, train, "run", "-m", f"pipeline={name}", "threads=1", *values, "--until", train)
    if own:
        (project / "conf/sweep").mkdir()
        space = {lr: {"low": 0.001, "high": 0.1, "log": True}, momentum: {"low": 0.0, "high": 0.9}}
        (project / "conf/sweep/digits.yaml").write_text(json.dumps({"defaults": ["tpe", "_self_"], "trials": 4 if quick else 20, "metrics": {"train.val_loss": "minimize"}, "space": space}))
        yield sweep("mlops sweep, TPE", project, train, "sweep", f"pipeline={name}", "sweep=digits")
        yield hydra(project, f"lr={rates}", f"momentum={MOMENTA}")


def main() -> None:
    """Measure, and print."""
    parser = command_line(__doc__)
    parser.add_argument("--pipeline", help="one of this repository, with a parameter lr")
    parser.add_argument("--train", default="train", help="the step that is trained (train)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ |= {"MLOPS_RUNTIME_DIR": folder}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            show(measure(Path(folder), args.quick, args.pipeline, args.train), args.json)
        finally:
            subprocess.run([BIN / "mlops", "engine", "stop"], capture_output=True)


if __name__ == "__main__":
    main()
