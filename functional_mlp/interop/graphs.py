"""ONNX graphs, and the reading of the array algebra that writes them.

A graph is a list of nodes, each an operation on arrays that are known by name. `GraphNamespace` is the array namespace
`xp` whose operations are such nodes, so that an activation in a file is the expression that the reference computes.
ONNX has fewer functions than the algebra:

    expm1(x)  is tanh(x/2) (eˣ + 1), which keeps its digits near 0
    log1p(x)  is log(u) + (x − (u − 1)) / u with u = 1 + x, whose second part is what rounding u has lost
    ndtr(x)   is (1 + erf(x/√2)) / 2 where |x| < 1, and elsewhere the engine's e^(−x²/2) (1 + Q(t)) k / (|x| + c)
    erf(x)    is ONNX's in float32, in which alone onnxruntime has it, and elsewhere what the engine has for ndtr
    gelu(s)   is s (1 + erf(s/√2)) / 2, right to 1e-7, whose lower tail loses its digits: s ndtr(s) takes onnxruntime
              12 times as long
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import torch
from torch import Tensor

from functional_mlp.algebra import torch_namespace
from functional_mlp.compensation import Coefficient
from functional_mlp.engine.llvm import erf_coefficients as coefficients
from functional_mlp.extras import installing
from functional_mlp.operands import Comparison, NotInAlgebraError, Operand

if TYPE_CHECKING:
    import onnx

# From here on e^(−x²/2) is 0.
_NO_TAIL = {"f32": 15.0, "f64": 39.0}

# Of 2021: all that is needed is there, and what reads such files has had time to learn it.
OPSET, IR_VERSION = 17, 8


def import_onnx() -> Any:
    """The package onnx, from the extra of that name."""
    try:
        import onnx
    except ImportError:
        raise ImportError(f"an ONNX model needs onnx: {installing('onnx')}") from None
    return onnx


def onnx_type(dtype: torch.dtype) -> int:
    """ONNX's number of a dtype."""
    proto = import_onnx().TensorProto
    numbers: dict[torch.dtype, int] = {
        torch.float16: proto.FLOAT16,
        torch.float32: proto.FLOAT,
        torch.float64: proto.DOUBLE,
        torch.int64: proto.INT64,
    }
    return numbers[dtype]


class Graph:
    """A graph that grows by a node at a time; arrays are known by name, those of the inputs among them."""

    def __init__(self, inputs: Iterable[str] = ()) -> None:
        self._onnx = import_onnx()
        self._taken = set(inputs)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[float, float, torch.dtype], str] = {}

    def node(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append an operation on some arrays; returns the name of its outcome."""
        name = self.free(f"/{operation}_{len(self._nodes)}") if output is None else output
        self._nodes.append(self._onnx.helper.make_node(operation, inputs, [name], **attributes))
        return name

    def free(self, name: str) -> str:
        """A name, with underscores where it is taken; from now on it is."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def cast(self, array: str, dtype: torch.dtype) -> str:
        return self.node("Cast", array, to=onnx_type(dtype))

    def mean(self, arrays: Sequence[str], dtype: torch.dtype) -> str:
        """The mean of arrays of a dtype; the operation of that name is not there for every dtype in onnxruntime."""
        total = functools.reduce(functools.partial(self.node, "Add"), arrays)
        return self.node("Div", total, self.number(len(arrays), dtype)) if len(arrays) > 1 else total

    def constant(self, value: Tensor, name: str = "constant") -> str:
        """A tensor as an array."""
        name = self.free(f"/{name}_{len(self._constants)}")
        array = value.detach().cpu().contiguous().numpy()
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def names(self, names: Sequence[str] | Sequence[int]) -> tuple[str, int]:
        """An array of words or whole numbers, and ONNX's number of its type."""
        proto, array = self._onnx.TensorProto, self.free(f"/names_{len(self._constants)}")
        kind = proto.STRING if isinstance(names[0], str) else proto.INT64
        values = [name.encode() if isinstance(name, str) else name for name in names]
        self._constants.append(self._onnx.helper.make_tensor(array, kind, [len(names)], values))
        return array, kind

    def number(self, value: float, dtype: torch.dtype) -> str:
        """A number as an array without dimensions, one for all of its uses."""
        known = (value, math.copysign(1, value), dtype)
        if known not in self._known:
            self._known[known] = self.constant(torch.tensor(value, dtype=dtype, device="cpu"), "number")
        return self._known[known]

    def model(
        self, inputs: Sequence["onnx.ValueInfoProto"], outputs: Sequence["onnx.ValueInfoProto"], version: str
    ) -> "onnx.ModelProto":
        """The model that the graph is, made by a version of the library."""
        helper = self._onnx.helper
        made: onnx.ModelProto = helper.make_model(
            helper.make_graph(self._nodes, "network", inputs, outputs, self._constants),
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 2)],
            ir_version=IR_VERSION,
            producer_name="functional_mlp",
            producer_version=version,
        )
        return made


class GraphArray(Operand):
    """An array of a graph, known by its name."""

    xp: "GraphNamespace"
    name: str

    def __init__(self, xp: "GraphNamespace", name: str) -> None:
        self.xp, self.name = xp, name

    @property
    def shape(self) -> tuple[int]:
        raise NotInAlgebraError("only predictions and targets have a shape")


class GraphComparison(Comparison):
    """The outcome of a comparison, known by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


Operands = ParamSpec("Operands")


def _function(
    emit: Callable[Concatenate["GraphNamespace", Operands], GraphArray],
) -> Callable[Concatenate["GraphNamespace", Operands], Any]:
    """A function of the algebra: of numbers alone it is computed at once, as torch does."""

    @functools.wraps(emit)
    def call(xp: "GraphNamespace", /, *operands: Operands.args, **named: Operands.kwargs) -> Any:
        if any(isinstance(operand, GraphArray | GraphComparison) for operand in (*operands, *named.values())):
            return emit(xp, *operands, **named)
        result = getattr(torch_namespace(torch.float64, torch.device("cpu")), emit.__name__)(*operands, **named)
        return result.item() if isinstance(result, Tensor) else result

    return call


class GraphNamespace:
    """The array namespace `xp` whose operations become the nodes of a graph, for arrays of a dtype.

    >>> import functional_mlp as fm
    >>> xp = GraphNamespace(Graph(), torch.float32)
    >>> fm.Tanh().value(xp, xp.array("s")).name
    '/Tanh_0'
    """

    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        self._graph, self._dtype = graph, dtype

    def array(self, name: str) -> GraphArray:
        return GraphArray(self, name)

    def like(self, result: Any, array: str) -> str:
        """The name of what an expression has made of an array, in its shape: of a number as well."""
        if isinstance(result, GraphArray):
            return result.name
        return self._graph.node("Expand", self._name(result), self._graph.node("Shape", array))

    def _emit(self, operation: str, *operands: Any) -> GraphArray:
        return GraphArray(self, self._graph.node(operation, *map(self._name, operands)))

    def _name(self, operand: Any) -> str:
        if isinstance(operand, GraphArray):
            return operand.name
        if isinstance(operand, GraphComparison):
            raise NotInAlgebraError("an expression cannot compute with a comparison: use xp.where")
        try:
            return self._graph.number(float(operand), self._dtype)
        except (TypeError, ValueError):
            raise NotInAlgebraError(f"an expression computes with arrays and numbers, got {operand!r}") from None

    # What the operators of an operand call

    def binary(self, name: str, a: Any, b: Any) -> GraphArray:
        return self._emit({"fadd": "Add", "fsub": "Sub", "fmul": "Mul", "fdiv": "Div"}[name], a, b)

    def compare(self, symbol: str, a: Any, b: Any) -> GraphComparison:
        if symbol == "!=":
            return GraphComparison(self._graph.node("Not", self.compare("==", a, b).name))
        operations = {"<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual", "==": "Equal"}
        return GraphComparison(self._emit(operations[symbol], a, b).name)

    def remainder(self, a: Any, b: Any) -> Any:
        rest = GraphArray(self, self._graph.node("Mod", self._name(a), self._name(b), fmod=1))  # of the sign of a
        return self.where(self.sign(rest) * self.sign(b) < 0, rest + b, rest)

    def power(self, base: Any, exponent: Any) -> GraphArray:
        return self._emit("Pow", base, exponent)

    def exponential(self, base: Any, exponent: Any) -> GraphArray:
        return self._emit("Pow", base, exponent)

    # The functions of the algebra

    @_function
    def abs(self, x: Any) -> GraphArray:
        return self._emit("Abs", x)

    @_function
    def sign(self, x: Any) -> GraphArray:
        return self._emit("Sign", x)

    @_function
    def sqrt(self, x: Any) -> GraphArray:
        return self._emit("Sqrt", x)

    @_function
    def exp(self, x: Any) -> GraphArray:
        return self._emit("Exp", x)

    @_function
    def log(self, x: Any) -> GraphArray:
        return self._emit("Log", x)

    @_function
    def tanh(self, x: Any) -> GraphArray:
        return self._emit("Tanh", x)

    @_function
    def maximum(self, a: Any, b: Any) -> GraphArray:
        return self._emit("Max", a, b)

    @_function
    def minimum(self, a: Any, b: Any) -> GraphArray:
        return self._emit("Min", a, b)

    @_function
    def where(self, condition: Any, if_true: Any, if_false: Any) -> Any:
        if not isinstance(condition, GraphComparison):
            return if_true if condition else if_false
        return GraphArray(self, self._graph.node("Where", condition.name, *map(self._name, (if_true, if_false))))

    @_function
    def expm1(self, x: Any) -> Any:
        return self.tanh(0.5 * x) * (self.exp(x) + 1)

    @_function
    def log1p(self, x: Any) -> Any:
        u = 1 + x
        log = self.log(u)
        lost = (x - (u - 1)) / u
        return self.where(self.abs(log) < math.inf, log + lost, log)

    @_function
    def erf(self, x: Any) -> Any:
        if self._dtype == torch.float32:
            return self._emit("Erf", x)
        sign, tail = self.where(x < 0, -1, 1), self._normal_tail(self.abs(x) * math.sqrt(2))
        return self.where(self.abs(x) < 1, self._erf_near_zero(x), sign * (1 - 2 * tail))

    @_function
    def ndtr(self, x: Any) -> Any:
        tail, near_zero = self._normal_tail(self.abs(x)), 0.5 * (1 + self._erf_near_zero(x * math.sqrt(0.5)))
        return self.where(x <= -1, tail, self.where(x >= 1, 1 - tail, near_zero))

    def _erf_near_zero(self, x: Any) -> Any:
        """x + x P(x²), right where |x| ≤ 1."""
        return x + x * self._polynomial(x * x, coefficients.ERF_OVER_X_LESS_1)

    def _normal_tail(self, x: Any) -> Any:
        """Φ(−x), right from x = 1 on."""
        center = coefficients.CENTER[self._suffix]
        x = self.maximum(1, self.minimum(x, _NO_TAIL[self._suffix]))
        quotient = coefficients.SCALE / (x + center)
        q = self._polynomial((x - center) * quotient, coefficients.SCALED_TAIL_LESS_1)
        return self.exp(-0.5 * x * x) * (quotient + quotient * q)

    def _polynomial(self, x: Any, of_dtypes: dict[str, list[float]]) -> Any:
        """Horner's rule."""
        *lower, last = of_dtypes[self._suffix]
        return functools.reduce(lambda value, coefficient: value * x + coefficient, reversed(lower), last)

    @property
    def _suffix(self) -> str:
        return "f32" if self._dtype == torch.float32 else "f64"

    @_function
    def gelu(self, s: Any) -> Any:
        return s * (0.5 * (1 + self.erf(s * math.sqrt(0.5))))

    @_function
    def gelu_slope(self, s: Any) -> Any:
        return self.ndtr(s) + s * self.exp(-0.5 * s * s) / math.sqrt(2 * math.pi)

    @_function
    def gated(self, s: Any, a: Coefficient, b: Coefficient) -> Any:
        return s * self._gate(s, a, b)

    @_function
    def gated_slope(self, s: Any, a: Coefficient, b: Coefficient) -> Any:
        opened, closed = self._gate(s, a, b), self._gate(-s, a, b)
        return opened + s * opened * closed * (float(a) + 3 * float(b) * s * s)

    def _gate(self, s: Any, a: Coefficient, b: Coefficient) -> Any:
        # onnxruntime's Sigmoid is a fraction that is 0 in the lower tail.
        return 1 / (1 + self.exp(-s * (float(a) + float(b) * s * s) if b else -float(a) * s))

    def sum(self, x: Any) -> GraphArray:
        raise NotInAlgebraError("an activation sees one number at a time: xp.sum is for losses")

    def max(self, x: Any) -> GraphArray:
        raise NotInAlgebraError("an activation sees one number at a time: xp.max is for losses")
