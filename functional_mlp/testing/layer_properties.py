"""What holds for every layer, each property a function that raises `AssertionError` where it does not."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, pytree, random
from functional_mlp.layers.base import Layer
from functional_mlp.random import Key
from functional_mlp.testing.purity import attempt, call, inherits
from functional_mlp.testing.trees import LAYOUT_TOLERANCE, assert_close, assert_same, largest, packed, side_by_side
from functional_mlp.testing.vjp import Point, assert_like, checked_vjp

Formula = Callable[[Any, Tensor], Tensor]

# An init that gives no more different numbers than this (ones and zeros) need not use its key.
NUMBERS_OF_A_CONSTANT_INIT = 2

INFLUENCE_TRIALS = 100


@attrs.frozen
class InitCase:
    """A layer with the seeds of two keys."""

    layer: Any
    seed: int
    other_seed: int

    def __str__(self) -> str:
        return f"key, other_key = random.key({self.seed}), random.key({self.other_seed})"


def init_keeps_its_promise(case: InitCase, *, random_init: bool) -> None:
    """One structure, shape and dtype for every key; the numbers are a pure function of the key."""
    layer, key, other_key = case.layer, random.key(case.seed), random.key(case.other_seed)
    params = call("init", lambda key: layer.init(key, dtype=torch.float64), key=key)
    for path, leaf in pytree.items(params):
        if not isinstance(leaf, Tensor):
            raise AssertionError(f"init: params{path} must be a tensor, got {checks.describe(leaf)}")
        if leaf.is_floating_point() and leaf.dtype != torch.float64:
            raise AssertionError(f"init: params{path} must have the dtype asked for, torch.float64, got {leaf.dtype}")
        if not leaf.isfinite().all():
            raise AssertionError(f"init: params{path} must be finite, got {leaf}")
    other = attempt("init", lambda: layer.init(other_key, dtype=torch.float64))
    for name, again in (
        ("another key", other),
        ("dtype=torch.float32", attempt("init", lambda: layer.init(key, dtype=torch.float32))),
        ("device='meta'", attempt("init", lambda: layer.init(key, dtype=torch.float64, device="meta"))),
    ):
        _assert_same_shapes(f"init with {name}", again, params)
    if random_init and key != other_key:
        _assert_drawn(params, other)


def _assert_same_shapes(name: str, params: Any, like: Any) -> None:
    if pytree.structure(params) != pytree.structure(like):
        raise AssertionError(
            f"{name} gives params of another structure: {pytree.structure(params)} instead of {pytree.structure(like)}"
        )
    for path, leaf, expected in side_by_side(params, like):
        if leaf.shape != expected.shape:
            raise AssertionError(f"{name} gives params{path} of shape {tuple(leaf.shape)}, not {tuple(expected.shape)}")


def _assert_drawn(params: Any, other: Any) -> None:
    """Raise where random numbers do not depend on the key, or are the same in two leaves."""
    drawn = [(path, leaf) for path, leaf in pytree.items(params) if _is_random(leaf)]
    others = dict(pytree.items(other))
    for path, leaf in drawn:
        if torch.equal(leaf, others[path]):
            raise AssertionError(f"init ignores its key: params{path} has the same numbers for two keys")
    for i, (path, leaf) in enumerate(drawn):
        for other_path, other_leaf in drawn[:i]:
            if torch.equal(leaf.flatten(), other_leaf.flatten()):
                raise AssertionError(
                    f"init gives params{other_path} and params{path} the same numbers: split the key, one for each"
                )


def _is_random(leaf: Tensor) -> bool:
    return len(leaf.unique()) > NUMBERS_OF_A_CONSTANT_INIT


def calls_are_pure(point: Point) -> None:
    """apply and vjp keep shapes and dtypes, and are pure; earlier calls leave no trace."""
    layer, params, x, grad_out = point.layer, point.params, point.x, point.grad_out
    detached = ("params", "x", "grad_out") if inherits(layer, Layer, "apply", "vjp") else ()
    y = call("apply", layer.apply, detached=detached, params=params, x=x)
    assert_like("apply: the output", y, "an output for x", grad_out)
    grads = call("vjp", layer.vjp, detached=detached, params=params, x=x, grad_out=grad_out)
    checked_vjp("vjp", grads, params, x)
    attempt("apply", layer.apply, params, 1 - 2 * x)
    again = attempt("vjp", layer.vjp, params, x, grad_out)
    assert_same("vjp remembers an earlier call of apply: its result changes after another one", grads, again)
    if x.shape == grad_out.shape:
        apart = attempt("vjp", layer.vjp, params, x, x.clone())
        together = attempt("vjp", layer.vjp, params, x, x)
        rtol = LAYOUT_TOLERANCE[x.dtype]
        assert_close(
            "vjp gives another result where x and grad_out are one tensor",
            apart,
            together,
            point.gradient_size,
            rtol=rtol,
        )


def layout_does_not_matter(point: Point) -> None:
    """Tensors that lie in memory in an awkward way give what contiguous ones give."""
    layer, rtol = point.layer, LAYOUT_TOLERANCE[point.x.dtype]
    params, x, grad_out = pytree.map(packed, (point.params, point.x, point.grad_out))
    for name, function, awkward, plain, size in (
        ("apply", layer.apply, (point.params, point.x), (params, x), point.output_size),
        ("vjp", layer.vjp, (point.params, point.x, point.grad_out), (params, x, grad_out), point.gradient_size),
    ):
        problem = f"{name} depends on how tensors lie in memory"
        assert_close(problem, attempt(name, function, *awkward), attempt(name, function, *plain), size, rtol=rtol)


def batch_agrees_with_rows(point: Point) -> None:
    """A batch gives what its rows give, one by one; gradients of params are the sums over the rows."""
    layer, params, x, grad_out = point.layer, point.params, point.x, point.grad_out
    y = attempt("apply", layer.apply, params, x)
    assert_like("apply: the output", y, "an output for x", grad_out)
    grad_params, grad_x = checked_vjp("vjp", attempt("vjp", layer.vjp, params, x, grad_out), params, x)
    rows, outputs, cotangents = (t.reshape(math.prod(x.shape[:-1]), t.shape[-1]) for t in (x, y, grad_out))
    row_grads = grad_x.reshape(rows.shape)
    sums, size = pytree.map(torch.zeros_like, params), (1 + len(rows)) * point.gradient_size
    for i, (row, cotangent) in enumerate(zip(rows, cotangents, strict=True)):
        alone = attempt("apply", layer.apply, params, row)
        assert_close(f"apply: row {i} of a batch differs from that row alone", outputs[i], alone, point.output_size)
        result = attempt("vjp", layer.vjp, params, row, cotangent)
        row_params, row_x = checked_vjp("vjp of one row", result, params, row)
        assert_close(f"vjp: row {i} of grad_x differs from that row alone", row_grads[i], row_x, point.gradient_size)
        sums = pytree.map(torch.add, sums, row_params)
    for path, grad, expected in side_by_side(grad_params, sums):
        assert_close(f"vjp: grad_params{path} is not the sum of the rows' gradients", grad, expected, size)


def vjp_is_linear(point: Point) -> None:
    """vjp(2v − w) = 2 vjp(v) − vjp(w), and vjp(0) = 0."""
    layer, params, x, v = point.layer, point.params, point.x, point.grad_out
    w = random.normal(point.key, tuple(v.shape), dtype=v.dtype)
    of_v, of_w, of_both, of_zero = (
        checked_vjp("vjp", attempt("vjp", layer.vjp, params, x, cotangent), params, x)
        for cotangent in (v, w, 2 * v - w, torch.zeros_like(v))
    )
    for path, both, from_v, from_w, zero in side_by_side(of_both, of_v, of_w, of_zero):
        name = ("grad_params" + path.removeprefix("[0]")) if path.startswith("[0]") else "grad_x"
        size = 2 * largest(from_v) + largest(from_w) + point.gradient_size
        assert_close(f"vjp is not linear in grad_out: {name} of 2v − w", both, 2 * from_v - from_w, size)
        if not (zero == 0).all():
            raise AssertionError(f"vjp is not linear in grad_out: {name} of 0 is {zero.tolist()}")


def agrees_with_formula(point: Point, formula: Formula) -> None:
    """apply gives, for each row, what a second definition of it gives."""
    rows = point.x.reshape(math.prod(point.x.shape[:-1]), point.x.shape[-1])
    for row in rows:
        expected = attempt("formula", formula, point.params, row)
        actual = attempt("apply", point.layer.apply, point.params, row)
        assert_close(f"apply differs from the formula for the row {row.tolist()}", actual, expected, point.output_size)


def forward_and_backward_agree(point: Point) -> None:
    """forward and backward, which networks are trained with, give what apply and vjp give."""
    layer, params, x, grad_out = point.layer, point.params, point.x, point.grad_out
    y, tape = attempt("forward", layer.forward, params, x)
    assert_close("forward and apply differ", y, attempt("apply", layer.apply, params, x), point.output_size)
    back = attempt("backward", layer.backward, params, tape, grad_out)
    result = checked_vjp("backward", back, params, x)
    expected = checked_vjp("vjp", attempt("vjp", layer.vjp, params, x, grad_out), params, x)
    assert_close("backward after forward and vjp differ", result, expected, point.gradient_size)


def assert_every_leaf_has_influence(layer: Any, width: int) -> None:
    """Every leaf of params changes the output of some inputs: a layer that is left out shows here."""
    silent: set[str] | None = None
    for trial in range(INFLUENCE_TRIALS):
        init_key, x_key, shift_key = random.key(trial).split(3)
        params = attempt("init", lambda key=init_key: layer.init(key, dtype=torch.float64))
        x = random.normal(x_key, (16, width), 0.0, 2.0, dtype=torch.float64)
        params = _shifted(params, shift_key.fold_in(0), None)
        y = attempt("apply", layer.apply, params, x)
        silent = {path for path, leaf in pytree.items(params) if leaf.numel()} if silent is None else silent
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
