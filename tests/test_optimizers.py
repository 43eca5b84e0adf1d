import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.optimizers import AdamState, BatchGDState, MomentumState
from tests.helpers import (
    assert_close,
    assert_same_bits,
    bits,
    check_refused,
    draw,
    draw_like,
    refusal,
    unusable_tensors,
)
from tests.tables import OPTIMIZERS

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)

STEPS = 200
PARAMS = (fm.LinearParams(draw(4, 3), draw(4, seed=1)), (), {"scale": draw(seed=2)})


def loss_gradients(params: Any, step: int) -> Any:
    """Gradients that depend on the params and on the step, as those of a loss do."""
    noise = draw_like(params, seed=step)
    return pytree.map(lambda p, n: torch.sin(p) + 0.5 * n, params, noise)


def run(optimizer: fm.Optimizer, params: Any, steps: int = STEPS) -> Any:
    state = optimizer.init(params)
    for step in range(steps):
        state = optimizer.update(state, loss_gradients(state.params, step))
    return state


def run_torch(make: Any, params: Any, prepare: Any = None) -> Any:
    """The params after the same steps of a torch optimizer."""
    params = pytree.map(lambda leaf: leaf.clone().requires_grad_(), params)
    leaves = pytree.leaves(params)
    optimizer = make(leaves)
    if prepare is not None:
        prepare(optimizer, leaves)
    for step in range(STEPS):
        grads = loss_gradients(pytree.map(torch.detach, params), step)
        for leaf, grad in zip(leaves, pytree.leaves(grads), strict=True):
            leaf.grad = grad
        optimizer.step()
    return pytree.map(torch.detach, params)


def start_from_zero_velocity(optimizer: torch.optim.Optimizer, leaves: list[torch.Tensor]) -> None:
    """torch's first velocity is the whole first gradient; the paper's is (1 − β) of it."""
    for leaf in leaves:
        optimizer.state[leaf]["momentum_buffer"] = torch.zeros_like(leaf)


@pytest.mark.parametrize(
    ("optimizer", "make", "prepare"),
    [
        (fm.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05), None),
        (
            fm.Momentum(0.05, beta=0.9),
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, dampening=0.9),
            start_from_zero_velocity,
        ),
        (
            fm.Momentum(0.05, beta=0.5),
            lambda p: torch.optim.SGD(p, 0.05, momentum=0.5, dampening=0.5),
            start_from_zero_velocity,
        ),
        (fm.Nesterov(0.05), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True), None),
        (fm.Nesterov(0.02, 0.5), lambda p: torch.optim.SGD(p, 0.02, momentum=0.5, nesterov=True), None),
        (fm.Adam(0.05), lambda p: torch.optim.Adam(p, 0.05), None),
        (fm.Adam(0.01, 0.5, 0.9, 1e-3), lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.9), 1e-3), None),
        (fm.AdamW(0.05), lambda p: torch.optim.AdamW(p, 0.05), None),
        (fm.AdamW(0.05, weight_decay=0.3), lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.3), None),
        (fm.RMSProp(0.05), lambda p: torch.optim.RMSprop(p, 0.05), None),
        (fm.RMSProp(0.01, 0.9, 1e-3), lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-3), None),
    ],
    ids=lambda value: repr(value) if isinstance(value, fm.Optimizer) else "",
)
def test_200_steps_are_those_of_torch_optim(optimizer: fm.Optimizer, make: Any, prepare: Any) -> None:
    assert_close(run(optimizer, PARAMS).params, run_torch(make, PARAMS, prepare))


def test_the_default_weight_decay_is_that_of_torch() -> None:
    assert fm.AdamW(0.1).weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]


def test_the_defaults_of_rmsprop_are_those_of_torch() -> None:
    defaults = torch.optim.RMSprop([torch.zeros(1)]).defaults
    assert (fm.RMSProp(0.1).decay, fm.RMSProp(0.1).eps) == (defaults["alpha"], defaults["eps"])


@pytest.mark.parametrize("optimizer", [fm.Lion(0.01), fm.Lion(0.03, beta1=0.5, beta2=0.8, weight_decay=0.2)], ids=repr)
def test_lion_is_the_algorithm_of_its_paper(optimizer: fm.Lion) -> None:
    """Algorithm 2 of Chen et al., 2023, in plain floats: the update interpolates by β₁, and the mean moves by β₂."""
    state = optimizer.init(draw(6))
    params, mean = draw(6).tolist(), [0.0] * 6
    for step in range(STEPS):
        grads = draw(6, seed=step)
        for i, grad in enumerate(grads.tolist()):
            interpolated = optimizer.beta1 * mean[i] + (1 - optimizer.beta1) * grad
            sign = math.copysign(1.0, interpolated) if interpolated else 0.0
            params[i] -= optimizer.learning_rate * (sign + optimizer.weight_decay * params[i])
            mean[i] = optimizer.beta2 * mean[i] + (1 - optimizer.beta2) * grad
        state = optimizer.update(state, grads)
    assert_close(state.params, torch.tensor(params, dtype=torch.float64))
    assert_close(state.first_moment, torch.tensor(mean, dtype=torch.float64))


def test_momentum_is_its_sum() -> None:
    """V after t steps is (1 − β) Σᵢ β^(t − i) gᵢ, for gradients that do not depend on the params."""
    beta, learning_rate = 0.9, 0.05
    grads = [draw(5, seed=step) for step in range(STEPS)]
    optimizer = fm.Momentum(learning_rate, beta=beta)
    state = optimizer.init(torch.zeros(5, dtype=torch.float64))
    expected = torch.zeros(5, dtype=torch.float64)
    for t, grad in enumerate(grads):
        state = optimizer.update(state, grad)
        velocity = (1 - beta) * sum(beta ** (t - i) * g for i, g in enumerate(grads[: t + 1]))
        expected = expected - learning_rate * velocity
        assert_close(state.velocity, velocity)
    assert_close(state.params, expected)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_batch_gd_is_sgd_fed_mean_gradients(batch_size: int) -> None:
    grads = [draw(5, seed=step) for step in range(42)]
    batch_gd, sgd = fm.BatchGD(0.1, batch_size=batch_size), fm.SGD(0.1)
    state, expected = batch_gd.init(draw(5)), sgd.init(draw(5))
    for first in range(0, len(grads), batch_size):
        batch = grads[first : first + batch_size]
        for grad in batch:
            assert_same_bits(state.params, expected.params if grad is batch[0] else state.params)
            state = batch_gd.update(state, grad)
        expected = sgd.update(expected, torch.stack(batch).mean(0))
        assert_close(state.params, expected.params, 1e-14)
    assert_same_bits(state.grad_sum, torch.zeros(5, dtype=torch.float64))


def test_a_part_filled_batch_waits_in_the_state() -> None:
    optimizer = fm.BatchGD(0.1, batch_size=3)
    state = optimizer.init(draw(5))
    for step in range(2):
        state = optimizer.update(state, draw(5, seed=step))
    assert_same_bits(state.params, draw(5))
    assert_close(state.grad_sum, draw(5, seed=0) + draw(5, seed=1), 1e-15)


@every_optimizer
def test_it_converges_on_a_quadratic(optimizer: fm.Optimizer) -> None:
    target = draw(6)
    state = optimizer.init(torch.zeros_like(target))
    for _ in range(600):
        state = optimizer.update(state, state.params - target)
    bound = 0.3 if isinstance(optimizer, fm.AdamW) else 0.03  # weight decay pulls towards zero
    assert (state.params - target).abs().max() < bound * target.abs().max()


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_params_and_slots_keep_their_dtype_whatever_the_default(optimizer: fm.Optimizer, dtype: torch.dtype) -> None:
    params = pytree.map(lambda leaf: leaf.to(dtype), PARAMS)
    expected = run(optimizer, params, 5)
    assert {leaf.dtype for leaf in pytree.leaves(expected)} == {dtype}
    torch.set_default_dtype(torch.float64)
    try:
        assert_same_bits(run(optimizer, params, 5), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@every_optimizer
def test_an_update_is_pure(optimizer: fm.Optimizer) -> None:
    params = pytree.map(lambda leaf: leaf.expand(2, *leaf.shape).requires_grad_(), PARAMS)
    grads = pytree.map(lambda leaf: leaf.expand(2, *leaf.shape).requires_grad_(), loss_gradients(PARAMS, 0))
    state = optimizer.init(params)
    before = bits((params, grads, state))
    updated = optimizer.update(optimizer.update(state, grads), grads)
    assert bits((params, grads, state)) == before
    assert (state.step, updated.step) == (0, 2)
    assert not any(leaf.requires_grad for leaf in pytree.leaves((state, updated)))


@every_optimizer
def test_a_state_that_requires_gradients_gives_an_unconnected_one(optimizer: fm.Optimizer) -> None:
    state = pytree.map(lambda leaf: leaf.clone().requires_grad_(), run(optimizer, PARAMS, 2))
    updated = optimizer.update(state, PARAMS)
    assert not any(leaf.requires_grad for leaf in pytree.leaves(updated))


@every_optimizer
def test_threads_update_to_the_same_bits_as_calls_in_a_row(optimizer: fm.Optimizer) -> None:
    starts = [draw_like(PARAMS, seed=seed) for seed in range(16)]
    expected = [run(optimizer, params, 7) for params in starts]
    with ThreadPoolExecutor(8) as pool:
        assert_same_bits(list(pool.map(lambda params: run(optimizer, params, 7), starts)), expected)


@every_optimizer
@pytest.mark.parametrize("special", [math.nan, math.inf])
def test_what_is_not_finite_reaches_the_state_and_stays_in_its_place(optimizer: fm.Optimizer, special: float) -> None:
    state = optimizer.init(torch.ones(3))
    for _ in range(3):
        state = optimizer.update(state, torch.tensor([0.1, special, 0.1]))
    # The sign of an infinite mean is 1: of Lion's state it is the mean that shows it.
    seen = state.first_moment if isinstance(optimizer, fm.Lion) else state.params
    assert seen.isfinite().tolist() == [True, False, True]


@every_optimizer
def test_states_pickle(optimizer: fm.Optimizer) -> None:
    state = run(optimizer, PARAMS, 3)
    assert_same_bits(pickle.loads(pickle.dumps(state)), state)


@every_optimizer
def test_a_network_without_params_can_be_updated(optimizer: fm.Optimizer) -> None:
    assert optimizer.update(optimizer.init(()), ()).params == ()


@every_optimizer
def test_the_learning_rate_is_taken_from_the_state(optimizer: fm.Optimizer) -> None:
    still = attrs.evolve(run(optimizer, PARAMS, 3), learning_rate=0.0)
    for _ in range(3):
        updated = optimizer.update(still, PARAMS)
        assert_same_bits(updated.params, still.params)
        assert updated.learning_rate == 0.0
        still = updated


# What a user writes


@pytree.node
@attrs.frozen(eq=False)
class HeavyBallState(fm.OptimizerState):
    previous: Any


@attrs.frozen(repr=False)
class HeavyBall(fm.Optimizer):
    """w ← w − ηg + μ(w − w'), with w' the params before: Polyak's momentum."""

    momentum: float = 0.5
    State = HeavyBallState

    def rule(self, xp, step, learning_rate, param, grad, previous):
        # The slot starts as zeros, the first step as an ordinary one.
        past = xp.where(step == 1, param, previous)
        return param - learning_rate * grad + self.momentum * (param - past), param


def test_an_optimizer_of_the_users_own_runs() -> None:
    state = run(HeavyBall(0.1), draw(3), 3)
    history = [draw(3)]
    for step in range(3):
        past = history[max(step - 1, 0)]
        history.append(history[-1] - 0.1 * loss_gradients(history[-1], step) + 0.5 * (history[-1] - past))
    assert_close(state.params, history[-1], 1e-14)
    assert_close(state.previous, history[-2], 1e-14)


class NoTuple(fm.Optimizer):
    def rule(self, xp, step, learning_rate, param, grad):
        return param - learning_rate * grad


class TooMany(fm.Optimizer):
    def rule(self, xp, step, learning_rate, param, grad):
        return param - learning_rate * grad, grad


class Sums(fm.Optimizer):
    def rule(self, xp, step, learning_rate, param, grad):
        return (xp.sum(param),)


NO_STATE = fm.SGD(0.1).init(torch.ones(2))
VELOCITY = fm.Momentum(0.1).init((torch.ones(2),))


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        *(
            refusal(
                f"learning rate of {value!r}", lambda v=value: fm.SGD(v), error, "SGD: learning_rate", "number", got
            )
            for value, error, got in [
                (0, ValueError, "got 0"),
                (-0.1, ValueError, "got -0.1"),
                (math.nan, ValueError, "got nan"),
                (math.inf, ValueError, "got inf"),
                ("0.1", TypeError, "'0.1', a str"),
                (True, TypeError, "True, a bool"),
                (None, TypeError, "None"),
                (1j, TypeError, "a complex"),
                (torch.tensor(0.1), TypeError, "a torch.float32 tensor"),
            ]
        ),
        refusal("learning rate over the floats", lambda: fm.SGD(10**400), ValueError, "SGD: learning_rate", "finite"),
        refusal("beta of 1", lambda: fm.Momentum(0.1, beta=1.0), ValueError, "Momentum: beta", "[0.0, 1.0)", "1.0"),
        refusal(
            "beta below 0", lambda: fm.Momentum(0.1, beta=-0.1), ValueError, "Momentum: beta", "[0.0, 1.0)", "-0.1"
        ),
        refusal("beta of NaN", lambda: fm.Momentum(0.1, math.nan), ValueError, "Momentum: beta", "finite", "nan"),
        refusal("beta of a string", lambda: fm.Momentum(0.1, "0.9"), TypeError, "Momentum: beta", "'0.9', a str"),
        refusal("momentum of 1", lambda: fm.Nesterov(0.1, 1), ValueError, "Nesterov: momentum", "[0.0, 1.0)", "1"),
        refusal("beta1 of 1", lambda: fm.Adam(0.1, 1.0), ValueError, "Adam: beta1", "[0.0, 1.0)", "1.0"),
        refusal("beta2 of True", lambda: fm.Adam(0.1, 0.9, True), TypeError, "Adam: beta2", "True, a bool"),
        refusal("negative eps", lambda: fm.Adam(0.1, eps=-1e-8), ValueError, "Adam: eps", "[0.0", "-1e-08"),
        refusal("decay of NaN", lambda: fm.AdamW(0.1, weight_decay=math.nan), ValueError, "AdamW: weight_decay", "nan"),
        refusal("negative decay", lambda: fm.AdamW(0.1, weight_decay=-1), ValueError, "AdamW: weight_decay", "-1"),
        refusal("no batch", lambda: fm.BatchGD(0.1, 0), ValueError, "BatchGD: batch_size", "positive integer", "0"),
        refusal("batch of True", lambda: fm.BatchGD(0.1, True), TypeError, "BatchGD: batch_size", "True, a bool"),
        refusal("batch of 2.0", lambda: fm.BatchGD(0.1, 2.0), TypeError, "BatchGD: batch_size", "2.0, a float"),
        refusal(
            "params of numbers", lambda: fm.SGD(0.1).init((1.0,)), TypeError, "params[0]", "Tensor", "1.0, a float"
        ),
        refusal(
            "another optimizer's state",
            lambda: fm.Adam(0.1).update(NO_STATE, torch.ones(2)),
            TypeError,
            "Adam(0.1)",
            "AdamState",
            "OptimizerState(",
            "optimizer.init",
        ),
        refusal("no state", lambda: fm.SGD(0.1).update(None, torch.ones(2)), TypeError, "OptimizerState", "None"),
        refusal("params for a state", lambda: fm.SGD(0.1).update(torch.ones(2), torch.ones(2)), TypeError, "tensor"),
        refusal(
            "a velocity to broadcast",
            lambda: fm.Momentum(0.1).update(attrs.evolve(VELOCITY, velocity=(torch.ones(1),)), (torch.ones(2),)),
            ValueError,
            "state.velocity[0]",
            "(2,)",
            "(1,)",
        ),
        refusal(
            "a missing second moment",
            lambda: fm.Adam(0.1).update(AdamState((torch.ones(2),), 0.1, 0, (torch.ones(2),), ()), (torch.ones(2),)),
            ValueError,
            "state.second_moment[0] is missing",
        ),
        refusal(
            "a sum of another dtype",
            lambda: fm.BatchGD(0.1, 2).update(
                BatchGDState(torch.ones(2), 0.1, 0, torch.ones(2).double()), torch.ones(2)
            ),
            ValueError,
            "state.grad_sum",
            "torch.float64",
        ),
        refusal(
            "a state's learning rate of NaN",
            lambda: fm.SGD(0.1).update(fm.OptimizerState(torch.ones(2), math.nan, 0), torch.ones(2)),
            ValueError,
            "state.learning_rate",
            "nan",
        ),
        refusal(
            "a state's step of a string",
            lambda: fm.SGD(0.1).update(fm.OptimizerState(torch.ones(2), 0.1, "0"), torch.ones(2)),
            TypeError,
            "state.step",
            "'0', a str",
        ),
        refusal(
            "a state's params of numbers",
            lambda: fm.SGD(0.1).update(fm.OptimizerState((1.0,), 0.1, 0), (torch.ones(2),)),
            TypeError,
            "state.params[0]",
            "1.0, a float",
        ),
        refusal(
            "no rule", lambda: fm.Optimizer(0.1).init(torch.ones(2)), NotImplementedError, "Optimizer", "rule(self"
        ),
        refusal(
            "a rule's bare array", lambda: NoTuple(0.1).init(torch.ones(2)), TypeError, "NoTuple.rule", "tuple of 1"
        ),
        refusal("a rule's slot too many", lambda: TooMany(0.1).init(torch.ones(2)), TypeError, "TooMany.rule", "of 1"),
        refusal(
            "a rule's sum", lambda: Sums(0.1).init(torch.ones(2)), TypeError, "Sums.rule", "like the param", "(1,)"
        ),
        refusal("an unregistered velocity", lambda: MomentumState((), 0.1, 0), TypeError, "velocity"),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)


GRADS = {
    "a path too few": ((PARAMS[0], ()), "grads[2]['scale'] is missing", "()"),
    "a path too many": ((*PARAMS, torch.ones(1)), "grads[3] is unexpected", "(1,)"),
    "no bias": ((fm.LinearParams(PARAMS[0].weight, None), *PARAMS[1:]), "grads[0].bias is missing", "(4,)"),
    "another key": ((*PARAMS[:2], {"shift": torch.ones(())}), "grads[2]['scale'] is missing", ""),
    "a list for a tuple": (list(PARAMS), "structure", "["),
    "a shape to broadcast": (pytree.map(lambda leaf: leaf[..., None], PARAMS), "grads[0].weight", "(4, 3, 1)"),
    "another dtype": (pytree.map(lambda leaf: leaf.float(), PARAMS), "grads[0].weight", "torch.float32"),
    "a number": ((*PARAMS[:2], {"scale": 1.0}), "grads[2]['scale']", "1.0, a float"),
}


@every_optimizer
@pytest.mark.parametrize("name", GRADS)
def test_grads_unlike_the_params_are_refused_by_path(optimizer: fm.Optimizer, name: str) -> None:
    grads, *fragments = GRADS[name]
    error = TypeError if name == "a number" else ValueError
    check_refused(lambda: optimizer.update(optimizer.init(PARAMS), grads), error, fragments)


@every_optimizer
def test_params_and_grads_must_be_plain_floats(optimizer: fm.Optimizer) -> None:
    state = optimizer.init((torch.ones(2, 3),))
    for bad, name in unusable_tensors((2, 3)).values():
        check_refused(lambda bad=bad: optimizer.init((bad,)), ValueError, ["params[0]", name])
        check_refused(lambda bad=bad: optimizer.update(state, (bad,)), ValueError, ["grads[0]", name])
