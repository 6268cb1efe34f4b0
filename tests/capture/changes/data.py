"""Changes of what a step reads, whoever reads it: Python, a native library, another process."""
import atexit
import json
import mmap
import os
import sqlite3
import subprocess
import sys
import time
import zipfile
from functools import cache
from pathlib import Path

from helpers.trial import Change, Place, Row, append, edit, folder, link, move, remove, same_stamp, stamp, write


def looks(cell: str | tuple[str, ...], change: Change | tuple[Change, ...], reason: str = "a.txt", files: dict[str, str | bytes] | None = None, **more) -> Row:
    "A row that reads d§/a.txt, which holds 2, if nothing else is said"
    return Row(cell, change, reason, {"d§/a.txt": "2"} if files is None else files, **more)


THREE = write("d§/a.txt", "3")
APPEARS = write("d§/flag", "3")
NOTHING: dict[str, str | bytes] = {}
CACHE = "cache = here / 'cache'\n"
ONE_ROW, TWO_ROWS = {"d§/1.csv": "a\n1\n"}, {"d§/1.csv": "a\n1\n", "d§/2.csv": "a\n2\n"}

def shares(content: str) -> Change:
    "Fill shared memory that has the name of a row"
    def change(place: Place) -> None:
        path = Path(f"/dev/shm/mlops-d{place.number}-{place.root.parent.name}")
        path.write_text(content)
        atexit.register(path.unlink, missing_ok=True)
    return change


def linked(cell: str) -> Row:
    "A row that reads a file below a link, which leads elsewhere later"
    files: dict[str, str | bytes] = {"d§/v1/a.txt": "2", "d§/v2/a.txt": "3", "d§/v1/deep/x": "", "d§/v2/deep/x": ""}
    return looks(f"before = os.getcwd()\n{cell}", link("d§/l", "v2"), "link", files, before=link("d§/l", "v1"))


# -- files by Python's own means ---------------------------------------------------------------------------------------------

FILES = {
    "read_text": looks("value = (here / 'a.txt').read_text()", THREE),
    "read_text: the same size and time": looks("value = (here / 'a.txt').read_text()", same_stamp("d§/a.txt", "3")),
    "read_text: the file goes": looks("value = (here / 'a.txt').read_text() if (here / 'a.txt').exists() else ''", remove("d§/a.txt")),
    "read_text: the file becomes a folder": looks("try:\n    value = (here / 'a.txt').read_text()\nexcept IsADirectoryError:\n    value = ''", (remove("d§/a.txt"), folder("d§/a.txt"))),
    "read_text: another file takes the name": looks("value = (here / 'a.txt').read_text()", (write("d§/b.txt", "3"), move("d§/b.txt", "d§/a.txt"))),
    "os.open and os.read": looks("fd = os.open(here / 'a.txt', os.O_RDONLY)\nvalue = os.read(fd, 9).decode()\nos.close(fd)", THREE),
    "os.pread": looks("fd = os.open(here / 'a.txt', os.O_RDONLY)\nvalue = os.pread(fd, 9, 0).decode()\nos.close(fd)", THREE),
    "open by the descriptor of a folder": looks("fd = os.open(here, os.O_RDONLY)\nvalue = os.read(os.open('a.txt', os.O_RDONLY, dir_fd=fd), 9).decode()", THREE),
    "open with an opener": looks("fd = os.open(here, os.O_RDONLY)\nwith open('a.txt', opener=lambda name, flags: os.open(name, flags, dir_fd=fd)) as file:\n    value = file.read()", THREE),
    "open for update": looks("with open(here / 'a.txt', 'r+') as file:\n    value = file.read()", THREE),
    "open to append, and tell": looks("with open(here / 'a.txt', 'a') as file:\n    value = file.tell()", write("d§/a.txt", "33")),
    "io.FileIO": looks("import io\nvalue = io.FileIO(here / 'a.txt').read().decode()", THREE),
    "io.open_code": looks("import io\nvalue = io.open_code(str(here / 'a.txt')).read().decode()", THREE),
    "codecs.open": looks("import codecs\nvalue = codecs.open(here / 'a.txt', encoding='utf8').read()", THREE),
    "fileinput": looks("import fileinput\nvalue = list(fileinput.input(str(here / 'a.txt')))", THREE),
    "linecache": looks("import linecache\nvalue = linecache.getline(str(here / 'a.txt'), 1)", write("d§/a.txt", "3\n"), files={"d§/a.txt": "2\n"}),
    "shutil.copy": looks("import shutil\nvalue = Path(shutil.copy(here / 'a.txt', 'copy.txt')).read_text()", THREE),
    "shutil.copytree": looks("import shutil\nvalue = sorted(os.listdir(shutil.copytree(here, 'copy')))", write("d§/b.txt", "3"), "d§"),
    "sendfile": looks("with open(here / 'a.txt', 'rb') as source, open('copy.txt', 'wb') as target:\n    os.sendfile(target.fileno(), source.fileno(), 0, 9)\nvalue = Path('copy.txt').read_text()", THREE),
    "a link that the step makes": looks("os.symlink(here / 'a.txt', 'mine')\nvalue = Path('mine').read_text()", THREE),
    "filecmp": looks("import filecmp\nvalue = filecmp.cmp(here / 'a.txt', here / 'b.txt', shallow=False)", THREE, files={"d§/a.txt": "2", "d§/b.txt": "2"}),
    "working folder, then a relative path": looks("before = os.getcwd()\nos.chdir(here)\nvalue = open('a.txt').read()\nos.chdir(before)", THREE),
    "working folder through a link": linked("os.chdir(here / 'l')\nvalue = open('a.txt').read()\nos.chdir(before)"),
    "a linked folder by its descriptor": linked("fd = os.open(here / 'l', os.O_RDONLY)\nvalue = os.read(os.open('a.txt', os.O_RDONLY, dir_fd=fd), 9).decode()"),
    "a link above a folder, by its descriptor": linked("fd = os.open(here / 'l/deep', os.O_RDONLY)\nvalue = os.read(os.open('../a.txt', os.O_RDONLY, dir_fd=fd), 9).decode()"),
    "a cache that is looked for": looks(CACHE + "if not cache.exists():\n    cache.write_text('2')\nvalue = cache.read_text()", write("d§/cache", "3"), "cache", NOTHING, before=folder("d§")),
    "a cache that is tried": looks(CACHE + "try:\n    value = cache.read_text()\nexcept FileNotFoundError:\n    value = '2'\n    cache.write_text(value)", write("d§/cache", "3"), "cache", NOTHING, before=folder("d§")),
    "a cache that is read by a program": looks(CACHE + "import subprocess\nif not cache.exists():\n    cache.write_text('2')\nvalue = subprocess.check_output(['cat', cache], text=True)", write("d§/cache", "3"), "cache", NOTHING, before=folder("d§")),
    "a folder that the step makes and lists": looks(CACHE + "cache.mkdir(exist_ok=True)\n(cache / 'a').write_text('2')\nvalue = sorted(os.listdir(cache))", write("d§/cache/b", "3"), "cache", NOTHING, before=folder("d§")),
    "a path when the working folder is gone": looks("before = os.getcwd()\nos.mkdir('gone')\nos.chdir('gone')\nos.rmdir(os.path.abspath('.'))\nvalue = (here / 'a.txt').read_text()\nos.chdir(before)", THREE),
    "a file that is missing in a folder that the step makes": looks(CACHE + "cache.mkdir(exist_ok=True)\nvalue = (cache / 'more').exists()", write("d§/cache/more", "3"), "more", NOTHING, before=folder("d§")),
    "path with .. behind a link": looks("value = open(here / 'l/../a.txt').read()", write("d§/v1/a.txt", "3"), "a.txt", {"d§/v1/a.txt": "2", "d§/v1/deep/x": ""}, before=link("d§/l", "v1/deep")),
    "a strict path": looks("try:\n    value = (here / 'flag').resolve(strict=True).name\nexcept FileNotFoundError:\n    value = ''", APPEARS, "flag"),
    "path with ..": looks("value = (here / '../d§/./a.txt').read_text()", THREE),
    "path by /proc/self/cwd": looks("before = os.getcwd()\nos.chdir(here)\nvalue = open('/proc/self/cwd/a.txt').read()\nos.chdir(before)", THREE),
    "path by /proc/self/fd": looks("fd = os.open(here / 'a.txt', os.O_RDONLY)\nvalue = open(f'/proc/self/fd/{fd}').read()", THREE),
    "mmap": looks("import mmap\nwith open(here / 'a.txt', 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:\n    value = content[:1].decode()", THREE),
    "zip": looks("import zipfile\nvalue = zipfile.ZipFile(here / 'a.zip').read('a').decode()", lambda place: zipped(place, "3"), "a.zip", NOTHING, before=lambda place: zipped(place, "2")),
    "zipfile.Path": looks("import zipfile\nvalue = zipfile.Path(here / 'a.zip', 'a').exists()", lambda place: zipped(place, "3", "b"), "a.zip", NOTHING, before=lambda place: zipped(place, "2")),
    "gzip": looks("import gzip\nvalue = gzip.open(here / 'a.gz', 'rt').read()", lambda place: gzipped(place, b"3"), "a.gz", NOTHING, before=lambda place: gzipped(place, b"2")),
    "tar": looks("import tarfile\nvalue = tarfile.open(here / 'a.tar').getnames()", lambda place: tarred(place, "b"), "a.tar", NOTHING, before=lambda place: tarred(place, "a")),
    "json": looks("value = json.load(open(here / 'a.txt'))", THREE),
    "csv": looks("import csv\nvalue = list(csv.DictReader(open(here / '1.csv')))", write("d§/1.csv", "a\n3\n"), "1.csv", ONE_ROW),
    "toml": looks("import tomllib\nvalue = tomllib.load(open(here / 'a.toml', 'rb'))", write("d§/a.toml", "a = 3"), "a.toml", {"d§/a.toml": "a = 2"}),
    "yaml": looks("import yaml\nvalue = yaml.safe_load((here / 'a.txt').read_text())", THREE),
    "configparser: the second file appears": looks("import configparser\nparser = configparser.ConfigParser()\nparser.read([here / 'a.ini', here / 'b.ini'])\nvalue = parser['s']['x']", write("d§/b.ini", "[s]\nx = 3\n"), "b.ini", {"d§/a.ini": "[s]\nx = 2\n"}),
    "pickle": looks("import pickle\nvalue = pickle.load(open(here / 'a.pkl', 'rb'))", write("d§/a.pkl", b"I3\n."), "a.pkl", {"d§/a.pkl": b"I2\n."}),
    "shelve": looks("import shelve\nwith shelve.open(str(here / 'shelf'), 'r') as shelf:\n    value = shelf['a']", lambda place: shelved(place, 3), "shelf", NOTHING, before=lambda place: shelved(place, 2)),
    "hash of a file": looks("import hashlib\nvalue = hashlib.file_digest(open(here / 'a.txt', 'rb'), 'sha256').hexdigest()", THREE),
    "resource of a package": looks("from importlib.resources import files\nvalue = (files('pkg§') / 'rates.txt').read_text()", write("pkg§/rates.txt", "3"), "rates.txt", {"pkg§/__init__.py": "", "pkg§/rates.txt": "2"}),
    "resource by pkgutil": looks("import pkgutil\nvalue = pkgutil.get_data('pkg§', 'rates.txt').decode()", write("pkg§/rates.txt", "3"), "rates.txt", {"pkg§/__init__.py": "", "pkg§/rates.txt": "2"}),
    "resources of a package are listed": looks("from importlib.resources import files\nvalue = sorted(one.name for one in files('pkg§').iterdir() if one.name.endswith('.txt'))", write("pkg§/more.txt", "3"), "pkg§", {"pkg§/__init__.py": "", "pkg§/rates.txt": "2"}),
    "schema beside the code": looks("from shop§ import schema\nvalue = schema()", edit("shop§/schema.json", "2", "3"), "schema.json", {"shop§/__init__.py": "import json\nfrom pathlib import Path\n\n\ndef schema():\n    return json.loads((Path(__file__).parent / 'schema.json').read_text())\n", "shop§/schema.json": "{\"a\": 2}"}),
    "read when a module is imported": looks("from m§ import RATE\nvalue = RATE", THREE, files={"d§/a.txt": "2", "m§.py": "from pathlib import Path\nRATE = (Path(__file__).parent / 'd§/a.txt').read_text()\n"}),
    "read in the parameters cell": looks("value = rates", THREE, parameters="import os\nfrom pathlib import Path\nrates = Path(os.environ['MLOPS_PROJECT'], 'd§/a.txt').read_text()\nresult: Path = Path('out/result.json')"),
    "read in a thread": looks("from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n    value = pool.submit((here / 'a.txt').read_text).result()", THREE),
    "read in asyncio's thread": looks("import asyncio\nvalue = await asyncio.to_thread((here / 'a.txt').read_text)", THREE),
    "read at a second time": looks("value = [(here / 'a.txt').read_text() for _ in range(2)]", THREE),
    "read after a write elsewhere": looks("Path('note.txt').write_text('1')\nvalue = (here / 'a.txt').read_text()", THREE),
    "a counter that the step moves on": looks("value = int((here / 'a.txt').read_text())\n(here / 'b.txt').write_text(str(value))", THREE),
    "settings by dotenv": looks("from dotenv import dotenv_values\nvalue = dict(dotenv_values(here / '.env'))", write("d§/.env", "RATE=3\n"), ".env", NOTHING),
    "settings by dotenv, sought upwards": looks("from dotenv import dotenv_values, find_dotenv\nbefore = os.getcwd()\nos.chdir(here / 'sub')\nvalue = dict(dotenv_values(find_dotenv(usecwd=True)))\nos.chdir(before)", write("d§/.env", "RATE=3\n"), ".env", {"d§/sub/x": ""}),
    "settings by OmegaConf": looks("from omegaconf import OmegaConf\nvalue = OmegaConf.to_container(OmegaConf.load(here / 'a.yaml'))", write("d§/a.yaml", "a: 3"), "a.yaml", {"d§/a.yaml": "a: 2"}),
    "settings by hydra": looks("from hydra import compose, initialize_config_dir\nwith initialize_config_dir(str(here / 'conf'), version_base=None):\n    value = compose('main').model.rate", write("d§/conf/model/usual.yaml", "rate: 3"), "usual.yaml", {"d§/conf/main.yaml": "defaults: [model: usual]\n", "d§/conf/model/usual.yaml": "rate: 2"}),
    "template": looks("import jinja2\nenv = jinja2.Environment(loader=jinja2.FileSystemLoader([str(here / 'mine'), str(here / 'all')]))\nvalue = env.get_template('a.txt').render()", write("d§/all/a.txt", "3"), "a.txt", {"d§/all/a.txt": "2"}),
    "template: an override appears": looks("import jinja2\nenv = jinja2.Environment(loader=jinja2.FileSystemLoader([str(here / 'mine'), str(here / 'all')]))\nvalue = env.get_template('a.txt').render()", write("d§/mine/a.txt", "3"), "mine", {"d§/all/a.txt": "2"}),
    "template that includes another one": looks("import jinja2\nenv = jinja2.Environment(loader=jinja2.FileSystemLoader(str(here)))\nvalue = env.get_template('a.txt').render()", write("d§/b.txt", "3"), "b.txt", {"d§/a.txt": "{% include 'b.txt' %}", "d§/b.txt": "2"}),
    "a logo in an image": looks("import PIL.Image\nvalue = PIL.Image.open(here / 'a.ppm').getpixel((0, 0))", write("d§/a.ppm", b"P6 1 1 255\n\3\0\0"), "a.ppm", {"d§/a.ppm": b"P6 1 1 255\n\2\0\0"}),
    "a style of matplotlib": looks("import matplotlib\nvalue = matplotlib.rc_params_from_file(here / 'a.mplstyle', use_default_template=False)['figure.dpi']", write("d§/a.mplstyle", "figure.dpi: 60"), "a.mplstyle", {"d§/a.mplstyle": "figure.dpi: 50"}),
    "git's head as a file": looks("value = (here / '.git/HEAD').read_text()", lambda place: git(place, "checkout", "-qb", "other"), ".git/HEAD", before=lambda place: repository(place)),
    "a file that is written through a memory map": looks("value = (here / 'map.bin').read_bytes()[0]", lambda place: MAPS[place].__setitem__(0, 3), "map.bin", NOTHING, before=lambda place: mapped(place)),
    "a log that somebody appends to": looks("value = (here / 'a.txt').read_text()", append("d§/a.txt", "\n3")),
    "an empty file gets content": looks("value = (here / 'a.txt').read_text()", THREE, files={"d§/a.txt": ""}),
    "a file name with a line break": looks("value = (here / 'a\\nb.txt').read_text()", write("d§/a\nb.txt", "3"), "d§", {"d§/a\nb.txt": "2"}),
    "a file name in other letters": looks("value = (here / 'Größe.txt').read_text()", write("d§/Größe.txt", "3"), "Größe.txt", {"d§/Größe.txt": "2"}),
    "a file name that is not UTF-8": looks("value = open(os.fsencode(here) + b'/a\\xff.txt').read()", lambda place: odd_name(place, "3"), "d§", NOTHING, before=lambda place: odd_name(place, "2")),
    "a large file's last byte": looks("value = (here / 'big.bin').read_bytes()[-1]", write("d§/big.bin", b"\0" * 5_000_000 + b"\3"), "big.bin", {"d§/big.bin": b"\0" * 5_000_000 + b"\2"}),
}

# -- names, folders, facts about files ---------------------------------------------------------------------------------------

NAMES = {
    "exists": looks("value = (here / 'flag').exists()", APPEARS, "flag"),
    "exists: goes": looks("value = (here / 'a.txt').exists()", remove("d§/a.txt")),
    "is_file": looks("value = (here / 'flag').is_file()", APPEARS, "flag"),
    "is_dir": looks("value = (here / 'flag').is_dir()", folder("d§/flag"), "flag"),
    "is_dir: a file becomes a folder": looks("value = (here / 'a.txt').is_dir()", (remove("d§/a.txt"), folder("d§/a.txt"))),
    "is_symlink": looks("value = (here / 'a.txt').is_symlink()", (move("d§/a.txt", "d§/b.txt"), link("d§/a.txt", "b.txt"))),
    "lexists of a broken link": looks("value = os.path.lexists(here / 'flag')", link("d§/flag", "nowhere"), "flag"),
    "os.access to read": looks("value = os.access(here / 'flag', os.R_OK)", APPEARS, "flag"),
    "os.access to execute": looks("value = os.access(here / 'a.txt', os.X_OK)", lambda place: place.path("d§/a.txt").chmod(0o755)),
    "mode of a file": looks("value = (here / 'a.txt').stat().st_mode", lambda place: place.path("d§/a.txt").chmod(0o600)),
    "which": looks("import shutil\nvalue = shutil.which('tool§', path=str(here)) is not None", lambda place: place.write("d§/tool§", "#!/bin/sh\n").chmod(0o755), "tool§"),
    "size": looks("value = (here / 'a.txt').stat().st_size", write("d§/a.txt", "33")),
    "getsize": looks("value = os.path.getsize(here / 'a.txt')", write("d§/a.txt", "33")),
    "size by scandir": looks("value = {one.name: one.stat().st_size for one in os.scandir(here)}", write("d§/a.txt", "33"), "d§"),
    "size by fstat": looks("with open(here / 'a.txt') as file:\n    value = os.fstat(file.fileno()).st_size", write("d§/a.txt", "33")),
    "time of change": looks("value = os.path.getmtime(here / 'a.txt')", stamp("d§/a.txt", 3000), before=stamp("d§/a.txt", 1000)),
    "time of change by pathlib": looks("value = (here / 'a.txt').stat().st_mtime_ns", stamp("d§/a.txt", 3000), before=stamp("d§/a.txt", 1000)),
    "newest file": looks("value = max(here.glob('*.txt'), key=os.path.getmtime).read_text()", stamp("d§/a.txt", 3000), files={"d§/a.txt": "2", "d§/b.txt": "3"}, before=(stamp("d§/a.txt", 1000), stamp("d§/b.txt", 2000))),
    "newest file by pathlib": looks("value = max(here.iterdir(), key=lambda one: one.stat().st_mtime).read_text()", stamp("d§/a.txt", 3000), files={"d§/a.txt": "2", "d§/b.txt": "3"}, before=(stamp("d§/a.txt", 1000), stamp("d§/b.txt", 2000))),
    "samefile": looks("value = os.path.samefile(here / 'a.txt', here / 'b.txt')", (remove("d§/b.txt"), write("d§/b.txt", "2")), "b.txt", before=lambda place: os.link(place.path("d§/a.txt"), place.path("d§/b.txt"))),
    "number of links": looks("value = (here / 'a.txt').stat().st_nlink", lambda place: os.link(place.path("d§/a.txt"), place.path("d§/b.txt"))),
    "readlink": looks("value = os.readlink(here / 'current')", link("d§/current", "b"), "current", NOTHING, before=link("d§/current", "a")),
    "resolve": looks("value = (here / 'current').resolve().name", link("d§/current", "b"), "current", NOTHING, before=link("d§/current", "a")),
    "realpath of a folder on the way": looks("value = os.path.basename(os.path.dirname(os.path.realpath(here / 'current/x')))", link("d§/current", "v3"), "current", {"d§/v2/x": "", "d§/v3/x": ""}, before=link("d§/current", "v2")),
    "a link gets another target": looks("value = (here / 'current').read_text()", link("d§/current", "b.txt"), "current", {"d§/a.txt": "2", "d§/b.txt": "3"}, before=link("d§/current", "a.txt")),
    "a linked folder gets another target": looks("value = (here / 'current/x').read_text()", link("d§/current", "v3"), "current", {"d§/v2/x": "2", "d§/v3/x": "3"}, before=link("d§/current", "v2")),
    "a link in a chain gets another target": looks("value = (here / 'first').read_text()", link("d§/second", "b.txt"), "d§", {"d§/a.txt": "2", "d§/b.txt": "3"}, before=(link("d§/first", "second"), link("d§/second", "a.txt"))),
    "a link's target changes": looks("value = (here / 'current').read_text()", THREE, "d§", before=link("d§/current", "a.txt")),
    "a broken link gets its target": looks("value = (here / 'current').exists()", APPEARS, "d§", before=link("d§/current", "flag")),
    "a hard link changes by its other name": looks("value = (here / 'b.txt').read_text()", lambda place: open(place.path("d§/a.txt"), "r+").write("3"), "b.txt", before=lambda place: os.link(place.path("d§/a.txt"), place.path("d§/b.txt"))),
    "listdir": looks("value = sorted(os.listdir(here))", write("d§/b.txt", ""), "d§"),
    "listdir: a name goes": looks("value = sorted(os.listdir(here))", remove("d§/a.txt"), "d§"),
    "listdir: a name changes": looks("value = sorted(os.listdir(here))", move("d§/a.txt", "d§/c.txt"), "d§"),
    "listdir by descriptor": looks("value = sorted(os.listdir(os.open(here, os.O_RDONLY)))", write("d§/b.txt", ""), "d§"),
    "listdir of the working folder": looks("before = os.getcwd()\nos.chdir(here)\nvalue = sorted(os.listdir())\nos.chdir(before)", write("d§/b.txt", ""), "d§"),
    "listdir: hidden names": looks("value = sorted(os.listdir(here))", write("d§/.hidden", ""), "d§"),
    "listdir: __pycache__": looks("value = sorted(os.listdir(here))", write("d§/__pycache__/x", ""), "d§"),
    "iterdir": looks("value = sorted(one.name for one in here.iterdir())", write("d§/b.txt", ""), "d§"),
    "scandir": looks("value = sorted(one.name for one in os.scandir(here))", write("d§/b.txt", ""), "d§"),
    "is_dir by scandir": looks("value = sorted(one.is_dir() for one in os.scandir(here))", (remove("d§/a.txt"), folder("d§/a.txt")), "d§"),
    "walk: an empty folder far down": looks("value = [sorted(folders) for _, folders, _ in os.walk(here)]", folder("d§/s/t/u"), "d§/s/t", {"d§/s/t/x": ""}),
    "fwalk": looks("value = sorted(name for _, _, files, _ in os.fwalk(here) for name in files)", write("d§/b.txt", ""), "d§"),
    "glob": looks("value = sorted(one.read_text() for one in here.glob('*.txt'))", write("d§/b.txt", "3"), "d§"),
    "glob: content": looks("value = sorted(one.read_text() for one in here.glob('*.txt'))", THREE),
    "glob.glob": looks("import glob\nvalue = sorted(map(os.path.basename, glob.glob(f'{here}/*.txt')))", write("d§/b.txt", ""), "d§"),
    "rglob: a new folder": looks("value = sorted(one.name for one in here.rglob('*.txt'))", write("d§/s/t/b.txt", ""), "d§"),
    "recursive glob": looks("import glob\nvalue = sorted(map(os.path.basename, glob.glob(f'{here}/**/*.txt', recursive=True)))", write("d§/s/b.txt", ""), "d§", {"d§/s/x": ""}),
    "glob in a folder that appears": looks("value = sorted(one.name for one in (here / 'later').glob('*.txt'))", write("d§/later/b.txt", ""), "later"),
    "glob in the parent folder": looks("value = sorted(one.name for one in project.parent.glob('side§*.csv'))", write("~/side§2.csv", "3"), "", {"~/side§.csv": "2"}),
    "walk of a folder that is a link": looks("value = sorted(one.name for one in (here / 'current').iterdir())", write("d§/v2/y", ""), "d§", {"d§/v2/x": ""}, before=link("d§/current", "v2")),
    "a file outside": looks("value = (project.parent / 'o§/a.txt').read_text()", write("~/o§/a.txt", "3"), files={"~/o§/a.txt": "2"}),
    "a file outside that somebody asks for": looks("value = (project.parent / 'o§/flag').exists()", write("~/o§/flag", ""), "flag", {"~/o§/a.txt": ""}),
    "a file outside in a folder that is not there": looks("value = (project.parent / 'o§/flag').exists()", write("~/o§/flag", ""), "flag", NOTHING),
    "a file outside: except FileNotFoundError": looks("try:\n    value = open(project.parent / 'o§/flag').read()\nexcept FileNotFoundError:\n    value = ''", write("~/o§/flag", "3"), "flag", NOTHING),
    "a folder outside": looks("value = sorted(os.listdir(project.parent / 'o§'))", write("~/o§/b.txt", ""), "o§", {"~/o§/a.txt": ""}),
    "pandas finds no file outside": looks("import pandas as pd\ntry:\n    value = int(pd.read_csv(project.parent / 'o§/prices.csv').x.sum())\nexcept FileNotFoundError:\n    value = 0", write("~/o§/prices.csv", "x\n3\n"), "prices.csv", NOTHING),
    "absolute path in a parameter": Row("value = Path(model).read_text()", write("~/o§/m.txt", "3"), "m.txt", {"~/o§/m.txt": "2"}, lambda place: given(place, "model", "~/o§/m.txt"), "params: {model: ''}", "from pathlib import Path\nmodel: str = ''\nresult: Path = Path('out/result.json')"),
    "folder in a parameter": Row("value = [one.read_text() for one in sorted(Path(model).rglob('*.txt'))]", write("~/o§/s/2.txt", "3"), "o§", {"~/o§/1.txt": "2"}, lambda place: given(place, "model", "~/o§"), "params: {model: ''}", "from pathlib import Path\nmodel: str = ''\nresult: Path = Path('out/result.json')"),
    "shared memory": looks("value = Path('/dev/shm/mlops-test§').read_text()", lambda place: Path(place.text("/dev/shm/mlops-test§")).write_text("3"), "mlops-test§", NOTHING, before=lambda place: Path(place.text("/dev/shm/mlops-test§")).write_text("2")),
    "a temporary file of somebody else": looks("value = Path('/tmp/mlops-test§').read_text()", lambda place: Path(place.text("/tmp/mlops-test§")).write_text("3"), "mlops-test§", NOTHING, before=lambda place: Path(place.text("/tmp/mlops-test§")).write_text("2")),
    "a temporary file that appears": looks("import tempfile\nvalue = Path(tempfile.gettempdir(), 'mlops-flag§').exists()", (lambda place: Path(place.text("/tmp/mlops-flag§")).touch()), "mlops-flag§", NOTHING, before=lambda place: Path(place.text("/tmp/mlops-flag§")).unlink(missing_ok=True)),
}

# -- what a step declares ----------------------------------------------------------------------------------------------------


def declared(cell: str, source: str, change: Change | tuple[Change, ...], files: dict[str, str | bytes] | None = None, **more) -> Row:
    return Row(cell, change, "data", {"d§/a.txt": "2"} if files is None else files, step=f"sources: {{data: {source}}}", **more)


DECLARED = {
    "a source": declared("value = Path('in/a.txt').read_text()", "d§/a.txt", THREE),
    "a source: the same size and time": declared("value = Path('in/a.txt').read_text()", "d§/a.txt", same_stamp("d§/a.txt", "3")),
    "a source that is a link": declared("value = Path('in/current').read_text()", "d§/current", link("d§/current", "b.txt"), {"d§/a.txt": "2", "d§/b.txt": "3"}, before=link("d§/current", "a.txt")),
    "a link in a source folder": declared("value = Path('in/s/current').read_text()", "d§/s", link("d§/s/current", "b.txt"), {"d§/s/a.txt": "2", "d§/s/b.txt": "3"}, before=link("d§/s/current", "a.txt")),
    "a source that is written through a memory map": declared("value = Path('in/map.bin').read_bytes()[0]", "d§/map.bin", lambda place: MAPS[place].__setitem__(0, 3), {}, before=lambda place: mapped(place)),
    "an empty folder in a source folder": declared("value = sorted(one.name for one in Path('in/s').iterdir())", "d§/s", folder("d§/s/empty"), {"d§/s/1.txt": "2"}),
    "a new file in a source folder": declared("value = sorted(one.name for one in Path('in/s').iterdir())", "d§/s", write("d§/s/2.txt", ""), {"d§/s/1.txt": "2"}),
    "a hidden file in a source folder": declared("value = sorted(one.name for one in Path('in/s').iterdir())", "d§/s", write("d§/s/.x", ""), {"d§/s/1.txt": "2"}),
    "names in a source folder change places": declared("value = [one.read_text() for one in sorted(Path('in/s').iterdir())]", "d§/s", (move("d§/s/1.txt", "d§/s/0"), move("d§/s/2.txt", "d§/s/1.txt"), move("d§/s/0", "d§/s/2.txt")), {"d§/s/1.txt": "2", "d§/s/2.txt": "3"}),
    "a new file that fits a source's pattern": declared("value = sorted(one.name for one in Path('in').rglob('*.csv'))", "'d§/*.csv'", write("d§/2.csv", ""), ONE_ROW),
}

# -- readers that are not Python ---------------------------------------------------------------------------------------------

READS = "import subprocess\nrun = lambda *words, **more: subprocess.run(words, capture_output=True, text=True, **more).stdout\n"


def program(call: str, change: Change | tuple[Change, ...] = THREE, reason: str = "a.txt", files: dict[str, str | bytes] | None = None, **more) -> Row:
    return looks(f"{READS}value = {call}", change, reason, files, **more)


PROGRAMS = {
    "cat": program("run('cat', here / 'a.txt')"),
    "cat of standard input": program("run('cat', stdin=open(here / 'a.txt'))"),
    "cat in a working folder": program("run('cat', 'a.txt', cwd=here)"),
    "cat by os.popen": looks("value = os.popen(f'cat {here}/a.txt').read()", THREE),
    "cat by os.system": looks("os.system(f'cat {here}/a.txt > copy.txt')\nvalue = Path('copy.txt').read_text()", THREE),
    "cat by posix_spawn": looks("pid = os.posix_spawn('/bin/cp', ['cp', str(here / 'a.txt'), 'copy.txt'], os.environ)\nos.waitpid(pid, 0)\nvalue = Path('copy.txt').read_text()", THREE),
    "cat by fork and exec": looks("pid = os.fork()\nif not pid:\n    os.execv('/bin/cp', ['cp', str(here / 'a.txt'), 'copy.txt'])\nos.waitpid(pid, 0)\nvalue = Path('copy.txt').read_text()", THREE),
    "cat by asyncio": looks("import asyncio\nprocess = await asyncio.create_subprocess_exec('cat', str(here / 'a.txt'), stdout=-1)\nvalue = (await process.communicate())[0].decode()", THREE),
    "cat by an empty environment": program("run('cat', here / 'a.txt', env={})"),
    "cat by env -i": program("run('env', '-i', 'cat', here / 'a.txt')"),
    "cat of a cat": program("run('sh', '-c', f'sh -c \"cat {here}/a.txt\" | cat')"),
    "cat in the background": program("run('sh', '-c', f'cat {here}/a.txt & wait')"),
    "cat by a pattern of the shell": program("run('sh', '-c', f'cat {here}/*.txt')", write("d§/b.txt", "3"), "d§"),
    "redirection of the shell": program("run('bash', '-c', f'read x < {here}/a.txt; echo $x')"),
    "test of the shell": program("run('sh', '-c', f'test -e {here}/flag && echo yes')", APPEARS, "flag"),
    "test -x of the shell": program("run('bash', '-c', f'[[ -x {here}/a.txt ]] && echo yes')", lambda place: place.path("d§/a.txt").chmod(0o755)),
    "test -nt of the shell": program("run('bash', '-c', f'[[ {here}/a.txt -nt {here}/b.txt ]] && echo yes')", stamp("d§/a.txt", 3000), files={"d§/a.txt": "", "d§/b.txt": ""}, before=(stamp("d§/a.txt", 1000), stamp("d§/b.txt", 2000))),
    "source of the shell": program("run('bash', '-c', f'. {here}/a.txt; echo $X')", write("d§/a.txt", "X=3"), files={"d§/a.txt": "X=2"}),
    "a script of the shell": program("run('bash', here / 'a.txt')", write("d§/a.txt", "echo 3"), files={"d§/a.txt": "echo 2"}),
    "a program of the project": program("run(here / 'tool')", edit("d§/tool", "2", "3"), "tool", {"d§/tool": "#!/bin/sh\necho 2\n"}, before=lambda place: place.path("d§/tool").chmod(0o755)),
    "a program on a path that the step sets": program("run('tool§', env={'PATH': f'{here}/a:{here}/b:/bin'})", lambda place: place.write("d§/a/tool§", "#!/bin/sh\necho 3\n").chmod(0o755), "tool§", {"d§/a/x": "", "d§/b/tool§": "#!/bin/sh\necho 2\n"}, before=lambda place: place.path("d§/b/tool§").chmod(0o755)),
    "awk with a script": program("run('awk', '-f', here / 'a.awk')", edit("d§/a.awk", "2", "3"), "a.awk", {"d§/a.awk": "BEGIN { print 2 }"}),
    "sort": program("run('sort', here / 'a.txt')"),
    "dd": program("run('dd', f'if={here}/a.txt', 'status=none')"),
    "ls": program("run('ls', here)", write("d§/b.txt", ""), "d§"),
    "ls of sizes": program("run('stat', '-c', '%s', here / 'a.txt')", write("d§/a.txt", "33")),
    "readlink as a program": program("run('readlink', here / 'current')", link("d§/current", "b"), "current", NOTHING, before=link("d§/current", "a")),
    "find": program("run('find', here, '-name', '*.txt', '-printf', '%f ')", write("d§/s/b.txt", ""), "d§/s", {"d§/s/x": ""}),
    "grep -r": program("run('grep', '-rh', 'x', here)", write("d§/s/b.txt", "x3"), "d§/s", {"d§/s/a.txt": "x2"}),
    "xargs": program("run('sh', '-c', f'echo {here}/a.txt | xargs cat')"),
    "tar as a program": program("len(run('tar', 'cf', '-', '-C', here, '.'))", write("d§/b.txt", "3" * 100_000), "d§"),
    "sqlite3 as a program": program("run('sqlite3', here / 'a.db', 'SELECT v FROM t')", lambda place: database(place, "a", 3), "a.db", NOTHING, before=lambda place: database(place, "a", 2)),
    "git log": program("run('git', '-C', here, 'log', '--format=%s')", lambda place: git(place, "commit", "-qm", "two", "--allow-empty"), "git", before=lambda place: repository(place)),
    "git describe": program("run('git', '-C', here, 'describe', '--always', '--dirty', '--tags')", lambda place: git(place, "tag", "v2"), "git", before=lambda place: repository(place)),
    "git status": program("run('git', '-C', here, 'status', '--porcelain')", write("d§/b.txt", ""), "d§", before=lambda place: repository(place)),
    "git show of a file": program("run('git', '-C', here, 'show', 'HEAD:a.txt')", (THREE, lambda place: git(place, "commit", "-qam", "two")), "git", before=lambda place: repository(place)),
    "cc with a header": program("run('cc', '-E', '-P', here / 'a.c')", edit("d§/a.h", "2", "3"), "a.h", {"d§/a.c": "#include \"a.h\"\nN\n", "d§/a.h": "#define N 2\n"}),
    "make": program("run('sh', '-c', f'. {here}/Makefile')", edit("d§/Makefile", "2", "3"), "Makefile", {"d§/Makefile": "echo 2\n"}),
    "a child Python reads": program("run(sys.executable, '-c', f'print(open({str(here / \"a.txt\")!r}).read())')"),
    "a child Python without the site packages reads": program("run(sys.executable, '-ISs', '-c', f'print(open({str(here / \"a.txt\")!r}).read())')"),
    "a child Python asks whether a file is there": program("run(sys.executable, '-c', f'import os; print(os.path.exists({str(here / \"flag\")!r}))')", APPEARS, "flag"),
    "a child Python lists": program("run(sys.executable, '-c', f'import os; print(sorted(os.listdir({str(here)!r})))')", write("d§/b.txt", ""), "d§"),
    "!cat": looks(("value = !cat {here}/a.txt",), THREE),
    "!ls": looks(("value = !ls {here}",), write("d§/b.txt", ""), "d§"),
    "%sx": looks(("value = %sx cat $here/a.txt",), THREE),
    "%cat": looks(("%%capture out\n%cat $here/a.txt", "value = out.stdout"), THREE),
    "%%bash reads a file": looks(("%%bash --out value\ncat $MLOPS_PROJECT/d§/a.txt",), THREE),
    "%%sh asks for a file": looks(("%%sh --out value\nif [ -e $MLOPS_PROJECT/d§/flag ]; then echo yes; fi",), APPEARS, "flag"),
    "%cd, then a relative path": looks(("start = os.getcwd()\n%cd -q $here", "value = open('a.txt').read()", "%cd -q $start"), THREE),
    "a plain fork reads": looks("reading, writing = os.pipe()\nif not os.fork():\n    os.write(writing, (here / 'a.txt').read_bytes())\n    os._exit(0)\nos.wait()\nvalue = os.read(reading, 9).decode()", THREE),
    "a forked process reads": looks("import multiprocessing as mp\nwith mp.get_context('fork').Pool(1) as pool:\n    value = pool.map(Path.read_text, [here / 'a.txt'])", THREE),
    "a spawned process reads": looks("import multiprocessing as mp\nwith mp.get_context('spawn').Pool(1) as pool:\n    value = pool.map(Path.read_text, [here / 'a.txt'])", THREE),
    "a fork server's process reads": looks("import multiprocessing as mp\nwith mp.get_context('forkserver').Pool(1) as pool:\n    value = pool.map(Path.read_text, [here / 'a.txt'])", THREE),
    "a process pool reads": looks("from concurrent.futures import ProcessPoolExecutor\nwith ProcessPoolExecutor(1) as pool:\n    value = pool.submit(Path.read_text, here / 'a.txt').result()", THREE),
    "joblib's processes read": looks("from joblib import Parallel, delayed\nvalue = Parallel(n_jobs=2)(delayed(Path.read_text)(here / 'a.txt') for _ in range(2))", THREE),
    "a daemon that outlives its parent reads": program("run('sh', '-c', f'(setsid cp {here}/a.txt copy.txt &) ; while [ ! -s copy.txt ]; do :; done; cat copy.txt')"),
}

LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\npath = os.fsencode(here / 'a.txt')\nbuffer = ctypes.create_string_buffer(9)\n"
NATIVE = {
    "libc's open": looks(LIBC + "fd = libc.open(path, 0)\nlibc.read(fd, buffer, 9)\nvalue = buffer.value.decode()", THREE),
    "libc's fopen": looks(LIBC + "libc.fopen.restype = ctypes.c_void_p\nfile = libc.fopen(path, b'r')\nlibc.fgets(buffer, 9, ctypes.c_void_p(file))\nvalue = buffer.value.decode()", THREE),
    "shared memory by its name": looks(LIBC + "fd = libc.shm_open(f'/mlops-{here.name}-{os.path.basename(os.path.dirname(project))}'.encode(), 0, 0)\nlibc.read(fd, buffer, 9)\nvalue = buffer.value.decode()", shares("3"), "shm", NOTHING, before=shares("2")),
    "a folder that is opened before the step writes there": looks(LIBC + "libc.open(os.fsencode(here), 0)\n(here / 'made').write_text('1')\nvalue = (here / 'a.txt').read_text()", THREE),
    "libc's access": looks(LIBC + "value = libc.access(os.fsencode(here / 'flag'), 0)", APPEARS, "flag"),
    "libc's stat through glob": looks(LIBC + "value = libc.system(os.fsencode(f'test -e {here}/flag'))", APPEARS, "flag"),
    "libc's popen": looks(LIBC + "libc.popen.restype = ctypes.c_void_p\nfile = libc.popen(b'cat ' + path, b'r')\nlibc.fgets(buffer, 9, ctypes.c_void_p(file))\nvalue = buffer.value.decode()", THREE),
    "an extension module of the project": Row("import fast§\nvalue = fast§.price()", lambda place: extension(place, 3), "fast§", before=lambda place: extension(place, 2)),
    "a library by ctypes": Row("import ctypes\nvalue = ctypes.CDLL(str(here / 'lib.so')).price()", lambda place: library(place, 3), "lib.so", before=lambda place: library(place, 2)),
    "a library by cffi": Row("import cffi\nffi = cffi.FFI()\nffi.cdef('int price(void);')\nvalue = ffi.dlopen(str(here / 'lib.so')).price()", lambda place: library(place, 3), "lib.so", before=lambda place: library(place, 2)),
    "a library that a library needs": Row("import ctypes\nvalue = ctypes.CDLL(str(here / 'outer.so')).price()", lambda place: library(place, 3), "lib.so", before=lambda place: (library(place, 2), outer_library(place))),
    "SQLite": looks("import sqlite3\nbase = sqlite3.connect(here / 'a.db')\nvalue = base.execute('SELECT v FROM t').fetchall()\nbase.close()", lambda place: database(place, "a", 3), "a.db", NOTHING, before=lambda place: database(place, "a", 2)),
    "SQLite, attached": looks("import sqlite3\nbase = sqlite3.connect(here / 'a.db')\nbase.execute('ATTACH ? AS other', (str(here / 'b.db'),))\nvalue = base.execute('SELECT v FROM other.t').fetchall()\nbase.close()", lambda place: database(place, "b", 3), "b.db", NOTHING, before=lambda place: (database(place, "a", 1), database(place, "b", 2))),
    "SQLite, read only": looks("import sqlite3\nbase = sqlite3.connect(f'file:{here}/a.db?mode=ro', uri=True)\nvalue = base.execute('SELECT v FROM t').fetchall()\nbase.close()", lambda place: database(place, "a", 3), "a.db", NOTHING, before=lambda place: database(place, "a", 2)),
    "SQLite by SQLAlchemy": looks("import sqlalchemy\nwith sqlalchemy.create_engine(f'sqlite:///{here}/a.db').connect() as base:\n    value = [row[0] for row in base.execute(sqlalchemy.text('SELECT v FROM t'))]", lambda place: database(place, "a", 3), "a.db", NOTHING, before=lambda place: database(place, "a", 2)),
    "SQLite by pandas": looks("import pandas as pd, sqlite3\nvalue = pd.read_sql('SELECT v FROM t', sqlite3.connect(here / 'a.db')).v.tolist()", lambda place: database(place, "a", 3), "a.db", NOTHING, before=lambda place: database(place, "a", 2)),
    "SQLite finds no database": looks("import sqlite3\ntry:\n    value = sqlite3.connect(f'file:{here}/a.db?mode=ro', uri=True).execute('SELECT v FROM t').fetchall()\nexcept sqlite3.OperationalError:\n    value = ''", lambda place: database(place, "a", 3), "a.db", NOTHING),
    "polars reads a file": looks("import polars as pl\nvalue = pl.read_csv(here / '1.csv')['a'].to_list()", write("d§/1.csv", "a\n3\n"), "1.csv", ONE_ROW),
    "polars reads a pattern": looks("import polars as pl\nvalue = pl.read_csv(here / '*.csv')['a'].to_list()", write("d§/2.csv", "a\n3\n"), "2.csv", TWO_ROWS),
    "polars reads a pattern: one more file": looks("import polars as pl\nvalue = pl.read_csv(here / '*.csv')['a'].to_list()", write("d§/2.csv", "a\n3\n"), "d§", ONE_ROW),
    "polars scans a pattern": looks("import polars as pl\nvalue = pl.scan_csv(here / '*.csv').collect()['a'].to_list()", write("d§/2.csv", "a\n3\n"), "2.csv", TWO_ROWS),
    "polars scans a folder of parquet": looks("import polars as pl\nvalue = pl.scan_parquet(here).collect()['a'].to_list()", lambda place: parquet(place, 3), "1.parquet", NOTHING, before=lambda place: parquet(place, 2)),
    "polars reads lines of JSON": looks("import polars as pl\nvalue = pl.read_ndjson(here / 'a.jsonl')['a'].to_list()", write("d§/a.jsonl", '{"a": 3}\n'), "a.jsonl", {"d§/a.jsonl": '{"a": 2}\n'}),
    "polars reads by SQL": looks("import polars as pl\nvalue = pl.sql(f\"SELECT * FROM read_csv('{here}/1.csv')\", eager=True)['a'].to_list()", write("d§/1.csv", "a\n3\n"), "1.csv", ONE_ROW),
    "pandas reads a file": looks("import pandas as pd\nvalue = pd.read_csv(here / '1.csv').a.tolist()", write("d§/1.csv", "a\n3\n"), "1.csv", ONE_ROW),
    "pandas maps a file": looks("import pandas as pd\nvalue = pd.read_csv(here / '1.csv', memory_map=True).a.tolist()", write("d§/1.csv", "a\n3\n"), "1.csv", ONE_ROW),
    "fsspec reads a file": looks("import fsspec\nvalue = fsspec.open(f'file://{here}/a.txt', 'rt').open().read()", THREE),
    "numpy reads": looks("import numpy as np\nvalue = np.fromfile(here / 'a.bin', dtype='int32').tolist()", write("d§/a.bin", b"\3\0\0\0"), "a.bin", {"d§/a.bin": b"\2\0\0\0"}),
    "numpy reads text": looks("import numpy as np\nvalue = np.loadtxt(here / 'a.txt').tolist()", THREE),
    "numpy maps, in its default mode": looks("import numpy as np\nvalue = int(np.memmap(here / 'a.bin', dtype='int32')[0])", write("d§/a.bin", b"\3\0\0\0"), "a.bin", {"d§/a.bin": b"\2\0\0\0"}),
    "numpy maps by load": looks("import numpy as np\nvalue = int(np.load(here / 'a.npy', mmap_mode='r')[0])", lambda place: array(place, 3), "a.npy", NOTHING, before=lambda place: array(place, 2)),
    "scipy reads": looks("from scipy.io import mmread\nvalue = mmread(str(here / 'a.mtx')).sum()", edit("d§/a.mtx", "1 1 2", "1 1 3"), "a.mtx", {"d§/a.mtx": "%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 2\n"}),
    "networkx reads": looks("import networkx\nvalue = sorted(networkx.read_edgelist(here / 'a.txt').nodes)", write("d§/a.txt", "1 3\n"), files={"d§/a.txt": "1 2\n"}),
    "scikit-learn loads files: one more": looks("from sklearn.datasets import load_files\nvalue = [one.decode() for one in load_files(str(here), shuffle=False).data]", write("d§/dog/2.txt", "c"), "dog", {"d§/cat/1.txt": "a", "d§/dog/1.txt": "b"}),
    "safetensors": looks("from safetensors.numpy import load_file\nvalue = load_file(here / 'a.safetensors')['a'].tolist()", lambda place: tensors(place, 3), "a.safetensors", NOTHING, before=lambda place: tensors(place, 2)),
    "safetensors, opened": looks("from safetensors import safe_open\nwith safe_open(here / 'a.safetensors', 'np') as file:\n    value = file.get_tensor('a').tolist()", lambda place: tensors(place, 3), "a.safetensors", NOTHING, before=lambda place: tensors(place, 2)),
    "torch loads": looks("import torch\nvalue = torch.load(here / 'a.pt', weights_only=True).tolist()", lambda place: torch_file(place, "tensor", 3), "a.pt", NOTHING, before=lambda place: torch_file(place, "tensor", 2)),
    "torch loads a script": looks("import torch\nvalue = torch.jit.load(str(here / 'a.pt'))(torch.ones(1)).tolist()", lambda place: torch_file(place, "script", 3), "a.pt", NOTHING, before=lambda place: torch_file(place, "script", 2)),
    "torch maps a file": looks("import torch\nvalue = torch.from_file(str(here / 'a.bin'), size=1, dtype=torch.int32).tolist()", write("d§/a.bin", b"\3\0\0\0"), "a.bin", {"d§/a.bin": b"\2\0\0\0"}),
    "ONNX Runtime": looks("import numpy as np, onnxruntime\nvalue = onnxruntime.InferenceSession(str(here / 'a.onnx')).run(None, {'x': np.ones(1, dtype='float32')})[0].tolist()", lambda place: onnx_model(place, 3), "a.onnx", NOTHING, before=lambda place: onnx_model(place, 2)),
    "ONNX Runtime with weights beside the model": looks("import numpy as np, onnxruntime\nvalue = onnxruntime.InferenceSession(str(here / 'a.onnx')).run(None, {'x': np.ones(1, dtype='float32')})[0].tolist()", write("d§/w.bin", b"\0\0\x40\x40"), "w.bin", NOTHING, before=lambda place: onnx_model(place, 2, beside=True)),
}

# what can't be seen from within: a hit that says so is as good as a miss
UNSEEN = {
    "another interpreter in the process": looks("try:\n    import _interpreters as others\nexcept ImportError:\n    import _xxsubinterpreters as others\none = others.create()\nothers.run_string(one, f'open(\"value\", \"w\").write(open({str(here / \"a.txt\")!r}).read())')\nothers.destroy(one)\nvalue = open('value').read()", THREE),
    "a static program": looks(f"{READS}value = run(here / 'static', here / 'a.txt')", THREE, before=lambda place: static_program(place)),
    "a program that clears its environment twice": program("run('env', '-i', '/bin/sh', '-c', f'exec env -i cat {here}/a.txt')"),
}

# -- making files ------------------------------------------------------------------------------------------------------------

OPEN: dict[Place, sqlite3.Connection] = {}
MAPS: dict[Place, mmap.mmap] = {}
TORCH = """
import io, json, torch

def content(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue().hex()

class Times(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, x):
        return x * self.k

made = {f"tensor {k}": content(lambda file: torch.save(torch.ones(1) * k, file)) for k in (2, 3)}
made |= {f"script {k}": content(lambda file: torch.jit.save(torch.jit.trace(Times(k), torch.ones(1)), file)) for k in (2, 3)}
print(json.dumps(made))
"""


def given(place: Place, name: str, path: str) -> None:
    "Let a parameter be an absolute path"
    edit("conf/pipeline/demo.yaml", f"step§.ipynb, outs: {{result: result.json}}, params: {{{name}: ''}}", f"step§.ipynb, outs: {{result: result.json}}, params: {{{name}: {place.path(path)}}}")(place)


def zipped(place: Place, text: str, name: str = "a") -> None:
    with zipfile.ZipFile(place.path("d§/a.zip"), "w") as archive:
        archive.writestr(name, text)


def gzipped(place: Place, content: bytes) -> None:
    import gzip

    place.write("d§/a.gz", gzip.compress(content))


def tarred(place: Place, name: str) -> None:
    import tarfile

    with tarfile.open(place.path("d§/a.tar"), "w") as archive:
        archive.addfile(tarfile.TarInfo(name))


def shelved(place: Place, value: int) -> None:
    import dbm.dumb
    import shelve

    with shelve.Shelf(dbm.dumb.open(str(place.path("d§/shelf")))) as shelf:
        shelf["a"] = value


def mapped(place: Place) -> None:
    "A file that stays mapped, and was last written long ago"
    with open(place.write("d§/map.bin", b"\2" + b"\0" * 4095), "r+b") as file:
        MAPS[place] = mmap.mmap(file.fileno(), 4096)
    MAPS[place][1] = 1
    time.sleep(2.5)  # seconds: longer than any file system's clock is coarse


def odd_name(place: Place, text: str) -> None:
    with open(os.fsencode(place.path("d§")) + b"/a\xff.txt", "w") as file:
        file.write(text)


def database(place: Place, name: str, value: int) -> None:
    base = sqlite3.connect(place.path(f"d§/{name}.db"))
    with base:
        base.execute("CREATE TABLE IF NOT EXISTS t (v)")
        base.execute("DELETE FROM t")
        base.execute("INSERT INTO t VALUES (?)", (value,))
    base.close()


def write_ahead(place: Place) -> None:
    "A database whose changes stand in a log beside it, as long as the connection is open"
    base = OPEN[place] = sqlite3.connect(place.path("d§/a.db"), isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "CREATE TABLE t (v)", "INSERT INTO t VALUES (2)", "PRAGMA wal_checkpoint(TRUNCATE)"):
        base.execute(statement)


def git(place: Place, *words: str) -> None:
    subprocess.run(["git", "-C", place.path("d§"), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)


def repository(place: Place) -> None:
    "A repository of files that are older than its index, so that git has no reason to write it again"
    stamp("d§/a.txt", 1000)(place)
    git(place, "init", "-q")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")


def compiler(place: Place, source: str, target: str, *words: str | Path) -> None:
    "Compile C into a library, which takes the place of the old one"
    text = place.write("d§/made.c", source)
    subprocess.run(["cc", "-shared", "-fPIC", text, "-o", place.path("d§/made.so"), *words], check=True, capture_output=True)
    os.replace(place.path("d§/made.so"), place.path(target))


def library(place: Place, value: int) -> None:
    compiler(place, f"int price(void) {{ return {value}; }}", "d§/lib.so", "-Wl,-soname,lib.so")


def outer_library(place: Place) -> None:
    compiler(place, "int rate(void);", "d§/outer.so", "-Wl,--no-as-needed", place.path("d§/lib.so"), "-Wl,-rpath,$ORIGIN")


STATIC = """#include <fcntl.h>
#include <unistd.h>
int main(int count, char **words) {
    char text[9];
    int file = open(words[1], O_RDONLY);
    write(1, text, read(file, text, 9));
    return 0;
}
"""


def static_program(place: Place) -> None:
    text = place.write("d§/made.c", STATIC)
    subprocess.run(["cc", "-static", "-o", place.path("d§/static"), text], check=True, capture_output=True)


EXTENSION = """#include <Python.h>
static PyObject *price(PyObject *self, PyObject *args) { return PyLong_FromLong(VALUE); }
static PyMethodDef methods[] = {{"price", price, METH_NOARGS, 0}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", 0, -1, methods};
PyMODINIT_FUNC PyInit_fast§(void) { return PyModule_Create(&module); }
"""


def extension(place: Place, value: int) -> None:
    import sysconfig

    compiler(place, EXTENSION, "fast§.so", "-I", sysconfig.get_path("include"), f"-DVALUE={value}")


def parquet(place: Place, value: int) -> None:
    import polars

    polars.DataFrame({"a": [value]}).write_parquet(place.path("d§/1.parquet"))


def array(place: Place, value: int) -> None:
    import numpy

    numpy.save(place.path("d§/a.npy"), numpy.array([value]))


def tensors(place: Place, value: int) -> None:
    import numpy
    from safetensors.numpy import save_file

    save_file({"a": numpy.array([value])}, place.path("d§/a.safetensors"))


@cache
def made_by_torch() -> dict[str, str]:
    "Files of torch, made in a process of their own: their content in hexadecimal"
    return json.loads(subprocess.run([sys.executable, "-c", TORCH], check=True, capture_output=True).stdout)


def torch_file(place: Place, kind: str, value: int) -> None:
    place.write("d§/a.pt", bytes.fromhex(made_by_torch()[f"{kind} {value}"]))


def onnx_model(place: Place, value: float, beside: bool = False) -> None:
    "A model that multiplies by a number, which may stand in a file beside it"
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    factor = numpy_helper.from_array(numpy.array([value], dtype="float32"), "k")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "g", [x], [y], [factor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0} if beside else {}
    onnx.save(model, place.path("d§/a.onnx"), **options)


DATA = FILES | NAMES | DECLARED | PROGRAMS | NATIVE
assert len(DATA) == sum(map(len, (FILES, NAMES, DECLARED, PROGRAMS, NATIVE))), "two rows have one name"
