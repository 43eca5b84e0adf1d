"""Why PyTorch's epochs take longer: where the time of per-sample SGD goes."""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.experiments import paper, torch_model, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Draw
from functional_mlp.runs import EngineName

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
    return torch_model.train(Recipe(epochs=1), draw, curves=False).history.seconds[0]


def _our_seconds(draw: Draw, engine: EngineName) -> float:
    epochs = FUSED_EPOCHS if engine == "fused" else 1
    return statistics.median(trials.time_epochs(Recipe(epochs=epochs), draw, engine))


def _time_phases(draw: Draw) -> dict[str, float]:
    """The seconds of an epoch of torch.nn, phase by phase, by a stopwatch."""
    from torch import nn

    model = torch_model.module(Recipe().network.init(draw.key))
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
    model = torch_model.module(Recipe().network.init(draw.key))
    optimizer = torch.optim.SGD(model.parameters(), lr=paper.LEARNING_RATE)
    return _profile(lambda rows: torch_model.run_epoch(model, optimizer, draw.training, rows))


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
