"""What holds for every optimizer, each property a function that raises `AssertionError` where it does not."""

from collections.abc import Callable
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from functional_mlp import checks, pytree
from functional_mlp.optimizers import Optimizer
from functional_mlp.testing.cases import assignments
from functional_mlp.testing.purity import attempt, call, inherits, refuses
from functional_mlp.testing.strategies import numbers_off_kinks, tensors
from functional_mlp.testing.trees import assert_close, assert_same, largest, packed, side_by_side
from functional_mlp.testing.vjp import assert_like

SHAPES = [(), (2,), (1,), (2, 3), (0,)]

# An optimizer may gather gradients before it changes the params; so many updates are waited for that.
PATIENCE = 1000


@attrs.frozen(eq=False)
class OptimizerCase:
    """An optimizer, params, and the gradients of a few updates."""

    optimizer: Any
    params: Any
    grads: list[Any]

    def __str__(self) -> str:
        return assignments(params=self.params, **{f"grads_{i + 1}": grads for i, grads in enumerate(self.grads)})

    def states(self) -> list[Any]:
        """The state after init, and after each update."""
        states = [attempt("init", self.optimizer.init, self.params)]
        for grads in self.grads:
            states.append(attempt("update", self.optimizer.update, states[-1], grads))
        return states


@st.composite
def cases(draw: DrawFn, optimizer: Any) -> OptimizerCase:
    """Trees of params of either dtype, with gradients for one to four updates."""
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    arrange = draw(st.sampled_from(ARRANGEMENTS))

    def tree() -> Any:
        return arrange([draw(tensors(shape, dtype, elements=numbers_off_kinks())) for shape in shapes])

    return OptimizerCase(optimizer, tree(), [tree() for _ in range(draw(st.integers(1, 4)))])


def _as_dict(leaves: list[Tensor]) -> Any:
    """A dictionary that is written in another order than its keys'."""
    return dict(reversed(list(zip("abc", leaves, strict=False))))


def _as_nest(leaves: list[Tensor]) -> Any:
    return ((leaves[0], None), {"rest": leaves[1:]})


ARRANGEMENTS: list[Callable[[list[Tensor]], Any]] = [tuple, _as_dict, _as_nest]


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


def updates_are_pure(case: OptimizerCase) -> None:
    """init and update are pure, and keep the params' structure, shapes and dtypes, and the learning rate."""
    optimizer = case.optimizer
    detached = ("params", "state", "grads") if inherits(optimizer, Optimizer, "init", "update") else ()
    state = call("init", optimizer.init, detached=detached, params=case.params)
    assert_same("init: state.params differs from params", pytree.map(packed, case.params), state.params)
    for grads in case.grads:
        following = call("update", optimizer.update, detached=detached, state=state, grads=grads)
        if type(following) is not type(state) or pytree.paths(following) != pytree.paths(state):
            raise AssertionError(f"update returns {checks.describe(following)}, init {checks.describe(state)}")
        if pytree.structure(following.params) != pytree.structure(case.params):
            raise AssertionError(
                f"update: state.params must keep its structure, {pytree.structure(case.params)}, "
                f"got {pytree.structure(following.params)}"
            )
        for path, after, before in side_by_side(following, state):
            assert_like(f"update: state{path}", after, f"state{path} before", before)
        if following.learning_rate != state.learning_rate:
            raise AssertionError(
                f"update changes the learning rate, from {state.learning_rate} to {following.learning_rate}"
            )
        state = following


def numbers_do_not_affect_each_other(case: OptimizerCase) -> None:
    """A tree is updated as each of its numbers would be on its own."""
    together = case.states()[-1].params
    for path, leaf, after in side_by_side(case.params, together):
        for place in torch.ones_like(packed(leaf)).nonzero().tolist():
            index = tuple(place)
            grads = [dict(pytree.items(grads))[path][index] for grads in case.grads]
            alone = OptimizerCase(case.optimizer, leaf[index], grads).states()[-1].params
            assert_close(
                f"params{path}{place or ''} is updated in another way beside other numbers than on its own",
                after[index],
                alone,
                1 + largest(leaf),
                rtol=1e-4 if leaf.dtype == torch.float32 else 1e-10,
            )


def agrees_with_formula(case: OptimizerCase, formula: Callable[[float, list[float]], float]) -> None:
    """Each number is what a second definition of the rule gives."""
    wide = OptimizerCase(case.optimizer, _wide(case.params), [_wide(grads) for grads in case.grads])
    after = pytree.leaves(wide.states()[-1].params)
    for (path, leaf, *grads), updated in zip(side_by_side(wide.params, *wide.grads), after, strict=True):
        for place in torch.ones_like(leaf).nonzero().tolist():
            index = tuple(place)
            history = [grad[index].item() for grad in grads]
            expected = attempt("formula", formula, leaf[index].item(), history)
            problem = f"params{path}{place or ''} differs from the formula after gradients {history}"
            assert_close(problem, updated[index], torch.tensor(expected, dtype=torch.float64), 1 + largest(leaf))


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
    """Another learning rate in the state, as a schedule sets it, gives another step."""
    params, grads = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    state = attempt("init", case.optimizer.init, params)
    slower = attempt("attrs.evolve", lambda: attrs.evolve(state, learning_rate=state.learning_rate / 2))
    for _ in range(PATIENCE):
        state, slower = (attempt("update", case.optimizer.update, s, grads) for s in (state, slower))
        if not torch.equal(state.params, params):
            break
    if torch.equal(state.params, slower.params):
        raise AssertionError("update ignores state.learning_rate: half of it gives the same step")


def steps_descend(case: OptimizerCase) -> None:
    """On ½c‖w‖² with c = 1/(10η), w at least 10η and 1 away from 0, steps lower the value."""
    optimizer = case.optimizer
    rate = attempt("init", optimizer.init, torch.zeros(1, dtype=torch.float64)).learning_rate
    curvature, scale = 1 / (10 * rate), max(1.0, 10 * rate)
    params = scale * torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)
    state = attempt("init", optimizer.init, params)
    for _ in range(PATIENCE):
        state = attempt("update", optimizer.update, state, curvature * state.params)
        if not torch.equal(state.params, params):
            break
    else:
        raise AssertionError(f"update never changes the params, in {PATIENCE} updates")
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
