"""The losses of quantities."""

from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import (
    Array,
    Namespace,
)
from functional_mlp.losses.base import Loss


@frozen(repr=False)
class MeanSquaredError(Loss):
    """ℓ = ‖ŷ − t‖² / k, for k outputs: the mean over samples and outputs.

    The gradient of one sample with two outputs is ŷ − t, equation (1) of the paper in the convention of its
    tables (its text sums over the outputs).

    >>> import torch
    >>> MeanSquaredError().value(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(0.5000)
    >>> MeanSquaredError().grad(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([[1., 0.]])
    """

    def sample_value(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        error = prediction - target
        return xp.sum(error * error) / prediction.shape[-1]

    def sample_grad(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        return (2 / prediction.shape[-1]) * (prediction - target)


@frozen(repr=False)
class Huber(Loss):
    """ℓ = 1/k Σⱼ h(ŷⱼ − tⱼ) for k outputs, with h(e) = e²/2 where |e| ≤ δ and δ (|e| − δ/2) beyond.

    The mean over samples and outputs: half the squared error for small errors, and no more than linear in large ones.
    Huber, "Robust estimation of a location parameter", 1964.

    >>> import torch
    >>> Huber().value(torch.tensor([[0.5, 3.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(1.3125)
    >>> Huber().grad(torch.tensor([[0.5, 3.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([[0.2500, 0.5000]])
    """

    delta: float = field(default=1.0, validator=checks.positive_number)

    def sample_value(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        error = xp.abs(prediction - target)
        within = xp.minimum(error, self.delta)
        return xp.sum(within * (error - 0.5 * within)) / prediction.shape[-1]

    def sample_grad(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        error = prediction - target
        return xp.maximum(xp.minimum(error, self.delta), -self.delta) / prediction.shape[-1]


@frozen(repr=False)
class PoissonDeviance(Loss):
    """ℓ = 1/k Σⱼ (e^zⱼ − tⱼ + tⱼ (log tⱼ − zⱼ)), for counts t and k outputs z, the logarithms of their rates.

    The mean over samples and outputs of half the deviance of the Poisson distribution: 0 where e^z = t. Targets are not
    negative. McCullagh and Nelder, "Generalized linear models", 1989, section 2.3.

    >>> import torch
    >>> PoissonDeviance().value(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.5000)
    >>> PoissonDeviance().grad(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 4.0]]))
    tensor([[ 0.0000, -1.5000]])
    """

    def sample_value(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        entropy = target * xp.log(xp.where(target == 0, 1, target))  # 0 · log 0 is 0
        return xp.sum(xp.exp(prediction) - target + (entropy - target * prediction)) / prediction.shape[-1]

    def sample_grad(self, xp: Namespace, prediction: Array, target: Array) -> Array:
        return (xp.exp(prediction) - target) / prediction.shape[-1]

    def encode(self, targets: Tensor, predictions: Tensor) -> Tensor:
        """Targets as they are, once they are known not to be negative."""
        targets = super().encode(targets, predictions)
        checks.float_tensor("targets", targets, dtype=predictions.dtype)
        if (targets < 0).any():
            raise ValueError(
                f"targets must not be negative, got {targets.min().item()}: PoissonDeviance takes counts, or other "
                "numbers from 0 on"
            )
        return targets
