"""What a network makes of data: outputs, classes, losses."""

import math

import attrs
import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.layers.base import Layer, Params, as_layer, checked_arguments
from functional_mlp.losses import Loss

# Rows that `evaluate` passes through the network at a time.
ROWS_AT_ONCE = 4096


@attrs.frozen
class Metrics:
    """The mean loss over a data set, and the share of its rows whose largest output is the target's class."""

    loss: float
    accuracy: float


def predict(network: Layer, params: Params, x: Tensor) -> Tensor:
    """The network's outputs for inputs (..., in_features)."""
    return as_layer("predict: network", network).apply(params, x)


def classify(network: Layer, params: Params, x: Tensor) -> Tensor:
    """The class indices of inputs (..., in_features): for each, the place of the largest output.

    >>> import functional_mlp as fm
    >>> classify(fm.Identity(), (), torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    tensor([1, 0])
    """
    return predict(network, params, x).argmax(-1)


def evaluate(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    """The loss and the accuracy of a network over a data set.

    Accuracy is NaN where the targets are neither class indices nor one-hot.

    >>> import functional_mlp as fm
    >>> data = fm.Dataset(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))
    >>> evaluate(fm.Identity(), fm.CrossEntropy(), (), data).accuracy
    0.5
    """
    network = as_layer("evaluate: network", network)
    checks.instance("evaluate: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance("evaluate: data", data, Dataset, "make one with functional_mlp.Dataset")
    check_fit(network, loss, params, data)
    return metrics(network, loss, checks.detached(params), data)


def check_fit(network: Layer, loss: Loss, params: Params, data: Dataset) -> None:
    """Raise unless the network, its params, the loss and the data fit each other."""
    params, row = checked_arguments(network, params, data.inputs[:1])
    prediction, _ = network.forward(params, row)
    for targets in data.targets.split(ROWS_AT_ONCE):
        loss.checked_targets(prediction.expand(len(targets), *prediction.shape[1:]), targets)


def metrics(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    loss_sum, right = 0.0, 0
    for rows in torch.arange(len(data), device=data.inputs.device).split(ROWS_AT_ONCE):
        first, last = int(rows[0]), int(rows[-1]) + 1
        predictions, _ = network.forward(params, data.inputs[first:last])
        targets = loss.encode(data.targets[first:last], predictions)
        loss_sum += len(rows) * loss.batch_value(predictions, targets).item()
        if data.labels is not None:
            right += count_right(predictions, data.labels[first:last])
    return Metrics(loss_sum / len(data), math.nan if data.labels is None else right / len(data))


def count_right(predictions: Tensor, labels: Tensor) -> int:
    """The number of rows whose largest output is the label's."""
    return int((predictions.argmax(1) == labels).sum())
