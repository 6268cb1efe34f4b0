"""Questions may come from elsewhere, with records that are pulled: only those that can be asked are asked (I14)."""
import json

import pytest

from mlops_kit.capture import CurrentState, VariableDigests, read_questions, store_questions
from mlops_kit.store import Store, put_bytes

NO_SETS = [None, 3, [], "file a", ["file a"], {"file a": 1}, {"file a": {}}, {"": None}, {"launch rockets": None}, {"_ask a": None}, {"package a": None}, {"package a": {}}, {"package a": {"files": 1, "modules": []}},
           {"package a": {"files": "", "modules": None}}, {"package a": {"files": "", "modules": [1]}}, {"package a": {"files": "", "modules": [], "more": 1}}, {"import a": "/x"}, {"import a": [1]}, {"import a": {}},
           {"module a.py": {}}, {"module a.py": {"ran": []}}, {"module a.py": {"ran": [1], "known": None}}, {"module a.py": {"ran": [], "known": "a"}}, {"module a.py": {"ran": None, "known": None}}, {"module a.py": []},
           {"code a.py:f": None}, {"module a.py": None, "code b.py:f": None}, {"module a.py": None, "code a.py:f": 1}]
ODD_NAMES = ["file ", "file \0", "file \ud800", "file /dev/zero", "there \0", "stat \0", "link \0", "folder \0", "entries \0", "glob \0//\0", "pathglob .///a", "pathglob .//", "pathglob .", "rglob .//[", "variable ", "variable \0",
             "variable a=b", "program \0", "program ", "import ", "import .", "import ..a", "import \0", "import a/b", "distribution ", "distribution ../..", "distribution \0", "module \0", "module ", "file ~nobody-of-this-name/a", "startup x", "cells x"]


@pytest.mark.parametrize("details", NO_SETS, ids=json.dumps)
def test_what_is_no_set_of_questions_is_not_asked(tmp_path, details):
    store = Store(tmp_path)
    assert read_questions(store, store_questions(store, details)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"nan", b"[" * 100_000])
def test_any_content_can_be_read(tmp_path, content):
    assert read_questions(Store(tmp_path), put_bytes(Store(tmp_path), content)) is None


def test_a_damaged_set_is_not_asked(tmp_path):
    store = Store(tmp_path)
    name = store_questions(store, {"file a": None})
    assert read_questions(store, name) == {"file a": None}
    store.path(name).chmod(0o644)
    store.path(name).write_text('{"file b":null}')
    assert read_questions(store, name) is None


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_any_name_has_an_answer(tmp_path, name):
    (tmp_path / "a.py").write_text("x = 1")
    answers = CurrentState(tmp_path, VariableDigests(Store(tmp_path / "store"))).answer_all({name: None, "module a.py": None, "code a.py:f": None}, ("x = 1",))
    assert answers[name] is None or isinstance(answers[name], str)
