"""What holds for every pure function: properties of the calls that a case makes.

Layers, losses and optimizers are pure functions first. A case of theirs has `calls`, and whatever is shown of a call
here is shown of all of them.
"""

from functools import partial
from typing import Protocol

import attrs
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.testing.calls import Call, is_floating
from functional_mlp.testing.layouts import LAYOUTS, SHARING, laid_out
from functional_mlp.testing.precision import assert_rounded, in_float32, in_float64
from functional_mlp.testing.purity import call
from functional_mlp.testing.threads import in_another_thread, interrupted
from functional_mlp.testing.trees import LAYOUT_TOLERANCE, assert_close, assert_same, packed


class Calling(Protocol):
    """A case that calls functions."""

    def calls(self) -> list[Call]: ...


def are_pure(case: Calling) -> None:
    """No argument and no global state is read or written, and no result is connected to an autograd graph."""
    for each in case.calls():
        call(each.name, each.function, detached=each.detached, **each.arguments)


def layout_does_not_matter(case: Calling) -> None:
    """Tensors that lie in memory in an awkward way give what contiguous ones give."""
    for each in case.calls():
        problem = f"{each.name} depends on how tensors lie in memory"
        _assert_same_function(problem, each, each.map(packed))


def no_layout_matters(case: Calling) -> None:
    """As `layout_does_not_matter`, for each layout, of each argument alone and of all of them."""
    for each in case.calls():
        for layout in LAYOUTS:
            laid = {name: pytree.map(partial(laid_out, layout), value) for name, value in each.arguments.items()}
            alone = [{name: value} for name, value in laid.items() if pytree.leaves(value)]
            for arguments in [*alone, laid] if len(alone) > 1 else alone:
                other = attrs.evolve(each, arguments={**each.arguments, **arguments})
                contiguous = other.map(packed)
                if layout not in SHARING or not contiguous.is_refused():  # of other numbers
                    problem = f"{each.name} depends on how tensors lie in memory"
                    _assert_same_function(problem, other, contiguous)


def calls_leave_no_trace(case: Calling) -> None:
    """A result is the same after other calls: neither is it overwritten, nor does a function remember them."""
    calls = case.calls()
    results = [each.result() for each in calls]
    kept = [pytree.map(packed, result) for result in results]
    for each in calls:
        each.changed().result()
    for each, result, copy in zip(calls, results, kept, strict=True):
        assert_same(f"{each.name} returns memory that a later call overwrites", copy, pytree.map(packed, result))
    for other in _one_of_each_name(calls):
        for each, copy in zip(calls, kept, strict=True):
            other.changed().result()
            again = each.result()
            assert_same(
                f"{each.name} remembers an earlier call of {other.name}: its result changes after another one",
                copy,
                again,
            )


def numbers_alone_count(case: Calling) -> None:
    """Other numbers in the same tensors give what they give in new ones: nothing is remembered by identity."""
    for each in case.calls():
        own = each.map(packed)
        own.result()
        other = each.changed().map(packed)
        for leaf, new in zip(pytree.leaves(own.arguments), pytree.leaves(other.arguments), strict=True):
            if isinstance(leaf, Tensor):
                leaf.data.copy_(new)  # `data`, which does not count as a change of the tensor
        problem = f"{each.name} remembers its arguments by identity: with other numbers in the same tensors it gives"
        _assert_same_function(f"{problem} an old result", own, other)


def threads_do_not_matter(case: Calling) -> None:
    """A call in another thread gives the same bits, and so does one that calls in another thread interrupt."""
    for each in _one_of_each_name(case.calls()):
        expected = pytree.map(packed, each.result())
        name, changed = each.name, each.changed()
        elsewhere = in_another_thread(name, each.result)
        assert_same(f"{name} gives another result in another thread", expected, elsewhere)
        meanwhile = interrupted(each.result, lambda changed=changed: changed.result())  # type: ignore[misc]
        assert_same(
            f"{name} gives another result where another thread calls it with other arguments in the meantime",
            expected,
            meanwhile,
        )


def float32_agrees_with_float64(case: Calling) -> None:
    """In float32 the same numbers come out as in float64, up to what rounding explains."""
    for each in case.calls():
        single = each.map(in_float32)
        double = single.map(in_float64)
        assert_rounded(f"{each.name} gives other numbers in float32 than in float64", single, double)


def _one_of_each_name(calls: list[Call]) -> list[Call]:
    return list({each.name: each for each in calls}.values())


def _assert_same_function(problem: str, a: Call, b: Call) -> None:
    dtypes = {leaf.dtype for leaf in pytree.leaves(a.arguments) if is_floating(leaf)}
    rtol = max((LAYOUT_TOLERANCE.get(dtype, 0.0) for dtype in dtypes), default=0.0)
    assert_close(problem, a.result(), b.result(), a.size, rtol=rtol)


# After, beside and instead of other calls.
UNDISTURBED = [calls_leave_no_trace, numbers_alone_count, threads_do_not_matter]
