"""Trees of tensors written as code, so that a failing case can be made again."""

from typing import Any

import torch
from torch import Tensor

from functional_mlp import pytree

# More numbers than this are cut, as torch's own repr cuts them.
WRITTEN_NUMBERS = 64


def assignments(**values: Any) -> str:
    """Trees of tensors as assignments, with all their digits, and how they lie in memory where that is unusual.

    >>> print(assignments(x=torch.tensor([0.1], dtype=torch.float64), params=(torch.zeros(2, 2).T,)))
    x = torch.tensor([0.1], dtype=torch.float64)
    params = (torch.tensor([[0.0, 0.0], [0.0, 0.0]]),)  # [0] has strides (1, 2)
    """
    return "\n".join(f"{name} = {_code(value)}{_comment(value)}" for name, value in values.items())


def _code(tree: Any) -> str:
    return " ".join(repr(pytree.map(lambda leaf: _Code(leaf) if isinstance(leaf, Tensor) else leaf, tree)).split())


class _Code:
    """A leaf that is written as the code of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach()

    def __repr__(self) -> str:
        if self._tensor.numel() > WRITTEN_NUMBERS:
            return repr(self._tensor)
        dtype = "" if self._tensor.dtype in (torch.float32, torch.int64) else f", dtype={self._tensor.dtype}"
        empty = f"torch.empty({tuple(self._tensor.shape)}{dtype})"
        return f"torch.tensor({self._tensor.tolist()}{dtype})" if self._tensor.numel() else empty


def _comment(tree: Any) -> str:
    notes = [f"{path or 'it'} {note}" for path, leaf in pytree.items(tree) for note in _notes(leaf)]
    return f"  # {', '.join(notes)}" if notes else ""


def _notes(leaf: Any) -> list[str]:
    """What is unusual about a tensor's memory."""
    if not isinstance(leaf, Tensor):
        return []
    notes = [] if leaf.is_contiguous() else [f"has strides {leaf.stride()}"]
    notes += [f"begins at an offset of {leaf.storage_offset()}"] if leaf.storage_offset() else []
    return notes + (["is a negated view"] if leaf.is_neg() else [])
