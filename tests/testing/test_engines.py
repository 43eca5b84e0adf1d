"""An engine that is wrong is found; and what the comparison allows."""

from collections.abc import Callable

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp.testing import check_engines_agree
from functional_mlp.testing.engines import Engine, Outcome, TrainingRun, compare, relative_bound

NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
DISK = fm.datasets.disk(fm.random.key(0), 20, dtype=torch.float64)


@attrs.frozen(eq=False)
class WrongEngine(TrainingRun):
    """The reference, changed on its way out."""

    change: Callable[[Outcome, object], Outcome]

    def outcome(self, params: object, engine: Engine) -> Outcome:
        right = super().outcome(params, "reference")
        return self.change(right, params) if engine == "fused" else right


def compared_with(change: Callable[[Outcome, object], Outcome], learning_rate: float = 0.1) -> None:
    optimizer = fm.Momentum(learning_rate)
    run = WrongEngine(
        NETWORK, fm.MeanSquaredError(), optimizer, DISK, 3, 4, None, fm.random.key(0), change
    )  # fmt: skip
    compare(run, None, "fused")


def with_slots(outcome: Outcome, **slots: object) -> Outcome:
    state = attrs.evolve(outcome.state, optimizer_state=attrs.evolve(outcome.state.optimizer_state, **slots))
    return attrs.evolve(outcome, state=state)


def moved(tree: object, error: float) -> object:
    """The tree with the last number of its last leaf off by a relative error."""
    leaves = [leaf.clone() for leaf in fm.pytree.leaves(tree)]
    leaves[-1].view(-1)[-1] *= 1 + error
    return fm.pytree.unflatten(tree, leaves)


def test_the_reference_agrees_with_itself() -> None:
    compared_with(lambda outcome, params: outcome)


def test_rounding_is_allowed() -> None:
    compared_with(
        lambda outcome, params: with_slots(outcome, params=moved(outcome.state.optimizer_state.params, 1e-13))
    )


@pytest.mark.parametrize("slot", ["params", "velocity"])
def test_a_wrong_number_of_the_state_is_found(slot: str) -> None:
    def change(outcome: Outcome, params: object) -> Outcome:
        return with_slots(outcome, **{slot: moved(getattr(outcome.state.optimizer_state, slot), 1e-6)})

    with pytest.raises(AssertionError, match=rf"{slot}\[2\].bias\[1\] is .*, the reference's .*: an error of"):
        compared_with(change)


def test_a_wrong_loss_is_found() -> None:
    with pytest.raises(AssertionError, match=r"train_loss\[0\] is .*, the reference's"):
        compared_with(lambda outcome, params: attrs.evolve(outcome, losses=outcome.losses * (1 + 1e-6)))


def test_a_number_that_is_not_finite_is_found() -> None:
    with pytest.raises(AssertionError, match=r"params\[2\].bias.*\[1\] is nan, the reference's"):
        compared_with(
            lambda outcome, params: with_slots(
                outcome, params=moved(outcome.state.optimizer_state.params, float("nan"))
            )
        )


def test_an_engine_that_writes_to_the_params_is_found() -> None:
    def change(outcome: Outcome, params: object) -> Outcome:
        fm.pytree.leaves(params)[0].add_(1e-3)
        return outcome

    with pytest.raises(
        AssertionError, match=r"the engine changed what was handed in: .*\['params'\]\[0\].weight\[0, 0\]"
    ):
        compared_with(change)


def test_another_end_is_found() -> None:
    with pytest.raises(AssertionError, match="the engine diverges at epoch 1, the reference at epoch None"):
        compared_with(lambda outcome, params: attrs.evolve(outcome, diverged_at=1))
    with pytest.raises(AssertionError, match="the engine ends after epoch 2, not 3"):
        compared_with(lambda outcome, params: attrs.evolve(outcome, state=attrs.evolve(outcome.state, epoch=2)))


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
