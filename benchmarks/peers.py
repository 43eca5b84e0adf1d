"""The libraries that `epochs.py` times, each training the paper's network on the same task.

A peer is a row of `PEERS`: what it imports, and a function from a `Task` to a `Trainer`. A trainer starts from
the task's initial parameters at every call, runs some epochs and returns the mean loss of each. It shuffles as
the library would; a trainer that can be told the orders takes them, so that `check` in `epochs.py` can show that
the peers do the same work. Libraries are imported inside the functions, so that none has to be installed.
"""

import importlib.util
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
import torch

import functional_mlp as fm

SIZES = (2, 25, 25, 25, 2)
LEARNING_RATE = 0.01
BETA = 0.5  # the paper's, in its figure 6

_draws = fm.initializers.uniform(-1, 1)
_linears = [fm.Linear(i, o, weight_init=_draws, bias_init=_draws) for i, o in itertools.pairwise(SIZES)]
NETWORK = fm.Sequential(_linears[0], fm.ReLU(), _linears[1], fm.ReLU(), _linears[2], fm.Tanh(), _linears[3])


@attrs.frozen(eq=False)
class Task:
    """Data, initial parameters and settings: the paper's network under SGD or momentum, in float32."""

    batch_size: int
    momentum: bool
    samples: int = 1000

    def __attrs_post_init__(self) -> None:
        if self.samples % self.batch_size:
            raise ValueError(f"{self.samples} samples do not fill batches of {self.batch_size}, as jax's scan needs")

    @property
    def data(self) -> fm.Dataset:
        return fm.datasets.disk(fm.random.key(0), self.samples)

    @property
    def arrays(self) -> tuple[Any, Any]:
        """Inputs and one-hot targets for numpy."""
        return self.data.inputs.numpy(), self.data.targets.numpy()

    @property
    def key(self) -> fm.random.Key:
        """The key of `fm.fit`; the orders come from its second child."""
        return fm.random.key(1)

    @property
    def params(self) -> Any:
        """The initial parameters."""
        return NETWORK.init(self.key.split()[0])

    @property
    def matrices(self) -> list[tuple[Any, Any]]:
        """The initial weights (out, in) and biases for numpy, layer by layer."""
        return [(p.weight.numpy(), p.bias.numpy()) for p in self.params if p]

    def order(self, epoch: int) -> torch.Tensor:
        """The order of an epoch in `fm.fit`."""
        return fm.random.permutation(self.key.split()[1].fold_in(epoch), self.samples)


class UnavailableError(Exception):
    """Raised where an installed peer cannot do the task."""


class Trainer(Protocol):
    """Trains from the start; with `fixed_orders`, in the orders of `task.order`."""

    def __call__(self, epochs: int, *, fixed_orders: bool = False) -> Sequence[float]: ...


@attrs.frozen
class Peer:
    """A library: the modules it imports, and a function that makes its trainer.

    `same_orders` and `same_network` say whether `fixed_orders` is honoured and the network is the paper's.
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


def _ours(engine: Any) -> Callable[[Task], Trainer]:
    """`fm.fit` as a user calls it, without validation."""

    def make(task: Task) -> Trainer:
        rule = fm.Momentum(LEARNING_RATE, beta=BETA) if task.momentum else fm.SGD(LEARNING_RATE)
        data, params, key = task.data, task.params, task.key

        def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
            result = fm.fit(
                NETWORK,
                fm.MeanSquaredError(),
                rule,
                data,
                key=key,
                epochs=epochs,
                batch_size=task.batch_size,
                params=params,
                engine=engine,
            )
            return result.history.train_loss

        try:
            train(1)
        except ValueError as error:
            raise UnavailableError(str(error)) from error
        return train

    return make


def _torch(task: Task) -> Trainer:
    """torch.nn and torch.optim, eager."""
    from torch import nn

    inputs, targets = task.data.inputs, task.data.targets
    matrices = task.matrices
    linears = [nn.Linear(i, o) for i, o in itertools.pairwise(SIZES)]
    model = nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2], nn.Tanh(), linears[3])
    criterion = nn.MSELoss()

    def start() -> torch.optim.Optimizer:
        with torch.no_grad():
            for linear, (weight, bias) in zip(linears, matrices, strict=True):
                linear.weight.copy_(torch.from_numpy(weight))
                linear.bias.copy_(torch.from_numpy(bias))
        if not task.momentum:
            return torch.optim.SGD(model.parameters(), LEARNING_RATE)
        optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=BETA, dampening=BETA)
        for parameter in model.parameters():  # from V = 0, as the paper's rule
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        optimizer, losses = start(), []
        for epoch in range(epochs):
            order = task.order(epoch) if fixed_orders else torch.randperm(task.samples)
            loss_sum = torch.zeros(())
            batches = inputs[order].split(task.batch_size), targets[order].split(task.batch_size)
            for x, target in zip(*batches, strict=True):
                optimizer.zero_grad()
                loss = criterion(model(x), target)
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach()
            losses.append(loss_sum.item() * task.batch_size / task.samples)
        return losses

    return train


def _scan(task: Task, start: Callable[[], Any], step: Callable[[Any, Any], tuple[Any, Any]]) -> Trainer:
    """A trainer whose epoch is one jitted call: a shuffle on the device, and `lax.scan` of `step` over batches."""
    import jax
    import jax.numpy as jnp

    inputs, targets = map(jnp.asarray, task.arrays)

    def epoch_in_order(carry: Any, order: Any) -> tuple[Any, Any]:
        x = inputs[order].reshape(-1, task.batch_size, inputs.shape[1])
        t = targets[order].reshape(-1, task.batch_size, targets.shape[1])
        carry, losses = jax.lax.scan(step, carry, (x, t))
        return carry, losses.mean()

    def shuffled_epoch(carry: Any, key: Any, epoch: Any) -> tuple[Any, Any]:
        return epoch_in_order(carry, jax.random.permutation(jax.random.fold_in(key, epoch), task.samples))

    run_in_order = jax.jit(epoch_in_order, donate_argnums=0)
    run_shuffled = jax.jit(shuffled_epoch, donate_argnums=0)
    key = jax.random.key(0)

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        carry, losses = start(), []
        for epoch in range(epochs):
            if fixed_orders:
                carry, loss = run_in_order(carry, jnp.asarray(task.order(epoch).numpy()))
            else:
                carry, loss = run_shuffled(carry, key, epoch)
            losses.append(loss)
        return [float(loss) for loss in jax.block_until_ready(losses)]

    return train


def _jax(task: Task) -> Trainer:
    """jax alone: parameters in a list, the optimizer's step written out."""
    import jax
    import jax.numpy as jnp

    matrices = task.matrices

    def predict(params: Any, x: Any) -> Any:
        activations = [jax.nn.relu, jax.nn.relu, jnp.tanh, lambda s: s]
        for (weight, bias), activation in zip(params, activations, strict=True):
            x = activation(x @ weight + bias)
        return x

    def loss(params: Any, x: Any, target: Any) -> Any:
        return jnp.mean((predict(params, x) - target) ** 2)

    def sgd_step(params: Any, batch: Any) -> tuple[Any, Any]:
        value, grads = jax.value_and_grad(loss)(params, *batch)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value

    def momentum_step(carry: Any, batch: Any) -> tuple[Any, Any]:
        # V ← βV + g, with the factor 1 − β in the learning rate, is faster here than the rule as the paper has it.
        params, velocity = carry
        value, grads = jax.value_and_grad(loss)(params, *batch)
        velocity = jax.tree.map(lambda v, g: BETA * v + g, velocity, grads)
        rate = LEARNING_RATE * (1 - BETA)
        return (jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity), value

    def start() -> Any:
        params = [(jnp.array(weight.T), jnp.array(bias)) for weight, bias in matrices]  # the layout XLA is fastest with
        return (params, jax.tree.map(jnp.zeros_like, params)) if task.momentum else params

    return _scan(task, start, momentum_step if task.momentum else sgd_step)


def _equinox(task: Task) -> Trainer:
    """equinox modules and optax."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    # optax's momentum is V ← βV + g, so that the factor 1 − β goes into the learning rate.
    optimizer = optax.sgd(LEARNING_RATE * (1 - BETA), momentum=BETA) if task.momentum else optax.sgd(LEARNING_RATE)

    def linear(weight: Any, bias: Any) -> Any:
        layer = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=jax.random.key(0))
        return eqx.tree_at(lambda m: (m.weight, m.bias), layer, (jnp.array(weight), jnp.array(bias)))

    linears = [linear(weight, bias) for weight, bias in task.matrices]
    relu, tanh = eqx.nn.Lambda(jax.nn.relu), eqx.nn.Lambda(jnp.tanh)
    model = eqx.nn.Sequential([linears[0], relu, linears[1], relu, linears[2], tanh, linears[3]])
    initial, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params: Any, x: Any, target: Any) -> Any:
        return jnp.mean((jax.vmap(eqx.combine(params, static))(x) - target) ** 2)

    def step(carry: Any, batch: Any) -> tuple[Any, Any]:
        params, state = carry
        value, grads = eqx.filter_value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(grads, state, params)
        return (eqx.apply_updates(params, updates), state), value

    def start() -> Any:
        params = jax.tree.map(jnp.array, initial)  # a copy, for the epoch is given the buffers to reuse
        return params, optimizer.init(params)

    return _scan(task, start, step)


def _sklearn(task: Task) -> Trainer:
    """scikit-learn's MLPRegressor, an epoch a `partial_fit`; it has one activation for all hidden layers."""
    from sklearn.neural_network import MLPRegressor

    inputs, targets = task.arrays
    # Its momentum is V ← βV − ηg, so that the factor 1 − β goes into the learning rate.
    rate, beta = (LEARNING_RATE * (1 - BETA), BETA) if task.momentum else (LEARNING_RATE, 0.0)
    matrices = task.matrices
    model = MLPRegressor(
        hidden_layer_sizes=SIZES[1:-1],
        activation="relu",
        solver="sgd",
        alpha=0.0,
        batch_size=task.batch_size,
        learning_rate_init=rate,
        momentum=beta,
        nesterovs_momentum=False,
        random_state=0,
    )
    model.partial_fit(inputs, targets)  # makes the arrays that `start` fills

    def start() -> None:
        for layer, (weight, bias) in enumerate(matrices):
            model.coefs_[layer][:] = weight.T
            model.intercepts_[layer][:] = bias
        for velocity in model._optimizer.velocities:
            velocity[:] = 0

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        start()
        losses = []
        for _ in range(epochs):
            model.partial_fit(inputs, targets)
            losses.append(2 * model.loss_)  # it halves the squares
        return losses

    return train


PEERS = [
    Peer("reference", (), _ours("reference")),
    Peer("fused", ("functional_mlp.engine",), _ours("fused")),
    Peer("torch.nn", (), _torch),
    Peer("jax", ("jax",), _jax),
    Peer("equinox", ("jax", "equinox", "optax"), _equinox),
    Peer("scikit-learn", ("sklearn",), _sklearn, same_orders=False, same_network=False),
]


def peer(name: str) -> Peer:
    """The peer of a name."""
    return next(p for p in PEERS if p.name == name)
