"""What the tests share: draws, comparisons, the table of refusals, and torch's own networks as oracles."""

import random
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.reference import BATCHES_AT_ONCE, Descent
from functional_mlp.state import Job, Member, Progress

KEY = fm.random.key(0)
LEADING_SHAPES = [(), (1,), (7,), (2, 3), (0,), (2, 0, 3)]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal draws, from torch's generator rather than the library's."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def draw_like(tree: Any, seed: int = 0) -> Any:
    """Normal draws in the shapes and dtypes of a tree."""
    generator = torch.Generator().manual_seed(seed)
    return pytree.map(lambda leaf: torch.randn(leaf.shape, dtype=leaf.dtype, generator=generator), tree)


def descent_from(
    state: fm.OptimizerState,
    network: fm.Layer,
    loss: fm.Loss,
    optimizer: fm.Optimizer,
    data: fm.Dataset,
    *,
    batch_size: int,
    penalty: fm.penalties.Penalty | None = None,
    batches_at_once: int = BATCHES_AT_ONCE,
) -> Descent:
    """The reference engine's descent for one network, from a state of its optimizer."""
    member = Member(optimizer=optimizer, data=data, progress=Progress(fm.TrainState(state, KEY, 0)))
    task = {"network": network, "loss": loss, "penalty": penalty, "batch_size": batch_size}
    return Descent(Job(members=(member,), epochs=1, engine="reference", **task), member, batches_at_once)


def bits(tree: Any) -> list[bytes]:
    """The bytes of each leaf of a tree, and of the whole memory that the leaf is a view of."""
    leaves = [leaf.detach() for leaf in pytree.leaves(tree)]
    return [bytes(leaf.contiguous().untyped_storage()) + bytes(leaf.untyped_storage()) for leaf in leaves]


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-10) -> None:
    """Each leaf within a tolerance, relative to the largest entry of the expected leaf."""
    assert pytree.structure(actual) == pytree.structure(expected)
    for path, a, b in zip(pytree.paths(expected), pytree.leaves(actual), pytree.leaves(expected), strict=True):
        scale = b.abs().max().item() if b.numel() else 0.0
        torch.testing.assert_close(
            a, b.detach(), rtol=0.0, atol=tolerance * scale, equal_nan=True, msg=lambda text, at=path: f"{at}: {text}"
        )


def assert_same_bits(actual: Any, expected: Any) -> None:
    assert pytree.equal(actual, expected), f"{actual} is not, bit for bit, {expected}"


def refusal(what: str, call: Callable[[], object], error: type[Exception], *fragments: str) -> Any:
    """A row of a table of bad input: the call, its exception, and what the message must say."""
    return pytest.param(call, error, fragments, id=what)


def check_refused(call: Callable[[], object], error: type[Exception], fragments: Iterable[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    missing = [fragment for fragment in fragments if fragment not in str(caught.value)]
    assert not missing, f"{str(caught.value)!r} does not say {missing}"


def unusable_tensors(shape: tuple[int, ...]) -> dict[str, tuple[Tensor, str]]:
    """Tensors of a shape that hold no plain floats, each with what an error says of it."""
    x = torch.ones(shape)
    return {
        "integer": (x.long(), "torch.int64"),
        "boolean": (x > 0, "torch.bool"),
        "complex": (x + 0j, "torch.complex64"),
        "float8": (x.to(torch.float8_e4m3fn), "torch.float8_e4m3fn"),
        "sparse": (x.to_sparse(), "sparse"),
        "quantized": (quantized(x), "quint8"),
        "nested": (nested(shape[-1] if shape else 1), "nested"),
        "meta": (x.to("meta"), "meta"),
    }


def quantized(x: Tensor) -> Tensor:
    with warnings.catch_warnings(action="ignore"):  # torch means to remove them
        return torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)


def nested(size: int) -> Tensor:
    with warnings.catch_warnings(action="ignore"):  # torch calls them a prototype
        return torch.nested.nested_tensor([torch.ones(size), torch.ones(size + 1)])


ACTIVATION_ORACLES: dict[type, Callable[[Any, Tensor], Tensor]] = {
    fm.ReLU: lambda layer, s: functional.relu(s),
    fm.Tanh: lambda layer, s: torch.tanh(s),
    fm.Sigmoid: lambda layer, s: torch.sigmoid(s),
    fm.LeakyReLU: lambda layer, s: functional.leaky_relu(s, layer.negative_slope),
    fm.ELU: lambda layer, s: functional.elu(s, layer.alpha),
    # torch's softplus is the identity above its threshold, an error of 1e-10 at the default of 20.
    fm.Softplus: lambda layer, s: functional.softplus(s, threshold=80),
    fm.SiLU: lambda layer, s: functional.silu(s),
    fm.GELU: lambda layer, s: functional.gelu(s, approximate=layer.approximate),
    fm.Identity: lambda layer, s: s,
}


def oracle(layer: fm.Layer, params: Any, x: Tensor) -> Tensor:
    """The layer's output as torch.nn.functional computes it, for autograd to differentiate."""
    match layer:
        case fm.Linear():
            return functional.linear(x, params.weight, params.bias)
        case fm.Sequential():
            for inner, inner_params in zip(layer, params, strict=True):
                x = oracle(inner, inner_params, x)
            return x
        case fm.Residual():
            return x + oracle(layer.layer, params, x)
        case _:
            return ACTIVATION_ORACLES[type(layer)](layer, x)


def loss_oracle(loss: fm.Loss, predictions: Tensor, targets: Tensor) -> Tensor:
    """The loss as torch.nn.functional computes it."""
    match loss:
        case fm.MeanSquaredError():
            return functional.mse_loss(predictions, targets)
        case fm.Huber():
            return functional.huber_loss(predictions, targets, delta=loss.delta)
        case fm.PoissonDeviance():  # torch takes no logarithm of the targets but Stirling's
            least = torch.xlogy(targets, targets) - targets
            return functional.poisson_nll_loss(predictions, targets, log_input=True) + least.mean()
        case fm.BinaryCrossEntropy():
            return functional.binary_cross_entropy_with_logits(predictions, targets)
        case fm.CrossEntropy():
            return functional.cross_entropy(predictions, targets, label_smoothing=loss.label_smoothing)
    raise AssertionError(f"torch has no {loss!r}")


def autograd(function: Callable[..., Tensor], *trees: Any) -> tuple[Tensor, list[Any]]:
    """The value of a function of trees, and its gradient by torch.autograd with respect to each tree."""
    connected = [pytree.map(lambda leaf: leaf.detach().clone().requires_grad_(), tree) for tree in trees]
    value = function(*connected)
    leaves = [leaf for tree in connected for leaf in pytree.leaves(tree)]
    grads = iter(torch.autograd.grad(value, leaves) if leaves else ())
    return value.detach(), [pytree.map(lambda leaf: next(grads), tree) for tree in connected]


def random_network(seed: int, features: int | None = None, depth: int = 0) -> fm.Layer:
    """A random nest of layers, the same for the same seed."""
    generator = random.Random(seed)
    features = features or generator.randint(1, 6)
    layers: list[fm.Layer] = []
    for _ in range(generator.randint(1, 4)):
        kind = generator.choice(["linear", "activation"] + ["sequential", "residual"] * (depth < 2))
        if kind == "linear":
            size = generator.randint(1, 6)
            layers.append(fm.Linear(features, size, bias=generator.random() < 0.7))
            features = size
        elif kind == "activation":
            layers.append(generator.choice([fm.Tanh(), fm.SiLU(), fm.ELU(1.5), fm.Softplus(), fm.GELU(), fm.ReLU()]))
        elif kind == "sequential":
            layers.append(random_network(generator.randrange(2**32), features, depth + 1))
            features = layers[-1].out_features or features
        else:
            inner = random_network(generator.randrange(2**32), features, depth + 1)
            back = fm.Linear(inner.out_features or features, features)
            layers.append(fm.Residual(fm.Sequential(inner, back)))
    return fm.Sequential(*layers)
