import sys
from configparser import ConfigParser
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup

settings = ConfigParser(delimiters=["="], default_section="")
settings.read(Path(__file__).parent / "settings.ini", encoding="utf8")
core, extras = settings["DEFAULT"], {name: packages.split() for name, packages in settings["extras"].items()}
data = {"mlops_kit.examples.steps": "nbs/steps", "mlops_kit.examples.conf": "conf"}  # packages without code
own, shipped = ["py.typed", "conf/**/*.yaml", "share/**/*.json", "**/*.c"], ["**/*.ipynb", "**/*.yaml"]
access_log = Extension(  # no module of Python, but a library to be preloaded; without a compiler, the kit does without
    "mlops_kit.engine._access_log", ["mlops_kit/engine/access_log.c"], optional=True, py_limited_api=True,
    extra_compile_args=["-O2", "-fno-delete-null-pointer-checks"],
)
setup(
    author=core["author"],
    packages=[*find_namespace_packages(include=["mlops_kit*"], exclude=["*.__pycache__*"]), *data],
    package_dir=data,
    package_data={"mlops_kit": own, **dict.fromkeys(data, shipped)},
    ext_modules=[access_log] if sys.platform == "linux" else [],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},  # one wheel for every Python from 3.11
    install_requires=core["requirements"].split(),
    extras_require=extras | {"all": sorted({package for packages in extras.values() for package in packages})},
    entry_points={group: lines.strip().splitlines() for group, lines in settings["entry_points"].items()},
)
