"""Initial weights and biases: frozen values, called with a key and a shape.

An initializer is called as `initializer(key, shape, *, fan_in, fan_out, dtype, device)` and returns a new
tensor; `fan_in` and `fan_out` are the layer's numbers of inputs and outputs.

>>> from functional_mlp import random
>>> weight = xavier_uniform()(random.key(0), (3, 2), fan_in=2, fan_out=3)
>>> weight.shape
torch.Size([3, 2])

References: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010 (Xavier); He et al., "Delving deep into rectifiers", 2015 (Kaiming).
"""

import math
from abc import abstractmethod

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks, random
from functional_mlp.random import Key
from functional_mlp.value import Value

Device = torch.device | str | None


@frozen(repr=False)
class Initializer(Value):
    """The base class; a subclass defines `__call__`, or starts from one of the two families below."""

    @abstractmethod
    def __call__(
        self,
        key: Key,
        shape: tuple[int, ...],
        *,
        fan_in: int,
        fan_out: int,
        dtype: torch.dtype = torch.float32,
        device: Device = None,
    ) -> Tensor:
        """A new tensor.

        Parameters
        ----------
        key
            What the numbers follow from.
        shape
            The shape of the tensor.
        fan_in
            The number of inputs of the layer.
        fan_out
            The number of its outputs.
        dtype
            That of the tensor.
        device
            Where the tensor is: on the CPU where this is None.
        """

    def _constructor(self) -> str:
        prefix = "initializers." if type(self).__module__ == __name__ else ""
        return prefix + type(self).__name__


@frozen(repr=False)
class UniformInitializer(Initializer):
    """Draws from U[low, high), where a subclass's `interval` gives the ends."""

    @abstractmethod
    def interval(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        """The ends (low, high)."""

    def __call__(
        self,
        key: Key,
        shape: tuple[checks.Integer, ...],
        *,
        fan_in: checks.Integer,
        fan_out: checks.Integer,
        dtype: torch.dtype = torch.float32,
        device: Device = None,
    ) -> Tensor:
        low, high = self.interval(int(fan_in), int(fan_out))
        return random.uniform(key, shape, low, high, dtype=dtype, device=device)


@frozen(repr=False)
class NormalInitializer(Initializer):
    """Draws from N(mean, std²), where a subclass's `moments` gives mean and std."""

    @abstractmethod
    def moments(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        """Mean and standard deviation."""

    def __call__(
        self,
        key: Key,
        shape: tuple[checks.Integer, ...],
        *,
        fan_in: checks.Integer,
        fan_out: checks.Integer,
        dtype: torch.dtype = torch.float32,
        device: Device = None,
    ) -> Tensor:
        mean, std = self.moments(int(fan_in), int(fan_out))
        return random.normal(key, shape, mean, std, dtype=dtype, device=device)


@frozen(repr=False)
class uniform(UniformInitializer):
    """U[low, high). The paper draws weights and biases from `uniform(-1, 1)` (section IV)."""

    low: float = field(validator=checks.finite_number)
    high: float = field(validator=checks.finite_number)

    @high.validator
    def _check_order(self, attribute: "attrs.Attribute[float]", value: float) -> None:
        checks.number(checks.field_name(self, attribute), value, low=self.low)

    def interval(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        return self.low, self.high


@frozen(repr=False)
class normal(NormalInitializer):
    """N(mean, std²)."""

    mean: float = field(validator=checks.finite_number)
    std: float = field(validator=checks.non_negative_number)

    def moments(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        return self.mean, self.std


@frozen(repr=False)
class xavier_uniform(UniformInitializer):
    """U[-a, a) with a = gain · √(6 / (fan_in + fan_out)): keeps the variance through tanh layers."""

    gain: float = field(default=1.0, validator=checks.positive_number)

    def interval(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        bound = self.gain * math.sqrt(6.0 / (fan_in + fan_out))
        return -bound, bound


@frozen(repr=False)
class xavier_normal(NormalInitializer):
    """N(0, 2 / (fan_in + fan_out))."""

    def moments(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        return 0.0, math.sqrt(2.0 / (fan_in + fan_out))


@frozen(repr=False)
class kaiming_uniform(UniformInitializer):
    """U[-a, a) with a = √2 · √(3 / fan_in): keeps the variance through ReLU layers."""

    def interval(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        bound = math.sqrt(2.0) * math.sqrt(3.0 / fan_in)
        return -bound, bound


@frozen(repr=False)
class kaiming_normal(NormalInitializer):
    """N(0, 2 / fan_in)."""

    def moments(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        return 0.0, math.sqrt(2.0 / fan_in)


@frozen(repr=False)
class torch_default(UniformInitializer):
    """U[-a, a) with a = 1 / √fan_in: what `torch.nn.Linear` draws its weights and biases from."""

    def interval(self, fan_in: int, fan_out: int) -> tuple[float, float]:
        bound = 1.0 / math.sqrt(fan_in)
        return -bound, bound


@frozen(repr=False)
class constant(Initializer):
    """Every entry has the same value."""

    value: float = field(validator=checks.finite_number)

    def __call__(
        self,
        key: Key,
        shape: tuple[checks.Integer, ...],
        *,
        fan_in: checks.Integer,
        fan_out: checks.Integer,
        dtype: torch.dtype = torch.float32,
        device: Device = None,
    ) -> Tensor:
        sizes = random.check_draw(key, shape, dtype, device)
        checks.in_range("constant: value", self.value, dtype)
        return torch.full(sizes, self.value, dtype=dtype, device="cpu" if device is None else device)


@frozen(repr=False)
class zeros(constant):
    """Every entry is 0."""

    value: float = field(default=0.0, init=False)
