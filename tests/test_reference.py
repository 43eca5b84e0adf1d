"""The reference engine against a loop written with torch.nn, torch.autograd and torch.optim."""

import math
from collections.abc import Callable

import attrs
import pytest
import torch

import functional_mlp as fm
from tests.helpers import KEY, assert_close, assert_same_bits, bits, descent_from, draw, loss_oracle, oracle
from tests.tables import LOSSES, OPTIMIZERS

NETWORK = fm.Sequential(
    fm.Linear(2, 5), fm.ReLU(), fm.Residual(fm.Linear(5, 5, bias=False)), fm.Tanh(), fm.Linear(5, 3)
)
DATA = fm.Dataset(draw(23, 2), torch.arange(23) % 3)
ONE_HOT = fm.Dataset(DATA.inputs, torch.nn.functional.one_hot(DATA.targets))
MSE = fm.MeanSquaredError()


@attrs.frozen(eq=False)
class EpochResult:
    """An epoch's outcome: each sample is judged right before its own update."""

    state: fm.OptimizerState
    loss: float
    accuracy: float


def run_epoch(
    network: fm.Layer,
    loss: fm.Loss,
    optimizer: fm.Optimizer,
    state: fm.OptimizerState,
    data: fm.Dataset,
    order: torch.Tensor,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
    **options: int,
) -> EpochResult:
    """One epoch from a state."""
    descent = descent_from(state, network, loss, optimizer, data, batch_size=batch_size, **options)
    arrays, tally = descent.epoch(descent.rule.arrays([state]), state.step, state.learning_rate, order, progress)
    (metrics,) = tally.metrics(descent.is_answered)
    reached = descent.rule.state(state, arrays, state.step + descent.steps, state.learning_rate)
    return EpochResult(reached, metrics.loss, metrics.accuracy)


def order_of(data: fm.Dataset, epoch: int = 0) -> torch.Tensor:
    return fm.random.permutation(KEY.fold_in(epoch), len(data))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_an_epoch_is_that_of_a_loop_in_torch(loss: fm.Loss, batch_size: int) -> None:
    optimizer, order = fm.SGD(0.05), order_of(ONE_HOT)
    state = optimizer.init(NETWORK.init(KEY, dtype=torch.float64))
    outcome = run_epoch(NETWORK, loss, optimizer, state, ONE_HOT, order, batch_size)

    params = fm.pytree.map(lambda leaf: leaf.clone().requires_grad_(), state.params)
    torch_optimizer = torch.optim.SGD(fm.pytree.leaves(params), lr=0.05)
    loss_sum, right = 0.0, 0
    for rows in order.split(batch_size):
        predictions = oracle(NETWORK, params, ONE_HOT.inputs[rows])
        value = loss_oracle(loss, predictions, ONE_HOT.targets[rows])
        torch_optimizer.zero_grad()
        value.backward()
        torch_optimizer.step()
        loss_sum += value.item() * len(rows)
        if isinstance(loss, fm.BinaryCrossEntropy):
            right += int(((predictions > 0) == (ONE_HOT.targets[rows] == 1)).all(1).sum())
        else:
            right += int((predictions.argmax(1) == ONE_HOT.labels[rows]).sum())
    assert_close(outcome.state.params, fm.pytree.map(torch.detach, params), 1e-12)
    assert outcome.loss == pytest.approx(loss_sum / 23, rel=1e-12)
    assert outcome.accuracy == right / 23


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_epoch_is_a_loop_over_value_and_grad_and_update(optimizer: fm.Optimizer, batch_size: int) -> None:
    state = expected = optimizer.init(NETWORK.init(KEY, dtype=torch.float64))
    evaluate, order = fm.value_and_grad(NETWORK, fm.CrossEntropy()), order_of(DATA)
    loss_sum = 0.0
    for rows in order.split(batch_size):
        value, grads = evaluate(expected.params, DATA.inputs[rows], DATA.targets[rows])
        expected = optimizer.update(expected, grads)
        loss_sum += value.item() * len(rows)
    outcome = run_epoch(NETWORK, fm.CrossEntropy(), optimizer, state, DATA, order, batch_size)
    assert_close(outcome.state, expected, 1e-12)
    assert outcome.state.step == expected.step
    assert outcome.loss == pytest.approx(loss_sum / 23, rel=1e-12)
    if batch_size > 1:
        assert_same_bits(outcome.state, expected)


def test_the_short_last_batch_counts_by_its_samples() -> None:
    """With a learning rate of 0 the epoch's loss is the mean over the samples, not over the batches."""
    state = fm.OptimizerState(NETWORK.init(KEY, dtype=torch.float64), 0.0, 0)
    expected = fm.evaluate(NETWORK, MSE, state.params, ONE_HOT)
    for batch_size in (1, 5, 22, 23):
        outcome = run_epoch(NETWORK, MSE, fm.SGD(1.0), state, ONE_HOT, order_of(ONE_HOT), batch_size)
        assert outcome.loss == pytest.approx(expected.loss, rel=1e-12)
        assert outcome.accuracy == expected.accuracy


def test_an_epoch_is_pure() -> None:
    optimizer = fm.Momentum(0.05)
    state = optimizer.init(NETWORK.init(KEY, dtype=torch.float64))
    inputs = torch.stack([DATA.inputs, DATA.inputs], -1)[..., 0].requires_grad_()
    data = fm.Dataset(inputs, DATA.targets)
    order = order_of(data)
    before = bits((state, inputs, data.targets, order))
    first = run_epoch(NETWORK, fm.CrossEntropy(), optimizer, state, data, order, 1)
    assert bits((state, inputs, data.targets, order)) == before
    assert_same_bits(first.state, run_epoch(NETWORK, fm.CrossEntropy(), optimizer, state, DATA, order, 1).state)


def test_long_epochs_are_gathered_piece_by_piece() -> None:
    optimizer, order = fm.SGD(0.05), order_of(DATA)
    state = optimizer.init(NETWORK.init(KEY, dtype=torch.float64))
    whole = run_epoch(NETWORK, fm.CrossEntropy(), optimizer, state, DATA, order, 4)
    fractions: list[float] = []
    pieces = run_epoch(
        NETWORK, fm.CrossEntropy(), optimizer, state, DATA, order, 4, fractions.append, batches_at_once=2
    )
    assert_same_bits(pieces.state, whole.state)
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-12)
    assert fractions == pytest.approx([8 / 23, 16 / 23, 1.0])


@pytest.mark.parametrize(
    "network",
    [fm.Identity(), fm.Sequential(fm.Linear(2, 3, bias=False)), fm.Residual(fm.Linear(2, 2))],
    ids=repr,
)
def test_any_layer_is_a_network(network: fm.Layer) -> None:
    data = fm.Dataset(draw(5, 2), draw(5, network.out_features or 2))
    state = fm.SGD(0.1).init(network.init(KEY, dtype=torch.float64))
    outcome = run_epoch(network, MSE, fm.SGD(0.1), state, data, order_of(data), 1)
    assert math.isfinite(outcome.loss)
    assert math.isnan(outcome.accuracy)


class Constant(fm.Layer):
    """Gives its params, whatever comes: its output is a view of them."""

    def init(self, key, *, dtype=torch.float32, device=None):
        return torch.zeros(2, dtype=dtype, device=device)

    def apply(self, params, x):
        return params.expand(*x.shape[:-1], 2)

    def vjp(self, params, x, grad_out):
        return grad_out.reshape(-1, 2).sum(0), torch.zeros_like(x)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_prediction_that_is_a_view_of_the_params_is_judged_before_their_update(batch_size: int) -> None:
    data = fm.Dataset(draw(4, 1), torch.ones(4, 2, dtype=torch.float64))
    state = fm.SGD(0.5).init(Constant().init(KEY, dtype=torch.float64))
    outcome = run_epoch(Constant(), MSE, fm.SGD(0.5), state, data, torch.arange(4), batch_size)
    errors = [0.5**step for step in range(4 // batch_size)]  # each update halves the error
    assert outcome.loss == pytest.approx(sum(error**2 for error in errors) / len(errors))


def test_the_tensors_of_a_state_are_its_own() -> None:
    """No view into the epoch's buffer: it would be kept and pickled with each of them."""
    state = fm.Adam(0.05).init(NETWORK.init(KEY, dtype=torch.float64))
    outcome = run_epoch(NETWORK, fm.CrossEntropy(), fm.Adam(0.05), state, DATA, order_of(DATA), 4)
    for leaf in fm.pytree.leaves(outcome.state):
        assert leaf.untyped_storage().nbytes() == leaf.nbytes


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_rule_may_remember_the_params_themselves(batch_size: int) -> None:
    """The slot must not be the buffer that the epoch then writes to."""
    from tests.test_optimizers import HeavyBall

    optimizer, order = HeavyBall(0.05), order_of(DATA)
    state = expected = optimizer.init(NETWORK.init(KEY, dtype=torch.float64))
    for rows in order.split(batch_size):
        _, grads = fm.value_and_grad(NETWORK, fm.CrossEntropy())(expected.params, DATA.inputs[rows], DATA.targets[rows])
        expected = optimizer.update(expected, grads)
    outcome = run_epoch(NETWORK, fm.CrossEntropy(), optimizer, state, DATA, order, batch_size)
    assert_close(outcome.state, expected, 1e-12)
