"""Private names of other packages: whether they exist, in which version, and what to say when one is gone."""
import sys
from importlib import import_module
from importlib.metadata import version

from packaging.specifiers import SpecifierSet

PYTHON = ("Python", ">=3.11,<3.14")
Package = tuple[str, str]  # its name, and the versions in which the names were checked


def installed(package: Package) -> str:
    """The version of a package, or of Python."""
    return ".".join(map(str, sys.version_info[:3])) if package is PYTHON else version(package[0])


def find(name: str) -> object:
    """What `module:path.of.attributes` names; AttributeError when there is no such name."""
    module, _, path = name.partition(":")
    return follow(import_module(module), path)


def follow(value: object, path: str) -> object:
    """What a path of attributes leads to; AttributeError when it ends before."""
    for part in path.split("."):
        value = getattr(value, part)
    return value


def missing(package: Package, name: str, user: str) -> str:
    """What to do about a name that is gone."""
    return f"{package[0]} {installed(package)} has no {name} (known in {package[1]}): mend {user}, or pin {package[0]}"


def version_problem(package: Package) -> str:
    """What to do about a version in which the names were not checked; empty when they were."""
    if SpecifierSet(package[1]).contains(installed(package), prereleases=True):
        return ""
    return f"{package[0]} {installed(package)} is outside {package[1]}: read its changes, then widen the range"


def name_problem(package: Package, name: str, user: str, owner: object = None) -> str:
    """What to do when `module:path`, or a path of attributes of `owner`, does not exist; empty when it does."""
    try:
        find(name) if owner is None else follow(owner, name)
    except AttributeError:
        return missing(package, name, user)
    return ""
