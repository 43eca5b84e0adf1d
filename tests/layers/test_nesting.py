"""Combinators within combinators: linear work at every depth, up to a depth that Python can walk down."""

import copy
import functools
import gc
import itertools
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine import lowering
from functional_mlp.layers.nesting import MOST_LEVELS
from functional_mlp.unpacking import unpacking
from tests.helpers import KEY


def sequentials(layer: fm.Layer, levels: int) -> fm.Layer:
    for _ in range(levels):
        layer = fm.Sequential(layer)
    return layer


def residuals(layer: fm.Layer, levels: int) -> fm.Layer:
    for _ in range(levels):
        layer = fm.Residual(layer)
    return layer


def alternating(layer: fm.Layer, levels: int) -> fm.Layer:
    for level in range(levels):
        layer = fm.Sequential(layer) if level % 2 else fm.Residual(layer)
    return layer


NESTS = [sequentials, residuals, alternating]
Nest = Callable[[fm.Layer, int], fm.Layer]


def trained(network: fm.Layer, engine: str) -> None:
    data = fm.Dataset(torch.zeros(4, network.in_features), torch.zeros(4, network.in_features))
    fm.fit(network, fm.MeanSquaredError(), fm.SGD(0.1), data, key=KEY, epochs=1, engine=engine)


def saved(network: fm.Layer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        fm.save(path, network.init(KEY), network=network, optimizer=fm.SGD(0.1), loss=fm.MeanSquaredError())
        assert fm.load(path, network=network).network == network


WORK: dict[str, Callable[[fm.Layer], object]] = {
    "repr": repr,
    "summary": lambda network: network.summary(),
    "sizes": lambda network: pickle.loads(pickle.dumps(network)).out_features,
    "hash": lambda network: hash(pickle.loads(pickle.dumps(network))),
    "eq": lambda network: network == copy.deepcopy(network),
    "init": lambda network: network.init(KEY),
    "apply": lambda network: network.apply(network.init(KEY), torch.zeros(1, network.in_features)),
    "vjp": lambda network: network.vjp(network.init(KEY), *torch.zeros(2, 1, network.in_features)),
    "value and grad": lambda network: fm.value_and_grad(network, fm.MeanSquaredError())(
        network.init(KEY), *torch.zeros(2, 1, network.in_features)
    ),
    "trees": lambda network: pytree.items(pytree.map(torch.clone, network.init(KEY))),
    "file": saved,
    "lowering": lambda network: lowering.lower(
        network, fm.MeanSquaredError(), fm.SGD(0.1), batch_size=1, class_targets=False, dtype=torch.float32
    ),
    "reference engine": lambda network: trained(network, "reference"),
    "explain": lambda network: fm.engine.explain(network, fm.MeanSquaredError(), fm.SGD(0.1)),
}
_sizes = itertools.count(301)  # which no other test uses, so that nothing that is kept from one helps


def python_calls(work: Callable[[], object]) -> int:
    """How many calls of Python functions something takes, those of the garbage collector aside."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    gc.disable()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("name", WORK)
def test_work_grows_with_the_levels_of_a_nest_and_not_with_their_square(nest: Nest, name: str) -> None:
    def work(levels: int) -> int:
        size = next(_sizes)
        network = nest(fm.Linear(size, size), levels)
        unpacking.cache_clear()  # it is kept for each structure of parameters, whatever their sizes
        return python_calls(lambda: WORK[name](network))

    for _ in range(2):
        work(1)  # what is done once for all: a converter of values is made in two steps
    few, many, most = (work(levels) for levels in (12, 48, 96))
    assert most - few <= 2.5 * (many - few) + 10


@pytest.mark.parametrize("nest", NESTS)
def test_each_level_of_a_nest_takes_the_same_work_to_make(nest: Nest) -> None:
    network = nest(fm.Linear(2, 2), 50)
    calls = []
    for _ in range(40):
        calls.append(python_calls(functools.partial(nest, network, 1)))
        network = nest(network, 1)
    assert len(set(calls[1:])) == 1  # the first makes the hash of the nest below, which is kept


@pytest.mark.parametrize("nest", NESTS)
def test_a_nest_as_deep_as_it_may_be_does_all_that_a_shallow_one_does(nest: Nest) -> None:
    network = nest(fm.Linear(3, 3), MOST_LEVELS - 1)
    assert network.nesting_depth == MOST_LEVELS
    for work in WORK.values():
        work(network)
    trained(network, "fused")
    with pytest.raises(ValueError, match=rf"layers can be nested at most {MOST_LEVELS} deep, got {MOST_LEVELS + 1}"):
        nest(network, 1)


class Wrapped(fm.Layer):
    """A combinator of a user's own."""

    def apply(self, params: Any, x: torch.Tensor) -> torch.Tensor:
        return x

    def vjp(self, params: Any, x: torch.Tensor, grad_out: torch.Tensor) -> tuple[Any, torch.Tensor]:
        return (), grad_out


@attrs.frozen(repr=False)
class WrappedOne(Wrapped):
    layer: fm.Layer


@attrs.frozen(repr=False)
class WrappedMany(Wrapped):
    layers: tuple[fm.Layer, ...]


@attrs.frozen(repr=False)
class Tower(Wrapped):
    """A layer with a depth that means something else."""

    depth: int


def test_the_levels_of_combinators_of_a_users_own_count() -> None:
    assert fm.Residual(Tower(3)).nesting_depth == 2
    network: fm.Layer = WrappedMany((fm.Tanh(), WrappedOne(fm.Sequential(fm.Tanh()))))
    assert [fm.Tanh().nesting_depth, network.nesting_depth, fm.Residual(network).nesting_depth] == [1, 4, 5]
    for _ in range(5000):
        network = WrappedOne(network)
    for make in (lambda: fm.Sequential(network), lambda: fm.Residual(network), lambda: WORK["explain"](network)):
        with pytest.raises(ValueError, match="at most 100 deep, got 500"):
            make()
