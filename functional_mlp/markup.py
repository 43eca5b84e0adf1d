"""What values look like in notebooks: tables in HTML."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from functional_mlp import pytree


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table: the texts of its cells, numbers with four digits.

    >>> print(table("losses", ["epoch", "loss"], [(1, 0.51234), (2, "<none>")]))
    <table><caption>losses</caption>
    <tr><th>epoch</th><th>loss</th></tr>
    <tr><td>1</td><td>0.5123</td></tr>
    <tr><td>2</td><td>&lt;none&gt;</td></tr>
    </table>
    """
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return "\n".join([f"<table><caption>{html.escape(caption)}</caption>", *lines, "</table>"])


def _row(tag: str, cells: Iterable[object]) -> str:
    texts = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{html.escape(text)}</{tag}>' for text in texts)}</tr>"


def tree(caption: str, value: Any) -> str:
    """A table of the tensors of a tree: where they are, and what they are, without their numbers."""
    rows = [
        (path or "itself", tuple(leaf.shape), str(leaf.dtype).removeprefix("torch."), str(leaf.device))
        for path, leaf in pytree.items(value)
    ]
    return table(caption, ["tensor", "shape", "dtype", "device"], rows)


def evenly(count: int, most: int = 10) -> list[int]:
    """The numbers below a count, or `most` of them, evenly spaced, the first and the last among them.

    >>> evenly(3), evenly(100, 4)
    ([0, 1, 2], [0, 33, 66, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]
