"""The array namespace `xp` whose arrays are formulas, for every function of the array algebra.

An array is a tuple of sympy expressions, one a feature. What the algebra has for the sake of rounding is its
mathematics here: `expm1(x)` is eˣ − 1, and `gated(s, a, b)` is s / (1 + e^(−a s − b s³)).
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import attrs
import sympy

from functional_mlp.algebra import no_function
from functional_mlp.operands import Comparison, NotInAlgebraError, Operand, Shape, no_condition, no_features, no_operand
from functional_mlp.symbolic.constants import exactly, recognized
from functional_mlp.symbolic.nodes import Largest, Maximum, Minimum, where
from functional_mlp.symbolic.partial import logarithm, power, quotient, with_all

Features = tuple[sympy.Expr, ...]


class Formula(Operand):
    """An array of formulas, one a feature; what has one number for all features has no shape."""

    xp: "SymbolicNamespace"
    parts: tuple[Any, ...]
    has_shape: bool

    def __init__(self, xp: "SymbolicNamespace", parts: Sequence[sympy.Expr], *, has_shape: bool = True) -> None:
        self.xp, self.parts, self.has_shape = xp, tuple(parts), has_shape

    @property
    def shape(self) -> Shape:
        self.xp.require_features("shape")
        if not self.has_shape:
            raise NotInAlgebraError("only predictions and targets have a shape, and what has one number for each")
        return Shape([len(self.parts) if self.xp.features is None else self.xp.features])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # sympy asks everything whether it has a formula for it
            raise AttributeError(name)
        return super().__getattr__(name)


@attrs.frozen(eq=False)
class FormulaComparison(Comparison):
    """The outcome of a comparison, for each feature; an expression may branch on what all its symbols agree in."""

    symbol: str
    left: Features
    right: Features

    def __bool__(self) -> bool:
        outcomes = {_decided(self.symbol, a - b) for a, b in zip(self.left, self.right, strict=True)}
        outcome = outcomes.pop()
        return super().__bool__() if outcomes or outcome is None else outcome


_Unary = Callable[["SymbolicNamespace", Any], Any]


def _unary(function: Callable[[sympy.Expr], sympy.Expr]) -> _Unary:
    return lambda self, x: self.elementwise(function, x)


class SymbolicNamespace:
    """The reading of the algebra with symbols; `features` is what `shape[-1]` gives where no number is.

    >>> import functional_mlp as fm
    >>> xp = SymbolicNamespace()
    >>> (y,) = fm.Softplus().value(xp, xp.array(sympy.Symbol("s", real=True))).parts
    >>> print(y)
    Maximum(s, 0) + log(1 + exp(-Abs(s)))
    """

    features: Formula | None
    # Whether arrays have features: the expressions of activations, penalties and rules see each number by itself.
    has_features: bool = True

    def __init__(self, features: sympy.Expr | None = None) -> None:
        self.features = None if features is None else self.scalar(features)

    def __getattr__(self, name: str) -> Any:
        raise no_function(name)

    def array(self, *parts: sympy.Expr) -> Formula:
        if any(isinstance(part, Operand) for part in parts):  # an expression calls it, for which there is none
            raise no_function("array")
        return Formula(self, parts)

    def scalar(self, value: sympy.Expr) -> Formula:
        """A number that is not known yet: a learning rate, a step."""
        return Formula(self, (value,), has_shape=False)

    def elementwise(self, function: Callable[..., sympy.Expr], *operands: Any) -> Any:
        arrays = [operand for operand in operands if isinstance(operand, Formula)]
        if not arrays:
            return self.scalar(function(*(self.parts_of(operand)[0] for operand in operands)))
        width = max(len(array.parts) for array in arrays)
        columns = [_as_wide(self.parts_of(operand), width) for operand in operands]
        parts = [function(*row) for row in zip(*columns, strict=True)]
        return Formula(self, parts, has_shape=any(array.has_shape for array in arrays))

    def parts_of(self, operand: Any) -> Features:
        """The formulas of an array, or the one that a number is."""
        return parts_of(operand)

    # What the operators of an operand call

    def binary(self, name: str, a: Any, b: Any) -> Any:
        return self.elementwise(_OPERATORS[name], a, b)

    def compare(self, symbol: str, a: Any, b: Any) -> FormulaComparison:
        left, right = self.parts_of(a), self.parts_of(b)
        width = max(len(left), len(right))
        return FormulaComparison(symbol, _as_wide(left, width), _as_wide(right, width))

    def remainder(self, a: Any, b: Any) -> Any:
        return self.elementwise(sympy.Mod, a, b)

    def power(self, base: Any, exponent: Any) -> Any:
        return self.elementwise(sympy.Pow, base, exponent)

    def exponential(self, base: Any, exponent: Any) -> Any:
        return self.elementwise(sympy.Pow, base, exponent)

    # The functions of the algebra

    abs: ClassVar[_Unary] = _unary(sympy.Abs)
    sign: ClassVar[_Unary] = _unary(sympy.sign)
    sqrt: ClassVar[_Unary] = _unary(sympy.sqrt)
    exp: ClassVar[_Unary] = _unary(sympy.exp)
    expm1: ClassVar[_Unary] = _unary(lambda x: sympy.exp(x) - 1)
    log: ClassVar[_Unary] = _unary(sympy.log)
    log1p: ClassVar[_Unary] = _unary(lambda x: sympy.log(1 + x))
    tanh: ClassVar[_Unary] = _unary(sympy.tanh)
    erf: ClassVar[_Unary] = _unary(sympy.erf)
    ndtr: ClassVar[_Unary] = _unary(lambda x: normal_distribution(x))
    gelu: ClassVar[_Unary] = _unary(lambda s: s * normal_distribution(s))
    gelu_slope: ClassVar[_Unary] = _unary(
        lambda s: normal_distribution(s) + s * sympy.exp(-s * s / 2) / sympy.sqrt(2 * sympy.pi)
    )

    def where(self, condition: Any, if_true: Any, if_false: Any) -> Any:
        if not isinstance(condition, FormulaComparison):
            if not isinstance(condition, bool):
                raise no_condition(condition)
            return if_true if condition else if_false
        left, right = self.array(*condition.left), self.array(*condition.right)

        def chosen(*row: sympy.Expr) -> sympy.Expr:
            return where(condition.symbol, *row)

        return self.elementwise(chosen, left, right, if_true, if_false)

    def maximum(self, a: Any, b: Any) -> Any:
        return self.elementwise(Maximum, a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self.elementwise(Minimum, a, b)

    def gated(self, s: Any, a: Any, b: Any) -> Any:
        return self.elementwise(lambda s, a, b: s * sigmoid(a * s + b * s**3), s, a, b)

    def gated_slope(self, s: Any, a: Any, b: Any) -> Any:
        def slope(s: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
            opening = sigmoid(a * s + b * s**3)
            return opening + s * opening * (1 - opening) * (a + 3 * b * s**2)

        return self.elementwise(slope, s, a, b)

    def require_features(self, what: str) -> None:
        """Raise `NotInAlgebraError` where each number is seen by itself."""
        if not self.has_features:
            raise no_features(what)

    def sum(self, x: Any) -> Any:
        self.require_features("xp.sum")
        return Formula(self, [sympy.Add(*x.parts)])

    def max(self, x: Any) -> Any:
        self.require_features("xp.max")
        return Formula(self, [Largest(*x.parts) if len(x.parts) > 1 else x.parts[0]])


class ClaimsNamespace(SymbolicNamespace):
    """The namespace of what is proved: what is no number somewhere is kept, and so are the constants that are rounded.

    Floats that are no known numbers have letters.

    >>> xp = ClaimsNamespace()
    >>> (product,) = (1.7580993408473766 * xp.array(sympy.Symbol("s", real=True))).parts
    >>> product, list(xp.constants.values()) == [sympy.Rational(1.7580993408473766)]
    (1.7580993408473766*s, True)
    >>> xp.exp(xp.log(xp.array(sympy.Symbol("s", real=True)))).parts
    (exp(Logarithm(s)),)
    """

    constants: dict[sympy.Symbol, sympy.Rational]

    def __init__(self, *, has_features: bool = False) -> None:
        super().__init__()
        self.has_features = has_features
        self.constants = {}

    def parts_of(self, operand: Any) -> Features:
        if not isinstance(operand, float) or not math.isfinite(operand) or recognized(operand) is not None:
            return super().parts_of(operand)
        letter = sympy.Symbol(repr(operand), positive=operand > 0, real=True)
        self.constants[letter] = exactly(operand)
        return (letter,)

    def binary(self, name: str, a: Any, b: Any) -> Any:
        of_two = _OPERATORS[name]
        exactly_so = quotient if name == "fdiv" else lambda a, b: with_all(of_two(a, b), a, b)
        return self.elementwise(exactly_so, a, b)

    def remainder(self, a: Any, b: Any) -> Any:
        return self.elementwise(lambda a, b: with_all(sympy.Mod(a, b), a, b), a, b)

    def power(self, base: Any, exponent: Any) -> Any:
        return self.elementwise(power, base, exponent)

    exponential = power
    sqrt: ClassVar[_Unary] = _unary(lambda x: power(x, sympy.S.Half))
    log: ClassVar[_Unary] = _unary(logarithm)
    log1p: ClassVar[_Unary] = _unary(lambda x: logarithm(1 + x))

    def sum(self, x: Any) -> Any:
        self.require_features("xp.sum")
        return Formula(self, [with_all(sympy.Add(*x.parts), *x.parts)])


def _decided(comparison: str, difference: sympy.Expr) -> bool | None:
    """Whether a comparison holds for all values that the symbols of the difference may have; None where that differs.

    >>> _decided(">", sympy.Symbol("ε", positive=True)), _decided(">", sympy.Symbol("s", real=True))
    (True, None)
    """
    holds: bool | None = {
        "<": difference.is_negative,
        "<=": difference.is_nonpositive,
        ">": difference.is_positive,
        ">=": difference.is_nonnegative,
        "==": difference.is_zero,
        "!=": difference.is_nonzero,
    }[comparison]
    return holds


def sigmoid(v: sympy.Expr) -> sympy.Expr:
    """1 / (1 + e⁻ᵛ)."""
    return 1 / (1 + sympy.exp(-v))


def normal_distribution(x: sympy.Expr) -> sympy.Expr:
    """Φ(x)."""
    return (1 + sympy.erf(x / sympy.sqrt(2))) / 2


_OPERATORS: dict[str, Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    "fadd": lambda a, b: a + b,
    "fsub": lambda a, b: a - b,
    "fmul": lambda a, b: a * b,
    "fdiv": lambda a, b: a / b,
}


def parts_of(operand: Any) -> Features:
    """The formulas of an array, or the one that a number is."""
    if isinstance(operand, Formula):
        return operand.parts
    if isinstance(operand, sympy.Expr):
        return (operand,)
    if isinstance(operand, int | float | Fraction):
        return (exactly(operand),)
    raise no_operand(operand)


def _as_wide(parts: Features, width: int) -> Features:
    return parts * width if len(parts) == 1 else parts
