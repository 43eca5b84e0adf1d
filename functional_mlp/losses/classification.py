"""The losses of classes, on logits."""

from typing import ClassVar

from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import (
    Array,
    Namespace,
)
from functional_mlp.losses.base import Loss
from functional_mlp.targets import (
    are_whole,
    between_0_and_1,
    class_indices,
    one_hot,
    one_hot_of_whole,
    plain_indices,
    values_of_indices,
)


@frozen(repr=False)
class BinaryCrossEntropy(Loss):
    """ℓ = −1/k Σⱼ (tⱼ log σ(zⱼ) + (1−tⱼ) log(1−σ(zⱼ))), for k logits z and targets t from 0 to 1, each for itself.

    The mean over samples and outputs. Targets have the shape of the logits, floating, or integers or bools that are 0
    or 1; for one output they may be such labels (batch,). Logits of ±1e4 are no danger. A sample is right where each
    logit is on its target's side of 0: above it for 1, not above it for 0.

    >>> import torch
    >>> BinaryCrossEntropy().value(torch.tensor([[0.0], [1e4]]), torch.tensor([True, False]))
    tensor(5000.3467)
    >>> BinaryCrossEntropy().grad(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.5]]))
    tensor([[-0.2500,  0.0000]])
    """

    judges_outputs: ClassVar[bool] = True

    def sample_value(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        log_sigmoid = xp.minimum(prediction, 0) - xp.log1p(xp.exp(-xp.abs(prediction)))
        return xp.sum((1 - target) * prediction - log_sigmoid) / prediction.shape[-1]

    def sample_grad(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        decay = xp.exp(-xp.abs(prediction))  # at most 1, so that σ neither overflows nor loses a digit
        return (xp.where(prediction >= 0, 1, decay) / (1 + decay) - target) / prediction.shape[-1]

    def wrong_outputs(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        # NaN is on neither side.
        return xp.sum(xp.where(target > 0.5, xp.where(prediction > 0, 0, 1), xp.where(prediction <= 0, 0, 1)))

    def encode(self, targets: Tensor, predictions: Tensor) -> Tensor:
        """Labels as floating targets (..., 1), and all targets once they are known to lie between 0 and 1."""
        checks.plain_tensor("targets", targets)
        whole = are_whole(targets)
        if whole:
            targets = plain_indices(targets)
        else:
            checks.float_tensor("targets", targets)
        if whole and targets.shape != predictions.shape and predictions.shape == (*targets.shape, 1):
            targets = targets.unsqueeze(-1)
        if targets.shape != predictions.shape:
            labels = whole and targets.shape == predictions.shape[:-1]
            advice = f": {values_of_indices(predictions)} makes values of class indices" if labels else ""
            raise ValueError(
                f"targets must have the shape of the predictions, {tuple(predictions.shape)}, or, for one output, be "
                f"bools or integers without its last dimension, got {targets.dtype} of shape {tuple(targets.shape)}"
                f"{advice}"
            )
        between_0_and_1("targets", targets)
        return targets.to(predictions.dtype) if whole else targets


@frozen(repr=False)
class CrossEntropy(Loss):
    """ℓ = −Σⱼ tⱼ log softmax(z)ⱼ, for logits z and target probabilities t.

    With `label_smoothing` ε below 1, (1−ε) t + ε/k takes the place of t, for k classes: no logit gains from growing
    without end. Szegedy et al., "Rethinking the inception architecture for computer vision", 2016, section 7.

    Targets are class indices (batch,) of dtype int64, or one-hot or soft targets (batch, classes); an integer
    one-hot is taken as such. The largest logit is subtracted first, so logits of ±1e4 are no danger.

    >>> import torch
    >>> CrossEntropy().value(torch.tensor([[0.0, 1e4], [0.0, 0.0]]), torch.tensor([1, 0]))
    tensor(0.3466)
    >>> CrossEntropy().grad(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([[ 0.5000, -0.5000]])
    >>> CrossEntropy(label_smoothing=0.2).grad(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor([[ 0.4000, -0.4000]])
    """

    label_smoothing: float = field(default=0.0, validator=checks.fraction_below_one)

    def sample_value(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        target = self._smoothed(prediction, target)
        shifted = prediction - xp.max(prediction)
        log_normalizer = xp.log(xp.sum(xp.exp(shifted)))
        return xp.sum(xp.where(target == 0, 0, target * (log_normalizer - shifted)))  # 0 · log 0 is 0

    def sample_grad(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        target = self._smoothed(prediction, target)
        weights = xp.exp(prediction - xp.max(prediction))
        return xp.sum(target) * (weights / xp.sum(weights)) - target

    def _smoothed(self, prediction: Array, target: Array) -> Array:
        if self.label_smoothing == 0:
            return target
        return (1 - self.label_smoothing) * target + self.label_smoothing / prediction.shape[-1]

    def encode(self, targets: Tensor, predictions: Tensor) -> Tensor:
        """Class indices and integer one-hots as floating one-hots."""
        checks.plain_tensor("targets", targets)
        if targets.shape == predictions.shape:
            return one_hot_of_whole("targets", targets, predictions.dtype) if are_whole(targets) else targets
        if targets.shape != predictions.shape[:-1]:
            column = targets.shape == (*predictions.shape[:-1], 1)
            raise ValueError(
                f"targets must be class indices of shape {tuple(predictions.shape[:-1])} or have the shape of the "
                f"predictions, {tuple(predictions.shape)}, got {tuple(targets.shape)}"
                f"{': call .squeeze(-1).long() for class indices' if column else ''}"
            )
        classes = predictions.shape[-1]
        class_indices("targets", targets, classes)
        if targets.device != predictions.device:
            raise ValueError(f"targets must be on {predictions.device} with the predictions, got {targets.device}")
        return one_hot(targets, classes, predictions.dtype)
