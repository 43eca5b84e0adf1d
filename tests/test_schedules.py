import math

import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from functional_mlp import schedules
from functional_mlp.schedules import Schedule
from tests.helpers import check_refused, refusal
from tests.tables import SCHEDULES

EPOCHS = range(12)


def torch_factors(make) -> list[float]:
    """The factors on the learning rate by a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in EPOCHS:
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (schedules.constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
        (schedules.exponential_decay(0.9), lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
        (schedules.step_decay(0.5, 3), lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Schedule) else "torch",
)
def test_factors_are_those_of_torch(schedule: Schedule, make) -> None:
    assert [schedule(epoch) for epoch in EPOCHS] == pytest.approx(torch_factors(make), rel=1e-12)


def test_inverse_decay_is_that_of_scikit_learn() -> None:
    optimizer, theirs = SGDOptimizer([], 1.0, "invscaling", power_t=0.3), []
    for epoch in EPOCHS:
        theirs.append(optimizer.learning_rate)
        optimizer.iteration_ends(20 * (epoch + 1))
    assert [schedules.inverse_decay(20, power=0.3)(epoch) for epoch in EPOCHS] == pytest.approx(theirs, rel=1e-12)


def test_cosine_decay_is_torchs_and_then_stays_at_zero() -> None:
    schedule = schedules.cosine_decay(5)
    expected = torch_factors(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 5))[:5]
    assert [schedule(epoch) for epoch in range(5)] == pytest.approx(expected, rel=1e-12)
    assert [schedule(epoch) for epoch in (5, 6, 10, 11)] == [0.0] * 4


def test_warmup_rises_to_one_and_hands_over() -> None:
    schedule = schedules.warmup(4, schedules.exponential_decay(0.5))
    assert [schedule(epoch) for epoch in range(7)] == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]


def test_warmup_takes_any_callable() -> None:
    assert schedules.warmup(1, lambda epoch: 0.1 * epoch)(4) == pytest.approx(0.3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_factors_are_floats_between_0_and_1(schedule: Schedule) -> None:
    factors = [schedule(epoch) for epoch in (*EPOCHS, 10_000)]
    assert {type(factor) for factor in factors} == {float}
    assert all(0.0 <= factor <= 1.0 for factor in factors)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("rate above 1", lambda: schedules.exponential_decay(1.1), ValueError, "rate", "(0.0, 1.0]", "1.1"),
        refusal("rate of 0", lambda: schedules.exponential_decay(0), ValueError, "rate", "(0.0, 1.0]", "0"),
        refusal(
            "rate of NaN", lambda: schedules.step_decay(math.nan, 2), ValueError, "step_decay: rate", "finite", "nan"
        ),
        refusal(
            "rate of a string", lambda: schedules.step_decay("0.9", 2), TypeError, "step_decay: rate", "'0.9', a str"
        ),
        refusal("every 0", lambda: schedules.step_decay(0.9, 0), ValueError, "step_decay: every", "positive", "0"),
        refusal("every True", lambda: schedules.step_decay(0.9, True), TypeError, "step_decay: every", "True, a bool"),
        refusal("no epochs", lambda: schedules.cosine_decay(0), ValueError, "cosine_decay: epochs", "positive", "0"),
        refusal("half epochs", lambda: schedules.cosine_decay(1.5), TypeError, "cosine_decay: epochs", "1.5, a float"),
        refusal("warmup without end", lambda: schedules.warmup(2, 0.9), TypeError, "warmup: then", "0.9, a float"),
        refusal(
            "a schedule that was not called",
            lambda: schedules.warmup(2, schedules.constant),
            TypeError,
            "warmup: then",
            "class constant",
            "call it",
        ),
        *(
            refusal(f"{schedule!r} in {what}", lambda s=schedule, e=epoch: s(e), error, "epoch", "at least 0", got)
            for schedule in SCHEDULES
            for what, epoch, error, got in [
                ("a negative epoch", -1, ValueError, "-1"),
                ("half an epoch", 0.5, TypeError, "0.5, a float"),
                ("an epoch of a string", "1", TypeError, "'1', a str"),
            ]
        ),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
