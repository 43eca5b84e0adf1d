"""What holds for every layer, each property a function that raises `AssertionError` where it does not."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from functional_mlp import checks, pytree, random
from functional_mlp.random import Key
from functional_mlp.testing.calls import is_floating
from functional_mlp.testing.layer.cases import InitCase
from functional_mlp.testing.layer.point import Point, has_two_passes
from functional_mlp.testing.purity import attempt, call
from functional_mlp.testing.trees import (
    LAYOUT_TOLERANCE,
    RELATIVE_TOLERANCE,
    assert_close,
    assert_like,
    largest,
    side_by_side,
)

Formula = Callable[[Any, Tensor], Tensor]

# An init that gives no more different numbers than this (ones and zeros) need not use its key.
NUMBERS_OF_A_CONSTANT_INIT = 2

INFLUENCE_TRIALS = 100

# Of a larger batch, this many rows are tried alone, and the others together.
ROWS_ALONE = 8

# Cotangents are scaled by powers of 2, which rounds nothing.
SCALES = (2.0**40, 2.0**-100)


def init_keeps_its_promise(case: InitCase) -> None:
    """One structure, and one shape and dtype a leaf, for every key; the numbers are a pure function of the key."""
    layer, key, other_key = case.layer, random.key(case.seed), random.key(case.other_seed)
    params = call("init", lambda key: layer.init(key, dtype=torch.float64), key=key)
    for path, leaf in pytree.items(params):
        if not isinstance(leaf, Tensor):
            raise AssertionError(f"init: params{path} must be a tensor, got {checks.describe(leaf)}")
        _assert_dtype(path, leaf, torch.float64)
        if not leaf.isfinite().all():
            raise AssertionError(f"init: params{path} must be finite, got {leaf}")
    single = attempt("init", lambda: layer.init(key, dtype=torch.float32))
    for name, again in (
        ("another key", attempt("init", lambda: layer.init(other_key, dtype=torch.float64))),
        ("dtype=torch.float32", single),
        ("device='meta'", attempt("init", lambda: layer.init(key, dtype=torch.float64, device="meta"))),
    ):
        _assert_same_shapes(f"init with {name}", again, params)
    for path, narrow, wide in side_by_side(single, params):
        _assert_dtype(path, narrow, torch.float32)
        problem = f"init gives other numbers in float32 than in float64: params{path}"
        assert_close(problem, narrow.to(wide.dtype), wide, 0.0, rtol=RELATIVE_TOLERANCE[torch.float32])


def init_draws_from_its_key(case: InitCase) -> None:
    """Random numbers are others for another key, and others in each leaf."""
    if case.seed == case.other_seed:
        return
    params, other = (
        attempt("init", lambda seed=seed: case.layer.init(random.key(seed), dtype=torch.float64))
        for seed in (case.seed, case.other_seed)
    )
    drawn = [(path, leaf) for path, leaf in pytree.items(params) if _is_random(leaf)]
    others = dict(pytree.items(other))
    for i, (path, leaf) in enumerate(drawn):
        if torch.equal(leaf, others[path]):
            raise AssertionError(f"init ignores its key: params{path} has the same numbers for two keys")
        for other_path, other_leaf in drawn[:i]:
            if torch.equal(leaf.flatten(), other_leaf.flatten()):
                raise AssertionError(
                    f"init gives params{other_path} and params{path} the same numbers: split the key, one for each"
                )


def _assert_dtype(path: str, leaf: Tensor, dtype: torch.dtype) -> None:
    if leaf.is_floating_point() and leaf.dtype != dtype:
        raise AssertionError(f"init: params{path} must have the dtype asked for, {dtype}, got {leaf.dtype}")


def _assert_same_shapes(name: str, params: Any, like: Any) -> None:
    if pytree.structure(params) != pytree.structure(like):
        raise AssertionError(
            f"{name} gives params of another structure: {pytree.structural_difference('params', params, like)}"
        )
    for path, leaf, expected in side_by_side(params, like):
        if leaf.shape != expected.shape:
            raise AssertionError(f"{name} gives params{path} of shape {tuple(leaf.shape)}, not {tuple(expected.shape)}")


def _is_random(leaf: Tensor) -> bool:
    return leaf.is_floating_point() and len(leaf.unique()) > NUMBERS_OF_A_CONSTANT_INIT


def shapes_and_dtypes_are_kept(point: Point) -> None:
    """The output has the dtype of the input and the layer's width, and gradients are like what they belong to."""
    assert_like("apply: the output", _apply(point), "an output for x", point.grad_out)
    _vjp(point)


def arguments_may_be_one_tensor(point: Point) -> None:
    """x and grad_out may be the same tensor."""
    if point.x.shape != point.grad_out.shape:
        return
    apart = attempt("vjp", point.layer.vjp, point.params, point.x, point.x.clone())
    together = attempt("vjp", point.layer.vjp, point.params, point.x, point.x)
    problem, rtol = "vjp gives another result where x and grad_out are one tensor", LAYOUT_TOLERANCE[point.x.dtype]
    assert_close(problem, apart, together, point.gradient_size, rtol=rtol)


def batch_agrees_with_rows(point: Point) -> None:
    """A batch gives what its rows give, one by one; gradients of params are the sums over the rows."""
    y = _apply(point)
    assert_like("apply: the output", y, "an output for x", point.grad_out)
    grad_params, grad_x = _vjp(point)
    flat = point.flat()
    outputs, row_grads = y.reshape(flat.grad_out.shape), grad_x.reshape(flat.x.shape)
    sums = pytree.map(torch.zeros_like, point.params)
    for i in range(min(flat.rows, ROWS_ALONE)):
        row = flat.chosen(torch.tensor(i))
        problem = f"row {i} of a batch differs from that row alone"
        assert_close(f"apply: {problem}", outputs[i], _apply(row), point.output_size)
        row_params, row_x = _vjp(row, "vjp of one row")
        assert_close(f"vjp: {problem.replace('of a batch', 'of grad_x')}", row_grads[i], row_x, point.gradient_size)
        sums = _plus(sums, row_params)
    if flat.rows > ROWS_ALONE:
        sums = _plus(sums, _vjp(flat.chosen(torch.arange(ROWS_ALONE, flat.rows)))[0])
    size = (1 + flat.rows) * point.gradient_size
    for path, grad, expected in side_by_side(grad_params, sums):
        assert_close(f"vjp: grad_params{path} is not the sum of the rows' gradients", grad, expected, size)


def _plus(a: Any, b: Any) -> Any:
    return pytree.map(lambda left, right: left + right if is_floating(left) else left, a, b)


def vjp_is_linear(point: Point) -> None:
    """vjp(2v − w) = 2 vjp(v) − vjp(w), for a w with zeros, and vjp(0) = 0."""
    v = point.grad_out
    w = random.normal(point.key, tuple(v.shape), dtype=v.dtype).where(_with_zeros(v, point.key.fold_in(0)), 0.0)
    of_v, of_w, of_both, of_zero = (
        _gradients(_with_cotangent(point, cotangent)) for cotangent in (v, w, 2 * v - w, torch.zeros_like(v))
    )
    for (name, both), (_, from_v), (_, from_w), (_, zero) in zip(of_both, of_v, of_w, of_zero, strict=True):
        size = 2 * largest(from_v) + largest(from_w) + point.gradient_size
        assert_close(f"vjp is not linear in grad_out: {name} of 2v − w", both, 2 * from_v - from_w, size)
        if not (zero == 0).all():
            raise AssertionError(f"vjp is not linear in grad_out: {name} of 0 is {zero.tolist()}")


def _with_zeros(cotangent: Tensor, key: Key) -> Tensor:
    """Which numbers of a cotangent are not 0: one in the first row, none in every other, about half in the others."""
    *leading, features = cotangent.shape
    draws = random.uniform(key, (math.prod(leading), features), 0.0, 1.0, dtype=torch.float64)
    kept = draws < 0.5
    kept[1::2] = False
    kept[:1] = draws[:1] == draws[:1].amax(-1, keepdim=True)
    return kept.reshape(cotangent.shape)


def vjp_scales(point: Point) -> None:
    """vjp(cv) = c vjp(v) for small and for large c."""
    gradients = _gradients(point)
    for scale in SCALES:
        size = scale * point.gradient_size
        for (name, scaled), (_, grad) in zip(_gradients(point.scaled(scale)), gradients, strict=True):
            usable = grad.isfinite() & scaled.isfinite()
            problem = f"vjp is not linear in grad_out: {name} of {scale} v"
            expected = scale * grad
            assert_close(problem, scaled.where(usable, 0.0), expected.where(usable, 0.0), size)


def _with_cotangent(point: Point, grad_out: Tensor) -> Point:
    return Point(point.layer, point.params, point.x, grad_out, point.key)


def _gradients(point: Point) -> list[tuple[str, Tensor]]:
    """The gradients that may be other than 0, with their names."""
    grad_params, grad_x = _vjp(point)
    gradients = [(f"grad_params{path}", grad) for path, grad in pytree.items(grad_params)]
    return [(name, grad) for name, grad in (*gradients, ("grad_x", grad_x)) if is_floating(grad)]


def agrees_with_formula(point: Point, formula: Formula) -> None:
    """apply gives, for each row, what a second definition of it gives."""
    flat = point.flat()
    for i in range(flat.rows):
        row = flat.chosen(torch.tensor(i))
        expected = attempt("formula", formula, row.params, row.x)
        if not expected.isfinite().all():
            continue
        problem = f"apply differs from the formula for the row {row.x.tolist()}"
        assert_close(problem, _apply(row), expected, row.output_size)


def forward_and_backward_agree(point: Point) -> None:
    """forward, backward and backward_params, which networks are trained with, give what apply and vjp give."""
    if not has_two_passes(point.layer):
        return
    layer, params = point.layer, point.params
    y, tape = attempt("forward", layer.forward, params, point.x)
    assert_close("forward and apply differ", y, _apply(point), point.output_size)
    back = attempt("backward", layer.backward, params, tape, point.grad_out)
    result = checked_vjp("backward", back, params, point.x)
    assert_close("backward after forward and vjp differ", result, _vjp(point), point.gradient_size)
    if hasattr(layer, "backward_params"):
        alone = attempt("backward_params", layer.backward_params, params, tape, point.grad_out)
        assert_close("backward_params and backward differ", alone, result[0], point.gradient_size)


def nothing_becomes_nan(point: Point) -> None:
    """No output is NaN for finite inputs, and no gradient where the output is finite."""
    y = _apply(point)
    if y.isnan().any():
        raise AssertionError("apply gives nan for finite inputs")
    if not y.isfinite().all():
        return
    for name, grad in _gradients(point):
        if grad.isnan().any():
            raise AssertionError(f"vjp: {name} is nan where the output is finite")


def nan_stays_nan(point: Point) -> None:
    """NaN cotangents reach every gradient that is other than 0: a run that diverges is seen to."""
    of_nan = _gradients(_with_cotangent(point, torch.full_like(point.grad_out, math.nan)))
    for (name, grad), (_, with_nan) in zip(_gradients(point), of_nan, strict=True):
        if grad.any() and not with_nan.isnan().any():
            raise AssertionError(f"vjp gives numbers for cotangents that are nan: {name} is {with_nan.tolist()}")


def every_leaf_has_influence(layer: Any, width: int) -> None:
    """Every floating leaf of params changes the output of some inputs: a layer that is left out shows here."""
    silent: set[str] | None = None
    for trial in range(INFLUENCE_TRIALS):
        init_key, x_key, shift_key = random.key(trial).split(3)
        params = attempt("init", lambda key=init_key: layer.init(key, dtype=torch.float64))
        x = random.normal(x_key, (16, width), 0.0, 2.0, dtype=torch.float64)
        params = _shifted(params, shift_key.fold_in(0), None)
        y = attempt("apply", layer.apply, params, x)
        movable = {path for path, leaf in pytree.items(params) if is_floating(leaf) and leaf.numel()}
        silent = movable if silent is None else silent
        for path in sorted(silent):
            moved = _shifted(params, shift_key.fold_in(1), path)
            if not pytree.equal(attempt("apply", layer.apply, moved, x), y):
                silent.remove(path)
        if not silent:
            return
    if silent:
        raise AssertionError(f"params{min(silent)} has no influence on the output: does apply leave it out?")


def _shifted(params: Any, key: Key, only: str | None) -> Any:
    """Params with each number of every floating leaf, or of one, moved by up to 1."""

    def shifted(index: int, path: str, leaf: Tensor) -> Tensor:
        if not leaf.is_floating_point() or only not in (None, path):
            return leaf
        return leaf + random.uniform(key.fold_in(index), tuple(leaf.shape), -1.0, 1.0, dtype=leaf.dtype)

    return pytree.unflatten(params, [shifted(i, *item) for i, item in enumerate(pytree.items(params))])


def _apply(point: Point) -> Tensor:
    y: Tensor = attempt("apply", point.layer.apply, point.params, point.x)
    return y


def _vjp(point: Point, name: str = "vjp") -> tuple[Any, Tensor]:
    result = attempt("vjp", point.layer.vjp, point.params, point.x, point.grad_out)
    return checked_vjp(name, result, point.params, point.x)


def checked_vjp(name: str, result: Any, params: Any, x: Tensor) -> tuple[Any, Tensor]:
    """What `vjp` returned, once it is a pair of gradients that are like `params` and `x`."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise AssertionError(f"{name} must return the pair (grad_params, grad_x), got {checks.describe(result)}")
    grad_params, grad_x = result
    if pytree.structure(grad_params) != pytree.structure(params):
        raise AssertionError(
            f"{name} must return grad_params with the structure of params: "
            f"{pytree.structural_difference('grad_params', grad_params, params)}"
        )
    for path, grad, leaf in side_by_side(grad_params, params):
        assert_like(f"{name}: grad_params{path}", grad, f"params{path}", leaf)
        if not is_floating(leaf) and grad.any():
            raise AssertionError(f"{name}: grad_params{path} must be 0, for params{path} is {leaf.dtype}")
    assert_like(f"{name}: grad_x", grad_x, "x", x)
    return grad_params, grad_x
