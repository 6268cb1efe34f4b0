"""Random edits of random projects: what a person, a formatter or a version control system does between two runs.

Some change the result, some don't; the truth of both is found by executing.
"""
import ast
import difflib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from helpers.random_projects import BYSTANDERS, FEATURES, FUNCTIONS, WORDS, RandomProject, Writer

Random = random.Random


@dataclass(frozen=True)
class Edit:
    "A project after an edit"
    kind: str
    project: RandomProject


def shown_difference(old: RandomProject, new: RandomProject) -> str:
    "What an edit did, as a diff"
    lines: list[str] = []
    for name in sorted({*old.files, *new.files}):
        before, after = (str(project.files[name]).splitlines() if name in project.files else [] for project in (old, new))
        lines += [*difflib.unified_diff(before, after, name if name in old.files else "nothing", name if name in new.files else "nothing", lineterm="", n=1)]
        lines += [f"touched {name}"] if name in new.touched else []
    lines += difflib.unified_diff("\n# cell\n".join(old.cells).splitlines(), "\n# cell\n".join(new.cells).splitlines(), "cells", "cells", lineterm="", n=1)
    lines += [f"{name}={value}" for name, value in new.variables.items() if old.variables.get(name) != value]
    return "\n".join(lines)


# -- where to edit -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    "A text of Python in a project: a file, or a cell by its number"
    where: str | int
    source: str

    def parsed(self) -> ast.Module:
        return ast.parse(self.source)

    def put(self, project: RandomProject, source: str) -> RandomProject:
        "The project with another text here"
        if isinstance(self.where, str):
            return project.with_file(self.where, source)
        return replace(project, cells=tuple(source if number == self.where else cell for number, cell in enumerate(project.cells)))

    def replaced(self, project: RandomProject, node: ast.expr | ast.stmt, new: str) -> RandomProject:
        "The project with another text for a node"
        lines = self.source.encode().splitlines(keepends=True)
        start = sum(map(len, lines[:node.lineno - 1])) + node.col_offset
        end = sum(map(len, lines[:node.end_lineno - 1])) + node.end_col_offset
        whole = self.source.encode()
        return self.put(project, (whole[:start] + new.encode() + whole[end:]).decode())


def python_texts(project: RandomProject) -> list[Text]:
    "The texts of Python in a project, three times as many of modules as of cells"
    files = [Text(name, text) for name, text in sorted(project.files.items()) if name.endswith(".py") and isinstance(text, str)]
    return files * 3 + [Text(number, cell) for number, cell in enumerate(project.cells) if not cell.startswith("%%")]


def modules(project: RandomProject) -> list[Text]:
    return [text for text in python_texts(project) if isinstance(text.where, str)]


Finder = Callable[[ast.AST], bool]


# what sees such an edit though nothing that it edits is called: the place to look first
LISTS = r"in dir\(|vars\(sys|\.items\(\)|_ORDER|_extra|_do_|import \*|__subclasses__"
DOCS = r"Answer|Ask"
HINTS = r"_typed|_Row|_Pair"
SOURCES = r"_text|_fails|__file__|_typed"
BODIES = r"Meta|_Mixin|_Class\(|def one|_Kind|_Row|_Settings|_Any|def decide"


def shuffled(rng: Random, texts: list[Text], near: str) -> list[Text]:
    "The texts in any order; mostly those first that hold the pattern"
    texts = texts[:]
    rng.shuffle(texts)
    return sorted(texts, key=lambda text: not re.search(near, text.source)) if near and rng.random() < 0.8 else texts


def some_node(rng: Random, project: RandomProject, wanted: Finder, near: str = "") -> tuple[Text, ast.AST]:
    "A node of some text that fits; raises `IndexError` when there is none"
    for text in shuffled(rng, python_texts(project), near):
        if found := [node for node in ast.walk(text.parsed()) if wanted(node)]:
            best = [node for node in found if near and re.search(near, ast.get_source_segment(text.source, node) or "")]
            return text, rng.choice(best or found)
    raise IndexError("no such node")


def statements(rng: Random, project: RandomProject, wanted: Callable[[ast.stmt], bool] = lambda _: True, near: str = LISTS) -> tuple[Text, list[str], list[ast.stmt]]:
    "A module, its top-level statements as texts, and as nodes"
    for text in shuffled(rng, modules(project), near):
        nodes = text.parsed().body
        if any(map(wanted, nodes)):
            return text, [whole(text.source, node) for node in nodes], nodes
    raise IndexError("no such statement")


def whole(source: str, node: ast.stmt) -> str:
    "The text of a statement with its decorators"
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return "\n".join(source.splitlines()[first - 1:node.end_lineno])


def joined(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"


def is_definition(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


# -- edits of code -----------------------------------------------------------------------------------------------------------
# each takes (rng, project) and gives the new project; `IndexError`: there is nothing to edit in this way


def constant(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.Constant) and isinstance(node.value, int))
    return text.replaced(project, node, rng.choice((str(int(node.value) + 1), f"-{int(node.value)}", f"{int(node.value)}.0", str(rng.randint(10, 99)), str(bool(node.value)))))


def text_constant(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value and node.end_lineno == node.lineno)
    return text.replaced(project, node, repr(rng.choice((node.value + "z", node.value[:-1], node.value.upper(), "ab"))))


OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Mod: "%"}


def operator(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.BinOp) and type(node.op) in OPERATORS)
    left, right = (ast.get_source_segment(text.source, side) or "0" for side in (node.left, node.right))
    other = rng.choice([sign for kind, sign in OPERATORS.items() if kind is not type(node.op) and sign != "%"])
    return text.replaced(project, node, f"({left}) {other} ({right})")


def swapped_operands(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.BinOp))
    left, right, sign = ast.unparse(node.left), ast.unparse(node.right), OPERATORS.get(type(node.op), "+")
    return text.replaced(project, node, f"({right}) {sign} ({left})")


def comparison(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, (ast.Compare, ast.IfExp)))
    return text.replaced(project, node, f"(not ({ast.unparse(node)}))")


def default(rng: Random, project: RandomProject) -> RandomProject:
    "Change, add or remove a default"
    has_defaults = rng.random() < 0.8
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.FunctionDef) and bool(node.args.args) and has_defaults == bool(node.args.defaults), HINTS)
    if has_defaults and rng.random() < 0.8:
        return text.replaced(project, rng.choice(node.args.defaults), str(rng.randint(2, 99)))
    last = [*node.args.args, *node.args.kwonlyargs][-1]
    return text.replaced(project, last, f"{ast.unparse(last)}, more={rng.randint(2, 9)}" if not node.args.defaults and not node.args.kwonlyargs else last.arg)


def annotation(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.FunctionDef) and bool(node.args.args), HINTS)
    node = rng.choice(node.args.args)
    return text.replaced(project, node, f"{node.arg}: {rng.choice(('float', 'str', repr(rng.choice(WORDS)), 'list[int]'))}")


def name_of_an_argument(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.FunctionDef) and len(node.args.args) == 1 and node.args.args[0].arg == "x", HINTS)
    return text.replaced(project, node.args.args[0], "y")


def docstring(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, is_docstring, DOCS)
    return text.replaced(project, node, repr(rng.choice((f"{node.value.value} more", f"About {rng.choice(WORDS)}", "x"))))


def new_docstring(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not is_docstring(node.body[0]), DOCS)
    indent = " " * node.body[0].col_offset
    first = node.body[0]
    return text.replaced(project, first, f'"About {rng.choice(WORDS)}"\n{indent}{ast.get_source_segment(text.source, first)}') if not getattr(first, "decorator_list", None) else project


def decorator(rng: Random, project: RandomProject) -> RandomProject:
    "Remove a decorator, or add one"
    if rng.random() < 0.5:
        text, node = some_node(rng, project, lambda node: is_definition(node) and bool(node.decorator_list))
        lines = text.source.splitlines()
        del lines[rng.choice(node.decorator_list).lineno - 1]
        return text.put(project, "\n".join(lines) + "\n")
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.FunctionDef))
    lines = text.source.splitlines()
    lines.insert(node.lineno - 1, " " * node.col_offset + rng.choice(("@staticmethod", "@(lambda f: f)", "@__import__('functools').lru_cache", "@(lambda f: lambda *a, **k: f(*a, **k) + 1)")))
    return text.put(project, "\n".join(lines) + "\n")


def base_class(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.ClassDef), r"Base\)|Meta|Pair|Kind|Tool\)|Root\)|_One|_Two|_Item")
    header = text.source.splitlines()[node.lineno - 1]
    bases = rng.choice(("", "(dict)", "(object)", "(__import__('collections').UserList)"))
    lines = text.source.splitlines()
    lines[node.lineno - 1] = f"{' ' * node.col_offset}class {node.name}{bases}:" if header.rstrip().endswith(":") else header
    return text.put(project, "\n".join(lines) + "\n")


def order_of_statements(rng: Random, project: RandomProject) -> RandomProject:
    "Swap two neighbours"
    text, parts, _ = statements(rng, project, lambda node: is_definition(node))
    at = rng.randrange(max(len(parts) - 1, 1))
    parts[at:at + 2] = parts[at:at + 2][::-1]
    return text.put(project, joined(parts))


def moved_definition(rng: Random, project: RandomProject) -> RandomProject:
    text, parts, nodes = statements(rng, project, is_definition)
    part = parts.pop(rng.choice([number for number, node in enumerate(nodes) if is_definition(node)]))
    parts.insert(rng.randint(0, len(parts)), part)
    return text.put(project, joined(parts))


def order_in_a_class(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.ClassDef) and len(node.body) > 1, BODIES)
    lines = text.source.splitlines()
    at = rng.randrange(len(node.body) - 1)
    first, second = node.body[at], node.body[at + 1]
    parts = [whole(text.source, one) for one in (second, first)]
    start = min([first.lineno, *(one.lineno for one in getattr(first, "decorator_list", []))])
    lines[start - 1:second.end_lineno] = "\n\n".join(parts).splitlines()
    return text.put(project, "\n".join(lines) + "\n")


def known_names(project: RandomProject) -> list[str]:
    "Names that mean something somewhere in the project"
    words = {word for text in python_texts(project) for word in re.findall(r"[A-Za-z]\w+", text.source)}
    return sorted(words & {*FUNCTIONS, "len", "sum", "max", "abs", "str", "int", "sorted", "map", "isinstance", "callable", "open", "list", "dict", "getattr", "hasattr", "range"})


def new_name(rng: Random, project: RandomProject, source: str) -> str:
    "A name for something new: one that is used elsewhere, one that somebody asks for, or a fresh one"
    asked = re.findall(r"\b(\w+_)'? ?\+? ?'?extra\b", source)
    prefixes = sorted({f"{word}_do_" for word in re.findall(r"\b(\w+?)_do_", source)})
    imported = sorted(set(re.findall(r"import (\w+)$", source, re.MULTILINE)))
    special = [f"{word}extra" for word in asked] + [f"{word}{letter}" for word in prefixes for letter in "abz"]
    groups = [special, special, special, imported, known_names(project), ["brand_new"], ["brand_new"], ["__getattr__", "__dir__"]]
    return rng.choice(rng.choice([group for group in groups if group]))


NEW = ("def {}(x, *more):\n    return {}", "def {}(*args, **more):\n    'Something new'\n    return {}", "class {}:\n    k = {}", "{} = {}", "def {}(x=None):\n    raise ValueError({})")


def new_definition(rng: Random, project: RandomProject) -> RandomProject:
    text, parts, _ = statements(rng, project)
    source = rng.choice(NEW).format(new_name(rng, project, text.source), rng.randint(2, 9))
    parts.insert(rng.choice((len(parts), rng.randint(0, len(parts)))), source)
    return text.put(project, joined(parts))


def new_feature(rng: Random, project: RandomProject) -> RandomProject:
    "A new definition as the others are, not used"
    text, parts, _ = statements(rng, project)
    template = rng.choice([*BYSTANDERS, *(one for one in FEATURES.values() if "BASE" not in one)])
    parts.append(Writer(rng).filled(template, rng.choice(("fresh", "newer", "extra"))).rstrip())
    return text.put(project, joined(parts))


def new_method(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.ClassDef), BODIES)
    name = rng.choice(("go", "never", "brand_new", "k", "more", "__call__", "__lt__", "__init__", "__getattr__", "__eq__", "__len__", "__format__", "a"))
    last, indent = node.body[-1], " " * node.body[-1].col_offset
    segment = "\n".join(text.source.splitlines()[last.lineno - 1:last.end_lineno])[last.col_offset:]
    added = rng.choice((f"def {name}(self, *args):\n{indent}    return {rng.randint(2, 99)}", f"{name} = {rng.randint(2, 99)}", f"{name}: int = {rng.randint(2, 99)}"))
    return text.replaced(project, last, f"{segment}\n\n{indent}{added}")


def removed_definition(rng: Random, project: RandomProject) -> RandomProject:
    text, parts, nodes = statements(rng, project, is_definition)
    del parts[rng.choice([number for number, node in enumerate(nodes) if is_definition(node)])]
    return text.put(project, joined(parts))


def removed_statement(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.stmt) and not is_definition(node))
    return text.replaced(project, node, "pass")


def doubled_statement(rng: Random, project: RandomProject) -> RandomProject:
    text, parts, _ = statements(rng, project)
    at = rng.randrange(len(parts))
    parts.insert(rng.choice((at + 1, len(parts))), parts[at])
    return text.put(project, joined(parts))


def renamed_definition(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, is_definition)
    lines = text.source.splitlines()
    lines[node.lineno - 1] = re.sub(rf"\b{node.name}\b", f"{node.name}_renamed", lines[node.lineno - 1], count=1)
    return text.put(project, "\n".join(lines) + "\n")


def renamed_everywhere(rng: Random, project: RandomProject) -> RandomProject:
    "What a refactoring tool does"
    _, node = some_node(rng, project, is_definition)
    rename = lambda source: re.sub(rf"\b{node.name}\b", f"{node.name}_new", source)
    files = {name: rename(text) if name.endswith(".py") and isinstance(text, str) else text for name, text in project.files.items()}
    return replace(project, files=files, cells=tuple(map(rename, project.cells)))


def generator(rng: Random, project: RandomProject) -> RandomProject:
    "A function becomes a generator, a coroutine, or one that does something before"
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.FunctionDef) and not is_docstring(node.body[0]) and isinstance(node.body[0], (ast.Return, ast.Assign, ast.Expr)), SOURCES)
    first, indent = node.body[0], " " * node.body[0].col_offset
    segment = ast.get_source_segment(text.source, first)
    return text.replaced(project, first, rng.choice((f"yield 1\n{indent}{segment}", f"return 1\n{indent}{segment}", f"x = 3\n{indent}{segment}", f"print('x')\n{indent}{segment}")))


def statement_on_import(rng: Random, project: RandomProject) -> RandomProject:
    text, parts, nodes = statements(rng, project)
    parts.insert(rng.randint(0, len(parts)), rng.choice((
        "print('imported')", "import builtins; builtins.len = lambda x: 1", "import os; os.environ['PASS_VARIABLE'] = 'set'", "import sys; sys.path.append('elsewhere')",
        "VALUE = 1", "if True:\n    VALUE = 1", "assert True", "import json", "from random import *", "import os; os.listdir('.')", "def __getattr__(name):\n    return 5",
        "__all__ = ['price', 'rate']", "__doc__ = 'other'", "globals().update(VALUE=1)",
    )))
    return text.put(project, joined(parts))


def import_from_elsewhere(rng: Random, project: RandomProject) -> RandomProject:
    "The same name from another module that has it"
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.ImportFrom) and node.level == 0 and bool(node.module) and node.names[0].name != "*")
    name, alias = node.names[0].name, node.names[0].asname
    homes = [one.where.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for one in modules(project) if re.search(rf"^(def |class |){name}\b", one.source, re.MULTILINE)]
    return text.replaced(project, node, f"from {rng.choice(homes)} import {name}{f' as {alias}' if alias else ''}")


def new_star_import(rng: Random, project: RandomProject) -> RandomProject:
    text, parts, _ = statements(rng, project)
    module = rng.choice([one.where.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for one in modules(project) if one.where != text.where and not one.where.startswith("data")])
    parts.insert(rng.randint(0, len(parts)), f"from {module} import *")
    return text.put(project, joined(parts))


# -- edits of files ----------------------------------------------------------------------------------------------------------


def new_module(rng: Random, project: RandomProject) -> RandomProject:
    "A module that appears: one that somebody asked for, one that shadows, or any other"
    sources = "\n".join(text.source for text in python_texts(project))
    asked = sorted(set(re.findall(r"(?:from|import) ((?:\w+\.)*\w*(?:_fast|fast_\w+|not_there_\w+))", sources)))
    dotted = [name.removesuffix(".py").removesuffix("/__init__") for name in project.files if name.endswith(".py")]
    shadows = [name.rpartition("/")[2] for name in dotted]
    standard = ["configparser", "tomllib", "runpy", "csv", "sqlite3", "statistics", "plugs/dog"]
    names = rng.choice([group for group in (asked, asked, shadows, standard, dotted, [f"{rng.choice(WORDS)}_new"]) if group])
    path = rng.choice(names).replace(".", "/")
    where = f"{path}/__init__.py" if rng.random() < 0.3 else f"{path}.py"
    functions = FUNCTIONS if names is asked or rng.random() < 0.5 else ()
    content = "V = 3\n\n\ndef go(x):\n    return 7\n" + "".join(f"\n\ndef {name}(x):\n    return x + 77\n" for name in functions)
    return project if where in project.files or blocked(project, where) else project.with_file(where, content)


def blocked(project: RandomProject, path: str) -> bool:
    "Whether a file stands where a folder of this path would be, or the other way round"
    parents = {path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1)}
    return bool(parents & project.files.keys()) or any(name.startswith(f"{path}/") for name in project.files)


def removed_module(rng: Random, project: RandomProject) -> RandomProject:
    return project.with_file(rng.choice(modules(project)).where, None)


def renamed_module(rng: Random, project: RandomProject) -> RandomProject:
    text = rng.choice(modules(project))
    return project.with_file(text.where, None).with_file(text.where.removesuffix(".py") + "_renamed.py", text.source)


def module_becomes_a_package(rng: Random, project: RandomProject) -> RandomProject:
    text = rng.choice([text for text in modules(project) if not text.where.endswith("__init__.py")])
    return project.with_file(text.where, None).with_file(text.where.removesuffix(".py") + "/__init__.py", text.source)


def swapped_modules(rng: Random, project: RandomProject) -> RandomProject:
    one, two = rng.sample(modules(project), 2)
    return project.with_file(one.where, two.source).with_file(two.where, one.source)


def start_of_a_package(rng: Random, project: RandomProject) -> RandomProject:
    "A folder gets or loses its __init__"
    folders = sorted({name.rpartition("/")[0] for name in project.files if "/" in name and name.endswith(".py") and not name.startswith("data")})
    path = f"{rng.choice(folders)}/__init__.py"
    return project.with_file(path, None if path in project.files else rng.choice(("", "VERSION = 1\n")))


def data_files(project: RandomProject) -> list[str]:
    return sorted(name for name in project.files if name.startswith("data/"))


def data_content(rng: Random, project: RandomProject) -> RandomProject:
    name = rng.choice(data_files(project))
    return project.with_file(name, re.sub(r"\d", lambda _: str(rng.randint(1, 9)), project.files[name]) if rng.random() < 0.8 else f"{project.files[name]}1")


def data_new_file(rng: Random, project: RandomProject) -> RandomProject:
    folder = rng.choice(data_files(project)).rpartition("/")[0]
    name = f"{folder}/{rng.choice(('new.txt', 'new.txt', '9.txt', '9.txt', 's/9.txt', 'README.md', 'z.py', '.hidden'))}"
    content = "V = 8\n" if name.endswith(".py") else "[s]\nk = 8\n" if any(one.startswith(f"{folder}/1.ini") for one in project.files) else "8"
    return project if blocked(project, name) else project.with_file(name, content)


def data_removed(rng: Random, project: RandomProject) -> RandomProject:
    return project.with_file(rng.choice(data_files(project)), None)


def data_renamed(rng: Random, project: RandomProject) -> RandomProject:
    name = rng.choice(data_files(project))
    new = f"{name.rpartition('/')[0]}/{rng.choice(('7', 'other', 'a'))}.{name.rpartition('.')[2]}"
    return project if blocked(project, new) else project.with_file(name, None).with_file(new, project.files[name])


def variable(rng: Random, project: RandomProject) -> RandomProject:
    return replace(project, variables=project.variables | {"PASS_VARIABLE": project.variables["PASS_VARIABLE"] + "longer"})


def unpassed_variable(rng: Random, project: RandomProject) -> RandomProject:
    return replace(project, variables=project.variables | {"OTHER_VARIABLE": "2", "YET_ANOTHER": "3"})


# -- edits that should not matter --------------------------------------------------------------------------------------------


def comment(rng: Random, project: RandomProject) -> RandomProject:
    text = shuffled(rng, python_texts(project), SOURCES)[0]
    lines = text.source.splitlines()
    at = rng.randint(0, len(lines))
    lines.insert(at, f"# {rng.choice(WORDS)}")
    return text.put(project, "\n".join(lines) + "\n")


def comment_at_the_end_of_a_line(rng: Random, project: RandomProject) -> RandomProject:
    text = shuffled(rng, modules(project), SOURCES)[0]
    lines = text.source.splitlines()
    at = rng.randrange(max(len(lines), 1)) if lines else 0
    return text.put(project, "\n".join([*lines[:at], *(f"{line}  # {rng.choice(WORDS)}" for line in lines[at:at + 1]), *lines[at + 1:]]) + "\n")


def formatted(rng: Random, project: RandomProject) -> RandomProject:
    "A formatter: other quotes, no comments, other blank lines"
    text = shuffled(rng, python_texts(project), SOURCES)[0]
    return text.put(project, ast.unparse(text.parsed()) + "\n")


def blank_lines(rng: Random, project: RandomProject) -> RandomProject:
    text = rng.choice(modules(project))
    return text.put(project, re.sub(r"\n\n\n", "\n\n\n\n\n", "\n" + text.source))


def line_ends(rng: Random, project: RandomProject) -> RandomProject:
    text = rng.choice(modules(project))
    return text.put(project, text.source.replace("\n", "\r\n"))


def unused_function(rng: Random, project: RandomProject) -> RandomProject:
    text, node = some_node(rng, project, lambda node: isinstance(node, ast.FunctionDef) and bool(re.match("spare|other|unused|never|.*_text|.*_typed|.*_prompt", node.name)), SOURCES)
    return text.replaced(project, node.body[-1], f"return {rng.randint(10, 99)}")


def unrelated_file(rng: Random, project: RandomProject) -> RandomProject:
    name = rng.choice(("README.md", "notes/todo.txt", "setup.cfg", "tests/test_all.py", ".editorconfig", "docs/index.md", "data/README.md", "Makefile"))
    return project if blocked(project, name) else project.with_file(name, f"{rng.random()}\n")


def touched(rng: Random, project: RandomProject) -> RandomProject:
    "Files written again with their content"
    return replace(project, touched=tuple(rng.sample(sorted(project.files), min(3, len(project.files)))))


def byte_code(rng: Random, project: RandomProject) -> RandomProject:
    text = rng.choice(modules(project))
    folder, _, name = text.where.rpartition("/")
    return project.with_file(f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-399.pyc".lstrip("/"), b"\0" * 16)


def markdown(rng: Random, project: RandomProject) -> RandomProject:
    return replace(project, markdown=f"About {rng.choice(WORDS)}")


# -- edits of the notebook ---------------------------------------------------------------------------------------------------


def split_cell(rng: Random, project: RandomProject) -> RandomProject:
    number = rng.choice([number for number, cell in enumerate(project.cells) if "\n" in cell and not cell.startswith("%%") and "def " not in cell and "try" not in cell and "if " not in cell])
    first, rest = project.cells[number].split("\n", 1)
    return replace(project, cells=(*project.cells[:number], first, rest, *project.cells[number + 1:]))


def swapped_cells(rng: Random, project: RandomProject) -> RandomProject:
    at = rng.randrange(1, len(project.cells) - 2)
    return replace(project, cells=(*project.cells[:at], project.cells[at + 1], project.cells[at], *project.cells[at + 2:]))


def new_cell(rng: Random, project: RandomProject) -> RandomProject:
    at = rng.randint(1, len(project.cells) - 1)
    cell = rng.choice(("", "# nothing", "1 + 1", "values.append(1)", "def price(x):\n    return 1", "len = lambda x: 1", "import sys; sys.modules.pop('json')", "print(values)"))
    return replace(project, cells=(*project.cells[:at], cell, *project.cells[at:]))


def removed_cell(rng: Random, project: RandomProject) -> RandomProject:
    at = rng.randrange(1, len(project.cells) - 1)
    return replace(project, cells=(*project.cells[:at], *project.cells[at + 1:]))


KINDS: dict[str, tuple[int, Callable[[Random, RandomProject], RandomProject]]] = {  # name -> weight, edit
    edit.__name__: (weight, edit)
    for weight, edits in {
        4: (constant, new_definition, unused_function, data_content, data_new_file, comment, moved_definition),
        3: (operator, new_module, order_of_statements, new_feature, docstring, formatted),
        2: (text_constant, default, decorator, base_class, removed_definition, renamed_definition, new_method, annotation, statement_on_import, data_removed, data_renamed,
            removed_module, start_of_a_package, import_from_elsewhere, new_star_import, unrelated_file, touched, swapped_cells, new_cell, variable),
        1: (swapped_operands, comparison, name_of_an_argument, new_docstring, order_in_a_class, removed_statement, doubled_statement, renamed_everywhere, generator, renamed_module,
            module_becomes_a_package, swapped_modules, unpassed_variable, comment_at_the_end_of_a_line, blank_lines, line_ends, byte_code, markdown, split_cell, removed_cell),
    }.items() for edit in edits
}


def is_valid(project: RandomProject) -> bool:
    "Whether all texts are Python"
    try:
        for text in python_texts(project):
            compile(text.source, "text", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    except (SyntaxError, ValueError):
        return False
    return True


def random_edits(seed: int | str, project: RandomProject, count: int = 3) -> Iterator[Edit]:
    "Edits of a project, each of the project as it was"
    rng = Random(f"edit {seed}")
    names, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
    while count:
        kind = rng.choices(names, weights)[0]
        try:
            edited = KINDS[kind][1](rng, project)
        except IndexError:
            continue
        if edited != project and is_valid(edited):
            count -= 1
            yield Edit(kind, edited)


