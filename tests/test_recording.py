"""What was seen of a function once is what it does, and nothing is taken for sure that is not."""

from typing import Any

import pytest
import torch

from functional_mlp.recording import Recording
from tests.helpers import assert_same_bits, draw


def recorded(function: Any, *tensors: torch.Tensor) -> Any:
    recording = Recording(tensors)
    with recording:
        results = function(*recording.inputs)
    return recording.function(results)


def everything(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
    rows, half = a.shape[0], torch.tensor(0.5, device="cpu")
    joined = torch.cat([a, b * half], dim=0)[1:]
    scaled = (2 - a.mT).to(torch.float64).sum(0, keepdim=True) / rows
    in_place = torch.zeros_like(b).add_(a, alpha=1.5)
    return [joined, scaled, in_place, torch.where(a > 0, b, torch.full((), float("nan"))), a, b.float(), half]


def test_the_function_has_the_bits_of_what_was_seen() -> None:
    function = recorded(everything, draw(3, 2), draw(3, 2))
    for seed in range(3):
        a, b = draw(3, 2, seed=seed), draw(3, 2, seed=9)
        before = a.clone(), b.clone()
        assert_same_bits(function(a, b), everything(a, b))
        assert_same_bits((a, b), before)


def test_one_tensor_in_two_places_is_two_inputs() -> None:
    x, y = draw(2, 2), draw(2, 2, seed=1)
    assert_same_bits(recorded(lambda a, b: [a - b], x, x)(x, y), [x - y])


OUTSIDE = torch.tensor([7.0])


def unseen(x: torch.Tensor) -> list[torch.Tensor]:
    with torch._C.DisableTorchFunction():
        return [x * 2]


@pytest.mark.parametrize(
    "function",
    [unseen, lambda x: [unseen(x)[0] + 1], lambda x: [OUTSIDE], lambda x: [x + OUTSIDE]],
    ids=["a result", "an operand", "a result from outside", "an operand from outside"],
)
def test_tensors_that_nobody_saw_being_made_make_no_function(function: Any) -> None:
    assert recorded(function, draw(3)) is None


def test_what_is_done_aside_is_called_each_time() -> None:
    recording = Recording([draw(3)])
    with recording:
        chosen = recording.aside(lambda x: x if x.sum() > 0 else -x, recording.inputs[0])
        results = [chosen * 2]
    function = recording.function(results)
    assert function
    for x in (torch.ones(3), -torch.ones(3)):
        assert_same_bits(function(x), [torch.full((3,), 2.0)])


@pytest.mark.parametrize(
    "function",
    [lambda x: [x if x.sum() > 0 else -x], lambda x: [x * x.tolist()[0]], lambda x: [x + float(x[0])]],
    ids=["a branch", "a list", "a number"],
)
def test_numbers_that_decide_what_is_called_make_no_function(function: Any) -> None:
    assert recorded(function, draw(3)) is None
