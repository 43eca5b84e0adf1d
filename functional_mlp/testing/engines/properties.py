"""What holds for an engine beside the reference, each property a function that raises where it does not."""

import math
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.testing.engines.cases import ACCURACIES, LOSSES, Comparison, Outcome
from functional_mlp.testing.trees import RELATIVE_TOLERANCE, assert_same, side_by_side

ROUNDINGS = 64
MARGIN = 4
SEEDS = (0, 1)

# An accuracy that differs is looked into further: which rows rounding may turn is a matter of chance.
MORE_SEEDS = tuple(range(2, 14))


def relative_bound(dtype: torch.dtype, steps: int) -> float:
    """By how much of its magnitude a leaf may differ after `steps` steps, for rounding alone.

    >>> relative_bound(torch.float64, 1000), relative_bound(torch.float32, 1000) < 0.01
    (1e-10, True)
    """
    return max(RELATIVE_TOLERANCE[dtype], ROUNDINGS * torch.finfo(dtype).eps * steps)


def arguments_stay(case: Comparison) -> None:
    """Neither params nor data change."""
    copies = case.handed_in["copies"]
    assert case.actual
    assert_same("the engine changed what was handed in", copies, case.handed_in["given"])


def runs_repeat(case: Comparison) -> None:
    """A second run gives the same bits."""
    again = case.run.outcome(case.params, case.engine)
    assert_same("a second run gives other bits", case.actual.tree, again.tree)


def runs_end_alike(case: Comparison) -> None:
    """Both diverge at the same epoch or not at all, and end after the same epoch and step, with the same rate."""
    actual, expected = case.actual, case.expected
    if actual.diverged_at != expected.diverged_at:
        raise AssertionError(
            f"the engine diverges at epoch {actual.diverged_at}, the reference at epoch {expected.diverged_at}"
        )
    if (actual.state.epoch, actual.state.key) != (expected.state.epoch, expected.state.key):
        raise AssertionError(f"the engine ends after epoch {actual.state.epoch}, not {expected.state.epoch}")
    if pytree.paths(actual.tree) != pytree.paths(expected.tree):
        raise AssertionError(
            f"the engine returns {pytree.paths(actual.tree)}, the reference {pytree.paths(expected.tree)}"
        )
    for name in ("step", "learning_rate"):
        ours, theirs = (getattr(outcome.state.optimizer_state, name, None) for outcome in (actual, expected))
        if ours != theirs:
            raise AssertionError(f"the engine ends with {name} {ours}, the reference with {theirs}")
    if pytree.structure(actual.state) != pytree.structure(expected.state):
        raise AssertionError(f"the engine returns {actual.state}, the reference {expected.state}")
    if actual.history.learning_rate != expected.history.learning_rate:
        raise AssertionError(
            f"the engine trains at {actual.history.learning_rate}, the reference at {expected.history.learning_rate}"
        )


def epochs_are_the_same_one_by_one(case: Comparison) -> None:
    """Several epochs at once, and `train_epoch` one after the other, give the same bits as epochs with validation."""
    run, actual = case.run, case.actual
    at_once = run.outcome(case.params, case.engine, validated=False)
    assert_same("several epochs at once give other bits than each by itself", actual.tree, at_once.tree)
    at_once_accuracy, accuracy = (o.figures("train_accuracy") for o in (at_once, actual))
    assert_same("several epochs at once give another accuracy than each by itself", accuracy, at_once_accuracy)
    if actual.diverged_at is None:
        state, losses = run.started(case.params), []
        for _ in range(run.epochs):
            state, loss = run.following(state, case.engine)
            losses.append(loss)
        one_by_one = {"optimizer_state": state.optimizer_state, "train_loss": torch.tensor(losses, dtype=torch.float64)}
        assert_same("train_epoch gives other bits than fit", actual.tree, one_by_one)


def numbers_agree(case: Comparison) -> None:
    """The optimizer's state and the losses are the reference's, up to the bound of `engines.check`."""
    run = case.run
    bound = relative_bound(run.dtype, run.steps)
    actual, expected = _numbers(case.actual), _numbers(case.expected)
    once, always = map(_numbers, case.rounded_once(SEEDS)), map(_numbers, case.rounded_always(SEEDS))
    for path, a, b, *others in side_by_side(expected, actual, *once, *always):
        name = path.removeprefix("['optimizer_state'].").strip("[']")
        if (a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device):
            raise AssertionError(f"{name} is {checks.describe(b)}, the reference's {checks.describe(a)}")
        _assert_same_numbers_finite({name: b}, {name: a})
        finite = a.isfinite()
        if not finite.any():
            continue
        changes = [_change(a, other, finite) for other in others]
        from_once, from_always = max(changes[: len(SEEDS)]), max(changes[len(SEEDS) :])
        allowed = bound * _largest(a, finite) + run.steps * from_once + MARGIN * from_always
        worst = _largest(b - a, finite)
        if not worst <= allowed:
            place = tuple(((b - a).abs() == worst).nonzero()[0].tolist())
            raise AssertionError(
                f"{name}{list(place) if place else ''} is {b[place].item()!r}, the reference's {a[place].item()!r}: an "
                f"error of {worst:.1e} where {allowed:.1e} is allowed after {run.steps} steps"
            )


def _numbers(outcome: Outcome) -> Any:
    return {**outcome.tree, **outcome.figures(*LOSSES)}


def accuracies_agree(case: Comparison) -> None:
    """As many answers are right, up to those that turn by rounding or where the smallest numbers count as zero."""
    actual, expected = (outcome.figures(*ACCURACIES) for outcome in (case.actual, case.expected))
    if pytree.equal(actual, expected):
        return
    rounded = [*case.rounded_once(MORE_SEEDS), *case.rounded_always(MORE_SEEDS), case.flushed()]
    for name, a in expected.items():
        b, others = actual[name], [other.figures(name)[name] for other in rounded]
        allowed = torch.stack([(o - a).abs() for o in others if o.shape == a.shape]).amax(0)
        rounding = ROUNDINGS * torch.finfo(a.dtype).eps  # of sums of weights
        wrong = ~(((b - a).abs() <= MARGIN * allowed + rounding) | (a.isnan() & b.isnan()))
        if wrong.any():
            epoch = int(wrong.nonzero()[0])
            raise AssertionError(f"{name}[{epoch}] is {b[epoch].item()!r}, the reference's {a[epoch].item()!r}")


def divergence_agrees(case: Comparison) -> None:
    """The epoch in which a run diverges leaves the same numbers finite."""
    actual, expected = case.actual.diverged, case.expected.diverged
    if actual is not None and expected is not None:
        _assert_same_numbers_finite(actual.optimizer_state, expected.optimizer_state)


def _change(a: Tensor, other: Tensor, finite: Tensor) -> float:
    """How far another run of the reference ended; it may have diverged, or at another epoch."""
    if other.shape != a.shape:
        return math.inf
    return _largest((other - a).nan_to_num(nan=math.inf), finite)


def _largest(tensor: Tensor, finite: Tensor) -> float:
    return tensor[finite].abs().max().item()


def _assert_same_numbers_finite(actual: Any, expected: Any) -> None:
    for path, b, a in side_by_side(actual, expected):
        differ = a.isfinite() != b.isfinite()
        if differ.any():
            place = tuple(differ.nonzero()[0].tolist())
            raise AssertionError(
                f"{path}{list(place) if place else ''} is {b[place].item()!r}, the reference's {a[place].item()!r}"
            )
