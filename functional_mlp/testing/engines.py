"""Comparing the engines: the same training, once as torch operations and once as machine code.

The engines do the same arithmetic in another order, so they round in other ways. By how much two runs of n steps
may end apart is derived from two things:

- Each step rounds by a few dozen ε relative to the numbers in a leaf: `relative_bound`, 64 ε n, and at least 1e-10
  in float64 and 1e-5 in float32.
- What such a difference grows to depends on the run, and is measured: the reference runs again, twice from params of
  which every number is moved by 8 ε, and twice with a network that moves every output and every gradient by 8 ε of
  what it is computed from, at every step. A small gradient that Adam divides by its own size shows here.

A leaf may therefore differ by relative_bound · (its largest magnitude) + n · (its largest change in the former runs)
+ 4 · (that in the latter). A run that is chaotic, because it diverges for example, has large changes, and shows less.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp import checks, pytree, random
from functional_mlp.datasets import Dataset
from functional_mlp.layers.adapting import as_layer
from functional_mlp.random import Key
from functional_mlp.testing.rounding import nudged_network, nudged_params
from functional_mlp.testing.search import failures_of
from functional_mlp.testing.trees import RELATIVE_TOLERANCE, assert_same, packed, side_by_side

Engine = Literal["reference", "fused"]

ROUNDINGS = 64
MARGIN = 4
SEEDS = (0, 1)


def check_engines_agree(
    network: Any,
    loss: Any,
    optimizer: Any,
    data: Dataset,
    *,
    epochs: int = 3,
    batch_size: int = 1,
    schedule: Callable[[int], float] | None = None,
    params: Any = None,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless the fused engine trains as the reference does; the message names the leaf.

    Both run `functional_mlp.fit` from the same params and key; their states, losses and the epoch at which they
    diverge are compared within the bound of the module's docstring. Of a run that diverges the epoch that does so
    is compared as well, by which numbers are finite. The params and the data that are handed in must come back with
    the same bits, and a second fused run must give the same bits as the first.

    Raises `ValueError` where the fused engine cannot take the network: `functional_mlp.engine.explain` says why.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
    >>> data = fm.datasets.disk(fm.random.key(0), 20)
    >>> check_engines_agree(network, fm.CrossEntropy(), fm.Momentum(0.1), data, batch_size=4)
    """
    training_run = TrainingRun(network, loss, optimizer, data, epochs, batch_size, schedule, random.key(seed))
    with failures_of(f"check_engines_agree({network!r}, {loss!r}, {optimizer!r}, batch_size={batch_size})"):
        compare(training_run, params, "fused")


@attrs.frozen(eq=False)
class TrainingRun:
    """All that the engines are given, params aside."""

    network: Any
    loss: Any
    optimizer: Any
    data: Dataset
    epochs: int
    batch_size: int
    schedule: Callable[[int], float] | None
    key: Key

    @property
    def dtype(self) -> torch.dtype:
        return self.data.inputs.dtype

    @property
    def steps(self) -> int:
        return self.epochs * math.ceil(len(self.data) / self.batch_size)

    def nudged(self, seed: int) -> "TrainingRun":
        """The run with a network that rounds in another way."""
        return attrs.evolve(self, network=nudged_network(as_layer("network", self.network), seed))

    def initial_params(self) -> Any:
        return self.network.init(self.key, dtype=self.dtype, device=self.data.inputs.device)

    def outcome(self, params: Any, engine: Engine) -> "Outcome":
        options: dict[str, Any] = {"batch_size": self.batch_size, "schedule": self.schedule, "engine": engine}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # divergence
            result = fm.fit(
                self.network, self.loss, self.optimizer, self.data,
                key=self.key, epochs=self.epochs, params=params, **options,
            )  # fmt: skip
        losses = torch.tensor(result.history.train_loss, dtype=torch.float64)
        diverged = None
        if result.diverged_at is not None:
            network = as_layer("network", self.network)
            diverged, _ = fm.train_epoch(
                network, self.loss, result.state, self.data, optimizer=self.optimizer, **options
            )
        return Outcome(result.state, losses, result.diverged_at, diverged)


@attrs.frozen(eq=False)
class Outcome:
    """Where a run ended, and where the epoch in which it diverged led."""

    state: fm.TrainState
    losses: Tensor
    diverged_at: int | None
    diverged: fm.TrainState | None

    @property
    def tree(self) -> Any:
        return {"optimizer_state": self.state.optimizer_state, "train_loss": self.losses}


def relative_bound(dtype: torch.dtype, steps: int) -> float:
    """By how much of its magnitude a leaf may differ after so many steps, for rounding alone.

    >>> relative_bound(torch.float64, 1000), relative_bound(torch.float32, 1000) < 0.01
    (1e-10, True)
    """
    return max(RELATIVE_TOLERANCE[dtype], ROUNDINGS * torch.finfo(dtype).eps * steps)


def compare(run: TrainingRun, params: Any, engine: Engine) -> None:
    """Raise `AssertionError` unless an engine and the reference agree on a training run."""
    checks.instance("data", run.data, Dataset, "make one with functional_mlp.Dataset")
    params = run.initial_params() if params is None else params
    handed_in = {"params": params, "inputs": run.data.inputs, "targets": run.data.targets}
    copies = pytree.map(packed, handed_in)
    actual = run.outcome(params, engine)
    assert_same("the engine changed what was handed in", copies, handed_in)
    again = run.outcome(params, engine)
    assert_same("a second run gives other bits", actual.tree, again.tree)

    expected = run.outcome(params, "reference")
    if actual.diverged_at != expected.diverged_at:
        raise AssertionError(
            f"the engine diverges at epoch {actual.diverged_at}, the reference at epoch {expected.diverged_at}"
        )
    if (actual.state.epoch, actual.state.key) != (expected.state.epoch, expected.state.key):
        raise AssertionError(f"the engine ends after epoch {actual.state.epoch}, not {expected.state.epoch}")
    once = [run.outcome(nudged_params(params, seed), "reference").tree for seed in SEEDS]
    always = [run.nudged(seed).outcome(params, "reference").tree for seed in SEEDS]
    _assert_close(run, actual.tree, expected.tree, once, always)
    if actual.diverged is not None and expected.diverged is not None:
        _assert_same_numbers_finite(actual.diverged.optimizer_state, expected.diverged.optimizer_state)


def _assert_close(run: TrainingRun, actual: Any, expected: Any, once: list[Any], always: list[Any]) -> None:
    bound = relative_bound(run.dtype, run.steps)
    if pytree.paths(actual) != pytree.paths(expected):
        raise AssertionError(f"the engine returns {pytree.paths(actual)}, the reference {pytree.paths(expected)}")
    for path, a, b, *others in side_by_side(expected, actual, *once, *always):
        name = path.removeprefix("['optimizer_state'].").strip("[']")
        if (a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device):
            raise AssertionError(f"{name} is {checks.describe(b)}, the reference's {checks.describe(a)}")
        _assert_same_numbers_finite({name: b}, {name: a})
        finite = a.isfinite()
        if not finite.any():
            continue
        changes = [_change(a, other, finite) for other in others]
        from_once, from_always = max(changes[: len(once)]), max(changes[len(once) :])
        allowed = bound * _largest(a, finite) + run.steps * from_once + MARGIN * from_always
        worst = _largest(b - a, finite)
        if not worst <= allowed:
            place = tuple(((b - a).abs() == worst).nonzero()[0].tolist())
            raise AssertionError(
                f"{name}{list(place) if place else ''} is {b[place].item()!r}, the reference's {a[place].item()!r}: an "
                f"error of {worst:.1e} where {allowed:.1e} is allowed after {run.steps} steps"
            )


def _change(a: Tensor, other: Tensor, finite: Tensor) -> float:
    """How far another run of the reference ended; it may have diverged, or at another epoch."""
    if other.shape != a.shape:
        return math.inf
    return _largest((other - a).nan_to_num(nan=math.inf), finite)


def _largest(tensor: Tensor, finite: Tensor) -> float:
    return tensor[finite].abs().max().item()


def _assert_same_numbers_finite(actual: Any, expected: Any) -> None:
    for path, b, a in side_by_side(actual, expected):
        differ = a.isfinite() != b.isfinite()
        if differ.any():
            place = tuple(differ.nonzero()[0].tolist())
            raise AssertionError(
                f"{path}{list(place) if place else ''} is {b[place].item()!r}, the reference's {a[place].item()!r}"
            )
