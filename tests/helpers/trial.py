"""The judge of hits: run, change, run again, and compare with the truth, which is everything executed in another store.

Many rows share one project: each is a step of its own, with files of its own. Whatever a row names carries the mark
`§`, which becomes the row's number, so that no row touches what another one looks at.
"""
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from helpers.project import ONE_CALL, PARAMETERS, notebook, prepared

MARK = "§"
PRELUDE = "import json, os, sys\nfrom pathlib import Path\nproject = Path(os.environ['MLOPS_PROJECT'])\nhere = project / 'd§'"
WRITES = "result.write_text(json.dumps(value, default=str))"


@dataclass(frozen=True)
class Place:
    "Where the files of one row are"
    root: Path      # of the project
    number: str     # what the mark becomes

    def text(self, text: str) -> str:
        "A text with the row's number in it"
        return text.replace(MARK, self.number)

    def path(self, name: str) -> Path:
        "The path of a file, `d§/...` being the row's own folder, `~/...` a folder beside the project"
        name = self.text(name)
        return self.root.parent / name[2:] if name.startswith("~/") else self.root / name

    def write(self, name: str, content: str | bytes) -> Path:
        "Write a file, and the folders above it"
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else self.text(content).encode())
        return path


Change = Callable[[Place], object]


@dataclass(frozen=True)
class Row:
    "A step, and a change"
    cells: str | tuple[str, ...]            # they set `value`
    change: Change | tuple[Change, ...]
    reason: str = ""                        # a word of the reason of the second run
    files: dict[str, str | bytes] = field(default_factory=dict)
    before: Change | tuple[Change, ...] = ()
    step: str = ""                          # more of the step, in YAML
    parameters: str = PARAMETERS
    kernel: str = "python3"


def all_of(changes: Change | tuple[Change, ...]) -> tuple[Change, ...]:
    return changes if isinstance(changes, tuple) else (changes,)


# -- changes -----------------------------------------------------------------------------------------------------------------


def edit(name: str, old: str, new: str) -> Change:
    "Replace a text in a file, which must be there"
    def change(place: Place) -> None:
        path, before = place.path(name), place.text(old)
        text = path.read_text()
        assert before in text, f"{path.name} does not hold {before!r}"
        path.write_text(text.replace(before, place.text(new)))
    return change


def write(name: str, content: str | bytes) -> Change:
    return lambda place: place.write(name, content)


def append(name: str, text: str) -> Change:
    return lambda place: place.write(name, place.path(name).read_text() + text)


def remove(name: str) -> Change:
    def change(place: Place) -> None:
        path = place.path(name)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return change


def move(old: str, new: str) -> Change:
    "Rename a file or folder, replacing what is there"
    def change(place: Place) -> None:
        place.path(new).parent.mkdir(parents=True, exist_ok=True)
        os.replace(place.path(old), place.path(new))
    return change


def link(name: str, target: str) -> Change:
    "Make a symbolic link, or give it another target (relative to the folder of the link)"
    def change(place: Place) -> None:
        path = place.path(name)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(place.text(target))
    return change


def folder(name: str) -> Change:
    return lambda place: place.path(name).mkdir(parents=True, exist_ok=True)


def stamp(name: str, seconds: int) -> Change:
    "Give a file a time of change"
    return lambda place: os.utime(place.path(name), (seconds, seconds))


def same_stamp(name: str, content: str) -> Change:
    "Other content of the same size, with the time of change that the file had"
    def change(place: Place) -> None:
        path = place.path(name)
        before = path.stat()
        assert len(content) == before.st_size
        path.write_text(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return change


def notebook_cells(update: Callable[[list[dict]], object]) -> Change:
    "Change the cells of the row's notebook"
    def change(place: Place) -> None:
        path = place.path("notebooks/step§.ipynb")
        document = json.loads(path.read_text())
        update(document["cells"])
        path.write_text(json.dumps(document))
    return change


def cell(old: str, new: str) -> Change:
    "Replace a text in the cells of the row's notebook"
    def change(place: Place) -> None:
        path, before, after = place.path("notebooks/step§.ipynb"), place.text(old), place.text(new)
        document = json.loads(path.read_text())
        holders = [one for one in document["cells"] if before in one["source"]]
        assert holders, f"no cell holds {before!r}"
        for one in holders:
            one["source"] = one["source"].replace(before, after)
        path.write_text(json.dumps(document))
    return change


def tagged(number: int, *tags: str) -> Change:
    "Give a cell these tags"
    return notebook_cells(lambda found: found[number]["metadata"].update(tags=list(tags)))


def setting(old: str, new: str) -> Change:
    "Replace a text in the lines of the row's step"
    def change(place: Place) -> None:
        path, before = place.path("conf/pipeline/demo.yaml"), place.text(old)
        lines = path.read_text().splitlines()
        at = next(number for number, line in enumerate(lines) if f"step{place.number}.ipynb" in line)
        assert before in lines[at], f"{lines[at]} does not hold {before!r}"
        lines[at] = lines[at].replace(before, place.text(new))
        path.write_text("\n".join(lines) + "\n")
    return change


# -- trial -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    "How a row ended"
    kind: str       # "right", "wrong hit", "false miss", "other reason", "nothing changed", "broken"
    reason: str     # of the second run; what is wrong, where it is broken

    def __str__(self) -> str:
        return f"{self.kind:<16} {self.reason}"


def step_name(name: str, place: Place) -> str:
    "The name of a row's step"
    return re.sub(r"\W+", "_", name).strip("_").lower() + place.number


Call = Callable[..., dict]  # words and environment -> {"code", "output", "error"}


def call_mlops(root: Path, *words: str, **environment: str) -> dict:
    "Call `mlops` in a fork of the prepared process"
    with ONE_CALL:
        return prepared()(*words, root=root, **environment)


@dataclass(frozen=True)
class Trial:
    "Rows in one project"
    root: Path                      # of the project
    rows: dict[str, Row]            # name of the step -> row
    words: tuple[str, ...] = ()     # of each command
    words_after: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    environment_after: dict[str, str] = field(default_factory=dict)
    call: Call = call_mlops
    is_thorough: bool = False       # run again as well: what ran is what a run in another store gives

    def judge(self, expected: str) -> dict[str, Verdict]:
        "Run, change, run again, and the truth; what is `expected`: see `verdict`"
        first, again = self.prepare(), self.plan()
        for name, place in self._places().items():
            for change in all_of(self.rows[name].change):
                change(place)
        after = replace(self, words=self.words + self.words_after, environment=self.environment | self.environment_after)
        plan, truth = after.plan(), after.run("store=.truth")
        second = after.run() if self.is_thorough else {name: dict(truth[name], status="hit" if step["action"] == "hit" else truth[name]["status"]) for name, step in plan.items()}
        verdicts = {}
        for name, place in self._places().items():
            step, reason = step_name(name, place), place.text(self.rows[name].reason)
            verdicts[name] = verdict(expected, reason, again[step], first[step], plan[step], second[step], truth[step])
        return verdicts

    def prepare(self) -> dict[str, dict]:
        "Write the project and run it for the first time"
        self._write(self._places())
        return self.run()

    def run(self, *words: str) -> dict[str, dict]:
        "How each step ended"
        return self._call("run", *words)["steps"]

    def plan(self) -> dict[str, dict]:
        "What a run would do with each step"
        return self._call("plan")

    def _places(self) -> dict[str, Place]:
        return {name: Place(self.root, f"_{number}") for number, name in enumerate(self.rows, 1)}

    def _write(self, places: dict[str, Place]) -> None:
        "The project as it is in the beginning"
        for name in ("conf/pipeline", "notebooks"):
            (self.root / name).mkdir(parents=True)
        lines = []
        for name, row in self.rows.items():
            place = places[name]
            place.path("d§").mkdir()
            for path, content in row.files.items():
                place.write(path, content)
            sources = (PRELUDE, *row.cells, WRITES) if isinstance(row.cells, tuple) else (f"{PRELUDE}\n{row.cells}\n{WRITES}",)
            place.write("notebooks/step§.ipynb", notebook(place.text(row.parameters), *map(place.text, sources)))
            more = f", {row.step}" if row.step else ""
            lines.append(place.text(f"  {step_name(name, place)}: {{notebook: notebooks/step§.ipynb, outs: {{result: result.json}}{more}}}"))
        (self.root / "conf/pipeline/demo.yaml").write_text("\n".join(["name: demo", "steps:", *lines]) + "\n")
        for name, row in self.rows.items():
            for change in all_of(row.before):
                change(places[name])

    def _call(self, command: str, *words: str) -> dict:
        "The document that a command prints"
        answer = self.call(self.root, command, "pipeline=demo", *self.words, *words, "--json", **self.environment)
        assert answer["output"], answer["error"]
        document = json.loads(answer["output"])
        assert "problems" not in document, document
        return document


def verdict(expected: str, reason: str, again: dict, first: dict, plan: dict, second: dict, truth: dict) -> Verdict:
    """Compare what a step did with what it should have done.

    `expected`: miss, hit, noted (a miss, or a hit that says what it can't see) or any (whichever agrees with the truth);
    `again` is the plan before the change, `plan` the one after it.
    """
    said, error = plan["reason"] or "", second["error"] or truth["error"] or ""
    if first["status"] != "ran":
        return Verdict("broken", f"first run {first['status']}: {first['error']}")
    if (plan["action"] == "hit") != (second["status"] == "hit"):
        return Verdict("broken", f"the plan said {plan['action']}, the run says {second['status']}")
    has_changed = (truth["status"], truth["outs"]) != ("ran", first["outs"])
    if second["status"] == "hit" and has_changed:
        return Verdict("right" if expected == "noted" and "observed" in said else "wrong hit", said)
    if again["action"] != "hit":
        return Verdict("false miss", f"unchanged is no hit: {again['reason']}")
    if expected == "hit" and has_changed:
        return Verdict("broken", f"truth {truth['status']}: {said} {error}")
    if expected in ("miss", "noted") and not has_changed:
        return Verdict("nothing changed", f"{second['status']}: {said}")
    if second["status"] == "hit":
        return Verdict("right", said)
    if not has_changed:
        return Verdict("false miss", said)
    if (second["status"], second["outs"]) != (truth["status"], truth["outs"]):
        return Verdict("broken", f"ran, but not as in another store: {second['status']} {error}")
    return Verdict("right" if reason in said else "other reason", said)


def show(verdicts: Iterable[tuple[str, Verdict]]) -> None:
    "Print a table, and how many rows there are of each kind"
    counts: dict[str, int] = {}
    for name, verdict in verdicts:
        print(f"{name:<58} {verdict}", flush=True)
        counts[verdict.kind] = counts.get(verdict.kind, 0) + 1
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
