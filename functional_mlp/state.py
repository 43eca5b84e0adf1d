"""The state of training, and what a run of one network or of many is asked for."""

import html
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import attrs
from attrs import field
from torch import Tensor

from functional_mlp import checks, markup, pytree
from functional_mlp.datasets import Dataset
from functional_mlp.history import History
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.metrics import Metrics
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty
from functional_mlp.random import Key
from functional_mlp.schedules import Schedule
from functional_mlp.spread import count
from functional_mlp.stopping import EarlyStopping
from functional_mlp.value import Deferred

EngineName = Literal["auto", "reference", "fused"]
ScheduleLike = Callable[[int], float]
# What stands for the accuracy on validation data: a number made of a network's outputs over them; more is better.
Score = Callable[[Tensor, Dataset], float]

# What an engine is given for each of some epochs, and for every member in it: the key of its order, a learning rate.
Keys = Sequence[Sequence[Key]]
Rates = Sequence[Sequence[float]]
# Called now and then with how many of these epochs are done, a fraction within an epoch; may raise to end them.
Tick = Callable[[float], None]


@attrs.frozen(eq=False)
class Outcome:
    """The figures of a member's epochs, as in `EpochRecord`: a tuple for each, with an entry for each epoch."""

    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]

    @classmethod
    def of(cls, trained: Iterable[Metrics], held_out: Iterable[Metrics]) -> "Outcome":
        """The outcome of epochs whose metrics in training, and over validation data, are these."""
        figures = operator.attrgetter("loss", "accuracy")
        return cls(*zip(*map(figures, trained), strict=True), *zip(*map(figures, held_out), strict=True))


@pytree.node
@attrs.frozen(eq=False, slots=False)
class TrainState(Deferred):
    """All that training needs to go on: the optimizer's state, the key of the shuffles, and the next epoch."""

    optimizer_state: OptimizerState
    key: Key = field(metadata=pytree.STRUCTURE)
    epoch: int = field(metadata=pytree.STRUCTURE, converter=checks.plain_integer)

    def _repr_html_(self) -> str:
        return markup.tree(f"TrainState after {count(self.epoch, 'epoch')}", self)


Callback = Callable[[int, TrainState, History], bool | None]


@attrs.frozen(eq=False)
class Progress:
    """How far the training of a network has come; `ended` says that a callback has ended it.

    `best` is the state after the best epoch so far, where early stopping asks for it, which judges the history from the
    place `judged_from` on.
    """

    state: TrainState
    history: History = field(factory=History)
    ended: bool = False
    best: TrainState | None = None
    judged_from: int = 0


@attrs.frozen(eq=False, kw_only=True)
class Member:
    """What one network is trained with, and from where.

    `params_given` says that the caller handed in parameters, or a state: otherwise they follow from the key.
    """

    optimizer: Optimizer
    data: Dataset
    validation: Dataset | None = None
    schedule: ScheduleLike | None = None
    progress: Progress
    params_given: bool = False

    @property
    def start(self) -> TrainState:
        """The state to start from."""
        return self.progress.state


@attrs.frozen(eq=False, kw_only=True)
class Job:
    """The training of a network, or of many of one kind, that fit each other; `epochs` are those in all.

    `caller` is the function that was called, for its messages.
    """

    caller: str = "fit"
    network: Layer
    loss: Loss
    members: tuple[Member, ...]
    epochs: int
    batch_size: int
    shuffle: bool = True
    penalty: Penalty | None = None
    score: Score | None = None
    early_stopping: EarlyStopping | None = None
    engine: EngineName


@attrs.frozen(eq=False, repr=False)
class FitResult:
    """What `fit` returns.

    `diverged_at` is the epoch whose loss stopped being finite, and `interrupted` says that Ctrl-C ended the
    run; `state` is then the last finite, or the last finished one. `best` is the state after the best epoch by the
    early stopping that was asked for, the last one without; `stopped_early` says that this ended the run.
    """

    state: TrainState
    history: History
    diverged_at: int | None = None
    interrupted: bool = False
    best: TrainState = field(default=attrs.Factory(lambda self: self.state, takes_self=True))
    stopped_early: bool = False

    def __repr__(self) -> str:
        diverged = self.diverged_at is not None
        ends = {"diverged": diverged, "interrupted": self.interrupted, "stopped early": self.stopped_early}
        told = "".join(f", {how}" for how, so in ends.items() if so)
        return f"<FitResult after {count(self.state.epoch, 'epoch')}{told}{self.history.outcome()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>\n{self.history._repr_html_()}"

    @property
    def params(self) -> Params:
        return self.state.optimizer_state.params

    @property
    def best_params(self) -> Params:
        return self.best.optimizer_state.params

    @property
    def best_epoch(self) -> int | None:
        """The place in `history` of the epoch that `best` is the state after; None where it came before them all."""
        ended = self.state.epoch if self.diverged_at is None else self.diverged_at + 1
        place = self.best.epoch - 1 - (ended - len(self.history))
        return place if place >= 0 else None


def untrained(member: Member) -> FitResult:
    """The result of a member whose training was interrupted before it began."""
    before = member.progress
    best = before.state if before.best is None else before.best
    return FitResult(before.state, before.history, interrupted=True, best=best)


class Kept(Protocol):
    """The progress of a job where it outlives the process: what training asks of it."""

    @property
    def job(self) -> Job:
        """The job with its members where they are kept, at their start where nothing is kept yet."""

    def save(self, progress: Sequence[Progress]) -> None:
        """Keep how far each member has come. Raises `OSError` where that cannot be done."""

    def is_due(self, epoch: int, seconds: float) -> bool:
        """Whether to save the progress after `epoch` epochs, `seconds` seconds after the last save."""


@runtime_checkable
class Keeper(Protocol):
    """What training takes for a `checkpoint`: a `functional_mlp.Checkpoint` is one."""

    def keep(self, job: Job) -> Kept:
        """The progress of a job. Raises where what is kept is of another job."""


def reads_history(schedule: ScheduleLike | None) -> bool:
    """Whether a schedule reads the history: it is then told of each epoch."""
    return isinstance(schedule, Schedule) and schedule.monitor is not None


def learning_rates(members: Sequence[Member], epoch: int, memories: Sequence[Any]) -> list[float]:
    """Each member's learning rate in an epoch: its optimizer's, times the factor of its schedule.

    `memories` are what each schedule remembers of its member's epochs, where it reads the history.
    """
    factors: dict[int, float] = {}  # of the schedules that many members share
    return [
        member.optimizer.learning_rate * _factor(member.schedule, epoch, memory, factors)
        for member, memory in zip(members, memories, strict=True)
    ]


def _factor(schedule: ScheduleLike | None, epoch: int, memory: Any, known: dict[int, float]) -> float:
    """The factor of a schedule; those that depend on the epoch alone are known once they have been asked."""
    if schedule is None:
        return 1.0
    if reads_history(schedule):
        assert isinstance(schedule, Schedule)
        return schedule.factor_after(memory, epoch)
    if id(schedule) not in known:
        known[id(schedule)] = checks.number(f"schedule({epoch})", schedule(epoch), low=0.0)
    return known[id(schedule)]


def ticks_after(done: int, tick: Tick) -> Tick:
    """`tick`, to be called with the share that is done of the epoch after the first `done` ones."""
    return lambda fraction: tick(done + fraction)
