"""Judges hits in random projects: run, edit, plan; where the plan says hit, the truth before and after must agree."""
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # as a script

from helpers.prepared import Prepared
from helpers.project import ROOT, notebook
from helpers.random_edits import Edit, random_edits, shown_difference
from helpers.random_projects import PARAMETERS, RandomProject, random_project, write_changes
from helpers.truth import Truth

PIPELINE = "name: demo\nsteps:\n  step: {notebook: notebooks/step.ipynb, outs: {result: result.json}}\n"
KEPT = "composed", "installed"  # of a store, from one project to the next: what Hydra composed, and what packages hold


@dataclass
class Report:
    "What became of the edits: kind of edit -> number"
    hits: Counter = field(default_factory=Counter)          # nothing changed, and it is a hit
    misses: Counter = field(default_factory=Counter)        # something changed, and it runs
    false_misses: Counter = field(default_factory=Counter)  # nothing changed, and yet it runs
    wrong: list[str] = field(default_factory=list)          # wrong hits, each with its seed and diff
    odd: list[str] = field(default_factory=list)            # other disagreements
    reasons: list[str] = field(default_factory=list)        # of false misses
    unfit: int = 0                                          # projects that can't run

    def __add__(self, other: "Report") -> "Report":
        return Report(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __str__(self) -> str:
        neutral, edits = self.hits.total() + self.false_misses.total(), self.hits.total() + self.misses.total() + self.false_misses.total() + len(self.wrong)
        lines = [f"{edits} edits ({self.unfit} projects left out): {len(self.wrong)} wrong hits, {self.false_misses.total()} false misses of {neutral} neutral edits, {len(self.odd)} odd"]
        for kind in sorted(self.hits | self.misses | self.false_misses):
            lines.append(f"  {kind:<34} {self.misses[kind]:>5} misses {self.hits[kind]:>5} hits {self.false_misses[kind]:>5} false misses")
        return "\n".join(lines)


class Judge:
    "A folder in which one random project after another is tried, and the processes for that"

    def __init__(self, folder: Path):
        self.root, self.mlops, self.truth = folder / "project", Prepared(ROOT), Truth()

    def close(self) -> None:
        self.mlops.close()
        self.truth.close()

    # -- the project on the disk

    def begin(self, project: RandomProject) -> None:
        "A fresh folder with this project; what has nothing to do with it stays"
        store = self.root / ".mlops"
        for path in [*self.root.glob("*"), *self.root.glob(".[!.]*"), *store.glob("*")]:
            if path != store and not (path.parent == store and path.name in KEPT):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in ("conf/pipeline", "notebooks"):
            (self.root / name).mkdir(parents=True)
        (self.root / "conf/pipeline/demo.yaml").write_text(PIPELINE)
        self.change(None, project)

    def change(self, old: RandomProject | None, new: RandomProject) -> None:
        write_changes(self.root, old, new)
        document = json.loads(notebook(PARAMETERS, *new.cells))
        if new.markdown:
            document["cells"].insert(1, {"cell_type": "markdown", "id": "markdown", "metadata": {}, "source": new.markdown})
        (self.root / "notebooks/step.ipynb").write_text(json.dumps(document))

    # -- questions

    def ask(self, command: str, project: RandomProject, *words: str) -> dict:
        "What a command says about the step"
        answer = self.mlops(command, "pipeline=demo", f"pass_env=[{','.join(project.passed)}]", *words, "--json", root=self.root, **project.variables)
        document = json.loads(answer["output"] or "null") or {"problems": answer["error"]}
        return document.get("steps", document).get("step", document)

    def run(self, project: RandomProject, store: str = ".mlops") -> tuple[str, str]:
        "The status of a run, and what the step wrote or why it failed"
        step = self.ask("run", project, f"store={store}")
        if "outs" not in step or step["status"] not in ("ran", "hit"):
            return step.get("status", "refused"), str(step.get("error", step))
        digest = step["outs"]["result"]
        return step["status"], (self.root / store / "objects" / digest[:2] / digest[2:]).read_text()

    def true(self, project: RandomProject) -> str:
        return self.truth(self.root, [PARAMETERS, *project.cells], project.variables)

    # -- verdicts

    def edits(self, seed: int, count: int) -> Report:
        "Run a project; plan each of its edits by itself"
        report, project = Report(), random_project(seed)
        self.begin(project)
        before = self.true(project)
        if not before.startswith("["):
            return Report(unfit=1)
        if (first := self.run(project)) != ("ran", before):
            return Report(odd=[f"seed {seed}: the first run gives {first}, the truth is {before}"])
        for number in range(count):
            edit, after = self.some_edit(f"{seed}/{number}", project, before, (seed + number) % 2)
            plan = self.ask("plan", edit.project)
            self.note(report, f"seed {seed}", project, edit, plan.get("action") == "hit", before, after, plan)
            self.change(edit.project, replace(project, touched=()))
        return report

    def some_edit(self, seed: str, project: RandomProject, before: str, matters: int) -> tuple[Edit, str]:
        "An edit, done, and the truth after it: any, or one of a few that changes the result, as most edits don't"
        edits = list(random_edits(seed, project, 1 + 4 * matters))
        for edit in edits:
            self.change(project, edit.project)
            after = self.true(edit.project)
            if after != before or edit is edits[-1]:
                return edit, after
            self.change(edit.project, replace(project, touched=()))
        raise AssertionError("there is always a last edit")

    def note(self, report: Report, where: str, project: RandomProject, edit: Edit, is_hit: bool, before: str, after: str, plan: dict) -> None:
        "Count one edit"
        shown = lambda: f"{where}, {edit.kind}: {before} -> {after} ({plan.get('reason')})\n{shown_difference(project, edit.project)}"
        if "action" not in plan and "problems" in plan:
            report.odd.append(f"{shown()}\n{plan['problems']}")
        elif is_hit and before != after:
            shutil.rmtree(self.root / ".truth", ignore_errors=True)
            status, served = self.run(edit.project, ".truth")
            shutil.rmtree(self.root / ".truth", ignore_errors=True)
            (report.odd if (status, served) == ("ran", before) else report.wrong).append(f"{shown()}\nin another store: {status} {served}")
        else:
            (report.hits if is_hit else report.misses if before != after else report.false_misses)[edit.kind] += 1
            if not is_hit and before == after:
                report.reasons.append(shown())

    def chain(self, seed: int, count: int) -> Report:
        "Run a project, then run it after each of several edits of one another, and go back to where it was now and then"
        report, project = Report(), random_project(seed)
        self.begin(project)
        states = [(project, self.true(project))]
        if not states[0][1].startswith("["):
            return Report(unfit=1)
        self.run(project)
        for number in range(count):
            now, before = states[-1]
            edit = next(random_edits(f"{seed}/{number}", now, 1)) if number % 3 != 2 else Edit("back", states[len(states) // 2][0])
            self.change(now, edit.project)
            after = self.true(edit.project)
            status, served = self.run(edit.project)
            where = f"seed {seed}, edit {number} of a chain"
            if status == "hit" and served != after:
                report.wrong.append(f"{where}, {edit.kind}: served {served}, true {after}\n{shown_difference(now, edit.project)}")
                return report  # what follows would be wrong for the same reason
            if status == "ran" and served != after or status not in ("hit", "ran") and after.startswith("["):
                report.odd.append(f"{where}, {edit.kind}: {status} {served}, true {after}\n{shown_difference(now, edit.project)}")
            else:
                is_known = any(after == one for _, one in states)
                (report.hits if status == "hit" else report.false_misses if is_known else report.misses)[edit.kind] += 1
            states.append((replace(edit.project, touched=()), after))
        return report


def judge_all(folder: Path, seeds: Iterable[int], count: int, way: str = "edits", workers: int = 2) -> Report:
    "Judge many projects, several at a time"
    judges = [Judge(folder / f"judge-{number}") for number in range(workers)]
    try:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(seeds)
            work = lambda number: sum((getattr(judges[number], way)(seed, count) for seed in parts[number::workers]), Report())
            return sum(pool.map(work, range(workers)), Report())
    finally:
        for judge in judges:
            judge.close()


def told(report: Report, most: int = 10) -> Iterator[str]:
    "What to print: the table, and the first of the wrong hits"
    yield str(report)
    yield from report.wrong[:most]
    yield from report.odd[:most]


def explained(report: Report) -> Iterator[str]:
    "The same, and each false miss with its reason"
    yield from told(report, 40)
    yield from (f"false miss: {reason}" for reason in report.reasons)


if __name__ == "__main__":
    import os
    import subprocess
    import tempfile

    first, last, number_of_edits = map(int, sys.argv[1:4])
    with tempfile.TemporaryDirectory(prefix="random-") as work_folder:
        os.environ["MLOPS_RUNTIME_DIR"] = f"{work_folder}/runtime"
        print(*explained(judge_all(Path(work_folder), range(first, last), number_of_edits, *sys.argv[4:5], workers=1)), sep="\n\n")
        subprocess.run([Path(sys.executable).with_name("mlops"), "engine", "stop"], capture_output=True)
