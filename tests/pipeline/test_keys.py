"""No wrong hit (I1): what changes a result makes its step run again and says so; what doesn't, doesn't."""
import json
import os

import pytest

HELPERS = {
    "shop/__init__.py": "",
    "shop/prices.py": '''
"Prices"
from dataclasses import dataclass

from shop.rounding import rounded
from shop import limits

CURRENCY = "EUR"


@dataclass
class Tax:
    "What the state wants"
    rate: float = 0.2

    def of(self, amount):
        return amount * self.rate


def price(amount, discount=0.1):
    "The price"  # for people
    return rounded(amount * (1 - discount) + Tax().of(amount)) if amount < limits.MOST else CURRENCY


def nobody_uses_this():
    from shop.unused import unused
    return unused()
''',
    "shop/unused.py": "print('imported')\n\n\ndef unused():\n    return 1\n",
    "shop/rounding.py": "DIGITS = 2\n\n\ndef rounded(value):\n    return round(value, DIGITS)\n\n\ndef other(value):\n    return value\n",
    "shop/limits.py": "MOST = 1000\n",
}
CELL = "import json\nfrom shop.prices import price\nresult.write_text(json.dumps({'price': price(number), 'data': data.read_text()}))"

CHANGES = {
    "literal in a cell": ("notebooks/shop.ipynb", "'price': price(number)", "'price': 1 + price(number)", "cell 3 changed"),
    "order of a call's arguments": ("notebooks/shop.ipynb", "price(number)", "price(number, 0.1)", "cell 3 changed"),
    "function that the cell calls": ("shop/prices.py", "(1 - discount)", "(2 - discount)", "shop.prices.price (shop/prices.py) changed"),
    "default argument": ("shop/prices.py", "discount=0.1", "discount=0.2", "shop.prices (shop/prices.py) changed"),
    "module constant": ("shop/prices.py", '"EUR"', '"CHF"', "shop.prices (shop/prices.py) changed"),
    "class attribute": ("shop/prices.py", "0.2", "0.3", "shop.prices (shop/prices.py) changed"),
    "method": ("shop/prices.py", "amount * self.rate", "amount + self.rate", "shop.prices.Tax.of (shop/prices.py) changed"),
    "decorator": ("shop/prices.py", "@dataclass\n", "@dataclass(frozen=True)\n", "shop.prices (shop/prices.py) changed"),
    "helper two imports away": ("shop/rounding.py", "round(value, DIGITS)", "round(value, DIGITS + 1)", "shop.rounding.rounded (shop/rounding.py) changed"),
    "constant two imports away": ("shop/rounding.py", "DIGITS = 2", "DIGITS = 3", "shop.rounding (shop/rounding.py) changed"),
    "constant of a module used as a value": ("shop/limits.py", "1000", "1", "shop.limits (shop/limits.py) changed"),
    "a call when a module is imported": ("shop/limits.py", "MOST = 1000", "MOST = 1000\nprint(MOST)", "shop.limits (shop/limits.py) changed"),
    "the package's own start": ("shop/__init__.py", "", "import os\nos.environ['X'] = '1'\n", "shop (shop/__init__.py) changed"),
    "another import of the same name": ("shop/prices.py", "import rounded", "import other as rounded", "shop.prices (shop/prices.py) changed"),
    "content of a source": ("data.txt", "one", "two", "source data changed"),
    "a new cell": ("notebooks/shop.ipynb", '"source": "import json', '"source": "print(1)", "cell_type": "code", "metadata": {}, "outputs": [], "execution_count": null, "id": "d"}, {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": null, "outputs": [], "source": "import json', "cell 3 changed"),
    "a magic in a cell": ("notebooks/shop.ipynb", "import json\\n", "%precision 3\\nimport json\\n", "cell 3 changed"),
    "an error that a cell may raise": ("notebooks/shop.ipynb", '{"cell_type": "code", "id": "c", "metadata": {}', '{"cell_type": "code", "id": "c", "metadata": {"tags": ["raises-exception"]}', "cell 3 changed"),
    "base class": ("shop/prices.py", "class Tax:", "class Tax(dict):", "shop.prices (shop/prices.py) changed"),
    "a condition": ("shop/prices.py", "amount < limits.MOST", "amount <= limits.MOST", "shop.prices.price (shop/prices.py) changed"),
    "a constant that depends on the machine": ("shop/rounding.py", "DIGITS = 2", "import sys\nDIGITS = 2 if sys.platform == 'linux' else 2", "shop.rounding (shop/rounding.py) changed"),
    "a name that is defined again": ("shop/rounding.py", "def other", "def rounded(value):\n    return 0\n\n\ndef other", "shop.rounding.rounded (shop/rounding.py) changed"),
    "a function reached by its name": ("shop/prices.py", "return rounded(", "return getattr(limits, 'MOST') + rounded(", "shop.prices.price (shop/prices.py) changed"),
    "docstring": ("shop/prices.py", '"The price"', '"What to pay"', "shop.prices (shop/prices.py) changed"),
    "module docstring": ("shop/prices.py", '"Prices"', '"All prices"', "shop.prices (shop/prices.py) changed"),
    "a name imported for nothing": ("shop/prices.py", "import rounded\n", "import other, rounded\n", "shop.prices (shop/prices.py) changed"),
    "a nested function": ("shop/rounding.py", "    return round(value, DIGITS)", "    def inner():\n        return round(value, DIGITS)\n    return inner()", "shop.rounding.rounded (shop/rounding.py) changed"),
}

NEUTRAL = {
    "comment in a cell": ("notebooks/shop.ipynb", "import json\\n", "import json  # to write\\n"),
    "blank lines in a cell": ("notebooks/shop.ipynb", "import json\\n", "import json\\n\\n\\n"),
    "markdown": ("notebooks/shop.ipynb", "What a shop asks for", "What a shop wants"),
    "comment in a module": ("shop/prices.py", "# for people", "# for everybody"),
    "function that only an unused function imports": ("shop/unused.py", "return 1", "return 2"),
    "function that nobody uses": ("shop/prices.py", "return unused()", "return 1 + unused()"),
    "function of another module that nobody uses": ("shop/rounding.py", "return value\n", "return -value\n"),
    "a cell cut in two": ("notebooks/shop.ipynb", "import json\\nfrom shop", 'import json", "cell_type": "code", "metadata": {}, "outputs": [], "execution_count": null, "id": "d"}, {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": null, "outputs": [], "source": "from shop'),
    "quotes": ("shop/prices.py", 'CURRENCY = "EUR"', "CURRENCY = 'EUR'"),
    "brackets and a comma": ("shop/rounding.py", "round(value, DIGITS)", "(round(value, DIGITS,))"),
    "a new function": ("shop/rounding.py", "def other", "def third(value):\n    return 3 * value\n\n\ndef other"),
    "how often it was executed": ("notebooks/shop.ipynb", '"execution_count": null', '"execution_count": 7'),
    "metadata of a cell": ("notebooks/shop.ipynb", '"id": "c", "metadata": {}', '"id": "c", "metadata": {"collapsed": true}'),
    "a time limit": ("conf/pipeline/demo.yaml", "params:", "timeout: 9m, params:"),
    "attempts": ("conf/pipeline/demo.yaml", "params:", "retries: 2, params:"),
    "resources": ("conf/pipeline/demo.yaml", "params:", "resources: {cpu: 1}, params:"),
    "layout": ("shop/rounding.py", "round(value, DIGITS)", "round(\n        value,\n        DIGITS,\n    )"),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    "A project that has run once"
    from helpers.project import Project

    project = Project(tmp_path_factory.mktemp("keys") / "project")
    (project.root / "shop").mkdir()
    for name, text in HELPERS.items():
        (project.root / name).write_text(text)
    (project.root / "data.txt").write_text("one")
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "What a shop asks for"},
        {"cell_type": "code", "id": "b", "metadata": {"tags": ["parameters"]}, "execution_count": None, "outputs": [],
         "source": "from pathlib import Path\nnumber: int | float | str | bool = 1\ndata: Path = Path('in/data.txt')\nresult: Path = Path('out/result.json')"},
        {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": None, "outputs": [], "source": CELL},
    ]
    (project.root / "notebooks/shop.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    project.pipeline("shop: {notebook: notebooks/shop.ipynb, params: {number: 1}, sources: {data: data.txt}, outs: {result: result.json}}")
    assert project.statuses() == {"shop": "ran"}
    assert decision(project)["action"] == "hit"
    return project


def decision(project, *words: str) -> dict:
    "What the plan says about the step"
    return project.json("plan", "pipeline=demo", *words)["shop"]


@pytest.fixture
def edited(shop):
    "Edit a file for the time of a test"
    before = {}

    def edit(name, old, new):
        path = shop.root / name
        before[path], text = path.read_bytes(), path.read_text()
        assert old in text, f"{name} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1) if old else new)

    yield edit
    for path, content in before.items():
        path.write_bytes(content)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_never_a_hit(shop, edited, kind):
    name, old, new, reason = CHANGES[kind]
    edited(name, old, new)
    found = decision(shop)
    assert found["action"] == "run" and reason in found["reason"], found


@pytest.mark.parametrize("kind", NEUTRAL)
def test_what_does_not_matter_is_a_hit(shop, edited, kind):
    edited(*NEUTRAL[kind])
    assert decision(shop)["action"] == "hit"


@pytest.mark.parametrize("value", ["2", "1.0", "'\"1\"'", "true"])
def test_values_differ_with_their_type(shop, value):
    found = decision(shop, f"pipeline.steps.shop.params.number={value}")
    assert found["action"] == "run" and "parameter number: 1 -> " in found["reason"]


def test_other_parts_of_the_key(shop):
    assert "seed 0 -> 1" in decision(shop, "seed=1")["reason"]
    assert "threads" in decision(shop, "threads=7")["reason"]
    assert "outs" in decision(shop, "+pipeline.steps.shop.outs.more=more.json")["reason"]


def test_data_with_the_same_size_and_time(shop, edited):
    before = os.stat(shop.root / "data.txt")
    edited("data.txt", "one", "eno")
    os.utime(shop.root / "data.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decision(shop)["action"] == "run"


def test_touching_and_clearing_outputs(shop, edited):
    os.utime(shop.root / "data.txt")
    os.utime(shop.root / "shop/prices.py")
    edited("notebooks/shop.ipynb", '"outputs": []', '"outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}]')
    assert decision(shop)["action"] == "hit"


def test_a_tag_that_a_cleaner_drops(shop, edited):
    edited("notebooks/shop.ipynb", '"tags": ["parameters"]', "")
    edited_again = shop.root / "notebooks/shop.ipynb"
    edited_again.write_text(edited_again.read_text().replace("from pathlib import Path", "#| parameters\\nfrom pathlib import Path"))
    assert decision(shop)["action"] == "hit"


def test_a_result_that_is_gone_or_damaged(shop):
    record = json.loads(shop.records()[0].read_text())
    digest = record["outs"]["result"]["digest"]
    path = shop.root / ".mlops/objects" / digest[:2] / digest[2:]
    aside = path.read_bytes()
    path.unlink()
    try:
        assert decision(shop)["action"] == "run"
    finally:
        path.write_bytes(aside)
    assert decision(shop)["action"] == "hit"


WRITTEN = {  # the same to Python or to JSON, but not to a step: a default in the notebook, or a value in the configuration
    "a whole number and one with a point": ("1", "1.0"),
    "a number and a truth": ("1", "True"),
    "a number and a text": ("1", "'1'"),
    "keys that are numbers or texts": ("{0: 'a'}", "{'0': 'a'}"),
    "keys that are truths or texts": ("{True: 'a'}", "{'true': 'a'}"),
    "the order of a mapping": ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    "the order of a mapping in a list": ("[{'a': 1, 'b': 2}]", "[{'b': 2, 'a': 1}]"),
    "the order of a mapping in a mapping": ("{'c': {'a': 1, 'b': 2}}", "{'c': {'b': 2, 'a': 1}}"),
    "the order of a list": ("[1, 2]", "[2, 1]"),
    "the sign of nothing": ("0.0", "-0.0"),
    "an empty mapping and an empty list": ("{}", "[]"),
}
PLACES = "default", "given"
CASES = [(kind, place) for kind in WRITTEN for place in PLACES]


def write_values(project, number: int) -> None:
    "A step for each case with the first or the second value"
    steps = []
    for place, (position, pair) in ((place, one) for one in enumerate(WRITTEN.values()) for place in PLACES):
        value, name = pair[number], f"{place}{position}"
        default = value if place == "default" else "None"
        params = "{}" if place == "default" else "{value: %s}" % value.replace("'", '"').replace("True", "true")
        parameters = f"from pathlib import Path\nvalue: object = {default}\nresult: Path = Path('out/result.txt')"
        project.notebook(name, "result.write_text(repr(value))", parameters=parameters)
        steps.append(f"{name}: {{notebook: notebooks/{name}.ipynb, params: {params}, outs: {{result: result.txt}}}}")
    project.pipeline("\n".join(steps))


def said(project, run: dict) -> dict[str, str]:
    "What each step has written"
    outs = {name: step["outs"]["result"] for name, step in run["steps"].items()}
    return {name: (project.root / ".mlops/objects" / out[:2] / out[2:]).read_text() for name, out in outs.items()}


@pytest.fixture(scope="module")
def values(tmp_path_factory) -> dict[str, dict]:
    "What happens with the first values, the second ones, and the first ones again"
    import yaml
    from helpers.project import Project

    project = Project(tmp_path_factory.mktemp("values") / "project")
    write_values(project, 0)
    seen = {"first": said(project, project.json("run", "pipeline=demo"))}
    write_values(project, 1)
    seen["plan"] = project.json("plan", "pipeline=demo")
    seen["second"] = said(project, project.json("run", "pipeline=demo"))
    seen["resumed"] = project.json("resume")["steps"]
    ordered = [f"given{position}" for position, kind in enumerate(WRITTEN) if "order of a mapping" in kind]
    seen["verified"] = project.json("verify", "last", *ordered)["steps"]
    seen["restored"] = {}
    for name in (name for name in seen["plan"] if name.startswith("given")):
        project.mlops("show", "last", name, "--folder", f"again/{name}")
        seen["restored"][name] = repr(yaml.safe_load((project.root / f"again/{name}/parameters.yaml").read_text())["value"])
    write_values(project, 0)
    seen["again"] = project.json("plan", "pipeline=demo")
    return seen


@pytest.mark.parametrize("kind, place", CASES)
def test_a_value_counts_as_it_is_written(values, kind, place):
    (first, second), name = WRITTEN[kind], f"{place}{list(WRITTEN).index(kind)}"
    assert (values["plan"][name]["action"], values["again"][name]["action"]) == ("run", "hit")
    if not (place == "given" and kind.startswith("keys")):  # papermill makes texts of all keys
        assert (values["first"][name], values["second"][name]) == (first, second)
    assert values["resumed"][name]["status"] == "hit", "a run that is resumed has the same values"
    assert values["restored"].get(name, second) == second
    if place == "given" and "order of a mapping" in kind:
        assert values["plan"][name]["reason"] == "parameter value: another order, or another type of keys"
        assert values["verified"][name]["status"] == "identical"


def test_keys_of_several_types_in_one_mapping_are_refused(project):
    project.notebook("says", "result.write_text('1')", parameters="from pathlib import Path\nvalue: dict = {}\nresult: Path = Path('out/result.txt')")
    project.pipeline("says: {notebook: notebooks/says.ipynb, params: {value: {0: 1, a: 2}}, outs: {result: result.txt}}")
    assert "parameter value: expected dict" in project.mlops("plan", "pipeline=demo", code=2)


SAME = "number: int = 1"
BOOK = {"cells": [
    {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "execution_count": None, "outputs": [], "source": f"from pathlib import Path\nresult = Path('out/result.txt')\n{SAME}"},
    {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": None, "outputs": [], "source": f"from pathlib import Path\nresult = Path('out/result.txt')\n{SAME}"},
    {"cell_type": "code", "id": "c", "metadata": {}, "execution_count": None, "outputs": [], "source": "result.write_text(str(number))"},
], "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}, "nbformat": 4, "nbformat_minor": 5}


def tag(*tags_by_cell: str):
    "A change: the tags of the cells"
    def change(book: dict) -> None:
        for cell, tags in zip(book["cells"], tags_by_cell):
            cell["metadata"] = {"tags": tags.split()}
    return change


BOOKS = {  # change of a notebook -> does it change how the notebook is executed?
    "the tag of the parameters cell, in another cell that says the same": (tag("", "parameters", ""), True),
    "a cell that papermill replaces": (tag("parameters", "injected-parameters", ""), True),
    "a cell that may raise": (tag("parameters", "", "raises-exception"), True),
    "a cell that is skipped": (tag("parameters", "skip-execution", ""), True),
    "a second parameters cell": (tag("parameters", "parameters", ""), False),
    "a tag of somebody's own": (tag("parameters", "figure", "hide-input"), False),
    "a collapsed cell": (lambda book: book["cells"][1]["metadata"].update(collapsed=True, jupyter={"source_hidden": True}), False),
    "another kernel for Python": (lambda book: book["metadata"]["kernelspec"].update(name="mlops", display_name="Python (mlops)"), False),
    "no kernel": (lambda book: book["metadata"].clear(), False),
    "the version of Python that last ran it": (lambda book: book["metadata"].update(language_info={"name": "python", "version": "3.9.1"}), False),
    "a minor version of the format": (lambda book: book.update(nbformat_minor=4), False),
}


@pytest.fixture(scope="module")
def booked(tmp_path_factory):
    "A project whose notebook has two cells that say the same"
    from helpers.project import Project

    project = Project(tmp_path_factory.mktemp("books") / "project")
    (project.root / "notebooks/book.ipynb").write_text(json.dumps(BOOK))
    project.pipeline("book: {notebook: notebooks/book.ipynb, params: {number: 5}, outs: {result: result.txt}}")
    assert project.statuses() == {"book": "ran"}
    return project


@pytest.mark.parametrize("kind", BOOKS)
def test_metadata_that_changes_the_execution_counts(booked, kind):
    change, counts = BOOKS[kind]
    book = json.loads(json.dumps(BOOK))
    change(book)
    (booked.root / "notebooks/book.ipynb").write_text(json.dumps(book))
    assert booked.json("plan", "pipeline=demo")["book"]["action"] == ("run" if counts else "hit")


@pytest.mark.parametrize("metadata", [{"kernelspec": {"name": "ir", "language": "R"}}, {"language_info": {"name": "R"}}, {"kernelspec": {"name": "ir"}, "language_info": {"name": "R"}}])
def test_another_language_is_refused(project, metadata):
    (project.root / "notebooks/book.ipynb").write_text(json.dumps(BOOK | {"metadata": metadata}))
    project.pipeline("book: {notebook: notebooks/book.ipynb, params: {number: 5}, outs: {result: result.txt}}")
    assert "its language is R" in project.mlops("plan", "pipeline=demo", code=2)
