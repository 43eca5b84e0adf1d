"""How many times as long an ensemble takes as one of its networks.

    python benchmarks/members.py [--members 30] [--threads 2] [--rounds 5]

Each row is a network and a batch size: 100 epochs of 1000 points by `fm.fit_ensemble`, and by `fm.fit` for one key, in
turns. The figure is the median of the ratios; 30 networks that were trained one after the other would take 30.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

from epochs import pin

SIZES = ((2, 8, 2), (2, 25, 25, 25, 2), (2, 64, 64, 2))
BATCH_SIZES = (1, 10)
EPOCHS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2, help="cores and threads (2)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pin(options.threads)
    print(f"{'network':<16}" + "".join(f"{f'batch size {size}':>16}" for size in BATCH_SIZES))
    for sizes in SIZES:
        ratios = [ratio(sizes, batch_size, options.members, options.rounds) for batch_size in BATCH_SIZES]
        print(f"{'-'.join(map(str, sizes)):<16}" + "".join(f"{ratio:>16.1f}" for ratio in ratios), flush=True)


def ratio(sizes: tuple[int, ...], batch_size: int, members: int, rounds: int) -> float:
    """The time of many networks over that of one."""
    import functional_mlp as fm

    layers = [layer for pair in itertools.pairwise(sizes) for layer in (fm.Linear(*pair), fm.ReLU())]
    network, data = fm.Sequential(*layers[:-1]), fm.datasets.disk(fm.random.key(0))
    keys = fm.random.key(1).split(members)
    task = (network, fm.MeanSquaredError(), fm.SGD(0.01), data)

    def one(epochs: int) -> object:
        return fm.fit(*task, key=keys[0], epochs=epochs, batch_size=batch_size)

    def many(epochs: int) -> object:
        return fm.fit_ensemble(*task, keys=keys, epochs=epochs, batch_size=batch_size)

    one(1)
    many(1)  # the code is made, or loaded
    return statistics.median(seconds(many) / seconds(one) for _ in range(rounds))


def seconds(train: Callable[[int], object]) -> float:
    started = time.perf_counter()
    train(EPOCHS)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
