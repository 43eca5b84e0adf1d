"""The tables of scores, and what is to be said of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

import functional_mlp as fm
from functional_mlp.cli.scores import ClassScore, ClassScores, QuantityScores, Scores
from functional_mlp.cli.terminal import Table, say

if TYPE_CHECKING:
    from torch import Tensor

MISTAKES_SHOWN = 15
CLASSES_SHOWN = 15
UNBOUNDED_WIDTH = 100_000
# A validation loss that has grown by this factor from its least has grown in earnest.
GROWN = 1.1


def print_scores(console: Console, title: str, scores: Mapping[str, Scores]) -> None:
    """The scores of each part, and, of the last but training that is measured for it, each class and each mistake."""
    _print_titled(console, title, _classes_table(scores) if _are_classes(scores) else _quantities_table(scores))
    shown = "validation" if "validation" in scores else next(iter(scores))
    chosen = scores[shown]
    if isinstance(chosen, ClassScores):
        _print_each_class(console, shown, chosen)
        names = [each.name for each in chosen.classes]
        matrix, explained = _confusion_table(chosen.confusion, names), "a row for each class, a column for each answer"
        unbounded = console.options.update(width=UNBOUNDED_WIDTH)
        if console.measure(matrix, options=unbounded).maximum <= console.width:
            _print_titled(console, f"Confusion matrix ({shown}): {explained}", matrix)
        else:
            _print_titled(console, f"Most frequent mistakes ({shown})", _mistakes_table(chosen.confusion, names))


def remarks(scores: Mapping[str, Scores], history: fm.History | None = None) -> Iterator[str]:
    """What whoever reads the scores should not miss."""
    judged = scores.get("validation")
    if isinstance(judged, ClassScores) and judged.accuracy < judged.majority:
        yield (
            f"on the validation samples it is worse than always answering the most frequent class "
            f"({judged.accuracy:.4f} against {judged.majority:.4f})"
        )
    if isinstance(judged, QuantityScores) and judged.rmse > judged.mean_rmse:
        yield (
            f"on the validation samples it is worse than always answering the mean "
            f"(RMSE {judged.rmse:.4g} against {judged.mean_rmse:.4g})"
        )
    if history is not None and _overfits(history):
        yield "overfitting: the validation loss grew while the training loss fell: try --early-stopping 10, or --l2"


def _overfits(history: fm.History) -> bool:
    losses = history.validation_loss
    if not losses or not all(map(math.isfinite, losses)):
        return False
    best = min(range(len(losses)), key=losses.__getitem__)
    return losses[-1] > GROWN * losses[best] and history.train_loss[-1] < history.train_loss[best]


def print_speed(console: Console, samples: int, seconds: float) -> None:
    console.print()
    if seconds > 0:
        say(console, f"{samples:,} samples in {seconds:.2f} s of training: {samples / seconds:,.0f} samples a second")


def _are_classes(scores: Mapping[str, Scores]) -> bool:
    return all(isinstance(each, ClassScores) for each in scores.values())


def _print_titled(console: Console, title: str, table: Table) -> None:
    console.print()
    say(console, title)
    console.print(table)


def _classes_table(scores: Mapping[str, Scores]) -> Table:
    aucs = [each.auc for each in scores.values() if isinstance(each, ClassScores) and each.auc is not None]
    table = _figures("samples", "loss", "accuracy", "majority", *(["AUC"] if aucs else []))
    for name, each in scores.items():
        assert isinstance(each, ClassScores)
        auc = [] if not aucs else [_figure(each.auc)]
        figures = (f"{each.loss:.4f}", f"{each.accuracy:.4f}", f"{each.majority:.4f}")
        table.add_row(name, f"{each.samples:,}", *figures, *auc)
    return table


def _quantities_table(scores: Mapping[str, Scores]) -> Table:
    table = _figures("samples", "loss", "RMSE", "MAE", "R²")
    for name, each in scores.items():
        assert isinstance(each, QuantityScores)
        errors = (f"{each.rmse:.4g}", f"{each.mae:.4g}", _figure(each.r2))
        table.add_row(name, f"{each.samples:,}", f"{each.loss:.4f}", *errors)
        table.add_row("  the mean", "", "", f"{each.mean_rmse:.4g}", f"{each.mean_mae:.4g}", _figure(each.mean_r2))
    return table


def _figures(*headings: str) -> Table:
    """A table of figures, a row for what is named."""
    table = Table()
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _figure(number: float | None) -> str:
    return "" if number is None or math.isnan(number) else f"{number:.4f}"


def _print_each_class(console: Console, part: str, scores: ClassScores) -> None:
    """Precision, recall and F1 of each class, or of those that are found worst."""
    shown: Sequence[ClassScore] = scores.classes
    title = f"Classes ({part})"
    if len(shown) > CLASSES_SHOWN:
        present = [each for each in shown if each.samples]
        shown = sorted(present, key=lambda each: each.f1)[:CLASSES_SHOWN]
        title = f"The {len(shown)} of {len(scores.classes)} classes with the least F1 ({part})"
    table = _figures("samples", "precision", "recall", "F1")
    for each in shown:
        table.add_row(each.name, f"{each.samples:,}", *map(_figure, (each.precision, each.recall, each.f1)))
    _print_titled(console, title, table)


def _confusion_table(counts: Tensor, classes: Sequence[str]) -> Table:
    table = _figures(*classes)
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
