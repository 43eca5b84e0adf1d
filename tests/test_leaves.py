"""A rule that is applied to all leaves at once gives the bits that it gives leaf by leaf."""

import math
from typing import Any

import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.algebra import torch_namespace
from functional_mlp.leaves import Leaves, leaves_namespace, tensors_of
from functional_mlp.operands import NotInAlgebraError
from tests.helpers import assert_same_bits, draw
from tests.tables import OPTIMIZERS

CPU = torch.device("cpu")
EXTREMES = torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-40, 3e38, 1.0])


def by_leaf(optimizer: fm.Optimizer, state: Any, grads: Any) -> Any:
    """What `update` gives, by `apply_rule` on one leaf after the other."""
    step, names = state.step + 1, ("params", *optimizer.slots())
    arrays = zip(*map(pytree.leaves, (state.params, grads, *(getattr(state, n) for n in names[1:]))), strict=True)
    updated = [optimizer.apply_rule(step, state.learning_rate, *own) for own in arrays]
    columns = [[own[i] for own in updated] for i in range(len(names))]
    return optimizer.rebuild(state, step, pytree.structure(state.params), columns)


def check_same_bits(optimizer: fm.Optimizer, params: Any, grads: Any) -> None:
    state = expected = optimizer.init(params)
    for _ in range(4):
        state, expected = optimizer.update(state, grads), by_leaf(optimizer, expected, grads)
        assert_same_bits(state, expected)


def trees_of(*dtypes: torch.dtype) -> tuple[Any, Any]:
    """Params with a leaf of each dtype, and gradients."""
    params = [(draw(3, 2, dtype=dtype), {"scale": EXTREMES.flip(0).to(dtype)}) for dtype in dtypes]
    return params, [(draw(3, 2, seed=1, dtype=dtype), {"scale": EXTREMES.to(dtype)}) for dtype in dtypes]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer_gives_the_bits_of_leaf_by_leaf(optimizer: fm.Optimizer) -> None:
    for dtypes in ([torch.float32], [torch.float64] * 2, [torch.float32, torch.float64], [torch.bfloat16]):
        check_same_bits(optimizer, *trees_of(*dtypes))
    check_same_bits(optimizer, (), ())


class Everything(fm.SGD):
    """All that the algebra has."""

    def rule(self, xp, step, learning_rate, param, grad):
        powers = 1.5 ** (param % 2) + abs_of(xp, param) ** 0.5 - 2 / (3 - -param) + (1 - grad) / 3 - 2
        powers = powers + abs(+param) - 3 % grad
        chosen = xp.where(grad >= 0, xp.maximum(powers, 0.25), xp.minimum(param, xp.sqrt(0.25)))
        same = xp.where(step > 1, chosen, xp.where(param != grad, xp.sign(grad), 1))
        return (xp.where(param == grad, same * chosen, xp.where(param < 0, 0, xp.tanh(same) + grad)),)


def abs_of(xp, x):
    return xp.where(x > 0, x, -x)


def test_all_of_the_algebra_has_a_reading_over_leaves() -> None:
    params, grads = trees_of(torch.float32, torch.float32)
    check_same_bits(Everything(0.1), params, grads)
    xp = leaves_namespace((torch.float32, CPU))
    assert xp is not None
    arguments = [[tree[0][0], tree[0][1]["scale"]] for tree in (params, grads)]
    at_once = Everything(0.1).rule(xp, 1, 0.1, *(Leaves(xp, own) for own in arguments))[0]
    alone = [
        Everything(0.1).rule(torch_namespace(torch.float32, CPU), 1, 0.1, *own)[0]
        for own in zip(*arguments, strict=True)
    ]
    assert_same_bits(list(tensors_of(at_once)), alone)


def test_what_the_algebra_has_not_is_done_leaf_by_leaf() -> None:
    shapes = []

    class OfTorch(fm.SGD):
        def rule(self, xp, step, learning_rate, param, grad):
            shapes.append(param.shape)
            return (torch.where(param.isnan(), grad.clamp(-1, 1), param - learning_rate * grad),)

    params, grads = trees_of(torch.float32)
    shapes.clear()
    check_same_bits(OfTorch(0.1), params, grads)
    assert {(3, 2), (8,)} <= set(shapes)


@pytest.mark.parametrize("wrong", [lambda a: a + torch.ones(1), lambda a: a + "1", lambda a: tensors_of(1.0)])
def test_arrays_meet_arrays_and_numbers_alone(wrong) -> None:
    xp = leaves_namespace((torch.float32, CPU))
    assert xp is not None
    with pytest.raises(NotInAlgebraError):
        wrong(Leaves(xp, [EXTREMES]))


def test_half_precision_and_mixed_leaves_have_no_namespace() -> None:
    for kind in (None, (torch.float16, CPU), (torch.float32, torch.device("cuda"))):
        assert leaves_namespace(kind) is None
