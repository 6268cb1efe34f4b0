"""What `import mlops_kit` and `mlops --help` cost above a bare start of Python: medians of alternating rounds."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROUNDS = 7
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import mlops_kit": [sys.executable, "-c", "import mlops_kit"],
    "mlops --help": [str(Path(sys.executable).parent / "mlops"), "--help"],
}


def seconds(command: list[str]) -> float:
    """The wall time of one start."""
    begin = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begin


def measure() -> dict[str, dict[str, float]]:
    """Per command: the median, the seconds above the bare start, and the ratio to it."""
    for command in COMMANDS.values():
        seconds(command)  # the first start fills caches and writes .pyc files
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    medians = {name: median(one[name] for one in rounds) for name in COMMANDS}
    bare = medians["python -c pass"]
    return {name: {"median": own, "above": own - bare, "ratio": own / bare} for name, own in medians.items()}


if __name__ == "__main__":
    found = measure()
    if "--json" in sys.argv:
        print(json.dumps(found))
    else:
        print(f"{'':18} {'median s':>9} {'above s':>9} {'ratio':>6}")
        for name, one in found.items():
            print(f"{name:18} {one['median']:9.3f} {one['above']:9.3f} {one['ratio']:6.2f}")
