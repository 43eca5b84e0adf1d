"""jax, and equinox with optax: an epoch in one jitted call."""

from collections.abc import Callable, Sequence
from typing import Any

from peers.task import BETA, LEARNING_RATE, Task, Trainer


def loss_of(task: Task, outputs: Any, targets: Any) -> Any:
    """The task's loss of a batch."""
    import jax
    import jax.numpy as jnp

    if task.of_paper:
        return jnp.mean((outputs - targets) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], 1))


def scan(task: Task, start: Callable[[], Any], step: Callable[[Any, Any], tuple[Any, Any]]) -> Trainer:
    """A trainer whose epoch is one jitted call: a shuffle on the device, and `lax.scan` of `step` over batches."""
    import jax
    import jax.numpy as jnp

    inputs, targets = map(jnp.asarray, task.arrays)

    def epoch_in_order(carry: Any, order: Any) -> tuple[Any, Any]:
        x = inputs[order].reshape(-1, task.batch_size, inputs.shape[1])
        t = targets[order].reshape(-1, task.batch_size, *targets.shape[1:])
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


def plain(task: Task) -> Trainer:
    """jax alone: parameters in a list, the optimizer's step written out."""
    import jax
    import jax.numpy as jnp

    matrices = task.matrices

    activations = [{"relu": jax.nn.relu, "tanh": jnp.tanh}[name] for name in task.activations] + [lambda s: s]

    def predict(params: Any, x: Any) -> Any:
        for (weight, bias), activation in zip(params, activations, strict=True):
            x = activation(x @ weight + bias)
        return x

    def loss(params: Any, x: Any, target: Any) -> Any:
        return loss_of(task, predict(params, x), target)

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

    return scan(task, start, momentum_step if task.momentum else sgd_step)


def equinox(task: Task) -> Trainer:
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
    activations = [eqx.nn.Lambda({"relu": jax.nn.relu, "tanh": jnp.tanh}[name]) for name in task.activations]
    pairs = zip(linears, activations, strict=False)
    model = eqx.nn.Sequential([layer for pair in pairs for layer in pair] + [linears[-1]])
    initial, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params: Any, x: Any, target: Any) -> Any:
        return loss_of(task, jax.vmap(eqx.combine(params, static))(x), target)

    def step(carry: Any, batch: Any) -> tuple[Any, Any]:
        params, state = carry
        value, grads = eqx.filter_value_and_grad(loss)(params, *batch)
        updates, state = optimizer.update(grads, state, params)
        return (eqx.apply_updates(params, updates), state), value

    def start() -> Any:
        params = jax.tree.map(jnp.array, initial)  # a copy, for the epoch is given the buffers to reuse
        return params, optimizer.init(params)

    return scan(task, start, step)
