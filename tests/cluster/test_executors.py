"""Steps on other machines: the same results, each recorded once, whatever is lost on the way.

The cluster is Dask's own, of processes on this machine that a test may kill; what lies between them is a proxy that a test may disturb.
"""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from helpers.project import Project
from helpers.processes import left_over, started


class Cluster:
    "A scheduler of Dask and workers, each a process"

    def __init__(self, folder: Path, workers: int = 2, host: str = "127.0.0.1", ttl: str = "6s", **resources: int):
        self.folder, self.file, self.host, self.processes = folder, folder / "scheduler.json", host, []
        folder.mkdir(parents=True)
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", self.file, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=ttl)
        self.workers = [self.worker(**resources) for _ in range(workers)]

    def start(self, kind: str, *words, before: list[str] = (), **environment: str) -> subprocess.Popen:
        with open(self.folder / f"{kind}.log", "ab") as log:
            command = [*before, sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", self.host, "--no-dashboard", *map(str, words)]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=os.environ | environment)
        self.processes.append(process)
        return process

    def worker(self, nanny: bool = False, before: list[str] = (), **more: int | str) -> subprocess.Popen:
        environment = {name: value for name, value in more.items() if name.isupper()}
        named = ",".join(f"{name}={number}" for name, number in ({"cpu": 1} | more).items() if name not in environment)
        return self.start("worker", "--scheduler-file", self.file, "--nthreads", "1", "--resources", named, *(["--no-nanny"] if not nanny else []), "--local-directory", self.folder, before=before, **environment)

    def end(self) -> None:
        for one in self.processes:
            one.kill()
            one.wait()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Cluster]:
    "Two workers for the tests that leave them alive"
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "dask")
    yield cluster
    cluster.end()


@pytest.fixture
def own(tmp_path) -> Iterator[Cluster]:
    "Two workers for a test that kills"
    cluster = Cluster(tmp_path / "dask")
    yield cluster
    cluster.end()


def on(cluster: Cluster, *more: str) -> list[str]:
    return ["executor=dask", f"executor.scheduler_file={cluster.file}", *more]


STEPS = """
part: {foreach: [1, 2, 3], notebook: notebooks/good.ipynb, params: {number: "{item}"}, outs: {result: result.json}}
both: {notebook: notebooks/joins.ipynb, ins: {parts: part.result, records: "*.record"}, outs: {total: total.json}, metrics: total}
"""


def test_the_same_results_as_on_this_machine(project, shared):
    project.pipeline(STEPS)
    there = project.json("run", "pipeline=demo", *on(shared))
    here = project.json("run", "pipeline=demo", "store=.other")
    assert {step["status"] for step in there["steps"].values()} == {"ran"} and there["metrics"] == here["metrics"]
    told = lambda run: {name: (step["key"], step["outs"]) for name, step in run["steps"].items()}
    assert told(there) == told(here)
    assert len(project.records()) == 4 and set(project.statuses().values()) == {"hit"}, "what a worker made is a hit here"
    folder = project.root / ".mlops/runs" / there["run"]
    assert {path.name for path in folder.glob("*.ipynb")} == {f"{name}.ipynb" for name in there["steps"]}
    assert not list((project.root / ".mlops/tmp").iterdir()) and not list((project.root / ".mlops/leases").glob("*.json"))


@pytest.mark.long
def test_a_cluster_of_our_own(project):
    project.pipeline(STEPS)
    assert set(project.statuses("executor=dask", "executor.workers=2").values()) == {"ran"}
    assert not list((project.root / ".mlops/tmp").iterdir())


def test_a_cluster_starts_only_when_there_is_work(project, tmp_path):
    project.pipeline(STEPS)
    project.statuses()
    assert set(project.statuses("executor=dask", "executor.scheduler_file=nowhere", "executor.patience=1s").values()) == {"hit"}


@pytest.mark.long
def test_every_end_is_told_truly(project, shared):
    project.pipeline("""
raises: {notebook: notebooks/raises.ipynb, outs: {result: result.json}}
killed: {notebook: notebooks/killed.ipynb, outs: {result: result.json}}
endless: {notebook: notebooks/endless.ipynb, outs: {result: result.json}, timeout: 2s}
below: {notebook: notebooks/adds.ipynb, ins: {given: raises.result}, outs: {result: result.json}}
good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}
""")
    steps = project.json("run", "pipeline=demo", *on(shared), code=1)["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {"raises": "failed", "killed": "failed", "endless": "failed", "below": "skipped", "good": "ran"}
    assert "In [3] raised ValueError: the third cell gives up" in steps["raises"]["error"]
    assert "SIGKILL" in steps["killed"]["error"] and "timeout of 2 s" in steps["endless"]["error"]


def test_cells_are_seen_while_they_run(project, shared, monkeypatch):
    from mlops_kit import run
    from mlops_kit.pipeline.scheduler import Progress

    class Heard(Progress):
        lines = []

        def cell_event(self, name: str, event: dict) -> None:
            self.lines.append((name, event["cell"], event["status"]))

    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    monkeypatch.chdir(project.root)
    assert run("demo", on(shared), progress=Heard()).status == "done"
    assert [one for one in Heard.lines if one[1] == 1] == [("good", 1, "running"), ("good", 1, "completed")]


def test_more_than_any_worker_has(project, shared):
    project.pipeline("""
large: {notebook: notebooks/good.ipynb, outs: {result: result.json}, resources: {cpu: 3}}
rare: {notebook: notebooks/good.ipynb, params: {number: 2}, outs: {result: result.json}, resources: {licence: 1}}
""")
    said = project.mlops("run", "pipeline=demo", *on(shared), code=2)
    assert "step large wants 3 cpu, but no worker has more than 1" in said and "step rare wants 1 licence" in said
    assert not (project.root / ".mlops/runs").exists() or not list((project.root / ".mlops/runs").iterdir())
    assert "resources: no resource 'licence'" in project.mlops("run", "pipeline=demo", code=2), "and on this machine nobody has declared it"


def test_a_resource_with_any_name(project, tmp_path):
    cluster = Cluster(tmp_path / "dask", workers=1, licence=1)
    try:
        project.pipeline("rare: {notebook: notebooks/good.ipynb, outs: {result: result.json}, resources: {licence: 1}}")
        assert project.statuses(*on(cluster)) == {"rare": "ran"}
    finally:
        cluster.end()


def test_nothing_answers(project, tmp_path):
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    assert "no scheduler of Dask answers at tcp://127.0.0.1:9" in project.mlops("run", "pipeline=demo", "executor=dask", "executor.address=tcp://127.0.0.1:9", "executor.patience=1s", code=2)
    cluster = Cluster(tmp_path / "dask", workers=0)
    try:
        assert "no worker came up within 1 s" in project.mlops("run", "pipeline=demo", *on(cluster, "executor.patience=1s"), code=2)
    finally:
        cluster.end()


def test_the_extra_is_named(project):
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    code = "import sys; sys.modules['distributed'] = None; from mlops_kit.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "run", "pipeline=demo", "executor=dask"], cwd=project.root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "pip install 'mlops_kit[dist]'" in done.stderr


SLOW = "\n".join(f"{name}: {{notebook: notebooks/sleeps.ipynb, params: {{name: {name}, seconds: SECONDS, journal: JOURNAL}}, outs: {{result: result.json}}}}" for name in ("one", "two", "three"))


@pytest.fixture
def slow(project, tmp_path) -> Project:
    "A project of three slow steps that keep a journal outside the store"
    project.journal = tmp_path / "journal"
    project.slow = lambda seconds: project.pipeline(SLOW.replace("JOURNAL", str(project.journal)).replace("SECONDS", str(seconds)))
    project.slow(2)
    return project


def marks(project, what: str = "START") -> list[str]:
    return sorted(line.split()[1] for line in project.journal.read_text().splitlines() if line.startswith(what))


@pytest.mark.parametrize("whole_group", [False, pytest.param(True, marks=pytest.mark.long)])
def test_cancel_really_stops(slow, shared, whole_group):
    slow.slow(60)
    words = ["executor=dask", "executor.workers=2"] if whole_group else on(shared)
    process = slow.start("run", "pipeline=demo", *words, "--json")
    started(slow, 2)
    os.killpg(process.pid, signal.SIGINT) if whole_group else process.send_signal(signal.SIGINT)
    answer = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 130 and answer["status"] == "interrupted"
    assert {step["status"] for step in answer["steps"].values()} <= {"interrupted", "skipped"} and marks(slow) == ["one", "two"]
    end = time.monotonic() + 60
    while left_over(slow) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left_over(slow)


def test_a_killed_caller_leaves_nothing_running(slow):
    slow.slow(60)
    process = slow.start("run", "pipeline=demo", "executor=dask", "executor.workers=2")
    started(slow, 2)
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while left_over(slow) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left_over(slow)
    slow.slow(0.1)
    assert set(slow.statuses().values()) == {"ran"}


def test_a_lost_worker(slow, own):
    process = slow.start("run", "pipeline=demo", *on(own), "--json")
    started(slow, 2)
    own.workers[0].kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert {step["status"] for step in json.loads(out)["steps"].values()} == {"ran"}
    assert len(slow.records()) == 3 and len(marks(slow)) == 4 and sorted(set(marks(slow, "END"))) == ["one", "three", "two"]
    assert "was lost; it runs again on" in err


@pytest.mark.long
def test_all_workers_are_lost(slow, own):
    process = slow.start("run", "pipeline=demo", *on(own, "executor.patience=3s"), "--json")
    started(slow, 2)
    for one in own.workers:
        one.kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "no worker was left for 3 s" in json.loads(out)["steps"]["one"]["error"]


@pytest.mark.long
def test_a_lost_scheduler(slow, own):
    process = slow.start("run", "pipeline=demo", *on(own, "executor.deadline=3s"), "--json")
    started(slow, 2)
    own.scheduler.kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "did not answer for" in json.loads(out)["steps"]["one"]["error"]
    end = time.monotonic() + 60
    while left_over(slow) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left_over(slow), "the workers stop what nobody waits for"
    own.file.unlink()
    own.scheduler = own.start("scheduler", "--port", "0", "--scheduler-file", own.file)
    own.workers = [own.worker()]
    resumed = slow.json("resume")
    assert {step["status"] for step in resumed["steps"].values()} <= {"ran", "hit"} and resumed["status"] == "done" and len(slow.records()) == 3


@pytest.fixture(scope="module")
def apart(bucket, tmp_path_factory) -> Iterator[Cluster]:  # noqa: F811
    "Two workers that share nothing with the caller but a bucket"
    folder = tmp_path_factory.mktemp("apart")
    before = {name: os.environ.get(name) for name in bucket.environment}
    os.environ.update(bucket.environment)
    cluster = Cluster(folder / "dask")
    yield cluster
    cluster.end()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


BUCKET = """
part: {foreach: [1, 2], notebook: notebooks/good.ipynb, params: {number: "{item}"}, sources: {}, outs: {result: result.json}}
both: {notebook: notebooks/joins.ipynb, ins: {parts: part.result, records: "*.record"}, outs: {total: total.json}, metrics: total}
uses: {notebook: notebooks/uses.ipynb, sources: {text: data/text.txt}, outs: {result: result.json}}
raises: {notebook: notebooks/raises.ipynb, outs: {result: result.json}}
"""


@pytest.mark.long
def test_through_a_bucket(project, apart, s3, tmp_path):  # noqa: F811
    project.pipeline(BUCKET)
    project.notebook("uses", "from helper import twice\nresult.write_text(twice(text.read_text()))", parameters='from pathlib import Path\ntext: Path = Path("in/text.txt")\nresult: Path = Path("out/result.json")')
    (project.root / "helper.py").write_text("def twice(text): return text + text\n")
    (project.root / "data").mkdir()
    (project.root / "data/text.txt").write_text("12")
    there = project.json("run", "pipeline=demo", *on(apart, f"executor.store={s3}", f"executor.cache={tmp_path}/cache"), code=1)
    statuses = {name: step["status"] for name, step in there["steps"].items()}
    assert statuses == {"part@1": "ran", "part@2": "ran", "both": "ran", "uses": "ran", "raises": "failed"}, there
    folder = project.root / ".mlops/runs" / there["run"]
    assert {path.name for path in folder.glob("*.ipynb")} == {f"{name}.ipynb" for name in statuses} and (folder / "raises.log").exists()
    assert (tmp_path / "cache/records").exists(), "the workers had a store of their own"
    here = project.json("run", "pipeline=demo", "store=.other", code=1)
    told = lambda run: {name: (step["key"], step["outs"]) for name, step in run["steps"].items()}
    assert told(there) == told(here)
    assert project.statuses(code=1) == {"part@1": "hit", "part@2": "hit", "both": "hit", "uses": "hit", "raises": "failed"}
    assert project.json("verify", there["run"], "both", "uses")["identical"]
    assert not project.json("fsck")["damaged"]


@pytest.mark.parametrize("kind, line", [("slurm", "#SBATCH --gres=gpu:1"), ("pbs", "#PBS -q long"), ("sge", "#$ -q long"), ("lsf", "#BSUB -q long")])
def test_the_script_for_a_batch_system(project, kind, line):
    from mlops_kit.cluster.batch_queues import make_batch_cluster
    from mlops_kit.config import compose

    before = signal.getsignal(signal.SIGINT)
    knobs = compose([f"executor={kind}", "executor.jobs=0", "executor.queue=long", "executor.resources.gpu=1", "executor.interface=lo", "executor.python=python"], project.root)["executor"]
    cluster = make_batch_cluster(knobs, project.root)
    try:
        script = cluster.job_script()
        assert line in script and "--resources cpu=2,gpu=1" in script and "export MLOPS_RUNTIME_DIR=" in script
        assert signal.getsignal(signal.SIGINT) == before, "Ctrl-C is ours"
    finally:
        cluster.close()


def test_a_batch_system_that_refuses(project, tmp_path):
    project.pipeline(STEPS)
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: long' >&2; exit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    said = project.mlops("run", "pipeline=demo", "executor=slurm", "executor.interface=lo", code=2, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "slurm refused the job of a worker: sbatch: error: invalid partition specified: long. " in said and "never retrieved" not in said


@pytest.fixture
def node(monkeypatch) -> Iterator[Path]:
    "A real Slurm of one node, where that can be had; it ends with these tests, however they end"
    script, folder = Path(__file__).with_name("slurm_node.sh"), Path(tempfile.mkdtemp(prefix="slurm-"))  # a socket's path must be short
    if subprocess.run([script, "there"], stdout=subprocess.DEVNULL).returncode:
        pytest.skip("wants root and a Slurm: make test-slurm")
    with subprocess.Popen([script, "run", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n", "Slurm did not start: what it said stands above"
        monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield folder
        process.stdin.close()
        process.wait(timeout=120)
    shutil.rmtree(folder)


ON_SLURM = "executor=slurm", "executor.interface=lo", "executor.resources.cpu=1", "executor.memory=500MB", "executor.patience=60s"


def becomes(found: Callable[[], bool]) -> bool:
    "Does this become true within a minute?"
    end = time.monotonic() + 60
    while not (now := found()) and time.monotonic() < end:
        time.sleep(0.2)
    return now


def no_jobs() -> bool:
    return not subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout


@pytest.mark.long
@pytest.mark.slurm
def test_a_real_slurm(slow, node):
    slow.slow(5)
    process = slow.start("run", "pipeline=demo", *ON_SLURM, "--json")
    started(slow, 2)
    jobs = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True).stdout.split()
    assert len(jobs) == 2
    subprocess.run(["scancel", jobs[0]], check=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert {step["status"] for step in json.loads(out)["steps"].values()} == {"ran"} and len(slow.records()) == 3 and "it runs again on" in err
    slow.slow(60)
    slow.journal.unlink()
    process = slow.start("run", "pipeline=demo", *ON_SLURM, "--json")
    started(slow, 2)
    process.send_signal(signal.SIGINT)
    assert json.loads(process.communicate(timeout=120)[0])["status"] == "interrupted"
    assert becomes(lambda: no_jobs() and not left_over(slow)), "the jobs and what ran in them are gone"


@pytest.mark.long
@pytest.mark.slurm
def test_a_queue_that_never_starts(project, node):
    project.pipeline("good: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    said = project.mlops("run", "pipeline=demo", *ON_SLURM[:-1], "executor.patience=5s", "executor.directives=['--begin=now+1hour']", code=2)
    assert "no worker came up within 5 s" in said and "job.sh" in said
    assert becomes(no_jobs)


class Proxy:
    "Passes connections on, as badly as it is told to"

    def __init__(self, target: tuple[str, int]):
        self.target, self.mode, self.pairs, self.seen, self.stalled = target, "pass", [], [], set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                here = self.listener.accept()[0]
                if self.mode == "refuse":
                    abort(here)
                    continue
                there = socket.create_connection(self.target)
                self.pairs.append((here, there))
                if self.mode == "half-open":
                    self.stalled |= {here, there}
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                self.seen.append(data)
                while self.mode == "silent" or one in self.stalled:
                    time.sleep(0.05)
                time.sleep(0.2 if self.mode == "slow" else 0)
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        "Break all connections as a crashed router does"
        for pair in self.pairs:
            for one in pair:
                abort(one)
        self.pairs = []


def abort(one: socket.socket) -> None:
    "End a connection at once"
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.mark.long
@pytest.mark.parametrize("between", ["caller", "workers"])
@pytest.mark.parametrize("fault", ["slow", "reset", "reset twice", "down 3 s", "down for ever"])
def test_the_network_to_the_scheduler(slow, tmp_path, between, fault):
    cluster = Cluster(tmp_path / "dask", workers=0 if between == "workers" else 2)
    try:
        while not cluster.file.exists():
            time.sleep(0.1)
        address = json.loads(cluster.file.read_text())["address"]
        proxy = Proxy((address[6:].split(":")[0], int(address.rpartition(":")[2])))
        through = f"tcp://127.0.0.1:{proxy.port}"
        if between == "workers":  # they come back as a batch system or Kubernetes would start them again
            cluster.workers = [cluster.start("worker", through, "--nthreads", "1", "--no-nanny", "--resources", "cpu=1", "--local-directory", cluster.folder) for _ in range(2)]
        process = slow.start("run", "pipeline=demo", "executor=dask", f"executor.address={through if between == 'caller' else address}", "executor.deadline=6s", "executor.patience=20s", "--json")
        started(slow, 2)
        if fault == "slow":
            proxy.mode = "slow"
        elif fault.startswith("reset"):
            proxy.reset()
            if fault.endswith("twice"):
                time.sleep(2.5)
                proxy.reset()
            if between == "workers":
                cluster.workers = [cluster.worker(), cluster.worker()]
        else:
            proxy.mode = "silent"
            threading.Timer(3 if "3 s" in fault else 60, lambda: setattr(proxy, "mode", "pass")).start()
        out, err = process.communicate(timeout=120)
        answer = json.loads(out)
        if fault == "down for ever" and between == "caller":
            assert process.returncode == 1 and "did not answer for" in answer["steps"]["one"]["error"], (out, err)
        elif fault != "down for ever":
            assert process.returncode == 0, (out, err)
        else:
            assert process.returncode in (0, 1), (out, err)
        proxy.mode = "pass"
        assert set(slow.statuses().values()) <= {"ran", "hit"} and len(slow.records()) == 3
        assert not left_over(slow)
    finally:
        cluster.end()


SAYS = "import hashlib\nresult.write_text(hashlib.blake2b(word.encode()).hexdigest())"
TOKEN = "canary-k7Q9"


def test_a_secret_of_the_environment_is_not_sent(project, tmp_path, monkeypatch):
    project.notebook("says", SAYS, parameters="from pathlib import Path\nresult: Path = Path('out/result.json')\nword: str = ''")
    project.pipeline("says: {notebook: notebooks/says.ipynb, params: {word: '${oc.env:MY_TOKEN}'}, outs: {result: result.json}}\nalso: {notebook: notebooks/says.ipynb, params: {word: 'x-${oc.env:MY_TOKEN}'}, outs: {result: result.json}}")
    cluster = Cluster(tmp_path / "dask", workers=0)
    try:
        assert becomes(cluster.file.exists)
        address = json.loads(cluster.file.read_text())["address"]
        proxy = Proxy((address[6:].split(":")[0], int(address.rpartition(":")[2])))
        on = "run", "pipeline=demo", "executor=dask", f"executor.address=tcp://127.0.0.1:{proxy.port}"
        unaware = cluster.worker()
        failed = project.json(*on, code=1, MY_TOKEN=TOKEN)["steps"]["says"]["error"]
        assert "does not know the secret pipeline.steps.says.params.word, which is never sent: Environment variable 'MY_TOKEN' not found" in failed
        unaware.kill()
        unaware.wait()
        monkeypatch.setenv("MY_TOKEN", "another-k7Q9")
        other = cluster.worker()
        assert "a secret has another value there" in project.json(*on, code=1, MY_TOKEN=TOKEN)["steps"]["says"]["error"]
        other.kill()
        other.wait()
        monkeypatch.setenv("MY_TOKEN", TOKEN)
        cluster.worker()
        there = project.json(*on)
        assert {step["status"] for step in there["steps"].values()} == {"ran"} and there["steps"] != {} and project.json("run", "pipeline=demo", "store=.other")["steps"]["says"]["outs"] == there["steps"]["says"]["outs"]
        passed = b"".join(proxy.seen)
        assert b"notebooks/says.ipynb" in passed, "messages can be read on the wire"
        assert TOKEN.encode() not in passed and b"another-k7Q9" not in passed
    finally:
        cluster.end()


def test_a_secret_that_stands_in_the_configuration_stays_on_this_machine(project, tmp_path):
    host = next((one.address for addresses in psutil.net_if_addrs().values() for one in addresses if one.family == socket.AF_INET and not one.address.startswith("127.")), None)
    if host is None:
        pytest.skip("this machine has no address but the loopback's")
    project.notebook("says", SAYS, parameters="from pathlib import Path\nresult: Path = Path('out/result.json')\nword: str = ''\napi_key: str = ''")
    project.pipeline(f"says: {{notebook: notebooks/says.ipynb, params: {{api_key: {TOKEN}}}, outs: {{result: result.json}}}}")
    cluster = Cluster(tmp_path / "dask", workers=0, host=host)
    try:
        said = project.mlops("run", "pipeline=demo", *on(cluster), code=2)
        assert "pipeline.steps.says.params.api_key: a secret stands there, and a step's message would carry it unencrypted" in said and TOKEN not in said
        assert not (project.root / ".mlops/runs").exists()
        cluster.worker()
        assert project.statuses(*on(cluster), "unmask=[api_key]") == {"says": "ran"}
    finally:
        cluster.end()


@pytest.mark.long
@pytest.mark.parametrize("fault", ["slow", "reset", "half-open for 4 s", "refused for 4 s", "silent for 4 s", "silent for ever", "refused for ever"])
def test_the_network_to_the_bucket(slow, bucket, s3, tmp_path, fault):  # noqa: F811
    proxy = Proxy(("127.0.0.1", bucket.server.port))
    cluster = Cluster(tmp_path / "dask", workers=0)
    try:
        for _ in range(2):
            cluster.worker(AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
        words = on(cluster, f"executor.store={s3}", f"executor.cache={tmp_path}/cache", "executor.deadline=8s")
        process = slow.start("run", "pipeline=demo", *words, "--json")
        started(slow, 2)
        kind, _, long = fault.partition(" ")
        if kind == "reset":
            for _ in range(100):
                proxy.reset()
                time.sleep(0.05)
        else:
            proxy.mode = {"refused": "refuse"}.get(kind, kind)
            if kind == "refused":
                proxy.reset()
            if long == "for 4 s":
                threading.Timer(6, setattr, (proxy, "mode", "pass")).start()  # the first two steps end after two of them
        out, err = process.communicate(timeout=120)
        steps = json.loads(out)["steps"]
        if long == "for ever":
            assert process.returncode == 1, (out, err)
            assert all("s3://" in step["error"] and "continues" in step["error"] for step in steps.values()), steps
        else:
            assert process.returncode == 0, (out, err)
            assert {step["status"] for step in steps.values()} == {"ran"} and marks(slow) == ["one", "three", "two"]
        proxy.mode = "pass"
        assert set(slow.statuses(*words).values()) <= {"ran", "hit"} and len(slow.records()) == 3 and marks(slow) == ["one", "three", "two"]
        assert not slow.json("fsck")["damaged"]
    finally:
        cluster.end()


@pytest.mark.long
@pytest.mark.parametrize("with_nanny", [True, False])
def test_a_silent_worker_of_a_patient_scheduler(slow, tmp_path, with_nanny):
    elsewhere = [] if with_nanny else ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]  # the lease of a process there counts as long as it is renewed
    if elsewhere and subprocess.run([*elsewhere, "true"], capture_output=True).returncode:
        pytest.skip("wants to make a namespace of process ids: root")
    cluster = Cluster(tmp_path / "dask", workers=0, ttl="300s")
    try:
        slow.slow(6)
        stopped = cluster.worker(nanny=with_nanny, before=elsewhere)
        cluster.worker()
        process = slow.start("run", "pipeline=demo", *on(cluster, "executor.deadline=5s"), "--json")
        started(slow, 2)
        children = psutil.Process(stopped.pid).children()
        (worker,) = [one for one in children if "spawn_main" in " ".join(one.cmdline()) or not with_nanny]
        worker.suspend()
        out, err = process.communicate(timeout=120)
        answer = json.loads(out)
        assert process.returncode == 0 and {step["status"] for step in answer["steps"].values()} == {"ran"}, (out, err)
        assert "was lost; it runs again on" in err
        assert len(slow.records()) == 3 and len(marks(slow)) == 4
        records = {path: path.read_bytes() for path in slow.records()}
        with suppress(psutil.NoSuchProcess):
            worker.resume()
        assert becomes(lambda: not left_over(slow)), "what came back to life has ended"
        assert {path: path.read_bytes() for path in slow.records()} == records and not slow.json("fsck")["damaged"]
        assert set(slow.statuses().values()) == {"hit"}
    finally:
        cluster.end()
