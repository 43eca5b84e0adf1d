"""What the expressions of the array algebra compute with when no tensors are there: operators, and nothing else."""

from typing import Any, ClassVar, Protocol

Number = int | float


class NotInAlgebraError(TypeError):
    """An expression does what the array algebra has not."""


class Operators(Protocol):
    """What a namespace has for the operators of its operands."""

    def binary(self, name: str, a: Any, b: Any) -> "Operand": ...

    def compare(self, symbol: str, a: Any, b: Any) -> "Comparison": ...

    def remainder(self, a: Any, b: Any) -> "Operand": ...

    def power(self, base: "Operand", exponent: Any) -> "Operand": ...

    def exponential(self, base: Any, exponent: Any) -> "Operand": ...


class Operand:
    """What an expression computes with: operators, and nothing else."""

    xp: Operators

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

    def __neg__(self) -> "Operand":
        return self.xp.binary("fsub", -0.0, self)

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

    def __getattr__(self, name: str) -> Any:
        raise NotInAlgebraError(f"arrays of the algebra have no {name!r}: use the functions of xp")

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        raise NotInAlgebraError(f"torch.{getattr(function, '__name__', function)} is not in the algebra: use xp")


class Comparison:
    """The outcome of a comparison, for `xp.where` alone."""

    def __bool__(self) -> bool:
        raise NotInAlgebraError("an expression cannot branch on a comparison: use xp.where")
