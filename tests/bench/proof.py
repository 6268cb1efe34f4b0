"""What a proof costs: `mlops verify` of the flights pipeline against its first run, both with nothing warm.

    python tests/bench/proof.py [ROUNDS]
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
MLOPS = Path(sys.executable).with_name("mlops")


def seconds(*words: str, folder: Path, environment: dict) -> float:
    "How long a command takes"
    begun = time.perf_counter()
    subprocess.run([MLOPS, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure(folder: Path) -> tuple[float, float]:
    "The first run and its verification, in seconds"
    for name in ("mlops_kit", "conf", "nbs/steps"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "MLOPS_RUNTIME_DIR": str(folder)}
    first = seconds("run", "pipeline=flights", folder=folder, environment=environment)
    subprocess.run([MLOPS, "engine", "stop"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return first, seconds("verify", folder=folder, environment=environment)


def main() -> None:
    times = []
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        with tempfile.TemporaryDirectory() as folder:
            times.append(measure(Path(folder)))
    print(f"first run {median(one for one, _ in times):6.1f} s")
    print(f"verify    {median(one for _, one in times):6.1f} s   {median(verify / first for first, verify in times):.2f} times the first run")


if __name__ == "__main__":
    main()
