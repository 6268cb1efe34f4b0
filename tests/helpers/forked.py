"""Run Python scripts in forks of one process that has torch and Lightning imported: a second instead of five for each."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "lightning.pytorch", "torchmetrics"])


def run_python(*args: str, cwd: Path, env: dict[str, str], timeout: float = 120) -> subprocess.CompletedProcess:
    """What `subprocess.run([python, *args])` gives, for a script or `-c code`; variables that Python reads at its start have no effect."""
    logs = [Path(cwd).parent / f"{Path(cwd).name}.{name}" for name in ("stdout", "stderr")]
    child = FORKS.Process(target=_run_script, args=(args, cwd, env, logs))
    child.start()
    child.join(timeout)
    if child.is_alive():
        child.kill()
        raise subprocess.TimeoutExpired(args, timeout)
    stdout, stderr = (log.read_text() for log in logs)
    return subprocess.CompletedProcess(args, child.exitcode, stdout, stderr)


def _run_script(args: tuple[str, ...], cwd: Path, env: dict[str, str], logs: list[Path]) -> None:
    """Become the script in a fork."""
    for number, log in enumerate(logs, 1):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    command, *more = args
    sys.argv, sys.path[:0] = ["-c", *more[1:]] if command == "-c" else [*args], env["PYTHONPATH"].split(os.pathsep)
    try:
        exec(more[0], {"__name__": "__main__"}) if command == "-c" else runpy.run_path(command, run_name="__main__")
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
