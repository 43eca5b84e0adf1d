"""Trees of another structure are refused in the words of paths, and numpy's numbers are numbers."""

import collections
import enum
import fractions
import json
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, strategies

import functional_mlp as fm
from functional_mlp import checks, initializers, pytree, trees
from functional_mlp.testing import tensors
from functional_mlp.value import Value
from tests.helpers import KEY, check_refused, refusal
from tests.tables import VALUES

T = torch.ones(2)


@attrs.frozen(repr=False)
class Weighted(fm.MeanSquaredError):
    weight: float


Point = collections.namedtuple("Point", "x y")


@pytree.node
@attrs.frozen(eq=False)
class Scaled:
    weight: Any
    scale: float = attrs.field(metadata=pytree.STRUCTURE)


@pytest.mark.parametrize(
    ("tree", "template", "said"),
    [
        ([T], (T,), "grads must be a tuple, got [tensor([1., 1.])], a list"),
        ({"a": T}, (T,), "grads must be a tuple, got {'a': tensor([1., 1.])}, a dict"),
        ((T,), {"a": T}, "grads must be a dict, got (tensor([1., 1.]),), a tuple"),
        (collections.OrderedDict(a=T), {"a": T}, "grads must be a dict, got OrderedDict("),
        ((T,), (T, T), "grads[1] is missing (expected a tensor of shape (2,))"),
        ((), (T,), "grads[0] is missing"),
        ((T,), (), "grads[0] is unexpected (got a torch.float32 tensor of shape (2,) on cpu)"),
        ((T, T), (T,), "grads[1] is unexpected"),
        ((T, ((), ())), (T, ((),)), "grads[1][1] is unexpected (got (), a tuple)"),
        ((T, ((),)), (T, ((), ())), "grads[1][1] is missing (expected a tuple)"),
        ((T, 3), (T, (T,)), "grads[1] must be a tuple, got 3, an int"),
        ((T, T), (T, (T,)), "grads[1] must be a tuple, got a torch.float32 tensor"),
        ((T, (T,)), (T, T), "grads[1] must be a tensor of shape (2,), got (tensor([1., 1.]),), a tuple"),
        ((T, ()), (T, T), "grads[1] is missing (expected a tensor of shape (2,))"),
        (None, T, "grads is missing (expected a tensor of shape (2,))"),
        (T, None, "grads is unexpected"),
        (None, (T,), "grads[0] is missing (expected a tensor of shape (2,))"),
        ((T,), None, "grads[0] is unexpected (got a torch.float32 tensor of shape (2,) on cpu)"),
        ({"a": T, "b": T}, {"a": T}, "grads['b'] is unexpected"),
        ({"a": {"c": T}}, {"a": {"b": T}}, "grads['a']['b'] is missing"),
        (fm.LinearParams(T, None), fm.LinearParams(T, T), "grads.bias is missing"),
        (fm.LinearParams(T, T), fm.LinearParams(T, None), "grads.bias is unexpected"),
        ((T, fm.LinearParams(T, T)), (T, Scaled(T, 1.0)), "grads[1] must be a Scaled, got LinearParams("),
        ((T, Scaled(T, 1.0)), (T, Scaled(T, 2.0)), "grads[1].scale must be 2.0, a float, got 1.0, a float"),
        (Point(T, T), (T, T), "grads must be a tuple, got Point("),
        ((fm.LinearParams(T, T), ()), (fm.LinearParams(T, T), (), ()), "grads[2] is missing (expected a tuple)"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(pytree.structure(value)),
)
def test_a_tree_of_another_structure_is_refused_by_path(tree: Any, template: Any, said: str) -> None:
    with pytest.raises(ValueError, match="does not have the structure of params: ") as caught:
        trees.like("grads", tree, "params", template, form=trees.leaves_and_form("params", template)[1])
    assert said in str(caught.value)
    assert "PyTreeSpec" not in str(caught.value)


def test_layers_say_which_of_their_params_is_wrong() -> None:
    network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 1))
    first, nothing, last = network.init(KEY)
    for params, said in (
        ((first, nothing), "params[2].weight is missing (expected a tensor of shape (1, 3))"),
        ((first, nothing, None), "params[2].weight is missing (expected a tensor of shape (1, 3))"),
        ((first, last, last), "params[1].weight is unexpected (got a torch.float32 tensor of shape (1, 3) on cpu)"),
        ((first, nothing, nothing), "params[2].weight is missing"),
        ((first, nothing, {"weight": last.weight, "bias": last.bias}), "params[2] must be a LinearParams, got {"),
        ([first, nothing, last], "params must be a tuple, got [LinearParams("),
        (7, "params must be a tuple, got 7, an int"),
    ):
        check_refused(lambda params=params: network.apply(params, torch.ones(2)), ValueError, [said])


# Numbers beyond a dtype

HALF, SINGLE = torch.float16, torch.float32


@given(tensors((100,), HALF, elements=strategies.just(1e5)))
def draw_beyond_float16(x: torch.Tensor) -> None:
    raise AssertionError(f"drawn: {x}")


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal(what, call, ValueError, name, "wider dtype", f"for {dtype}", got)
        for what, call, name, dtype, got in [
            (
                "a normal mean",
                lambda: fm.random.normal(KEY, (2,), 1e5, 1.0, dtype=HALF),
                "normal: |mean|",
                HALF,
                "1000",
            ),
            ("a normal std", lambda: fm.random.normal(KEY, (2,), 0, 1e4, dtype=HALF), "8.25 std", HALF, "82500.0"),
            ("float32's normal", lambda: fm.random.normal(KEY, (2,), 0, 1e38), "8.25 std", SINGLE, "8.25e+38"),
            (
                "float64's normal",
                lambda: fm.random.normal(KEY, (), 0, 1e308, dtype=torch.float64),
                "8.25 std",
                "",
                "inf",
            ),
            ("a uniform end", lambda: fm.random.uniform(KEY, (2,), 0, 1e5, dtype=HALF), "uniform: high", HALF, "1000"),
            (
                "a constant",
                lambda: initializers.constant(-1e5)(KEY, (2,), fan_in=1, fan_out=1, dtype=HALF),
                "constant: value",
                HALF,
                "-100000.0",
            ),
            (
                "initial weights",
                lambda: fm.Linear(2, 2, weight_init=initializers.normal(0.0, 1e4)).init(KEY, dtype=HALF),
                "8.25 std",
                HALF,
                "82500.0",
            ),
            (
                "initial biases",
                lambda: fm.Linear(2, 2, bias_init=initializers.uniform(0, 1e39)).init(KEY),
                "uniform: high",
                SINGLE,
                "1e+39",
            ),
            ("drawn elements", draw_beyond_float16, "tensors: a number of elements", HALF, "100000.0"),
            ("a slope", lambda: fm.LeakyReLU(1e39).apply((), torch.zeros(2)), "negative_slope", SINGLE, "1e+39"),
            ("ELU's alpha", lambda: fm.ELU(-1e39).init(KEY, dtype=HALF), "ELU: alpha", SINGLE, "-1e+39"),
            ("a loss's own", lambda: Weighted(1e39).value(T[None], T[None]), "Weighted: weight", SINGLE, "1e+39"),
        ]
    ],
)
def test_numbers_that_would_be_infinite_are_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)


def test_numbers_within_a_dtype_are_drawn() -> None:
    assert fm.random.normal(KEY, (1000,), 0.0, 7900.0, dtype=HALF).isfinite().all()
    assert fm.random.uniform(KEY, (1000,), -32752.0, 32752.0, dtype=HALF).isfinite().all()
    assert fm.LeakyReLU(1e39).apply((), torch.tensor([-1.0], dtype=torch.float64)) == -1e39


# numpy's numbers

INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.uint64]
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_integers_of_numpy_become_pythons(kind: type) -> None:
    assert type(checks.integer("n", kind(3), minimum=1)) is int
    assert type(checks.number("n", kind(3))) is int
    assert type(checks.plain_number(kind(3))) is int
    check_refused(lambda: checks.integer("n", kind(3), minimum=4), ValueError, ["n must be", "at least 4", "got 3"])


@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_floats_of_numpy_become_pythons(kind: type) -> None:
    assert type(checks.number("x", kind(0.5))) is float
    assert type(checks.plain_number(kind(0.5))) is float
    check_refused(lambda: checks.integer("x", kind(3.0), minimum=1), TypeError, ["x must be a positive integer"])
    check_refused(lambda: checks.number("x", kind("nan")), ValueError, ["x must be a finite number", "nan"])


def test_what_is_no_number_is_refused_and_left_alone() -> None:
    for value in (np.True_, True, np.array(3), np.array([3]), torch.tensor(3), "3", None, 3j, np.complex64(3)):
        for check in (lambda v=value: checks.integer("n", v, minimum=1), lambda v=value: checks.number("n", v)):
            check_refused(check, TypeError, ["n must be"])
        assert checks.plain_number(value) is value
    half = fractions.Fraction(1, 2)
    assert checks.plain_number(half) is half
    assert checks.plain_number(Colour.RED) is Colour.RED


def numpy_twin(value: Value) -> Value:
    """The value made from numpy's numbers."""
    fields = {}
    for field in attrs.fields(type(value)):
        own = getattr(value, field.name)
        if field.init and isinstance(own, int | float) and not isinstance(own, bool):
            fields[field.name] = np.int64(own) if isinstance(own, int) else np.float64(own)
    return attrs.evolve(value, **fields) if fields else value


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_of_numpys_numbers_are_those_of_pythons(value: Value) -> None:
    twin = numpy_twin(value)
    assert twin == value
    assert repr(twin) == repr(value)
    assert hash(twin) == hash(value)
    for field in attrs.fields(type(value)):
        assert type(getattr(twin, field.name)) is type(getattr(value, field.name))


@attrs.frozen(repr=False)
class Power(fm.Elementwise):
    """A value of a user's own, which checks nothing."""

    exponent: int

    def value(self, xp, s):
        return s**self.exponent

    def derivative(self, xp, s, y):
        return self.exponent * s ** (self.exponent - 1)


def test_a_users_own_value_keeps_plain_numbers() -> None:
    assert repr(Power(np.int64(3))) == "Power(3)"
    assert json.dumps(attrs.asdict(Power(np.int32(3)))) == '{"exponent": 3}'


three, half = np.int64(3), np.float32(0.5)


def test_numpys_integers_are_seeds_sizes_and_counts() -> None:
    random = fm.random
    assert random.key(three) == random.key(3)
    assert KEY.fold_in(three) == KEY.fold_in(3)
    assert KEY.split(three) == KEY.split(3)
    assert pytree.equal(random.permutation(KEY, three), random.permutation(KEY, 3))
    assert pytree.equal(random.uniform(KEY, (three,), -half, half), random.uniform(KEY, (3,), -0.5, 0.5))
    assert pytree.equal(random.normal(KEY, (three,), half, half), random.normal(KEY, (3,), 0.5, 0.5))
    disk = fm.datasets.disk(KEY, three, center=(half, half), radius=half)
    assert pytree.equal(disk.targets, fm.datasets.disk(KEY, 3, center=(0.5, 0.5), radius=0.5).targets)
    assert fm.schedules.exponential_decay(half)(three) == 0.125
    assert fm.Linear(three, 2).init(KEY).weight.shape == (2, 3)


def test_numpys_numbers_are_epochs_batch_sizes_and_factors() -> None:
    network, loss, data = fm.Linear(2, 2), fm.CrossEntropy(), fm.datasets.disk(KEY, 20)

    def run(number: Any, rate: Any) -> tuple[Any, Any]:
        options = {"epochs": number, "batch_size": number, "schedule": lambda epoch: rate}
        result = fm.fit(network, loss, fm.SGD(rate), data, key=KEY, **options)
        together = fm.fit_ensemble(network, loss, fm.SGD(rate), data, keys=KEY.split(number), **options)
        return result, together

    result, together = run(np.int32(3), np.float64(0.5))
    expected, expected_together = run(3, 0.5)
    assert pytree.equal(result.state, expected.state)
    assert pytree.equal(together.params, expected_together.params)
    for history in (result.history, together.history.members[0]):
        assert {type(rate) for rate in history.learning_rate} == {float}
    assert type(result.state.epoch) is int
