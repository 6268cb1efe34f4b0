"""From `start_kernel` to the end of the first cell, `import torch, lightning`: the warm kernel and an ordinary one, medians of alternating rounds."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from jupyter_client.manager import start_new_kernel

from mlops_kit.jupyter.kernelspec import JUPYTER_DATA_DIR

ROUNDS = 5
BAR = 0.5  # seconds for the warm kernel
CELL = "import torch, lightning"


def seconds(kernel: str) -> dict[str, float]:
    """One start: until it is ready, until the cell has run, and until it has ended."""
    begin = perf_counter()
    manager, client = start_new_kernel(kernel_name=kernel, startup_timeout=120)
    ready = perf_counter() - begin
    reply = client.execute_interactive(CELL, timeout=120)
    cell = perf_counter() - begin
    assert reply["content"]["status"] == "ok", reply["content"]
    client.stop_channels()
    manager.shutdown_kernel()
    return {"ready": ready, "cell": cell, "ended": perf_counter() - begin}


def measure() -> dict[str, dict[str, float]]:
    """Per kernel: the medians, and the ratio of the ordinary kernel to it."""
    for kernel in ("mlops", "python3"):
        seconds(kernel)  # the first one starts the parent, which imports; and fills the caches of the disk
    rounds = [{kernel: seconds(kernel) for kernel in ("python3", "mlops")} for _ in range(ROUNDS)]
    medians = {kernel: {what: median(one[kernel][what] for one in rounds) for what in ("ready", "cell", "ended")} for kernel in rounds[0]}
    return {kernel: own | {"ratio": medians["python3"]["cell"] / own["cell"]} for kernel, own in medians.items()}


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        os.environ |= {"JUPYTER_PATH": str(JUPYTER_DATA_DIR), "MLOPS_WARM": "torch lightning", "MLOPS_RUNTIME_DIR": folder, "IPYTHONDIR": f"{folder}/ipython"}
        try:
            found = measure()
        finally:
            subprocess.run([Path(sys.executable).with_name("mlops"), "engine", "stop"], capture_output=True)
    if "--json" in sys.argv:
        print(json.dumps(found))
    else:
        print(f"{'':9} {'ready s':>9} {'cell s':>9} {'ended s':>9} {'ratio':>6}")
        for name, one in found.items():
            print(f"{name:9} {one['ready']:9.3f} {one['cell']:9.3f} {one['ended']:9.3f} {one['ratio']:6.1f}")
        print(f"bar: the warm kernel has run the cell within {BAR} s: {'yes' if found['mlops']['cell'] < BAR else 'NO'}")
