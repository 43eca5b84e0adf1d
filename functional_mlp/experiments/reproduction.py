"""All experiments, in order: those that time something first, then torch.nn's runs beside all others."""

import os
import platform
import time
from collections.abc import Callable

import attrs
import torch

import functional_mlp as fm
from functional_mlp.experiments import (
    basic_model,
    batch_gradient_descent,
    cells,
    epoch_time,
    factorial,
    initializations,
    misclassified,
    models,
    momentum,
    momentum_tuning,
    paper,
    torch_model,
    torch_nn,
    trials,
)
from functional_mlp.experiments.paper import Recipe


@attrs.frozen
class Scale:
    """How much is run: the number of runs, and what is affordable of torch.nn's slow epochs.

    `variant_runs` are those of each batch size and of each initialization.
    """

    runs: int
    variant_runs: int
    tuning_runs: int
    tuning_every: int
    timing_rounds: int
    compared_steps: int
    torch_runs: int
    torch_epochs: int
    torch_cell_epochs: int
    processes: int


FULL = Scale(
    runs=paper.RUNS,
    variant_runs=paper.RUNS,
    tuning_runs=8,
    tuning_every=1,
    timing_rounds=7,
    compared_steps=paper.SAMPLES,
    torch_runs=3,
    torch_epochs=75,
    torch_cell_epochs=paper.TORCH_EPOCHS,
    processes=2,
)
QUICK = Scale(
    runs=3,
    variant_runs=1,
    tuning_runs=1,
    tuning_every=10,
    timing_rounds=1,
    compared_steps=100,
    torch_runs=1,
    torch_epochs=2,
    torch_cell_epochs=3,
    processes=1,
)


@attrs.frozen
class Setting:
    """Where and how the results were made."""

    seed: int
    scale: Scale
    processor: str
    cores: int
    python: str
    torch: str
    functional_mlp: str


@attrs.frozen
class Reproduction:
    """The results of every experiment."""

    setting: Setting
    basic_model: basic_model.BasicModel
    misclassified: misclassified.Misclassified
    momentum: models.Model
    step_by_step: tuple[torch_model.StepByStep, ...]
    cells: tuple[cells.Cell, ...]
    factorial: factorial.Factorial
    epoch_time: epoch_time.EpochTime
    batch_gradient_descent: batch_gradient_descent.BatchGradientDescent
    momentum_tuning: momentum_tuning.MomentumTuning
    initializations: tuple[initializations.Initialized, ...]
    seconds: float


def run(scale: Scale, seed: int, announce: Callable[[str], None]) -> Reproduction:
    """Run every experiment; `announce` is told what comes next."""
    started = time.perf_counter()
    run_key, tuning_key = fm.random.key(seed).split()
    keys = trials.run_keys(run_key, scale.runs)
    draws = [trials.draw(key) for key in keys]

    announce("timing epochs of torch.nn, the reference and the fused engine")
    epoch_times = epoch_time.run(draws[0], scale.timing_rounds)
    batch_seconds = batch_gradient_descent.time_epochs(draws)
    with torch_nn.workers(scale.processes) as pool:
        announce("the PyTorch model, in the background")
        tasks = cells.torch_tasks(keys[: scale.torch_runs], scale.torch_epochs, scale.torch_cell_epochs)
        torch_trials = pool.starmap_async(torch_nn.train_from_key, tasks, chunksize=1)
        announce("Fig. 1, 2, 3 and 6: the basic model")
        plain = trials.train(Recipe(), draws)
        basic, wrong = basic_model.run(plain, draws), misclassified.run(plain, draws)
        with_momentum = momentum.run(draws)
        announce("the PyTorch model, step by step")
        steps = torch_model.run(keys[0], scale.compared_steps)
        announce("batch gradient descent")
        batches = batch_gradient_descent.run(draws[: scale.variant_runs], batch_seconds)
        announce("momentum tuning")
        tuning_draws = [trials.draw(key) for key in trials.run_keys(tuning_key, scale.tuning_runs)]
        tuning = momentum_tuning.run(tuning_draws, draws, scale.tuning_every)
        announce("initializations")
        initialized = initializations.run(draws[: scale.variant_runs])
        announce("the factorial of initialization, step-size decay and framework")
        ours = cells.train_ours(draws)
        announce("waiting for the PyTorch model")
        their_runs = torch_trials.get()
    theirs = [their_runs[first : first + scale.torch_runs] for first in range(0, len(their_runs), scale.torch_runs)]
    return Reproduction(
        setting=_setting(seed, scale),
        basic_model=basic,
        misclassified=wrong,
        momentum=with_momentum,
        step_by_step=steps,
        cells=cells.cells_of(ours, theirs),
        factorial=factorial.run(ours, theirs),
        epoch_time=epoch_times,
        batch_gradient_descent=batches,
        momentum_tuning=tuning,
        initializations=initialized,
        seconds=time.perf_counter() - started,
    )


def _setting(seed: int, scale: Scale) -> Setting:
    return Setting(
        seed,
        scale,
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        python=platform.python_version(),
        torch=torch.__version__,
        functional_mlp=fm.__version__,
    )


def _processor() -> str:
    """The processor's model where the system tells it, else its architecture."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
