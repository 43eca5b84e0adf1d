"""Checks of trees of tensors: whether their leaves hold numbers, and whether one tree is like another."""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import optree
import torch
from torch import Size, Tensor
from torch._C import _functorch as functorch

from functional_mlp import checks, pytree
from functional_mlp.unpacking import unpacking

_REQUIRES_GRAD = operator.attrgetter("requires_grad")
_TENSOR = frozenset([Tensor])

# What must be equal of leaves that are alike. It is read at once, for all of them: to look at one thing after the other
# takes three times as long.
LeafForm = tuple[Size, torch.dtype, torch.device, torch.layout]
_FORM = operator.attrgetter("shape", "dtype", "device", "layout")


@attrs.frozen(eq=False)
class Form:
    """What trees have in common that are alike: their structure, and the shape, dtype and device of each leaf.

    Each step of a loop looks at several trees. To find one like another takes a comparison; what is wrong with one that
    is not is for `like` to say.

    >>> form = Form.of_template((torch.zeros(2), torch.zeros(3)), torch.float32, torch.device("cpu"))
    >>> form.leaves((torch.ones(2), torch.ones(3)))
    [tensor([1., 1.]), tensor([1., 1., 1.])]
    >>> form.leaves((torch.ones(2), torch.ones(4))) is None
    True
    """

    structure: optree.PyTreeSpec
    forms: list[LeafForm]
    # The dtype and the device of the leaves; None where there are several, or no leaves.
    kind: tuple[torch.dtype, torch.device] | None = attrs.field(init=False)
    _unpacked: Callable[[Any], list[Any] | None] = attrs.field(init=False)

    @kind.default
    def _common_kind(self) -> tuple[torch.dtype, torch.device] | None:
        kinds = {form[1:3] for form in self.forms}
        return kinds.pop() if len(kinds) == 1 else None

    @_unpacked.default
    def _of_structure(self) -> Callable[[Any], list[Any] | None]:
        return unpacking(self.structure)

    @classmethod
    def of_template(cls, template: Any, dtype: torch.dtype, device: torch.device) -> "Form":
        """The form of trees like a template in a floating dtype, on a device that holds numbers."""
        leaves, structure = pytree.flatten(template)
        return cls(structure, [(leaf.shape, dtype, device, torch.strided) for leaf in leaves])

    def leaves(self, tree: Any) -> list[Tensor] | None:
        """The leaves of a tree of this form; None of all others, and where one is a tensor of a class of its own."""
        leaves = self._unpacked(tree)
        return leaves if leaves is not None and _forms(leaves) == self.forms else None


def _forms(leaves: Sequence[Any]) -> list[LeafForm] | None:
    """The form of each leaf; None where one is not simply a tensor, or has no form."""
    if not _TENSOR.issuperset(map(type, leaves)):
        return None
    if functorch.peek_interpreter_stack() is not None and any(map(functorch.is_functorch_wrapped_tensor, leaves)):
        return None
    try:
        return list(map(_FORM, leaves))
    except RuntimeError:  # a nested tensor has no shape
        return None


def _holds_numbers(form: LeafForm) -> bool:
    """Whether tensors of a form are plain ones of a floating dtype."""
    _, dtype, device, layout = form
    return dtype in checks.FLOAT_DTYPES and layout is torch.strided and device.type != "meta"


# The form that was found last: most trees are like the one before.
_last: list[Form] = []


def like(
    name: str,
    tree: Any,
    template_name: str,
    template: Any,
    *,
    reference: Tensor | None = None,
    form: Form | None = None,
) -> list[Tensor]:
    """The leaves of a tree, once it has the structure of `template`, and each leaf the shape of its counterpart.

    Raises `ValueError`, and `TypeError` for a leaf that is no tensor, with the leaf's path.

    Parameters
    ----------
    name
        What messages call the tree.
    tree
        The tree.
    template_name
        What messages call the template.
    template
        The template.
    reference
        A tensor of the dtype and on the device that the leaves must have; without it those of the counterpart.
    form
        The form of trees that are like this, where it is known.
    """
    quickly = None if form is None else form.leaves(tree)
    if quickly is not None:
        return quickly
    if pytree.structure(tree) != pytree.structure(template):
        difference = pytree.structural_difference(name, tree, template)
        raise ValueError(
            f"{name} does not have the structure of {template_name}: {difference}; make it with the same structure"
        )
    leaves = pytree.items(tree)
    for (path, leaf), expected in zip(leaves, pytree.leaves(template), strict=True):
        checks.float_tensor(f"{name}{path}", leaf)
        checks.same_shape(f"{name}{path}", leaf, f"{template_name}{path}", expected)
        other = expected if reference is None else reference
        checks.same_kind(f"{name}{path}", leaf, f"{template_name}{path}" if reference is None else "the inputs", other)
    return [leaf for _, leaf in leaves]


def float_leaves(name: str, tree: Any) -> list[Tensor]:
    """The leaves of a tree, once all are plain tensors of floating dtypes; messages name the leaf by its path."""
    return leaves_and_form(name, tree)[0]


def leaves_and_form(name: str, tree: Any) -> tuple[list[Tensor], Form | None]:
    """`float_leaves`, and the form of the tree; None where a leaf is of a class of its own."""
    for form in _last:
        known = form.leaves(tree)
        if known is not None:
            return known, form
    leaves, structure = pytree.flatten(tree)
    forms = _forms(leaves)
    if forms is not None and all(map(_holds_numbers, forms)):
        form = Form(structure, forms)
        _last[:] = [form]
        return leaves, form
    for path, leaf in pytree.items(tree):
        checks.float_tensor(f"{name}{path}", leaf)
    return leaves, None


def is_finite(tree: Any) -> bool:
    """Whether every number of a tree is finite."""
    return all(bool(leaf.isfinite().all()) for leaf in pytree.leaves(tree))


def are_connected(leaves: Iterable[Tensor]) -> bool:
    """Whether any leaf is connected to an autograd graph."""
    return any(map(_REQUIRES_GRAD, leaves))


def detached(tree: Any) -> Any:
    """`tree` with no leaf connected to an autograd graph; the tree itself where none is."""
    return pytree.map(Tensor.detach, tree) if are_connected(pytree.leaves(tree)) else tree
