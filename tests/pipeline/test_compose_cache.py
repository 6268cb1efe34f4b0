"""What is remembered of a project's code is what following it anew would find, whatever happened to the project or to the memory."""
import importlib
import json
import os
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.project import Project, notebook
from mlops_kit.ledger.records import seal
from mlops_kit.notebook.dependencies import collect_code
from mlops_kit.notebook.parameters import read_notebook
from mlops_kit.pipeline import compose_cache
from mlops_kit.store.objects import Store

MODULES = {
    "shop/__init__.py": "",
    "shop/prices.py": "import yaml\nfrom shop.rounding import rounded\nfrom shop import limits\n\ndef price(amount):\n    return rounded(amount) if amount < limits.MOST else yaml\n",
    "shop/rounding.py": "DIGITS = 2\n\ndef rounded(value):\n    return round(value, DIGITS)\n",
    "shop/limits.py": "MOST = 1000\n",
}
CELLS = "number: int = 1", "import json\nfrom shop.prices import price\njson.dumps(price(number))"


@pytest.fixture
def shop(tmp_path):
    "A project with some modules, a notebook, and a store"
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "shop.ipynb").write_text(notebook(*CELLS))
    (tmp_path / ".mlops").mkdir()
    return tmp_path


def kept(root):
    "The files of the memory"
    return sorted((root / ".mlops/followed").iterdir())


def recalled(root, *targets, name="shop.ipynb"):
    "What a process that has just begun is given, and whether it was remembered"
    compose_cache._code_cache.clear()
    calls, follow = [], compose_cache.collect_code
    compose_cache.collect_code = lambda *told: calls.append(told) or follow(*told)
    try:
        return compose_cache.find_code_cached(read_notebook(root / name, name), root, targets, Store(root / ".mlops")), not calls
    finally:
        compose_cache.collect_code = follow


def check(root, *targets, name="shop.ipynb"):
    "It is what following the code anew finds; whether it was remembered"
    found, remembered = recalled(root, *targets, name=name)
    fresh = collect_code(read_notebook(root / name, name), root, targets)
    assert found == fresh and found.source_files == fresh.source_files and found.probed == fresh.probed and found.unchanged()
    return remembered


def test_it_is_remembered(shop):
    assert [check(shop), check(shop), check(shop, "shop.limits.MOST"), check(shop, "shop.limits.MOST"), check(shop)] == [False, True, False, True, True]


def test_within_one_process(shop):
    "The same without the files of the memory"
    asked = lambda *targets: compose_cache.find_code_cached(read_notebook(shop / "shop.ipynb", "shop.ipynb"), shop, targets)
    found = asked()
    assert asked() is found and asked("shop.limits.MORE") == collect_code(read_notebook(shop / "shop.ipynb", "shop.ipynb"), shop, ("shop.limits.MORE",)) != found
    (shop / "shop/limits.py").write_text("MOST = 2000\n")
    assert asked() == collect_code(read_notebook(shop / "shop.ipynb", "shop.ipynb"), shop) != found
    assert not (shop / ".mlops/followed").exists()


STRANGE = {
    "a package before a module": lambda root: ((root / "shop/rounding").mkdir(), (root / "shop/rounding/__init__.py").write_text("def rounded(value): return 0")),
    "a module before an installed package": lambda root: (root / "yaml.py").write_text("x = 1"),
    "a folder before an installed package": lambda root: (root / "yaml").mkdir(),
    "a module before the standard library": lambda root: (root / "json.py").write_text("def dumps(value): return ''"),
    "a module is gone": lambda root: (root / "shop/limits.py").unlink(),
    "a module became a folder": lambda root: ((root / "shop/limits.py").unlink(), (root / "shop/limits").mkdir()),
    "a folder is named like a file": lambda root: ((root / "shop/limits.py").unlink(), (root / "shop/limits.py").mkdir()),
    "a renamed module": lambda root: (root / "shop/limits.py").rename(root / "shop/bounds.py"),
    "two modules changed places": lambda root: ((root / "shop/limits.py").rename(root / "x"), (root / "shop/rounding.py").rename(root / "shop/limits.py"), (root / "x").rename(root / "shop/rounding.py")),
    "a link to another file": lambda root: ((root / "other").write_text("MOST = 1"), (root / "shop/limits.py").unlink(), (root / "shop/limits.py").symlink_to(root / "other")),
    "no package any more": lambda root: (root / "shop/__init__.py").unlink(),
    "cells changed places": lambda root: (root / "shop.ipynb").write_text(notebook(CELLS[1], CELLS[0])),
    "another default": lambda root: (root / "shop.ipynb").write_text(notebook("number: int = 2", CELLS[1])),
    "a tag": lambda root: (root / "shop.ipynb").write_text((root / "shop.ipynb").read_text().replace('"id": "cell-1", "metadata": {}', '"id": "cell-1", "metadata": {"tags": ["raises-exception"]}')),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_change_is_seen(shop, kind):
    check(shop)
    STRANGE[kind](shop)
    assert not check(shop) and check(shop)


def test_another_text_of_the_same_size_and_time_is_seen(shop):
    path = shop / "shop/limits.py"
    check(shop)
    before = path.stat()
    path.write_text("MOST = 2000\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert not check(shop)


def test_what_does_not_matter_is_remembered(shop):
    check(shop)
    for path in shop.rglob("*.py"):
        os.utime(path)
    (shop / "shop/other.py").write_text("1")
    (shop / "shop.ipynb").write_text((shop / "shop.ipynb").read_text().replace('"outputs": []', '"outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}]'))
    assert check(shop)


def test_a_project_that_moved(shop):
    check(shop)
    moved = shop.rename(shop.with_name("moved"))
    assert check(moved)


def test_another_python_or_another_kit(shop, monkeypatch):
    check(shop)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version", "3.99")
        importlib.reload(compose_cache)
        assert not check(shop)
    importlib.reload(compose_cache)
    assert not check(shop) and check(shop)
    for name in ("notebook.dependencies", "notebook.parameters", "store.objects"):
        copy = shop / f"{name}.txt"
        copy.write_text(open(importlib.import_module(f"mlops_kit.{name}").__file__).read() + "\n")
        with monkeypatch.context() as patch:
            patch.setattr(importlib.import_module(f"mlops_kit.{name}"), "__file__", str(copy))
            importlib.reload(compose_cache)
            assert not check(shop)
        importlib.reload(compose_cache)
        assert not check(shop) and check(shop)


def test_any_code_is_never_remembered(shop):
    (shop / "shop.ipynb").write_text(notebook("name: str = ''", "import importlib\nimportlib.import_module(name)"))
    for number in range(2):
        (shop / f"m{number}.py").write_text("x = 1")
        assert f"m{number} (whole module)" in recalled(shop)[0].units


def damaged(data: bytes) -> dict[str, bytes]:
    "What may have become of a file"
    said = json.loads(data)
    unit = next(iter(said["units"].values())).encode()
    flipped = bytes([unit[0] ^ 1])
    return {
        "empty": b"", "half": data[:len(data) // 2], "a bit": data.replace(unit, flipped + unit[1:], 1), "zeros": bytes(len(data)), "a list": b"[]", "a number": b"1", "text": b"\xff\xfe",
        "sealed, and something else": json.dumps(seal({"of": said["of"], "units": {}})).encode(), "sealed, of another shape": json.dumps(seal({**said, "probed": []})).encode(), "sealed, without a file": json.dumps(seal({**said, "files": ["gone.py"]})).encode(),
    }


def test_a_damaged_memory_is_no_memory(shop):
    check(shop)
    path, = kept(shop)
    whole = path.read_bytes()
    for what, data in damaged(whole).items():
        path.write_bytes(data)
        assert not check(shop), what
        assert path.read_bytes() == whole, what
    for number in random.Random(7).sample(range(len(whole) - 1), 100):
        path.write_bytes(whole[:number] + bytes([whole[number] ^ 1]) + whole[number + 1:])
        assert not check(shop), number


@pytest.mark.parametrize("state", ["no store", "a file in its place", "a folder in the place of a file"])
def test_a_memory_that_cant_be_written(shop, state):
    check(shop)
    path, = kept(shop)
    path.unlink()
    if state == "a folder in the place of a file":
        path.mkdir()
        (path / "x").touch()
    else:
        shutil.rmtree(path.parent if state == "a file in its place" else shop / ".mlops")
    if state == "a file in its place":
        path.parent.touch()
    assert [check(shop), check(shop)] == [False, False]
    assert (shop / ".mlops").exists() == (state != "no store")
    assert not [one for one in shop.glob(".mlops/tmp/*") if not one.name.startswith(".")]


def test_many_at_once(shop):
    "Threads read, write, edit and damage; nobody gets what was never there"
    modules = ["MOST = 1000\n", "MOST = 2000\n", "MOST = 30\nMORE = 1\n"]
    path, allowed = shop / "shop/limits.py", []
    for text in modules:
        path.write_text(text)
        allowed.append(collect_code(read_notebook(shop / "shop.ipynb", "shop.ipynb"), shop))

    def edit():
        for number in range(300):
            (shop / "new").write_text(modules[number % 3])
            (shop / "new").replace(path)
            if number % 20 == 0:
                for one in kept(shop):
                    one.write_bytes(one.read_bytes()[:100])

    def read():
        for _ in range(100):
            compose_cache._code_cache.clear()
            found = compose_cache.find_code_cached(read_notebook(shop / "shop.ipynb", "shop.ipynb"), shop, (), Store(shop / ".mlops"))
            assert found in allowed
            assert found.units == next(one.units for one in allowed if found.source_files[path] == one.source_files[path])

    check(shop)
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(edit), *(pool.submit(read) for _ in range(3))]:
            future.result()
    check(shop)
    assert check(shop)


def test_runs_share_it_and_survive_it(project: Project):
    "Plans at the same time, one killed while it writes, and one with a memory that lies by itself: proof that it is asked"
    (project.root / "helper.py").write_text("x = 1\n")
    project.notebook("uses", "from helper import x\nresult.write_text(str(x))")
    project.pipeline("uses: {notebook: notebooks/uses.ipynb, outs: {result: result.json}}")
    assert project.statuses() == {"uses": "ran"}
    plan = lambda: project.json("plan", "pipeline=demo")["uses"]["action"]
    plan()
    for number in range(1, 4):
        shutil.rmtree(project.root / ".mlops/followed", ignore_errors=True)
        killed = project.start("plan", "pipeline=demo", MLOPS_FAILPOINT=f"{number}:kill")
        killed.communicate(timeout=120)
        assert plan() == "hit" and killed.returncode == -9
    plans = [project.start("plan", "pipeline=demo", "--json") for _ in range(3)]
    assert [json.loads(one.communicate(timeout=120)[0])["uses"]["action"] for one in plans] == ["hit"] * 3
    path, = kept(project.root)
    said = json.loads(path.read_bytes())
    path.write_text(json.dumps(seal({**said, "units": {**said["units"], "helper.y": "0" * 64}})))
    assert "helper.y is new" in project.json("plan", "pipeline=demo")["uses"]["reason"]
