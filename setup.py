from configparser import ConfigParser
from pathlib import Path

from setuptools import find_namespace_packages, setup

settings = ConfigParser(delimiters=["="], default_section="")
settings.read(Path(__file__).parent / "settings.ini", encoding="utf8")
core, extras = settings["DEFAULT"], {name: wanted.split() for name, wanted in settings["extras"].items()}
setup(
    author=core["author"],
    packages=find_namespace_packages(include=["mlops_kit*"], exclude=["*.__pycache__*"]),
    package_data={"mlops_kit": ["conf/**/*.yaml", "share/**/*.json"]},
    install_requires=core["requirements"].split(),
    extras_require=extras | {"all": sorted({one for wanted in extras.values() for one in wanted})},
    entry_points={group: lines.strip().splitlines() for group, lines in settings["entry_points"].items()},
)
