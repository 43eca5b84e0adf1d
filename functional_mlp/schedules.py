"""Step-size schedules: frozen values, called with an epoch (0, 1, …), that return a factor.

`fit` sets the learning rate of an epoch to the optimizer's times `schedule(epoch)`.

>>> [round(exponential_decay(0.9)(epoch), 3) for epoch in range(3)]
[1.0, 0.9, 0.81]
"""

import math
from abc import abstractmethod
from typing import Any

import attrs
from attrs import field, frozen

from functional_mlp import checks
from functional_mlp.history import History
from functional_mlp.monitors import check_monitor, compared
from functional_mlp.spread import count
from functional_mlp.value import Value


@frozen(repr=False)
class Schedule(Value):
    """The base class; a subclass defines `factor`, or, where it looks at the history, what is at the end of this class.

    A schedule that reads the history is called with it: `schedule(epoch, history)`.
    """

    def __call__(self, epoch: checks.Integer, history: Any = None) -> float:
        epoch = checks.integer("schedule: epoch", epoch, minimum=0)
        if self.monitor is None:
            return float(self.factor(epoch))
        if history is None:
            raise TypeError(f"{self!r} reads the history: call it with an epoch and a History")
        checks.instance("schedule: history", history, History, "pass a result's .history")
        figures = getattr(history, self.monitor)
        if len(figures) < epoch:
            raise ValueError(
                f"{self!r} reads the history: epoch {epoch} needs {self.monitor} of {count(epoch, 'epoch')}, got "
                f"{len(figures)}"
            )
        memory = self.start()
        for figure in figures[:epoch]:
            memory = self.after(memory, figure)
        return float(self.factor_after(memory, epoch))

    @abstractmethod
    def factor(self, epoch: int) -> float:
        """The factor on the learning rate in an epoch."""

    @property
    def monitor(self) -> str | None:
        """The figure of the history that the factor depends on; None where it depends on the epoch alone."""
        return None

    def start(self) -> Any:
        """What is remembered before the first epoch."""
        return None

    def after(self, memory: Any, figure: float) -> Any:
        """What is remembered after an epoch with a figure."""
        return memory

    def factor_after(self, memory: Any, epoch: int) -> float:
        """The factor of an epoch, before which this is remembered."""
        return self.factor(epoch)

    def _constructor(self) -> str:
        prefix = "schedules." if type(self).__module__ == __name__ else ""
        return prefix + type(self).__name__


@frozen(repr=False)
class constant(Schedule):
    """1 in every epoch."""

    def factor(self, epoch: int) -> float:
        return 1.0


@frozen(repr=False)
class exponential_decay(Schedule):
    """rate^epoch; the paper's is `exponential_decay(0.9)` (section IV)."""

    rate: float = field(validator=checks.decay_rate)

    def factor(self, epoch: int) -> float:
        return self.rate**epoch


@frozen(repr=False)
class step_decay(Schedule):
    """rate^⌊epoch / every⌋."""

    rate: float = field(validator=checks.decay_rate)
    every: int = field(converter=checks.plain_integer, validator=checks.positive_integer)

    def factor(self, epoch: int) -> float:
        return self.rate ** (epoch // self.every)


@frozen(repr=False)
class inverse_decay(Schedule):
    """(1 + rate · epoch)^−power: ever smaller, so slowly that no place is too far to be reached.

    The sum of the factors is infinite for powers up to 1, that of their squares finite for powers above ½. Robbins and
    Monro, "A stochastic approximation method", 1951.

    >>> [round(inverse_decay(3.0, power=0.5)(epoch), 3) for epoch in (0, 1, 5)]
    [1.0, 0.5, 0.25]
    """

    rate: float = field(validator=checks.non_negative_number)
    power: float = field(default=1.0, validator=checks.non_negative_number)

    def factor(self, epoch: int) -> float:
        slowed: float = (1 + self.rate * epoch) ** -self.power
        return slowed


@frozen(repr=False)
class cosine_decay(Schedule):
    """(1 + cos(π epoch / epochs)) / 2: from 1 to 0 over `epochs`, then 0.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    >>> [round(cosine_decay(4)(epoch), 3) for epoch in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    epochs: int = field(converter=checks.plain_integer, validator=checks.positive_integer)

    def factor(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.epochs)) / 2 if epoch < self.epochs else 0.0


@frozen(repr=False)
class warmup(Schedule):
    """(epoch + 1) / epochs during the first `epochs`, then `then(epoch - epochs)`.

    >>> [warmup(2, constant())(epoch) for epoch in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """

    epochs: int = field(converter=checks.plain_integer, validator=checks.positive_integer)
    then: Schedule = field()

    @then.validator
    def _check_then(self, attribute: "attrs.Attribute[Schedule]", value: object) -> None:
        name = checks.field_name(self, attribute)
        checks.not_a_class(name, value)
        if not callable(value):
            raise TypeError(f"{name} must be a schedule, got {checks.describe(value)}: pass schedules.constant(), say")

    def factor(self, epoch: int) -> float:
        return (epoch + 1) / self.epochs if epoch < self.epochs else self.then(epoch - self.epochs)

    @property
    def monitor(self) -> str | None:
        return self.then.monitor if isinstance(self.then, Schedule) else None

    def start(self) -> Any:
        return self.then.start()

    def after(self, memory: Any, figure: float) -> Any:
        return self.then.after(memory, figure)

    def factor_after(self, memory: Any, epoch: int) -> float:
        if epoch < self.epochs:
            return self.factor(epoch)
        return self.then.factor_after(memory, epoch - self.epochs)


@frozen
class Plateau:
    """What `on_plateau` remembers: the best figure, the epochs since, and how often the factor has been applied."""

    best: float = math.nan
    since: int = 0
    reductions: int = 0


@frozen(repr=False)
class on_plateau(Schedule):
    """factorᵏ, where k counts the times that `monitor` was not better for more than `patience` epochs in a row.

    A figure is better where it passes the best before it by more than `min_delta`: a loss falls, an accuracy grows;
    epochs before the first whose figure is a number, and not NaN, do not count. The counting starts anew with each
    reduction: torch's `ReduceLROnPlateau` with `threshold_mode="abs"`. Smaller gains add up, unless `cumulative` is
    False: the best is then that of all epochs, and not of the last better one.

    >>> import functional_mlp as fm
    >>> history = fm.History(train_loss=(0.5, 0.4, 0.4, 0.4))
    >>> [on_plateau(0.1, patience=1)(epoch, history) for epoch in range(5)]
    [1.0, 1.0, 1.0, 1.0, 0.1]
    """

    factor: float = field(default=0.1, validator=checks.decay_rate)  # type: ignore[assignment] # a number here
    patience: int = field(default=10, converter=checks.plain_integer, validator=checks.positive_integer)
    monitor: str = field(default="train_loss", kw_only=True, validator=check_monitor)
    min_delta: float = field(default=1e-4, kw_only=True, validator=checks.non_negative_number)
    cumulative: bool = field(default=True, kw_only=True, validator=checks.boolean)

    def start(self) -> Plateau:
        return Plateau()

    def after(self, memory: Plateau, figure: float) -> Plateau:
        better, best = compared(self, figure, memory.best)
        if math.isnan(best):  # nothing has been seen yet
            return memory
        if better:
            return Plateau(best, 0, memory.reductions)
        if memory.since == self.patience:
            return Plateau(best, 0, memory.reductions + 1)
        return Plateau(best, memory.since + 1, memory.reductions)

    def factor_after(self, memory: Plateau, epoch: int) -> float:
        return self.factor**memory.reductions
