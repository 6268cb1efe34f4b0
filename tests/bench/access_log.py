"""What the preloaded access log costs: loops of calls in C, a start of many programs, an import of torch; processor time, with and without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory

from mlops_kit.engine.access_log import preload_variables

ROUNDS = 7
BAR = 1.3  # times a loop of stat without
LOOP = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **words) {
    struct stat state;
    for (int i = 0; i < 1000000; i++) switch (words[1][0]) {
        case 's': stat(words[2], &state); break;
        case 'o': close(open(words[2], O_RDONLY)); break;
        case 'g': getenv(words[2]);
    }
}
"""


def seconds(words: list[str], folder: Path, more: dict[str, str]) -> float:
    """Processor time of a command and all that it starts."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(words, cwd=folder, env=os.environ | more, check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    if not shutil.which("gcc"):
        sys.exit("no gcc")
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "loop.c").write_text(LOOP)
        (folder / "a.txt").touch()
        subprocess.run(["gcc", "-O1", "-o", "loop", "loop.c"], cwd=folder, check=True)
        cases = {
            "stat, found": ["./loop", "s", f"{folder}/a.txt"], "stat, absent": ["./loop", "s", f"{folder}/no"], "stat, relative": ["./loop", "s", "a.txt"],
            "open and close": ["./loop", "o", f"{folder}/a.txt"], "getenv": ["./loop", "g", "COLOUR"],
            "200 programs": ["sh", "-c", "for n in $(seq 200); do cat a.txt; done"], "import torch": [sys.executable, "-c", "import torch"],
        }
        ways = {"without": {}, "dormant": preload_variables(), "logging": preload_variables(folder / "log", [sys.prefix, sys.base_prefix, "/usr", "/lib"])}
        print(f"{'':16} {'without':>9} dormant logging   (the bar of a loop of stat is {BAR})")
        for case, words in cases.items():
            rounds = [{way: seconds(words, folder, more) for way, more in ways.items()} for _ in range(ROUNDS)]
            best = {way: median(times[way] for times in rounds) for way in ways}
            print(f"{case:16} {best['without']:8.3f}s {best['dormant'] / best['without']:7.2f} {best['logging'] / best['without']:7.2f}")
