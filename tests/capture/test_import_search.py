"""Where a name would be imported from: the answer of Python itself, after any change, without executing anything (I1)."""
import json
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.capture import make_env_variables
from mlops_kit.capture.import_search import locate, shadowed_stdlib, standard_path, start_search

ROOT = Path(__file__).parents[2]
STDLIB = os.path.dirname(os.__file__)
EXTENSION = EXTENSION_SUFFIXES[0]
CHILD = '''
import importlib.metadata, importlib.util, json, sys, zipimport
known = set(sys.modules)

def answer(name):
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # a parent that is missing, no package, or damaged
        return None
    if spec is None:
        return None
    folders = spec.submodule_search_locations
    return spec.origin if spec.origin else "namespace:" + ":".join(folders)

for line in sys.stdin:
    path, names = json.loads(line)
    sys.path_importer_cache.clear()
    zipimport._zip_directory_cache.clear()
    importlib.invalidate_caches()
    standard, sys.path[:] = sys.path[:], path
    answers = []
    for name in names:
        for module in set(sys.modules) - known:
            del sys.modules[module]
        answers.append(answer(name))
    sys.path[:] = standard
    print(json.dumps(answers), flush=True)
'''


class Python:
    """A process that tells where it would import from."""

    def __init__(self):
        command = [sys.executable, "-I", "-S", "-B", "-Xfrozen_modules=off", "-c", CHILD]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def find(self, path: list[str], names: list[str]) -> dict[str, str | None]:
        """What it finds."""
        self.process.stdin.write(json.dumps([path, names]) + "\n")
        self.process.stdin.flush()
        return dict(zip(names, json.loads(self.process.stdout.readline()), strict=True))


@pytest.fixture(scope="module")
def python() -> Iterator[Python]:
    child = Python()
    yield child
    child.process.stdin.close()
    child.process.wait()


def found(path: list[str], names: list[str]) -> dict[str, str | None]:
    """What a new plan finds."""
    search = start_search(path)
    return {name: locate(search, name) for name in names}


# -- any folders -------------------------------------------------------------------------------------------------------------

PLACES = ["one", "two", "three", "packed.zip"]
TOPS = ["a", "b", "A", "colorsys"]
NAMES = [*TOPS, *(f"{top}.{sub}" for top in ("a", "b") for sub in ("a", "b", "c")), "a.b.c", "a.a.b", "wsgiref", "wsgiref.util", "sys", "colorsys.a", "nothing"]
FILES = ["{}.py", "{}/__init__.py", "{}/a.py", "{}/b/__init__.py", "{}/b/c.py", "{}/a/b.py", "{}/note.txt", "{}.pyc", "{}/__init__.pyc", "{}", "{}.PY",
         f"{{}}{EXTENSION}", "{}.abi3.so", "{}.so", f"{{}}/a{EXTENSION}", "{}.py/a.py", "__pycache__/{}.cpython-311.pyc", "{}.cpython-27-x86_64-linux-gnu.so"]
LINKS = ["{}.py", "{}", "{}/a.py", "{}/b"]
TARGETS = ["nowhere", "../two/a", "../two/b", "../two/a.py", "../three", ".", "../one/b/__init__.py"]
FILE = st.tuples(st.sampled_from(PLACES), st.sampled_from(FILES), st.sampled_from(TOPS), st.none())
LINK = st.tuples(st.sampled_from(PLACES[:3]), st.sampled_from(LINKS), st.sampled_from(TOPS), st.sampled_from(TARGETS))
TREE = st.lists(st.one_of(FILE, FILE, LINK), max_size=9)
PATH = st.lists(st.sampled_from([*PLACES, STDLIB, "missing", "one/a", "packed.zip/a"]), unique=True, min_size=1, max_size=6)


def put(root: Path, place: str, pattern: str, top: str, target: str | None, empty_code: bytes) -> None:
    """Put one file or link into a folder, unless something stands in its way."""
    path = root / place / pattern.format(top)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        elif not path.exists() and not path.is_symlink():
            path.write_bytes(empty_code if path.suffix == ".pyc" else b"")
    except OSError:
        pass


def build(root: Path, tree: list[tuple], empty_code: bytes) -> None:
    """Make the folders again, and make them look as old as before."""
    for place in PLACES:
        shutil.rmtree(root / place, ignore_errors=True)
        (root / place).unlink(missing_ok=True)
    for place in PLACES[:3]:
        (root / place).mkdir()
    for place, *entry in tree:
        put(root, "zip" if place == "packed.zip" else place, *entry, empty_code)
    with zipfile.ZipFile(root / "packed.zip", "w") as packed:
        for path in sorted((root / "zip").rglob("*")) if (root / "zip").exists() else []:
            packed.write(path, path.relative_to(root / "zip"))
    shutil.rmtree(root / "zip", ignore_errors=True)
    for folder, _, _ in os.walk(root):
        os.utime(folder, (10**9, 10**9))


@pytest.fixture(scope="module")
def empty_code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The byte code of an empty module."""
    source = tmp_path_factory.mktemp("code") / "empty.py"
    source.write_text("")
    return Path(py_compile.compile(str(source), str(source.with_suffix(".pyc")), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)).read_bytes()


def compare(python: Python, root: Path, trees: list[list[tuple]], path: list[str], empty_code: bytes) -> None:
    """Ask Python and ours after each change of the folders."""
    folders = [str(root / folder) for folder in path]
    for tree in trees:
        build(root, tree, empty_code)
        assert found(folders, NAMES) == python.find(folders, NAMES)
    shutil.rmtree(root)


@given(st.lists(TREE, min_size=1, max_size=3), PATH)
@settings(max_examples=150, deadline=None)
def test_python_finds_the_same(python: Python, tmp_path_factory: pytest.TempPathFactory, empty_code: bytes, trees: list[list[tuple]], path: list[str]):
    compare(python, tmp_path_factory.mktemp("any"), trees, path, empty_code)


@pytest.mark.long
@given(st.lists(TREE, min_size=1, max_size=4), PATH)
@settings(max_examples=5000, deadline=None)
def test_python_finds_the_same_for_long(python: Python, tmp_path_factory: pytest.TempPathFactory, empty_code: bytes, trees: list[list[tuple]], path: list[str]):
    compare(python, tmp_path_factory.mktemp("long"), trees, path, empty_code)


# -- single changes ----------------------------------------------------------------------------------------------------------


def write(root: Path, *names: str) -> None:
    """Files that fail when they are executed."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("raise SystemExit('executed')")


CHANGES = {
    "a module before another": ("fast", lambda root: write(root, "first/fast.py")),
    "a package before a module": ("fast", lambda root: write(root, "second/fast/__init__.py")),
    "an extension before a module": ("fast", lambda root: write(root, f"second/fast{EXTENSION}")),
    "a module that was not there": ("new", lambda root: write(root, "second/new.py")),
    "a submodule that was not there": ("shop.new", lambda root: write(root, "second/shop/new.py")),
    "a package hides a module of another": ("shop.tax", lambda root: write(root, "first/shop/__init__.py")),
    "a new part of a namespace": ("space", lambda root: write(root, "first/space/more.py")),
    "a namespace becomes a package": ("space", lambda root: write(root, "second/space/__init__.py")),
    "a new part of a namespace hides a module": ("space.part", lambda root: write(root, "first/space/part.py")),
    "a module is removed": ("fast", lambda root: (root / "second/fast.py").unlink()),
    "a link leads elsewhere": ("linked.old", lambda root: ((root / "second/linked").unlink(), (root / "second/linked").symlink_to("v2"))),
    "a link is broken": ("linked.old", lambda root: shutil.rmtree(root / "second/v1")),
    "the standard library is shadowed": ("random", lambda root: write(root, "first/random.py")),
    "a part of the standard library is shadowed": ("json.decoder", lambda root: write(root, "first/json/__init__.py")),
    "a module that is frozen elsewhere": ("posixpath", lambda root: write(root, "first/posixpath.py")),
    "a folder of the path that was not there": ("late", lambda root: write(root, "missing/late.py")),
    "a folder of the path becomes a zip file": ("zipped", lambda root: packed(root / "missing", "zipped.py")),
    "a zip file of the path": ("inzip", lambda root: packed(root / "packed.zip", "inzip.py", "other.py")),
    "a zip file becomes a folder": ("inside", lambda root: ((root / "packed.zip").unlink(), write(root, "packed.zip/inside.py"))),
}


def packed(path: Path, *names: str) -> None:
    """A zip file."""
    shutil.rmtree(path, ignore_errors=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")


def world(root: Path) -> list[str]:
    """Some modules, and a path."""
    write(root, "second/fast.py", "second/shop/__init__.py", "second/shop/tax.py", "second/space/part.py", "second/v1/old.py", "second/v2/new.py", "first/readme.py")
    (root / "second/linked").symlink_to("v1")
    packed(root / "packed.zip", "other.py")
    return [*(str(root / name) for name in ("first", "second", "missing", "packed.zip")), STDLIB]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_another_answer(change: str, tmp_path: Path):
    path = world(tmp_path)
    name, apply = CHANGES[change]
    start_search(path)
    before = found(path, [name])
    times = {folder: os.stat(folder) for folder, _, _ in os.walk(tmp_path)}
    apply(tmp_path)
    for folder, status in times.items():
        if os.path.isdir(folder):
            os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert found(path, [name]) != before


def test_what_does_not_concern_a_name_is_no_change(tmp_path: Path):
    path = world(tmp_path)
    names = ["fast", "shop.tax", "space", "linked.old", "random", "nothing", "other", "shop.nothing", "fast.nothing", "nothing.at.all"]
    before = found(path, names)
    write(tmp_path, "first/unrelated.py", "second/shop/unrelated.py", "first/Random.py", "first/json/data.py", "second/fast/data.py", "second/nothing.txt", "first/v1.py")
    (tmp_path / "first/nothing.py").symlink_to("nowhere")
    assert found(path, names) == before
    assert before["nothing"] is before["fast.nothing"] is before["shop.nothing"] is None


@given(st.one_of(st.text(max_size=20), st.text("./a\0", max_size=8), st.just("a." * 5000), st.just("shop." * 5000)))
@settings(max_examples=60)
def test_any_text_may_be_asked_for(tmp_path_factory: pytest.TempPathFactory, name: str):
    """Names come from records, perhaps of somebody else: no answer is outside of the path."""
    path = world(tmp_path_factory.mktemp("text"))
    answer = found(path, [name])[name]
    assert answer is None or answer in ("built-in", "frozen") or answer.removeprefix("namespace:").startswith(tuple(path)) and ".." not in answer


def test_an_unreadable_folder_holds_nothing(tmp_path: Path):
    path = world(tmp_path)
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "second").chmod(0)
    try:
        assert found(path, ["fast", "shop.tax"]) == {"fast": None, "shop.tax": None}
    finally:
        (tmp_path / "second").chmod(0o755)


def test_editable_installs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The kit itself is one where these tests run from its repository."""
    name, place = "mlops_kit.store.files", str(ROOT / "mlops_kit/store/files.py")
    finders = [finder for finder in sys.meta_path if getattr(finder, "__module__", "").startswith("__editable__")]
    if not finders:
        pytest.skip("the kit is not an editable install")
    monkeypatch.syspath_prepend(tmp_path)
    assert found(standard_path(tmp_path), [name]) == {name: place}
    write(tmp_path, "mlops_kit.py")
    assert found(standard_path(tmp_path), [name, "mlops_kit"]) == {name: None, "mlops_kit": str(tmp_path / "mlops_kit.py")}


@pytest.mark.parametrize("files, shadowed", [
    ([], []), (["random.py"], ["random"]), (["random/__init__.py", "json.py"], ["json", "random"]), (["random/data.py"], []), (["sys.py", "builtins.py"], []),
    (["random.txt", "Random.py"], []), (["os.py", "shop.py"], ["os"]), (["winreg/data.py"], ["winreg"] if "winreg" in sys.stdlib_module_names else [])])
def test_shadows_of_the_standard_library(files: list[str], shadowed: list[str], tmp_path: Path):
    write(tmp_path, *files)
    assert shadowed_stdlib(start_search(standard_path(tmp_path))) == shadowed
    assert shadowed_stdlib(start_search([*standard_path(tmp_path / "nothing"), str(tmp_path)])) == []


# -- the path of a step ------------------------------------------------------------------------------------------------------

ASK = "import json, sys; print(json.dumps([sys.path, sys.prefix]))"
OURS = '''import json, sys; from pathlib import Path; from mlops_kit.capture.import_search import standard_path
sys.path.insert(0, "/inserted/at/run/time")
print(json.dumps([standard_path(Path(sys.argv[1])), sys.prefix]))'''


def ask(python: Path, code: str, project: Path, **variables: str) -> list[str]:
    """What a process prints."""
    done = subprocess.run([str(python), "-P", "-Xfrozen_modules=off", "-c", code, str(project)], env=variables, capture_output=True, text=True)
    assert not done.stderr
    return json.loads(done.stdout)


def test_the_path_of_a_step_in_this_environment(tmp_path: Path):
    python, caller = Path(sys.executable), {"PYTHONPATH": f"/callers/own:{ROOT}", "HOME": str(tmp_path)}
    step = make_env_variables(tmp_path, 1)
    assert ask(python, OURS, tmp_path, **{**os.environ, **caller}) == ask(python, ASK, tmp_path, **step)


LINES = {
    "none": {}, "a folder": {"a.pth": "extra\n# comment\n\nmissing\n../elsewhere\n"}, "order": {"b.pth": "extra\n", "a.pth": "../elsewhere\nextra\n"},
    "code that adds nothing": {"a.pth": "import sys\n"}, "code that adds a folder": {"a.pth": "import site; site.addsitedir({ELSEWHERE!r})\n", "z.pth": "extra\n"},
    "the same twice": {"a.pth": "extra\nextra\n./extra\n"},
}


@pytest.mark.parametrize("options", [[], ["--system-site-packages"]])
@pytest.mark.parametrize("kind", LINES)
def test_the_path_of_a_step_in_another_environment(kind: str, options: list[str], tmp_path: Path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, str(tmp_path / "venv")], check=True)
    python, site = tmp_path / "venv/bin/python", next((tmp_path / "venv/lib").glob("*/site-packages"))
    (site / "extra").mkdir()
    (site.parent / "elsewhere").mkdir()
    (site.parent / "elsewhere/c.pth").write_text("below\n")
    (site.parent / "elsewhere/below").mkdir()
    packages = next(folder for folder in sys.path if folder.endswith("site-packages"))
    (site / "kit.pth").write_text(f"{ROOT}\n{packages}\n")
    for name, text in LINES[kind].items():
        (site / name).write_text(text.replace("{ELSEWHERE!r}", repr(str(site.parent / "elsewhere"))))
    project = tmp_path / "project"
    project.mkdir()
    caller = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path / "home")}
    assert ask(python, OURS, project, **caller) == ask(python, ASK, project, **make_env_variables(project, 1))
