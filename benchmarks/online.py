"""Times a step and a prediction for one sample, called from Python, beside JAX's jitted step and torch's.

    python benchmarks/online.py [--steps 2000] [--rounds 7] [--tail 1000000]

Each figure is the median over rounds, in which all take turns, in microseconds a call; everything runs on one thread.
`--tail` steps more are timed one by one, for the 99.9th percentile, with Python's garbage collector as it is and
switched off. JAX donates the parameters to its step; torch.compile is there where a C++ compiler is. deep-river is
River's way to neural networks, whose own ended with River 0.25. JAX and deep-river take part where they are installed.
"""

import argparse
import gc
import itertools
import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import functional_mlp as fm

KEY = fm.random.key(0)
SIZES = {"2-25-25-25-2": (2, 25, 25, 25, 2), "17-64-64-6": (17, 64, 64, 6)}
LEARNING_RATE = 0.01
SAMPLES = 1000


def samples_of(sizes: tuple[int, ...]) -> tuple[list[torch.Tensor], list[int]]:
    inputs = fm.random.normal(KEY, (SAMPLES, sizes[0]))
    return list(inputs), (inputs[:, 0] > 0).long().tolist()


def network_of(sizes: tuple[int, ...]) -> fm.Sequential:
    layers: list[fm.Layer] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [fm.Linear(inputs, outputs), fm.ReLU()]
    return fm.Sequential(*layers[:-1])


# For each peer: what takes a number of steps, and what makes a number of predictions.
Peer = tuple[Callable[[int], None], Callable[[int], None]]


def ours(sizes: tuple[int, ...]) -> Peer:
    inputs, labels = samples_of(sizes)
    online = fm.Online(network_of(sizes), fm.CrossEntropy(), fm.SGD(LEARNING_RATE))
    start = online.init(online.network.init(KEY))

    def steps(count: int) -> None:
        state = start
        for i in range(count):
            state, _ = online.step(state, inputs[i % SAMPLES], labels[i % SAMPLES])

    def predictions(count: int) -> None:
        for i in range(count):
            online.predict(start, inputs[i % SAMPLES])

    return steps, predictions


def loop(sizes: tuple[int, ...]) -> Peer:
    """The loop that one writes first: `value_and_grad`, then `update`."""
    inputs, labels = samples_of(sizes)
    network, optimizer = network_of(sizes), fm.SGD(LEARNING_RATE)
    value_and_grad = fm.value_and_grad(network, fm.CrossEntropy())
    start = optimizer.init(network.init(KEY))
    rows, targets = [x.unsqueeze(0) for x in inputs], [torch.tensor([label]) for label in labels]

    def steps(count: int) -> None:
        state = start
        for i in range(count):
            _, grads = value_and_grad(state.params, rows[i % SAMPLES], targets[i % SAMPLES])
            state = optimizer.update(state, grads)

    def predictions(count: int) -> None:
        for i in range(count):
            network.apply(start.params, inputs[i % SAMPLES])

    return steps, predictions


def module_of(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def torch_nn(sizes: tuple[int, ...], compiled: bool = False) -> Peer:
    inputs, labels = samples_of(sizes)
    model: Any = module_of(sizes)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    model = torch.compile(model) if compiled else model
    criterion = nn.CrossEntropyLoss()
    rows, targets = [x.unsqueeze(0) for x in inputs], [torch.tensor([label]) for label in labels]

    def steps(count: int) -> None:
        for i in range(count):
            optimizer.zero_grad()
            criterion(model(rows[i % SAMPLES]), targets[i % SAMPLES]).backward()
            optimizer.step()

    def predictions(count: int) -> None:
        with torch.no_grad():
            for i in range(count):
                model(rows[i % SAMPLES])

    return steps, predictions


def jax_jitted(sizes: tuple[int, ...]) -> Peer:
    import jax
    import jax.numpy as jnp

    inputs, labels = samples_of(sizes)
    arrays, targets = [jnp.asarray(x.numpy()) for x in inputs], [jnp.asarray(label) for label in labels]

    def forward(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jnp.maximum(weight @ x + bias, 0)
        weight, bias = params[-1]
        return weight @ x + bias

    def loss(params: Any, x: Any, label: Any) -> Any:
        return -jax.nn.log_softmax(forward(params, x))[label]

    def one(params: Any, x: Any, label: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, label)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value

    step, predict = jax.jit(one, donate_argnums=0), jax.jit(forward)
    own = [p for p in network_of(sizes).init(KEY) if p != ()]
    initial = [(p.weight.numpy(), p.bias.numpy()) for p in own]

    def fresh() -> list[Any]:
        return [tuple(map(jnp.asarray, pair)) for pair in initial]

    def steps(count: int) -> None:
        params = fresh()
        for i in range(count):
            params, _value = step(params, arrays[i % SAMPLES], targets[i % SAMPLES])
        jax.block_until_ready(params)

    def predictions(count: int) -> None:
        params = fresh()
        for i in range(count):
            predict(params, arrays[i % SAMPLES]).block_until_ready()

    return steps, predictions


def deep_river(sizes: tuple[int, ...]) -> Peer:
    from deep_river.classification import Classifier

    inputs, labels = samples_of(sizes)
    rows = [{f"x{i:02}": value for i, value in enumerate(x.tolist())} for x in inputs]
    model = Classifier(module_of(sizes), loss_fn="cross_entropy", optimizer_fn="sgd", lr=LEARNING_RATE)

    def steps(count: int) -> None:
        for i in range(count):
            model.learn_one(rows[i % SAMPLES], labels[i % SAMPLES])

    def predictions(count: int) -> None:
        for i in range(count):
            model.predict_proba_one(rows[i % SAMPLES])

    return steps, predictions


# Peers that may not be installed, and what makes them.
OPTIONAL = {"JAX, jitted": jax_jitted, "deep-river": deep_river}


def microseconds(call: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    call(count)
    return 1e6 * (time.perf_counter() - started) / count


def tail(sizes: tuple[int, ...], count: int) -> None:
    inputs, labels = samples_of(sizes)
    online = fm.Online(network_of(sizes), fm.CrossEntropy(), fm.SGD(LEARNING_RATE))
    for collects in (True, False):
        (gc.enable if collects else gc.disable)()
        state, times = online.init(online.network.init(KEY)), []
        for i in range(count):
            started = time.perf_counter()
            state, _ = online.step(state, inputs[i % SAMPLES], labels[i % SAMPLES])
            times.append(time.perf_counter() - started)
        times.sort()
        median, last = times[count // 2], times[count * 999 // 1000]
        print(
            f"  {count} steps, garbage collector {'on' if collects else 'off'}: median {1e6 * median:.2f} µs, "
            f"99.9th percentile {1e6 * last:.2f} µs, {last / median:.1f} times as long",
            flush=True,
        )
    gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="calls a turn (2000)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (7)")
    parser.add_argument("--tail", type=int, default=0, help="steps that are timed one by one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, sizes in SIZES.items():
        peers: dict[str, Peer] = {"Online": ours(sizes), "the explicit loop": loop(sizes), "torch.nn": torch_nn(sizes)}
        if shutil.which("c++"):
            peers["torch.compile"] = torch_nn(sizes, compiled=True)
        for peer, make in OPTIONAL.items():
            try:
                peers[peer] = make(sizes)
            except ImportError as error:
                print(f"{peer}: not installed ({error})")
        times: dict[str, list[list[float]]] = {peer: [[], []] for peer in peers}
        for call in (call for pair in peers.values() for call in pair):
            call(50)
        for _ in range(options.rounds):
            for peer, pair in peers.items():
                for which, call in enumerate(pair):
                    times[peer][which].append(microseconds(call, options.steps))
        print(f"{name}: microseconds a step, and a prediction (as a share of Online's)")
        medians = {peer: [statistics.median(each) for each in pair] for peer, pair in times.items()}
        for peer, (step, prediction) in medians.items():
            shares = [value / own for value, own in zip((step, prediction), medians["Online"], strict=True)]
            print(f"  {peer:18} {step:8.2f} ({shares[0]:5.1f})  {prediction:8.2f} ({shares[1]:5.1f})", flush=True)
        if options.tail:
            tail(sizes, options.tail)


if __name__ == "__main__":
    main()
