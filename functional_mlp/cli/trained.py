"""What `train` has trained: what is printed of it and drawn, and how it has ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

import functional_mlp as fm
from functional_mlp.cli.ending import check_completed, check_members_completed
from functional_mlp.cli.measuring import score_parts
from functional_mlp.cli.members import print_members
from functional_mlp.cli.output import Printing
from functional_mlp.cli.plots import PlotOptions
from functional_mlp.cli.report import print_scores, print_speed, remarks
from functional_mlp.cli.run import Run
from functional_mlp.cli.terminal import say, say_notes
from functional_mlp.spread import count


@frozen(eq=False)
class TrainedNetwork:
    """A network, after its run."""

    run: Run
    result: fm.FitResult

    def show(self, printing: Printing) -> dict[str, Any]:
        """Print the tables of the training; returns what they say."""
        out, run, result = printing.out(), self.run, self.result
        scores = score_parts(run.network, run.loss, [result.best_params], run.samples)
        print_scores(out, "Results", scores)
        if result.best is not result.state:
            ended = "stopped early after" if result.stopped_early else "after"
            best = f"these are the results of the best, epoch {result.best.epoch}"
            say(out, f"{ended} {count(result.state.epoch, 'epoch')}; {best}")
        said = list(remarks(scores, None if run.early_stopping else result.history))
        seconds = math.fsum(result.history.seconds)
        print_speed(out, len(result.history) * len(run.samples.training), seconds)
        say_notes(out, said)
        return {
            "results": {name: each.to_json() for name, each in scores.items()},
            "remarks": said,
            "epochs": result.state.epoch,
            "best_epoch": result.best.epoch,
            "stopped_early": result.stopped_early,
            "seconds": seconds,
            "history": result.history.to_dict(),
        }

    def draw(self, plots: PlotOptions) -> list[Path]:
        """Write the plots that are asked for, and return their paths."""
        return plots.save(self.run, self.result)

    def check_completed(self) -> None:
        """Raise where the training was interrupted, or diverged."""
        check_completed(self.result, self.run.settings.epochs)


@frozen(eq=False)
class TrainedMembers:
    """The members of an ensemble, after their run: as `TrainedNetwork`. Workers were `lost` before the others ended."""

    run: Run
    result: fm.EnsembleResult
    lost: fm.LostError | None = None

    @classmethod
    def of(cls, run: Run, train: Callable[[], fm.EnsembleResult]) -> TrainedMembers:
        """What `train` returns. Raises `LostError` where workers were lost before any member was done."""
        try:
            return cls(run, train())
        except fm.LostError as error:
            members = () if error.result is None else error.result.members
            done = tuple(member for member in members if not member.interrupted)
            if not done:
                raise
            return cls(run, fm.EnsembleResult(done), error)

    def show(self, printing: Printing) -> dict[str, Any]:
        return print_members(printing.out(), self.run, self.result)

    def draw(self, plots: PlotOptions) -> list[Path]:
        return plots.save_members(self.run, self.result)

    def check_completed(self) -> None:
        if self.lost is not None:
            raise self.lost
        check_members_completed(self.result)
