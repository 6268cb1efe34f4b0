"""Without the access log, observation is coarser, and says so."""
import pytest
from helpers.project import Project

CODE = """import ctypes, os, subprocess
table, notes = (f"{os.environ['MLOPS_PROJECT']}/{name}" for name in ("table.bin", "notes.txt"))
held = ctypes.CDLL(None).open(table.encode(), os.O_RDONLY)  # as compiled code does
text = subprocess.run(["cat", notes], capture_output=True, text=True).stdout"""


@pytest.mark.parametrize("engine", ["mlops", "kernel"])
def test_what_compiled_code_holds_and_programs_are_given_counts(project: Project, engine: str):
    files = [project.root / name for name in ("table.bin", "notes.txt")]
    for file in files:
        file.write_text("1")
    project.notebook("reads", CODE, "result.write_text(text + os.read(held, 9).decode())")
    project.pipeline("reads: {notebook: notebooks/reads.ipynb, outs: {result: result.json}}")
    call = lambda command: project.json(command, "pipeline=demo", f"engine={engine}", MLOPS_NO_PRELOAD="1")
    assert call("run")["steps"]["reads"]["status"] == "ran"
    plan = call("plan")["reads"]
    assert plan["action"] == "hit" and "files that compiled code reads" in plan["reason"] + str(plan["unobserved"])
    for file in files:
        file.write_text("2")
        assert call("plan")["reads"]["action"] == "run", file
        file.write_text("1")
