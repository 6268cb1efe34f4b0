"""The same notebooks by mlops_kit and by others: papermill, one plain Python script, DVC, Ploomber and Snakemake.

  one notebook    importing torch and lightning, or of 200 trivial cells: papermill against our engine, warm, within papermill
  a chain         of 10 notebooks importing torch and lightning: papermill in a loop against `mlops run`, first nothing warm, then warm
  real work       1 s in each step of that chain: `mlops run`, warm, against its limit, the same code as one script
  nothing to do   10 unchanged steps: `mlops run` against the others; 1,000 unchanged steps against 10
  many steps      200 independent trivial ones by `mlops run`: the seconds, and the memory of the client

Sides of a comparison take turns, and the median of the rounds counts. Everything runs on two cores, and may keep its byte code, as
what pip has installed does. A bar is what we have promised: it is shown, never asserted. DVC, Ploomber and Snakemake are installed on
first use, each into its own folder of .venv-peers.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
CORES = 2


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int = 3
    chain: int = 10
    work: float = 1.0  # seconds of it in each step
    cells: int = 200
    fan: int = 200
    large: int = 1000


QUICK = Size(rounds=1, chain=3, work=0.3, cells=20, fan=8, large=20)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: float | None  # None: it could not be measured, and `what` says why
    unit: str = ""  # x for a ratio, s, MB
    bar: str = ""  # what the figure should be
    medians: dict[str, float] = field(default_factory=dict)  # side -> seconds

    def __str__(self) -> str:
        figure = "-" if self.figure is None else f"{self.figure:.3g} {self.unit}"
        sides = " / ".join(f"{side} {seconds:.2f} s" for side, seconds in self.medians.items())
        return f"{figure:>9}  {self.bar:>7}  {self.what}{': ' if sides else ''}{sides}"


def ratio(what: str, found: dict[str, float], over: str, under: str, bar: str = "") -> Row:
    """How many times longer one side takes than the other."""
    return Row(what, found[over] / found[under], "x", bar, {over: found[over], under: found[under]})


# -- measuring ---------------------------------------------------------------------------------------------------------------


def call(*words, cwd: Path) -> float:
    """The seconds that a command takes."""
    begin = perf_counter()
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seconds = perf_counter() - begin
    check(words, done.returncode, done.stdout)
    return seconds


def check(words: tuple, code: int, said: bytes) -> None:
    """Measure nothing that has failed."""
    if code:
        raise RuntimeError(f"{shlex.join(map(str, words))} ended with {code}:\n{said[-4000:].decode(errors='replace')}")


def in_process(notebook: Path, engine: str | None) -> float:
    """The seconds of papermill's `execute_notebook`, without those of papermill's import."""
    from papermill import execute_notebook

    with quiet():
        begin = perf_counter()
        execute_notebook(str(notebook), str(notebook.with_suffix(".ran.ipynb")), engine_name=engine, progress_bar=False)
        return perf_counter() - begin


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what this process and the kernels that it starts write on standard error."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def peak_memory(*words, cwd: Path) -> float:
    """The most memory in MB that a command has resident, without the processes that it starts."""
    # not getrusage: it counts the children too, and what this process had resident when it forked
    with tempfile.TemporaryFile() as said:
        process, peak = subprocess.Popen(words, cwd=cwd, stdout=said, stderr=said), 0
        while process.poll() is None:
            found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(found[1]) if found else peak
            sleep(0.02)
        said.seek(0)
        check(words, process.returncode, said.read())
    return peak * 1024 / 1e6


def medians(rounds: int, sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median seconds of each side; they take turns."""
    found = [{name: once() for name, once in sides.items()} for _ in range(rounds)]
    return {name: median(one[name] for one in found) for name in sides}


# -- notebooks ---------------------------------------------------------------------------------------------------------------

PARAMETERS = """from pathlib import Path
given: Path = Path("in/given.txt")
made: Path = Path("out/made.txt")
salt: int = 0"""
IMPORTS = "import torch\nimport lightning"
WORK = "state = torch.full((500, 500), 0.5)\nfor _ in range(loops):\n    state = torch.tanh(state @ state.T / 500)"
WRITES = "Path(made).write_text(str(int(Path(given).read_text()) + 1 + salt))"


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook of code cells; the first one holds the parameters."""
    cells = [{"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": s} for n, s in enumerate(sources)]
    cells[0]["metadata"] = {"tags": ["parameters"]}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}))


def write_chain(folder: Path, steps: int, *body: str) -> list[dict[str, str]]:
    """Notebooks of which each reads what the one before it made; the paths of each when nobody gives it a folder of its own."""
    (folder / "made").mkdir(parents=True)
    (folder / "start.txt").write_text("1")
    for number in range(steps):
        write_notebook(folder / f"step_{number}.ipynb", PARAMETERS, *body)
    return [{"given": f"made/{number - 1}.txt" if number else "start.txt", "made": f"made/{number}.txt"} for number in range(steps)]


def papermill_commands(folder: Path, chain: list[dict[str, str]]) -> list[list[str]]:
    """One papermill command for each notebook of a chain."""
    return [
        [str(BIN / "papermill"), f"step_{number}.ipynb", f"ran_{number}.ipynb", "-p", "given", one["given"], "-p", "made", one["made"]]
        for number, one in enumerate(chain)
    ]


def write_script(path: Path, chain: list[dict[str, str]], *body: str) -> None:
    """The chain as one Python script."""
    steps = ["\n".join([f"given, made, salt = {one['given']!r}, {one['made']!r}, 0", *body]) for one in chain]
    path.write_text("\n\n".join(["from pathlib import Path", *steps]))


def loops_in(seconds: float) -> int:
    """How many loops of the work take so long on this machine."""
    code = f"import torch\nfrom time import perf_counter\nloops, begin = 1000, perf_counter()\n{WORK}\nprint(loops / (perf_counter() - begin))"
    return int(float(subprocess.check_output([sys.executable, "-c", code])) * seconds)


# -- pipelines ---------------------------------------------------------------------------------------------------------------


def write_pipeline(folder: Path, steps: dict) -> Path:
    """A pipeline for mlops; `pipeline.salt=<n>` changes all of its steps."""
    (folder / "conf/pipeline").mkdir(parents=True)
    (folder / "conf/pipeline/bench.yaml").write_text(json.dumps({"name": "bench", "salt": 0, "steps": steps}))  # JSON is YAML
    return folder


def mlops_chain(folder: Path, steps: int, *body: str) -> Path:
    """A chain for mlops."""
    write_chain(folder, steps, *body)
    described = {}
    for number in range(steps):
        given = {"ins": {"given": f"s{number - 1}.made"}} if number else {"sources": {"given": "start.txt"}}
        step = {"notebook": f"step_{number}.ipynb", "params": {"salt": "${pipeline.salt}"}, "outs": {"made": "made.txt"}}
        described[f"s{number}"] = step | given
    return write_pipeline(folder, described)


def mlops_fan(folder: Path, steps: int) -> Path:
    """Trivial steps for mlops that don't depend on each other."""
    params = {"number": "{item}", "salt": "${pipeline.salt}"}
    write_pipeline(folder, {"one": {"foreach": list(range(steps)), "notebook": "one.ipynb", "params": params, "outs": {"made": "made.txt"}}})
    parameters = 'from pathlib import Path\nnumber: int = 0\nsalt: int = 0\nmade: Path = Path("out/made.txt")'
    write_notebook(folder / "one.ipynb", parameters, "made.write_text(str(number + salt))")
    return folder


def dvc_chain(folder: Path, steps: int, dvc: Path) -> list[str]:
    """A chain for DVC, and what it is called with."""
    chain = write_chain(folder, steps, WRITES)
    commands = map(shlex.join, papermill_commands(folder, chain))
    stages = [{"cmd": command, "deps": [f"step_{n}.ipynb", one["given"]], "outs": [one["made"]]} for n, (command, one) in enumerate(zip(commands, chain))]
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {f"s{number}": stage for number, stage in enumerate(stages)}}))
    call(dvc, "init", "--no-scm", cwd=folder)
    return [dvc, "repro"]


def ploomber_chain(folder: Path, steps: int, ploomber: Path) -> list[str]:
    """A chain for Ploomber, which wants to find `upstream` and `product` among the parameters."""
    tasks = []
    for number, one in enumerate(write_chain(folder, steps, WRITES)):
        source, upstream = f"step_{number}.ipynb", [f"s{number - 1}"] if number else None
        write_notebook(folder / source, f"{PARAMETERS}\nupstream = {upstream}\nproduct = None", WRITES, "upstream")  # or it warns: not used
        tasks.append({"name": f"s{number}", "source": source, "product": {"nb": f"ran_{number}.ipynb", "data": one["made"]}, "params": one})
    (folder / "pipeline.yaml").write_text(json.dumps({"tasks": tasks}))
    return [ploomber, "build"]


def snakemake_chain(folder: Path, steps: int, snakemake: Path) -> list[str]:
    """A chain for Snakemake."""
    chain = write_chain(folder, steps, WRITES)
    rules = [f"rule all:\n    input: {chain[-1]['made']!r}"]
    for number, (command, one) in enumerate(zip(papermill_commands(folder, chain), chain)):
        ins = f"'step_{number}.ipynb', {one['given']!r}"
        rules.append(f"rule s{number}:\n    input: {ins}\n    output: {one['made']!r}\n    shell: {shlex.join(command)!r}")
    (folder / "Snakefile").write_text("\n\n".join(rules))
    return [snakemake, "--cores", str(CORES)]


PEERS = {"dvc": dvc_chain, "ploomber": ploomber_chain, "snakemake": snakemake_chain}


def install(requirement: str) -> Path:
    """The program of a peer; it has an environment of its own, made on first use."""
    folder, name = HERE.parent.parent / ".venv-peers" / requirement, requirement.partition("==")[0]
    if not (folder / "bin" / name).exists():
        print(f"installing {requirement} into {folder.parent.name} (up to a minute, once)", file=sys.stderr)
        call(sys.executable, "-m", "venv", folder, cwd=HERE)
        call(folder / "bin/pip", "install", "-q", requirement, cwd=HERE)
    return folder / "bin" / name


# -- the comparisons ---------------------------------------------------------------------------------------------------------


class Bench:
    """All comparisons."""

    def __init__(self, folder: Path, size: Size, engine: str):
        self.folder, self.size, self.engine, self.salts = folder, size, engine, count(1)

    def rows(self) -> Iterator[Row]:
        """The lines of the table, as they are measured."""
        for comparison in (self.imports, self.cells, self.chain, self.real_work, self.nothing_to_do, self.large_pipeline, self.many_steps):
            yield from comparison()

    def command(self, *overrides: str) -> list:
        """`mlops run` as a user calls it."""
        return [BIN / "mlops", "run", "pipeline=bench", f"engine={self.engine}", *overrides]

    def run(self, folder: Path) -> float:
        """The seconds of `mlops run` when nothing has changed."""
        return call(*self.command(), cwd=folder)

    def changed(self) -> str:
        """An override that changes every step."""
        return f"pipeline.salt={next(self.salts)}"

    def run_changed(self, folder: Path) -> float:
        """The seconds of `mlops run` when every step has changed."""
        return call(*self.command(self.changed()), cwd=folder)

    def run_cold(self, folder: Path) -> float:
        """The same, with nothing warm before."""
        self.cold()
        return self.run_changed(folder)

    def cold(self) -> None:
        """End the fork server."""
        if self.engine == "mlops":
            call(BIN / "mlops", "engine", "stop", cwd=self.folder)

    def one_notebook(self, name: str, *sources: str) -> dict[str, float]:
        """A notebook by papermill's engine and by ours, from the command line and inside a process that has imported papermill."""
        notebook = self.folder / f"{name}.ipynb"
        write_notebook(notebook, *sources)
        command = [BIN / "papermill", notebook, self.folder / "ran.ipynb"]
        in_process(notebook, self.engine)  # from here on it is warm
        return medians(self.size.rounds, {
            "papermill": lambda: call(*command, cwd=self.folder),
            "papermill --engine": lambda: call(*command, "--engine", self.engine, cwd=self.folder),
            "papermill in process": lambda: in_process(notebook, None),
            "engine in process": lambda: in_process(notebook, self.engine),
        })

    def imports(self) -> Iterator[Row]:
        """A notebook that costs what its imports cost."""
        what, found = "imports torch and lightning", self.one_notebook("imports", "salt = 0", IMPORTS, "print(torch.__version__)")
        yield ratio(what, found, "papermill", "engine in process", ">= 30")
        yield ratio(what, found, "papermill", "papermill --engine")

    def cells(self) -> Iterator[Row]:
        """A notebook that costs what its number of cells costs."""
        cells = ["number += 1\nnumber"] * self.size.cells
        what, found = f"{len(cells)} trivial cells", self.one_notebook("cells", "number = 0", *cells)
        yield ratio(what, found, "papermill", "engine in process", ">= 30")
        yield ratio(what, found, "papermill in process", "engine in process", ">= 30")
        yield ratio(what, found, "papermill", "papermill --engine")

    def chain(self) -> Iterator[Row]:
        """Notebooks that import torch and lightning, one after the other."""
        steps, body = self.size.chain, (IMPORTS, WRITES)
        theirs, ours = self.folder / "chain", mlops_chain(self.folder / "chain_mlops", steps, *body)
        commands = papermill_commands(theirs, write_chain(theirs, steps, *body))
        found = medians(self.size.rounds, {
            "papermill loop": lambda: sum(call(*one, cwd=theirs) for one in commands),
            "mlops run, nothing warm": lambda: self.run_cold(ours),
            "mlops run, warm": lambda: self.run_changed(ours),
        })
        what = f"chain of {steps} such notebooks"
        yield ratio(what, found, "papermill loop", "mlops run, nothing warm", ">= 6")
        yield ratio(what, found, "papermill loop", "mlops run, warm", ">= 25")

    def real_work(self) -> Iterator[Row]:
        """The chain when its steps have something to do."""
        steps, seconds = self.size.chain, self.size.work
        body = (IMPORTS, f"loops = {loops_in(seconds)}\n{WORK}", WRITES)
        theirs, ours = self.folder / "work", mlops_chain(self.folder / "work_mlops", steps, *body)
        write_script(theirs / "all.py", write_chain(theirs, steps, *body), *body)
        self.run_changed(ours)  # from here on it is warm
        found = medians(self.size.rounds, {
            "mlops run, warm": lambda: self.run_changed(ours),
            "one script": lambda: call(sys.executable, "all.py", cwd=theirs),
        })
        yield ratio(f"chain of {steps} with {seconds:g} s of work in each", found, "mlops run, warm", "one script", "<= 1.2")

    def nothing_to_do(self) -> Iterator[Row]:
        """A pipeline whose steps are all up to date."""
        steps = self.size.chain
        what, ours = f"{steps} unchanged steps", mlops_chain(self.folder / "unchanged_mlops", steps, WRITES)
        self.run(ours)
        sides = {"mlops run": lambda: self.run(ours)}
        for requirement in (HERE / "peers.txt").read_text().split():
            name = requirement.partition("==")[0]
            try:
                sides[name] = self.unchanged(self.folder / f"unchanged_{name}", name, install(requirement))
            except RuntimeError as error:
                yield Row(f"{what}: {requirement} does not work here: {str(error).strip().splitlines()[-1]}", None)
        found = medians(self.size.rounds, sides)
        for name in list(sides)[1:]:
            yield ratio(what, found, "mlops run", name, "<= 0.5" if name == "dvc" else "")

    def unchanged(self, folder: Path, name: str, program: Path) -> Callable[[], float]:
        """A pipeline that a peer has carried out; call the result to let it look again."""
        command = PEERS[name](folder, self.size.chain, program)
        call(*command, cwd=folder)
        return lambda: call(*command, cwd=folder)

    def large_pipeline(self) -> Iterator[Row]:
        """What many unchanged steps cost more than a few."""
        few, many = (mlops_fan(self.folder / f"fan_{steps}", steps) for steps in (10, self.size.large))
        self.run(few), self.run(many)
        found = medians(self.size.rounds, {f"{self.size.large} steps": lambda: self.run(many), "10 steps": lambda: self.run(few)})
        more, less = found.values()
        yield Row("unchanged pipeline, mlops run, many steps less few", more - less, "s", "<= 1.0", found)

    def many_steps(self) -> Iterator[Row]:
        """Independent trivial steps."""
        steps = self.size.fan
        what, folder = f"{steps} independent trivial steps, mlops run", mlops_fan(self.folder / "fan", steps)
        self.run_changed(folder)  # from here on it is warm
        found = medians(self.size.rounds, {"mlops run": lambda: self.run_changed(folder)})
        yield Row(what, found["mlops run"], "s", "<= 8")
        yield Row(f"{what}, memory of the client", peak_memory(*self.command(self.changed()), cwd=folder), "MB", "< 120")


def measure(size: Size, engine: str) -> Iterator[Row]:
    """All comparisons, in a temporary folder, on two cores, and with a fork server of their own."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, chdir(folder):
        os.environ |= {
            "XDG_RUNTIME_DIR": folder, "OMP_NUM_THREADS": str(CORES), "DVC_NO_ANALYTICS": "1", "PLOOMBER_STATS_ENABLED": "false",
        }
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        bench = Bench(Path(folder), size, engine)
        try:
            yield from bench.rows()
        finally:
            bench.cold()


def command_line(about: str) -> argparse.ArgumentParser:
    """What every bench of this kind can be asked."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document at the end")
    parser.add_argument("--quick", action="store_true", help="one round and small sizes: does it work?")
    return parser


def show(rows: Iterator[Row], as_json: bool) -> None:
    """Print each line as soon as it is known."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(f"{'figure':>9}  {'bar':>7}  what")
    for row in rows:
        print(row, flush=True)


def main() -> None:
    """Measure, and print."""
    parser = command_line(__doc__)
    parser.add_argument("--engine", default="mlops", help="the papermill engine that stands for ours (mlops)")
    args = parser.parse_args()
    show(measure(QUICK if args.quick else Size(), args.engine), args.json)


if __name__ == "__main__":
    main()
