"""What rounding explains, and what it does not."""

import pytest
import torch
from torch import Tensor

from functional_mlp.testing.calls import Call
from functional_mlp.testing.precision import assert_rounded, in_float32


def count(inputs: Tensor, targets: Tensor) -> Tensor:
    """How many inputs are above 1/3, each counted as its target says."""
    if (targets > 1).any():
        raise ValueError("targets must lie between 0 and 1")
    return ((inputs.double() > 1 / 3) * targets).sum()


def test_a_jump_explains_itself_where_targets_are_at_the_end_of_what_is_taken() -> None:
    below = torch.tensor([1 / 3 - 1e-12], dtype=torch.float64)
    double = Call("count", count, {"inputs": below, "targets": torch.ones(1, dtype=torch.float64)}, 1.0, {})
    single = double.map(in_float32)
    assert (single.result(), double.result()) == (1, 0)
    assert_rounded("count", single, double)


def test_what_no_jump_explains_is_wrong() -> None:
    below = torch.tensor([0.25], dtype=torch.float64)
    double = Call("count", count, {"inputs": below, "targets": torch.ones(1, dtype=torch.float64)}, 1.0, {})
    wrong = Call("count", lambda inputs, targets: torch.ones(()), double.map(in_float32).arguments, 1.0, {})
    with pytest.raises(AssertionError, match=r"is 1\.0 instead of 0\.0"):
        assert_rounded("count in float32", wrong, double)
