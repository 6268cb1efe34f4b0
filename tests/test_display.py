"""Names from anywhere in every piece of HTML: escaped once, never twice, never not at all"""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from mlops_kit.display import (
    captioned_figure, data_table, html_page, html_section, html_table, join_html, metric_tiles, new_figure, paragraphs,
    provenance_html, render_html, status_badge, step_details,
)
from mlops_kit.jupyter.magics import LabProgress
from mlops_kit.ledger import Run
from mlops_kit.pipeline import Decision, Plan
from mlops_kit.store import Store
from mlops_kit.sweep import Leaderboard, sweep_page
from mlops_kit.sweep.leaderboard import TrialRow, leaderboard_html

HOSTILE = """<script>alert("it's")</script>&amp;"""


class Reader(HTMLParser):
    """Tags, values of attributes and text of a piece of HTML, as a browser reads them"""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(str(text))  # of `Markup` every slice would be `Markup` too
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [value for _, value in attrs]

    def handle_data(self, data):
        self.text += data


def hostile_record() -> dict:
    file = {"file": HOSTILE, "size": 1, "digest": "0" * 64, "url": HOSTILE}
    env = {"python": HOSTILE, "machine": HOSTILE, "threads": 1}
    files = {"ins": {HOSTILE: "0" * 64}, "sources": {HOSTILE: file}, "outs": {HOSTILE: file}}
    return {"step": HOSTILE, "notebook": HOSTILE, "key": HOSTILE, "params": {"text": HOSTILE}, "seed": 0, "env": env, "packages": {HOSTILE: HOSTILE}, **files}


def hostile_plan() -> Plan:
    return Plan(None, None, {}, {}, {HOSTILE: Decision(HOSTILE, HOSTILE)}, None)


def hostile_run(folder: Path) -> Run:
    step = {"status": HOSTILE, "error": None, "reason": HOSTILE, "seconds": 1.0, "metrics": {HOSTILE: 0.5}}
    return Run(Store(folder), HOSTILE, {"pipeline": HOSTILE, "status": HOSTILE, "seconds": 1.0, "steps": {HOSTILE: step}})


def hostile_board() -> Leaderboard:
    rows = [TrialRow(number, HOSTILE, status, {HOSTILE: HOSTILE}, [0.5], 1.0, HOSTILE, number == 0)
            for number, status in enumerate(("done", "done", HOSTILE))]
    return Leaderboard(HOSTILE, {f"step.{HOSTILE}": "minimize"}, rows)


def live_table() -> str:
    progress = LabProgress()
    progress.rows = {HOSTILE: (HOSTILE, HOSTILE, HOSTILE)}
    return progress.table_html()


PIECES = {
    "badge": lambda folder: status_badge(HOSTILE),
    "table": lambda folder: html_table([HOSTILE], [[HOSTILE]]),
    "data table": lambda folder: data_table([{HOSTILE: HOSTILE}]),
    "paragraphs": lambda folder: paragraphs(HOSTILE, HOSTILE),
    "tiles": lambda folder: metric_tiles({HOSTILE: 0.5}),
    "section": lambda folder: html_section(HOSTILE, HOSTILE),
    "joined": lambda folder: join_html([render_html("<b>{{ text }}</b>", text=HOSTILE), HOSTILE]),
    "picture": lambda folder: captioned_figure(new_figure(1, "")[0], HOSTILE),
    "details": lambda folder: step_details(hostile_record()),
    "provenance": lambda folder: provenance_html([hostile_record()]),
    "page": lambda folder: html_page(HOSTILE, HOSTILE, html_section(HOSTILE, paragraphs(HOSTILE)), HOSTILE),
    "plan": lambda folder: hostile_plan()._repr_html_(),
    "run": lambda folder: hostile_run(folder)._repr_html_(),
    "leaderboard": lambda folder: leaderboard_html(hostile_board()),
    "sweep page": lambda folder: sweep_page(hostile_board()),
    "live table": lambda folder: live_table(),
}


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_names_are_escaped_once(piece, tmp_path):
    html = PIECES[piece](tmp_path)
    page = Reader(html)
    unescaped, as_text, twice = "script" in page.tags, HOSTILE in page.text, "&lt;" in page.text
    assert (unescaped, as_text, twice) == (False, True, False), html


def test_a_picture_says_its_hostile_title_as_text():
    assert HOSTILE in Reader(captioned_figure(new_figure(1, "")[0], HOSTILE)).attributes


def test_the_check_sees_text_that_is_escaped_twice_or_not_at_all():
    assert "script" in Reader(f"<td>{HOSTILE}</td>").tags
    once = render_html("{{ text }}", text=HOSTILE)
    assert Reader(once).text == HOSTILE
    twice = Reader(render_html("{{ text }}", text=str(once)))
    assert HOSTILE not in twice.text and "&lt;" in twice.text
