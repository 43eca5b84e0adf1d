"""Networks as ONNX models: files that other programs and languages can run."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

import functional_mlp
from functional_mlp import checks
from functional_mlp.algebra import working_dtype
from functional_mlp.files import write_atomically
from functional_mlp.interop.graphs import Graph, GraphNamespace, import_onnx, onnx_type
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import params_dtype
from functional_mlp.layers.base import Layer, Params
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear, LinearParams
from functional_mlp.operands import not_in_algebra
from functional_mlp.value import replaced

# Beyond it a model no longer fits into one file of the format.
MOST_BYTES = 2**31 - 1


def to_onnx(
    path: str | os.PathLike[str],
    network: Layer,
    params: Params,
    *,
    classes: Sequence[str] | Sequence[int] | None = None,
) -> None:
    """Write a network as an ONNX model, for onnxruntime and whatever else runs such files; needs the extra `onnx`.

    The model takes `inputs` (n, in_features), for any n and in the dtype of the params, and gives `outputs`
    (n, out_features). Every activation is written operation by operation as its `value` has it. Results agree with
    `predict` up to rounding, to 1e-6 of the numbers' size in float32, where a runtime keeps to the standard.

    Parameters
    ----------
    path
        The file, which is written whole or not at all.
    network, params
        What is written: layers of this library, and `Elementwise` ones of your own.
    classes
        The names of the classes, in order. The model then gives the `label` (n,) of each row and the `probabilities`
        (n, classes), which are the softmax of the outputs; with one output and two classes, the sigmoid of the output
        is the probability of the second.

    Raises `TypeError` or `ValueError` for params that are not the network's, for bfloat16, which onnxruntime does not
    compute with, for classes that are not as many as the outputs, and for a layer that is not written in the array
    algebra; `ImportError` where onnx is not installed, and `OSError` where the file cannot be written.

    >>> import onnxruntime, tempfile, functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.GELU(), fm.Linear(3, 2))
    >>> params = network.init(fm.random.key(0))
    >>> path = f"{tempfile.mkdtemp()}/model.onnx"
    >>> to_onnx(path, network, params, classes=["outside", "inside"])
    >>> label, probabilities = onnxruntime.InferenceSession(path).run(None, {"inputs": torch.zeros(4, 2).numpy()})
    >>> label.tolist(), probabilities.shape
    (['outside', 'outside', 'outside', 'outside'], (4, 2))
    """
    network = as_layer("to_onnx: network", network)
    dtype = params_dtype(network, params)
    if dtype == torch.bfloat16:
        raise ValueError(
            "to_onnx: params must be float16, float32 or float64, got bfloat16, which onnxruntime does not compute "
            "with: convert them with functional_mlp.pytree.map(lambda leaf: leaf.float(), params)"
        )
    graph, make_info = Graph(), import_onnx().helper.make_tensor_value_info
    inputs = [make_info("inputs", onnx_type(dtype), ["n", network.in_features])]
    outputs = _Network(graph, dtype).outputs(network, params, "inputs")
    if classes is None:
        graph.node("Identity", outputs, output="outputs")
        results = [make_info("outputs", onnx_type(dtype), ["n", network.out_features])]
    else:
        names, wide = _checked_classes(classes, network.out_features), working_dtype(dtype)
        label_type = _classify(graph, graph.cast(outputs, wide), network.out_features == 1, names)
        results = [
            make_info("label", label_type, ["n"]),
            make_info("probabilities", onnx_type(wide), ["n", len(names)]),
        ]
    model = graph.model(inputs, results, functional_mlp.__version__)
    if model.ByteSize() > MOST_BYTES:
        raise ValueError(f"to_onnx: an ONNX file holds at most 2 GB, got params of {model.ByteSize() / 1e9:.1f} GB")
    write_atomically(Path(path), model.SerializeToString())


class _Network:
    """The layers of a network as nodes of a graph, in a dtype."""

    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        self._graph, self._dtype = graph, dtype

    def outputs(self, layer: Layer, params: Params, x: str) -> str:
        """The name of what a layer makes of an array."""
        if type(layer) is Sequential:
            for inner, inner_params in zip(layer, params, strict=True):
                x = self.outputs(inner, inner_params, x)
            return x
        if type(layer) is Residual:
            return self._graph.node("Add", x, self.outputs(layer.layer, params, x))
        if type(layer) is Linear:
            return self._linear(params, x)
        if isinstance(layer, Elementwise):
            return self._elementwise(layer, x)
        raise ValueError(
            f"to_onnx: {layer!r} is neither Linear, Elementwise, Sequential nor Residual, and only layers that are "
            "written in the array algebra can be read: torch.onnx.export may export interop.to_torch(network, params)"
        )

    def _linear(self, params: LinearParams, x: str) -> str:
        constants = [self._graph.constant(params.weight, "weight")]
        if params.bias is not None:
            constants.append(self._graph.constant(params.bias, "bias"))
        return self._graph.node("Gemm", x, *constants, transB=1)

    def _elementwise(self, layer: Elementwise, x: str) -> str:
        for name in replaced(layer, Elementwise, Elementwise.DERIVED):
            raise ValueError(f"to_onnx: {layer!r} defines {name} itself, and what is exported is its value alone")
        wide = working_dtype(self._dtype)
        s = self._graph.cast(x, wide) if wide != self._dtype else x
        xp = GraphNamespace(self._graph, wide)
        try:
            y = xp.like(layer.value(xp, xp.array(s)), s)
        except Exception as error:  # whatever an expression of a user's does with arrays that it does not expect
            raise ValueError(f"to_onnx: {not_in_algebra(layer, error)}") from error
        return self._graph.cast(y, self._dtype) if wide != self._dtype else y


def _checked_classes(classes: Sequence[str] | Sequence[int], out_features: int | None) -> list[str] | list[int]:
    """The names of the classes, once they are as many as the outputs say."""
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise TypeError(f"to_onnx: classes must be a sequence of names, got {checks.describe(classes)}")
    wanted = 2 if out_features == 1 else out_features
    if len(classes) != wanted:
        raise ValueError(f"to_onnx: classes must be {wanted} for {out_features} outputs, got {len(classes)}")
    if all(isinstance(name, str) for name in classes):
        return [str(name) for name in classes]
    return [checks.any_integer("to_onnx: each of classes", name, "a str, or all of them an int") for name in classes]


def _classify(graph: Graph, outputs: str, one_output: bool, classes: list[str] | list[int]) -> int:
    """Append `label` and `probabilities`; returns ONNX's number of the type of labels."""
    if one_output:
        scores = graph.node("Concat", graph.node("Neg", outputs), outputs, axis=1)
        graph.node("Sigmoid", scores, output="probabilities")
    else:
        scores = outputs
        graph.node("Softmax", scores, output="probabilities", axis=1)
    names, label_type = graph.names(classes)
    graph.node("Gather", names, graph.node("ArgMax", scores, axis=1, keepdims=0), output="label")
    return label_type
