"""What the arguments of an estimator ask for, in values of this library.

scikit-learn sums over the outputs where this library takes the mean, and halves squares where it does not: its gradient
is ours times a factor c. SGD with c times the learning rate, Adam with ε / c, and a penalty divided by c make the very
steps that it makes.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

from attrs import frozen
from torch import Tensor

from functional_mlp import checks, initializers, penalties, schedules
from functional_mlp.history import History
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Sequential
from functional_mlp.layers.elementwise import Identity, ReLU, Sigmoid, Tanh
from functional_mlp.layers.linear import Linear
from functional_mlp.losses import Loss
from functional_mlp.optimizers import SGD, Adam, Momentum, Nesterov, Optimizer
from functional_mlp.penalties import Penalty
from functional_mlp.schedules import Schedule
from functional_mlp.sklearn.parameters import sizes_of
from functional_mlp.stopping import EarlyStopping

ACTIVATIONS: dict[str, Layer] = {"identity": Identity(), "logistic": Sigmoid(), "tanh": Tanh(), "relu": ReLU()}
# Samples of a batch of size "auto", as scikit-learn has it; all, where there are fewer.
AUTO = 200
# "adaptive" divides the learning rate by 5 on each plateau, and ends with the first one at a rate of 1e-6 or less.
REDUCTION, SMALLEST_RATE = 5.0, 1e-6


ACTIVATED: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda outputs: outputs,
    "exp": lambda outputs: outputs.exp(),
    "logistic": lambda outputs: outputs.sigmoid(),
    "softmax": lambda outputs: outputs.softmax(-1),
}


@frozen
class Task:
    """What is learnt: a loss, the activation of the outputs, and what scikit-learn's figures are beside ours.

    Its gradient is ours times `gradient`, and the loss that it shows is ours times `value`.
    """

    loss: Loss
    out_activation: str
    gradient: float = 1.0
    value: float = 1.0

    def activated(self, outputs: Tensor) -> Tensor:
        """The outputs of the network as they are shown."""
        return ACTIVATED[self.out_activation](outputs)


def network_of(estimator: Any, inputs: int, outputs: int) -> Layer:
    """The network of an estimator, with this number of inputs and of outputs."""
    if estimator.network is not None:
        return _checked_network(estimator, inputs, outputs)
    sizes, activation = (inputs, *sizes_of(estimator.hidden_layer_sizes), outputs), _activation(estimator)
    return _known_network(sizes, activation) if isinstance(estimator.activation, str) else _network(sizes, activation)


def _network(sizes: tuple[int, ...], activation: Layer) -> Layer:
    # Glorot and Bengio's interval, which scikit-learn takes narrower for the logistic function.
    interval = initializers.xavier_uniform(gain=1 / math.sqrt(3) if activation == Sigmoid() else 1.0)
    layers: list[Layer] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [Linear(fan_in, fan_out, weight_init=interval, bias_init=interval), activation]
    return Sequential(*layers[:-1])


# What the engine makes of a network is kept under the very value: a fit finds what an earlier one has made.
_known_network = functools.lru_cache(maxsize=64)(_network)
_known_adam = functools.lru_cache(maxsize=64)(Adam)
_known_l2 = functools.lru_cache(maxsize=64)(penalties.l2)


def optimizer_of(estimator: Any, task: Task) -> Optimizer:
    """The optimizer of an estimator."""
    if estimator.optimizer is not None:
        given: Optimizer = estimator.optimizer
        return given
    rate, momentum = float(estimator.learning_rate_init), float(estimator.momentum)
    if estimator.solver == "adam":
        return _known_adam(rate, estimator.beta_1, estimator.beta_2, float(estimator.epsilon) / task.gradient)
    rate *= task.gradient
    if momentum == 0:
        return SGD(rate)
    # scikit-learn adds up the gradients whose running mean is taken here.
    return Nesterov(rate, momentum) if estimator.nesterovs_momentum else Momentum(rate / (1 - momentum), momentum)


def batch_size_of(estimator: Any) -> int:
    """The batch size; a batch holds no more than there is, so that data of other sizes need no other code."""
    return AUTO if estimator.batch_size == "auto" else int(estimator.batch_size)


def penalty_of(estimator: Any, task: Task, samples: int, mean_weight: float) -> Penalty | None:
    """½ alpha ‖w‖², divided by the weight of a batch."""
    if estimator.alpha == 0:
        return None
    batch = min(batch_size_of(estimator), samples) * mean_weight
    return _known_l2(float(estimator.alpha) / (task.gradient * batch))


def schedule_of(estimator: Any, task: Task, samples: int) -> Schedule | None:
    """The schedule of the learning rate, which is the solver's own under "adam"."""
    if not _is_scheduled(estimator) or estimator.learning_rate == "constant":
        return None
    if estimator.learning_rate == "invscaling":
        return schedules.inverse_decay(samples, float(estimator.power_t))
    patience = _patience(estimator)
    return schedules.on_plateau(1 / REDUCTION, patience, **_plateau(estimator, task))


def factor_of(estimator: Any, seen: int, losses: list[float]) -> float:
    """The factor of the learning rate for an epoch by itself, after `seen` samples, and epochs with these losses."""
    if not _is_scheduled(estimator) or estimator.learning_rate == "constant":
        return 1.0
    if estimator.learning_rate == "invscaling":
        return schedules.inverse_decay(1.0, float(estimator.power_t))(seen)
    rule = schedules.on_plateau(1 / REDUCTION, _patience(estimator), min_delta=float(estimator.tol), cumulative=False)
    return rule(len(losses), History(train_loss=tuple(losses)))


def stopping_of(estimator: Any, task: Task) -> EarlyStopping | None:
    """When training is over: by the score of rows that are held out, or by the loss; None where it is never."""
    if not estimator.early_stopping and estimator.n_iter_no_change >= estimator.max_iter:
        return None
    return EarlyStopping(_patience(estimator) + 1, **_plateau(estimator, task), plateaus=_plateaus(estimator))


def _plateau(estimator: Any, task: Task) -> dict[str, Any]:
    """The figure that is looked at, and by how much it must gain in an epoch."""
    tol = float(estimator.tol)
    if estimator.early_stopping:
        return {"monitor": "validation_accuracy", "min_delta": tol, "cumulative": False}
    return {"monitor": "train_loss", "min_delta": tol / task.value, "cumulative": False}


def _patience(estimator: Any) -> int:
    """Epochs without a gain that are put up with; infinitely many are all."""
    return int(min(estimator.n_iter_no_change, estimator.max_iter))


def _plateaus(estimator: Any) -> int:
    """How many plateaus there are until the end."""
    plateaus = 1
    if _is_scheduled(estimator) and estimator.learning_rate == "adaptive":
        rate = float(estimator.learning_rate_init if estimator.optimizer is None else estimator.optimizer.learning_rate)
        while rate > SMALLEST_RATE:
            plateaus, rate = plateaus + 1, rate / REDUCTION
    return plateaus


def _is_scheduled(estimator: Any) -> bool:
    return estimator.optimizer is not None or estimator.solver == "sgd"


def _activation(estimator: Any) -> Layer:
    name, given = f"{type(estimator).__name__}: activation", estimator.activation
    if isinstance(given, Layer):
        return given
    if not isinstance(given, str) or given not in ACTIVATIONS:
        wanted = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"{name} must be one of {wanted}, or a layer such as GELU(), got {checks.describe(given)}")
    return ACTIVATIONS[given]


def _checked_network(estimator: Any, inputs: int, outputs: int) -> Layer:
    name = type(estimator).__name__
    network = as_layer(f"{name}: network", estimator.network)
    for what, size, wanted in (("in", network.in_features, inputs), ("out", network.out_features, outputs)):
        if size not in (None, wanted):
            raise ValueError(f"{name}: network must have {what}_features={wanted} for these data, got {size}")
    return network
