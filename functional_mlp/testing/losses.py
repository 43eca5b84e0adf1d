"""Proving a loss: any object with `value` and `grad`."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from functional_mlp import random
from functional_mlp.losses import Loss
from functional_mlp.testing.cases import assignments
from functional_mlp.testing.derivatives import Line
from functional_mlp.testing.gradients import Tally, assert_gradient
from functional_mlp.testing.purity import attempt, call, inherits, refuses, restored_globals
from functional_mlp.testing.search import EXAMPLES, each, failures_of, for_all, named
from functional_mlp.testing.strategies import numbers_off_kinks, tensors
from functional_mlp.testing.targets import TARGET_KINDS, accepted_kinds
from functional_mlp.testing.trees import LAYOUT_TOLERANCE, assert_close, largest, packed
from functional_mlp.testing.values import check_value
from functional_mlp.testing.vjp import assert_like

Formula = Callable[[Tensor, Tensor], float | Tensor]

FEATURES = range(1, 5)


def check_loss(
    loss: Any,
    *,
    targets: Sequence[str] | None = None,
    predictions: tuple[float, float] = (-4.0, 4.0),
    formula: Formula | None = None,
    value: bool = True,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless `loss` keeps the contract of a loss; the message holds the smallest failing case.

    `loss` is any object with

        value(predictions, targets) -> a 0-d tensor           for predictions of shape (batch, features)
        grad(predictions, targets)  -> like the predictions

    What is proven, at `examples` drawn cases:

    - **grad** is the gradient of `value`, by differences with a bound on their error: see `testing.derivatives`.
    - **value** is the mean over the samples: of a batch, the mean of its rows' values, and grad theirs over n.
    - Shapes and dtypes; purity: no argument and no global state is read or written, no result is connected to an
      autograd graph, whatever memory the tensors lie in.
    - Targets of a shape that only broadcasting would fit, and empty batches, are refused with an exception.
    - The loss is a **value**: hashed, compared, pickled, with a repr that evaluates.

    `targets` are kinds out of "values", "probabilities", "one_hot" and "classes"; by default all that the loss
    gives a finite value for. `predictions` are the ends of where it is defined. `formula(prediction, target)`, for
    one sample, is compared with `value` where it is given: no property can tell which function was meant.

    >>> import functional_mlp as fm
    >>> check_loss(fm.MeanSquaredError(), formula=lambda prediction, target: (prediction - target).square().mean())
    """
    with restored_globals(), failures_of(f"check_loss({named(loss)})"):
        for function in ("value", "grad"):
            if not callable(getattr(loss, function, None)):
                raise AssertionError(f"a loss must have the function {function}")
        if value:
            check_value(loss)
        kinds = {features: _kinds(loss, features, targets) for features in FEATURES}
        _assert_empty_is_refused(loss)
        budget = {"examples": examples, "seed": seed}
        # Targets lie on multiples of 1/16, where |ŷ − t| has its kink: predictions lie between them.
        elements = numbers_off_kinks(2 * predictions[0], 2 * predictions[1]).map(_half)
        anywhere = cases(loss, kinds, elements, dtypes=(torch.float64, torch.float32), awkward=True)
        for_all(anywhere, each(calls_are_pure, layout_does_not_matter, nothing_is_broadcast), **budget)
        gradient = Gradient()
        local: list[Callable[[LossCase], None]] = [is_mean_over_samples, gradient]
        if formula is not None:
            local.insert(0, lambda case: agrees_with_formula(case, formula))
        for_all(cases(loss, kinds, elements), each(*local), **budget)
        gradient.tally.assert_decided()


def _kinds(loss: Any, features: int, wanted: Sequence[str] | None) -> list[str]:
    accepted = accepted_kinds(loss, features)
    if wanted is None and not accepted:
        raise AssertionError(f"value gives no finite number for any kind of targets of {features} features")
    unknown = set(wanted or ()) - TARGET_KINDS.keys()
    if unknown:
        raise ValueError(f"check_loss: targets must be kinds out of {list(TARGET_KINDS)}, got {sorted(unknown)}")
    return accepted if wanted is None else list(wanted)


def _half(number: float) -> float:
    return number / 2


@attrs.frozen(eq=False)
class LossCase:
    """Predictions and targets, and a key for the direction to look in."""

    loss: Any
    predictions: Tensor
    targets: Tensor
    key: random.Key

    @property
    def size(self) -> float:
        """The size of the numbers that the loss is computed from."""
        return 1 + largest(self.predictions, self.targets)

    def __str__(self) -> str:
        return assignments(predictions=self.predictions, targets=self.targets)


@st.composite
def cases(
    draw: DrawFn,
    loss: Any,
    kinds: dict[int, list[str]],
    elements: SearchStrategy[float],
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    awkward: bool = False,
) -> LossCase:
    """Predictions off the usual kinks, with targets of a kind that the loss takes."""
    dtype = draw(st.sampled_from(dtypes))
    samples, features = draw(st.integers(1, 4)), draw(st.sampled_from(sorted(kinds)))
    targets = draw(TARGET_KINDS[draw(st.sampled_from(kinds[features]))](samples, features, dtype))
    predictions = draw(tensors((samples, features), dtype, elements=elements, awkward=awkward))
    return LossCase(loss, predictions, targets, random.key(draw(st.integers(0, 2**16))))


def calls_are_pure(case: LossCase) -> None:
    """value and grad are pure, and keep shapes and dtypes."""
    predictions = case.predictions
    detached = ("predictions", "targets") if inherits(case.loss, Loss, "value", "grad") else ()
    value = call("value", case.loss.value, detached=detached, predictions=predictions, targets=case.targets)
    assert_like("value: the loss", value, "a 0-d tensor like the predictions", predictions.new_zeros(()))
    if not value.isfinite():
        raise AssertionError(f"value is {value.item()} for finite predictions and targets")
    grad = call("grad", case.loss.grad, detached=detached, predictions=predictions, targets=case.targets)
    assert_like("grad: the gradient", grad, "predictions", predictions)


def layout_does_not_matter(case: LossCase) -> None:
    """Predictions that lie in memory in an awkward way give what contiguous ones give."""
    for name, function in (("value", case.loss.value), ("grad", case.loss.grad)):
        awkward, plain = (
            attempt(name, function, p, case.targets) for p in (case.predictions, packed(case.predictions))
        )
        assert_close(
            f"{name} depends on how tensors lie in memory",
            awkward,
            plain,
            case.size,
            rtol=LAYOUT_TOLERANCE[plain.dtype],
        )


def nothing_is_broadcast(case: LossCase) -> None:
    """Targets of another shape are refused, above all (n,) or (1, k) beside predictions (n, k)."""
    predictions, targets = case.predictions, case.targets
    wrong = [targets[:1].expand(len(targets) + 1, *targets.shape[1:])]
    if targets.ndim == 2:
        wrong += [targets.unsqueeze(0), targets[:, 0], torch.cat([targets, targets], dim=1)]
        wrong += [targets[:, :1]] if targets.shape[1] > 1 else []
    wrong += [targets[:1]] if len(targets) > 1 else []
    for other in wrong:
        for name, function in (("value", case.loss.value), ("grad", case.loss.grad)):
            if refuses(function, predictions, other) is None:
                raise AssertionError(
                    f"{name} takes targets of shape {tuple(other.shape)} for predictions of shape "
                    f"{tuple(predictions.shape)}: raise a ValueError, nothing must be broadcast"
                )


def is_mean_over_samples(case: LossCase) -> None:
    """The value of a batch is the mean of its rows' values, and its gradient theirs over n."""
    loss, n = case.loss, len(case.predictions)
    rows = [(case.predictions[i : i + 1], case.targets[i : i + 1]) for i in range(n)]
    values = torch.stack([attempt("value", loss.value, *row) for row in rows])
    value = attempt("value", loss.value, case.predictions, case.targets)
    assert_close("value is not the mean of the samples' values", value, values.mean(), case.size)
    grad = attempt("grad", loss.grad, case.predictions, case.targets)
    expected = torch.cat([attempt("grad", loss.grad, *row) for row in rows]) / n
    assert_close("grad is not that of the mean over the samples", grad, expected, case.size)


def agrees_with_formula(case: LossCase, formula: Formula) -> None:
    """The value of one sample is what a second definition of it gives."""
    for prediction, target in zip(case.predictions, case.targets, strict=True):
        expected = torch.as_tensor(attempt("formula", formula, prediction, target), dtype=torch.float64)
        value = attempt("value", case.loss.value, prediction.unsqueeze(0), target.unsqueeze(0))
        assert_close(
            f"value differs from the formula for {prediction.tolist()} and {target.tolist()}",
            value,
            expected,
            case.size,
        )


class Gradient:
    """grad is the gradient of value."""

    def __init__(self) -> None:
        self.tally = Tally()

    def __call__(self, case: LossCase) -> None:
        claimed = attempt("grad", case.loss.grad, case.predictions, case.targets)
        assert_like("grad: the gradient", claimed, "predictions", case.predictions)

        def lines(direction: Tensor) -> Line:
            def line(t: float) -> tuple[float, float]:
                value = attempt("value", case.loss.value, case.predictions + t * direction, case.targets).item()
                return value, abs(value) + case.size

            return line

        decided = assert_gradient("predictions", claimed, lines, case.key)
        self.tally.add("predictions", case, decided=decided)


def _assert_empty_is_refused(loss: Any) -> None:
    """The mean over no samples is not a number; it is an error, and not NaN."""
    empty = torch.zeros(0, 2, dtype=torch.float64)
    for name, function in (("value", loss.value), ("grad", loss.grad)):
        if refuses(function, empty, empty) is None:
            raise AssertionError(f"{name} takes an empty batch: raise a ValueError")
