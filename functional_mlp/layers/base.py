"""What a layer is.

A layer is a frozen value with three pure functions, where `params` is a pytree of tensors and shapes are
written `(..., features)` for any number of leading dimensions, none included:

    layer.init(key, *, dtype, device)   -> params
    layer.apply(params, x)              -> y                         y = f(params, x)
    layer.vjp(params, x, grad_out)      -> (grad_params, grad_x)     the transposed Jacobian of f, applied

A combinator wants the work of the forward pass kept for the backward pass, so there are two more:

    layer.forward(params, x)               -> (y, tape)
    layer.backward(params, tape, grad_out) -> (grad_params, grad_x)

Either pair defines the other. A layer written for its own sake gives `apply` and `vjp`, and its tape is its
input; the library's layers give `forward` and `backward`, the bare mathematics, and get `apply` and `vjp`
with all checks.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import attrs
import torch
from attrs import frozen
from torch import Tensor

from functional_mlp import checks, pytree, random
from functional_mlp.algebra import Array, Namespace, narrowed, torch_namespace, widened, working_dtype
from functional_mlp.random import Key
from functional_mlp.value import Value

Params = Any
Tape = Any

# How deep layers can be nested. What is done with them goes down the nest, at most 7 of Python's 1000 nested calls a
# level (copy.deepcopy).
MOST_LEVELS = 100


@frozen(repr=False)
class Layer(Value):
    """The base class of layers; see the module's docstring for the functions a subclass gives.

    `in_features` and `out_features` are the sizes of the last dimension of input and output, `None` where
    any size fits. `keeps_features` says that the output has the size of the input, whatever it is.

    >>> import functional_mlp as fm
    >>> class Double(fm.Layer):
    ...     def apply(self, params, x):
    ...         return 2 * x
    ...     def vjp(self, params, x, grad_out):
    ...         return (), 2 * grad_out
    >>> network = fm.Sequential(fm.Linear(3, 2), Double())
    >>> network.apply(network.init(fm.random.key(0)), torch.zeros(3))
    tensor([0., 0.])
    """

    keeps_features: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        for first, second in (("apply", "vjp"), ("forward", "backward")):
            if (getattr(cls, first) is getattr(Layer, first)) != (getattr(cls, second) is getattr(Layer, second)):
                raise TypeError(f"layer {cls.__name__} defines one of {first} and {second}: define both")

    @property
    def in_features(self) -> int | None:
        return None

    @property
    def out_features(self) -> int | None:
        return None

    @property
    def nesting_depth(self) -> int:
        """How deep layers are nested in this one: 1 where it has none inside."""
        deepest, pending = 1, [(1, layer) for layer in _layers_in(self)]
        while pending:  # and no recursion, for it may be deeper than Python's
            above, layer = pending.pop()
            if type(layer).nesting_depth is Layer.nesting_depth:
                deepest = max(deepest, above + 1)
                pending += [(above + 1, inner) for inner in _layers_in(layer)]
            else:
                deepest = max(deepest, above + layer.nesting_depth)
        return deepest

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        """New parameters, `()` where the layer has none; `device="meta"` gives their shapes alone."""
        check_init_arguments(key, dtype, device)
        return ()

    def apply(self, params: Params, x: Tensor) -> Tensor:
        """The output for inputs `(..., in_features)`: a tensor `(..., out_features)`.

        Raises `TypeError` or `ValueError` for params and inputs that do not fit the layer, or each other.
        """
        self._require_definition()
        params, x = checked_arguments(self, params, x)
        return self.forward(params, x)[0]

    def vjp(self, params: Params, x: Tensor, grad_out: Tensor) -> tuple[Params, Tensor]:
        """The vector-Jacobian product: from ∂ℓ/∂y, shaped like the output, to ∂ℓ/∂params and ∂ℓ/∂x.

        Gradients of the params have their structure, and are summed over the leading dimensions.
        """
        self._require_definition()
        params, x = checked_arguments(self, params, x)
        y, tape = self.forward(params, x)
        checks.like("grad_out", grad_out, "the output", y)
        return self.backward(params, tape, grad_out.detach())

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        """The output, and what `backward` needs; params and inputs are taken to fit."""
        return self.apply(params, x), x

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        """What `vjp` returns, from the tape of `forward`."""
        return self.vjp(params, tape, grad_out)

    def _require_definition(self) -> None:
        if type(self).forward is Layer.forward:
            raise TypeError(f"layer {self!r} defines no functions: give it apply and vjp, or forward and backward")

    def summary(self) -> str:
        """A table of the layers with their output sizes and numbers of parameters, and the total.

        >>> import functional_mlp as fm
        >>> print(fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2)).summary())
        layer          output  parameters
        ---------------------------------
        Linear(2, 25)      25          75
        ReLU()             25           0
        Linear(25, 2)       2          52
        ---------------------------------
        total                         127
        """
        rows = self.summary_rows(self.in_features)
        total = sum(parameters for _, _, parameters in rows)
        cells = [("layer", "output", "parameters")]
        cells += [(label, "" if size is None else str(size), str(count)) for label, size, count in rows]
        cells += [("total", "", str(total))]
        widths = [max(len(row[column]) for row in cells) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in cells]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def summary_rows(self, in_features: int | None) -> list[tuple[str, int | None, int]]:
        """The rows of `summary` for inputs of a given size: label, output size, number of parameters."""
        size = in_features if self.keeps_features else self.out_features
        return [(repr(self), size, count_parameters(template(self, torch.float32)))]


@frozen(repr=False)
class Elementwise(Layer):
    """The base class of layers that apply one function σ to every number: x = σ(s).

    A subclass gives two expressions in the array algebra (see `functional_mlp.algebra`), and that is all:

        value(xp, s)         σ(s)
        derivative(xp, s, y) σ'(s), from the input s, the output y, or both

    The gradient is equation (3) of the paper: ∂ℓ/∂s = ∂ℓ/∂x ⊙ σ'(s). Where that product can be formed better
    than by a multiplication, a subclass overrides `pullback` as well.
    """

    keeps_features: ClassVar[bool] = True

    DERIVED: ClassVar = ("init", "apply", "vjp", "forward", "backward")
    """What this class makes of a subclass's expressions: a subclass that has its own is more than its expressions."""

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        """`()`; raises `ValueError` where a number of the layer is beyond the dtype."""
        params = Layer.init(self, key, dtype=dtype, device=device)
        checks.numbers_in_range(self, working_dtype(dtype))
        return params

    def value(self, xp: Namespace, s: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define value(self, xp, s)")

    def derivative(self, xp: Namespace, s: Array, y: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define derivative(self, xp, s, y)")

    def pullback(self, xp: Namespace, s: Array, y: Array, grad: Array) -> Array:
        return grad * self.derivative(xp, s, y)

    def forward(self, params: Params, x: Tensor) -> tuple[Tensor, Tape]:
        s = widened(x)
        xp = torch_namespace(s.dtype, s.device)
        y = self.value(xp, s)
        return narrowed(y, x.dtype), (xp, s, y)

    def backward(self, params: Params, tape: Tape, grad_out: Tensor) -> tuple[Params, Tensor]:
        xp, s, y = tape
        return (), narrowed(self.pullback(xp, s, y, widened(grad_out)), grad_out.dtype)


@frozen(repr=False)
class Adapted(Layer):
    """An object that is no `Layer` but has the functions `init`, `apply` and `vjp`, as one."""

    layer: Any

    def __repr__(self) -> str:
        return repr(self.layer)

    @property
    def in_features(self) -> int | None:
        return getattr(self.layer, "in_features", None)

    @property
    def out_features(self) -> int | None:
        return getattr(self.layer, "out_features", None)

    def init(self, key: Key, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> Params:
        return self.layer.init(key, dtype=dtype, device=device)

    def apply(self, params: Params, x: Tensor) -> Tensor:
        y: Tensor = self.layer.apply(params, x)
        return y

    def vjp(self, params: Params, x: Tensor, grad_out: Tensor) -> tuple[Params, Tensor]:
        gradients: tuple[Params, Tensor] = self.layer.vjp(params, x, grad_out)
        return gradients


def as_layer(name: str, layer: Any) -> Layer:
    """`layer` as a `Layer`; `TypeError` where it is none and has not its functions."""
    if isinstance(layer, Layer):
        _check_depth(name, layer.nesting_depth)
        checks.hashable(name, layer)
        return layer
    if isinstance(layer, type):
        raise TypeError(f"{name} must be a layer, got the class {layer.__name__}: call it to make a layer")
    if not all(callable(getattr(layer, function, None)) for function in ("init", "apply", "vjp")):
        raise TypeError(
            f"{name} must be a layer, got {checks.describe(layer)}: subclass functional_mlp.Layer, "
            "or give it the functions init, apply and vjp"
        )
    checks.hashable(name, layer)
    return Adapted(layer)


def depth_over(name: str, layers: Iterable[Layer]) -> int:
    """The depth of a layer made of others. Raises `ValueError` where that is more than `MOST_LEVELS`."""
    depth = 1 + max(layer.nesting_depth for layer in layers)
    _check_depth(name, depth)
    return depth


def _check_depth(name: str, depth: int) -> None:
    if depth > MOST_LEVELS:
        raise ValueError(
            f"{name}: layers can be nested at most {MOST_LEVELS} deep, got {depth} levels: "
            "put layers side by side in one Sequential"
        )


def _layers_in(layer: Layer) -> Iterator[Layer]:
    """The layers among the fields of one, alone or in a tuple."""
    for field in attrs.fields(type(layer)):
        value = getattr(layer, field.name)
        yield from (item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Layer))


def check_init_arguments(key: Key, dtype: torch.dtype, device: torch.device | str | None) -> None:
    """Raise unless these are what a layer's `init` takes."""
    random.check_key("init: key", key)
    checks.float_dtype("init: dtype", dtype)
    checks.device("init: device", device)


def checked_arguments(layer: Layer, params: Params, x: Tensor) -> tuple[Params, Tensor]:
    """Params and inputs without autograd graphs, once they are known to fit the layer and each other."""
    checks.float_tensor("inputs", x)
    if x.ndim == 0:
        raise ValueError(
            f"inputs must have a last dimension of features, got a 0-d tensor: {layer!r} takes (..., features)"
        )
    leaves, structure = pytree.flatten(params)
    if not checks.fits((leaves, structure), flat_template(layer, x.dtype), x):
        checks.tree_like("params", params, "the layer's params", template(layer, x.dtype), reference=x)
    if any(leaf.requires_grad for leaf in leaves):
        params = checks.detached(params)
    return params, x.detach()


@functools.lru_cache(maxsize=256)
def template(layer: Layer, dtype: torch.dtype) -> Params:
    """The layer's params as meta tensors: their structure and shapes, without data."""
    return layer.init(random.key(0), dtype=dtype, device="meta")


@functools.lru_cache(maxsize=256)
def flat_template(layer: Layer, dtype: torch.dtype) -> pytree.Flat:
    """The leaves and the structure of the template."""
    return pytree.flatten(template(layer, dtype))


@functools.lru_cache(maxsize=256)
def output_of_zeros(layer: Layer, dtype: torch.dtype, shape: torch.Size) -> Tensor | None:
    """What the layer makes of zeros of a shape, with zeros for params; None where it cannot do with zeros."""
    params = pytree.map(lambda leaf: torch.zeros(leaf.shape, dtype=leaf.dtype, device="cpu"), template(layer, dtype))
    try:
        return layer.forward(params, torch.zeros(shape, dtype=dtype, device="cpu"))[0]
    except Exception:  # a layer of a user's own may do anything
        return None


def count_parameters(params: Params) -> int:
    """The number of numbers in a tree of parameters.

    >>> count_parameters((torch.zeros(3, 2), torch.zeros(3)))
    9
    """
    for path, leaf in pytree.items(params):
        checks.instance(f"params{path}", leaf, Tensor, "pass what a layer's init returned")
    return sum(leaf.numel() for leaf in pytree.leaves(params))
