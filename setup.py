from configparser import ConfigParser
from pathlib import Path

from setuptools import find_namespace_packages, setup

settings = ConfigParser(delimiters=["="], default_section="")
settings.read(Path(__file__).parent / "settings.ini", encoding="utf8")
core, extras = settings["DEFAULT"], {name: packages.split() for name, packages in settings["extras"].items()}
data = {"mlops_kit.examples.steps": "nbs/steps", "mlops_kit.examples.conf": "conf"}  # packages without code
shipped = ["**/*.ipynb", "**/*.yaml"]
setup(
    author=core["author"],
    packages=[*find_namespace_packages(include=["mlops_kit*"], exclude=["*.__pycache__*"]), *data],
    package_dir=data,
    package_data={"mlops_kit": ["py.typed", "conf/**/*.yaml", "share/**/*.json"], **dict.fromkeys(data, shipped)},
    install_requires=core["requirements"].split(),
    extras_require=extras | {"all": sorted({package for packages in extras.values() for package in packages})},
    entry_points={group: lines.strip().splitlines() for group, lines in settings["entry_points"].items()},
)
