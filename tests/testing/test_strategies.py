"""What the strategies draw, and that they shrink to what is quickest to read."""

import ast
import importlib
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from torch import Tensor

import functional_mlp as fm
from functional_mlp import from_type, testing
from functional_mlp.testing import datasets, keys, layers, losses, networks, optimizers, tensors

STEADY = settings(max_examples=200)
FEW = settings(max_examples=30)

AWKWARD = {
    "expanded": lambda x: x.stride(0) == 0,
    "strided": lambda x: x.stride(-1) == 2,
    "at an offset": lambda x: x.storage_offset() > 0,
    "transposed": lambda x: not x.is_contiguous() and x.mT.is_contiguous(),
    "a negated view": lambda x: x.is_neg(),
}


@pytest.mark.parametrize("kind", [fm.Dataset, fm.random.Key, fm.Layer, fm.Loss, fm.Optimizer, fm.Sequential])
def test_from_type_draws_what_the_strategies_draw(kind: type) -> None:
    @settings(max_examples=5)
    @given(st.from_type(kind))
    def is_one(value: object) -> None:
        assert isinstance(value, kind)

    is_one()


def entry_point() -> Callable[[], None]:
    """What hypothesis calls when it is imported, where the package is installed."""
    project = tomllib.loads((Path(fm.__file__).parent.parent / "pyproject.toml").read_text())["project"]
    (place,) = project["entry-points"]["hypothesis"].values()
    module, _, function = place.partition(":")
    found: Callable[[], None] = getattr(importlib.import_module(module), function)
    return found


def test_classes_are_drawn_that_hypothesis_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(fm.Tanh):
        pass

    monkeypatch.setitem(testing.STRATEGIES, Late, st.just(Late()))
    with monkeypatch.context() as before:
        before.delitem(sys.modules, "hypothesis.strategies")
        assert from_type.drawn(Late) is Late
        entry_point()()
    entry_point()()
    assert find(st.from_type(Late), lambda _: True) == Late()


def test_classes_are_drawn_that_come_after_hypothesis_and_nothing_is_loaded_before() -> None:
    code = """
import sys
from hypothesis import find, strategies
import functional_mlp as fm
from functional_mlp.from_type import register
register()
light = "torch" not in sys.modules
kind = fm.random.Key
lighter = "functional_mlp.testing" not in sys.modules
print((light, lighter, find(strategies.from_type(kind), lambda _: True) == fm.random.key(0)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert ast.literal_eval(done.stdout) == (True, True, True)


def test_the_kit_makes_classes_known_where_entry_points_are_not_called() -> None:
    code = """
import functional_mlp as fm
known = fm.random.Key, fm.Dataset, fm.Layer, fm.Loss, fm.Optimizer, fm.Sequential
from hypothesis import find, strategies
fm.testing
print(find(strategies.from_type(fm.random.Key), lambda _: True) == fm.random.key(0))
"""
    alone = {**os.environ, "HYPOTHESIS_NO_PLUGINS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=alone)
    assert done.stdout == "True\n"


def test_given_finds_strategies_by_annotations() -> None:
    @settings(max_examples=5)
    @given(...)
    def keeps_the_key(key: fm.random.Key, optimizer: fm.Optimizer) -> None:
        assert optimizer.init(fm.Linear(2, 2).init(key)).step == 0

    keeps_the_key()


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_lie_in_awkward_memory(kind: str, dtype: torch.dtype) -> None:
    x = find(tensors((2, 3), dtype), AWKWARD[kind], settings=STEADY)
    assert x.shape == (2, 3)
    assert x.dtype == dtype
    assert not x.any()


@FEW
@given(tensors((2, 3), awkward=False), tensors(st.tuples(st.integers(0, 3))), tensors((100, 2)))
def test_tensors_have_their_shape_and_finite_numbers(plain: Tensor, drawn_shape: Tensor, large: Tensor) -> None:
    assert plain.is_contiguous()
    assert plain.storage_offset() == 0
    assert drawn_shape.ndim == 1
    assert large.shape == (100, 2)
    assert all(x.isfinite().all() for x in (plain, drawn_shape, large))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tensors_are_of_half_precision_too(dtype: torch.dtype) -> None:
    assert find(tensors((2,), dtype), lambda x: True, settings=STEADY).dtype == dtype


def test_tensors_shrink_to_zeros_with_the_one_number_that_matters() -> None:
    x = find(tensors((2, 2)), lambda x: bool((x > 1).any()), settings=STEADY)
    assert sorted(x.flatten().tolist()) == [0.0, 0.0, 0.0, 1.0625]
    assert x.is_contiguous()


def test_keys_shrink_to_the_key_of_seed_0() -> None:
    assert find(keys(), lambda key: True, settings=STEADY) == fm.random.key(0)


def test_layers_shrink_to_a_layer_of_one_number() -> None:
    assert find(layers(), lambda layer: True, settings=STEADY) == fm.Identity()
    assert find(layers(), lambda layer: isinstance(layer, fm.Linear), settings=STEADY) == fm.Linear(1, 1)


def test_networks_shrink_to_one_layer() -> None:
    assert find(networks(), lambda network: True, settings=STEADY) == fm.Sequential(fm.Linear(1, 1))


def _contains(layer: fm.Layer, kind: type) -> bool:
    if isinstance(layer, kind):
        return True
    inner = list(layer) if isinstance(layer, fm.Sequential) else [layer.layer] if isinstance(layer, fm.Residual) else []
    return any(_contains(each, kind) for each in inner)


@pytest.mark.parametrize(
    ("kind", "smallest"),
    [
        (fm.GELU, [fm.Sequential(fm.GELU(), fm.Linear(1, 1)), fm.Sequential(fm.Linear(1, 1), fm.GELU())]),
        (fm.Residual, [fm.Sequential(fm.Residual(fm.Identity()), fm.Linear(1, 1))]),
    ],
    ids=["GELU", "Residual"],
)
def test_networks_shrink_to_the_layer_that_matters(kind: type, smallest: list[fm.Layer]) -> None:
    assert find(networks(), lambda network: _contains(network, kind), settings=STEADY) in smallest


def test_networks_nest() -> None:
    found = find(
        networks(), lambda network: any(isinstance(layer, fm.Sequential) for layer in network), settings=STEADY
    )
    assert found == fm.Sequential(fm.Sequential(fm.Linear(1, 1)), fm.Linear(1, 1))


@FEW
@given(st.data(), networks(in_features=3, out_features=2), losses())
def test_data_sets_fit_their_network_and_loss(data: st.DataObject, network: fm.Sequential, loss: fm.Loss) -> None:
    assert (network.in_features, network.out_features) == (3, 2)
    drawn = data.draw(datasets(network, loss, max_size=4, dtype=torch.float64))
    assert 1 <= len(drawn) <= 4
    params = network.init(fm.random.key(0), dtype=torch.float64)
    assert math.isfinite(fm.evaluate(network, loss, params, drawn).loss)


def test_data_sets_hold_every_kind_of_targets() -> None:
    network = fm.Linear(2, 3)
    classes = find(datasets(network), lambda data: data.targets.dtype == torch.int64, settings=STEADY)
    values = find(datasets(network), lambda data: data.labels is None, settings=STEADY)
    assert classes.targets.tolist() == [0]
    assert values.targets.shape == (1, 3)


def test_a_network_of_unknown_size_has_no_data_set() -> None:
    with pytest.raises(ValueError, match="must have in_features and out_features, got Tanh"):
        find(datasets(fm.Tanh()), lambda data: True, settings=STEADY)


def test_optimizers_and_losses_are_the_librarys() -> None:
    assert find(optimizers(), lambda optimizer: True, settings=STEADY) == fm.SGD(0.5 / 16)
    for kind in (fm.SGD, fm.BatchGD, fm.Momentum, fm.Nesterov, fm.Adam, fm.AdamW):
        assert find(optimizers(), lambda optimizer, kind=kind: type(optimizer) is kind, settings=STEADY)
    for loss in (fm.MeanSquaredError(), fm.CrossEntropy()):
        assert find(losses(), lambda drawn, loss=loss: drawn == loss, settings=STEADY) == loss
