"""Arrays of numpy, and frames and series of pandas and polars, as tensors."""

import importlib
import numbers
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.conversions import ARRAY, Conversions, conversions_of, package_of

# What is taken for data: a tensor, an array, or what has numbers in named columns, of which no type is imported here.
Array = Tensor | NDArray[Any] | Any

FRAMES = ("pandas", "polars")

# The dtypes that torch knows as well, in the processor's order of bytes.
PLAIN = frozenset(map(np.dtype, ("float32", "float64", "int64", "int32", "bool")))

# numpy's letters for the kinds of numbers, and the dtypes of polars that hold such.
NUMBERS = "biufc"
OF_POLARS = {*(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)), "Float16", "Float32", "Float64"}

# What makes columns of a series of polars whose values are several.
UNNESTING = {"Struct": ".struct.unnest()", "Array": ".arr.to_struct().struct.unnest()"}


def as_tensor(name: str, value: Any) -> Any:
    """An array, a frame or a series as a tensor, in the same memory where torch can read it there; all else as it is.

    Raises `TypeError` for what does not hold numbers, naming the column, and for a masked array.

    >>> as_tensor("x", np.array([1.0, 2.0]))
    tensor([1., 2.], dtype=torch.float64)
    """
    if type(value) is np.ndarray and value.flags.carray and value.dtype in PLAIN:
        return torch.from_numpy(value)  # what most arrays are, found out at once
    if package_of(value) in FRAMES and hasattr(value, "to_numpy"):
        return _tensor_of(name, value, _numbers_of(name, value))
    return _tensor_of(name, value, value) if isinstance(value, np.ndarray) else value


def as_inputs(name: str, value: Any, params: Any = ()) -> Any:
    """`as_tensor` of what a network takes; an array or a frame must be of a floating dtype, and of that of the params.

    Raises `ValueError` where it is not. What tensors must be, the layers say.
    """
    tensor = as_tensor(name, value)
    if tensor is not value:
        conversions, leaves = conversions_of(value), pytree.leaves(params)
        checks.float_tensor(name, tensor, conversions, leaves[0].dtype if leaves else torch.float32)
        if leaves and tensor.dtype != leaves[0].dtype:
            raise ValueError(
                f"{name} and params must have one dtype, got {tensor.dtype} and {leaves[0].dtype}: "
                f"call {conversions.to(leaves[0].dtype)} on the inputs"
            )
    return tensor


def _numbers_of(name: str, frame: Any) -> NDArray[Any]:
    """The numbers of a frame (n, columns) or of a series (n,), NaN where there is none."""
    columns = _columns(name, frame)
    if all(_is_plain(series) for _, series in columns):
        array: NDArray[Any] = frame.to_numpy()
        if array.dtype != object:
            return array
    arrays = [_column(own_name, series) for own_name, series in columns]
    return arrays[0] if len(frame.shape) == 1 else np.column_stack(arrays)


def _columns(name: str, frame: Any) -> list[tuple[str, Any]]:
    """The series of a frame, or the one that it is, with what messages call them."""
    if len(frame.shape) == 1:
        return [(name, frame)]
    named = frame.items() if hasattr(frame, "items") else ((series.name, series) for series in frame.iter_columns())
    return [(f"{name}: column {label!r}", series) for label, series in named]


def _is_plain(series: Any) -> bool:
    """Whether a series holds numbers of a kind that numpy has as well."""
    return _kind(series) in NUMBERS or str(series.dtype) in OF_POLARS


def _kind(series: Any) -> str:
    """numpy's letter for what a series of pandas holds."""
    return getattr(series.dtype, "kind", "O")


def _column(name: str, series: Any) -> NDArray[Any]:
    """The numbers of a series whose values may be missing, or be Python's."""
    known = _of_polars(name, series) if package_of(series) == "polars" else series
    array: NDArray[Any] = known.to_numpy()
    if array.dtype == object and _kind(series) in NUMBERS:
        array = series.to_numpy(dtype="float64", na_value=np.nan)
    if array.ndim > 1 or array.dtype.kind not in NUMBERS:
        _refuse(name, series, array, series.dtype)
    return array


def _of_polars(name: str, series: Any) -> Any:
    """A series of polars in a dtype that numpy has, if there is one that its numbers have a place in."""
    polars = importlib.import_module("polars")
    if series.dtype == polars.Boolean and series.null_count():
        return series.cast(polars.Float64)
    if str(series.dtype) not in ("Int128", "UInt128"):
        return series
    try:
        return series.cast(polars.Int64)
    except polars.exceptions.InvalidOperationError:
        raise ValueError(
            f"{name} must hold numbers of at most 64 bits, got {series.dtype}: call .cast(polars.Float64)"
        ) from None


def _is_time(dtype: object) -> bool:
    """Whether a dtype of polars holds dates, times of the day or durations."""
    return package_of(dtype) == "polars" and bool(dtype.is_temporal())  # type: ignore[attr-defined]


def _tensor_of(name: str, value: object, array: NDArray[Any]) -> Tensor:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must have all its values, got a masked array: call .filled(value), or leave rows out")
    if array.dtype.kind not in NUMBERS:
        _refuse(name, value, array, array.dtype)
    kind = array.dtype.newbyteorder("=")
    if kind != array.dtype or not all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides):
        array = np.array(array, dtype=kind, order="C")
    try:
        return torch.from_numpy(array) if array.flags.writeable else _of_read_only(array)
    except TypeError:
        _refuse(name, value, array, array.dtype)


def _refuse(name: str, value: object, array: NDArray[Any], dtype: object) -> NoReturn:
    """Raise for data of a dtype that torch has not, with the call that makes numbers of what is in the array."""
    raise TypeError(
        f"{name} must hold numbers that torch knows, got {dtype}: {_advice(conversions_of(value), array, dtype)}"
    )


def _advice(conversions: Conversions, array: NDArray[Any], dtype: object) -> str:
    kind = "M" if _is_time(dtype) else getattr(dtype, "kind", array.dtype.kind)
    values = array.ravel().tolist() if kind == "O" else []
    known = [each for each in values if not (each is None or isinstance(each, float))]
    whole_tables = "functional_mlp.tables.read_table prepares whole tables"
    unnesting = UNNESTING.get(str(dtype).partition("(")[0])
    if unnesting:
        return f"{unnesting} makes columns of it"
    if kind in "mM":
        return f"{conversions.times} makes numbers of dates, {whole_tables}"
    if kind in "SUT" or any(isinstance(each, str) for each in known):
        rest = "leave out the rows without a word, then " if conversions is ARRAY and len(known) < len(values) else ""
        return f"{rest}{conversions.classes} numbers words, {whole_tables}"
    are_numbers = kind == "O" and all(isinstance(each, numbers.Real | Decimal) for each in known)
    if are_numbers or kind in NUMBERS or np.can_cast(array.dtype, np.float64):  # as bfloat16 of ml_dtypes can
        return f"call {conversions.to(torch.float64)}"
    return "leave it out"


def _of_read_only(array: NDArray[Any]) -> Tensor:
    """An array that must not be written to, as pandas gives them: `from_numpy` warns of those."""
    try:
        return torch.utils.dlpack.from_dlpack(array)
    except (BufferError, RuntimeError, ValueError):  # before numpy 2.1, and for dtypes that DLPack has not
        return torch.from_numpy(array.copy())
