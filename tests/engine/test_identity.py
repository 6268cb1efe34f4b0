"""The outs of a step are the same bytes whether it ran in a fork of the fork server, in a fresh process, or in a Jupyter kernel.

`KINDS` holds one piece of code for each thing that may find its way into a result: numbers from seeded generators, orders of sets, pictures, the time zone, what a process is like inside. Each writes an out of its own, and
outs are compared by their digests. Then notebooks of several pieces in random order are compared, and the flights pipeline. Not here, because no two processes agree on it: entropy of the system, times, process ids, absolute
paths of the step's own folder, names of temporary files, sums of floats that polars adds up in several threads. And not here, because it tells by its nature how the process was started: `sys.argv`, the number of threads,
which modules are loaded and what they did to `warnings.filters`, and the variables that a kernel (`BY_KERNELS`) or a package adds to the environment when it is imported.
"""
import json
import os
import platform
import random
import shutil
from importlib.util import find_spec

import pytest

from helpers.project import Project

SEED = int(os.environ.get("MLOPS_TEST_SEED", 0))

# expressions; what stands before the last line prepares them
KINDS = {
    # generators as the kit seeds them
    "random": "import random\n[random.random(), random.getrandbits(64), random.sample(range(1000), 20)]",
    "uuid": "import random, uuid\nstr(uuid.UUID(int=random.getrandbits(128)))",
    "numpy_random": "import numpy\nnumpy.random.rand(20).tolist() + numpy.random.permutation(20).tolist()",
    "numpy_generator": "import numpy\nnumpy.random.default_rng(7).normal(size=20).tolist()",
    "torch_random": "import torch\n[torch.rand(20).tolist(), torch.initial_seed(), torch.randperm(20).tolist()]",
    "torch_layer": "import torch\n[one.tolist() for one in torch.nn.Linear(5, 3).parameters()]",
    "torch_training": "import torch\ntorch.set_num_threads(1)  # with several, one process in some dozens differs on a busy machine, with plain Python too\nmodel = torch.nn.Sequential(torch.nn.Linear(50, 100), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(100, 1))\noptimizer = torch.optim.Adam(model.parameters())\n"
        "for _ in range(20):\n    loss = model(torch.randn(512, 50)).square().mean()\n    optimizer.zero_grad()\n    loss.backward()\n    optimizer.step()\n[loss.item(), model[0].weight.sum().item()]",
    "torch_loader": "import torch\nfrom torch.utils.data import DataLoader\n[batch.tolist() for batch in DataLoader(torch.arange(40), batch_size=8, shuffle=True, num_workers=2)]",
    "torch_saved": "import torch\nfrom safetensors.torch import save\nsave({'weights': torch.rand(10, 10)}).hex()",
    # arithmetic that depends on the number of threads
    "torch_sum": "import torch\n[torch.rand(1_000_001).sum().item(), (torch.rand(700, 700) @ torch.rand(700, 700)).sum().item(), torch.get_num_threads(), torch.get_num_interop_threads()]",
    "numpy_product": "import numpy\nside = numpy.random.rand(600, 600)\n[float((side @ side).sum()), float(numpy.linalg.svd(side)[1].sum()), float(numpy.linalg.solve(side, side[0]).sum())]",
    "torch_settings": "import torch\n[torch.are_deterministic_algorithms_enabled(), str(torch.get_default_dtype()), torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled, torch.is_grad_enabled()]",
    "sklearn": "import numpy\nfrom sklearn.ensemble import RandomForestClassifier\nfeatures = numpy.random.rand(300, 5)\nRandomForestClassifier(20, n_jobs=2, random_state=3).fit(features, features[:, 0] > 0.5).predict_proba(features)[:, 1].tolist()",
    "polars": "import polars\nframe = polars.DataFrame({'key': [n % 7 for n in range(10_000)], 'x': range(10_000)})\n[frame.group_by('key').agg(polars.col('x').sum()).sort('key').rows(), polars.thread_pool_size()]",
    "polars_parquet": "import io, polars\nfile = io.BytesIO()\npolars.DataFrame({'x': range(1000), 'name': [f'{n:x}' for n in range(1000)]}).write_parquet(file)\nfile.getvalue().hex()",
    # orders
    "sets": "[list({f'name {n}' for n in range(100)}), list({(n, str(n)) for n in range(50)}), list(frozenset('abcdefghijk'))]",
    "hashes": "[hash('text'), hash(b'bytes'), hash((1, 'two')), hash(1.5), hash(None) if __import__('sys').version_info >= (3, 12) else 0]",
    "pickles": "import pickle\npickle.dumps({'set': {'a', 'b', 'c', 'd'}, 'tuple': (1, 2.5), 'text': 'é'}).hex()",
    "class_pickle": "import pickle\nclass Thing:\n    pass\n[pickle.dumps(Thing).hex(), Thing.__module__, Thing.__qualname__, repr(Thing)]",
    # pictures and text
    "picture": "import io\nimport matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.plot([1, 3, 2])\naxes.set_title('a title, $x^2$')\nfile = io.BytesIO()\nfigure.savefig(file)\nplt.close(figure)\nfile.getvalue().hex()",
    "picture_pdf": "import io\nimport matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.bar([1, 3, 2], [3, 4, 5])\nfile = io.BytesIO()\nfigure.savefig(file, format='pdf')\nplt.close(figure)\nfile.getvalue().hex()",
    "picture_settings": "import matplotlib, matplotlib.pyplot\n[matplotlib.get_backend().lower(), matplotlib.pyplot.isinteractive(), sorted((name, str(value)) for name, value in matplotlib.rcParams.items() if 'backend' not in name)]",
    "floats": "[repr(0.1 + 0.2), f'{1e16:g} {2 / 3:.17f}', str(float('1e-320')), round(2.675, 2)]",
    "numpy_text": "import numpy\n[str(numpy.arange(2000) / 7), repr(numpy.float32(0.1)), str(numpy.get_printoptions()), str(numpy.geterr())]",
    "pandas_text": "import pandas\n[repr(pandas.DataFrame({'x': range(100), 'text': ['long ' * 30] * 100})), pandas.get_option('display.width'), pandas.get_option('display.max_columns')]",
    "polars_text": "import polars\nrepr(polars.DataFrame({'x': range(100), 'text': ['long ' * 30] * 100}))",
    "decimals": "import decimal\n[str(decimal.getcontext()), str(decimal.Decimal(1) / 7)]",
    "locale": "import locale, time\n[locale.setlocale(locale.LC_ALL, None), locale.getlocale(), locale.format_string('%.2f', 1234567.891, grouping=True), f'{1234567.891:n}', time.strftime('%A %B', time.gmtime(0)), sorted('aBÄz', key=locale.strxfrm)]",
    "time_zone": "import datetime, time\n[time.tzname, time.timezone, str(datetime.datetime.fromtimestamp(0)), time.strftime('%c %Z', time.localtime(1e9)), str(datetime.datetime.now().astimezone().tzinfo)]",
    "encodings": "import locale, sys\n[sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.stdout.encoding, locale.getpreferredencoding(), sys.flags.utf8_mode, open('out/text', 'w').encoding]",
    # the process
    "environ": "import os\nrun, here = os.environ['MLOPS_RUN'], os.getcwd()\nsorted((name, value.replace(run, 'RUN').replace(here, 'HERE')) for name, value in os.environ.items() if name not in BY_KERNELS)",
    "environ_of_a_child": "import os, subprocess, sys\nrun = os.environ['MLOPS_RUN']\nlisted = subprocess.run(['env'], capture_output=True, text=True).stdout.replace(run, 'RUN').replace(os.getcwd(), 'HERE').splitlines()\nsorted(one for one in listed if one.partition('=')[0] not in BY_KERNELS)",
    "cores": "import os\n[os.cpu_count(), sorted(os.sched_getaffinity(0))]",
    "limits": "import resource\n[resource.getrlimit(getattr(resource, name)) for name in ('RLIMIT_AS', 'RLIMIT_CORE', 'RLIMIT_CPU', 'RLIMIT_DATA', 'RLIMIT_FSIZE', 'RLIMIT_NOFILE', 'RLIMIT_NPROC', 'RLIMIT_STACK')]",
    "umask": "import os\nmask = os.umask(0)\nos.umask(mask)\n[mask, os.nice(0), os.path.basename(os.path.dirname(os.getcwd()))]",
    "signals": "import signal\n[str(getattr(signal.getsignal(number), '__name__', signal.getsignal(number))) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1)] + [sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))]",
    "terminal": "import os, shutil, sys\n[os.isatty(0), os.isatty(1), os.isatty(2), sys.stdin.isatty(), sys.stdout.isatty(), os.read(0, 10).decode(), tuple(shutil.get_terminal_size())]",
    "session": "import os\n[os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()]",
    # the interpreter
    "recursion_limit": "import sys\nsys.getrecursionlimit()",
    "recursion": "def depth(n):\n    return depth(n + 1) if n < 900 else n\ndepth(0)",
    "stack_size": "import threading\ndef deep(n):\n    return n if n == 0 else deep(n - 1)\nkept = []\nthread = threading.Thread(target=lambda: kept.append(deep(800)))\nthread.start()\nthread.join()\n[threading.stack_size(), kept]",
    "main": "import sys\n[__name__, '__file__' in globals(), sys.modules['__main__'].__name__, sys.modules['__main__'].__dict__ is globals(), __doc__, __package__, str(__spec__)]",
    "names": "sorted(name for name in globals() if name not in KINDS_SO_FAR and name != 'KINDS_SO_FAR')",
    "builtins": "import builtins\nsorted(dir(builtins))",
    "path": "import os, sys\n[one.replace(os.getcwd(), 'HERE') for one in sys.path]",
    "flags": "import sys\n[str(sys.flags), sys.dont_write_bytecode, sys.warnoptions, sys._xoptions, sys.executable, sys.prefix]",
    "warnings": "import warnings\nwith warnings.catch_warnings(record=True) as seen:\n    warnings.warn('old', DeprecationWarning)\n    warnings.warn('user')\n[str(one.message) for one in seen]",
    "garbage": "import gc\n[gc.isenabled(), gc.get_threshold(), gc.get_debug()]",
    "hooks": "import sys, threading\n[getattr(one, '__qualname__', type(one).__qualname__) for one in (sys.excepthook, sys.displayhook, sys.breakpointhook, sys.unraisablehook, threading.excepthook)] + [type(one).__name__ for one in (sys.stdin,)]",
    "tracing": "import sys\n[str(sys.gettrace()), str(sys.getprofile()), sys.getswitchinterval(), __import__('faulthandler').is_enabled()]",
    "meta_path": "import sys\n[[getattr(one, '__name__', type(one).__name__) for one in sys.meta_path], [getattr(one, '__qualname__', '') for one in sys.path_hooks]]",
    "logging": "import logging\n[logging.getLogger().level, [type(one).__name__ for one in logging.getLogger().handlers], logging.root.manager.disable, logging.getLogger('any').isEnabledFor(logging.INFO), logging.raiseExceptions]",
    "loop": "import asyncio\n[asyncio.get_running_loop().is_running(), asyncio.get_running_loop().get_debug(), await asyncio.sleep(0, 'slept')]",
    "shell": "[get_ipython().kernel.__class__.__mro__[-4].__name__, get_ipython().colors, get_ipython().autocall, get_ipython().ast_node_interactivity, get_ipython().history_manager.enabled, get_ipython().execution_count > 0]",
    "processes": "import multiprocessing\nwith multiprocessing.Pool(2) as pool:\n    done = pool.map(divmod_7, range(20))\n[done, multiprocessing.get_start_method(), multiprocessing.current_process().name, multiprocessing.parent_process() is None]",
    "random_after_imports": "import random\nimport sklearn.ensemble, polars, matplotlib.pyplot, pandas\nrandom.random()",  # do imports take from the seeded generators?
    "numpy_random_after_imports": "import numpy\nimport sklearn.ensemble, polars, matplotlib.pyplot, pandas\nnumpy.random.rand()",
    "torch_random_after_imports": "import torch\nimport sklearn.ensemble, polars, matplotlib.pyplot, pandas\ntorch.rand(1).item()",
    "process_random": "import multiprocessing, random\nrandom.seed(5)\nwith multiprocessing.Pool(1) as pool:\n    done = pool.apply(random.random)\ndone",
    "spawned": "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(1) as pool:\n    done = pool.map(abs, [-1, -2])\ndone",
    "thread_names": "import threading\n[threading.current_thread().name, threading.current_thread() is threading.main_thread(), threading.main_thread().name]",
    "listing": "import os\nos.makedirs('out/listed', exist_ok=True)\nfor name in 'zxcvb':\n    open(f'out/listed/{name}', 'w').close()\nfound = sorted(os.listdir('out/listed'))\nshutil = __import__('shutil')\nshutil.rmtree('out/listed')\n[found, sorted(os.listdir('.')), os.listdir('in')]",
    "project_module": "import helpers\n[helpers.answer(), helpers.__name__, helpers.__file__.endswith('helpers.py'), helpers.__spec__.name]",
    "source": "import inspect\ndef shown(n):\n    # a comment\n    return n\ninspect.getsource(shown)",
    "traceback": "import re, traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    text = traceback.format_exc()\nre.sub(r'/[^\"]*/ipykernel_\\d+/\\d+\\.py', 'CELL', text)",
    "subclasses": "[int.__subclasses__()[0].__name__, len(__import__('numbers').Number._abc_impl.__class__.__name__) > 0]",
    "temp_folder": "import tempfile\n[tempfile.gettempdir(), tempfile.gettempprefix()]",
    "bytecode": "import sys\nexec('def made(): return 1')\n[made.__code__.co_filename, made.__module__, sys.implementation.cache_tag]",
}
NEEDED = ("matplotlib", "numpy", "pandas", "polars", "safetensors", "sklearn", "torch")
WAYS = ("warm", "again", "fresh", "kernel")
QUICK_WAYS = ("warm", "kernel")
HEAD = "import json\nimport multiprocessing\ndef divmod_7(n):\n    return divmod(n, 7)\nfrom pathlib import Path\nKINDS_SO_FAR = set()\nBY_KERNELS = 'COLUMNS LINES IPYTHONDIR JPY_PARENT_PID MLOPS_KERNEL_FOLDER KMP_DUPLICATE_LIB_OK KMP_INIT_AT_FORK PYDEVD_USE_FRAME_EVAL _RJEM_MALLOC_CONF TORCHINDUCTOR_CACHE_DIR'.split()"


def usable(names) -> list[str]:
    "Those for which the packages are installed"
    absent = [one for one in NEEDED if not find_spec(one)]
    return [name for name in names if not any(f"import {one}" in KINDS[name] or f"from {one}" in KINDS[name] for one in absent)]


def cell_of(name: str) -> str:
    "Code that writes an out"
    before, _, value = KINDS[name].rpartition("\n")
    return f"{before}\nvalue = {value}\nPath('out/{name}.json').write_text(json.dumps(value, default=str))"


def step_of(project: Project, name: str, kinds: list[str]) -> str:
    "Make a notebook that writes an out for each kind; the step in YAML"
    parameters = "from pathlib import Path\n" + "\n".join(f"{kind}_file: Path = Path('out/{kind}.json')" for kind in kinds)
    project.notebook(name, HEAD, *(cell_of(kind) for kind in kinds), parameters=parameters)
    return f"{name}: {{notebook: notebooks/{name}.ipynb, outs: {{" + ", ".join(f"{kind}_file: {kind}.json" for kind in kinds) + "}}"


def outs_of(project: Project, way: str, *options: str) -> dict[str, dict[str, str]]:
    "Run everything in a store that is empty before and after; the digests of the outs of all steps"
    shutil.rmtree(project.root / ".mlops", ignore_errors=True)
    environment = {"MLOPS_RUNTIME_DIR": "/dev/null"} if way == "fresh" else {}
    process = project.start("run", *options, f"engine={'kernel' if way == 'kernel' else 'mlops'}", "--json", **environment)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err + "".join(step["error"] or "" for step in json.loads(out)["steps"].values())
    assert ("no fork server" in err) == (way == "fresh"), f"{way}: {err}"
    return {name: step["outs"] for name, step in json.loads(out)["steps"].items()}


def shown(project: Project, digest: str) -> str:
    "The beginning of an out in the store"
    path, = (project.root / ".mlops/objects").rglob(f"*{digest[2:]}*")
    return path.read_text()


def in_every_way(project: Project, *options: str, keep: bool = False, ways: tuple[str, ...] = WAYS) -> dict[str, dict]:
    "The outs of all steps by way; before `again` the fork server serves a notebook that imports much else"
    (project.root / "helpers.py").write_text("def answer():\n    return 42\n")
    done = {}
    for way in ways:
        if way == "again":
            other = Project(project.root.parent / "other")
            other.notebook("imports", "\n".join(f"import {one}" for one in ("matplotlib.pyplot", "lightning", "pandas", "sklearn.ensemble", "sympy", "polars", "wandb") if find_spec(one.partition(".")[0])) + "\nresult.write_text('')")
            other.pipeline("imports: {notebook: notebooks/imports.ipynb, outs: {result: result.json}}")
            assert other.statuses() == {"imports": "ran"}
        done[way] = outs_of(project, way, *options)
        if keep:
            project.texts = getattr(project, "texts", {}) | {way: {name: {out: shown(project, digest) for out, digest in outs.items()} for name, outs in done[way].items()}}
    return done


def difference(one: str, two: str) -> str:
    "Where two texts part"
    where = len(os.path.commonprefix([one, two]))
    return f"at {where}: ...{one[max(0, where - 100):where + 100]}...\nand ...{two[max(0, where - 100):where + 100]}..."


@pytest.fixture(scope="module")
def each_kind(tmp_path_factory):
    "A step with all kinds, in every way"
    project = Project(tmp_path_factory.mktemp("kinds") / "project")
    project.pipeline(step_of(project, "all", usable(KINDS)))
    project.done = in_every_way(project, "pipeline=demo", keep=True, ways=QUICK_WAYS)
    return project


@pytest.mark.parametrize("name", KINDS)
def test_an_out_of_this_kind_is_the_same_in_every_way(each_kind, name):
    if name not in usable([name]):
        pytest.skip("a package is missing")
    texts = {way: each_kind.texts[way]["all"][f"{name}_file"] for way in QUICK_WAYS}
    digests = {way: each_kind.done[way]["all"][f"{name}_file"] for way in QUICK_WAYS}
    assert len(set(digests.values())) == 1, "\n".join(f"{way:7} {text[:300]}" for way, text in texts.items()) + "\n" + difference(texts["kernel"], texts["warm"])


@pytest.mark.long
def test_random_notebooks_give_the_same_in_every_way(project):
    chance, names = random.Random(SEED), [name for name in usable(KINDS) if name != 'names']
    project.pipeline("\n".join(step_of(project, f"mix{number}", chance.sample(names, 8)) for number in range(12)))
    done = in_every_way(project, "pipeline=demo", keep=True)
    different = {(step, out, way) for way in WAYS for step, outs in done[way].items() for out, digest in outs.items() if digest != done["kernel"][step][out]}
    assert not different, f"with MLOPS_TEST_SEED={SEED}:\n" + "\n".join(difference(project.texts["kernel"][step][out], project.texts[way][step][out]) for step, out, way in sorted(different))


@pytest.mark.long
def test_the_flights_pipeline_gives_the_same_in_every_way(tmp_path):
    project = Project.of_repository(tmp_path / "project")
    done = in_every_way(project, "experiment=smoke")
    assert len(done["warm"]) == 5
    for way in WAYS:
        assert done[way] == done["warm"], way


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of other processors")
@pytest.mark.long
def test_libraries_are_loaded_with_the_variables_of_the_caller(project):
    "Also by a fork server that loads them in advance, and after it has served others"
    project.notebook("kind", "import numpy\nfrom threadpoolctl import threadpool_info", "result.write_text(str([pool['architecture'] for pool in threadpool_info() if 'architecture' in pool]))")
    project.pipeline("kind: {notebook: notebooks/kind.ipynb, outs: {result: result.json}}")
    seen = {}
    for engine in ("mlops", "kernel"):
        for kind in ("Nehalem", "Sandybridge"):
            run = project.json("run", "pipeline=demo", f"engine={engine}", f"store=.of-{engine}", OPENBLAS_CORETYPE=kind)
            seen[engine, kind] = run["steps"]["kind"]["outs"]["result"]
    assert seen["mlops", "Nehalem"] == seen["kernel", "Nehalem"] != seen["mlops", "Sandybridge"] == seen["kernel", "Sandybridge"]
