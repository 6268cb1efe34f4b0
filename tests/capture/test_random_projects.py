"""No wrong hit (I1), in projects that nobody thought of: where a plan says hit, the results before and after the edit agree.

`python tests/helpers/random_judge.py FIRST LAST EDITS [chain]` tries other seeds; `python tests/helpers/random_projects.py SEED` shows one.
"""
import os
import sys

import pytest
from helpers.random_edits import random_edits, shown_difference
from helpers.random_judge import Judge, judge_all, told
from helpers.random_projects import random_project

PROJECTS = int(os.environ.get("RANDOM_PROJECTS", 200))


def accept(report) -> None:
    "Print the table, and fail with the wrong hits"
    text = "\n\n".join(told(report))
    print(text, file=sys.stderr)
    if report.wrong or report.odd:
        pytest.fail(text, pytrace=False)


def test_a_hit_in_a_random_project_is_never_wrong(tmp_path):
    report = judge_all(tmp_path, range(PROJECTS), 1)
    assert report.unfit < PROJECTS / 20 and report.hits and report.misses
    accept(report)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1_000, 6_000, 500))
def test_a_hit_in_five_thousand_random_projects_is_never_wrong(tmp_path, first):
    accept(judge_all(tmp_path, range(first, first + 500), 1))


@pytest.mark.long
@pytest.mark.parametrize("first", range(10_000, 10_300, 100))
def test_a_hit_after_a_chain_of_edits_is_never_wrong(tmp_path, first):
    accept(judge_all(tmp_path, range(first, first + 100), 8, "chain"))


def test_a_seed_always_gives_the_same_project():
    assert random_project(7) == random_project(7) != random_project(8)
    edits = [[shown_difference(random_project(7), edit.project) for edit in random_edits(7, random_project(7))] for _ in range(2)]
    assert edits[0] == edits[1] and all(edits[0])


def test_a_wrong_hit_is_found(tmp_path):
    "The judge, with a plan that calls everything a hit"
    judge = Judge(tmp_path)
    judge.ask, asked = (lambda command, *rest: {"action": "hit", "reason": "blind"} if command == "plan" else asked(command, *rest)), judge.ask
    try:
        found = sum((len(judge.edits(seed, 3).wrong) for seed in range(3)), 0)
    finally:
        judge.close()
    assert found
