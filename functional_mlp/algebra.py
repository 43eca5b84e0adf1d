"""The array algebra: activations, losses and optimizer steps are written in it once.

An expression is a pure function of an array namespace `xp` and of arrays. It may use the operators
`+ - * / **` and `abs`, comparisons between arrays and numbers, and the functions of `Namespace` below. What reads the
expression chooses the namespace: with `TorchNamespace` each operation is a torch operation; the fused engine
reads the same expression with a namespace whose operations emit vector instructions.

Four rules keep an expression readable by both:

- It does not branch on the value of an array: `xp.where(s > 0, a, b)` instead of `if`.
- It does not index, reshape or write to an array.
- A number takes the dtype of the array beside it.
- NaN propagates through every function; `xp.maximum(s, 0)` keeps it, `xp.where(s > 0, s, 0)` loses it.

Arrays of float16 and bfloat16 are widened to float32 before an expression is read, and what comes out is rounded once:
a sum over the features does not overflow, and a small ε is not 0.

`xp.gated(s, a, b)` is s σ(a s + b s³): a number times a gate that opens as the number grows, as in SiLU and in GELU's
approximation. `xp.gelu(s)` is s Φ(s), and `xp.gated_slope(s, a, b)` and `xp.gelu_slope(s)` are the derivatives. Plain
formulas lose digits of all four in the lower tail, and of the derivatives near their zeros. The fused engine keeps
them. So do torch operations, but for the derivatives of float64: these lose up to 10 of 53 binary digits in the tail,
and near their zeros, at s = −1.28 for SiLU and −0.75 for GELU, have an absolute error of about 1e-16, which is that of
numbers of size 1. A graph for ONNX has the plain formulas.

**An activation of your own** gives its value and its derivative, from its input `s` and its output `y`:

>>> import functional_mlp as fm
>>> class Softsign(fm.Elementwise):
...     '''y = s / (1 + |s|), y' = 1 / (1 + |s|)².'''
...
...     def value(self, xp, s):
...         return s / (1 + xp.abs(s))
...
...     def derivative(self, xp, s, y):
...         return 1 / (1 + xp.abs(s)) ** 2
>>> Softsign().apply((), torch.tensor([1.0, -3.0]))
tensor([ 0.5000, -0.7500])

**An optimizer of your own** gives the rule for one array of parameters, and names in a state class what the
rule remembers between steps (each starts as zeros of the parameters' shape):

>>> @fm.pytree.node
... @attrs.frozen(eq=False)
... class SignMomentumState(fm.OptimizerState):
...     velocity: object
>>> @attrs.frozen(repr=False)
... class SignMomentum(fm.Optimizer):
...     '''V ← βV + (1−β)g, w ← w − η sign(V).'''
...     beta: float = 0.9
...     State = SignMomentumState
...
...     def rule(self, xp, step, learning_rate, param, grad, velocity):
...         velocity = self.beta * velocity + (1 - self.beta) * grad
...         return param - learning_rate * xp.sign(velocity), velocity
>>> optimizer = SignMomentum(0.1)
>>> state = optimizer.init((torch.tensor([1.0, 1.0]),))
>>> optimizer.update(state, (torch.tensor([3.0, -0.5]),)).params
(tensor([0.9000, 1.1000]),)

A loss of your own is written the same way: see `functional_mlp.losses.Loss`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import attrs
import torch
from torch import Tensor

from functional_mlp import gates
from functional_mlp.compensation import Coefficient
from functional_mlp.usual import kept

# An array of whatever interpretation reads the expression, or a number.
Array = Any
Condition = Any


class Namespace(Protocol):
    """The functions that an expression may use; the arguments are arrays or numbers."""

    def where(self, condition: Condition, if_true: Array, if_false: Array) -> Array:
        """Elementwise choice."""

    def maximum(self, a: Array, b: Array) -> Array:
        """The larger of two; NaN where either is NaN."""

    def minimum(self, a: Array, b: Array) -> Array:
        """The smaller of two; NaN where either is NaN."""

    def abs(self, x: Array) -> Array:
        """|x|."""

    def sign(self, x: Array) -> Array:
        """−1, 0 or 1; NaN for NaN."""

    def sqrt(self, x: Array) -> Array:
        """√x."""

    def exp(self, x: Array) -> Array:
        """eˣ."""

    def expm1(self, x: Array) -> Array:
        """eˣ − 1, exact near 0."""

    def log(self, x: Array) -> Array:
        """The natural logarithm."""

    def log1p(self, x: Array) -> Array:
        """log(1 + x), exact near 0."""

    def tanh(self, x: Array) -> Array:
        """The hyperbolic tangent."""

    def erf(self, x: Array) -> Array:
        """The error function, 2/√π ∫₀ˣ exp(−t²) dt."""

    def ndtr(self, x: Array) -> Array:
        """Φ(x) = 1/√(2π) ∫₋∞ˣ exp(−t²/2) dt, the normal distribution function; small values keep their digits."""

    def gated(self, s: Array, a: Coefficient, b: Coefficient) -> Array:
        """s σ(v) with v = a s + b s³ and σ(v) = 1 / (1 + e⁻ᵛ).

        `a` and `b` are numbers, not arrays. The fused engine takes those from 1e-6 to 1e6, of which one may be 0; torch
        operations take any.
        """

    def gated_slope(self, s: Array, a: Coefficient, b: Coefficient) -> Array:
        """The derivative of `gated` by s: σ(v) + s σ'(v) (a + 3 b s²)."""

    def gelu(self, s: Array) -> Array:
        """s Φ(s)."""

    def gelu_slope(self, s: Array) -> Array:
        """The derivative of `gelu`: Φ(s) + s Φ'(s)."""

    def sum(self, x: Array) -> Array:
        """The sum over the features, kept as one feature; for losses."""

    def max(self, x: Array) -> Array:
        """The largest over the features, kept as one feature, NaN where any is; for losses."""


def no_function(name: str) -> AttributeError:
    """What to say where an expression asks for a function that the algebra has not.

    >>> print(no_function("sin"))  # doctest: +ELLIPSIS
    the array algebra has no function 'sin': it has operators, abs, erf, exp, expm1, gated, ..., tanh and where
    """
    *names, last = sorted(known for known in vars(Namespace) if not known.startswith("_"))
    return AttributeError(
        f"the array algebra has no function {name!r}: it has operators, {', '.join(names)} and {last}"
    )


def _apply(function: Callable[[Tensor], Tensor], x: Array) -> Array:
    """A function of an array, or of a number."""
    return function(x) if isinstance(x, Tensor) else function(torch.tensor(x, dtype=torch.float64, device="cpu")).item()


_Unary = Callable[["TorchNamespace", Array], Array]


def _unary(function: Callable[[Tensor], Tensor]) -> _Unary:
    return lambda self, x: _apply(function, x)


@attrs.frozen
class TorchNamespace:
    """The torch reading of the algebra, for arrays of one dtype and device.

    >>> xp = TorchNamespace(torch.float32, torch.device("cpu"))
    >>> xp.maximum(torch.tensor([-1.0, float("nan"), 2.0]), 0)
    tensor([0., nan, 2.])
    """

    dtype: torch.dtype
    device: torch.device

    abs: ClassVar[_Unary] = _unary(torch.abs)
    sqrt: ClassVar[_Unary] = _unary(torch.sqrt)
    exp: ClassVar[_Unary] = _unary(torch.exp)
    expm1: ClassVar[_Unary] = _unary(torch.expm1)
    log: ClassVar[_Unary] = _unary(torch.log)
    log1p: ClassVar[_Unary] = _unary(torch.log1p)
    tanh: ClassVar[_Unary] = _unary(torch.tanh)
    erf: ClassVar[_Unary] = _unary(torch.erf)
    ndtr: ClassVar[_Unary] = _unary(gates.ndtr)
    gelu: ClassVar[_Unary] = _unary(gates.gelu)
    gelu_slope: ClassVar[_Unary] = _unary(gates.gelu_slope)

    def __getattr__(self, name: str) -> Any:
        raise no_function(name)

    def gated(self, s: Array, a: Coefficient, b: Coefficient) -> Array:
        return _apply(lambda array: gates.gated(array, a, b), s)

    def gated_slope(self, s: Array, a: Coefficient, b: Coefficient) -> Array:
        return _apply(lambda array: gates.gated_slope(array, a, b), s)

    def where(self, condition: Condition, if_true: Array, if_false: Array) -> Array:
        if isinstance(condition, bool):
            chosen, other = (if_true, if_false) if condition else (if_false, if_true)
            return torch.full_like(other, chosen) if _is_number_beside(chosen, other) else chosen
        return torch.where(condition, self._array(if_true), self._array(if_false))

    def maximum(self, a: Array, b: Array) -> Array:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.maximum(a, b)
        array, number = (a, b) if isinstance(a, Tensor) else (b, a)
        if not isinstance(array, Tensor):
            return a if a > b or a != a else b  # unlike Python's max, NaN for a NaN in either place
        return torch.clamp_min(array, number)

    def minimum(self, a: Array, b: Array) -> Array:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.minimum(a, b)
        array, number = (a, b) if isinstance(a, Tensor) else (b, a)
        if not isinstance(array, Tensor):
            return a if a < b or a != a else b
        return torch.clamp_max(array, number)

    def sign(self, x: Array) -> Array:
        if not isinstance(x, Tensor):
            return (x > 0) - (x < 0) if x == x else x
        return torch.where(torch.isnan(x), x, torch.sign(x))

    def sum(self, x: Array) -> Array:
        return x.sum(-1, keepdim=True)

    def max(self, x: Array) -> Array:
        return x.amax(-1, keepdim=True)

    def _array(self, x: Array) -> Tensor:
        return x if isinstance(x, Tensor) else scalar(x, self.dtype, self.device)


def _is_number_beside(a: Array, b: Array) -> bool:
    return isinstance(b, Tensor) and not isinstance(a, Tensor)


def scalar(number: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a 0-d tensor, made once, for torch makes one each time that it finds a number beside a tensor.

    >>> scalar(0.5, torch.float32, torch.device("cpu"))
    tensor(0.5000)
    """
    return _scalar(number, math.copysign(1, number), dtype, device)


@kept(256)
def _scalar(number: float, sign: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(number, dtype=dtype, device=device)  # the sign tells 0 from −0


_HALF = frozenset([torch.float16, torch.bfloat16])


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which expressions of arrays of a dtype are read: float32 for half precision.

    >>> working_dtype(torch.float16), working_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in _HALF else dtype


def widened(array: Tensor) -> Tensor:
    """The array in its working dtype."""
    return array.float() if array.dtype in _HALF else array


def narrowed(array: Tensor, dtype: torch.dtype) -> Tensor:
    """What an expression made of arrays of a dtype that were widened for it, in that dtype again."""
    return array.to(dtype) if dtype in _HALF and array.dtype == torch.float32 else array


# In a `with` of it torch does not ask of each operation whether it belongs to a graph of its autograd: that is a
# fourteenth of a small network's step. No tensor that is met there may have such a graph, and it is for where
# `usual.is_usual()`: forward-mode differentiation is asked for there too.
below_autograd = torch._C._AutoDispatchBelowAutograd


@functools.lru_cache(maxsize=64)
def torch_namespace(dtype: torch.dtype, device: torch.device) -> TorchNamespace:
    """The torch reading for arrays of a dtype and device."""
    return TorchNamespace(dtype, device)
