"""What an optimizer is: a frozen value with pure functions, from a rule for one array of parameters."""

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, cast

import attrs
import torch
from attrs import field, frozen
from optree import PyTreeSpec
from torch import Tensor
from typing_extensions import TypeVar

from functional_mlp import checks, markup, pytree, trees
from functional_mlp.algebra import Array, below_autograd, narrowed, torch_namespace, widened
from functional_mlp.from_type import drawn
from functional_mlp.leaves import Leaves, leaves_namespace, tensors_of
from functional_mlp.operands import NotInAlgebraError
from functional_mlp.pytree import Params
from functional_mlp.usual import is_usual
from functional_mlp.value import Value


@pytree.node
@frozen(eq=False)
class OptimizerState:
    """What an optimizer needs to go on: the parameters, its learning rate and the number of updates so far.

    Rules that remember more have subclasses with a tree like the parameters for each thing remembered.
    """

    params: Params = field(repr=pytree.outline)
    learning_rate: float = field(metadata=pytree.STRUCTURE, converter=checks.plain_float)
    step: int = field(metadata=pytree.STRUCTURE, converter=checks.plain_integer)

    def _repr_html_(self) -> str:
        return markup.tree(f"{type(self).__name__} after {self.step} updates, η = {self.learning_rate:g}", self)


# The state of an optimizer; `Optimizer` alone is one of any.
S = TypeVar("S", bound=OptimizerState, default=Any)


@drawn
@frozen(repr=False)
class Optimizer(Value, Generic[S]):
    """The base class: `init` and `update` for trees of parameters, from a rule for one array.

    A subclass gives `State`, a subclass of `OptimizerState` whose further fields are the slots that the rule
    remembers in the params' dtype, and the rule, an expression in the array algebra (see `functional_mlp.algebra`):

        rule(xp, step, learning_rate, param, grad, *slots) -> (param, *slots)

    The rule must be elementwise: it sees the parameters as one array of whatever shape. `step` is 1 at the
    first update; it and `learning_rate` are numbers.
    """

    learning_rate: float = field(validator=checks.positive_number)

    State: ClassVar[type[OptimizerState]] = OptimizerState

    DERIVED: ClassVar[tuple[str, ...]] = ("init", "update", "apply_rule", "rebuild")
    """What this class makes of a subclass's rule: a subclass that has its own is more than its rule."""

    # mypy takes this signature to admit every other, so that a rule can name its slots.
    def rule(self, *arguments: Any, **named_arguments: Any) -> tuple[Array, ...]:
        """The update of one array, in the array algebra: `rule(xp, step, learning_rate, param, grad, *slots)`.

        Returns the new param, and the new slots.

        Parameters
        ----------
        xp
            The array namespace.
        step
            The number of the update, counted from 1.
        learning_rate
            That of the state.
        param
            The parameter, an array.
        grad
            The gradient of the loss with respect to it, of the same shape.
        slots
            What the rule remembers, by the names of the state's further fields.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define rule(self, xp, step, learning_rate, param, grad, *slots)"
        )

    @classmethod
    @functools.lru_cache(maxsize=256)
    def slots(cls) -> tuple[str, ...]:
        """The names of what the rule remembers: the state's fields beyond those of `OptimizerState`."""
        shared = {a.name for a in attrs.fields(OptimizerState)}
        return tuple(a.name for a in attrs.fields(cls.State) if a.name not in shared)

    def init(self, params: Params) -> S:
        """The state before the first update: every slot is zero.

        >>> import functional_mlp as fm
        >>> fm.SGD(0.1).init((torch.tensor([1.0]),))
        OptimizerState(params=(<float32 (1,)>,), learning_rate=0.1, step=0)
        """
        leaves = trees.float_leaves("params", params)
        if any(leaf.requires_grad for leaf in leaves):
            params = trees.detached(params)
        checks.hashable("the optimizer", self)
        for dtype in {leaf.dtype for leaf in leaves}:
            _check_rule(self, dtype)
        zeros = {slot: pytree.map(torch.zeros_like, params) for slot in self.slots()}
        return cast(S, self.State(params, float(self.learning_rate), 0, **zeros))

    def update(self, state: S, grads: Params) -> S:
        """A new state, one step on. Raises `ValueError`, naming the path, for grads that are not like the params.

        >>> import functional_mlp as fm
        >>> optimizer = fm.SGD(0.1)
        >>> optimizer.update(optimizer.init((torch.tensor([1.0]),)), (torch.tensor([2.0]),)).params
        (tensor([0.8000]),)
        """
        (params, *slots), form = self._leaves_of(state)
        leaves = [params, trees.like("grads", grads, "params", state.params, form=form), *slots]
        if any(map(trees.are_connected, leaves)):
            leaves = [[leaf.detach() for leaf in own] for own in leaves]
        step = state.step + 1
        structure = pytree.structure(state.params) if form is None else form.structure
        return self.rebuild(state, step, structure, self._apply_to_leaves(step, state.learning_rate, leaves, form))

    def _apply_to_leaves(
        self, step: int, learning_rate: float, leaves: list[list[Tensor]], form: trees.Form | None
    ) -> Sequence[Sequence[Tensor]]:
        """What the rule returns for params, gradients and slots: the leaves of the new params, and of each slot.

        All leaves at once, where they are of one kind, and the rule is written in the algebra; or leaf by leaf.
        """
        xp = None if form is None or type(self).apply_rule is not Optimizer.apply_rule else leaves_namespace(form.kind)
        if xp is not None:
            try:
                with below_autograd() if is_usual() else contextlib.nullcontext():
                    updated = self.rule(xp, step, learning_rate, *[Leaves(xp, own) for own in leaves])
                    return [tensors_of(own) for own in updated]
            except NotInAlgebraError:
                pass
        by_leaf = [self.apply_rule(step, learning_rate, *arrays) for arrays in zip(*leaves, strict=True)]
        return [[arrays[i] for arrays in by_leaf] for i in range(len(leaves) - 1)]

    def apply_rule(
        self, step: float | Tensor, learning_rate: float | Tensor, param: Tensor, *arrays: Tensor
    ) -> Sequence[Tensor]:
        """What the rule returns for tensors: the new param and slots, in the param's dtype.

        Half precision is computed in float32 and rounded once. A slot that is not 0 stays so: Adam divides by the
        root of one, which float16 would round to 0 for gradients of a thousandth.
        """
        wide = [widened(array) for array in (param, *arrays)]
        updated, *slots = self.rule(torch_namespace(wide[0].dtype, param.device), step, learning_rate, *wide)
        if wide[0] is not param:
            slots = [_not_vanishing(slot, param.dtype) for slot in slots]
        return [narrowed(updated, param.dtype), *slots]

    def rebuild(self, state: S, step: int, structure: PyTreeSpec, leaves: Iterable[Iterable[Tensor]]) -> S:
        """A state like `state`, with new leaves for params of this structure, and for each slot."""
        params, *slots = map(structure.unflatten, leaves)
        return cast(S, self.State(params, state.learning_rate, step, **dict(zip(self.slots(), slots, strict=True))))

    def check_state(self, state: Any) -> None:
        """Raise unless `state` is a state of this kind of optimizer, each slot like the params."""
        self._leaves_of(state)

    def _leaves_of(self, state: Any) -> tuple[list[list[Tensor]], trees.Form | None]:
        """The leaves of a state's params, and of each slot, once it is known to be one; and the form of its params."""
        if type(state) is not self.State:
            raise TypeError(
                f"{self!r} takes a state of the type {self.State.__name__}, got {checks.describe(state)}: "
                "make it with optimizer.init(params)"
            )
        checks.number("state.learning_rate", state.learning_rate, low=0.0)
        checks.integer("state.step", state.step, minimum=0)
        params, form = trees.leaves_and_form("state.params", state.params)
        return [
            params,
            *(
                trees.like(f"state.{slot}", getattr(state, slot), "state.params", state.params, form=form)
                for slot in self.slots()
            ),
        ], form


def _not_vanishing(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """An array rounded to a dtype, with the dtype's smallest number, of the right sign, for what would become 0."""
    rounded, smallest = exact.to(dtype), torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    return torch.where((rounded == 0) & (exact != 0), (exact.sign() * smallest).to(dtype), rounded)


@functools.lru_cache(maxsize=256)
def _check_rule(optimizer: Optimizer, dtype: torch.dtype) -> None:
    """Raise TypeError unless the rule returns, for arrays, a tuple of arrays like them, one for each."""
    array, slots = widened(torch.zeros(2, dtype=dtype, device="cpu")), optimizer.slots()
    xp = torch_namespace(array.dtype, array.device)
    updated: Any = optimizer.rule(xp, 1, float(optimizer.learning_rate), array, array, *(array for _ in slots))
    wanted = f"{type(optimizer).__name__}.rule must return a tuple of {1 + len(slots)}, (param, *slots)"
    if not isinstance(updated, tuple) or len(updated) != 1 + len(slots):
        raise TypeError(f"{wanted}, got {checks.describe(updated)}")
    for value in updated:
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (array.shape, array.dtype):
            raise TypeError(f"{wanted}, of arrays like the param, got {checks.describe(value)}")
