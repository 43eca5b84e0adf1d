"""Why PyTorch's epochs take longer: where the time of per-sample SGD goes."""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.experiments import paper, torch_nn, trials
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, Table
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Draw
from functional_mlp.state import EngineName

PROFILED_SAMPLES = 50
FUSED_EPOCHS = 100
PHASES = ("forward", "loss", "zero_grad", "backward", "step")

# The operators of torch that compute numbers; its others make views and copies, and find memory.
_COMPUTING = """
add add_ addmm addmv clamp_min div div_ ge gt le lt maximum mean mm mse_loss mse_loss_backward mul mul_ mv neg outer
relu rsub square sub sub_ sum tanh tanh_backward threshold_backward where
"""
ARITHMETIC = frozenset(f"aten::{name}" for name in _COMPUTING.split())


@attrs.frozen
class Profile:
    """Where a framework's time goes in an update, in the shares that torch.profiler saw.

    `operators` is the number of calls of torch's operators an update, nested ones included.
    """

    operators: float
    arithmetic_operators: float
    shares: dict[str, float]


@attrs.frozen
class EpochTime:
    """Seconds of an epoch, in turn round by round; torch's phases; and the profiles of torch.nn and our reference."""

    torch_nn: tuple[float, ...]
    reference: tuple[float, ...]
    fused: tuple[float, ...]
    phases: dict[str, float]
    torch_profile: Profile
    reference_profile: Profile

    @property
    def medians(self) -> dict[str, float]:
        """The median seconds of an epoch by framework."""
        times = {"torch.nn": self.torch_nn, "reference": self.reference, "fused": self.fused}
        return {name: statistics.median(seconds) for name, seconds in times.items()}


def run(draw: Draw, rounds: int) -> EpochTime:
    """Time the paper's epoch in each framework, to be run while nothing else does."""
    times = [
        (_torch_seconds(draw), _our_seconds(draw, "reference"), _our_seconds(draw, "fused")) for _ in range(rounds)
    ]
    torch_nn, reference, fused = zip(*times, strict=True)
    return EpochTime(
        torch_nn,
        reference,
        fused,
        phases=_time_phases(draw),
        torch_profile=_profile_torch(draw),
        reference_profile=_profile_reference(draw),
    )


def _torch_seconds(draw: Draw) -> float:
    return torch_nn.train(Recipe(epochs=1), draw, curves=False).history.seconds[0]


def _our_seconds(draw: Draw, engine: EngineName) -> float:
    epochs = FUSED_EPOCHS if engine == "fused" else 1
    return statistics.median(trials.time_epochs(Recipe(epochs=epochs), draw, engine))


def _time_phases(draw: Draw) -> dict[str, float]:
    """The seconds of an epoch of torch.nn, phase by phase, by a stopwatch."""
    from torch import nn

    model = torch_nn.module(Recipe().network.init(draw.key))
    optimizer = torch.optim.SGD(model.parameters(), lr=paper.LEARNING_RATE)
    criterion = nn.MSELoss()
    seconds = dict.fromkeys(PHASES, 0.0)
    for x, target in zip(draw.training.inputs, draw.training.targets, strict=True):
        marks = [time.perf_counter()]
        prediction = model(x)
        marks.append(time.perf_counter())
        loss = criterion(prediction, target)
        marks.append(time.perf_counter())
        optimizer.zero_grad()
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        for phase, (begin, end) in zip(PHASES, itertools.pairwise(marks), strict=True):
            seconds[phase] += end - begin
    return seconds


def _profile_torch(draw: Draw) -> Profile:
    model = torch_nn.module(Recipe().network.init(draw.key))
    optimizer = torch.optim.SGD(model.parameters(), lr=paper.LEARNING_RATE)
    return _profile(lambda rows: torch_nn.run_epoch(model, optimizer, draw.training, rows))


def _profile_reference(draw: Draw) -> Profile:
    recipe = Recipe()
    data = fm.Dataset(draw.training.inputs[:PROFILED_SAMPLES], draw.training.targets[:PROFILED_SAMPLES])
    state = fm.TrainState(recipe.optimizer.init(recipe.network.init(draw.key)), draw.key, epoch=0)
    return _profile(
        lambda rows: fm.train_epoch(
            recipe.network, paper.LOSS, state, data, optimizer=recipe.optimizer, engine="reference"
        )
    )


def _profile(update_rows: Callable[[Tensor], object]) -> Profile:
    """The profile of a function that makes an update for each of the rows it is given."""
    from torch.profiler import ProfilerActivity, profile

    rows = torch.arange(PROFILED_SAMPLES)
    update_rows(rows)  # what is done once, at the first call, is no part of an update
    with _quiet_profiler(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        update_rows(rows)
        microseconds = 1e6 * (time.perf_counter() - started)
    events: list[Any] = list(profiler.key_averages())
    shares = dict.fromkeys(("arithmetic", "views, copies and memory", "autograd", "optimizer and zero_grad"), 0.0)
    for event in events:
        shares[_kind(event.key)] += event.self_cpu_time_total / microseconds
    shares["Python between the operators"] = 1 - sum(shares.values())
    operators = {event.key: event.count / PROFILED_SAMPLES for event in events if event.key.startswith("aten::")}
    return Profile(
        operators=sum(operators.values()),
        arithmetic_operators=sum(count for name, count in operators.items() if name in ARITHMETIC),
        shares=shares,
    )


def _kind(event: str) -> str:
    if event in ARITHMETIC:
        return "arithmetic"
    if event.startswith("Optimizer."):
        return "optimizer and zero_grad"
    if "autograd::" in event or "Backward" in event:
        return "autograd"
    return "views, copies and memory"


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """Keep the profiler from writing a line to standard error when it starts and when it ends."""
    name = "KINETO_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ[name] = "6"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def section(result: EpochTime) -> list[Block]:
    medians = result.medians
    torch_nn, reference, fused = medians["torch.nn"], medians["reference"], medians["fused"]
    theirs, ours = result.torch_profile, result.reference_profile
    total = sum(result.phases.values())
    phases = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in result.phases.items())
    return [
        Heading("Why do PyTorch's epochs take longer?"),
        Paragraph(
            f"An epoch of {paper.SAMPLES} updates takes torch.nn {1e3 * torch_nn:.0f} ms, our reference, which like "
            f"the paper's framework calls a tensor operation at a time, {1e3 * reference:.0f} ms, and the fused engine "
            f"{1e3 * fused:.2f} ms: torch.nn takes {torch_nn / reference:.1f} times as long as the reference (the "
            f"paper measured {paper.TORCH_SECONDS / paper.OWN_SECONDS:.1f} times, {paper.TORCH_SECONDS} s against "
            f"{paper.OWN_SECONDS} s), and {torch_nn / fused:.0f} times as long as the fused engine."
        ),
        Paragraph(
            "The fused engine does all the arithmetic of the epoch in its time, "
            f"{100 * fused / torch_nn:.2f} % of torch.nn's. The rest is the cost of operators on tensors of 2 to 25 "
            f"numbers: an update calls {theirs.operators:.0f} operators of torch in torch.nn and "
            f"{ours.operators:.0f} in the reference, of which {theirs.arithmetic_operators:.0f} and "
            f"{ours.arithmetic_operators:.0f} compute anything. Only torch.nn records a graph and walks it backward "
            f"({100 * theirs.shares['autograd']:.0f} % of its time as profiled) and visits parameter after parameter "
            f"in an optimizer ({100 * theirs.shares['optimizer and zero_grad']:.0f} %). By a stopwatch its epoch "
            f"divides into {phases}. The step size is a number in each update, constant or not, and has no part in it."
        ),
        Picture(
            "epoch-time",
            _draw(result),
            "(a) Time of an epoch at batch size 1, on a logarithmic scale: the rounds (dots) and their median. "
            "(b) torch.nn's epoch by phase, by a stopwatch. (c) Where the time goes by torch.profiler, which slows "
            "what it watches.",
            "Bars of the time of an epoch by framework, by phase and by kind of work",
        ),
        Table(
            ("", "torch.nn", "reference", "fused"),
            (
                ("ms an epoch, median", *(f"{1e3 * seconds:.2f}" for seconds in medians.values())),
                ("fastest round", *(f"{1e3 * min(times):.2f}" for times in _rounds(result))),
                ("slowest round", *(f"{1e3 * max(times):.2f}" for times in _rounds(result))),
                ("operators an update", f"{theirs.operators:.0f}", f"{ours.operators:.0f}", "–"),
                *(
                    (f"{kind}, share", f"{100 * theirs.shares[kind]:.0f} %", f"{100 * ours.shares[kind]:.0f} %", "–")
                    for kind in theirs.shares
                ),
            ),
            "Times in the same process, in turn round by round, without validation; operators and shares by "
            "torch.profiler.",
        ),
    ]


def _rounds(result: EpochTime) -> tuple[Sequence[float], ...]:
    return result.torch_nn, result.reference, result.fused


def _draw(result: EpochTime) -> Figure:
    figure, (times, phases, kinds) = style.panels(3, width=10.0, height=3.0, width_ratios=(1.5, 0.7, 1.2))
    milliseconds = {name: 1e3 * seconds for name, seconds in result.medians.items()}
    for place, rounds in enumerate(_rounds(result)):
        times.plot([place] * len(rounds), [1e3 * seconds for seconds in rounds], **style.RUNS)
    times.plot(list(milliseconds), list(milliseconds.values()), **style.MEDIANS)
    for place, median in enumerate(milliseconds.values()):
        times.annotate(f"{median:.3g}", (place, median), (0, 7), textcoords="offset points", ha="center")
    style.logarithmic_between(times, min(milliseconds.values()) / 3, max(milliseconds.values()) * 5)
    times.set(xlim=(-0.5, 2.5), ylabel="ms an epoch")
    total = sum(result.phases.values())
    _shares(phases, ["torch.nn"], {name: [seconds / total] for name, seconds in result.phases.items()})
    profiles = (result.torch_profile, result.reference_profile)
    _shares(kinds, ["torch.nn", "reference"], {k: [p.shares[k] for p in profiles] for k in profiles[0].shares})
    style.letter((times, phases, kinds), ("time of an epoch", "by phase", "by kind of work"))
    return figure


def _shares(axes: Axes, names: Sequence[str], shares: dict[str, list[float]]) -> None:
    bottom = [0.0] * len(names)
    for index, (label, heights) in enumerate(shares.items()):
        words = label.replace(" and ", "\nand ")
        axes.bar(names, heights, bottom=bottom, width=0.6, label=words, **style.portion(index))
        bottom = [begin + height for begin, height in zip(bottom, heights, strict=True)]
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(0, 1), ylabel="share of the time")
    axes.grid(visible=False)
    handles, labels = axes.get_legend_handles_labels()
    style.legend(axes, handles[::-1], labels[::-1], size="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
