"""The same fits in threads and processes as one after the other: `python -m tests.checkpoint.workers`."""

import hashlib
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

import torch

import functional_mlp as fm
from tests.checkpoint import cases

FITS = 16


def fingerprint(number: int) -> str:
    """The digest of what a fit ends with: states and figures to the bit."""
    engine = ("reference", "fused")[number % 2]
    dtype = (torch.float32, torch.float64)[number // 2 % 2]
    data = fm.datasets.disk(fm.random.key(number), 40, dtype=dtype)
    optimizer = (fm.SGD(0.1), fm.AdamW(0.01), fm.Momentum(0.1))[number % 3]
    result = cases.fit(
        engine=engine, data=data, validation=data, optimizer=optimizer, key=fm.random.key(number), epochs=10
    )
    digest = hashlib.sha256(repr(cases.without_times(result.history)).encode())
    for leaf in fm.pytree.leaves(result.state):
        digest.update(leaf.numpy().tobytes())
    return digest.hexdigest()


def fingerprints(pool: Executor, numbers: Iterable[int] = range(FITS)) -> list[str]:
    return list(pool.map(fingerprint, numbers))


def main() -> None:
    expected = [fingerprint(number) for number in range(FITS)]
    assert len(set(expected)) == FITS
    with ThreadPoolExecutor(FITS) as threads:  # which live until after the fork: `functional_mlp.forks` says why
        for _ in range(2):
            assert fingerprints(threads) == expected, "threads"
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            with ProcessPoolExecutor(2, mp_context=context) as processes:
                assert fingerprints(processes) == expected, method
    print(f"{FITS} fits in {FITS} threads, in forked and in spawned processes: the same bits as one after the other")


if __name__ == "__main__":
    main()
