"""What was stored is known only as long as nothing else can have been written there."""

from collections.abc import Callable

import pytest
import torch
from llvmlite import ir

from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.types import I64, POINTER, Real

LANES = 4
Write = Callable[[Emitter, ir.Value, ir.Value], None]


def emitter() -> tuple[Emitter, ir.Value, ir.Value, ir.Value]:
    """An emitter, two bases and an offset that is not known."""
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64]), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    return Emitter(builder, Real(torch.float32), LANES), *function.args


def test_a_vector_is_not_loaded_after_its_store() -> None:
    e, base, other, _ = emitter()
    vector = e.constant(1)
    e.store(vector, base, 8)
    e.store(e.constant(2), base, 8 + LANES)
    e.store(e.constant(2), base, 8 - LANES)
    e.store(e.constant(3), other, 8)
    e.store_number(ir.Constant(ir.FloatType(), 2.0), base, 7)
    assert e.load(base, 8) is vector


@pytest.mark.parametrize(
    "write",
    [
        lambda e, base, i: e.store(e.constant(2), base, 8 + LANES - 1),
        lambda e, base, i: e.store(e.constant(2), base, 8 - LANES + 1),
        lambda e, base, i: e.store(e.constant(2), base, i),
        lambda e, base, i: e.store_number(ir.Constant(ir.FloatType(), 2.0), base, 11),
        lambda e, base, i: e.store_number(ir.Constant(ir.FloatType(), 2.0), base, i),
        lambda e, base, i: Emitter(e.builder, e.real, 2 * LANES, e.stored).store(ir.Constant(I64, 0), base, 4),
        lambda e, base, i: e.stored.forget_all(),
        lambda e, base, i: e.builder.position_at_end(e.builder.append_basic_block()),
    ],
)
def test_it_is_loaded_where_something_may_have_been_written(
    write: Callable[[Emitter, ir.Value, ir.Value], None],
) -> None:
    e, base, _, i = emitter()
    vector = e.constant(1)
    e.store(vector, base, 8)
    write(e, base, i)
    assert e.load(base, 8) is not vector


def test_vectors_of_another_length_are_loaded() -> None:
    e, base, _, _ = emitter()
    vector = e.constant(1)
    e.store(vector, base, 8)
    assert Emitter(e.builder, e.real, LANES // 2, e.stored).load(base, 8) is not vector
