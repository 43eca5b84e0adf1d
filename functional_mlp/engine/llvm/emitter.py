"""An assembler of vector code: llvmlite's builder with the operations that kernels are made of.

A kernel works on vectors of `lanes` numbers of one real type, float or double. Addresses are a base pointer
and an offset in numbers, an `Index`.
"""

import functools
import math
from collections.abc import Callable, Sequence

import torch

from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index, Indices
from functional_mlp.engine.llvm.stored import StoredVectors
from functional_mlp.engine.llvm.types import I1, I32, I64, Real

Body = Callable[..., Sequence[ir.Value] | None]
Place = tuple[ir.Value, Index]  # a base, and an offset


# A product and a sum may be rounded once instead of twice; nothing else is relaxed, so NaN and infinity stay.
CONTRACT = ("contract",)


@functools.lru_cache(maxsize=4096)
def _repeated(dtype: torch.dtype, lanes: int, number: float, sign: float) -> ir.Constant:
    """A vector with the same number in each lane, made once; the sign tells 0 from −0."""
    real = Real(dtype)
    return ir.Constant(ir.VectorType(real.type, lanes), [real.constant(number)] * lanes)


@functools.lru_cache(maxsize=4096)
def _lane_choice(lanes: tuple[int, ...]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(lanes)), [ir.Constant(I32, lane) for lane in lanes])


class Emitter(Indices):
    """Emits into one function; `lanes` numbers of type `real` make a vector."""

    vector_type: ir.VectorType
    integers_type: ir.VectorType
    stored: StoredVectors

    def __init__(self, builder: ir.IRBuilder, real: Real, lanes: int, stored: StoredVectors | None = None) -> None:
        super().__init__(builder)
        self.real = real
        self.lanes = lanes
        self.vector_type = ir.VectorType(real.type, lanes)
        self.integers_type = ir.VectorType(real.integer, lanes)
        self.stored = stored or StoredVectors()

    def at(self, builder: ir.IRBuilder) -> "Emitter":
        """The same for another place of the function."""
        return Emitter(builder, self.real, self.lanes)

    # Constants and scalars

    def constant(self, number: float) -> ir.Constant:
        """A vector with the same number in each lane."""
        return _repeated(self.real.dtype, self.lanes, float(number), math.copysign(1, number))

    def integers(self, number: int) -> ir.Constant:
        """A vector of integers, as wide as the reals."""
        return ir.Constant(self.integers_type, [ir.Constant(self.real.integer, number)] * self.lanes)

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A vector with the same value in each lane."""
        first = self.builder.insert_element(ir.Constant(self.vector_type, ir.Undefined), scalar, ir.Constant(I32, 0))
        return self.splat_first(first)

    def splat_first(self, vector: ir.Value) -> ir.Value:
        """The first lane of a vector in each lane."""
        return self.shuffle(vector, vector, [0] * self.lanes)

    # Memory

    def address(self, base: ir.Value, offset: Index, of: ir.Type | None = None) -> ir.Value:
        return self.builder.gep(base, [self.index(offset)], inbounds=True, source_etype=of or self.real.type)

    def load(self, base: ir.Value, offset: Index) -> ir.Value:
        """The vector at an offset; aligned to a number only. What was stored there a moment ago is not loaded again."""
        known = self.stored.find(base, offset, self.lanes, self.builder.block)
        if known is not None:
            return known
        return self.builder.load(self.address(base, offset), typ=self.vector_type, align=self.real.size)

    def store(self, value: ir.Value, base: ir.Value, offset: Index) -> None:
        self.stored.note(base, offset, value, self.lanes, self.builder.block)
        self.builder.store(value, self.address(base, offset), align=self.real.size)

    def load_number(self, base: ir.Value, offset: Index) -> ir.Value:
        return self.builder.load(self.address(base, offset), typ=self.real.type, align=self.real.size)

    def store_number(self, value: ir.Value, base: ir.Value, offset: Index) -> None:
        self.stored.forget(base, offset, 1)
        self.builder.store(value, self.address(base, offset), align=self.real.size)

    def fetch(self, base: ir.Value, offset: Index, *, to_write: bool = False) -> None:
        """Ask for the vector at an offset, which is needed soon; what lies there need not be memory."""
        flags = [ir.Constant(I32, flag) for flag in (int(to_write), 3, 1)]
        self.intrinsic("llvm.prefetch.p0", [self.address(base, offset), *flags], ir.VoidType())

    def broadcast(self, base: ir.Value, offset: Index) -> ir.Value:
        """The number at an offset, in each lane."""
        return self.splat(self.load_number(base, offset))

    def load_first(self, base: ir.Value, offset: Index, count: int) -> ir.Value:
        """The first `count` numbers at an offset, and 0 in the other lanes; memory beyond them is not touched."""
        if count >= self.lanes:
            return self.load(base, offset)
        return self.intrinsic(
            f"llvm.masked.load.v{self.lanes}{self.real.suffix}.p0",
            [self.address(base, offset), ir.Constant(I32, self.real.size), self.mask(count), self.constant(0)],
            self.vector_type,
        )

    def load_repeated(self, base: ir.Value, offset: Index, count: int) -> ir.Value:
        """`count` numbers at an offset, over and over."""
        if count == self.lanes:
            return self.load(base, offset)
        few = ir.VectorType(self.real.type, count)
        numbers = self.builder.load(self.address(base, offset), typ=few, align=self.real.size)
        return self.shuffle(numbers, numbers, [lane % count for lane in range(self.lanes)])

    # Lanes

    def select_lanes(self, chosen: Sequence[bool], a: ir.Value, b: ir.Value) -> ir.Value:
        """The lanes of a that are chosen, and of b where they are not."""
        if all(chosen):
            return a
        mask = ir.Constant(ir.VectorType(I1, self.lanes), [ir.Constant(I1, lane) for lane in chosen])
        return self.builder.select(mask, a, b)

    def mask(self, count: Index) -> ir.Value:
        """True in the first `count` lanes."""
        if not isinstance(count, int):
            return self.builder.icmp_signed("<", self.lane_numbers(), self.splat_integer(count))
        return ir.Constant(ir.VectorType(I1, self.lanes), [ir.Constant(I1, lane < count) for lane in range(self.lanes)])

    def lane_numbers(self) -> ir.Constant:
        """0, 1, 2, …"""
        return ir.Constant(self.integers_type, [ir.Constant(self.real.integer, lane) for lane in range(self.lanes)])

    def splat_integer(self, value: ir.Value) -> ir.Value:
        """A 64-bit integer in each lane of a vector of integers, as wide as the reals."""
        narrow = value if self.real.integer == I64 else self.builder.trunc(value, self.real.integer)
        first = self.builder.insert_element(ir.Constant(self.integers_type, ir.Undefined), narrow, ir.Constant(I64, 0))
        return self.splat_first(first)

    def keep_first(self, value: ir.Value, count: Index, other: float = 0.0) -> ir.Value:
        """The first `count` lanes of a vector, `other` in the rest."""
        if isinstance(count, int) and count >= self.lanes:
            return value
        return self.builder.select(self.mask(count), value, self.constant(other))

    def shuffle(self, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
        """Lanes of two vectors: numbers below `self.lanes` choose from `a`, the others from `b`."""
        return self.builder.shuffle_vector(a, b, _lane_choice(tuple(lanes)))

    def row_sums(self, rows: Sequence[ir.Value]) -> ir.Value:
        """The vector whose lane i is the sum over the lanes of rows[i]; lanes beyond the rows hold anything."""
        level: list[ir.Value | None] = [*rows, *[None] * (self.lanes - len(rows))]
        while len(level) > 1:
            level = self.fold(level)
        (total,) = level
        assert total is not None, "row_sums needs a row"
        return total

    def fold(self, level: Sequence[ir.Value | None]) -> list[ir.Value | None]:
        """A stage of the sums over the lanes of rows: half as many vectors, with twice as many rows in each.

        Where m rows share a vector, the lanes i, i + m, i + 2m, … belong to the i-th. A lane of the sum of two
        neighbours adds two such lanes of one of them, the first for the lower m of each 2m lanes.
        """
        m = self.lanes // len(level)
        return [self._fold(a, b, m) for a, b in zip(level[::2], level[1::2], strict=True)]

    def _fold(self, a: ir.Value | None, b: ir.Value | None, m: int) -> ir.Value | None:
        if a is None:
            return None
        other, second = (a, 0) if b is None else (b, self.lanes)
        lanes = [lane + second if lane & m else lane for lane in range(self.lanes)]
        return self.fadd(self.shuffle(a, other, lanes), self.shuffle(a, other, [lane ^ m for lane in lanes]))

    def group_sums(self, vector: ir.Value, size: int) -> ir.Value:
        """In each lane the sum over its group of `size` neighbours, a power of two."""
        for distance in (1 << bit for bit in range(size.bit_length() - 1)):
            vector = self.fadd(vector, self.shuffle(vector, vector, [lane ^ distance for lane in range(self.lanes)]))
        return vector

    def transpose(self, rows: Sequence[ir.Value]) -> list[ir.Value]:
        """The columns of a square block of `lanes` rows."""
        block = list(rows)
        distance = self.lanes // 2
        while distance:
            low = [lane - distance + self.lanes if lane & distance else lane for lane in range(self.lanes)]
            high = [lane + self.lanes if lane & distance else lane + distance for lane in range(self.lanes)]
            for i in range(self.lanes):
                if not i & distance:
                    a, b = block[i], block[i + distance]
                    block[i], block[i + distance] = self.shuffle(a, b, low), self.shuffle(a, b, high)
            distance //= 2
        return block

    def where(self, condition: Index, value: Callable[[], ir.Value]) -> ir.Value:
        """A vector where a condition is not 0, and zeros elsewhere; code for it runs only where it is needed."""
        if isinstance(condition, int):
            return value() if condition else self.constant(0)
        builder, before = self.builder, self.builder.block
        with builder.if_then(builder.icmp_signed("!=", condition, self.index(0))):
            vector = value()
            there = builder.block
        result = builder.phi(self.vector_type)
        result.add_incoming(self.constant(0), before)
        result.add_incoming(vector, there)
        return result

    # Arithmetic

    def fadd(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b, flags=CONTRACT)

    def fsub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b, flags=CONTRACT)

    def fmul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fmul(a, b, flags=CONTRACT)

    def fdiv(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fdiv(a, b, flags=CONTRACT)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a b + c, rounded once where the processor can."""
        return self.fadd(self.fmul(a, b), c)

    def fused_multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a b + c as `multiply_add`, where c may be a product: it is this one that is not rounded by itself."""
        return self.of_vector("fmuladd", a, b, c)

    def tree_sum(self, terms: Sequence[ir.Value]) -> ir.Value:
        """The sum of vectors, added in pairs, so that few additions wait for each other."""
        terms = list(terms)
        while len(terms) > 1:
            pairs = [self.fadd(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
        return terms[0]

    def intrinsic(
        self, name: str, arguments: Sequence[ir.Value], result: ir.Type, flags: Sequence[str] = ()
    ) -> ir.Value:
        """A call of one of LLVM's own functions."""
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.builder.call(function, arguments, fastmath=flags)

    def call(self, function: ir.Value, arguments: Sequence[ir.Value]) -> None:
        """A call of a function that may write anywhere."""
        self.builder.call(function, arguments)
        self.stored.forget_all()

    def of_vector(self, name: str, *arguments: ir.Value) -> ir.Value:
        """An elementwise LLVM function of vectors, such as `sqrt` or `fabs`."""
        return self.intrinsic(f"llvm.{name}.v{self.lanes}{self.real.suffix}", arguments, self.vector_type)

    # Control flow

    def loop(
        self,
        name: str,
        start: Index,
        stop: Index,
        step: int,
        body: Body,
        carried: Sequence[ir.Value] = (),
    ) -> list[ir.Value]:
        """for (i = start; i < stop; i += step) carried = body(i, *carried); returns the last `carried`.

        Parameters
        ----------
        name
            That of its blocks.
        start
            The first i.
        stop
            The end of them, which i does not reach.
        step
            How far i goes in a turn.
        body
            Emits a turn.
        carried
            The values before the first turn.

        A loop that is known to run once, or not at all, is no loop.
        """
        if isinstance(start, int) and isinstance(stop, int):
            trips = math.ceil((stop - start) / step)
            if trips <= 0:
                return list(carried)
            if trips == 1:
                return list(body(start, *carried) or ())
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block(name)
        inside = builder.append_basic_block(f"{name}.body")
        after = builder.append_basic_block(f"{name}.end")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(I64, name=name.rsplit(".", 1)[-1])
        i.add_incoming(self.index(start), before)
        phis = []
        for value in carried:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        builder.cbranch(builder.icmp_signed("<", i, self.index(stop)), inside, after)
        builder.position_at_end(inside)
        results = list(body(i, *phis) or ())
        i.add_incoming(builder.add(i, ir.Constant(I64, step)), builder.block)
        for phi, result in zip(phis, results, strict=True):
            phi.add_incoming(result, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return list(phis)

    def blocks(self, name: str, count: Index, step: int, body: Callable[[Index, Index], None], unrolled: int) -> None:
        """body(start, size) for each block of `step` of `count` things, the last one short.

        At most `unrolled` full blocks are emitted one after the other; more become a loop. Where the count is
        known only at run time, so is the size of the last block, and `step` is a power of two.
        """
        if not isinstance(count, int):
            whole = self.rounded_down(count, step)
            self.loop(name, 0, whole, step, lambda i: body(i, step))
            with self.builder.if_then(self.builder.icmp_signed("<", whole, count)):
                body(whole, self.subtract(count, whole))
            return
        full = count // step
        if full <= unrolled:
            for block in range(full):
                body(block * step, step)
        else:

            def whole(i: ir.Value) -> None:
                body(i, step)

            self.loop(name, 0, full * step, step, whole)
        if count % step:
            body(full * step, count % step)

    def vectors(self, name: str, count: Index, body: Callable[[Index, Index], None], unrolled: int) -> None:
        """body(start, lanes in use) for each vector of `count` numbers.

        Where the count is known only at run time, the lanes in use are those that are left: more than there are, but
        for the last.
        """
        if isinstance(count, int):
            self.blocks(name, count, self.lanes, body, unrolled)
        else:
            self.loop(name, 0, count, self.lanes, lambda i: body(i, self.subtract(count, i)))

    def copy(self, name: str, begin: Index, end: Index, source: Place, target: Place) -> None:
        """Copy numbers `begin` to `end`, whole vectors, counted from one place to those counted from another."""

        def one(i: Index) -> None:
            (read, there), (written, here) = source, target
            self.store(self.load(read, self.add(there, i)), written, self.add(here, i))

        self.loop(name, begin, end, self.lanes, one)
