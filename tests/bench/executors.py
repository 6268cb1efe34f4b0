"""A fan of trivial steps on two workers: `executor=dask` against `executor=local`, whole commands in turns, the start of the cluster included."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from peers import mlops_fan

STEPS, ROUNDS = 100, 3
BAR = 2.0  # times the local executor
MLOPS = Path(sys.executable).with_name("mlops")


def seconds(project: Path, executor: str, pipeline: str) -> float:
    """One run out of an empty store."""
    shutil.rmtree(project / ".mlops", ignore_errors=True)
    begin = perf_counter()
    subprocess.run([MLOPS, "run", f"pipeline={pipeline}", f"executor={executor}", "executor.workers=2"], cwd=project, check=True, capture_output=True)
    return perf_counter() - begin


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        os.environ |= {"MLOPS_RUNTIME_DIR": folder}
        project = mlops_fan(Path(folder), STEPS)
        pipeline = next((project / "conf/pipeline").glob("*.yaml")).stem
        try:
            seconds(project, "local", pipeline)  # starts the fork server
            rounds = [{one: seconds(project, one, pipeline) for one in ("local", "dask")} for _ in range(ROUNDS)]
        finally:
            subprocess.run([MLOPS, "engine", "stop"], capture_output=True)
    found = {one: median(each[one] for each in rounds) for one in rounds[0]}
    ratio = found["dask"] / found["local"]
    if "--json" in sys.argv:
        print(json.dumps({**found, "ratio": ratio}))
    else:
        print(f"{STEPS} steps, 2 at a time: local {found['local']:.2f} s, dask {found['dask']:.2f} s, ratio {ratio:.2f}")
        print(f"bar: at most {BAR:g} times local: {'yes' if ratio <= BAR else 'NO'}")
