"""Step-size schedules: frozen values, called with an epoch (0, 1, …), that return a factor.

`fit` sets the learning rate of an epoch to the optimizer's times `schedule(epoch)`.

>>> [round(exponential_decay(0.9)(epoch), 3) for epoch in range(3)]
[1.0, 0.9, 0.81]
"""

import math
from abc import abstractmethod

import attrs
from attrs import field, frozen

from functional_mlp import checks
from functional_mlp.value import Value


@frozen(repr=False)
class Schedule(Value):
    """The base class; a subclass defines `factor`."""

    def __call__(self, epoch: int) -> float:
        return float(self.factor(checks.integer("schedule: epoch", epoch, minimum=0)))

    @abstractmethod
    def factor(self, epoch: int) -> float:
        """The factor on the learning rate in an epoch."""

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
    every: int = field(validator=checks.positive_integer)

    def factor(self, epoch: int) -> float:
        return self.rate ** (epoch // self.every)


@frozen(repr=False)
class cosine_decay(Schedule):
    """(1 + cos(π epoch / epochs)) / 2: from 1 to 0 over `epochs`, then 0.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    >>> [round(cosine_decay(4)(epoch), 3) for epoch in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    epochs: int = field(validator=checks.positive_integer)

    def factor(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.epochs)) / 2 if epoch < self.epochs else 0.0


@frozen(repr=False)
class warmup(Schedule):
    """(epoch + 1) / epochs during the first `epochs`, then `then(epoch - epochs)`.

    >>> [warmup(2, constant())(epoch) for epoch in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """

    epochs: int = field(validator=checks.positive_integer)
    then: Schedule = field()

    @then.validator
    def _check_then(self, attribute: "attrs.Attribute[Schedule]", value: object) -> None:
        name = checks.field_name(self, attribute)
        checks.not_a_class(name, value)
        if not callable(value):
            raise TypeError(f"{name} must be a schedule, got {checks.describe(value)}: pass schedules.constant(), say")

    def factor(self, epoch: int) -> float:
        return (epoch + 1) / self.epochs if epoch < self.epochs else self.then(epoch - self.epochs)
