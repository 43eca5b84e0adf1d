"""The optimizer's rule as it is emitted, with a penalty before it."""

from unittest import mock

import pytest
import torch

import functional_mlp as fm
from functional_mlp.engine.llvm import target
from functional_mlp.penalties import Penalty, l1, l2

NETWORK = fm.Sequential(fm.Linear(4, 9), fm.Tanh(), fm.Linear(9, 2))
# The weights of the first input get no gradient.
INPUTS = fm.random.normal(fm.random.key(1), (500, 4), dtype=torch.float64) * torch.tensor([0.0, 1.0, 1.0, 1.0])
TARGETS = fm.random.normal(fm.random.key(2), (500, 2), dtype=torch.float64)


def trained(dtype: torch.dtype, members: int, learning_rate: float, strength: float) -> torch.Tensor:
    """All parameters after 100 epochs of single samples."""
    data = fm.Dataset(INPUTS.to(dtype), TARGETS.to(dtype))
    start = fm.pytree.map(lambda leaf: leaf.to(dtype), NETWORK.init(fm.random.key(0), dtype=torch.float64))
    keys = [fm.random.key(3)] * members
    penalty = l2(strength) if strength else None
    what = (NETWORK, fm.MeanSquaredError(), fm.SGD(learning_rate), data)
    result = fm.fit_ensemble(
        *what, keys=keys, epochs=100, params=fm.ensemble.stack([start] * members), penalty=penalty, engine="fused"
    )
    return torch.cat([leaf.flatten().double() for leaf in fm.pytree.leaves(result.members[-1].params)])


@pytest.mark.parametrize("members", [1, 16])
@pytest.mark.parametrize(("learning_rate", "strength"), [(1e-4, 1e-3), (1e-3, 1e-5)])
def test_a_decay_below_the_precision_of_the_weights_is_neither_lost_nor_doubled(
    members: int, learning_rate: float, strength: float
) -> None:
    # An update takes 1e-7 or 1e-8 of each weight, and a float32 has digits of 1.2e-7.
    free, held, exact_free, exact = (
        trained(dtype, members, learning_rate, own)
        for dtype in (torch.float32, torch.float64)
        for own in (0.0, strength)
    )
    effect = exact - exact_free
    idle = slice(0, 36, 4)
    assert ((held - free)[idle] / effect[idle]).tolist() == pytest.approx([1.0] * 9, abs=0.02)
    assert float((held - free) @ effect / (effect @ effect)) == pytest.approx(1, abs=0.02)
    assert float((held - exact).norm()) < 2 * float((free - exact_free).norm()) + 0.01 * float(effect.norm())


@pytest.mark.parametrize("batch_size", [1, 10, 300])
@pytest.mark.parametrize("members", [1, 16])
@pytest.mark.parametrize("penalty", [l1, l2])
def test_another_strength_needs_no_other_code(batch_size: int, members: int, penalty: type[l1 | l2]) -> None:
    data = fm.Dataset(INPUTS, TARGETS)

    def weights(held: Penalty) -> torch.Tensor:
        common = {"keys": [fm.random.key(3)] * members, "epochs": 1, "batch_size": batch_size, "engine": "fused"}
        result = fm.fit_ensemble(NETWORK, fm.MeanSquaredError(), fm.SGD(0.01), data, penalty=held, **common)
        return result.members[0].params[0].weight

    first = weights(penalty(0.02))
    with mock.patch.object(target, "load", side_effect=AssertionError("code is made")):
        assert weights(penalty(0.04)).norm() < first.norm() < weights(penalty(0.0)).norm()
