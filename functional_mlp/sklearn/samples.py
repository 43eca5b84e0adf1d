"""The rows that an estimator is given, as a data set of this library."""

import os
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_array

from functional_mlp.arrays import as_tensor
from functional_mlp.datasets import Dataset


@frozen(eq=False)
class Samples:
    """Inputs (n, features), targets as a loss takes them, and weights (n,) or None."""

    inputs: NDArray[Any]
    targets: NDArray[Any]
    weights: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = as_tensor("X", self.inputs[:0]).dtype
        return dtype

    @property
    def mean_weight(self) -> float:
        return 1.0 if self.weights is None else float(self.weights.mean())

    def dataset(self) -> Dataset:
        inputs, targets = as_tensor("X", self.inputs), as_tensor("y", self.targets)
        return Dataset(inputs, targets, as_tensor("sample_weight", self.weights))

    def split(self, held: NDArray[np.bool_]) -> "tuple[Samples, Samples]":
        """The rows that are not held out, and those that are."""
        return self._of(~held), self._of(held)

    def _of(self, rows: NDArray[np.bool_]) -> "Samples":
        return Samples(self.inputs[rows], self.targets[rows], None if self.weights is None else self.weights[rows])


def checked_weights(sample_weight: Any, inputs: NDArray[Any]) -> NDArray[Any] | None:
    """Weights as an array of the inputs' dtype; one number is that of all rows."""
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        return np.full(len(inputs), sample_weight, dtype=inputs.dtype)
    weights: NDArray[Any] = check_array(sample_weight, ensure_2d=False, dtype=inputs.dtype, input_name="sample_weight")
    if weights.shape != (len(inputs),):
        raise ValueError(f"sample_weight must have the shape ({len(inputs)},), one a row of X, got {weights.shape}")
    if not weights.any():
        raise ValueError("sample_weight must not be zero for all rows: leave it out, and all count the same")
    return weights


def dense(rows: Any) -> NDArray[Any]:
    """Rows as an array; `MemoryError` for sparse ones that the machine has no place for."""
    if not sparse.issparse(rows):
        array: NDArray[Any] = rows
        return array
    needed = rows.shape[0] * rows.shape[1] * rows.dtype.itemsize
    if needed > _memory():
        raise MemoryError(
            f"X of shape {rows.shape} takes {needed / 2**30:.1f} GiB when it is made dense, as training needs it, and "
            f"this machine has {_memory() / 2**30:.1f}: pass fewer columns, or rows by partial_fit"
        )
    filled: NDArray[Any] = rows.toarray()
    return filled


def _memory() -> int:
    """The memory of the machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
