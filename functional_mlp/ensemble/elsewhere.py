"""Training on other machines: groups of members are the tasks of an executor.

A task is a pure function of what is sent, so that it may run anywhere, and again where a worker is lost.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor

import attrs

from functional_mlp import checks, engines
from functional_mlp.ensemble.groups import grouped
from functional_mlp.ensemble.parcels import Packing, Parcel
from functional_mlp.ensemble.tasks import Results, Task, Tasks
from functional_mlp.history import History
from functional_mlp.lost import LostError
from functional_mlp.state import FitResult, Job, Progress, untrained
from functional_mlp.watching import Watch

# Seconds that tasks have after Ctrl-C, of which a terminal tells the processes of a pool as well, to hand over results.
GRACE = 2.0


def check_executor(executor: object, callbacks: Sequence[object]) -> None:
    """Raise unless this is an executor, and nobody looks at what happens within its tasks, or None."""
    if executor is None:
        return
    advice = "pass a concurrent.futures.Executor; that of a Dask client is its .get_executor()"
    checks.instance("fit_ensemble: executor", executor, Executor, advice)
    if callbacks:
        raise ValueError(
            "fit_ensemble: callbacks look at each epoch, and an executor's workers train in other processes: leave "
            "them out; early_stopping, a checkpoint and progress work with an executor"
        )


@attrs.define(eq=False)
class _Begun:
    """A job whose tasks are with the workers: the number of those not done, and the results of the others."""

    watch: Watch
    tasks: int
    results: Results = attrs.field(factory=dict)

    def take(self, arrived: Results) -> None:
        """Take the results of a task."""
        self.tasks -= 1
        self.results |= arrived
        job = self.watch.job
        self.watch.receive({number: _progress(job, number, result) for number, result in arrived.items()})

    @property
    def members_away(self) -> int:
        return len(self.watch.job.members) - len(self.results)

    @property
    def epochs_done(self) -> float:
        """The number of epochs done, the mean over the members: one whose training is over has had all of them."""
        job, results = self.watch.job, self.results
        left = (member.start.epoch for number, member in enumerate(job.members) if number not in results)
        return (len(results) * job.epochs + sum(left)) / len(job.members)

    def outcome(self) -> Results:
        """The results of all members; those that are not done stay as they were."""
        members = enumerate(self.watch.job.members)
        return self.results | {number: untrained(each) for number, each in members if number not in self.results}


def train_elsewhere(
    watches: Iterable[Watch],
    executor: Executor,
    *,
    at_once: float = math.inf,
    progress: Callable[[int, float], None] | None = None,
) -> Iterator[tuple[int, Results]]:
    """Train jobs by an executor, and give the results of each with its place, in the order in which they are done.

    The next job is begun while fewer than `at_once` members are with the workers, so that these need not wait for the
    last of another. After each task `progress` is told how many members are done, of all jobs, and the epochs done of
    its job. After Ctrl-C no job is begun, and those that were are given as they are, as they are before a `LostError`.
    """
    tasks, waiting, begun = Tasks(executor), enumerate(watches), dict[int, _Begun]()
    is_more, done = True, 0
    try:
        while is_more or begun:
            while is_more and sum(each.members_away for each in begun.values()) < at_once:
                place, watch = next(waiting, (-1, None))
                if watch is None:
                    is_more = False
                else:
                    begun[place] = _Begun(watch, 0)
                    for task in _tasks_of(place, watch):
                        tasks.submit(task)
                        begun[place].tasks += 1
            if not begun:
                break
            task, arrived = tasks.next()
            job = begun[task.job]
            job.take(arrived)
            done += len(arrived)
            if progress is not None:
                progress(done, job.epochs_done)
            if job.tasks == 0:
                job.watch.close()
                yield task.job, begun.pop(task.job).outcome()
    except (KeyboardInterrupt, LostError) as end:
        is_lost = isinstance(end, LostError)
        for task, arrived in tasks.cancel(0.0 if is_lost else GRACE):
            begun[task.job].take(arrived)
        for place, job in begun.items():
            job.watch.close()
            yield place, job.outcome()
        if is_lost:
            raise
    except BaseException:
        list(tasks.cancel(0.0))
        for job in begun.values():
            job.watch.close()
        raise


def _tasks_of(place: int, watch: Watch) -> list[Task]:
    """The tasks of a job, one a group, and its checkpoint begun: what cannot be trained, sent or kept is found here."""
    job, packing = watch.job, Packing()
    groups, fused = grouped(job)
    processor = engines.processor() if fused else None
    packed = [packing.pack(Parcel(attrs.evolve(job, members=g.members), g, processor)) for g in groups]
    watch.begin()
    return [Task(place, each.content, [packing.datasets[number] for number in each.datasets]) for each in packed]


def _progress(job: Job, number: int, result: FitResult) -> Progress:
    """What a checkpoint keeps of a member's result: its last finite state, and the history up to there."""
    before = job.members[number].progress
    length = len(before.history) + result.state.epoch - before.state.epoch
    best = None if job.early_stopping is None else result.best
    history = History.of(result.history.records()[:length])
    return Progress(result.state, history, before.ended, best, before.judged_from)
