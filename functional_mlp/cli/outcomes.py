"""What has come of the settings of a sweep, and the rows of figures in which it is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

import functional_mlp as fm
from functional_mlp.cli.grids import shown
from functional_mlp.cli.measuring import score
from functional_mlp.cli.run import Run
from functional_mlp.cli.scores import ClassScores
from functional_mlp.cli.terminal import Table
from functional_mlp.spread import Spread, count, plus_minus

Setting = dict[str, Any]
Row = dict[str, Any]


@frozen(eq=False)
class Planned:
    """A setting that is to be trained, its run, and how many networks of it."""

    setting: Setting
    run: Run
    members: int

    @property
    def named(self) -> Row:
        """The setting as it stands in a row."""
        return {words(name): shown(v) if isinstance(v, tuple) else v for name, v in self.setting.items()}

    def origin(self) -> Row:
        """All that the figures follow from, in words."""
        run = self.run
        facts = run.facts
        return {
            "network": facts["network"],
            "training": facts["training"],
            **run.samples.digests,
            "networks": self.members,
            "early stopping": "none" if run.early_stopping is None else run.early_stopping.patience,
            "engine": run.training.engine,
        }


@frozen
class Merit:
    """What settings are judged by: a part of the samples, and a figure beside the loss over them."""

    part: str
    name: str

    @classmethod
    def of(cls, run: Run) -> Merit:
        part = "training" if run.samples.validation is None else "validation"
        return cls(part, "accuracy" if run.samples.about.scale is None else "RMSE")

    @property
    def loss(self) -> str:
        return f"{self.part} loss"

    @property
    def figure(self) -> str:
        return f"{self.part} {self.name}"


@frozen(eq=False)
class Outcome:
    """A setting, with the spread of losses and figures of merit over its networks that did not diverge.

    `best` is the one of the least loss, `None` where none is at hand: all have diverged, or the figures are a file's.
    An outcome `is_whole` where Ctrl-C has ended no training of it early, and `is_begun` where a network had an epoch.
    """

    planned: Planned
    losses: Spread
    merits: Spread
    diverged: int
    best: fm.FitResult | None = None
    is_whole: bool = True
    is_begun: bool = True

    @classmethod
    def of(cls, planned: Planned, members: Sequence[fm.FitResult], merit: Merit) -> Outcome:
        """That of trained networks."""
        begun = [member for member in members if len(member.history) > 0]
        run, finite = planned.run, [member for member in begun if member.diverged_at is None]
        data = run.samples.parts[merit.part]
        scores = [score(run.network, run.loss, [own.best_params], data, run.samples.about) for own in finite]
        losses = Spread.of(each.loss for each in scores)
        merits = Spread.of(each.accuracy if isinstance(each, ClassScores) else each.rmse for each in scores)
        best = min(zip(losses.values, finite, strict=True), key=lambda pair: pair[0], default=(math.nan, None))[1]
        is_whole = not any(member.interrupted for member in members)
        return cls(planned, losses, merits, len(begun) - len(finite), best, is_whole, bool(begun))

    @classmethod
    def from_row(cls, planned: Planned, row: Mapping[str, Any], merit: Merit) -> Outcome:
        """The outcome in a row of a file. Raises `ValueError` for figures that `planned` networks cannot have."""
        loss, loss_std, figure, figure_std = (_number(row[name]) for name in _figure_names(merit)[:-1])
        diverged = _number(row["diverged"])
        if diverged not in range(planned.members + 1):
            raise ValueError(f"{row['diverged']!r} diverged of {count(planned.members, 'network')}")
        return cls(planned, Spread(loss, loss_std, ()), Spread(figure, figure_std, ()), int(diverged))

    @property
    def rank(self) -> tuple[int, float]:
        """Small is good: settings that never diverge before all others, then by the mean loss."""
        return self.diverged, math.inf if math.isnan(self.losses.mean) else self.losses.mean

    def figures(self, merit: Merit) -> Row:
        """The row of the setting and its figures."""
        spreads = (self.losses.mean, self.losses.std, self.merits.mean, self.merits.std)
        return {**self.planned.named, **dict(zip(_figure_names(merit), (*spreads, self.diverged), strict=True))}


def columns(planned: Planned, merit: Merit) -> list[str]:
    """The names of the columns of a file of rows."""
    return [*planned.named, *_figure_names(merit), *planned.origin()]


def _figure_names(merit: Merit) -> list[str]:
    figures = [merit.loss, f"{merit.loss} deviation", merit.figure, f"{merit.figure} deviation"]
    return [*figures, "diverged"]


def _number(cell: Any) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float | str | None):
        raise ValueError(f"{cell!r} is no number")
    return math.nan if cell is None or cell == "" else float(cell)


def table_of(outcomes: Iterable[Outcome], names: Sequence[str], merit: Merit) -> Table:
    """The outcomes, a row each."""
    table = Table()
    for heading in (*map(words, names), merit.loss, merit.figure, "diverged"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        spreads = (outcome.losses, outcome.merits)
        figures = ["" if math.isnan(own.mean) else plus_minus(own) for own in spreads]
        values = [shown(outcome.planned.setting[name]) for name in names]
        table.add_row(*values, *figures, str(outcome.diverged) if outcome.diverged else "")
    return table


def words(name: str) -> str:
    """The name of an option in words.

    >>> words("learning_rate")
    'learning rate'
    """
    return name.replace("_", " ")
