"""What targets are: class indices, one-hot rows, or values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.conversions import TENSOR, Conversions
from functional_mlp.usual import kept

FEW = 32  # numbers that are looked at in Python, in a third of the time that the operations of torch take
FEW_CLASSES = 32  # their unit vectors are kept: to take one is half of the time of making it


def are_whole(targets: Tensor) -> bool:
    """Whether targets have an integer dtype, or are bools."""
    return not (targets.is_floating_point() or targets.dtype.is_complex)


def plain_indices(targets: Tensor) -> Tensor:
    """Class indices of any integer dtype, or bools, as int64; all else as it is."""
    return targets.detach().long() if are_whole(targets) else targets.detach()


def class_indices(name: str, value: Tensor, classes: int | None = None, conversions: Conversions = TENSOR) -> None:
    """Raise unless `value` holds class indices: int64, none negative, each below `classes` where that is known.

    `conversions` are those of what the tensor was made of.
    """
    if value.dtype != torch.int64:
        got, advice = checks.describe(value), f"call {conversions.to(torch.int64)}"
        raise ValueError(f"{name} must be class indices of dtype torch.int64, got {got}: {advice}")
    if value.numel() and not _lie_between(value, 0, classes):
        bad = value < 0 if classes is None else (value < 0) | (value >= classes)
        place = _first(bad)
        wanted = "must not be negative" if classes is None else f"must lie between 0 and {classes - 1}"
        raise ValueError(f"{name}: class indices {wanted}, got {int(value[place])}{_at(place)}")


def _first(bad: Tensor) -> tuple[int, ...]:
    """The place of the first True."""
    return tuple(bad.nonzero()[0].tolist())


def _at(place: Sequence[int]) -> str:
    """Where in a tensor; a tensor that is one number has no places."""
    return f" at index {list(place)}" if place else ""


def _lie_between(value: Tensor, low: int, end: int | None) -> bool:
    """Whether all numbers are at least `low`, and below `end` where there is one."""
    bounds = value.tolist() if value.ndim == 1 and value.numel() <= FEW else list(map(int, value.aminmax()))
    return min(bounds) >= low and (end is None or max(bounds) < end)


def is_one_hot(targets: Tensor) -> Tensor:
    """Which rows of (..., classes) hold a single 1 and else 0."""
    return ((targets == 0) | (targets == 1)).all(-1) & (targets.sum(-1) == 1)


def one_hot(indices: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Class indices (...) as one-hot targets (..., classes).

    >>> one_hot(torch.tensor([2, 0]), 3, torch.float32)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if indices.ndim == 1 and classes <= FEW_CLASSES:
        return _unit_vectors(classes, dtype, indices.device).index_select(0, indices)
    zeros = torch.zeros((*indices.shape, classes), dtype=dtype, device=indices.device)
    return zeros.scatter_(-1, indices.unsqueeze(-1), 1)


@kept(64)
def _unit_vectors(classes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(classes, dtype=dtype, device=device)


def one_hot_of_whole(name: str, targets: Tensor, dtype: torch.dtype, conversions: Conversions = TENSOR) -> Tensor:
    """Integers or bools (..., classes) in a floating dtype, once every row is known to be one-hot.

    `conversions` are those of what the tensor was made of.
    """
    whole = plain_indices(targets)
    bad = ~is_one_hot(whole)
    if bad.any():
        place = _first(bad)
        column = f", {conversions.series} for class indices" if whole.shape[-1] == 1 else ""
        raise ValueError(
            f"{name} of {targets.dtype} must be one-hot, a single 1 in each row, got "
            f"{whole[place].tolist()}{_at(place)}: call {conversions.to(dtype)} for values{column}"
        )
    return whole.to(dtype)


def values_of_indices(predictions: Tensor) -> str:
    """What to write for the values, shaped like the predictions, that class indices stand for."""
    if predictions.shape[-1] == 1:
        return f"torch.as_tensor(targets).to({predictions.dtype}).unsqueeze(-1)"
    return f"torch.eye({predictions.shape[-1]}, dtype={predictions.dtype})[torch.as_tensor(targets)]"


def between_0_and_1(name: str, value: Tensor) -> None:
    """Raise unless every entry of a tensor lies between 0 and 1, naming the first that does not; NaN may be there."""
    bad = (value < 0) | (value > 1)
    if bad.any():
        place = _first(bad)
        raise ValueError(
            f"{name} must lie between 0 and 1, got {value[place].item()}{_at(place)}: "
            "BinaryCrossEntropy takes the probability that each output is 1"
        )
