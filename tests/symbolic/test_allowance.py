"""Work that does not end by itself is ended, and nothing of it is left."""

import subprocess
import sys
import threading

import mpmath
import pytest

from functional_mlp.symbolic.allowance import Allowance, OutOfTime


def endless() -> None:
    while True:
        pass


@pytest.mark.parametrize("in_main", [True, False], ids=["main thread", "other thread"])
def test_endless_work_is_ended(in_main: bool) -> None:
    ended = []

    def work() -> None:
        with pytest.raises(OutOfTime):
            Allowance(0.02).run(endless)
        ended.append(True)

    if in_main:
        work()
    else:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(30)
    assert ended


def test_work_that_takes_the_exception_for_its_own_is_ended() -> None:
    def stubborn() -> None:
        try:
            endless()
        except Exception:
            endless()

    with pytest.raises(OutOfTime):
        Allowance(0.02).run(stubborn)


def test_nothing_begins_when_the_time_is_over() -> None:
    with pytest.raises(OutOfTime):
        Allowance(0).run(lambda: pytest.fail("it began"))


@pytest.mark.parametrize("seconds", [10, 1e300])
def test_work_that_ends_is_left_alone(seconds: float) -> None:
    threads = threading.active_count()
    assert [Allowance(seconds).run(lambda i=i: i) for i in range(20)] == list(range(20))
    with pytest.raises(ZeroDivisionError):
        Allowance(seconds).run(lambda: 1 // 0)
    assert threading.active_count() == threads


def test_the_digits_of_ended_work_are_not_left() -> None:
    def precise() -> None:
        mpmath.mp.prec = 1000
        endless()

    before = mpmath.mp.prec
    with pytest.raises(OutOfTime):
        Allowance(0.02).run(precise)
    assert mpmath.mp.prec == before


@pytest.mark.parametrize("work", ["lambda: 1", "endless"])
def test_a_tracer_works_after_it(work: str) -> None:
    code = f"""
import sys
from functional_mlp.symbolic.allowance import Allowance, OutOfTime
from tests.symbolic.test_allowance import endless
try:
    Allowance(0.02).run({work})
except OutOfTime:
    pass
sys.settrace(lambda *event: None)
(lambda: None)()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
