"""What holds for every loss, each property a function that raises `AssertionError` where it does not."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from functional_mlp.losses import Loss
from functional_mlp.targets import one_hot
from functional_mlp.testing.calls import SLIGHTLY, depends
from functional_mlp.testing.derivatives import Line
from functional_mlp.testing.gradients import Tally, assert_gradient
from functional_mlp.testing.loss.cases import LossCase
from functional_mlp.testing.purity import attempt, refuses
from functional_mlp.testing.trees import assert_close, assert_like, largest

# Of samples, in turn.
WEIGHTS = (0.5, 0.0, 1.5, 30.0, 1e-3)

Formula = Callable[[Tensor, Tensor], float | Tensor]


def empty_batches_are_refused(loss: Any) -> None:
    """The mean over no samples is not a number; it is an error, and not NaN."""
    empty = torch.zeros(0, 2, dtype=torch.float64)
    for name, function in (("value", loss.value), ("grad", loss.grad)):
        if refuses(function, empty, empty) is None:
            raise AssertionError(f"{name} takes an empty batch: raise a ValueError")


def labels_beyond_the_classes_are_refused(loss: Any, kinds: dict[int, list[str]]) -> None:
    """Neither −1 nor the number of the classes is a label: indexing would take −1 for the last class."""
    for classes in (count for count, some in kinds.items() if "classes" in some and count > 1):
        predictions = torch.zeros(2, classes, dtype=torch.float64)
        for label in (-1, classes):
            for name, function in (("value", loss.value), ("grad", loss.grad)):
                if refuses(function, predictions, torch.tensor([0, label])) is None:
                    raise AssertionError(f"{name} takes the label {label} beside {classes} classes: raise a ValueError")


def shapes_and_dtypes_are_kept(case: LossCase) -> None:
    """The value is a 0-d tensor of the predictions' dtype, finite at ordinary predictions; grad is like them."""
    value = attempt("value", case.loss.value, case.predictions, case.targets)
    assert_like("value: the loss", value, "a 0-d tensor like the predictions", case.predictions.new_zeros(()))
    if not value.isfinite():
        raise AssertionError(f"value is {value.item()} for finite predictions and targets")
    _grad(case)


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


def weights_count(case: LossCase) -> None:
    """With weights, a `Loss` is 1/n Σ wᵢ ℓᵢ, whatever the weights add up to, and its gradient likewise."""
    loss, n = case.loss, len(case.predictions)
    if not isinstance(loss, Loss):
        return
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)[torch.arange(n) % len(WEIGHTS)].unsqueeze(1)
    size = case.size * max(WEIGHTS)
    aims = attempt("encode", loss.encode, case.targets, case.predictions)
    arguments = case.predictions, aims, weights
    rows = [(case.predictions[i : i + 1], aims[i : i + 1]) for i in range(n)]
    values = torch.stack([attempt("batch_value", loss.batch_value, *row) for row in rows])
    value = attempt("batch_value", loss.batch_value, *arguments)
    assert_close("batch_value is not 1/n Σ wᵢ ℓᵢ", value, (weights[:, 0] * values).mean(), size)
    grads = torch.cat([attempt("batch_grad", loss.batch_grad, *row) for row in rows])
    grad = attempt("batch_grad", loss.batch_grad, *arguments)
    assert_close("batch_grad is not the gradient of 1/n Σ wᵢ ℓᵢ", grad, weights * grads / n, size)
    of_more = attempt("batch_grad", partial(loss.batch_grad, samples=3 * n), *arguments)
    assert_close("batch_grad with samples=3 n is not a third of what it is with n", of_more, grad / 3, size)


def both_at_once_are_each_alone(case: LossCase) -> None:
    """For a `Loss`, batch_value_and_grad gives what batch_value and batch_grad give."""
    if isinstance(case.loss, Loss):
        arguments = case.predictions, attempt("encode", case.loss.encode, case.targets, case.predictions)
        both = attempt("batch_value_and_grad", case.loss.batch_value_and_grad, *arguments)
        alone = tuple(attempt(name, getattr(case.loss, name), *arguments) for name in ("batch_value", "batch_grad"))
        assert_close("batch_value_and_grad differs from batch_value and batch_grad", both, alone, case.size)


def labels_may_be_any_integers(case: LossCase) -> None:
    """Labels of int32 are refused, or mean what those of int64 mean."""
    if case.targets.dtype == torch.int64:
        narrow = case.predictions, case.targets.to(torch.int32)
        for name, function in (("value", case.loss.value), ("grad", case.loss.grad)):
            if refuses(function, *narrow) is None:
                expected = attempt(name, function, case.predictions, case.targets)
                problem = f"{name} gives something else for labels of int32 than for the same of int64"
                assert_close(problem, attempt(name, function, *narrow), expected, case.size)


def answers_are_told_from_others(case: LossCase) -> None:
    """For a `Loss`, are_right takes predictions far on the side of the answers for right, and their opposites not."""
    loss, (rows, features) = case.loss, case.predictions.shape
    if not isinstance(loss, Loss) or features == 1:
        return
    labels = torch.arange(rows) % features
    answers = one_hot(labels, features, case.predictions.dtype)
    predictions = {side: case.domain.put(0.75 * side * (2 * answers - 1)) for side in (1, -1)}
    if refuses(loss.checked_targets, predictions[1], answers) is not None:
        return
    for side, wanted in ((1, True), (-1, False)):
        aims = attempt("encode", loss.encode, answers, predictions[side])
        right = attempt("are_right", loss.are_right, predictions[side], aims, labels)
        if not (right == wanted).all():
            raise AssertionError(
                f"are_right gives {right.tolist()} for the labels {labels.tolist()} and the predictions "
                f"{predictions[side].tolist()}: {'all' if wanted else 'none'} of these are right"
            )


def nan_stays_nan(case: LossCase) -> None:
    """Of predictions with a row of NaN the value is NaN, or they are refused: a run that diverges is seen to.

    So is the gradient of that row where it depends on the predictions.
    """
    broken = case.predictions.clone()
    broken[0] = math.nan
    if refuses(case.loss.value, broken, case.targets) is not None:
        return
    value = attempt("value", case.loss.value, broken, case.targets)
    if not value.isnan():
        raise AssertionError(f"value gives the number {value.item()} for predictions of which a row is nan")
    grad, moved, of_nan = (
        attempt("grad", case.loss.grad, predictions, case.targets)[0]
        for predictions in (case.predictions, (1 - SLIGHTLY) * case.predictions, broken)
    )
    hidden = ~of_nan.isnan() & depends(grad, moved)
    if hidden.any():
        raise AssertionError(
            f"grad gives numbers for a row of predictions that are nan, {of_nan.tolist()}: they must be nan where the "
            "gradient depends on the predictions, or training goes on as if nothing had happened"
        )


def nothing_becomes_nan(case: LossCase) -> None:
    """Neither is NaN, and where the value is infinite so is the gradient."""
    value, grad = attempt("value", case.loss.value, case.predictions, case.targets), _grad(case)
    if value.isnan() or grad.isnan().any():
        raise AssertionError(f"{'value' if value.isnan() else 'grad'} is nan for finite predictions and targets")
    if not value.isfinite() and grad.isfinite().all():
        raise AssertionError(f"value is {value.item()} where grad is finite")


def agrees_with_formula(case: LossCase, formula: Formula) -> None:
    """The value of one sample is what a second definition of it gives, where that is finite."""
    for prediction, target in zip(case.predictions, case.targets, strict=True):
        expected = torch.as_tensor(attempt("formula", formula, prediction, target), dtype=torch.float64)
        if expected.isfinite():
            value = attempt("value", case.loss.value, prediction.unsqueeze(0), target.unsqueeze(0))
            problem = f"value differs from the formula for {prediction.tolist()} and {target.tolist()}"
            assert_close(problem, value, expected, case.size)


class Gradient:
    """grad is the gradient of value; where the value has a kink, that is seen at predictions nearby."""

    tally: Tally

    def __init__(self) -> None:
        self.tally = Tally()

    def __call__(self, case: LossCase) -> None:
        decided = grad_is_measured(case) or grad_is_measured(case.jittered())
        self.tally.add("predictions", case, decided=decided)


def grad_is_that_of_value(case: LossCase) -> None:
    """grad is the gradient of value where that is finite; rows with a kink are left out."""
    if not attempt("value", case.loss.value, case.predictions, case.targets).isfinite():
        return
    if not grad_is_measured(case):
        for row in case.parts():
            grad_is_measured(row)


def grad_is_measured(case: LossCase) -> bool:
    """Raise unless grad has the slope that differences of value give; whether they could decide."""

    def line_of(direction: Tensor) -> Line:
        def line(t: float) -> tuple[float, float]:
            value = attempt("value", case.loss.value, case.predictions + t * direction, case.targets).item()
            return value, abs(value) + 1 + largest(case.predictions, case.targets)

        return line

    return assert_gradient("predictions", _grad(case), line_of, case.key, case.domain.units(case.predictions))


def _grad(case: LossCase) -> Tensor:
    grad: Tensor = attempt("grad", case.loss.grad, case.predictions, case.targets)
    assert_like("grad: the gradient", grad, "predictions", case.predictions)
    return grad
