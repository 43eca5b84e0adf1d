"""Data that are mapped from files: pages are given back, no number changes, and nothing that was written is lost."""

import mmap
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pages, pytree
from functional_mlp.checkpoint.settings import described
from functional_mlp.pages import Pages
from tests.helpers import KEY, assert_same_bits

ROWS, FEATURES = 600, 24
NETWORK, LOSS = fm.Sequential(fm.Linear(FEATURES, 5), fm.Tanh(), fm.Linear(5, 2)), fm.CrossEntropy()
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux alone")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of inputs that counts as large, of which little is read at a time."""
    monkeypatch.setattr(pages, "FEWEST_BYTES", 1)
    monkeypatch.setattr(pages, "BYTES_AT_ONCE", 1 << 13)
    monkeypatch.setattr(pages, "NUMBERS_AT_ONCE", 1 << 10)
    np.random.default_rng(0).random((ROWS, FEATURES)).astype("float32").tofile(tmp_path / "inputs")
    return tmp_path / "inputs"


def mapped(path: Path, mode: Any = "r") -> Any:
    return np.memmap(path, "float32", mode, shape=(ROWS, FEATURES))


def lent(path: Path) -> int:
    """The kilobytes of a file's pages that this process has."""
    entries = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    return sum(int(re.findall(r"^Rss: +(\d+)", entry, re.MULTILINE)[0]) for entry in entries if str(path) in entry)


def dataset(inputs: Any) -> fm.Dataset:
    return fm.Dataset(inputs, np.arange(ROWS) % 2)


def fit(data: fm.Dataset, **changes: Any) -> fm.FitResult:
    options: dict[str, Any] = {"key": KEY, "epochs": 1, "batch_size": 16, "validation": data, **changes}
    return fm.fit(NETWORK, LOSS, fm.SGD(0.1), data, **options)


def fit_ensemble(data: fm.Dataset, engine: Any) -> Any:
    options: dict[str, Any] = {"keys": KEY.split(3), "epochs": 1, "batch_size": 16, "engine": engine}
    return fm.fit_ensemble(NETWORK, LOSS, fm.SGD(0.1), data, **options).params


PARAMS = NETWORK.init(KEY)
# What reads all rows of a data set.
READERS: dict[str, Callable[[fm.Dataset], Any]] = {
    "fit, reference": lambda data: fit(data, engine="reference").params,
    "fit, fused": lambda data: fit(data, engine="fused").params,
    "fit, fused, single samples": lambda data: fit(data, engine="fused", batch_size=1).params,
    "fit, fused, in order": lambda data: fit(data, engine="fused", shuffle=False).params,
    "ensemble, reference": lambda data: fit_ensemble(data, "reference"),
    "evaluate, fused": lambda data: torch.tensor(fm.evaluate(NETWORK, LOSS, PARAMS, data, engine="fused").loss),
    "predict, reference": lambda data: fm.predict(NETWORK, PARAMS, data.inputs, engine="reference"),
    "predict, fused": lambda data: fm.predict(NETWORK, PARAMS, data.inputs, engine="fused"),
    "digest": lambda data: tuple(torch.tensor(list(described(data).encode()))),
}


@ON_LINUX
@pytest.mark.parametrize("name", READERS)
def test_pages_are_given_back_and_no_bit_changes(path: Path, name: str) -> None:
    inputs = mapped(path)
    data = dataset(inputs)
    assert lent(path) <= 4  # the row that types are read of
    result = READERS[name](data)
    assert lent(path) <= 4
    expected = READERS[name](dataset(np.array(inputs)))
    assert lent(path) > 4
    assert pytree.equal(result, expected)


def test_members_whose_data_are_mapped_train_as_alone(path: Path) -> None:
    data = dataset(mapped(path))
    together = fit_ensemble(data, "fused")
    for number, key in enumerate(KEY.split(3)):
        alone = fit(data, key=key, engine="fused")
        assert_same_bits(pytree.map(lambda leaf, n=number: leaf[n], together), alone.params)


@ON_LINUX
def test_sums_over_rows_that_are_looked_at_a_few_at_a_time_are_the_same_but_for_rounding(path: Path) -> None:
    data = dataset(mapped(path))
    metrics = fm.evaluate(NETWORK, LOSS, PARAMS, data, engine="reference")
    assert lent(path) <= 4
    expected = fm.evaluate(NETWORK, LOSS, PARAMS, dataset(data.inputs.clone()), engine="reference")
    assert (metrics.loss, metrics.accuracy) == pytest.approx((expected.loss, expected.accuracy), rel=1e-6)


@ON_LINUX
def test_rows_of_any_order_and_shape_are_those_of_the_tensor(path: Path) -> None:
    tensor = fm.Dataset(mapped(path), np.arange(ROWS)).inputs
    own = Pages.of(tensor)
    assert own
    for rows in (torch.tensor([[5, 599, 5], [0, 7, 300]]), torch.arange(ROWS).flip(0), torch.tensor([], dtype=int)):
        assert_same_bits(own.rows(tensor, rows), tensor[rows])


@ON_LINUX
def test_what_is_written_for_oneself_alone_is_not_lost(path: Path) -> None:
    copied = mapped(path, "c")
    copied[3] = 7.0
    kept = torch.from_file(str(path), shared=False, size=ROWS * FEATURES).view(ROWS, FEATURES)
    kept[3] = 7.0
    for inputs in (copied, kept):
        assert not Pages.of(torch.as_tensor(inputs))
        fit(dataset(inputs))
        assert bool((inputs[3] == 7.0).all())


@ON_LINUX
def test_maps_that_cannot_be_written_are_given_back_and_memory_is_not(path: Path) -> None:
    with path.open("rb") as file:
        alone = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
    assert Pages.of(dataset(np.frombuffer(alone, "float32").reshape(ROWS, FEATURES)).inputs)
    assert Pages.of(torch.from_file(str(path), shared=True, size=ROWS * FEATURES))
    assert not Pages.of(torch.zeros(ROWS, FEATURES))
    assert not Pages.of(torch.zeros(ROWS, FEATURES).share_memory_())
    assert not Pages.of(torch.zeros(0))


def test_elsewhere_nothing_is_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAPS", path.with_name("missing"))
    assert not Pages.of(torch.as_tensor(mapped(path, "r+")))
    assert fit(dataset(mapped(path))).state.epoch == 1
