"""The table that shows the layers of a network."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from functional_mlp import checks, pytree

# A layer's label, the size of its output and the number of its parameters.
Row = tuple[str, int | None, int]


def table(rows: Sequence[Row]) -> str:
    """The rows under a heading, and the total.

    >>> print(table([("Linear(2, 25)", 25, 75)]))
    layer          output  parameters
    ---------------------------------
    Linear(2, 25)      25          75
    ---------------------------------
    total                          75
    """
    total = sum(parameters for _, _, parameters in rows)
    cells = [("layer", "output", "parameters")]
    cells += [(label, "" if size is None else str(size), str(count)) for label, size, count in rows]
    cells += [("total", "", str(total))]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in cells]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def count_parameters(params: Any) -> int:
    """The number of numbers in a tree of parameters.

    >>> import torch
    >>> count_parameters((torch.zeros(3, 2), torch.zeros(3)))
    9
    """
    for path, leaf in pytree.items(params):
        checks.instance(f"params{path}", leaf, Tensor, "pass what a layer's init returned")
    return sum(leaf.numel() for leaf in pytree.leaves(params))
