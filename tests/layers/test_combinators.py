import pytest
import torch
from torch import nn

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import KEY, assert_close, assert_same_bits, autograd, check_refused, draw, refusal

NETWORK = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 3))


def test_sequential_agrees_with_torch_nn() -> None:
    modules = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    params = (fm.LinearParams(*modules[0].parameters()), (), fm.LinearParams(*modules[2].parameters()))
    x, grad_out = draw(7, 2).requires_grad_(), draw(7, 3, seed=1)
    modules(x).backward(grad_out)
    grads, grad_x = NETWORK.vjp(params, x, grad_out)
    assert_close(NETWORK.apply(params, x), modules(x).detach())
    assert_close(pytree.leaves(grads), [parameter.grad for parameter in modules.parameters()])
    assert_close(grad_x, x.grad)


def test_residual_adds_its_input() -> None:
    module, x, grad_out = nn.Linear(3, 3).double(), draw(4, 3), draw(4, 3, seed=1)
    params = fm.LinearParams(*module.parameters())
    _, (expected,) = autograd(lambda x: ((x + module(x)) * grad_out).sum(), x)
    layer = fm.Residual(fm.Linear(3, 3))
    assert_close(layer.apply(params, x), (x + module(x)).detach())
    assert_close(layer.vjp(params, x, grad_out)[1], expected)
    assert pytree.structure(layer.init(KEY)) == pytree.structure(fm.Linear(3, 3).init(KEY))


def test_nesting_changes_nothing_but_the_params_tree() -> None:
    nested = fm.Sequential(NETWORK[:2], fm.Sequential(fm.Sequential(NETWORK[2])))
    first, second, third = params = NETWORK.init(KEY, dtype=torch.float64)
    nested_params = ((first, second), ((third,),))
    x, grad_out = draw(4, 2), draw(4, 3, seed=1)
    assert_same_bits(nested.apply(nested_params, x), NETWORK.apply(params, x))
    nested_grads, nested_grad_x = nested.vjp(nested_params, x, grad_out)
    grads, grad_x = NETWORK.vjp(params, x, grad_out)
    assert_same_bits((pytree.leaves(nested_grads), nested_grad_x), (pytree.leaves(grads), grad_x))


def test_a_vjp_is_one_forward_and_one_backward_pass_however_deep_the_nest() -> None:
    calls = []

    class Counted(fm.Elementwise):
        def value(self, xp, s):
            calls.append("value")
            return s

        def derivative(self, xp, s, y):
            calls.append("derivative")
            return 1

    network: fm.Layer = Counted()
    for _ in range(5):
        network = fm.Residual(fm.Sequential(network))
    network.vjp(network.init(KEY), draw(2), draw(2))
    assert calls == ["value", "derivative"]


def test_sequential_is_a_sequence() -> None:
    assert len(NETWORK) == 3
    assert list(NETWORK) == [fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 3)]
    assert NETWORK[0] == fm.Linear(2, 5)
    assert NETWORK[-1] == fm.Linear(5, 3)
    assert NETWORK[1:] == fm.Sequential(fm.Tanh(), fm.Linear(5, 3))
    assert NETWORK[:1] + NETWORK[1:] == NETWORK


def test_slices_of_network_and_params_belong_together() -> None:
    params, x = NETWORK.init(KEY), draw(2, dtype=torch.float32)
    hidden = NETWORK[:2].apply(params[:2], x)
    assert_same_bits(NETWORK[2].apply(params[2], hidden), NETWORK.apply(params, x))


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (NETWORK, (2, 3)),
        (fm.Sequential(fm.ReLU()), (None, None)),
        (fm.Sequential(fm.ReLU(), fm.Linear(4, 1), fm.Tanh()), (4, 1)),
        (fm.Residual(fm.Tanh()), (None, None)),
        (fm.Residual(NETWORK[:1] + fm.Sequential(fm.Linear(5, 2))), (2, 2)),
    ],
    ids=repr,
)
def test_sizes_are_known_where_a_layer_fixes_them(layer: fm.Layer, sizes: tuple[int | None, int | None]) -> None:
    assert (layer.in_features, layer.out_features) == sizes


def test_each_layer_draws_from_a_key_of_its_own() -> None:
    params = fm.Sequential(fm.Linear(2, 2), fm.Linear(2, 2)).init(KEY)
    assert not torch.equal(params[0].weight, params[1].weight)


def test_summary_names_layers_sizes_and_parameters() -> None:
    network = fm.Sequential(
        fm.Linear(2, 25), fm.Residual(fm.Sequential(fm.Linear(25, 25), fm.Tanh())), fm.Linear(25, 2)
    )
    assert network.summary().splitlines() == [
        "layer             output  parameters",
        "------------------------------------",
        "Linear(2, 25)         25          75",
        "Residual:                          0",
        "  Linear(25, 25)      25         650",
        "  Tanh()              25           0",
        "Linear(25, 2)          2          52",
        "------------------------------------",
        "total                            777",
    ]


PARAMS = NETWORK.init(KEY)
X = torch.ones(4, 2)


class Widen(fm.Layer):
    """Gives twice as many features as it takes, and does not say so."""

    def apply(self, params, x):
        return torch.cat([x, x], -1)

    def vjp(self, params, x, grad_out):
        return (), sum(grad_out.chunk(2, -1))


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("empty", lambda: fm.Sequential(), ValueError, "Sequential", "at least one layer"),
        refusal("empty slice", lambda: NETWORK[3:], ValueError, "Sequential", "at least one layer"),
        refusal(
            "sizes",
            lambda: fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(4, 3)),
            ValueError,
            "layer 2, Linear(4, 3), takes 4",
            "layer 0, Linear(2, 5), gives 5",
        ),
        refusal(
            "sizes of a sum",
            lambda: NETWORK + NETWORK,
            ValueError,
            "layer 3, Linear(2, 5), takes 2",
            "layer 2, Linear(5, 3), gives 3",
        ),
        refusal(
            "sizes through a nest",
            lambda: fm.Sequential(NETWORK, fm.Residual(fm.Linear(4, 4))),
            ValueError,
            "layer 1, Residual(Linear(4, 4)), takes 4",
            "gives 3",
        ),
        refusal("residual sizes", lambda: fm.Residual(NETWORK), ValueError, "takes 2", "gives 3"),
        refusal("residual of a number", lambda: fm.Residual(3), TypeError, "Residual: layer", "3, an int"),
        refusal(
            "residual that grows", lambda: fm.Residual(Widen()).apply((), X), ValueError, "Widen()", "(4, 2)", "(4, 4)"
        ),
        refusal("sum with a layer", lambda: NETWORK + fm.ReLU(), TypeError, "Sequential", "ReLU"),
        refusal("width", lambda: NETWORK.apply(PARAMS, torch.ones(4, 3)), ValueError, "Linear(in_features=2", "(4, 3)"),
        refusal("too few params", lambda: NETWORK.apply(PARAMS[:2], X), ValueError, "params[2].weight is missing"),
        refusal(
            "too many params", lambda: NETWORK.apply((*PARAMS, PARAMS[0]), X), ValueError, "params[3].weight is unexp"
        ),
        refusal(
            "params without a place for Tanh", lambda: NETWORK.apply(PARAMS[::2], X), ValueError, "params[2].weight"
        ),
        refusal("an empty entry too many", lambda: NETWORK.apply((*PARAMS, ()), X), ValueError, "params", "structure"),
        refusal("params in a list", lambda: NETWORK.apply(list(PARAMS), X), ValueError, "params", "structure", "["),
        refusal(
            "a nested leaf's shape",
            lambda: NETWORK.apply((PARAMS[0], (), fm.LinearParams(PARAMS[2].weight.T, PARAMS[2].bias)), X),
            ValueError,
            "params[2].weight",
            "(3, 5)",
            "(5, 3)",
        ),
        refusal("an int for a key", lambda: NETWORK.init(0), TypeError, "Key", "0, an int", "random.key(seed)"),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
