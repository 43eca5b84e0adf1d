"""Times what weights of samples and penalties cost the fused engine.

    python benchmarks/needs.py [--rounds 300] [--optimizers sgd adam] [--batch-sizes 1 10 100]

The work is the paper's network 2-25-25-25-2 on 1000 points in float32. The runs take turns, round by round, in one
process, so that a busy moment of the machine meets them all; a figure is the median over the rounds of a run's time as
a share of the plain one's in the same round. The plain run is there twice: how far the second is from 1 is the noise.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence

import torch

import functional_mlp as fm
from functional_mlp import penalties
from functional_mlp.engine import native
from functional_mlp.engine.running import FusedRun

LOSS = fm.MeanSquaredError()
OPTIMIZERS: dict[str, fm.Optimizer] = {"sgd": fm.SGD(0.001), "momentum": fm.Momentum(0.001), "adam": fm.Adam(0.0001)}
ORDER = fm.random.permutation(fm.random.key(2), 1000)
# Epochs a turn: each takes some tenths of a millisecond.
EPOCHS = 3


def network() -> fm.Sequential:
    uniform = fm.initializers.uniform(-1, 1)
    sizes, layers = (2, 25, 25, 25, 2), []
    for (inputs, outputs), activation in zip(
        itertools.pairwise(sizes), (fm.ReLU(), fm.ReLU(), fm.Tanh(), None), strict=True
    ):
        layers += [fm.Linear(inputs, outputs, weight_init=uniform, bias_init=uniform)]
        layers += [activation] if activation is not None else []
    return fm.Sequential(*layers)


def run_of(optimizer: fm.Optimizer, batch_size: int, weighted: bool, penalty: penalties.Penalty | None) -> FusedRun:
    model, data = network(), fm.datasets.disk(fm.random.key(0))
    if weighted:
        weights = fm.random.uniform(fm.random.key(3), (len(data),), 0.1, 1.1)
        data = fm.Dataset(data.inputs, data.targets, weights)
    program = native.lower(
        model,
        LOSS,
        optimizer,
        batch_size=batch_size,
        class_targets=False,
        dtype=torch.float32,
        weighted=weighted,
        penalty=penalty,
    )
    return FusedRun(program, optimizer.init(model.init(fm.random.key(1))), data)


def timed(run: FusedRun, learning_rate: float) -> float:
    """Milliseconds an epoch."""
    started = time.perf_counter()
    for _ in range(EPOCHS):
        run.sums_of_epoch(ORDER, len(ORDER), learning_rate, None)
    return (time.perf_counter() - started) / EPOCHS * 1e3


def report(name: str, batch_size: int, rounds: int) -> None:
    optimizer = OPTIMIZERS[name]
    runs = {
        "plain": run_of(optimizer, batch_size, False, None),
        "plain again": run_of(optimizer, batch_size, False, None),
        "weights": run_of(optimizer, batch_size, True, None),
        "l2": run_of(optimizer, batch_size, False, penalties.l2(1e-4)),
        "l1": run_of(optimizer, batch_size, False, penalties.l1(1e-4)),
    }
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(rounds):
        for kind, run in runs.items():
            times[kind].append(timed(run, optimizer.learning_rate))
    print(f"{name}, batch size {batch_size}")
    for kind, measured in times.items():
        print(f"  {kind:<12}{statistics.median(measured):>10.4f} ms{share(measured, times['plain']):>10.3f}")


def share(measured: Sequence[float], plain: Sequence[float]) -> float:
    return statistics.median(own / other for own, other in zip(measured, plain, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="turns of each run (300)")
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adam"], choices=list(OPTIMIZERS))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 10, 100])
    options = parser.parse_args()
    for name, batch_size in itertools.product(options.optimizers, options.batch_sizes):
        report(name, batch_size, options.rounds)


if __name__ == "__main__":
    main()
