"""Machine code: made for a processor, kept on disk, and never taken from a file that is not its own."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp.engine import shuffle
from functional_mlp.engine.functions import compiled
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.policy import MEASURED

KEY = fm.random.key(0)
NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
DATA = fm.datasets.disk(KEY, 20)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fm.engine.explain(NETWORK, fm.MeanSquaredError(), fm.SGD(0.1))  # makes the engine's first code elsewhere,
    shuffle.function_of(machine.host(), MEASURED)  # and that which draws orders
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", str(tmp_path / "cache"))
    compiled.cache_clear()
    return tmp_path / "cache"


def train() -> fm.TrainState:
    return fm.fit(NETWORK, fm.MeanSquaredError(), fm.SGD(0.1), DATA, key=KEY, epochs=2, engine="fused").state


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The LLVM code that is compiled in a test."""
    made: list[str] = []
    assemble = machine.assemble
    monkeypatch.setattr(machine, "assemble", lambda text, target: made.append(text) or assemble(text, target))
    return made


def test_code_is_made_once_and_loaded_from_the_disk_after_that(cache: Path, assembled: list[str]) -> None:
    first = train()
    assert len(assembled) == len(list(cache.iterdir())) == 1
    compiled.cache_clear()
    assert fm.pytree.equal(train(), first)
    assert len(assembled) == 1


def test_each_processor_library_version_and_source_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    target = machine.host()
    digests = {machine._digest("key", target), machine._digest("other key", target)}
    digests.add(machine._digest("key", machine.Target(target.triple, "x86-64", "", 16)))
    digests.add(machine._digest("key", attrs.evolve(target, triple="aarch64-unknown-linux-gnu")))
    monkeypatch.setattr(machine.llvmlite, "__version__", "0")
    digests.add(machine._digest("key", target))
    monkeypatch.setattr(machine, "_source_digest", lambda: "changed")
    digests.add(machine._digest("key", target))
    assert len(digests) == 6


def test_every_source_file_of_the_package_counts_wherever_it_lies(tmp_path: Path) -> None:
    digests = {machine._source_digest()}
    assert digests == {machine.digest_of_sources(Path(fm.__file__).parent)}
    for name, text in (("a.py", "1"), ("a/b/c.py", ""), ("a/b/c.py", "2"), ("a/b/d.py", "2"), ("a/notes.txt", "3")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        digests.add(machine.digest_of_sources(tmp_path))
    assert len(digests) == 5  # notes are no source
    (tmp_path / "a/b/d.py").rename(tmp_path / "a/d.py")
    assert machine.digest_of_sources(tmp_path) not in digests


def test_without_sources_nothing_that_another_process_kept_is_used(tmp_path: Path) -> None:
    assert machine.digest_of_sources(tmp_path) != machine.digest_of_sources(tmp_path)


def test_code_of_a_user_is_known_by_what_it_emits(cache: Path, assembled: list[str]) -> None:
    """Two classes of one name and repr differ in their expressions."""
    states = []
    for factor in (1.0, 2.0):

        class Scaled(fm.Elementwise):
            def value(self, xp, s, factor=factor):
                return factor * s

            def derivative(self, xp, s, y, factor=factor):
                return factor

        network = fm.Sequential(fm.Linear(2, 2), Scaled())
        states.append(
            fm.fit(network, fm.MeanSquaredError(), fm.SGD(0.1), DATA, key=KEY, epochs=1, engine="fused").state
        )
    assert not fm.pytree.equal(*states)
    assert len(assembled) == 2


def test_threads_may_compile_at_once_and_the_same_code_is_made_by_one(cache: Path, assembled: list[str]) -> None:
    networks = [fm.Sequential(fm.Linear(2, width), fm.Tanh(), fm.Linear(width, 2)) for width in (3, 4, 5, 3, 4, 5)]

    def run(network: fm.Layer) -> fm.TrainState:
        return fm.fit(network, fm.MeanSquaredError(), fm.SGD(0.1), DATA, key=KEY, epochs=2, engine="fused").state

    with ThreadPoolExecutor(6) as pool:
        states = list(pool.map(run, networks))
    for first, second in zip(states[:3], states[3:], strict=True):
        assert fm.pytree.equal(first, second)
    assert len(assembled) == 3


def _train_in_process(cache: str) -> bytes:
    os.environ["FUNCTIONAL_MLP_CACHE"] = cache
    return b"".join(leaf.numpy().tobytes() for leaf in fm.pytree.leaves(train()))


def test_processes_may_write_at_once(cache: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = set(pool.map(_train_in_process, [str(cache)] * 4))
    assert len(results) == 1
    assert {path.suffix for path in cache.iterdir()} == {".o"}


@pytest.mark.parametrize("name", ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_target_of_this_processor_trains_alike(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", "off")
    monkeypatch.setenv("FUNCTIONAL_MLP_TARGET", name)
    try:
        machine.host()
    except ValueError:
        pytest.skip(f"this processor does not run {name}")
    data = fm.datasets.disk(KEY, 30, dtype=dtype)
    network = fm.Sequential(fm.Linear(2, 19), fm.Softplus(), fm.Linear(19, 11), fm.GELU(), fm.Linear(11, 2))
    for batch_size in (1, 7):
        fm.testing.check_engines_agree(network, fm.CrossEntropy(), fm.Adam(0.01), data, batch_size=batch_size)


def test_an_unknown_target_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTIONAL_MLP_TARGET", "z80")
    with pytest.raises(ValueError, match=r"FUNCTIONAL_MLP_TARGET must be 'native' or one of .*, got 'z80'"):
        machine.host()
