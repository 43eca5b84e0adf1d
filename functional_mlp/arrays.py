"""numpy's arrays as tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What is taken for data.
Array = Tensor | NDArray[Any]


def as_tensor(name: str, value: Any) -> Any:
    """A numpy array as a tensor, in the same memory where torch can read and write it there; all else as it is.

    Raises `TypeError` for an array that does not hold numbers, and for a masked one.

    >>> as_tensor("x", np.array([1.0, 2.0]))
    tensor([1., 2.], dtype=torch.float64)
    """
    if not isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must have all its values, got a masked array: call .filled(value), or leave rows out")
    kind = value.dtype.newbyteorder("=")
    strides_fit = all(stride >= 0 and stride % value.itemsize == 0 for stride in value.strides)
    if kind != value.dtype or not strides_fit or not value.flags.writeable:
        value = np.array(value, dtype=kind, order="C")
    try:
        return torch.from_numpy(value)
    except TypeError as error:
        raise TypeError(
            f"{name} must hold numbers that torch knows, got an array of {value.dtype}: call .astype('float64')"
        ) from error
