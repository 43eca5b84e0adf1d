"""float16 and bfloat16: what is computed from them is within one unit in the last place of the exact value."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import KEY, draw, loss_oracle
from tests.tables import ACTIVATIONS, LOSSES, OPTIMIZERS
from tests.test_losses import targets_for
from tests.test_optimizers import HeavyBall

half = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def every_number(dtype: torch.dtype) -> Tensor:
    numbers = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    return numbers[numbers.isfinite() & (numbers.abs() < 1e18)]  # float32 squares and cubes what is smaller


def assert_within_ulps(actual: Tensor, exact: Tensor, ulps: float, absolute: float = 0.0) -> None:
    """Within some units in the last place of the exact values, in float64, of the dtype of what was computed."""
    size = exact.to(actual.dtype).abs()
    unit = torch.nextafter(size, torch.full_like(size, math.inf)).double() - size.double()
    off = (actual.double() - exact).abs() - absolute
    bad = ~((off <= ulps * unit) | (actual == exact.to(actual.dtype)))
    assert not bad.any(), f"{actual[bad][:3].tolist()} for {exact[bad][:3].tolist()}"


@half
@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_activations_and_their_derivatives(layer: fm.Layer, dtype: torch.dtype) -> None:
    s = every_number(dtype)
    y, grad = layer.apply((), s), layer.vjp((), s, torch.ones_like(s))[1]
    wide = s.double()
    assert_within_ulps(y, layer.apply((), wide), 1)
    # Near 1, float32 has digits down to 2^-24 only, and 1 − tanh² has them too.
    assert_within_ulps(grad, layer.vjp((), wide, torch.ones_like(wide))[1], 1, absolute=2**-22)


@half
@pytest.mark.parametrize("size", [1e-3, 1.0, 200.0])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (40, 3000)], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_and_their_gradients(loss: fm.Loss, shape: tuple[int, int], size: float, dtype: torch.dtype) -> None:
    predictions = (size * draw(*shape)).to(dtype)
    if isinstance(loss, fm.PoissonDeviance):
        predictions = predictions.clamp(max=80)  # float32, in which losses are computed, holds no larger powers of e
    for targets in targets_for(loss, *shape).values():
        own = targets.to(dtype) if targets.is_floating_point() else targets
        exact = own.double() if targets.is_floating_point() else targets
        wide = predictions.double()
        assert_within_ulps(loss.value(predictions, own), loss_oracle(loss, wide, exact), 1)
        assert_within_ulps(loss.grad(predictions, own), loss.grad(wide, exact), 1, absolute=1e-6 / len(wide))


@half
@pytest.mark.parametrize("error", [3.0, 31.0, 200.0])
def test_the_mean_of_large_squares_is_finite(error: float, dtype: torch.dtype) -> None:
    predictions = torch.full((1, 10_000), error, dtype=dtype)
    value = fm.MeanSquaredError().value(predictions, torch.zeros_like(predictions))
    assert_within_ulps(value, torch.tensor(error**2).double(), 0.5)


def test_the_softmax_of_more_classes_than_float16_counts_is_finite() -> None:
    logits, labels = torch.zeros(1, 70_000, dtype=torch.float16), torch.tensor([0])
    assert_within_ulps(fm.CrossEntropy().value(logits, labels), torch.tensor(math.log(70_000)).double(), 0.5)
    assert_within_ulps(fm.CrossEntropy().grad(logits, labels)[0, 1], torch.tensor(1 / 70_000).double(), 0.5)


class SumOfSquares(fm.Loss):
    """A loss of a user's own, whose sum float16 cannot hold."""

    def sample_value(self, xp, prediction, target):
        return xp.sum((prediction - target) ** 2) / 1000

    def sample_grad(self, xp, prediction, target):
        return (prediction - target) * 1e5 / 5e7


@half
def test_losses_of_a_users_own(dtype: torch.dtype) -> None:
    predictions, targets = torch.full((2, 3), 200.0, dtype=dtype), torch.zeros(2, 3, dtype=dtype)
    assert_within_ulps(SumOfSquares().value(predictions, targets), torch.tensor(120.0).double(), 1)
    assert_within_ulps(SumOfSquares().grad(predictions, targets), torch.full((2, 3), 0.2).double(), 1)


@half
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, HeavyBall(0.1)], ids=repr)
def test_a_step_of_an_optimizer(optimizer: fm.Optimizer, size: float, dtype: torch.dtype) -> None:
    state = optimizer.init(draw(50).to(dtype))
    for seed in range(7):
        grad = (size * draw(50, seed=seed)).to(dtype)
        wide = pytree.map(Tensor.double, state)
        state = optimizer.update(state, grad)
        exact = optimizer.update(wide, grad.double())
        signs_are_sure = _signs_are_sure(optimizer, wide, grad.double(), 1e-6 * size)
        for name in ("params", *optimizer.slots()):
            own, wanted = getattr(state, name)[signs_are_sure], getattr(exact, name)[signs_are_sure]
            assert_within_ulps(own, wanted, 1, absolute=1e-6 * size)


def _signs_are_sure(optimizer: fm.Optimizer, state: Any, grad: Tensor, margin: float) -> Tensor:
    """Where a step does not hang on the sign of what rounds to 0: Lion steps by the sign of a mean."""
    if not isinstance(optimizer, fm.Lion):
        return torch.ones_like(grad, dtype=torch.bool)
    mean = optimizer.beta1 * state.first_moment + (1 - optimizer.beta1) * grad
    return (mean.abs() > margin) | (mean == 0)


@half
@pytest.mark.parametrize("optimizer", [fm.Adam(1e-3), fm.AdamW(1e-3, weight_decay=0.0)], ids=repr)
def test_adam_goes_on_where_gradients_vanish(optimizer: fm.Optimizer, dtype: torch.dtype) -> None:
    """The square of a small gradient is no number of float16 and must not become 0: the step divides by its root."""
    params = torch.tensor([1.0, -2.0], dtype=dtype)
    state = optimizer.update(optimizer.init(params), torch.zeros(2, dtype=dtype))
    assert torch.equal(state.params, params)
    for grad in (1e-3, 0.0, 0.0):
        state = optimizer.update(state, torch.full((2,), grad, dtype=dtype))
    assert (state.params - params).abs().max() < 0.01


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_network_learns_in_float16_what_it_learns_in_float32(loss: fm.Loss) -> None:
    network = fm.Sequential(fm.Linear(2, 16), fm.ReLU(), fm.Linear(16, 2))

    def last_loss(dtype: torch.dtype) -> float:
        data = fm.datasets.disk(KEY, 200, dtype=dtype)
        result = fm.fit(network, loss, fm.Adam(0.01), data, key=KEY, epochs=10, batch_size=16, engine="reference")
        return result.history.train_loss[-1]

    # The gradients of a narrow Huber are small, and Adam's mean of their squares has few digits in float16.
    share = 0.1 if loss == fm.Huber(0.3) else 0.05
    assert last_loss(torch.float16) == pytest.approx(last_loss(torch.float32), rel=share)


@half
def test_metrics_and_histories_are_not_rounded(dtype: torch.dtype) -> None:
    inputs = draw(5000, 2).to(dtype)
    network, labels = fm.Linear(2, 2), (inputs.sum(1) > 0).long()
    params, data = network.init(KEY, dtype=dtype), fm.Dataset(inputs, labels)
    exact = loss_oracle(fm.CrossEntropy(), fm.predict(network, params, inputs).double(), labels).item()
    assert fm.evaluate(network, fm.CrossEntropy(), params, data).loss == pytest.approx(exact, rel=1e-6)
    together = fm.ensemble.evaluate(network, fm.CrossEntropy(), fm.ensemble.stack([params]), data)
    assert together.loss == pytest.approx(exact, rel=1e-6)
    still = fm.fit(network, fm.CrossEntropy(), fm.SGD(1e-30), data, params=params, key=KEY, epochs=1, batch_size=100)
    assert still.history.train_loss[0] == pytest.approx(exact, rel=1e-6)


@half
def test_members_of_an_ensemble_learn_alike(dtype: torch.dtype) -> None:
    network, loss, keys = (
        fm.Sequential(fm.Linear(2, 4), fm.Tanh(), fm.Linear(4, 2)),
        fm.MeanSquaredError(),
        KEY.split(2),
    )
    data, optimizers = fm.datasets.disk(KEY, 40, dtype=dtype), [fm.Adam(0.0123), fm.Adam(0.0456)]
    together = fm.fit_ensemble(network, loss, optimizers, data, keys=keys, epochs=2, batch_size=8)
    for index, (optimizer, key) in enumerate(zip(optimizers, keys, strict=True)):
        alone = fm.fit(network, loss, optimizer, data, key=key, epochs=2, batch_size=8)
        loss_of_member = together.history.members[index].train_loss
        assert loss_of_member == pytest.approx(alone.history.train_loss, rel=0.01)
