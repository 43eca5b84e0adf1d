"""What the expressions of the array algebra compute with when no tensors are there: operators, and nothing else."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

Number = int | float


class NotInAlgebraError(TypeError):
    """An expression does what the array algebra has not."""


# Operators of the object itself, and of it and another operand.
UnaryOperator: TypeAlias = Callable[[Any], Any]
BinaryOperator: TypeAlias = Callable[[Any, Any], Any]


def no_operand(operand: object) -> NotInAlgebraError:
    """What is computed with, and is neither an array nor a number."""
    if isinstance(operand, Comparison):
        return NotInAlgebraError(_NO_NUMBER)
    return NotInAlgebraError(
        f"an expression computes with arrays and numbers, got {operand!r}: write float(x) for the number in x"
    )


def no_condition(condition: object) -> NotInAlgebraError:
    """What `xp.where` is given, and is no comparison."""
    got = "an array" if isinstance(condition, Operand) else repr(condition)
    return NotInAlgebraError(f"xp.where takes a comparison first, s > 0 say, got {got}")


def no_features(what: str) -> NotInAlgebraError:
    """What is asked of all features, in an expression that sees one number."""
    return NotInAlgebraError(
        f"an activation, a penalty or a rule treats each number by itself, and has no {what}: "
        "sums over features are for losses and layers"
    )


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
    """What neither arrays nor comparisons have: operators of bits, those that overwrite, and functions of torch."""

    _no_bits: ClassVar[str]

    def __and__(self, other: Any) -> Any:
        raise NotInAlgebraError(self._no_bits)

    __rand__: BinaryOperator = __and__
    __or__: BinaryOperator = __and__
    __ror__: BinaryOperator = __and__
    __xor__: BinaryOperator = __and__
    __rxor__: BinaryOperator = __and__

    def __iadd__(self, other: Any) -> Any:
        raise NotInAlgebraError(
            "an expression makes new arrays, and +=, -=, *=, /=, %= and **= overwrite the caller's: "
            "write s = s * 2 for s *= 2"
        )

    __isub__: BinaryOperator = __iadd__
    __imul__: BinaryOperator = __iadd__
    __itruediv__: BinaryOperator = __iadd__
    __imod__: BinaryOperator = __iadd__
    __ipow__: BinaryOperator = __iadd__

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

    def __setitem__(self, index: Any, item: Any) -> None:
        raise NotInAlgebraError("an expression cannot write to an array: xp.where(condition, a, b) makes another one")

    def __divmod__(self, other: Any) -> Any:
        return self // other

    __rdivmod__ = __divmod__

    def __iter__(self) -> Any:
        raise NotInAlgebraError("an expression cannot go through the numbers of an array: use the functions of xp")

    def __getattr__(self, name: str) -> Any:
        raise NotInAlgebraError(f"arrays of the algebra have no {name!r}: use the functions of xp")


class Shape(tuple[Any]):
    """The shape of an array of one sample: of all that a shape has, the number of features is known.

    >>> Shape([3])[-1]
    3
    """

    def __getitem__(self, index: Any) -> Any:
        if index != -1:
            raise NotInAlgebraError(f"of a shape only shape[-1] is known, the number of features, got shape[{index!r}]")
        return super().__getitem__(-1)

    def __iter__(self) -> Any:
        raise NotInAlgebraError("of a shape only shape[-1] is known, the number of features")


class OfFeatures(Operand):
    """An operand that knows how many features it has, None where that is not for an expression to ask."""

    features: int | None

    @property
    def shape(self) -> Shape:
        if self.features is None:
            raise NotInAlgebraError("only predictions and targets have a shape, and what has one number for each")
        return Shape([self.features])


def most_features(*operands: Any) -> int | None:
    """The features of an array that an operation makes of these."""
    found = [operand.features for operand in operands if isinstance(operand, OfFeatures)]
    return max((features for features in found if features is not None), default=None)


_NO_NUMBER = "an expression cannot compute with a comparison: write xp.where(condition, 1, 0) for it"


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
        raise NotInAlgebraError(_NO_NUMBER)

    __radd__: BinaryOperator = __add__
    __sub__: BinaryOperator = __add__
    __rsub__: BinaryOperator = __add__
    __mul__: BinaryOperator = __add__
    __rmul__: BinaryOperator = __add__
    __truediv__: BinaryOperator = __add__
    __rtruediv__: BinaryOperator = __add__
    __pow__: BinaryOperator = __add__
    __rpow__: BinaryOperator = __add__
    __eq__: BinaryOperator = __add__
    __ne__: BinaryOperator = __add__
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __neg__(self) -> Any:
        return self + 0

    __abs__: UnaryOperator = __neg__
    __float__: UnaryOperator = __neg__
    __int__: UnaryOperator = __neg__
    __index__: UnaryOperator = __neg__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotInAlgebraError(f"comparisons have no {name!r}: xp.where(condition, a, b) takes them, and nothing else")


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
