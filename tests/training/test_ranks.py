"""Several processes from a notebook: their results and errors come back, and none of them is left behind."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from urllib.request import Request, urlopen
from uuid import uuid4

import psutil
import pytest

PATHS = 'from pathlib import Path\nmetrics: Path = Path("out/metrics.json")\n'
TRAIN = PATHS + 'weights: Path = Path("out/model.safetensors")\nhistory: Path = Path("out/history.json")\nkept: Path = Path("out/checkpoints")\n' + "model: dict = {}\ntrainer: dict = {}\ncallbacks: dict = {}"
NETS = """
from pathlib import Path
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset

class Net(LightningModule):
    def __init__(self, hidden=8, broken=False):
        super().__init__()
        self.broken, self.layers = broken, torch.nn.Sequential(torch.nn.Linear(2, hidden), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(hidden, 1))
    def forward(self, points): return self.layers(points)
    def training_step(self, batch, index):
        if self.broken and self.global_rank == 1 and index == 2:
            raise ValueError("a bad batch")
        loss = torch.nn.functional.mse_loss(self(batch[0]), batch[1])
        self.log("train_loss", loss, sync_dist=True)
        return loss
    def validation_step(self, batch, index): self.log("val_loss", torch.nn.functional.mse_loss(self(batch[0]), batch[1]), sync_dist=True)
    def configure_optimizers(self): return torch.optim.Adam(self.parameters(), 0.01)

class Data(LightningDataModule):
    def loader(self, **options):
        points = torch.rand(int((Path(__file__).parent / "rows.txt").read_text()), 2, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(points, points.prod(1, keepdim=True)), batch_size=20, **options)
    def train_dataloader(self): return self.loader(shuffle=True)
    def val_dataloader(self): return self.loader()
"""
WORK = """
import os, signal, time
from pathlib import Path
from torch import distributed, ones
from torch.utils.data import DataLoader, Dataset

class Numbers(Dataset):
    def __len__(self): return 10
    def __getitem__(self, index):
        if index == 5:
            time.sleep(10_000)
        return index

def work(seconds):
    "Use the processor that long"
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def wait(how, marks):
    "Add up for ever; rank 1 does something to itself in between"
    rank = distributed.get_rank()
    Path(marks, f"{rank}.pid").write_text(str(os.getpid()))
    for number in range(100_000):
        distributed.all_reduce(ones(1))
        if number == 20 and rank == 1 and how == "raise":
            raise ValueError("a bad batch")
        if number == 20 and rank == 1 and how == "spin":
            work(8)
        if number == 25 and rank == 0 and how == "spin":
            going = distributed.all_reduce(ones(1), async_op=True)
            while not going.is_completed():
                pass
        if number == 25 and rank == 1 and how == "spin":
            time.sleep(10_000)
        if number == 20 and rank == 1 and how == "loader":
            list(DataLoader(Numbers(), num_workers=2))
        if number == 20 and rank == 1 and how in ("kill", "stop", "sleep"):
            {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP), "sleep": lambda: time.sleep(10_000)}[how]()
        if rank == 0:
            print("round", number, flush=True)
        time.sleep(0.05)

if __name__ == "__main__":
    from mlops_kit.training.torchrun import run_rank
    run_rank(wait)
"""
FIT = """
import json
from mlops_kit.training import fit, save_weights
fitted = fit({"_target_": "nets.Net"} | model, {"_target_": "nets.Data"}, trainer | {"max_epochs": 2}, callbacks, checkpoints=Path("out/checkpoints"))
"""
KEEP = 'metrics.write_text(json.dumps(fitted.metrics)); save_weights(fitted.model, Path("out/model.safetensors")); Path("out/history.json").write_text(json.dumps(fitted.history)); fitted'


def training_pipeline(project, **params) -> None:
    """A pipeline of one step that trains in two processes."""
    (project.root / "nets.py").write_text(NETS)
    (project.root / "rows.txt").write_text("200")
    project.notebook("train", FIT, KEEP, parameters=TRAIN)
    told = {"trainer": "${trainer}", "callbacks": "${callbacks}"} | params
    project.pipeline(f"""
train:
  notebook: notebooks/train.ipynb
  params: {json.dumps(told)}
  outs: {{metrics: metrics.json, weights: model.safetensors, history: history.json, kept: checkpoints}}
  metrics: metrics
""")


def waiting(project, how: str, **more: float) -> None:
    """A pipeline of one step whose two ranks wait for each other for ever."""
    (project.root / "work.py").write_text(WORK)
    cell = f'from mlops_kit.training import launch\nlaunch("work", {{"how": {how!r}, "marks": {str(project.root)!r}}}, 2, **{ {"patience": 60} | more})'
    project.notebook("wait", cell, parameters=PATHS)
    project.pipeline("wait: {notebook: notebooks/wait.ipynb, outs: {metrics: metrics.json}}")


def outputs(project, run: str, step: str) -> str:
    """What the executed notebook of a step shows."""
    cells = json.loads((project.root / f".mlops/runs/{run}/{step}.ipynb").read_text())["cells"]
    shown = [out for cell in cells for out in cell.get("outputs", [])]
    return "\n".join("".join(out.get("text", out.get("traceback", ""))) for out in shown)


def family(project) -> list[int]:
    """The live processes of torchrun and of the ranks of this project."""
    pids = []
    for process in psutil.process_iter():
        try:
            is_rank = any("/ranks-" in word for word in process.cmdline())
            is_ours = any(str(project.root) in value for value in process.environ().values())
            if is_rank and is_ours and process.status() != psutil.STATUS_ZOMBIE:
                pids.append(process.pid)
        except psutil.Error:
            pass
    return pids


@pytest.fixture(autouse=True)
def no_rank_is_left(project):
    """Even a failing test leaves no rank behind."""
    yield
    for pid in family(project):
        os.kill(pid, signal.SIGKILL)


def until(condition, seconds: float = 60) -> None:
    """Wait until a condition holds."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it took too long"
        time.sleep(0.1)


@pytest.mark.long
def test_two_processes_give_the_same_bytes_each_time_and_one_record(project):
    training_pipeline(project)
    done = project.json("run", "pipeline=demo", "trainer=ddp_sim")
    assert done["status"] == "done" and set(done["metrics"]["train"]) == {"epoch", "train_loss", "val_loss"}, done
    assert [line.split()[1] for line in outputs(project, done["run"], "train").splitlines() if line.startswith("epoch")] == ["1/2", "2/2"]
    points = project.json("show", done["run"], "train", "--history")
    assert [point["epoch"] for point in points if "val_loss" in point["metrics"]] == [0, 1], "one of the ranks writes the history"
    assert len(project.records()) == 1 and family(project) == []
    assert "rows.txt" in str(json.loads(project.records()[0].read_text())["parts"]["observed"]), "what a rank reads is audited as well"
    assert project.json("verify")["steps"]["train"]["status"] == "identical"


@pytest.mark.long
def test_an_error_in_a_rank_fails_the_cell_with_its_name_and_trace(project):
    waiting(project, "raise")
    done = project.json("run", "pipeline=demo", code=1)
    assert "rank 1 of 2: ValueError: a bad batch" in done["steps"]["wait"]["error"]
    shown = outputs(project, done["run"], "wait")
    assert "work.py" in shown and 'raise ValueError("a bad batch")' in shown
    assert family(project) == []


@pytest.mark.long
def test_an_error_in_training_says_where(project):
    training_pipeline(project, model={"broken": True})
    done = project.json("run", "pipeline=demo", "trainer=ddp_sim", code=1)
    assert "rank 1 of 2: ValueError: a bad batch" in done["steps"]["train"]["error"]
    assert "in training_step" in outputs(project, done["run"], "train") and family(project) == []


def test_a_killed_rank_ends_the_step_and_leaves_nothing(project):
    waiting(project, "kill")
    done = project.json("run", "pipeline=demo", code=1)
    assert "rank 1 of 2: its process was killed by SIGKILL" in done["steps"]["wait"]["error"]
    assert "round 20" in outputs(project, done["run"], "wait"), "what rank 0 had printed is in the cell"
    assert family(project) == []


def python(project, code: str, **environment: str) -> subprocess.Popen:
    """Start Python in a project, as a notebook or a script that knows no runner would be."""
    told = {"PYTHONPATH": str(project.root), "MLOPS_PROJECT": str(project.root), "TMPDIR": str(project.root)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=project.root, env=os.environ | told | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.long
@pytest.mark.parametrize("how", ["", "stop"])
def test_nothing_is_left_when_the_notebook_is_killed(project, how: str):
    waiting(project, how)
    notebook = python(project, f"from mlops_kit.training import launch; launch('work', {{'how': {how!r}, 'marks': '.'}}, 2)")
    until(lambda: (project.root / "1.pid").exists() and len(family(project)) == 3)
    time.sleep(2)
    notebook.kill()
    until(lambda: not family(project))
    notebook.communicate()


@pytest.mark.long
def test_a_stopped_rank_ends_the_step(project):
    waiting(project, "stop")
    done = project.json("run", "pipeline=demo", code=1)
    assert "rank 1 of 2 was stopped (SIGSTOP) for 20 s" in done["steps"]["wait"]["error"]
    assert family(project) == []


@pytest.mark.long
def test_an_idle_rank_ends_the_step_but_one_that_works_alone_does_not(project):
    waiting(project, "spin", idle=4)
    done = project.json("run", "pipeline=demo", code=1)
    error, shown = done["steps"]["wait"]["error"], outputs(project, done["run"], "wait")
    assert "rank 1 of 2 has done nothing for 4 s" in error and "in wait: time.sleep(10_000)." in error, "before that it worked for 8 s while rank 0 was idle; now rank 0 is busy waiting"
    assert "round 24" in shown and "work.py" in shown and "in <module>" in shown, "the whole stack is in the cell"
    assert family(project) == []


@pytest.mark.long
@pytest.mark.parametrize("how, where", [("sleep", "time.sleep(10_000)"), ("loader", "in __getitem__: time.sleep(10_000)")])
def test_an_idle_rank_is_found_with_the_default_timeout(project, how: str, where: str):
    waiting(project, how)
    command = project.start("run", "pipeline=demo", "--json")
    until(lambda: (project.root / "1.pid").exists())
    until(lambda: not family(project), 300)
    error = json.loads(command.communicate(timeout=60)[0])["steps"]["wait"]["error"]
    assert "rank 1 of 2 has done nothing for 45 s" in error and where in error


@pytest.mark.long
def test_a_rank_that_waits_longer_than_the_patience_fails(project):
    waiting(project, "sleep", patience=5)
    done = project.json("run", "pipeline=demo", code=1)
    assert "rank 0 of 2: RuntimeError: " in done["steps"]["wait"]["error"] and "patience" in done["steps"]["wait"]["error"]
    assert family(project) == []


@pytest.mark.long
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_all_ranks(project, number: int, code: int):
    waiting(project, "")
    command = project.start("run", "pipeline=demo")
    until(lambda: (project.root / "1.pid").exists())
    command.send_signal(number)
    command.communicate(timeout=60)
    assert command.returncode == code and family(project) == []


@pytest.mark.long
@pytest.mark.parametrize("trainer", ["{'accelerator': 'cpu'}", "{'accelerator': 'cpu', 'devices': 2, 'strategy': 'ddp'}"])
def test_the_variables_of_a_slurm_allocation_do_not_confuse(project, trainer: str):
    training_pipeline(project)
    allocation = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NODEID": "1", "SLURM_NNODES": "2", "SLURM_NODELIST": "far[1-2]", "SLURM_JOB_NAME": "train"}
    code = f"from mlops_kit.training import fit; print(fit({{'_target_': 'nets.Net'}}, {{'_target_': 'nets.Data'}}, {trainer} | {{'max_epochs': 1}}).epochs)"
    done = python(project, code, **allocation)
    said, _ = done.communicate(timeout=120)
    assert done.returncode == 0 and said.splitlines()[-1] == "1", said


@pytest.mark.long
@pytest.mark.parametrize("words", [
    ("debug=fast_dev_run",), ("debug=overfit",), ("debug=limit",), ("debug=profiler",), ("debug=anomaly",),
    ("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=2", "trainer.compile={backend:eager}"),
    ("trainer=ddp_sim", "trainer.compile={backend:eager}", "debug=fast_dev_run")], ids=" ".join)
def test_what_a_trainer_can_be_told(project, words: tuple[str, ...]):
    training_pipeline(project)
    plain = project.json("plan", "pipeline=demo")["train"]["key"]
    done = project.json("run", "pipeline=demo", *words)
    assert done["status"] == "done" and done["steps"]["train"]["key"] != plain
    if "debug=profiler" in words:
        assert "run_training_epoch" in outputs(project, done["run"], "train")


class Lab:
    """JupyterLab as `mlops lab` starts it, and a kernel of it, reached as a browser does."""

    def __init__(self, project, home):
        home.mkdir()
        self.server = project.start("lab", "--no-browser", "--allow-root", "--port=0", HOME=str(home), TMPDIR=str(project.root), JUPYTER_RUNTIME_DIR=str(home))
        until(lambda: any(home.glob("jpserver-*.json")))
        time.sleep(0.2)
        told = json.loads(next(home.glob("jpserver-*.json")).read_text())
        self.url, self.token = told["url"] + "api/", {"Authorization": f"token {told['token']}"}

    def ask(self, path: str, body: dict | None = None, method: str | None = None) -> dict:
        request = Request(self.url + path, data=None if body is None else json.dumps(body).encode(), headers=self.token, method=method)
        return json.loads(urlopen(request, timeout=60).read() or "{}")

    def open(self, kernel: str) -> None:
        """Open a notebook with a kernel."""
        import websocket

        self.session = self.ask("sessions", {"path": "notebooks/explore.ipynb", "name": "explore.ipynb", "type": "notebook", "kernel": {"name": kernel}})
        self.kernel = self.session["kernel"]["id"]
        self.socket = websocket.create_connection(f"{self.url.replace('http', 'ws', 1)}kernels/{self.kernel}/channels?session_id=test", header=self.token, timeout=120)

    def execute(self, code: str) -> str:
        """Send a cell; its id."""
        header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "username": "", "session": "test", "date": "", "version": "5.3"}
        self.socket.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": {"code": code, "silent": False}, "channel": "shell"}))
        return header["msg_id"]

    def read(self, cell: str, up_to: str = "") -> str:
        """What a cell shows until its end, or until a text comes."""
        shown, ends = "", set()
        while ends != {"execute_reply", "idle"}:
            message = json.loads(self.socket.recv())
            content, kind = message["content"], message["msg_type"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            shown += content.get("text", "") if kind == "stream" else "\n".join(content["traceback"]) if kind == "error" else content.get("data", {}).get("text/plain", "")
            ends |= {"idle"} if content.get("execution_state") == "idle" else {kind} & {"execute_reply"}
            if up_to and up_to in shown:
                break
        return re.sub(r"\x1b\[[\d;]*m", "", shown)

    def __call__(self, code: str) -> str:
        return self.read(self.execute(code))


@pytest.fixture
def lab(project, tmp_path):
    opened = Lab(project, tmp_path / "home")
    yield opened
    opened.server.kill()
    opened.server.communicate()


@pytest.mark.long
@pytest.mark.parametrize("kernel", ["mlops", "python3"])
def test_jupyterlab_trains_in_two_processes(project, lab, kernel: str):
    training_pipeline(project)
    (project.root / "work.py").write_text(WORK)
    lab.open(kernel)
    ours = f"import sys; sys.path.insert(0, {str(project.root)!r}); "
    assert lab(ours + "from mlops_kit.training import build; type(build({'_target_': 'nets.Net'})).__name__") == "'Net'", "what the project defines may be built"
    said = lab("%load_ext mlops_kit\n%mlops step train pipeline=demo trainer=ddp_sim")
    assert said.startswith("step train: ") and "injected: trainer" in lab(TRAIN), said
    shown = lab(FIT + "print(sorted(fitted.metrics), fitted.best.exists(), sum(one.numel() for one in fitted.model.parameters()))")
    assert shown.startswith("epoch 1/2") and "['epoch', 'train_loss', 'val_loss'] True 33" in shown, shown
    shown = lab(FIT.replace("| model", "| {'broken': True}"))
    assert "rank 1 of 2: ValueError: a bad batch" in shown and "in training_step" in shown, shown
    assert family(project) == []

    endless = ours + "from mlops_kit.training import launch; launch('work', {'how': '', 'marks': '.'}, 2)"
    cell = lab.execute(endless)
    lab.read(cell, up_to="round 3\n")
    assert len(family(project)) == 3, "output appears while the cell runs"
    lab.ask(f"kernels/{lab.kernel}/interrupt", {})
    assert "KeyboardInterrupt" in lab.read(cell) and family(project) == []
    assert lab("1 + 1") == "2"

    for end in (lambda: lab.ask(f"kernels/{lab.kernel}/restart", {}), lambda: lab.ask(f"sessions/{lab.session['id']}", method="DELETE")):
        lab.read(lab.execute(endless), up_to="round 3\n")
        assert len(family(project)) == 3
        end()
        until(lambda: not family(project), 60)
