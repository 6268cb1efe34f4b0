"""Code that can find names which are not written anywhere is recognized; in doubt, code can."""
import pytest

from mlops_kit.capture.mentions import can_enumerate, mentioned_words

MODULES = frozenset({"shop", "shop.tax", "shop.data.prices"})

NAMES_WHAT_IT_WANTS = [
    "", "x = 1", "import shop\nshop.price(3)", "import shop.tax\nshop.tax.rate(3)", "from shop import price\nprice(3)", "from shop import price\nlist(map(price, xs))",
    "from shop import tax\ntax.rate(3)", "import shop.tax as tax\ntax.rate", "from .tax import rate\nrate(1)", "from . import tax\ntax.rate(1)", "import numpy as np\nf(np)", "import torch as t\nf(t.nn)",
    "model.eval()", "import re\nre.compile('a')", "df.query('x > @LIMIT')", "df.eval('a + b')", "getattr(shop, 'price')", "import shop\ngetattr(shop, 'price', None)", "import shop\nhasattr(shop, 'fast')",
    "class A:\n    def go(self, kind):\n        return getattr(self, f'go_{kind}')()", "from operator import attrgetter\nsorted(xs, key=attrgetter('price', 'tax_rate'))", "import operator\noperator.methodcaller('strip', x)(y)",
    "import importlib.metadata\nimportlib.metadata.version('shop')", "from importlib.resources import files\nfiles('shop')", "import sys\nsys.path", "sys = 1\nsys.modules", "model.modules()", "__all__ = ['a']",
    "match x:\n    case Basket(prices=p): pass", "%matplotlib inline", "%%time\nx = shop.price(3)", "%time x = 1", "x = !ls", "!echo {x}", "%%bash\ncat *", "%%writefile a.py\nvars()", "%%capture out\nprint(1)", "%timeit f(1)",
    "get_ipython().run_line_magic('matplotlib', 'inline')", "get_ipython().run_cell_magic('time', '', 'import shop\\nshop.price(3)\\n')", "x = get_ipython().getoutput('ls')", "get_ipython().system('ls')",
    "%config InlineBackend.figure_format = 'retina'", "data = 1\nf(data)", "row.data", "import torch\ntorch.save(x, y)", "try:\n    import fast as m\nexcept ImportError:\n    import slow as m\nf(m)", "json.load(file)",
    "import shop\ndel shop", "import shop\nshop.RATE = 3", "def compile_all(): pass", "from shop.data.prices import prices_of\nf(prices_of)",
]
FINDS_MORE = [
    "from shop import *", "from math import *", "vars(shop)", "dir(shop)", "globals()['price']", "locals()", "eval(text)", "eval('price')", "f(eval)", "exec(text)", "compile(text, '', 'exec')", "f(vars)", "shop.__dict__", "price.__globals__",
    "getattr(shop, '__dict__')", "attrgetter('__dict__')", "Base.__subclasses__()", "type.__subclasses__(object)", "shop.__getattribute__(name)", "shop.__builtins__", "shop.__all__", "__all__[0]", "shop.__dir__()",
    "getattr(shop, name)", "getattr(shop, 'a' + 'b')", "getattr(shop, f'{a}')", "getattr(*x)", "hasattr(shop, name)", "setattr(shop, name, 1)", "delattr(shop, name)", "map(getattr, xs, ys)", "get = getattr", "f(key=getattr)",
    "attrgetter(name)", "operator.attrgetter('a', name)", "methodcaller(name)", "from operator import attrgetter as pick\npick(name)", "attrgetter(*names)", "attrgetter()", "getattr(shop, 'tax')", "attrgetter('data.prices')",
    "import inspect", "from inspect import getmembers", "import pkgutil as p", "import importlib\nimportlib.import_module('shop')", "from importlib import import_module", "import importlib.util\nimportlib.util.find_spec('shop')",
    "importer.import_module(name)", "__import__(name)", "__import__('shop')", "import sys\nsys.modules['shop']", "from sys import modules", "import sys as s\ns.modules", "import sys\nf(sys.modules)", "import sys\nsys._getframe()",
    "frame.f_globals", "import builtins", "import gc", "import pickle", "from cloudpickle import loads", "import dill as d", "import joblib\njoblib.load(path)", "from joblib import load", "import torch\ntorch.load(path)",
    "from torch import load as get", "pd.read_pickle(path)", "np.load(path, allow_pickle=True)", "import shelve", "import pydoc", "import unittest", "import doctest", "from hydra.utils import instantiate", "import hydra\nhydra.utils.get_class(x)",
    "import runpy", "import shop\nf(shop)", "import shop\nx = shop", "import shop\nx = [shop]", "import shop\nreturn_ = {1: shop}", "import shop\nshop", "import shop\nf'{shop}'", "import shop\nlambda: shop", "import shop\nf(x=shop)",
    "import shop\nf(*shop)", "import shop\nshop[0]", "import shop\nx.y = shop", "import shop\ngetattr(shop, name)", "import shop\nfor a in shop: pass", "import shop\n@shop\ndef f(): pass", "import shop\ndef f(x=shop): pass",
    "import shop\nf(shop.tax)", "import shop.data.prices\nf(shop.data)", "from shop import tax\nf(tax)", "from . import tax\n[tax]", "from .. import data\nf(data)", "import shop as s", "from shop import tax as t", "import shop.tax as t",
    "def f():\n    from shop import tax\n    return tax", "class A:\n    import shop", "class A:\n    from shop import tax", "try:\n    from shop import tax\nexcept ImportError:\n    from shop import price as tax\nf(tax)", "from api import shop\nf(shop)",
    "df.query(text)", "ask = df.query", "getattr(df, 'query')(text)", "map(df.eval, texts)", "from pandas import eval as e", "attrgetter('table.query')", "getattr(x, 'vars')", "df.query(f'x > {y}')", "df.eval(text)", "df.query(expr=text)", "df.query(**words)", "pd.eval(text)", "%load_ext shop", "%autoreload 2", "%run a.py", "%who", "shop?", "?shop", "%%time\nimport shop\nf(shop)",
    "%time vars(shop)", "%timeit -n 3 f(1)", "!echo {vars(shop)}", "x = !echo {f(1)}", "%%timeit vars(shop)\nx", "%%unknown\nx", "%%time\n%%time\nvars(x)", "%%time\n%time vars(x)", "get_ipython().user_ns", "shell = get_ipython()",
    "get_ipython().run_line_magic(name, 'x')", "get_ipython().run_line_magic('run', 'a.py')", "get_ipython().run_cell_magic('time', '', 'vars(shop)\\n')", "get_ipython().system('echo {vars(x)}')", "get_ipython().ev('x')",
    "x = (", "x = '\0'", "(" * 500,
]


@pytest.mark.parametrize("source", NAMES_WHAT_IT_WANTS)
def test_code_that_names_what_it_wants(source):
    assert not can_enumerate(source, MODULES)


@pytest.mark.parametrize("source", FINDS_MORE)
def test_code_that_can_find_more(source):
    assert can_enumerate(source, MODULES)


@pytest.mark.parametrize("source", FINDS_MORE)
def test_it_is_found_at_any_depth(source):
    lines = "".join(f"        {line}\n" for line in source.splitlines())
    if not source.startswith(("%", "(")) and "import *" not in source:
        assert can_enumerate(f"class Outer:\n    def inner(self):\n{lines}        return 1\n", MODULES)
    assert can_enumerate(f"import os\n{source}\n" if not source.startswith("%%") else source, MODULES)


@pytest.mark.parametrize("source", [b"\xff", b"import shop\nvars(shop)", b"x = ("])
def test_sources_of_modules_are_bytes(source):
    assert can_enumerate(source, MODULES)


@pytest.mark.parametrize("source", [
    "word = 1", "word()", "x.word", "x.word = 1", "f(word=1)", "'word'", "'a word, or two'", "f'{x} word'", "b'word'", "import word", "import a.word", "from word import a", "from a import word", "from a import b as word", "def f(word): pass",
    "def f(*word): pass", "def f(**word): pass", "def word(): pass", "class word: pass", "lambda word: 1", "def f():\n    global word", "try: pass\nexcept E as word: pass", "with a as word: pass", "for word in a: pass", "del word", "(word := 1)",
    "match a:\n    case word: pass", "match a:\n    case [*word]: pass", "match a:\n    case {**word}: pass", "match a:\n    case A(word=1): pass", "match a:\n    case word.b: pass", "'''\nword\n'''", "'wo' 'rd'", "'\\x77ord'", "@word\ndef f(): pass", "x: 'list[word]'",
    "x: word", "!echo word", "%%bash\nword", "%time word()", "word?", "x = (word", "'@word'", "'shop.word'", "'{word}'.format(1)", "{'word': 1}", "[word for x in y]", "async def f():\n    await word"])
def test_a_word_is_found_wherever_it_is_written(source):
    assert "word" in mentioned_words(source)
    assert "word" not in mentioned_words(source.replace("word", "other").replace("'wo' 'rd'", "1").replace("\\x77ord", "1"))


def test_new_definitions_do_not_speak_for_themselves():
    source = b"def old(): a\nif x:\n    def some(): b\ndef new(): c\nclass New:\n    d = e\nnew = f\n"
    assert mentioned_words(source, frozenset({"old"})) & set("abcdef") == set("abf") and mentioned_words(source) >= set("abcdef")
