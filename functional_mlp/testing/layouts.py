"""How a tensor may lie in memory: the ways that code forgets about.

A layout puts the numbers of a contiguous tensor into memory in another way. Where it needs further memory, other
numbers lie there. Those of `SHARING` have one number in several places, so that they change the tensor's numbers.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Layout = Callable[[Tensor], Tensor]


def contiguous(x: Tensor) -> Tensor:
    return x


def at_offset(x: Tensor) -> Tensor:
    """A slice of a larger tensor, that begins one number in."""
    return torch.cat([_others(x, 1), x.reshape(-1)])[1:].view(x.shape)


def strided(x: Tensor) -> Tensor:
    """Every other number of a larger tensor."""
    return torch.stack([x, _others(x, *x.shape)], dim=-1)[..., 0]


def columns(x: Tensor) -> Tensor:
    """The first columns of a wider table."""
    return torch.cat([x, _others(x, *x.shape[:-1], 2)], dim=-1)[..., :-2]


def transposed(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT


def reversed_dimensions(x: Tensor) -> Tensor:
    """The first dimension is the innermost one, and so on."""
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)


def negated(x: Tensor) -> Tensor:
    """The imaginary part of a conjugate: torch negates it when it is read."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def expanded(x: Tensor) -> Tensor:
    """The first row, in the place of every row."""
    return x[:1].expand(x.shape)


def expanded_number(x: Tensor) -> Tensor:
    """The first number, in every place: so is the gradient of a sum made."""
    return x.reshape(-1)[:1].expand(x.shape) if x.numel() else x


def windows(x: Tensor) -> Tensor:
    """Rows that overlap: each begins one number after the one before it, as the windows of a series do."""
    rows, width = math.prod(x.shape[:-1]), x.shape[-1]
    series = x.reshape(-1)[: rows + width - 1] if rows and width else x.reshape(-1)
    strides = [math.prod(x.shape[dimension + 1 : -1]) for dimension in range(x.ndim - 1)]
    return torch.as_strided(series.clone(), x.shape, (*strides, 1)) if rows and width else x


SHARING: list[Layout] = [expanded, expanded_number, windows]
LAYOUTS: list[Layout] = [at_offset, strided, columns, transposed, reversed_dimensions, negated, *SHARING]

# The dimensions that a tensor must have, where 0 do not do.
_DIMENSIONS: dict[Layout, int] = {
    columns: 2,
    transposed: 2,
    reversed_dimensions: 3,
    expanded: 1,
    expanded_number: 1,
    windows: 2,
}


@functools.cache
def layouts_of(dimensions: int, dtype: torch.dtype) -> list[Layout]:
    """The layouts that a tensor with a number of dimensions may have, other than the contiguous one."""
    possible = [layout for layout in LAYOUTS if dimensions >= _DIMENSIONS.get(layout, 0)]
    return [layout for layout in possible if layout is not negated or dtype in (torch.float32, torch.float64)]


def laid_out(layout: Layout, leaf: Any) -> Any:
    """A leaf in another layout; one that cannot have it, or is no tensor, as it is."""
    return layout(leaf) if isinstance(leaf, Tensor) and layout in layouts_of(leaf.ndim, leaf.dtype) else leaf


def _others(x: Tensor, *shape: int) -> Tensor:
    """What lies beside the numbers of a tensor: NaN, or 0 where there is none."""
    return x.new_full(shape, math.nan if x.is_floating_point() else 0)
