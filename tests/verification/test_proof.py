"""mlops verify: what repeats is proved, what does not is found, with the cell and the cause (I13)."""
import json
import os
import re
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from helpers.project import Project, environment, install, mlops_of

WRITE = "result.write_text(json.dumps({}, default=str))"
HEAD = "import json, os, sys, time\nfrom pathlib import Path\nimport numpy as np"
THINGS = "class Thing:\n    def __init__(self, number):\n        self.name, self.number = f'thing {number}', number\nthings = {Thing(number) for number in range(60)}"

# cause -> the cells behind the parameters and the imports (cells 1 and 2); the culprit is marked by a comment
PLANTED = {
    "R1": ("rng = np.random.default_rng()  # here", "values = rng.normal(size=5).tolist()", WRITE.format("values")),
    "R2": (
        "import torch\nfrom torch.utils.data import DataLoader, Dataset\nclass Noise(Dataset):\n    def __len__(self):\n        return 8\n    def __getitem__(self, index):\n        return float(np.random.default_rng().normal())",
        "rows = [batch.tolist() for batch in DataLoader(Noise(), batch_size=4, num_workers=2)]  # here", WRITE.format("rows"),
    ),
    "R3": ("import subprocess", "order = subprocess.run([sys.executable, '-I', '-c', 'print(list(set(\"abcdefghijklm\")))'], capture_output=True, text=True).stdout  # here", WRITE.format("order")),
    "R4": ("parts = os.listdir('in/parts')  # here", "text = ''.join(Path('in/parts', part).read_text() for part in parts)", WRITE.format("text")),
    "R5": ("from datetime import datetime", "stamp = datetime.now().isoformat()  # here", WRITE.format("stamp")),
    "R6": ("from datetime import datetime", "hours = [datetime.fromtimestamp(day * 86400).isoformat() for day in range(3)]  # here", WRITE.format("hours")),
    "R7": ("values = np.arange(1000, dtype='float32') / 7", "sums = [float(part.sum()) for part in np.array_split(values, os.cpu_count())]  # here", WRITE.format("sums")),
    "R10": ("path = Path.home() / 'visits.txt'", "visits = int(path.read_text()) if path.exists() else 0  # here\npath.write_text(str(visits + 1))", WRITE.format("visits")),
    "R11": ("rates = Path('OUTSIDE/rates.txt').read_text()  # here", WRITE.format("rates")),
    "R12": ("colour = os.environ.get('COLOUR', 'none')  # here", WRITE.format("colour")),
    "R13": ("sys.path.append('OUTSIDE')\nimport somebody_elses  # here", "value = somebody_elses.VALUE", WRITE.format("value")),
    "R15": ("limits = Path('OUTSIDE/limits.txt').read_text()  # here", WRITE.format("limits")),
    "R17": ("import urllib.request", "prices = urllib.request.urlopen('URL/prices').read().decode()  # here", WRITE.format("prices")),
    "R18": ("where = os.getcwd()  # here", WRITE.format("where")),
    "R19": ("import pickle", THINGS, "blob = pickle.dumps([thing.number for thing in things])  # here", "Path('out/things.pkl').write_bytes(blob)", WRITE.format("1")),
    "R20": (THINGS, "table = {thing.name: thing.number for thing in things}  # here", WRITE.format("table")),
    "R21": (
        "from concurrent.futures import ThreadPoolExecutor, as_completed\ndef work(number):\n    time.sleep(os.urandom(1)[0] / 2000)\n    return number",
        "with ThreadPoolExecutor(6) as pool:\n    done = [one.result() for one in as_completed([pool.submit(work, number) for number in range(12)])]  # here", WRITE.format("done"),
    ),
    "R22": ("end, rounds = time.perf_counter() + 0.1, 0", "while time.perf_counter() < end:  # here\n    rounds += 1", WRITE.format("rounds")),
    "R23": ("checkpoint = Path.home() / '.cache/experiment/checkpoint.json'", "start = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0  # here", "for epoch in range(start, 9):\n    checkpoint.write_text(json.dumps(epoch + 1))", WRITE.format("9 - start")),
    "R24": ("path = Path.home() / '.cache/tool/answer.txt'", "answer = path.read_text() if path.exists() else 'none'  # here", WRITE.format("answer")),
    "R25": ("import urllib.request", "model = urllib.request.urlopen('URL/models/latest').read().decode()  # here", WRITE.format("model")),
    "R26": ("buffer = np.empty(3000)  # here", "total = buffer.tobytes().hex()", WRITE.format("total")),
    "R27": ("Path('made.txt').write_text('1')", "mode = oct(Path('made.txt').stat().st_mode)  # here", WRITE.format("mode")),
    "R29": ("modules = len(sys.modules)  # here", WRITE.format("modules")),
    "R30": ("import uuid", "begun = time.time()", "name = uuid.uuid4().hex  # here", WRITE.format("name") + "\nprint(time.time() - begun)"),
}

CLEAN = {
    "seeded": ("import random", WRITE.format("[random.random() for _ in range(5)]")),
    "numpy_seeded": (WRITE.format("np.random.normal(size=5).tolist()"),),
    "generator": ("rng = np.random.default_rng(7)", WRITE.format("rng.normal(size=5).tolist()")),
    "torch_seeded": ("import torch", WRITE.format("torch.rand(5).tolist()")),
    "torch_training": (
        "import torch\ntorch.manual_seed(3)\nx = torch.rand(64, 4)\ny = x.sum(1, keepdim=True)\nmodel = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))\noptimizer = torch.optim.Adam(model.parameters(), lr=0.01)",
        "for _ in range(20):\n    loss = torch.nn.functional.mse_loss(model(x), y)\n    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()", WRITE.format("[p.tolist() for p in model.parameters()]"),
    ),
    "loader": ("import torch\nfrom torch.utils.data import DataLoader", WRITE.format("[batch.tolist() for batch in DataLoader(torch.arange(20), batch_size=5, shuffle=True)]")),
    "forest": ("from sklearn.ensemble import RandomForestClassifier\nx = np.random.rand(60, 3)\ny = x[:, 0] > 0.5", WRITE.format("RandomForestClassifier(10).fit(x, y).predict_proba(x).tolist()")),
    "clusters": ("from sklearn.cluster import KMeans", WRITE.format("KMeans(3, n_init=2).fit(np.random.rand(50, 2)).cluster_centers_.tolist()")),
    "parquet": ("import polars as pl", "pl.DataFrame({'a': range(100), 'b': np.random.rand(100)}).write_parquet('out/table.parquet')", WRITE.format("1")),
    "grouped": ("import polars as pl\ntable = pl.DataFrame({'k': ['a', 'b', 'c'] * 30, 'v': range(90)})", "sums = table.group_by('k', maintain_order=True).agg(pl.col('v').sum()).to_dicts()", WRITE.format("sums")),
    "plot": ("import matplotlib.pyplot as plt", "plt.plot(np.random.rand(20))\nplt.savefig('out/plot.png')", WRITE.format("1")),
    "archive": ("np.savez('out/arrays.npz', a=np.arange(5), b=np.random.rand(3))", WRITE.format("1")),
    "compressed": ("import gzip", "Path('out/text.gz').write_bytes(gzip.compress(b'text', mtime=0))", WRITE.format("1")),
    "sorted_folder": (WRITE.format("sorted(os.listdir('in/parts'))"),),
    "sorted_set": ("words = {'b', 'a', 'c'}", WRITE.format("sorted(words)")),
    "set_of_words": ("words = set('the quick brown fox jumps over the lazy dog'.split())", WRITE.format("list(words)")),
    "timed": ("begun = time.time()", "total = sum(range(1000))\nprint(time.time() - begun)", WRITE.format("total")),
    "temporary": ("import tempfile\nwith tempfile.TemporaryDirectory() as folder:\n    Path(folder, 'a').write_text('1')\n    text = Path(folder, 'a').read_text()", WRITE.format("text")),
    "program": ("import subprocess", WRITE.format("subprocess.run(['echo', '1'], capture_output=True, text=True).stdout")),
    "processes": ("import multiprocessing", "with multiprocessing.Pool(2) as pool:\n    squares = pool.map(abs, range(-5, 5))", WRITE.format("squares")),
    "threads": ("from concurrent.futures import ThreadPoolExecutor", "with ThreadPoolExecutor(4) as pool:\n    squares = list(pool.map(lambda n: n * n, range(20)))", WRITE.format("squares")),
    "database": ("import sqlite3\nbase = sqlite3.connect('made.db')\nbase.execute('CREATE TABLE t (a INT)')\nbase.execute('INSERT INTO t VALUES (3)')", WRITE.format("base.execute('SELECT a FROM t').fetchall()")),
    "dates": ("from datetime import date, datetime, timezone", WRITE.format("[date(2020, 1, 1).isoformat(), datetime.fromtimestamp(0, timezone.utc).isoformat()]")),
    "names_of_content": ("import uuid, hashlib", WRITE.format("[str(uuid.uuid5(uuid.NAMESPACE_URL, 'a')), hashlib.sha256(b'a').hexdigest()]")),
    "project_file": (WRITE.format("Path(os.environ['MLOPS_PROJECT'], 'beside.txt').read_text()"),),
    "project_module": ("import helper_of_ours", WRITE.format("helper_of_ours.double(4)")),
    "out_folder": ("Path('out/many').mkdir()\nfor n in range(5):\n    Path(f'out/many/{n}.txt').write_text(str(n))", WRITE.format("1")),
    "sums": (WRITE.format("float((np.random.rand(200000).astype('float32')).sum())"),),
    "products": ("a = np.random.rand(200, 200).astype('float32')", WRITE.format("float((a @ a).sum())")),
    "displayed": ("from IPython.display import HTML, display\ndisplay(HTML(f'<b>{time.time()}</b>'))", WRITE.format("1")),
    "lightning": (
        "import torch, lightning as L\nfrom torch.utils.data import DataLoader, TensorDataset\nclass Net(L.LightningModule):\n    def __init__(self):\n        super().__init__()\n        self.layer = torch.nn.Linear(3, 1)\n    def training_step(self, batch, index):\n        return (self.layer(batch[0]) - 1).pow(2).mean()\n    def configure_optimizers(self):\n        return torch.optim.SGD(self.parameters(), lr=0.1)",
        "net = Net()\nL.Trainer(max_epochs=2, accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False).fit(net, DataLoader(TensorDataset(torch.rand(40, 3)), batch_size=8, shuffle=True))",
        WRITE.format("[p.tolist() for p in net.parameters()]"),
    ),
}
OUTS = {"R19": "things.pkl", "parquet": "table.parquet", "plot": "plot.png", "archive": "arrays.npz", "compressed": "text.gz", "out_folder": "many"}


class Server:
    "Counts its visitors; its newest model is another one from the second phase on"

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.visits += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(server.phase.encode() if "latest" in self.path else str(server.visits).encode())

            def log_message(self, *words):
                pass

        self.visits, self.phase, self.http = 0, "first", HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()


def verdicts_of(root: Path, names: list[str]) -> dict[str, dict]:
    "Run these notebooks, let time go by, and verify them"
    project, outside, home = Project(root / "project"), root / "outside", root / "home"
    for path, text in {
        project.root / "parts/a": "1", project.root / "parts/b": "2", project.root / "parts/c": "3", project.root / "beside.txt": "1", project.root / "helper_of_ours.py": "def double(n):\n    return 2 * n\n",
        outside / "rates.txt": "1", outside / "limits.txt": "12", outside / "somebody_elses.py": "VALUE = 1\n",
        home / "visits.txt": "3", home / ".cache/tool/answer.txt": "42", home / ".cache/experiment/checkpoint.json": "4",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with Server() as server:
        url, lines = f"http://127.0.0.1:{server.http.server_port}", []
        for name in names:
            cells = (PLANTED | CLEAN)[name]
            project.notebook(name, HEAD, *(cell.replace("OUTSIDE", str(outside)).replace("URL/", f"{url}/") for cell in cells))
            sources = ", sources: {parts: parts}" if any("in/parts" in cell for cell in cells) else ""
            out = "result: result.json" + (f", other: {OUTS[name]}" if name in OUTS else "")
            lines.append(f"{name}: {{notebook: notebooks/{name}.ipynb, outs: {{{out}}}{sources}}}")
        project.pipeline("\n".join(lines))
        environment = {"HOME": str(home), "COLOUR": "red"}
        run = project.json("run", "pipeline=demo", "pass_env=[COLOUR]", **environment)
        assert run["status"] == "done", {name: step["error"] for name, step in run["steps"].items() if step["error"]}
        server.phase = "second"
        (outside / "rates.txt").write_text("2")
        before = os.stat(outside / "limits.txt")
        (outside / "limits.txt").write_text("21")
        os.utime(outside / "limits.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
        (outside / "somebody_elses.py").write_text("VALUE = 2\n")
        (project.root / "beside.txt").write_text("2")
        (project.root / "helper_of_ours.py").write_text("def double(n):\n    return 3 * n\n")
        process = project.start("verify", "--json", **environment | {"COLOUR": "blue"})
        out, err = process.communicate(timeout=1200)
    found = json.loads(out)["steps"]
    assert process.returncode == (3 if any(one["status"] == "different" for one in found.values()) else 0), err
    proved = {path.parent.name for path in (project.root / ".mlops/proofs").glob("*/*.json")}
    assert proved == {one["key"] for one in found.values() if one["status"] == "identical"}, "a proof for each step that is the same, and for no other"
    return found


def judge(found: dict[str, dict], names: list[str]) -> tuple[list[str], list[str], list[str]]:
    "Which planted causes were found, located, and named; with what was said instead"
    late = [name for name in names if found[name]["status"] != "different"]
    wrong_cell = [f"{name}: cell {found[name]['location'] and found[name]['location']['cell']}" for name in names if name not in late and not (found[name]["location"] and "# here" in found[name]["location"]["source"])]
    wrong_cause = [f"{name}: {found[name]['hazard'] and found[name]['hazard']['id']} ({found[name]['evidence']})" for name in names if name not in late and (found[name]["hazard"] or {}).get("id") != name]
    return late, wrong_cell, wrong_cause


def test_another_version_of_a_package(project, tmp_path):
    python = environment(tmp_path / "venv")
    mlops = mlops_of(python, project)
    install(python, "tiny", "1.0", "VERSION = '1.0'\n")
    project.notebook("uses", HEAD, "import tiny  # here", WRITE.format("tiny.VERSION"))
    project.pipeline("uses: {notebook: notebooks/uses.ipynb, outs: {result: result.json}}")
    assert mlops("run", "pipeline=demo").returncode == 0
    install(python, "tiny", "1.1", "VERSION = '1.1'\n")
    done = mlops("verify", "--json")
    found = json.loads(done.stdout)["steps"]["uses"]
    assert done.returncode == 3 and found["hazard"]["id"] == "R14" and "# here" in found["location"]["source"], found
    assert "package tiny: 1.0 -> 1.1" in done.stderr, "said before anything is executed"


@pytest.mark.long
def test_a_package_that_is_installed_as_editable_is_no_other_one(project):
    project.notebook("uses", HEAD, "import mlops_kit", WRITE.format("1"))
    project.pipeline("uses: {notebook: notebooks/uses.ipynb, outs: {result: result.json}}")
    project.mlops("run", "pipeline=demo")
    done = mlops_of(Path(sys.executable), project)("verify")
    assert "proved" in done.stdout and "changed since recording" not in done.stderr


NOISY = (HEAD, "number = 1 + 1e-9 * np.random.default_rng().random()", WRITE.format("number"))


def test_a_declared_tolerance(project):
    project.notebook("noisy", *NOISY)
    project.pipeline("noisy: {notebook: notebooks/noisy.ipynb, outs: {result: result.json}, tolerance: {result: 1e-6}}")
    project.json("run", "pipeline=demo")
    assert project.json("verify")["steps"]["noisy"]["status"] == "near"
    assert "proof" in project.mlops("show", "last", "noisy")
    assert project.json("verify", "--tolerance", "result=1e-15", code=3)["steps"]["noisy"]["status"] == "different"
    assert "write <out>=<number>" in project.mlops("verify", "--tolerance", "result", code=2)


@pytest.mark.long
def test_rounds_another_engine_and_a_source_that_was_not_kept(project):
    (project.root / "words.txt").write_text("a b")
    project.notebook("counts", HEAD, WRITE.format("len(Path('in/words.txt').read_text().split())"))
    project.pipeline("counts: {notebook: notebooks/counts.ipynb, sources: {words: words.txt}, outs: {result: result.json}}")
    project.json("run", "pipeline=demo", "sources_limit=0")
    assert project.json("verify", "--rounds", "2")["steps"]["counts"]["rounds"] == 2
    assert project.json("verify", "--engine", "kernel")["identical"]
    record = json.loads(project.records()[0].read_text())
    kept = project.root / ".mlops/objects" / record["parts"]["sources"]["words"][1][:2] / record["parts"]["sources"]["words"][1][2:]
    kept.unlink()
    (project.root / "words.txt").write_text("a b c")
    assert "has changed since it was recorded" in project.json("verify", code=3)["steps"]["counts"]["error"]
    assert "no step" in project.mlops("verify", "last", "cuonts", code=2)


@pytest.mark.long
def test_a_step_that_dies_in_other_surroundings(project):
    project.notebook("dies", HEAD, "if 'somebody' in os.environ.get('USER', ''):\n    os.kill(os.getpid(), 9)", WRITE.format("1"))
    project.pipeline("dies: {notebook: notebooks/dies.ipynb, outs: {result: result.json}}")
    project.json("run", "pipeline=demo")
    found = project.json("verify", code=3)["steps"]["dies"]
    assert found["status"] == "different" and "SIGKILL" in found["error"] and found["hazard"]["id"] == "R18", found


def test_a_run_without_records(project):
    project.pipeline("raises: {notebook: notebooks/raises.ipynb, outs: {result: result.json}}")
    project.mlops("run", "pipeline=demo", code=1)
    assert "there is nothing to verify" in project.mlops("verify", code=2)
    assert "it has no record to verify" in project.mlops("verify", "last", "raises", code=2)


def test_an_interrupted_verification_leaves_nothing(project):
    project.notebook("slow", HEAD, "if 'MLOPS_SLOW' in os.environ: time.sleep(60)", WRITE.format("1"))
    project.pipeline("slow: {notebook: notebooks/slow.ipynb, outs: {result: result.json}}")
    project.json("run", "pipeline=demo", "pass_env=[MLOPS_SLOW]")
    process = project.start("verify", MLOPS_SLOW="1")
    deadline = time.monotonic() + 60
    while not list((project.root / ".mlops/tmp").rglob("executed.ipynb.journal")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and not list((project.root / ".mlops/tmp").iterdir()) and not (project.root / ".mlops/proofs").exists()


QUICK = ["R1", "R4", "R10", "R11", "R12", "R30"]
QUICK_CLEAN = ["set_of_words", "timed", "project_file", "project_module"]


def test_some_causes_and_some_clean_steps(tmp_path):
    found = verdicts_of(tmp_path, [*QUICK, *QUICK_CLEAN])
    assert judge(found, QUICK) == ([], [], [])
    assert {name: found[name]["evidence"] for name in QUICK_CLEAN if found[name]["status"] != "identical"} == {}


@pytest.mark.long
def test_planted_causes_are_found_and_named(tmp_path):
    late, wrong_cell, wrong_cause = judge(verdicts_of(tmp_path, list(PLANTED)), list(PLANTED))
    print(f"{len(PLANTED)} planted: not found {late}; another cell {wrong_cell}; another cause {wrong_cause}")
    wrong = {re.match(r"R\d+", one)[0] for one in [*late, *wrong_cell, *wrong_cause]}
    assert not late and len(PLANTED) - len(wrong) >= 22


@pytest.mark.long
def test_clean_steps_give_no_alarm(tmp_path):
    found = verdicts_of(tmp_path, list(CLEAN))
    assert {name: (one["status"], one["error"], one["evidence"]) for name, one in found.items() if one["status"] != "identical"} == {}
    assert len(CLEAN) >= 30
