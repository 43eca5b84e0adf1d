"""The command `sweep`: many settings, each with several seeds, trained at once."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import evolve, frozen
from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.cluster import ClusterOptions
from functional_mlp.cli.data import DataOptions, Samples
from functional_mlp.cli.ending import check_not_interrupted
from functional_mlp.cli.grids import APART, SweepOptions, shown
from functional_mlp.cli.measuring import score
from functional_mlp.cli.network import NETWORK_GROUP, NetworkOptions
from functional_mlp.cli.output import OUTPUT_GROUP, Printing, plain
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.plots import PlotOptions, write_figure
from functional_mlp.cli.run import Run
from functional_mlp.cli.scores import ClassScores
from functional_mlp.cli.terminal import Table, say, say_facts, say_notes, say_written
from functional_mlp.cli.training import RuleOptions, TrainingOptions
from functional_mlp.files import write_atomically
from functional_mlp.interrupts import no_interrupt
from functional_mlp.spread import Spread, count, mean, plus_minus, std

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from functional_mlp.random import Key


@Parameter(name="*", group=OUTPUT_GROUP)
@frozen(kw_only=True)
class SweepOutput:
    """What to keep of a sweep."""

    results: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """Write the figures of each setting into this file, .csv or .json."""

    out: Annotated[Path | None, Parameter(metavar="FILE.safetensors")] = None
    """Save the best network of the best setting, as `train --out` does."""

    def check(self) -> None:
        if self.results is not None and self.results.suffix.lower() not in (".csv", ".json"):
            raise ValueError(f"--results: the figures go into a .csv or a .json file, got {str(self.results)!r}")
        if self.out is not None and self.out.exists():
            raise ValueError(f"--out: {self.out} is there already: name another file")


@frozen(eq=False)
class Outcome:
    """A setting, with the losses and the figures of merit of its members that did not diverge."""

    setting: dict[str, Any]
    run: Run
    members: tuple[fm.FitResult, ...]
    losses: tuple[float, ...]
    merits: tuple[float, ...]
    diverged: int

    @property
    def rank(self) -> tuple[int, float]:
        """Small is good: settings that never diverge before all others, then by the mean loss."""
        return self.diverged, mean(self.losses) if self.losses else math.inf

    def to_json(self, part: str, merit: str) -> dict[str, Any]:
        losses, merits = Spread.of(self.losses), Spread.of(self.merits)
        figures = {
            "loss": losses.mean,
            "loss deviation": losses.std,
            merit: merits.mean,
            f"{merit} deviation": merits.std,
        }
        named = {f"{part} {name}": figure for name, figure in figures.items()}
        setting = {_words(name): shown(v) if isinstance(v, tuple) else v for name, v in self.setting.items()}
        return {**setting, **named, "diverged": self.diverged}


def sweep(
    *,
    data: DataOptions = DataOptions(),  # noqa: B008 - frozen
    initializer: Annotated[str | None, Parameter(group=NETWORK_GROUP, metavar="NAME")] = None,
    grids: SweepOptions = SweepOptions(),  # noqa: B008 - frozen
    training: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    plots: PlotOptions = PlotOptions(),  # noqa: B008 - frozen
    output: SweepOutput = SweepOutput(),
    cluster: ClusterOptions = ClusterOptions(),  # noqa: B008 - frozen
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Train with every combination of networks, step sizes, betas and so on, and show which does best.

    Each combination is trained several times, all of them at once. The table has the mean loss and accuracy of
    each with its standard deviation, on the validation samples where there are any, the best one first; --plot
    draws the losses. Example: --learning-rate 0.001:0.1:log8 --beta 0,0.5,0.9 --optimizer momentum.

    Parameters
    ----------
    initializer
        Where weights start, as `train` takes it.
    """
    plots.check()
    output.check()
    check_files(reads=data.files(), writes={"--out": output.out, "--results": output.results, **plots.files()})
    settings = grids.settings()
    data_key, fit_key = fm.random.key(training.seed).split()
    samples = data.load(data_key, training.torch_dtype(), training.torch_device())
    if grids.beta is not None and training.optimizer is None and samples.recipe.optimizer == "sgd":
        training = evolve(training, optimizer="momentum")
    planned = [_planned(setting, samples, initializer, training) for setting in settings]
    facts = _facts(grids, settings, planned[0])
    say_facts(printing.out(), facts)
    say_notes(printing.out(), samples.notes)
    part = "training" if samples.validation is None else "validation"
    merit = "accuracy" if samples.about.scale is None else "RMSE"
    outcomes: list[Outcome] = []
    interrupted: list[fm.EnsembleResult] = []
    with cluster.executor() as executor:
        for _, group in itertools.groupby(
            zip(settings, planned, strict=True), lambda pair: [pair[0].get(name) for name in APART]
        ):
            own = list(group)
            result = _train([run for _, run in own], fit_key.split(grids.members), printing, executor)
            with no_interrupt():
                outcomes += _outcomes([setting for setting, _ in own], [run for _, run in own], result, part)
            if result.interrupted:
                interrupted.append(result)
                break
    with no_interrupt():
        outcomes.sort(key=lambda outcome: outcome.rank)
        printing.out().print(_table(outcomes, part, merit))
        figures = [outcome.to_json(part, merit) for outcome in outcomes]
        _save(printing, plots.plot, output, outcomes, figures, part)
        printing.finish({**facts, "notes": samples.notes, "settings": figures, "model": output.out})
    for result in interrupted:
        check_not_interrupted(result)


def _planned(setting: dict[str, Any], samples: Samples, initializer: str | None, training: TrainingOptions) -> Run:
    """The run of a setting."""
    shape = {name: setting[name] for name in ("hidden", "activation") if name in setting}
    rule = {name: value for name, value in setting.items() if name not in shape}
    return Run.of(samples, NetworkOptions(initializer=initializer, **shape), training, RuleOptions(**rule))


def _facts(grids: SweepOptions, settings: Sequence[dict[str, Any]], first: Run) -> dict[str, str]:
    """What is trained, as `train` says it of the first setting, and what varies."""
    varied = {
        _words(name): ", ".join(dict.fromkeys(shown(setting[name]) for setting in settings)) for name in settings[0]
    }
    apart = [f"{name} {values}" for name, values in varied.items()]
    networks = f"{count(len(settings), 'setting')} with {count(grids.members, 'network')} each"
    return {**first.facts, "sweep": f"{networks}: {'; '.join(apart)}"}


def _train(
    runs: Sequence[Run], keys: Sequence[Key], printing: Printing, executor: Executor | None
) -> fm.EnsembleResult:
    """Train runs of one network at once, each with all keys: the same draws for each setting."""
    return runs[0].fit_ensemble(
        [*keys] * len(runs),
        printing.err(),
        optimizers=[run.optimizer for run in runs for _ in keys],
        schedules=[run.schedule for run in runs for _ in keys],
        executor=executor,
    )


def _outcomes(
    settings: Sequence[dict[str, Any]], runs: Sequence[Run], result: fm.EnsembleResult, part: str
) -> list[Outcome]:
    """The outcome of each setting."""
    members = len(result) // len(runs)
    outcomes = []
    for index, (setting, run) in enumerate(zip(settings, runs, strict=True)):
        own = result.members[index * members : (index + 1) * members]
        finite = tuple(member for member in own if member.diverged_at is None)
        data = run.samples.parts[part]
        scores = [score(run.network, run.loss, [member.best_params], data, run.samples.about) for member in finite]
        merits = tuple(each.accuracy if isinstance(each, ClassScores) else each.rmse for each in scores)
        losses = tuple(each.loss for each in scores)
        outcomes.append(Outcome(setting, run, finite, losses, merits, len(own) - len(finite)))
    return outcomes


def _table(outcomes: Sequence[Outcome], part: str, merit: str) -> Table:
    table = Table()
    names = list(outcomes[0].setting)
    for heading in (*map(_words, names), f"{part} loss", f"{part} {merit}", "diverged"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        figures = [plus_minus(Spread.of(own)) if own else "" for own in (outcome.losses, outcome.merits)]
        values = [shown(outcome.setting[name]) for name in names]
        table.add_row(*values, *figures, str(outcome.diverged) if outcome.diverged else "")
    return table


def _save(
    printing: Printing,
    plot: Path | None,
    output: SweepOutput,
    outcomes: Sequence[Outcome],
    figures: Sequence[dict[str, Any]],
    part: str,
) -> None:
    """Write the plot, the figures and the best network, as far as they are asked for."""
    if plot is not None and _save_plot(plot, outcomes, part):
        say_written(printing.out(), "plot", plot)
    if output.results is not None:
        write_atomically(output.results, _content(figures, output.results.suffix.lower()))
        say_written(printing.out(), "results", output.results)
    best = outcomes[0]
    if output.out is not None and best.members:
        chosen = best.members[best.losses.index(min(best.losses))]
        fm.save(
            output.out,
            chosen.best,
            network=best.run.network,
            optimizer=best.run.optimizer,
            loss=best.run.loss,
            history=chosen.history,
            extra=best.run.samples.about.to_json(),
        )
        say(printing.out(), f"the best network of the best setting: {output.out}")


def _content(figures: Sequence[dict[str, Any]], suffix: str) -> bytes:
    """The figures as a table or as JSON."""
    if suffix == ".json":
        return (json.dumps(plain(figures), indent=1) + "\n").encode()
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, figures[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures)
    return text.getvalue().encode()


def _save_plot(path: Path, outcomes: Sequence[Outcome], part: str) -> bool:
    """The loss against the first thing that takes several values, a curve for each setting of the others."""
    from functional_mlp.ensemble.plotting import Curve, sweep_curves

    names = list(outcomes[0].setting)
    numbers = [name for name in names if not isinstance(outcomes[0].setting[name], tuple)]
    if not numbers:
        return False
    across = next((name for name in numbers if len({o.setting[name] for o in outcomes}) > 1), numbers[0])
    others: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.setting[across]):
        label = ", ".join(f"{_words(name)} {shown(outcome.setting[name])}" for name in names if name != across)
        if outcome.losses:
            others.setdefault(label, []).append(outcome)
    if not others:
        return False
    curves = {
        label: Curve(
            [o.setting[across] for o in own],
            [mean(o.losses) for o in own],
            [std(o.losses) for o in own],
        )
        for label, own in others.items()
    }
    run = outcomes[0].run
    name = f"{part} loss ({run.settings.loss})"
    write_figure(sweep_curves(_words(across), name, curves, title=run.samples.description), path)
    return True


def _words(name: str) -> str:
    return name.replace("_", " ")
