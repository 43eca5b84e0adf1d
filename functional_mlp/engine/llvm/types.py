"""The types of the numbers that code is made of."""

import ctypes
from typing import Any

import torch

from functional_mlp.engine.llvm import ir

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
POINTER = ir.PointerType()
DOUBLE = ir.DoubleType()


def c_type(kind: ir.Type) -> Any:
    """The type in which ctypes hands over an argument: a pointer, a 64-bit integer or a double."""
    if isinstance(kind, ir.PointerType):
        return ctypes.c_void_p
    return {I64: ctypes.c_int64, DOUBLE: ctypes.c_double}[kind]


class Real:
    """One of the two floating types, with what its bits mean."""

    integer: ir.IntType

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        single = dtype == torch.float32
        self.type: ir.Type = ir.FloatType() if single else DOUBLE
        self.integer = I32 if single else I64
        self.size = 4 if single else 8
        self.mantissa_bits = 23 if single else 52
        self.exponent_bias = 127 if single else 1023
        self.suffix = "f32" if single else "f64"

    def constant(self, number: float) -> ir.Constant:
        return ir.Constant(self.type, _rounded(number) if self.size == 4 else float(number))


def _rounded(number: float) -> float:
    """The float32 nearest to a number; llvmlite refuses any other as a float constant."""
    return torch.tensor(number, dtype=torch.float64, device="cpu").to(torch.float32).item()
