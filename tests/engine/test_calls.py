"""Functions that layers share give what code for each layer gives, and keep the code short."""

import itertools

import attrs
import pytest
import torch
from llvmlite import ir
from llvmlite.ir.instructions import Comment

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.lowering import lower
from functional_mlp.engine.plan import Sharing, plan_of
from functional_mlp.testing import check_engines_agree
from tests.engine import modes
from tests.engine.modes import ANY, AVX512, NONE, SHARED

KEY = fm.random.key(0)
MSE = fm.MeanSquaredError()


def network(sizes: tuple[int, ...], activations: tuple[fm.Layer, ...] = (fm.Tanh(), fm.ReLU(), fm.GELU())) -> fm.Layer:
    """Layers of these sizes, some without biases, some with a branch after them."""
    layers: list[fm.Layer] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        activation = activations[number % len(activations)]
        layers += [fm.Linear(inputs, outputs, bias=number % 3 != 1), activation]
        if number % 3 == 2:
            layers.append(fm.Residual(fm.Sequential(fm.Linear(outputs, outputs), activation)))
    return fm.Sequential(*layers[:-1])


def data(inputs: int, classes: int, dtype: torch.dtype, samples: int = 45) -> fm.Dataset:
    return fm.Dataset(fm.random.normal(KEY, (samples, inputs), dtype=dtype), torch.arange(samples) % classes)


@pytest.mark.parametrize(
    ("dtype", "batch_size", "optimizer"),
    [
        (torch.float32, 1, fm.SGD(0.05)),
        (torch.float64, 1, fm.Adam(0.01)),
        (torch.float64, 7, fm.SGD(0.05)),
        (torch.float32, 200, fm.Adam(0.01)),
    ],
    ids=str,
)
def test_layers_of_many_shapes_agree_with_the_reference(
    dtype: torch.dtype, batch_size: int, optimizer: fm.Optimizer
) -> None:
    lanes = machine.host().lanes(4 if dtype == torch.float32 else 8)
    sizes = (3, 1, lanes - 1, lanes, lanes + 1, 4 * lanes, 5 * lanes + 1, 1, 150, 2, 150, 3)
    samples = data(3, 3, dtype, 250 if batch_size > 100 else 45)
    check_engines_agree(network(sizes), fm.CrossEntropy(), optimizer, samples, batch_size=batch_size, epochs=2)


@pytest.mark.parametrize(
    ("batch_size", "optimizer"), [(1, fm.Adam(0.01)), (7, fm.SGD(0.05)), (200, fm.Adam(0.01))], ids=str
)
def test_functions_for_any_size_give_the_bits_of_those_for_one(batch_size: int, optimizer: fm.Optimizer) -> None:
    """The sums of layers of many units are added up in the same order; of few units, code for one size adds lanes."""
    lanes = machine.host().lanes(8)
    layers = network((4 * lanes, 8 * lanes, 4 * lanes, 4 * lanes), (fm.Tanh(), fm.ReLU()))
    samples = data(4 * lanes, 3, torch.float64, 250)
    states = []
    for sharing in (Sharing.EQUAL_SIZES, Sharing.ALL):
        result = modes.fit(
            layers, fm.CrossEntropy(), optimizer, samples, key=KEY, epochs=2, batch_size=batch_size,
            validation=samples, policy=SHARED[sharing],
        )  # fmt: skip
        states.append((result.state, result.history.validation_loss))
    assert pytree.equal(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]


def instructions(module: ir.Module) -> int:
    blocks = [block for function in module.functions for block in function.blocks]
    return sum(not isinstance(line, Comment) for block in blocks for line in block.instructions)


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("optimizer", [fm.SGD(0.1), fm.Adam(0.1)], ids=repr)
def test_the_code_does_not_grow_with_the_number_of_shapes(optimizer: fm.Optimizer, batch_size: int) -> None:
    def module(shapes: int) -> ir.Module:
        sizes = tuple(60 - 53 * number // shapes for number in range(shapes + 1))
        program = lower(network(sizes), MSE, optimizer, batch_size=batch_size, class_targets=False, dtype=torch.float32)
        return NetworkSource(program, plan_of(program, AVX512)).emit()

    assert instructions(module(32)) == instructions(module(8))


@pytest.mark.parametrize("batch_size", [1, 10])
def test_the_calls_of_a_deep_network_are_a_table(batch_size: int) -> None:
    def module(depth: int) -> ir.Module:
        layers = [layer for _ in range(depth) for layer in (fm.Linear(25, 25), fm.Tanh())]
        program = lower(
            fm.Sequential(*layers), MSE, fm.SGD(0.1), batch_size=batch_size, class_targets=False, dtype=torch.float32
        )
        return NetworkSource(program, plan_of(program, AVX512)).emit()

    assert instructions(module(200)) == instructions(module(40))


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_table_of_calls_gives_what_calls_one_by_one_give(batch_size: int) -> None:
    layers, samples = network((5, 9, 9, 9, 3), (fm.Tanh(),)), data(5, 3, torch.float64)
    states = []
    for most_called_one_by_one in (NONE, ANY):
        policy = attrs.evolve(SHARED[Sharing.EQUAL_SIZES], most_steps_called_one_by_one=most_called_one_by_one)
        result = modes.fit(
            layers, fm.CrossEntropy(), fm.Adam(0.01), samples, key=KEY, epochs=2, batch_size=batch_size, policy=policy
        )
        states.append(result.state)
    assert pytree.equal(*states)
