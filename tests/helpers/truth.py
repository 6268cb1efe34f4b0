"""The truth: what the cells of a notebook give in a process that knows nothing of the kit.

A long-lived process has IPython loaded; a fork of it executes the cells of each question, with the project importable,
in an empty folder of its own.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 60  # for one question


class Truth:
    "Executes cells in forks of one process"

    def __init__(self):
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"})

    def __call__(self, project: Path, cells: list[str], variables: dict[str, str]) -> str:
        "What the cells write to `result`, or the name of the error that ended them"
        self.process.stdin.write(json.dumps({"project": str(project), "cells": cells, "variables": variables}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def execute(shell, asked: dict, folder: str) -> None:
    "In the child: become the process of a step, and execute its cells"
    signal.alarm(SECONDS)
    os.chdir(folder)
    os.mkdir("out")
    os.environ.update(asked["variables"], MLOPS_PROJECT=asked["project"], PYTHONPATH=asked["project"])
    sys.path[0] = asked["project"]
    sys.modules["__main__"] = shell.user_module
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    errors: list[str] = []
    shell._showtraceback = lambda kind, *_: errors.append(kind.__name__)  # also of a cell in a magic, whose own result is fine
    for source in asked["cells"]:
        shell.run_cell(source, store_history=True)
        if errors:
            Path(folder, "out/error").write_text(errors[0])
            return


def outcome(folder: str) -> str:
    "What the child left"
    out = Path(folder, "out")
    return (out / "error").read_text() if (out / "error").exists() else (out / "result.json").read_text() if (out / "result.json").exists() else "died"


def serve() -> None:
    "Answer each line on standard input"
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    answers = os.fdopen(os.dup(1), "w")
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    for line in sys.stdin:
        folder = tempfile.mkdtemp(prefix="truth-")
        if not (child := os.fork()):
            try:
                execute(shell, json.loads(line), folder)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        answers.write(json.dumps(outcome(folder)) + "\n")
        answers.flush()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    serve()
