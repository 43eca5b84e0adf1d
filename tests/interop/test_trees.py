"""What torch's and jax's functions of trees make of the library's."""

import ast
import subprocess
import sys

import pytest
import torch
from torch.utils import _pytree as torch_pytree

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import KEY, assert_close, assert_same_bits, draw

NETWORK = fm.Sequential(fm.Linear(2, 3), fm.GELU(), fm.Residual(fm.Linear(3, 3)))
WITHOUT_BIAS = fm.Sequential(fm.Linear(2, 3, bias=False), fm.Tanh(), fm.Linear(3, 3, bias=False))


@pytest.mark.parametrize("optimizer", [fm.SGD(0.1), fm.Adam(0.1)], ids=repr)
def test_torch_sees_the_same_leaves(optimizer: fm.Optimizer) -> None:
    state = fm.TrainState(optimizer.init(NETWORK.init(KEY)), KEY, 3)
    leaves, structure = torch_pytree.tree_flatten(state)
    assert list(map(id, leaves)) == list(map(id, pytree.leaves(state)))
    again = torch_pytree.tree_unflatten(leaves, structure)
    assert type(again) is fm.TrainState
    assert (again.key, again.epoch, again.optimizer_state.step) == (KEY, 3, 0)
    assert_same_bits(again, state)


@pytest.mark.parametrize("network", [NETWORK, WITHOUT_BIAS], ids=repr)
def test_torch_names_the_leaves_as_the_library_does(network: fm.Layer) -> None:
    state = fm.Momentum(0.1).init(network.init(KEY))
    found = torch_pytree.tree_leaves_with_path(state)
    assert [torch_pytree.keystr(path) for path, _ in found] == pytree.paths(state)
    assert list(map(id, pytree.leaves(state))) == [id(leaf) for _, leaf in found]


@pytest.mark.parametrize("network", [NETWORK, WITHOUT_BIAS], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vmap_maps_apply_and_vjp(network: fm.Layer, dtype: torch.dtype) -> None:
    params, x, grad_out = network.init(KEY, dtype=dtype), draw(4, 2, dtype=dtype), draw(4, 3, dtype=dtype)
    outputs = torch.func.vmap(network.apply, (None, 0))(params, x)
    assert_close(outputs, network.apply(params, x), 1e-6)
    each, grads = torch.func.vmap(network.vjp, (None, 0, 0))(params, x, grad_out)
    summed, expected = network.vjp(params, x, grad_out)
    assert_close(grads, expected, 1e-6)
    assert_close(pytree.map(lambda leaf: leaf.sum(0), each), summed, 1e-5)


@pytest.mark.parametrize("network", [NETWORK, WITHOUT_BIAS], ids=repr)
def test_vmap_maps_over_stacked_params(network: fm.Layer) -> None:
    members = [network.init(key) for key in KEY.split(3)]
    x = draw(4, 2, dtype=torch.float32)
    outputs = torch.func.vmap(network.apply, (0, None))(fm.ensemble.stack(members), x)
    assert_close(outputs, torch.stack([network.apply(params, x) for params in members]), 1e-6)


PARAMS, X = NETWORK.init(KEY), draw(4, 2, dtype=torch.float32)
LOSS = fm.MeanSquaredError()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # which torch calls itself
@pytest.mark.parametrize(
    "differentiated",
    [
        pytest.param(lambda: torch.func.grad(lambda x: NETWORK.apply(PARAMS, x).sum())(X), id="inputs"),
        pytest.param(lambda: torch.func.grad(lambda params: NETWORK.apply(params, X).sum())(PARAMS), id="params"),
        pytest.param(
            lambda: torch.func.grad(lambda params: WITHOUT_BIAS.apply(params, X).sum())(WITHOUT_BIAS.init(KEY)),
            id="params without bias",
        ),
        pytest.param(
            lambda: torch.func.grad(lambda x: NETWORK.vjp(PARAMS, x, NETWORK.apply(PARAMS, X))[1].sum())(X), id="vjp"
        ),
        pytest.param(lambda: torch.func.jvp(lambda x: NETWORK.apply(PARAMS, x), (X,), (X,)), id="forward"),
        pytest.param(lambda: torch.func.grad(lambda x: LOSS.value(x, X))(X), id="loss"),
        pytest.param(
            lambda: torch.func.grad(lambda x: torch.func.vmap(NETWORK.apply, (None, 0))(PARAMS, x).sum())(X),
            id="under vmap",
        ),
        pytest.param(lambda: torch.func.jacrev(lambda x: fm.Dataset(x, X).inputs)(X), id="data"),
    ],
)
def test_torch_func_is_told_where_gradients_are(differentiated) -> None:
    with pytest.raises(TypeError, match=r"must not be differentiated by torch\.func.*interop\.to_torch makes a module"):
        differentiated()


def test_jax_sees_the_same_leaves() -> None:
    code = """
import attrs, torch
import functional_mlp as fm
params = fm.Sequential(fm.Linear(2, 3, bias=False), fm.Tanh(), fm.Linear(3, 1)).init(fm.random.key(0))
import jax
without = len(jax.tree.leaves(params))  # the class was made before jax was there
fm.pytree.register_with_jax()

@fm.pytree.node
@attrs.frozen(eq=False)
class Pair:
    left: object
    right: object
    name: str = attrs.field(metadata=fm.pytree.STRUCTURE)

fm.pytree.register_with_jax()  # again, which changes nothing
state = Pair(params, fm.Adam(0.1).init(params), "pair")
same = list(map(id, jax.tree.leaves(state))) == list(map(id, fm.pytree.leaves(state)))
doubled = jax.tree.map(lambda leaf: 2 * leaf, state)
named = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)] == fm.pytree.paths(state)
print((without, same, named, fm.pytree.equal(doubled, fm.pytree.map(lambda leaf: 2 * leaf, state)), doubled.name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert ast.literal_eval(done.stdout) == (2, True, True, True, "pair")
