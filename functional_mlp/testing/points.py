"""Drawing points at which a layer is examined."""

from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from functional_mlp import checks, pytree, random
from functional_mlp.testing.purity import attempt
from functional_mlp.testing.strategies import layouts, numbers_off_kinks, tensors
from functional_mlp.testing.vjp import Point

# The sizes of input that are tried where a layer does not say which it takes.
WIDTHS = range(1, 6)

# No leading dimension, one of one, one of many, two, and none of a kind.
LEADING = [(), (1,), (3,), (2, 2), (0,), (2, 0)]

# Numbers up to 4 are the rule; mistakes far from 0 want larger ones.
ELEMENTS = st.sampled_from([numbers_off_kinks(), numbers_off_kinks(-16.0, 16.0)])


def widths_of(layer: Any, in_features: int | None) -> dict[int, int]:
    """The widths of input that a layer is examined with, each with its width of output.

    Raises `AssertionError` where there is none, or where a width is not what the layer says.
    """
    params = attempt("init", lambda: layer.init(random.key(0), dtype=torch.float64))
    stated = getattr(layer, "in_features", None) if in_features is None else in_features
    found, refusal = {}, None
    for width in WIDTHS if stated is None else [stated]:
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
        if not (isinstance(leaf, Tensor) and leaf.is_floating_point()):
            return leaf
        shape = tuple(leaf.shape)
        offset = draw(tensors(shape, dtype, elements=numbers_off_kinks(-0.5, 0.5), awkward=False))
        layout = draw(layouts(leaf.ndim, dtype)) if awkward else torch.clone
        return layout((1000 * leaf).round() / 1000 + offset)

    params = pytree.map(moved, attempt("init", lambda: layer.init(key, dtype=dtype)))
    x = draw(tensors((*leading, width), dtype, elements=draw(ELEMENTS), awkward=awkward))
    grad_out = draw(tensors((*leading, widths[width]), dtype, elements=numbers_off_kinks(), awkward=awkward))
    return Point(layer, params, x, grad_out, key)
