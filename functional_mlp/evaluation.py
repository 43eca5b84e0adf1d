"""What a network makes of data: outputs, classes, losses."""

import math
from typing import Literal

import attrs
import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.layers.base import Layer, Params, as_layer, checked_arguments, output_of_zeros
from functional_mlp.losses import Loss, MeanSquaredError
from functional_mlp.optimizers import SGD

EngineName = Literal["auto", "reference", "fused"]

# Rows that `evaluate` passes through the network at a time.
ROWS_AT_ONCE = 4096


@attrs.frozen
class Metrics:
    """The mean loss over a data set, and the share of its rows whose largest output is the target's class."""

    loss: float
    accuracy: float


def predict(network: Layer, params: Params, x: Tensor, *, engine: EngineName = "auto") -> Tensor:
    """The network's outputs for inputs (..., in_features).

    `engine` is "reference", "fused" (native code, made when it is first used; a `ValueError` with the reason where
    there can be none), or "auto", which is the reference here: a single pass is soon over.
    """
    network = as_layer("predict: network", network)
    if not _is_fused("predict", engine, network, MeanSquaredError(), x):
        return network.apply(params, x)
    from functional_mlp import engine as fused  # LLVM is loaded when it is used

    params, x = checked_arguments(network, params, x)
    checks.features(f"{network!r}", x, network.in_features)
    return fused.predict(network, params, x)


def classify(network: Layer, params: Params, x: Tensor, *, engine: EngineName = "auto") -> Tensor:
    """The class indices of inputs (..., in_features): for each, the place of the largest output.

    >>> import functional_mlp as fm
    >>> classify(fm.Identity(), (), torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    tensor([1, 0])
    """
    return predict(network, params, x, engine=engine).argmax(-1)


def evaluate(network: Layer, loss: Loss, params: Params, data: Dataset, *, engine: EngineName = "auto") -> Metrics:
    """The loss and the accuracy of a network over a data set; `engine` is as in `predict`.

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
    params = checks.detached(params)
    if not _is_fused("evaluate", engine, network, loss, data.inputs):
        return metrics(network, loss, params, data)
    from functional_mlp import engine as fused  # LLVM is loaded when it is used

    return fused.evaluate(network, loss, params, data)


def _is_fused(name: str, engine: object, network: Layer, loss: Loss, x: Tensor) -> bool:
    """Whether the fused engine is asked for; `ValueError` where it cannot run the network."""
    checks.engine(name, engine)
    if engine != "fused":
        return False
    from functional_mlp import engine as fused  # LLVM is loaded when it is used

    checks.float_tensor("inputs", x)
    reason = fused.explain(network, loss, SGD(1.0), dtype=x.dtype, device=x.device)
    if reason is not None:
        raise ValueError(f"{name}: engine='fused' cannot run this: {reason}; pass engine='reference'")
    return True


def check_fit(network: Layer, loss: Loss, params: Params, data: Dataset) -> None:
    """Raise unless the network, its params, the loss and the data fit each other."""
    params, row = checked_arguments(network, params, data.inputs[:1])
    prediction = output_of_zeros(network, row.dtype, row.shape)
    if prediction is None or row.device.type != "cpu":
        prediction = network.forward(params, row)[0]
    for first in range(0, len(data), ROWS_AT_ONCE):
        targets = data.targets[first : first + ROWS_AT_ONCE]
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
