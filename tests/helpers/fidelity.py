"""Execute a notebook with both engines, and compare what papermill wrote cell by cell."""
import json
import os
import re
from difflib import unified_diff
from hashlib import sha256
from itertools import groupby
from pathlib import Path

REFERENCE = os.environ.get("MLOPS_TEST_REFERENCE", "kernel")
ENGINE = os.environ.get("MLOPS_TEST_ENGINE", "mlops")
CORPUS = Path(__file__).parents[1] / "corpus"
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
