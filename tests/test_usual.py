"""Where torch is told to do something unusual, nothing is recorded, kept or used that would be wrong outside."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.algebra import scalar
from functional_mlp.usual import is_usual, kept
from tests.helpers import KEY, assert_same_bits, draw

NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
PARAMS = NETWORK.init(KEY)
X, LABELS = draw(4, 2, dtype=torch.float32), torch.tensor([0, 1, 1, 0])


class FunctionMode(TorchFunctionMode):
    """Doubles what `tanh` gives."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return 2 * result if func is torch.tanh else result


class DispatchMode(TorchDispatchMode):
    """The same, below torch's autograd."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return 2 * result if func is torch.ops.aten.tanh.default else result


@contextlib.contextmanager
def transform() -> Any:
    level = torch._C._functorch._grad_increment_nesting()
    try:
        yield level
    finally:
        torch._C._functorch._grad_decrement_nesting()


# What makes operations do something unusual.
UNUSUAL: dict[str, Callable[[], Any]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast of another device": lambda: torch.autocast("cuda", dtype=torch.float16),
    "forward mode": forward_ad.dual_level,
    "torch.func": transform,
    "no functions seen": torch._C.DisableTorchFunction,
    "a function mode": FunctionMode,
    "a dispatch mode": DispatchMode,
    "inference mode": torch.inference_mode,
    "fake tensors": lambda: FakeTensorMode(allow_non_fake_inputs=True),
}
# In which the passes can be gone through.
USABLE = [name for name in UNUSUAL if name not in ("torch.func", "fake tensors")]


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_it_is_noticed_and_is_usual_after_it(name: str) -> None:
    with UNUSUAL[name]():
        harmless = name == "inference mode" or (name.endswith("device") and not torch.cuda.is_available())
        assert is_usual() == harmless
    assert is_usual()


def test_settings_that_an_operation_reads_are_usual() -> None:
    with torch.no_grad(), torch.device("cpu"), torch.autograd.set_detect_anomaly(True):
        assert is_usual()


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_the_passes_are_the_same_inside_and_outside_whatever_came_first(name: str) -> None:
    def fresh() -> Any:
        return fm.value_and_grad(NETWORK, fm.CrossEntropy())(PARAMS, X, LABELS)

    outside = fresh()
    with UNUSUAL[name]():
        inside = fresh()
    first_inside, first_outside = (fm.value_and_grad(NETWORK, fm.CrossEntropy()) for _ in range(2))
    for _ in range(3):
        assert_same_bits(first_outside(PARAMS, X, LABELS), outside)
    for evaluate in (first_inside, first_outside):
        with UNUSUAL[name]():
            for _ in range(3):
                assert_same_bits(evaluate(PARAMS, X, LABELS), inside)
        for _ in range(3):
            assert_same_bits(evaluate(PARAMS, X, LABELS), outside)
        other = fm.value_and_grad(NETWORK, fm.CrossEntropy())(PARAMS, X + 1, LABELS)
        assert_same_bits(evaluate(PARAMS, X + 1, LABELS), other)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, at its first dual number
@pytest.mark.parametrize("optimizer", [fm.SGD(0.1), fm.Adam(0.1)], ids=repr)
def test_tangents_go_through_the_passes_and_an_update(optimizer: fm.Optimizer) -> None:
    evaluate = fm.value_and_grad(NETWORK, fm.CrossEntropy())
    for _ in range(2):
        evaluate(PARAMS, X, LABELS)

    def updated(params: Any) -> Any:
        value, grads = evaluate(params, X, LABELS)
        return value, optimizer.update(optimizer.init(params), grads).params

    direction, small = pytree.map(torch.ones_like, PARAMS), 1e-2
    with forward_ad.dual_level():
        value, params = updated(pytree.map(forward_ad.make_dual, PARAMS, direction))
        tangents = [forward_ad.unpack_dual(leaf).tangent for leaf in pytree.leaves((value, params))]
    ends = [updated(pytree.map(lambda p, d, s=s: p + s * d, PARAMS, direction)) for s in (small, -small)]
    slope = (ends[0][0] - ends[1][0]) / (2 * small)
    assert all(tangent is not None for tangent in tangents)
    torch.testing.assert_close(tangents[0], slope, rtol=1e-2, atol=1e-4)


def test_fake_tensors_leave_nothing_behind() -> None:
    network = fm.Sequential(fm.Linear(2, 5), fm.ELU(0.3371), fm.Linear(5, 2))
    params, evaluate = network.init(KEY), fm.value_and_grad(network, fm.Huber(0.6131), fm.penalties.l1(0.2191))
    with FakeTensorMode(allow_non_fake_inputs=True):
        with pytest.raises(ValueError, match="must hold data"):
            evaluate(params, X, X)
        with contextlib.suppress(ValueError, RuntimeError):
            fm.Adam(0.1371).update(fm.Adam(0.1371).init(params), params)
        network.init(KEY, device="meta")
        scalar(0.77123, torch.float32, torch.device("cpu"))
    for _ in range(3):
        results = pytree.leaves(evaluate(params, X, X)) + pytree.leaves(network.apply(params, X))
        assert {type(result) for result in results} == {torch.Tensor}
    assert type(scalar(0.77123, torch.float32, torch.device("cpu"))) is torch.Tensor


def test_kept_is_what_was_made_where_all_is_usual() -> None:
    calls = []

    @kept(1)
    def made(number: int) -> int:
        calls.append(number)
        return number

    with torch.inference_mode():
        assert made(1) == made(1) == 1
    assert made(1) == made(1) == 1
    made(2), made(1)
    assert calls == [1, 1, 1, 2, 1]
