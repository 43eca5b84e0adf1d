"""Arrays of numpy, and frames and series of pandas and polars, as tensors."""

from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What is taken for data: a tensor, an array, or what has numbers in named columns, of which no type is imported here.
Array = Tensor | NDArray[Any] | Any

FRAMES = ("pandas", "polars")

# The dtypes that torch knows as well, in the processor's order of bytes.
PLAIN = frozenset(map(np.dtype, ("float32", "float64", "int64", "int32", "bool")))


def as_tensor(name: str, value: Any) -> Any:
    """An array, a frame or a series as a tensor, in the same memory where torch can read it there; all else as it is.

    Raises `TypeError` for what does not hold numbers, naming the column, and for a masked array.

    >>> as_tensor("x", np.array([1.0, 2.0]))
    tensor([1., 2.], dtype=torch.float64)
    """
    if type(value) is np.ndarray and value.flags.carray and value.dtype in PLAIN:
        return torch.from_numpy(value)  # what most arrays are, found out at once
    if _is_frame(value):
        return _tensor_of(name, value, _numbers_of(name, value))
    return _tensor_of(name, value, value) if isinstance(value, np.ndarray) else value


def as_inputs(name: str, value: Any) -> Any:
    """`as_tensor` of what a network takes; raises `ValueError` for an array or a frame of whole numbers as well."""
    tensor = as_tensor(name, value)
    if tensor is not value and not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(
            f"{name} must be of a floating dtype, got {tensor.dtype}: call {calls_of(value).to(torch.float32)}"
        )
    return tensor


@attrs.frozen
class Calls:
    """The calls that convert data, for messages: to another dtype, to class indices, to one column of values."""

    cast: str
    classes: str
    column: str

    def to(self, dtype: torch.dtype) -> str:
        name = str(dtype).removeprefix("torch.")
        return self.cast.format(name=name, Name=name.capitalize())


def calls_of(value: object) -> Calls:
    """The calls for data of the kind of a value.

    >>> calls_of(np.zeros(2)).to(torch.float32)
    ".astype('float32')"
    """
    if isinstance(value, Tensor):
        return Calls(".to(torch.{name})", ".long()", ".unsqueeze(1)")
    if _package(value) == "polars":
        return Calls(".cast(polars.{Name})", ".cast(polars.Int64)", ".to_frame()")
    column = ".to_frame()" if _package(value) == "pandas" else ".reshape(-1, 1)"
    return Calls(".astype('{name}')", ".astype('int64')", column)


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _is_frame(value: object) -> bool:
    return _package(value) in FRAMES and hasattr(value, "to_numpy")


def _numbers_of(name: str, frame: Any) -> NDArray[Any]:
    """The numbers of a frame (n, columns) or of a series (n,), NaN where there is none."""
    array: NDArray[Any] = frame.to_numpy()
    if array.dtype != object:
        return array
    if array.ndim == 1:
        return _column(name, frame)
    return np.column_stack([_column(f"{name}: column {column!r}", frame[column]) for column in frame.columns])


def _column(name: str, series: Any) -> NDArray[Any]:
    """The numbers of a series whose values may be missing, or be Python's."""
    if getattr(series.dtype, "kind", "O") in "biuf":
        numbers: NDArray[Any] = series.to_numpy(dtype="float64", na_value=np.nan)
        return numbers
    array: NDArray[Any] = series.to_numpy()
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold numbers, got {series.dtype}: leave it out, or turn words into numbers, as "
            "functional_mlp.tables.read_table does"
        )
    return array


def _tensor_of(name: str, value: object, array: NDArray[Any]) -> Tensor:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must have all its values, got a masked array: call .filled(value), or leave rows out")
    kind = array.dtype.newbyteorder("=")
    if kind != array.dtype or not all(stride >= 0 and stride % array.itemsize == 0 for stride in array.strides):
        array = np.array(array, dtype=kind, order="C")
    try:
        return torch.from_numpy(array) if array.flags.writeable else _of_read_only(array)
    except TypeError as error:
        words = array.dtype.kind in "OSU"
        advice = "numpy.unique(words, return_inverse=True)[1] numbers them" if words else "call .astype('float64')"
        message = f"{name} must hold numbers that torch knows, got an array of {array.dtype}: {advice}"
        raise TypeError(message) from error


def _of_read_only(array: NDArray[Any]) -> Tensor:
    """An array that must not be written to, as pandas gives them: `from_numpy` warns of those."""
    try:
        return torch.utils.dlpack.from_dlpack(array)
    except (BufferError, RuntimeError, ValueError):  # before numpy 2.1, and for dtypes that DLPack has not
        return torch.from_numpy(array.copy())
