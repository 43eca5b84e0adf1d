"""Groups of members in training."""

import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.llvm import target as machine
from tests.engine.modes import members_policies_with
from tests.engine.rules import Normalized


def test_numbers_in_units_without_a_parameter_are_of_no_account() -> None:
    members = max(machine.host().lanes(8) // 2, 2)
    network = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 3))
    data = fm.Dataset(
        torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    )
    with members_policies_with(members=members):
        result = fm.fit_ensemble(
            network,
            fm.CrossEntropy(),
            Normalized(0.001),
            data,
            keys=fm.random.key(0).split(members),
            epochs=4,
            batch_size=5,
            engine="fused",
        )
    assert result.diverged_at == (None,) * members
    assert all(leaf.isfinite().all() for leaf in pytree.leaves(result.params))
