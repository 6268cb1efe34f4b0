"""Notebooks that say when they have come to a place, and plain papermill that executes them."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers.prepared import outer_environment
from helpers.project import notebook

SECONDS = 60   # from what happened to the news about it, on a loaded machine; a hang lasts for ever
JOURNAL = "import os, time\nwith open({journal!r}, 'w') as journal:\n    journal.write(str(time.time()))\n"


def wait_for(journals: list[Path], process: subprocess.Popen | None = None, seconds: float = 30) -> None:
    "Wait until all dying cells have come to their end"
    deadline = time.monotonic() + seconds
    while not all(one.exists() for one in journals):
        assert not process or process.poll() is None, f"ended before: {process.communicate()}"
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


class Papermill:
    "Plain papermill in a folder of its own"

    def __init__(self, folder: Path, engine: str, *sources: str, options: tuple[str, ...] = (), before: tuple[str, ...] = ()):
        self.folder, self.output = folder, folder / "executed.ipynb"
        (folder / "out").mkdir(parents=True)
        (folder / "notebook.ipynb").write_text(notebook("from pathlib import Path\nresult = Path('out/result.json')", *sources))
        outer = outer_environment() | {"IPYTHONDIR": str(folder / ".ipython")}
        command = [*before, Path(sys.executable).with_name("papermill"), "--engine", engine, "notebook.ipynb", "executed.ipynb", "--no-progress-bar", *options]
        self.process = subprocess.Popen(command, cwd=folder, env=outer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def wait(self) -> tuple[int, str]:
        "Exit code and what was said on standard error"
        try:
            error = self.process.communicate(timeout=40)[1]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            error = "killed by the test: it took 40 s\n" + self.process.communicate()[1]
        return self.process.returncode, error
