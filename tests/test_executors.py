"""`fit_ensemble` on other machines: with pools, with a cluster of Dask, and with executors that lose what they have."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import attrs
import distributed
import numpy as np
import pytest
import torch
from distributed.scheduler import KilledWorker

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.ensemble import elsewhere, sharing, tasks
from functional_mlp.ensemble.fitting import fit_ensembles
from tests.docs.pages import ROOT, left_to
from tests.helpers import check_refused, refusal

NETWORK = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2))
LOSS = fm.MeanSquaredError()
KEYS = fm.random.key(1).split(6)
# Data sets of different lengths are trained apart, so that there are several tasks.
DATA = [fm.datasets.disk(fm.random.key(0), 20 + 10 * (number % 3)) for number in range(6)]


def fit(executor: Any = None, **changes: Any) -> fm.EnsembleResult:
    arguments: dict[str, Any] = {"data": DATA, "keys": KEYS, "epochs": 3, "engine": "reference"}
    arguments |= changes
    network, data = arguments.pop("network", NETWORK), arguments.pop("data")
    return fm.fit_ensemble(network, LOSS, arguments.pop("optimizer", fm.SGD(0.1)), data, executor=executor, **arguments)


def assert_same(actual: fm.EnsembleResult, expected: fm.EnsembleResult) -> None:
    """All that a result says but the seconds, bit for bit."""
    assert len(actual) == len(expected)
    for one, other in zip(actual.members, expected.members, strict=True):
        assert pytree.equal(one.state, other.state)
        assert pytree.equal(one.best, other.best)
        assert (one.diverged_at, one.stopped_early, one.interrupted) == (
            other.diverged_at,
            other.stopped_early,
            other.interrupted,
        )
        seconds = {"seconds": one.history.seconds}
        assert one.history == attrs.evolve(other.history, **seconds)


class Inline(Executor):
    """Runs tasks where they are submitted; of a submission `fate` may make something else, by its number."""

    def __init__(self, fate: Callable[[int, "Future[Any]"], bool] = lambda number, future: False) -> None:
        self.futures: list[Future[Any]] = []
        self._fate = fate

    def submit(self, call: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self.futures.append(future)
        if not self._fate(len(self.futures) - 1, future):
            try:
                future.set_result(call(*arguments, **options))
            except Exception as error:
                future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_pool_gives_the_bits_of_a_run_at_home(pool: ProcessPoolExecutor, engine: str) -> None:
    changes = {
        "engine": engine,
        "optimizer": [fm.Adam(0.01 * (1 + number)) for number in range(6)],
        "validation": fm.datasets.disk(fm.random.key(5), 15),
        "early_stopping": fm.EarlyStopping(1),
        "penalty": fm.penalties.l2(0.1),
        "schedule": fm.schedules.exponential_decay(0.9),
    }
    assert_same(fit(pool, **changes), fit(**changes))


def test_groups_of_many_members_keep_their_bits(pool: ProcessPoolExecutor) -> None:
    changes = {"engine": "fused", "data": DATA[0], "keys": fm.random.key(2).split(37)}
    assert_same(fit(pool, **changes), fit(**changes))


def test_data_stay_where_they_are(pool: ProcessPoolExecutor) -> None:
    inputs = np.linspace(0, 1, 40).reshape(20, 2)
    data = fm.Dataset(inputs, np.sin(inputs))
    address = data.inputs.data_ptr()
    fit(pool, data=data)
    assert data.inputs.data_ptr() == address == inputs.ctypes.data
    assert not data.inputs.is_shared()


def test_data_that_members_share_are_sent_once() -> None:
    sent: list[tuple[Any, ...]] = []

    class Recording(Inline):
        def submit(self, call: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
            sent.append(arguments)
            return super().submit(call, *arguments, **options)

    large = fm.datasets.disk(fm.random.key(0), 20_000)
    changes = {"epochs": 1, "batch_size": 10_000, "network": Branching()}
    fit(Recording(), data=large, **changes)  # a task for each member
    assert len(sent) == len(KEYS)
    assert {id(data) for _, data in sent} == {id(large)}
    assert all(len(content) < 20_000 for content, _ in sent)


@attrs.frozen(repr=False)
class Branching(fm.Layer):
    """A layer that only one member at a time can be trained with."""

    def init(self, key: Any, *, dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        return (torch.ones(2, dtype=dtype),)

    def apply(self, params: Any, x: torch.Tensor) -> torch.Tensor:
        return x * params[0]

    def vjp(self, params: Any, x: torch.Tensor, grad_out: torch.Tensor) -> Any:
        return ((grad_out * x).reshape(-1, 2).sum(0),), grad_out * params[0]


def test_members_that_diverge_do_so_elsewhere(pool: ProcessPoolExecutor) -> None:
    changes = {"optimizer": [fm.SGD(1e30 if number == 2 else 0.1) for number in range(6)]}
    with pytest.warns(RuntimeWarning, match="1 of 6 members diverged.*member 2 in epoch"):
        away = fit(pool, **changes)
    with pytest.warns(RuntimeWarning, match="1 of 6 members diverged"):
        home = fit(**changes)
    assert_same(away, home)


def test_progress_counts_the_members_that_are_done() -> None:
    seen: list[float] = []
    fit(Inline(), progress=seen.append)
    assert seen == [1.0, 2.0, 3.0]


def test_another_processor_makes_groups_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"engine": "fused", "data": DATA[0], "keys": fm.random.key(2).split(37)}
    monkeypatch.setenv("FUNCTIONAL_MLP_TARGET", "native")
    home = fit(**changes)

    def arrive(number: int, future: "Future[Any]") -> bool:
        monkeypatch.setenv("FUNCTIONAL_MLP_TARGET", "x86-64")
        return False

    away = fit(Inline(arrive), **changes)
    for one, other in zip(away.members, home.members, strict=True):
        assert one.history.train_loss == pytest.approx(other.history.train_loss, rel=1e-4)


def test_ctrl_c_keeps_what_is_done_and_cancels_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "GRACE", 0.0)
    executor = Inline(lambda number, future: number > 0)  # the tasks after the first one wait
    checkpoint = fm.Checkpoint(tmp_path / "run.safetensors")

    def interrupt(done: float) -> None:
        raise KeyboardInterrupt

    result = fit(executor, progress=interrupt, checkpoint=checkpoint)
    assert [member.interrupted for member in result.members] == [False, True, True] * 2
    assert [len(member.history) for member in result.members] == [3, 0, 0] * 2
    assert all(future.cancelled() for future in executor.futures[1:])
    assert_same(fit(Inline(), checkpoint=checkpoint), fit())


def test_tasks_that_are_lost_run_again() -> None:
    executor = Inline(lambda number, future: number < 4 and _lose(future))
    assert_same(fit(executor), fit())
    assert len(executor.futures) == 3 + 3 + 1


def _lose(future: "Future[Any]") -> bool:
    """What Dask does where the data of a task are lost."""
    future.cancel()
    future.set_running_or_notify_cancel()
    return True


def test_an_executor_that_loses_all_tasks_is_given_up() -> None:
    executor = Inline(lambda number, future: _lose(future))
    with pytest.raises(fm.LostError, match="have lost 3 tasks, all that they had, 3 times"):
        fit(executor)
    assert len(executor.futures) == 3 + 8


class Late(Inline):
    """Runs the first task when a later one, of this number, is submitted."""

    def __init__(self, until: int) -> None:
        super().__init__(lambda number, future: number == 0)
        self._until, self._first = until, lambda: None

    def submit(self, call: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
        if not self.futures:
            self._first = lambda: self.futures[0].set_result(call(*arguments, **options))
        elif len(self.futures) == self._until:
            self._first()
        return super().submit(call, *arguments, **options)


def calls_of(ensembles: int, begun: list[int]) -> Iterator[dict[str, Any]]:
    """Ensembles of three members, each a task; `begun` are those that were asked for."""
    for number in range(ensembles):
        begun.append(number)
        shared = {"loss": LOSS, "optimizer": fm.SGD(0.1), "engine": "reference"}
        yield {"network": NETWORK, "data": DATA[:3], "keys": KEYS[:3], "epochs": 1 + number, **shared}


def test_workers_need_not_wait_for_the_last_member_of_an_ensemble() -> None:
    begun: list[int] = []
    arriving = fit_ensembles(calls_of(4, begun), Late(3 * 4 - 1), at_once=4)
    places, results = [], {}
    for place, result in arriving:
        if not places:
            assert begun == [0, 1, 2]
        places.append(place)
        results[place] = result
    assert places == [1, 2, 0, 3]
    for place, result in results.items():
        assert_same(result, fit(data=DATA[:3], keys=KEYS[:3], epochs=1 + place))


def test_after_ctrl_c_the_ensembles_that_were_begun_are_given_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "GRACE", 0.0)

    def interrupted() -> Iterator[dict[str, Any]]:
        yield from calls_of(2, [])
        raise KeyboardInterrupt

    executor = Inline(lambda number, future: number > 3)
    results = dict(fit_ensembles(interrupted(), executor, at_once=100))
    assert {place: [member.interrupted for member in result.members] for place, result in results.items()} == {
        0: [False, False, False],
        1: [False, True, True],
    }
    assert all(future.cancelled() for future in executor.futures[4:])


def test_ensembles_that_nobody_waits_for_are_cancelled() -> None:
    executor = Inline(lambda number, future: number > 2)
    arriving = fit_ensembles(calls_of(3, []), executor, at_once=100)
    assert next(arriving)[0] == 0
    arriving.close()
    assert all(future.cancelled() for future in executor.futures[3:])


def test_tasks_that_no_worker_has_are_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(sharing._InMemory):
        def is_idle(self) -> bool:
            return True

    monkeypatch.setattr(tasks, "sharing", lambda executor: Idle(lambda data: data))
    monkeypatch.setattr(tasks, "SILENCE", 0.01)
    forgetful = Inline(lambda number, future: number in (1, 2))
    assert_same(fit(forgetful), fit())
    assert [future.cancelled() for future in forgetful.futures] == [False, True, True, False, False]
    with pytest.raises(fm.LostError, match="workers have lost"):
        fit(Inline(lambda number, future: True))


def test_workers_that_do_not_come_back_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deserted(sharing._InMemory):
        def has_workers(self) -> bool:
            return False

    monkeypatch.setattr(tasks, "sharing", lambda executor: Deserted(lambda data: data))
    monkeypatch.setattr(tasks, "SILENCE", 0.01)
    monkeypatch.setattr(tasks, "PATIENCE", 0.02)
    deserted = Inline(lambda number, future: True)
    with pytest.raises(fm.LostError, match=r"there are no workers .*start some"):
        fit(deserted)
    assert all(future.cancelled() for future in deserted.futures)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("Timed out trying to connect to tcp://127.0.0.1:1"), r"not reached .*tcp://127.0.0.1:1.*checkpoint"),
        (Exception("ModuleNotFoundError('functional_mlp')"), r"take no tasks .*functional_mlp.*as here"),
    ],
)
def test_workers_that_do_not_take_data_are_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def untaken(data: fm.Dataset) -> fm.Dataset:
        raise error

    monkeypatch.setattr(tasks, "sharing", lambda executor: sharing._InMemory(untaken))
    with pytest.raises(fm.LostError, match=message):
        fit(Inline())


def test_workers_that_lost_all_data_are_waited_for_as_long() -> None:
    class Client:
        def scatter(self, data: fm.Dataset, **options: Any) -> None:
            raise TimeoutError(f"none for {options['timeout']:g} s")

    with pytest.raises(TimeoutError, match=f"none for {tasks.PATIENCE:g} s"):
        sharing._Scattered(Client()).argument(DATA[0], whole=False)


def test_data_are_carried_to_each_worker_once_and_again_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "sharing", lambda executor: sharing._Carrying(2))
    given: list[bool] = []

    class Forgetful(Inline):
        def submit(self, call: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
            given.append(arguments[1].data is not None)
            if len(given) == 4:
                sharing._GIVEN.clear()
            return super().submit(call, *arguments, **options)

    large = fm.datasets.disk(fm.random.key(0), 200)
    changes = {"data": large, "network": Branching(), "epochs": 1}
    assert_same(fit(Forgetful(), **changes), fit(**changes))
    assert given == [True, True, False, False, False, False, True, True, True]


GUIDE = "docs/guides/clusters.md"
CHECK = """
    from mpi4py import MPI
    from functional_mlp import pytree
    home = fm.fit_ensemble(*arguments, keys=keys, epochs=100)
    print(f"{MPI.COMM_WORLD.size} processes, the same: {pytree.equal(result.params, home.params)}")
"""


def test_the_script_of_the_guide_gives_the_bits_of_a_run_at_home_by_mpi(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py", reason="needs mpi4py and mpich: `.ci/run outside` installs them")
    script, commands = left_to(__file__, GUIDE)
    (tmp_path / "script.py").write_text(script + CHECK)
    (line,) = (line for line in commands.splitlines() if line.startswith("mpiexec "))
    files = {path.name: Path(str(path.locate())) for path in importlib.metadata.files("mpich") or ()}
    library = os.pathsep.join({str(path.parent) for name, path in files.items() if name.startswith("libmpi.")})
    environment = {**os.environ, "LD_LIBRARY_PATH": library, "PYTHONPATH": str(ROOT)}
    command = [
        {"mpiexec": str(files["mpiexec"]), "python": sys.executable, "9": "2"}.get(word, word) for word in line.split()
    ]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "2 processes, the same: True", process.stdout


def end_the_pool(future: "Future[Any]") -> bool:
    """What a process pool does with its tasks where a worker is lost."""
    future.set_exception(BrokenProcessPool("A process in the process pool was terminated abruptly"))
    return True


def test_what_was_done_before_workers_were_lost_is_kept(tmp_path: Path) -> None:
    checkpoint, home = fm.Checkpoint(tmp_path / "run.safetensors"), fit()
    # The first task is done when the second one is lost, and has not been looked at yet.
    executor = Inline(lambda number, future: number == 1 and end_the_pool(future))
    with pytest.raises(fm.LostError, match=r"lost a worker.*make a new one.*not made anew here") as caught:
        fit(executor, checkpoint=checkpoint)
    assert caught.value.result is not None
    done, expected = caught.value.result.members, home.members
    assert [member.interrupted for member in done] == [False, True, False] * 2
    assert all(pytree.equal(done[place].state, expected[place].state) for place in (0, 2, 3, 5))
    assert_same(fit(Inline(), checkpoint=checkpoint), home)


def test_ensembles_that_are_done_are_given_before_the_loss_is_told() -> None:
    executor, told = Inline(lambda number, future: number == 4 and end_the_pool(future)), []
    given: dict[int, fm.EnsembleResult] = {}
    with pytest.raises(fm.LostError, match="lost a worker"):
        given |= fit_ensembles(calls_of(4, []), executor, at_once=6, progress=told.append)
    interrupted = {place: [member.interrupted for member in result.members] for place, result in given.items()}
    assert interrupted == {place: [False, place == 1, False] for place in range(4)}
    assert told == [1, 2, 3, 4]


def test_a_task_that_ends_its_workers_is_an_error_that_says_so() -> None:
    def killed(number: int, future: "Future[Any]") -> bool:
        last: Any = types.SimpleNamespace(address="tcp://127.0.0.1:1")
        future.set_exception(KilledWorker("train_parcel-1", last, 3))
        return True

    with pytest.raises(fm.LostError, match=r"a task cannot be run.*all those workers died.*see what the workers"):
        fit(Inline(killed))


@attrs.frozen
class Deadly:
    """A schedule that ends the process of a worker."""

    home: int = attrs.field(factory=os.getpid)

    def __call__(self, epoch: int) -> float:
        if os.getpid() != self.home:
            os._exit(1)
        return 1.0


def test_a_pool_that_loses_its_worker_leaves_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = fm.Checkpoint(tmp_path / "run.safetensors")
    flat, deadly = fm.schedules.constant(), Deadly()
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(fm.LostError, match=r"the executor has lost a worker.*make a new one") as caught,
    ):
        fit(executor, data=DATA[:3] * 2, schedule=[flat, flat, deadly] * 2, checkpoint=checkpoint)
    kept = [member.state.epoch for member in fm.load(checkpoint.path).members]
    assert kept[2] == 0
    assert caught.value.result is not None
    assert [len(member.history) for member in caught.value.result.members] == kept


def shut_down() -> Executor:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    return executor


def from_a_module_that_workers_lack() -> fm.EnsembleResult:
    module = types.ModuleType("only_here")
    layer = type("Mine", (Branching,), {"__module__": "only_here"})
    module.Mine = layer  # type: ignore[attr-defined]
    sys.modules["only_here"] = module

    def arrive(number: int, future: "Future[Any]") -> bool:
        sys.modules.pop("only_here", None)
        return False

    return fit(Inline(arrive), network=layer())


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("no executor", lambda: fit(7), TypeError, "executor", "7", ".get_executor()"),
        refusal(
            "callbacks",
            lambda: fit(Inline(), callbacks=[lambda *_: None]),
            ValueError,
            "callbacks",
            "leave them out",
        ),
        refusal("shut down", lambda: fit(shut_down()), ValueError, "takes no tasks", "before it is shut down"),
        refusal(
            "a function without a name",
            lambda: fit(Inline(), schedule=lambda epoch: 1.0),
            TypeError,
            "schedule",
            "lambda",
            "cannot be pickled",
        ),
        refusal(
            "a class that workers lack",
            from_a_module_that_workers_lack,
            TypeError,
            "cannot import only_here.Mine",
            "where the workers run",
        ),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], fragments: tuple[str, ...]) -> None:
    check_refused(call, error, fragments)


def test_a_cluster_that_loses_a_worker_gives_the_bits_of_a_run_at_home() -> None:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        victim, *_ = client.run(os.getpid).values()

        def kill(done: float) -> None:
            nonlocal victim
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
            victim = None

        away = fit(client.get_executor(), data=_many(), keys=fm.random.key(3).split(12), progress=kill, epochs=20)
        assert victim is None
        assert sharing.dask_client(client.get_executor()) is client
    assert_same(away, fit(data=_many(), keys=fm.random.key(3).split(12), epochs=20))


def _many() -> list[fm.Dataset]:
    """Data sets of 12 lengths: as many tasks."""
    return [fm.datasets.disk(fm.random.key(0), 60 + number) for number in range(12)]
