"""From cases to a verdict: every check is a list of properties, and the cases that they are tried on.

A case is what is given to the functions under test, with `__str__`, the code that makes it again. A property is a
function of a case that raises `AssertionError` where it does not hold; its docstring says what holds. A check has

    cases.py        the cases: those that hypothesis draws, and those that every seed goes through
    properties.py   the properties
    check.py        the public function: which properties are tried on which cases

and `functions.py` has the properties of every pure function. `for_all` searches drawn cases for the smallest one that
fails; `for_each` goes through given ones, and looks for the smallest part of one that fails.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from functional_mlp import checks

Case = TypeVar("Case")
Property = Callable[[Case], None]

# Enough for every planted mistake in tests/testing/planted/, with room.
EXAMPLES = 30


def for_all(cases: SearchStrategy[Case], properties: Sequence[Property[Case]], *, examples: int, seed: int) -> None:
    """Try properties on drawn cases; raise `AssertionError` with its message for the smallest case that fails one.

    The message ends with the case's `str`. The draws depend on `seed` alone.

    >>> from hypothesis.strategies import integers
    >>> def is_small(n):
    ...     assert n < 10, "too large"
    >>> for_all(integers(0, 1000), [is_small], examples=100, seed=0)
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
            for holds in properties:
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
    else:
        return
    raise _failure(problem, case) from problem.__cause__


def for_each(cases: Iterable[Case], properties: Sequence[Property[Case]]) -> None:
    """Try properties on given cases; raise `AssertionError` with its message for the first that fails one.

    A case may be large: of the parts that its method `parts`, where it has one, divides it into, the first that
    fails is reported instead.

    >>> def is_small(n):
    ...     assert n < 10, "too large"
    >>> for_each([1, 20, 30], [is_small])
    Traceback (most recent call last):
    ...
    AssertionError: too large
    smallest failing case:
    20
    """
    for case in cases:
        for holds in properties:
            problem = _problem(holds, case)
            if problem is not None:
                smallest = _first_failing_part(holds, case) or (problem, case)
                raise _failure(*smallest) from smallest[0].__cause__


def _problem(holds: Property[Case], case: Case) -> AssertionError | None:
    try:
        holds(case)
    except AssertionError as problem:
        return problem
    return None


def _first_failing_part(holds: Property[Any], case: Any) -> tuple[AssertionError, Any] | None:
    parts: Iterable[Any] = case.parts() if hasattr(case, "parts") else ()
    for part in parts:
        problem = _problem(holds, part)
        if problem is not None:
            return problem, part
    return None


def _failure(problem: AssertionError, case: object) -> AssertionError:
    return AssertionError(f"{problem}\nsmallest failing case:\n{case}")


class LateAssertionError(AssertionError):
    """An `AssertionError` whose message is worked out when it is read, once, and not for every case on the way."""

    def __init__(self, explain: Callable[[], str]) -> None:
        super().__init__()
        self._explain = explain

    def __str__(self) -> str:
        return self._explain()


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


def assert_functions(kind: str, value: Any, *functions: str) -> None:
    """Raise `AssertionError` unless an object has these functions."""
    for function in functions:
        if not callable(getattr(value, function, None)):
            raise AssertionError(f"{kind} must have the function {function}")


def named(value: object) -> str:
    """A value's repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
