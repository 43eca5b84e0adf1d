"""A long search for false alarms of the testing kit, outside CI: every check on everything that is correct.

    python -m tests.testing.false_alarms --examples 10000 --seed 1

Each row of `tests.testing.correct` is checked with an equal share of the examples, and further networks and optimizers
are drawn. Prints the examples and the seconds, and every alarm.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as hypothesis_seed

from functional_mlp.testing import check_layer, check_optimizer, networks, optimizers
from tests.testing.correct import SUBJECTS

# Of every search, this many examples are drawn with a network or an optimizer that is drawn itself.
EXAMPLES_OF_ONE = 10


def drawn(examples: int, seed: int) -> Iterator[tuple[str, Callable[..., None]]]:
    """Networks and optimizers, each for a few examples."""
    found: list[tuple[str, Callable[..., None]]] = []

    @hypothesis_seed(seed)
    @settings(
        max_examples=max(1, examples // EXAMPLES_OF_ONE),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(networks(max_depth=3), optimizers())
    def collect(network: object, optimizer: object) -> None:
        found.append((repr(network), partial(check_layer, network)))
        found.append((repr(optimizer), partial(check_optimizer, optimizer)))

    collect()
    yield from found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    half, rows = options.examples // 2, SUBJECTS
    share = max(1, half // len(rows))
    searches = [(name, check, share) for name, check in rows]
    searches += [(name, check, EXAMPLES_OF_ONE) for name, check in drawn(half // 2, options.seed)]
    alarms, examples, started = 0, 0, time.perf_counter()
    for number, (name, check, count) in enumerate(searches):
        try:
            check(examples=count, seed=options.seed + number)
        except AssertionError as alarm:
            alarms += 1
            print(f"ALARM {name}\n{alarm}\n", flush=True)
        examples += count
    seconds = time.perf_counter() - started
    print(f"{examples} examples of each property, of {len(searches)} subjects: {alarms} alarms, {seconds:.0f} s")


if __name__ == "__main__":
    main()
