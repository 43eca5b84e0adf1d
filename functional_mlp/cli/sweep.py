"""The command `sweep`: many settings, each with several seeds, trained at once."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import evolve, frozen
from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.cluster import ClusterOptions
from functional_mlp.cli.data import DataOptions, Samples
from functional_mlp.cli.description import DataDescription
from functional_mlp.cli.ending import interruption
from functional_mlp.cli.grids import APART, SweepOptions, shown
from functional_mlp.cli.network import InitializerOption, NetworkOptions
from functional_mlp.cli.outcomes import Merit, Outcome, Planned, table_of, words
from functional_mlp.cli.output import OUTPUT_GROUP, Printing
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.plots import PlotOptions, write_figure
from functional_mlp.cli.progress import SweepDisplay, ensemble_display, sweep_display
from functional_mlp.cli.results import Gathered, ResultsFile
from functional_mlp.cli.run import Run, fit_ensemble
from functional_mlp.cli.terminal import say, say_facts, say_notes, say_written
from functional_mlp.cli.training import RuleOptions, TrainingOptions
from functional_mlp.cli.wording import in_options
from functional_mlp.interrupts import no_interrupt, noted_interrupt
from functional_mlp.spread import count

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from functional_mlp.random import Key

# Networks that are trained before their figures are shown and kept. On two cores, for networks 2-25-25-25-2 on 1000
# points, 512 of them take 3 % longer in pieces of 256 than at once, and 7 % in pieces of 64.
AT_ONCE = 256
# The same on a cluster, whose workers need not wait for the end of a piece: for 1040 such networks and 20 epochs, two
# workers and the process that calls took the time on their processors, within 4 %, that they took with pieces of 256.
PIECE_ON_A_CLUSTER = 64
# Networks that a cluster has at once: some 500 tasks of eight, chosen to keep 100 workers busy, and not measured.
AT_ONCE_ON_A_CLUSTER = 4096
# Settings that the table has at the end, and while training goes on.
MOST_SHOWN, MOST_SHOWN_MEANWHILE = 40, 10


@Parameter(name="*", group=OUTPUT_GROUP)
@frozen(kw_only=True)
class SweepOutput:
    """What to keep of a sweep."""

    results: Annotated[Path | None, Parameter(metavar="FILE")] = None
    """Write the figures of each setting into this file, .csv, .parquet or .json, as they come. The same command, called
    again, goes on from there: it trains the settings that the file has not."""

    out: Annotated[Path | None, Parameter(metavar="FILE.safetensors")] = None
    """Save the best network of the best setting, as `train --out` does."""

    @property
    def file(self) -> ResultsFile | None:
        return None if self.results is None else ResultsFile(self.results)

    def check(self) -> None:
        """Raise, before any training, where something could not be written."""
        if self.file is not None:
            self.file.check()
        if self.out is not None and self.out.exists() and (self.results is None or not self.results.exists()):
            raise ValueError(f"--out: {self.out} is there already: name another file")

    def check_out(self, about: DataDescription) -> None:
        """Raise where --out is there, and holds something else than an earlier call of the command may have saved."""
        if self.out is None or not self.out.exists():
            return
        try:
            found = DataDescription.from_saved(self.out, fm.load(self.out))
        except fm.CheckpointError:
            found = None
        if found != about:
            raise ValueError(f"--out: {self.out} is there already, and is of other data: name another file")


def sweep(
    *,
    data: DataOptions = DataOptions(),  # noqa: B008 - frozen
    grids: SweepOptions = SweepOptions(),  # noqa: B008 - frozen
    initializer: InitializerOption = None,
    training: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    plots: PlotOptions = PlotOptions(),  # noqa: B008 - frozen
    output: SweepOutput = SweepOutput(),
    cluster: ClusterOptions = ClusterOptions(),  # noqa: B008 - frozen
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Train with every combination of networks, step sizes, betas and so on, and show which does best.

    Each combination is trained several times, all of them at once. The table has the mean loss and accuracy of
    each with its standard deviation, on the validation samples where there are any, the best one first; --plot
    draws the losses. Numbers are written 0,0.5,0.9 or, eight from one to the other, 0.001:0.1:log8 or 0:0.9:lin8;
    networks between slashes: --hidden 16/32,32/none --activation relu/tanh.
    """
    plots.check()
    output.check()
    check_files(reads=data.files(), writes={"--out": output.out, "--results": output.results, **plots.files()})
    settings = grids.settings()
    data_key, fit_key = fm.random.key(training.seed).split()
    samples = data.load(data_key, training.torch_dtype(), training.torch_device())
    if grids.beta is not None and training.optimizer is None and samples.recipe.optimizer == "sgd":
        training = evolve(training, optimizer="momentum")
    planned = [Planned(setting, _run(setting, samples, initializer, training), grids.members) for setting in settings]
    merit = Merit.of(planned[0].run)
    gathered = Gathered(output.file, merit, {} if output.file is None else output.file.read(planned, merit))
    output.check_out(samples.about)
    facts = _facts(grids, planned)
    keys = fit_key.split(grids.members)
    with cluster.executor() as executor:
        say_facts(printing.out(), facts)
        say_notes(printing.out(), samples.notes)
        ended = _train(gathered, planned, keys, printing, executor)
        outcomes = gathered.ranked()
        best = outcomes[0]
        if output.out is not None and best.best is None and ended is None:  # its figures are from the file
            with _told_of(gathered, planned):
                best = _trained_again(best.planned, keys, merit, printing, executor)
    with no_interrupt():
        _report(printing, outcomes, merit, output.results)
        _write(printing, output, plots, gathered, outcomes, best)
        figures = [outcome.figures(merit) for outcome in outcomes]
        printing.finish({**facts, "notes": samples.notes, "settings": figures, "model": output.out})
    if ended is not None:
        raise ended


def _train(
    gathered: Gathered, planned: Sequence[Planned], keys: Sequence[Key], printing: Printing, executor: Executor | None
) -> BaseException | None:
    """Train the settings that are not known, and gather them; returns what has ended it before all are, if anything."""
    try:
        with (
            _told_of(gathered, planned),
            sweep_display(printing.err(), len(planned)) as display,
            gathered,
            contextlib.closing(_trained(planned, gathered.known, keys, display.progress, executor)) as trained,
        ):
            ended = interruption() if _gather(gathered, trained, planned, display) else None
        if not gathered.reached:
            raise KeyboardInterrupt("interrupted before a setting was trained")
    except fm.LostError as error:
        if not gathered.reached:
            raise
        return error
    return ended


@contextlib.contextmanager
def _told_of(gathered: Gathered, planned: Sequence[Planned]) -> Iterator[None]:
    """Say in options that the cluster was lost, and what is kept."""
    try:
        yield
    except fm.LostError as error:
        raise error.told_by("--cluster", gathered.kept(len(planned))) from error


def _trained_again(
    planned: Planned, keys: Sequence[Key], merit: Merit, printing: Printing, executor: Executor | None
) -> Outcome:
    """The outcome of a setting with its best network, of which the file of an earlier call has the figures alone."""
    with ensemble_display(printing.err(), planned.run.settings.epochs) as progress:
        result = fit_ensemble(_what([planned], keys), progress, executor=executor)
    (outcome,) = _outcomes([planned], result, merit)
    return outcome


def _gather(
    gathered: Gathered,
    trained: Iterable[tuple[list[int], fm.EnsembleResult]],
    planned: Sequence[Planned],
    display: SweepDisplay,
) -> bool:
    """Gather what is trained, and show the best so far; returns whether Ctrl-C has ended it before all is."""
    is_ended, names = False, list(planned[0].setting)
    for places, result in trained:
        with noted_interrupt() as pressed:
            outcomes = _outcomes([planned[place] for place in places], result, gathered.merit)
            gathered.take(dict(zip(places, outcomes, strict=True)))
            best = table_of(gathered.ranked()[:MOST_SHOWN_MEANWHILE], names, gathered.merit)
            display.show(best, len(gathered.reached))
        is_ended = is_ended or result.interrupted
        if pressed.is_set():
            return is_ended or len(gathered.reached) < len(planned)
    return is_ended


def _pieces(planned: Sequence[Planned], known: Mapping[int, Outcome], most: int) -> Iterator[list[int]]:
    """The places of the settings that are to be trained, in pieces of those that one ensemble can train."""
    missing = [place for place in range(len(planned)) if place not in known]
    size = max(most // planned[0].members, 1)
    for _, group in itertools.groupby(missing, lambda place: [planned[place].setting.get(name) for name in APART]):
        places = list(group)
        yield from (places[first : first + size] for first in range(0, len(places), size))


def _trained(
    planned: Sequence[Planned],
    known: Mapping[int, Outcome],
    keys: Sequence[Key],
    progress: Callable[[float], None] | None,
    executor: Executor | None,
) -> Generator[tuple[list[int], fm.EnsembleResult]]:
    """The places of settings that were trained at once, with their results; the last ones after Ctrl-C."""
    pieces = list(_pieces(planned, known, AT_ONCE if executor is None else PIECE_ON_A_CLUSTER))
    done = len(known)
    whats = (_what([planned[place] for place in piece], keys) for piece in pieces)
    if executor is not None:
        from functional_mlp.ensemble.fitting import fit_ensembles  # not loaded for a help

        with in_options():
            tell = _counted(progress, done, 1 / len(keys))
            for number, result in fit_ensembles(whats, executor, at_once=AT_ONCE_ON_A_CLUSTER, progress=tell):
                yield pieces[number], result
        return
    for piece, what in zip(pieces, whats, strict=True):
        result = fit_ensemble(what, _counted(progress, done, len(piece) / what["epochs"]))
        done += len(piece)
        yield piece, result
        if result.interrupted:
            return


def _counted(progress: Callable[[float], None] | None, done: int, each: float) -> Callable[[float], None] | None:
    """What tells `progress` a number of settings: those `done` before, and `each` for all that is counted from here."""
    return None if progress is None else lambda counted: progress(done + each * counted)


def _what(piece: Sequence[Planned], keys: Sequence[Key]) -> dict[str, Any]:
    """What is trained of settings at once: each with all keys, the same draws for each."""
    runs = [each.run for each in piece]
    return runs[0].ensemble([*keys] * len(runs)) | {
        "optimizer": [run.optimizer for run in runs for _ in keys],
        "schedule": [run.schedule for run in runs for _ in keys],
    }


def _outcomes(piece: Sequence[Planned], result: fm.EnsembleResult, merit: Merit) -> list[Outcome]:
    """The outcome of each of the settings that were trained at once."""
    firsts = itertools.count(0, piece[0].members)
    return [
        Outcome.of(each, result.members[first : first + each.members], merit)
        for each, first in zip(piece, firsts, strict=False)
    ]


def _run(setting: dict[str, Any], samples: Samples, initializer: str | None, training: TrainingOptions) -> Run:
    """The run of a setting."""
    shape = {name: setting[name] for name in ("hidden", "activation") if name in setting}
    rule = {name: value for name, value in setting.items() if name not in shape}
    return Run.of(samples, NetworkOptions(initializer=initializer, **shape), training, RuleOptions(**rule))


def _facts(grids: SweepOptions, planned: Sequence[Planned]) -> dict[str, str]:
    """What is trained, as `train` says it of the first setting, and what varies."""
    varied = {
        words(name): ", ".join(dict.fromkeys(shown(each.setting[name]) for each in planned))
        for name in planned[0].setting
    }
    apart = [f"{name} {values}" for name, values in varied.items()]
    networks = f"{count(len(planned), 'setting')} with {count(grids.members, 'network')} each"
    return {**planned[0].run.facts, "sweep": f"{networks}: {'; '.join(apart)}"}


def _report(printing: Printing, outcomes: Sequence[Outcome], merit: Merit, file: Path | None) -> None:
    """Print the settings, the best one first."""
    out, names = printing.out(), list(outcomes[0].planned.setting)
    out.print(table_of(outcomes[:MOST_SHOWN], names, merit))
    if len(outcomes) > MOST_SHOWN:
        where = "--results FILE keeps all" if file is None else f"all are in {file}"
        say(out, f"the best {MOST_SHOWN} of {len(outcomes):,} settings; {where}")


def _write(
    printing: Printing,
    output: SweepOutput,
    plots: PlotOptions,
    gathered: Gathered,
    outcomes: Sequence[Outcome],
    best: Outcome,
) -> None:
    """Write what was asked for, and say where it is.

    Parameters
    ----------
    printing
        Where to say it.
    output
        The files that were asked for.
    plots
        The figures that were asked for.
    gathered
        What is known of all settings together.
    outcomes
        What came of each setting, the best one first.
    best
        The first of them, with its network.
    """
    out = printing.out()
    if gathered.known:
        say(out, f"in {output.results} before: {count(len(gathered.known), 'setting')} of {len(outcomes)}")
    if plots.plot is not None and _save_plot(plots.plot, outcomes, gathered.merit):
        say_written(out, "plot", plots.plot)
    if output.results is not None:
        say_written(out, "results", output.results)
    if output.out is not None and best.best is not None:
        _save_best(printing, output.out, best.planned.run, best.best)


def _save_best(printing: Printing, path: Path, run: Run, chosen: fm.FitResult) -> None:
    """Save the best network of the best setting."""
    fm.save(
        path,
        chosen.best,
        network=run.network,
        optimizer=run.optimizer,
        loss=run.loss,
        history=chosen.history,
        extra=run.samples.about.to_json(),
    )
    say(printing.out(), f"the best network of the best setting: {path}")


def _save_plot(path: Path, outcomes: Sequence[Outcome], merit: Merit) -> bool:
    """The loss against the first number with several values, or the first thing, a curve for each of the others."""
    from functional_mlp.ensemble.plotting import Curve, sweep_curves

    names = list(outcomes[0].planned.setting)
    several = [name for name in names if len({o.planned.setting[name] for o in outcomes}) > 1] or names
    numbers = [name for name in several if not isinstance(outcomes[0].planned.setting[name], tuple)]
    across = (numbers or several)[0]
    others: dict[str, list[Outcome]] = {}
    for outcome in sorted(
        outcomes, key=lambda outcome: tuple(outcome.planned.setting[name] for name in [across, *names])
    ):
        label = ", ".join(f"{words(name)} {shown(outcome.planned.setting[name])}" for name in names if name != across)
        if not math.isnan(outcome.losses.mean):
            others.setdefault(label, []).append(outcome)
    if not others:
        return False
    curves = {
        label: Curve(
            [o.planned.setting[across] if numbers else shown(o.planned.setting[across]) for o in own],
            [o.losses.mean for o in own],
            [0.0 if math.isnan(o.losses.std) else o.losses.std for o in own],
        )
        for label, own in others.items()
    }
    run = outcomes[0].planned.run
    name = f"{merit.loss} ({run.settings.loss})"
    write_figure(sweep_curves(words(across), name, curves, title=run.samples.description), path)
    return True
