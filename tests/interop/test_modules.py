"""Networks as modules of torch.nn, and back."""

import pickle
import warnings

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import functional_mlp as fm
from functional_mlp import interop, pytree
from tests import tables
from tests.helpers import KEY, assert_close, assert_same_bits, autograd, check_refused, draw, refusal


class Softsign(fm.Elementwise):
    """s / (1 + |s|)."""

    def value(self, xp, s):
        return s / (1 + xp.abs(s))

    def derivative(self, xp, s, y):
        return 1 / (1 + xp.abs(s)) ** 2


@attrs.frozen(repr=False)
class Scale(fm.Layer):
    """x times one number, which is learnt."""

    def init(self, key, *, dtype=torch.float32, device=None):
        return {"factor": torch.full((1,), 2.0, dtype=dtype, device=device)}

    def apply(self, params, x):
        return params["factor"] * x

    def vjp(self, params, x, grad_out):
        return {"factor": (grad_out * x).sum().reshape(1)}, params["factor"] * grad_out


OWN = fm.Sequential(fm.Linear(2, 3), Softsign(), fm.Residual(fm.Sequential(Scale(), fm.Linear(3, 3))))
NETWORKS = [*tables.LAYERS, OWN]


def module_of(network: fm.Layer, dtype: torch.dtype = torch.float64):
    params = network.init(KEY, dtype=dtype)
    return interop.to_torch(network, params), params, draw(5, network.in_features or 3, dtype=dtype)


def with_attribute(name: str, value: object) -> nn.Module:
    module = nn.Linear(2, 3)
    setattr(module, name, value)
    return module


def with_forward(module: nn.Module) -> nn.Module:
    module.forward = lambda x: x
    return module


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_a_module_has_the_outputs_and_the_gradients_of_its_network(network: fm.Layer) -> None:
    module, params, x = module_of(network)
    x.requires_grad_()
    outputs = module(x)
    assert_close(outputs.detach(), network.apply(params, x), 1e-9)
    grad_out = draw(*outputs.shape, seed=1)
    grad_params, grad_x = network.vjp(params, x, grad_out)
    found = torch.autograd.grad(outputs, [x, *module.parameters()], grad_out)
    assert_close(found, (grad_x, *pytree.leaves(grad_params)), 1e-8)  # torch's softplus is the identity beyond 20


@settings(max_examples=20)
@given(fm.testing.networks(), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_the_way_there_and_back_keeps_the_bits(network: fm.Layer, dtype: torch.dtype) -> None:
    module, params, _ = module_of(network, dtype)
    again, back = interop.from_torch(module)
    assert_same_bits(back, params)
    module_again = interop.to_torch(again, back)
    assert list(module_again.state_dict()) == list(module.state_dict())
    assert repr(module_again) == repr(module)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_what_comes_back_is_the_network(network: fm.Layer) -> None:
    module, params, x = module_of(network, torch.float32)
    again, back = interop.from_torch(module)
    assert again == network
    assert_same_bits(again.apply(back, x), network.apply(params, x))


def test_a_module_made_by_hand_is_taken_over() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(2, 3), nn.LeakyReLU(0.2), nn.Sequential(nn.Linear(3, 3, bias=False), nn.ELU(1.5)), nn.GELU("tanh")
    )
    network, params = interop.from_torch(module)
    expected = "Sequential(Linear(2, 3), LeakyReLU(negative_slope=0.2), "
    expected += "Sequential(Linear(3, 3, bias=False), ELU(alpha=1.5)), GELU(approximate='tanh'))"
    assert repr(network) == expected
    x = torch.randn(4, 2)
    assert_close(network.apply(params, x), module(x).detach(), 1e-6)


def test_neither_side_sees_what_the_other_does() -> None:
    network = fm.Sequential(fm.Linear(2, 2), Scale())
    module, params, _ = module_of(network)
    before = pytree.map(torch.clone, params)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert_same_bits(params, before)
    _, back = interop.from_torch(module)
    after = pytree.map(torch.clone, back)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert_same_bits(back, after)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    module_of(OWN)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_module_trains_as_fit_does() -> None:
    data = fm.datasets.disk(KEY, 20, dtype=torch.float64)
    network = fm.Sequential(fm.Linear(2, 4), Softsign(), fm.Linear(4, 2))
    start = network.init(fm.random.key(1), dtype=torch.float64)
    module = interop.to_torch(network, start)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(data.inputs), data.targets).backward()
        optimizer.step()
    ours = fm.fit(network, fm.MeanSquaredError(), fm.SGD(0.5), data, key=KEY, params=start, epochs=3, batch_size=20)
    assert_close(interop.from_torch(module)[1], ours.params, 1e-12)


def test_a_module_is_exported_traced_and_pickled(tmp_path) -> None:
    module, _, x = module_of(OWN, torch.float32)
    expected = module(x).detach()
    batch = torch.export.Dim("batch")
    exported = torch.export.export(module, (x,), dynamic_shapes=({0: batch},)).module()
    assert_close(exported(x[:2]).detach(), expected[:2], 1e-6)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # torch means to remove traces
        torch.jit.trace(module, x).save(tmp_path / "traced.pt")
        assert_close(torch.jit.load(tmp_path / "traced.pt")(x).detach(), expected, 1e-6)
    assert_same_bits(pickle.loads(pickle.dumps(module))(x).detach(), expected)


def test_torch_func_differentiates_and_maps_a_module() -> None:
    module, params, x = module_of(OWN)
    named = dict(module.named_parameters())

    def loss(named, x):
        return torch.func.functional_call(module, named, (x,)).square().sum()

    grads = torch.func.vmap(torch.func.grad(loss), (None, 0))(named, x)
    for row in range(len(x)):
        _, (expected,) = autograd(lambda p, row=row: OWN_by_torch(p, x[row]).square().sum(), params)
        got = [grad[row] for grad in grads.values()]
        assert_close(tuple(got), tuple(pytree.leaves(expected)), 1e-10)


def OWN_by_torch(params, x):  # noqa: N802 - the network OWN
    first, _, (scale, last) = params
    x = nn.functional.softsign(nn.functional.linear(x, first.weight, first.bias))
    return x + nn.functional.linear(scale["factor"] * x, last.weight, last.bias)


def hooked_backward() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_full_backward_hook(lambda *_: None)
    return module


def hooked() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *_: None)
    return nn.Sequential(nn.Sequential(module))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


NETWORK = fm.Sequential(fm.Linear(2, 2), fm.ReLU())


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal(
            "no module", lambda: interop.from_torch(NETWORK), TypeError, "must be a torch.nn.Module, got Sequential"
        ),
        refusal(
            "a convolution",
            lambda: interop.from_torch(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv1d(1, 1, 3)))),
            ValueError,
            "module[1][0], Conv1d(1, 1, kernel_size=(3,), stride=(1,)), a Conv1d, has no counterpart",
            "ReLU, Tanh",
        ),
        refusal("a subclass", lambda: interop.from_torch(Doubled(2, 2)), ValueError, "a Doubled, has no counterpart"),
        refusal("a hook", lambda: interop.from_torch(hooked()), ValueError, "module[0][0]", "has hooks"),
        *(
            refusal(
                f"a forward of its own of {kind}", lambda kind=kind: interop.from_torch(kind), ValueError, "a forward"
            )
            for kind in map(with_forward, (nn.Linear(2, 2), nn.Tanh(), nn.Sequential(nn.Tanh())))
        ),
        *(
            refusal(
                what, lambda module=module: interop.from_torch(module), ValueError, "parameters of its sizes", *words
            )
            for what, module, *words in (
                ("a bias of another size", with_attribute("bias", nn.Parameter(torch.zeros(4))), "params.bias"),
                ("a bias of another dtype", with_attribute("bias", nn.Parameter(torch.zeros(3).double())), "one dtype"),
                ("another size than it says", with_attribute("in_features", 5), "(3, 5)"),
                ("several dtypes", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), "params[1].weight"),
            )
        ),
        refusal("a hook of the backward pass", lambda: interop.from_torch(hooked_backward()), ValueError, "has hooks"),
        refusal("another softplus", lambda: interop.from_torch(nn.Softplus(2.0)), ValueError, "beta=1"),
        refusal("a low threshold", lambda: interop.from_torch(nn.Softplus(threshold=1.0)), ValueError, "threshold"),
        refusal("nothing", lambda: interop.from_torch(nn.Sequential()), ValueError, "is empty"),
        refusal("a lazy module", lambda: interop.from_torch(nn.LazyLinear(2)), ValueError, "lazy", "on data once"),
        refusal("integers", lambda: interop.to_torch(NETWORK, (1, ())), TypeError, "params[0]", "torch.Tensor"),
        refusal(
            "params of another network",
            lambda: interop.to_torch(NETWORK, fm.Sequential(fm.Linear(3, 2), fm.ReLU()).init(KEY)),
            ValueError,
            "params[0].weight must have the shape of",
        ),
        refusal(
            "params of two dtypes",
            lambda: interop.to_torch(
                fm.Sequential(fm.Linear(2, 2), fm.Linear(2, 2)),
                (fm.Linear(2, 2).init(KEY), fm.Linear(2, 2).init(KEY, dtype=torch.float64)),
            ),
            ValueError,
            "params[1].weight and",
            "one dtype",
        ),
        refusal("no network", lambda: interop.to_torch(nn.ReLU(), ()), TypeError, "to_torch: network must be a layer"),
    ],
)
def test_refusals(call, error, fragments) -> None:
    check_refused(call, error, fragments)
