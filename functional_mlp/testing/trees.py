"""Comparing trees of tensors, leaf by leaf."""

import math
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, pytree

# What rounding leaves of a few hundred operations, with a wide margin.
RELATIVE_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}

# Between two orders of the same float64 additions and multiplications, relative to their terms.
ROUNDING = 1e-10

# The same where memory of another layout makes torch take another path; a mistake shows at any tolerance.
LAYOUT_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}


def assert_trees_close(a: Any, b: Any, *, rtol: float | None = None, atol: float = 0.0) -> None:
    """Raise `AssertionError` unless two trees have one structure and are close in every leaf.

    A leaf is close where max |a − b| ≤ atol + rtol · m, with m the largest finite magnitude in the leaf of
    either tree: rounding errors of a sum scale with its terms, so a small entry is not held to its own size.
    `rtol` is by default 1e-10 for float64 and 1e-5 for float32. Shapes, dtypes and devices must be equal, and
    NaN and the infinities stand at the same places. The message names the leaf that is furthest beyond what is
    allowed by its path, and shows the largest error and where it is.

    >>> a, b = (torch.tensor([1.0, 2.0]), torch.tensor(3.0)), (torch.tensor([1.0, 2.5]), torch.tensor(3.0))
    >>> assert_trees_close(a, a)
    >>> assert_trees_close(a, b)
    Traceback (most recent call last):
    ...
    AssertionError: trees differ at [0][1]: 2.0 and 2.5, an error of 5.0e-01 where 2.5e-05 is allowed
    """
    _assert_same_structure(a, b)
    problems = []
    for (path, leaf_a), leaf_b in zip(pytree.items(a), pytree.leaves(b), strict=True):
        problem = _leaf_problem(path, leaf_a, leaf_b, rtol, atol)
        if problem is not None:
            problems.append(problem)
    if problems:
        _, message = max(problems, key=lambda problem: problem[0])
        others = f" (and {len(problems) - 1} more leaves differ)" if len(problems) > 1 else ""
        raise AssertionError(message + others)


def assert_same_bits(a: Any, b: Any) -> None:
    """Raise `AssertionError`, naming the first leaf that differs by its path, unless two trees have the same bits.

    >>> assert_same_bits((torch.tensor([0.0, 1.0]),), (torch.tensor([-0.0, 1.0]),))
    Traceback (most recent call last):
    ...
    AssertionError: trees differ at [0][0]: 0.0 and -0.0
    """
    _assert_same_structure(a, b)
    for (path, leaf_a), leaf_b in zip(pytree.items(a), pytree.leaves(b), strict=True):
        if not pytree.equal(packed(leaf_a), packed(leaf_b)):
            kind = _kind_problem(path, leaf_a, leaf_b)
            raise AssertionError(kind or _first_difference(path, leaf_a, leaf_b))


def assert_close(problem: str, a: Any, b: Any, size: float, *, rtol: float = ROUNDING) -> None:
    """`assert_trees_close` up to the order of additions, with what it means when it fails.

    `size` is that of the terms that were added, for sums may cancel to much less.
    """
    try:
        assert_trees_close(a, b, rtol=rtol, atol=rtol * size)
    except AssertionError as difference:
        raise AssertionError(f"{problem}: {difference}") from None


def assert_like(name: str, tensor: Any, other_name: str, other: Tensor) -> None:
    """Raise `AssertionError` unless `tensor` has the shape and the dtype of `other`."""
    if not isinstance(tensor, Tensor):
        raise AssertionError(f"{name} must be a tensor, got {checks.describe(tensor)}")
    if tensor.shape != other.shape:
        shapes = tuple(other.shape), tuple(tensor.shape)
        raise AssertionError(f"{name} must have the shape of {other_name}, {shapes[0]}, got {shapes[1]}")
    if tensor.dtype != other.dtype:
        raise AssertionError(f"{name} must have the dtype of {other_name}, {other.dtype}, got {tensor.dtype}")


def assert_same(problem: str, a: Any, b: Any) -> None:
    """Raise `AssertionError` where two trees differ in a bit, with what that means."""
    try:
        assert_same_bits(a, b)
    except AssertionError as difference:
        raise AssertionError(f"{problem}: {difference}") from None


def largest(*tensors: Tensor) -> float:
    """The largest magnitude in floating tensors, 0 where they are empty.

    >>> largest(torch.tensor([1.0, -3.0]), torch.empty(0))
    3.0
    """
    floating = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return max((tensor.abs().max().item() for tensor in floating), default=0.0)


def side_by_side(tree: Any, *rest: Any) -> list[tuple[Any, ...]]:
    """The leaves of trees of one structure, each with its path: (path, leaf, leaf, …).

    >>> side_by_side((1, {"x": 2}), (10, {"x": 20}))
    [('[0]', 1, 10), ("[1]['x']", 2, 20)]
    """
    columns = zip(pytree.items(tree), *map(pytree.leaves, rest), strict=True)
    return [(path, leaf, *others) for (path, leaf), *others in columns]


def packed(leaf: Any) -> Any:
    """A tensor's numbers in memory of their own, one after the other, without a graph; other leaves as they are."""
    return leaf.detach().clone(memory_format=torch.contiguous_format) if isinstance(leaf, Tensor) else leaf


def _assert_same_structure(a: Any, b: Any) -> None:
    if pytree.structure(a) == pytree.structure(b):
        return
    paths_a, paths_b = set(pytree.paths(a)), set(pytree.paths(b))
    for path in sorted(paths_a ^ paths_b):
        where = "first" if path in paths_a else "second"
        raise AssertionError(f"trees differ in structure: {path or 'a leaf'} is in the {where} only")
    raise AssertionError(f"trees differ in structure: {pytree.structural_difference('the first', a, b)}")


def _leaf_problem(path: str, a: Any, b: Any, rtol: float | None, atol: float) -> tuple[float, str] | None:
    """How far beyond what is allowed two leaves are, with a message; None where they are close."""
    kind = _kind_problem(path, a, b)
    if kind is not None:
        return math.inf, kind
    if not isinstance(a, Tensor):
        return None if a == b else (math.inf, f"{_differ(path)}: {a!r} and {b!r}")
    a, b = a.detach(), b.detach()
    same = (a == b) | (a.isnan() & b.isnan())
    if same.all():
        return None
    comparable = a.isfinite() & b.isfinite()
    if not (same | comparable).all():
        place = tuple((~(same | comparable)).nonzero()[0].tolist())
        return math.inf, f"{_differ(path, place)}: {a[place].item()!r} and {b[place].item()!r}"
    wide_a, wide_b = (t.to(torch.float64).where(comparable, 0.0) for t in (a, b))
    error = (wide_a - wide_b).abs()
    rtol = RELATIVE_TOLERANCE.get(a.dtype, 0.0) if rtol is None else rtol
    allowed = atol + rtol * max(wide_a.abs().max().item(), wide_b.abs().max().item())
    worst = error.max().item()
    if worst <= allowed:
        return None
    place = tuple((error == worst).nonzero()[0].tolist())
    values = f"{a[place].item()!r} and {b[place].item()!r}"
    message = f"{_differ(path, place)}: {values}, an error of {worst:.1e} where {allowed:.1e} is allowed"
    return worst / allowed if allowed else math.inf, message


def _kind_problem(path: str, a: Any, b: Any) -> str | None:
    """What keeps two leaves from being compared number by number."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return None if type(a) is type(b) else f"{_differ(path)}: a {_type(a)} and a {_type(b)}"
    for name, left, right in (
        ("shapes", tuple(a.shape), tuple(b.shape)),
        ("dtypes", a.dtype, b.dtype),
        ("devices", a.device, b.device),
    ):
        if left != right:
            return f"{_differ(path)}: {name} {left} and {right}"
    return None


def _first_difference(path: str, a: Any, b: Any) -> str:
    if not isinstance(a, Tensor):
        return f"{_differ(path)}: {a!r} and {b!r}"
    for place in torch.ones_like(a, dtype=torch.bool).nonzero().tolist():
        if not pytree.equal(packed(a[tuple(place)]), packed(b[tuple(place)])):
            return f"{_differ(path, tuple(place))}: {a[tuple(place)].item()!r} and {b[tuple(place)].item()!r}"
    return _differ(path)


def _differ(path: str, place: tuple[int, ...] = ()) -> str:
    where = path + (str(list(place)) if place else "")
    return f"trees differ at {where}" if where else "trees differ"


def _type(value: object) -> str:
    return type(value).__name__
