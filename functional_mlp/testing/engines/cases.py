"""The same training several times: on each engine, and rounded in other ways."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.datasets import Dataset
from functional_mlp.history import History
from functional_mlp.layers.adapting import as_layer
from functional_mlp.penalties import Penalty
from functional_mlp.random import Key
from functional_mlp.state import FitResult, TrainState
from functional_mlp.testing.rounding import flushed_network, nudged_network, nudged_params
from functional_mlp.testing.trees import packed
from functional_mlp.training import fit, train_epoch

Engine = Literal["reference", "fused"]

# What a history records of how well a network does.
LOSSES = ("train_loss", "validation_loss")
ACCURACIES = ("train_accuracy", "validation_accuracy")


@attrs.frozen(eq=False)
class Outcome:
    """Where a run ended, what it recorded, and where the epoch in which it diverged led."""

    state: TrainState
    history: History
    diverged_at: int | None
    diverged: TrainState | None

    def figures(self, *names: str) -> dict[str, Tensor]:
        """Figures of the history, a number for each epoch."""
        return {name: torch.tensor(getattr(self.history, name), dtype=torch.float64) for name in names}

    @property
    def tree(self) -> Any:
        """What training has led to."""
        return {"optimizer_state": self.state.optimizer_state, **self.figures("train_loss")}


@attrs.frozen(eq=False, kw_only=True)
class TrainingRun:
    """All that the engines are given, params aside."""

    network: Any
    loss: Any
    optimizer: Any
    data: Dataset
    epochs: int
    batch_size: int
    schedule: Callable[[int], float] | None
    penalty: Penalty | None
    key: Key

    def __str__(self) -> str:
        return (
            f"fit({self.network!r}, {self.loss!r}, {self.optimizer!r}, data, key={self.key!r}, epochs={self.epochs}, "
            f"batch_size={self.batch_size}, schedule={self.schedule!r}, penalty={self.penalty!r})"
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.data.inputs.dtype

    @property
    def steps(self) -> int:
        return self.epochs * math.ceil(len(self.data) / self.batch_size)

    def nudged(self, seed: int) -> "TrainingRun":
        """The run with a network that rounds in another way."""
        return attrs.evolve(self, network=nudged_network(as_layer("network", self.network), seed))

    @property
    def flushed(self) -> "TrainingRun":
        """The run with a network in which the smallest numbers count as zero."""
        return attrs.evolve(self, network=flushed_network(as_layer("network", self.network)))

    def initial_params(self) -> Any:
        return self.network.init(self.key, dtype=self.dtype, device=self.data.inputs.device)

    def options(self, engine: Engine) -> dict[str, Any]:
        common = {"batch_size": self.batch_size, "schedule": self.schedule, "penalty": self.penalty}
        return {**common, "engine": engine}

    def outcome(self, params: Any, engine: Engine, *, validated: bool = True) -> Outcome:
        """What `fit` gives; without validation an engine may train several epochs at once."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # divergence
            result = self.fitted(params, engine, self.data if validated else None)
        diverged = None
        if result.diverged_at is not None:
            diverged, _ = self.following(result.state, engine)
        return Outcome(result.state, result.history, result.diverged_at, diverged)

    def fitted(self, params: Any, engine: Engine, validation: Dataset | None) -> FitResult:
        return fit(
            self.network,
            self.loss,
            self.optimizer,
            self.data,
            key=self.key,
            epochs=self.epochs,
            params=params,
            validation=validation,
            **self.options(engine),
        )

    def started(self, params: Any) -> TrainState:
        """The state that `fit` starts from."""
        _, train_key = self.key.split()
        return TrainState(self.optimizer.init(params), train_key, 0)

    def following(self, state: TrainState, engine: Engine) -> tuple[TrainState, float]:
        """One more epoch."""
        network = as_layer("network", self.network)
        return train_epoch(network, self.loss, state, self.data, optimizer=self.optimizer, **self.options(engine))


@attrs.frozen(eq=False, slots=False)
class Comparison:
    """An engine beside the reference, from the same params."""

    run: TrainingRun
    params: Any
    engine: Engine

    def __str__(self) -> str:
        return str(self.run)

    @functools.cached_property
    def handed_in(self) -> dict[str, Any]:
        """What the engine must not change, and copies of it."""
        data = self.run.data
        handed_in = {"params": self.params, "inputs": data.inputs, "targets": data.targets, "weights": data.weights}
        return {"given": handed_in, "copies": pytree.map(packed, handed_in)}

    @functools.cached_property
    def actual(self) -> Outcome:
        return self.run.outcome(self.params, self.engine)

    @functools.cached_property
    def expected(self) -> Outcome:
        return self.run.outcome(self.params, "reference")

    def rounded_once(self, seeds: tuple[int, ...]) -> list[Outcome]:
        """The reference from params that are rounded in another way."""
        return [self.run.outcome(nudged_params(self.params, seed), "reference") for seed in seeds]

    def rounded_always(self, seeds: tuple[int, ...]) -> list[Outcome]:
        """The reference with a network that rounds in another way at every step."""
        return [self.run.nudged(seed).outcome(self.params, "reference") for seed in seeds]

    def flushed(self) -> Outcome:
        """The reference with a network in which the smallest numbers count as zero."""
        return self.run.flushed.outcome(self.params, "reference")
