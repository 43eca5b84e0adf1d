"""The command `sweep`: many settings of an optimizer, each with several seeds, trained at once."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from attrs import evolve, frozen
from cyclopts import Parameter, Token

import functional_mlp as fm
from functional_mlp.cli.data import DataOptions
from functional_mlp.cli.ending import check_not_interrupted
from functional_mlp.cli.members import fit_quietly
from functional_mlp.cli.network import NetworkOptions
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.paths import check_files
from functional_mlp.cli.plots import PlotOptions, write_figure
from functional_mlp.cli.terminal import Table, out_console, say_written
from functional_mlp.cli.training import TRAINING_GROUP, TrainingOptions
from functional_mlp.interrupts import no_interrupt
from functional_mlp.spread import Spread, mean, plus_minus, std

Grid = tuple[float, ...]


def parse_grid(kind: Any, tokens: Sequence[Token]) -> Grid:
    """Numbers joined by commas, or `low:high:log8` and `low:high:lin8` for eight from one to the other."""
    return grid(",".join(token.value for token in tokens))


def grid(text: str) -> Grid:
    """The numbers that an option's text stands for.

    >>> grid("0,0.5,0.9"), grid("0.01:1:log3"), grid("0:1:lin3")
    ((0.0, 0.5, 0.9), (0.01, 0.1, 1.0), (0.0, 0.5, 1.0))
    """
    match = re.fullmatch(r"\s*([^:,]+):([^:,]+):(log|lin)(\d+)\s*", text)
    wanted = f"expected numbers such as 0,0.5,0.9 or 0.001:0.1:log8 or 0:0.9:lin4, got {text!r}"
    try:
        if match is None:
            return tuple(map(float, text.split(",")))
        low, high, count = float(match[1]), float(match[2]), int(match[4])
    except ValueError:
        raise ValueError(wanted) from None
    if count < 2 or not low < high or (match[3] == "log" and low <= 0):
        raise ValueError(f"{wanted}: from low to high, at least two, above 0 for log")
    shares = [step / (count - 1) for step in range(count)]
    if match[3] == "lin":
        return tuple(low + (high - low) * share for share in shares)
    # To 12 digits, for what is a tenth to be printed as one.
    return tuple(float(f"{low * (high / low) ** share:.12g}") for share in shares)


GridOption: Parameter = Parameter(converter=parse_grid, n_tokens=1, negative="", metavar="NUMBERS")


@Parameter(name="*", group=TRAINING_GROUP)
@frozen(kw_only=True)
class SweepOptions:
    """What to vary. Numbers are written 0,0.5,0.9 or 0.001:0.1:log8 or 0:0.9:lin4."""

    learning_rate: Annotated[Grid | None, GridOption] = None
    """Step sizes of the first epoch."""

    beta: Annotated[Grid | None, GridOption] = None
    """How much of the past the optimizer keeps, from 0 to below 1; with it, momentum is the optimizer on the disk."""

    decay: Annotated[Grid | None, GridOption] = None
    """Factors on the step size after each epoch, up to 1."""

    members: Annotated[int, Parameter(converter=parse_integer)] = 5
    """Networks for each setting, with initial weights and orders of their own."""

    def settings(self) -> list[dict[str, Any]]:
        """Each combination of the numbers that vary, by name."""
        given = {"learning_rate": self.learning_rate, "beta": self.beta, "decay": self.decay}
        varied = {name: values for name, values in given.items() if values is not None}
        if not varied:
            raise ValueError("sweep: nothing varies: give --learning-rate, --beta or --decay several numbers")
        return [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]


@frozen
class Outcome:
    """A setting, with the figures of its members that did not diverge."""

    setting: dict[str, Any]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    diverged: int

    @property
    def rank(self) -> tuple[int, float]:
        """Small is good: settings that never diverge before all others, then by the mean loss."""
        return self.diverged, mean(self.losses) if self.losses else math.inf


def sweep(
    *,
    data: DataOptions = DataOptions(),  # noqa: B008 - frozen
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 - frozen
    grids: SweepOptions = SweepOptions(),
    training: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    plots: PlotOptions = PlotOptions(),  # noqa: B008 - frozen
) -> None:
    """Train with every combination of step sizes, betas and decays, and show which does best.

    Each combination is trained several times, all of them at once. The table has the mean loss and accuracy of
    each with its standard deviation, on the validation samples where there are any, the best one first; --plot
    draws the losses. Example: --learning-rate 0.001:0.1:log8 --beta 0,0.5,0.9 --optimizer momentum.
    """
    plots.check()
    check_files(reads={"--data": data.data}, writes=plots.files())
    if grids.members < 1:
        raise ValueError(f"--members: train at least one network a setting, got {grids.members}")
    data_key, fit_key = fm.random.key(training.seed).split()
    samples = data.load(data_key, training.torch_dtype(), training.torch_device())
    if grids.beta is not None and training.optimizer is None and samples.recipe.optimizer == "sgd":
        training = evolve(training, optimizer="momentum")
    sizes = samples.training.inputs.shape[1], len(samples.classes)
    model = network.network(*sizes, default_initializer=samples.recipe.initializer)

    settings = grids.settings()
    filled = [training.filled(samples.recipe, **setting) for setting in settings]
    loss = filled[0].make_loss()
    result = fit_quietly(
        model,
        loss,
        [each.make_optimizer() for each in filled for _ in range(grids.members)],
        samples,
        keys=fit_key.split(grids.members) * len(settings),  # the same draws for each setting
        training=training,
        batch_size=filled[0].batch_size,
        schedule=[each.make_schedule() for each in filled for _ in range(grids.members)],
    )
    shown = samples.training if samples.validation is None else samples.validation
    part = "training" if samples.validation is None else "validation"
    with no_interrupt():
        outcomes = _outcomes(model, loss, result, settings, grids.members, shown)
        out_console().print(_table(outcomes, part))
        _save_plot(plots.plot, outcomes, part)
    check_not_interrupted(result)


def _outcomes(
    model: fm.Layer,
    loss: fm.Loss,
    result: fm.EnsembleResult,
    settings: Sequence[dict[str, Any]],
    members: int,
    data: fm.Dataset,
) -> list[Outcome]:
    """The outcome of each setting."""
    outcomes = []
    for index, setting in enumerate(settings):
        own = result.members[index * members : (index + 1) * members]
        finite = [member for member in own if member.diverged_at is None]
        metrics = [fm.evaluate(model, loss, member.best_params, data) for member in finite]
        losses, accuracies = tuple(m.loss for m in metrics), tuple(m.accuracy for m in metrics)
        outcomes.append(Outcome(setting, losses, accuracies, len(own) - len(finite)))
    return outcomes


def _table(outcomes: Sequence[Outcome], part: str) -> Table:
    table = Table()
    names = list(outcomes[0].setting)
    for heading in (*map(_words, names), f"{part} loss", f"{part} accuracy", "diverged"):
        table.add_column(heading, justify="right")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.rank):
        figures = [plus_minus(Spread.of(own)) if own else "" for own in (outcome.losses, outcome.accuracies)]
        numbers = [f"{outcome.setting[name]:g}" for name in names]
        table.add_row(*numbers, *figures, str(outcome.diverged) if outcome.diverged else "")
    return table


def _save_plot(path: Path | None, outcomes: Sequence[Outcome], part: str) -> None:
    """The loss against the first number that takes several values, a curve for each setting of the others."""
    if path is None:
        return
    from functional_mlp.ensemble.plotting import Curve, sweep_curves

    names = list(outcomes[0].setting)
    across = next((name for name in names if len({o.setting[name] for o in outcomes}) > 1), names[0])
    others: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.setting[across]):
        label = ", ".join(f"{_words(name)} {outcome.setting[name]:g}" for name in names if name != across)
        if outcome.losses:
            others.setdefault(label, []).append(outcome)
    if not others:
        return
    curves = {
        label: Curve(
            [o.setting[across] for o in own],
            [mean(o.losses) for o in own],
            [std(o.losses) for o in own],
        )
        for label, own in others.items()
    }
    write_figure(sweep_curves(_words(across), f"{part} loss", curves), path)
    say_written(out_console(), "plot", path)


def _words(name: str) -> str:
    return name.replace("_", " ")
