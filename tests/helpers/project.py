"""A small project for a test, the command line as a user calls it, and other environments."""
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import venv
from functools import cache
from pathlib import Path

from helpers.prepared import Prepared, outer_environment

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
NOTEBOOKS = TESTS / "notebooks"


ONE_CALL = threading.Lock()  # a prepared process answers in order


@cache
def prepared() -> Prepared:
    "The process in whose forks the tests of this process call `mlops`"
    return Prepared(ROOT)


PARAMETERS = 'from pathlib import Path\nresult: Path = Path("out/result.json")'


def notebook(parameters: str, *sources: str) -> str:
    "The text of a notebook: a cell of parameters, then these code cells"
    cells = [{"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "execution_count": None, "outputs": [], "source": source} for number, source in enumerate([parameters, *sources])]
    cells[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


class Project:
    "A project in a folder of its own, made of the fixture notebooks"

    def __init__(self, root: Path):
        self.root = root
        (root / "conf/pipeline").mkdir(parents=True)
        shutil.copytree(NOTEBOOKS, root / "notebooks")

    @classmethod
    def of_repository(cls, root: Path) -> "Project":
        "A copy of this repository's own project"
        for name in ("mlops_kit", "conf", "nbs/steps"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        project = object.__new__(cls)
        project.root = root
        return project

    def pipeline(self, text: str, name: str = "demo") -> None:
        "Write conf/pipeline/<name>.yaml from the steps in YAML"
        body = "".join(f"  {line}\n" for line in text.strip().splitlines())
        (self.root / f"conf/pipeline/{name}.yaml").write_text(f"name: {name}\nsteps:\n{body}")

    def notebook(self, name: str, *sources: str, parameters: str = PARAMETERS) -> Path:
        "Write notebooks/<name>.ipynb of a cell of parameters and these code cells"
        path = self.root / f"notebooks/{name}.ipynb"
        path.write_text(notebook(parameters, *sources))
        return path

    def start(self, *words: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
        "Start `mlops`, or what the words before it start, in a session of its own"
        command = [*before, Path(sys.executable).with_name("mlops"), *words]
        return subprocess.Popen(command, cwd=self.root, env=outer_environment() | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def mlops(self, *words: str, code: int = 0, **environment: str) -> str:
        "Call `mlops`; what it prints on standard output (and error, when it fails)"
        out, err = self._call(*words, code=code, **environment)
        return out if code == 0 else out + err

    def json(self, *words: str, code: int = 0, **environment: str):
        "Call `mlops ... --json`; the document that it prints"
        return json.loads(self._call(*words, "--json", code=code, **environment)[0])

    def _call(self, *words: str, code: int, **environment: str) -> tuple[str, str]:
        "What a command that ends with this code prints"
        if any(name.startswith("PYTHON") for name in environment):  # read only when Python starts
            process = self.start(*words, **environment)
            output, error = process.communicate(timeout=300)
            ended = process.returncode
        else:
            with ONE_CALL:
                answer = prepared()(*words, root=self.root, **environment)
            ended, output, error = answer["code"], answer["output"], answer["error"]
        assert ended == code, f"mlops {' '.join(words)} ended with {ended}:\n{output}\n{error}"
        return output, error

    def statuses(self, *words: str, code: int = 0) -> dict[str, str]:
        "Call `mlops run`; how each step ended"
        return {name: step["status"] for name, step in self.json("run", "pipeline=demo", *words, code=code)["steps"].items()}

    def must_run(self, *words: str, **environment: str) -> set[str]:
        "The steps that a plan would run"
        plan = self.json("plan", "pipeline=demo", *words, **environment)
        return {name for name, decision in plan.items() if decision["action"] != "hit"}

    def edit(self, name: str, old: str, new: str) -> None:
        "Change the text of a file"
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{name} does not hold {old!r}"
        path.write_text(text.replace(old, new))

    def records(self) -> list[Path]:
        "The records of steps"
        return sorted((self.root / ".mlops/records").glob("*.json"))


def environment(root: Path) -> Path:
    "A virtual environment that has all of ours, and room for more; its Python"
    venv.create(root, with_pip=False, symlinks=True)
    site = next(root.glob("lib/*/site-packages"))
    (site / "ours.pth").write_text("".join(f"import site; site.addsitedir({one!r})\n" for one in sys.path if "-packages" in one))
    return root / "bin/python"


def mlops_of(python: Path, project: Project):
    "Call the `mlops` of another environment in a project"
    code = "import sys; from mlops_kit.cli import main; sys.exit(main())"
    return lambda *words: subprocess.run([python, "-c", code, *words], cwd=project.root, capture_output=True, text=True, timeout=120)


def install(python: Path, name: str, version: str, source: str) -> None:
    "Install a package of one module, as pip would"
    site = next(python.parents[1].glob("lib/*/site-packages"))
    for old in site.glob(f"{name}-*"):
        shutil.rmtree(old)
    (site / f"{name}.py").write_text(source)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n")
    files = [site / f"{name}.py", info / "METADATA"]
    lines = [f"{file.relative_to(site)},sha256={record_hash(file)},{file.stat().st_size}\n" for file in files]
    (info / "RECORD").write_text("".join([*lines, f"{info.name}/RECORD,,\n"]))


def record_hash(file: Path) -> str:
    "The SHA-256 of a file as it stands in a RECORD"
    return base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).decode().rstrip("=")
