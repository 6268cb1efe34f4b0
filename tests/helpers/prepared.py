"""`mlops` many times, on a pipeline of six steps: a process with the imports done forks a child for each command.

As true as a fresh start and five times as fast. Failpoints count the changes of the disk in such a child; the processes of the steps make none of their own: all that they leave is moved into the store by the run.
"""
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import takewhile
from pathlib import Path


class Prepared:
    "Calls `mlops` in forks of one prepared process"

    def __init__(self, root: Path):
        self.root = root
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)

    def start(self, *words: str, **environment: str) -> int:
        "Start a command; its process id"
        return self._ask({"words": words, "environment": environment})["pid"]

    def wait(self) -> dict:
        "How the oldest command ended: code, negative for a signal; changes (of the disk); output; error"
        return self._ask({"wait": True})

    def __call__(self, *words: str, **environment: str) -> dict:
        "Start a command and wait for its end"
        self.start(*words, **environment)
        return self.wait()

    def _ask(self, question: dict) -> dict:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def become_mlops(words: list[str], environment: dict[str, str], folder: str) -> None:
    "In the child: what `mlops` does, with its output in files"
    from mlops_kit.cli import commands
    from mlops_kit.store import files

    os.setsid()
    os.environ.update(environment)
    for number, name in ((1, "output"), (2, "error")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin, sys.stdout, sys.stderr = open(os.devnull), open(1, "w", closefd=False), open(2, "w", closefd=False)
    sys.argv = ["mlops", *words]
    code = 70
    try:
        code = commands.main(words)
        Path(folder, "changes").write_text(str(next(files._failpoint_numbers) - 1))
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    "Fork a child for each line on standard input"
    import tempfile

    for name in ("psutil", *(f"mlops_kit.{name}" for name in ("cli", "cli.progress", "cli.terminal", "pipeline.api", "ledger.maintenance"))):
        import_module(name)  # not hydra: where it is loaded, it composes again each time

    children = []
    for line in sys.stdin:
        asked = json.loads(line)
        if "words" in asked:
            folder = tempfile.mkdtemp()
            if (pid := os.fork()) == 0:
                become_mlops(asked["words"], asked["environment"], folder)
            children.append((pid, Path(folder)))
            answer = {"pid": pid}
        else:
            pid, folder = children.pop(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            told = {path.name: path.read_text() for path in folder.iterdir()}
            answer = {"code": code, "changes": int(told.get("changes", 0)), "output": told.get("output", ""), "error": told.get("error", "")}
            shutil.rmtree(folder)
        print(json.dumps(answer), flush=True)


STEP = """
import json, os
def note(what):
    "Tell somebody outside, for good"
    journal = os.open({journal!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_SYNC)
    os.write(journal, f"{{what}} {{name}}\\n".encode())
    os.close(journal)
note("START")
found = [json.loads(path.read_text()) for path in sorted(Path("in").glob("*")) if path.is_file()]
Path(result).write_text(json.dumps([name, found]))
note("END")
"""
PARAMETERS = 'from pathlib import Path\nname: str = ""\nresult: str = ""'
BEFORE = {"one": (), "two": ("one",), "three": ("one",), "four": ("two", "three"), "five": ("four",), "six": ()}
WORKERS = 2  # steps at a time


class Subject:
    "A pipeline of six steps that tell somebody outside what they do, and a prepared process to run it"
    wanted: dict   # the outs of an undisturbed run
    changes: int   # of the disk in it

    def __init__(self, root: Path, *cells: str, engine: str = "mlops"):
        from helpers.project import Project

        self.project, self.engine = Project(root / "project"), engine
        self.store, self.journal = self.project.root / ".mlops", root / "journal"
        self.project.notebook("step", *cells, STEP.format(journal=str(self.journal)), parameters=PARAMETERS)
        steps = (f"{name}: {{notebook: notebooks/step.ipynb, params: {{name: {name}}}, ins: {{{', '.join(f'{one}: {one}.result' for one in before)}}}, outs: {{result: {name}.json}}}}" for name, before in BEFORE.items())
        self.project.pipeline("\n".join(steps))
        self.mlops = Prepared(self.project.root)
        for command in (self.run, lambda: self.mlops("fsck")) * 2:  # Hydra composes once
            assert (answer := command())["code"] == 0, answer
        self.reset()

    def start(self, *words: str, **environment: str) -> int:
        "Start a run of the pipeline; its process id"
        return self.mlops.start("run", "pipeline=demo", f"executor.workers={WORKERS}", f"engine={self.engine}", "--json", *words, **environment)

    def run(self, **environment: str) -> dict:
        "Run the pipeline; how it ended"
        self.start(**environment)
        return self.mlops.wait()

    def told(self) -> list[str]:
        "What the steps have told"
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def reset(self, composed: bool = True) -> None:
        "As if nothing had ever run; but what Hydra composed and what code was followed may be remembered, as that takes as long as all the rest"
        for path in self.store.iterdir():
            if path.name not in ("composed", "followed") or not composed:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.journal.unlink(missing_ok=True)

    def ended(self) -> set[str]:
        "The steps that the record of some run calls ended"
        lines = [json.loads(line) for path in self.store.glob("runs/*/events.jsonl") for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        return {line["step"] for line in lines if line["event"] == "ended"}


def outs(answer: dict) -> dict:
    "The digests of all outs that a run tells of"
    return {name: step["outs"] for name, step in json.loads(answer["output"])["steps"].items()}


def sweep(subjects: list[Subject], numbers, check) -> int:
    "Check each number, half of them with each subject, until there is nothing left to check; how many there were"
    with ThreadPoolExecutor(len(subjects)) as pool:
        return sum(pool.map(lambda at: sum(1 for _ in takewhile(lambda number: check(subjects[at], number), numbers[at::len(subjects)])), range(len(subjects))))


if __name__ == "__main__":
    serve()
