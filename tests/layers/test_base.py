"""What every layer is: the table of all of them against torch, and the rules of the base class."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import (
    KEY,
    LEADING_SHAPES,
    assert_close,
    assert_same_bits,
    autograd,
    bits,
    check_refused,
    draw,
    draw_like,
    oracle,
    random_network,
    refusal,
    unusable_tensors,
)
from tests.tables import LAYERS

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=repr)
LINEAR = fm.Linear(3, 2)


def features(layer: fm.Layer) -> int:
    return layer.in_features or 4


def parameters(layer: fm.Layer, dtype: torch.dtype = torch.float64) -> Any:
    """Params of a layer with no zeros in them, biases included."""
    return draw_like(layer.init(KEY, dtype=dtype), seed=1)


def check_against_autograd(layer: fm.Layer, leading: tuple[int, ...]) -> None:
    params, x = parameters(layer), draw(*leading, features(layer))
    grad_out = draw_like(layer.apply(params, x), seed=2)
    value, (grad_params, grad_x) = autograd(lambda p, x: (oracle(layer, p, x) * grad_out).sum(), params, x)
    assert_close((layer.apply(params, x) * grad_out).sum(), value)
    assert_close(layer.apply(params, x), oracle(layer, params, x))
    actual_params, actual_x = layer.vjp(params, x, grad_out)
    assert_close(actual_params, grad_params)
    assert_close(actual_x, grad_x)


@every_layer
@pytest.mark.parametrize("leading", LEADING_SHAPES, ids=str)
def test_value_and_gradients_agree_with_torch_autograd(layer: fm.Layer, leading: tuple[int, ...]) -> None:
    check_against_autograd(layer, leading)


@pytest.mark.parametrize("seed", range(60))
def test_random_nests_agree_with_torch_autograd(seed: int) -> None:
    check_against_autograd(random_network(seed), LEADING_SHAPES[seed % len(LEADING_SHAPES)])


@every_layer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_keep_the_dtype(layer: fm.Layer, dtype: torch.dtype) -> None:
    params, x = parameters(layer, dtype), draw(5, features(layer), dtype=dtype)
    y = layer.apply(params, x)
    results = (y, layer.vjp(params, x, torch.ones_like(y)))
    assert {leaf.dtype for leaf in pytree.leaves(results)} == {dtype}


@every_layer
def test_shapes_are_those_that_the_layer_promises(layer: fm.Layer) -> None:
    params, x = layer.init(KEY), draw(5, features(layer), dtype=torch.float32)
    y = layer.apply(params, x)
    assert y.shape == (5, layer.out_features or features(layer))
    grad_params, grad_x = layer.vjp(params, x, torch.ones_like(y))
    assert pytree.structure(grad_params) == pytree.structure(params)
    assert [g.shape for g in pytree.leaves(grad_params)] == [p.shape for p in pytree.leaves(params)]
    assert grad_x.shape == x.shape


@every_layer
def test_vjp_is_backward_after_forward(layer: fm.Layer) -> None:
    params, x = parameters(layer), draw(5, features(layer))
    y, tape = layer.forward(params, x)
    assert_same_bits(y, layer.apply(params, x))
    assert_same_bits(layer.backward(params, tape, torch.ones_like(y)), layer.vjp(params, x, torch.ones_like(y)))


@every_layer
def test_meta_init_gives_the_structure_without_data(layer: fm.Layer) -> None:
    shapes = layer.init(KEY, device="meta", dtype=torch.float64)
    params = layer.init(KEY, dtype=torch.float64)
    assert pytree.structure(shapes) == pytree.structure(params)
    for shape, leaf in zip(pytree.leaves(shapes), pytree.leaves(params), strict=True):
        assert shape.is_meta
        assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)


@every_layer
def test_init_is_a_function_of_the_key(layer: fm.Layer) -> None:
    assert_same_bits(layer.init(KEY), layer.init(KEY))


# Views of twice as many rows and columns, so that a write beyond the view would show.
LAYOUTS = {
    "plain": lambda x: x.clone(),
    "strided": lambda x: torch.cat([x, x], -1)[..., ::2] if x.shape[-1] > 1 else torch.cat([x, x], -1)[..., :1],
    "transposed": lambda x: x.mT.contiguous().mT if x.ndim > 1 else x.clone(),
    "offset": lambda x: torch.cat([x, x])[len(x) :],
    "expanded": lambda x: x[:1].expand_as(x),
    "connected": lambda x: x.clone().requires_grad_(),
    "computed": lambda x: x.clone().requires_grad_() * 2,
    "negated view": lambda x: torch.complex(x, -x).conj().imag,
}


@every_layer
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arguments_of_any_layout_work_and_come_back_untouched(layer: fm.Layer, layout: str) -> None:
    params = pytree.map(LAYOUTS[layout], parameters(layer))
    x = LAYOUTS[layout](draw(6, features(layer)))
    grad_out = LAYOUTS[layout](draw_like(layer.apply(params, x), seed=3))
    plain = [pytree.map(lambda leaf: leaf.detach().resolve_neg().clone(), tree) for tree in (params, x, grad_out)]
    before = [bits(tree) for tree in (params, x, grad_out)]
    results = (layer.apply(params, x), layer.vjp(params, x, grad_out))
    assert [bits(tree) for tree in (params, x, grad_out)] == before
    assert not any(leaf.requires_grad or leaf.grad_fn for leaf in pytree.leaves(results))
    assert_close(results, (layer.apply(*plain[:2]), layer.vjp(*plain)), tolerance=1e-13)


@every_layer
def test_the_state_of_torch_is_neither_read_nor_changed(layer: fm.Layer) -> None:
    params, x = layer.init(KEY), draw(5, features(layer), dtype=torch.float32)
    y = layer.apply(params, x)
    expected = (params, y, layer.vjp(params, x, y))
    torch.set_default_dtype(torch.float64)
    try:
        params = layer.init(KEY)
        actual = (params, layer.apply(params, x), layer.vjp(params, x, y))
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_bits(actual, expected)
    threads = torch.get_num_threads()
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode:
            enabled = torch.is_grad_enabled()
            assert_same_bits((layer.apply(params, x), layer.vjp(params, x, y)), expected[1:])
            assert torch.is_grad_enabled() is enabled
    assert torch.get_num_threads() == threads


@every_layer
def test_threads_compute_the_same_bits_as_calls_in_a_row(layer: fm.Layer) -> None:
    params = parameters(layer)
    inputs = [draw(5, features(layer), seed=seed) for seed in range(24)]

    def work(x: torch.Tensor) -> Any:
        y = layer.apply(params, x)
        return y, layer.vjp(params, x, y)

    expected = [work(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        assert_same_bits(list(pool.map(work, inputs)), expected)


@every_layer
@pytest.mark.parametrize("kind", list(unusable_tensors((4,))))
def test_tensors_without_plain_floats_are_refused(layer: fm.Layer, kind: str) -> None:
    params, x = layer.init(KEY), draw(5, features(layer), dtype=torch.float32)
    y = layer.apply(params, x)
    bad_x, name = unusable_tensors((5, features(layer)))[kind]
    bad_y, _ = unusable_tensors(tuple(y.shape))[kind]
    check_refused(lambda: layer.apply(params, bad_x), ValueError, ["inputs", name])
    check_refused(lambda: layer.vjp(params, bad_x, y), ValueError, ["inputs", name])
    check_refused(lambda: layer.vjp(params, x, bad_y), ValueError, ["grad_out", name])
    for path, leaf in pytree.items(params):
        bad_leaf, _ = unusable_tensors(tuple(leaf.shape))[kind]
        bad_params = pytree.map(lambda p, leaf=leaf, bad=bad_leaf: bad if p is leaf else p, params)
        check_refused(lambda bad=bad_params: layer.apply(bad, x), ValueError, [f"params{path}", name])


@every_layer
def test_arguments_that_do_not_fit_are_refused(layer: fm.Layer) -> None:
    params, x = layer.init(KEY), draw(5, features(layer), dtype=torch.float32)
    y = layer.apply(params, x)
    check_refused(lambda: layer.apply(params, x[0, 0]), ValueError, ["0-d", repr(layer)])
    check_refused(lambda: layer.apply(params, x.tolist()), TypeError, ["inputs", "torch.Tensor", "a list"])
    check_refused(lambda: layer.apply(params, x.numpy()), TypeError, ["inputs", "torch.Tensor", "ndarray"])
    check_refused(lambda: layer.vjp(params, x, y.double()), ValueError, ["grad_out", "torch.float32", "torch.float64"])
    check_refused(lambda: layer.vjp(params, x, y[:1]), ValueError, ["grad_out", "(5, ", "(1, "])
    check_refused(lambda: layer.vjp(params, x, y[..., None]), ValueError, ["grad_out", str(tuple(y.shape)), ", 1)"])
    check_refused(lambda: layer.vjp(params, x, None), TypeError, ["grad_out", "torch.Tensor", "None"])
    check_refused(lambda: layer.apply((params, torch.ones(1)), x), ValueError, ["params", "structure"])
    if pytree.leaves(params):
        path = pytree.paths(params)[0]
        check_refused(lambda: layer.apply(params, x.double()), ValueError, [path, "torch.float32", "torch.float64"])
        grown = pytree.map(lambda leaf: leaf[None], params)
        check_refused(lambda: layer.apply(grown, x), ValueError, [f"params{path}", "shape", "(1, "])
        check_refused(lambda: layer.apply((), x), ValueError, [f"params{path}", "missing"])


@every_layer
@pytest.mark.parametrize(
    ("key", "arguments", "error", "fragments"),
    [
        pytest.param(0, {}, TypeError, ["key", "Key", "0, an int", "random.key(seed)"], id="an int for a key"),
        pytest.param(KEY, {"dtype": torch.int64}, ValueError, ["floating", "torch.int64"], id="integer dtype"),
        pytest.param(KEY, {"dtype": "float32"}, TypeError, ["torch.dtype", "'float32'"], id="dtype of a string"),
        pytest.param(KEY, {"device": "nope"}, ValueError, ["device", "'nope'"], id="unknown device"),
    ],
)
def test_init_refuses_bad_input(layer: fm.Layer, key, arguments, error, fragments) -> None:
    check_refused(lambda: layer.init(key, **arguments), error, fragments)


# What a user writes


@attrs.frozen(repr=False)
class Scale(fm.Layer):
    """A layer written with apply and vjp."""

    factor: float = 3.0

    keeps_features = True

    def apply(self, params: Any, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x

    def vjp(self, params: Any, x: torch.Tensor, grad_out: torch.Tensor) -> tuple[Any, torch.Tensor]:
        return (), self.factor * grad_out


class Cube(fm.Elementwise):
    """A layer written as two expressions."""

    def value(self, xp, s):
        return s**3

    def derivative(self, xp, s, y):
        return 3 * s**2


class Bare:
    """A layer that is no subclass of `Layer` but has the three functions."""

    in_features = 3
    out_features = 2

    def init(self, key, *, dtype=torch.float32, device=None):
        return LINEAR.init(key, dtype=dtype, device=device)

    def apply(self, params, x):
        return LINEAR.apply(params, x)

    def vjp(self, params, x, grad_out):
        return LINEAR.vjp(params, x, grad_out)


def test_layers_of_the_users_own_stand_beside_the_librarys() -> None:
    network = fm.Sequential(Bare(), Scale(), Cube(), fm.Residual(Scale(2.0)))
    params, x = network.init(KEY, dtype=torch.float64), draw(5, 3)

    def expected(params: Any, x: torch.Tensor) -> torch.Tensor:
        return 3 * (3 * torch.nn.functional.linear(x, params[0].weight, params[0].bias)) ** 3

    _, (grad_params, grad_x) = autograd(lambda p, x: expected(p, x).sum(), params, x)
    assert (network.in_features, network.out_features) == (3, 2)
    assert_close(network.apply(params, x), expected(params, x))
    assert_close(network.vjp(params, x, torch.ones(5, 2, dtype=torch.float64)), (grad_params, grad_x))


def test_a_layer_of_the_users_own_is_a_value() -> None:
    assert Scale(2.0) == Scale(2.0) != Scale()
    assert repr(fm.Sequential(Scale(2.0), Cube())) == "Sequential(Scale(factor=2.0), Cube())"
    assert pickle.loads(pickle.dumps(Scale(2.0))) == Scale(2.0)
    assert hash(Cube()) == hash(Cube())
    assert Cube() != fm.ReLU()


def half_a_layer() -> None:
    class OnlyApply(fm.Layer):
        def apply(self, params, x):
            return x


class Nothing(fm.Layer):
    pass


class NoDerivative(fm.Elementwise):
    def value(self, xp, s):
        return s


@attrs.define(repr=False)
class Unhashable:
    sizes: list[int]
    init = apply = vjp = lambda self, *arguments: ()


X = draw(4, 3, dtype=torch.float32)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("half a layer", half_a_layer, TypeError, "OnlyApply", "apply and vjp", "both"),
        refusal("no functions", lambda: Nothing().apply((), X), TypeError, "Nothing()", "apply and vjp"),
        refusal("no value", lambda: fm.Elementwise().apply((), X), NotImplementedError, "value(self, xp, s)"),
        refusal(
            "no derivative",
            lambda: NoDerivative().vjp((), X, X),
            NotImplementedError,
            "NoDerivative",
            "derivative(self, xp, s, y)",
        ),
        refusal("a class", lambda: fm.Sequential(fm.ReLU), TypeError, "layer 0", "class ReLU", "call it"),
        refusal("a function", lambda: fm.Sequential(torch.tanh), TypeError, "layer 0", "init, apply and vjp"),
        refusal("a module", lambda: fm.Sequential(torch.nn.Linear(2, 2)), TypeError, "layer 0", "functional_mlp.Layer"),
        refusal("a list", lambda: fm.Sequential([LINEAR]), TypeError, "layer 0", "[Linear(3, 2)], a list"),
        refusal("unhashable", lambda: fm.Residual(Unhashable([1])), TypeError, "hashable", "@attrs.frozen"),
        refusal("counting numbers", lambda: fm.count_parameters((1, 2)), TypeError, "params[0]", "Tensor", "1, an int"),
    ],
)
def test_bad_layers_are_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)


@every_layer
def test_gradients_of_the_params_alone_are_those_of_backward(layer: fm.Layer) -> None:
    params, x = parameters(layer), draw(5, features(layer))
    y, tape = layer.forward(params, x)
    grad_params, _ = layer.backward(params, tape, torch.ones_like(y))
    assert_same_bits(layer.backward_params(params, tape, torch.ones_like(y)), grad_params)


class ClippedLinear(fm.Linear):
    """Has a `backward` of its own, which `Linear.backward_params` is no part of."""

    def backward(self, params, tape, grad_out):
        return super().backward(params, tape, grad_out.clamp(-1, 1))


class Clipping:
    """The same for any layer."""

    def backward(self, params, tape, grad_out):
        return super().backward(params, tape, grad_out.clamp(-1, 1))


class ClippedByAnother(Clipping, fm.Linear):
    pass


@pytest.mark.parametrize("layer", [ClippedLinear(2, 1), ClippedByAnother(2, 1)], ids=repr)
def test_a_backward_of_ones_own_gives_the_gradients_of_the_params(layer: fm.Layer) -> None:
    params, x = layer.init(KEY), draw(5, 2, dtype=torch.float32)
    grads = layer.backward_params(params, x, torch.full((5, 1), 9.0))
    assert_same_bits(grads, layer.backward(params, x, torch.ones(5, 1))[0])
