"""What an executor costs: the overhead of a task, and many members on 1 and 2 workers beside the run at home.

    python benchmarks/cluster.py [--members 256] [--epochs 20] [--runs 3]

Workers are those of a Dask cluster on this machine, with one thread each; runs take turns, and medians are printed.
What 10,000 members on 100 workers would send and gather follows from the bytes of a task, which are printed as well.
"""

import argparse
import statistics
import time
from concurrent.futures import Executor

import attrs
import distributed
import torch

import functional_mlp as fm
from functional_mlp import engines
from functional_mlp.ensemble.arguments import job_of
from functional_mlp.ensemble.groups import grouped
from functional_mlp.ensemble.parcels import Packing, Parcel
from functional_mlp.ensemble.tasks import train_parcel

NETWORK = fm.Sequential(
    fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 25), fm.ReLU(), fm.Linear(25, 25), fm.Tanh(), fm.Linear(25, 2)
)
LOSS, OPTIMIZER = fm.MeanSquaredError(), fm.SGD(0.01)
DATA = fm.datasets.disk(fm.random.key(0), 1000)


def seconds(members: int, epochs: int, executor: Executor | None) -> float:
    started = time.perf_counter()
    fm.fit_ensemble(
        NETWORK, LOSS, OPTIMIZER, DATA, keys=fm.random.key(1).split(members), epochs=epochs, executor=executor
    )
    return time.perf_counter() - started


def bytes_of_a_task() -> tuple[int, int, int]:
    """The members of a task, the bytes that are sent for it, beside the data, and those of its results."""
    job = job_of(
        NETWORK,
        LOSS,
        OPTIMIZER,
        DATA,
        keys=fm.random.key(1).split(256),
        epochs=20,
        batch_size=1,
        schedule=None,
        validation=None,
        params=None,
        engine="fused",
        shuffle=True,
    )
    group = grouped(job)[0][0]
    packed = Packing().pack(Parcel(attrs.evolve(job, members=group.members), group, engines.processor()))
    return len(group.members), len(packed.content), len(train_parcel(packed.content, DATA))


def task_overhead(executor: Executor, tasks: int) -> float:
    """Seconds that an empty task takes, sent and gathered."""
    started = time.perf_counter()
    for future in [executor.submit(int, number) for number in range(tasks)]:
        future.result()
    return (time.perf_counter() - started) / tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    members, sent, received = bytes_of_a_task()
    print(f"a task: {members} members, {sent:,} bytes sent, {received:,} gathered; the data {DATA.inputs.nbytes * 2:,}")
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with (
        distributed.LocalCluster(n_workers=1, **options) as one,
        distributed.LocalCluster(n_workers=2, **options) as two,
        distributed.Client(one) as of_one,
        distributed.Client(two) as of_two,
    ):
        executors = {"at home": None, "1 worker": of_one.get_executor(), "2 workers": of_two.get_executor()}
        times: dict[str, list[float]] = {name: [] for name in executors}
        for executor in executors.values():
            seconds(arguments.members, 1, executor)  # imports, and code in the cache
        for _ in range(arguments.runs):
            for name, executor in executors.items():
                times[name].append(seconds(arguments.members, arguments.epochs, executor))
        print(f"an empty task: {1e3 * task_overhead(executors['2 workers'], 1000):.2f} ms")
        for name, own in times.items():
            taken = statistics.median(own)
            rate = arguments.members * arguments.epochs / taken
            print(f"{name:<10}{taken:8.2f} s {rate:10,.0f} members' epochs a second")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
