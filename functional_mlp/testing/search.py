"""Searching for the smallest case that fails."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from functional_mlp import checks

Case = TypeVar("Case")

# Enough for every planted mistake in tests/testing/planted/, with room.
EXAMPLES = 30


def for_all(cases: SearchStrategy[Case], holds: Callable[[Case], None], *, examples: int, seed: int) -> None:
    """Call `holds` on drawn cases; raise `AssertionError` with its message for the smallest case that fails it.

    The message ends with the case's `str`. The draws depend on `seed` alone.

    >>> from hypothesis.strategies import integers
    >>> def is_small(n):
    ...     assert n < 10, "too large"
    >>> for_all(integers(0, 1000), is_small, examples=100, seed=0)
    Traceback (most recent call last):
    ...
    AssertionError: too large
    smallest failing case:
    10
    """
    examples = checks.integer("examples", examples, minimum=1)
    seed = checks.integer("seed", seed, minimum=0)

    failed: list[tuple[AssertionError, Case]] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(cases)
    def search(case: Case) -> None:
        try:
            holds(case)
        except AssertionError as problem:
            failed[:] = [(problem, case)]
            raise

    try:
        search()
    except Flaky as error:
        raise AssertionError("the same calls with the same arguments give other results") from error
    except AssertionError:
        # hypothesis ends by running the smallest case again. A new error leaves its frames and notes behind.
        problem, case = failed[-1]
        message, cause = f"{problem}\nsmallest failing case:\n{case}", problem.__cause__
    else:
        return
    raise AssertionError(message) from cause


class LateAssertionError(AssertionError):
    """An `AssertionError` whose message is worked out when it is read, once, and not for every case on the way."""

    def __init__(self, explain: Callable[[], str]) -> None:
        super().__init__()
        self._explain = explain

    def __str__(self) -> str:
        return self._explain()


def each(*properties: Callable[[Case], None]) -> Callable[[Case], None]:
    """Several properties of one case; the first that fails is reported."""

    def all_hold(case: Case) -> None:
        for holds in properties:
            holds(case)

    return all_hold


@contextlib.contextmanager
def failures_of(subject: str) -> Iterator[None]:
    """Begin the message of every `AssertionError` with what it is about."""
    try:
        yield
    except AssertionError as problem:
        message, cause = f"{subject}: {problem}", problem.__cause__
    else:
        return
    raise AssertionError(message) from cause


def named(value: object) -> str:
    """A value's repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
