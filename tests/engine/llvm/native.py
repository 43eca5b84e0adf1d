"""Machine code from a few lines of emission, for tests of what the kernels are made of."""

import ctypes
from collections.abc import Callable

import torch
from llvmlite import ir
from torch import Tensor

from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.types import I64, POINTER, Real


def run_vectors(emit: Callable[[Emitter, ir.Value], ir.Value], x: Tensor, lanes: int | None = None) -> Tensor:
    """What emitted code makes of a tensor, a vector at a time; lanes beyond its end are zeros."""
    target, real = machine.host(), Real(x.dtype)
    lanes = lanes or target.lanes(real.size)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64]), "run")
    builder = ir.IRBuilder(function.append_basic_block())
    e = Emitter(builder, real, lanes)
    source, result, count = function.args
    e.loop("vectors", 0, count, lanes, lambda i: e.store(emit(e, e.load(source, i)), result, i))
    builder.ret_void()
    code = machine.MachineCode(machine.assemble(str(module), target), target)
    padded = torch.cat([x.flatten(), x.new_zeros(-x.numel() % lanes)])
    out = torch.empty_like(padded)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(code.address("run"))
    call(padded.data_ptr(), out.data_ptr(), len(padded))
    return out[: x.numel()].reshape(x.shape)
