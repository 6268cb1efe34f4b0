"""Changes of code: modules of the project, however they are reached."""
from helpers.trial import Change, Place, Row, append, cell, edit, folder, link, move, notebook_cells, remove, setting, tagged, write


def code(files: dict[str, str], cells: str | tuple[str, ...], change: tuple[str, str, str] | Change | tuple[Change, ...], reason: str = "", **more) -> Row:
    "A row whose change replaces (file, old, new), or does anything else; its reason names the file"
    if isinstance(change, tuple) and isinstance(change[0], str):
        parts = change[0].removesuffix(".py").removesuffix("/__init__").split("/")
        return Row(cells, edit(*change), reason or parts[-1], files, **more)
    return Row(cells, change, reason, files, **more)


DOUBLE = "def price(x):\n    return x * 2\n"
EDIT = "x * 2", "x * 3"
PACKAGE = {"pkg§/__init__.py": "from .core import price\n", "pkg§/core.py": DOUBLE}
CORE = "pkg§/core.py", *EDIT
SHOP = {"shop§.py": DOUBLE}
SHOPS = "shop§.py", *EDIT


def registry(register: str, plugin: str, use: str, **more: str) -> dict[str, str]:
    "A module that keeps what plugins register, the plugin, and one that uses both"
    return {"reg§.py": register, "plug§.py": plugin, "use§.py": use} | more


# -- how a name is found -----------------------------------------------------------------------------------------------------

FAST_SLOW = "try:\n    from fast§ import price\nexcept ImportError:\n    from slow§ import price\n"
IMPORTS = {
    "plain import": code(SHOP, "import shop§\nvalue = shop§.price(3)", SHOPS),
    "a relative place on the path": Row("before = os.getcwd()\nos.chdir(here)\nsys.path.insert(0, '.')\ntry:\n    import fast§\n    value = 1\nexcept ImportError:\n    value = 0\nos.chdir(before)\nsys.path.pop(0)", write("d§/fast§.py", ""), "fast", {"d§/x": ""}),
    "import under another name": code(SHOP, "from shop§ import price as cost\nvalue = cost(3)", SHOPS),
    "getattr on a package that re-exports": code(PACKAGE, "import pkg§\nvalue = getattr(pkg§, 'price')(3)", CORE, "core"),
    "re-export through two packages": code(PACKAGE | {"top§/__init__.py": "from pkg§ import price as cost\n"}, "from top§ import cost\nvalue = cost(3)", CORE, "core"),
    "a package attribute that is a module": code({"pkg§/__init__.py": "from . import core as engine\n", "pkg§/core.py": "from .low import price\n", "pkg§/low.py": DOUBLE}, "import pkg§\nvalue = pkg§.engine.price(3)", ("pkg§/low.py", *EDIT), "low"),
    "a submodule that another module imported": code({"pkg§/__init__.py": "", "pkg§/core.py": DOUBLE, "other§.py": "import pkg§.core\n"}, "import other§, pkg§\nvalue = pkg§.core.price(3)", CORE, "core"),
    "relative import of a parent package": code({"pkg§/__init__.py": "RATE = 2\n", "pkg§/sub/__init__.py": "", "pkg§/sub/core.py": "from .. import RATE\nfrom ..low import base\n\n\ndef price(x):\n    return base(x) * RATE\n", "pkg§/low.py": "def base(x):\n    return x + 1\n"}, "from pkg§.sub.core import price\nvalue = price(3)", ("pkg§/low.py", "x + 1", "x + 2"), "low"),
    "try import: the fast one is there and changes": code({"m§.py": FAST_SLOW, "fast§.py": DOUBLE, "slow§.py": "def price(x):\n    return x\n"}, "from m§ import price\nvalue = price(3)", ("fast§.py", *EDIT)),
    "try import: the fast one appears": code({"m§.py": FAST_SLOW, "slow§.py": DOUBLE}, "from m§ import price\nvalue = price(3)", write("fast§.py", "def price(x):\n    return x * 3\n"), "fast§"),
    "try import: the fast one appears as a package": code({"m§.py": FAST_SLOW, "slow§.py": DOUBLE}, "from m§ import price\nvalue = price(3)", write("fast§/__init__.py", "def price(x):\n    return x * 3\n"), "fast§"),
    "try import: the fast one goes": code({"m§.py": FAST_SLOW, "fast§.py": DOUBLE, "slow§.py": "def price(x):\n    return x\n"}, "from m§ import price\nvalue = price(3)", remove("fast§.py"), "fast§"),
    "try import: the fast one can't be imported any more": code({"m§.py": FAST_SLOW, "fast§.py": DOUBLE, "slow§.py": "def price(x):\n    return x\n"}, "from m§ import price\nvalue = price(3)", append("fast§.py", "import not_there_at_all\n"), "fast§"),
    "try import in a cell: the fast one appears": code({"slow§.py": DOUBLE}, FAST_SLOW + "value = price(3)", write("fast§.py", "def price(x):\n    return x * 3\n"), "fast§"),
    "try import of a submodule that appears": code({"pkg§/__init__.py": "try:\n    from .speed import RATE\nexcept ImportError:\n    RATE = 2\n"}, "from pkg§ import RATE\nvalue = RATE", write("pkg§/speed.py", "RATE = 3\n"), "speed"),
    "find_spec asks for a module that appears": code({}, "from importlib.util import find_spec\nvalue = find_spec('extra§') is not None", write("extra§.py", ""), "extra§"),
    "find_spec asks for a folder that appears": code({}, "from importlib.util import find_spec\nvalue = find_spec('extra§') is not None", folder("extra§"), "extra§"),
    "if and else import": code({"m§.py": "import sys\nif sys.platform == 'linux':\n    from fast§ import price\nelse:\n    from slow§ import price\n", "fast§.py": DOUBLE, "slow§.py": DOUBLE}, "from m§ import price\nvalue = price(3)", ("fast§.py", *EDIT)),
    "import in a function": code(SHOP | {"m§.py": "def go(x):\n    from shop§ import price\n    return price(x)\n"}, "from m§ import go\nvalue = go(3)", SHOPS),
    "import in a class body": code(SHOP | {"m§.py": "class Till:\n    from shop§ import price\n    price = staticmethod(price)\n"}, "from m§ import Till\nvalue = Till.price(3)", SHOPS),
    "import_module with a constant": code(SHOP, "import importlib\nvalue = importlib.import_module('shop§').price(3)", SHOPS),
    "import_module with a computed name": code({"pkg§/__init__.py": "", "pkg§/a.py": DOUBLE}, "import importlib\nvalue = importlib.import_module('pkg§.' + 'a').price(3)", ("pkg§/a.py", *EDIT), "pkg§"),
    "__import__ with a computed name": code(SHOP, "value = __import__('sh' + 'op§').price(3)", SHOPS),
    "resolve_name in a module that is known": code({"shop§.py": "A = 1\n\n\n" + DOUBLE}, "import pkgutil\nfrom shop§ import A\nvalue = pkgutil.resolve_name('shop§:price')(3)", SHOPS),
    "name of a module in a setting": code(SHOP | {"d§/plugins.txt": "shop§\n"}, "import importlib\nvalue = [importlib.import_module(name).price(3) for name in (here / 'plugins.txt').read_text().split()]", SHOPS),
    "plugins that a package lists: one more": code({"plug§/__init__.py": "import importlib, pkgutil\nALL = {one.name: importlib.import_module(f'{__name__}.{one.name}').V for one in pkgutil.iter_modules(__path__)}\n", "plug§/a.py": "V = 1\n"}, "import plug§\nvalue = plug§.ALL", write("plug§/b.py", "V = 2\n"), "plug§"),
    "plugins that a package lists: one changes": code({"plug§/__init__.py": "import importlib, pkgutil\nALL = {one.name: importlib.import_module(f'{__name__}.{one.name}').V for one in pkgutil.iter_modules(__path__)}\n", "plug§/a.py": "V = 1\n"}, "import plug§\nvalue = plug§.ALL", ("plug§/a.py", "1", "2"), "plug§"),
    "plugins by glob and spec_from_file_location": code({"d§/a.py": "V = 1\n"}, "from importlib.util import module_from_spec, spec_from_file_location\nvalue = {}\nfor path in sorted(here.glob('*.py')):\n    spec = spec_from_file_location(path.stem, path)\n    module = module_from_spec(spec)\n    spec.loader.exec_module(module)\n    value[path.stem] = module.V", ("d§/a.py", "1", "2"), "d§"),
    "lazy attribute of a package": code({"pkg§/__init__.py": "def __getattr__(name):\n    if name == 'price':\n        from .core import price\n        return price\n    raise AttributeError(name)\n", "pkg§/core.py": DOUBLE}, "from pkg§ import price\nvalue = price(3)", CORE, "core"),
    "lazy attribute by a table of names": code({"pkg§/__init__.py": "import importlib\nWHERE = {'price': 'core'}\n\n\ndef __getattr__(name):\n    if name in WHERE:\n        return getattr(importlib.import_module(f'.{WHERE[name]}', __name__), name)\n    raise AttributeError(name)\n", "pkg§/core.py": DOUBLE, "pkg§/new.py": "def price(x):\n    return x\n"}, "import pkg§\nvalue = pkg§.price(3)", ("pkg§/__init__.py", "'core'", "'new'"), "pkg§"),
    "star import of a module that imports": code(SHOP | {"m§.py": "from shop§ import price\n"}, "from m§ import *\nvalue = price(3)", SHOPS),
    "star import: a new name hides an older one": code({"first§.py": DOUBLE, "second§.py": "RATE = 1\n"}, "from first§ import *\nfrom second§ import *\nvalue = price(3)", append("second§.py", "\n\ndef price(x):\n    return x\n"), "second§"),
    "star import: __all__ grows": code({"first§.py": DOUBLE, "second§.py": "__all__ = []\n\n\ndef price(x):\n    return x\n"}, "from first§ import *\nfrom second§ import *\nvalue = price(3)", ("second§.py", "[]", "['price']")),
    "star import of a package whose __all__ names a submodule": code({"pkg§/__init__.py": "__all__ = ['core']\n", "pkg§/core.py": DOUBLE}, "from pkg§ import *\nvalue = core.price(3)", CORE, "core"),
    "star import: a new name hides a builtin": code({"first§.py": "def total(x):\n    return x\n"}, "from first§ import *\nvalue = sum([1, 2])", append("first§.py", "\n\ndef sum(x):\n    return 0\n"), "first§"),
    "a new function hides a builtin in its own module": code({"m§.py": "def go(x):\n    return len(x)\n"}, "from m§ import go\nvalue = go([1, 2])", append("m§.py", "\n\ndef len(x):\n    return 0\n"), "m§"),
    "a new function takes the place of one that was imported": code(SHOP | {"m§.py": "from shop§ import price\n\n\ndef go(x):\n    return price(x)\n"}, "from m§ import go\nvalue = go(3)", append("m§.py", "\n\ndef price(x):\n    return x\n"), "m§"),
    "a second definition of the same name": code({"m§.py": DOUBLE + "\n\ndef go(x):\n    return price(x)\n"}, "from m§ import go\nvalue = go(3)", append("m§.py", "\n\ndef price(x):\n    return x\n"), "m§"),
    "a package appears beside the module": code(SHOP, "from shop§ import price\nvalue = price(3)", write("shop§/__init__.py", "def price(x):\n    return x\n"), "shop§"),
    "a package becomes a folder without __init__": code({"pkg§/__init__.py": "RATE = 2\n", "pkg§/core.py": "V = 1\n"}, "import pkg§\nfrom pkg§.core import V\nvalue = getattr(pkg§, 'RATE', 0)", remove("pkg§/__init__.py"), "pkg§"),
    "a folder becomes a package": code({"pkg§/core.py": "V = 1\n"}, "import pkg§.core\nvalue = hasattr(pkg§, 'RATE')", write("pkg§/__init__.py", "RATE = 2\n"), "pkg§"),
    "namespace package over two folders": code({"ns§/here.py": "V = 1\n", "more§/ns§/there.py": "V = 2\n"}, "sys.path.append(str(project / 'more§'))\nimport ns§.here, ns§.there\nvalue = ns§.here.V + ns§.there.V", ("more§/ns§/there.py", "V = 2", "V = 3"), "there"),
    "namespace package: an earlier folder gets the module": code({"ns§/here.py": "V = 1\n", "more§/ns§/there.py": "V = 2\n"}, "sys.path.append(str(project / 'more§'))\nimport ns§.there\nvalue = ns§.there.V", write("ns§/there.py", "V = 3\n"), "there"),
    "namespace package: its folders are listed": code({"ns§/a.py": ""}, "import ns§, pkgutil\nvalue = [one.name for one in pkgutil.iter_modules(ns§.__path__)]", write("ns§/b.py", ""), "ns§"),
    "a folder before on the path gets the module": code({"late§/tool§.py": "V = 2\n", "early§/other.py": ""}, "sys.path[:0] = [str(project / 'early§'), str(project / 'late§')]\nimport tool§\nvalue = tool§.V", write("early§/tool§.py", "V = 3\n"), "tool§"),
    "a folder before on the path appears": code({"late§/tool§.py": "V = 2\n"}, "sys.path[:0] = [str(project / 'early§'), str(project / 'late§')]\nimport tool§\nvalue = tool§.V", write("early§/tool§.py", "V = 3\n"), "tool§"),
    "src folder that a cell puts on the path": code({"src§/tool§.py": "V = 2\n"}, "sys.path.insert(0, str(project / 'src§'))\nimport tool§\nvalue = tool§.V", ("src§/tool§.py", "2", "3"), "tool§"),
    "src folder that a module puts on the path": code({"src§/tool§.py": "V = 2\n", "m§.py": "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent / 'src§'))\nimport tool§\n"}, "import m§\nvalue = m§.tool§.V", ("src§/tool§.py", "2", "3"), "tool§"),
    "folder by addsitedir": code({"d§/site/tool§.py": "V = 2\n"}, "import site\nsite.addsitedir(str(here / 'site'))\nimport tool§\nvalue = tool§.V", ("d§/site/tool§.py", "2", "3"), "tool§"),
    "folder by addsitedir: a path file appears": code({"d§/site/tool§.py": "V = 2\n", "d§/more/extra§.py": ""}, "import site\nsite.addsitedir(str(here / 'site'))\ntry:\n    import extra§\n    value = 1\nexcept ImportError:\n    value = 0", write("d§/site/a.pth", "../more\n"), "d§"),
    "__path__ of a package is extended": code({"pkg§/__init__.py": "from pathlib import Path\n__path__.append(str(Path(__file__).parents[1] / 'd§'))\n", "d§/core.py": DOUBLE}, "from pkg§.core import price\nvalue = price(3)", ("d§/core.py", *EDIT), "core"),
    "a module outside the project": code({"~/out§/far§.py": "V = 2\n"}, "sys.path.append(str(project.parent / 'out§'))\nimport far§\nvalue = far§.V", ("~/out§/far§.py", "2", "3"), "far§"),
    "a zip file on the path": Row("sys.path.append(str(here / 'code.zip'))\nimport zipped§\nvalue = zipped§.V", lambda place: zipped(place, 3), "code.zip", before=lambda place: zipped(place, 2)),
    "an installed package is shadowed": code({}, "import importlib\nvalue = hasattr(importlib.import_module('ini' + 'config'), 'MINE')", write("iniconfig.py", "MINE = 1\n"), "iniconfig"),
    "a link to a module gets another target": code({"d§/a.py": "V = 2\n", "d§/b.py": "V = 3\n"}, "import current§\nvalue = current§.V", link("current§.py", "d§/b.py"), "current§", before=link("current§.py", "d§/a.py")),
    "a link to a package gets another target": code({"v2§/__init__.py": "V = 2\n", "v3§/__init__.py": "V = 3\n"}, "import current§\nvalue = current§.V", link("current§", "v3§"), "current§", before=link("current§", "v2§")),
    "the target of a linked module changes": code({"d§/a.py": "V = 2\n"}, "import current§\nvalue = current§.V", ("d§/a.py", "2", "3"), "current§", before=link("current§.py", "d§/a.py")),
    "two modules change places": code({"a§.py": "V = 1\n", "b§.py": "V = 2\n"}, "import a§, b§\nvalue = [a§.V, b§.V]", (move("a§.py", "c§.py"), move("b§.py", "a§.py"), move("c§.py", "b§.py")), "a§"),
    "one alias for two modules": code({"v1§.py": DOUBLE, "v2§.py": "def price(x):\n    return x\n"}, ("import v1§ as model\na = model.price(3)", "import v2§ as model\nb = model.price(3)", "value = [a, b]"), ("v1§.py", *EDIT)),
    "modules that import one another": code({"a§.py": "import b§\n\n\ndef one(x):\n    return b§.two(x)\n", "b§.py": "import a§\n\n\ndef two(x):\n    return x * 2\n"}, "import a§\nvalue = a§.one(3)", ("b§.py", *EDIT)),
    "reload of a module": code({"m§.py": "V = 2\n"}, "import importlib, m§\nvalue = importlib.reload(m§).V", ("m§.py", "2", "3")),
    "autoreload": code({"shop§.py": "RATE = 2\n"}, ("%load_ext autoreload\n%autoreload 2\nimport shop§", "value = shop§.RATE"), ("shop§.py", "2", "3")),
    "an importer of one's own": code({"finder§.py": "import sys\nfrom importlib.abc import Loader, MetaPathFinder\nfrom importlib.machinery import ModuleSpec\nfrom pathlib import Path\n\nHOME = Path(__file__).parent / 'd§'\n\n\nclass Finder(MetaPathFinder, Loader):\n    def find_spec(self, name, path=None, target=None):\n        return ModuleSpec(name, self) if (HOME / f'{name}.dsl').exists() else None\n\n    def exec_module(self, module):\n        module.V = float((HOME / f'{module.__name__}.dsl').read_text())\n\n\nsys.meta_path.append(Finder())\n", "d§/rates§.dsl": "2"}, "import finder§, rates§\nvalue = rates§.V", write("d§/rates§.dsl", "3"), "rates§.dsl"),
    "module without source": Row("sys.path.insert(0, str(here))\nimport bare§\nvalue = bare§.V", lambda place: compiled(place, "V = 3"), "bare§", before=lambda place: compiled(place, "V = 2")),
    "byte code that is never checked": Row("import cached§\nvalue = cached§.V", lambda place: unchecked(place, "V = 3"), "cached§", {"cached§.py": "V = 1\n"}, lambda place: unchecked(place, "V = 2")),
    "a module made by hand": code({"d§/text.txt": "V = 2\n"}, "import types\nmade = types.ModuleType('made')\nexec((here / 'text.txt').read_text(), made.__dict__)\nvalue = made.V", ("d§/text.txt", "2", "3"), "text.txt"),
    "exec of an opened file": code({"tool§.py": "V = 2\n"}, "space = {}\nexec(open(project / 'tool§.py').read(), space)\nvalue = space['V']", ("tool§.py", "2", "3")),
    "exec of a compiled file": code({"tool§.py": "V = 2\n"}, "space = {}\nexec(compile((project / 'tool§.py').read_bytes(), str(project / 'tool§.py'), 'exec'), space)\nvalue = space['V']", ("tool§.py", "2", "3")),
    "run_path": code({"tool§.py": "V = 2\n"}, "import runpy\nvalue = runpy.run_path(str(project / 'tool§.py'))['V']", ("tool§.py", "2", "3")),
    "run_module": code({"tool§.py": DOUBLE + "\n\nif __name__ == '__main__':\n    V = price(3)\n"}, "import runpy\nvalue = runpy.run_module('tool§', run_name='__main__')['V']", ("tool§.py", *EDIT)),
    "%run of a script": code({"tool§.py": "V = 2\n"}, ("%run {project}/tool§.py", "value = V"), ("tool§.py", "2", "3")),
    "%run -i of a script with a function": code({"tool§.py": DOUBLE}, ("%run -i {project}/tool§.py", "value = price(3)"), ("tool§.py", *EDIT)),
    "%load_ext of an extension of one's own": code({"ext§.py": "def load_ipython_extension(shell):\n    shell.user_ns['V'] = 2\n"}, ("%load_ext ext§", "value = V"), ("ext§.py", "2", "3")),
    "a cell magic of one's own": code({"magic§.py": "from IPython import get_ipython\nfrom IPython.core.magic import register_cell_magic\n\n\n@register_cell_magic\ndef scaled(line, cell):\n    get_ipython().user_ns['value'] = 2 * float(cell)\n"}, ("import magic§", "%%scaled\n3"), ("magic§.py", "2 * float", "3 * float")),
    "%%time cell that uses a module": code(SHOP, ("import shop§", "%%time\nvalue = shop§.price(3)"), SHOPS),
    "%time line that uses a module": code(SHOP, ("import shop§", "%time value = shop§.price(3)"), SHOPS),
    "%%capture cell that imports a module": code(SHOP, ("%%capture\nimport shop§\nvalue = shop§.price(3)",), SHOPS),
    "%pycat and %load read a module": code(SHOP, ("shell = get_ipython()\nvalue = shell.find_user_code(str(project / 'shop§.py'))",), SHOPS),
    "a child Python runs a script": code({"tools§/count.py": "print(2)\n"}, "import subprocess\nvalue = subprocess.run([sys.executable, project / 'tools§/count.py'], capture_output=True, text=True).stdout", ("tools§/count.py", "2", "3"), "count"),
    "!python runs a script": code({"tools§/count.py": "print(2)\n"}, ("value = !{sys.executable} {project}/tools§/count.py",), ("tools§/count.py", "2", "3"), "count"),
    "!python runs a script that imports a module": code(SHOP | {"tools§/count.py": "from shop§ import price\nprint(price(3))\n"}, ("value = !{sys.executable} {project}/tools§/count.py",), SHOPS),
    "%%python cell imports a module": code(SHOP, ("%%script {sys.executable} --out value\nimport shop§\nprint(shop§.price(3))",), SHOPS),
    "a child Python imports a module": code(SHOP, "import subprocess\nvalue = subprocess.run([sys.executable, '-c', 'import shop§; print(shop§.price(3))'], capture_output=True, text=True).stdout", SHOPS),
    "a child Python runs a module": code({"pkg§/__init__.py": "", "pkg§/__main__.py": "from pkg§.core import price\nprint(price(3))\n", "pkg§/core.py": DOUBLE}, "import subprocess\nvalue = subprocess.run([sys.executable, '-m', 'pkg§'], capture_output=True, text=True).stdout", CORE, "core"),
    "an isolated child Python imports a module": code(SHOP, "import subprocess\nvalue = subprocess.run([sys.executable, '-I', '-c', f'import sys; sys.path.insert(0, {str(project)!r}); import shop§; print(shop§.price(3))'], capture_output=True, text=True).stdout", SHOPS),
    "an entry point of the project": code({"egg§/__init__.py": "", "egg§/plug.py": DOUBLE, "egg§.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: egg§\nVersion: 1.0\n", "egg§.egg-info/entry_points.txt": "[prices§]\nusual = egg§.plug:price\n"}, "from importlib.metadata import entry_points\nvalue = [one.load()(3) for one in entry_points(group='prices§')]", ("egg§/plug.py", *EDIT), "plug"),
    "the list of entry points of the project": code({"egg§/__init__.py": "", "egg§/plug.py": DOUBLE, "egg§.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: egg§\nVersion: 1.0\n", "egg§.egg-info/entry_points.txt": "[prices§]\nusual = egg§.plug:price\n"}, "from importlib.metadata import entry_points\nvalue = [one.name for one in entry_points(group='prices§')]", ("egg§.egg-info/entry_points.txt", "usual", "other"), "egg§"),
    "the version in metadata of the project": code({"egg§.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: egg§\nVersion: 1.0\n"}, "from importlib.metadata import version\nvalue = version('egg§')", ("egg§.egg-info/PKG-INFO", "1.0", "2.0"), "egg§"),
}

SHADOWED = {  # each changes what every step of the project may import
    "a module of the standard library is shadowed": code({}, "import sched\nvalue = hasattr(sched, 'MINE')", write("sched.py", "MINE = 1\n"), "sched"),
    "a package of the standard library is shadowed": code({}, "from wsgiref import util\nvalue = hasattr(util, 'MINE')", (write("wsgiref/__init__.py", ""), write("wsgiref/util.py", "MINE = 1\n")), "wsgiref"),
    "a module that the standard library imports is shadowed": code({}, "import compileall\nvalue = hasattr(compileall.filecmp, 'MINE')", write("filecmp.py", "MINE = 1\n"), "filecmp"),
}


def zipped(place: Place, number: int) -> None:
    import zipfile

    with zipfile.ZipFile(place.path("d§/code.zip"), "w") as archive:
        archive.writestr(place.text("zipped§.py"), f"V = {number}\n")


def compiled(place: Place, source: str) -> None:
    "A module without source"
    import py_compile

    py_compile.compile(str(place.write("d§/made.txt", source)), cfile=str(place.path("d§/bare§.pyc")), doraise=True)


def unchecked(place: Place, source: str) -> None:
    "Byte code that Python takes without looking at the source"
    import importlib.util
    import py_compile

    target = importlib.util.cache_from_source(str(place.path("cached§.py")))
    made = place.write("d§/made.txt", source)
    py_compile.compile(str(made), cfile=target, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


# -- how code is reached -----------------------------------------------------------------------------------------------------

REACHED = {
    "a comment in a line of a stack": code({"m§.py": "import traceback\n\ndef go():\n    return traceback.format_stack()[-1]  # two\n"}, "import m§\nvalue = m§.go()", ("m§.py", "# two", "# three"), "m§"),
    "a comment in a line of a warning that is kept": code({"m§.py": "import contextlib, io, warnings\n\ndef go():\n    with contextlib.redirect_stderr(io.StringIO()) as kept:\n        warnings.warn('old')  # two\n    return kept.getvalue()\n"}, "import m§\nvalue = m§.go()", ("m§.py", "# two", "# three"), "m§"),
    "getattr on one's own module": code({"m§.py": "import sys\n\n\ndef price_a(x):\n    return x * 2\n\n\ndef price(kind, x):\n    return getattr(sys.modules[__name__], 'price_' + kind)(x)\n"}, "from m§ import price\nvalue = price('a', 3)", ("m§.py", *EDIT)),
    "globals by a computed name": code({"m§.py": "def price_a(x):\n    return x * 2\n\n\ndef price(kind, x):\n    return globals()['price_' + kind](x)\n"}, "from m§ import price\nvalue = price('a', 3)", ("m§.py", *EDIT)),
    "getattr with a default: the name appears": code({"m§.py": "RATE = 2\n"}, "import m§\nvalue = getattr(m§, 'price_' + 'b', None) is None", append("m§.py", "\n\ndef price_b(x):\n    return x\n"), "m§"),
    "hasattr: the name appears": code({"m§.py": "RATE = 2\n"}, "import m§\nvalue = hasattr(m§, 'setup')", append("m§.py", "\n\ndef setup():\n    pass\n"), "m§"),
    "hasattr in another module: the name appears": code({"m§.py": "RATE = 2\n", "ask§.py": "def ask(module, name):\n    return hasattr(module, name)\n"}, "import m§\nfrom ask§ import ask\nvalue = ask(m§, 'set' + 'up')", append("m§.py", "\n\ndef setup():\n    pass\n"), "m§"),
    "except AttributeError: the name appears": code({"m§.py": "RATE = 2\n"}, "import m§\ntry:\n    value = m§.setup()\nexcept AttributeError:\n    value = 0", append("m§.py", "\n\ndef setup():\n    return 1\n"), "m§"),
    "except NameError: the name appears": code({"m§.py": "def go():\n    try:\n        return setup()\n    except NameError:\n        return 0\n"}, "from m§ import go\nvalue = go()", append("m§.py", "\n\ndef setup():\n    return 1\n"), "m§"),
    "except ImportError for a name that appears": code({"m§.py": "RATE = 2\n"}, "try:\n    from m§ import setup\n    value = 1\nexcept ImportError:\n    value = 0", append("m§.py", "\n\ndef setup():\n    return 1\n"), "m§"),
    "a list of functions by prefix": code({"m§.py": "def check_a(x):\n    return x\n\n\ndef run(x):\n    return [f(x) for name, f in sorted(globals().items()) if name.startswith('check_')]\n"}, "from m§ import run\nvalue = run(3)", append("m§.py", "\n\ndef check_b(x):\n    return -x\n"), "m§"),
    "vars of a module": code({"m§.py": "def check_a(x):\n    return x\n"}, "import m§\nvalue = sorted(name for name in vars(m§) if name.startswith('check_'))", append("m§.py", "\n\ndef check_b(x):\n    return -x\n"), "m§"),
    "dir of a module": code({"m§.py": "def check_a(x):\n    return x\n"}, "import m§\nvalue = [name for name in dir(m§) if not name.startswith('_')]", append("m§.py", "\n\ndef check_b(x):\n    return -x\n"), "m§"),
    "__dict__ of a module that was passed on": code({"m§.py": "def check_a(x):\n    return x\n", "ask§.py": "def names(module):\n    return sorted(module.__dict__)\n"}, "import m§\nfrom ask§ import names\nvalue = [name for name in names(m§) if name[0] != '_']", append("m§.py", "\n\ndef check_b(x):\n    return -x\n"), "m§"),
    "getmembers of a module": code({"m§.py": "def check_a(x):\n    return x\n"}, "import inspect, m§\nvalue = [name for name, _ in inspect.getmembers(m§, inspect.isfunction)]", append("m§.py", "\n\ndef check_b(x):\n    return -x\n"), "m§"),
    "getmembers of sys.modules": code({"m§.py": "def check_a(x):\n    return x\n"}, "import inspect, m§\nvalue = [name for name, _ in inspect.getmembers(sys.modules['m' + '§'], inspect.isfunction)]", append("m§.py", "\n\ndef check_b(x):\n    return -x\n"), "m§"),
    "methods by prefix": code({"m§.py": "class Checks:\n    def check_a(self):\n        return 1\n\n    def run(self):\n        return [getattr(self, name)() for name in dir(self) if name.startswith('check_')]\n"}, "from m§ import Checks\nvalue = Checks().run()", append("m§.py", "\n    def check_b(self):\n        return 2\n"), "m§"),
    "unittest finds methods": code({"m§.py": "import unittest\n\n\nclass Checks(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(1)\n"}, "import unittest, m§\nvalue = unittest.defaultTestLoader.loadTestsFromModule(m§).countTestCases()", append("m§.py", "\n    def test_b(self):\n        self.assertTrue(1)\n"), "m§"),
    "unittest finds a new class": code({"m§.py": "import unittest\n\n\nclass Checks(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(1)\n"}, "import unittest, m§\nvalue = unittest.defaultTestLoader.loadTestsFromModule(m§).countTestCases()", append("m§.py", "\n\nclass More(unittest.TestCase):\n    def test_b(self):\n        self.assertTrue(1)\n"), "m§"),
    "doctest finds examples": code({"m§.py": "def go(x):\n    '''\n    >>> go(1)\n    1\n    '''\n    return x\n"}, "import doctest, m§\nvalue = doctest.testmod(m§).attempted", ("m§.py", "    1\n", "    1\n    >>> go(2)\n    2\n")),
    "attrgetter": code({"m§.py": DOUBLE}, "import operator, m§\nvalue = operator.attrgetter('pri' + 'ce')(m§)(3)", ("m§.py", *EDIT)),
    "methodcaller": code({"m§.py": "class Till:\n    def price(self, x):\n        return x * 2\n"}, "import operator, m§\nvalue = operator.methodcaller('price', 3)(m§.Till())", ("m§.py", *EDIT)),
    "eval of a text": code({"m§.py": DOUBLE}, "from m§ import price\nvalue = eval('price(3)')", ("m§.py", *EDIT)),
    "eval in the module": code({"m§.py": DOUBLE + "\n\ndef run(text):\n    return eval(text)\n"}, "from m§ import run\nvalue = run('price(3)')", ("m§.py", *EDIT)),
    "format that reads an attribute": code({"m§.py": "class Shop:\n    rate = 2\n\n    @property\n    def price(self):\n        return 2 * 3\n"}, "from m§ import Shop\nvalue = '{0.price}'.format(Shop())", ("m§.py", "2 * 3", "3 * 3")),
    "format with a format of one's own": code({"m§.py": "class Price(float):\n    def __format__(self, how):\n        return f'EUR {float(self)}'\n"}, "from m§ import Price\nvalue = f'{Price(3)}'", ("m§.py", "EUR", "CHF")),
    "template with a function": code({"m§.py": DOUBLE}, "import jinja2, m§\nvalue = jinja2.Template('{{ m.price(3) }}').render(m=m§)", ("m§.py", *EDIT)),
    "hydra target": code({"m§.py": DOUBLE}, "from hydra.utils import instantiate\nvalue = instantiate({'_target_': 'm§.price', 'x': 3})", ("m§.py", *EDIT)),
    "hydra target in a parameter": Row("from hydra.utils import instantiate\nvalue = instantiate(model)", edit("m§.py", *EDIT), "m§", {"m§.py": DOUBLE}, step="params: {model: {_target_: m§.price, x: 3}}", parameters="from pathlib import Path\nmodel: dict = {}\nresult: Path = Path('out/result.json')"),
    "pandas query with a constant": code({"m§.py": "LIMIT = 3\n\n\ndef cleaned(table):\n    return table.query('x > @LIMIT')\n"}, "import pandas as pd\nfrom m§ import cleaned\nvalue = len(cleaned(pd.DataFrame({'x': range(9)})))", ("m§.py", "LIMIT = 3", "LIMIT = 5")),
    "pandas apply": code({"m§.py": DOUBLE}, "import pandas as pd, m§\nvalue = pd.Series([1, 2]).apply(m§.price).tolist()", ("m§.py", *EDIT)),
    "numpy vectorize": code({"m§.py": DOUBLE}, "import numpy as np, m§\nvalue = np.vectorize(m§.price)([1, 2]).tolist()", ("m§.py", *EDIT)),
    "polars map_elements": code({"m§.py": DOUBLE}, "import polars as pl, m§\nvalue = pl.Series([1, 2]).map_elements(m§.price, return_dtype=pl.Int64).to_list()", ("m§.py", *EDIT)),
    "a transformer in a scikit-learn pipeline": code({"m§.py": "def logged(x):\n    return x * 2\n"}, "import numpy as np, m§\nfrom sklearn.preprocessing import FunctionTransformer\nvalue = FunctionTransformer(m§.logged).fit_transform(np.ones((1, 1))).tolist()", ("m§.py", *EDIT)),
    "an estimator of one's own that is cloned": code({"m§.py": "from sklearn.base import BaseEstimator\n\n\nclass Twice(BaseEstimator):\n    def __init__(self, by=2):\n        self.by = by\n"}, "from sklearn.base import clone\nfrom m§ import Twice\nvalue = clone(Twice()).get_params()", ("m§.py", "by=2", "by=3")),
    "a pydantic model": code({"m§.py": "from pydantic import BaseModel, field_validator\n\n\nclass Row(BaseModel):\n    x: int\n\n    @field_validator('x')\n    @classmethod\n    def twice(cls, value):\n        return value * 2\n"}, "from m§ import Row\nvalue = Row(x='3').x", ("m§.py", "value * 2", "value * 3")),
    "a click command": code({"m§.py": "import click\n\n\n@click.command()\n@click.option('--rate', default=2)\ndef main(rate):\n    click.echo(rate)\n"}, "from click.testing import CliRunner\nfrom m§ import main\nvalue = CliRunner().invoke(main, []).output", ("m§.py", "default=2", "default=3")),
    "an attrs class": code({"m§.py": "import attr\n\n\n@attr.s(auto_attribs=True)\nclass Row:\n    x: int = attr.ib(factory=lambda: 2)\n"}, "from m§ import Row\nvalue = Row().x", ("m§.py", "lambda: 2", "lambda: 3")),
    "a yaml constructor": code({"m§.py": "import yaml\n\n\nclass Loader(yaml.SafeLoader):\n    pass\n\n\ndef twice(loader, node):\n    return loader.construct_scalar(node) * 2\n\n\nLoader.add_constructor('!twice', twice)\n"}, "import yaml\nfrom m§ import Loader\nvalue = yaml.load('!twice a', Loader)", ("m§.py", "* 2", "* 3")),
    "a logging handler by its name": code({"m§.py": "import logging\n\nSEEN = []\n\n\nclass Keep(logging.Handler):\n    def emit(self, record):\n        SEEN.append(record.getMessage() * 2)\n"}, "import logging.config\nlogging.config.dictConfig({'version': 1, 'disable_existing_loggers': False, 'handlers': {'keep': {'class': 'm§.Keep'}}, 'loggers': {'shop': {'handlers': ['keep'], 'propagate': False}}})\nlogging.getLogger('shop').warning('a')\nimport m§\nvalue = m§.SEEN", ("m§.py", "* 2", "* 3")),
    "mock.patch by a name": code({"m§.py": DOUBLE + "\n\ndef go(x):\n    return price(x)\n", "fake§.py": "def price(x):\n    return x + 2\n"}, "from unittest import mock\nimport m§, fake§\nwith mock.patch('m§.price', fake§.price):\n    value = m§.go(3)", ("fake§.py", "x + 2", "x + 3")),
    "a module that patches another one": code({"m§.py": DOUBLE, "patch§.py": "import m§\n\n\ndef price(x):\n    return x + 2\n\n\nm§.price = price\n"}, "import patch§\nfrom m§ import price\nvalue = price(3)", ("patch§.py", "x + 2", "x + 3")),
    "a module that patches the builtins": code({"patch§.py": "import builtins\nbuiltins.RATE = 2\n"}, "import patch§\nvalue = RATE", ("patch§.py", "2", "3")),
    "a module that patches an installed package": code({"patch§.py": "import json\n\nplain = json.dumps\njson.dumps = lambda *args, **more: plain(*args, **more) + ' '\n"}, "import patch§\nvalue = 1", ("patch§.py", "' '", "'  '")),
    "a value that importing leaves in the environment": code({"m§.py": "import os\nos.environ['MODE§'] = 'fast'\n"}, "import m§\nvalue = os.environ['MODE§']", ("m§.py", "fast", "slow")),
    "a seed that importing sets": code({"m§.py": "import random\nrandom.seed(1)\n"}, "import m§, random\nvalue = random.random()", ("m§.py", "seed(1)", "seed(2)")),
    "an option of a package that importing sets": code({"m§.py": "import decimal\ndecimal.getcontext().prec = 5\n"}, "import decimal, m§\nvalue = str(decimal.Decimal(1) / 3)", ("m§.py", "= 5", "= 6")),
    "a hook that importing leaves": code({"m§.py": "import atexit, sys\n\n\ndef shown(value):\n    return 2\n\n\nsys.shown = shown\n"}, "import m§\nvalue = sys.shown(1)", ("m§.py", "return 2", "return 3")),
    "a cell defines what a module calls back": code({"m§.py": "def apply(f, x):\n    return f(x) * 2\n"}, "from m§ import apply\nvalue = apply(lambda x: x + 1, 3)", ("m§.py", "* 2", "* 3")),
    "a module reads names of the notebook": code({"m§.py": "import __main__\n\n\ndef go():\n    return __main__.RATE * 2\n"}, "RATE = 3\nfrom m§ import go\nvalue = go()", ("m§.py", "* 2", "* 3")),
}

# -- what a definition does --------------------------------------------------------------------------------------------------

KEEPS = "ALL = {}\n\n\ndef register(function):\n    ALL[function.__name__] = function\n    return function\n"
DEFINED = {
    "partial of a helper": code({"m§.py": "from functools import partial\n\n\ndef base(a, x):\n    return a * x\n\n\ndouble = partial(base, 2)\n"}, "from m§ import double\nvalue = double(3)", ("m§.py", "a * x", "a * x + 1")),
    "argument of a partial": code({"m§.py": "from functools import partial\n\n\ndef base(a, x):\n    return a * x\n\n\ndouble = partial(base, 2)\n"}, "from m§ import double\nvalue = double(3)", ("m§.py", "base, 2", "base, 3")),
    "default argument": code({"m§.py": "def price(x, rate=2):\n    return x * rate\n"}, "from m§ import price\nvalue = price(3)", ("m§.py", "rate=2", "rate=3")),
    "default argument from a constant": code({"m§.py": "RATE = 2\n\n\ndef price(x, *, rate=RATE):\n    return x * rate\n"}, "from m§ import price\nvalue = price(3)", ("m§.py", "RATE = 2", "RATE = 3")),
    "default argument from a call": code({"m§.py": "def rate():\n    return 2\n\n\ndef price(x, rate=rate()):\n    return x * rate\n"}, "from m§ import price\nvalue = price(3)", ("m§.py", "return 2", "return 3")),
    "default of a function that never runs": code({"m§.py": "def price(x, rate=2):\n    return x * rate\n"}, "import inspect, m§\nvalue = str(inspect.signature(m§.price))", ("m§.py", "rate=2", "rate=3")),
    "name of an argument of a function that never runs": code({"m§.py": "def price(x, rate=2):\n    return 1\n"}, "import inspect, m§\nvalue = list(inspect.signature(m§.price).parameters)", ("m§.py", "rate=2", "rates=2")),
    "annotation of a function that never runs": code({"m§.py": "def price(x: int):\n    return 1\n"}, "import m§\nvalue = m§.price.__annotations__['x'].__name__", ("m§.py", "int", "float")),
    "docstring of a function that never runs": code({"m§.py": "def prompt():\n    'Answer in two words'\n"}, "from m§ import prompt\nvalue = prompt.__doc__", ("m§.py", "two", "three")),
    "docstring of a class": code({"m§.py": "class Tool:\n    'Answer in two words'\n"}, "from m§ import Tool\nvalue = Tool.__doc__", ("m§.py", "two", "three")),
    "docstring of a method": code({"m§.py": "class Tool:\n    def ask(self):\n        'Answer in two words'\n        return 1\n"}, "from m§ import Tool\nvalue = Tool().ask.__doc__", ("m§.py", "two", "three")),
    "docstring of a module": code({"m§.py": "'Answer in two words'\n"}, "import m§\nvalue = m§.__doc__", ("m§.py", "two", "three")),
    "docstring by getdoc and inheritance": code({"base§.py": "class Base:\n    def ask(self):\n        'two'\n", "m§.py": "from base§ import Base\n\n\nclass Tool(Base):\n    def ask(self):\n        return 1\n"}, "import inspect, m§\nvalue = inspect.getdoc(m§.Tool.ask)", ("base§.py", "two", "three")),
    "a function becomes a generator": code({"m§.py": "def go():\n    return []\n"}, "import inspect, m§\nvalue = inspect.isgeneratorfunction(m§.go)", ("m§.py", "return []", "yield 1")),
    "a function becomes a coroutine": code({"m§.py": "def go():\n    return 1\n"}, "import inspect, m§\nvalue = inspect.iscoroutinefunction(m§.go)", ("m§.py", "def go", "async def go")),
    "constants of a function that never runs": code({"m§.py": "def go():\n    return 2\n"}, "import m§\nvalue = m§.go.__code__.co_consts[-1]", ("m§.py", "return 2", "return 3")),
    "byte code of a function that never runs": code({"m§.py": "def go(x):\n    return x * 2\n"}, "import dis, m§\nvalue = [one.argrepr for one in dis.get_instructions(m§.go)]", ("m§.py", "x * 2", "x + 2")),
    "names of a function that never runs": code({"m§.py": "def go():\n    return first\n"}, "import m§\nvalue = m§.go.__code__.co_names", ("m§.py", "first", "second")),
    "a function in a cloudpickle": code({"m§.py": "def go(x):\n    return x * 2\n"}, "import cloudpickle, m§, pickle\ncloudpickle.register_pickle_by_value(m§)\nvalue = pickle.loads(cloudpickle.dumps(m§.go))(3)", ("m§.py", "x * 2", "x * 3")),
    "source of a function": code({"m§.py": "import inspect\n\n\ndef f():\n    return 1  # v1\n\n\ndef text():\n    return inspect.getsource(f)\n"}, "from m§ import text\nvalue = text()", ("m§.py", "# v1", "# v2")),
    "source by linecache": code({"m§.py": "V = 1\n"}, "import linecache, m§\nvalue = linecache.getline(m§.__file__, 1)", ("m§.py", "V = 1\n", "V = 1  # one\n")),
    "source by the loader": code({"m§.py": "V = 1\n"}, "import m§\nvalue = m§.__loader__.get_source('m§')", ("m§.py", "V = 1\n", "V = 1  # one\n")),
    "comments of a function": code({"m§.py": "# two\ndef f():\n    return 1\n"}, "import inspect, m§\nvalue = inspect.getcomments(m§.f)", ("m§.py", "# two", "# three")),
    "digest of all sources": code({"m§.py": "V = 1\n"}, "import hashlib\nvalue = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(project.glob('m§*.py'))}", ("m§.py", "V = 1\n", "V = 1  # one\n")),
    "version that is read from the source": code({"pkg§/__init__.py": "__version__ = '1.0'\n", "pkg§/core.py": "def f():\n    return 1\n"}, "import re\nfrom pkg§.core import f\nvalue = re.search(\"__version__ = '(.*)'\", (project / 'pkg§/__init__.py').read_text())[1]", ("pkg§/__init__.py", "1.0", "2.0"), "pkg§"),
    "torch.jit.script reads the source": code({"m§.py": "import torch\n\n\ndef price(x):\n    return x * 2\n"}, "import torch, m§\nvalue = torch.jit.script(m§.price)(torch.ones(1)).tolist()", ("m§.py", *EDIT)),
    "traceback with a line of the source": code({"m§.py": "def go():\n    raise ValueError  # why\n"}, "import traceback, m§\ntry:\n    m§.go()\nexcept ValueError:\n    value = '# why' in traceback.format_exc()", ("m§.py", "# why", "# because")),
    "registering decorator in another module": code(registry(KEEPS, "from reg§ import register\n\n\n@register\ndef age(x):\n    return x * 2\n", "import plug§\n"), "import use§\nfrom reg§ import ALL\nvalue = ALL['age'](3)", ("plug§.py", *EDIT)),
    "one more registered function": code(registry(KEEPS, "from reg§ import register\n\n\n@register\ndef age(x):\n    return x * 2\n", "import plug§\n"), "import use§\nfrom reg§ import ALL\nvalue = {name: f(3) for name, f in ALL.items()}", append("plug§.py", "\n\n@register\ndef size(x):\n    return x\n"), "plug§"),
    "order of registered functions": code(registry(KEEPS, "from reg§ import register\n\n\n@register\ndef age(x):\n    return x * 2\n\n\n@register\ndef size(x):\n    return x\n", "import plug§\n"), "import use§\nfrom reg§ import ALL\nvalue = list(ALL)", write("plug§.py", "from reg§ import register\n\n\n@register\ndef size(x):\n    return x\n\n\n@register\ndef age(x):\n    return x * 2\n"), "plug§"),
    "a registering decorator is taken away": code(registry(KEEPS, "from reg§ import register\n\n\n@register\ndef age(x):\n    return x * 2\n", "import plug§\n"), "import use§\nfrom reg§ import ALL\nvalue = len(ALL)", ("plug§.py", "@register\n", "")),
    "registering decorator called field": code({"features§.py": "ALL = {}\n\n\ndef field(function):\n    ALL[function.__name__] = function\n    return function\n", "plug§.py": "from features§ import field\n\n\n@field\ndef age(x):\n    return x * 2\n"}, "import plug§\nfrom features§ import ALL\nvalue = ALL['age'](3)", ("plug§.py", *EDIT)),
    "__init_subclass__": code(registry("class Base:\n    all = []\n\n    def __init_subclass__(cls):\n        Base.all.append(cls)\n", "from reg§ import Base\n\n\nclass A(Base):\n    def go(self):\n        return 2\n", "import plug§\n"), "import use§\nfrom reg§ import Base\nvalue = [one().go() for one in Base.all]", ("plug§.py", "return 2", "return 3")),
    "__init_subclass__: one more class": code(registry("class Base:\n    all = []\n\n    def __init_subclass__(cls, **more):\n        Base.all.append(cls.__name__)\n", "from reg§ import Base\n\n\nclass A(Base):\n    pass\n", "import plug§\n"), "import use§\nfrom reg§ import Base\nvalue = Base.all", append("plug§.py", "\n\nclass B(A, extra=1):\n    pass\n"), "plug§"),
    "subclass of a generic base": code({"reg§.py": "class Base:\n    all = []\n\n    def __class_getitem__(cls, kind):\n        return cls\n\n    def __init_subclass__(cls):\n        Base.all.append(cls)\n", "plug§.py": "from reg§ import Base\n\n\nclass A(Base[int]):\n    def go(self):\n        return 2\n"}, "import plug§\nfrom reg§ import Base\nvalue = [one().go() for one in Base.all]", ("plug§.py", "return 2", "return 3")),
    "__subclasses__: one more class": code({"m§.py": "class Base:\n    pass\n\n\nclass A(Base):\n    pass\n"}, "from m§ import Base\nvalue = [one.__name__ for one in Base.__subclasses__()]", append("m§.py", "\n\nclass B(Base):\n    pass\n"), "m§"),
    "__set_name__": code({"reg§.py": "ALL = {}\n\n\nclass Field:\n    def __init__(self, value):\n        self.value = value\n\n    def __set_name__(self, owner, name):\n        ALL[name] = self.value\n", "settings§.py": "from reg§ import Field\n\n\nclass Settings:\n    rate = Field(2)\n"}, "import settings§\nfrom reg§ import ALL\nvalue = ALL", ("settings§.py", "Field(2)", "Field(3)")),
    "metaclass elsewhere": code({"meta§.py": "class M(type):\n    def __call__(cls, *a):\n        return 2\n", "m§.py": "import meta§\n\n\nclass C(metaclass=meta§.M):\n    pass\n"}, "from m§ import C\nvalue = C()", ("meta§.py", "return 2", "return 3")),
    "metaclass that sees the body": code({"meta§.py": "class M(type):\n    def __new__(mcs, name, bases, body):\n        body['names'] = sorted(name for name in body if name[0] != '_')\n        return super().__new__(mcs, name, bases, body)\n", "m§.py": "import meta§\n\n\nclass C(metaclass=meta§.M):\n    def go(self):\n        pass\n"}, "from m§ import C\nvalue = C.names", append("m§.py", "\n    def more(self):\n        pass\n"), "m§"),
    "decorator in another module": code({"deco§.py": "def twice(f):\n    def g(x):\n        return f(x) * 2\n    return g\n", "m§.py": "from deco§ import twice\n\n\n@twice\ndef f(x):\n    return x\n"}, "from m§ import f\nvalue = f(3)", ("deco§.py", "* 2", "* 3")),
    "decorator with an argument": code({"m§.py": "def times(n):\n    def deco(f):\n        return lambda x: f(x) * n\n    return deco\n\n\n@times(2)\ndef f(x):\n    return x\n"}, "from m§ import f\nvalue = f(3)", ("m§.py", "times(2)", "times(3)")),
    "order of decorators": code({"m§.py": "def add(f):\n    return lambda x: f(x) + 1\n\n\ndef double(f):\n    return lambda x: f(x) * 2\n\n\n@add\n@double\ndef f(x):\n    return x\n"}, "from m§ import f\nvalue = f(3)", ("m§.py", "@add\n@double", "@double\n@add")),
    "class decorator": code({"m§.py": "def named(cls):\n    cls.label = cls.__name__ * 2\n    return cls\n\n\n@named\nclass A:\n    pass\n"}, "from m§ import A\nvalue = A.label", ("m§.py", "* 2", "* 3")),
    "wraps": code({"m§.py": "from functools import wraps\n\n\ndef loud(f):\n    @wraps(f)\n    def g(*args):\n        return f(*args) + 2\n    return g\n\n\n@loud\ndef f(x):\n    return x\n"}, "from m§ import f\nvalue = f.__wrapped__(3) + f(3)", ("m§.py", "+ 2", "+ 3")),
    "lru_cache": code({"m§.py": "from functools import lru_cache\n\n\n@lru_cache\ndef f(x):\n    return x * 2\n"}, "from m§ import f\nvalue = [f(3), f(3)]", ("m§.py", *EDIT)),
    "singledispatch, registered elsewhere": code(registry("from functools import singledispatch\n\n\n@singledispatch\ndef show(x):\n    return 'thing'\n", "from reg§ import show\n\n\n@show.register\ndef _(x: int):\n    return 'two'\n", "import plug§\n"), "import use§\nfrom reg§ import show\nvalue = show(3)", ("plug§.py", "two", "three")),
    "singledispatch: one more type": code(registry("from functools import singledispatch\n\n\n@singledispatch\ndef show(x):\n    return 'thing'\n", "from reg§ import show\n\n\n@show.register\ndef number(x: float):\n    return 'float'\n", "import plug§\n"), "import use§\nfrom reg§ import show\nvalue = show(3)", append("plug§.py", "\n\n@show.register\ndef whole(x: int):\n    return 'int'\n"), "plug§"),
    "closure": code({"m§.py": "def maker(n):\n    def inner(x):\n        return x * n\n    return inner\n\n\ndouble = maker(2)\n"}, "from m§ import double\nvalue = double(3)", ("m§.py", "x * n", "x * n + 1")),
    "lambda in a table": code({"m§.py": "RULES = {'a': lambda x: x * 2, 'b': lambda x: x}\n"}, "from m§ import RULES\nvalue = RULES['a'](3)", ("m§.py", *EDIT)),
    "lambda that sorts": code({"m§.py": "def order(xs):\n    return sorted(xs, key=lambda x: x)\n"}, "from m§ import order\nvalue = order([2, 1])", ("m§.py", "lambda x: x", "lambda x: -x")),
    "function in a table": code({"m§.py": "def usual(x):\n    return x * 2\n\n\nRULES = {'usual': usual}\n"}, "from m§ import RULES\nvalue = RULES['usual'](3)", ("m§.py", *EDIT)),
    "nested function that runs": code({"m§.py": "def go(xs):\n    def one(x):\n        return x * 2\n    return list(map(one, xs))\n"}, "from m§ import go\nvalue = go([1, 2])", ("m§.py", *EDIT)),
    "method of a class made in a function": code({"m§.py": "def made():\n    class A:\n        def go(self):\n            return 2\n    return A\n"}, "from m§ import made\nvalue = made()().go()", ("m§.py", "return 2", "return 3")),
    "generator expression": code({"m§.py": "def go(n):\n    return sum(x * 2 for x in range(n))\n"}, "from m§ import go\nvalue = go(4)", ("m§.py", *EDIT)),
    "generator function": code({"m§.py": "def go(n):\n    for x in range(n):\n        yield x * 2\n"}, "from m§ import go\nvalue = list(go(4))", ("m§.py", *EDIT)),
    "coroutine": code({"m§.py": "import asyncio\n\n\nasync def one(x):\n    await asyncio.sleep(0)\n    return x * 2\n"}, "from m§ import one\nvalue = await one(3)", ("m§.py", *EDIT)),
    "async generator": code({"m§.py": "async def go(n):\n    for x in range(n):\n        yield x * 2\n"}, "from m§ import go\nvalue = [x async for x in go(3)]", ("m§.py", *EDIT)),
    "context manager": code({"m§.py": "from contextlib import contextmanager\n\nLOG = []\n\n\n@contextmanager\ndef logged():\n    yield\n    LOG.append(2)\n"}, "from m§ import LOG, logged\nwith logged():\n    pass\nvalue = LOG", ("m§.py", "append(2)", "append(3)")),
    "__exit__ that swallows an error": code({"m§.py": "class Quiet:\n    def __enter__(self):\n        return self\n\n    def __exit__(self, *error):\n        return True\n"}, "from m§ import Quiet\nvalue = 0\ntry:\n    with Quiet():\n        raise ValueError\nexcept ValueError:\n    value = 1", ("m§.py", "True", "False")),
    "type hints as text": code({"m§.py": "import typing\nfrom dataclasses import dataclass\n\nNumber = int\n\n\n@dataclass\nclass Row:\n    x: 'Number'\n\n\ndef made(text):\n    kind = typing.get_type_hints(Row)['x']\n    return Row(kind(text))\n"}, "from m§ import made\nvalue = made('3').x", ("m§.py", "Number = int", "Number = float")),
    "type hints of a function as data": code({"m§.py": "def price(x: int):\n    return x\n\n\ndef call(f, text):\n    return f(f.__annotations__['x'](text))\n"}, "import m§\nvalue = m§.call(m§.price, '3')", ("m§.py", "x: int", "x: float")),
    "order of the fields of a dataclass": code({"m§.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Row:\n    a: int = 1\n    b: int = 2\n"}, "from dataclasses import astuple\nfrom m§ import Row\nvalue = astuple(Row())", write("m§.py", "from dataclasses import dataclass\n\n\n@dataclass\nclass Row:\n    b: int = 2\n    a: int = 1\n"), "m§"),
    "default factory": code({"m§.py": "from dataclasses import dataclass, field\n\n\ndef default():\n    return [2]\n\n\n@dataclass\nclass C:\n    x: list = field(default_factory=default)\n"}, "from m§ import C\nvalue = C().x", ("m§.py", "[2]", "[3]")),
    "__post_init__": code({"m§.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass C:\n    x: int\n\n    def __post_init__(self):\n        self.x *= 2\n"}, "from m§ import C\nvalue = C(3).x", ("m§.py", "*= 2", "*= 3")),
    "a dataclass becomes ordered": code({"m§.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass C:\n    x: int\n"}, "from m§ import C\ntry:\n    value = C(1) < C(2)\nexcept TypeError:\n    value = None", ("m§.py", "@dataclass\n", "@dataclass(order=True)\n")),
    "enum": code({"m§.py": "from enum import Enum, auto\n\n\nclass Colour(Enum):\n    RED = auto()\n    BLUE = auto()\n"}, "from m§ import Colour\nvalue = Colour.BLUE.value", ("m§.py", "    RED = auto()\n", "")),
    "named tuple": code({"m§.py": "from typing import NamedTuple\n\n\nclass P(NamedTuple):\n    x: int = 2\n"}, "from m§ import P\nvalue = P().x", ("m§.py", "= 2", "= 3")),
    "class attribute": code({"m§.py": "class Shop:\n    rate = 2\n"}, "from m§ import Shop\nvalue = Shop.rate", ("m§.py", "= 2", "= 3")),
    "attribute of a base class elsewhere": code({"base§.py": "class Base:\n    rate = 2\n", "m§.py": "from base§ import Base\n\n\nclass Shop(Base):\n    pass\n"}, "from m§ import Shop\nvalue = Shop().rate", ("base§.py", "= 2", "= 3")),
    "method of a base class elsewhere": code({"base§.py": "class Base:\n    def price(self, x):\n        return x * 2\n", "m§.py": "from base§ import Base\n\n\nclass Shop(Base):\n    pass\n"}, "from m§ import Shop\nvalue = Shop().price(3)", ("base§.py", *EDIT)),
    "a new method hides an inherited one": code({"m§.py": "class Base:\n    def price(self, x):\n        return x * 2\n\n\nclass Shop(Base):\n    name = 'a'\n"}, "from m§ import Shop\nvalue = Shop().price(3)", append("m§.py", "\n    def price(self, x):\n        return x\n"), "m§"),
    "a mixin gets a method": code({"mix§.py": "class Mixin:\n    pass\n", "m§.py": "from mix§ import Mixin\n\n\nclass Base:\n    def price(self, x):\n        return x\n\n\nclass Shop(Mixin, Base):\n    pass\n"}, "from m§ import Shop\nvalue = Shop().price(3)", ("mix§.py", "pass", "def price(self, x):\n        return x * 2")),
    "order of base classes": code({"m§.py": "class A:\n    v = 1\n\n\nclass B:\n    v = 2\n\n\nclass C(A, B):\n    pass\n"}, "from m§ import C\nvalue = C.v", ("m§.py", "C(A, B)", "C(B, A)")),
    "super": code({"m§.py": "class A:\n    def go(self):\n        return 2\n\n\nclass B(A):\n    def go(self):\n        return super().go() + 1\n"}, "from m§ import B\nvalue = B().go()", ("m§.py", "return 2", "return 3")),
    "abstract method": code({"m§.py": "from abc import ABC, abstractmethod\n\n\nclass A(ABC):\n    def go(self):\n        return 1\n\n\nclass B(A):\n    pass\n"}, "from m§ import B\ntry:\n    B()\n    value = 1\nexcept TypeError:\n    value = 0", ("m§.py", "    def go", "    @abstractmethod\n    def go")),
    "property": code({"m§.py": "class Shop:\n    @property\n    def price(self):\n        return 2\n"}, "from m§ import Shop\nvalue = Shop().price", ("m§.py", "return 2", "return 3")),
    "setter of a property": code({"m§.py": "class Shop:\n    @property\n    def price(self):\n        return self._price\n\n    @price.setter\n    def price(self, value):\n        self._price = value * 2\n"}, "from m§ import Shop\nshop = Shop()\nshop.price = 3\nvalue = shop.price", ("m§.py", "value * 2", "value * 3")),
    "cached property": code({"m§.py": "from functools import cached_property\n\n\nclass Shop:\n    @cached_property\n    def price(self):\n        return 2\n"}, "from m§ import Shop\nshop = Shop()\nvalue = [shop.price, shop.price]", ("m§.py", "return 2", "return 3")),
    "__getattr__ of a class": code({"m§.py": "class Any:\n    def __getattr__(self, name):\n        return name * 2\n"}, "from m§ import Any\nvalue = Any().a", ("m§.py", "* 2", "* 3")),
    "__slots__": code({"m§.py": "class A:\n    __slots__ = ('x',)\n"}, "from m§ import A\nvalue = A.__slots__", ("m§.py", "('x',)", "('x', 'y')")),
    "__match_args__": code({"m§.py": "class P:\n    __match_args__ = ('x', 'y')\n    x, y = 1, 2\n"}, "from m§ import P\nmatch P():\n    case P(first):\n        value = first", ("m§.py", "('x', 'y')", "('y', 'x')")),
    "operator of a class": code({"m§.py": "class N(int):\n    def __mul__(self, other):\n        return int(self) + 2\n"}, "from m§ import N\nvalue = N(3) * 1", ("m§.py", "+ 2", "+ 3")),
    "__lt__ that sorted calls": code({"m§.py": "class N(int):\n    def __lt__(self, other):\n        return int(self) < int(other)\n"}, "from m§ import N\nvalue = sorted([N(2), N(1)])", ("m§.py", "int(self) < int(other)", "int(self) > int(other)")),
    "__repr__": code({"m§.py": "class N:\n    def __repr__(self):\n        return 'two'\n"}, "from m§ import N\nvalue = str([N()])", ("m§.py", "two", "three")),
    "__eq__ and __hash__": code({"m§.py": "class N:\n    def __init__(self, x):\n        self.x = x\n\n    def __eq__(self, other):\n        return self.x == other.x\n\n    def __hash__(self):\n        return 1\n"}, "from m§ import N\nvalue = len({N(1), N(1)})", ("m§.py", "self.x == other.x", "self is other")),
    "callback of re.sub": code({"m§.py": "def loud(match):\n    return match[0] * 2\n"}, "import re, m§\nvalue = re.sub('a', m§.loud, 'ba')", ("m§.py", "* 2", "* 3")),
    "default of json": code({"m§.py": "class P:\n    pass\n\n\ndef plain(x):\n    return 2\n"}, "import m§\nvalue = json.dumps(m§.P(), default=m§.plain)", ("m§.py", "return 2", "return 3")),
    "__reduce__ and pickle": code({"m§.py": "def made(x):\n    return x * 2\n\n\nclass P:\n    def __reduce__(self):\n        return made, (3,)\n"}, "import pickle, m§\nvalue = pickle.loads(pickle.dumps(m§.P()))", ("m§.py", *EDIT)),
    "class of a pickle": code({"models§.py": "import pickle\n\n\nclass Model:\n    def predict(self, x):\n        return x * 2\n\n\ndef load(path):\n    return pickle.loads(path.read_bytes())\n"}, "from models§ import load\nvalue = load(here / 'model.pkl').predict(3)", ("models§.py", *EDIT), before=lambda place: pickled(place)),
    "class of a pickle in a module that nothing imports": code({"models§.py": "class Model:\n    def predict(self, x):\n        return x * 2\n"}, "import pickle\nvalue = pickle.loads((here / 'model.pkl').read_bytes()).predict(3)", ("models§.py", *EDIT), before=lambda place: pickled(place)),
    "class of a joblib dump": code({"models§.py": "class Model:\n    def predict(self, x):\n        return x * 2\n"}, "import joblib\nvalue = joblib.load(here / 'model.pkl').predict(3)", ("models§.py", *EDIT), before=lambda place: pickled(place)),
    "class of a declared pickle": Row("import pickle\nvalue = pickle.loads(Path('in/model.pkl').read_bytes()).predict(3)", edit("models§.py", *EDIT), "models§", {"models§.py": "class Model:\n    def predict(self, x):\n        return x * 2\n"}, lambda place: pickled(place), step="sources: {model: d§/model.pkl}"),
    "copy and deepcopy": code({"m§.py": "class P:\n    def __deepcopy__(self, memo):\n        return 2\n"}, "import copy, m§\nvalue = copy.deepcopy(m§.P())", ("m§.py", "return 2", "return 3")),
    "a constant two modules away": code({"a§.py": "from b§ import RATE\n\n\ndef price(x):\n    return x * RATE\n", "b§.py": "from c§ import RATE\n", "c§.py": "RATE = 2\n"}, "from a§ import price\nvalue = price(3)", ("c§.py", "2", "3")),
    "a constant changes its type": code({"m§.py": "RATE = 2\n"}, "import m§\nvalue = repr(m§.RATE)", ("m§.py", "2", "2.0")),
    "a constant changes its sign": code({"m§.py": "RATE = 0.0\n"}, "import m§\nvalue = repr(m§.RATE)", ("m§.py", "0.0", "-0.0")),
    "text becomes bytes": code({"m§.py": "RATE = 'a'\n"}, "import m§\nvalue = repr(m§.RATE)", ("m§.py", "'a'", "b'a'")),
    "a text that looks the same": code({"m§.py": "RATE = 'é'\n"}, "import m§\nvalue = len(m§.RATE)", ("m§.py", "é", "e\u0301")),
    "a raw text": code({"m§.py": "RATE = '\\\\n'\n"}, "import m§\nvalue = len(m§.RATE)", ("m§.py", "'\\\\n'", "r'\\\\n'")),
    "joined texts get a comma": code({"m§.py": "WORDS = ('a' 'b',)\n"}, "import m§\nvalue = m§.WORDS", ("m§.py", "'a' 'b'", "'a', 'b'")),
    "future import of annotations": code({"m§.py": "def f(x: int):\n    return x\n"}, "import m§\nvalue = repr(m§.f.__annotations__['x'])", lambda place: place.write("m§.py", "from __future__ import annotations\n" + place.path("m§.py").read_text()), "m§"),
    "coding of a source": code({}, "import m§\nvalue = m§.WORD", write("m§.py", "# coding: latin-1\nWORD = 'é'\n".encode()), "m§", before=write("m§.py", "# coding: utf-8\nWORD = 'é'\n".encode())),
    "a statement is indented": code({"m§.py": "V = 1\nif V == 2:\n    V = 5\nV += 1\n"}, "import m§\nvalue = m§.V", ("m§.py", "\nV += 1", "\n    V += 1")),
    "order of statements": code({"m§.py": "V = 1\nV *= 2\nV += 1\n"}, "import m§\nvalue = m§.V", ("m§.py", "V *= 2\nV += 1", "V += 1\nV *= 2")),
    "a function moves across its use": code({"m§.py": "def rate():\n    return 1\n\n\nV = rate()\n\n\ndef rates():\n    return 2\n"}, "import m§\nvalue = m§.V", write("m§.py", "def rate():\n    return 1\n\n\ndef rates():\n    return 2\n\n\nrate = rates\nV = rate()\n"), "m§"),
    "a function moves behind a list of names": code({"m§.py": "def a():\n    pass\n\n\nNAMES = [name for name in list(globals()) if name[0] != '_']\n"}, "import m§\nvalue = m§.NAMES", write("m§.py", "NAMES = [name for name in list(globals()) if name[0] != '_']\n\n\ndef a():\n    pass\n"), "m§"),
    "a guard around a definition": code({"m§.py": "import sys\n\nif sys.platform == 'linux':\n    def price(x):\n        return x * 2\nelse:\n    def price(x):\n        return x\n"}, "from m§ import price\nvalue = price(3)", ("m§.py", "== 'linux'", "!= 'linux'")),
    "the other branch of a definition": code({"m§.py": "import sys\n\nif sys.platform == 'linux':\n    def price(x):\n        return x * 2\nelse:\n    def price(x):\n        return x\n"}, "from m§ import price\nvalue = price(3)", ("m§.py", *EDIT)),
    "__debug__ and assert": code({"m§.py": "def price(x):\n    assert x < 9, x\n    return x\n"}, "from m§ import price\ntry:\n    value = price(3)\nexcept AssertionError:\n    value = 'no'", ("m§.py", "x < 9", "x < 2")),
    "a function that raised at once": code({"m§.py": "def price(x):\n    raise ValueError('two')\n"}, "from m§ import price\ntry:\n    price(3)\nexcept ValueError as error:\n    value = str(error)", ("m§.py", "two", "three")),
    "a branch that did not run": code({"m§.py": "def price(x):\n    if x > 5:\n        return 1\n    return 2\n"}, "from m§ import price\nvalue = price(3)", ("m§.py", "x > 5", "x > 2")),
    "a function that only a thread runs": code({"m§.py": "OUT = []\n\n\ndef work():\n    OUT.append(2)\n"}, "import threading, m§\nthread = threading.Thread(target=m§.work)\nthread.start()\nthread.join()\nvalue = m§.OUT", ("m§.py", "append(2)", "append(3)")),
    "a function that only a forked process runs": code({"m§.py": "def work(x):\n    return x * 2\n"}, "import multiprocessing, m§\nwith multiprocessing.get_context('fork').Pool(1) as pool:\n    value = pool.map(m§.work, [3])", ("m§.py", *EDIT)),
    "a function that only a spawned process runs": code({"m§.py": "def work(x):\n    return x * 2\n"}, "import multiprocessing, m§\nwith multiprocessing.get_context('spawn').Pool(1) as pool:\n    value = pool.map(m§.work, [3])", ("m§.py", *EDIT)),
    "a function that only a fork server's process runs": code({"m§.py": "def work(x):\n    return x * 2\n"}, "import multiprocessing, m§\nwith multiprocessing.get_context('forkserver').Pool(1) as pool:\n    value = pool.map(m§.work, [3])", ("m§.py", *EDIT)),
    "a function that only joblib's process runs": code({"m§.py": "def work(x):\n    return x * 2\n"}, "from joblib import Parallel, delayed\nimport m§\nvalue = Parallel(n_jobs=2)(delayed(m§.work)(x) for x in (1, 2))", ("m§.py", *EDIT)),
    "a module that only joblib's process imports": code({"m§.py": "def work(x):\n    import late§\n    return late§.rate * x\n", "late§.py": "rate = 2\n"}, "from joblib import Parallel, delayed\nimport m§\nvalue = Parallel(n_jobs=2)(delayed(m§.work)(x) for x in (1, 2))", ("late§.py", "2", "3")),
    "a module that only a plain fork imports": code({"late§.py": "rate = 2\n"}, "reading, writing = os.pipe()\nif not os.fork():\n    import late§\n    os.write(writing, str(late§.rate).encode())\n    os._exit(0)\nos.wait()\nvalue = os.read(reading, 9).decode()", ("late§.py", "2", "3")),
    "a function that only the end of a process runs": code({"m§.py": "class Closing:\n    def __del__(self):\n        LOG.append(2)\n\n\nLOG = []\n"}, "import m§\nthing = m§.Closing()\ndel thing\nvalue = m§.LOG", ("m§.py", "append(2)", "append(3)")),
    "a signal handler": code({"m§.py": "import signal\n\nLOG = []\n\n\ndef handler(*_):\n    LOG.append(2)\n"}, "import os, signal, m§\nbefore = signal.signal(signal.SIGUSR2, m§.handler)\nos.kill(os.getpid(), signal.SIGUSR2)\nsignal.signal(signal.SIGUSR2, before)\nvalue = m§.LOG", ("m§.py", "append(2)", "append(3)")),
    "a trace function": code({"m§.py": "LOG = []\n\n\ndef traced(frame, event, arg):\n    if frame.f_code.co_name == 'watched':\n        LOG.append(2)\n"}, "import sys, m§\n\ndef watched():\n    pass\n\nsys.setprofile(m§.traced)\nwatched()\nsys.setprofile(None)\nvalue = m§.LOG", ("m§.py", "append(2)", "append(3)")),
    "an audit hook": code({"m§.py": "LOG = []\n\n\ndef hook(event, args):\n    if event == 'shop':\n        LOG.append(2)\n"}, "import sys, m§\nsys.addaudithook(m§.hook)\nsys.audit('shop')\nvalue = m§.LOG", ("m§.py", "append(2)", "append(3)")),
    "a weak reference's callback": code({"m§.py": "LOG = []\n\n\nclass A:\n    pass\n\n\ndef gone(ref):\n    LOG.append(2)\n"}, "import weakref, m§\nthing = m§.A()\nref = weakref.ref(thing, m§.gone)\ndel thing\nvalue = m§.LOG", ("m§.py", "append(2)", "append(3)")),
}

# -- cells -------------------------------------------------------------------------------------------------------------------

GIVEN = "from pathlib import Path\n{}\nresult: Path = Path('out/result.json')"


def parameter(line: str, old: str, new: str, value: str = "repr(x)", **more) -> Row:
    "A row that changes a text in the parameters cell"
    return Row(f"value = {value}", cell(old, new), "", parameters=GIVEN.format(line), **more)


def given(lines: str, old: str, new: str) -> Row:
    "A row that changes the default of a parameter that gets a value"
    return parameter(lines, old, new, "str(y)", step="params: {x: 5}")


def swap(found: list[dict]) -> None:
    "Change the places of two cells"
    found[2:4] = found[3:1:-1]


def split(number: int) -> Change:
    "Split a cell after its first line"
    def update(found: list[dict]) -> None:
        first, rest = found[number]["source"].split("\n", 1)
        found[number:number + 1] = [found[number] | {"source": first, "id": "first"}, found[number] | {"source": rest, "id": "rest"}]
    return notebook_cells(update)


def raw(number: int) -> Change:
    "Make a code cell a raw one"
    return notebook_cells(lambda found: found.__setitem__(number, {"cell_type": "raw", "id": "raw", "metadata": {}, "source": found[number]["source"]}))


CELLS = {
    "literal in a cell": Row("value = 1", cell("value = 1", "value = 2"), "cell"),
    "text in a cell": Row("value = 'a#b'", cell("a#b", "a#c"), "cell"),
    "docstring in a cell": Row("def f():\n    'two'\nvalue = f.__doc__", cell("two", "three"), "cell"),
    "option in the parameters cell": Row("value = os.environ['MODE']", cell("= 'fast'", "= 'slow'"), "", parameters="import os\nfrom pathlib import Path\nn: int = 1\nos.environ['MODE'] = 'fast'\nresult: Path = Path('out/result.json')"),
    "name without annotation in the parameters cell": parameter("x = 1", "x = 1", "x = 2"),
    "function in the parameters cell": parameter("def x():\n    return 2", "return 2", "return 3", "x()"),
    "import in the parameters cell": Row("value = kind.__name__", cell("import ceil as", "import floor as"), "", parameters=GIVEN.format("from math import ceil as kind")),
    **{f"default of a given parameter, {way}": given(*row) for way, row in {
        "bound to a second name": ("x: int = (y := 1)", "1)", "2)"), "by globals": ("x: int = 1\ny = globals()['x']", "= 1", "= 2"), "by locals": ("x: int = 1\ny = locals().copy()['x']", "= 1", "= 2"),
        "by eval": ("x: int = 1\ny = eval('x')", "= 1", "= 2"), "by a shell": ("x: int = 1\ny = !echo $x", "= 1", "= 2"), "by __main__": ("import __main__\nx: int = 1\ny = __main__.x", "= 1", "= 2"),
        "by a frame": ("import sys\nx: int = 1\ny = sys._getframe().f_locals['x']", "= 1", "= 2"),
    }.items()},
    "default written as int and as float": parameter("x: float = 1", "x: float = 1\n", "x: float = 1.0\n"),
    "default written as bool and as int": parameter("x: int | bool = True", "= True", "= 1"),
    "default whose keys become texts": parameter("x: dict = {0: 1}", "{0: 1}", "{'0': 1}"),
    "order of a mapping in a default": parameter("x: dict = {'a': 1, 'b': 2}", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", "list(x)"),
    "default that becomes None": parameter("x: int | None = 1", "= 1", "= None"),
    "default that a call makes": parameter("x: int = int('2')", "'2'", "'3'"),
    "annotation that changes the value given": Row("value = repr(x)", cell("x: int", "x: float"), "", parameters=GIVEN.format("x: int = 1"), step="params: {x: 2}"),
    "order of a mapping in a parameter": Row("value = list(x)", setting("{a: 1, b: 2}", "{b: 2, a: 1}"), "", parameters=GIVEN.format("x: dict = {}"), step="params: {x: {a: 1, b: 2}}"),
    "a parameter is given that equals the default": Row("value = repr(x)", setting("params: {}", "params: {x: 1}"), "", parameters=GIVEN.format("x: float = 1\ny = x = x + 1"), step="params: {}"),
    "a cell becomes skipped": Row(("value = 1", "value = 2"), tagged(3, "skip-execution"), "cell"),
    "a cell becomes raw": Row(("value = 1", "value = 2"), raw(3), "cell"),
    "cells change places": Row(("value = [1]", "value = globals().get('value', []) + [2]"), notebook_cells(swap), "cell"),
    "a cell goes": Row(("value = 1", "value = 2"), notebook_cells(lambda found: found.__delitem__(3)), "cell"),
    "a cell comes twice": Row(("value = 1", "value += 2"), notebook_cells(lambda found: found.insert(3, found[3] | {"id": "twice"})), "cell"),
    "a magic in a cell": Row(("%precision 3\nvalue = get_ipython().display_formatter.formatters['text/plain'].float_precision",), cell("precision 3", "precision 4"), "cell"),
    "%env": Row(("%env RATE=2\nvalue = os.environ['RATE']",), cell("RATE=2", "RATE=3"), "cell"),
    "%%bash": Row(("%%bash --out value\necho 2",), cell("echo 2", "echo 3"), "cell"),
    "%%bash: what looks like a comment": Row(("%%bash --out value\ncat <<END\n# two\nEND",), cell("# two", "# three"), "cell"),
    "%%bash: space that counts": Row(("%%bash --out value\necho 'a  b'",), cell("a  b", "a b"), "cell"),
    "%%writefile": Row(("%%writefile note.txt\n# two", "value = open('note.txt').read()"), cell("# two", "# three"), "cell"),
    "shell command": Row(("value = !echo 2",), cell("echo 2", "echo 3"), "cell"),
    "%%timeit setup": Row(("%%capture out\n%%timeit -n1 -r1\nprint(2)", "value = out.stdout.splitlines()[0]"), cell("print(2)", "print(3)"), "cell"),
    "%%script": Row(("%%script cat --out value\ntwo",), cell("two", "three"), "cell"),
    "a cell is split and In is counted": Row(("a = 1\nb = 2", "value = len(In)"), split(2), "cell"),
    "a comment in a cell that In shows": Row(("a = 1  # two", "value = In[-2]"), cell("# two", "# three"), "cell"),
    "a comment in a cell whose source is read": Row(("def f():\n    return 1  # two", "import inspect\nvalue = inspect.getsource(f)"), cell("# two", "# three"), "cell"),
    "%history shows comments": Row(("a = 1  # two", "%%capture out\n%history", "value = 'two' in out.stdout"), cell("# two", "# three"), "cell"),
    "the last value": Row(("2", "value = _"), cell("2", "3"), "cell"),
    "the last value is no longer shown": Row(("1", "2", "value = _"), notebook_cells(lambda found: found[3].update(source="2;")), "cell"),
    "a numbered value": Row(("2\n3", "value = Out[3]"), notebook_cells(lambda found: found[2].update(source="3\n2")), "cell"),
    "options of the notebook's magics": Row(("%config InteractiveShell.ast_node_interactivity = 'all'", "%%capture out\n1\n2", "value = len(out.outputs)"), cell("'all'", "'last'"), "cell"),
    "one more output": Row("value = 1\nPath('out/more.txt').write_text('a')", setting("{result: result.json}", "{result: result.json, more: more.txt}"), "outs"),
    "the notebook reads itself": Row("value = len((project / 'notebooks/step§.ipynb').read_text())", notebook_cells(lambda found: found.append({"cell_type": "markdown", "id": "md", "metadata": {}, "source": "new"})), "step§"),
    "another notebook is run": Row(("%run {project}/d§/other.ipynb", "value = V"), edit("d§/other.ipynb", "V = 2", "V = 3"), "other.ipynb", {"d§/other.ipynb": '{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null, "outputs": [], "source": "V = 2"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'}),
    "another notebook is run by papermill": Row("import papermill\npapermill.execute_notebook(here / 'other.ipynb', 'done.ipynb', progress_bar=False, kernel_name='python3')\nvalue = json.loads(Path('done.ipynb').read_text())['cells'][0]['outputs'][0]['text']", edit("d§/other.ipynb", "print(2)", "print(3)"), "other.ipynb", {"d§/other.ipynb": '{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null, "outputs": [], "source": "print(2)"}], "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}, "nbformat": 4, "nbformat_minor": 5}'}),
}


def pickled(place: Place) -> None:
    "A pickle of models§.Model, made without importing it"
    place.write("d§/model.pkl", f"\x80\x02cmodels{place.number}\nModel\n)\x81.".encode("latin-1"))


CODE = IMPORTS | SHADOWED | REACHED | DEFINED | CELLS
assert len(CODE) == sum(map(len, (IMPORTS, SHADOWED, REACHED, DEFINED, CELLS))), "two rows have one name"
