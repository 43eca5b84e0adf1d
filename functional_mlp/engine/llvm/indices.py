"""Arithmetic of counts and places: Python integers, known while code is emitted, or values of the emitted code."""

from typing import Any, TypeAlias

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.types import I64

Index: TypeAlias = int | Any  # an ir.Value, which mypy cannot see into


class Indices:
    """Emits operations of 64-bit integers, where they are not known already."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def index(self, value: Index) -> ir.Value:
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def add(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if 0 in (a if isinstance(a, int) else None, b if isinstance(b, int) else None):
            return b if isinstance(a, int) else a
        return self.builder.add(self.index(a), self.index(b))

    def subtract(self, a: Index, b: Index) -> Index:
        if isinstance(b, int):
            return a - b if isinstance(a, int) else self.add(a, -b)
        return self.builder.sub(self.index(a), b)

    def multiply(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if isinstance(a, int):
            a, b = b, a
        return a if isinstance(b, int) and b == 1 else self.builder.mul(a, self.index(b))

    def rounded_down(self, a: Index, to: int) -> Index:
        """The largest multiple of a power of two that is not above a number."""
        return a - a % to if isinstance(a, int) else self.builder.and_(a, ir.Constant(I64, -to))

    def smaller(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        a, b = self.index(a), self.index(b)
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def larger(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        a, b = self.index(a), self.index(b)
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)
