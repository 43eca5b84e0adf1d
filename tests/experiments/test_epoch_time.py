"""Where an epoch's time goes."""

import os

import pytest

from functional_mlp.experiments import epoch_time
from functional_mlp.experiments.epoch_time import PHASES, EpochTime, Profile
from tests.experiments.short import small_draw


@pytest.fixture(scope="module")
def result() -> EpochTime:
    return epoch_time.run(small_draw(0), rounds=1)


def test_each_round_times_each_framework(result: EpochTime) -> None:
    assert [len(times) for times in (result.torch_nn, result.reference, result.fused)] == [1, 1, 1]
    assert result.medians["reference"] == result.reference[0]
    assert list(result.phases) == list(PHASES)
    assert min(*result.medians.values(), *result.phases.values()) > 0


def test_the_shares_of_a_profile_make_the_whole(result: EpochTime) -> None:
    for profile in (result.torch_profile, result.reference_profile):
        assert sum(profile.shares.values()) == pytest.approx(1)
        assert 0 < profile.arithmetic_operators < profile.operators
    assert result.torch_profile.shares["autograd"] > 0
    assert result.reference_profile.shares["autograd"] == 0


def test_the_arithmetic_of_torchs_update_is_the_papers(result: EpochTime) -> None:
    """Of four layers: a product forward each and two backward, but one in the first; activations, loss and steps."""
    profile = result.torch_profile
    assert isinstance(profile, Profile)
    assert 4 * 2 + 3 < profile.arithmetic_operators < 100


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("aten::addmm", "arithmetic"),
        ("aten::view", "views, copies and memory"),
        ("Optimizer.step#SGD.step", "optimizer and zero_grad"),
        ("autograd::engine::evaluate_function: TanhBackward0", "autograd"),
        ("TanhBackward0", "autograd"),
    ],
)
def test_events_are_told_apart_by_name(event: str, kind: str) -> None:
    assert epoch_time._kind(event) == kind


def test_the_profiler_leaves_the_environment_as_it_was(result: EpochTime) -> None:
    assert "KINETO_LOG_LEVEL" not in os.environ
