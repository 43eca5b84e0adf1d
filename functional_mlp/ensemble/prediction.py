"""What the members of an ensemble say together, and how far they disagree."""

import math
from typing import Literal

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, markup
from functional_mlp.algebra import widened
from functional_mlp.arrays import Array, as_inputs
from functional_mlp.datasets import Dataset
from functional_mlp.ensemble.trees import unstack
from functional_mlp.evaluation import evaluate as evaluate_member
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Loss, PoissonDeviance
from functional_mlp.metrics import Metrics, measure_outputs
from functional_mlp.spread import count, deviation

Average = Literal["outputs", "probabilities"]


@attrs.frozen(repr=False)
class EnsembleMetrics:
    """Loss and accuracy of the members' mean prediction, and those of each member."""

    loss: float
    accuracy: float
    members: tuple[Metrics, ...]

    def __repr__(self) -> str:
        together = f"loss {self.loss:.4g}, accuracy {self.accuracy:.4g}"
        return f"<EnsembleMetrics of {count(len(self.members), 'member')}: {together}>"

    def _repr_html_(self) -> str:
        rows = [(index, member.loss, member.accuracy) for index, member in enumerate(self.members)]
        return markup.table(repr(self), ["member", "loss", "accuracy"], rows)


def predict(network: Layer, params: Params, x: Array, *, average: Average = "outputs") -> Tensor:
    """The mean over the members of a network's outputs for inputs (..., in_features).

    `params` is the stacked tree. With `average="probabilities"` it is the mean of softmax(outputs), for networks
    that were trained with `CrossEntropy`.

    >>> import functional_mlp as fm
    >>> params = fm.ensemble.stack([fm.LinearParams(torch.tensor([[w]]), None) for w in (1.0, 3.0)])
    >>> predict(fm.Linear(1, 1, bias=False), params, torch.tensor([10.0]))
    tensor([20.])
    """
    return _member_outputs("predict", network, params, x, average).mean(0)


def spread(network: Layer, params: Params, x: Array, *, average: Average = "outputs") -> Tensor:
    """The standard deviation over the members (of n − 1) of what `predict` is the mean of; 0 for a single member.

    Where the members disagree, the data said little: the spread is a measure of the prediction's uncertainty.
    Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", 2017.

    >>> import functional_mlp as fm
    >>> params = fm.ensemble.stack([fm.LinearParams(torch.tensor([[w]]), None) for w in (1.0, 2.0, 3.0)])
    >>> spread(fm.Linear(1, 1, bias=False), params, torch.tensor([10.0]))
    tensor([10.])
    """
    return deviation(_member_outputs("spread", network, params, x, average))


def evaluate(
    network: Layer, loss: Loss, params: Params, data: Dataset, *, average: Average = "outputs"
) -> EnsembleMetrics:
    """The loss and the accuracy of the mean prediction over a data set, and those of each member.

    `CrossEntropy` of the mean of probabilities takes their logarithms for logits, which are finite where probabilities
    are too small for the dtype.

    >>> import functional_mlp as fm
    >>> data = fm.Dataset(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    >>> params = fm.ensemble.stack([fm.LinearParams(torch.tensor([[w]]), None) for w in (1.0, 3.0)])
    >>> evaluate(fm.Linear(1, 1, bias=False), fm.MeanSquaredError(), params, data).loss
    0.0
    """
    network = as_layer("evaluate: network", network)
    _check_average("evaluate", average)
    members = tuple(evaluate_member(network, loss, member, data) for member in unstack(params))
    if average == "probabilities" and isinstance(loss, (BinaryCrossEntropy, PoissonDeviance)):
        raise ValueError(f"evaluate: average='probabilities' is of classes, not for {loss!r}: pass average='outputs'")
    as_logits = average == "probabilities" and isinstance(loss, CrossEntropy)

    def outputs_and_targets(rows: slice) -> tuple[Tensor, Tensor]:
        outputs = _member_outputs("evaluate", network, params, data.inputs[rows], "outputs" if as_logits else average)
        together = _log_mean_softmax(outputs) if as_logits else outputs.mean(0)
        return together, loss.checked_targets(outputs[0], data.targets[rows])

    total = measure_outputs(loss, data, outputs_and_targets)
    return EnsembleMetrics(total.loss, total.accuracy, members)


def _member_outputs(name: str, network: Layer, params: Params, x: Array, average: Average) -> Tensor:
    """The members' outputs, or their probabilities: (members, ..., out_features)."""
    network = as_layer(f"{name}: network", network)
    _check_average(name, average)
    inputs = as_inputs(f"{name}: inputs", x, params)
    outputs = torch.stack([network.apply(member, inputs) for member in unstack(params)])
    return outputs.softmax(-1) if average == "probabilities" else outputs


def _log_mean_softmax(outputs: Tensor) -> Tensor:
    """log(1/M Σₘ softmax(zₘ)) of the outputs z of M members, (M, ..., classes)."""
    return widened(outputs).log_softmax(-1).logsumexp(0) - math.log(len(outputs))


def _check_average(name: str, average: object) -> None:
    if average not in ("outputs", "probabilities"):
        raise ValueError(f"{name}: average must be 'outputs' or 'probabilities', got {checks.describe(average)}")
