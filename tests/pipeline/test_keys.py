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
