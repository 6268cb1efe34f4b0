"""Wait for something, and look at what an interruption left."""
import time
from helpers.processes import left_over

def wait_until(true, seconds: float = 30) -> None:
    "Look until something is true"
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def in_order(project, status: str = "interrupted") -> dict:
    "Nothing is left of the last run, and its record tells how it ended"
    assert not left_over(project)
    assert not list((project.root / ".mlops/tmp").iterdir()) and not list((project.root / ".mlops/leases").glob("*.json"))
    run = project.json("show")
    assert run["status"] == status
    return run
