"""Each member of an ensemble is what `fit` makes of its key, data and optimizer, whatever stands beside it."""

import warnings
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.policy import Policy
from functional_mlp.testing import datasets, losses, networks, optimizers
from functional_mlp.testing.engines import relative_bound
from tests.engine.modes import ANY, fit_together, job, units_side_by_side
from tests.tables import ACTIVATIONS, LOSSES, OPTIMIZERS

FEW = settings(max_examples=8)
EPOCHS = 2
# How far params are moved, in units of rounding, to see what a run makes of small differences.
NUDGE = 8
NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Linear(6, 2))


@attrs.frozen(eq=False)
class Ensemble:
    """The arguments of `fit_ensemble`, with an optimizer and a data set for each member, and maybe a policy."""

    network: fm.Layer
    loss: fm.Loss
    optimizers: list[fm.Optimizer]
    data: list[fm.Dataset]
    keys: list[Any]
    batch_size: int = 1
    policy: Policy | None = None

    def members(self, engine: Any) -> list[fm.FitResult]:
        if self.policy is None:
            return [*self.fit(engine).members]
        members = [*zip(self.optimizers, self.data, self.keys, strict=True)]
        return fit_together(
            job(self.network, self.loss, members, epochs=EPOCHS, batch_size=self.batch_size), self.policy
        )

    def fit(self, engine: Any) -> fm.EnsembleResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # divergence
            return fm.fit_ensemble(
                self.network, self.loss, self.optimizers, self.data,
                keys=self.keys, epochs=EPOCHS, batch_size=self.batch_size, engine=engine,
            )  # fmt: skip

    def lone(self, index: int, nudge: float = 0.0) -> fm.FitResult:
        """What `fit` makes of a member on the reference engine, from params that are moved a little."""
        data, key = self.data[index], self.keys[index]
        params = self.network.init(key.split()[0], dtype=data.inputs.dtype)
        moved = pytree.map(lambda leaf: leaf * (1 + nudge), params)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return fm.fit(
                self.network, self.loss, self.optimizers[index], data,
                key=key, epochs=EPOCHS, batch_size=self.batch_size, params=moved, engine="reference",
            )  # fmt: skip

    def reordered(self, order: list[int]) -> "Ensemble":
        def pick(items: list[Any]) -> list[Any]:
            return [items[index] for index in order]

        return attrs.evolve(self, optimizers=pick(self.optimizers), data=pick(self.data), keys=pick(self.keys))


def tree(result: fm.FitResult) -> Any:
    history = torch.tensor([result.history.train_loss, result.history.train_accuracy], dtype=torch.float64)
    return {"state": result.state.optimizer_state, "history": history}


def assert_members_are_lone_fits(ensemble: Ensemble, engine: Any, indices: list[int]) -> None:
    """Within the bound between engines: rounding in each step, and what the run makes of rounding in its params."""
    members = ensemble.members(engine)
    for index in indices:
        dtype, steps = ensemble.data[index].inputs.dtype, EPOCHS * -(-len(ensemble.data[index]) // ensemble.batch_size)
        member, lone = members[index], ensemble.lone(index)
        nudged = ensemble.lone(index, NUDGE * torch.finfo(dtype).eps)
        assert (member.diverged_at, member.state.epoch) == (lone.diverged_at, lone.state.epoch)
        assert member.state.key == lone.state.key
        assert member.state.optimizer_state.step == lone.state.optimizer_state.step
        assert member.state.optimizer_state.learning_rate == lone.state.optimizer_state.learning_rate
        for a, b, c in zip(*(pytree.leaves(tree(each)) for each in (member, lone, nudged)), strict=True):
            change = (c - b).abs().nan_to_num(posinf=0.0).max() if b.shape == c.shape else torch.inf
            allowed = relative_bound(dtype, steps) * b.abs().nan_to_num(posinf=0.0).max() + steps * change
            assert torch.equal(a.isfinite(), b.isfinite())
            assert ((a - b).abs()[b.isfinite()] <= allowed).all(), (index, (a - b).abs().max(), allowed)


@FEW
@pytest.mark.parametrize("engine", ["reference", "fused"])
@given(data=st.data())
def test_drawn_members_are_lone_fits(engine: str, data: st.DataObject) -> None:
    network, loss = data.draw(networks(max_depth=2, max_width=4)), data.draw(losses())
    members = data.draw(st.sampled_from([1, 2, 8, 9, 17]))
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32]))
    sets = data.draw(st.lists(datasets(network, loss, max_size=8, dtype=dtype), min_size=1, max_size=2))
    optimizer = data.draw(optimizers(max_learning_rate=0.1))
    rates = [optimizer.learning_rate * (1 + index) / members for index in range(members)]
    ensemble = Ensemble(
        network,
        loss,
        [attrs.evolve(optimizer, learning_rate=rate) for rate in rates],
        [sets[index % len(sets)] for index in range(members)],
        list(fm.random.key(data.draw(st.integers(0, 99))).split(members)),
        data.draw(st.integers(1, 4)),
    )
    assert_members_are_lone_fits(ensemble, engine, sorted({0, members // 2, members - 1}))


def disks(members: int, sizes: list[int]) -> list[fm.Dataset]:
    return [
        fm.datasets.disk(fm.random.key(index), sizes[index % len(sizes)], dtype=torch.float64)
        for index in range(members)
    ]


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("members", [1, 2, 15, 16, 17, 30, 33])
def test_any_number_of_members(members: int, engine: str) -> None:
    rules = [fm.Momentum(0.1 / (1 + index), beta=0.5 + index / 100) for index in range(members)]
    ensemble = Ensemble(
        NETWORK, fm.MeanSquaredError(), rules, disks(members, [20]), list(fm.random.key(0).split(members))
    )
    assert_members_are_lone_fits(ensemble, engine, sorted({0, 1, members // 2, members - 1} & set(range(members))))


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_data_of_different_lengths(engine: str) -> None:
    rules: list[fm.Optimizer] = [fm.Adam(0.01)] * 20
    ensemble = Ensemble(
        NETWORK, fm.CrossEntropy(), rules, disks(20, [12, 12, 12, 5]), list(fm.random.key(0).split(20)), 5
    )
    assert_members_are_lone_fits(ensemble, engine, [0, 3, 18, 19])


def whole(network: fm.Layer, optimizer: fm.Optimizer, batch_size: int, dtype: torch.dtype) -> Policy:
    """Groups have as many members as a vector has lanes."""
    return Policy(first_cache_bytes=ANY)


WAYS = pytest.mark.parametrize("way", [whole, units_side_by_side])


@WAYS
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_optimizer_in_groups(optimizer: fm.Optimizer, batch_size: int, way: Callable[..., Policy]) -> None:
    rules = [attrs.evolve(optimizer, learning_rate=optimizer.learning_rate / (1 + index)) for index in range(9)]
    loss = LOSSES[OPTIMIZERS.index(optimizer) % len(LOSSES)]  # each in its turn
    policy = way(NETWORK, optimizer, batch_size, torch.float64)
    ensemble = Ensemble(NETWORK, loss, rules, disks(9, [10]), list(fm.random.key(0).split(9)), batch_size, policy)
    assert_members_are_lone_fits(ensemble, "fused", [0, 8])


@WAYS
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_an_activation_in_groups(activation: fm.Layer, way: Callable[..., Policy]) -> None:
    network = fm.Sequential(fm.Linear(2, 11, bias=False), activation, fm.Residual(fm.Linear(11, 11)), fm.Linear(11, 2))
    rules: list[fm.Optimizer] = [fm.SGD(0.05)] * 9
    policy, keys = way(network, rules[0], 1, torch.float64), list(fm.random.key(0).split(9))
    ensemble = Ensemble(network, fm.MeanSquaredError(), rules, disks(9, [10]), keys, policy=policy)
    assert_members_are_lone_fits(ensemble, "fused", [0, 8])


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_the_order_of_the_members_does_not_matter(engine: str) -> None:
    rules = [fm.Nesterov(0.01 * (1 + index), momentum=0.5) for index in range(19)]
    ensemble = Ensemble(NETWORK, fm.MeanSquaredError(), list(rules), disks(19, [10]), list(fm.random.key(0).split(19)))
    order = fm.random.permutation(fm.random.key(1), 19).tolist()
    expected, actual = ensemble.fit(engine), ensemble.reordered(order).fit(engine)
    for place, index in enumerate(order):
        if engine == "fused":  # in a group nothing depends on the place; a product of stacked matrices may
            assert pytree.equal(actual.member(place).state, expected.member(index).state)
        for a, b in zip(*(pytree.leaves(r) for r in (actual.member(place).params, expected.member(index).params)),
                        strict=True):  # fmt: skip
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
