"""A gradient is compared with slopes only where there is one."""

import pytest
import torch
from torch import Tensor

from functional_mlp import random
from functional_mlp.testing.derivatives import Line
from functional_mlp.testing.gradients import LineOf, assert_gradient

TIE = torch.full((2, 3), 0.0625, dtype=torch.float64)
COTANGENT = torch.tensor([[0.0625, 0.1875, 0.0625], [1.0, 2.0, 1.0]], dtype=torch.float64)


def sorted_from(x: Tensor) -> LineOf:
    def line_of(direction: Tensor) -> Line:
        return lambda t: ((COTANGENT * (x + t * direction).sort(dim=-1).values).sum().item(), 5.0)

    return line_of


@pytest.mark.parametrize("seed", range(20))
def test_slopes_without_a_kink_that_no_gradient_has_are_not_compared(seed: int) -> None:
    assert not assert_gradient("x", COTANGENT + 0.01, sorted_from(TIE), random.key(seed))


def test_where_nothing_is_equal_a_wrong_gradient_is_found() -> None:
    apart = TIE + torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    assert assert_gradient("x", COTANGENT, sorted_from(apart), random.key(0))
    with pytest.raises(AssertionError, match=r"the gradient of x is wrong at \[0, 0\]"):
        assert_gradient("x", COTANGENT.flip(1) + torch.eye(2, 3) * 0.1, sorted_from(apart), random.key(0))
