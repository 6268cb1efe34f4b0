"""Everything that papermill promises about executing a notebook holds with our engines too.

Each test runs with the reference engine `kernel` and with the engine under test; `MLOPS_TEST_ENGINE` names another one.
papermill's own tests about execution come with its wheel and run here with each engine as papermill's default. `EXPECTED` and `EXPECTED_WARM` list
those that don't pass, and why; a test of theirs that fails without standing there, or stands there and passes, fails here.

Of papermill's tests these don't run here, as they would not meet our engine: `test_engines.py` and `test_clientwrap.py` test
nbclient's engine by name, `test_cli.py` replaces the execution by a mock or starts processes with papermill's default engine (the
tests of the command line below stand for it), and the others are about reading, writing and parameters, where no engine is used.
"""

import base64
import json
import logging
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill import PapermillExecutionError, execute_notebook
from papermill.iorw import load_notebook_node

pytestmark = pytest.mark.long
ENGINE = os.environ.get("MLOPS_TEST_ENGINE", "mlops")
EXPECTED = {
    "TestBrokenNotebook2.test": "fails with papermill's own engine as well: its notebook imports what this IPython no longer has",
    "TestNotebookHelpers.test_start_timeout": "asks which arguments nbclient's engine gives to nbclient",
    "TestNotebookHelpers.test_default_start_timeout": "asks which arguments nbclient's engine gives to nbclient",
}
EXPECTED_WARM = {
    "TestMidCellAutosave.test_end2end_autosave_slow_notebook": "counts the writes: ours writes at most once a second, not before and after each cell",
}


@pytest.fixture(params=["kernel", ENGINE] if ENGINE != "kernel" else ["kernel"])
def engine(request, monkeypatch, tmp_path):
    """The name of an engine, in an empty folder and an environment of its own"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    return request.param


def notebook(*sources: str, parameters: str | None = "number = 1") -> nbformat.NotebookNode:
    """A notebook of these code cells below a cell of parameters"""
    cells = [new_code_cell(source) for source in sources]
    if parameters is not None:
        cells.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return new_notebook(cells=[new_markdown_cell("# A notebook"), *cells], metadata={"kernelspec": kernel})


def written(*sources: str, name: str = "in.ipynb", **kwargs) -> str:
    """Write such a notebook into the working folder; its name"""
    nbformat.write(notebook(*sources, **kwargs), name)
    return name


def printed(book) -> str:
    """All that a notebook's cells wrote to their streams"""
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def statuses(book) -> list[str]:
    """What papermill wrote down about each code cell"""
    return [cell.metadata.papermill.status for cell in book.cells if cell.cell_type == "code"]


def papermill(engine: str, *words: str, code: int | None = 0, **kwargs) -> subprocess.CompletedProcess:
    """Call papermill as a user does"""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}  # ipykernel heeds it
    command = [sys.executable, "-m", "papermill", "--engine", engine, *words]
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=120, **{"input": "", **kwargs})
    assert code is None or done.returncode == code, f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


# -- parameters --------------------------------------------------------------------------------------------------------------


def test_parameters_of_every_json_type(engine):
    given = {
        "whole": 3, "big": 2 ** 70, "real": 0.1, "tiny": 1e-300, "yes": True, "no": False, "nothing": None, "empty": "",
        "text": "\"quoted\" 'twice' \\back\\n {brace} ünï 日本語\nline two\ttab", "list": [1, "two", [3.5, None, {"deep": True}]],
        "dict": {"a": 1, "b c": [None], "ünï": {"x": {}}},
    }
    tells = notebook(f"import json\nprint(json.dumps({{name: globals()[name] for name in {list(given)}}}))")
    book = execute_notebook(tells, None, given, engine_name=engine, progress_bar=False)
    assert json.loads(printed(book)) == given
    assert book.metadata.papermill.parameters == given
    given = {"a": float("nan"), "b": float("inf"), "c": float("-inf")}
    special = execute_notebook(notebook("print(a, b, c)"), None, given, engine_name=engine, progress_bar=False)
    assert printed(special) == "nan inf -inf\n"


def test_parameters_from_the_command_line(engine, tmp_path):
    Path("more.yaml").write_text("from_file: [1, 2]\nnumber: 9\n")
    (tmp_path / "elsewhere").mkdir()
    words = "whole real yes nothing word raw number from_yaml from_file from_base64 PAPERMILL_INPUT_PATH PAPERMILL_OUTPUT_PATH".split()
    source = written(
        f"import json, os, sys\nprint(json.dumps([{', '.join(words)}, os.path.basename(os.getcwd())]))", "print('wrong', file=sys.stderr)",
    )
    coded = base64.b64encode(b"from_base64: {x: null}").decode()
    done = papermill(
        engine, source, "out.ipynb", "-p", "whole", "3", "-p", "real", "0.5", "-p", "yes", "True", "-p", "nothing", "None", "-p", "word", "text",
        "-r", "raw", "5", "-y", "{from_yaml: {a: [1, null]}}", "-f", "more.yaml", "-b", coded, "--inject-paths", "--report-mode", "--cwd", "elsewhere",
        "--stdout-file", f"{tmp_path}/stdout.txt", "--stderr-file", f"{tmp_path}/stderr.txt", "--no-progress-bar",
    )
    expected = [3, 0.5, True, None, "text", "5", 9, {"a": [1, None]}, [1, 2], {"x": None}, "in.ipynb", "out.ipynb", "elsewhere"]
    book = load_notebook_node("out.ipynb")
    assert json.loads(Path("stdout.txt").read_text()) == expected and Path("stderr.txt").read_text() == "wrong\n"
    assert json.loads(printed(book).splitlines()[0]) == expected
    assert all(cell.metadata.jupyter.source_hidden for cell in book.cells if cell.cell_type == "code"), "report mode hides the code"
    assert [cell.metadata.tags for cell in book.cells[1:3]] == [["parameters"], ["injected-parameters"]]
    assert "Executing:" not in done.stderr, "the progress bar was not wanted"


def test_an_untagged_notebook_gets_its_parameters_on_top(engine):
    book = execute_notebook(notebook("print(number)", parameters=None), None, {"number": 5}, engine_name=engine, progress_bar=False)
    assert book.cells[0].metadata.tags == ["injected-parameters"] and printed(book) == "5\n"


def test_an_unknown_parameter_is_told_and_injected(engine, caplog):
    with caplog.at_level(logging.WARNING):
        book = execute_notebook(notebook("print(nmber)"), None, {"nmber": 5}, engine_name=engine, progress_bar=False)
    assert printed(book) == "5\n" and "Passed unknown parameter: nmber" in caplog.text


def test_parameters_of_an_earlier_run_are_replaced(engine):
    book = execute_notebook(notebook("print(number)"), "first.ipynb", {"number": 2}, engine_name=engine, progress_bar=False)
    assert printed(book) == "2\n"
    again = execute_notebook("first.ipynb", "second.ipynb", {"number": 3}, engine_name=engine, progress_bar=False)
    assert printed(again) == "3\n" and len(again.cells) == len(book.cells)


# -- input and output --------------------------------------------------------------------------------------------------------


def test_prepare_only_runs_nothing(engine):
    source = written("open('ran.txt', 'w')", "raise ValueError")
    papermill(engine, source, "out.ipynb", "-p", "number", "5", "--prepare-only")
    book = load_notebook_node("out.ipynb")
    assert not Path("ran.txt").exists() and "number = 5" in book.cells[2].source
    assert all(cell.execution_count is None and not cell.outputs for cell in book.cells if cell.cell_type == "code")


def test_notebook_through_pipes(engine):
    done = papermill(engine, "-", "-", "-p", "number", "7", input=nbformat.writes(notebook("print(number)")))
    assert printed(nbformat.reads(done.stdout, as_version=4)) == "7\n"


def test_what_papermill_writes_down(engine):
    source = written("number", "print(1)")
    book = execute_notebook(source, "out.ipynb", engine_name=engine, progress_bar=False)
    about = book.metadata.papermill
    assert about.input_path == "in.ipynb" and about.output_path == "out.ipynb" and about.exception is None and about.duration > 0
    assert statuses(book) == ["completed"] * 3
    for cell in book.cells:
        assert cell.metadata.papermill.exception is False and cell.metadata.papermill.duration >= 0
    assert book.metadata.language_info.name == "python" and book.metadata.language_info.version == sys.version.split()[0]
    assert load_notebook_node("out.ipynb") == book
    nbformat.validate(book)


def test_paths_are_relative_to_the_caller_and_cwd_is_the_cells(engine, tmp_path):
    (tmp_path / "below").mkdir()
    source = written("import os\nopen('here.txt', 'w').close()\nprint(os.path.basename(os.getcwd()))")
    book = execute_notebook(Path(source), Path("out.ipynb"), engine_name=engine, cwd=Path("below"), progress_bar=False)
    assert printed(book) == "below\n" and Path("below/here.txt").exists() and Path("out.ipynb").exists()
    assert Path.cwd() == tmp_path


def test_output_grows_while_the_notebook_runs(engine):
    seen = "import json, time\ntime.sleep(2)  # it is written once a second\nbook = json.load(open('out.ipynb'))\nprint([cell['metadata']['papermill']['status'] for cell in book['cells'][1:]])"
    book = execute_notebook(written("x = 1", seen, "y = 2"), "out.ipynb", engine_name=engine, progress_bar=False)
    assert printed(book) == "['completed', 'completed', 'running', 'pending']\n"


def test_output_is_written_once_when_it_is_asked_for(engine):
    source = written("import os\nprint(os.path.exists('out.ipynb'))")
    book = execute_notebook(source, "out.ipynb", engine_name=engine, request_save_on_cell_execute=False, progress_bar=False)
    assert printed(book) == "False\n" and load_notebook_node("out.ipynb") == book


def test_autosave_in_the_middle_of_a_cell(engine):
    talks = "import json, time\nfor _ in range(30):\n    print('piece', flush=True)\n    time.sleep(0.1)\n"
    looks = "book = json.load(open('out.ipynb'))\nprint('saved:', bool(book['cells'][-1]['outputs']))"
    book = execute_notebook(written(talks + looks), "out.ipynb", engine_name=engine, autosave_cell_every=1, progress_bar=False)
    assert printed(book).endswith("saved: True\n")
    book = execute_notebook("in.ipynb", "out.ipynb", engine_name=engine, autosave_cell_every=0, progress_bar=False)
    assert printed(book).endswith("saved: False\n")


def test_files_that_take_the_streams(engine):
    with open("stdout.txt", "w") as out, open("stderr.txt", "w") as err:
        cell = "import sys\nfor n in range(3):\n    print(n, flush=True)\n    print(-n, file=sys.stderr, flush=True)\n'value'"
        execute_notebook(notebook(cell), None, engine_name=engine, stdout_file=out, stderr_file=err, progress_bar=False)
    assert Path("stdout.txt").read_text() == "0\n1\n2\n" and Path("stderr.txt").read_text() == "0\n-1\n-2\n"


# -- what a person sees ------------------------------------------------------------------------------------------------------


def test_log_output(engine, caplog):
    with caplog.at_level(logging.INFO):
        talks = notebook("print('to out')", "import sys\nprint('to err', file=sys.stderr)", "'a value'")
        execute_notebook(talks, None, engine_name=engine, log_output=True, progress_bar=False)
    told = [(record.levelname, record.getMessage().strip()) for record in caplog.records if record.name == "papermill"]
    assert ("INFO", "to out") in told and ("WARNING", "to err") in told and ("INFO", "'a value'") in told
    order = [text.rstrip("-") for _, text in told if "Cell" in text]
    assert order == [f"{what} Cell {number}" for number in range(1, 6) for what in ("Executing", "Ending")]


def test_nothing_is_logged_without_log_output(engine, caplog):
    with caplog.at_level(logging.INFO):
        execute_notebook(notebook("print('to out')"), None, engine_name=engine, progress_bar=False)
    assert "to out" not in caplog.text and "Executing Cell" not in caplog.text


def test_log_and_progress_on_the_command_line(engine):
    source = written("print('to out')  # papermill_description=TALKS")
    logged = papermill(engine, source, "out.ipynb", "--log-output").stderr
    assert "to out" in logged and "Ending Cell 3---" in logged and "cell/s" not in logged, "a log takes the place of the bar"
    barred = papermill(engine, source, "out.ipynb").stderr
    assert "3/3" in barred and "TALKS" in barred and "to out" not in barred
    assert "Traceback" not in logged + barred


def test_engine_of_a_kernel_that_is_not_there(engine):
    if engine == "kernel":
        pytest.skip("it starts the Python of its own environment, whatever the name")
    with pytest.raises(Exception, match="(?i)no.such"):
        execute_notebook(notebook("1"), None, engine_name=engine, kernel_name="no-such-kernel", language="python", progress_bar=False)


def test_a_notebook_without_a_kernel_in_its_metadata(engine):
    book = notebook("print(number)")
    del book.metadata["kernelspec"]
    nbformat.write(book, "in.ipynb")
    with pytest.raises(ValueError, match="No kernel name|No language"):
        execute_notebook("in.ipynb", None, {"number": 2}, engine_name=engine, progress_bar=False)
    named = {"kernel_name": "python3", "language": "python"}
    assert printed(execute_notebook("in.ipynb", None, {"number": 2}, engine_name=engine, **named, progress_bar=False)) == "2\n"


# -- failures ----------------------------------------------------------------------------------------------------------------


def test_an_error_is_marked_on_top_and_written(engine):
    with pytest.raises(PapermillExecutionError) as caught:
        execute_notebook(written("print('before')", "1 / 0", "print('never')"), "out.ipynb", engine_name=engine, progress_bar=False)
    assert (caught.value.ename, caught.value.evalue, caught.value.exec_count) == ("ZeroDivisionError", "division by zero", 3)
    book = load_notebook_node("out.ipynb")
    assert "An Exception was encountered at" in book.cells[0].source and "In [3]" in book.cells[0].source
    assert "encountered an exception here and stopped" in book.cells[4].source and book.cells[5].source == "1 / 0"
    assert statuses(book) == ["completed", "completed", "failed", "pending"] and book.metadata.papermill.exception is True
    assert book.cells[5].outputs[0].ename == "ZeroDivisionError" and book.cells[6].execution_count is None
    assert printed(book) == "before\n"

    Path("in.ipynb").write_text(Path("out.ipynb").read_text().replace("1 / 0", "1 / 1"))
    again = execute_notebook("in.ipynb", "out.ipynb", engine_name=engine, progress_bar=False)
    assert printed(again) == "before\nnever\n" and len(again.cells) == 5, "marks of an earlier failure are gone"


def test_an_error_on_the_command_line(engine):
    done = papermill(engine, written("raise KeyError('this one')"), "out.ipynb", "--log-output", code=1)
    assert "papermill.exceptions.PapermillExecutionError" in done.stderr and "KeyError: 'this one'" in done.stderr
    assert "An Exception was encountered" in load_notebook_node("out.ipynb").cells[0].source


@pytest.mark.parametrize("cell", ["while True: pass", "import time; time.sleep(1000)", "import subprocess; subprocess.run(['sleep', '1000'])"])
def test_execution_timeout_of_a_cell(engine, cell):
    begun = time.monotonic()
    source = written("print('before')", "import os\nopen('pid', 'w').write(str(os.getpid()))", cell, "print('never')")
    done = papermill(engine, source, "out.ipynb", "--execution-timeout", "2", "--no-progress-bar", code=None)
    assert done.returncode, "a notebook that ran out of time failed"
    assert "time" in done.stderr.splitlines()[-1].lower(), f"says that it was the time:\n{done.stderr[-600:]}"
    assert time.monotonic() - begun < 300
    book = load_notebook_node("out.ipynb")
    ends = statuses(book)
    assert "before\n" in printed(book) and "never" not in printed(book)
    assert ends[:3] == ["completed"] * 3 and ends[3] == "failed" and ends[4] == "pending"
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)


def test_the_timeout_is_for_each_cell(engine):
    source = written(*["import time\ntime.sleep(1.5)"] * 4)
    book = execute_notebook(source, "out.ipynb", engine_name=engine, execution_timeout=5, progress_bar=False)
    assert statuses(book) == ["completed"] * 5


@pytest.mark.parametrize("cell", ["import os; os._exit(0)", "import os; os.abort()", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_dead_process_is_a_failed_cell(engine, cell):
    with pytest.raises(Exception, match="(?i)died|killed|exit|abort"):
        execute_notebook(written("print('before')", cell, "print('never')"), "out.ipynb", engine_name=engine, progress_bar=False)
    book = load_notebook_node("out.ipynb")
    assert statuses(book)[2] == "failed" and "completed" not in statuses(book)[2:] and printed(book) == "before\n"


# -- papermill's own tests ---------------------------------------------------------------------------------------------------


def test_papermills_own_tests_of_execution(engine, tmp_path):
    tests = Path(find_spec("papermill").origin).parent / "tests"
    if not tests.exists():
        pytest.skip("this papermill came without its tests")
    (tmp_path / "default_engine.py").write_text(
        f"from papermill.engines import papermill_engines as known\nknown.register(None, known.get_engine({engine!r}))\n"
    )
    files = [str(tests / name) for name in ("test_execute.py", "test_autosave.py")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    options = ["-q", "-p", "default_engine", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "--junitxml", "results.xml"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *files], env=env, text=True, capture_output=True, timeout=300)
    cases = ElementTree.parse("results.xml").getroot().iter("testcase")
    failed = {f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}": len(case) > 0 for case in cases}
    assert len(failed) >= 29, done.stdout + done.stderr
    wrong = {name for name, did in failed.items() if did}
    expected = {*EXPECTED, *(EXPECTED_WARM if engine == "mlops" else ())}
    assert wrong == expected, f"{sorted(wrong ^ expected)}\n{done.stdout[-4000:]}"
