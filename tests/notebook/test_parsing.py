"""Steps of a sweep are prepared in threads, and CPython 3.11 can't parse in two threads at a time (issue 106905)."""

import gc
import sys
import threading

import pytest

from mlops_kit.notebook.parameters import parse_source

SOURCE = f"x = {'(' * 60}1{')' * 60}\n" + "y = f(a, b, [c, d, {'e': (1, 2, 3)}])\n" * 300


class Cycle:
    """Garbage whose finalizer lets another thread go on, in the middle of a parse."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        sum(range(50))


@pytest.fixture
def busy_threads():
    """Threads and the garbage collector take turns all the time."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(20, 5, 5)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_threads_parse_one_after_the_other(busy_threads):
    errors = []

    def parse_often() -> None:
        try:
            for _ in range(10):
                [Cycle() for _ in range(20)]
                parse_source(SOURCE)
        except SystemError as error:
            errors.append(error)

    threads = [threading.Thread(target=parse_often) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
