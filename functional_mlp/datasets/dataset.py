"""A data set: inputs and targets, checked once."""

from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks


@frozen(eq=False, init=False)
class Dataset:
    """Inputs (n, features) with targets: class indices (n,) of dtype int64, or values (n, outputs).

    Values have the dtype of the inputs; an integer one-hot (n, classes) is converted to it. `labels` are the
    class indices, `None` where the targets are neither class indices nor one-hot.

    Raises `TypeError` or `ValueError` for lengths, dtypes or devices that do not fit, for an empty set, and for
    NaN or infinity, naming the first row and column.

    >>> import torch
    >>> data = Dataset(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    >>> len(data), data.labels
    (3, tensor([0, 1, 1]))
    """

    inputs: Tensor
    targets: Tensor
    labels: Tensor | None = field(repr=False)

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        inputs = _checked_inputs(inputs)
        targets = _checked_targets(targets, inputs)
        self.__attrs_init__(inputs, targets, _labels(targets))

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __repr__(self) -> str:
        inputs, targets = checks.describe(self.inputs), checks.describe(self.targets)
        return f"<Dataset of {len(self)} rows: inputs {inputs}, targets {targets}>"


def _checked_inputs(inputs: Tensor) -> Tensor:
    checks.float_tensor("Dataset: inputs", inputs)
    if inputs.ndim != 2:
        raise ValueError(f"Dataset: inputs must have the shape (n, features), got {tuple(inputs.shape)}")
    if inputs.numel() == 0:
        raise ValueError(f"Dataset: inputs must not be empty, got shape {tuple(inputs.shape)}")
    checks.finite("Dataset: inputs", inputs)
    return inputs.detach()


def _checked_targets(targets: Tensor, inputs: Tensor) -> Tensor:
    checks.plain_tensor("Dataset: targets", targets)
    if targets.device != inputs.device:
        raise ValueError(f"Dataset: targets must be on {inputs.device} with the inputs, got {targets.device}")
    if targets.ndim not in (1, 2):
        raise ValueError(
            f"Dataset: targets must be class indices (n,) or values (n, outputs), got shape {tuple(targets.shape)}"
        )
    if targets.shape[0] != inputs.shape[0]:
        raise ValueError(f"Dataset: inputs and targets must be of one length, got {len(inputs)} and {len(targets)}")
    if targets.ndim == 1:
        if targets.is_floating_point():
            raise ValueError(
                f"Dataset: targets of shape ({len(targets)},) must be class indices of dtype torch.int64, got "
                f"{targets.dtype}: call .long() for classes, .unsqueeze(1) for one output"
            )
        checks.class_indices("Dataset: targets", targets)
        return targets.detach()
    if targets.numel() == 0:
        raise ValueError(f"Dataset: targets must not be empty, got shape {tuple(targets.shape)}")
    if targets.dtype in checks.INTEGER_DTYPES:
        checks.one_hot("Dataset: targets", targets)
        return targets.to(inputs.dtype)
    checks.float_tensor("Dataset: targets", targets)
    checks.same_kind("Dataset: targets", targets, "inputs", inputs)
    checks.finite("Dataset: targets", targets)
    return targets.detach()


def _labels(targets: Tensor) -> Tensor | None:
    if targets.ndim == 1:
        return targets
    return targets.argmax(1) if checks.is_one_hot(targets).all() else None
