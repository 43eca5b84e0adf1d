"""What the expressions of the array algebra compute with when no tensors are there: operators, and nothing else."""

import inspect
import linecache
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

Number = int | float


class NotInAlgebraError(TypeError):
    """An expression does what the array algebra has not."""


def not_in_algebra(value: object, error: Exception) -> NotInAlgebraError:
    """What an expression of a value did that the algebra has not, in which line, and what to write instead."""
    return NotInAlgebraError(f"{value!r} is not written in the array algebra: {error}{_line(value, error)}")


def _line(value: object, error: Exception) -> str:
    """The line of the value's class in which an error came up, in brackets."""
    functions = [item for cls in type(value).__mro__ for item in vars(cls).values()]
    files = {item.__code__.co_filename for item in functions if isinstance(item, types.FunctionType)} - {__file__}
    found, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in files:
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            found = f" (in {code.co_name}, line {trace.tb_lineno}{': ' if text else ''}{text})"
        trace = trace.tb_next
    return found


class Operators(Protocol):
    """What a namespace has for the operators of its operands."""

    def binary(self, name: str, a: Any, b: Any) -> "Operand": ...

    def compare(self, symbol: str, a: Any, b: Any) -> "Comparison": ...

    def remainder(self, a: Any, b: Any) -> "Operand": ...

    def power(self, base: "Operand", exponent: Any) -> "Operand": ...

    def exponential(self, base: Any, exponent: Any) -> "Operand": ...

    @property
    def abs(self) -> Callable[[Any], Any]: ...


class Operand:
    """What an expression computes with: operators, and nothing else."""

    xp: Operators
    # numpy's numbers, np.sqrt(2) say, leave what they stand before to the operators below.
    __array_ufunc__: ClassVar[None] = None

    def __add__(self, other: Any) -> "Operand":
        return self.xp.binary("fadd", self, other)

    def __radd__(self, other: Any) -> "Operand":
        return self.xp.binary("fadd", other, self)

    def __sub__(self, other: Any) -> "Operand":
        return self.xp.binary("fsub", self, other)

    def __rsub__(self, other: Any) -> "Operand":
        return self.xp.binary("fsub", other, self)

    def __mul__(self, other: Any) -> "Operand":
        return self.xp.binary("fmul", self, other)

    def __rmul__(self, other: Any) -> "Operand":
        return self.xp.binary("fmul", other, self)

    def __truediv__(self, other: Any) -> "Operand":
        return self.xp.binary("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> "Operand":
        return self.xp.binary("fdiv", other, self)

    def __mod__(self, other: Any) -> "Operand":
        return self.xp.remainder(self, other)

    def __rmod__(self, other: Any) -> "Operand":
        return self.xp.remainder(other, self)

    def __neg__(self) -> "Operand":
        return self.xp.binary("fsub", -0.0, self)

    def __pos__(self) -> "Operand":
        return self

    def __abs__(self) -> "Operand":
        size: Operand = self.xp.abs(self)
        return size

    def __pow__(self, exponent: Any) -> "Operand":
        return self.xp.power(self, exponent)

    def __rpow__(self, base: Any) -> "Operand":
        return self.xp.exponential(base, self)

    def __lt__(self, other: Any) -> "Comparison":
        return self.xp.compare("<", self, other)

    def __le__(self, other: Any) -> "Comparison":
        return self.xp.compare("<=", self, other)

    def __gt__(self, other: Any) -> "Comparison":
        return self.xp.compare(">", self, other)

    def __ge__(self, other: Any) -> "Comparison":
        return self.xp.compare(">=", self, other)

    def __eq__(self, other: object) -> "Comparison":  # type: ignore[override]
        return self.xp.compare("==", self, other)

    def __ne__(self, other: object) -> "Comparison":  # type: ignore[override]
        return self.xp.compare("!=", self, other)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise NotInAlgebraError("an expression cannot branch on the value of an array: use xp.where")

    def __float__(self) -> float:
        raise NotInAlgebraError("an array is no number, as the functions of math want it: use those of xp")

    def __getitem__(self, index: Any) -> Any:
        raise NotInAlgebraError("an expression cannot index an array: use xp.where, and xp.sum or xp.max for features")

    def __iter__(self) -> Any:
        raise NotInAlgebraError("an expression cannot go through the numbers of an array: use the functions of xp")

    def __getattr__(self, name: str) -> Any:
        raise NotInAlgebraError(f"arrays of the algebra have no {name!r}: use the functions of xp")

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        raise NotInAlgebraError(f"torch.{getattr(function, '__name__', function)} is not in the algebra: use xp")


class OfFeatures(Operand):
    """An operand that knows how many features it has, None where that is not for an expression to ask."""

    features: int | None

    @property
    def shape(self) -> tuple[int]:
        if self.features is None:
            raise NotInAlgebraError("only predictions and targets have a shape, and what has one number for each")
        return (self.features,)


def most_features(*operands: Any) -> int | None:
    """The features of an array that an operation makes of these."""
    found = [operand.features for operand in operands if isinstance(operand, OfFeatures)]
    return max((features for features in found if features is not None), default=None)


class Comparison:
    """The outcome of a comparison, for `xp.where` alone."""

    def __bool__(self) -> bool:
        raise NotInAlgebraError("an expression cannot branch on a comparison: use xp.where")


class StandIn:
    """What an expression is given as `self` in place of a value: numbers may be scalars of the algebra.

    Methods and properties are those of the value's class. No validator has seen the values, and none could.
    """

    def __init__(self, kind: type, fields: Mapping[str, Any]) -> None:
        self._kind, self._fields = kind, fields

    @property  # type: ignore[misc]  # it is read by super(), which a rule may call, and never written
    def __class__(self) -> Any:
        return self._kind

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self._fields[name]
        attribute = inspect.getattr_static(self._kind, name)
        bind = getattr(type(attribute), "__get__", None)
        return attribute if bind is None else bind(attribute, self, self._kind)
