"""Loss and accuracy of a network over data: how right answers are counted, and whether data fit."""

import math
from collections.abc import Callable

import attrs
import torch
from attrs import field
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.layers.arguments import checked_arguments, output_of_zeros
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.value import with_one_nan

# Rows that are passed through the network at a time.
ROWS_AT_ONCE = 4096


@attrs.frozen
class Metrics:
    """The mean loss over a data set, and the share of its rows that are right.

    Those are the rows whose largest output is the target's class, or what else the loss calls right.

    >>> Metrics(0.5, float("nan")) == Metrics(0.5, float("nan"))
    True
    """

    loss: float = field(eq=with_one_nan)
    accuracy: float = field(eq=with_one_nan)


def measure(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    """Loss and accuracy over a data set by torch operations; all arguments are taken to fit each other."""
    loss_sum, right = 0.0, 0
    for rows in torch.arange(len(data), device=data.inputs.device).split(ROWS_AT_ONCE):
        first, last = int(rows[0]), int(rows[-1]) + 1
        predictions, _ = network.forward(params, data.inputs[first:last])
        targets = loss.encode(data.targets[first:last], predictions)
        loss_sum += len(rows) * loss.batch_value(predictions, targets).item()
        right += count_right(loss, predictions, targets, None if data.labels is None else data.labels[first:last])
    answers = loss.has_answers(data.targets, data.labels)
    return Metrics(loss_sum / len(data), right / len(data) if answers else math.nan)


def count_right(loss: Loss, predictions: Tensor, targets: Tensor, labels: Tensor | None) -> int:
    """The number of rows that are right, for targets as the loss encodes them."""
    return int(loss.are_right(predictions, targets, labels).sum())


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
