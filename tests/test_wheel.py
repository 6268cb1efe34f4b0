"""What a user installs: the wheel in an empty environment, with its core requirements only (needs a package registry)."""

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = "torch lightning wandb hydra omegaconf papermill nbformat nbclient IPython polars numpy matplotlib sklearn".split()


LIBRARY = "mlops_kit/engine/_access_log.abi3.so"  # of access_log.c


def command(*words: object, cwd: Path) -> str:
    """Run a command, give its output; fail with everything that it said."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist that is built from a copy of the tree."""
    source, dist = tmp_path_factory.mktemp("source") / "mlops_kit", tmp_path_factory.mktemp("dist")
    private = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "wandb", "outputs", "multirun")
    shutil.copytree(ROOT, source, ignore=private)
    command(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, source, cwd=dist)
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that holds the wheel and what it requires, in the locked versions."""
    folder = tmp_path_factory.mktemp("venv")
    command(sys.executable, "-m", "venv", folder, cwd=folder)
    command(folder / "bin/pip", "install", "-qq", "-c", ROOT / "requirements.lock", wheel, cwd=folder)
    return folder / "bin"


def shipped() -> dict[str, Path]:
    """What the wheel should hold besides its metadata: name in the wheel -> file of the repository."""
    homes = {
        "mlops_kit": (ROOT / "mlops_kit", ("**/*.py", "**/*.c", "py.typed", "conf/**/*.yaml", "share/**/*.json")),
        "mlops_kit/examples/steps": (ROOT / "nbs/steps", ("__init__.py", "**/*.ipynb")),
        "mlops_kit/examples/conf": (ROOT / "conf", ("__init__.py", "**/*.yaml")),
    }
    files = {}
    for name, (folder, globs) in homes.items():
        paths = {path for glob in globs for path in folder.glob(glob) if ".ipynb_checkpoints" not in path.parts}
        files |= {f"{name}/{path.relative_to(folder)}": path for path in paths}
    return files


def test_the_wheel_holds_the_files_of_the_repository_and_nothing_else(wheel: Path):
    wanted = shipped()
    assert {"mlops_kit/py.typed", "mlops_kit/examples/steps/flights/train.ipynb", "mlops_kit/examples/conf/pipeline/digits.yaml"} <= set(wanted)
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held - {LIBRARY} == set(wanted)
        assert [name for name in sorted(held - {LIBRARY}) if archive.read(name) != wanted[name].read_bytes()] == []


def build_wheel(source: Path, folder: Path, compiler: str) -> Path:
    """A wheel of a copy of what a build reads, made with some compiler."""
    shutil.copytree(ROOT / "mlops_kit", source / "mlops_kit", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("setup.py", "settings.ini", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("nbs/steps", "conf"):
        shutil.copytree(ROOT / name, source / name)
    code = f"import os, sys, setuptools.build_meta as b; os.environ['CC'] = {compiler!r}; b.build_wheel({str(folder)!r})"
    command(sys.executable, "-c", code, cwd=source)
    return next(folder.glob("*.whl"))


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="no compiler")
@pytest.mark.parametrize("compiler, built", [("gcc", True), ("no-such-compiler", False)])
def test_the_library_is_built_where_there_is_a_compiler(compiler: str, built: bool, tmp_path: Path):
    wheel = build_wheel(tmp_path / "source", tmp_path, compiler)
    assert (LIBRARY in ZipFile(wheel).namelist()) == built
    assert "-cp311-abi3-linux_" in wheel.name  # of one system, for every Python


@pytest.mark.parametrize("place", ["here", "empty"])
def test_the_examples_are_found_as_resources(place: str, request: pytest.FixtureRequest, tmp_path: Path):
    python = sys.executable if place == "here" else request.getfixturevalue("empty") / "python"
    code = """
from importlib.resources import files
print((files("mlops_kit.examples.steps") / "flights" / "train.ipynb").read_text(encoding="utf8")[:1])
print((files("mlops_kit.examples.conf") / "pipeline" / "flights.yaml").read_text(encoding="utf8")[:1])
print((files("mlops_kit.examples") / "digits.py").is_file())
"""
    assert command(python, "-I", "-c", code, cwd=tmp_path).split() == ["{", "#", "True"]


def test_the_wheel_has_the_entry_points_of_settings_ini(wheel: Path):
    settings, built = ConfigParser(delimiters=["="]), ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf8")
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        built.read_string(archive.read(name).decode())
    groups = {name: lines for name, lines in settings["entry_points"].items() if name not in settings.defaults()}
    wanted = {group: dict(map(str.strip, line.split("=")) for line in lines.strip().splitlines()) for group, lines in groups.items()}
    assert {group: dict(built[group]) for group in built.sections()} == wanted


def test_every_entry_point_exists(empty: Path, tmp_path: Path):
    code = "from importlib.metadata import distribution; [entry.load() for entry in distribution('mlops_kit').entry_points]"
    command(empty / "python", "-I", "-c", code, cwd=tmp_path)


def test_help_works_in_an_empty_environment(empty: Path, tmp_path: Path):
    assert "run" in command(empty / "mlops", "--help", cwd=tmp_path)


def test_a_warm_kernel_starts_and_finds_its_packages(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="mlops", startup_timeout=60)
cell = "import mlops_kit, papermill.inspection, rich.emoji, sys; assert [one for one in sys.path if one][-1].endswith('site-packages'), sys.path"
reply = client.execute_interactive(cell, timeout=60)
client.stop_channels()
print(type(manager.provisioner.process).__name__, reply["content"]["status"], manager.shutdown_kernel())
"""
    specs = command(empty / "python", "-I", "-c", "from mlops_kit.jupyter.kernelspec import JUPYTER_DATA_DIR; print(JUPYTER_DATA_DIR)", cwd=tmp_path).strip()
    monkeypatch.setenv("JUPYTER_PATH", specs)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    assert command(empty / "python", "-I", "-c", code, cwd=tmp_path).split() == ["ForkedKernel", "ok", "None"]


# "here" has every extra installed, so that an import of one would be seen; "empty" has none, so that a need for one would
@pytest.mark.parametrize("place", ["here", "empty"])
@pytest.mark.parametrize("deed", [
    "import mlops_kit",
    "import mlops_kit; [getattr(mlops_kit, name) for name in dir(mlops_kit)]",
    "from mlops_kit.cli import main; main()"])
def test_nothing_heavy_is_imported(place: str, deed: str, request: pytest.FixtureRequest, tmp_path: Path):
    python = sys.executable if place == "here" else request.getfixturevalue("empty") / "python"
    code = f"""
import sys
sys.argv = ["mlops", "--help"]
try:
    {deed}
except SystemExit as end:
    assert not end.code
print("\\nheavy:", *sorted(set(sys.modules) & set({HEAVY})))
"""
    assert command(python, "-I", "-c", code, cwd=tmp_path).splitlines()[-1].split() == ["heavy:"]
