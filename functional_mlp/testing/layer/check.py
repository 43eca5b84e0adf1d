"""The checks of a layer: which properties are tried at which points."""

from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, random
from functional_mlp.testing import functions
from functional_mlp.testing.layer import properties
from functional_mlp.testing.layer.cases import (
    LAID_OUT,
    init_cases,
    local_points,
    points,
    resized_points,
    shaped_points,
    sweep,
    very_far_points,
    widths_of,
)
from functional_mlp.testing.layer.point import Point
from functional_mlp.testing.layer.transposition import (
    Transposition,
    assert_leaf_gradient,
    claimed_gradients,
    rows_are_transposed,
)
from functional_mlp.testing.proving import prove_expressions
from functional_mlp.testing.purity import refuses, restored_globals
from functional_mlp.testing.search import EXAMPLES, assert_functions, failures_of, for_all, for_each, named
from functional_mlp.testing.values import check_value


def check_layer(
    layer: Any,
    *,
    in_features: int | None = None,
    formula: properties.Formula | None = None,
    value: bool = True,
    random_init: bool = True,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless `layer` keeps the contract of a layer; the message holds the smallest failing case.

    `layer` is any object with

        init(key, *, dtype, device) -> params
        apply(params, x)            -> y                         for x of shape (..., in_features)
        vjp(params, x, grad_out)    -> (grad_params, grad_x)

    What is proven, at `examples` drawn points and at some that every seed goes through:

    - **init**: one structure, and one shape and dtype a leaf, whatever the key, on the device "meta" as well; the
      same numbers for the same key, in float32 up to rounding, and others for another; no two leaves drawn with one
      key.
    - **apply and vjp**: shapes and dtypes; purity: no argument, no global state and no memory of earlier calls is
      read or written, not by identity either, and no result is connected to an autograd graph or written to later,
      whatever other threads do; each argument may lie in memory in every way that `testing.layouts` lists; no, one,
      several and empty leading dimensions, with a batch agreeing with its rows.
    - **value and derivative** of an `Elementwise` are proved for all real numbers: see `prove`.
    - **vjp** is linear in `grad_out`, and the transpose of the Jacobian of `apply`: see `check_vjp`. Every leaf of
      params has an influence on the output. Leaves that are not floating, tables and masks, have the gradient 0.
    - **Inputs of every size**, from 0 and 1e-100 to 1e10, cotangents from 1e-30 to 1e12 and with some or all but one
      of their numbers 0, and params of 0, from 1e-4 to 200, and 30 times what init gives: the gradient is right in each
      row of a batch. With inputs up to 1e4 float32 gives what float64 gives up to what rounding explains, and nothing
      becomes NaN; cotangents that are NaN stay so. Inputs above 16 that the layer refuses with a ValueError are left
      out.
    - **forward and backward**, where the layer has them, agree with apply and vjp.
    - Inputs of another width than `layer.in_features` are refused.
    - The layer is a **value**: hashed, compared, pickled, with a repr that evaluates.

    Parameters
    ----------
    layer
        The layer, as above.
    in_features
        The width of the inputs, for a layer that takes any. By default its own, or those of the widths 1 to 5 and one
        from 6 to 20 that it does not refuse with a ValueError.
    formula
        A second definition of `apply`, `formula(params, x)`, which need not be fast or general: no property can tell
        which function was meant.
    value
        False leaves out that the layer is a value.
    random_init
        False leaves out that init draws from its key, and each leaf other numbers.
    examples
        The number of points that are drawn for each group of properties.
    seed
        Of the points that are drawn.

    >>> import functional_mlp as fm
    >>> check_layer(fm.Linear(3, 2), formula=lambda params, x: params.weight @ x + params.bias)
    """
    with restored_globals(), failures_of(f"check_layer({named(layer)})"):
        assert_functions("a layer", layer, "init", "apply", "vjp")
        if value:
            check_value(layer)
        prove_expressions(layer)
        of_init = [properties.init_keeps_its_promise]
        of_init += [properties.init_draws_from_its_key] if random_init else []
        for_all(init_cases(layer), of_init, examples=examples, seed=seed)

        key = random.key(seed)
        widths = widths_of(layer, in_features, key)
        _assert_refuses_other_widths(layer)

        of_formula = [] if formula is None else [lambda point: properties.agrees_with_formula(point, formula)]
        transposition = Transposition()
        anywhere = points(layer, widths, dtypes=(torch.float64, torch.float32), awkward=True)
        for_all(anywhere, PURE, examples=examples, seed=seed)
        for dtype in (torch.float64, torch.float32):
            for_each(shaped_points(layer, widths, key, dtype), functions.UNDISTURBED)
        laid_out = shaped_points(layer, widths, key, shapes=LAID_OUT)
        for_each(laid_out, [functions.no_layout_matters, properties.nan_stays_nan])
        for_all(points(layer, widths), [*of_formula, *LOCAL, transposition], examples=examples, seed=seed)
        transposition.tally.assert_decided()
        for_each(local_points(layer, widths, key), LOCAL)
        for_each(sweep(layer, widths, key), [*of_formula, *FAR_AND_NEAR])
        for_each(very_far_points(layer, widths, key), [*of_formula, *VERY_FAR])
        for_each(resized_points(layer, widths, key), [*of_formula, rows_are_transposed])
        properties.every_leaf_has_influence(layer, max(widths))


# In either dtype, in awkward memory.
PURE = [
    functions.are_pure,
    properties.shapes_and_dtypes_are_kept,
    properties.arguments_may_be_one_tensor,
]

# At ordinary points, in float64.
LOCAL = [
    properties.batch_agrees_with_rows,
    properties.vjp_is_linear,
    properties.forward_and_backward_agree,
]

# For inputs of every size.
FAR_AND_NEAR = [
    properties.nothing_becomes_nan,
    rows_are_transposed,
    properties.vjp_scales,
    functions.float32_agrees_with_float64,
]


# For inputs that are further out than float32 goes.
VERY_FAR = [properties.nothing_becomes_nan, rows_are_transposed]


def check_vjp(layer: Any, params: Any, x: Tensor, grad_out: Tensor, *, directions: int = 4, seed: int = 0) -> None:
    """Raise `AssertionError` unless `layer.vjp` is the transposed Jacobian of `layer.apply` at one point.

    The message names the leaf, and the number in it that is wrong. A point where `apply` has a kink in every direction
    is an error as well: nothing can be proven there. See `testing.layer.transposition` for the mathematics.

    Parameters
    ----------
    layer
        Any object with `apply` and `vjp`.
    params
        The layer's, in float64.
    x
        The input, in float64: with `params`, the point.
    grad_out
        The gradient with respect to the output, and shaped like it, in float64.
    directions
        The number of random directions in which each leaf of `params` and `x` is moved.
    seed
        Of these directions.

    >>> import functional_mlp as fm
    >>> layer, x = fm.Tanh(), torch.tensor([0.5, -1.0], dtype=torch.float64)
    >>> check_vjp(layer, (), x, torch.ones_like(x))
    """
    directions = checks.integer("check_vjp: directions", directions, minimum=1)
    point = Point(layer, params, x, grad_out, random.key(seed))
    for name, leaf in (*zip(point.names, point.leaves, strict=True), ("grad_out", grad_out)):
        if leaf.is_floating_point() and leaf.dtype != torch.float64:
            raise ValueError(f"check_vjp: {name} must have dtype torch.float64, got {leaf.dtype}: call .double()")

    def is_transposed(point: Point) -> None:
        claimed = claimed_gradients(point)
        for index, name in enumerate(point.names):
            decided = [assert_leaf_gradient(point, index, claimed[index], i) for i in range(directions)]
            if point.is_movable(index) and not any(decided):
                raise AssertionError(
                    f"the gradient of {name} cannot be decided here: this is no smooth point of the function, or apply "
                    "computes in a lower precision than float64; choose another point"
                )

    with restored_globals(), failures_of(f"check_vjp({named(layer)})"):
        for_each([point], [is_transposed])


def _assert_refuses_other_widths(layer: Any) -> None:
    """An input of another width raises; above all, one feature is not broadcast."""
    in_features = getattr(layer, "in_features", None)
    if in_features is None:
        return
    params = layer.init(random.key(0), dtype=torch.float64)
    for width in {1, in_features + 1} - {in_features}:
        if refuses(layer.apply, params, torch.ones(2, width, dtype=torch.float64)) is None:
            raise AssertionError(
                f"in_features is {in_features}, but apply takes x of shape (2, {width}): raise a ValueError"
            )
