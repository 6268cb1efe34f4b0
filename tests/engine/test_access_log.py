"""The access log names what native readers and programs ask for, each file as found or absent, and disturbs nothing."""
import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.engine.access_log import (
    Access, access_library, exclude_own_files, preload_variables, read_access_log, start_access_log,
)

ROOT = Path(__file__).parent.parent.parent
SYSTEM = ["/usr", "/lib", "/lib64", "/bin", "/etc", "/sys", sys.prefix, sys.base_prefix]
EXPECTED = sys.platform == "linux" and shutil.which("gcc")
pytestmark = pytest.mark.skipif(not EXPECTED and access_library() is None, reason="no compiler, no library")


def observe(root: Path, words: list, cwd: Path | None = None, **options) -> list[Access]:
    """Run a program, observed; what was logged below the root, by names from there, and all that is no path."""
    done = subprocess.run(list(map(str, words)), cwd=cwd or root, env=variables(root), capture_output=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return logged(root)


def variables(root: Path) -> dict[str, str]:
    """The variables of an observed process; its log is beside the root."""
    log = root.with_name(root.name + ".log")
    log.unlink(missing_ok=True)
    return os.environ | preload_variables(log, SYSTEM)


def logged(root: Path) -> list[Access]:
    """The log of the processes that had these variables."""
    accesses = read_access_log(root.with_name(root.name + ".log"))
    below = [access for access in accesses if f"{access.path}/".startswith(f"{root}/") or not access.path.startswith("/")]
    return [Access(access.kind, access.found, access.path.removeprefix(f"{root}").lstrip("/") or ".") for access in below]


def names(accesses: list[Access], kind: str, found: bool = True) -> set[str]:
    """The paths of one kind."""
    return {access.path for access in accesses if access.kind == kind and access.found == found}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a few files."""
    folder = tmp_path.resolve() / "root"
    for name in ("a.txt", "b.txt", "d/c.txt", "d/e/f.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    (folder / "l").symlink_to("d")
    return folder


# -- every function ----------------------------------------------------------------------------------------------------------

# one line of Python that calls a function of the C library, and what must be logged: kind, found, path
BUFFER = "ctypes.create_string_buffer(8192)"
CALLS = {
    "open": ("c.open(b'a.txt', 0)", "r1a.txt"), "open64": ("c.open64(b'no', 0)", "r0no"),
    "__open_2": ("c.__open_2(b'a.txt', 0)", "r1a.txt"), "__open64_2": ("c.__open64_2(b'a.txt', 0)", "r1a.txt"),
    "openat": ("c.openat(d, b'c.txt', 0)", "r1d/c.txt"), "openat64": ("c.openat64(d, b'no', 0)", "r0d/no"),
    "__openat_2": ("c.__openat_2(d, b'c.txt', 0)", "r1d/c.txt"), "__openat64_2": ("c.__openat64_2(d, b'../b.txt', 0)", "r1b.txt"),
    "creat": ("c.creat(b'n', 0o600)", "w0n"), "creat64": ("c.creat64(b'a.txt', 0o600)", "w0a.txt"),
    "fopen": ("c.fopen(b'a.txt', b'r+')", "r1a.txt w1a.txt"), "fopen64": ("c.fopen64(b'n', b'a')", "w0n"),
    "freopen": ("c.freopen(b'a.txt', b'r', f(c.fopen(b'b.txt', b'r')))", "r1b.txt r1a.txt"),
    "freopen64": ("c.freopen64(b'no', b'r', f(c.fopen(b'b.txt', b'r')))", "r1b.txt r0no"),
    "stat": (f"c.stat(b'a.txt', {BUFFER})", "s1a.txt"), "stat64": (f"c.stat64(b'no', {BUFFER})", "s0no"),
    "lstat": (f"c.lstat(b'l', {BUFFER})", "k1l"), "lstat64": (f"c.lstat64(b'no', {BUFFER})", "k0no"),
    "fstatat": (f"c.fstatat(d, b'c.txt', {BUFFER}, 0)", "s1d/c.txt"), "fstatat64": (f"c.fstatat64(d, b'c.txt', {BUFFER}, 0x100)", "k1d/c.txt"),
    "statx": (f"c.statx(d, b'c.txt', 0, 0x7ff, {BUFFER})", "s1d/c.txt"),
    "__xstat": (f"c.__xstat(1, b'a.txt', {BUFFER})", "s1a.txt"), "__xstat64": (f"c.__xstat64(1, b'no', {BUFFER})", "s0no"),
    "__lxstat": (f"c.__lxstat(1, b'l', {BUFFER})", "k1l"), "__lxstat64": (f"c.__lxstat64(1, b'l', {BUFFER})", "k1l"),
    "__fxstatat": (f"c.__fxstatat(1, d, b'c.txt', {BUFFER}, 0)", "s1d/c.txt"), "__fxstatat64": (f"c.__fxstatat64(1, d, b'no', {BUFFER}, 0)", "s0d/no"),
    "access": ("c.access(b'a.txt', 4)", "s1a.txt"), "eaccess": ("c.eaccess(b'no', 0)", "s0no"),
    "euidaccess": ("c.euidaccess(b'a.txt', 4)", "s1a.txt"), "faccessat": ("c.faccessat(d, b'c.txt', 4, 0)", "s1d/c.txt"),
    "readlink": (f"c.readlink(b'l', {BUFFER}, 100)", "k1l"), "readlinkat": (f"c.readlinkat(-100, b'a.txt', {BUFFER}, 100)", "k1a.txt"),
    "__readlink_chk": (f"c.__readlink_chk(b'l', {BUFFER}, 100, 8192)", "k1l"),
    "__readlinkat_chk": (f"c.__readlinkat_chk(-100, b'l', {BUFFER}, 100, 8192)", "k1l"),
    "realpath": (f"c.realpath(b'l/c.txt', {BUFFER})", "k1l/c.txt"), "__realpath_chk": (f"c.__realpath_chk(b'l', {BUFFER}, 8192)", "k1l"),
    "canonicalize_file_name": ("c.canonicalize_file_name(b'no')", "k0no"),
    "opendir": ("c.opendir(b'd')", "l1d"), "fdopendir": ("c.fdopendir(os.open('d/e', 0))", "r1d/e l1d/e"), "getdents64": (f"c.getdents64(os.open('d/e', 0), {BUFFER}, 8192)", "r1d/e l1d/e"),
    "scandir": ("c.scandir(b'd', b(p()), None, None)", "l1d"), "scandir64": ("c.scandir64(b'no', b(p()), None, None)", "l0no"),
    "scandirat": ("c.scandirat(d, b'e', b(p()), None, None)", "l1d/e"), "scandirat64": ("c.scandirat64(d, b'e', b(p()), None, None)", "l1d/e"),
    "glob": (f"c.glob(b'd/*/*.txt', 0, None, {BUFFER})", "l1d l1d/e"), "glob64": (f"c.glob64(b'd/no*', 0, None, {BUFFER})", "l1d"),
    "ftw": ("c.ftw(b'd', v, 5)", "u0d"), "ftw64": ("c.ftw64(b'd', v, 5)", "u0d"), "nftw": ("c.nftw(b'd', v, 5, 0)", "u0d"), "nftw64": ("c.nftw64(b'd', v, 5, 0)", "u0d"),
    "fts_open": ("c.fts_open((p * 2)(b'd', None), 2, None)", "u0d"), "fts64_open": ("c.fts64_open((p * 2)(b'd', None), 2, None)", "u0d"),
    "chdir": ("c.chdir(b'd'), c.open(b'c.txt', 0)", "s1d r1d/c.txt"), "fchdir": ("c.fchdir(d), c.open(b'e/f.txt', 0)", "r1d/e/f.txt"),
    "chroot": ("c.chroot(b'no')", ""), "getenv": ("c.getenv(b'COLOUR')", "v0COLOUR"), "secure_getenv": ("c.secure_getenv(b'PATH')", "v1PATH"),
    "dlopen": ("c.dlopen(b'./a.txt', 1), c.dlopen(b'libno.so', 1)", "m1a.txt m1libno.so"),
    "mkdir": ("c.mkdir(b'n', 0o700), c.mkdir(b'd', 0o700), c.mkdir(b'no/n', 0o700)", "s0n w0n s1d s0no/n s0no"), "mkdirat": ("c.mkdirat(d, b'n', 0o700)", "s0d/n w0d/n"),
    "mknod": ("c.mknod(b'n', 0o100600, 0)", "s0n w0n"), "mknodat": ("c.mknodat(d, b'n', 0o100600, 0)", "s0d/n w0d/n"),
    "mkfifo": ("c.mkfifo(b'n', 0o600)", "s0n w0n"), "mkfifoat": ("c.mkfifoat(d, b'n', 0o600)", "s0d/n w0d/n"),
    "unlink": ("c.unlink(b'a.txt'), c.unlink(b'no')", "w1a.txt s0no"), "unlinkat": ("c.unlinkat(d, b'e', 0x200)", "l1d/e"),
    "rmdir": ("c.rmdir(b'd')", "l1d"), "remove": ("c.remove(b'a.txt')", "w1a.txt"),
    "truncate": ("c.truncate(b'a.txt', 1)", "w1a.txt"), "truncate64": ("c.truncate64(b'no', 1)", "s0no"),
    "rename": ("c.rename(b'a.txt', b'n'), c.rename(b'd', b'm')", "r1a.txt w1a.txt w0n r1d w1d l0m w0m"), "renameat": ("c.renameat(d, b'c.txt', -100, b'b.txt')", "r1d/c.txt w1d/c.txt w0b.txt"),
    "renameat2": ("c.renameat2(-100, b'a.txt', -100, b'b.txt', 2)", "r1a.txt k1b.txt r1b.txt w0a.txt w0b.txt"),
    "link": ("c.link(b'a.txt', b'n')", "r1a.txt s0n w0n"), "linkat": ("c.linkat(d, b'c.txt', -100, b'b.txt', 0)", "s1d/c.txt s1b.txt"),
    "symlink": ("c.symlink(b'../b.txt', b'd/n')", "s0d/n w0d/n"), "symlinkat": ("c.symlinkat(b'no', d, b'n')", "s0d/n w0d/n"),
    "mkdtemp": ("c.mkdtemp(x)", "w0x"), "mkstemp": ("c.mkstemp(x)", "w0x"), "mkstemp64": ("c.mkstemp64(x)", "w0x"),
    "mkostemp": ("c.mkostemp(x, 0)", "w0x"), "mkostemp64": ("c.mkostemp64(x, 0)", "w0x"), "mkstemps": ("c.mkstemps(x, 0)", "w0x"),
    "mkstemps64": ("c.mkstemps64(x, 0)", "w0x"), "mkostemps": ("c.mkostemps(x, 0, 0)", "w0x"), "mkostemps64": ("c.mkostemps64(x, 0, 0)", "w0x"),
    "execve": ("fork() or c.execve(b'/bin/cat', w, (p * 1)(None))", "P/bin/cat r1a.txt"), "execv": ("fork() or c.execv(b'/bin/cat', w)", "P/bin/cat r1a.txt"),
    "execvp": ("fork() or c.execvp(b'cat', w)", "r1a.txt"), "execvpe": ("fork() or c.execvpe(b'cat', w, (p * 1)(None))", "r1a.txt"),
    "execl": ("fork() or c.execl(b'/bin/cat', b'cat', b'a.txt', None)", "P/bin/cat r1a.txt"), "execlp": ("fork() or c.execlp(b'cat', b'cat', b'a.txt', None)", "r1a.txt"),
    "execle": ("fork() or c.execle(b'/bin/cat', b'cat', b'a.txt', None, (p * 1)(None))", "P/bin/cat r1a.txt"),
    "execveat": ("fork() or c.execveat(-100, b'/bin/cat', w, (p * 1)(None), 0)", "P/bin/cat r1a.txt"),
    "fexecve": ("fork() or c.fexecve(os.open('/bin/cat', 0), w, (p * 1)(None))", "r1a.txt"),
    "posix_spawn": ("c.posix_spawn(b(i), b'/bin/cat', None, None, w, (p * 1)(None)), os.waitpid(i.value, 0)", "P/bin/cat r1a.txt"),
    "posix_spawnp": ("c.posix_spawnp(None, b'cat', None, None, w, (p * 1)(None)), os.wait()", "r1a.txt"),
    "posix_spawn_file_actions_addopen": (
        "c.posix_spawn_file_actions_init(y), c.posix_spawn_file_actions_addopen(y, 0, b'a.txt', 0, 0), c.posix_spawn_file_actions_addopen(y, 1, b'n', 0x241, 0o600)", "r1a.txt w0n"),
    "setrlimit": ("c.setrlimit(1, (ctypes.c_ulong * 2)(1 << 30, 1 << 30))", "u0a process with a limited file size"),
    "setrlimit64": ("c.setrlimit64(1, (ctypes.c_ulong * 2)(1 << 30, 1 << 30))", "u0a process with a limited file size"),
    "setuid": ("c.setuid(65534)", "u0a process with other rights"), "seteuid": ("c.seteuid(65534)", "u0a process with other rights"),
    "setreuid": ("c.setreuid(-1, 65534)", "u0a process with other rights"), "setresuid": ("c.setresuid(os.geteuid(), -1, os.geteuid())", ""),
    "inotify_add_watch": ("c.inotify_add_watch(c.inotify_init(), b'a.txt', 2)", "s1a.txt"), "shm_open": ("c.shm_open(b'/no-such', 0, 0)", ""),  # below /dev/shm: see the changes of data
    "connect": ("__import__('socket').socket(2, 2).connect_ex(('192.0.2.1', 9)), __import__('socket').socket(2, 2).connect_ex(('127.0.0.1', 9))", "n1192.0.2.1:9"),
    "system": ("os.environ.clear(), c.system(b'cat a.txt')", "r1a.txt"), "popen": ("os.environ.clear(), c.pclose(f(c.popen(b'cat a.txt', b'r')))", "r1a.txt"),
}
PRELUDE = """
import ctypes, os
c, p, f, b = ctypes.CDLL(None), ctypes.c_char_p, ctypes.c_void_p, ctypes.byref
for name in "fopen fopen64 freopen freopen64 popen opendir fdopendir".split():
    getattr(c, name).restype = f
v = ctypes.CFUNCTYPE(ctypes.c_int, p, f, ctypes.c_int)(lambda *all: 0)
d, w, i, x = os.open("d", os.O_PATH), (p * 3)(b"cat", b"a.txt", None), ctypes.c_int(), ctypes.create_string_buffer(b"xXXXXXX")
y = ctypes.create_string_buffer(512)
def fork():
    pid = os.fork()
    return pid and os.waitpid(pid, 0)
"""
KINDS = {"r": "read", "w": "write", "s": "stat", "k": "link", "l": "list", "v": "variable", "m": "library", "n": "network", "u": "unseen"}


def test_every_function_that_is_redefined_is_in_the_table():
    lines = subprocess.run(["nm", "-D", "--defined-only", access_library()], capture_output=True, text=True, check=True).stdout
    defined = {line.split()[-1] for line in lines.splitlines()}
    assert defined - {"__start_mlops_hooks", "__stop_mlops_hooks"} == {*CALLS, "mlops_access_log"}


@pytest.mark.parametrize("name", CALLS)
def test_a_function_is_logged(name: str, root: Path):
    call, wanted = CALLS[name]
    expected = {Access(KINDS[text[0]], text[1] == "1", text[2:]) for text in re.split(" (?=[a-zP][01/])", wanted) if text[:1] not in ("", "P")}
    accesses = observe(root, [sys.executable, "-ISc", PRELUDE + call])
    temporary = [Access(access.kind, access.found, re.sub(r"^x\w{6}$", "x", access.path)) for access in accesses]
    files = {access for access in temporary if access.kind not in ("variable", "program", "library")} - {Access("stat", True, "d")}
    assert files | expected & set(accesses) == expected
    programs = {text[1:] for text in wanted.split() if text[0] == "P"}
    assert programs <= names(read_access_log(root.with_name("root.log")), "program")


# -- every kind of reader ----------------------------------------------------------------------------------------------------

PYTHON = [sys.executable, "-IS", "-c"]
SQLITE = """
import sqlite3
base = sqlite3.connect("one.db")
base.execute("ATTACH 'two.db' AS two")
print(base.execute("SELECT * FROM two.facts, more").fetchall())
"""
THREADS = """
import os, threading
def read(number):
    for name in range(100):
        os.open(f"many/{number}-{name}", 0)
threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
"""
# what a program reads, and what it looks for in vain, by kind
READERS = {
    "cat": (["cat", "a.txt", "no", "d/../b.txt"], {"read": {"a.txt", "b.txt"}, "absent read": {"no"}}, 1),
    "bash": (["bash", "-c", "read x < a.txt; [[ -e no ]]; echo d/*.txt; . ./b.txt 2>/dev/null; true"], {"read": {"a.txt", "b.txt"}, "list": {"d"}, "absent stat": {"no"}}),
    "chdir": (["sh", "-c", "cd d; cat c.txt e/f.txt; cd ..; cat b.txt"], {"read": {"d/c.txt", "d/e/f.txt", "b.txt"}}),
    "clean environment": (["env", "-i", "/bin/sh", "-c", "cat a.txt; exec env -i /bin/cat b.txt"], {"read": {"a.txt", "b.txt"}}),
    "other programs": (["xargs", "-a", "a.txt", "-n1", "timeout", "9", "nice", "nohup", "cat"], {"read": {"a.txt"}}),
    "find": (["find", ".", "-name", "*.txt"], {"list": {".", "d", "d/e"}}), "ls": (["ls", "-l", "d"], {"list": {"d"}, "link": {"d", "d/c.txt", "d/e"}}),
    "du": (["du", "-a", "d"], {"list": {"d", "d/e"}, "link": {"d", "d/c.txt", "d/e", "d/e/f.txt"}}),
    "readlink": (["readlink", "l"], {"link": {"l"}}), "stat": (["stat", "a.txt"], {"link": {"a.txt"}}), "test": (["/usr/bin/test", "-r", "a.txt"], {"stat": {"a.txt"}}),
    "dd": (["dd", "if=a.txt", "of=n"], {"read": {"a.txt"}, "made": {"n"}}), "cp": (["cp", "-r", "d", "n"], {"read": {"d/c.txt", "d/e/f.txt"}, "list": {"d", "d/e"}, "absent read": {"n"}}),
    "mv": (["mv", "a.txt", "n"], {"read": {"a.txt"}, "write": {"a.txt"}, "made": {"n"}}), "rm": (["rm", "-r", "d"], {"list": {"d", "d/e"}, "write": {"d", "d/e", "d/c.txt", "d/e/f.txt"}}),
    "sort": (["sort", "-o", "n", "a.txt", "b.txt"], {"read": {"a.txt", "b.txt"}}), "diff": (["sh", "-c", "diff a.txt l/c.txt; true"], {"read": {"a.txt", "l/c.txt"}}),
    "awk": (["awk", "BEGIN {while ((\"cat a.txt\" | getline x) > 0); system(\"cat b.txt\"); getline < \"d/c.txt\"}"], {"read": {"a.txt", "b.txt", "d/c.txt"}}),
    "perl": (["perl", "-e", "print `cat a.txt`; system('cat', 'b.txt'); open(F, 'd/c.txt'); print glob('d/e/*')"], {"read": {"a.txt", "b.txt", "d/c.txt"}, "list": {"d/e"}}),
    "node": (["node", "-e", "const f = require('fs'); f.readFileSync('a.txt'); f.readdirSync('d'); require('child_process').execSync('cat b.txt', {env: {}})"],
             {"read": {"a.txt", "b.txt"}, "list": {"d"}}),
    "git": (["git", "hash-object", "a.txt", "d/c.txt"], {"read": {"a.txt", "d/c.txt"}}), "make": (["make", "-f", "Makefile"], {"read": {"Makefile", "a.txt"}, "made": {"n"}, "absent read": {"n"}}),
    "sqlite3": (["sqlite3", "one.db", "ATTACH 'two.db' AS two; SELECT * FROM two.facts, more"], {"read": {"one.db", "two.db", "two.db-wal", "two.db-shm"}, "absent stat": {"one.db-journal", "one.db-wal"}}),
    "sqlite3 in Python": ([*PYTHON, SQLITE], {"read": {"one.db", "two.db", "two.db-wal", "two.db-shm"}, "absent stat": {"one.db-journal", "one.db-wal"}}),
    "Python": ([*PYTHON, "import os; open('a.txt').read(); os.path.exists('no'); os.listdir('d')"], {"read": {"a.txt"}, "absent stat": {"no"}, "list": {"d"}}),
    "memory map": ([*PYTHON, "import mmap, os; mmap.mmap(os.open('a.txt', 0), 0, prot=1).read()"], {"read": {"a.txt"}}),
    "descriptors": ([*PYTHON, "import os; d = os.open('d', 0); os.chdir('/'); os.open('e/f.txt', 0, dir_fd=d)"], {"read": {"d/e/f.txt"}}),
    "own environment": ([*PYTHON, "import subprocess; subprocess.run(['cat', 'c.txt'], env={'PATH': '/bin'}, cwd='d')"], {"read": {"d/c.txt"}}),
    "fork, then exec": ([*PYTHON, "import os; os.fork() or os.execve('/bin/cat', ['cat', 'a.txt'], {}); os.wait(); os.posix_spawn('/bin/cat', ['cat', 'b.txt'], {}); os.wait()"], {"read": {"a.txt", "b.txt"}}),
    "threads": ([*PYTHON, THREADS], {"read": {f"many/{number}-{name}" for number in range(8) for name in range(100)}}),
    "link of /proc": (["cat", "/proc/self/cwd/a.txt"], {"read": {"a.txt"}}),
}


def by_kind(accesses: list[Access]) -> dict[str, set[str]]:
    """The paths of each kind: what was there, what was absent, what was made."""
    kinds = {}
    for access in accesses:
        name = access.kind if access.found else "made" if access.kind == "write" else f"absent {access.kind}"
        kinds.setdefault(name, set()).add(access.path)
    return kinds


@pytest.fixture
def world(root: Path) -> Path:
    """The files, two databases (one with a write-ahead log), a Makefile and 800 small files."""
    code = """
import os, sqlite3
one, two = sqlite3.connect("one.db"), sqlite3.connect("two.db")
two.execute("PRAGMA journal_mode=WAL").fetchall()
two.executescript("CREATE TABLE facts (x); INSERT INTO facts VALUES (1)")
one.executescript("CREATE TABLE more (y); INSERT INTO more VALUES (2)")
os._exit(0)
"""
    subprocess.run([*PYTHON, code], cwd=root, check=True)
    (root / "many").mkdir()
    for number in range(8):
        for name in range(100):
            (root / f"many/{number}-{name}").touch()
    (root / "Makefile").write_text("n: a.txt\n\tcp a.txt n\n")
    return root


@pytest.mark.parametrize("name", READERS)
def test_a_reader_is_logged(name: str, world: Path):
    words, wanted, *returncode = READERS[name]
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]}")
    folders = {str(path.relative_to(world)) for path in world.rglob("*") if path.is_dir()} | {"."}
    subprocess.run(list(map(str, words)), cwd=world, env=variables(world), capture_output=True, timeout=60, check=not returncode)
    found = by_kind(logged(world))
    for kind in ("read", "absent read"):
        assert found.get(kind, set()) - folders == wanted.get(kind, set())
    assert {kind: paths - found.get(kind, set()) for kind, paths in wanted.items()} == dict.fromkeys(wanted, set())
    assert found.get("absent program", set()) == set()


# -- a process that begins to log --------------------------------------------------------------------------------------------

FORK = """
import os, sqlite3, subprocess, sys
sys.path.insert(0, {kit!r})
from pathlib import Path
from mlops_kit.engine.access_log import start_access_log
open("b.txt").read(), subprocess.run(["cat", "d/e/f.txt"])  # before the log begins
for number in range(2):
    if not os.fork():
        os.chdir("d" if number else ".")
        assert start_access_log(Path({log!r} + str(number)), [{skip!r}])
        open("c.txt" if number else "a.txt").read(), os.path.exists("no"), os.listdir(".")
        subprocess.run(["cat", "/dev/null", "e/f.txt" if number else "d/c.txt"], env={{}})
        number or sqlite3.connect("one.db").execute("SELECT * FROM more").fetchall()
        os.system("cat " + ("../b.txt" if number else "Makefile"))
        os._exit(0)
    assert os.wait()[1] == 0
"""


def test_forks_of_a_dormant_process_log_what_is_not_pythons_own(world: Path):
    log = str(world.with_name("fork"))
    code = FORK.format(kit=str(ROOT), log=log, skip=sys.prefix)
    subprocess.run([sys.executable, "-c", code], cwd=world, env=os.environ | preload_variables(), check=True, stdout=subprocess.DEVNULL)
    for number, wanted in enumerate([{"d/c.txt", "one.db", "Makefile"}, {"d/e/f.txt", "b.txt"}]):
        found = by_kind(read_access_log(Path(f"{log}{number}")))
        below = {path.removeprefix(f"{world}/") for path in found["read"] if path.startswith(f"{world}/")}
        assert below == wanted
        assert not any(path.startswith(str(world)) for path in found.get("list", set()) | found.get("absent read", set()))
        assert {"/bin/cat", "/usr/bin/cat"} & found["program"] and "absent program" not in found


def test_a_process_without_the_library_does_not_begin(tmp_path: Path):
    assert not start_access_log(tmp_path / "log") and not (tmp_path / "log").exists()


def test_what_the_user_preloads_is_not_passed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LD_PRELOAD", f"/usr/lib/other.so {access_library()}:third.so")
    assert preload_variables()["LD_PRELOAD"] == str(access_library())


def test_a_folder_with_a_space_is_no_obstacle(root: Path, monkeypatch: pytest.MonkeyPatch):
    (root / "my kit").mkdir()
    copy = shutil.copy(access_library(), root / "my kit")
    monkeypatch.setattr("mlops_kit.engine.access_log.access_library", lambda: Path(copy))
    assert preload_variables() == {}
    log = root / "my log: 1"
    subprocess.run(["cat", "a.txt"], cwd=root, env=os.environ | preload_variables(log, [], root), check=True, capture_output=True)
    assert f"{root}/a.txt" in names(read_access_log(log), "read")


# -- libraries that read natively --------------------------------------------------------------------------------------------

# module -> (what makes files, what reads them, the files)
NATIVE = {
    "polars": ("import polars as pl; f = pl.DataFrame({'a': [1, 2]}); f.write_csv('n.csv'); f.write_parquet('n.pq')",
               "import polars as pl; pl.read_csv('n.csv'); pl.scan_parquet('*.pq').collect()", {"n.csv", "n.pq"}),
    "torch": ("import torch; m = torch.nn.Linear(2, 1); torch.jit.script(m).save('n.jit'); torch.save(m.state_dict(), 'n.pt')",
              "import torch; torch.jit.load('n.jit'); torch.load('n.pt', weights_only=True); torch.from_file('a.txt', size=2, dtype=torch.uint8)", {"n.jit", "n.pt", "a.txt"}),
    "onnxruntime": ("from onnx import helper as h, save, TensorProto as t; v = lambda n: h.make_tensor_value_info(n, t.FLOAT, [1]);"
                    "save(h.make_model(h.make_graph([h.make_node('Abs', ['x'], ['y'])], 'g', [v('x')], [v('y')]), ir_version=8, opset_imports=[h.make_opsetid('', 15)]), 'n.onnx')",
                    "import onnxruntime; onnxruntime.InferenceSession('n.onnx')", {"n.onnx"}),
}


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_library_is_logged(name: str, root: Path):
    pytest.importorskip(name)
    make, read, files = NATIVE[name]
    subprocess.run([sys.executable, "-c", make], cwd=root, check=True, capture_output=True)
    accesses = observe(root, [sys.executable, "-c", read])
    assert names(accesses, "read") - {"."} == files


def test_a_library_is_searched_for_where_its_caller_says(root: Path):
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    (root / "inner.c").write_text("int value(void) { return 7; }")
    (root / "outer.c").write_text("#include <dlfcn.h>\nint value(void) { void *l = dlopen(\"libinner.so\", 1); return l ? ((int (*)(void))dlsym(l, \"value\"))() : -1; }")
    for name, options in (("inner", []), ("outer", ["-Wl,-rpath,$ORIGIN"])):
        subprocess.run(["gcc", "-shared", "-fPIC", f"{name}.c", "-o", f"lib{name}.so", *options], cwd=root, check=True)
    accesses = observe(root, [*PYTHON, "import ctypes; assert ctypes.CDLL('./libouter.so').value() == 7"])
    assert {"libouter.so", "libinner.so"} <= names(accesses, "library")


# -- what can't be seen is said ----------------------------------------------------------------------------------------------


def test_a_static_program_is_not_observed(root: Path):
    (root / "main.c").write_text("#include <stdio.h>\nint main() { return !fopen(\"a.txt\", \"r\"); }")
    if shutil.which("gcc") is None or subprocess.run(["gcc", "-static", "main.c", "-o", "main"], cwd=root, capture_output=True).returncode:
        pytest.skip("no static C library")
    start = "import os, subprocess; subprocess.run(['./main'], check=True); os.posix_spawn('./main', ['main'], {}); os.wait(); os.execv('./main', ['main'])"
    for words in (["sh", "-c", "./main; cat b.txt"], ["sh", "-c", "exec ./main"], [*PYTHON, start], ["env", "./main"]):
        found = by_kind(observe(root, words))
        assert found["absent program"] == {"main"} and "a.txt" not in found.get("read", set())


def test_a_program_that_does_not_exist_is_absent(root: Path):
    code = "import subprocess\nfor n in (['./no'], ['no-such-program']):\n try: subprocess.run(n, env={'PATH': '/bin:bin'})\n except OSError: pass"
    found = by_kind(observe(root, [*PYTHON, code]))
    assert {"no", "bin/no-such-program"} <= found["absent stat"] and "absent program" not in found


def test_a_limit_on_files_is_told_and_kills_nobody(root: Path):
    words = ["bash", "-c", "cat a.txt; ulimit -f 0; cat b.txt"]
    assert names(observe(root, words), "unseen", False) == {"a process with a limited file size"}


# -- no record is lost, none is damaged --------------------------------------------------------------------------------------


def test_two_hundred_processes_at_once_lose_nothing(world: Path):
    script = "for n in $(seq 200); do cat a.txt many/$((n % 8))-$((n % 100)) no$n >/dev/null 2>&1 & done; wait"
    found = by_kind(observe(world, ["bash", "-c", script]))
    assert found["read"] == {"a.txt"} | {f"many/{n % 8}-{n % 100}" for n in range(1, 201)}
    assert found["absent read"] == {f"no{n}" for n in range(1, 201)} and "unseen" not in found


def test_a_hostile_path_is_logged_whole(root: Path):
    name = "".join(map(chr, range(1, 128))).replace("/", "") + "\udcff\udc80é"
    long = "/".join(["p" * 200] * 30)
    long = f"{root}/" + long[:4095 - len(f"{root}/")].rstrip("/").ljust(4095 - len(f"{root}/"), "q")
    Path(long).parent.mkdir(parents=True)
    (root / name).touch()
    Path(long).touch()
    code = f"import os; [os.open(path, 0) for path in ({name!r}, {long!r})]"
    accesses = observe(root, [*PYTHON, code])
    assert len(os.fsencode(long)) == 4095 and names(accesses, "read") == {name, long.removeprefix(f"{root}/")}


def test_a_descriptor_that_the_program_closed_is_not_written_to(root: Path):
    code = """
import os
os.stat("a.txt")
os.closerange(3, 5000)
os.dup2(os.open("n", os.O_WRONLY | os.O_CREAT), 700)
os.stat("b.txt")
assert os.stat("n").st_size == 0
"""
    assert {"a.txt", "b.txt", "n"} <= names(observe(root, [*PYTHON, code]), "stat")


RECORDS = st.lists(st.tuples(st.sampled_from("rwskluvm"), st.booleans(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)), max_size=8)


@given(RECORDS, st.data())
def test_a_damaged_record_is_told_and_spoils_no_other(tmp_path_factory: pytest.TempPathFactory, records: list, data: st.DataObject):
    log = tmp_path_factory.getbasetemp() / "damaged"
    whole = [f"\0{kind}{found:d}@7:/x{name}\0".encode() for kind, found, name in records]
    torn = data.draw(st.sets(st.sampled_from(range(len(whole)))) if whole else st.just(set()))
    parts = [record[:data.draw(st.integers(2, len(record) - 1))] if number in torn else record for number, record in enumerate(whole)]
    log.write_bytes(b"".join(record for number, record in enumerate(whole) if number not in torn))
    wanted = read_access_log(log)
    log.write_bytes(b"".join(parts))
    told = read_access_log(log)
    assert [access for access in told if access.path != "damaged record"] == wanted
    assert (Access("unseen", False, "damaged record") in told) == bool(torn)


# -- nobody is disturbed -----------------------------------------------------------------------------------------------------

PROGRAMS = {
    "git": "git init -q g; cd g; echo 1 > a; git add .; git -c user.name=n -c user.email=e commit -qm x; git status; git diff --cached; git fsck; git clone -q . ../h; ls ../h",
    "shell": "cat <(echo a) | tee n; exec 5<>n; cat <&5; for f in d/*; do echo $f; done; type ls; trap 'echo bye' EXIT; (cd d; pwd); ls -l /proc/self/fd/0 | wc -c",
    "files": "tar cf n.tar d; tar tf n.tar; cp -a d n; diff -r d n && echo same; find n -type f -exec wc -c {} +; ln -s d m; readlink -f m/c.txt; rm -r n; du -a d | sort -k2",
    "python": f"{sys.executable} -c \"import os, subprocess, multiprocessing as m; print(subprocess.run(['cat', 'a.txt'], env={{}}, capture_output=True)); print(m.get_context('fork').Pool(3).map(abs, [-1, -2])); "
              "print(os.popen('cat b.txt').read()); os.system('exit 3'); os.execlp('echo', 'echo', 'end')\"",
    "make": "printf 'n: a.txt\\n\\tcat a.txt > n; cat n\\n' > Makefile; make; make; make -q; echo $?", "file": "file -b a.txt d l; stat -c %s a.txt; sort -R --random-source=a.txt b.txt; test -e no; echo $?",
    "perl": "perl -e 'print `cat a.txt`; print sort glob(\"d/*\"); system(\"false\"); print $?; opendir(D, \"no\") or print \"$!\"; exec \"cat\", \"b.txt\"'",
    "errors": "cat no d a.txt/x; mkdir d; rmdir d; mv no n; ln a.txt b.txt; ./a.txt; no-such-program; cat ''; : > d; cd no; ls no; rm no", "limits": "ulimit -n 12; cat a.txt; ulimit -f 0; cat b.txt; echo 1 > n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same_with_and_without(name: str, root: Path, tmp_path: Path):
    if not shutil.which(name) and name in ("git", "make", "perl", "file"):
        pytest.skip(f"no {name}")
    dates = {"GIT_AUTHOR_DATE": "@1 +0000", "GIT_COMMITTER_DATE": "@1 +0000", "LC_ALL": "C", "HOME": str(tmp_path)}
    outcomes = []
    for more in (variables(root), {}):
        copy = shutil.copytree(root, tmp_path / "same", symlinks=True)
        env = os.environ | more | dates
        done = subprocess.run(["bash", "-c", PROGRAMS[name]], cwd=copy, env=env, capture_output=True, timeout=60)
        outcomes.append((done.returncode, done.stdout, done.stderr))
        shutil.rmtree(copy)
    assert outcomes[0] == outcomes[1]
    assert len(read_access_log(root.with_name("root.log"))) > 3


def test_the_library_needs_only_what_every_c_library_has():
    lines = subprocess.run(["nm", "-D", "--undefined-only", access_library()], capture_output=True, text=True, check=True).stdout.split("\n")
    needed = {line.split()[-1].partition("@")[0] for line in lines if " U " in line}
    assert needed <= set("""__environ environ __errno_location closedir dl_iterate_phdr dladdr dlerror dlsym fileno fstat geteuid getpid getrlimit inet_ntop memcpy memset
        putenv readdir snprintf stpcpy strchr strcmp strcpy strcspn strlen strncmp strrchr strstr syscall __stack_chk_fail""".split())


# -- the promise: as long as everything that was logged is as it was, the result is the same ---------------------------------

# Runs in a process of its own: does a list of operations in each of several trees, and prints what they gave.
OPERATIONS = '''
import json, os, sys

def read(path):
    with open(path) as file:
        return file.read()

def write(path, mode, text):
    with open(path, mode) as file:
        seen = file.read() if "+" in mode else ""
        file.write(text)
        return seen

def read_at(folder, path):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with open(os.open(path, os.O_RDONLY, dir_fd=descriptor)) as file:
            return file.read()
    finally:
        os.close(descriptor)

def in_child(operation, *arguments):
    if (child := os.fork()) == 0:
        outcome = perform(operation, arguments)
        os._exit(outcome == "absent")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def about(state):
    return [state.st_mode >> 12, state.st_size if state.st_mode >> 12 == 8 else 0]

DEEDS = {
    "read": read, "write": write, "read_at": read_at, "in_child": in_child, "stat": lambda path: about(os.stat(path)), "lstat": lambda path: about(os.lstat(path)),
    "list": lambda path: sorted(os.listdir(path)), "access": lambda path: os.access(path, os.R_OK), "readlink": os.readlink, "mkdir": os.mkdir, "rmdir": os.rmdir,
    "unlink": os.unlink, "rename": os.rename, "link": os.link, "symlink": os.symlink, "chdir": os.chdir, "truncate": lambda path: os.truncate(path, 1),
}

def perform(name, arguments):
    try:
        return DEEDS[name](*arguments)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    except OSError as error:
        return error.errno

outcomes = []
for root in sys.argv[2:]:
    os.chdir(root)
    outcomes.append([perform(name, [text.replace("ROOT", root) for text in arguments]) for name, *arguments in json.loads(sys.argv[1])])
    outcomes[-1] = json.loads(json.dumps(outcomes[-1]).replace(root, "ROOT"))
print(json.dumps(outcomes))
'''
PATHS = "a b d d/a d/b d/e d/e/a l".split()


def random_thing(random: Random) -> list | None:
    """What a path of a tree is."""
    return random.choice([["file", random.choice(["", "1", "22", "x\n"])], ["folder"], ["folder"], ["link", random.choice("d d/e a ../b .".split())], None])


def random_deed(random: Random, paths: list[str]) -> list[str]:
    """An operation on one of a few paths: half of them look, the others change something."""
    path = lambda: random.choice(["", "", "", "", "", "./", "ROOT/", "../"]) + random.choice(paths)
    name = random.choice("read stat lstat list access readlink read list mkdir rmdir unlink chdir truncate rename link symlink write write read_at in_child".split())
    if name == "in_child":
        return [name, *random_deed(random, paths)]
    more = {"rename": [path()], "link": [path()], "symlink": [path()], "read_at": [path()], "write": [random.choice(["w", "a", "x", "r+", "w+", "a+", "x+"]), random.choice(["", "1"])]}
    return [name, path(), *more.get(name, [])]


def build(folder: Path, tree: dict[str, list | None]) -> None:
    """Make the files, folders and links of a tree, as far as their folders are there."""
    folder.mkdir(parents=True)
    for name, thing in tree.items():
        path = folder / name
        if thing is None or path.parent.is_symlink() or not path.parent.is_dir():
            continue
        path.mkdir() if thing[0] == "folder" else path.symlink_to(thing[1]) if thing[0] == "link" else path.write_text(thing[1])


def state(access: Access, old: str, new: Path) -> object:
    """What a caller of the log would compare: the state in which an access finds a path, in one tree or another."""
    path = Path(access.path.replace(old, str(new), 1))
    leads_to = Path(os.path.realpath(path))
    place = str(leads_to).replace(str(new), ""), leads_to.parent.is_dir()
    try:
        about = path.lstat() if access.kind == "link" else path.stat()
    except OSError as error:
        return place, None if error.errno in (errno.ENOENT, errno.ENOTDIR) else error.errno
    if stat.S_ISREG(about.st_mode) and access.kind == "write":
        return place, "file" if access.found else None
    if stat.S_ISREG(about.st_mode):
        return place, about.st_size, path.read_bytes() if access.kind == "read" else b""
    if stat.S_ISLNK(about.st_mode):
        return place, os.readlink(path)
    return place, about.st_mode, sorted(os.listdir(path)) if access.kind in ("list", "write") else []


@pytest.mark.parametrize("seed", range(30))
def test_what_is_not_logged_does_not_matter(seed: int):
    judge(seed)


@pytest.mark.long
@pytest.mark.parametrize("hundred", range(100, 4000, 100))
def test_what_is_not_logged_does_not_matter_in_many_trees(hundred: int):
    for seed in range(hundred, hundred + 100):
        judge(seed)


def judge(seed: int) -> None:
    """Run operations observed, and again after each of many edits; where all that was logged is unchanged, so is the outcome."""
    random = Random(seed)
    tree = {path: random_thing(random) for path in PATHS}
    paths = random.sample([*PATHS, "l/a", "."], 3)
    deeds = []
    for _ in range(random.randint(1, 6)):
        deeds.append(random_deed(random, paths))
        places = [word for word in deeds[-1] if word.endswith(tuple(paths))]
        deeds.append([random.choice(["read", "read", "list", "stat"]), places[-1]])  # what came of it
    edits = [{}] + [{path: random_thing(random)} for path in PATHS for _ in range(3)]
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        folder = Path(name).resolve()
        observed, changed = folder / "observed/r", [folder / f"changed{number}/r" for number in range(len(edits))]
        for place, edit in [(observed, {}), *zip(changed, edits)]:
            build(place, tree | edit)
        [outcome] = perform(deeds, [observed], preload_variables(folder / "log", SYSTEM))
        accesses = [access for access in exclude_own_files(read_access_log(folder / "log")) if access.path.startswith(str(folder))]
        states = [[state(access, str(observed.parent), place.parent) for access in accesses] for place in changed]
        for edit, now, result in zip(edits, states, perform(deeds, changed, {})):
            assert result == outcome or now != states[0], f"{seed}: {tree} {deeds} {edit} {accesses}"


def perform(deeds: list, trees: list[Path], more: dict[str, str]) -> list:
    """What the operations give in each of the trees."""
    words = [*PYTHON, OPERATIONS, json.dumps(deeds), *map(str, trees)]
    return json.loads(subprocess.run(words, env=os.environ | more, capture_output=True, check=True).stdout)
