"""What other processes look at for a step counts like what its own cells look at: the fork server, and Python children."""
import json
import os
import subprocess
from pathlib import Path

import pytest
from helpers.project import Project, environment, install

TONED = '''import os
from pathlib import Path
home = Path.home()

def text(name):
    try:
        return (home / name).read_text()
    except OSError:
        return "none"

SEEN = {
    "file": text("toned.txt"), "missing": text("missing.txt"), "there": (home / "there.txt").exists(),
    "folder": sorted(os.listdir(home / "folder")), "glob": len(list((home / "folder").glob("*.txt"))),
    "variable": os.environ.get("XDG_TONE", "none"), "all": {name: value for name, value in os.environ.items() if name.startswith("TONE_")},
    "stat": (home / "stat.txt").stat().st_size,
}
'''
CHANGES = {  # what a package reads while it is imported -> a change of it
    "file": lambda home: (home / "toned.txt").write_text("green"),
    "missing": lambda home: (home / "missing.txt").write_text("new"),
    "there": lambda home: (home / "there.txt").write_text(""),
    "folder": lambda home: (home / "folder/b").write_text(""),
    "glob": lambda home: (home / "folder/b.txt").write_text(""),
    "stat": lambda home: (home / "stat.txt").write_text("123"),
    "variable": lambda home: {"XDG_TONE": "loud"},
    "all": lambda home: {"TONE_A": "loud"},
}


class Elsewhere:
    "A project with an environment, a home folder and fork servers of its own"

    def __init__(self, root: Path):
        self.python, self.home = environment(root / "env"), root / "home"
        install(self.python, "toned", "1.0", TONED)
        install(self.python, "other", "1.0", "from pathlib import Path\nVALUE = (Path.home() / 'other.txt').read_text()\n")
        (self.home / "folder").mkdir(parents=True)
        for name, content in {"toned.txt": "red", "stat.txt": "1", "other.txt": "1", "folder/a": ""}.items():
            (self.home / name).write_text(content)
        self.project = Project(root / "project")
        for name in ("toned", "other"):
            value = "toned.SEEN" if name == "toned" else "other.VALUE"
            self.project.notebook(name, f"import json, {name}", f"result.write_text(json.dumps({value}))")
        self.project.pipeline("toned: {notebook: notebooks/toned.ipynb, outs: {result: result.json}}\nother: {notebook: notebooks/other.ipynb, outs: {result: result.json}}")
        (root / "runtime").mkdir()
        self.variables = {**os.environ, "HOME": str(self.home), "MLOPS_RUNTIME_DIR": str(root / "runtime")}

    def __call__(self, *words: str, **variables: str) -> dict:
        "What `mlops ... --json` prints"
        code = "import sys; from mlops_kit.cli import main; sys.exit(main())"
        command = [self.python, "-c", code, *words, "--json"]
        done = subprocess.run(command, cwd=self.project.root, env=self.variables | variables, capture_output=True, text=True, timeout=120)
        return json.loads(done.stdout)

    def run(self, **variables: str) -> tuple[dict[str, str], dict]:
        "Run the pipeline: how each step ended, and what the package saw"
        steps = self("run", "pipeline=demo", "pass_env=[TONE_A]", **variables)["steps"]
        out = next((self.project.root / ".mlops/objects").glob(f"*/*{steps['toned']['outs']['result'][4:]}*"))
        return {name: step["status"] for name, step in steps.items()}, json.loads(out.read_text())

    def close(self) -> None:
        self("engine", "stop")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    "Such a project that has run once"
    made = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    statuses, made.seen = made.run()
    assert set(statuses.values()) == {"ran"} and set(made.run()[0].values()) == {"hit"}
    yield made
    made.close()


@pytest.mark.parametrize("kind", CHANGES)
def test_what_a_package_read_in_the_fork_server_counts(elsewhere, kind):
    before, variables = elsewhere.seen, CHANGES[kind](elsewhere.home)
    statuses, elsewhere.seen = elsewhere.run(**(variables if isinstance(variables, dict) else {}))
    assert statuses["toned"] == "ran" and elsewhere.seen[kind] != before[kind], "the server's answer was not used again"
    assert statuses["other"] == ("ran" if kind == "all" else "hit"), "only what the step's own package read counts"
