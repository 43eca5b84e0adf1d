"""Trains by an executor of MPI, and at home: `mpiexec -n 2 python -m mpi4py.futures -m tests.mpi`."""

import os

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.spread import count


def main() -> None:
    from mpi4py.futures import MPIPoolExecutor  # not installed where other tests are collected

    network = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2))
    data, keys = fm.datasets.disk(fm.random.key(0), 100), fm.random.key(1).split(40)
    arguments = (network, fm.MeanSquaredError(), fm.SGD(0.05), data)
    with MPIPoolExecutor() as executor:
        workers = {future.result() for future in [executor.submit(os.getpid) for _ in range(50)]}
        away = fm.fit_ensemble(*arguments, keys=keys, epochs=3, executor=executor)
    home = fm.fit_ensemble(*arguments, keys=keys, epochs=3)
    print(f"{count(len(workers), 'worker')}, the same: {pytree.equal(away.params, home.params)}")


if __name__ == "__main__":
    main()
