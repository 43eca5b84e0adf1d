"""Data as native code reads them: where they lie, and copies of rows of mapped files."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import attrs
import torch
from torch import Tensor

from functional_mlp.datasets import Dataset
from functional_mlp.engine.lowering import takes_classes
from functional_mlp.losses import Loss
from functional_mlp.metrics import share
from functional_mlp.pages import Pages


class Pointers(NamedTuple):
    """Where the inputs, the targets and the labels of a data set lie."""

    inputs: int
    targets: int
    labels: int


@attrs.frozen(eq=False)
class Rows:
    """A data set as native code reads it: contiguous, with a label a row (-1 where there are none).

    A row of `targets` is as `LossProgram` says; `weight` is that of all rows. The set is `answered` where it says of
    each row what is right. `pages` are those that inputs and targets lie in, where they are mapped from files.
    """

    inputs: Tensor
    targets: Tensor
    labels: Tensor
    weight: float
    answered: bool
    pages: Pages = attrs.field(init=False)
    pointers: Pointers = attrs.field(init=False)
    samples: int = attrs.field(init=False)

    @pages.default
    def _pages(self) -> Pages:
        return Pages.of(self.inputs, self.targets)

    @pointers.default
    def _pointers(self) -> Pointers:
        return Pointers(self.inputs.data_ptr(), self.targets.data_ptr(), self.labels.data_ptr())

    @samples.default
    def _samples(self) -> int:
        return len(self.inputs)

    @classmethod
    def of(cls, data: Dataset, loss: Loss) -> "Rows":
        labels, targets, weights = data.labels, data.targets, data.weights
        classes = takes_classes(loss, targets)
        if targets.ndim == 1 and not classes:
            targets = loss.encode(targets, data.inputs[:, :1])
        answered = loss.has_answers(targets, labels)
        if weights is not None:
            targets = weights.unsqueeze(1) if classes else torch.cat([targets, weights.unsqueeze(1)], 1)
        filled = torch.full((len(data),), -1, device="cpu") if labels is None else plain(labels)
        weight = len(data) if weights is None else weights.double().sum().item()
        return cls(plain(data.inputs), plain(targets), filled, weight, answered)

    def figures(self, losses: Sequence[float], right: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The mean losses and the accuracies of some passes, given the sums of their losses and their right answers."""
        samples, weight = self.samples, self.weight
        accuracies = [share(each, weight) for each in right] if self.answered else [math.nan] * len(right)
        return tuple([loss / samples for loss in losses]), tuple(accuracies)


class Copies:
    """Rows of mapped files in an order, copied some thousands at a time for the calls that train with them.

    They are read as they lie in the file. `numbers` are the order, where those that were copied last are counted as
    they then lie in memory.
    """

    def __init__(self, rows: Rows, order: Tensor, most: int) -> None:
        self._rows, self._order, self.numbers = rows, order, order.clone()
        self._inputs, self._targets = (torch.empty_like(column[:most]) for column in (rows.inputs, rows.targets))

    def copy(self, first: int, last: int) -> Rows:
        """The rows that stand in the order from one place to another."""
        ascending, places = self._order[first:last].sort()
        self.numbers[first:last][places] = torch.arange(last - first, device="cpu")
        columns = self._rows.inputs, self._rows.targets
        copies = self._inputs[: last - first], self._targets[: last - first]
        for column, copy in zip(columns, copies, strict=True):
            self._rows.pages.read(column, ascending, copy)
        return attrs.evolve(self._rows, inputs=copies[0], targets=copies[1], labels=self._rows.labels[ascending])


def plain(tensor: Tensor) -> Tensor:
    """A tensor whose memory holds its numbers one after the other."""
    resolved = tensor.detach().as_subclass(Tensor).resolve_neg().resolve_conj()
    return resolved.clone() if resolved._is_zerotensor() else resolved.contiguous()
