"""What the peers do: networks, data, initial parameters and settings, and what a peer is."""

import functools
import importlib
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
import torch

import functional_mlp as fm

LEARNING_RATE = 0.01
BETA = 0.5  # the paper's, in its figure 6

PAPER = (2, 25, 25, 25, 2)
_draws = fm.initializers.uniform(-1, 1)


@attrs.frozen
class Task:
    """An epoch of SGD or momentum in float32.

    The paper's network, on its points under the mean squared error; others have ReLU, and learn to tell classes under
    cross-entropy.
    """

    batch_size: int
    momentum: bool = False
    sizes: tuple[int, ...] = PAPER
    samples: int = 1000

    def __attrs_post_init__(self) -> None:
        if self.samples % self.batch_size:
            raise ValueError(f"{self.samples} samples do not fill batches of {self.batch_size}, as jax's scan needs")

    @property
    def of_paper(self) -> bool:
        return self.sizes == PAPER

    @property
    def activations(self) -> list[str]:
        """Those after all layers but the last."""
        return ["relu", "relu", "tanh"] if self.of_paper else ["relu"] * (len(self.sizes) - 2)

    @property
    def network(self) -> fm.Sequential:
        init: dict[str, Any] = {"weight_init": _draws, "bias_init": _draws} if self.of_paper else {}
        linears = [fm.Linear(i, o, **init) for i, o in itertools.pairwise(self.sizes)]
        layers = [fm.ReLU() if name == "relu" else fm.Tanh() for name in self.activations]
        return fm.Sequential(*[each for pair in zip(linears, layers, strict=False) for each in pair], linears[-1])

    @property
    def loss(self) -> fm.Loss:
        return fm.MeanSquaredError() if self.of_paper else fm.CrossEntropy()

    @property
    def optimizer(self) -> fm.Optimizer:
        return fm.Momentum(LEARNING_RATE, beta=BETA) if self.momentum else fm.SGD(LEARNING_RATE)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - the data of the task that is timed
    def dataset(self) -> fm.Dataset:
        if self.of_paper:
            return fm.datasets.disk(fm.random.key(0), self.samples)
        inputs_key, map_key = fm.random.key(0).split()
        inputs = fm.random.normal(inputs_key, (self.samples, self.sizes[0]))
        classes = fm.random.normal(map_key, (self.sizes[0], self.sizes[-1]))
        return fm.Dataset(inputs, (inputs @ classes).argmax(1))

    @property
    def data(self) -> fm.Dataset:
        return self.dataset()

    @property
    def arrays(self) -> tuple[Any, Any]:
        """Inputs and targets, one-hot or class indices, for numpy."""
        return self.data.inputs.numpy(), self.data.targets.numpy()

    @property
    def key(self) -> fm.random.Key:
        """The key of `fm.fit`; the orders come from its second child."""
        return fm.random.key(1)

    @property
    def params(self) -> Any:
        """The initial parameters."""
        return self.network.init(self.key.split()[0])

    @property
    def matrices(self) -> list[tuple[Any, Any]]:
        """The initial weights (out, in) and biases for numpy, layer by layer."""
        return [(p.weight.numpy(), p.bias.numpy()) for p in self.params if p]

    def order(self, epoch: int) -> torch.Tensor:
        """The order of an epoch in `fm.fit`."""
        return fm.random.permutation(self.key.split()[1].fold_in(epoch), self.samples)

    @property
    def products(self) -> int:
        """The multiplications of an epoch: forward, for the gradients of the weights, and for those of inputs.

        The gradient of the data is of no use.
        """
        weights = [i * o for i, o in itertools.pairwise(self.sizes)]
        return self.samples * (3 * sum(weights) - weights[0])

    @property
    def bytes_of_weights(self) -> int:
        """What an epoch moves where the weights lie in memory: read in both passes of a batch, and written once."""
        weights = sum(i * o for i, o in itertools.pairwise(self.sizes))
        return 3 * 4 * weights * (self.samples // self.batch_size)


class UnavailableError(Exception):
    """Raised where an installed peer cannot do the task."""


class Trainer(Protocol):
    """Trains from the start; with `fixed_orders`, in the orders of `task.order`."""

    def __call__(self, epochs: int, *, fixed_orders: bool = False) -> Sequence[float]: ...


@attrs.frozen
class Peer:
    """A library: the modules it imports, and a function that makes its trainer.

    `same_orders` and `same_network` say whether `fixed_orders` is honoured and the network is the task's.
    """

    name: str
    modules: tuple[str, ...]
    trainer: Callable[[Task], Trainer]
    same_orders: bool = True
    same_network: bool = True

    def missing(self) -> list[str]:
        return [module for module in self.modules if importlib.util.find_spec(module) is None]

    def import_modules(self) -> None:
        for module in self.modules:
            importlib.import_module(module)
