"""The store loses nothing and makes nothing up: full, read-only and failing disks, flipped bits, files that change under its hands."""
import errno
import itertools
import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from pathlib import Path

import pytest
from helpers.project import TESTS
from helpers.stores import BIG, check_store, keep_all, user_files

from mlops_kit.errors import StoreError, disk_error_text
from mlops_kit.store import files
from mlops_kit.store.objects import Store, digest, digest_path, checkout, get_bytes, put_path, put_bytes
from mlops_kit.store.sources import find_source, store_source

@pytest.fixture
def quick(tmp_path):
    "A folder where a sync costs nothing, if there is one"
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="mlops-test-") as folder:
        yield Path(folder)




def in_child(work, fault: str = "") -> dict:
    "Do some work in a fork, with a fault at one of its changes: what it said, and what it changed"
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            files._failpoint_numbers, os.environ["MLOPS_FAILPOINT"] = itertools.count(1), fault
            done, real = [], files.failpoint
            files.failpoint = lambda what, path: (done.append((what, str(path))), real(what, path))[1]
            try:
                work()
                said = None
            except OSError as error:
                said = disk_error_text(error) or repr(error)
            os.write(writer, json.dumps({"said": said, "done": done}).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as end:
        told = end.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(told) if told else {"said": f"signal {os.WTERMSIG(status)}", "done": []}


@pytest.mark.parametrize("power", [False, True], ids=["process", "power"])
@pytest.mark.parametrize("fault", ["enospc", "eio", "kill", "short", "eintr", pytest.param("edquot", marks=pytest.mark.long), pytest.param("eacces", marks=pytest.mark.long)])
def test_a_fault_at_every_change(quick, fault, power):
    data = user_files(quick / "data")
    before, number = digest_path(data), 0
    for number in itertools.count(1):
        store = Store(quick / "store", power)
        result = in_child(lambda store=store: keep_all(store, data), f"{number}:{fault}")
        if len(result["done"]) < number and fault != "kill" or result["said"] is None and fault == "kill":
            break  # more changes than these there are not
        if fault in ("short", "eintr"):
            assert result["said"] is None
        elif fault == "kill":
            assert result["said"] == "signal 9"
            shutil.rmtree(store.root / "tmp", ignore_errors=True)
        else:
            assert result["said"] and str(store.root) in result["said"] and os.strerror(getattr(errno, fault.upper())) in result["said"]
        check_store(store)
        assert keep_all(store, data) == before == digest_path(data), "the disk works again, and so does the store; the user's files are what they were"
        check_store(store)
        shutil.rmtree(store.root)
    assert number > 15


def test_what_failed_to_sync_has_no_name(quick):
    data, store = user_files(quick / "data"), Store(quick / "store", durable=True)
    done = in_child(lambda: keep_all(store, data))["done"]
    published = [number for number, (what, path) in enumerate(done) if what == "publish"]
    for number in published:
        path = Path(done[number][1])
        assert done[number - 1][0] == "sync" and Path(done[number - 1][1]).parent.name == "tmp", "content before the name"
        assert done[number + 1] == ["sync", str(path.parent)], "the name before anything else"
        for fault in (number, number + 2):
            shutil.rmtree(store.root)
            assert "failing" in in_child(lambda: keep_all(store, data), f"{fault}:eio")["said"]
            if path.parent.name != "demo":  # a ref may be moved already: it points to a record that is there
                assert not path.exists()


STRACE = shutil.which("strace")


def traced(tmp_path: Path, inject: str) -> subprocess.CompletedProcess:
    "Keep a folder at level `power` while the system itself fails"
    code = "import sys; from pathlib import Path; from mlops_kit.store import *; print(put_path(Store(Path(sys.argv[1]), True), Path(sys.argv[2])))"
    inside = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={inject}", sys.executable, "-c", code, tmp_path / "store", tmp_path / "data"]
    return subprocess.run(inside, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not STRACE, reason="strace is not installed")
def test_the_system_call_fails(tmp_path):
    data, store = user_files(tmp_path / "data"), Store(tmp_path / "store")
    for number in (1, 6, 9):
        done = traced(tmp_path, f"fsync:error=EIO:when={number}")
        assert done.returncode and "Input/output error" in done.stderr
        check_store(store)
        assert digest_path(data) not in store
    for inject in ("link,linkat:error=EPERM", "fsync:error=EINVAL", "copy_file_range:error=EXDEV"):
        shutil.rmtree(store.root)
        done = traced(tmp_path, inject)
        assert done.stdout.strip() == digest_path(data), done.stderr
        check_store(store)


# -- a disk of its own -------------------------------------------------------------------------------------------------------

CAN_MOUNT = not subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode if shutil.which("unshare") else False
mounts = pytest.mark.skipif(not CAN_MOUNT, reason="mounting a disk needs root")

FULL = """
import errno, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers.stores import check_store, keep_all
from mlops_kit.errors import disk_error_text
from mlops_kit.store.files import append_json_line, copy_file
from mlops_kit.store.objects import Store, digest_path
data, disk = Path(sys.argv[2]), Path(sys.argv[3])
before, refused = digest_path(data), 0
for size in range(256, 8192, int(sys.argv[4])):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", disk], check=True)
    store = Store(disk / "store")
    try:
        keep_all(store, data)
    except OSError as error:
        words, refused = disk_error_text(error), refused + 1
        assert "No space left on device" in words and "free" in words and " needed" in words, words
    check_store(store)
    for work in (lambda: append_json_line(store.root / "events.jsonl", "x" * 3000), lambda: copy_file(data / "large.bin", disk / "copy")):
        try:
            while not (disk / "copy").exists():
                work()
            (disk / "copy").unlink()
        except OSError as error:
            assert error.errno == errno.ENOSPC and not (disk / "copy").exists()
    check_store(store)
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    assert keep_all(store, data) == before == digest_path(data)
    check_store(store)
    subprocess.run(["umount", disk], check=True)
print(refused)
"""


@mounts
@pytest.mark.parametrize("step", [512, pytest.param(64, marks=pytest.mark.long)])
def test_disks_of_many_sizes_are_full(tmp_path, step):
    data, disk = user_files(tmp_path / "data"), tmp_path / "disk"
    disk.mkdir()
    for number in range(4):
        (data / f"more{number}.bin").write_bytes(random.Random(number).randbytes(900_000))
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", FULL, TESTS, data, disk, str(step)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def in_namespace(project, script: str, code: int = 0) -> str:
    "Run a shell script that may mount; it has a fork server of its own"
    runtime = project.root.parent / "runtime"
    runtime.mkdir(exist_ok=True)
    script = f"export PATH={Path(sys.executable).parent}:$PATH MLOPS_RUNTIME_DIR={runtime}\n{script}\ncode=$?\nmlops engine stop >/dev/null\nexit $code"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=project.root, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@mounts
@pytest.mark.parametrize("sizes", [(16, 1024), pytest.param((4, 8, 12, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 160, 200, 256, 384, 512, 1024, 2048, 3072), marks=pytest.mark.long)], ids=["few", "many"])
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(project, sizes):
    project.notebook("large", 'blob.write_bytes(bytes(range(256)) * 8192)', parameters='from pathlib import Path\nblob: Path = Path("out/blob.bin")')
    project.pipeline("small: {notebook: notebooks/good.ipynb, outs: {result: result.json}}\nlarge: {notebook: notebooks/large.ipynb, outs: {blob: blob.bin}}")
    (project.root / ".mlops").mkdir()
    run = "mlops run pipeline=demo tracking=disabled"
    said = in_namespace(project, "mount -t tmpfs none .mlops\n" + "".join(f"""
umount .mlops; mount -t tmpfs -o size={size}k none .mlops; {run} --json 2>&1; echo "ended with $?"; ls -A .mlops/tmp 2>/dev/null
mount -o remount,size=64m .mlops; {run} --json 2>/dev/null; echo ======""" for size in sizes))
    for full in said.split("======\n")[:-1]:
        first, _, second = full.partition("ended with 1\n")
        errors = [one["error"] for one in json.loads(first.splitlines()[-1]).get("steps", {}).values() if one["error"]] or json.loads(first.splitlines()[-1])["problems"]
        assert errors and all("No space left on device" in error for error in errors) and "fault of mlops itself" not in first, first
        assert any("make room there" in error for error in errors) or "In [2] raised OSError" in errors[0], first
        *left, done = second.splitlines()
        assert not left, "nothing in the making is left"
        assert {one["status"] for one in json.loads(done)["steps"].values()} <= {"hit", "ran"}, second


@mounts
def test_a_read_only_store_gives_what_it_has(project):
    project.pipeline("one: {notebook: notebooks/good.ipynb, outs: {result: result.json}}\ntwo: {notebook: notebooks/good.ipynb, params: {number: 2}, outs: {result: result.json}}")
    read_only = "mount --bind .mlops .mlops && mount -o remount,ro,bind .mlops"
    said = in_namespace(project, f"mlops run pipeline=demo >/dev/null 2>&1 && {read_only} && mlops run pipeline=demo --json && ls .mlops/runs | wc -l")
    assert {one["status"] for one in json.loads(said.partition("\n")[0])["steps"].values()} == {"hit"} and said.splitlines()[1] == "1", said
    said = in_namespace(project, f"{read_only} && mlops plan pipeline=demo && mlops run pipeline=demo pipeline.steps.two.params.number=3", code=2)
    assert "can't be written to and lacks the results of 1 steps (two)" in said and "store=" in said


def test_levels(project):
    project.pipeline("one: {notebook: notebooks/good.ipynb, outs: {result: result.json}}")
    assert "no level 'pover': did you mean 'power'?" in project.mlops("run", "pipeline=demo", "durability=pover", code=2)
    project.mlops("run", "pipeline=demo")  # else strace would wait for the fork server
    if STRACE:
        process = project.start("run", "pipeline=demo", "tracking=disabled", "durability=power", "store=.power", before=("strace", "-f", "-e", "trace=fsync", "-o", "trace"))
        assert process.wait(120) == 0
        trace = (project.root / "trace").read_text()
        assert trace.count("fsync(") > 20 and trace.count("= 0") >= trace.count("fsync(")


def test_level_process_never_syncs(tmp_path):
    data = user_files(tmp_path / "data")
    count = {power: sum(what == "sync" for what, _ in in_child(lambda power=power: keep_all(Store(tmp_path / "store", power), data))["done"]) for power in (False, True)}
    assert count[False] == 0 < count[True]


# -- what is read is what was kept -------------------------------------------------------------------------------------------


def test_500_flipped_bits_are_found(tmp_path):
    chance, store = random.Random(7), Store(tmp_path / "store")
    contents = {put_bytes(store, content): content for content in [*(chance.randbytes(chance.randrange(1, 5000)) for _ in range(30)), chance.randbytes(BIG)]}
    tree = put_path(store, user_files(tmp_path / "data"))
    contents[tree] = get_bytes(store, tree)
    for _ in range(500):
        name = chance.choice(list(contents))
        path = store.path(name)
        known, raw = path.stat(), bytearray(path.read_bytes())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.chmod(0o644)
        path.write_bytes(raw)
        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
        path.chmod(known.st_mode)
        assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_mode) == (known.st_size, known.st_mtime_ns, known.st_mode)
        way = chance.choice(["get", "get_bytes", "put"])
        if way != "put":
            with pytest.raises(StoreError, match="damaged"):
                checkout(store, name, tmp_path / "out") if way == "get" else get_bytes(store, name)
            assert name not in store and not list(tmp_path.glob("out/*")) and not (tmp_path / "out").is_file()
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        put_bytes(store, contents[name], ".tree" * name.endswith(".tree"))  # made again: whole again
        assert get_bytes(store, name) == contents[name]


def test_the_trash_gives_back_what_is_whole(tmp_path):
    store = Store(tmp_path / "store")
    tree = put_path(store, user_files(tmp_path / "data"))
    (store.root / "trash").mkdir()
    for path in list((store.root / "objects").glob("*/*")):
        os.replace(path, store.root / "trash" / (path.parent.name + path.name))
    checkout(store, tree, tmp_path / "out")
    assert digest_path(tmp_path / "out") == tree and not list((store.root / "trash").iterdir())
    name = digest(tmp_path / "data/large.bin")
    os.replace(store.path(name), store.root / "trash" / name)
    with open(store.root / "trash" / name, "r+b") as out:
        out.write(b"spoilt")
    assert name not in store


def test_what_happens_to_the_original_never_reaches_the_store(tmp_path):
    data, store = user_files(tmp_path / "data"), Store(tmp_path / "store")
    os.link(data / "large.bin", tmp_path / "linked")
    tree = put_path(store, data)
    checkout(store, tree, tmp_path / "out")
    for path in (tmp_path / "linked", data / "deep/0.csv", tmp_path / "out/large.bin", tmp_path / "out/deep/1.csv"):
        with open(path, "r+b") as out:
            out.write(b"changed in place")
    checkout(store, tree, tmp_path / "again")
    assert digest_path(tmp_path / "again") == tree != digest_path(data)


@pytest.mark.parametrize("size", [50_000, 4 * BIG])
def test_a_file_that_changes_while_it_is_put_is_kept_under_its_own_name(tmp_path, size):
    path, store, stop = tmp_path / "busy.bin", Store(tmp_path / "store"), threading.Event()
    path.write_bytes(bytes(size))

    def disturb():
        with open(path, "r+b", buffering=0) as out:
            for number in itertools.count(1):
                out.seek(random.randrange(size))
                out.write(bytes([number % 256]) * 10)
                if number % 50 == 0:
                    out.truncate(size - random.randrange(2) * 1000)
                if stop.is_set():
                    return

    thread = threading.Thread(target=disturb)
    thread.start()
    names = set()
    for _ in range(10):
        names.add(put_path(store, path))
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert len(names) > 1
    check_store(store)
    assert all(digest(get_bytes(store, name)) == name for name in names)


def test_odd_names_and_odd_files(tmp_path):
    data, store = tmp_path / "data", Store(tmp_path / "store")
    data.mkdir()
    names = ["new\nline", "-rf", " ", "a" * 255, "*", "\\", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), "\x01", "ü" * 127]
    for name in names:
        (data / name).write_text(name)
    (data / "-rf.d/\n").mkdir(parents=True)
    (data / "-rf.d/\n/x").touch()
    checkout(store, put_path(store, data), tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*names, "-rf.d"]) and digest_path(tmp_path / "out") == digest_path(data)
    assert find_source("data", tmp_path, store).digest == digest_path(data)
    for make in (lambda path: os.mkfifo(path), lambda path: os.symlink("/etc/passwd", path), lambda path: os.symlink("/nowhere", path)):
        make(data / "odd")
        for path in (data, data / "odd"):
            with pytest.raises(StoreError, match="link or a device"):
                put_path(store, path)
        (data / "odd").unlink()
    (data / os.fsdecode(b"caf\xe9")).touch()
    with pytest.raises(StoreError, match=r"caf\\xe9 is not valid UTF-8"):
        put_path(store, data)


# -- knowing without reading -------------------------------------------------------------------------------------------------


_opened: list[str] = []
sys.addaudithook(lambda event, args: _opened.append(str(args[0])) if event == "open" else None)


def opened_in(folder: Path, work) -> set[str]:
    "The files below a folder that some work opens"
    _opened.clear()
    work()
    return {str(Path(one).relative_to(folder)) for one in _opened if one.startswith(f"{folder}/") and Path(one).is_file()}


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    "A project with a folder of tables that have been left alone for a while, and a store that knows them"
    root = tmp_path_factory.mktemp("settled")
    for name in ("a", "b", "sub/c", "sub/d"):
        (root / "data/sub").mkdir(parents=True, exist_ok=True)
        (root / f"data/{name}.csv").write_text(f"{name}\n" * 9)
    (root / "store").mkdir()
    time.sleep(2.1)
    return root


def test_only_what_changed_is_read(settled, tmp_path):
    shutil.copytree(settled, root := tmp_path / "copy")
    store, data = Store(root / "store"), root / "data"
    time.sleep(2.1)
    look = lambda: find_source("data", root, store).digest
    assert len(opened_in(data, look)) == 4 and opened_in(data, look) == set()

    def same_size_same_date(path: Path):
        date = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes().swapcase())
        os.utime(path, ns=(date, date))

    changes = {
        "content, size and date as before": (lambda: same_size_same_date(data / "a.csv"), {"a.csv"}),
        "another file under the name": (lambda: ((data / "new").write_text("b\n" * 8 + "x\n"), os.replace(data / "new", data / "b.csv")), {"a.csv", "b.csv"}),
        "one more": (lambda: (data / "e.csv").write_text("e"), {"a.csv", "b.csv", "e.csv"}),
        "one less": (lambda: (data / "sub/c.csv").unlink(), {"a.csv", "b.csv", "e.csv"}),
        "two that swap their names": (lambda: (os.rename(data / "a.csv", data / "t"), os.rename(data / "sub/d.csv", data / "a.csv"), os.rename(data / "t", data / "sub/d.csv")), {"a.csv", "b.csv", "e.csv", "sub/d.csv"}),
        "a folder with another name": (lambda: os.rename(data / "sub", data / "sub2"), {"a.csv", "b.csv", "e.csv", "sub2/d.csv"}),
    }
    for what, (change, read) in changes.items():
        before = look()
        change()
        assert opened_in(data, look) == read, f"{what}: what changed less than 2 s ago is read each time"
        assert look() == digest_path(data) != before, what
    time.sleep(2.1)
    assert len(opened_in(data, look)) == 4 and opened_in(data, look) == set()
    os.utime(data / "a.csv", (time.time() + 9999, time.time() + 9999))
    time.sleep(2.1)
    assert [opened_in(data, look) for _ in range(3)] == [{"a.csv"}] * 3, "a file from the future is never trusted"


def test_a_damaged_memory_counts_for_nothing(settled):
    store = Store(settled / "store")
    look = lambda: find_source("data", settled, store).digest
    look()
    memory = next((store.root / "seen").iterdir())
    whole, true, chance = memory.read_bytes(), digest_path(settled / "data"), random.Random(3)
    for number in range(300):
        raw = bytearray(whole)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        memory.write_bytes(raw)
        if number % 2:
            (settled / "data/a.csv").touch()  # then the others are looked up one by one
        assert look() == true
    for raw in (b"", b"\n", whole[:100], b"{}\n", whole[:-1], b"\xff" * 999):
        memory.write_bytes(raw)
        assert look() == true
    memory.unlink()
    assert look() == true


def test_a_source_in_the_store_is_not_read_again(settled):
    store = Store(settled / "store")
    source = find_source("data", settled, store)
    assert len(opened_in(settled / "data", lambda: store_source(store, source))) == 4
    assert opened_in(settled / "data", lambda: store_source(store, source)) == set()
    store.path(digest(settled / "data/a.csv")).unlink()
    assert opened_in(settled / "data", lambda: store_source(store, source)) == {"a.csv"}
    checkout(store, source.digest, settled / "out")
    assert digest_path(settled / "out") == source.digest


@pytest.mark.parametrize("place", ["", "/dev/shm"])  # a file system that is written back, and one that never is
def test_what_is_written_through_a_memory_map_is_noticed(settled, place):
    with tempfile.TemporaryDirectory(dir=place or settled) as folder:
        file = Path(folder, "data.bin")
        file.write_bytes(b"1" * 4096)
        with open(file, "r+b") as opened:
            mapped = mmap.mmap(opened.fileno(), 0)
        mapped[0:1] = b"2"
        time.sleep(2.1)
        store = Store(settled / "store")
        before, times = find_source(str(file), settled, store).digest, file.stat().st_mtime_ns
        mapped[0:1] = b"3"
        assert file.stat().st_mtime_ns == times and find_source(str(file), settled, store).digest == digest(file) != before
        mapped.close()
