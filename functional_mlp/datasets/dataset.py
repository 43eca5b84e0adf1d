"""A data set: inputs, targets and weights, checked once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks, markup
from functional_mlp.arrays import Array, as_inputs, as_tensor
from functional_mlp.conversions import Conversions, conversions_of
from functional_mlp.datasets.weights import checked_weights
from functional_mlp.from_type import drawn
from functional_mlp.pages import pieces
from functional_mlp.spread import count
from functional_mlp.targets import are_whole, class_indices, is_one_hot, one_hot_of_whole, plain_indices

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rows = Tensor | slice


@drawn
@frozen(eq=False, init=False)
class Dataset:
    """Inputs (n, features) with targets: class indices (n,), or values (n, outputs); and a weight for each row, if any.

    Tensors, numpy arrays, or frames and series of pandas and polars whose columns are numbers: their memory is used
    where it can be. Class indices have any integer dtype or bool, and are kept as int64. Values have the dtype of the
    inputs; a one-hot (n, classes) of integers or bools is converted to it. `labels` are the class indices, `None` where
    the targets are neither class indices nor one-hot.

    With `weights` (n,) a batch's loss is (1/n_b) Σ wᵢ ℓᵢ, and losses and accuracies of a data set are means weighted
    by them: a row of weight 3 counts as three such rows, one of weight 0 not at all, be its loss infinite, as long
    as what the network computes of it before its outputs is finite. They are kept divided by their mean, for only their
    ratios matter. The update of a batch in which all rows have weight 0 is that of a gradient of 0: under `Momentum` or
    `Adam`, weight decay or a penalty, parameters move in it all the same.

    `data[i]` is a row: its inputs, its targets and, where there are weights, its weight, so that torch's `DataLoader`
    makes batches of them; type checkers take it there after `typing.cast("torch.utils.data.Dataset[Any]", data)`.
    `data[rows]`, for a slice, indices or a mask, is the data set of these rows.

    Raises `TypeError` or `ValueError` for lengths, dtypes or devices that do not fit, for an empty set, for NaN or
    infinity, naming the first row and column, and for weights that are negative or all 0.

    >>> import torch
    >>> data = Dataset(torch.zeros(3, 2), torch.tensor([0, 1, 1]), weights=torch.tensor([4, 1, 1]))
    >>> len(data), data.labels, data.weights
    (3, tensor([0, 1, 1]), tensor([2.0000, 0.5000, 0.5000]))
    >>> data[1], len(data[:2])
    ((tensor([0., 0.]), tensor(1), tensor(0.5000)), 2)
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    labels: Tensor | None = field(repr=False)

    def __init__(self, inputs: Array, targets: Array, weights: Array | None = None) -> None:
        inputs = _checked_inputs(as_inputs("Dataset: inputs", inputs), conversions_of(inputs))
        targets = _checked_targets(as_tensor("Dataset: targets", targets), inputs, conversions_of(targets))
        if weights is not None:
            weights = checked_weights(as_tensor("Dataset: weights", weights), inputs)
        self.__attrs_init__(inputs, targets, weights, _labels(targets))

    def __len__(self) -> int:
        return self.inputs.shape[0]

    @overload
    def __getitem__(self, rows: checks.Integer) -> tuple[Tensor, ...]: ...

    @overload
    def __getitem__(self, rows: "slice | Tensor | NDArray[Any] | Sequence[checks.Integer]") -> "Dataset": ...

    def __getitem__(
        self, rows: "checks.Integer | slice | Tensor | NDArray[Any] | Sequence[checks.Integer]"
    ) -> "tuple[Tensor, ...] | Dataset":
        parts = [part for part in (self.inputs, self.targets, self.weights) if part is not None]
        given = _checked_rows(rows)
        chosen = [part[given] for part in parts]
        return tuple(chosen) if isinstance(given, int) else Dataset(*chosen)

    def __repr__(self) -> str:
        inputs, targets = checks.describe(self.inputs), checks.describe(self.targets)
        weighted = "" if self.weights is None else ", with weights"
        return f"<Dataset of {len(self)} rows: inputs {inputs}, targets {targets}{weighted}>"

    def _repr_html_(self) -> str:
        columns = {f"input {number}": self.inputs[:5, number] for number in markup.evenly(self.inputs.shape[1])}
        if self.targets.ndim == 2:
            numbers = markup.evenly(self.targets.shape[1])
            columns |= {f"target {number}": self.targets[:5, number] for number in numbers}
        else:
            columns["class"] = self.targets[:5]
        names, rows = list(columns), list(zip(*(column.tolist() for column in columns.values()), strict=True))
        return markup.table(f"{self!r}: the first {count(len(rows), 'row')}", names, rows)

    def labels_of(self, rows: Rows) -> Tensor | None:
        """The labels of some rows, where there are any."""
        return None if self.labels is None else self.labels[rows]

    def weights_of(self, rows: Rows) -> Tensor | None:
        """The weights of some rows, a column as losses take it, where there are any."""
        return None if self.weights is None else self.weights[rows].unsqueeze(-1)


def _checked_rows(rows: Any) -> int | slice | Tensor:
    """The number of a row, or which rows: a slice, or a tensor of indices or of bools."""
    if isinstance(rows, slice):
        return rows
    given = (
        torch.tensor(rows, device="cpu") if isinstance(rows, list | tuple | range) and rows else as_tensor("rows", rows)
    )
    if not isinstance(given, Tensor):
        return checks.any_integer("rows", given, "an integer, a slice, indices or a mask")
    if not are_whole(given) or given.ndim > 1:
        raise TypeError(f"rows must be indices or a mask, (rows,), got {checks.describe(given)}")
    indices = given if given.dtype == torch.bool else plain_indices(given)  # torch takes uint8 for a mask
    return int(indices) if given.ndim == 0 else indices


def _checked_inputs(inputs: Tensor, conversions: Conversions) -> Tensor:
    checks.float_tensor("Dataset: inputs", inputs)
    if inputs.ndim != 2:
        column = f": call {conversions.column} for one feature" if inputs.ndim == 1 else ""
        raise ValueError(f"Dataset: inputs must have the shape (n, features), got {tuple(inputs.shape)}{column}")
    if inputs.numel() == 0:
        raise ValueError(f"Dataset: inputs must not be empty, got shape {tuple(inputs.shape)}")
    checks.finite("Dataset: inputs", inputs)
    return inputs.detach()


def _checked_targets(targets: Tensor, inputs: Tensor, conversions: Conversions) -> Tensor:
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
            checks.finite("Dataset: targets", targets.unsqueeze(1))
            raise ValueError(
                f"Dataset: targets of shape ({len(targets)},) must be class indices of an integer dtype, got "
                f"{targets.dtype}: call {conversions.to(torch.int64)} for classes, {conversions.column} for one output"
            )
        indices = plain_indices(targets)
        class_indices("Dataset: targets", indices, conversions=conversions)
        return indices
    if targets.numel() == 0:
        raise ValueError(f"Dataset: targets must not be empty, got shape {tuple(targets.shape)}")
    if are_whole(targets):
        return one_hot_of_whole("Dataset: targets", targets, inputs.dtype, conversions)
    checks.float_tensor("Dataset: targets", targets, conversions, inputs.dtype)
    if targets.dtype != inputs.dtype:
        raise ValueError(
            f"Dataset: targets and inputs must have one dtype, got {targets.dtype} and {inputs.dtype}: "
            f"call {conversions.to(inputs.dtype)} on the targets"
        )
    checks.finite("Dataset: targets", targets)
    return targets.detach()


def _labels(targets: Tensor) -> Tensor | None:
    if targets.ndim == 1:
        return targets
    return targets.argmax(1) if all(is_one_hot(piece).all() for piece in pieces(targets)) else None
