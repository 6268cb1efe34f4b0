"""Changes that change nothing: each must stay a hit."""
import json
import os
import subprocess

from helpers.trial import Change, Place, Row, append, cell, edit, folder, move, notebook_cells, remove, setting, stamp, tagged, write

SHOP = '''"Prices"
from dataclasses import dataclass

RATE = 2  # for people
CURRENCY = "EUR"


@dataclass
class Tax:
    rate: float = 0.2

    def of(self, amount):
        return amount * self.rate

    def unused(self):
        return 0


def price(x, rate=RATE):
    "What to pay"
    return round(x * rate + Tax().of(x), 2)


def unused(x):
    from never§ import rate
    return rate(x)


def other(x):
    return x
'''
USE = "from shop§ import price\nvalue = price(3)"
DATA = {"d§/1.csv": "a\n1\n", "d§/read.txt": "2", "d§/unread.txt": "1"}


def shop(change: Change | tuple[Change, ...], cells: str | tuple[str, ...] = USE, **files: str) -> Row:
    return Row(cells, change, files={"shop§.py": SHOP, "never§.py": "def rate(x):\n    return x\n"} | files)


def source(old: str, new: str) -> Row:
    return shop(edit("shop§.py", old, new))


def data(cell: str, change: Change | tuple[Change, ...]) -> Row:
    return Row(cell, change, files=DATA)


READ = "value = (here / 'read.txt').read_text()"
GLOB = "value = [one.read_text() for one in sorted(here.glob('*.csv'))]"
SPLIT = "a = 1\nb = 2\nvalue = a + b"

CODE = {
    "comment in a module": source("# for people", "# for everybody"),
    "comment that moves all lines": shop(lambda place: place.write("shop§.py", "# new\n\n# lines\n" + place.path("shop§.py").read_text())),
    "blank lines": source("\n\n\ndef unused", "\n\n\n\n\n\ndef unused"),
    "quotes": source('"EUR"', "'EUR'"),
    "brackets and a comma": source("round(x * rate + Tax().of(x), 2)", "(round((x * rate) + Tax().of(x), 2,))"),
    "layout of a call": source("round(x * rate + Tax().of(x), 2)", "round(\n        x * rate\n        + Tax().of(x),\n        2,\n    )"),
    "a number written in another way": source("RATE = 2 ", "RATE = 0b10 "),
    "a text written in another way": source('"EUR"', '"E" "U" "\\x52"'),
    "indentation": source("    return x\n", "        return x\n"),
    "line ends": shop(lambda place: place.write("shop§.py", place.path("shop§.py").read_text().replace("\n", "\r\n"))),
    "no line end at the end": shop(lambda place: place.write("shop§.py", place.path("shop§.py").read_text().rstrip())),
    "byte order mark": shop(lambda place: place.write("shop§.py", b"\xef\xbb\xbf" + place.path("shop§.py").read_bytes())),
    "coding cookie": shop(lambda place: place.write("shop§.py", "# coding: utf-8\n" + place.path("shop§.py").read_text())),
    "black": shop(lambda place: place.write("shop§.py", "import  os\ndef price( x,rate = 2 ):\n  return os.path.join( 'a','b' )*rate\n"), shop="", **{"shop§.py": 'import os\n\n\ndef price(x, rate=2):\n    return os.path.join("a", "b") * rate\n'}),
    "a comment in a module that warns": shop(edit("m§.py", "# two", "# three"), "import m§\nvalue = m§.go(1)", **{"m§.py": "import warnings\n\ndef go(x):\n    warnings.warn('old')  # two\n    return x\n"}),
    "a comment in a module that seeds torch": shop(edit("m§.py", "# two", "# three"), "import m§\nvalue = m§.go(1)", **{"m§.py": "import torch\n\ndef go(x):\n    torch.manual_seed(x)  # two\n    return x\n"}),
    "body of a function that never ran": source("return rate(x)", "return 1 + rate(x)"),
    "body of a method that never ran": source("return 0", "return 1"),
    "import in a function that never ran": source("from never§ import rate", "from nowhere§ import rate"),
    "annotation in the body of a function that never ran": source("def other(x):\n    return x", "def other(x):\n    y: int = x\n    return y"),
    "annotation of a function that never ran": source("def other(x)", "def other(x: int)"),
    "module that only a function imports that never ran": shop(edit("never§.py", "return x", "return -x")),
    "such a module goes": shop(remove("never§.py")),
    "a new function": shop(append("shop§.py", "\n\ndef third(value):\n    return 3 * value\n")),
    "a new function in the middle": source("def other", "def third(value):\n    return 3 * value\n\n\ndef other"),
    "a new class": shop(append("shop§.py", "\n\nclass Third:\n    def go(self):\n        return 3\n")),
    "a moved function": source("\n\ndef unused(x):\n    from never§ import rate\n    return rate(x)\n\n\ndef other(x):\n    return x\n", "\n\ndef other(x):\n    return x\n\n\ndef unused(x):\n    from never§ import rate\n    return rate(x)\n"),
    "a function that never ran goes": source("\n\ndef other(x):\n    return x\n", ""),
    "a function that never ran gets another name": source("def other(x)", "def another(x)"),
    "a local name in a function that never ran": source("def other(x):\n    return x", "def other(x):\n    z = x\n    return z"),
    "a new module that nobody imports": shop(write("extra§.py", "V = 1\n")),
    "a module that nobody imports changes": shop(write("extra§.py", "V = 2\n"), **{"extra§.py": "V = 1\n"}),
    "a module of the same name, deeper": shop(write("deep§/shop§.py", "V = 1\n")),
    "a stub": shop(write("shop§.pyi", "def price(x: int) -> int: ...\n")),
    "an editor's copy": shop((write("shop§.py~", ""), write(".shop§.py.swp", ""), write("#shop§.py#", ""))),
    "a test of the module": shop(write("tests§/test_shop§.py", "from shop§ import price\n")),
    "compiled byte code": shop(lambda place: compiled(place)),
    "a touched module": shop(lambda place: os.utime(place.path("shop§.py"))),
    "an old time of a module": shop(stamp("shop§.py", 1000)),
    "mode of a module": shop(lambda place: place.path("shop§.py").chmod(0o600)),
    "a module saved by renaming": shop(lambda place: (place.write("new§", place.path("shop§.py").read_text()), move("new§", "shop§.py")(place))),
    "a file in the package": Row("import pkg§\nvalue = pkg§.V", write("pkg§/README.md", ""), files={"pkg§/__init__.py": "V = 1\n"}),
    "another module in the package": Row("import pkg§\nvalue = pkg§.V", write("pkg§/new.py", "V = 2\n"), files={"pkg§/__init__.py": "V = 1\n"}),
    "another module in a namespace package": Row("import ns§.a\nvalue = ns§.a.V", write("ns§/b.py", "V = 2\n"), files={"ns§/a.py": "V = 1\n"}),
    "a module of a package that is not imported": Row("import pkg§\nvalue = pkg§.V", write("pkg§/other.py", "V = 2\n"), files={"pkg§/__init__.py": "V = 1\n", "pkg§/other.py": "V = 1\n"}),
}
CELLS = {
    "comment in a cell": Row("value = 1  # one", cell("# one", "# two")),
    "blank lines in a cell": Row("value = 1\nvalue += 1", cell("value = 1\n", "value = 1\n\n\n")),
    "layout in a cell": Row("value = [1, 2]", cell("[1, 2]", "[\n    1,\n    2,\n]")),
    "comment in the parameters cell": Row("value = 1", notebook_cells(lambda found: found[0].update(source="# new\n" + found[0]["source"]))),
    "markdown": Row("value = 1", notebook_cells(lambda found: found.insert(1, {"cell_type": "markdown", "id": "md", "metadata": {}, "source": "What"}))),
    "markdown at the end": Row("value = 1", notebook_cells(lambda found: found.append({"cell_type": "markdown", "id": "md", "metadata": {}, "source": "What"}))),
    "outputs and counts": Row("value = 1", notebook_cells(lambda found: found[1].update(execution_count=7, outputs=[{"output_type": "stream", "name": "stdout", "text": "1"}]))),
    "metadata of a cell": Row("value = 1", notebook_cells(lambda found: found[1]["metadata"].update(collapsed=True))),
    "a tag that means nothing": Row("value = 1", tagged(1, "figure")),
    "id of a cell": Row("value = 1", notebook_cells(lambda found: found[1].update(id="new"))),
    "a cell split in two": Row((SPLIT,), notebook_cells(lambda found: found.__setitem__(slice(2, 3), [found[2] | {"source": part, "id": part[0]} for part in SPLIT.split("\n", 1)]))),
    "two cells made one": Row(("a = 1", "value = a"), notebook_cells(lambda found: found.__setitem__(slice(2, 4), [found[2] | {"source": "a = 1\nvalue = a"}]))),
    "an empty cell": Row(("a = 1", "value = a"), notebook_cells(lambda found: found.insert(3, found[3] | {"id": "new", "source": ""}))),
    "a cell of comments": Row(("a = 1", "value = a"), notebook_cells(lambda found: found.insert(3, found[3] | {"id": "new", "source": "# note"}))),
    "metadata of the notebook": Row("value = 1", lambda place: metadata(place, widgets={}, language_info={"name": "python", "version": "3.11.1"})),
    "display name of the kernel": Row("value = 1", lambda place: metadata(place, kernelspec={"name": "python3", "language": "python", "display_name": "My Python"})),
    "the notebook saved with another indentation": Row("value = 1", lambda place: (path := place.path("notebooks/step§.ipynb")).write_text(json.dumps(json.loads(path.read_text()), indent=3))),
    "a touched notebook": Row("value = 1", lambda place: os.utime(place.path("notebooks/step§.ipynb"))),
    "a time limit": Row("value = 1", setting("{result: result.json}", "{result: result.json}, timeout: 9m")),
    "attempts": Row("value = 1", setting("{result: result.json}", "{result: result.json}, retries: 2")),
    "resources": Row("value = 1", setting("{result: result.json}", "{result: result.json}, resources: {cpu: 1}")),
    "metrics named late": Row("value = {'a': 1}", setting("{result: result.json}", "{result: result.json}, metrics: result")),
    "tolerance named late": Row("value = {'a': 1}", setting("{result: result.json}", "{result: result.json}, metrics: result, tolerance: {result: 0.1}")),
}
FILES = {
    "a cache of the step is removed": data("cache = here / 'cache'\ntry:\n    value = cache.read_text()\nexcept FileNotFoundError:\n    value = '2'\n    cache.write_text(value)", remove("d§/cache")),
    "another name for a file": data("os.link(here / 'read.txt', 'mine')\nvalue = open('mine').read()", write("d§/unread.txt", "2")),
    "a file that nobody reads": data(READ, write("d§/unread.txt", "2")),
    "a new file": data(READ, write("d§/new.txt", "2")),
    "a new folder": data(READ, folder("d§/new")),
    "a touched file": data(READ, lambda place: os.utime(place.path("d§/read.txt"))),
    "a touched folder": data(GLOB, lambda place: os.utime(place.path("d§"))),
    "a file written again": data(READ, write("d§/read.txt", "2")),
    "a file replaced by an equal one": data(READ, (write("d§/new", "2"), move("d§/new", "d§/read.txt"))),
    "mode of a file that is only read": data(READ, lambda place: place.path("d§/read.txt").chmod(0o600)),
    "a README in a folder globbed for *.csv": data(GLOB, write("d§/README.md", "")),
    "compiled byte code in a globbed folder": data(GLOB, folder("d§/__pycache__")),
    "compiled byte code beside a module in a listed folder": Row("value = sorted(one for one in os.listdir(here) if one.endswith('.py'))", folder("d§/__pycache__"), files={"d§/a.py": ""}),
    "a file below a folder that was listed": Row("value = sorted(os.listdir(here))", write("d§/s/new", ""), files={"d§/s/x": ""}),
    "a file on the other side of the project": data(READ, write("other§/new.txt", "2")),
    "what the step itself wrote": Row("(here / 'mine.txt').write_text('1')\nvalue = (here / 'mine.txt').read_text()", lambda place: None),
    "a cache that the step itself keeps": Row("cache = here / 'cache.txt'\nif not cache.exists():\n    cache.write_text('1')\nvalue = cache.read_text()", lambda place: None),
    "a cache in the home folder": Row("cache = Path.home() / '.cache/shop§/a.txt'\ncache.parent.mkdir(parents=True, exist_ok=True)\nif not cache.exists():\n    cache.write_text('1')\nvalue = cache.read_text()", lambda place: None),
    "a temporary file": Row("import tempfile\nwith tempfile.TemporaryDirectory() as name:\n    Path(name, 'a').write_text('1')\n    value = Path(name, 'a').read_text()", lambda place: None),
    "a commit": Row("value = 1", lambda place: commit(place), files={"d§/a.txt": "1"}),
    "another branch": Row("value = (here / 'a.txt').read_text()", lambda place: (commit(place), git(place, "checkout", "-qb", "other")), files={"d§/a.txt": "1"}),
    "settings of editors and checkers": Row("value = 1", (write(".editorconfig", ""), write(".vscode/settings.json", "{}"), write("ruff.toml", ""))),
    "a comment in the pipeline": Row("value = 1", append("conf/pipeline/demo.yaml", "# note §\n")),
    "a source that is touched": Row("value = Path('in/a.txt').read_text()", lambda place: os.utime(place.path("d§/a.txt")), files={"d§/a.txt": "1"}, step="sources: {data: d§/a.txt}"),
    "a file beside a source": Row("value = Path('in/a.txt').read_text()", write("d§/b.txt", ""), files={"d§/a.txt": "1"}, step="sources: {data: d§/a.txt}"),
    "a program that reads nothing": Row("import subprocess\nvalue = subprocess.run(['echo', '1'], capture_output=True, text=True).stdout", write("d§/new.txt", "")),
    "libraries that look around when they are imported": Row("import matplotlib.pyplot, pandas, sklearn\nvalue = 1", write("d§/new.txt", "")),
}

# in doubt it counts: counted, not demanded
IN_DOUBT = {
    "docstring of a function": source('"What to pay"', '"The price"'),
    "docstring of a module": source('"Prices"', '"All prices"'),
    "default of a function that never ran": source("def other(x)", "def other(x, y=1)"),
    "a name imported for nothing": shop(lambda place: place.write("shop§.py", "import math\n" + place.path("shop§.py").read_text())),
    "a constant that nobody uses": source("EUR", "CHF"),
    "a new method": source("    def unused(self)", "    def new(self):\n        return 1\n\n    def unused(self)"),
    "a new function where names are listed": shop(append("shop§.py", "\n\ndef third(x):\n    return x\n"), "import shop§\nvalue = len(dir(shop§)) > 3"),
    "a link to an equal file": Row("value = (here / 'current').read_text()", lambda place: ((path := place.path("d§/current")).unlink(), path.symlink_to("b.txt")), files={"d§/a.txt": "1", "d§/b.txt": "1"}, before=lambda place: place.path("d§/current").symlink_to("a.txt")),
    "a size that is read as existence": Row("value = (here / 'a.txt').stat().st_size > 0", write("d§/a.txt", "22"), files={"d§/a.txt": "2"}),
    "a branch that did not run": shop(edit("m§.py", "return 5", "return 6"), "from m§ import go\nvalue = go(1)", **{"m§.py": "def go(x):\n    if x > 3:\n        return 5\n    return x\n"}),
    "a nested function that never ran": shop(edit("m§.py", "return 5", "return 6"), "from m§ import go\nvalue = go(1)", **{"m§.py": "def go(x):\n    def never():\n        return 5\n    return x\n"}),
}


def compiled(place: Place) -> None:
    import py_compile

    py_compile.compile(str(place.path("shop§.py")), doraise=True)


def metadata(place: Place, **more: object) -> None:
    path = place.path("notebooks/step§.ipynb")
    document = json.loads(path.read_text())
    document["metadata"].update(more)
    path.write_text(json.dumps(document))


def git(place: Place, *words: str) -> None:
    subprocess.run(["git", "-C", place.path("d§"), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)


def commit(place: Place) -> None:
    git(place, "init", "-q")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")


NEUTRAL = CODE | CELLS | FILES
assert len(NEUTRAL) == sum(map(len, (CODE, CELLS, FILES))), "two rows have one name"
