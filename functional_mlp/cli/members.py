"""`train --members`: many networks at once, and what they have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from attrs import frozen
from cyclopts import Parameter
from rich.console import Console

import functional_mlp as fm
from functional_mlp.cli.measuring import score_parts
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.report import print_scores
from functional_mlp.cli.run import Run
from functional_mlp.cli.scores import Scores
from functional_mlp.cli.terminal import Table, say
from functional_mlp.cli.training import TRAINING_GROUP
from functional_mlp.spread import Spread, count, plus_minus

# The figures of scores that stand beside each other, and how many digits they have.
CLASS_FIGURES = {"loss": "loss", "accuracy": "accuracy"}
QUANTITY_FIGURES = {"loss": "loss", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}


@Parameter(name="*", group=TRAINING_GROUP)
@frozen(kw_only=True)
class EnsembleOptions:
    """How many networks to train."""

    members: Annotated[int, Parameter(converter=parse_integer)] = 1
    """Networks to train at once, on the same data, each with initial weights and orders of its own. The figures are
    then means over them, with standard deviations, and those of their mean answer, which is what `predict` gives."""

    def check(self) -> None:
        if self.members < 1:
            raise ValueError(f"--members: train at least one network, got {self.members}")


def print_members(console: Console, run: Run, result: fm.EnsembleResult) -> dict[str, Any]:
    """Print the tables of an ensemble; returns what they say."""
    params = [member.best_params for member in result.members]
    each = [score_parts(run.network, run.loss, [own], run.samples) for own in params]
    together = score_parts(run.network, run.loss, params, run.samples)
    console.print()
    say(console, f"Results of {count(len(result), 'network')}: mean ± standard deviation")
    console.print(spread_table(each, together))
    print_scores(console, "Results of their mean answer", together)
    say_best_epochs(console, "networks", result.members)
    seconds = math.fsum(math.fsum(member.history.seconds) for member in result.members)
    samples = sum(len(member.history) for member in result.members) * len(run.samples.training)
    console.print()
    if seconds > 0:
        say(console, f"{samples:,} samples: {samples / seconds:,.0f} a second on each core")
    return {
        "results": {name: scores.to_json() for name, scores in together.items()},
        "members": [{name: scores.to_json() for name, scores in own.items()} for own in each],
        "seconds": seconds,
        **epochs_of(result.members),
    }


def epochs_of(results: Sequence[fm.FitResult]) -> dict[str, Any]:
    """For each of many trainings its epochs, the best of them, which is shown, counted from 1, and its history."""
    return {
        "epochs": [own.state.epoch for own in results],
        "best_epoch": [own.best.epoch for own in results],
        "stopped_early": [own.stopped_early for own in results],
        "history": [own.history.to_dict() for own in results],
    }


def say_best_epochs(console: Console, what: str, results: Sequence[fm.FitResult]) -> None:
    """Say of many trainings which stopped early, and what epochs are shown, where these are not the last."""
    if all(own.best is own.state for own in results):
        return
    stopped = sum(own.stopped_early for own in results)
    after, best = (_range(each) for each in ([own.state.epoch for own in results], [own.best.epoch for own in results]))
    say(
        console,
        f"{stopped} of {len(results)} {what} stopped early; they had {after} epochs, and these are the results of the "
        f"best of each, epoch {best}",
    )


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def spread_table(each: Sequence[Mapping[str, Scores]], together: Mapping[str, Scores] | None = None) -> Table:
    """The means of many runs' scores with their deviations, a row a part, and the scores of their mean answer."""
    first = next(iter(each[0].values()))
    figures = QUANTITY_FIGURES if hasattr(first, "rmse") else CLASS_FIGURES
    table = Table()
    table.add_column("")
    for heading in ("samples", *figures.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in each[0]:
        spreads = [plus_minus(Spread.of(getattr(own[part], name) for own in each)) for name in figures]
        samples = {f"{own[part].samples:,}" for own in each}
        table.add_row(part, samples.pop() if len(samples) == 1 else "", *spreads)
        if together is not None:
            table.add_row("  the mean answer", "", *(f"{getattr(together[part], name):.4f}" for name in figures))
    return table
