"""A device without float64, such as Apple's: numbers become float64 after they have left it."""

from typing import Any

import pytest
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.plotting import decision_boundary
from tests.helpers import KEY

LEAVING = {Tensor.cpu, Tensor.numpy}


class OnDevice(Tensor):
    """A tensor of the CPU that stands for one of a device without float64."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if func in LEAVING:
            return result.as_subclass(Tensor) if isinstance(result, Tensor) else result
        if any(isinstance(leaf, OnDevice) and leaf.dtype == torch.float64 for leaf in pytree.leaves(result)):
            raise TypeError("the device has no float64")
        return result


def on_device(tree: Any) -> Any:
    return pytree.map(lambda leaf: leaf.as_subclass(OnDevice), tree)


INPUTS = on_device(fm.datasets.disk(KEY, 40).inputs)
DATA = fm.Dataset(INPUTS, on_device(torch.arange(40) % 2))
NETWORK, LOSS = fm.Sequential(fm.Linear(2, 4), fm.Tanh(), fm.Linear(4, 2)), fm.CrossEntropy()
PARAMS = on_device(NETWORK.init(KEY))


def test_the_device_of_these_tests_has_no_float64() -> None:
    for call in (INPUTS.double, lambda: INPUTS.to(torch.float64), lambda: INPUTS + INPUTS.numpy().astype("float64")):
        with pytest.raises(TypeError, match="no float64"):
            call()
    assert type(INPUTS.cpu().double()) is Tensor


def test_networks_are_trained_and_judged() -> None:
    options = {"epochs": 1, "batch_size": 8, "engine": "reference"}
    result = fm.fit(NETWORK, LOSS, fm.Adam(0.01), DATA, key=KEY, params=PARAMS, validation=DATA, **options)
    assert isinstance(pytree.leaves(result.params)[0], OnDevice)
    stacked = fm.ensemble.stack([PARAMS, PARAMS])
    optimizers = [fm.SGD(0.1), fm.SGD(0.2)]
    together = fm.fit_ensemble(NETWORK, LOSS, optimizers, DATA, keys=KEY.split(2), params=stacked, **options)
    assert isinstance(pytree.leaves(together.params)[0], OnDevice)
    for average in ("outputs", "probabilities"):
        metrics = fm.ensemble.evaluate(NETWORK, LOSS, stacked, DATA, average=average)
        assert metrics.loss == pytest.approx(fm.evaluate(NETWORK, LOSS, PARAMS, DATA).loss)


def test_boundaries_are_drawn() -> None:
    assert len(decision_boundary(NETWORK, PARAMS, DATA).axes) == 1
