"""The paper's network, data, recipe and published figures.

A. Boschin, Q. Rebjock, S. Lei, "EE 559: Deep Learning, Mini-project II", 2018.
"""

import itertools

import attrs

import functional_mlp as fm
from functional_mlp.initializers import Initializer, torch_default, uniform
from functional_mlp.schedules import Schedule, exponential_decay

SAMPLES = 1000
RUNS = 30
EPOCHS = 100
TORCH_EPOCHS = 150
LEARNING_RATE = 0.01
BETA = 0.5

LOSS: fm.Loss = fm.MeanSquaredError()
UNIFORM = uniform(-1.0, 1.0)
PYTORCH_DEFAULT = torch_default()
DECAY = exponential_decay(0.9)
SIZES = (2, 25, 25, 25, 2)


@attrs.frozen
class Published:
    """A figure of the paper: mean and standard deviation over its runs."""

    mean: float
    std: float


@attrs.frozen
class PublishedTable:
    """One of the paper's two tables."""

    training_mse: Published
    training_accuracy: Published
    validation_mse: Published
    validation_accuracy: Published


FIGURE_1 = PublishedTable(
    training_mse=Published(0.04256, 0.00469),
    training_accuracy=Published(0.9852, 0.0057),
    validation_mse=Published(0.04013, 0.00455),
    validation_accuracy=Published(0.9858, 0.0068),
)
FIGURE_5 = PublishedTable(
    training_mse=Published(0.02514, 0.00295),
    training_accuracy=Published(0.9751, 0.0061),
    validation_mse=Published(0.03010, 0.00349),
    validation_accuracy=Published(0.9611, 0.00613),
)
# Section VI: validation accuracy with momentum, seconds an epoch of either framework.
MOMENTUM_ACCURACY = 0.96
OWN_SECONDS, TORCH_SECONDS = 0.24, 0.65


def network(weight_init: Initializer = UNIFORM, bias_init: Initializer | None = None) -> fm.Sequential:
    """The network 2-25-25-25-2 with ReLU, ReLU and Tanh (section VI-A); biases start like weights by default.

    >>> network().in_features, network().out_features
    (2, 2)
    """
    linears = [
        fm.Linear(inputs, outputs, weight_init=weight_init, bias_init=weight_init if bias_init is None else bias_init)
        for inputs, outputs in itertools.pairwise(SIZES)
    ]
    return fm.Sequential(linears[0], fm.ReLU(), linears[1], fm.ReLU(), linears[2], fm.Tanh(), linears[3])


NETWORK = network()
SGD = fm.SGD(LEARNING_RATE)


@attrs.frozen
class Recipe:
    """How a network is trained; the defaults are the paper's (section IV)."""

    network: fm.Sequential = NETWORK
    optimizer: fm.Optimizer = SGD
    schedule: Schedule = DECAY
    epochs: int = EPOCHS
    batch_size: int = 1
