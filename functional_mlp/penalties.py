"""Penalties: what is added to the loss for the size of the weights, so that they stay small.

Training with a penalty P makes 𝓛 + Σ P(w) small, the sum over all numbers of the leaves of two and more dimensions:
over weights, not over biases. The gradient of such a leaf grows by P'(w) before the optimizer's rule.

>>> import functional_mlp as fm
>>> network, data = fm.Linear(2, 2), fm.datasets.disk(fm.random.key(0), 100)
>>> loss, optimizer, key = fm.MeanSquaredError(), fm.SGD(0.1), fm.random.key(1)
>>> free = fm.fit(network, loss, optimizer, data, key=key, epochs=5)
>>> held = fm.fit(network, loss, optimizer, data, key=key, epochs=5, penalty=l2(0.1))
>>> bool(held.params.weight.norm() < free.params.weight.norm())
True

A penalty of your own gives the value and the derivative for each number of a weight, in the array algebra:

>>> class Huberized(Penalty):
...     '''√(1 + w²) − 1: like w² / 2 near 0, and like |w| far from it.'''
...
...     def value(self, xp, w):
...         return xp.sqrt(1 + w * w) - 1
...
...     def derivative(self, xp, w):
...         return w / xp.sqrt(1 + w * w)
>>> Huberized().total((torch.tensor([[0.0, 1.0]]), torch.tensor([5.0])))
tensor(0.4142)
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks, pytree, trees
from functional_mlp.algebra import Array, Namespace, narrowed, torch_namespace, widened, working_dtype
from functional_mlp.value import Value


@frozen(repr=False)
class Penalty(Value):
    """The base class: a subclass gives two expressions in the array algebra, each for any number w of a weight.

    value(xp, w)        P(w)
    derivative(xp, w)   P'(w), like w
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("total", "added_to_grads", "added_to")
    """What this class makes of a subclass's expressions: a subclass that has its own is more than its expressions."""

    def value(self, xp: Namespace, w: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define value(self, xp, w)")

    def derivative(self, xp: Namespace, w: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define derivative(self, xp, w)")

    def total(self, params: Any) -> Tensor:
        """Σ P(w) over the weights of a tree of parameters, a 0-d tensor; of half precision in float32.

        >>> l2(0.5).total((torch.tensor([[2.0, 0.0]]), torch.tensor([7.0])))
        tensor(1.)
        """
        leaves = trees.float_leaves("params", params)
        for leaf in leaves[:1]:
            checks.numbers_in_range(self, working_dtype(leaf.dtype))
        total = widened(leaves[0]).new_zeros(()) if leaves else torch.zeros((), device="cpu")
        for leaf in filter(is_penalized, leaves):
            wide = widened(leaf.detach())
            total = total + self.value(torch_namespace(wide.dtype, wide.device), wide).sum()
        return total

    def added_to_grads(self, grads: Any, params: Any) -> Any:
        """The gradients of a tree of parameters, those of its weights with P'(w) added.

        Raises `ValueError` where they are not like the parameters, or a number of the penalty is beyond their dtype.
        """
        for leaf in trees.like("grads", grads, "params", params)[:1]:
            checks.numbers_in_range(self, working_dtype(leaf.dtype))
        return pytree.map(
            lambda grad, param: self.added_to(grad, param.detach()) if is_penalized(param) else grad, grads, params
        )

    def added_to(self, grad: Tensor, param: Tensor, where: Tensor | None = None) -> Tensor:
        """grad + P'(param), where the mask holds if one is given."""
        wide = widened(param)
        xp = torch_namespace(wide.dtype, wide.device)
        slope = self.derivative(xp, wide)
        return narrowed(widened(grad) + (slope if where is None else xp.where(where, slope, 0)), grad.dtype)

    def _constructor(self) -> str:
        prefix = "penalties." if type(self).__module__ == __name__ else ""
        return prefix + type(self).__name__


def check_penalty(name: str, penalty: Any, dtype: torch.dtype | None = None) -> None:
    """Raise unless this is a penalty, whose numbers are in the range of a dtype if one is given, or None.

    `name` is that of the caller's function.
    """
    if penalty is not None:
        checks.instance(f"{name}: penalty", penalty, Penalty, "make one with functional_mlp.penalties.l2(strength)")
        checks.hashable(f"{name}: penalty", penalty)
        if dtype is not None:
            checks.numbers_in_range(penalty, working_dtype(dtype))


def is_penalized(leaf: Tensor) -> bool:
    """Whether a leaf is a weight: biases and scales have one dimension or none."""
    return leaf.ndim >= 2


def weights_among(leaves: Sequence[Tensor]) -> Tensor:
    """Which numbers of leaves laid end to end are weights."""
    masks = [torch.full((leaf.numel(),), is_penalized(leaf), device=leaf.device) for leaf in leaves]
    return torch.cat(masks) if masks else torch.zeros(0, dtype=torch.bool, device="cpu")


@frozen(repr=False)
class l2(Penalty):
    """½ · strength · ‖w‖²: each weight is drawn to 0 in proportion to its size.

    Under `SGD` it is weight decay; under `Adam` it is not, for the rule divides it by √v̂ (see `AdamW`).

    >>> params = torch.tensor([[2.0]]), torch.tensor([2.0])
    >>> l2(0.1).added_to_grads((torch.tensor([[1.0]]), torch.tensor([1.0])), params)
    (tensor([[1.2000]]), tensor([1.]))
    """

    strength: float = field(validator=checks.non_negative_number)

    def value(self, xp: Namespace, w: Array) -> Array:
        return (0.5 * self.strength) * (w * w)

    def derivative(self, xp: Namespace, w: Array) -> Array:
        return self.strength * w


@frozen(repr=False)
class l1(Penalty):
    """strength · Σ|w|: each weight is drawn to 0 by the same amount, so that many end there; the derivative at 0 is 0.

    >>> l1(0.5).total(torch.tensor([[-3.0, 1.0]]))
    tensor(2.)
    """

    strength: float = field(validator=checks.non_negative_number)

    def value(self, xp: Namespace, w: Array) -> Array:
        return self.strength * xp.abs(w)

    def derivative(self, xp: Namespace, w: Array) -> Array:
        return self.strength * xp.sign(w)
