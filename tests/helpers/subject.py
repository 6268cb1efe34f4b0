"""A pipeline of six steps that tell what they do, and a prepared process to run it: for kills, damage, and runs at the same time.

Failpoints count the changes of the disk in a command; the processes of the steps make none of their own: all that they leave is moved into the store by the run.
"""
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

from helpers.prepared import Prepared
from helpers.project import Project


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
        "As if nothing had ever run; but what Hydra composed and what is known of installed packages may be remembered, as that takes as long as all the rest"
        for path in self.store.iterdir():
            if path.name not in ("composed", "installed") or not composed:
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
