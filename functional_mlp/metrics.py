"""Loss and accuracy of a network over data: how losses and right answers are counted, and whether data fit."""

import math
from collections.abc import Callable

import attrs
import torch
from attrs import field
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.datasets import Dataset
from functional_mlp.datasets.dataset import Rows
from functional_mlp.layers.arguments import checked_arguments, output_of_zeros
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.pages import Pages
from functional_mlp.value import with_one_nan

# Rows that are passed through the network at a time. On one core `predict` and `evaluate` took, of the time, 0.8 to 2.1
# with 256, 0.8 to 1.3 with 1024, 0.6 to 1.2 with 16,384, and 1.1 to 3.6 with all of 12,000 to 200,000 (the paper's
# network; 256-128-10; 784-1024-10).
ROWS_AT_ONCE = 4096
ROWS_AT_ONCE_ELSEWHERE = 1 << 16  # on a GPU, where each operation has to be started: chosen, not measured
# Targets are checked for fewer rows at a time where their numbers are more: an operation of torch on more than these
# wakes its threads, which then keep the cores busy for 7 ms, while those of the engine would train on them.
NUMBERS_CHECKED_AT_ONCE = 1 << 15
FEWEST_ROWS_CHECKED = 256


@attrs.frozen
class Metrics:
    """The mean loss over a data set, and the share of its rows that are right, both weighted where the set is.

    Those are the rows whose largest output is the target's class, or what else the loss calls right.

    >>> Metrics(0.5, float("nan")) == Metrics(0.5, float("nan"))
    True
    """

    loss: float = field(eq=with_one_nan)
    accuracy: float = field(eq=with_one_nan)


NOTHING = Metrics(math.nan, math.nan)


class Tally:
    """The losses and the right answers of rows of data, added up as they come, for one network or many members.

    They stay on their device until `metrics` asks for them, which is when a GPU is waited for.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._figures: list[tuple[Tensor, ...]] = []

    def add(self, rows: int, mean_loss: Tensor, right: Tensor, weight: Tensor) -> None:
        """Count rows in, by their mean loss, the weight of the right ones and the weight of all."""
        self._sizes.append(rows)
        self._figures.append((mean_loss, right, weight))

    def totals(self) -> Tensor:
        """For each member (4, members): the sum of the losses, what is right, the weight, and the number of rows.

        Those of two tallies, added to each other, are those of the rows of both.
        """
        if not self._sizes:
            return torch.zeros(4, 1, dtype=torch.float64, device="cpu")
        columns = (torch.stack(own).reshape(len(own), -1).cpu().double() for own in zip(*self._figures, strict=True))
        means, rights, weights = columns
        sizes = torch.tensor(self._sizes, dtype=torch.float64, device="cpu").unsqueeze(1)
        return torch.stack([(sizes * means).sum(0), rights.sum(0), weights.sum(0), sizes.sum(0).expand(means.shape[1])])

    def metrics(self, *answered: bool) -> list[Metrics]:
        """Each member's loss and accuracy, NaN where nothing says what is right."""
        return metrics_of(self.totals(), *answered)


def metrics_of(totals: Tensor, *answered: bool) -> list[Metrics]:
    """What a `Tally` of these totals has for metrics."""
    checks.in_memory("the sums of losses", totals)
    losses, rights, weights, rows = totals
    figures = zip(rights.tolist(), weights.tolist(), answered, strict=True)
    shares = [share(right, weight) if known else math.nan for right, weight, known in figures]
    return list(map(Metrics, (losses / rows).tolist(), shares))


def count_in(tally: Tally, loss: Loss, data: Dataset, rows: Rows, predictions: Tensor, targets: Tensor) -> None:
    """Count rows of a data set in.

    Parameters
    ----------
    tally
        What they are counted in.
    loss
        What judges them.
    data
        The data set.
    rows
        Which of its rows.
    predictions
        The outputs for these rows.
    targets
        Their targets, as the loss encodes them.
    """
    weights, right = data.weights_of(rows), loss.are_right(predictions, targets, data.labels_of(rows))
    tally.add(len(predictions), loss.batch_value(predictions, targets, weights), *counted(right, weights))


def counted(right: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weight of the rows (..., n) that are right, and that of all; without `weights` (..., n, 1) their numbers.

    >>> counted(torch.tensor([True, False, True]), None)
    (tensor(2), tensor(3))
    """
    each = torch.ones_like(right, dtype=torch.int64) if weights is None else weights.squeeze(-1).double()
    return (each * right).sum(-1), each.sum(-1)


def share(part: float, whole: float) -> float:
    """The share that a sum of weights is of all: at most 1, in whatever order either has been added up."""
    return min(part / whole, 1.0) if whole else math.nan


def outputs(network: Layer, params: Params, x: Tensor) -> Tensor:
    """The network's outputs for inputs (..., in_features) by torch operations, some thousands of rows at a time."""
    rows, at_once = x.shape[:-1].numel(), ROWS_AT_ONCE if x.device.type == "cpu" else ROWS_AT_ONCE_ELSEWHERE
    if rows <= at_once and not Pages.of(x):
        return network.apply(params, x)
    flat = x.reshape(rows, x.shape[-1])
    first = network.apply(params, flat[:1])
    result = first.new_empty(rows, *first.shape[1:])
    for piece in Pages.of(flat).slices(range(rows), at_once):
        result[piece] = network.apply(params, flat[piece])
    return result.reshape(*x.shape[:-1], *first.shape[1:])


def measure(network: Layer, loss: Loss, params: Params, data: Dataset) -> Metrics:
    """Loss and accuracy over a data set by torch operations; all arguments are taken to fit each other."""

    def outputs_and_targets(rows: slice) -> tuple[Tensor, Tensor]:
        predictions, _ = network.forward(params, data.inputs[rows])
        return predictions, loss.encode(data.targets[rows], predictions)

    return measure_outputs(loss, data, outputs_and_targets)


def measure_outputs(loss: Loss, data: Dataset, of: Callable[[slice], tuple[Tensor, Tensor]]) -> Metrics:
    """Loss and accuracy over a data set, of whose rows `of` gives outputs, and targets as the loss encodes them."""
    tally = Tally()
    for rows in Pages.of(data.inputs, data.targets).slices(range(len(data)), ROWS_AT_ONCE):
        predictions, targets = of(rows)
        count_in(tally, loss, data, rows, predictions, targets)
    (metrics,) = tally.metrics(loss.has_answers(data.targets, data.labels))
    return metrics


def scored(network: Layer, params: Params, data: Dataset, score: Callable[[Tensor, Dataset], float]) -> float:
    """What a score makes of the outputs of a network over a data set."""
    figure = checks.plain_number(score(outputs(network, params, data.inputs), data))
    if not isinstance(figure, float | int):
        raise TypeError(f"score(outputs, validation) must return a number, got {checks.describe(figure)}")
    return float(figure)


def check_fit(network: Layer, loss: Loss, params: Params, data: Dataset) -> None:
    """Raise unless the network, its params, the loss and the data fit each other."""
    try:
        params, row = checked_arguments(network, params, data.inputs[:1])
    except ValueError:
        _check_dtypes(params, data)  # says what to do about the data
        raise
    prediction = output_of_zeros(network, row.dtype, row.shape)
    if prediction is None or row.device.type != "cpu":
        prediction = network.forward(params, row)[0]
    at_once = max(FEWEST_ROWS_CHECKED, min(ROWS_AT_ONCE, NUMBERS_CHECKED_AT_ONCE // prediction.numel()))
    for rows in Pages.of(data.targets).slices(range(len(data)), at_once):
        targets = data.targets[rows]
        loss.checked_targets(prediction.expand(len(targets), *prediction.shape[1:]), targets)


def _check_dtypes(params: Params, data: Dataset) -> None:
    """Raise where params have another floating dtype than the data, with the call that converts the data."""
    others = [leaf for leaf in pytree.leaves(params) if _is_of_another_dtype(leaf, data)]
    if others:
        dtype = others[0].dtype
        path = next(path for path, leaf in pytree.items(params) if leaf is others[0])
        targets = "data.targets" if data.targets.ndim == 1 else f"data.targets.to({dtype})"
        weights = "" if data.weights is None else ", data.weights"
        raise ValueError(
            f"params{path} and the data must have one dtype, got {dtype} and {data.inputs.dtype}: "
            f"functional_mlp.Dataset(data.inputs.to({dtype}), {targets}{weights}) is the data in {dtype}"
        )


def _is_of_another_dtype(leaf: object, data: Dataset) -> bool:
    return isinstance(leaf, Tensor) and leaf.dtype != data.inputs.dtype and leaf.is_floating_point()
