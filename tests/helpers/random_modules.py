"""Random small modules, random edits of them, and what executing them shows."""
import inspect
import re
import sys
import types
from random import Random

FUNCTIONS, CLASSES, VALUES, NEW = ["f", "g", "h", "k"], ["A", "B"], ["X", "Y", "Z"], ["new", "fresh", "New"]
NAMES = [*FUNCTIONS, *CLASSES, *VALUES]
LIB = """
LOG = []
KINDS = []

def log(function):
    LOG.append(getattr(function, "__name__", "?"))
    return function

class Base:
    def __init_subclass__(cls):
        LOG.append(cls.__name__)

class Meta(type):
    def __new__(meta, name, bases, space):
        LOG.append([key for key in space if key not in ("__firstlineno__", "__static_attributes__")])
        return super().__new__(meta, name, bases, space)

class Field:
    def __set_name__(self, owner, name):
        LOG.append(name)

    def __class_getitem__(cls, kind):
        LOG.append(str(kind))
        return cls

FIELD = Field()
"""


def expression(random: Random) -> str:
    "A value: mostly harmless, sometimes it does something"
    plain = ["1", "2", "-1", "'a'", "(1, 2)", "[1]", "{'a': 1}", "None", "1 / 1"]
    return random.choice([*plain, *plain, random.choice(NAMES), f"({random.choice(NAMES)}, 1)", f"{random.choice(FUNCTIONS)}(1)", "FIELD"])


def annotation(random: Random) -> str:
    "A type"
    return random.choice(["int", "list[int]", "int | None", "dict[str, float]", "'X'", "A", "B", "Field[1]", "list", "X", "Missing", "int[3]"])


def header(random: Random, name: str, own: str = "") -> str:
    "The first line of a function"
    parts = [own] if own else []
    if random.random() < 0.6:
        parts.append("x" + (f": {annotation(random)}" if random.random() < 0.3 else "") + (f" = {expression(random)}" if random.random() < 0.6 else "=1"))
    else:
        parts.append("x=1")
    if random.random() < 0.1:
        parts.append("*more")
    returns = f" -> {annotation(random)}" if random.random() < 0.15 else ""
    return f"{'async ' if random.random() < 0.05 else ''}def {name}({', '.join(parts)}){returns}:"


def body(random: Random, method: bool = False) -> list[str]:
    "What a function does"
    other, value = random.choice([*FUNCTIONS, *NEW[:1]]), random.choice(VALUES)
    lines = [[f"return {random.choice('123')}"], [f"return x + {random.choice('12')}"], [f"return {value}"], [f"return {other}(1)"], ["return type(x).__name__"],
             [f"yield {random.choice('12')}"], [f"LOG.append('{random.choice('abc')}')"], [f"global {value}", f"{value} = {random.choice('12')}"],
             ["def inner(y):", f"    return y * {random.choice('23')}", "return inner(x)"], ["global h", "def h(x=1):", f"    return {random.choice('45')}", "return h(1)"],
             ["try:", f"    return {other}(1)", "except NameError:", "    return 'none'"], [f"del {value}"] if random.random() < 0.2 else ["pass"],
             ["nonlocal x"] if random.random() < 0.1 else ["pass"], [f"return hasattr(FIELD, '{other}')"], ["return lambda: (yield)"],
             ["def inner():", "    yield 1", "return list(inner())"], [f"return {random.choice(CLASSES)}().total()"], [f"return {random.choice(CLASSES)}.f(1)"]]
    if random.random() < 0.005:
        return ["return sorted(globals())"]
    if method:
        lines += [["return super().__repr__()[:1]"], ["return __class__.__name__"], ["self.a = 1", "return self.a"], ["return self.total()"]]
    doc = [f"'{random.choice('pqr')}'"] if random.random() < 0.2 else []
    return doc + random.choice(lines)


def indent(lines: list[str]) -> list[str]:
    "Lines one level deeper"
    return ["    " + line for line in lines]


def function(random: Random, name: str, method: bool = False) -> list[str]:
    "A function or method"
    decorator = random.choice(["@log", "@property" if method else "@log", "@staticmethod", f"@{random.choice(FUNCTIONS)}"])
    own = "self" if method and decorator != "@staticmethod" else ""
    return [*([decorator] if random.random() < 0.12 else []), header(random, name, own), *indent(body(random, method))]


def class_(random: Random, name: str) -> list[str]:
    "A class"
    bases = random.choice(["", "", "", "", "(Base)", "(metaclass=Meta)", f"({random.choice(CLASSES)})", "(object)"])
    lines = [f"'{random.choice('pqr')}'"] if random.random() < 0.2 else []
    for _ in range(random.randint(1, 3)):
        member = random.choice(["total", "f", "__init__", "__eq__", "__slots__", "__len__"] if random.random() < 0.3 else ["total", "f"])
        lines += random.choice([
            function(random, member, True), function(random, member, True), [f"{random.choice('ab')} = {expression(random)}"],
            [f"{random.choice('ab')}: {annotation(random)}"], ["global h", *function(random, "h")] if random.random() < 0.2 else ["pass"],
            [f"if {random.choice(['True', 'False', 'X'])}:", *indent(function(random, member, True))],
        ])
    return [f"class {name}{bases}:", *indent(lines)]


def statement(random: Random, names: list[str] = FUNCTIONS) -> list[str]:
    "A statement at the top of a module"
    name, value = random.choice(names), random.choice(VALUES)
    kinds = [function(random, name)] * 8 + [class_(random, random.choice(CLASSES))] * 4 + [[f"{value} = {expression(random)}"]] * 4 + [
        [f"{value}: {annotation(random)} = {expression(random)}"], [f"{value}: {annotation(random)}"], [f"{value} = {random.choice(FUNCTIONS)}(1)"],
        ["try:", f"    LOG.append(str({random.choice(FUNCTIONS)}(1)))", "except Exception:", "    LOG.append('failed')"],
        [f"if {random.choice(['True', 'False', '0', 'X'])}:", *indent(function(random, name)), "else:", *indent(function(random, name))],
        [f"'{random.choice('pqr')}'"], [f"del {random.choice(NAMES)}"] if random.random() < 0.3 else ["pass"], [f"import math as {random.choice(NAMES)}"],
        [f"for {value} in (1, 2): LOG.append({value})"], ["try:", "    1 / 0", f"except ZeroDivisionError as {random.choice(NAMES)}:", "    pass"],
        [f"LOG.append(callable({random.choice(FUNCTIONS)}))"], [f"list = {random.choice(['list', 'Field', '3'])}"] if random.random() < 0.3 else ["pass"],
        [f"__all__ = ['{name}']"], [f"def __getattr__(name): return '{random.choice('12')}' + name"] if random.random() < 0.3 else ["pass"],
        [f"{name} = lambda x: {random.choice('12')}"], [f"LOG.append([x for x in LOG if x != '{value}'])"],
        ["try:", "    pass", "finally:", *indent(function(random, name))], [f"{value} = [{random.choice(FUNCTIONS)}]"],
    ]
    return random.choice(kinds)


def calm(random: Random, name: str, earlier: list[str]) -> list[str]:
    "A definition as most are; it uses earlier names"
    if name in VALUES:
        return [f"{name} = {random.choice(['1', '(1, 2)', 'None', repr(name)])}"]
    used = random.choice([*earlier, "1"])
    kind = f": {random.choice(['int', 'list[int]', used, 'str | None', 'list[str]'])}" if random.random() < 0.4 else ""
    default = random.choice(["1", "-1", used, used, f"[{used}]"])
    if name in FUNCTIONS:
        return [f"def {name}(x{kind} = {default}):", *indent(body(random))]
    inside = random.choice(["a = 1", "a = FIELD", f"b: {used}", "'q'", f"a = {default}", "pass"])
    meta = random.choice(["", "", "(metaclass=Meta)"])
    return [f"class {name}{meta}:", f"    {inside}", f"    def total(self, x{kind}={default}):", *indent(indent(body(random, True)))]


def module(random: Random) -> list[list[str]]:
    "The statements of a random module, each as lines"
    first = [["from __future__ import annotations"]] if random.random() < 0.15 else []
    doc = [["'the module'"]] if random.random() < 0.2 else []
    if random.random() < 0.4:
        statements = [statement(random) for _ in range(random.randint(3, 9))]
    else:
        names = random.sample(NAMES, random.randint(5, 9)) + random.choices(NAMES, k=random.randint(0, 2))
        random.shuffle(names)
        statements = [calm(random, name, names[:place]) for place, name in enumerate(names)]
        for _ in range(random.randint(0, 2)):
            other = random.choice([statement(random), ["list = Field"], ["'r'"], [f"LOG.append(str({random.choice(names)}))"]])
            statements.insert(random.randrange(len(statements)), other)
    return [*doc, *first, ["from lib import LOG, Base, Field, Meta, FIELD, log"], *statements]


def edit(random: Random, statements: list[list[str]]) -> tuple[str, list[list[str]]]:
    "The kind of a random edit, and the statements after it"
    statements = [list(lines) for lines in statements]
    place = random.choice([0, random.randrange(len(statements)), random.randrange(len(statements))])
    kind = random.choice(["move", "move", "new", "new", "new class", "replace", "line", "line", "line", "delete", "layout", "swap", "any", "constant", "body", "body", "body"])
    lines = statements[place]
    if kind in ("move", "swap"):
        other = random.randrange(len(statements))
        if kind == "swap":
            statements[place], statements[other] = statements[other], statements[place]
        else:
            statements.insert(random.choice([other, max(place - 1, 0), place + 1]), statements.pop(place))
    elif kind == "new":
        statements.insert(place, function(random, random.choice([*NEW, *FUNCTIONS, "int"] if random.random() < 0.3 else NEW)))
    elif kind == "new class":
        statements.insert(place, class_(random, random.choice(NEW)))
    elif kind == "any":
        statements.insert(place, statement(random))
    elif kind == "replace" and lines[0].startswith("def "):
        statements[place] = function(random, re.match(r"def (\w+)", lines[0])[1])
    elif kind == "body" and lines[0].startswith("def "):
        statements[place] = [lines[0], *indent(body(random))]
    elif kind == "body" and (starts := [n for n, line in enumerate(lines) if line.startswith("    def ")]):
        start = random.choice(starts)
        end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith("     ")), len(lines))
        lines[start + 1:end] = indent(indent(body(random, True)))
    elif kind == "line":
        number = random.randrange(len(lines))
        space = re.match(r"\s*", lines[number])[0]
        if space:
            lines[number:number + 1] = [space + line for line in body(random)]
    elif kind == "delete" and len(statements) > 1:
        del statements[place]
    elif kind == "layout":
        lines.insert(0, "# a comment")
    elif kind == "constant":
        number = random.randrange(len(lines))
        lines[number] = re.sub(r"\d", lambda found: str(int(found[0]) + 1), lines[number])
    return kind, statements


def probes(random: Random) -> list[str]:
    "Expressions that look at a module from outside"
    listing = ["[name for name in vars(m) if name in ('f', 'g', 'h', 'new')]", "[name for name in dir(m) if name[0] != '_']", "getattr(m, 'ne' + 'w', 'none')"]
    questions = ["m.__doc__"] if random.random() < 0.7 else []
    for name in NAMES:
        looks = [f"m.{name}", f"m.{name}.__doc__", f"m.{name}.__defaults__", f"m.{name}.__annotations__", f"hasattr(m, '{name}')", f"getattr(m, '{random.choice([*NAMES, *NEW])}', 'none')"]
        calls = [f"m.{name}(1)", f"m.{name}(2)", f"list(m.{name}(1))", f"m.{name}()", f"len(m.{name}())", f"m.{name}().total()", f"m.{name}.f(1)"]
        parts = [f"m.{name}.a", f"m.{name}.total.__defaults__", f"m.{name}.total.__closure__ is None", f"m.{name}.total.__doc__"]
        questions += random.sample(looks, random.randint(0, 3)) + random.sample(calls, random.random() < 0.2)
        questions += random.sample(parts, random.randint(0, 2)) if name in CLASSES else []
    return questions + random.sample(listing, random.random() < 0.05)


def text(value, deep: int = 2) -> str:
    "A value as text without addresses; what a generator yields"
    if isinstance(value, types.GeneratorType) and deep:
        return "yields " + ", ".join(text(item, deep - 1) for item in value)
    if isinstance(value, types.CoroutineType):
        value.close()
    return re.sub(r"0x[0-9a-f]+", "0x", repr(value))


def attempt(action, *arguments) -> str:
    "What an action gives, or how it fails"
    try:
        return text(action(*arguments))
    except RecursionError:
        return "calls itself too often"  # in which words Python says so depends on the place
    except Exception as error:
        return f"{type(error).__name__}: {re.sub(r'line [0-9]+', 'line', re.sub(r'0x[0-9a-f]+', '0x', str(error)))}"


def run(source: str, questions: list[str]) -> tuple[list[str], frozenset[str] | None]:
    "What executing a module and looking at it shows, and which of its functions ran (None: not known)"
    ran, lib, made = set(), types.ModuleType("lib"), types.ModuleType("m")
    made.__dict__.pop("__builtins__", None)

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_filename == "<m>":
            ran.add(frame.f_code.co_qualname.partition(".<locals>")[0])

    exec(LIB, vars(lib))
    sys.modules["lib"] = lib
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)  # some call themselves
    sys.setprofile(note)
    try:
        shown = [attempt(lambda: exec(compile(source, "<m>", "exec", dont_inherit=True), vars(made)))]
        shown += [attempt(eval, question, {"m": made}) for question in questions]
    finally:
        is_complete = sys.getprofile() is note  # Python drops a profiler that fails itself when a function calls itself too often
        sys.setprofile(None)
        sys.setrecursionlimit(limit)
        del sys.modules["lib"]
    return [*shown, text(lib.LOG)], frozenset(ran) if is_complete else None
