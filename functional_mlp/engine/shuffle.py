"""The shuffle of `functional_mlp.shuffling` in native code: the same orders, in a tenth of the time and less.

It is a module of its own, made once for a processor. Compiled epochs are given its address, and draw their orders in
the call that trains.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, NamedTuple

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, shuffling
from functional_mlp.engine import making
from functional_mlp.engine.functions import Code, Source, begin, compiled
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.records import Integer, Item, Kind, Pointer, types_of
from functional_mlp.engine.llvm.types import I32, I64, POINTER, Real
from functional_mlp.engine.making import CannotMakeCodeError
from functional_mlp.engine.policy import Policy
from functional_mlp.engine.workspace import note_workspace
from functional_mlp.random import DIGEST_SIZE
from functional_mlp.shuffling import HALVES, INCREMENTS, MULTIPLIERS, NARROW, ROUNDS, WORDS

_I128 = ir.IntType(128)


class Places(NamedTuple, Generic[Item]):
    """The arguments of the shuffle, which draws places of an order with a key.

    The first `last` places of `order` become a permutation of 0, …, last − 1, where the first `first` ones, a multiple
    of eight, are one already. Places below `narrow` are drawn from halves of words, and those from there on from whole
    ones.
    """

    order: Pointer[Item]
    key: Pointer[Item]
    first: Integer[Item]
    last: Integer[Item]
    narrow: Integer[Item]


SHUFFLE = ir.FunctionType(ir.VoidType(), list(types_of(Places).values()))
KEY = ir.ArrayType(ir.IntType(8), DIGEST_SIZE)


@attrs.frozen
class ShuffleSource(Source):
    """The shuffle, which draws some places before it swaps them."""

    drawn_ahead: int

    what = "shuffle"
    functions: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"shuffle": (Places,)}

    @property
    def key(self) -> str:
        return f"shuffle {self.drawn_ahead}"

    def check_unchanged(self) -> None:
        """There are no expressions of anybody's in it."""

    def emit(self) -> ir.Module:
        ahead = self.drawn_ahead
        module = ir.Module(name="functional_mlp.shuffle")
        words = _emit_words(module)
        drawn = _emit_narrow(module, words, _emit_settled(module, words))
        wide = _emit_wide(module, words)
        b, (places,) = begin(module, "shuffle", Places)
        order, key, first, last, narrow = places
        e = Emitter(b, Real(torch.float64), 1)
        here = b.alloca(ir.ArrayType(I64, ahead), name="drawn")

        def swap(i: ir.Value, j: ir.Value) -> None:
            there = e.address(order, j, I64)
            b.store(b.load(there, typ=I64, align=8), e.address(order, i, I64), align=8)
            b.store(i, there, align=8)

        def draw_and_swap(start: ir.Value) -> None:
            stop = e.smaller(e.add(start, ahead), end)

            def draw(place: ir.Value) -> None:
                b.call(drawn, [key, place, order, e.address(here, e.subtract(place, start), I64)])

            def take(place: ir.Value) -> None:
                swap(place, b.load(e.address(here, e.subtract(place, start), I64), typ=I64, align=8))

            e.loop("draw", start, stop, HALVES, draw)
            e.loop("take", start, stop, 1, take)

        end = e.smaller(last, narrow)
        e.loop("narrow", first, end, ahead, draw_and_swap)
        begin_wide = b.select(b.icmp_signed("<", first, narrow), narrow, first)
        e.loop("wide", begin_wide, last, 1, lambda i: swap(i, b.call(wide, [key, i])))
        b.ret_void()
        note_workspace(module, 0)
        return module


@attrs.frozen
class Shuffle:
    """The compiled shuffle, of which a call draws no more than some places."""

    code: Code[ShuffleSource]
    places_per_call: int

    @property
    def address(self) -> int:
        return self.code.addresses["shuffle"]

    def __call__(self, digest: bytes, order: Tensor, narrow: int = NARROW) -> None:
        """`shuffling.shuffle` in native code."""
        checks.plain_tensor("the order", order)
        for first in range(0, len(order), self.places_per_call):
            last = min(first + self.places_per_call, len(order))
            self.code.functions["shuffle"](
                *Places(order=order.data_ptr(), key=digest, first=first, last=last, narrow=narrow)
            )


@functools.cache
def function_of(target: machine.Target, policy: Policy) -> Shuffle:
    """The shuffle for a processor; once it is made, all shuffles are drawn by it.

    Raises `CannotMakeCodeError` where LLVM cannot make or load it.
    """
    shuffle = Shuffle(compiled(ShuffleSource(policy.places_drawn_ahead), target), policy.places_per_call)
    shuffling.use(shuffle)
    return shuffle


def load_if_possible(policy: Policy) -> None:
    """Draw all shuffles natively from now on, where LLVM can make or load the code."""
    with contextlib.suppress(CannotMakeCodeError), making.remembering("the processor"):
        function_of(machine.host(), policy)


def _internal(
    module: ir.Module, name: str, result: ir.Type, types: Sequence[ir.Type]
) -> tuple[ir.Function, ir.IRBuilder]:
    function = ir.Function(module, ir.FunctionType(result, types), name)
    function.linkage = "internal"
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _word(number: int) -> ir.Constant:
    return ir.Constant(I64, number)


def _high_and_low(b: ir.IRBuilder, a: ir.Value, c: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The halves of a product of 128 bits."""
    product = b.mul(b.zext(a, _I128), b.zext(c, _I128))
    return b.trunc(b.lshr(product, ir.Constant(_I128, 64)), I64), b.trunc(product, I64)


def _emit_words(module: ir.Module) -> ir.Function:
    """words(key, block, attempt, out): the four words of a block of Philox-4x64-10."""
    function, b = _internal(module, "words", ir.VoidType(), [POINTER, I64, I64, POINTER])
    key, block, attempt, out = function.args
    e = Emitter(b, Real(torch.float64), 1)
    counter = [b.add(block, _word(1)), attempt, _word(0), _word(0)]
    keys = [b.load(e.address(key, i, I64), typ=I64, align=1) for i in range(2)]
    for number in range(ROUNDS):
        own = [b.add(k, _word(number * w % 2**64)) for k, w in zip(keys, INCREMENTS, strict=True)]
        (high_0, low_0), (high_1, low_1) = (
            _high_and_low(b, _word(m), c) for m, c in zip(MULTIPLIERS, counter[::2], strict=True)
        )
        counter = [
            b.xor(b.xor(high_1, counter[1]), own[0]),
            low_1,
            b.xor(b.xor(high_0, counter[3]), own[1]),
            low_0,
        ]
    for i, word in enumerate(counter):
        b.store(word, e.address(out, i, I64), align=8)
    b.ret_void()
    return function


def _half(b: ir.IRBuilder, e: Emitter, words: ir.Value, h: int | ir.Value) -> ir.Value:
    """A half of four words in memory, the lower one of each first."""
    if isinstance(h, int):
        word = b.load(e.address(words, h // 2, I64), typ=I64, align=8)
        return b.lshr(word, _word(32)) if h % 2 else b.and_(word, _word(2**32 - 1))
    word = b.load(e.address(words, b.lshr(h, _word(1)), I64), typ=I64, align=8)
    return b.and_(b.lshr(word, b.shl(b.and_(h, _word(1)), _word(5))), _word(2**32 - 1))


def _emit_narrow(module: ir.Module, words: ir.Function, settled: ir.Function) -> ir.Function:
    """narrow(key, start, out): the places drawn for the eight from `start` on, a multiple of eight."""
    function, b = _internal(module, "narrow", ir.VoidType(), [POINTER, I64, POINTER, POINTER])
    key, start, order, out = function.args
    e = Emitter(b, Real(torch.float64), 1)
    memory = b.alloca(ir.ArrayType(I64, WORDS), name="words")
    b.call(words, [key, b.lshr(start, _word(3)), _word(0), memory])
    products = []
    doubtful: ir.Value = ir.Constant(ir.IntType(1), 0)
    for h in range(HALVES):
        choices = b.add(start, _word(h + 1))
        product = b.mul(_half(b, e, memory, h), choices)
        place = b.lshr(product, _word(32))
        b.store(place, e.address(out, h, I64), align=8)
        _prefetch(e, e.address(order, place, I64))
        doubtful = b.or_(doubtful, b.icmp_unsigned("<", b.and_(product, _word(2**32 - 1)), choices))
        products.append(product)
    with b.if_then(doubtful, likely=False):
        for h, product in enumerate(products):
            b.store(b.call(settled, [key, b.add(start, _word(h)), product]), e.address(out, h, I64), align=8)
    b.ret_void()
    return function


def _prefetch(e: Emitter, address: ir.Value) -> None:
    """Have memory loaded that is soon to be written."""
    for_writing, kept, data = (ir.Constant(I32, number) for number in (1, 3, 1))
    e.intrinsic("llvm.prefetch.p0", [address, for_writing, kept, data], ir.VoidType())


def _emit_settled(module: ir.Module, words: ir.Function) -> ir.Function:
    """settled(key, place, product): what the product draws; where it draws nothing, what the next attempt does."""
    function, b = _internal(module, "settled", I64, [POINTER, I64, I64])
    key, place, first = function.args
    e = Emitter(b, Real(torch.float64), 1)
    memory = b.alloca(ir.ArrayType(I64, WORDS), name="words")
    choices = b.add(place, _word(1))
    least = b.urem(_word(2**32), choices)

    def next_product(attempt: ir.Value) -> ir.Value:
        b.call(words, [key, b.lshr(place, _word(3)), attempt, memory])
        return b.mul(_half(b, e, memory, b.and_(place, _word(HALVES - 1))), choices)

    product = _until_drawn(
        b, first, lambda product: b.icmp_unsigned("<", b.and_(product, _word(2**32 - 1)), least), next_product
    )
    b.ret(b.lshr(product, _word(32)))
    return function


def _emit_wide(module: ir.Module, words: ir.Function) -> ir.Function:
    """wide(key, place): the place drawn for one from a whole word."""
    function, b = _internal(module, "wide", I64, [POINTER, I64])
    key, place = function.args
    e = Emitter(b, Real(torch.float64), 1)
    memory = b.alloca(ir.ArrayType(I64, WORDS), name="words")
    choices = b.add(place, _word(1))
    least = b.urem(b.sub(_word(0), choices), choices)

    def next_word(attempt: ir.Value) -> ir.Value:
        b.call(words, [key, b.lshr(place, _word(2)), attempt, memory])
        return b.load(e.address(memory, b.and_(place, _word(WORDS - 1)), I64), typ=I64, align=8)

    def draws_nothing(word: ir.Value) -> ir.Value:
        return b.icmp_unsigned("<", _high_and_low(b, word, choices)[1], least)

    word = _until_drawn(b, next_word(_word(0)), draws_nothing, next_word)
    b.ret(_high_and_low(b, word, choices)[0])
    return function


def _until_drawn(
    b: ir.IRBuilder,
    first: ir.Value,
    draws_nothing: Callable[[ir.Value], ir.Value],
    following: Callable[[ir.Value], ir.Value],
) -> ir.Value:
    """The first of a number and those that follow it, by the number of the attempt, that draws something."""
    before = b.block
    look, again, end = (b.append_basic_block(name) for name in ("look", "again", "drawn"))
    b.branch(look)
    b.position_at_end(look)
    number, attempt = b.phi(I64), b.phi(I64)
    number.add_incoming(first, before)
    attempt.add_incoming(_word(1), before)
    b.cbranch(draws_nothing(number), again, end)
    b.position_at_end(again)
    number.add_incoming(following(attempt), b.block)
    attempt.add_incoming(b.add(attempt, _word(1)), b.block)
    b.branch(look)
    b.position_at_end(end)
    return number
