"""Parameters as scikit-learn lays them out: `coefs_`, one (fan_in, fan_out) a layer, and `intercepts_`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from functional_mlp import pytree
from functional_mlp.arrays import as_tensor
from functional_mlp.layers.base import Params

Arrays = list[NDArray[Any]]


def to_arrays(members: Sequence[Params]) -> tuple[Arrays, Arrays]:
    """`coefs_` and `intercepts_`; those of several members have a leading axis over them.

    >>> import torch, functional_mlp as fm
    >>> params = fm.LinearParams(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0]))
    >>> to_arrays([params])
    ([array([[1.],
           [2.]], dtype=float32)], [array([3.], dtype=float32)])
    """
    coefs: Arrays = []
    intercepts: Arrays = []
    for leaves in zip(*map(pytree.leaves, members), strict=True):
        arrays = [leaf.detach().numpy().T for leaf in leaves]
        array = arrays[0] if len(arrays) == 1 else np.stack(arrays)
        (coefs if _is_weight(leaves[0]) else intercepts).append(array)
    return coefs, intercepts


def to_members(template: Params, coefs: Sequence[Any], intercepts: Sequence[Any], members: int) -> list[Params]:
    """The parameters that arrays hold, each a tree like the template: what `to_arrays` was made of.

    >>> import torch, functional_mlp as fm
    >>> params = [fm.Linear(2, 3).init(key) for key in fm.random.key(0).split(2)]
    >>> fm.pytree.equal(to_members(params[0], *to_arrays(params), members=2), params)
    True
    """

    def member(index: int) -> Params:
        weights, biases = iter(coefs), iter(intercepts)

        def leaf(like: Tensor) -> Tensor:
            array = np.asarray(next(weights if _is_weight(like) else biases))
            own = array if members == 1 else array[index]
            tensor: Tensor = as_tensor("coefs_", own.T).to(like.dtype)
            return tensor

        return pytree.map(leaf, template)

    return [member(index) for index in range(members)]


def _is_weight(leaf: Tensor) -> bool:
    return leaf.ndim >= 2
