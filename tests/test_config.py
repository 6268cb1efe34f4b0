"""The shortcut of `ParameterComposer` gives what Hydra gives, for every kind of value and of key."""

from pathlib import Path

import pytest

from mlops_kit.config import Config, ParameterComposer, compose
from mlops_kit.errors import ConfigError

VALUES = [
    "1", "1.0", "true", "null", "'1'", '"a b"', "[1,2]", "{a:1,b:{c:2}}", "[]", "{}", "-0.0", "1e-3", "nan", "inf",
    "'${seed}'", "x/y.z", "'é'", "${seed}1", "[${seed}]", "", "\\${seed}", "${pipeline.name}",
]
WRONG = ["1,2", "range(3)", "'", "${nobody}", "[", "???"]
ODD_KEYS = ["times.x", "a b", "times@x", "x:y"]  # Hydra refuses them, or means something else by them


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one pipeline."""
    (tmp_path / "conf/pipeline").mkdir(parents=True)
    (tmp_path / "conf/pipeline/hello.yaml").write_text(
        "name: hello\nsteps:\n  greet: {notebook: greet.ipynb, params: {times: 1, deep: {er: 1}}}\n")
    return tmp_path


def result(composer, overrides: list[str], root: Path) -> str:
    """What comes out, as text: a configuration, or the problems."""
    try:
        config: Config = composer(overrides, root)
        return repr(config)
    except ConfigError as error:
        return repr(error.problems)


@pytest.mark.parametrize("key", ["times", *(pytest.param(key, marks=pytest.mark.long) for key in ["seed", "new", "deep.er", *ODD_KEYS])])
def test_the_shortcut_gives_what_hydra_gives(root: Path, key: str):
    composer = ParameterComposer()
    for value in [*VALUES, *WRONG, *VALUES]:
        overrides = ["pipeline=hello", f"pipeline.steps.greet.params.{key}={value}"]
        for words in (overrides, [*overrides, "pipeline.steps.greet.params.times=3"]):
            assert result(composer, words, root) == result(compose, words, root), words
    assert key in ODD_KEYS or any(composer.shortcut_verified.values()), "the shortcut is taken"
