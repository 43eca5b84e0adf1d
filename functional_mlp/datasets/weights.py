"""Weights of samples: only their ratios matter."""

from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import working_dtype
from functional_mlp.arrays import Array, as_tensor
from functional_mlp.conversions import conversions_of
from functional_mlp.targets import class_indices, plain_indices


def balanced_weights(labels: Array) -> Tensor:
    """A weight (n,) for each class index (n,), of mean 1 and dtype float64, that gives each class the same sum.

    Those of a class of m among n rows and k classes are n / (k m). King and Zeng, "Logistic regression in rare events
    data", 2001.

    >>> import torch
    >>> balanced_weights(torch.tensor([0, 0, 0, 1]))
    tensor([0.6667, 0.6667, 0.6667, 2.0000], dtype=torch.float64)
    """
    given = as_tensor("balanced_weights: labels", labels)
    checks.plain_tensor("balanced_weights: labels", given)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(f"balanced_weights: labels must be class indices (n,), got shape {tuple(given.shape)}")
    indices = plain_indices(given)
    class_indices("balanced_weights: labels", indices, conversions=conversions_of(labels))
    _, place, counts = indices.unique(return_inverse=True, return_counts=True)
    balanced: Tensor = (len(indices) / (len(counts) * counts.double()))[place]
    return balanced


def checked_weights(weights: Tensor, inputs: Tensor) -> Tensor:
    """The weights divided by their mean, in the dtype that losses of the inputs are computed in."""
    checks.plain_tensor("Dataset: weights", weights)
    if weights.shape != inputs.shape[:1]:
        raise ValueError(
            f"Dataset: weights must be one a row, of shape ({len(inputs)},), got shape {tuple(weights.shape)}"
        )
    if weights.dtype.is_complex or weights.device != inputs.device:
        raise ValueError(
            f"Dataset: weights must be real numbers on {inputs.device} with the inputs, got {checks.describe(weights)}"
        )
    weights = weights.detach().double()
    bad = ~weights.isfinite() | (weights < 0)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"Dataset: weights must be finite and not negative, got {weights[row].item()} in row {row}: "
            "0 leaves a row out"
        )
    largest = weights.max()
    if largest == 0:
        raise ValueError("Dataset: weights must not all be 0: leave them out, and all rows count the same")
    relative = weights / largest  # first, so that no sum overflows; whole w and 7 w come to the same bits
    return (relative / relative.mean()).to(working_dtype(inputs.dtype))
