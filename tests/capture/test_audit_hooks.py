"""No access is lost in silence: what a listener can't handle is told, and notes that can't be written end the step."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlops_kit.capture import audit_hooks
from mlops_kit.capture.environment import VariableDigests
from mlops_kit.capture.questions import CurrentState, are_questions

START = """import runpy, sys
hooks = runpy.run_path({path!r})
hooks["start_auditing"](folder={own!r}, store="/no-store", installed=[], variables="", journal={journal!r})
"""


def audited(folder: Path, code: str) -> subprocess.CompletedProcess:
    "Run Python that audits itself"
    (folder / "own").mkdir()
    (folder / "a.txt").write_text("1")
    start = START.format(path=audit_hooks.__file__, own=str(folder / "own"), journal=str(folder / "own/notes"))
    return subprocess.run([sys.executable, "-c", start + code], cwd=folder, capture_output=True, text=True)


def notes(folder: Path) -> dict[str, list[str]]:
    "What was noted: kind -> names"
    found = {}
    for note in map(json.loads, (folder / "own/notes").read_text().splitlines()):
        found.setdefault(note["kind"], []).append(note["name"])
    return found


def test_what_a_listener_can_not_handle_is_told(tmp_path):
    broken = "hooks['Auditor'].note_file = lambda *args: {}['no']\nopen('a.txt').close()\nhooks['stop_auditing']()"
    assert audited(tmp_path, broken).returncode == 0
    assert notes(tmp_path)["unlogged"] == ["open: KeyError"] and "file" not in notes(tmp_path)


def test_a_call_that_fails_by_itself_is_not_told(tmp_path):
    failing = "import os\nfor call in (lambda: open('a\\0b'), lambda: os.stat(999), lambda: os.listdir(3.5)):\n    try:\n        call()\n    except (OSError, TypeError, ValueError):\n        pass\nhooks['stop_auditing']()"
    assert audited(tmp_path, failing).returncode == 0
    assert "unlogged" not in notes(tmp_path)


def test_notes_that_can_not_be_written_end_the_step(tmp_path):
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    done = audited(tmp_path, f"{limit}open('a.txt').close()\nhooks['stop_auditing']()")
    assert done.returncode == 1 and "could not be written down" in done.stderr


@pytest.mark.parametrize("call", ["os.environ['COLOUR']", "os.environb[b'COLOUR']", "os.getenv('COLOUR')", "os.getenvb(b'COLOUR')"])
def test_a_variable_is_told_however_it_is_read(tmp_path, call):
    code = f"import os\nos.environ['COLOUR'] = 'red'\nhooks['start_auditing'].__globals__['current'].variables = __import__('re').compile('COLOUR')\n{call}\nhooks['stop_auditing']()"
    assert audited(tmp_path, code).returncode == 0
    assert notes(tmp_path)["variable"] == ["COLOUR"]


HARMFUL = {
    "definitions that are none": {"module a.py": {"ran": [], "known": False}}, "a file of the kernel": {"file /proc/kmsg": None}, "a device": {"stat /dev/zero": None},
    "a way out": {"file ../../x": None}, "a search at the root": {"rglob ///**/*": None}, "an endless pattern": {"glob .//" + "*/" * 4000: None}, "a function of nothing": {"code a.py:f": None},
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_a_question_that_could_do_harm_is_not_asked(kind):
    assert not are_questions(HARMFUL[kind])


@pytest.mark.parametrize("name", ["module /etc/shadow", "module a:b.py", "pathglob .//.", "file a\0b", "link .", "entries /root/none"])
def test_an_odd_question_has_an_answer(tmp_path, name):
    assert are_questions({name: None})
    CurrentState(tmp_path, VariableDigests(b"key")).answer_all({name: None})
