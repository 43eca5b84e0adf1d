"""Where the numbers of a program lie in memory.

`Layout` gives every parameter its place in one array. Matrices are stored in rows padded to whole vectors, in the
orientation that needs fewer of them:

    input-major    a row an input, the outputs in the lanes      (wide outputs)
    output-major   a row an output, the inputs in the lanes      (a narrow last layer)
"""

from typing import Any

import attrs
import numpy as np
import optree
import torch
from numpy.typing import NDArray
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.engine.program import Affine, Program, affine_steps
from functional_mlp.forks import cached_property


@attrs.frozen
class Matrix:
    """The place of a layer's parameters within an array of all of them: rows of `stride` numbers, then the bias."""

    step: Affine
    input_major: bool
    offset: int
    stride: int
    bias_offset: int
    end: int

    @property
    def rows(self) -> int:
        return self.step.in_features if self.input_major else self.step.out_features

    @property
    def columns(self) -> int:
        return self.step.out_features if self.input_major else self.step.in_features

    def size_transposed(self, lanes: int) -> int:
        """How many numbers the transposed matrix takes, its rows padded as those of matrices are."""
        return self.columns * distance_of_rows(self.rows, lanes)


class Places:
    """The leaves of trees like the params, within one array.

    Numbers are moved by numpy: the threads of torch's would keep the cores busy for some milliseconds after it, in wait
    of more to do, and those that train would wait for a core.
    """

    @cached_property
    def places(self) -> tuple[NDArray[np.int64], ...]:
        """For each leaf, in order and in its shape, where its numbers lie in the array."""
        raise NotImplementedError

    def pack(self, tree: Any, array: Tensor) -> optree.PyTreeSpec:
        """Write the leaves of a tree into an array; returns the tree's structure."""
        leaves, structure = pytree.flatten(tree)
        numbers = array.numpy()
        for place, leaf in zip(self.places, leaves, strict=True):
            numbers[place] = leaf.detach().resolve_neg().numpy()
        return structure

    def are_finite(self, array: Tensor) -> bool:
        """Whether all numbers of the leaves are finite; those of the padding between them are of no account."""
        numbers = array.numpy()
        return all(bool(np.isfinite(numbers[place]).all()) for place in self.places)

    def unpack(self, array: Tensor, structure: optree.PyTreeSpec) -> Any:
        """The tree of a structure that an array holds, in tensors of its own."""
        leaves = [torch.empty(place.shape, dtype=array.dtype, device="cpu") for place in self.places]
        numbers = array.numpy()
        for place, leaf in zip(self.places, leaves, strict=True):
            numbers.take(place, out=leaf.numpy(), mode="clip")  # all places are in it, so nothing is clipped
        return structure.unflatten(leaves)


@attrs.frozen
class Layout(Places):
    """The parameters of a program in one array of `size` numbers, padded with zeros to vectors of `lanes`."""

    lanes: int
    matrices: tuple[Matrix, ...]
    size: int

    @classmethod
    def of(cls, program: Program, lanes: int) -> "Layout":
        matrices = []
        offset = 0
        for step in affine_steps(program.steps):
            by_input = step.in_features * vectors(step.out_features, lanes)
            by_output = step.out_features * vectors(step.in_features, lanes)
            input_major = by_input <= by_output
            rows, columns = (step.in_features, step.out_features)[:: 1 if input_major else -1]
            stride = distance_of_rows(columns, lanes)
            bias_offset = offset + rows * stride
            end = bias_offset + (lanes * vectors(step.out_features, lanes) if step.bias else 0)
            matrices.append(Matrix(step, input_major, offset, stride, bias_offset, end))
            offset = end
        return cls(lanes, tuple(matrices), offset)

    @cached_property
    def places(self) -> tuple[NDArray[np.int64], ...]:
        numbers, places = np.arange(self.size), []
        for matrix in self.matrices:
            rows = numbers[matrix.offset : matrix.bias_offset].reshape(matrix.rows, matrix.stride)[:, : matrix.columns]
            places.append(np.ascontiguousarray(rows.T if matrix.input_major else rows))
            if matrix.step.bias:
                places.append(numbers[matrix.bias_offset : matrix.bias_offset + matrix.step.out_features])
        return tuple(places)


# Rows at a distance of a multiple of 1 KB (in float32) lie on few lines of a cache, and drive each other out of it:
# products of a matrix 1024 wide take 1.3 of the time so, and with two threads an epoch of 784-256-128-10 at batch size
# 32 took 1.03. For a quarter as much, the latter would take 1.1 at batch size 1, for the longer rows. It is the same
# whatever the policy, for programs that are planned by different ones copy their parameters from each other.
CROWDED = 256


def distance_of_rows(features: int, lanes: int) -> int:
    """The numbers from a row of features to the next: whole vectors, and one more where rows would be `CROWDED`."""
    padded = lanes * vectors(features, lanes)
    return padded if padded % CROWDED else padded + lanes


def vectors(features: int, lanes: int) -> int:
    """The number of vectors that hold some features."""
    return -(-features // lanes)
