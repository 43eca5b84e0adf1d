"""The parameters of many networks as one pytree, whose leaves have a leading axis over the members."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.spread import count
from functional_mlp.trees import like


def stack(trees: Sequence[Any]) -> Any:
    """One tree from many of the same structure and shapes: each leaf (…) becomes (members, …).

    Raises `ValueError`, naming the member and the path, where a tree is not like the first.

    >>> stack([(torch.tensor([1.0, 2.0]),), (torch.tensor([3.0, 4.0]),)])
    (tensor([[1., 2.],
            [3., 4.]]),)
    """
    if not isinstance(trees, Sequence) or not trees:
        raise ValueError(f"stack: trees must be a sequence of at least one tree, got {checks.describe(trees)}")
    for path, leaf in pytree.items(trees[0]):
        checks.plain_tensor(f"trees[0]{path}", leaf)
    for index, tree in enumerate(trees[1:], start=1):
        like(f"trees[{index}]", tree, "trees[0]", trees[0])
    return pytree.map(lambda *leaves: torch.stack([leaf.detach() for leaf in leaves]), trees[0], *trees[1:])


def unstack(tree: Any) -> tuple[Any, ...]:
    """The members of a stacked tree, in order: the inverse of `stack`, in tensors of their own.

    Raises `ValueError` for a tree without leaves, whose number of members is unknown, and where leaves differ in it.

    >>> unstack((torch.tensor([[1.0], [2.0]]),))
    ((tensor([1.]),), (tensor([2.]),))
    """
    return tuple(member(tree, index) for index in range(count_members("unstack: tree", tree)))


def member(tree: Any, index: checks.Integer) -> Any:
    """One member of a stacked tree, counted from 0.

    >>> member((torch.tensor([[1.0], [2.0]]),), 1)
    (tensor([2.]),)
    """
    members = count_members("member: tree", tree)
    check_index("member: index", index, members)
    return pytree.map(lambda leaf: leaf[index].detach().clone(), tree)


def count_members(name: str, tree: Any) -> int:
    """The length of the leading axis of every leaf."""
    members: int | None = None
    for path, leaf in pytree.items(tree):
        checks.instance(f"{name}{path}", leaf, Tensor, "pass what functional_mlp.ensemble.stack returned")
        if leaf.ndim == 0:
            raise ValueError(f"{name}{path} must have a leading axis over the members, got a 0-d tensor")
        if members is not None and len(leaf) != members:
            raise ValueError(
                f"{name}{path} must have {count(members, 'member')}, as the leaves before it, got shape "
                f"{tuple(leaf.shape)}"
            )
        members = len(leaf)
    if not members:
        raise ValueError(f"{name} must hold at least one tensor with at least one member, got {checks.describe(tree)}")
    return members


def check_index(name: str, index: object, members: int) -> None:
    """Raise unless `index` is the number of a member."""
    if checks.integer(name, index, minimum=0) >= members:
        raise ValueError(f"{name} must be below the number of members, {members}, got {index}")
