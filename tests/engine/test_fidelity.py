"""The same notebook gives the same outputs with either engine.

`tests/corpus/` holds one small notebook for each thing that a notebook can do. Each is executed by papermill with the reference
engine `kernel` (a real ipykernel behind nbclient) and with the engine under test, both in a folder of their own, and what papermill
wrote is compared cell by cell. `MLOPS_TEST_ENGINE` names another engine to test, `MLOPS_TEST_REFERENCE` another reference.

Equal means:

* the execution ended in the same way: the same exception out of papermill, with the same text, or none;
* the same cells in the same order with the same sources, ids, attachments, metadata (papermill's status and mark of an exception
  among it) and execution counts, and the same metadata of the notebook, the state of its widgets among it;
* in each cell the same outputs in the same order, with all their data, metadata, stream names, texts, and tracebacks with colours.

How nbclient turns a kernel's messages into outputs is part of what both engines have to do: `clear_output` empties the cell, with
`wait` only when the next output comes; `update_display_data` changes every output of any cell that has the display id, in place, and
is no output itself; a display id that is shown again changes the older outputs too; a cleared output is no longer updated; messages
that belong to an earlier cell (a task that goes on; a thread and a child process write to the cell that runs) are dropped; an open
`Output` widget takes the outputs into its state; comm messages make the state of widgets; payloads (the pager, `set_next_input`)
leave nothing.

Not part of it, and made equal before comparing:

* neighbouring stream outputs of the same name are one text: an ipykernel sends what has gathered within 0.2 s, nbclient appends each
  such message as an output of its own, so where a text is cut depends on the clock. Order and names of streams are compared;
* times, durations and rates, and what `%timeit` and `%time` say of slow runs only; addresses (`0x7f...`); the folder of the execution;
  the names, with a process id, that IPython gives to the file of a cell (`/tmp/ipykernel_123/456.py`, `<ipython-input-...>`); ids of
  widgets, which are named after their content; ids of the cells that papermill adds on an error; how often a frame of a deep recursion
  is repeated in a traceback, as that depends on how many frames the engine has below the cell.
"""
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor, wait
from importlib.util import find_spec
import pytest
from helpers.fidelity import AT_ONCE, CORPUS, ENGINE, NAMES, OPTIONAL, REFERENCE, compare, execute


@pytest.fixture(scope="session")
def executions(request, tmp_path_factory):
    """What becomes of each notebook of this session, several at a time: the name -> with the reference, with the engine"""
    names = [item.callspec.params["name"] for item in request.session.items if item.function is test_both_engines_give_the_same]
    top = tmp_path_factory.mktemp("executions")
    with ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield {
            name: [
                pool.submit(execute, str(CORPUS / f"{name}.ipynb"), engine, str(top / name / role))
                for role, engine in (("reference", REFERENCE), ("engine", ENGINE))
            ] for name in names
        }
        for one in multiprocessing.active_children():  # also those that would never end
            one.kill()


@pytest.mark.parametrize("name", [name if place % 3 == 0 else pytest.param(name, marks=pytest.mark.long) for place, name in enumerate(NAMES)])
def test_both_engines_give_the_same(name, executions):
    needed = [word for word in OPTIONAL if re.search(rf"(import|from) {word}\b", (CORPUS / f"{name}.ipynb").read_text())]
    if absent := [word for word in needed if not find_spec(word)]:
        pytest.skip(f"without {', '.join(absent)}")
    for future, engine in zip(executions[name], (REFERENCE, ENGINE)):
        assert not wait([future], timeout=100).not_done, f"{name}.ipynb has no end with {engine}"
    expected, got = (future.result() for future in executions[name])
    if faults := compare(name, expected, got):
        pytest.fail("\n\n".join(faults), pytrace=False)


def test_a_difference_is_shown_as_a_short_diff():
    def book(*outputs: dict) -> dict:
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "source": ["show()"], "outputs": [*outputs]}
        return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}

    def out(text: str, name: str = "stdout") -> dict:
        return {"output_type": "stream", "name": name, "text": text}

    assert not compare("same", ("well", book(out("a\n"), out("b\n"))), ("well", book(out("a\nb\n"))))
    assert compare("order", ("well", book(out("a"), out("b", "stderr"))), ("well", book(out("b", "stderr"), out("a"))))
    told, = compare("text", ("well", book(out("a\nb\n"))), ("well", book(out("a\nc\n"))))
    assert "text.ipynb, cell 0:\n    show()" in told and "\n-    b\n" in told and "\n+    c\n" in told, told
    assert len(compare("end", ("well", book()), ("ValueError: no", book()))) == 1
