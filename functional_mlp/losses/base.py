"""What a loss is: the mean over the samples of an expression in one sample's prediction and target."""

from typing import ClassVar

import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import (
    Array,
    Namespace,
    TorchNamespace,
    narrowed,
    torch_namespace,
    widened,
    working_dtype,
)
from functional_mlp.forks import cached_property
from functional_mlp.from_type import drawn
from functional_mlp.pages import pieces
from functional_mlp.straight import Expression, Reading, Readings, readings, straight
from functional_mlp.targets import (
    are_whole,
    values_of_indices,
)
from functional_mlp.value import Value, is_ours


@drawn
@frozen(repr=False)
class Loss(Value):
    """The base class: 𝓛 = 1/n Σᵢ ℓ(ŷᵢ, tᵢ), from two expressions in the array algebra.

    A subclass gives, for one sample's features, where `xp.sum` and `xp.max` run over the features:

        sample_value(xp, prediction, target)   ℓ, one feature wide
        sample_grad(xp, prediction, target)    ∂ℓ/∂ŷ, like the prediction

    `prediction.shape[-1]` is the number of features.

    >>> import functional_mlp as fm
    >>> class MeanAbsoluteError(fm.Loss):
    ...     def sample_value(self, xp, prediction, target):
    ...         return xp.sum(xp.abs(prediction - target)) / prediction.shape[-1]
    ...     def sample_grad(self, xp, prediction, target):
    ...         return xp.sign(prediction - target) / prediction.shape[-1]
    >>> MeanAbsoluteError().value(torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]]))
    tensor(1.5000)
    """

    DERIVED: ClassVar[tuple[str, ...]] = (
        "value",
        "grad",
        "batch_value",
        "batch_grad",
        "batch_value_and_grad",
        "sample_values",
        "are_right",
        "has_answers",
        "checked_targets",
    )
    """What this class makes of a subclass's expressions: a subclass that has its own is more than its expressions."""

    judges_outputs: ClassVar[bool] = False
    """Whether a sample is right where `wrong_outputs` is 0; otherwise where its largest output is its label's."""

    def sample_value(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define sample_value(self, xp, prediction, target)")

    def sample_grad(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define sample_grad(self, xp, prediction, target)")

    def wrong_outputs(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        """For a loss that `judges_outputs`: of one sample, how many outputs are wrong, one feature wide."""
        raise NotImplementedError(f"{type(self).__name__} must define wrong_outputs(self, xp, prediction, target)")

    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The loss, a 0-d tensor, of predictions (batch, features); the mean runs over all leading dimensions.

        Features and samples are added up before they are divided by their number, in the dtype of the predictions (in
        float32 for half precision): as torch's, a mean is infinite where the sum is beyond the dtype, which for float32
        ends at 3.4e38. The fused engine adds up the losses of samples in float64, and may be finite there.
        """
        targets = self.checked_targets(predictions, targets)
        return narrowed(self.batch_value(predictions.detach(), targets), predictions.dtype)

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The gradient of `value` with respect to the predictions, shaped like them."""
        targets = self.checked_targets(predictions, targets)
        return self.batch_grad(predictions.detach(), targets)

    def batch_value(self, predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """`value` without its checks, for targets as `encode` returns them; of half precision in float32.

        With `weights` (..., 1) it is 1/n Σᵢ wᵢ ℓᵢ, in the dtype that the loss is computed in.
        """
        values = self.sample_values(predictions, targets)
        if weights is not None:
            values = weighted(values, weights)
        return _mean(values)

    def sample_values(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample (..., 1), of which `batch_value` is the mean."""
        wide = widened(predictions)
        values: Tensor = self._read(wide)[0](wide, widened(targets))
        return values

    def batch_grad(
        self, predictions: Tensor, targets: Tensor, weights: Tensor | None = None, *, samples: int | None = None
    ) -> Tensor:
        """`grad` without its checks, for targets as `encode` returns them, and `weights` as `batch_value` takes them.

        The sum of the samples' gradients is divided by `samples`, by default the number of samples.
        """
        wide = widened(predictions)
        grad: Tensor = self._read(wide)[1](wide, widened(targets))
        if weights is not None:
            grad = weighted(grad, weights)
        return narrowed(_shared(grad, samples), predictions.dtype)

    def batch_value_and_grad(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """`batch_value` and `batch_grad`, with what both compute computed once."""
        if not self._is_ours:
            return self.batch_value(predictions, targets), self.batch_grad(predictions, targets)
        wide = widened(predictions)
        values, grad = self._read(wide)[2](wide, widened(targets))
        return _mean(values), narrowed(_shared(grad), predictions.dtype)

    def _read(self, predictions: Tensor) -> tuple[Reading, ...]:
        cls = type(self)
        expressions = cls.sample_value, cls.sample_grad
        return self._readings(predictions.dtype, predictions.device, expressions, predictions.shape[-1])

    @cached_property
    def _is_ours(self) -> bool:
        return is_ours(type(self))

    @cached_property
    def _readings(self) -> Readings:
        """The losses of samples, their gradients, and both, as functions of tensors of a dtype, device and width."""

        def of(xp: TorchNamespace, features: int | None) -> tuple[Reading, ...]:
            expressions: list[Expression] = [
                lambda xp, *pair: self.sample_value(xp, *pair),
                lambda xp, *pair: self.sample_grad(xp, *pair),
                lambda xp, *pair: (self.sample_value(xp, *pair), self.sample_grad(xp, *pair)),
            ]
            return tuple(straight(self, expression, 2, xp, features) for expression in expressions)

        return readings(of)

    def has_answers(self, targets: Tensor, labels: Tensor | None) -> bool:
        """Whether a data set with these targets and labels, if any, says of each sample what is right."""
        if not self.judges_outputs:
            return labels is not None
        return targets.ndim == 1 or all(((piece == 0) | (piece == 1)).all() for piece in pieces(targets))

    def are_right(self, predictions: Tensor, targets: Tensor, labels: Tensor | None) -> Tensor:
        """Which samples (...) are right, for targets as `encode` returns them; the first of equal outputs counts.

        None is where there are no answers.
        """
        if self.judges_outputs:
            wide, targets = widened(predictions), widened(targets)
            xp = torch_namespace(wide.dtype, wide.device)
            right: Tensor = (self.wrong_outputs(xp, wide, targets) == 0).squeeze(-1)
            return right
        given = predictions.argmax(-1)
        return torch.zeros_like(given, dtype=torch.bool) if labels is None else given == labels

    def checked_targets(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Targets as the expressions take them, shaped like the predictions, once both are known to fit."""
        checks.float_tensor("predictions", predictions)
        checks.numbers_in_range(self, working_dtype(predictions.dtype))
        if predictions.ndim == 0:
            raise ValueError("predictions must have the shape (batch, features), got a 0-d tensor")
        if predictions.numel() == 0:
            raise ValueError(f"predictions must not be empty, got shape {tuple(predictions.shape)}")
        targets = self.encode(targets, predictions)
        checks.like("targets", targets, "predictions", predictions)
        return targets.detach() if targets.requires_grad else targets

    def encode(self, targets: Tensor, predictions: Tensor) -> Tensor:
        """Targets in a form that the expressions take; here values, as they are. Class indices raise `ValueError`."""
        checks.plain_tensor("targets", targets)
        if are_whole(targets) and targets.shape == predictions.shape[:-1]:
            raise ValueError(
                f"targets of {self!r} must be values of the shape of the predictions, {tuple(predictions.shape)}, got "
                f"class indices of shape {tuple(targets.shape)}: {values_of_indices(predictions)} makes values of them"
            )
        return targets


def _mean(values: Tensor) -> Tensor:
    return values.squeeze() if values.numel() == 1 else values.mean()  # of one number, in a quarter of the time


def _shared(grad: Tensor, samples: int | None = None) -> Tensor:
    """The gradients of samples as parts of that of their mean."""
    if samples is None:
        samples = grad.numel() // grad.shape[-1]
    return grad if samples == 1 else grad / samples


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Values (..., features) of samples times their weights (..., 1): 0 where the weight is, be the value infinite.

    >>> weighted(torch.tensor([[3.0], [float("inf")]]), torch.tensor([[2.0], [0.0]]))
    tensor([[6.],
            [0.]])
    """
    return (weights * values).masked_fill(weights == 0, 0.0)
