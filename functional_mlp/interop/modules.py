"""Networks as modules of torch.nn, and back.

A layer that torch has becomes torch's. Any other, such as a user's own, becomes a `LayerModule`: it computes with the
layer's functions, and its gradients are the ones written by hand.
"""

from typing import Any

import attrs
import torch
from optree import PyTreeSpec
from torch import Tensor

from functional_mlp import catalogue, checks, pytree
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import params_dtype
from functional_mlp.layers.base import Layer, Params
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.linear import Linear, LinearParams


def to_torch(network: Layer, params: Params) -> "torch.nn.Module":
    """A network as a module of torch.nn with a copy of the params, in their dtype and on their device.

    The module's outputs are `predict`'s up to rounding. It can be trained by autograd, and goes through `torch.export`,
    `torch.jit.trace` and, of `torch.func`, `grad`, `vjp`, `vmap` and `jacrev`; through `jacfwd` and `hessian`, which
    take derivatives forwards, only where torch has all the layers. `Sequential` and the layers that torch has become
    torch's, so that the names of its `state_dict` are those of a module that is made by hand; `Residual(layer)` names
    its layer `layer`.

    Raises `TypeError` or `ValueError` for params that are not the network's.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.GELU(), fm.Residual(fm.Linear(3, 3)))
    >>> module = to_torch(network, network.init(fm.random.key(0)))
    >>> list(module.state_dict())
    ['0.weight', '0.bias', '2.layer.weight', '2.layer.bias']
    >>> module[1]
    GELU(approximate='none')
    """
    network = as_layer("to_torch: network", network)
    params_dtype(network, params)
    return _module(network, params)


def from_torch(module: "torch.nn.Module") -> tuple[Layer, Params]:
    """The network that a module of torch.nn is, and a copy of its parameters.

    What can be taken over are `Linear`, `Sequential`, the activations that this library has, and what `to_torch` makes.
    The initializers of the network are this library's defaults; whether parameters are trained or frozen is not taken
    over. Raises `TypeError` for what is no module, and `ValueError`, naming the module by its path, for one that has no
    counterpart here, has hooks or a `forward` of its own, or has parameters of other sizes than it says or of several
    dtypes.

    To read a file of torch's parameters into a network that is known, let torch check their names:

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.Tanh())
    >>> module = to_torch(network, network.init(fm.random.key(0)))
    >>> module.load_state_dict({"0.weight": torch.ones(3, 2), "0.bias": torch.zeros(3)})
    <All keys matched successfully>
    >>> network, params = from_torch(module)
    >>> network, params[0].weight.sum()
    (Sequential(Linear(2, 3), Tanh()), tensor(6.))
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module must be a torch.nn.Module, got {checks.describe(module)}")
    network, params = _network(module, "")
    try:
        params_dtype(network, params)
    except ValueError as error:
        raise ValueError(f"from_torch: module must have parameters of its sizes, in one dtype: {error}") from None
    return network, params


class ResidualModule(torch.nn.Module):
    """x + layer(x)."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layer(x)
        return y


class LayerModule(torch.nn.Module):
    """A layer that torch has not: its own functions compute it, and `leaves` holds its parameters in order."""

    structure: PyTreeSpec
    layer: Layer
    leaves: torch.nn.ParameterList

    def __init__(self, layer: Layer, params: Params) -> None:
        super().__init__()
        leaves, self.structure = pytree.flatten(params)
        self.layer, self.leaves = layer, torch.nn.ParameterList(map(_parameter, leaves))

    @property
    def params(self) -> Params:
        """The parameters, as the layer takes them."""
        return self.structure.unflatten(self.leaves)

    def forward(self, x: Tensor) -> Tensor:
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if tracing:  # and a trace that calls a function of Python cannot be saved
            return self.layer.forward(self.params, x)[0]
        y: Tensor = _ByHand.apply(self.layer, self.structure, x, *self.leaves)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return repr(self.layer)


class _ByHand(torch.autograd.Function):
    """A layer whose gradient torch takes from `backward`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(layer: Layer, structure: Any, x: Tensor, *leaves: Tensor) -> Tensor:
        return layer.forward(structure.unflatten(leaves), x)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.layer, ctx.structure = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Any, ...]:
        x, *leaves = ctx.saved_tensors
        params = ctx.structure.unflatten(leaves)
        _, tape = ctx.layer.forward(params, x)
        grad_params, grad_x = ctx.layer.backward(params, tape, grad_out)
        return None, None, grad_x, *pytree.leaves(grad_params)


def _parameter(leaf: Tensor) -> "torch.nn.Parameter":
    return torch.nn.Parameter(leaf.detach().clone())


def _activations() -> dict[type[Layer], type["torch.nn.Module"]]:
    """For each of the activations torch's, which has the same name, and numbers of the same names."""
    return {ours: getattr(torch.nn, name) for name, ours in catalogue.ACTIVATIONS.items()}


def _numbers(kind: type[Layer], value: object) -> dict[str, Any]:
    """What an activation, or torch's, has for the fields of a class of ours."""
    return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}


def _module(layer: Layer, params: Params) -> "torch.nn.Module":
    if type(layer) is Sequential:
        return torch.nn.Sequential(*map(_module, layer, params))
    if type(layer) is Residual:
        return ResidualModule(_module(layer.layer, params))
    if type(layer) is Linear:
        return _linear(layer, params)
    theirs = _activations().get(type(layer))
    return LayerModule(layer, params) if theirs is None else theirs(**_numbers(type(layer), layer))


def _linear(layer: Linear, params: LinearParams) -> "torch.nn.Linear":
    # Without numbers, which torch would draw with its global generator.
    module = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias, device="meta")
    module.weight = _parameter(params.weight)
    if params.bias is not None:
        module.bias = _parameter(params.bias)
    return module


def _network(module: "torch.nn.Module", path: str) -> tuple[Layer, Params]:
    """The network that a module is; `path` leads from the whole to it."""
    if isinstance(module, torch.nn.modules.lazy.LazyModuleMixin):
        raise ValueError(f"{_named(path, module)} is lazy, without its sizes: call the module on data once")
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    if any(hooks):
        raise ValueError(f"{_named(path, module)} has hooks, which would be lost: remove them")
    if "forward" in vars(module):
        raise ValueError(f"{_named(path, module)} has a forward of its own, which would be lost: delete it")
    if type(module) is torch.nn.Sequential:
        if len(module) == 0:
            raise ValueError(f"{_named(path, module)} is empty: a network has at least one layer")
        parts = [_network(inner, f"{path}[{index}]") for index, inner in enumerate(module)]
        return Sequential(*(layer for layer, _ in parts)), tuple(params for _, params in parts)
    if type(module) is ResidualModule:
        layer, params = _network(module.layer, f"{path}.layer")
        return Residual(layer), params
    if type(module) is torch.nn.Linear:
        return _layer_of_linear(module, path)
    if type(module) is LayerModule:
        return module.layer, pytree.map(lambda leaf: leaf.detach().clone(), module.params)
    return _activation(module, path), ()


def _layer_of_linear(module: "torch.nn.Linear", path: str) -> tuple[Linear, LinearParams]:
    bias: Tensor | None = module.bias  # torch's types leave the None out
    checks.float_tensor(f"from_torch: module{path}.weight", module.weight)
    layer = Linear(module.in_features, module.out_features, bias=bias is not None)
    return layer, LinearParams(module.weight.detach().clone(), None if bias is None else bias.detach().clone())


def _activation(module: "torch.nn.Module", path: str) -> Layer:
    # From its threshold on torch's is the identity: at 20, the usual one, the two differ by 2e-9.
    if type(module) is torch.nn.Softplus and (module.beta != 1 or module.threshold < 20):
        raise ValueError(
            f"{_named(path, module)} has no counterpart: this library's Softplus has beta=1, and no threshold below 20"
        )
    for ours, theirs in _activations().items():
        if type(module) is theirs:
            return ours(**_numbers(ours, module))
    known = ", ".join(theirs.__name__ for theirs in (*_activations().values(), torch.nn.Linear, torch.nn.Sequential))
    raise ValueError(
        f"{_named(path, module)} has no counterpart among this library's layers: what can be taken over are "
        f"{known} of torch.nn, and what to_torch makes"
    )


def _named(path: str, module: "torch.nn.Module") -> str:
    return f"from_torch: module{path}, {checks.describe(module)},"
