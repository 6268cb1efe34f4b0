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

import json
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor, wait
from difflib import unified_diff
from hashlib import sha256
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import pytest

REFERENCE = os.environ.get("MLOPS_TEST_REFERENCE", "kernel")
ENGINE = os.environ.get("MLOPS_TEST_ENGINE", "mlops")
CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(path.stem for path in CORPUS.glob("*.ipynb"))
AT_ONCE = 4
# these come with extras, and are no error where they are absent
OPTIONAL = "ipywidgets matplotlib numpy pandas polars sklearn sympy torch".split()

NORMAL = [
    (r"The slowest run took \d+(\.\d+)? times longer than the fastest\..*\n|(Compiler|Parser)( time)? *: .*\n", ""),  # only when it was slow
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(\+\d\d:\d\d)?", "<moment>"),
    (r"\b\d+:\d\d(:\d\d)?\b", "<clock>"),
    (r"(\d+(\.\d+)?|\?) ?(it/s|s/it)", "<rate>"),
    (r"\b\d+(\.\d+)?(e[-+]\d+)? ?(ns|[uμµ]s|ms|s|min)\b", "<time>"),
    (r"0x[0-9a-f]{6,}", "<address>"),
    (r"(?<![^\s\"'])[^\s\"']{,200}?/ipykernel_\d+/\d+\.py|<ipython-input-\d+-[0-9a-f]+>|(?<=\()\d+\.py(?=, line)", "<cell file>"),
]
TIMES = {"start_time", "end_time", "duration"}


# -- executing ---------------------------------------------------------------------------------------------------------------


def execute(notebook: str, engine: str, folder: str) -> tuple[str, dict]:
    """Execute a notebook in `folder`, in a process of the pool; how it ended, and what papermill wrote"""
    os.makedirs(f"{folder}/.kernel")
    os.chdir(folder)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # where it is set, an ipykernel leaves file descriptors alone
    os.environ |= {"MLOPS_STEP": "corpus", "PYTHONUTF8": "1", "MLOPS_KERNEL_FOLDER": ".kernel", "IPYTHONDIR": f"{folder}/.kernel/ipython"}
    from papermill import PapermillExecutionError, execute_notebook

    try:
        execute_notebook(notebook, "executed.ipynb", engine_name=engine, progress_bar=False)
        ended = "well"
    except PapermillExecutionError as error:
        ended = f"In [{error.exec_count}], cell {error.cell_index}: {error.ename}: {error.evalue}"
    except Exception as error:
        ended = f"{type(error).__name__}: {error}"
    return normal(ended, folder), normal(json.loads(Path("executed.ipynb").read_text()), folder)


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


# -- comparing ---------------------------------------------------------------------------------------------------------------


def normal(value, folder: str):
    """The value with all its texts rid of what may differ from one execution to the next"""
    if isinstance(value, dict):
        return {key: normal(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [normal(one, folder) for one in value]
    if isinstance(value, str):
        value = value.replace(folder, "<folder>")
        for pattern, word in NORMAL:
            value = re.sub(pattern, word, value)
    return value


def joined(outputs: list[dict]) -> list[dict]:
    """The outputs, neighbouring streams of one name made one, and equal frames of a traceback"""
    done = []
    for output in outputs:
        if "traceback" in output:
            output = output | {"traceback": [frame for frame, _ in groupby(output["traceback"])]}
        stream = output["output_type"] == "stream"
        if stream and done and done[-1].get("name") == output["name"]:
            done[-1] = output | {"text": "".join(done[-1]["text"]) + "".join(output["text"])}
        else:
            done.append(output | {"text": "".join(output["text"])} if stream else output)
    return done


def with_named_widgets(book: dict) -> dict:
    """The notebook with the ids of its widgets replaced by digests of what they are"""
    text = json.dumps(book)
    states = {name: one for kind in book["metadata"].get("widgets", {}).values() for name, one in kind["state"].items()}
    names = dict.fromkeys([*states, *re.findall(r'"model_id": "(\w+)"', text)], "widget")
    for _ in range(5):  # as deep as widgets are nested here
        known = {name: json.dumps(states.get(name)) for name in names}
        names = {name: "widget-" + sha256(renamed(state, names).encode()).hexdigest()[:8] for name, state in known.items()}
    book = json.loads(renamed(text, names))
    if states:
        book["metadata"]["widgets"] = sorted(renamed(json.dumps([name, state]), names) for name, state in states.items())
    return book


def renamed(text: str, names: dict[str, str]) -> str:
    """The text with its names replaced"""
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text) if names else text


def comparable(book: dict) -> list[dict]:
    """What is compared: the notebook's metadata, then its cells"""
    book = with_named_widgets(book)
    for part in (book, *book["cells"]):
        part["metadata"] = part["metadata"] | {"papermill": {k: v for k, v in part["metadata"].get("papermill", {}).items() if k not in TIMES}}
    cells = [cell | {"outputs": joined(cell["outputs"])} if "outputs" in cell else cell for cell in book["cells"]]
    for cell in cells:
        if "papermill-error-cell-tag" in cell["metadata"].get("tags", []):
            cell["id"] = "<papermill's>"
    return [{name: value for name, value in book.items() if name != "cells"}, *cells]


def lines(part: dict | None) -> list[str]:
    """A cell as lines, its texts one line each line"""
    text = json.dumps(part, indent=1, ensure_ascii=False, sort_keys=True)
    return [short for line in text.split("\n") for short in re.sub(r"(?<!\\)\\n", "\n    ", line).split("\n")]


def difference(name: str, number: int, expected: dict | None, got: dict | None) -> str:
    """A cell and in what its outputs differ, for a person to read"""
    source = "".join((expected or got).get("source", "")) or "(no source)"
    title = f"{name}.ipynb, " + (f"cell {number - 1}:" if number else "the notebook itself:")
    changed = [line[:200] for line in unified_diff(lines(expected), lines(got), REFERENCE, ENGINE, lineterm="", n=1)]
    more = [f"... and {len(changed) - 40} lines more"] if len(changed) > 40 else []
    return "\n".join([title, *(f"    {line}" for line in source.splitlines()[:15]), *changed[:40], *more])


def compare(name: str, expected: tuple[str, dict], got: tuple[str, dict]) -> list[str]:
    """All in which two executions differ"""
    faults = [] if expected[0] == got[0] else [f"{name}.ipynb ended\n- with {REFERENCE}: {expected[0]}\n+ with {ENGINE}: {got[0]}"]
    one, two = comparable(expected[1]), comparable(got[1])
    short = min(len(one), len(two))
    pairs = [*zip(one, two), *((part, None) for part in one[short:]), *((None, part) for part in two[short:])]
    return faults + [difference(name, number, *pair) for number, pair in enumerate(pairs) if pair[0] != pair[1]]


# -- the tests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
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
