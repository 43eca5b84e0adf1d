"""Loss and accuracy of a network over data: how losses and right answers are counted, and whether data fit."""

import math
from collections.abc import Callable

import attrs
import torch
from attrs import field
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.datasets.dataset import Rows
from functional_mlp.layers.arguments import checked_arguments, output_of_zeros
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.value import with_one_nan

# Rows that are passed through the network at a time.
ROWS_AT_ONCE = 4096


@attrs.frozen
class Metrics:
    """The mean loss over a data set, and the share of its rows that are right, both weighted where the set is.

    Those are the rows whose largest output is the target's class, or what else the loss calls right.

    >>> Metrics(0.5, float("nan")) == Metrics(0.5, float("nan"))
    True
    """

    loss: float = field(eq=with_one_nan)
    accuracy: float = field(eq=with_one_nan)


class Tally:
    """The losses and the right answers of rows of a data set, added up as they come."""

    def __init__(self, loss: Loss, data: Dataset) -> None:
        self._loss, self._data = loss, data
        self._loss_sum, self._right, self._weight, self._rows = 0.0, 0.0, 0.0, 0

    def add(self, rows: Rows, predictions: Tensor, targets: Tensor) -> None:
        """Count rows in, with targets as the loss encodes them."""
        weights, samples = self._data.weights_of(rows), len(predictions)
        right = self._loss.are_right(predictions, targets, self._data.labels_of(rows))
        self._loss_sum += samples * self._loss.batch_value(predictions, targets, weights).item()
        self._right += weight_of(right, weights)
        self._weight += samples if weights is None else weights.double().sum().item()
        self._rows += samples

    def metrics(self) -> Metrics:
        """Loss and accuracy of the rows that have come."""
        right = self._right if self._loss.has_answers(self._data.targets, self._data.labels) else math.nan
        return Metrics(self._loss_sum / self._rows, share(right, self._weight))


def weight_of(right: Tensor, weights: Tensor | None) -> float:
    """The weight of the rows that are right, their number where they have none; `weights` is (n, 1)."""
    return right.sum().item() if weights is None else weights.squeeze(-1).double()[right].sum().item()


def share(part: float, whole: float) -> float:
    """The share that a sum of weights is of all: at most 1, in whatever order either has been added up."""
    return min(part / whole, 1.0) if whole else math.nan


def measure(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    """Loss and accuracy over a data set by torch operations; all arguments are taken to fit each other."""
    tally = Tally(loss, data)
    for first in range(0, len(data), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        predictions, _ = network.forward(params, data.inputs[rows])
        tally.add(rows, predictions, loss.encode(data.targets[rows], predictions))
    return tally.metrics()


def scored(network: Layer, params: Params, data: Dataset, score: Callable[[Tensor, Dataset], float]) -> float:
    """What a score makes of the outputs of a network over a data set."""
    outputs = torch.cat([network.forward(params, rows)[0] for rows in data.inputs.split(ROWS_AT_ONCE)])
    figure = checks.plain_number(score(outputs, data))
    if not isinstance(figure, float | int):
        raise TypeError(f"score(outputs, validation) must return a number, got {checks.describe(figure)}")
    return float(figure)


def check_fit(network: Layer, loss: Loss, params: Params, data: Dataset) -> None:
    """Raise unless the network, its params, the loss and the data fit each other."""
    params, row = checked_arguments(network, params, data.inputs[:1])
    prediction = output_of_zeros(network, row.dtype, row.shape)
    if prediction is None or row.device.type != "cpu":
        prediction = network.forward(params, row)[0]
    for first in range(0, len(data), ROWS_AT_ONCE):
        targets = data.targets[first : first + ROWS_AT_ONCE]
        loss.checked_targets(prediction.expand(len(targets), *prediction.shape[1:]), targets)
