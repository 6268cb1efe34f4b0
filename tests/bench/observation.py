"""What it costs a step to be observed: the time of one cell, in a process that observes itself and in one that does not. The order changes, the medians are compared.

    python tests/bench/observation.py [--rounds 7] [--epochs 10] [CASE...]
"""
import argparse
import json
import statistics
import tempfile
from pathlib import Path

from mlops_kit.capture import make_env_variables, render_postlude, render_prelude, render_seed_code
from mlops_kit.engine import Execution, execute_notebook, preload_variables

ROOT = Path(__file__).parent.parent.parent
BARS = {"training": 1.01, "calls": 1.02, "import": 1.05}
CALLS = "def add(left, right):\n    return left + right\n\ndef total(count):\n    result = 0\n    for number in range(count):\n        result = add(result, number)\n    return result\n"
CELLS = {  # what comes before, what is measured
    "training": ("""
import sys
sys.path.insert(0, {bench!r})
from types import SimpleNamespace
from training import kit
files = {features!r}, {encoding!r}
kit(SimpleNamespace(epochs=1, batch_size=512, no_tracking=True), files)
""", "kit(SimpleNamespace(epochs={epochs}, batch_size=512, no_tracking=True), files)\n"),
    "calls": ("import calls\n", "for _ in range(20):\n    calls.total(200_000)\n"),
    "import": ("", "import torch, lightning\n"),
}
CLOCK = "import json, resource, time\nstart, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)\n"
STOP = """
wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
open("out/took", "w").write(json.dumps([wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime]))
"""


def notebook(*sources: str) -> str:
    """A notebook of code cells."""
    cells = [{"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "execution_count": None, "outputs": [], "source": source} for number, source in enumerate(sources)]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def seconds(project: Path, before: str, source: str, observed: bool) -> list[float]:
    """Wall and processor time of a cell, without that of the one before it."""
    with tempfile.TemporaryDirectory(dir=project) as name:
        folder, kernel = Path(name), Path(name, ".kernel")
        kernel.mkdir()
        (folder / "out").mkdir()
        (kernel / "step.ipynb").write_text(notebook(before, f"{CLOCK}{source}{STOP}"))
        prelude, more = render_seed_code(0, frozenset()), {}
        if observed:
            prelude, more = render_prelude(prelude, folder, project / "store", kernel / "notes", kernel / "accesses"), preload_variables(links=kernel)
        work = Execution(
            str(kernel / "step.ipynb"), str(kernel / "executed.ipynb"), str(kernel / "log"), str(folder), environment=make_env_variables(project, 2) | {"MLOPS_STEP": "bench"} | more,
            prelude=prelude, postlude=render_postlude() if observed else "", threads=2, fresh_process=True,
        )
        outcome = execute_notebook(work)
        if outcome.status != "done":
            raise SystemExit(f"{outcome.error}\n{(kernel / 'log').read_text()}")
        return json.loads((folder / "out/took").read_text())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10)  # as in conf/pipeline/flights.yaml
    parser.add_argument("cases", nargs="*", default=[*CELLS])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = Path(name).resolve()
        (project / "calls.py").write_text(CALLS)
        values = {"bench": str(Path(__file__).parent), "epochs": asked.epochs, "features": "", "encoding": ""}
        if "training" in asked.cases:
            from training import features

            values |= dict(zip(("features", "encoding"), map(str, features(project))))
        print(f"{'':10} {'without':>9} {'with':>9} {'ratio':>6} {'(CPU)':>7}   wanted")
        for case in asked.cases:
            took = {True: [], False: []}
            for number in range(asked.rounds):
                for observed in (True, False) if number % 2 else (False, True):
                    took[observed].append(seconds(project, *(cell.format(**values) for cell in CELLS[case]), observed))
            wall, work = ({way: statistics.median(one[which] for one in each) for way, each in took.items()} for which in (0, 1))
            print(f"{case:10} {wall[False]:8.2f}s {wall[True]:8.2f}s {wall[True] / wall[False]:6.3f} {work[True] / work[False]:7.3f}   <= {BARS[case]}")


if __name__ == "__main__":
    main()
