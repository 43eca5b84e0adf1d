"""Nothing hangs in a child that is forked while threads of its parent are at work, or have been."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import functional_mlp as fm
from functional_mlp import forks
from functional_mlp.engine.llvm import target as machine
from tests.forked import LIMIT, again_and_again, forked, forks_here, once

ROOT = Path(__file__).parent.parent
KEY = fm.random.key(0)
# Children that are forked one after the other, for not every moment is a bad one.
FORKS = 8


@pytest.fixture
def two_threads() -> Iterator[None]:
    """torch with two threads, on any machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def use_torch() -> float:
    """Operations that torch divides among its threads."""
    ones = torch.ones(600, 600)
    return (ones @ ones).sum().item() + fm.random.permutation(KEY, 200_000).double().sum().item()


def train(network: fm.Layer, engine: str, rows: int = 50) -> list[bytes]:
    data = fm.datasets.disk(KEY, rows)
    result = fm.fit(network, fm.CrossEntropy(), fm.Adam(0.1), data, key=KEY, epochs=2, batch_size=10, engine=engine)
    return [leaf.numpy().tobytes() for leaf in fm.pytree.leaves(result.params)]


NETWORK = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2))


@pytest.mark.usefixtures("two_threads")
@forks_here
def test_torch_computes_in_a_child_after_its_threads_have_run_in_the_parent() -> None:
    total = use_torch()
    with once(use_torch):
        assert forked(use_torch) == total
    assert forked(torch.get_num_threads) == 1
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("engine", ["reference", "fused"])
@forks_here
def test_a_child_trains_after_its_parent_and_beside_a_thread_that_trains(engine: str) -> None:
    expected = train(NETWORK, engine)
    assert forked(lambda: train(NETWORK, engine)) == expected
    with again_and_again(lambda: train(NETWORK, engine, rows=2000)):
        assert [forked(lambda: train(NETWORK, engine)) for _ in range(3)] == [expected] * 3


@forks_here
def test_a_child_compiles_while_a_thread_of_its_parent_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", "off")
    sums = "\n".join(f"  %y{i + 1} = fadd double %y{i}, %x" for i in range(3000))
    text = f"define double @f(double %x, double %y0) {{\n{sums}\n  ret double %y3000\n}}"

    def compile_new() -> bool:
        network = fm.Sequential(fm.Linear(2, 71), fm.Tanh(), fm.Linear(71, 2))
        return fm.engine.compile(network, fm.CrossEntropy(), fm.SGD(0.1), batch_size=1) is not None

    with again_and_again(lambda: machine.assemble(text, machine.host())):
        assert all(forked(compile_new) for _ in range(FORKS))


@forks_here
def test_a_child_trains_an_ensemble_while_a_thread_of_its_parent_does() -> None:
    optimizer = fm.SGD(0.1)

    def train_some(rows: int) -> list[float]:
        data = fm.datasets.disk(KEY, rows)
        result = fm.fit_ensemble(NETWORK, fm.CrossEntropy(), optimizer, data, keys=KEY.split(3), epochs=2)
        return [member.history.train_loss[-1] for member in result.members]

    expected = train_some(20)
    with again_and_again(lambda: train_some(100_000)):
        assert [forked(lambda: train_some(20)) for _ in range(FORKS)] == [expected] * FORKS


@forks_here
def test_a_child_loads_the_engine_while_a_thread_of_its_parent_does() -> None:
    program = """
import threading
import functional_mlp as fm
from tests.forked import forked

begun = threading.Event()
thread = threading.Thread(target=lambda: (begun.set(), fm.engine))
thread.start()
begun.wait()
print(forked(lambda: fm.engine.__name__))
thread.join()
"""
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * LIMIT)
    assert (done.returncode, done.stdout) == (0, "functional_mlp.engine\n"), done.stderr


@forks_here
def test_a_lock_is_free_in_a_child_and_what_it_guards_is_whole_there() -> None:
    guard = forks.lock()
    steps: list[int] = []

    def two_steps() -> None:
        with guard:
            steps.append(1)
            use_torch()
            steps.append(2)
            steps.clear()

    def is_whole() -> bool:
        with guard:
            return steps == []

    with again_and_again(two_steps):
        assert all(forked(is_whole) for _ in range(FORKS))
