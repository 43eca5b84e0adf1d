"""What a network makes of data: outputs, classes, losses."""

from torch import Tensor

from functional_mlp import checks, engines, trees
from functional_mlp.arrays import Array, as_inputs
from functional_mlp.datasets import Dataset
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.metrics import Metrics, check_fit
from functional_mlp.state import EngineName


def predict(network: Layer, params: Params, x: Array, *, engine: EngineName = "auto") -> Tensor:
    """The network's outputs for inputs (..., in_features), a tensor, a numpy array, or a frame of pandas or polars.

    `engine` is "reference", "fused" (native code, made when it is first used; a `ValueError` with the reason where
    there can be none), or "auto": the fused engine for many rows, which take longer than to make the code, and
    otherwise the reference. Beside the result it takes memory for some thousands of rows, however many there are; the
    bits do not depend on the number of threads of the fused engine, which is torch's.
    """
    network = as_layer("predict: network", network)
    checks.engine("predict", engine)
    return engines.predict(network, params, as_inputs("predict: inputs", x, params), engine)


def classify(network: Layer, params: Params, x: Array, *, engine: EngineName = "auto") -> Tensor:
    """The class indices of inputs (..., in_features): for each, the place of the largest output.

    A single output is taken for the logit of `BinaryCrossEntropy`: the class is 1 where it is above 0, and else 0.

    >>> import torch, functional_mlp as fm
    >>> classify(fm.Identity(), (), torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    tensor([1, 0])
    >>> classify(fm.Identity(), (), torch.tensor([[0.1], [-0.8]]))
    tensor([1, 0])
    """
    outputs = predict(network, params, x, engine=engine)
    return outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs > 0).squeeze(-1).long()


def evaluate(network: Layer, loss: Loss, params: Params, data: Dataset, *, engine: EngineName = "auto") -> Metrics:
    """The loss and the accuracy of a network over a data set; `engine` is as in `predict`.

    Accuracy is NaN where the targets are neither class indices nor one-hot.

    >>> import torch, functional_mlp as fm
    >>> data = fm.Dataset(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1]))
    >>> evaluate(fm.Identity(), fm.CrossEntropy(), (), data).accuracy
    0.5
    """
    network = as_layer("evaluate: network", network)
    checks.instance("evaluate: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    checks.instance("evaluate: data", data, Dataset, "make one with functional_mlp.Dataset")
    checks.engine("evaluate", engine)
    check_fit(network, loss, params, data)
    return engines.evaluate(network, loss, trees.detached(params), data, engine)
