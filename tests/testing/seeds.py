"""Every planted mistake with many seeds, and every correct class: what CI does with one seed.

    python -m tests.testing.seeds --seeds 20 --only mistakes --part 0/4

Prints each mistake that a seed misses, and each alarm at a correct class.
"""

import argparse
import re
import time

from tests.testing import correct, planted


def is_found(name: str, check: planted.Check, says: str, seed: int) -> bool:
    """Whether a mistake is found with a seed, and for what it is."""
    try:
        check(seed)
    except AssertionError as found:
        if re.search(says, str(found)):
            return True
        print(f"MISSED {name}, seed {seed}: it is found as {found}", flush=True)
    else:
        print(f"MISSED {name}, seed {seed}: it passes", flush=True)
    return False


def is_quiet(name: str, check: planted.Check, seed: int) -> bool:
    """Whether a correct class is passed with a seed."""
    try:
        check(seed)
    except AssertionError as alarm:
        print(f"ALARM {name}, seed {seed}: {alarm}", flush=True)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", choices=["mistakes", "correct"])
    parser.add_argument("--part", default="0/1", help="every n-th row, from the k-th: k/n")
    options = parser.parse_args()
    first, step = map(int, options.part.split("/"))
    tables = {"mistakes": (planted.MISTAKES, is_found), "correct": (correct.SUBJECTS, is_quiet)}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for kind, (table, as_it_should_be) in tables.items():
            if options.only in (None, kind):
                rows, started = table[first::step], time.perf_counter()
                right = sum(as_it_should_be(*row, seed) for row in rows)
                seconds = time.perf_counter() - started
                print(f"seed {seed}, {kind}: {right} of {len(rows)} as they should be, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
