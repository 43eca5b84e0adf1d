"""Samples that come one by one, or a few at a time, as a step of training takes them."""

from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.arrays import as_tensor
from functional_mlp.conversions import conversions_of
from functional_mlp.losses import Loss
from functional_mlp.targets import are_whole, plain_indices

# The features of a sample that counts for nothing: none of the array algebra's functions, nor a quotient, is infinite
# or NaN there, nor are those of 1 minus it.
UNCOUNTED = 0.5


@attrs.frozen(eq=False)
class Samples:
    """A sample (features,), or a batch (b, features), with what belongs to it.

    `targets` are as the expressions of a loss take them, like the predictions; `labels` are the class indices, where
    the targets are such; `weights` are a column, where there are any.
    """

    inputs: Tensor
    targets: Tensor
    labels: Tensor | None
    weights: Tensor | None

    @property
    def rows(self) -> int:
        return 1 if self.inputs.ndim == 1 else len(self.inputs)


def checked_inputs(x: Any, dtype: torch.dtype, device: torch.device, features: int | None) -> Tensor:
    """Inputs (features,) or (b, features), without a graph.

    Raises `TypeError` or `ValueError` for another kind, dtype, device or shape. A tensor of a class of the user's own
    comes back as torch's own, in the same memory.
    """
    conversions, x = conversions_of(x), as_tensor("x", x)
    checks.float_tensor("x", x, conversions, dtype)
    if x.dtype != dtype:
        raise ValueError(f"x must be of the dtype {dtype}, got {x.dtype}: call {conversions.to(dtype)}")
    if x.device != device:
        raise ValueError(f"x must be on {device}, as the state is, got {x.device}: move it with .to({device})")
    wanted = "features" if features is None else features
    if x.ndim not in (1, 2) or x.numel() == 0 or (features is not None and x.shape[-1] != features):
        raise ValueError(f"x must be a sample of shape ({wanted},) or a batch (b, {wanted}), got {tuple(x.shape)}")
    inputs: Tensor = x.detach().as_subclass(Tensor)
    return inputs


def weighted_inputs(inputs: Tensor, weight: Any) -> tuple[Tensor, Tensor | None]:
    """Inputs as a network takes them, and their weights as a column, where there are any.

    A sample of weight 0 counts for nothing, whatever its numbers, while NaN times 0 is NaN in a gradient: it stands as
    `UNCOUNTED`.
    """
    if weight is None:
        return inputs, None
    weights = _weights(weight, inputs)
    return inputs.masked_fill(weights == 0, UNCOUNTED), weights


def samples(loss: Loss, inputs: Tensor, predictions: Tensor, target: Any, weights: Tensor | None) -> Samples:
    """What goes with inputs as `weighted_inputs` gives them; `predictions` have the shape and dtype of the network's.

    A batch of one row may have a target without a dimension, as a sample has.
    """
    conversions, target = conversions_of(target), checks.plain_number(target)
    is_label = isinstance(target, int | np.bool_)
    target = _class(target, predictions) if is_label else as_tensor("target", target)
    checks.plain_tensor("target", target)
    checks.in_memory("x", inputs)
    checks.in_memory("target", target)
    target = target.detach().as_subclass(Tensor)
    if target.ndim == 0 and inputs.shape[:-1] == (1,):
        target = target.unsqueeze(0)
    if target.is_floating_point() and target.dtype != predictions.dtype:
        raise ValueError(
            f"target must be of the dtype {predictions.dtype}, got {target.dtype}: "
            f"call {conversions.to(predictions.dtype)}"
        )
    is_class = target.shape == inputs.shape[:-1] and are_whole(target)
    if is_class:
        target = plain_indices(target)
    targets = loss.checked_targets(predictions, target)
    return Samples(inputs, targets, target if is_class else None, weights)


def _class(index: Any, predictions: Tensor) -> Tensor:
    """A class index, which comes as an int or a bool, as a tensor; those that int64 has no place for are refused."""
    index, classes = int(index), predictions.shape[-1]
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"target: class indices must lie between 0 and {classes - 1}, got {index}")
    return torch.tensor(index, device=predictions.device)


def _weights(weight: Any, inputs: Tensor) -> Tensor:
    """Weights (b,), or one for all samples, as a column."""
    weight = checks.plain_number(weight)
    if not isinstance(weight, int | float):
        weights = as_tensor("weight", weight)
        checks.plain_tensor("weight", weights)
        checks.in_memory("weight", weights)
        if weights.dtype.is_complex:
            raise ValueError(f"weight must be real, got {checks.describe(weights)}: take the real part, .real")
        weights = weights.detach().as_subclass(Tensor).to(inputs)
    else:
        weights = torch.tensor(checks.number("weight", weight, low=0.0), dtype=inputs.dtype, device=inputs.device)
    if weights.ndim == 0:
        weights = weights.expand(inputs.shape[:-1])
    if weights.shape != inputs.shape[:-1]:
        wanted = "a number" if inputs.ndim == 1 else f"a number, or one for each of the {len(inputs)} samples"
        raise ValueError(f"weight must be {wanted}, got shape {tuple(weights.shape)}")
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"weight must be finite and not negative, got {weights.tolist()}")
    column: Tensor = weights.unsqueeze(-1)
    return column
