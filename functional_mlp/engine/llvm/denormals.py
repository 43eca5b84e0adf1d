"""Code that takes denormal numbers as zero."""

import contextlib
from collections.abc import Callable, Iterator

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.types import I32, I64, POINTER

# Bits of the control registers of x86, MXCSR, and of aarch64, FPCR: denormal results, and operands, count as zero.
FLUSH_TO_ZERO, DENORMALS_ARE_ZERO = 1 << 15, 1 << 6
FLUSH_BOTH_TO_ZERO = 1 << 24


@contextlib.contextmanager
def denormals_flushed(builder: ir.IRBuilder, architecture: str) -> Iterator[None]:
    """Emit code that takes denormal numbers as zero, on x86 and aarch64; the caller's setting is put back after it."""
    if architecture == "x86_64":
        restore = _flush_on_x86(builder)
    elif architecture in ("aarch64", "arm64"):
        restore = _flush_on_aarch64(builder)
    else:
        yield
        return
    yield
    restore()


def _flush_on_x86(builder: ir.IRBuilder) -> Callable[[], object]:
    """Emit the change of the register; returns what emits its undoing."""
    module, void = builder.module, ir.VoidType()
    load, store = (
        ir.Function(module, ir.FunctionType(void, [POINTER]), f"llvm.x86.sse.{name}") for name in ("ldmxcsr", "stmxcsr")
    )
    saved, changed = builder.alloca(I32, name="saved_mxcsr"), builder.alloca(I32, name="mxcsr")
    builder.call(store, [saved])
    flags = ir.Constant(I32, FLUSH_TO_ZERO | DENORMALS_ARE_ZERO)
    builder.store(builder.or_(builder.load(saved, typ=I32), flags), changed)
    builder.call(load, [changed])
    return lambda: builder.call(load, [saved])


def _flush_on_aarch64(builder: ir.IRBuilder) -> Callable[[], object]:
    """The same there."""
    get = ir.Function(builder.module, ir.FunctionType(I64, []), "llvm.aarch64.get.fpcr")
    put = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [I64]), "llvm.aarch64.set.fpcr")
    saved = builder.call(get, [], name="saved_fpcr")
    builder.call(put, [builder.or_(saved, ir.Constant(I64, FLUSH_BOTH_TO_ZERO))])
    return lambda: builder.call(put, [saved])
