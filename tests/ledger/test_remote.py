"""push and pull: what arrives is whole, what is damaged stays where it is, and whatever interrupts, the next try goes on.

The bucket is moto's, served on the loopback by a server that can be told to fail.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
import pytest
from mlops_kit.errors import ConfigError, MlopsError, StoreError
from mlops_kit.ledger import remote, transport
from mlops_kit.ledger.maintenance import find_digests
from mlops_kit.ledger import blank_outcome, blank_record, end_run, publish_record, read_record, run_ids, seal, start_run
from mlops_kit.store.files import canonical_json
from mlops_kit.store.objects import Store, is_complete, digest, get_bytes, put_path, put_bytes
from helpers.project import Project
from helpers.s3 import Bucket


CALL = "import sys, json; from pathlib import Path; from mlops_kit.ledger import remote; from mlops_kit.store import Store; print(json.dumps(getattr(remote, sys.argv[1])(Store(Path(sys.argv[2])), sys.argv[3])))"


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path: Path) -> str:
    "A remote of each kind"
    return request.getfixturevalue("s3") if request.param == "s3" else f"{request.param}://{tmp_path}/remote"


def filled(root: Path, number: int = 4) -> Store:
    "A store with this many records; each has a file, a folder and a log of its own, and all were made by one run"
    store = Store(root)
    run = start_run(store, {"pipeline": "demo"})
    (run.folder / "draw.log").write_text("drawn")
    steps = {}
    for one in range(number):
        folder = root.parent / f"{root.name}-many"
        (folder / "deep").mkdir(parents=True)
        (folder / "a").write_text(f"a{one}")
        (folder / "deep/b").write_text(f"b{one}")
        outs = {"one": {"file": "one", "digest": put_bytes(store, f"one{one}".encode() * 1000)}, "many": {"file": "many", "digest": put_path(store, folder)}}
        shutil.rmtree(folder)
        key = digest(f"key{one}".encode())
        parts = {"ins": {"log": ["in/log", put_bytes(store, f"log{one}".encode())]}}
        steps[f"draw@{one}"] = blank_outcome(publish_record(store, blank_record(f"draw@{one}", key=key, run=run.id, outs=outs, parts=parts)))
    end_run(run, "done", steps, 0.1)
    return store


def keys(store: Store) -> list[str]:
    return sorted(path.stem for path in (store.root / "records").glob("*.json"))


def check(store: Store, number: int) -> None:
    "A store holds this many records, and all content in it is what its name says"
    assert len(keys(store)) == number and all(read_record(store, key) for key in keys(store))
    for path in (store.root / "objects").glob("*/*"):
        get_bytes(store, path.parent.name + path.name)
    assert list(store.files.temp_folder.iterdir()) == []


def contents(url: str) -> dict[str, bytes]:
    "All that a remote holds"
    there = remote.open_remote(url)
    found = there.fs.find(there.root)
    return {path[len(there.root) + 1:]: there.fs.cat_file(path) for path in found}


def damage(path: Path) -> None:
    "Flip a bit; size and time stay"
    about, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_what_was_pushed_can_be_pulled(tmp_path: Path, url: str):
    store, other = filled(tmp_path / "here"), Store(tmp_path / "there")
    (store.root / "proofs" / keys(store)[0]).mkdir(parents=True)
    (store.root / "proofs" / keys(store)[0] / "p1.json").write_bytes(canonical_json(seal({"same": True})))
    sent = remote.push(store, url)
    assert (sent["records"], sent["runs"], sent["proofs"], sent["objects"]) == (4, 1, 1, 4 * 5 + 2)
    assert [remote.push(store, url)[name] for name in ("objects", "records", "runs", "proofs", "bytes")] == [0] * 5
    got = remote.pull(other, url)
    assert {name: got[name] for name in ("objects", "records", "runs", "proofs", "bytes")} == {name: sent[name] for name in ("objects", "records", "runs", "proofs", "bytes")}
    check(other, 4)
    assert run_ids(other) == run_ids(store) and (other.root / "runs" / run_ids(other)[0] / "draw.log").read_text() == "drawn"
    assert (other.root / "proofs" / keys(store)[0] / "p1.json").read_bytes() == canonical_json(seal({"same": True}))
    assert [remote.pull(other, url)[name] for name in ("objects", "records", "runs", "proofs", "bytes")] == [0] * 5
    assert not [name for name in contents(url) if name.startswith("tmp/")]


def test_a_run_alone(tmp_path: Path, url: str):
    store = filled(tmp_path / "here", 3)
    publish_record(store, blank_record("other", key=digest(b"other")))
    run = run_ids(store)[0]
    assert remote.push(store, url, [run])["records"] == 3
    assert remote.push(store, url)["records"] == 1
    other = Store(tmp_path / "there")
    assert remote.pull(other, url, ["last"])["records"] == 3
    assert keys(other) == sorted(set(keys(store)) - {digest(b"other")})
    with pytest.raises(ConfigError, match="no run 'nope'"):
        remote.pull(other, url, ["nope"])


def test_what_is_damaged_here_is_not_sent(tmp_path: Path, url: str):
    store = filled(tmp_path / "here", 4)
    bad = read_record(store, keys(store)[0])["outs"]["one"]["digest"]
    damage(store.path(bad))
    with pytest.raises(StoreError, match=f"{bad[2:]} is damaged here"):
        remote.push(store, url)
    there = contents(url)
    assert f"objects/{bad[:2]}/{bad[2:]}" not in there and sum(name.startswith("records/") for name in there) == 3
    other = Store(tmp_path / "there")
    remote.pull(other, url)
    check(other, 3)


def test_what_is_damaged_there_does_not_come_in(tmp_path: Path, url: str):
    store, other = filled(tmp_path / "here", 5), Store(tmp_path / "there")
    remote.push(store, url)
    there = remote.open_remote(url)
    hurt = lambda name, data: there.fs.pipe_file(there.path(name), data)
    objects = [read_record(store, key)["outs"]["one"]["digest"] for key in keys(store)[:2]]
    for name in objects:
        hurt(f"objects/{name[:2]}/{name[2:]}", b"x" * store.path(name).stat().st_size)
    tree = read_record(store, keys(store)[2])["outs"]["many"]["digest"]
    hurt(f"objects/{tree[:2]}/{tree[2:]}", b'["tree",1,[["../../evil","' + objects[0].encode() + b'",1]]]')
    record = json.loads((store.root / f"records/{keys(store)[3]}.json").read_bytes())
    hurt(f"records/{keys(store)[3]}.json", json.dumps(record | {"step": "another"}).encode())
    hurt(f"runs/{run_ids(store)[0]}.json", b"{}")
    with pytest.raises(StoreError) as raised:
        remote.pull(other, url)
    for name in [*(one[2:] for one in [*objects, tree]), f"records/{keys(store)[3]}.json", "runs/"]:
        assert name in str(raised.value)
    check(other, 1)
    assert run_ids(other) == [] and not list(tmp_path.rglob("evil*"))


def test_a_file_that_was_cut_off_there_is_sent_again(tmp_path: Path, url: str):
    store = filled(tmp_path / "here", 2)
    remote.push(store, url)
    there, name = remote.open_remote(url), read_record(store, keys(store)[0])["outs"]["one"]["digest"]
    there.fs.pipe_file(there.path(f"objects/{name[:2]}/{name[2:]}"), b"one")
    assert remote.push(store, url)["objects"] == 1
    assert remote.pull(Store(tmp_path / "there"), url)["records"] == 2


def test_a_manifest_can_not_write_elsewhere(tmp_path: Path, url: str):
    from mlops_kit.ledger.records import seal
    from mlops_kit.store.files import canonical_json

    store, there = filled(tmp_path / "here", 1), remote.open_remote(url)
    remote.push(store, url)
    evil = put_bytes(store, b"evil")
    remote.send_stream(there, f"objects/{evil[:2]}/{evil[2:]}", open(store.path(evil), "rb"), evil)
    there.fs.pipe_file(there.path("runs/r9.json"), canonical_json(seal({"run": "r9", "files": {"../../../evil": evil, "run.json": evil}})))
    with pytest.raises(StoreError, match="wants to be written outside its folder"):
        remote.pull(Store(tmp_path / "there"), url)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("verb", ["push", "pull"])
@pytest.mark.parametrize("number", [12, pytest.param(3, marks=pytest.mark.long), pytest.param(22, marks=pytest.mark.long), pytest.param(30, marks=pytest.mark.long)])
def test_killed_in_the_middle_it_goes_on(tmp_path: Path, bucket: Bucket, s3: str, verb: str, number: int):
    store, other = filled(tmp_path / "here"), Store(tmp_path / "there")
    if verb == "pull":
        remote.push(store, s3)
    process = subprocess.Popen([sys.executable, "-c", CALL, verb, str((store if verb == "push" else other).root), s3], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    bucket.requests, bucket.fault = 0, lambda count: os.kill(process.pid, signal.SIGKILL) if count >= number and process.returncode is None else None
    process.communicate(timeout=60)
    bucket.fault = None
    assert process.returncode == -signal.SIGKILL
    there = contents(s3)
    for name, data in there.items():
        if name.startswith("objects/"):
            assert digest(data) == name[8:].replace("/", "").removesuffix(".tree")
        if name.startswith("records/"):
            assert all(f"objects/{one[:2]}/{one[2:]}" in there for one in find_digests(canonical_json(json.loads(data)["outs"])))
    for key in keys(other):
        assert all(is_complete(other, out["digest"]) for out in json.loads((other.root / f"records/{key}.json").read_bytes())["outs"].values())
    if verb == "push":
        remote.push(store, s3)
    remote.pull(other, s3)
    for left in other.files.temp_folder.iterdir():
        left.unlink()  # of the killed process
    check(other, 4)


@pytest.mark.parametrize("death", ["os.kill(os.getpid(), 9)", "raise KeyboardInterrupt"])
def test_half_a_file_never_has_a_name(tmp_path: Path, death: str):
    code = f"""
import os, sys
from mlops_kit.ledger import remote
class Source:
    pieces = 0
    def read(self, size):
        self.pieces += 1
        if self.pieces == 3: {death}
        return b"x" * size
remote.send_stream(remote.open_remote(sys.argv[1]), "objects/ab/cd", Source(), None)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "remote")], capture_output=True).returncode != 0
    assert not (tmp_path / "remote/objects/ab/cd").exists()
    assert len(list((tmp_path / "remote/tmp").iterdir())) == ("kill" in death)
    for one in (tmp_path / "remote/tmp").iterdir():
        os.utime(one, (0, 0))
    store = filled(tmp_path / "here", 1)
    remote.push(store, str(tmp_path / "remote"))
    assert list((tmp_path / "remote/tmp").iterdir()) == []


@pytest.mark.parametrize("verb", [pytest.param("push", marks=pytest.mark.long), "pull"])
def test_a_server_that_stumbles_is_asked_again(tmp_path: Path, bucket: Bucket, s3: str, verb: str):
    store, other = filled(tmp_path / "here", 4), Store(tmp_path / "there")
    if verb == "pull":
        remote.push(store, s3)
    bucket.requests, bucket.fault = 0, lambda count: "500 Internal Server Error" if count % 7 == 3 else None
    moved = remote.push(store, s3) if verb == "push" else remote.pull(other, s3)
    assert moved["records"] == 4


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_server_that_fails_for_good_is_an_error_and_the_next_try_goes_on(tmp_path: Path, bucket: Bucket, s3: str, verb: str):
    store, other = filled(tmp_path / "here", 4), Store(tmp_path / "there")
    if verb == "pull":
        remote.push(store, s3)
    go = lambda: remote.push(store, s3) if verb == "push" else remote.pull(other, s3)
    bucket.requests, bucket.fault = 0, lambda count: "500 Internal Server Error" if count > 12 else None
    begun = time.monotonic()
    with pytest.raises(MlopsError, match=f"remote {s3}: .*again continues"):
        go()
    assert time.monotonic() - begun < 120
    bucket.fault = None
    assert go()["records"] == 4


def test_a_server_that_is_gone_or_silent_is_an_error(tmp_path: Path, s3: str, monkeypatch):
    store = filled(tmp_path / "here", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(MlopsError, match="Could not connect"):
        remote.push(store, s3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setattr(transport, "STALL_TIMEOUT", 2)
        begun = time.monotonic()
        with pytest.raises(MlopsError, match="did not answer in time"):
            remote.pull(store, s3)
        assert time.monotonic() - begun < 60


def test_wrong_places_are_said_so(tmp_path: Path, s3: str, monkeypatch):
    store = filled(tmp_path / "here", 1)
    for where, words in (("s4://anna:secret@flights", "Protocol not known"), ("s3://no-such-bucket/x", "it does not exist")):
        with pytest.raises(ConfigError, match=words) as raised:
            remote.push(store, where)
        assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match="it holds nothing of mlops"):
        remote.pull(store, s3)
    (tmp_path / "plain").write_text("")
    with pytest.raises(MlopsError, match="NotADirectoryError|FileExistsError"):
        remote.push(store, str(tmp_path / "plain"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(MlopsError, match="there are no credentials"):
        remote.push(store, s3)


def test_without_s3fs_it_is_said_what_to_install(tmp_path: Path):
    (tmp_path / "s3fs.py").write_text("raise ImportError('No module named s3fs')")
    process = subprocess.run([sys.executable, "-c", CALL, "push", str(tmp_path / "store"), "s3://bucket"], env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert "mlops_kit[remote]" in process.stderr and "ConfigError" in process.stderr


def test_eight_pull_at_once(tmp_path: Path):
    store, url = filled(tmp_path / "here"), f"file://{tmp_path}/remote"
    remote.push(store, url)
    processes = [subprocess.Popen([sys.executable, "-c", CALL, "pull", str(tmp_path / "there"), url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    check(Store(tmp_path / "there"), 4)


def test_a_large_file_takes_little_memory(tmp_path: Path):
    store, url = Store(tmp_path / "here"), f"file://{tmp_path}/remote"
    with open(tmp_path / "large", "wb") as large:
        for one in range(150):
            large.write(bytes([one]) * (1 << 20))
    publish_record(store, blank_record("large", outs={"a": {"file": "a", "digest": put_path(store, tmp_path / "large")}}))
    for verb, root in (("push", store.root), ("pull", tmp_path / "there")):
        code = CALL + "; print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0], file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", code, verb, str(root), url], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)["bytes"] == 150 << 20
        assert int(done.stderr) < 130e3


def test_a_pulled_result_is_a_hit(project: Project, tmp_path: Path, bucket: Bucket, s3: str, monkeypatch):
    "Also one with a secret, which its record doesn't tell, and one that looked at the project; unless what it saw is another one here"
    monkeypatch.setenv("MY_TOKEN", "k7Q9-token-of-the-test")
    (project.root / "beside.txt").write_text("1")
    project.notebook("draw", "import os\nprint('drawn')\nPath(os.environ['MLOPS_PROJECT'], 'beside.txt').read_text()\nresult.write_text('{\"a\": 1}')", parameters="from pathlib import Path\nword: str = ''\nresult: Path = Path('out/result.json')")
    project.pipeline("draw: {notebook: notebooks/draw.ipynb, params: {word: '${oc.env:MY_TOKEN}'}, outs: {result: result.json}, metrics: result}")
    (project.root / "conf/config.yaml").write_text(f"defaults: [mlops_kit, _self_]\nremote: {s3}")
    assert "no remote is given" not in project.mlops("plan", "pipeline=demo")
    run = project.json("run", "pipeline=demo")
    moved = project.json("push")
    assert moved["records"] == moved["runs"] == 1 and moved["remote"] == s3
    other = object.__new__(Project)
    other.root = tmp_path / "other"
    shutil.copytree(project.root, other.root, ignore=shutil.ignore_patterns(".mlops"))
    assert "1 records" in other.mlops("pull", s3, run["run"])
    assert other.statuses() == {"draw": "hit"}
    (other.root / "beside.txt").write_text("2")
    assert other.json("plan", "pipeline=demo")["draw"]["action"] == "run"
    shown = other.json("show", run["run"])
    assert shown["status"] == "done" and (other.root / ".mlops/runs" / run["run"] / "draw.log").read_text() == "drawn\n"
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]")
    assert "no remote is given: mlops push URL" in project.mlops("push", code=2)
