"""Networks as ONNX models: files that other programs and languages can run."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

import functional_mlp
from functional_mlp import checks
from functional_mlp.algebra import working_dtype
from functional_mlp.calling import not_in_algebra
from functional_mlp.files import PathLike, write_atomically
from functional_mlp.interop.answers import Answers, checked_classes
from functional_mlp.interop.columns import column_inputs, prepared
from functional_mlp.interop.graphs import Graph, GraphNamespace, import_onnx, onnx_type
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import params_dtype
from functional_mlp.layers.base import Layer, Params
from functional_mlp.layers.combinators import Residual, Sequential
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.layers.linear import Linear, LinearParams
from functional_mlp.losses import Loss
from functional_mlp.tables import Preparation, Scale
from functional_mlp.value import replaced

# Beyond it a model no longer fits into one file of the format.
MOST_BYTES = 2**31 - 1


def to_onnx(
    path: PathLike,
    network: Layer,
    params: Params,
    *,
    preparation: Preparation | None = None,
    classes: Iterable[str] | Iterable[int] | None = None,
    loss: Loss | None = None,
    scale: Scale | None = None,
) -> None:
    """Write a network as an ONNX model, for onnxruntime and whatever else runs such files; needs the extra `onnx`.

    The model takes `inputs` (n, in_features), for any n and in the dtype of the params, and gives `outputs`
    (n, out_features). Every activation is written operation by operation as its `value` has it. Results agree with
    `predict` up to rounding, to 1e-6 of the numbers' size in float32, where a runtime keeps to the standard.

    Parameters
    ----------
    path
        The file, which is written whole or not at all.
    network
        What is written: layers of this library, and `Elementwise` ones of your own.
    params
        Its parameters, in float32, float64 or float16.
    preparation
        A `tables.Preparation`. The model then takes the raw columns by their names, each (n,), and prepares them:
        numbers as float64, NaN where one is missing; words as strings, "" where one is missing; dates as the
        milliseconds since 1970, float64, NaN where one is missing.
    classes
        The names of the classes, in order. The model then gives the `label` (n,) of each row and the `probabilities`
        (n, classes).
    loss
        What the network has learned with, by which probabilities follow from the outputs: their softmax for
        `CrossEntropy` and where this is left out; the sigmoid of a single output, for the second of two classes;
        else the outputs themselves, or for `BinaryCrossEntropy` their sigmoids, made to lie between 0 and 1 with the
        sum 1.
    scale
        The `tables.Scale` of a quantity that was learned. The model then gives the `quantity` (n,) in its units.

    Where a column has the name of what the model gives, that gets an underscore. Raises `TypeError` or `ValueError` for
    params that are not the network's, for bfloat16, which onnxruntime does not compute with, for a preparation or
    classes whose number is not that of the network's features or outputs, and for a layer that is not written in the
    array algebra; `ImportError` where onnx is not installed, and `OSError` where the file cannot be written.

    >>> import onnxruntime, tempfile, functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 3), fm.GELU(), fm.Linear(3, 2))
    >>> params = network.init(fm.random.key(0))
    >>> path = f"{tempfile.mkdtemp()}/model.onnx"
    >>> to_onnx(path, network, params, classes=["outside", "inside"])
    >>> label, probabilities = onnxruntime.InferenceSession(path).run(None, {"inputs": torch.zeros(4, 2).numpy()})
    >>> label.tolist(), probabilities.shape
    (['outside', 'outside', 'outside', 'outside'], (4, 2))
    """
    write_model(path, network, [params], preparation=preparation, classes=classes, loss=loss, scale=scale)


def write_model(
    path: PathLike,
    network: Layer,
    members: Sequence[Params],
    *,
    preparation: Preparation | None,
    classes: Iterable[str] | Iterable[int] | None,
    loss: Loss | None,
    scale: Scale | None,
) -> None:
    """`to_onnx` for the mean answer of several networks of one kind; without classes or a scale, of their outputs.

    Parameters
    ----------
    path
        The file, which is written whole or not at all.
    network
        What is written.
    members
        The params of each network.
    preparation
        What makes the features from raw columns, as `to_onnx` takes it.
    classes
        The names of the classes, in order; None for no labels.
    loss
        What the network has learned with, by which probabilities follow from outputs.
    scale
        That of a quantity that was learned; None for none.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"to_onnx: path must be a str or a path, got {checks.describe(path)}")
    network = as_layer("to_onnx: network", network)
    dtypes = [params_dtype(network, params) for params in members]
    dtype = dtypes[0]
    if dtype == torch.bfloat16:
        raise ValueError(
            "to_onnx: params must be float16, float32 or float64, got bfloat16, which onnxruntime does not compute "
            "with: convert them with functional_mlp.pytree.map(lambda leaf: leaf.float(), params)"
        )
    _check_ends(network, preparation, classes, loss, scale)
    make_info = import_onnx().helper.make_tensor_value_info
    if preparation is None:
        inputs = [make_info("inputs", onnx_type(dtype), ["n", network.in_features])]
    else:
        inputs = column_inputs(preparation)
    graph = Graph(each.name for each in inputs)
    x = "inputs" if preparation is None else prepared(graph, preparation, dtype)
    outputs = [_Network(graph, dtype).outputs(network, params, x) for params in members]
    wide = working_dtype(dtype)
    if classes is not None:
        names, into = (
            checked_classes(classes, network.out_features),
            (graph.free("label"), graph.free("probabilities")),
        )
        kind = Answers(graph, wide, loss).classes(
            [graph.cast(each, wide) for each in outputs], network.out_features == 1, names, into
        )
        results = [make_info(into[0], kind, ["n"]), make_info(into[1], onnx_type(wide), ["n", len(names)])]
    elif scale is not None:
        quantity = graph.free("quantity")
        Answers(graph, wide, loss).quantity(outputs, scale, quantity)
        results = [make_info(quantity, onnx_type(torch.float64), ["n"])]
    else:
        result = graph.free("outputs")
        graph.node("Identity", graph.mean(outputs, dtype), output=result)
        results = [make_info(result, onnx_type(dtype), ["n", network.out_features])]
    model = graph.model(inputs, results, functional_mlp.__version__)
    if model.ByteSize() > MOST_BYTES:
        raise ValueError(f"to_onnx: an ONNX file holds at most 2 GB, got params of {model.ByteSize() / 1e9:.1f} GB")
    write_atomically(Path(path), model.SerializeToString())


def _check_ends(network: Layer, preparation: object, classes: object, loss: object, scale: object) -> None:
    """Raise unless what stands before and after a network fits it."""
    if loss is not None:
        checks.instance("to_onnx: loss", loss, Loss, "pass that of the training, functional_mlp.CrossEntropy() say")
    if preparation is not None:
        checks.instance("to_onnx: preparation", preparation, Preparation, "pass that of a table's parts")
        assert isinstance(preparation, Preparation)
        if len(preparation.features) != network.in_features:
            raise ValueError(
                f"to_onnx: preparation makes {len(preparation.features)} features, and the network takes "
                f"{network.in_features}: pass that of the table it has learned from"
            )
        if "" in preparation.columns:
            raise ValueError(
                "to_onnx: preparation has a column whose name is empty, which no input of a model can have"
            )
    if scale is not None:
        checks.instance("to_onnx: scale", scale, Scale, "pass that of the table's target")
        if classes is not None:
            raise ValueError("to_onnx: classes and scale are both given: a network tells classes or a quantity")
        if network.out_features != 1:
            raise ValueError(f"to_onnx: scale is for one output, and the network has {network.out_features}")


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
