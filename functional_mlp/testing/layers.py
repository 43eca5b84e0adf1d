"""Proving a layer: any object with `init`, `apply` and `vjp`."""

import functools
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from functional_mlp import random
from functional_mlp.testing import layer_properties as properties
from functional_mlp.testing.gradients import Tally
from functional_mlp.testing.points import points, widths_of
from functional_mlp.testing.purity import refuses, restored_globals
from functional_mlp.testing.search import EXAMPLES, each, failures_of, for_all, named
from functional_mlp.testing.values import check_value
from functional_mlp.testing.vjp import Point


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

    What is proven, at `examples` drawn points each:

    - **init**: one structure, and one shape and dtype a leaf, whatever the key, on the device "meta" as well; the
      same numbers for the same key, others for another; no two leaves drawn with one key.
    - **apply and vjp**: shapes and dtypes; purity: no argument, no global state and no memory of earlier calls is
      read or written, and no result is connected to an autograd graph, whatever memory the tensors lie in; no, one,
      many and empty leading dimensions, with a batch agreeing with its rows.
    - **vjp** is linear in `grad_out`, and the transpose of the Jacobian of `apply`: see `check_vjp`. Every leaf of
      params has an influence on the output.
    - **forward and backward**, where the layer has them, agree with apply and vjp.
    - Inputs of another width than `layer.in_features` are refused.
    - The layer is a **value**: hashed, compared, pickled, with a repr that evaluates.

    No property can tell which function was meant: `formula(params, x)`, a second definition of `apply` that need not be
    fast or general, is compared with it where it is given.

    Where the layer has no `in_features`, the widths from 1 to 5 are tried that it does not refuse with a ValueError;
    the argument `in_features` chooses one. `value=False` and `random_init=False` leave out what a layer does not mean
    to be: a value, and random where its init gives many different numbers.

    >>> import functional_mlp as fm
    >>> check_layer(fm.Linear(3, 2), formula=lambda params, x: params.weight @ x + params.bias)
    """
    budget = {"examples": examples, "seed": seed}
    with restored_globals(), failures_of(f"check_layer({named(layer)})"):
        _assert_functions(layer)
        if value:
            check_value(layer)
        init_holds = functools.partial(properties.init_keeps_its_promise, random_init=random_init)
        for_all(_init_cases(layer), init_holds, **budget)

        widths = widths_of(layer, in_features)
        _assert_refuses_other_widths(layer)

        anywhere = points(layer, widths, dtypes=(torch.float64, torch.float32), awkward=True)
        for_all(anywhere, each(properties.calls_are_pure, properties.layout_does_not_matter), **budget)

        local = [properties.batch_agrees_with_rows, properties.vjp_is_linear]
        if formula is not None:
            local.insert(0, lambda point: properties.agrees_with_formula(point, formula))
        if hasattr(layer, "forward") and hasattr(layer, "backward"):
            local.append(properties.forward_and_backward_agree)
        transposition = Transposition()
        for_all(points(layer, widths), each(*local, transposition), **budget)
        transposition.tally.assert_decided()
        properties.assert_every_leaf_has_influence(layer, max(widths))


def _assert_functions(layer: Any) -> None:
    for function in ("init", "apply", "vjp"):
        if not callable(getattr(layer, function, None)):
            raise AssertionError(f"a layer must have the function {function}")


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


def _init_cases(layer: Any) -> SearchStrategy[properties.InitCase]:
    seeds = st.integers(0, 2**16)
    return st.builds(properties.InitCase, st.just(layer), seeds, seeds)


class Transposition:
    """vjp is the transposed Jacobian, leaf by leaf."""

    def __init__(self) -> None:
        self.tally = Tally()

    def __call__(self, point: Point) -> None:
        claimed = point.claimed()
        for index, name in enumerate(point.names):
            if point.is_movable(index):
                self.tally.add(name, point, decided=point.assert_gradient(index, claimed))
