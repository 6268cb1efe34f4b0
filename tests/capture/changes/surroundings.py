"""Changes around a step: variables, packages, files in the home folder, places."""
import base64
import hashlib
import os
import shutil
from pathlib import Path

from helpers.project import environment
from helpers.trial import Change, Place, Row, edit, remove, same_stamp, write

# -- variables that pass_env names -------------------------------------------------------------------------------------------


def reads(cell: str | tuple[str, ...], **more) -> Row:
    "A row whose variable COLOUR§ goes from red to blue"
    return Row(cell, (), "variable COLOUR", **more)


PASSED = {
    "os.environ": reads("value = os.environ['COLOUR§']"),
    "os.getenv": reads("value = os.getenv('COLOUR§')"),
    "os.environb": reads("value = os.environb[b'COLOUR§'].decode()"),
    "a copy of the variables": reads("value = os.environ.copy()['COLOUR§']"),
    "the variables as a dict": reads("value = {name: value for name, value in dict(os.environ).items() if name == 'COLOUR§'}"),
    "posix.environ": reads("import posix\nvalue = posix.environ.get(b'COLOUR§', b'').decode()"),
    "expandvars": reads("value = os.path.expandvars('$COLOUR§')"),
    "a template": reads("import string\nvalue = string.Template('$COLOUR§').safe_substitute(os.environ)"),
    "a computed name": reads("value = os.environ['COL' + 'OUR§']"),
    "in a module": reads("from m§ import colour\nvalue = colour()", files={"m§.py": "import os\n\n\ndef colour():\n    return os.environ['COLOUR§']\n"}),
    "when a module is imported": reads("from m§ import COLOUR\nvalue = COLOUR", files={"m§.py": "from os import environ\nCOLOUR = environ['COLOUR§']\n"}),
    "in the parameters cell": reads("value = colour", parameters="import os\nfrom pathlib import Path\ncolour = os.environ['COLOUR§']\nresult: Path = Path('out/result.json')"),
    "!echo": reads(("value = !echo $COLOUR§",)),
    "%env": reads(("value = %env COLOUR§",)),
    "%%bash": reads(("%%bash --out value\necho $COLOUR§",)),
    "a child of the shell": reads("import subprocess\nvalue = subprocess.run(['sh', '-c', 'echo $COLOUR§'], capture_output=True, text=True).stdout"),
    "printenv": reads("import subprocess\nvalue = subprocess.run(['printenv', 'COLOUR§'], capture_output=True, text=True).stdout"),
    "a child Python": reads("import subprocess\nvalue = subprocess.run([sys.executable, '-c', 'import os; print(os.environ[\"COLOUR§\"])'], capture_output=True, text=True).stdout"),
    "a spawned process": reads("import multiprocessing as mp, os\nwith mp.get_context('spawn').Pool(1) as pool:\n    value = pool.map(os.getenv, ['COLOUR§'])"),
    "libc's getenv": reads("import ctypes\nlibc = ctypes.CDLL(None)\nlibc.getenv.restype = ctypes.c_char_p\nvalue = (libc.getenv(b'COLOUR§') or b'').decode()"),
    "a package": reads("import dotenv, io\nvalue = dotenv.dotenv_values(stream=io.StringIO('A=${COLOUR§}'))['A']"),
    "click": reads("import click\nfrom click.testing import CliRunner\nmain = click.Command('main', params=[click.Option(['--colour'], envvar='COLOUR§')], callback=lambda colour: click.echo(colour))\nvalue = CliRunner().invoke(main, []).output"),
    "OmegaConf": reads("from omegaconf import OmegaConf\nvalue = OmegaConf.create({'a': '${oc.env:COLOUR§,none}'}).a"),
    "through a second name": reads("os.environ['SECOND'] = os.environ['COLOUR§']\nvalue = os.path.expandvars('$SECOND')"),
    "whether it is set": reads("value = os.environ['COLOUR§'] == 'red' or 'other'"),
}

# a variable that pass_env names later, with the value that it always had
LATER = {"a variable let through later": Row("value = os.environ.get('COLOUR§', 'none')", (), "COLOUR§")}

# a value in the configuration comes from a variable; this is a parameter like any other
COMPOSED = {
    "a parameter from a variable": Row("value = x", (), "x", parameters="from pathlib import Path\nx: str = ''\nresult: Path = Path('out/result.json')", step="params: {x: '${oc.env:COLOUR§}'}"),
    "a source from a variable": Row("value = [one.read_text() for one in Path('in').iterdir()]", (), "data", {"d§/red": "2", "d§/blue": "3"}, step="sources: {data: 'd§/${oc.env:COLOUR§}'}"),
}

# what a step sees of its caller is fixed, or it counts
CALLER = {
    name: Row(f"value = os.environ.get('{name}')", ())
    for name in ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
                 "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "JUPYTER_PATH", "LANG", "TZ",
                 "PYTHONHASHSEED", "LC_ALL", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MPLBACKEND", "DISPLAY", "EDITOR", "COLUMNS", "TERM", "MLOPS_SEED")
} | {
    "the home folder": Row("value = str(Path.home())", ()),
    "a file in another home folder": Row("value = (Path.home() / 'rates.txt').read_text()", ()),
    "a file in another home folder, by expanduser": Row("value = open(os.path.expanduser('~/rates.txt')).read()", ()),
    "a file in another home folder, by the shell": Row("import subprocess\nvalue = subprocess.run('cat ~/rates.txt', shell=True, capture_output=True, text=True).stdout", ()),
    "the name of the user": Row("import getpass\nvalue = getpass.getuser()", ()),
    "a program that another path finds": Row("import subprocess\nvalue = subprocess.run(['rates-tool'], capture_output=True, text=True).stdout", ()),
    "which program a path finds": Row("import shutil\nvalue = shutil.which('rates-tool')", ()),
    "the temporary folder": Row("import tempfile\nvalue = Path(tempfile.gettempdir()).name", ()),
    "the locale": Row("import locale\nvalue = str(locale.getlocale())", ()),
    "the time zone": Row("import time\nvalue = time.tzname", ()),
    "the order of a set": Row("value = list({'a', 'b', 'c', 'd'})", ()),
}

# -- files in the home folder that libraries read ----------------------------------------------------------------------------

HOME = {
    "a file of the user": Row("value = (Path.home() / 'rates.txt').read_text()", write("~/home/rates.txt", "3"), "rates.txt", {"~/home/rates.txt": "2"}),
    "settings of git": Row("import subprocess\nvalue = subprocess.run(['git', 'config', '--global', 'user.name'], capture_output=True, text=True).stdout", write("~/home/.gitconfig", "[user]\nname = b\n"), "git", {"~/home/.gitconfig": "[user]\nname = a\n"}),
    "passwords in .netrc": Row("import netrc\nvalue = netrc.netrc().authenticators('h')[0]", write("~/home/.netrc", "machine h login b password p\n"), ".netrc", {"~/home/.netrc": "machine h login a password p\n"}, before=lambda place: place.path("~/home/.netrc").chmod(0o600)),
    "the cache of torch": Row("import torch\nvalue = Path(torch.hub.get_dir(), 'checkpoints/w.txt').read_text()", write("~/home/.cache/torch/hub/checkpoints/w.txt", "3"), "w.txt", {"~/home/.cache/torch/hub/checkpoints/w.txt": "2"}),
    "a cache of one's own": Row("value = (Path.home() / '.cache/tables/a.txt').read_text()", write("~/home/.cache/tables/a.txt", "3"), "a.txt", {"~/home/.cache/tables/a.txt": "2"}),
    "data of scikit-learn": Row("from sklearn.datasets import get_data_home\nvalue = sorted(os.listdir(get_data_home()))", write("~/home/scikit_learn_data/x", ""), "scikit_learn_data", {"~/home/scikit_learn_data/y": ""}),
    "settings of the user that appear": Row("value = os.path.exists(os.path.expanduser('~/.shoprc'))", write("~/home/.shoprc", ""), ".shoprc"),
    "the shell's file by BASH_ENV": Row("import subprocess\nvalue = subprocess.run(['bash', '-c', 'echo $X'], env=os.environ | {'BASH_ENV': str(Path.home() / '.bashrc')}, capture_output=True, text=True).stdout", write("~/home/.bashrc", "X=3\n"), ".bashrc", {"~/home/.bashrc": "X=2\n"}),
}

# what a fresh kernel reads before the first cell
KERNEL_START = {
    "sitecustomize in the project": Row("value = os.environ.get('SITE')", edit("sitecustomize.py", "'2'", "'3'"), "sitecustomize", {"sitecustomize.py": "import os\nos.environ['SITE'] = '2'\n"}),
}

KERNEL = {
    "matplotlibrc of the user": Row("import matplotlib.pyplot as plt\nvalue = plt.rcParams['figure.dpi']", write("~/home/.config/matplotlib/matplotlibrc", "figure.dpi: 60\n"), "matplotlib", {"~/home/.config/matplotlib/matplotlibrc": "figure.dpi: 50\n"}),
    "a start-up file of IPython": Row("import pandas as pd\nvalue = pd.options.display.max_rows", write("~/home/.ipython/profile_default/startup/00.py", "import pandas\npandas.options.display.max_rows = 30\n"), "00.py", {"~/home/.ipython/profile_default/startup/00.py": "import pandas\npandas.options.display.max_rows = 20\n"}),
    "settings of IPython": Row(("1\n2", "value = get_ipython().ast_node_interactivity"), write("~/home/.ipython/profile_default/ipython_kernel_config.py", "c.InteractiveShell.ast_node_interactivity = 'all'\n"), "ipython"),
}

# -- places: as root, in a mount namespace of one's own ----------------------------------------------------------------------

PLACES = ("/opt", "/srv", "/mnt", "/var/cache", "/var/lib/misc", "/usr/local/share")


def put(path: str, text: str) -> Change:
    "Write a file anywhere"
    def change(place: Place) -> None:
        target = Path(place.text(path))
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    return change


def below(place: str) -> Row:
    "A row that reads a folder in this place"
    path = f"{place}/models§/a.txt"
    return Row(f"value = [one.read_text() for one in Path('{place}/models§').glob('*')]", put(path, "3"), "models§", before=put(path, "2"))


ELSEWHERE = {f"a folder below {place}": below(place) for place in PLACES} | {
    "a module below /opt": Row("sys.path.append('/opt/code§')\nimport tool§\nvalue = tool§.V", put("/opt/code§/tool§.py", "V = 3\n"), "tool§", before=put("/opt/code§/tool§.py", "V = 2\n")),
    "a file below /etc": Row("value = Path('/etc/opt/rates§').read_text()", put("/etc/opt/rates§", "3"), "rates§", before=put("/etc/opt/rates§", "2")),
    "a program below /usr/local": Row("import subprocess\nvalue = subprocess.run(['sh', '/usr/local/games/tool§'], capture_output=True, text=True).stdout", put("/usr/local/games/tool§", "echo 3"), "tool§", before=put("/usr/local/games/tool§", "echo 2")),
}
INSIDE = {
    "a file of the project": Row("value = (project / 'rates§.txt').read_text()", write("rates§.txt", "3"), "rates§.txt", {"rates§.txt": "2"}),
    "a module by a computed name": Row("sys.path.insert(0, str(project / 'src§'))\nimport importlib\nvalue = importlib.import_module('plug' + '§').V", edit("src§/plug§.py", "2", "3"), "plug§", {"src§/plug§.py": "V = 2\n"}),
    "a module of the project": Row("import m§\nvalue = m§.price(3)", edit("m§.py", "* 2", "* 3"), "m§", {"m§.py": "def price(x):\n    return x * 2\n"}),
    "a file that another process reads": Row("import subprocess\nvalue = subprocess.run(['cat', here / 'a.txt'], capture_output=True, text=True).stdout", write("d§/a.txt", "3"), "a.txt", {"d§/a.txt": "2"}),
}


# -- packages ----------------------------------------------------------------------------------------------------------------


def install(name: str, version: str, files: dict[str, str], info: str = "dist-info", entry_points: str = "", requires: tuple[str, ...] = (), record: str = "") -> Change:
    "Install a package as pip would: what an earlier version left goes; `record`: its line end, or `none`"
    def change(place: Place) -> None:
        packages, normal = place.path("~/site"), place.text(name).replace("-", "_")
        for old in packages.glob(f"{normal}-*"):
            for line in (old / "RECORD").read_text().splitlines() if (old / "RECORD").exists() else []:
                (packages / line.split(",")[0]).unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)
        for path, text in files.items():
            place.write(f"~/site/{path}", text)
        metadata = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n{}\n".format(place.text(name), version, "".join(f"Requires-Dist: {one}\n" for one in requires))
        folder_name = f"{normal}-{version}.{info}"
        place.write(f"~/site/{folder_name}/{'METADATA' if info == 'dist-info' else 'PKG-INFO'}", metadata)
        if entry_points:
            place.write(f"~/site/{folder_name}/entry_points.txt", entry_points)
        if info == "dist-info" and record != "none":
            lines = [f"{place.text(path)},sha256={_sha256(place.text(text))},{len(place.text(text).encode())}" for path, text in files.items()]
            lines += [f"{folder_name}/METADATA,,", f"{folder_name}/RECORD,,"]
            place.write(f"~/site/{folder_name}/RECORD", "".join(line + (record or "\n") for line in lines))
    return change


def _sha256(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def uninstall(name: str) -> Change:
    def change(place: Place) -> None:
        packages = place.path("~/site")
        for info in packages.glob(place.text(f"{name}-*.dist-info")):
            for line in (info / "RECORD").read_text().splitlines():
                (packages / line.split(",")[0]).unlink(missing_ok=True)
            shutil.rmtree(info, ignore_errors=True)
    return change


def environment_for(root: Path) -> Path:
    "A virtual environment beside the project, whose packages are in `site`; its Python"
    python = environment(root / "venv")
    (root / "site").symlink_to(next((root / "venv").glob("lib/*/site-packages")))
    return python


def tiny(change: Change | tuple[Change, ...], cell: str | tuple[str, ...] = "import tiny§\nvalue = tiny§.V", before: Change | tuple[Change, ...] | None = None, reason: str = "tiny", **more) -> Row:
    "A row with a package of one module"
    return Row(cell, change, reason, before=TINY if before is None else before, **more)


def version(number: int) -> Change:
    return install("tiny§", f"{number}.0", {"tiny§.py": f"V = {number}\n"})


TINY, NEWER = version(2), version(3)
TRIES = "try:\n    import tiny§\n    value = tiny§.V\nexcept ImportError:\n    value = 0"
PACKAGES = {
    "upgrade": tiny(NEWER),
    "downgrade": tiny(version(1)),
    "uninstalled": tiny(uninstall("tiny§"), TRIES),
    "installed": tiny(TINY, TRIES, ()),
    "installed beside a try in another package": tiny(TINY, "import wants§\nvalue = wants§.V", install("wants§", "1.0", {"wants§.py": "try:\n    from tiny§ import V\nexcept ImportError:\n    V = 0\n"})),
    "patched in place": tiny(write("~/site/tiny§.py", "V = 3\n")),
    "patched in place, the same size and time": tiny(same_stamp("~/site/tiny§.py", "V = 3\n")),
    "the same version with other content": tiny(install("tiny§", "2.0", {"tiny§.py": "V = 3\n"})),
    "another module of the package patched": tiny(write("~/site/tiny§/core.py", "V = 3\n"), before=install("tiny§", "2.0", {"tiny§/__init__.py": "from .core import V\n", "tiny§/core.py": "V = 2\n"})),
    "a module of the package that is imported late": tiny(write("~/site/tiny§/core.py", "V = 3\n"), "import tiny§\nvalue = tiny§.late()", install("tiny§", "2.0", {"tiny§/__init__.py": "def late():\n    from .core import V\n    return V\n", "tiny§/core.py": "V = 2\n"})),
    "a file put into the package": tiny(write("~/site/tiny§/extra.py", ""), "import pkgutil, tiny§\nvalue = [one.name for one in pkgutil.iter_modules(tiny§.__path__)]", install("tiny§", "2.0", {"tiny§/__init__.py": ""})),
    "loose module": tiny(write("~/site/tiny§.py", "V = 3\n"), before=write("~/site/tiny§.py", "V = 2\n")),
    "loose module appears": tiny(write("~/site/tiny§.py", "V = 3\n"), TRIES, ()),
    "loose package": tiny(write("~/site/tiny§/core.py", "V = 3\n"), before=(write("~/site/tiny§/__init__.py", "from .core import V\n"), write("~/site/tiny§/core.py", "V = 2\n"))),
    "two packages with one module": tiny(install("tinygpu§", "1.1", {"tiny§.py": "V = 3\n"}), before=(install("tiny§", "1.0", {"tiny§.py": "V = 1\n"}), install("tinygpu§", "1.0", {"tiny§.py": "V = 2\n"})), reason="tiny"),
    "package in a %%time cell": tiny(NEWER, ("%%time\nimport tiny§\nvalue = tiny§.V",)),
    "package by a computed name": tiny(NEWER, "import importlib\nvalue = importlib.import_module('ti' + 'ny§').V"),
    "package by a child Python": tiny(NEWER, "import subprocess\nvalue = subprocess.run([sys.executable, '-c', 'import tiny§; print(tiny§.V)'], capture_output=True, text=True).stdout"),
    "package by a spawned process": tiny(NEWER, "import multiprocessing as mp\nwith mp.get_context('spawn').Pool(1) as pool:\n    value = pool.map(eval, ['__import__(\"tiny§\").V'])"),
    "package by a forked process": tiny(NEWER, "import multiprocessing as mp\nwith mp.get_context('fork').Pool(1) as pool:\n    value = pool.map(eval, ['__import__(\"tiny§\").V'])"),
    "package imported by the project": tiny(NEWER, "import m§\nvalue = m§.V", files={"m§.py": "from tiny§ import V\n"}),
    "package imported by a function of the project": tiny(NEWER, "import m§\nvalue = m§.late()", files={"m§.py": "def late():\n    import tiny§\n    return tiny§.V\n"}),
    "package that imports the project": tiny(edit("m§.py", "2", "3"), before=install("tiny§", "2.0", {"tiny§.py": "from m§ import V\n"}), files={"m§.py": "V = 2\n"}, reason="m§"),
    "package as a hydra target in a parameter": tiny(install("tiny§", "3.0", {"tiny§.py": "def make():\n    return 3\n"}), "from hydra.utils import instantiate\nvalue = instantiate(model)", install("tiny§", "2.0", {"tiny§.py": "def make():\n    return 2\n"}), step="params: {model: {_target_: tiny§.make}}", parameters="from pathlib import Path\nmodel: dict = {}\nresult: Path = Path('out/result.json')"),
    "package as an extension of IPython": tiny(install("tiny§", "3.0", {"tiny§.py": "def load_ipython_extension(shell):\n    shell.user_ns['value'] = 3\n"}), ("%load_ext tiny§",), install("tiny§", "2.0", {"tiny§.py": "def load_ipython_extension(shell):\n    shell.user_ns['value'] = 2\n"})),
    "package run as a module": tiny(install("tiny§", "3.0", {"tiny§.py": "print(3)\n"}), "import subprocess\nvalue = subprocess.run([sys.executable, '-m', 'tiny§'], capture_output=True, text=True).stdout", install("tiny§", "2.0", {"tiny§.py": "print(2)\n"})),
    "data file of a package": tiny(write("~/site/tiny§/rates.txt", "3"), "from importlib.resources import files\nvalue = (files('tiny§') / 'rates.txt').read_text()", install("tiny§", "1.0", {"tiny§/__init__.py": "", "tiny§/rates.txt": "2"})),
    "data file of a package by its path": tiny(write("~/site/tiny§/rates.txt", "3"), "import tiny§\nvalue = (Path(tiny§.__file__).parent / 'rates.txt').read_text()", install("tiny§", "1.0", {"tiny§/__init__.py": "", "tiny§/rates.txt": "2"})),
    "data file of a package that is not imported": tiny(write("~/site/tiny§/rates.txt", "3"), "from importlib.util import find_spec\nvalue = (Path(find_spec('tiny§').origin).parent / 'rates.txt').read_text()", install("tiny§", "1.0", {"tiny§/__init__.py": "", "tiny§/rates.txt": "2"})),
    "data file that a program reads": tiny(write("~/site/tiny§/rates.txt", "3"), "import subprocess, tiny§\nvalue = subprocess.run(['cat', Path(tiny§.__file__).parent / 'rates.txt'], capture_output=True, text=True).stdout", install("tiny§", "1.0", {"tiny§/__init__.py": "", "tiny§/rates.txt": "2"})),
    "data files of a package are listed": tiny(write("~/site/tiny§/more.txt", "3"), "from importlib.resources import files\nvalue = sorted(one.name for one in files('tiny§').iterdir() if one.name.endswith('.txt'))", install("tiny§", "1.0", {"tiny§/__init__.py": "", "tiny§/rates.txt": "2"})),
    "a dependency that the metadata don't name": tiny(NEWER, "import uses§\nvalue = uses§.V", (TINY, install("uses§", "1.0", {"uses§.py": "try:\n    from tiny§ import V\nexcept ImportError:\n    V = 1\n"}))),
    "a dependency of a package": tiny(NEWER, "import uses§\nvalue = uses§.V", (TINY, install("uses§", "1.0", {"uses§.py": "from tiny§ import V\n"}, requires=("tiny§",)))),
    "the metadata of a package": tiny(NEWER, "from importlib.metadata import version\nvalue = version('tiny§')"),
    "the metadata of a package that is not there": tiny(TINY, "from importlib.metadata import PackageNotFoundError, version\ntry:\n    value = version('tiny§')\nexcept PackageNotFoundError:\n    value = ''", ()),
    "what a package requires": tiny(install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, requires=("more",)), "from importlib.metadata import requires\nvalue = requires('tiny§')"),
    "a list of packages": tiny(install("other§", "1.0", {"other§.py": ""}), "from importlib.metadata import distributions\nvalue = sorted(one.metadata['Name'] for one in distributions() if one.metadata['Name'].endswith('§'))", reason=""),
    "a plugin by its entry point": tiny(install("tiny§", "3.0", {"tiny§.py": "V = 3\n"}, entry_points="[rates§]\nusual = tiny§:V\n"), "from importlib.metadata import entry_points\nvalue = [one.load() for one in entry_points(group='rates§')]", install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, entry_points="[rates§]\nusual = tiny§:V\n")),
    "one more plugin": tiny(install("other§", "3.0", {"other§.py": "V = 3\n"}, entry_points="[rates§]\nother = other§:V\n"), "from importlib.metadata import entry_points\nvalue = sorted(one.name for one in entry_points(group='rates§'))", install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, entry_points="[rates§]\nusual = tiny§:V\n"), ""),
    "a plugin goes": tiny(uninstall("tiny§"), "from importlib.metadata import entry_points\nvalue = sorted(one.name for one in entry_points(group='rates§'))", install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, entry_points="[rates§]\nusual = tiny§:V\n"), ""),
    "a package without RECORD": tiny(write("~/site/tiny§.py", "V = 3\n"), before=install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, record="none")),
    "a RECORD with other line ends": tiny(write("~/site/tiny§.py", "V = 3\n"), before=install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, record="\r\n")),
    "an egg-info package": tiny(write("~/site/tiny§.py", "V = 3\n"), before=install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, info="egg-info")),
    "an egg-info package of the same version": tiny(install("tiny§", "2.0", {"tiny§.py": "V = 3\n"}, info="egg-info"), before=install("tiny§", "2.0", {"tiny§.py": "V = 2\n"}, info="egg-info")),
    "a name with other letters": tiny(install("Tiny.Pack-§", "3.0", {"tiny§.py": "V = 3\n"}), before=install("Tiny.Pack-§", "2.0", {"tiny§.py": "V = 2\n"}), reason="tiny-pack-"),
    "editable package by a path file": tiny(write("~/src§/tiny§/__init__.py", "V = 3\n"), before=(write("~/src§/tiny§/__init__.py", "V = 2\n"), lambda place: editable(place))),
    "editable package by a finder": tiny(write("~/src§/tiny§/__init__.py", "V = 3\n"), before=(write("~/src§/tiny§/__init__.py", "V = 2\n"), lambda place: editable(place, finder=True))),
    "editable package: its target": tiny(lambda place: editable(place, folder_name="~/new§"), before=(write("~/src§/tiny§/__init__.py", "V = 2\n"), write("~/new§/tiny§/__init__.py", "V = 3\n"), lambda place: editable(place))),
    "folder of a path file": tiny(write("~/more§/tiny§.py", "V = 3\n"), before=(write("~/more§/tiny§.py", "V = 2\n"), lambda place: place.write("~/site/more§.pth", f"{place.path('~/more§')}\n"))),
    "a path file appears": tiny(lambda place: place.write("~/site/more§.pth", f"{place.path('~/more§')}\n"), TRIES, write("~/more§/tiny§.py", "V = 2\n")),
    "namespace over two packages: one changes": tiny(install("two§", "2.0", {"tiny§/b.py": "V = 3\n"}), "import tiny§.a, tiny§.b\nvalue = tiny§.a.V + tiny§.b.V", (install("one§", "1.0", {"tiny§/a.py": "V = 2\n"}), install("two§", "1.0", {"tiny§/b.py": "V = 2\n"})), "two"),
    "namespace over two packages: one patched": tiny(write("~/site/tiny§/b.py", "V = 3\n"), "import tiny§.a, tiny§.b\nvalue = tiny§.a.V + tiny§.b.V", (install("one§", "1.0", {"tiny§/a.py": "V = 2\n"}), install("two§", "1.0", {"tiny§/b.py": "V = 2\n"})), "two"),
    "namespace over a package and the project": tiny(write("tiny§/b.py", "V = 3\n"), "import tiny§.a, tiny§.b\nvalue = tiny§.a.V + tiny§.b.V", (install("one§", "1.0", {"tiny§/a.py": "V = 2\n"}),), files={"tiny§/b.py": "V = 2\n"}),
    "the project shadows the package": tiny(write("tiny§.py", "V = 3\n")),
    "the project shadows the package by a folder": tiny(write("tiny§/__init__.py", "V = 3\n")),
    "the project shadows nothing any more": tiny(remove("tiny§.py"), files={"tiny§.py": "V = 1\n"}),
    "a package of the same name as the module": tiny(write("~/site/tiny§/__init__.py", "V = 3\n")),
    "a class of a pickle": tiny(install("tiny§", "3.0", {"tiny§.py": "class Model:\n    V = 3\n"}), "import pickle\nvalue = pickle.loads((here / 'model.pkl').read_bytes()).V", (install("tiny§", "2.0", {"tiny§.py": "class Model:\n    V = 2\n"}), lambda place: place.write("d§/model.pkl", f"\x80\x02ctiny{place.number}\nModel\n)\x81.".encode("latin-1")))),
    "a program that a package installs": tiny(write("~/venv/bin/tool§", "#!/bin/sh\necho 3\n"), "import subprocess\nvalue = subprocess.run([Path(sys.executable).with_name('tool§')], capture_output=True, text=True).stdout", (write("~/venv/bin/tool§", "#!/bin/sh\necho 2\n"), lambda place: place.path("~/venv/bin/tool§").chmod(0o755)), "tool§"),
    "source of a package": tiny(write("~/site/tiny§.py", "V = 2  # c\n"), "import inspect, tiny§\nvalue = inspect.getsource(tiny§)", install("tiny§", "2.0", {"tiny§.py": "V = 2  # b\n"})),
    "a package patched by the project": tiny(edit("m§.py", "V = 4", "V = 5"), "import m§, tiny§\nvalue = tiny§.V", files={"m§.py": "import tiny§\ntiny§.V = 4\n"}, reason="m§"),
    "byte code without source in a package": tiny(lambda place: bare(place, 3), before=lambda place: bare(place, 2)),
}
PACKAGES_NEUTRAL = {
    "an unrelated package is upgraded": tiny(install("other§", "2.0", {"other§.py": "V = 1\n"}), before=(TINY, install("other§", "1.0", {"other§.py": ""}))),
    "an unrelated package is installed": tiny(install("other§", "2.0", {"other§.py": "V = 1\n"})),
    "an optional package that nothing imported": tiny(install("openpyxl§", "3.1", {"openpyxl§/__init__.py": ""}), "import pandas as pd\nvalue = int(pd.DataFrame({'a': [1]}).a.sum())"),
    "an unrelated file in the site packages": tiny(write("~/site/README§.txt", "")),
    "a command is installed": tiny(install("other§", "1.0", {"other§.py": ""}, entry_points="[console_scripts]\nother = other§:main\n")),
    "another installer": tiny(write("~/site/tiny§-2.0.dist-info/INSTALLER", "uv")),
    "compiled byte code": tiny(lambda place: compiled(place)),
    "a touched package": tiny(lambda place: os.utime(place.path("~/site/tiny§.py"))),
    "the same package installed again": tiny(TINY),
    "a module of the package that nobody uses is patched": tiny(write("~/site/tiny§/other.py", "V = 3\n"), before=install("tiny§", "2.0", {"tiny§/__init__.py": "V = 2\n", "tiny§/other.py": "V = 2\n"})),
    "an unrelated editable package changes": tiny(write("~/src§/other§/__init__.py", "V = 3\n"), before=(TINY, write("~/src§/other§/__init__.py", "V = 2\n"), lambda place: editable(place, name="other§"))),
}


def editable(place: Place, folder_name: str = "~/src§", finder: bool = False, name: str = "tiny§") -> None:
    "What an editable installation leaves"
    where = place.path(folder_name)
    if finder:
        code = f"import sys\nfrom importlib.util import spec_from_file_location\n\n\nclass Finder:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n        if name == {place.text(name)!r}:\n            return spec_from_file_location(name, {str(where)!r} + '/' + name + '/__init__.py')\n\n\ndef install():\n    sys.meta_path.append(Finder)\n"
        files = {f"__editable___{name}_finder.py": code, f"__editable__.{name}.pth": f"import __editable___{name}_finder; __editable___{name}_finder.install()\n"}
    else:
        files = {f"__editable__.{name}.pth": f"{where}\n"}
    install(name, "2.0", files)(place)


def bare(place: Place, value: int) -> None:
    import py_compile

    py_compile.compile(str(place.write("d§/made.txt", f"V = {value}\n")), cfile=str(place.path("~/site/tiny§.pyc")), doraise=True)


def compiled(place: Place) -> None:
    import py_compile

    py_compile.compile(str(place.path("~/site/tiny§.py")), doraise=True)


