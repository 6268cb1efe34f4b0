"""Check what a change touches: shape, ruff, types, then the lessons and tests of the changed packages.

`python tools/check.py [BASE]` compares the work tree with BASE: origin/main where it exists, otherwise HEAD.
"""

import re
import subprocess
import sys
from pathlib import Path

root = Path(__file__).parent.parent
always = [
    ["pytest", "-q", "tests/test_shape.py"],
    ["ruff", "check", "--quiet"],
    ["basedpyright", "--level", "error"],
]


def git(*words: str) -> list[str]:
    """The lines that a git command prints; none if it fails."""
    result = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    return result.stdout.splitlines() if result.returncode == 0 else []


def changed_files(base: str | None = None) -> list[str]:
    """Files that differ from the base, committed or not, and new files."""
    if base is None:
        base = "origin/main" if git("rev-parse", "--verify", "origin/main") else "HEAD"
    start = git("merge-base", base, "HEAD") or [base]
    return sorted({*git("diff", "--name-only", start[0]), *git("ls-files", "--others", "--exclude-standard")})


def package_of(path: str) -> str | None:
    """The package, or the top-level module, that a file of the project belongs to."""
    match = re.match(r"(?:nbs/\d\d_|mlops_kit/|tests/)([a-z]+)(?:/|\.ipynb$|\.py$)", path)
    return match[1] if match else None


def lessons(package: str) -> list[str]:
    """The notebook, or the folder of notebooks, that makes a package."""
    paths = (root / "nbs").glob(f"[0-9][0-9]_{package}*")
    return [str(path.relative_to(root)) for path in paths if path.stem[3:] == package]


def tests(package: str) -> list[str]:
    """The folder of the package's tests, if it has any."""
    folder = root / "tests" / package
    return [str(folder.relative_to(root))] if list(folder.glob("test_*.py")) else []


def commands(files: list[str]) -> list[list[str]]:
    """What to run for these changed files, cheap commands first."""
    packages = sorted({package for path in files if (package := package_of(path))})
    notebooks = [path for package in packages for path in lessons(package)]
    paths = [path for package in packages for path in tests(package)]
    paths += [path for path in files if re.fullmatch(r"tests/test_\w+\.py", path) and path != "tests/test_shape.py"]
    run_lessons = [["nbdev-test", path, "--n-workers", "2"] for path in notebooks]
    run_tests = [["pytest", "-q", "-n", "2", "--dist", "loadfile", *paths]] if paths else []
    return [*always, *run_lessons, *run_tests]


if __name__ == "__main__":
    for command in commands(changed_files(*sys.argv[1:])):
        print("==", *command, flush=True)
        if code := subprocess.run(command, cwd=root).returncode:
            sys.exit(code)
