"""The array algebra over the leaves of a tree: what a rule does to one array is done to all of them at once.

The numbers have the bits that they have leaf by leaf. What the algebra has not raises `NotInAlgebraError`.

>>> xp = leaves_namespace((torch.float32, torch.device("cpu")))
>>> params, grads = (Leaves(xp, [torch.tensor([a]), torch.tensor([b])]) for a, b in ((1.0, 2.0), (10.0, 20.0)))
>>> tensors_of(params - 0.5 * grads)
(tensor([-4.]), tensor([-8.]))
"""

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp.algebra import TorchNamespace, scalar, torch_namespace, working_dtype
from functional_mlp.operands import Comparison, NotInAlgebraError, Operand

Tensors = list[Tensor] | tuple[Tensor, ...]

# What torch does to each tensor of a list, and to a single one.
_OPERATIONS: dict[str, tuple[Callable[..., Tensors], Callable[..., Any]]] = {
    "fadd": (torch._foreach_add, operator.add),
    "fsub": (torch._foreach_sub, operator.sub),
    "fmul": (torch._foreach_mul, operator.mul),
    "fdiv": (torch._foreach_div, operator.truediv),
}
_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Leaves(Operand):
    """An array of the algebra that is a list of tensors of one dtype and device."""

    xp: "LeavesNamespace"

    def __init__(self, xp: "LeavesNamespace", tensors: Tensors) -> None:
        self.xp, self.tensors = xp, tensors

    def __neg__(self) -> "Leaves":
        return Leaves(self.xp, torch._foreach_neg(self.tensors))


class Scaled(Leaves):
    """Leaves times a number, which are multiplied when they are asked for, or where they are added to others."""

    def __init__(self, xp: "LeavesNamespace", factors: Tensors, number: float) -> None:
        self.xp, self._factors, self._number = xp, factors, number

    @property
    def tensors(self) -> Tensors:  # type: ignore[override]
        return self._times(self._number)

    def added_to(self, others: Tensors, sign: int = 1) -> Tensors:
        """The sum with others, or what is left of these, in the tensors of the product: none are made for it."""
        product = self._times(sign * self._number)
        torch._foreach_add_(product, others)
        return product

    def _times(self, number: float) -> Tensors:
        return torch._foreach_mul(self._factors, self.xp.number(number))


class LeafComparison(Comparison):
    """The outcomes of a comparison, one for each leaf."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors


@attrs.frozen(eq=False)
class LeavesNamespace:
    """The reading of the algebra for `Leaves`: each operation is that of `torch_xp` on leaf after leaf."""

    torch_xp: TorchNamespace

    def binary(self, name: str, a: Any, b: Any) -> Leaves:
        of_lists, of_tensors = _OPERATIONS[name]
        if name == "fmul" and (type(a) in (int, float) or type(b) in (int, float)):
            return Scaled(self, b.tensors, a) if isinstance(b, Leaves) else Scaled(self, a.tensors, b)
        if isinstance(a, Leaves) and isinstance(b, Leaves):
            if name == "fadd" and type(a) is Scaled:
                return Leaves(self, a.added_to(b.tensors))
            if name in ("fadd", "fsub") and type(b) is Scaled:
                return Leaves(self, b.added_to(a.tensors, 1 if name == "fadd" else -1))
            return Leaves(self, of_lists(a.tensors, b.tensors))
        if isinstance(a, Leaves) and name == "fdiv" and type(b) in (int, float):
            return Leaves(self, of_lists(a.tensors, self.number(b)))
        return Leaves(self, _of_each(of_tensors, a, b))

    def number(self, number: float) -> Tensor:
        """A number as a tensor, made once and not for each leaf: half of the time that an operation takes."""
        return scalar(number, self.torch_xp.dtype, self.torch_xp.device)

    def compare(self, symbol: str, a: Any, b: Any) -> LeafComparison:
        return LeafComparison(_of_each(_COMPARISONS[symbol], a, b))

    def remainder(self, a: Any, b: Any) -> Leaves:
        return Leaves(self, _of_each(operator.mod, a, b))

    def power(self, base: Any, exponent: Any) -> Leaves:
        return Leaves(self, _of_each(operator.pow, base, exponent))

    exponential = power

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self.torch_xp, name)

        def of_leaves(*arguments: Any) -> Any:
            if any(isinstance(argument, Leaves) for argument in arguments):
                return Leaves(self, _of_each(function, *arguments))
            return function(*arguments)

        return of_leaves


@functools.lru_cache(maxsize=64)
def leaves_namespace(kind: tuple[torch.dtype, torch.device] | None) -> LeavesNamespace | None:
    """The namespace for leaves that all are of a dtype and on a device; None where the algebra is read leaf by leaf.

    That is where they are of several kinds, where half precision is to be widened, and on a GPU, which divides by a
    number otherwise than by a tensor.
    """
    if kind is None or working_dtype(kind[0]) != kind[0] or kind[1].type != "cpu":
        return None
    return LeavesNamespace(torch_namespace(*kind))


def tensors_of(value: Any) -> Tensors:
    """The tensors of what an expression gives; raises `NotInAlgebraError` where it is no array."""
    if isinstance(value, Leaves):
        return value.tensors
    raise NotInAlgebraError(f"an expression must give arrays, got {value!r}")


def _of_each(function: Callable[..., Any], *arguments: Any) -> list[Tensor]:
    """What a function gives for each leaf, and for numbers beside it."""
    columns = [_column(argument) for argument in arguments]
    return list(map(function, *columns))


def _column(argument: Any) -> Any:
    if isinstance(argument, Leaves | LeafComparison):
        return argument.tensors
    if isinstance(argument, int | float):
        return itertools.repeat(argument)
    raise NotInAlgebraError(f"an expression computes with arrays and numbers, and not with {argument!r}")
