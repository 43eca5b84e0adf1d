"""Times an epoch of an ensemble beside `jax.vmap` over a jitted scan that does the same work.

    python benchmarks/ensembles.py [--json FILE] [--members 30] [--threads 2] [--rounds 7]

The work: networks 2-25-25-25-2 of the paper at batch size 1, each with its own 1000 points, in float32, under SGD,
with a new order and the mean loss in every epoch, from initial parameters made beforehand. The peers take turns, round
by round; a figure is the median over the rounds. Before they are timed their losses are compared, in the same orders
and from the same parameters.

"figure 1" is the whole of the paper's figure 1: all members for 100 epochs, as a user calls `fit_ensemble`, which
draws the initial parameters as well.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from epochs import machine, pin

Trainer = Callable[[int], Sequence[float]]
FIGURE_1_EPOCHS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2, help="cores and threads for every peer (2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (7)")
    parser.add_argument("--epochs", type=int, default=100, help="epochs of a turn (100)")
    options = parser.parse_args()
    pin(options.threads)
    header = machine(options.threads)
    print("\n".join(f"{name}: {value}" for name, value in header.items()), end="\n\n", flush=True)
    results = time_epochs(options.members, options.epochs, options.rounds)
    for name, times in results.items():
        print(f"{name:<34}{statistics.median(times):>10.3f} ms{min(times):>10.3f}{max(times):>10.3f}")
    ratios = [b / a for a, b in zip(results["ours, ms an epoch"], results["jax.vmap, ms an epoch"], strict=True)]
    print(f"{'jax.vmap / ours':<34}{statistics.median(ratios):>10.2f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": header, "results": results, "ratios": ratios}, indent=2) + "\n")


def time_epochs(members: int, epochs: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each peer in each round."""
    figure_1 = ours(members, None)
    trainers = {
        "ours, ms an epoch": ours(members, initial_params(task(members)[1])),
        "jax.vmap, ms an epoch": jax_vmap(members, fixed_orders=False),
    }
    check(trainers["ours, ms an epoch"], jax_vmap(members, fixed_orders=True))
    times: dict[str, list[float]] = {name: [] for name in (*trainers, "ours, figure 1")}
    for trainer in trainers.values():
        trainer(2)
    for _ in range(rounds):
        for name, trainer in trainers.items():
            times[name].append(timed(trainer, epochs) / epochs)
        times["ours, figure 1"].append(timed(figure_1, FIGURE_1_EPOCHS))
    return times


def timed(trainer: Trainer, epochs: int) -> float:
    started = time.perf_counter()
    trainer(epochs)
    return (time.perf_counter() - started) * 1e3


def check(first: Trainer, second: Trainer) -> None:
    """End the benchmark unless two trainers do the same work."""
    for epoch, (a, b) in enumerate(zip(first(2), second(2), strict=True)):
        if abs(a - b) > 1e-3 * a:
            sys.exit(f"the peers do not do the same work: mean losses {a} and {b} in epoch {epoch}")


def task(members: int) -> tuple[list[Any], tuple[Any, ...]]:
    """Each member's data set and key."""
    import functional_mlp as fm

    return [fm.datasets.disk(fm.random.key(member)) for member in range(members)], fm.random.key(1).split(members)


def initial_params(keys: Sequence[Any]) -> Any:
    """The stacked parameters that `fit_ensemble` draws from the keys."""
    from peers import Task

    import functional_mlp as fm

    return fm.ensemble.stack([Task(1).network.init(key.split()[0]) for key in keys])


def ours(members: int, params: Any) -> Trainer:
    """`fit_ensemble` from stacked parameters, or from those it draws."""
    from peers.task import LEARNING_RATE, Task

    import functional_mlp as fm

    data, keys = task(members)
    optimizer = fm.SGD(LEARNING_RATE)

    def train(epochs: int) -> Sequence[float]:
        result = fm.fit_ensemble(
            Task(1).network, fm.MeanSquaredError(), optimizer, data, keys=keys, epochs=epochs, params=params
        )
        return result.history.mean().train_loss

    return train


def jax_vmap(members: int, fixed_orders: bool) -> Trainer:
    """`vmap` over an epoch's shuffle and scan, jitted; with `fixed_orders`, in the orders of `fit_ensemble`."""
    import jax
    import jax.numpy as jnp
    from peers.task import LEARNING_RATE

    import functional_mlp as fm

    data, keys = task(members)
    inputs, targets = (
        jnp.stack([jnp.asarray(getattr(d, name).numpy()) for d in data]) for name in ("inputs", "targets")
    )
    matrices = [(jnp.asarray(p.weight.numpy()), jnp.asarray(p.bias.numpy())) for p in initial_params(keys) if p]
    samples = inputs.shape[1]

    def loss(params: Any, x: Any, target: Any) -> Any:
        activations = [jax.nn.relu, jax.nn.relu, jnp.tanh, lambda s: s]
        for (weight, bias), activation in zip(params, activations, strict=True):
            x = activation(weight @ x + bias)
        return jnp.mean((x - target) ** 2)

    def step(params: Any, sample: Any) -> tuple[Any, Any]:
        value, grads = jax.value_and_grad(loss)(params, *sample)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value

    def epoch_in_order(params: Any, x: Any, target: Any, order: Any) -> tuple[Any, Any]:
        params, losses = jax.lax.scan(step, params, (x[order], target[order]))
        return params, losses.mean()

    def shuffled_epoch(params: Any, x: Any, target: Any, key: Any) -> tuple[Any, Any]:
        return epoch_in_order(params, x, target, jax.random.permutation(key, samples))

    run = jax.jit(jax.vmap(epoch_in_order if fixed_orders else shuffled_epoch), donate_argnums=0)

    def shuffles(epoch: int) -> Any:
        if not fixed_orders:
            return jax.random.split(jax.random.fold_in(jax.random.key(0), epoch), members)
        return jnp.stack(
            [jnp.asarray(fm.random.permutation(k.split()[1].fold_in(epoch), samples).numpy()) for k in keys]
        )

    def train(epochs: int) -> Sequence[float]:
        params, losses = jax.tree.map(jnp.array, matrices), []
        for epoch in range(epochs):
            params, values = run(params, inputs, targets, shuffles(epoch))
            losses.append(values.mean())
        return [float(value) for value in jax.block_until_ready(losses)]

    return train


if __name__ == "__main__":
    main()
