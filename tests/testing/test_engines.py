"""What the comparison of the engines allows; that mistakes of an engine are found is in the planted table."""

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp.testing import check_engines_agree
from functional_mlp.testing.engines import relative_bound
from tests.testing.planted.engines import NETWORK, Mistake, OneRightAnswerTooMany, check_mistake, moved, with_slots

DISK = fm.datasets.disk(fm.random.key(0), 20, dtype=torch.float64)


def test_the_reference_agrees_with_itself() -> None:
    check_mistake(Mistake(), seed=0)


class RoundsOtherwise(Mistake):
    """The last number of the params, rounded in another way in each epoch."""

    def outcome(self, right, data, validated):
        return with_slots(right, params=moved(right.state.optimizer_state.params, 1e-13))

    def epoch(self, state, loss):
        if state.epoch < 3:
            return state, loss
        params = moved(state.optimizer_state.params, 1e-13)
        return attrs.evolve(state, optimizer_state=attrs.evolve(state.optimizer_state, params=params)), loss


def test_rounding_is_allowed() -> None:
    check_mistake(RoundsOtherwise(), seed=0)


def test_an_accuracy_that_rounding_turns_is_allowed() -> None:
    """Both outputs are equal in exact arithmetic: which is the larger one is a matter of rounding."""
    first, tanh, last = NETWORK.init(fm.random.key(0), dtype=torch.float64)
    params = (first, tanh, fm.LinearParams(last.weight[:1].expand(2, -1).clone(), last.bias))
    check_mistake(OneRightAnswerTooMany(), seed=0, params=params, epochs=1, batch_size=20)
    with pytest.raises(AssertionError, match="train_accuracy"):
        check_mistake(OneRightAnswerTooMany(), seed=0, epochs=1, batch_size=20)


def test_an_accuracy_that_turns_where_the_smallest_numbers_count_as_zero_is_allowed() -> None:
    """GELU gives -1e-27 twenty times, -6e-39 and 0: the reference's largest is the last, the engine's that before."""
    network = fm.Sequential(fm.Linear(1, 22), fm.GELU())
    params = (fm.LinearParams(torch.zeros(22, 1), torch.tensor(20 * [-11.0] + [-13.2, -40.0])), ())
    data = fm.Dataset(torch.zeros(1, 1), torch.eye(22)[20:21])
    check_engines_agree(network, fm.MeanSquaredError(), fm.SGD(0.01), data, epochs=1, params=params)


def test_the_bound_grows_with_the_steps_in_float32() -> None:
    assert relative_bound(torch.float64, 100) == 1e-10
    assert relative_bound(torch.float32, 1000) == 10 * relative_bound(torch.float32, 100)


class Unreadable(fm.Layer):
    """A layer without expressions, which the engine cannot read."""

    def apply(self, params, x):
        return 2 * x

    def vjp(self, params, x, grad_out):
        return (), 2 * grad_out


def test_what_the_engine_does_not_take_is_said() -> None:
    network = fm.Sequential(fm.Linear(2, 2), Unreadable())
    with pytest.raises(ValueError, match="Unreadable"):
        check_engines_agree(network, fm.MeanSquaredError(), fm.SGD(0.1), DISK)
