"""The store by mlops_kit and by DVC.

  a large file    new to the store, in which it becomes an object under its digest: `put` in a process of its own against `dvc add`
  small files     a folder of 100,000 as a source, unchanged: `mlops plan` against `dvc status`
  a power cut     what the syncs of level `power` cost: `mlops run` of small steps at both levels

Sides of a comparison take turns, and the median of the rounds counts. A bar is what we have promised: it is shown, never asserted.
DVC is installed on first use into .venv-peers; DVC names another one.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from peers import BIN, CORES, HERE, WRITES, Bench, Row, Size, call, command_line, install, medians, mlops_chain, ratio, show, write_notebook, write_pipeline

PUT = "import sys; from pathlib import Path; from mlops_kit.store import Store, put_path; put_path(Store(Path('store')), Path(sys.argv[1]))"


@dataclass(frozen=True)
class Amount:
    """How much is measured."""

    rounds: int = 3
    large: int = 2_000_000_000  # bytes
    small: int = 100_000  # files
    steps: int = 10


LITTLE = Amount(rounds=1, large=50_000_000, small=2_000, steps=3)


def fill(path: Path, size: int) -> None:
    """Write a file in which no part is like another one."""
    block = os.urandom(1 << 24)
    with open(path, "wb") as out:
        for number in range(0, size, len(block)):
            out.write((number.to_bytes(8, "big") + block[8:])[: size - number])


def dvc_project(folder: Path, dvc: Path) -> Path:
    """An empty project for DVC."""
    folder.mkdir()
    call(dvc, "init", "-q", "--no-scm", cwd=folder)
    return folder


def large_file(folder: Path, amount: Amount, dvc: Path) -> Iterator[Row]:
    """A file that the store doesn't have."""
    fill(folder / "large.bin", amount.large)
    theirs, ours = dvc_project(folder / "large_dvc", dvc), folder / "large_mlops"
    ours.mkdir()
    os.link(folder / "large.bin", ours / "large.bin")

    def add() -> float:
        shutil.rmtree(theirs / ".dvc/cache", ignore_errors=True)
        (theirs / "large.bin.dvc").unlink(missing_ok=True)
        shutil.rmtree(theirs / ".dvc/tmp", ignore_errors=True)
        (theirs / "large.bin").unlink(missing_ok=True)
        shutil.copyfile(folder / "large.bin", theirs / "large.bin")
        os.sync()
        return call(dvc, "add", "-q", "large.bin", cwd=theirs)

    def keep() -> float:
        shutil.rmtree(ours / "store", ignore_errors=True)
        os.sync()
        return call(sys.executable, "-c", PUT, "large.bin", cwd=ours)

    yield ratio(f"file of {amount.large / 1e9:g} GB into the store", medians(amount.rounds, {"dvc add": add, "put": keep}), "dvc add", "put", ">= 3")
    shutil.rmtree(theirs)
    shutil.rmtree(ours)


def small_files(folder: Path, amount: Amount, dvc: Path) -> Iterator[Row]:
    """A folder in which nothing has changed."""
    theirs = dvc_project(folder / "small_dvc", dvc)
    ours = write_pipeline(folder / "small_mlops", {"one": {"notebook": "one.ipynb", "sources": {"data": "data"}, "outs": {"made": "made.txt"}}})
    write_notebook(ours / "one.ipynb", 'from pathlib import Path\ndata: Path = Path("in/data")\nmade: Path = Path("out/made.txt")', "made.write_text('x')")
    for place in (theirs, ours):
        for number in range(amount.small):
            if number % 1000 == 0:
                (inside := place / f"data/{number // 1000:03}").mkdir(parents=True)
            (inside / f"{number % 1000:03}.txt").write_text(f"{number}\n" * 30)
    call(dvc, "add", "-q", "data", cwd=theirs)
    (ours / ".mlops").mkdir()
    time.sleep(2.1)
    plan = [BIN / "mlops", "plan", "pipeline=bench"]
    call(*plan, cwd=ours)
    found = medians(amount.rounds, {"dvc status": lambda: call(dvc, "status", "-q", cwd=theirs), "mlops plan": lambda: call(*plan, cwd=ours)})
    yield ratio(f"folder of {amount.small:,} unchanged files", found, "dvc status", "mlops plan", ">= 5")
    shutil.rmtree(theirs)
    shutil.rmtree(ours)


def power_cut(folder: Path, amount: Amount) -> Iterator[Row]:
    """Small steps at both levels."""
    ours = mlops_chain(folder / "power", amount.steps, WRITES)
    bench = Bench(folder, Size(), "mlops")
    bench.run_changed(ours)  # from here on it is warm
    level = lambda name: call(*bench.command(bench.changed(), f"durability={name}"), cwd=ours)
    found = medians(amount.rounds, {"power": lambda: level("power"), "process": lambda: level("process")})
    yield ratio(f"{amount.steps} small steps at both levels", found, "power", "process")
    yield Row("what level power costs, each step", (found["power"] - found["process"]) / amount.steps * 1000, "ms")
    bench.cold()


def measure(amount: Amount) -> Iterator[Row]:
    """All comparisons, in a temporary folder, on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    dvc = Path(os.environ["DVC"]) if "DVC" in os.environ else install(next(one for one in (HERE / "peers.txt").read_text().split() if one.startswith("dvc==")))
    with tempfile.TemporaryDirectory(prefix="bench-") as temp, chdir(temp):
        folder = Path(temp)
        os.environ |= {"MLOPS_RUNTIME_DIR": temp, "DVC_NO_ANALYTICS": "1"}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        yield from large_file(folder, amount, dvc)
        yield from small_files(folder, amount, dvc)
        yield from power_cut(folder, amount)


def main() -> None:
    """Measure, and print."""
    args = command_line(__doc__).parse_args()
    show(measure(LITTLE if args.quick else Amount()), args.json)


if __name__ == "__main__":
    main()
