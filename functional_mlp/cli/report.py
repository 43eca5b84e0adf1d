"""The tables that a training run ends with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

import functional_mlp as fm
from functional_mlp.cli.data import ClassificationData
from functional_mlp.cli.terminal import Table, say

if TYPE_CHECKING:
    from torch import Tensor

    from functional_mlp.layers.base import Params

MISTAKES_SHOWN = 15
UNBOUNDED_WIDTH = 100_000


def print_results(
    console: Console, network: fm.Layer, loss: fm.Loss, result: fm.FitResult, data: ClassificationData
) -> None:
    """Loss and accuracy for training and validation, the confusion matrix, and the speed."""
    _print_titled(console, "Results", _metrics_table(network, loss, result.best_params, data))
    if result.best is not result.state:
        ended = "stopped early after" if result.stopped_early else "after"
        say(
            console,
            f"{ended} {result.state.epoch} epochs; these are the results of the best, epoch {result.best.epoch}",
        )
    name, shown = ("training", data.training) if data.validation is None else ("validation", data.validation)
    counts = confusion_matrix(network, result.best_params, shown, len(data.classes))
    matrix = _confusion_table(counts, data.classes)
    unbounded = console.options.update(width=UNBOUNDED_WIDTH)
    if console.measure(matrix, options=unbounded).maximum <= console.width:
        _print_titled(console, f"Confusion matrix ({name}): a row for each class, a column for each answer", matrix)
    else:
        _print_titled(console, f"Most frequent mistakes ({name})", _mistakes_table(counts, data.classes))
    console.print()
    seconds = math.fsum(result.history.seconds)
    if seconds > 0:
        samples = len(result.history) * len(data.training)
        say(console, f"{samples:,} samples in {seconds:.2f} s of training: {samples / seconds:,.0f} samples a second")


def confusion_matrix(network: fm.Layer, params: Params, data: fm.Dataset, classes: int) -> Tensor:
    """How many samples of each class (row) were given each class (column): (classes, classes), int64.

    >>> import torch
    >>> data = fm.Dataset(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))
    >>> confusion_matrix(fm.Identity(), (), data, classes=2)
    tensor([[0, 0],
            [1, 1]])
    """
    if data.labels is None:
        raise ValueError("confusion_matrix: the targets of data must be class indices or one-hot, got other values")
    given = fm.classify(network, params, data.inputs)
    return (data.labels * classes + given).cpu().bincount(minlength=classes**2).reshape(classes, classes)


def _print_titled(console: Console, title: str, table: Table) -> None:
    console.print()
    say(console, title)
    console.print(table)


def _metrics_table(network: fm.Layer, loss: fm.Loss, params: Params, data: ClassificationData) -> Table:
    table = Table()
    table.add_column("")
    for heading in ("samples", "loss", "accuracy"):
        table.add_column(heading, justify="right")
    for name, part in (("training", data.training), ("validation", data.validation)):
        if part is not None:
            metrics = fm.evaluate(network, loss, params, part)
            table.add_row(name, f"{len(part):,}", f"{metrics.loss:.4f}", f"{metrics.accuracy:.4f}")
    return table


def _confusion_table(counts: Tensor, classes: Sequence[str]) -> Table:
    table = Table()
    table.add_column("")
    for name in classes:
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in zip(classes, counts.tolist(), strict=True):
        table.add_row(name, *map(str, row))
    return table


def _mistakes_table(counts: Tensor, classes: Sequence[str]) -> Table:
    """The most frequent mistakes: for more classes than a matrix has room for."""
    mistakes = counts - counts.diag().diag()
    table = Table()
    table.add_column("class")
    table.add_column("answer")
    table.add_column("samples", justify="right")
    for place in mistakes.flatten().argsort(descending=True, stable=True)[:MISTAKES_SHOWN].tolist():
        row, column = divmod(place, len(classes))
        if mistakes[row, column] > 0:
            table.add_row(classes[row], classes[column], str(int(mistakes[row, column])))
    return table
