"""The checks themselves: determinism, single points, arguments, and objects of other kinds."""

import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable

import pytest
import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_optimizer, check_vjp
from functional_mlp.testing.calls import Call
from functional_mlp.testing.layer.cases import widths_of
from functional_mlp.testing.precision import assert_rounded, in_float32, in_float64
from functional_mlp.testing.purity import global_state, refuses
from functional_mlp.testing.threads import interrupted
from tests.testing.planted import Affine, BiasGradientOffByATenthOfAPercent, MissingFactor, Square


def message_of(check, *arguments, **options) -> str:
    with pytest.raises(AssertionError) as raised:
        check(*arguments, **options)
    return str(raised.value)


def test_a_check_says_the_same_each_time() -> None:
    assert message_of(check_layer, MissingFactor()) == message_of(check_layer, MissingFactor())


def test_the_smallest_case_is_minimal_and_can_be_run_again() -> None:
    message = message_of(check_layer, MissingFactor())
    _, case = message.split("smallest failing case:\n")
    assert case == (
        "params = ()\n"
        "x = torch.tensor([0.0625], dtype=torch.float64)\n"
        "grad_out = torch.tensor([0.0625], dtype=torch.float64)"
    )
    names: dict[str, object] = {"torch": torch}
    exec(case, names)
    with pytest.raises(AssertionError, match=r"the gradient of x is wrong at \[0\]: 0.00390625 is claimed"):
        check_vjp(MissingFactor(), names["params"], names["x"], names["grad_out"])


class ForgetsTheCap(fm.Layer):
    """min(x, 100), with functions that no proof can read."""

    def apply(self, params, x):
        return x.clamp(max=100)

    def vjp(self, params, x, grad_out):
        return (), grad_out


def test_of_a_batch_that_fails_a_row_is_shown() -> None:
    message = message_of(check_layer, ForgetsTheCap(), in_features=1)
    _, case = message.split("smallest failing case:\n")
    assert re.search(r"^x = torch.tensor\(\[1\d\d\.\d\], dtype=torch.float64\)$", case, re.MULTILINE)


class Narrow(Square):
    """Refuses inputs above 50, and says so."""

    def apply(self, params, x):
        if (x.abs() > 50).any():
            raise ValueError("inputs must be at most 50")
        return x * x


def test_far_inputs_that_a_layer_refuses_are_left_out() -> None:
    check_layer(Narrow(), examples=5)


def test_a_lock_does_not_stop_a_check() -> None:
    """A call that interrupts another one waits for its lock; the check goes on."""
    lock = threading.Lock()

    def locked() -> torch.Tensor:
        with lock:
            return torch.ones(2) + torch.ones(2)

    assert interrupted(locked, locked).tolist() == [2.0, 2.0]


def in_both(function: Callable[[torch.Tensor], torch.Tensor]) -> Exception | None:
    """What the comparison of float32 with float64 finds, at inputs that hardly miss or reach 1/3."""
    x = torch.tensor([1 / 3 - 1e-9, 1 / 3 + 1e-9], dtype=torch.float64)
    single = Call("f", function, {"x": x}, 1.0, {}).map(in_float32)
    return refuses(assert_rounded, "f differs", single, single.map(in_float64))


def test_rounding_explains_a_jump_that_it_steps_over() -> None:
    assert in_both(lambda x: (3 * x).floor()) is None
    assert in_both(lambda x: (3 * x).floor() + (x.dtype == torch.float32)) is None
    assert in_both(lambda x: 0 * x + (x.dtype == torch.float32)) is not None
    assert in_both(lambda x: x * (1 + 1e-3 * (x.dtype == torch.float32))) is not None


def test_a_check_leaves_the_global_state_as_it_was() -> None:
    before = global_state()
    check_layer(fm.Linear(2, 2), examples=3)
    check_loss(fm.MeanSquaredError(), examples=3)
    check_optimizer(fm.Adam(0.1), examples=3)
    after = global_state()
    assert fm.pytree.equal(before, after)


def test_check_vjp_at_one_point() -> None:
    layer, x = Affine(3, 2), torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    params = layer.init(fm.random.key(0), dtype=torch.float64)
    check_vjp(layer, params, x, torch.ones(1, 2, dtype=torch.float64))
    message = message_of(check_vjp, BiasGradientOffByATenthOfAPercent(3, 2), params, x, torch.ones(1, 2).double())
    assert "the gradient of params['bias'] is wrong at [0]: 1.001 is claimed, differences give 1 ±" in message


def test_check_vjp_at_a_kink_decides_nothing() -> None:
    x = torch.tensor([0.0], dtype=torch.float64)
    with pytest.raises(AssertionError, match="cannot be decided here"):
        check_vjp(fm.ReLU(), (), x, torch.ones_like(x))


def test_check_vjp_takes_float64() -> None:
    with pytest.raises(ValueError, match=r"x must have dtype torch.float64, got torch.float32: call .double\(\)"):
        check_vjp(fm.Tanh(), (), torch.zeros(1), torch.zeros(1))


def test_three_functions_are_enough() -> None:
    square = Square()
    bare = types.SimpleNamespace(init=square.init, apply=square.apply, vjp=square.vjp)
    check_layer(bare, value=False, examples=10)


def test_an_object_without_the_functions_is_no_layer() -> None:
    with pytest.raises(AssertionError, match="a layer must have the function init"):
        check_layer(3)
    with pytest.raises(AssertionError, match="a loss must have the function value"):
        check_loss(3)
    with pytest.raises(AssertionError, match="an optimizer must have the function init"):
        check_optimizer(3)


class FromThree(Square):
    """Refuses fewer than three features, and does not say so."""

    def apply(self, params, x):
        if x.shape[-1] < 3:
            raise ValueError("three features or more")
        return x * x


def test_widths_that_a_layer_refuses_are_left_out() -> None:
    check_layer(FromThree(), examples=10)
    check_layer(FromThree(), in_features=7, examples=10)
    with pytest.raises(AssertionError, match="apply refuses every width of x that was tried: three features or more"):
        check_layer(FromThree(), in_features=2)


def test_the_widest_input_of_a_layer_that_takes_any_is_drawn() -> None:
    widths = [list(widths_of(Square(), None, fm.random.key(seed))) for seed in range(20)]
    assert all(own[:5] == [1, 2, 3, 4, 5] and 6 <= own[5] <= 20 for own in widths)
    assert len({own[5] for own in widths}) > 5


def test_large_layers_are_checked_too() -> None:
    check_layer(fm.Linear(70, 3), examples=3)


def test_examples_and_seed_are_checked() -> None:
    with pytest.raises(ValueError, match="examples must be a positive integer, got 0"):
        check_layer(fm.Tanh(), examples=0)
    with pytest.raises(ValueError, match="targets must be kinds out of"):
        check_loss(fm.MeanSquaredError(), targets=["numbers"])


def test_the_package_does_not_import_hypothesis_and_the_kit_no_sympy() -> None:
    code = "import functional_mlp, sys; assert 'hypothesis' not in sys.modules\n"
    code += "import functional_mlp.testing as kit; assert 'sympy' not in sys.modules\n"
    # torch loads sympy for some of its own work.
    code += "kit.check_optimizer(functional_mlp.SGD(0.1)); assert 'functional_mlp.symbolic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_hypothesis_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "try:\n    import functional_mlp.testing\n"
        "except ModuleNotFoundError as error:\n    assert \"'.[testing]'\" in str(error), error\n"
        "else:\n    raise SystemExit('imported')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_thread_of_the_kit_has_as_many_threads_of_torch_as_the_caller():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        check_layer(fm.Linear(2, 300))  # MKL rounds wide products otherwise with other numbers of threads
    finally:
        torch.set_num_threads(before)
