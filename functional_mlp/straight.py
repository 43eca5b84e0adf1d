"""Expressions of the array algebra as plain functions of tensors, made once: one of torch's operations a line.

`TorchNamespace` asks at each operation what its operands are, and torch makes a tensor of each number that it meets
beside one. For a small network that takes as long as the arithmetic. Here an expression is read once and what it does
is written down as Python: numbers are tensors made beforehand, and what is computed twice stands there once. The
numbers have the same bits.

>>> xp = TorchNamespace(torch.float32, torch.device("cpu"))
>>> print(Source.of(lambda xp, s: xp.maximum(s, 0) - 2 * xp.exp(s) / xp.exp(s), 1, xp).text)
def straight(a0):
    v0 = clamp_min(a0, (0))
    v1 = exp(a0)
    v2 = c0 * v1
    v3 = v2 / v1
    v4 = v0 - v3
    return v4
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Protocol

import attrs
import torch

from functional_mlp.algebra import Array, TorchNamespace, scalar, torch_namespace
from functional_mlp.operands import Comparison, NotInAlgebraError, OfFeatures, most_features
from functional_mlp.usual import kept
from functional_mlp.value import is_ours

Expression = Callable[..., Any]
Reading = Callable[..., Any]


class Readings(Protocol):
    """The readings of a value's expressions, as these are now."""

    def __call__(
        self,
        dtype: torch.dtype,
        device: torch.device,
        expressions: tuple[Expression, ...],
        features: int | None = None,
        /,
    ) -> tuple[Reading, ...]:
        """`features` is the size of the last dimension, where that is needed."""


def readings(of: Callable[[TorchNamespace, int | None], tuple[Reading, ...]]) -> Readings:
    """What `of` makes for a namespace, once for each dtype and device, and for what expressions are now."""

    @kept(64)
    def cached(
        dtype: torch.dtype, device: torch.device, expressions: tuple[Expression, ...], features: int | None = None
    ) -> tuple[Reading, ...]:
        return of(torch_namespace(dtype, device), features)

    return cached


# What torch has under the same name; the others are the namespace's own.
_OF_TORCH = ("abs", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "erf")
_OPERATORS = {"fadd": "+", "fsub": "-", "fmul": "*", "fdiv": "/"}


def straight(
    owner: object, expression: Expression, arrays: int, xp: TorchNamespace, features: int | None = None
) -> Reading:
    """The function of tensors that an expression `(xp, *arrays)` of a value is.

    It is read at each call on a GPU, which divides by a number otherwise than by a tensor, and where the value is of a
    user's class, whose expressions may do another thing tomorrow. `features` is the size of the arrays' last dimension.
    """
    if xp.device.type == "cpu" and is_ours(type(owner)):
        with contextlib.suppress(NotImplementedError):  # a base class, which says so when it is called
            return Source.of(expression, arrays, xp, features).function()
    return functools.partial(expression, xp)


@attrs.frozen
class Source:
    """What an expression does, as the source of a function, and the values of the names that it uses."""

    text: str
    names: dict[str, Any]

    @classmethod
    def of(cls, expression: Expression, arrays: int, xp: TorchNamespace, features: int | None = None) -> "Source":
        """Read an expression; raises `NotInAlgebraError` where it does what the algebra has not."""
        writer = _Writer(xp)
        parameters = [_Named(writer, f"a{i}", features) for i in range(arrays)]
        results = expression(writer, *parameters)
        several = isinstance(results, tuple)
        returned = ", ".join(writer.operand(each) for each in (results if several else (results,)))
        head = f"def straight({', '.join(each.name for each in parameters)}):"
        return cls("\n    ".join([head, *writer.lines, f"return {returned}"]), writer.names)

    def function(self) -> Reading:
        """The function that the source defines."""
        names = dict(self.names)
        exec(self.text, names)  # it was written above, of the names of operations
        made: Reading = names["straight"]
        return made


class _Named(OfFeatures):
    """An array that has a name in the source."""

    xp: "_Writer"

    def __init__(self, xp: "_Writer", name: str, features: int | None) -> None:
        self.xp, self.name, self.features = xp, name, features

    def __neg__(self) -> "_Named":
        return self.xp.line(f"-{self.name}", self.features)


class _NamedComparison(Comparison):
    """The outcome of a comparison, which gets a name in the source where it is used."""

    def __init__(self, xp: "_Writer", text: str, at_most: tuple[_Named, float] | None = None) -> None:
        self.xp, self.text = xp, text
        self.at_most = at_most  # the array and the number of "array <= number"

    @property
    def name(self) -> str:
        return self.xp.name(self.text)


class _Writer:
    """The array namespace whose operations are written down as Python."""

    def __init__(self, torch_xp: TorchNamespace) -> None:
        self._torch_xp = torch_xp
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self._known: dict[str, str] = {}  # what is computed, and under which name
        self._constants: dict[str, str] = {}  # numbers, and theirs

    def line(self, text: str, features: int | None) -> _Named:
        """The array that an operation gives."""
        return _Named(self, self.name(text), features)

    def name(self, text: str) -> str:
        if text not in self._known:
            self._known[text] = f"v{len(self.lines)}"
            self.lines.append(f"{self._known[text]} = {text}")
        return self._known[text]

    def operand(self, x: Array) -> str:
        """How an array, or a number as a tensor, is called."""
        if isinstance(x, _Named | _NamedComparison):
            return x.name
        if not isinstance(x, int | float):
            raise NotInAlgebraError(f"an expression computes with arrays and numbers, and not with {x!r}")
        return self._constant(repr(x), scalar(x, self._torch_xp.dtype, self._torch_xp.device))

    def _constant(self, text: str, value: Any) -> str:
        if text not in self._constants:
            self._constants[text] = f"c{len(self._constants)}"
            self.names[self._constants[text]] = value
        return self._constants[text]

    # What the operators of an operand call

    def binary(self, name: str, a: Array, b: Array) -> _Named:
        return self.line(f"{self.operand(a)} {_OPERATORS[name]} {self.operand(b)}", most_features(a, b))

    def compare(self, symbol: str, a: Array, b: Array) -> _NamedComparison:
        at_most = (a, b) if symbol == "<=" and isinstance(a, _Named) and isinstance(b, int | float) else None
        return _NamedComparison(self, f"{self.operand(a)} {symbol} {self.operand(b)}", at_most)

    def remainder(self, a: Array, b: Array) -> _Named:
        return self.line(f"{self._exact(a)} % {self._exact(b)}", most_features(a, b))

    def power(self, base: Array, exponent: Array) -> _Named:
        return self.line(f"{self._exact(base)} ** {self._exact(exponent)}", most_features(base, exponent))

    exponential = power

    def _exact(self, x: Array) -> str:
        """An operand of an operation that torch has other ways for where it is given a number, and no tensor."""
        return f"({x!r})" if isinstance(x, int | float) else self.operand(x)

    # The functions of the algebra

    def where(self, condition: Any, if_true: Array, if_false: Array) -> _Named:
        if not isinstance(condition, _NamedComparison):
            raise NotInAlgebraError("the condition is none of arrays")
        if condition.at_most and repr(if_true) in ("0", "0.0") and isinstance(if_false, _Named):
            array, number = condition.at_most
            if array.features == if_false.features:  # in two thirds of the time that a comparison and a choice take
                self.names["threshold_backward"] = torch.ops.aten.threshold_backward.default
                text = f"threshold_backward({if_false.name}, {array.name}, {self._exact(number)})"
                return self.line(text, if_false.features)
        self.names["where"] = torch.where
        text = f"where({condition.name}, {self.operand(if_true)}, {self.operand(if_false)})"
        return self.line(text, most_features(if_true, if_false))

    def maximum(self, a: Array, b: Array) -> Array:
        return self._extremum("maximum", "clamp_min", a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        return self._extremum("minimum", "clamp_max", a, b)

    def _extremum(self, of_arrays: str, with_number: str, a: Array, b: Array) -> Array:
        arrays = [x for x in (a, b) if isinstance(x, _Named)]
        if not arrays:
            return getattr(self._torch_xp, of_arrays)(a, b)
        name = of_arrays if len(arrays) == 2 else with_number
        self.names[name] = getattr(torch, name)
        number = b if isinstance(a, _Named) else a
        return self.line(f"{name}({arrays[0].name}, {self._exact(number)})", most_features(a, b))

    def sum(self, x: Array) -> _Named:
        return self._over_features("sum", x)

    def max(self, x: Array) -> _Named:
        return self._over_features("amax", x)

    def _over_features(self, name: str, x: Array) -> _Named:
        self.names[name] = getattr(torch, name)
        return self.line(f"{name}({self.operand(x)}, -1, True)", 1)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._torch_xp, name)

        def call(x: Array, *coefficients: Any) -> Any:
            if not isinstance(x, _Named):
                return function(x, *coefficients)
            self.names[name] = getattr(torch, name) if name in _OF_TORCH else function
            given = [x.name, *(self._constant(f"exactly {each!r}", each) for each in coefficients)]
            return self.line(f"{name}({', '.join(given)})", x.features)

        return call
