"""Which distribution a file belongs to, and in what state it is: every change of a used file is another state (I1), and nothing else is."""
import base64
import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.capture import distributions
from mlops_kit.capture.distributions import (
    entry_points_state, find_installed, owners_of, pack_files, package_state, startup_state, unpack_files,
)

TICK = 0.03  # seconds; longer than two ticks of the file system's clock


def hash_of(content: bytes, algorithm: str = "sha256") -> str:
    """A hash as RECORD writes it."""
    return f"{algorithm}=" + base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).decode().rstrip("=")


def install(site: Path, name: str, version: str, files: dict[str, str], installer: str = "pip", extra: list[list[str]] | None = None, ending: str = "\n") -> Path:
    """Install as pip or uv do, in place of the version that is there; its folder of metadata."""
    uninstall(site, name, keep=files)
    info = f"{name}-{version}.dist-info"
    texts = {**files, f"{info}/METADATA": f"Name: {name}\nVersion: {version}\n", f"{info}/INSTALLER": installer, f"{info}/WHEEL": "Tag: py3-none-any"}
    if installer == "uv":
        texts[f"{info}/direct_url.json"] = texts[f"{info}/REQUESTED"] = ""
    script = f"#!{site.parent}/bin/python\n"
    rows = [["../bin/" + name, hash_of(script.encode()), str(len(script))], *(extra or [])]
    for path, text in texts.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
        rows.append([path, hash_of(text.encode()), str(len(text))])
        if path.endswith(".py") and installer == "pip":
            rows.append([f"{Path(path).parent}/__pycache__/{Path(path).stem}.cpython-311.pyc", "", ""])
    lines = io.StringIO()
    csv.writer(lines, lineterminator=ending).writerows([*rows, [f"{info}/RECORD", "", ""]])
    (site / info / "RECORD").write_text(lines.getvalue(), newline="")
    return site / info


def uninstall(site: Path, name: str, keep: dict[str, str] | None = None) -> None:
    """Remove a distribution and what its RECORD names."""
    for info in site.glob(f"{name}-*.dist-info"):
        if (info / "RECORD").exists():
            for row in csv.reader((info / "RECORD").read_text().splitlines()):
                if row[0].startswith((name, "shared")) and row[0] not in (keep or {}):
                    (site / row[0]).unlink(missing_ok=True)
        shutil.rmtree(info)


def packages(root: Path) -> Path:
    """A site folder with one distribution of three files, and another one."""
    site = root / "site"
    site.mkdir(parents=True)
    install(site, "tiny", "1.0", {"tiny/__init__.py": "V = 2\n", "tiny/more.py": "W = 2\n", "tiny/rates.txt": "2\n"})
    install(site, "other", "1.0", {"other.py": "V = 2\n"})
    return site


USED = frozenset({"tiny/__init__.py", "tiny/rates.txt"})


def state(site: Path, cache: Path | None = None, used: frozenset[str] | None = USED, name: str = "tiny") -> str | None:
    """The state for a new plan, in a new process."""
    distributions._known_records.clear()
    return package_state(find_installed([str(site)], cache), name, used)


def stealthily(path: Path, text: str) -> None:
    """Change a file but neither its size nor its times of change that can be set."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swapped(path: Path, text: str) -> None:
    """Put another file into the place of one."""
    (path.parent / "new").write_text(text)
    (path.parent / "new").rename(path)


def linked(path: Path, text: str) -> None:
    """Put a link to another file into the place of one."""
    (path.parent / "elsewhere").write_text(text)
    path.unlink()
    path.symlink_to("elsewhere")


def with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "patched in place": lambda site: (site / "tiny/__init__.py").write_text("V = 3\n"),
    "patched, same size and time": lambda site: stealthily(site / "tiny/__init__.py", "V = 3\n"),
    "another file in its place": lambda site: swapped(site / "tiny/__init__.py", "V = 3\n"),
    "a link in its place": lambda site: linked(site / "tiny/__init__.py", "V = 3\n"),
    "one byte more": lambda site: (site / "tiny/__init__.py").write_text("V = 2\n\n"),
    "empty": lambda site: (site / "tiny/__init__.py").write_text(""),
    "data file": lambda site: (site / "tiny/rates.txt").write_text("3\n"),
    "data file removed": lambda site: (site / "tiny/rates.txt").unlink(),
    "data file is a folder": lambda site: with_folder(site / "tiny/rates.txt"),
    "data file is a pipe": lambda site: with_pipe(site / "tiny/rates.txt"),
    "same version, other content": lambda site: install(site, "tiny", "1.0", {"tiny/__init__.py": "V = 3\n", "tiny/more.py": "W = 2\n", "tiny/rates.txt": "2\n"}),
    "same version, other content of a file that was not used": lambda site: install(site, "tiny", "1.0", {"tiny/__init__.py": "V = 2\n", "tiny/more.py": "W = 3\n", "tiny/rates.txt": "2\n"}),
    "same version, one more file": lambda site: install(site, "tiny", "1.0", {"tiny/__init__.py": "V = 2\n", "tiny/more.py": "W = 2\n", "tiny/rates.txt": "2\n", "tiny/new.py": ""}),
    "upgrade": lambda site: install(site, "tiny", "1.1", {"tiny/__init__.py": "V = 2\n", "tiny/more.py": "W = 2\n", "tiny/rates.txt": "2\n"}),
    "downgrade": lambda site: install(site, "tiny", "0.9", {"tiny/__init__.py": "V = 2\n", "tiny/more.py": "W = 2\n", "tiny/rates.txt": "2\n"}),
    "uninstalled": lambda site: uninstall(site, "tiny"),
    "another package installs its module": lambda site: install(site, "shared", "1.0", {"tiny/__init__.py": "V = 3\n"}),
    "its RECORD is gone": lambda site: (site / "tiny-1.0.dist-info/RECORD").unlink(),
    "its RECORD is empty": lambda site: (site / "tiny-1.0.dist-info/RECORD").write_text(""),
    "its RECORD is nonsense": lambda site: (site / "tiny-1.0.dist-info/RECORD").write_bytes(b'"\0\xff'),
    "installed twice": lambda site: shutil.copytree(site / "tiny-1.0.dist-info", site / "tiny-1.2.dist-info"),
}
FILES = {"tiny/__init__.py": "V = 2\n", "tiny/more.py": "W = 2\n", "tiny/rates.txt": "2\n"}
NEUTRAL: dict[str, Callable[[Path], object]] = {
    "nothing": lambda site: None,
    "a file that was not used": lambda site: (site / "tiny/more.py").write_text("W = 3\n"),
    "touched": lambda site: (site / "tiny/__init__.py").touch(),
    "written again": lambda site: (site / "tiny/__init__.py").write_text("V = 2\n"),
    "other permissions": lambda site: (site / "tiny/__init__.py").chmod(0o600),
    "one more name": lambda site: os.link(site / "tiny/__init__.py", site / "name"),
    "a link to the same": lambda site: linked(site / "tiny/__init__.py", "V = 2\n"),
    "changed and restored": lambda site: ((site / "tiny/__init__.py").write_text("V = 3\n"), (site / "tiny/__init__.py").write_text("V = 2\n")),
    "installed again": lambda site: install(site, "tiny", "1.0", FILES),
    "installed again by uv": lambda site: install(site, "tiny", "1.0", FILES, installer="uv"),
    "RECORD in another order": lambda site: install(site, "tiny", "1.0", dict(reversed(FILES.items()))),
    "RECORD with CRLF": lambda site: install(site, "tiny", "1.0", FILES, ending="\r\n"),
    "byte code": lambda site: ((site / "tiny/__pycache__").mkdir(), (site / "tiny/__pycache__/__init__.cpython-311.pyc").write_bytes(b"x")),
    "an unrelated package": lambda site: install(site, "other", "1.1", {"other.py": "V = 3\n"}),
    "a new package": lambda site: install(site, "new", "1.0", {"new.py": ""}),
    "a script": lambda site: install(site, "tiny", "1.0", FILES, extra=[["../bin/tool", hash_of(b"#!/elsewhere"), "12"]]),
    "byte code with a hash": lambda site: install(site, "tiny", "1.0", FILES, extra=[["tiny/__pycache__/more.cpython-311.pyc", hash_of(b"x"), "1"]]),
    "copied": lambda site: (site.rename(site.parent / "old"), shutil.copytree(site.parent / "old", site)),
}


@pytest.fixture(params=["no cache", "cache"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """A folder for what is remembered, where files count as old after one tick; or none."""
    monkeypatch.setattr(distributions, "_SETTLED_NS", int(TICK * 1e9))
    return tmp_path / "cache" if request.param == "cache" else None


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_another_state(change: str, cache: Path | None, tmp_path: Path):
    site = packages(tmp_path)
    time.sleep(2 * TICK)
    before = state(site, cache)
    CHANGES[change](site)
    assert state(site, cache) != before
    time.sleep(2 * TICK)
    assert state(site, cache) == state(site) != before


@pytest.mark.parametrize("change", NEUTRAL)
def test_what_is_no_change_of_a_used_file_is_none(change: str, cache: Path | None, tmp_path: Path):
    site = packages(tmp_path)
    time.sleep(2 * TICK)
    before = state(site, cache)
    NEUTRAL[change](site)
    assert state(site, cache) == before
    time.sleep(2 * TICK)
    assert state(site, cache) == state(site) == before


def test_all_files_count_when_it_is_not_known_which_were_used(tmp_path: Path):
    site = packages(tmp_path)
    before = state(site, used=None)
    (site / "tiny/more.py").write_text("W = 3\n")
    assert state(site, used=None) != before and state(site, used=frozenset()) == state(site)


def test_a_copy_of_a_patched_environment_is_no_pristine_one(tmp_path: Path):
    """Whoever trusts files that are older than RECORD is fooled: in a copy, RECORD is the younger one."""
    site = packages(tmp_path)
    before = state(site)
    (site / "tiny/__init__.py").write_text("V = 3\n")
    os.utime(site / "tiny/__init__.py", ns=(0, 0))
    copy = tmp_path / "copy"
    shutil.copytree(site, copy)
    record = copy / "tiny-1.0.dist-info/RECORD"
    record.write_bytes(record.read_bytes())  # the last file to be written
    assert state(copy) == state(site) != before


def test_a_young_file_is_not_remembered(tmp_path: Path):
    site, cache = packages(tmp_path), tmp_path / "cache"
    before = state(site, cache)
    assert not cache.exists()
    stealthily(site / "tiny/__init__.py", "V = 3\n")
    assert state(site, cache) != before


# -- the cache ---------------------------------------------------------------------------------------------------------------


def remembered(site: Path, cache: Path) -> dict[Path, bytes]:
    """Fill the cache."""
    time.sleep(2 * TICK)
    state(site, cache)
    return {path: path.read_bytes() for path in cache.iterdir() if path.is_file()}


def test_what_is_remembered_is_not_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(distributions, "_SETTLED_NS", int(TICK * 1e9))
    site, cache = packages(tmp_path), tmp_path / "cache"
    assert remembered(site, cache)
    before = state(site)
    for reader in ("read_hashes", "_inspect"):
        monkeypatch.delattr(distributions, reader)
    assert state(site, cache) == before
    with pytest.raises(NameError):
        state(site)


def test_a_damaged_cache_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(distributions, "_SETTLED_NS", int(TICK * 1e9))
    site, cache = packages(tmp_path), tmp_path / "cache"
    before = state(site)
    for path, content in remembered(site, cache).items():
        for damaged in (b"", b"\n", content[:-1], content[:70], content[1:], content.replace(b"tiny/", b"tinz/"), b"\xff" * 100, content.replace(b"{", b"[", 1), content.replace(b'"digest":"', b'"digest":"0', 1)):
            path.write_bytes(damaged)
            assert state(site, cache) == before
        path.unlink()
        path.mkdir()
        assert state(site, cache) == before


def test_a_cache_that_cannot_be_written_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(distributions, "_SETTLED_NS", 0)
    site = packages(tmp_path)
    (tmp_path / "file").write_text("")
    assert state(site, tmp_path / "file") == state(site, tmp_path / "file/below") == state(site)


# -- owners ------------------------------------------------------------------------------------------------------------------


def owners(site: Path, *files: Path | str) -> tuple[dict[str, frozenset[str]], set[str]]:
    """The owners of files, and the names of those that have none."""
    found = owners_of(find_installed([str(site)]), files)
    return found.packages, {path.name for path in found.others}


def test_files_of_a_distribution_have_an_owner(tmp_path: Path):
    site = packages(tmp_path)
    files = [site / "tiny/__init__.py", site / "tiny/__pycache__/more.cpython-311.pyc", site / "tiny-1.0.dist-info/METADATA"]
    assert owners(site, *files) == ({"tiny": {"tiny/__init__.py", "tiny/more.py", "tiny-1.0.dist-info/METADATA"}}, set())


def test_two_distributions_may_own_one_file(tmp_path: Path):
    site = packages(tmp_path)
    install(site, "shared", "1.0", {"tiny/__init__.py": "V = 3\n"})
    assert owners(site, site / "tiny/__init__.py") == ({"tiny": {"tiny/__init__.py"}, "shared": {"tiny/__init__.py"}}, set())


def test_a_namespace_may_be_of_several_distributions(tmp_path: Path):
    site = packages(tmp_path)
    install(site, "space_one", "1.0", {"space/one/__init__.py": ""})
    install(site, "space_two", "1.0", {"space/two/__init__.py": ""})
    files = [site / "space/one/__init__.py", site / "space/two/__init__.py", site / "space/three.py"]
    assert owners(site, *files) == ({"space-one": {"space/one/__init__.py"}, "space-two": {"space/two/__init__.py"}}, {"three.py"})


def test_what_no_record_vouches_for_has_no_owner(tmp_path: Path):
    site = packages(tmp_path)
    weak = [["weak.py", "md5=x", "0"], ["none.py", "", ""], ["tiny/new\nline.py", hash_of(b""), "0"], ["../etc.json", hash_of(b""), "0"], ["/etc/passwd", hash_of(b""), "0"]]
    install(site, "weak", "1.0", {}, extra=weak)
    for egg in ("egg-1.0.egg-info", "old-1.0.dist-info"):
        (site / egg).mkdir()
    (site / "__editable__.mine-1.0.pth").write_text(str(tmp_path / "src"))
    install(site, "mine", "1.0", {"__editable__.mine-1.0.pth": str(tmp_path / "src")})
    files = [site / "loose.py", site / "tiny/new.py", site / "egg.py", site / "old.py", tmp_path / "src/mine.py", tmp_path / "bin/tiny", site / "tiny-1.0.dist-info/INSTALLER"]
    files += [site / "tiny-1.0.dist-info/RECORD", *((site / row[0]).resolve() for row in weak)]
    packages_found, others = owners(site, *files)
    assert packages_found == {} and others == {path.name for path in files}


@pytest.mark.parametrize("row, path", [
    (['odd/a,b.py', hash_of(b""), "0"], "odd/a,b.py"), (["./odd/c.py", hash_of(b""), "0"], "odd/c.py"), (["odd/../odd/d.py", hash_of(b""), "0"], "odd/d.py"),
    (["odd/e.py", hash_of(b"", "sha512"), "0"], "odd/e.py"), (["odd/f.py", hash_of(b"") + "=", "0"], "odd/f.py"), (["odd/ü.py", hash_of(b""), "0"], "odd/ü.py")])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_records_are_written_in_many_ways(row: list[str], path: str, ending: str, tmp_path: Path):
    site = packages(tmp_path)
    install(site, "odd", "1.0", {}, extra=[row], ending=ending)
    (site / "odd").mkdir()
    (site / path).write_text("")
    assert owners(site, site / path) == ({"odd": {path}}, set())
    before = state(site, used=frozenset({path}), name="odd")
    (site / path).write_text(" ")
    assert state(site, used=frozenset({path}), name="odd") != before


def test_a_path_that_is_not_unicode_has_an_owner(tmp_path: Path):
    site = packages(tmp_path)
    info = install(site, "odd", "1.0", {})
    (info / "RECORD").write_bytes(b"odd\xff.py," + hash_of(b"").encode() + b",0\n")
    Path(os.fsdecode(bytes(site) + b"/odd\xff.py")).write_text("")
    used = owners(site, os.fsdecode(bytes(site) + b"/odd\xff.py"))[0]["odd"]
    before, packed = state(site, used=used, name="odd"), pack_files(find_installed([str(site)]), "odd", used)
    assert unpack_files(find_installed([str(site)]), "odd", packed) == used
    Path(os.fsdecode(bytes(site) + b"/odd\xff.py")).write_text(" ")
    assert state(site, used=used, name="odd") != before


@pytest.mark.parametrize("path", ["../secret", "{root}/secret", "tiny/../../secret", "", "."])
def test_only_files_that_record_names_are_read(path: str, tmp_path: Path):
    site = packages(tmp_path)
    (tmp_path / "secret").write_text("1")
    before = state(site, used=frozenset({path.format(root=tmp_path)}))
    (tmp_path / "secret").write_text("2")
    assert state(site, used=frozenset({path.format(root=tmp_path)})) == before != state(site)


def test_names_are_normalized(tmp_path: Path):
    site = packages(tmp_path)
    install(site, "Tiny.Name_x", "1.0", {"name.py": ""})
    assert list(owners(site, site / "name.py")[0]) == ["tiny-name-x"]
    assert state(site, used=None, name="tiny_name.X") == state(site, used=None, name="tiny-name-x") is not None


def test_links_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site = packages(tmp_path / "real")
    (tmp_path / "link").symlink_to("real/site")
    links = tmp_path / "links"
    links.mkdir()
    for entry in site.iterdir():
        (links / entry.name).symlink_to(entry)
    (site / "inside").symlink_to("tiny")
    wanted = {"tiny": {"tiny/__init__.py"}, "other": {"other.py"}}, set()
    for folder, file in ((site, tmp_path / "link"), (tmp_path / "link", site), (tmp_path / "link", tmp_path / "link"), (links, site), (links, links), (links, tmp_path / "link")):
        assert owners(folder, file / "tiny/__init__.py", file / "other.py") == wanted
        assert state(folder) == state(site)
    assert owners(site, site / "inside/__init__.py", site / "tiny/../other.py") == wanted
    monkeypatch.chdir(site)
    assert owners(site, "tiny/__init__.py", Path("other.py")) == wanted


def test_a_project_may_hold_its_environment(tmp_path: Path):
    site = packages(tmp_path / ".venv/lib")
    install(tmp_path, "vendored", "1.0", {"vendored.py": ""})
    found = owners_of(find_installed([str(tmp_path), str(site)]), [site / "tiny/__init__.py", tmp_path / "vendored.py", tmp_path / "mine.py"])
    assert set(found.packages) == {"tiny", "vendored"} and found.others == {tmp_path / "mine.py"}


def test_two_folders_of_the_path_may_hold_one_name(tmp_path: Path):
    first, second = packages(tmp_path / "first"), packages(tmp_path / "second")
    path = [str(first), str(second)]
    before = package_state(find_installed(path), "tiny", USED)
    (second / "tiny/__init__.py").write_text("V = 3\n")
    assert package_state(find_installed(path), "tiny", USED) != before
    assert before != state(first)


# -- sets of files as text ---------------------------------------------------------------------------------------------------


@given(st.lists(st.text("abc/", min_size=1, max_size=5), unique=True, max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_packed_files_are_unpacked(tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject):
    site = tmp_path_factory.mktemp("packed")
    install(site, "tiny", "1.0", {}, extra=[[name, hash_of(b""), "0"] for name in names])
    installed = find_installed([str(site)])
    paths = sorted(distributions.read_hashes(str(site / "tiny-1.0.dist-info")))
    used = frozenset(data.draw(st.lists(st.sampled_from(paths), unique=True)))
    assert unpack_files(installed, "tiny", pack_files(installed, "tiny", used)) == used


@given(st.text(max_size=30))
def test_any_text_unpacks_to_nothing(tmp_path_factory: pytest.TempPathFactory, text: str):
    site = tmp_path_factory.mktemp("any")
    install(site, "tiny", "1.0", {})
    installed = find_installed([str(site)])
    order = pack_files(installed, "tiny", []).partition(":")[0]
    assert unpack_files(installed, "tiny", text) is None
    files = unpack_files(installed, "tiny", f"{order}:{text}")
    assert files is None or pack_files(installed, "tiny", files).startswith(order)


def test_files_of_another_record_are_not_unpacked(tmp_path: Path):
    site = packages(tmp_path)
    packed = pack_files(find_installed([str(site)]), "tiny", USED)
    (site / "tiny/__init__.py").write_text("V = 3\n")
    assert unpack_files(find_installed([str(site)]), "tiny", packed) == USED
    install(site, "tiny", "1.0", {**FILES, "tiny/new.py": ""})
    assert unpack_files(find_installed([str(site)]), "tiny", packed) is None
    uninstall(site, "tiny")
    assert unpack_files(find_installed([str(site)]), "tiny", packed) is None


# -- what every package may add ----------------------------------------------------------------------------------------------


def with_points(site: Path, name: str, text: str, suffix: str = "dist-info") -> None:
    """A package with entry points."""
    (site / f"{name}-1.0.{suffix}").mkdir(exist_ok=True)
    (site / f"{name}-1.0.{suffix}/entry_points.txt").write_text(text)


def test_entry_points_of_all_packages_count(tmp_path: Path):
    site = packages(tmp_path)
    points = lambda *more: entry_points_state(find_installed([str(site), *more]))
    seen = [points()]
    with_points(site, "plug", "[console_scripts]\nplug = plug:main\n\n[gui_scripts]\nshow = plug:show\n")
    install(site, "other", "1.1", {"other.py": "V = 3\n"})
    assert points() == seen[0]
    for name, text, suffix in [("plug", "[console_scripts]\nx = y\n[plugins]\na = b:c\n", "dist-info"), ("plug", "[plugins]\na = b:d\n", "dist-info"),
                               ("plug", "[others]\na = b:d\n", "dist-info"), ("egg", "[plugins]\na = b:c\n", "egg-info")]:
        with_points(site, name, text, suffix)
        assert points() not in seen
        seen.append(points())
    with_points(site, "plug", "# a comment\n[others]\n\n a = b:d \n[console_scripts]\nx = z\n")
    assert points() == seen[-2] or points() == seen[-1]
    second = tmp_path / "second"
    second.mkdir()
    with_points(second, "egg", "[plugins]\nhidden = by:first\n")
    assert points(str(second)) == points()
    with_points(second, "seen", "[plugins]\na = b:c\n")
    assert points(str(second)) != points()


def test_entry_points_are_those_that_importlib_finds():
    """The same list as the standard library's, for the environment of this test."""
    from importlib.metadata import entry_points

    path = list(dict.fromkeys(sys.path))
    ours = set()
    for folder, infos in find_installed(path).metadata.items():
        for info in infos:
            ours |= {(group, *map(str.strip, line.split("=", 1))) for group, line in distributions._read_entry_points(f"{folder}/{info}/entry_points.txt")}
    points = entry_points()
    groups = set(points.groups) - {"console_scripts", "gui_scripts"}
    theirs = {(group, point.name, point.value) for group in groups for point in points.select(group=group)}
    assert theirs and theirs == ours


@pytest.mark.parametrize("text, counts", [
    ("import os\n", True), ("import\tos\n", True), ("/a/folder\n", False), ("# import os\n", False), ("\n", False), ("importlib\n", False),
    ("import __editable___a_1_0_finder; __editable___a_1_0_finder.install()\n", False), ("import __editable___a; __editable___b.install()\n", True),
    ("import __editable___a_finder; __editable___a_finder.install(); import os\n", True), ("/a/folder\r\nimport os\r\n", True), ("\ufeffimport os", True)])
def test_code_in_path_files_counts(text: str, counts: bool, tmp_path: Path):
    site = packages(tmp_path)
    before = startup_state(find_installed([str(site)]))
    (site / "a.pth").write_text(text, newline="")
    assert (startup_state(find_installed([str(site)])) != before) == counts


def test_weights_in_the_project_are_no_path_files(tmp_path: Path):
    (tmp_path / "model.pth").write_text("import os\n")
    assert startup_state(find_installed([str(tmp_path)])) == startup_state(find_installed([]))


# -- real installations ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of one version, and another one of the same version."""
    made = {}
    for name, value in (("first", 2), ("second", 3)):
        folder = tmp_path_factory.mktemp(name)
        info = "tiny-1.0.dist-info"
        texts = {"tiny/__init__.py": f"V = {value}\n", f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n", f"{info}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
                 f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "tiny-1.0.data/data/share/tiny.txt": "data\n"}
        record = "".join(f"{path},{hash_of(text.encode())},{len(text)}\n" for path, text in texts.items())
        with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
            for path, text in {**texts, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
                wheel.writestr(path, text)
        made[name] = folder / "tiny-1.0-py3-none-any.whl"
    return made


def pip(python: Path, *words: str) -> None:
    """Run this environment's pip for another one, without a network."""
    command = [sys.executable, "-m", "pip", "--python", str(python), *words]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"})


def environment(root: Path, *options: str) -> tuple[Path, Path]:
    """A new environment: its Python and its site folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *options, str(root)], check=True)
    return root / "bin/python", next(root.glob("lib/python*/site-packages"))


def test_environments_in_two_folders_agree_and_another_wheel_does_not(wheels: dict[str, Path], tmp_path: Path):
    states = []
    for name, wheel, options in (("a/one", "first", []), ("b/two", "first", ["--no-compile"]), ("c", "second", [])):
        python, site = environment(tmp_path / name)
        pip(python, "install", "--no-deps", *options, str(wheels[wheel]))
        installed = find_installed([str(site)])
        used = owners_of(installed, [site / "tiny/__init__.py"]).packages["tiny"]
        states.append([package_state(installed, "tiny", used), package_state(installed, "tiny", None), pack_files(installed, "tiny", used), entry_points_state(installed)])
    assert states[0] == states[1]
    assert states[0][0] != states[2][0] and states[0][2:] == states[2][2:]
    pip(python, "install", "--no-deps", "--force-reinstall", str(wheels["first"]))
    assert state(site, used=used) == states[0][0]
    pip(python, "uninstall", "-y", "tiny")
    assert state(site) is None


def test_this_environment_is_as_it_was_installed():
    """Every loaded module of an installed package has an owner, and is what its RECORD says."""
    folders = {os.path.dirname(os.path.dirname(module.__file__)) for module in (pytest, csv)}
    site = next(folder for folder in folders if folder.endswith("site-packages"))
    files = [module.__file__ for module in list(sys.modules.values()) if (getattr(module, "__file__", None) or "").startswith(site)]
    installed = find_installed([site])
    found = owners_of(installed, files)
    assert not found.others and len(found.packages) > 3
    for name, used in found.packages.items():
        assert package_state(installed, name, used) == package_state(installed, name, []), name


# -- any history -------------------------------------------------------------------------------------------------------------

CONTENTS = ["V = 1\n", "V = 2\n", "longer\n"]
ALL = ["tiny/__init__.py", "tiny/more.py", "shared.py"]
HISTORY = st.one_of(
    st.tuples(st.sampled_from(["write", "stealth", "swap", "link"]), st.sampled_from(ALL), st.sampled_from(CONTENTS)),
    st.tuples(st.sampled_from(["remove", "touch"]), st.sampled_from(ALL)),
    st.tuples(st.just("install"), st.sampled_from(["tiny", "other"]), st.sampled_from(["1.0", "1.1"]), st.lists(st.sampled_from(CONTENTS), min_size=3, max_size=3)),
    st.tuples(st.just("uninstall"), st.sampled_from(["tiny", "other"])),
    st.just(("copy",)),
)


def apply(site: Path, kind: str, *arguments) -> None:
    """One event in the life of an environment."""
    if kind == "install":
        name, version, texts = arguments
        files = dict(zip(ALL, texts, strict=True)) if name == "tiny" else {"shared.py": texts[0]}
        install(site, name, version, files)
    elif kind == "uninstall":
        uninstall(site, *arguments)
    elif kind == "copy":
        site.rename(site.parent / "old")
        shutil.copytree(site.parent / "old", site, symlinks=True)
        shutil.rmtree(site.parent / "old")
    else:
        path = site / arguments[0]
        change = {"write": Path.write_text, "stealth": stealthily, "swap": swapped, "link": linked}.get(kind)
        if change and (path.exists() or kind == "write") and path.parent.exists():
            change(path, arguments[1])
        elif path.exists():
            path.unlink() if kind == "remove" else path.touch()


def truth(site: Path, used: frozenset[str]) -> object:
    """What a distribution is, told without the module under test."""
    infos = sorted(site.glob("tiny-*.dist-info"))
    if not infos:
        return None
    rows = [sorted(row[:2] for row in csv.reader((info / "RECORD").read_text().splitlines()) if row[0].startswith(("tiny/", "shared")) and ".pyc" not in row[0]) for info in infos]
    return [[info.name for info in infos], rows, [(site / path).read_text() if (site / path).exists() else None for path in sorted(used)]]


def lives(histories: list[list[tuple]], used: frozenset[str], root: Path) -> Iterator[tuple[object, str | None, str | None]]:
    """After each event: the truth, the state with a cache, and the state without one."""
    site = root / "site"
    site.mkdir()
    for event in histories:
        apply(site, *event)
        yield truth(site, used), state(site, root / "cache", used), state(site, None, used)
        time.sleep(TICK)


def compare(histories: list[tuple], used: frozenset[str], root: Path) -> None:
    """Two moments have the same state exactly when they are the same in truth, whatever is remembered."""
    first = ("install", "tiny", "1.0", [CONTENTS[0]] * 3)
    seen = list(lives([first, *histories], used, root))
    for reality, with_cache, without in seen:
        assert with_cache == without
        for other, other_state, _ in seen:
            assert (reality == other) == (with_cache == other_state)


@pytest.fixture(scope="module")
def quick_ticks() -> Iterator[None]:
    """Files count as old after half of our tick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributions, "_SETTLED_NS", int(TICK * 1e9 / 2))
        yield


LIFE = st.lists(HISTORY, min_size=2, max_size=8)
SOME = st.sets(st.sampled_from(ALL), min_size=1).map(frozenset)


@given(LIFE, SOME)
@settings(max_examples=30, deadline=None)
def test_states_differ_exactly_when_environments_do(quick_ticks: None, tmp_path_factory: pytest.TempPathFactory, histories: list[tuple], used: frozenset[str]):
    compare(histories, used, tmp_path_factory.mktemp("life"))


@pytest.mark.long
@given(LIFE, SOME)
@settings(max_examples=1000, deadline=None)
def test_states_differ_exactly_when_environments_do_for_long(quick_ticks: None, tmp_path_factory: pytest.TempPathFactory, histories: list[tuple], used: frozenset[str]):
    compare(histories, used, tmp_path_factory.mktemp("long"))
