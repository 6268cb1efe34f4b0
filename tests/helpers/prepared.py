"""`mlops` in forks of one process that has the imports done: the same as a fresh start, and five times as fast.

Hydra is hidden until a command imports it: where it is loaded, each command composes again.
"""
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from mlops_kit.engine.import_graph import start_graph

PRELOADED = ("omegaconf", "psutil", "rich.table", *(f"mlops_kit.{name}" for name in ("cli.progress", "cli.terminal", "pipeline.api", "ledger.maintenance")))


class Prepared:
    "Calls `mlops` in forks of one prepared process"

    def __init__(self, root: Path):
        self.root, self.folders = root, []
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, *words: str, root: Path | None = None, **environment: str) -> int:
        "Start a command, in another folder if told so; its process id"
        self.folders.append(tempfile.mkdtemp())
        return self._ask({"words": words, "root": str(root or self.root), "environment": outer_environment() | environment, "folder": self.folders[-1]})

    def wait(self) -> dict:
        "How the oldest command ended: code, negative for a signal; changes (of the disk); output; error"
        code, folder = self._ask("wait"), Path(self.folders.pop(0))
        told = {path.name: path.read_text() for path in folder.iterdir()}
        shutil.rmtree(folder)
        return {"code": code, "changes": int(told.get("changes", 0)), "output": told["output"], "error": told["error"]}

    def __call__(self, *words: str, **options: str | Path) -> dict:
        "Start a command and wait for its end"
        self.start(*words, **options)
        return self.wait()

    def _ask(self, question: dict | str) -> int:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def outer_environment() -> dict[str, str]:
    "The environment of a command; where pytest's own variable is set, ipykernel leaves descriptors alone"
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def become_mlops(asked: dict) -> int:
    "In the child: what `mlops` does, with its output in files; its exit code"
    from mlops_kit.cli import main
    from mlops_kit.store import files

    os.setsid()
    signal.alarm(300)  # seconds: also a command that hangs ends
    os.chdir(asked["root"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, name in ((1, "output"), (2, "error")):
        os.dup2(os.open(f"{asked['folder']}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdin, sys.stdout, sys.stderr = open(os.devnull), open(1, "w", closefd=False), open(2, "w", closefd=False)
    sys.argv = ["mlops", *asked["words"]]
    code = main()
    Path(asked["folder"], "changes").write_text(str(next(files._failpoint_numbers) - 1))
    return code


def hide_hydra() -> None:
    "Import all that Hydra imports when it composes, and hide it"
    graph = start_graph()
    with graph, tempfile.TemporaryDirectory() as folder:
        from mlops_kit.config import compose

        (Path(folder) / "conf").mkdir()
        compose([], Path(folder))
        sys.modules["hydra.core.global_hydra"].GlobalHydra.instance().clear()
    graph.hold()


def serve() -> int:
    "Fork a child for each line on standard input; the child returns its exit code"
    sys.path[0] = str(Path(sys.executable).parent)
    for name in PRELOADED:
        import_module(name)
    hide_hydra()
    gc.freeze()  # so that the forks share the memory
    children = []
    for line in sys.stdin:
        if (asked := json.loads(line)) == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(children.pop(0), 0)[1])
        elif answer := os.fork():
            children.append(answer)
        else:
            return become_mlops(asked)
        print(answer, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(serve())
