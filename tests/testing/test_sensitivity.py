"""Every planted mistake is found, within the default number of examples, and its message names the right thing.

`python -m tests.testing.seeds` does the same with many seeds.
"""

import pytest

from tests.testing import correct, planted
from tests.testing.planted import Check

SEED = 0


@pytest.mark.parametrize(
    ("check", "says"),
    [pytest.param(check, says, id=name) for name, check, says in planted.MISTAKES],
)
def test_a_planted_mistake_is_found(check: Check, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check(SEED)


def test_there_are_enough_mistakes() -> None:
    assert len(planted.MISTAKES) >= 330


@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in correct.AWKWARD])
def test_a_correct_class_raises_no_alarm(check: Check) -> None:
    check(SEED)
