"""Threads that run native code together wait for each other, and for nobody else."""

import ctypes
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Generic, NamedTuple

import attrs
import pytest
import torch
from llvmlite import ir

import functional_mlp as fm
from functional_mlp.engine import crew
from functional_mlp.engine.barrier import Team, emit_barrier
from functional_mlp.engine.calls import Share
from functional_mlp.engine.crew import together
from functional_mlp.engine.functions import Source, begin, compiled
from functional_mlp.engine.llvm.emitter import Emitter
from functional_mlp.engine.llvm.records import Item, Kind, Pointer
from functional_mlp.engine.llvm.target import host
from functional_mlp.engine.llvm.types import I64, Real
from functional_mlp.engine.lowering import lower_steps
from functional_mlp.engine.plan import Plan, plan_of
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.engine.workspace import note_workspace
from tests.engine import modes
from tests.engine.modes import among_threads, torch_threads
from tests.forked import forked, forks_here

KEY = fm.random.key(0)
MEETINGS = 1000


class Counted(NamedTuple, Generic[Item]):
    """Where a thread counts its meetings."""

    place: Pointer[Item]


@attrs.frozen
class Meetings(Source):
    """A thread's part in some meetings, which adds up how many there were."""

    plan: Plan

    what = "meetings"
    key = None
    functions: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"meetings": (Share, Counted)}

    def check_unchanged(self) -> None:
        pass

    def emit(self) -> ir.Module:
        module = ir.Module("meetings")
        builder, (share, counted) = begin(module, "meetings", Share, Counted)
        e = Emitter(builder, Real(torch.float64), 1)

        def one(i: ir.Value) -> None:
            emit_barrier(builder, share, self.plan)
            builder.store(builder.add(builder.load(counted.place, typ=I64), ir.Constant(I64, 1)), counted.place)

        e.loop("meetings", 0, MEETINGS, 1, one)
        builder.ret_void()
        note_workspace(module, 0)
        return module


@pytest.fixture(scope="module")
def meet() -> Callable[..., None]:
    """meet(rank, threads, team, counts): a thread's part in some meetings."""
    plan = plan_of(lower_steps(fm.Linear(1, 1), dtype=torch.float64), host())
    code = compiled(Meetings(plan), host())

    def meet(rank: int, threads: int, team: Team, counts: ctypes.Array[ctypes.c_int64]) -> None:
        share = Share(rank=rank, threads=threads, team=team.address)
        code.functions["meetings"](*share, *Counted(ctypes.addressof(counts) + 8 * rank))

    return meet


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_all_threads_come_to_all_meetings(meet: Callable[..., None], threads: int) -> None:
    counts = (ctypes.c_int64 * threads)()
    together(lambda *share: meet(*share, counts), threads, threads)
    assert list(counts) == [MEETINGS] * threads


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_thread_that_fails_does_not_leave_the_others_waiting(meet: Callable[..., None], failing: int) -> None:
    counts = (ctypes.c_int64 * 3)()

    def work(rank: int, threads: int, team: Team) -> None:
        if rank == failing:
            raise KeyboardInterrupt
        meet(rank, threads, team, counts)

    with pytest.raises(KeyboardInterrupt):
        together(work, 3, 3)
    assert counts[failing] == 0
    assert {*counts} <= {0, MEETINGS}  # or it has not begun
    counts = (ctypes.c_int64 * 3)()
    together(lambda *share: meet(*share, counts), 3, 3)  # and the next ones are none the worse
    assert list(counts) == [MEETINGS] * 3


def test_teams_share_the_cores_that_there_are(meet: Callable[..., None]) -> None:
    sizes: list[int] = []

    def work(rank: int, threads: int, team: Team) -> None:
        if rank == 0 and len(sizes) < 4:
            sizes.append(threads)
            together(work, 3, 4)

    together(work, 3, 4)
    assert sizes == [3, 1, 1, 1]


def test_where_no_threads_are_to_be_had_one_does_all(
    meet: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(crew, "_crew", crew.Crew())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    counts = (ctypes.c_int64 * 3)()
    together(lambda *share: meet(*share, counts), 3, 3)
    assert list(counts) == [MEETINGS, 0, 0]


NETWORK = fm.Sequential(fm.Linear(2, 20), fm.Tanh(), fm.Linear(20, 20), fm.ReLU(), fm.Linear(20, 2))


DIVIDED = among_threads()
IN_SHORT_CALLS = attrs.evolve(DIVIDED, operations_per_call=0)


def train(seed: int, policy: Policy = DIVIDED, progress: Callable[[float], None] | None = None) -> list[bytes]:
    options = {"data": fm.datasets.disk(KEY, 200), "key": fm.random.key(seed), "epochs": 3, "batch_size": 20}
    result = modes.fit(NETWORK, fm.MeanSquaredError(), fm.Adam(0.1), **options, policy=policy, progress=progress)
    return [leaf.numpy().tobytes() for leaf in fm.pytree.leaves(result.params)]


def test_sixteen_fits_at_once_in_sixteen_threads() -> None:
    expected = [train(seed, MEASURED) for seed in range(16)]
    with torch_threads(2), ThreadPoolExecutor(16) as pool:
        assert list(pool.map(train, range(16))) == expected


def test_threads_make_the_calls_of_an_epoch_together_until_it_is_interrupted() -> None:
    told: list[float] = []

    def interrupt(epochs: float) -> None:
        told.append(epochs)
        if len(told) == 15:
            raise ArithmeticError

    expected = train(0, MEASURED)
    with torch_threads(2):
        with pytest.raises(ArithmeticError):
            train(0, IN_SHORT_CALLS, interrupt)
        assert told == pytest.approx([batches / 10 for batches in range(1, 16)])
        assert train(0, IN_SHORT_CALLS) == expected


@forks_here
def test_a_forked_child_has_threads_of_its_own() -> None:
    expected = train(0, MEASURED)

    def train_on_two_threads() -> list[bytes]:
        torch.set_num_threads(2)
        return train(0)

    with torch_threads(2):
        assert train(0) == expected
        assert forked(train_on_two_threads) == expected
        assert train(0) == expected
