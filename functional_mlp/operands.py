"""What the expressions of the array algebra compute with when no tensors are there: operators, and nothing else."""

import inspect
import linecache
import os
import re
import types
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, ClassVar, Protocol, TypeAlias

Number = int | float


class NotInAlgebraError(TypeError):
    """An expression does what the array algebra has not."""


# An operator of two operands, of which one is the object itself.
BinaryOperator: TypeAlias = Callable[[Any, Any], Any]

# What Python and numpy say in their own words, and what to write instead.
_ADVICE = {
    "does not support ufuncs": "numpy's functions take no array of the algebra: use those of xp, xp.exp for np.exp",
    r"unsupported operand type|not supported between": "operators take arrays and numbers: {error}",
    r"(takes|missing|got an unexpected|got multiple).* argument": "a function was given other arguments: {error}",
}


def not_in_algebra(value: object, error: Exception) -> NotInAlgebraError:
    """What an expression of a value did that the algebra has not, in which line, and what to write instead."""
    words = str(error)
    if isinstance(error, TypeError) and not isinstance(error, NotInAlgebraError):
        advice = next((advice for pattern, advice in _ADVICE.items() if re.search(pattern, words)), "{error}")
        words = advice.format(error=words)
    return NotInAlgebraError(f"{value!r} is not written in the array algebra: {words}{_line(value, error)}")


def no_operand(operand: object) -> NotInAlgebraError:
    """What is computed with, and is neither an array nor a number."""
    return NotInAlgebraError(
        f"an expression computes with arrays and numbers, got {operand!r}: write float(x) for the number in x"
    )


def no_condition(condition: object) -> NotInAlgebraError:
    """What `xp.where` is given, and is no comparison."""
    got = "an array" if isinstance(condition, Operand) else repr(condition)
    return NotInAlgebraError(f"xp.where takes a comparison first, s > 0 say, got {got}")


def called(value: Any, name: str, *arguments: Any) -> Any:
    """What a method of a value makes of arrays; raises `NotInAlgebraError` where that is no formula, or no such method.

    A rule may return several.
    """
    method = getattr(value, name)
    try:
        result = method(*arguments)
    except TypeError:
        _require_parameters(value, name, arguments)
        raise
    for one in result if isinstance(result, tuple | list) else (result,):
        if not isinstance(one, Operand | Real):
            raise NotInAlgebraError(f"{name} must return a formula of its arguments, got {one!r}{_definition(method)}")
    return result


def _require_parameters(value: Any, name: str, arguments: tuple[Any, ...]) -> None:
    """Raise `NotInAlgebraError` where a method does not take that number of arguments."""
    signature = inspect.signature(getattr(value, name))
    try:
        signature.bind(*arguments)
    except TypeError:
        wanted = ", ".join(("self", *_parameters(value, name)))
        got = ", ".join(("self", *signature.parameters))
        words = f"{name}({wanted}) is called, and {name}({got}) is defined"
        raise NotInAlgebraError(words + _definition(getattr(value, name))) from None


def _parameters(value: object, name: str) -> tuple[str, ...]:
    """Those that the library's own class gives a method, and what is called without one by their places."""
    for cls in reversed(value.__class__.__mro__):
        if name in vars(cls) and cls.__module__.startswith("functional_mlp"):
            return tuple(inspect.signature(vars(cls)[name]).parameters)[1:]
    return ("xp", "x")


def _definition(method: Any) -> str:
    """Where a method is defined, in brackets."""
    code = getattr(getattr(method, "__func__", method), "__code__", None)
    return "" if code is None else f" (in {code.co_name}, {_place(code, code.co_firstlineno)})"


def _line(value: object, error: Exception) -> str:
    """The line of the value's class in which an error came up, in brackets."""
    functions = [item for cls in value.__class__.__mro__ for item in vars(cls).values()]
    files = {item.__code__.co_filename for item in functions if isinstance(item, types.FunctionType)} - {__file__}
    found, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in files:
            found = f" (in {code.co_name}, {_place(code, trace.tb_lineno)})"
        trace = trace.tb_next
    return found


def _place(code: types.CodeType, line: int) -> str:
    """A line of a file, with its text."""
    text = linecache.getline(code.co_filename, line).strip()
    return f"line {line} of {os.path.basename(code.co_filename)}{': ' if text else ''}{text}"


class Operators(Protocol):
    """What a namespace has for the operators of its operands."""

    def binary(self, name: str, a: Any, b: Any) -> "Operand": ...

    def compare(self, symbol: str, a: Any, b: Any) -> "Comparison": ...

    def remainder(self, a: Any, b: Any) -> "Operand": ...

    def power(self, base: "Operand", exponent: Any) -> "Operand": ...

    def exponential(self, base: Any, exponent: Any) -> "Operand": ...

    @property
    def abs(self) -> Callable[[Any], Any]: ...


class Refusing:
    """What neither arrays nor comparisons have: operators of bits, and functions of torch."""

    _no_bits: ClassVar[str]

    def __and__(self, other: Any) -> Any:
        raise NotInAlgebraError(self._no_bits)

    __rand__: BinaryOperator = __and__
    __or__: BinaryOperator = __and__
    __ror__: BinaryOperator = __and__
    __xor__: BinaryOperator = __and__
    __rxor__: BinaryOperator = __and__

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        raise NotInAlgebraError(f"torch.{getattr(function, '__name__', function)} is not in the algebra: use xp")


class Operand(Refusing):
    """What an expression computes with: operators, and nothing else."""

    _no_bits = "arrays have no &, |, ^ and ~, which are of whole numbers: use xp.where with a comparison"

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
        raise NotInAlgebraError("an expression cannot branch on the value of an array: use xp.where with a comparison")

    def __float__(self) -> float:
        raise NotInAlgebraError("an array is no number, as the functions of math want it: use those of xp")

    def __int__(self) -> int:
        raise NotInAlgebraError("an array is no number, as int() wants it: s - s % 1 is the whole number below s")

    def __trunc__(self) -> int:
        return int(self)

    __index__ = __int__

    def __round__(self, digits: Any = None) -> Any:
        raise NotInAlgebraError("an array cannot be rounded: s - s % 1 is the whole number below s")

    def __floor__(self) -> Any:
        return round(self)

    __ceil__ = __floor__

    def __floordiv__(self, other: Any) -> Any:
        raise NotInAlgebraError("arrays have no //: write (a - a % b) / b for a // b")

    def __rfloordiv__(self, other: Any) -> Any:
        return self // other

    def __invert__(self) -> Any:
        return self & self

    def __matmul__(self, other: Any) -> Any:
        raise NotInAlgebraError("arrays have no @: an expression sees one sample, and xp.sum adds up its features")

    __rmatmul__ = __matmul__

    def __len__(self) -> int:
        raise NotInAlgebraError("an array has no length: prediction.shape[-1] is the number of features")

    def __getitem__(self, index: Any) -> Any:
        raise NotInAlgebraError("an expression cannot index an array: use xp.where, and xp.sum or xp.max for features")

    def __iter__(self) -> Any:
        raise NotInAlgebraError("an expression cannot go through the numbers of an array: use the functions of xp")

    def __getattr__(self, name: str) -> Any:
        raise NotInAlgebraError(f"arrays of the algebra have no {name!r}: use the functions of xp")


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


class Comparison(Refusing):
    """The outcome of a comparison, for `xp.where` alone."""

    _no_bits = "comparisons have no & and |: write xp.where(a, xp.where(b, x, y), y) for a & b"

    def __bool__(self) -> bool:
        raise NotInAlgebraError(
            "an expression cannot branch on a comparison, as if, and, or, max and a < b < c do: use xp.where, "
            "one in another for several comparisons, xp.maximum and xp.minimum"
        )

    def __invert__(self) -> Any:
        raise NotInAlgebraError("comparisons have no ~: change the places of a and b in xp.where(condition, a, b)")

    def __add__(self, other: Any) -> Any:
        raise NotInAlgebraError(
            "an expression cannot compute with a comparison: write xp.where(condition, 1, 0) for it"
        )

    __radd__: BinaryOperator = __add__
    __sub__: BinaryOperator = __add__
    __rsub__: BinaryOperator = __add__
    __mul__: BinaryOperator = __add__
    __rmul__: BinaryOperator = __add__
    __truediv__: BinaryOperator = __add__
    __rtruediv__: BinaryOperator = __add__
    __pow__: BinaryOperator = __add__
    __rpow__: BinaryOperator = __add__

    def __neg__(self) -> Any:
        return self + 0


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
