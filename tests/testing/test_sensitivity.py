"""Every planted mistake is found, within the default number of examples, and its message names the right thing."""

from collections.abc import Callable

import pytest

from functional_mlp.testing import check_layer, check_loss, check_optimizer
from tests.testing import planted


@pytest.mark.parametrize(
    ("check", "says"),
    [pytest.param(check, says, id=name) for name, check, says in planted.MISTAKES],
)
def test_a_planted_mistake_is_found(check: Callable[[], None], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check()


def test_there_are_enough_mistakes() -> None:
    assert len(planted.MISTAKES) >= 25


def test_the_correct_classes_pass() -> None:
    check_layer(planted.Affine(3, 2))
    check_layer(planted.Square())
    check_loss(planted.Squared())
    check_optimizer(planted.Descent(0.1))
