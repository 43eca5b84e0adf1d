"""The points at which a layer is examined: drawn ones, and those that every seed goes through."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from functional_mlp import checks, pytree, random
from functional_mlp.testing.calls import is_floating
from functional_mlp.testing.layer.point import Point
from functional_mlp.testing.purity import attempt, refuses
from functional_mlp.testing.strategies import layouts, numbers_off_kinks, tensors
from functional_mlp.testing.trees import largest

# The sizes of input that are tried where a layer does not say which it takes, and between which a larger one is drawn.
WIDTHS = (1, 2, 3, 4, 5)
WIDER = (6, 20)

# No leading dimension, one of one, one of many, two, three, and none of a kind.
LEADING: list[tuple[int, ...]] = [(), (1,), (3,), (2, 2), (0,), (2, 0), (6,), (2, 3), (2, 1, 3)]

# The leading dimensions that every seed goes through.
SHAPES: list[tuple[int, ...]] = [(), (17,), (2, 3), (2, 1, 3)]

# Of many outputs a batch of as many rows would take long.
LARGEST_SQUARE = 17

# Those that are tried in every layout.
LAID_OUT: list[tuple[int, ...]] = [(4,), (2, 3)]

# Numbers up to 4 are the rule; mistakes far from 0 want larger ones.
DRAWN = 16.0
ELEMENTS = st.sampled_from([numbers_off_kinks(), numbers_off_kinks(-DRAWN, DRAWN)])

# Every number on a grid of these steps is tried up to these sizes.
STEP, NEAR = 2.0**-4, 8.0
WIDE_STEP, DISTANT = 0.5, 24.0

# Inputs of every binade from 16 on are gone through for each seed, those of two binades in a batch, up to these sizes.
FAR = (2.0**6, 2.0**8, 2.0**10, 2.0**12, 2.0**14)
TINY = (1e-100, 1e-40, 1e-30, 1e-20, 1e-12, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 2.0**-8, 2.0**-6)

# Further out float32 may overflow on the way, and beyond 1e10 steps of a tenth look like a slope in float64.
VERY_FAR = tuple(2.0**exponent for exponent in range(15, 34))

# Params are what init gives, times this, and exactly 0, and of these sizes.
LARGE_PARAMS = 30.0
PARAM_SIZES = (1e-4, 1e-2, 200.0)


@attrs.frozen
class InitCase:
    """A layer with the seeds of two keys."""

    layer: Any
    seed: int
    other_seed: int

    def __str__(self) -> str:
        return f"key, other_key = random.key({self.seed}), random.key({self.other_seed})"


def init_cases(layer: Any) -> SearchStrategy[InitCase]:
    seeds = st.integers(0, 2**16)
    return st.builds(InitCase, st.just(layer), seeds, seeds)


def widths_of(layer: Any, in_features: int | None, key: random.Key) -> dict[int, int]:
    """The widths of input that a layer is examined with, each with its width of output.

    The widest of those for a layer that takes any is drawn.

    Raises `AssertionError` where there is none, or where a width is not what the layer says.
    """
    params = attempt("init", lambda: layer.init(random.key(0), dtype=torch.float64))
    stated = getattr(layer, "in_features", None) if in_features is None else in_features
    found, refusal = {}, None
    low, high = WIDER
    wider = int(random.uniform(key, (), low, high + 1))
    for width in (*WIDTHS, wider) if stated is None else [stated]:
        x = torch.arange(1, width + 1, dtype=torch.float64) / 16
        try:
            y = layer.apply(params, x)
        except ValueError as error:
            refusal = error
            continue
        except Exception as error:
            raise AssertionError(f"apply raised {type(error).__name__} for x of shape ({width},): {error}") from error
        found[width] = _output_width(layer, x, y)
    if not found:
        raise AssertionError(f"apply refuses every width of x that was tried: {refusal}") from refusal
    return found


def _output_width(layer: Any, x: Tensor, y: Any) -> int:
    if not isinstance(y, Tensor) or y.ndim != 1:
        raise AssertionError(
            f"apply must return a tensor (out_features,) for x of shape {tuple(x.shape)}, got {checks.describe(y)}"
        )
    stated = getattr(layer, "out_features", None)
    if stated is not None and stated != len(y):
        raise AssertionError(f"out_features is {stated}, but apply returned {len(y)} features")
    return len(y)


@st.composite
def points(
    draw: DrawFn,
    layer: Any,
    widths: dict[int, int],
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    awkward: bool = False,
) -> Point:
    """A layer with params, inputs and a cotangent; with `awkward`, in awkward memory.

    Params are what init gives for a key, to three digits, which can be read, and moved by up to 1/2, so that zero
    biases are not all that is seen. Inputs and moves are odd multiples of 1/16: off the usual kinks.
    """
    dtype = draw(st.sampled_from(dtypes))
    width = draw(st.sampled_from(list(widths)))
    leading = draw(st.sampled_from(LEADING))
    key = random.key(draw(st.integers(0, 2**16)))

    def moved(leaf: Any) -> Any:
        if not is_floating(leaf):
            return leaf
        shape = tuple(leaf.shape)
        offset = draw(tensors(shape, dtype, elements=numbers_off_kinks(-0.5, 0.5), awkward=False))
        layout = draw(layouts(leaf.ndim, dtype)) if awkward else torch.clone
        return layout(_rounded(leaf) + offset)

    params = pytree.map(moved, attempt("init", lambda: layer.init(key, dtype=dtype)))
    x = draw(tensors((*leading, width), dtype, elements=draw(ELEMENTS), awkward=awkward))
    grad_out = draw(tensors((*leading, widths[width]), dtype, elements=numbers_off_kinks(), awkward=awkward))
    return Point(layer, params, x, grad_out, key)


def shaped_points(
    layer: Any,
    widths: dict[int, int],
    key: random.Key,
    dtype: torch.dtype = torch.float64,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
) -> Iterator[Point]:
    """Ordinary inputs of each shape."""
    for number, leading in enumerate(shapes):
        width = list(widths)[-1 - number % len(widths)]
        x = _odd_sixteenths(key.fold_in(number), (*leading, width), 4.0)
        yield _point(layer, x, widths[width], key.fold_in(number), dtype)


def local_points(layer: Any, widths: dict[int, int], key: random.Key) -> Iterator[Point]:
    """Ordinary inputs of each shape, and batches of one row and of as many rows as there are outputs."""
    square = min(widths[max(widths)], LARGEST_SQUARE)
    return shaped_points(layer, widths, key, shapes=[*SHAPES, (1,), (square,)])


def resized_points(layer: Any, widths: dict[int, int], key: random.Key) -> Iterator[Point]:
    """Ordinary inputs, with params of other sizes than those that init gives."""
    (point,) = shaped_points(layer, {max(widths): widths[max(widths)]}, key, shapes=[(6,)])
    if any(map(is_floating, pytree.leaves(point.params))):
        yield attrs.evolve(point, params=pytree.map(partial(_if_floating, torch.zeros_like), point.params))
        yield attrs.evolve(point, params=pytree.map(partial(_if_floating, _large), point.params))
        yield attrs.evolve(point, params=pytree.map(partial(_if_floating, partial(_resized, key)), point.params))
        if any(is_floating(leaf) and not (leaf > 0).any() for leaf in pytree.leaves(point.params)):
            yield attrs.evolve(point, params=pytree.map(partial(_if_floating, _large_above_0), point.params))


def very_far_points(layer: Any, widths: dict[int, int], key: random.Key) -> Iterator[Point]:
    """Inputs of many sizes in one batch."""
    for width in sorted({min(widths), max(widths)}):
        sizes = torch.tensor(VERY_FAR, dtype=torch.float64).repeat_interleave(2).unsqueeze(1)
        point = _point(layer, _among_ordinary(key, _of_size(sizes, key, width)), widths[width], key, torch.float64)
        if not _is_refused(point):
            yield point


def sweep(layer: Any, widths: dict[int, int], key: random.Key) -> Iterator[Point]:
    """Inputs of every size, each size in a batch: all numbers of a grid, far ones, 0, and almost 0."""
    for width in sorted({min(widths), max(widths)}, reverse=True):
        for number, x in enumerate(_inputs(key.fold_in(width), width)):
            point = _point(layer, x, widths[width], key.fold_in(number), torch.float64)
            if largest(x) <= DRAWN or not _is_refused(point):
                yield point


def _is_refused(point: Point) -> bool:
    return isinstance(refuses(point.layer.apply, point.params, point.x), ValueError)


def _inputs(key: random.Key, width: int) -> Iterator[Tensor]:
    upper = torch.cat([_midpoints(0.0, NEAR, STEP), _midpoints(NEAR, DISTANT, WIDE_STEP)])
    grid = torch.cat([-upper, upper])
    yield torch.stack([grid[random.permutation(key.fold_in(i), len(grid))] for i in range(width)], dim=1)
    for number, size in enumerate(FAR):
        sizes = torch.tensor([size, size / 2], dtype=torch.float64).repeat_interleave(2).repeat(3).unsqueeze(1)
        yield _among_ordinary(key, _of_size(sizes, key.fold_in(width + number), width))
    yield _among_ordinary(key, torch.zeros(4, width, dtype=torch.float64))
    tiny = torch.tensor(TINY, dtype=torch.float64)
    yield _among_ordinary(key, torch.cat([tiny, -tiny]).unsqueeze(1).expand(-1, width).clone())


def _midpoints(low: float, high: float, step: float) -> Tensor:
    return torch.arange(low, high, step, dtype=torch.float64) + step / 2


def _of_size(sizes: Tensor, key: random.Key, width: int) -> Tensor:
    """Rows of numbers between the half and the whole of a size, of either sign."""
    draws = random.uniform(key, (len(sizes), width), -1.0, 1.0, dtype=torch.float64)
    return (sizes * (draws + draws.sign()) / 2).round(decimals=1)


def _among_ordinary(key: random.Key, x: Tensor) -> Tensor:
    """Every other row with ordinary numbers in all places but one."""
    rows, width = x.shape
    ordinary = _different_sixteenths(key.fold_in(rows), rows, width)
    row, feature = torch.arange(rows).unsqueeze(1), torch.arange(width)
    return torch.where((row % 2 == 0) | (feature == row // 2 % width), x, ordinary)


def _point(layer: Any, x: Tensor, out_features: int, key: random.Key, dtype: torch.dtype) -> Point:
    def moved(leaf: Any, key: random.Key) -> Any:
        return _rounded(leaf) + _odd_sixteenths(key, tuple(leaf.shape), 0.5).to(dtype) if is_floating(leaf) else leaf

    params = attempt("init", lambda: layer.init(key, dtype=dtype))
    leaves = [moved(leaf, key.fold_in(i)) for i, leaf in enumerate(pytree.leaves(params))]
    grad_out = random.uniform(key.fold_in(len(leaves)), (*x.shape[:-1], out_features), -4.0, 4.0, dtype=torch.float64)
    return Point(layer, pytree.unflatten(params, leaves), x.to(dtype), grad_out.to(dtype), key)


def _odd_sixteenths(key: random.Key, shape: tuple[int, ...], size: float) -> Tensor:
    draws = random.uniform(key, shape, -size, size, dtype=torch.float64)
    return (2 * (8 * draws).floor() + 1) / 16


def _different_sixteenths(key: random.Key, rows: int, width: int) -> Tensor:
    """As `_odd_sixteenths`, up to 4 where there are enough, and none twice in a row.

    Far out a kink is hardly seen beside rounding: of several ties, as sorting has them, kinks may cancel.
    """
    count = max(64, width)
    places = random.uniform(key, (rows, count), dtype=torch.float64).argsort(-1)[:, :width]
    return (2 * places + 1 - count).to(torch.float64) / 16


def _large(leaf: Tensor) -> Tensor:
    return LARGE_PARAMS * leaf


def _large_above_0(leaf: Tensor) -> Tensor:
    return LARGE_PARAMS * leaf.abs()


def _resized(key: random.Key, leaf: Tensor) -> Tensor:
    """Numbers of the signs of a leaf's, of sizes far from each other."""
    places = (torch.arange(leaf.numel()) + int(random.uniform(key, (), 0, len(PARAM_SIZES)))) % len(PARAM_SIZES)
    sizes = torch.tensor(PARAM_SIZES, dtype=leaf.dtype)[places].reshape(leaf.shape)
    draws = random.uniform(key, tuple(leaf.shape), 0.5, 1.0, dtype=leaf.dtype)
    return torch.where(leaf < 0, -1.0, 1.0).to(leaf.dtype) * draws * sizes


def _if_floating(change: Callable[[Tensor], Tensor], leaf: Any) -> Any:
    return change(leaf) if is_floating(leaf) else leaf


def _rounded(leaf: Tensor) -> Tensor:
    return (1000 * leaf).round() / 1000
