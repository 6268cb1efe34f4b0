"""Wait for the steps of a project, and look for processes that it left."""
import time
import psutil

def started(project, number: int = 1) -> None:
    "Wait until so many steps have begun"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if project.journal.exists() and project.journal.read_text().count("START") >= number:
            return
        time.sleep(0.05)
    raise AssertionError("no step began within a minute")


def left_over(project) -> list[psutil.Process]:
    "Processes that still work for this project"
    found = []
    for process in psutil.process_iter():
        try:
            if str(project.root) in process.environ().get("MLOPS_PROJECT", ""):
                found.append(process)
        except psutil.Error:
            continue
    return found
