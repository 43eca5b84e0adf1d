"""What holds for every optimizer, each property a function that raises `AssertionError` where it does not."""

import copy
import inspect
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.optimizers import Optimizer
from functional_mlp.testing.calls import SLIGHTLY, depends
from functional_mlp.testing.optimizer.cases import SIZES, OptimizerCase
from functional_mlp.testing.purity import attempt, refuses
from functional_mlp.testing.trees import assert_close, assert_like, assert_same, largest, packed, side_by_side

Formula = Callable[..., float]

# An optimizer may gather gradients before it changes the params; this many updates are waited for that.
PATIENCE = 10_000

# Of those of `SIZES`, an ordinary one.
ORDINARY = SIZES.index(1e-4)

# Of a larger leaf, about this many numbers are tried alone.
NUMBERS_ALONE = 4

# A schedule may set any learning rate.
RATES = (1e-100, 1e-30, 1e-12, 1e-8, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e6, 1e30, 1e100)


def states_are_frozen(case: OptimizerCase) -> None:
    """States are pytrees of tensors that cannot be changed, and hold the params and a learning rate."""
    for name, state in zip(("init", "update"), case.states(), strict=False):
        for field in ("params", "learning_rate"):
            if not hasattr(state, field):
                raise AssertionError(f"{name} must return a state with the field {field}, got {checks.describe(state)}")
        for path, leaf in pytree.items(state):
            if not isinstance(leaf, Tensor):
                raise AssertionError(
                    f"{name} must return a pytree of tensors, but state{path} is {checks.describe(leaf)}: write "
                    "@pytree.node above @attrs.frozen(eq=False), and metadata=pytree.STRUCTURE for numbers"
                )
        if not isinstance(state.learning_rate, float):
            raise AssertionError(
                f"{name}: state.learning_rate must be a float, got {checks.describe(state.learning_rate)}"
            )
        if refuses(setattr, state, "learning_rate", state.learning_rate) is None:
            raise AssertionError(f"{name} returns a state that can be changed: freeze its class, with attrs.frozen")


def updates_keep_their_kind(case: OptimizerCase) -> None:
    """Updates keep the params' structure, shapes and dtypes, and the learning rate; init starts at the params."""
    before, *following = case.states()
    assert_same(
        "init: state.params differs from params", *(pytree.map(packed, t) for t in (case.params, before.params))
    )
    for after in following:
        if type(after) is not type(before) or pytree.paths(after) != pytree.paths(before):
            raise AssertionError(f"update returns {checks.describe(after)}, init {checks.describe(before)}")
        if pytree.structure(after.params) != pytree.structure(case.params):
            raise AssertionError(
                f"update: state.params must keep its structure: "
                f"{pytree.structural_difference('state.params', after.params, case.params)}"
            )
        for path, new, old in side_by_side(after, before):
            assert_like(f"update: state{path}", new, f"state{path} before", old)
        if after.learning_rate != before.learning_rate:
            raise AssertionError(
                f"update changes the learning rate, from {before.learning_rate} to {after.learning_rate}"
            )
        if isinstance(case.optimizer, Optimizer) and after.step != before.step + 1:
            raise AssertionError(f"update must count itself in state.step, but goes from {before.step} to {after.step}")
        before = after


def states_stay(case: OptimizerCase) -> None:
    """Neither later updates nor those of another run change a state."""
    states = [attempt("init", case.optimizer.init, case.params)]
    copies = [pytree.map(packed, states[0])]
    for grads in case.grads:
        states.append(attempt("update", case.optimizer.update, states[-1], grads))
        copies.append(pytree.map(packed, states[-1]))
    other = attrs.evolve(case, params=pytree.map(lambda leaf: 1 - leaf, case.params)).states()[-1]
    again = [attempt("init", case.optimizer.init, case.params)]
    for grads in case.grads:
        other = attempt("update", case.optimizer.update, other, grads)
        again.append(attempt("update", case.optimizer.update, again[-1], grads))
    for step, (copy_of, state, repeated) in enumerate(zip(copies, states, again, strict=True)):
        assert_same(f"the state after {step} updates is changed by later ones", copy_of, pytree.map(packed, state))
        assert_same(f"the state after {step} updates depends on those of another run", copy_of, repeated)


def numbers_do_not_affect_each_other(case: OptimizerCase) -> None:
    """A tree is updated as each of its numbers would be on its own: those of a large leaf by a choice of them."""
    together = case.states()[-1].params
    for path, leaf, after, *history in side_by_side(case.params, together, *case.grads):
        places = torch.ones_like(packed(leaf)).nonzero().tolist()
        for place in places[:: max(1, len(places) // NUMBERS_ALONE)]:
            index = tuple(place)
            grads = [grad[index] for grad in history]
            alone = OptimizerCase(case.optimizer, leaf[index], grads).states()[-1].params
            assert_close(
                f"params{path}{place or ''} is updated in another way beside other numbers than on its own",
                after[index],
                alone,
                1 + largest(leaf),
                rtol=1e-4 if leaf.dtype == torch.float32 else 1e-10,
            )


def leaves_may_be_of_two_dtypes(case: OptimizerCase) -> None:
    """Leaves of float32 beside others of float64 are refused, or updated as each of them would be on its own."""
    mixed = case.of_two_dtypes()
    if refuses(mixed.states) is None:
        updates_keep_their_kind(mixed)
        numbers_do_not_affect_each_other(mixed)


def agrees_with_formula(case: OptimizerCase, formula: Formula) -> None:
    """Each number is what a second definition of the rule gives."""
    wants_params = "params" in inspect.signature(formula).parameters
    wide = OptimizerCase(case.optimizer, _wide(case.params), [_wide(grads) for grads in case.grads])
    states = [pytree.leaves(state.params) for state in wide.states()]
    for number, (path, *leaves) in enumerate(side_by_side(wide.params, *wide.grads)):
        run = torch.stack([params[number] for params in states])
        for place in torch.ones_like(leaves[0]).nonzero().tolist():
            start, *history = (leaf[tuple(place)].item() for leaf in leaves)
            values = run[(slice(None), *place)]
            asked = {"params": values[:-1].tolist()} if wants_params else {}
            expected = attempt("formula", partial(formula, **asked), start, history)
            problem = f"params{path}{place or ''} differs from the formula after gradients {history}"
            assert_close(problem, values[-1], torch.tensor(expected, dtype=torch.float64), largest(values))


def _wide(tree: Any) -> Any:
    return pytree.map(lambda leaf: packed(leaf).to(torch.float64), tree)


def unlike_gradients_are_refused(case: OptimizerCase) -> None:
    """Gradients of another structure, shape or dtype raise a ValueError that names the leaf's path."""
    state = attempt("init", case.optimizer.init, case.params)
    grads = case.grads[0]
    for index, (path, leaf) in enumerate(pytree.items(grads)):
        other_dtype = torch.float32 if leaf.dtype == torch.float64 else torch.float64
        others = {
            f"of shape {(1, *leaf.shape)}": leaf.unsqueeze(0),
            f"of {other_dtype}": leaf.to(other_dtype),
            "that is missing": None,
        }
        if leaf.numel() > 1:
            others["of shape (1,)"] = leaf.reshape(-1)[:1]
        for description, other in others.items():
            leaves = pytree.leaves(grads)
            leaves[index] = other
            error = refuses(case.optimizer.update, state, pytree.unflatten(grads, leaves))
            if error is None:
                raise AssertionError(f"update takes grads{path} {description}: raise a ValueError, broadcast nothing")
            if not isinstance(error, ValueError) or path not in str(error):
                raise AssertionError(
                    f"update must raise a ValueError that names {path!r} for grads{path} {description}, "
                    f"got {type(error).__name__}: {error}"
                ) from error
    if refuses(case.optimizer.update, state, (grads, grads)) is None:
        raise AssertionError("update takes grads of another structure than the params: raise a ValueError")


def learning_rate_is_the_states(case: OptimizerCase) -> None:
    """Whatever the optimizer's own learning rate, an update takes that of the state."""
    other = _with_another_rate(case.optimizer)
    if other is None:
        return
    for step, (state, grads) in enumerate(zip(case.states(), case.grads, strict=False), 1):
        own, others = (attempt("update", each.update, state, grads) for each in (case.optimizer, other))
        assert_same(f"update {step} takes the optimizer's learning rate instead of state.learning_rate", own, others)


def _with_another_rate(optimizer: Any) -> Any:
    """The optimizer with half its learning rate; None where it does not say which that is."""
    rate = getattr(optimizer, "learning_rate", None)
    if not isinstance(rate, float) or not rate:
        return None
    try:
        if attrs.has(type(optimizer)):
            return attrs.evolve(optimizer, learning_rate=rate / 2)
        other = copy.copy(optimizer)
        other.learning_rate = rate / 2
    except (AttributeError, TypeError):
        return None
    return other


def learning_rate_counts(optimizer: Any) -> None:
    """Each learning rate in the state, as a schedule sets it, gives another step, and 0 gives none.

    The params are 0, so that steps of every size are seen.
    """
    params, grads = torch.zeros(3, dtype=torch.float64), torch.tensor([0.5, -2.0, 30.0], dtype=torch.float64)
    state = _before_the_first_change(optimizer, params, grads)

    def step(rate: float) -> Tensor:
        with_rate = attempt("attrs.evolve", lambda: attrs.evolve(state, learning_rate=rate))
        moved: Tensor = attempt("update", optimizer.update, with_rate, grads).params
        return moved

    for rate, larger in itertools.pairwise(RATES):
        if torch.allclose(step(rate), step(larger), rtol=1e-6, atol=0.0):
            raise AssertionError(
                f"update ignores state.learning_rate: it gives the same step for the rates {rate} and {larger}"
            )
    if step(0.0).any():
        raise AssertionError(
            f"a learning rate of 0, as schedules end with, must change nothing; update moves 0 to {step(0.0).tolist()}"
        )


def steps_go_against_gradients(optimizer: Any) -> None:
    """The first step that changes params goes against the gradient of each number, whatever its size.

    Params are of the sign of their gradients, which a decay makes smaller as well, and so small that steps are seen.
    """
    rate = attempt("init", optimizer.init, torch.zeros(1, dtype=torch.float64)).learning_rate
    grads = torch.tensor(SIZES, dtype=torch.float64).unsqueeze(1) * torch.tensor([1.0, -2.0], dtype=torch.float64)
    params = rate * grads.clamp(-1.0, 1.0)
    state = _before_the_first_change(optimizer, params, grads)
    after = attempt("update", optimizer.update, state, grads).params
    wrong = ~((after.isfinite()) & ((after - params) * grads.sign() < 0))
    if wrong.any():
        grad, before, moved = (tensor[wrong][0].item() for tensor in (grads, params, after))
        raise AssertionError(f"update does not go against a gradient of {grad}: it moves {before} to {moved}")
    _assert_broken_gradients_are_seen(optimizer, state, grads)


def _assert_broken_gradients_are_seen(optimizer: Any, state: Any, grads: Tensor) -> None:
    """A gradient that is NaN leaves NaN in the state, where steps depend on its size, and an infinite one is not 0."""

    def after(number: float) -> Any:
        changed = grads.clone()
        changed[ORDINARY, 0] = number
        return attempt("update", optimizer.update, state, changed)

    ordinary = grads[ORDINARY, 0].item()
    leaves = zip(*map(pytree.leaves, (after(ordinary), after((1 - SLIGHTLY) * ordinary))), strict=True)
    of_nan = after(math.nan)
    if any(depends(*pair).any() for pair in leaves) and not any(leaf.isnan().any() for leaf in pytree.leaves(of_nan)):
        raise AssertionError(
            f"update hides a gradient that is nan: it moves the param to {of_nan.params[ORDINARY, 0].item()}, and "
            "leaves no nan in the state, so that training goes on as if nothing had happened"
        )
    for infinity in (math.inf, -math.inf):
        if pytree.equal(after(infinity), after(0.0)):
            raise AssertionError(f"update takes a gradient of {infinity} for 0")


def _before_the_first_change(optimizer: Any, params: Tensor, grads: Tensor) -> Any:
    """The state whose update with these gradients is the first to change the params."""
    state = attempt("init", optimizer.init, params)
    for _ in range(PATIENCE):
        following = attempt("update", optimizer.update, state, grads)
        if not torch.equal(following.params, params):
            return state
        state = following
    raise AssertionError(f"update never changes the params, in {PATIENCE} updates")


def steps_descend(optimizer: Any) -> None:
    """On ½c‖w‖² with c = 1/(10η), w at least 10η and 1 away from 0, steps lower the value."""
    rate = attempt("init", optimizer.init, torch.zeros(1, dtype=torch.float64)).learning_rate
    curvature, scale = 1 / (10 * rate), max(1.0, 10 * rate)
    params = scale * torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)
    state = _before_the_first_change(optimizer, params, curvature * params)
    state = attempt("update", optimizer.update, state, curvature * params)
    _assert_descends("the first step", params, state.params)
    first = state.params
    for _ in range(10):
        state = attempt("update", optimizer.update, state, curvature * state.params)
    _assert_descends("the ten updates after the first step", first, state.params, strict=False)


def _assert_descends(name: str, before: Tensor, after: Tensor, *, strict: bool = True) -> None:
    lower, higher = after.square().sum().item(), before.square().sum().item()
    if not (lower < higher or (lower == higher and not strict)):
        raise AssertionError(
            f"{name} on a quadratic must descend towards 0, but went from {before.tolist()} to {after.tolist()}"
        )
