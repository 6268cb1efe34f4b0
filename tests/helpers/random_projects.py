"""Small random projects: a notebook, five to fifteen modules that reach one another in every way, and data that they read.

Every definition is a function of a whole number, so that any of them can call any earlier one. The same seed gives the
same project. `python tests/helpers/random_projects.py SEED` writes one and shows it with its edits.
"""
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

Random = random.Random

# -- what a project is -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RandomProject:
    "The whole state of a project"
    files: dict[str, str | bytes]           # path -> content
    cells: tuple[str, ...]                  # code cells after the parameters
    variables: dict[str, str] = field(default_factory=dict)  # of the caller; those called PASS_... are passed to the step
    touched: tuple[str, ...] = ()           # files to write again
    markdown: str = ""                      # of a cell in the middle

    @property
    def passed(self) -> list[str]:
        return sorted(name for name in self.variables if name.startswith("PASS_"))

    def with_file(self, path: str, content: str | bytes | None) -> "RandomProject":
        "The same project with another file; None: without it"
        files = {name: text for name, text in self.files.items() if name != path}
        return replace(self, files=files if content is None else files | {path: content})


def write_changes(root: Path, old: RandomProject | None, new: RandomProject) -> None:
    "Make the files of a project out of those of another one"
    before = old.files if old else {}
    for name in before.keys() - new.files.keys():
        (root / name).unlink()
        remove_empty(root, (root / name).parent)
    for name, content in new.files.items():
        if before.get(name) != content or name in new.touched:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def remove_empty(root: Path, folder: Path) -> None:
    "Remove a folder and those above it, as far as they are empty"
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


# -- definitions -------------------------------------------------------------------------------------------------------------
# NAME: the function that others call; INNER: an expression of x that may call another module; C: a number from 2 to 9;
# BASE: a class with a method go(x) and an attribute k; WORD: some word

FEATURES = {
    "function": "def NAME(x):\n    return INNER * C + C\n",
    "default": "def NAME(x, k=C, *, j=C):\n    return INNER * k - j\n",
    "default from a constant": "NAME_RATE = C\n\n\ndef NAME(x, k=NAME_RATE):\n    return INNER + k\n",
    "constant": "NAME_RATE = C\n\n\ndef NAME(x):\n    return INNER + NAME_RATE\n",
    "computed constant": "def NAME_start():\n    return C * C\n\n\nNAME_RATE = NAME_start()\n\n\ndef NAME(x):\n    return INNER + NAME_RATE\n",
    "closure": "def make_NAME(k):\n    def inner(x):\n        return INNER * k\n    return inner\n\n\nNAME = make_NAME(C)\n",
    "partial": "import functools\n\n\ndef NAME_base(k, x):\n    return INNER * k\n\n\nNAME = functools.partial(NAME_base, C)\n",
    "lambda": "NAME = lambda x: INNER + C\n",
    "table": "NAME_TABLE = {'a': lambda x: INNER + C, 'b': lambda x: x - C}\nNAME_KIND = 'a'\n\n\ndef NAME(x):\n    return NAME_TABLE[NAME_KIND](x)\n",
    "table of functions": "def NAME_one(x):\n    return INNER + C\n\n\ndef NAME_two(x):\n    return x * C\n\n\nNAME_TABLE = {'one': NAME_one, 'two': NAME_two}\n\n\ndef NAME(x):\n    return sum(f(x) for f in NAME_TABLE.values())\n",
    "globals by prefix": "def NAME_do_a(x):\n    return INNER + C\n\n\ndef NAME_do_b(x):\n    return x * C\n\n\ndef NAME(x):\n    return globals()['NAME_do_' + 'ab'[x % 2]](x)\n",
    "list by prefix": "def NAME_do_a(x):\n    return INNER + C\n\n\ndef NAME(x):\n    return sum(f(x) for name, f in sorted(globals().items()) if name.startswith('NAME_do_'))\n",
    "getattr of the module": "import sys\n\n\ndef NAME_do_a(x):\n    return INNER + C\n\n\ndef NAME_do_b(x):\n    return x * C\n\n\ndef NAME(x):\n    return getattr(sys.modules[__name__], 'NAME_do_' + 'ab'[x % 2])(x)\n",
    "getattr with a default": "import sys\n\n\ndef NAME(x):\n    return getattr(sys.modules[__name__], 'NAME_' + 'extra', lambda x: INNER)(x) + C\n",
    "hasattr": "import sys\n\n\ndef NAME(x):\n    return INNER + C * hasattr(sys.modules[__name__], 'NAME_extra')\n",
    "except NameError": "def NAME(x):\n    try:\n        return NAME_extra(x)\n    except NameError:\n        return INNER - C\n",
    "dir": "import sys\n\n\ndef NAME(x):\n    return INNER + len([name for name in dir(sys.modules[__name__]) if not name.startswith('_')])\n",
    "vars": "import sys\n\n\ndef NAME(x):\n    return INNER + sum(callable(one) for one in vars(sys.modules[__name__]).values())\n",
    "order of names": "NAME_ORDER = [name for name in list(globals()) if not name.startswith('_')]\n\n\ndef NAME(x):\n    return INNER + sum(place * len(name) for place, name in enumerate(NAME_ORDER))\n",
    "order of vars": "import sys\n\n\ndef NAME(x):\n    return INNER + sum(place * len(name) for place, name in enumerate(vars(sys.modules[__name__])) if name != '__builtins__')\n",
    "last of its kind": "import sys\n\n\ndef NAME(x):\n    return INNER + len([name for name, one in vars(sys.modules[__name__]).items() if isinstance(one, type(NAME))][-1])\n",
    "__all__": "def NAME(x):\n    return INNER + len(globals().get('__all__', ())) * C\n",
    "class": "class NAME_Class:\n    k = C\n\n    def __init__(self, start=C):\n        self.start = start\n\n    def go(self, x):\n        return INNER * self.k + self.start\n\n    def never(self, x):\n        return x * C\n\n\ndef NAME(x):\n    return NAME_Class().go(x)\n",
    "instance": "class NAME_Class:\n    k = C\n\n    def __call__(self, x):\n        return INNER + self.k\n\n\nNAME = NAME_Class()\n",
    "bound method": "class NAME_Class:\n    def go(self, x):\n        return INNER + C\n\n\nNAME = NAME_Class().go\n",
    "subclass": "class NAME_Class(BASE):\n    def go(self, x):\n        return super().go(x) + C\n\n\ndef NAME(x):\n    return NAME_Class().go(x)\n",
    "inherited": "class NAME_Class(BASE):\n    j = C\n\n\ndef NAME(x):\n    return NAME_Class().go(x) + NAME_Class.k + NAME_Class.j\n",
    "mixin": "class NAME_Mixin:\n    j = C\n\n    def more(self, x):\n        return x + self.j\n\n\nclass NAME_Class(NAME_Mixin, BASE):\n    pass\n\n\ndef NAME(x):\n    return NAME_Class().more(x) + NAME_Class().go(x)\n",
    "property": "class NAME_Class:\n    @property\n    def k(self):\n        return self._k + C\n\n    @k.setter\n    def k(self, value):\n        self._k = value * C\n\n\ndef NAME(x):\n    thing = NAME_Class()\n    thing.k = INNER\n    return thing.k\n",
    "cached property": "import functools\n\n\nclass NAME_Class:\n    @functools.cached_property\n    def k(self):\n        return C\n\n    @classmethod\n    def made(cls):\n        return cls()\n\n    @staticmethod\n    def twice(x):\n        return x * C\n\n\ndef NAME(x):\n    return NAME_Class.made().k + NAME_Class.twice(INNER)\n",
    "dataclass": "import dataclasses\n\n\ndef NAME_start():\n    return [C, C]\n\n\n@dataclasses.dataclass\nclass NAME_Class:\n    a: int = C\n    b: list = dataclasses.field(default_factory=NAME_start)\n    c: 'int' = C\n\n    def __post_init__(self):\n        self.a += C\n\n\ndef NAME(x):\n    a, b, c = dataclasses.astuple(NAME_Class())\n    return INNER + a * 3 + sum(b) + c * 7\n",
    "metaclass": "class NAME_Meta(type):\n    def __new__(meta, name, bases, body):\n        body['size'] = len([one for one in body if not one.startswith('_')]) + C\n        return super().__new__(meta, name, bases, body)\n\n\nclass NAME_Class(metaclass=NAME_Meta):\n    k = C\n\n    def go(self, x):\n        return x\n\n\ndef NAME(x):\n    return INNER + NAME_Class.size\n",
    "metaclass that is called": "class NAME_Meta(type):\n    def __call__(cls, x):\n        return INNER + C\n\n\nclass NAME(metaclass=NAME_Meta):\n    k = C\n",
    "__init_subclass__": "class NAME_Base:\n    all = []\n\n    def __init_subclass__(cls, weight=C):\n        NAME_Base.all.append((cls, weight))\n\n    def go(self, x):\n        return INNER\n\n\nclass NAME_One(NAME_Base):\n    pass\n\n\nclass NAME_Two(NAME_Base, weight=C):\n    def go(self, x):\n        return x + C\n\n\ndef NAME(x):\n    return sum(cls().go(x) * weight for cls, weight in NAME_Base.all)\n",
    "__subclasses__": "class NAME_Base:\n    k = C\n\n\nclass NAME_One(NAME_Base):\n    k = C\n\n\ndef NAME(x):\n    return INNER + sum(one.k for one in NAME_Base.__subclasses__())\n",
    "__set_name__": "class NAME_Field:\n    all = {}\n\n    def __init__(self, k):\n        self.k = k\n\n    def __set_name__(self, owner, name):\n        NAME_Field.all[name] = self.k\n\n\nclass NAME_Settings:\n    a = NAME_Field(C)\n    bb = NAME_Field(C)\n\n\ndef NAME(x):\n    return INNER + sum(len(name) * k for name, k in NAME_Field.all.items())\n",
    "registry": "NAME_ALL = []\n\n\ndef NAME_register(f):\n    NAME_ALL.append(f)\n    return f\n\n\n@NAME_register\ndef NAME_one(x):\n    return INNER + C\n\n\n@NAME_register\ndef NAME_two(x):\n    return x * C\n\n\ndef NAME(x):\n    total = 0\n    for f in NAME_ALL:\n        total = total * 3 + f(x)\n    return total\n",
    "decorator": "import functools\n\n\ndef NAME_times(n):\n    def decorate(f):\n        @functools.wraps(f)\n        def inner(x):\n            return f(x) * n\n        return inner\n    return decorate\n\n\n@NAME_times(C)\n@NAME_times(C)\ndef NAME(x):\n    return INNER + C\n",
    "lru_cache": "import functools\n\n\n@functools.lru_cache\ndef NAME(x):\n    return INNER + C\n",
    "generator": "def NAME_steps(x):\n    for step in range(C):\n        yield x + step\n\n\ndef NAME(x):\n    return INNER + sum(NAME_steps(x))\n",
    "generator expression": "def NAME(x):\n    return INNER + sum(one * C for one in range(C) if one % 2)\n",
    "coroutine": "import asyncio\n\n\nasync def NAME_later(x):\n    await asyncio.sleep(0)\n    return INNER + C\n\n\ndef NAME(x):\n    loop = asyncio.new_event_loop()\n    try:\n        coroutine = NAME_later(x)\n        while True:\n            try:\n                coroutine.send(None)\n            except StopIteration as end:\n                return end.value\n    finally:\n        loop.close()\n",
    "docstring": "def NAME(x):\n    'Answer in WORD words'\n    return INNER + len(NAME.__doc__)\n",
    "docstring of a function that never runs": "def NAME_prompt():\n    'Answer in WORD words'\n\n\ndef NAME(x):\n    return INNER + len(NAME_prompt.__doc__)\n",
    "docstring of a class": "class NAME_Tool:\n    'Answer in WORD words'\n\n    def ask(self):\n        'Ask for WORD'\n\n\ndef NAME(x):\n    return INNER + len(NAME_Tool.__doc__ + NAME_Tool.ask.__doc__)\n",
    "docstring of the module": "def NAME(x):\n    return INNER + len(__doc__ or '')\n",
    "annotations": "def NAME_typed(x: int, y: 'WORD' = C) -> float:\n    return x\n\n\ndef NAME(x):\n    return INNER + len(str(NAME_typed.__annotations__)) + NAME_typed.__defaults__[0]\n",
    "type hints": "import typing\n\nNAME_Number = int\n\n\ndef NAME_typed(x: 'NAME_Number'):\n    return x\n\n\ndef NAME(x):\n    kind = typing.get_type_hints(NAME_typed)['x']\n    return INNER + len(kind.__name__)\n",
    "class annotations": "class NAME_Row:\n    first: int\n    second: float = C\n\n\ndef NAME(x):\n    return INNER + len(','.join(NAME_Row.__annotations__))\n",
    "signature": "import inspect\n\n\ndef NAME_typed(a, b=C, *rest, c=C):\n    return a\n\n\ndef NAME(x):\n    return INNER + len(str(inspect.signature(NAME_typed))) + sum(one.default for one in inspect.signature(NAME_typed).parameters.values() if one.default is not one.empty)\n",
    "source": "import inspect\n\n\ndef NAME_text(x):\n    return x + C  # WORD\n\n\ndef NAME(x):\n    return INNER + len(inspect.getsource(NAME_text))\n",
    "own source": "from pathlib import Path\n\n\ndef NAME(x):\n    return INNER + len(Path(__file__).read_text())\n",
    "code object": "def NAME_text(x):\n    return x + C\n\n\ndef NAME(x):\n    return INNER + sum(one for one in NAME_text.__code__.co_consts if isinstance(one, int))\n",
    "is it a generator": "import inspect\n\n\ndef NAME_text(x):\n    return [x]\n\n\ndef NAME(x):\n    return INNER + C * inspect.isgeneratorfunction(NAME_text) + C * inspect.iscoroutinefunction(NAME_text)\n",
    "getmembers": "import inspect\nimport sys\n\n\nclass NAME_Class:\n    def one(self):\n        return C\n\n    def two(self):\n        return C\n\n\ndef NAME(x):\n    thing = NAME_Class()\n    return INNER + sum(f() for name, f in inspect.getmembers(thing, inspect.ismethod))\n",
    "enum": "import enum\n\n\nclass NAME_Kind(enum.Enum):\n    A = enum.auto()\n    B = enum.auto()\n    D = C + 10\n\n\ndef NAME(x):\n    return INNER + sum(one.value * len(one.name) for one in NAME_Kind) + NAME_Kind.B.value\n",
    "named tuple": "import typing\n\n\nclass NAME_Pair(typing.NamedTuple):\n    a: int = C\n    b: int = C\n\n\ndef NAME(x):\n    a, b = NAME_Pair()\n    return INNER + a * 3 + b\n",
    "singledispatch": "import functools\n\n\n@functools.singledispatch\ndef NAME_show(x):\n    return C\n\n\n@NAME_show.register\ndef NAME_int(x: int):\n    return INNER + C\n\n\ndef NAME(x):\n    return NAME_show(x) + NAME_show('a')\n",
    "context manager": "import contextlib\n\nNAME_LOG = []\n\n\n@contextlib.contextmanager\ndef NAME_logged(x):\n    yield INNER\n    NAME_LOG.append(C)\n\n\ndef NAME(x):\n    with NAME_logged(x) as value:\n        pass\n    return value + NAME_LOG[-1]\n",
    "__getattr__": "class NAME_Any:\n    k = C\n\n    def __getattr__(self, name):\n        return len(name) + C\n\n\ndef NAME(x):\n    return INNER + NAME_Any().k + NAME_Any().WORD\n",
    "eval": "def NAME_help(x):\n    return INNER + C\n\n\ndef NAME(x):\n    return eval('NAME_help(x)')\n",
    "exec": "NAME_CODE = 'def made(x):\\n    return x * C'\n\n\ndef NAME(x):\n    space = {}\n    exec(NAME_CODE, space)\n    return space['made'](INNER)\n",
    "format": "class NAME_Shop:\n    @property\n    def k(self):\n        return C\n\n\ndef NAME(x):\n    return INNER + int('{0.k}'.format(NAME_Shop()))\n",
    "order by a method": "class NAME_Item(int):\n    def __lt__(self, other):\n        return int(self) % C < int(other) % C\n\n\ndef NAME(x):\n    return INNER + int(sorted(map(NAME_Item, (5, 7, 3, x % 10)))[0])\n",
    "match": "class NAME_Point:\n    __match_args__ = ('a', 'b')\n    a, b = C, C\n\n\ndef NAME(x):\n    match NAME_Point():\n        case NAME_Point(a, b) if a > b:\n            return INNER + a\n        case NAME_Point(first):\n            return x - first\n",
    "pickle": "import pickle\n\n\ndef NAME_made(k):\n    return k * C\n\n\nclass NAME_Thing:\n    def __reduce__(self):\n        return NAME_made, (C,)\n\n\ndef NAME(x):\n    return INNER + pickle.loads(pickle.dumps(NAME_Thing()))\n",
    "pickle by name": "import pickle\n\n\nclass NAME_Thing:\n    k = C\n\n    def go(self, x):\n        return INNER + C\n\n\ndef NAME(x):\n    name = f'{__name__}\\nNAME_Thing'.encode()\n    return pickle.loads(b'c' + name + b'\\n)\\x81.').go(x)\n",
    "counter": "NAME_COUNT = C\n\n\ndef NAME_next():\n    global NAME_COUNT\n    NAME_COUNT += C\n    return NAME_COUNT\n\n\ndef NAME(x):\n    return INNER + NAME_next() + NAME_next()\n",
    "definition in a branch": "import sys\n\nif sys.platform == 'linux':\n    def NAME(x):\n        return INNER + C\nelse:\n    def NAME(x):\n        return x - C\n",
    "definition in a try": "try:\n    import not_there_WORD as NAME_rates\nexcept ImportError:\n    NAME_rates = None\n\n\ndef NAME(x):\n    return INNER + (C if NAME_rates is None else NAME_rates.V)\n",
    "branch": "def NAME(x):\n    if x % 3 == 1:\n        return INNER + C\n    elif x < C:\n        return x - C\n    return x * C\n",
    "assert": "def NAME(x):\n    assert x is not None, 'WORD'\n    try:\n        raise ValueError(C)\n    except ValueError as error:\n        return INNER + error.args[0]\n",
    "recursion": "def NAME_even(x):\n    return C if x <= 0 else NAME_odd(x - 1)\n\n\ndef NAME_odd(x):\n    return C if x <= 0 else NAME_even(x - 1)\n\n\ndef NAME(x):\n    return INNER + NAME_even(x % 7)\n",
    "reduce": "import functools\nimport operator\n\n\ndef NAME_fold(total, x):\n    return total * C + x\n\n\ndef NAME(x):\n    return functools.reduce(NAME_fold, [x, 1, 2], operator.add(INNER, C))\n",
    "attrgetter": "import operator\nimport sys\n\n\ndef NAME_help(x):\n    return INNER + C\n\n\ndef NAME(x):\n    return operator.attrgetter('NAME' + '_help')(sys.modules[__name__])(x)\n",
    "re.sub": "import re\n\n\ndef NAME_loud(match):\n    return str(int(match[0]) + C)\n\n\ndef NAME(x):\n    return INNER + int(re.sub('[0-9]+', NAME_loud, '42'))\n",
    "thread": "import threading\n\nNAME_OUT = []\n\n\ndef NAME_work(x):\n    NAME_OUT.append(INNER + C)\n\n\ndef NAME(x):\n    thread = threading.Thread(target=NAME_work, args=(x,))\n    thread.start()\n    thread.join()\n    return NAME_OUT[-1]\n",
    "plain fork": "import os\n\n\ndef NAME_work(x):\n    return INNER + C\n\n\ndef NAME(x):\n    reading, writing = os.pipe()\n    if not os.fork():\n        try:\n            os.write(writing, str(NAME_work(x)).encode())\n        finally:\n            os._exit(0)\n    os.wait()\n    os.close(writing)\n    return int(os.read(reading, 99))\n",
    "definition after use": "def NAME(x):\n    return NAME_below(x) + C\n\n\ndef NAME_below(x):\n    return INNER * C\n",
    "two definitions": "def NAME(x):\n    return x - C\n\n\ndef NAME(x):\n    return INNER + C\n",
    "deleted name": "NAME_K = C\nNAME_L = NAME_K + C\ndel NAME_K\n\n\ndef NAME(x):\n    return INNER + NAME_L + ('NAME_K' in globals())\n",
    "starred": "NAME_A, *NAME_B = C, C, C\n\n\ndef NAME(x):\n    return INNER + NAME_A * 3 + sum(NAME_B)\n",
    "__name__ and __file__": "import os\n\n\ndef NAME(x):\n    return INNER + len(__name__) + len(os.path.basename(__file__))\n",
    "class decorator": "def NAME_mark(cls):\n    cls.mark = len(vars(cls)) + C\n    return cls\n\n\n@NAME_mark\nclass NAME_Class:\n    k = C\n\n    def go(self, x):\n        return x\n\n\ndef NAME(x):\n    return INNER + NAME_Class.mark\n",
    "builtins": "def NAME(x):\n    return len(str(INNER)) + sum([C, C]) + max(C, x % C) + abs(-C)\n",
    "name error caught in a module": "try:\n    NAME_K = NAME_extra\nexcept NameError:\n    NAME_K = C\n\n\ndef NAME(x):\n    return INNER + NAME_K\n",
    "traceback": "import traceback\n\n\ndef NAME_fails(x):\n    raise ValueError(C)  # WORD\n\n\ndef NAME(x):\n    try:\n        NAME_fails(x)\n    except ValueError:\n        return INNER + len([line for line in traceback.format_exc().splitlines() if 'WORD' in line])\n",
}

# those that see more of a module than what they call
SEEING = [name for name, text in FEATURES.items() if re.search(r"globals|getattr|dir\(|vars\(|inspect|__doc__|__annotations__|get_type_hints|__file__|_extra|traceback|subclasses|Meta", text)]

CLASS = "class NAME:\n    k = C\n\n    def go(self, x):\n        return INNER * self.k + C\n\n    def never(self, x):\n        return x * C\n"
BYSTANDERS = (
    "def NAME(x):\n    'Nobody calls this'\n    return x * C\n",
    "def NAME(x, k=C):\n    import not_there_WORD\n    return not_there_WORD.go(x) + k\n",
    "class NAME:\n    k = C\n\n    def go(self, x):\n        return x * self.k\n",
    "async def NAME(x: int) -> int:\n    for one in range(C):\n        await one\n    return x\n",
    "def NAME(x):\n    def inner():\n        return x + C\n    return inner\n",
    "NAME = C\n",
)

# -- data --------------------------------------------------------------------------------------------------------------------
# DATA: a folder of its own; (files, definition)

PATH = "import os\nfrom pathlib import Path\n\nNAME_DATA = Path(os.environ['MLOPS_PROJECT'], 'DATA')\n\n\n"
NEAR = "from pathlib import Path\n\nNAME_DATA = Path(__file__).parent / 'NAME_data'\n\n\n"
READERS: dict[str, tuple[dict[str, str], str]] = {
    "json": ({"a.json": '{"k": C, "unused": C}'}, PATH + "def NAME(x):\n    import json\n    return INNER + json.loads((NAME_DATA / 'a.json').read_text())['k']\n"),
    "csv": ({"a.csv": "k,j\nC,C\nC,C\n"}, PATH + "def NAME(x):\n    import csv\n    with open(NAME_DATA / 'a.csv') as file:\n        return INNER + sum(int(row['k']) for row in csv.DictReader(file))\n"),
    "text": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    return INNER + int((NAME_DATA / 'a.txt').read_text())\n"),
    "text on import": ({"a.txt": "CC"}, PATH + "NAME_K = int((NAME_DATA / 'a.txt').read_text())\n\n\ndef NAME(x):\n    return INNER + NAME_K\n"),
    "glob": ({"1.txt": "C", "2.txt": "C", "3.md": "C"}, PATH + "def NAME(x):\n    return INNER + sum(int(path.read_text()) for path in sorted(NAME_DATA.glob('*.txt')))\n"),
    "rglob": ({"1.txt": "C", "s/2.txt": "C", "s/t/3.md": "C"}, PATH + "def NAME(x):\n    return INNER + sum(len(path.name) for path in sorted(NAME_DATA.rglob('*.txt')))\n"),
    "listdir": ({"1.txt": "C", "2.txt": "C"}, PATH + "def NAME(x):\n    return INNER + len(''.join(sorted(os.listdir(NAME_DATA))))\n"),
    "scandir": ({"1.txt": "CC", "s/2.txt": "C"}, PATH + "def NAME(x):\n    return INNER + sum(one.is_dir() * 5 + one.is_file() * one.stat().st_size for one in os.scandir(NAME_DATA))\n"),
    "walk": ({"1.txt": "C", "s/2.txt": "C"}, PATH + "def NAME(x):\n    return INNER + sum(len(files) + 3 * len(folders) for _, folders, files in os.walk(NAME_DATA))\n"),
    "exists": ({"1.txt": "C"}, PATH + "def NAME(x):\n    return INNER + C * (NAME_DATA / 'new.txt').exists() + C * os.path.isfile(NAME_DATA / '1.txt') + C * (NAME_DATA / 's').is_dir()\n"),
    "size": ({"1.txt": "C" * 5}, PATH + "def NAME(x):\n    return INNER + (NAME_DATA / '1.txt').stat().st_size\n"),
    "access": ({"1.txt": "C"}, PATH + "def NAME(x):\n    return INNER + C * os.access(NAME_DATA / 'new.txt', os.R_OK)\n"),
    "missing": ({"1.txt": "C"}, PATH + "def NAME(x):\n    try:\n        return INNER + int(open(NAME_DATA / 'new.txt').read())\n    except FileNotFoundError:\n        return INNER - C\n"),
    "settings": ({"1.ini": "[s]\nk = C\n"}, PATH + "def NAME(x):\n    import configparser\n    parser = configparser.ConfigParser()\n    parser.read([NAME_DATA / '1.ini', NAME_DATA / 'new.txt'])\n    return INNER + parser.getint('s', 'k')\n"),
    "toml": ({"a.toml": "k = C\n"}, PATH + "def NAME(x):\n    import tomllib\n    with open(NAME_DATA / 'a.toml', 'rb') as file:\n        return INNER + tomllib.load(file)['k']\n"),
    "sqlite": ({"a.sql": "create table t (k); insert into t values (C);"}, PATH + "def NAME(x):\n    import sqlite3\n    base = sqlite3.connect(':memory:')\n    base.executescript((NAME_DATA / 'a.sql').read_text())\n    return INNER + base.execute('select sum(k) from t').fetchone()[0]\n"),
    "linecache": ({"a.txt": "C\nC\n"}, PATH + "def NAME(x):\n    import linecache\n    return INNER + int(linecache.getline(str(NAME_DATA / 'a.txt'), 2))\n"),
    "dir_fd": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    folder = os.open(NAME_DATA, os.O_RDONLY)\n    file = os.open('a.txt', os.O_RDONLY, dir_fd=folder)\n    try:\n        return INNER + int(os.read(file, 9))\n    finally:\n        os.close(file)\n        os.close(folder)\n"),
    "chdir": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    before = os.getcwd()\n    os.chdir(NAME_DATA)\n    try:\n        return INNER + int(open('a.txt').read())\n    finally:\n        os.chdir(before)\n"),
    "update": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    with open(NAME_DATA / 'a.txt', 'r+') as file:\n        return INNER + int(file.read())\n"),
    "mmap": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    import mmap\n    with open(NAME_DATA / 'a.txt', 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:\n        return INNER + int(content[:2])\n"),
    "thread": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    from concurrent.futures import ThreadPoolExecutor\n    with ThreadPoolExecutor(1) as pool:\n        return INNER + int(pool.submit((NAME_DATA / 'a.txt').read_text).result())\n"),
    "cat": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    import subprocess\n    return INNER + int(subprocess.run(['cat', NAME_DATA / 'a.txt'], capture_output=True).stdout)\n"),
    "shell": ({"1.txt": "C"}, PATH + "def NAME(x):\n    import subprocess\n    return INNER + len(subprocess.run(f'ls {NAME_DATA}; test -e {NAME_DATA}/new.txt && echo yes', shell=True, capture_output=True).stdout)\n"),
    "fork": ({"a.txt": "CC"}, PATH + "def NAME(x):\n    reading, writing = os.pipe()\n    if not os.fork():\n        os.write(writing, (NAME_DATA / 'a.txt').read_bytes())\n        os._exit(0)\n    os.wait()\n    os.close(writing)\n    return INNER + int(os.read(reading, 9))\n"),
    "variable": ({}, "import os\n\n\ndef NAME(x):\n    return INNER + len(os.environ['PASS_VARIABLE'])\n"),
    "variables as a dict": ({}, "import os\n\n\ndef NAME(x):\n    return INNER + len(dict(os.environ).get('PASS_VARIABLE', ''))\n"),
    "variable of a program": ({}, "import subprocess\n\n\ndef NAME(x):\n    return INNER + len(subprocess.run('echo $PASS_VARIABLE', shell=True, capture_output=True).stdout)\n"),
    "exec of a file": ({"a.txt": "V = C\n"}, PATH + "def NAME(x):\n    space = {}\n    exec((NAME_DATA / 'a.txt').read_text(), space)\n    return INNER + space['V']\n"),
    "run_path": ({"a.py": "V = C\n\n\ndef never():\n    return C\n"}, PATH + "def NAME(x):\n    import runpy\n    return INNER + runpy.run_path(str(NAME_DATA / 'a.py'))['V']\n"),
    "plugins by path": ({"a.py": "V = C\n", "b.py": "V = C\n"}, PATH + "def NAME(x):\n    from importlib.util import module_from_spec, spec_from_file_location\n    total = INNER\n    for path in sorted(NAME_DATA.glob('*.py')):\n        spec = spec_from_file_location('NAME_' + path.stem, path)\n        module = module_from_spec(spec)\n        spec.loader.exec_module(module)\n        total += module.V\n    return total\n"),
    "a path of its own": ({"late_WORD_NAME.py": "V = C\n"}, PATH + "def NAME(x):\n    import sys\n    sys.path.insert(0, str(NAME_DATA))\n    try:\n        return INNER + __import__('late_WORD_NAME').V\n    finally:\n        sys.path.remove(str(NAME_DATA))\n"),
    "child Python": ({"a.py": "import os\nprint(C + len(os.listdir(os.path.dirname(__file__))))\n"}, PATH + "def NAME(x):\n    import subprocess\n    import sys\n    return INNER + int(subprocess.run([sys.executable, '-S', NAME_DATA / 'a.py'], capture_output=True).stdout)\n"),
}

WORDS = ("amber", "birch", "cedar", "delta", "ember")
FUNCTIONS = ("price", "rate", "total", "scale", "shift", "fold", "mix", "level", "grade", "tune", "blend", "weigh")
MODULES = ("shop", "till", "stock", "rates", "tools", "units", "model", "clean", "parts", "store", "views", "shape", "maths", "words", "cards")


@dataclass
class Export:
    "Something that other modules can use"
    module: str  # dotted
    name: str
    use: str     # an expression of x, with {} for how it is reached


class Writer:
    "Writes the modules of one project, each able to use those before it"

    def __init__(self, rng: Random):
        self.rng, self.exports, self.classes = rng, [], []
        self.files: dict[str, str | bytes] = {}
        self.top: list[str] = []          # lines of imports of the current module
        self.used: set[str] = set()       # names in the current module
        self.counter = 0

    # -- names and numbers

    def number(self) -> str:
        return str(self.rng.randint(2, 9))

    def fresh(self, start: str) -> str:
        "A name that the current module does not have yet"
        while start in self.used:
            self.counter += 1
            start = f"{start.rstrip('0123456789')}{self.counter}"
        self.used.add(start)
        return start

    def filled(self, template: str, name: str, base: str = "") -> str:
        "A template with its names, numbers and calls"
        text = template.replace("NAME", name).replace("WORD", self.rng.choice(WORDS)).replace("BASE", base)
        text = re.sub(r"\bINNER\b", lambda _: self.inner(), text)
        return re.sub(r"\bC+\b", lambda found: "".join(self.number() for _ in found[0]), text)

    def inner(self) -> str:
        "An expression of x, two of three times with a call of an earlier module"
        if not self.exports or self.rng.random() < 0.35:
            return self.rng.choice(("x", "(x + 1)", "x % 11"))
        export = self.rng.choice(self.exports[-12:])
        return f"({export.use.format(self.reached(export))} % 997)"

    # -- import forms

    def reached(self, export: Export) -> str:
        "How the current module names something of another one; adds what that takes to its top"
        form = self.rng.choice(FORMS)
        return form(self, export.module, export.name)

    def add(self, *lines: str) -> None:
        self.top += [line for line in lines if line not in self.top]

    # -- modules

    def module(self, dotted: str, is_package: bool = False) -> None:
        "Write a module of one to three features, and some that nobody uses"
        self.top, self.used = [], set()
        chunks, exports = [], []
        for _ in range(self.rng.randint(1, 3)):
            chunk, export = self.feature(dotted)
            chunks.append(chunk)
            exports.append(export)
        for _ in range(self.rng.randint(0, 2)):
            chunks.insert(self.rng.randint(0, len(chunks)), self.filled(self.rng.choice(BYSTANDERS), self.fresh(self.rng.choice(("spare", "other", "unused")))))
        if self.rng.random() < 0.3:
            name = self.fresh(self.rng.choice(("Base", "Tool", "Part")))
            chunks.append(self.filled(CLASS, name))
            self.classes.append(Export(dotted, name, "{}().go(x)"))
        if self.rng.random() < 0.15:
            chunks.append(f"__all__ = {[export.name for export in exports]!r}\n")
        head = [f'"About {self.rng.choice(WORDS)}"'] if self.rng.random() < 0.4 else []
        path = dotted.replace(".", "/") + ("/__init__.py" if is_package else ".py")
        self.files[path] = assembled(head, self.top, chunks)
        self.exports += exports

    def feature(self, dotted: str) -> tuple[str, Export]:
        "The text of a definition, and what it offers"
        name = self.fresh(self.rng.choice(FUNCTIONS))
        if self.rng.random() < 0.25:
            return self.reader(name), Export(dotted, name, "{}(x)")
        name_of_feature = self.rng.choice(SEEING if self.rng.random() < 0.3 else list(FEATURES))
        template = FEATURES[name_of_feature]
        return self.filled(template, name, self.base() if "BASE" in template else ""), Export(dotted, name, "{}(x)")

    def reader(self, name: str) -> str:
        "A definition that reads data, with its files"
        files, template = READERS[self.rng.choice(list(READERS))]
        self.counter += 1
        folder, word = f"data/{name}{self.counter}", self.rng.choice(WORDS)
        for path, text in files.items():
            self.files[f"{folder}/{path}".replace("NAME", name).replace("WORD", word)] = self.filled(text, name)
        return self.filled(template.replace("DATA'", f"{folder}'").replace("WORD", word), name)

    def base(self) -> str:
        "A class to inherit from"
        if not self.classes:
            name = self.fresh("Root")
            self.top.append("\n\n" + self.filled(CLASS, name))
            return name
        export = self.rng.choice(self.classes)
        return self.reached(export) if self.rng.random() < 0.5 else from_import(self, export.module, export.name)

    def reexports(self, package: str, inside: list[str]) -> None:
        "The start of a package that passes on what its modules offer, in one of several ways"
        offered = [export for export in self.exports if export.module in inside]
        chosen = self.rng.sample(offered, min(len(offered), 2))
        way = self.rng.choice(("none", "from", "star", "lazy", "module", "as"))
        lines, exports = [], []
        for number, export in enumerate(chosen):
            module = export.module.rpartition(".")[2]
            name = f"{export.name}_{number}" if way == "as" else export.name
            lines += {
                "from": [f"from .{module} import {export.name}"], "as": [f"from .{module} import {export.name} as {name}"],
                "star": [f"from .{module} import *"], "module": [f"from . import {module}"],
            }.get(way, [])
            exports += {"none": []}.get(way, [Export(package, f"{module}.{name}" if way == "module" else name, export.use)])
        if way == "lazy":
            table = {export.name: export.module for export in chosen}
            lines = ["import importlib", "", f"WHERE = {table!r}", "", "", "def __getattr__(name):", "    if name in WHERE:", "        return getattr(importlib.import_module(WHERE[name]), name)", "    raise AttributeError(name)"]
        if self.rng.random() < 0.3:
            lines.append(f"VERSION = {self.number()}")
        self.files[f"{package}/__init__.py"] = "\n".join(lines) + "\n" if lines else ""
        is_hidden = {"star", "lazy"} & {way} and any("__all__" in str(self.files[f"{one.module.replace('.', '/')}.py"]) for one in chosen)
        self.exports += [] if is_hidden else [one for one in exports if one.name.count(".") == 0]

    def plugins(self) -> None:
        "A package whose modules are listed and imported when it is imported"
        package = "plugs"
        for name in self.rng.sample(("ant", "bee", "cat"), 2):
            self.files[f"{package}/{name}.py"] = self.filled("V = C\n\n\ndef go(x):\n    return x * C\n", name)
        self.files[f"{package}/__init__.py"] = "import importlib\nimport pkgutil\n\nALL = [importlib.import_module(f'{__name__}.{one.name}') for one in sorted(pkgutil.iter_modules(__path__))]\n\n\ndef total(x):\n    return sum(one.go(x) + one.V for one in ALL)\n"
        self.exports.append(Export(package, "total", "{}(x)"))


def assembled(head: list[str], top: list[str], chunks: list[str]) -> str:
    "A module: docstring, imports, definitions"
    plain = [line for line in top if not line.startswith(("def ", "\n"))]
    wrapped = [line.strip("\n") + "\n" for line in top if line.startswith(("def ", "\n"))]
    return "\n\n".join(["\n".join(part) for part in (head, plain) if part] + wrapped + chunks).rstrip("\n") + "\n"


# each: how `name` of a module is reached in an expression

def plain_import(writer: Writer, module: str, name: str) -> str:
    writer.add(f"import {module}")
    return f"{module}.{name}"


def import_as(writer: Writer, module: str, name: str) -> str:
    alias = writer.fresh(f"{module.rpartition('.')[2]}_m")
    writer.add(f"import {module} as {alias}")
    return f"{alias}.{name}"


def from_import(writer: Writer, module: str, name: str) -> str:
    if name in writer.used:
        return from_as(writer, module, name)
    writer.used.add(name)
    writer.add(f"from {module} import {name}")
    return name


def from_as(writer: Writer, module: str, name: str) -> str:
    alias = writer.fresh(f"{name}_as")
    writer.add(f"from {module} import {name} as {alias}")
    return alias


def from_package(writer: Writer, module: str, name: str) -> str:
    package, _, last = module.rpartition(".")
    if not package or last in writer.used:
        return plain_import(writer, module, name)
    writer.used.add(last)
    writer.add(f"from {package} import {last}")
    return f"{last}.{name}"


def star(writer: Writer, module: str, name: str) -> str:
    if name in writer.used or "WHERE = " in str(writer.files.get(f"{module.replace('.', '/')}/__init__.py")):
        return plain_import(writer, module, name)
    writer.used.add(name)
    writer.add(f"from {module} import *")
    return name


def fast_or_slow(writer: Writer, module: str, name: str) -> str:
    alias = writer.fresh(f"{name}_fast")
    missing = f"fast_{name}" if writer.rng.random() < 0.7 else f"{module}_fast"
    writer.add(f"try:\n    from {missing} import {name} as {alias}\nexcept ImportError:\n    from {module} import {name} as {alias}")
    return alias


def if_else(writer: Writer, module: str, name: str) -> str:
    alias = writer.fresh(f"{name}_if")
    writer.add("import sys", f"if sys.platform == 'linux':\n    from {module} import {name} as {alias}\nelse:\n    from nowhere import {name} as {alias}")
    return alias


def in_a_function(writer: Writer, module: str, name: str) -> str:
    wrapper = writer.fresh(f"late_{name}")
    writer.add(f"def {wrapper}():\n    from {module} import {name}\n    return {name}\n")
    return f"{wrapper}()"


def import_module(writer: Writer, module: str, name: str) -> str:
    writer.add("import importlib")
    return f"importlib.import_module({module!r}).{name}"


def computed_name(writer: Writer, module: str, name: str) -> str:
    writer.add("import importlib")
    middle = len(module) // 2
    return f"importlib.import_module({module[:middle]!r} + {module[middle:]!r}).{name}"


def module_getattr(writer: Writer, module: str, name: str) -> str:
    return f"getattr({plain_import(writer, module, name).removesuffix('.' + name)}, {name[:2]!r} + {name[2:]!r})"


def resolve_name(writer: Writer, module: str, name: str) -> str:
    writer.add("import pkgutil")
    return f"pkgutil.resolve_name('{module}:{name}')"


def sys_modules(writer: Writer, module: str, name: str) -> str:
    writer.add("import sys", f"import {module}")
    return f"sys.modules[{module!r}].{name}"


def module_dict(writer: Writer, module: str, name: str) -> str:
    return f"vars({plain_import(writer, module, name).removesuffix('.' + name)})[{name!r}]"


FORMS: tuple[Callable[[Writer, str, str], str], ...] = (
    plain_import, plain_import, import_as, from_import, from_import, from_import, from_as, from_package, star, star, fast_or_slow, if_else, in_a_function,
    import_module, computed_name, module_getattr, resolve_name, sys_modules, module_dict,
)


def random_project(seed: int) -> RandomProject:
    "A project made of a seed"
    rng = Random(f"project {seed}")
    writer = Writer(rng)
    names = rng.sample(MODULES, rng.randint(5, 13))
    package, nested = names[0] if rng.random() < 0.7 else "", names[1] if rng.random() < 0.3 else ""
    inside: list[str] = []
    for number, name in enumerate(names[2:]):
        in_package = package and rng.random() < 0.45
        dotted = f"{package}.{name}" if in_package else f"{nested}.{name}" if nested and rng.random() < 0.5 else name
        writer.module(dotted)
        inside += [dotted] if in_package else []
        if package and number == len(names[2:]) // 2:
            writer.reexports(package, inside) if inside else None
    if rng.random() < 0.3:
        writer.plugins()
    if rng.random() < 0.7:
        spare = {f"{rng.choice(('notes', 'docs', 'data'))}/{rng.choice(WORDS)}.md": "Nobody reads this\n", f"{rng.choice(WORDS)}_spare.py": "V = 1\n\n\ndef price(x):\n    return x\n"}
        writer.files |= spare
    return RandomProject(writer.files, notebook_cells(writer), {"PASS_VARIABLE": rng.choice(WORDS), "OTHER_VARIABLE": "1"})


def notebook_cells(writer: Writer) -> tuple[str, ...]:
    "Cells that call what the modules offer, and write it down"
    rng, writer.used = writer.rng, {"result", "values", "json", "Path"}
    cells = ["import json\nvalues = []"]
    for export in rng.sample(writer.exports, max(len(writer.exports) * 3 // 4, 1)):
        writer.top = []
        access = writer.reached(export)
        lines = "\n".join(writer.top).strip("\n")
        call = export.use.replace("(x)", f"({rng.randint(1, 20)})").format(access)
        magic = rng.choice(("", "", "", "", "%%time\n", "%%capture\n"))
        cells.append(f"{magic}{lines}\nvalues.append({call})" if lines else f"{magic}values.append({call})")
    if rng.random() < 0.5:
        cells.append("def own(x):\n    'A function of the notebook'\n    return sum(values) + x * 3\n\nvalues.append(own(2))")
    return (*cells, "result.write_text(json.dumps(values))")


PARAMETERS = "from pathlib import Path\nresult: Path = Path('out/result.json')"


def main(seed: int) -> None:
    "Write a project into a temporary folder; show it and its edits"
    import tempfile

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from helpers.random_edits import random_edits, shown_difference

    project = random_project(seed)
    root = Path(tempfile.mkdtemp(prefix=f"random-{seed}-"))
    write_changes(root, None, project)
    for name, content in project.files.items():
        print(f"--- {name}\n{content}")
    for number, source in enumerate(project.cells, 2):
        print(f"--- cell {number}\n{source}")
    for edit in random_edits(seed, project):
        print(f"=== edit: {edit.kind}\n{shown_difference(project, edit.project)}")
    print(f"=== written to {root}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
