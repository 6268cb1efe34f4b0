"""A step depends on what ran of a module, and on all that shows of the rest (I1): edits that count, and edits that don't."""
import ast
import sysconfig
import warnings
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from helpers.random_modules import LIB, edit, module, probes, run
from hypothesis import HealthCheck, given, settings, strategies as st

from mlops_kit.capture.mentions import can_enumerate, mentioned_words
from mlops_kit.capture.source_units import (
    _code_objects, _functions, executed_source, source_units, top_level_definitions, used_definitions,
)

SHOP = '''"Prices of a shop."
import math
from decimal import Decimal

RATE = 0.2
LIMITS = {"small": 1, "large": 100}
__all__ = ["tax", "Basket"]

def tax(amount):
    "What the state wants"
    def inner(part):
        return part * RATE
    return inner(amount)

def rounded(amount: float, digits: int = 2) -> float:
    return round(amount, digits)

def limit(kind, table=LIMITS):
    return table[kind]

@math.factorial.__class__.__call__
def decorated():
    return 1

async def fetch(name):
    return name

class Basket:
    "What somebody buys"
    currency = "EUR"
    count: int = 0

    def __init__(self, prices=()):
        self.prices = prices

    def total(self):
        return sum(self.prices)

    def cheapest(self):
        return min(self.prices)

    @property
    def size(self):
        return len(self.prices)

    @size.setter
    def size(self, value):
        self.prices = [0] * value

class Gift(Basket):
    def total(self):
        return 0

LAST = Decimal("1")

if RATE > 1:
    def scaled(x):
        return x
else:
    def scaled(x):
        return x / 2

def last(x=LAST):
    return x

def plain(x):
    return x

def other(x):
    return x
'''.replace("@math.factorial.__class__.__call__\n", "@staticmethod\n")
RAN = frozenset({"tax", "Basket.__init__", "Basket.total"})
KNOWN = top_level_definitions(SHOP.encode())
RECORDED = source_units(SHOP.encode(), RAN, KNOWN)
NEW = "def sale(x):\n    return x / 2\n\n"
ROUNDED = SHOP[SHOP.index("def rounded"):SHOP.index("def limit")]
LIMIT = SHOP[SHOP.index("def limit"):SHOP.index("@staticmethod")]
PLAIN = SHOP[SHOP.index("def plain"):SHOP.index("def other")]
LAST = SHOP[SHOP.index("def last"):SHOP.index("def plain")]


def moved(function: str, before: str) -> str:
    "The module with a function in front of some other text"
    rest = SHOP.replace(function, "")
    assert rest.count(before) == 1 and function in SHOP
    return rest.replace(before, function + before)


def edited(old: str, new: str) -> str:
    "The module after an edit"
    assert SHOP.count(old) == 1, old
    return SHOP.replace(old, new)


CHANGES = {
    "body of a function that ran": edited("return inner(amount)", "return -inner(amount)"),
    "function nested in one that ran": edited("part * RATE", "part * RATE * 2"),
    "body of a method that ran": edited("return sum(self.prices)", "return max(self.prices)"),
    "constant": edited("RATE = 0.2", "RATE = 0.25"),
    "kind of number": edited("count: int = 0", "count: int = 0.0"),
    "constant in a mapping": edited('"small": 1', '"small": 2'),
    "order of a mapping": edited('"small": 1, "large": 100', '"large": 100, "small": 1'),
    "list of names": edited('["tax", "Basket"]', '["tax"]'),
    "docstring of the module": edited("Prices of a shop.", "Prices of a market."),
    "docstring of a function that ran": edited("What the state wants", "What we owe"),
    "docstring of a class": edited("What somebody buys", "What somebody bought"),
    "docstring that a function gets": edited("    return round(", "    'In cents'\n    return round("),
    "default": edited("digits: int = 2", "digits: int = 3"),
    "default that is a name": edited("table=LIMITS", "table=RATE"),
    "annotation": edited("amount: float,", "amount: int,"),
    "annotation of the result": edited("-> float", "-> int"),
    "annotation that goes": edited("amount: float,", "amount,"),
    "parameter": edited("def plain(x)", "def plain(y)"),
    "kind of parameter": edited("def plain(x)", "def plain(*, x)"),
    "name of a function that never ran": edited("def rounded", "def round_up"),
    "function that never ran goes": edited(ROUNDED, ""),
    "function that ran goes": edited("    def total(self):\n        return sum(self.prices)\n\n", ""),
    "function that ran is another": edited("def tax(", "def taxes("),
    "function that ran becomes a class": edited("def tax(amount):\n", "class tax:\n  def __init__(self, amount):\n"),
    "decorator": edited("def plain(x)", "@print\ndef plain(x)"),
    "decorator that goes": edited("@staticmethod\n", ""),
    "becomes a generator": edited("return table[kind]", "yield table[kind]"),
    "becomes a coroutine": edited("def plain(x)", "async def plain(x)"),
    "becomes an asynchronous generator": edited("    return name\n", "    yield name\n"),
    "generator by a yield that never runs": edited("return round(amount, digits)", "return 1\n    yield"),
    "method that uses super": edited("return min(self.prices)", "return super().__repr__()"),
    "method that names its class": edited("return min(self.prices)", "return __class__"),
    "base class": edited("class Basket:", "class Basket(list):"),
    "base class that goes": edited("class Gift(Basket):", "class Gift:"),
    "metaclass": edited("class Basket:", "class Basket(metaclass=type):"),
    "attribute of a class": edited('currency = "EUR"', 'currency = "USD"'),
    "new attribute of a class": edited('currency = "EUR"', 'currency = "EUR"\n    rate = 2'),
    "new method": edited("    def cheapest(self)", "    def dearest(self):\n        return 1\n\n    def cheapest(self)"),
    "order of methods": edited("    def cheapest(self):\n        return min(self.prices)\n\n", "").replace("    def total(self):\n        return sum", "    def cheapest(self):\n        return min(self.prices)\n\n    def total(self):\n        return sum"),
    "import": edited("import math", "import math as m"),
    "import that goes": edited("import math\n", ""),
    "statement": edited("LAST =", "print(1)\nLAST ="),
    "condition": edited("if RATE > 1", "if RATE > 0"),
    "branches change places": SHOP.replace("        return x\nelse", "        pass\nelse").replace("        return x / 2\n", "        return x\n").replace("if RATE > 1", "if RATE < 1"),
    "function in a branch goes": edited("    def scaled(x):\n        return x / 2\n", "    pass\n"),
    "assignment of a function": edited("LAST =", "tax = rounded\nLAST ="),
    "source that can't be parsed": edited("def plain(x):", "def plain(x:"),
    "source that can't be compiled": edited("    return x\n\ndef other", "    nonlocal x\n\ndef other"),
    "function moves across a call": moved(PLAIN, "LAST ="),
    "function moves across a class with a base": moved(PLAIN, "class Gift"),
    "function moves across an import": moved(PLAIN, "import math"),
    "function moves across what its default names": moved(LAST, "LAST ="),
    "function moves across the docstring": PLAIN + SHOP.replace(PLAIN, ""),
    "new function with a known name": edited("LAST =", "def plain(x):\n    return 2\n\nLAST ="),
    "new decorated function": edited("LAST =", "@print\n" + NEW + "LAST ="),
    "new function whose default is a call": edited("LAST =", NEW.replace("(x)", "(x=print(1))") + "LAST ="),
    "new function whose default may fail": edited("LAST =", NEW.replace("(x)", "(x=1 / 0)") + "LAST ="),
    "new function whose default isn't there yet": edited("LAST =", NEW.replace("(x)", "(x=LAST)") + "LAST ="),
    "new function whose annotation fails": edited("LAST =", NEW.replace("(x)", "(x: int[3])") + "LAST ="),
    "new function named like a builtin": edited("LAST =", NEW.replace("sale", "sum") + "LAST ="),
    "new special function": edited("LAST =", "def __getattr__(name):\n    return 1\n\nLAST ="),
    "new function in front of the docstring": NEW + SHOP,
    "new class with a base": edited("LAST =", "class Sale(Basket):\n    pass\n\nLAST ="),
    "new class with a keyword": edited("LAST =", "class Sale(metaclass=type):\n    pass\n\nLAST ="),
    "new class that does something": edited("LAST =", "class Sale:\n    print(1)\n\nLAST ="),
    "new class with a descriptor": edited("LAST =", "class Sale:\n    rate = LIMITS\n\nLAST ="),
    "new class with slots": edited("LAST =", "class Sale:\n    a = 1\n    __slots__ = ('a',)\n\nLAST ="),
    "new class and a new constant": edited("LAST =", "class Sale:\n    pass\n\nSALES = 1\nLAST ="),
    "new function in a branch": edited("if RATE > 1:\n", "if RATE > 1:\n    def sale(x):\n        return x\n"),
    "new function that a statement deletes": edited("LAST =", NEW + "del sale\nLAST ="),
    "new function that a known one calls, though that never ran": edited("return round(amount, digits)", "return sale(amount)") + NEW,
    "star import": edited("import math", "import math\nfrom math import *"),
}
NEUTRAL = {
    "nothing": SHOP,
    "comment": edited("RATE = 0.2", "# percent\nRATE = 0.2  # for now"),
    "blank lines": SHOP.replace("\n\n", "\n\n\n\n"),
    "spaces": edited("RATE = 0.2", "RATE  =  0.2"),
    "quotes": edited('currency = "EUR"', "currency = 'EUR'"),
    "brackets and commas": edited('["tax", "Basket"]', '[\n    "tax",\n    ("Basket"),\n]'),
    "indentation": SHOP.replace("    ", "  "),
    "Windows' line ends": SHOP.replace("\n", "\r\n"),
    "written by a formatter": ast.unparse(ast.parse(SHOP)),
    "how a number is written": edited("RATE = 0.2", "RATE = 2e-1"),
    "byte order mark": "\ufeff" + SHOP,
    "coding": "# -*- coding: utf-8 -*-\n" + SHOP,
    "comment in a function that ran": edited("    return inner(amount)", "    # here\n    return inner(amount)"),
    "body of a function that never ran": edited("return round(amount, digits)", "return amount"),
    "body of a method that never ran": edited("return min(self.prices)", "return sorted(self.prices)[0]"),
    "body of a coroutine that never ran": edited("    return name\n", "    return name.upper()\n"),
    "body of a decorated function that never ran": edited("def decorated():\n    return 1", "def decorated():\n    return 2"),
    "body of a property that never ran": edited("return len(self.prices)", "return 1"),
    "body of a setter that never ran": edited("self.prices = [0] * value", "pass"),
    "body in a branch that never ran": edited("return x / 2", "return x / 3"),
    "body of a subclass's method": edited("        return 0\n", "        return 1\n"),
    "functions nested in one that never ran": edited("return round(amount, digits)", "def f(x):\n        yield x\n    return [*f(1)]"),
    "import in a function that never ran": edited("return round(amount, digits)", "import numpy\n    return numpy.round(amount)"),
    "annotation of a variable in a function that never ran": edited("return round(amount, digits)", "x: int = 1\n    return x"),
    "exception in a function that never ran": edited("return round(amount, digits)", "raise ValueError"),
    "function moves down": SHOP.replace(ROUNDED, "").replace(LIMIT, LIMIT + ROUNDED),
    "function moves to the top": moved(LIMIT, "def tax"),
    "function moves to the end": SHOP.replace(PLAIN, "") + "\n" + PLAIN,
    "function moves across a constant": moved(ROUNDED, "RATE ="),
    "function moves and is edited": moved(ROUNDED, "def tax").replace("round(amount, digits)", "amount"),
    "functions change places": SHOP.replace(PLAIN, "") + PLAIN,
    "new function": edited("LAST =", NEW + "LAST ="),
    "new function at the end": SHOP + NEW,
    "new function that calls itself": SHOP + "def fact(n):\n    return n * fact(n - 1)\n",
    "two new functions, one calls the other": SHOP + NEW + "def sales(xs):\n    return [sale(x) for x in xs]\n",
    "new function with annotations": SHOP + "def sale(x: float, y: list[int] | None = None) -> dict[str, float]:\n    return {}\n",
    "new function annotated with a class": SHOP + "def sale(x: Basket) -> Decimal:\n    return x\n",
    "new function whose default is there": SHOP + NEW.replace("(x)", "(x=RATE)"),
    "new coroutine": SHOP + "async def sale(x):\n    return x\n",
    "new generator": SHOP + "def sale(x):\n    yield x\n",
    "new class": SHOP + "class Sale:\n    'A sale'\n    rate = 2\n    count: int = 0\n\n    def __init__(self, x: int = 3):\n        self.x = x\n\n    def half(self):\n        return Sale(self.x / 2)\n",
    "new class with another in it": SHOP + "class Sale:\n    class Meta:\n        name = 'sale'\n",
}


def units(source: str, known=KNOWN, mentioned=frozenset()) -> dict[str, str]:
    "What a plan would find now"
    return source_units(source.encode(), frozenset(RECORDED), known, mentioned)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts(change):
    assert CHANGES[change] != SHOP and units(CHANGES[change]) != RECORDED


@pytest.mark.parametrize("change", NEUTRAL)
def test_what_does_not_show_is_neutral(change):
    assert units(NEUTRAL[change]) == RECORDED


@pytest.mark.parametrize("change", [change for change in NEUTRAL if change.startswith(("function move", "functions change", "new", "two"))])
def test_order_and_new_names_count_where_code_lists_names(change):
    before = source_units(SHOP.encode(), RAN)
    assert source_units(NEUTRAL[change].encode(), RAN) != before


@pytest.mark.parametrize("change", [change for change in {**CHANGES, **NEUTRAL} if "never ran" in change or change.startswith("body")])
def test_a_whole_module_counts_where_it_is_not_known_what_ran(change):
    before = source_units(SHOP.encode(), None)
    assert list(before) == [""] and source_units({**CHANGES, **NEUTRAL}[change].encode(), None) != before
    assert source_units(NEUTRAL["written by a formatter"].encode(), None) == before


@pytest.mark.parametrize("mention", ["sale", "'sale'", "f'{x} sale'", "shop.sale", "import sale", "f(sale=1)", "b'sale'", "def sale(): pass", "'the sale, at last'", "%time sale()", "!echo {sale}"])
def test_a_new_function_that_is_mentioned_counts(mention):
    source = SHOP + NEW
    assert units(source, mentioned=mentioned_words("price = 1\nlambda: price")) == RECORDED
    assert units(source, mentioned=mentioned_words(mention)) != RECORDED


@pytest.mark.parametrize("binding", ["global sale", "(sale := 1)", "for sale in x: pass", "with x as sale: pass", "import a.sale as sale", "from a import sale",
                                     "try: pass\n    except E as sale: pass", "match x:\n        case {'a': sale, **rest}: pass", "del sale", "class sale: pass", "lambda sale: 1"])
def test_a_new_function_whose_name_is_bound_elsewhere_counts(binding):
    shop = edited("    return x\n\ndef other", f"    {binding}\n    return x\n\ndef other")
    assert source_units((shop + NEW).encode(), RAN, KNOWN) != source_units(shop.encode(), RAN, KNOWN)


CROSSED = "def f(x=1):\n    return x\n"  # moves across each of these


@pytest.mark.parametrize("crossed", ["X = f", "class A:\n    a = f", "class A:\n    def m(self, x=f): pass", "class A:\n    a: f", "X: f = 1", "def g(x=f): pass", "def g(x: f): pass", "f = 1", "def f(): pass",
                                     "class f: pass", "print(1)", "import a", "from a import *", "if 1: pass", "for x in y: pass", "x[0] = 1", "x.y = 1", "x += 1", "X = [f]", "X = -Y", "class A(B): pass",
                                     "@a\ndef g(): pass", "def g(x=a()): pass", "def g(x: a[0]): pass", "class A:\n    a = X", "X = {**Y}", "X = {Y: 1}", "__builtins__ = 1", "def g(x=Missing): pass", "X = a.b"])
def test_a_function_does_not_move_across_what_may_see_it(crossed):
    text = f"X = Y = 1\n{crossed}\n"
    before, after = f"X = Y = 1\n{CROSSED}{crossed}\n".encode(), f"{text}{CROSSED}".encode()
    assert source_units(before, RAN, frozenset("fgA")) != source_units(after, RAN, frozenset("fgA"))


@pytest.mark.parametrize("function, crossed", [("def f(x=X): pass", "X = 2"), ("def f(x: X): pass", "X: int = 2"), ("def f(*, x=X): pass", "class X: pass"), ("def f() -> X: pass", "def X(): pass"), ("def f(x=len): pass", "len = 1"),
                                               ("def len(): pass", "class A:\n    def m(self, x=len): pass"), ("def len(): pass", "def g(x=len): pass"), ("def len(): pass", "class A:\n    a: len"), ("def len(): pass", "X = len")])
def test_a_function_does_not_move_across_what_it_has_to_do_with(function, crossed):
    before, after = f"X = 1\n{function}\n{crossed}\n".encode(), f"X = 1\n{crossed}\n{function}\n".encode()
    known = top_level_definitions(before)
    assert source_units(before, RAN, known) != source_units(after, RAN, known)


@pytest.mark.parametrize("rest", ["from a import *", "X = 1\ndel X", "try: pass\nexcept E as X: pass\nX = 1", "for X in y: pass", "if X: import X", "X = 1\ndef g():\n    global X\n    del X\ng()"])
@pytest.mark.parametrize("new", ["def sale(x=X): pass", "class Sale:\n    a: X", "class Sale:\n    def m(self, x=X): pass"])
def test_a_new_definition_that_may_fail_counts(rest, new):
    before, after = rest.encode(), f"{rest}\n{new}".encode()
    assert source_units(before, RAN, frozenset({"g"})) != source_units(after, RAN, frozenset({"g"}))
    assert source_units(b"X = 1", RAN, frozenset()) == source_units(f"X = 1\n{new}".encode(), RAN, frozenset())


@pytest.mark.parametrize("new", ["def sale(): pass", "class Sale: pass"])
def test_a_new_definition_counts_where_a_star_import_binds_names(new):
    assert source_units(f"from a import *\n{new}".encode(), RAN, frozenset()) != source_units(b"from a import *", RAN, frozenset())


@pytest.mark.parametrize("crossed", ["X = 1", "X = -1.5", "X = (1, 'a')", "X = {'a': [1]}", "X: int = 1", "'a text'", "def g(x=1): pass", "def g(x: int): pass", "def g(x=X): pass", "async def g(): pass", "class A:\n    a = 1",
                                     "class A:\n    def m(self, x=X): pass", "class A:\n    'doc'\n    a: int", "pass", "def g(x: list[int] | None): pass"])
def test_a_function_moves_across_what_only_binds_names(crossed):
    before, after = f"X = Y = 1\n{CROSSED}{crossed}\n".encode(), f"X = Y = 1\n{crossed}\n{CROSSED}".encode()
    assert source_units(before, RAN, frozenset("fgA")) == source_units(after, RAN, frozenset("fgA"))


@pytest.mark.parametrize("shadow", ["list = a", "from a import list", "from a import *", "def list(): pass", "import list", "def g():\n    global list", "for list in a: pass"])
def test_types_that_are_not_the_builtin_ones_may_do_something(shadow):
    "Two functions whose annotations run code don't change places"
    f, g = "def f(x: list[1]): pass\n", "def g(x: list[2]): pass\n"
    assert source_units(f"{f}{g}".encode(), RAN, frozenset("fg")) == source_units(f"{g}{f}".encode(), RAN, frozenset("fg"))
    assert source_units(f"{shadow}\n{f}{g}".encode(), RAN, frozenset("fg")) != source_units(f"{shadow}\n{g}{f}".encode(), RAN, frozenset("fg"))


@pytest.mark.parametrize("source, name", [
    ("class A:\n    global g\n    def g(self): return 1", "g"), ("class A:\n    global C\n    class C:\n        def m(self): return 1", "C.m"),
    ("def f():\n    global g\n    def g(): return 1\nf()", "f"), ("try: pass\nfinally:\n    def g(): return 1", "g"), ("if 1:\n    def g(): return 1\nelse:\n    def g(): return 2", "g"),
    ("for x in y:\n    while x:\n        with x:\n            def g(): return 1", "g"), ("match x:\n    case 1:\n        def g(): return 1", "g"), ("class A:\n    class B:\n        def g(self): return 1", "A.B.g"),
    ("g = lambda: 1", "<lambda>"), ("class A:\n    g = lambda self: 1", "A.<lambda>"), ("def f(g=lambda: 1): pass", "<lambda>"), ("try: pass\nexcept E:\n    def g(): return 1", "g"),
    ("async def g():\n    return [1 async for x in y]", "g"), ("def g():\n    class A:\n        def m(self): return 1", "g"), ("class A:\n    def __g(self): return 1", "A.__g")])
def test_the_body_of_a_function_that_ran_counts_whatever_its_place(source, name):
    before = source_units(source.encode(), frozenset({name}))
    assert source_units(source.replace("1", "7").encode(), frozenset(before)) != before


@pytest.mark.parametrize("source", [b"", b"\0", b"x = (", b"\xff", b"# coding: nonsense\n", b"x = 0x" + b"f" * 6000, b"x = " + b"-" * 5000 + b"1", b"(" * 300, b"x = " + b"1 + " * 3000 + b"1", b"def f(): return", b"return 1"])
def test_any_bytes_have_units(source):
    for ran in (None, frozenset({"f"})):
        assert source_units(source, ran, frozenset()) != source_units(source + b"\nx = 1", ran, frozenset())


@pytest.mark.parametrize("source", [
    "def g():\n    vars(m)", "class A:\n    def g(self):\n        vars(m)", "def g():\n    def f():\n        vars(m)", "if x:\n    async def g():\n        vars(m)", "@a\ndef g():\n    'A text'\n    import inspect"])
def test_code_that_never_ran_lists_no_names(source):
    name = "A.g" if source.startswith("class") else "g"
    modules = frozenset({"m"})
    assert can_enumerate(executed_source(source.encode(), frozenset({name})), modules)
    assert not can_enumerate(executed_source(source.encode(), frozenset()), modules)


@pytest.mark.parametrize("source", ["vars(m)", "def g(x=vars(m)): pass", "@vars(m)\ndef g(): pass", "class A:\n    x = vars(m)", "g = lambda: vars(m)", "def g(): return vars(m)\nvars(m)", "def g(: vars(m)"])
def test_code_outside_of_functions_runs(source):
    assert can_enumerate(executed_source(source.encode(), frozenset()), frozenset({"m"}))


def test_functions_have_the_names_that_the_compiler_gives_them():
    "In the standard library"
    functions, missing = 0, []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[::4]:
        source = path.read_bytes()
        with warnings.catch_warnings(action="ignore"):
            names = Counter(name for name, _ in _functions(ast.parse(source).body))
            compiled = Counter(function.co_qualname for function in _code_objects(compile(source, "", "exec", dont_inherit=True)))
        functions += len(names)
        missing += [f"{path.name}: {name}" for name in names if names[name] != compiled[name]]
    assert functions > 1000 and len(missing) < functions / 1000, missing


class Trial:
    "A random module that ran, and what a plan remembers of it"

    def __init__(self, seed: int):
        self.random = Random(seed)
        self.statements, self.probes = module(self.random), probes(self.random)
        self.shown, self.ran = run(text_of(self.statements), self.probes)
        source, cells = text_of(self.statements).encode(), "\n".join(["import m", *self.probes])
        executed = source if self.ran is None else executed_source(source, frozenset(self.ran)), LIB.encode(), cells
        lists_names = any(can_enumerate(text, frozenset({"m"})) for text in executed)
        self.words = mentioned_words(LIB.encode()) | mentioned_words(cells)
        self.known = None if lists_names else used_definitions({"m": source}, {"m": self.ran or ()}, self.words)["m"]
        self.units = source_units(source, self.ran, self.known, self.words)

    def edit(self) -> tuple[str, str]:
        "The kind of a random edit, and the source after it"
        kind, statements = edit(self.random, self.statements)
        if self.random.random() < 0.4:
            more, statements = edit(self.random, statements)
            kind = f"{kind}, {more}"
        return kind, text_of(statements)

    def is_hit(self, source: str) -> bool:
        "Would a plan say that nothing changed?"
        ran = None if self.ran is None else frozenset(self.units)
        return source_units(source.encode(), ran, self.known, self.words) == self.units


def text_of(statements: list[list[str]]) -> str:
    "The source of a random module"
    return "".join(f"{line}\n" for lines in statements for line in lines)


def check(seed: int) -> None:
    "Whenever a random module and an edited one have the same units, executing them shows the same"
    with warnings.catch_warnings(action="ignore"):
        trial = Trial(seed)
        for _ in range(4):
            kind, source = trial.edit()
            if trial.is_hit(source):
                shown, _ = run(source, trial.probes)
                assert shown == trial.shown, f"{kind}:\n{text_of(trial.statements)}\nbecame\n{source}"


LIMITS = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(LIMITS, max_examples=150)
@given(st.integers(0, 2**32))
def test_modules_with_the_same_units_show_the_same(seed):
    check(seed)


@pytest.mark.long
@settings(LIMITS, max_examples=10_000)
@given(st.integers(0, 2**32))
def test_many_modules_with_the_same_units_show_the_same(seed):
    check(seed)


def test_random_edits_are_often_neutral_and_often_not():
    "The test above is not empty"
    with warnings.catch_warnings(action="ignore"):
        trials = [Trial(seed) for seed in range(60)]
        hits = [trial.is_hit(trial.edit()[1]) for trial in trials]
    assert 10 < sum(hits) < 50
