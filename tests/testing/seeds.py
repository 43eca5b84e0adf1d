"""Every planted mistake with many seeds, and every correct class: what CI does with one seed.

    python -m tests.testing.seeds --seeds 20 --only mistakes --part 0/4

Prints each mistake that a seed misses, and each alarm at a correct class.
"""

import argparse
import re
import time

from tests.testing import correct, planted


def missed(seeds: range, part: slice) -> int:
    """How many of the mistakes, times seeds, are not found, or not for what they are."""
    count = 0
    for name, check, says in planted.MISTAKES[part]:
        for seed in seeds:
            try:
                check(seed)
                problem = "passes"
            except AssertionError as found:
                problem = "" if re.search(says, str(found)) else f"is found as {found}"
            if problem:
                count += 1
                print(f"MISSED {name}, seed {seed}: {problem}", flush=True)
    return count


def alarms(seeds: range, part: slice) -> int:
    """How many of the correct classes, times seeds, are taken for mistakes."""
    count = 0
    for name, check in correct.SUBJECTS[part]:
        for seed in seeds:
            try:
                check(seed)
            except AssertionError as alarm:
                count += 1
                print(f"ALARM {name}, seed {seed}: {alarm}", flush=True)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=["mistakes", "correct"])
    parser.add_argument("--part", default="0/1", help="every n-th row, from the k-th: k/n")
    options = parser.parse_args()
    seeds, (first, step) = range(options.seeds), map(int, options.part.split("/"))
    part, started = slice(first, None, step), time.perf_counter()
    for name, table, count in (("mistakes", planted.MISTAKES, missed), ("correct", correct.SUBJECTS, alarms)):
        if options.only in (None, name):
            total = len(table[part]) * len(seeds)
            right = total - count(seeds, part)
            print(f"{name}: {right} of {total} (rows times seeds) as they should be", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
