"""The state of training in arrays: parameters and what the optimizer remembers, each laid end to end in one."""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import optree
import torch
from torch import Size, Tensor

from functional_mlp import pytree, trees
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty, weights_among

# The number of a step, or a learning rate: a tensor where a GPU is to read it (see `functional_mlp.captured`), and
# where networks that are trained together have rates of their own.
Number = float | Tensor


@attrs.frozen(eq=False)
class Layout:
    """How the leaves of a tree of parameters lie end to end in the last dimension of an array.

    Arrays are (numbers,), or (members, numbers) for many trees of one kind, whose leaves have a member axis.

    >>> layout = Layout.of((torch.tensor([[1.0, 2.0]]), torch.tensor([3.0])))
    >>> layout.tree(torch.tensor([4.0, 5.0, 6.0]))
    (tensor([[4., 5.]]), tensor([6.]))
    """

    structure: optree.PyTreeSpec
    shapes: tuple[Size, ...]

    @classmethod
    def of(cls, params: Any) -> "Layout":
        """The layout of parameters without a member axis."""
        return cls(pytree.structure(params), tuple(leaf.shape for leaf in pytree.leaves(params)))

    def array(self, tree: Any, members: tuple[int, ...] = ()) -> Tensor:
        """The array of a tree; `members` is the leading axis of its leaves, where they have one."""
        leaves: list[Any] = self.structure.flatten_up_to(tree)
        if not leaves:
            return torch.empty(*members, 0, device="cpu")
        flat = 1 + len(members)
        return torch.cat([leaf if leaf.ndim == flat else leaf.reshape(*members, -1) for leaf in leaves], -1)

    def tree(self, array: Tensor) -> Any:
        """The tree of an array, in views of it."""
        return self.structure.unflatten(self.views(array))

    def views(self, array: Tensor) -> list[Tensor]:
        """The leaves of the tree of an array, which are views of it."""
        pieces = array.split([shape.numel() for shape in self.shapes], -1) if self.shapes else ()
        members = array.shape[:-1]
        return [piece.view((*members, *shape)) for piece, shape in zip(pieces, self.shapes, strict=True)]


@attrs.frozen(eq=False)
class Rule:
    """What updates arrays of parameters: an optimizer, with a penalty on the numbers that a mask tells."""

    layout: Layout
    optimizer: Optimizer
    penalty: Penalty | None
    penalized: Tensor | None

    @classmethod
    def of(cls, optimizer: Optimizer, penalty: Penalty | None, params: Any) -> "Rule":
        """The rule for parameters like these, which have no member axis."""
        penalized = None if penalty is None else weights_among(pytree.leaves(params))
        return cls(Layout.of(params), optimizer, penalty, penalized)

    def arrays(self, states: Sequence[OptimizerState], members: tuple[int, ...] = ()) -> list[Tensor]:
        """The arrays of parameters and slots of a state, or of many with a member axis."""
        names = ("params", *self.optimizer.slots())
        rows = [[self.layout.array(trees.detached(getattr(state, name))) for state in states] for name in names]
        return [torch.stack(own) if members else own[0] for own in rows]

    def state(self, like: OptimizerState, arrays: Iterable[Tensor], step: int, learning_rate: float) -> OptimizerState:
        """The state of one network that arrays without a member axis hold, in tensors of its own."""
        leaves = [[view.clone() for view in self.layout.views(array)] for array in arrays]
        state: OptimizerState = self.optimizer.rebuild(like, step, self.layout.structure, leaves)
        return attrs.evolve(state, learning_rate=learning_rate)


class Buffers:
    """Arrays of parameters and slots while batches are gone through; they belong to this object alone.

    An optimizer's rule is elementwise, so one evaluation updates all the parameters at once. `params` is their tree,
    in views of the first array.
    """

    def __init__(self, rule: Rule, learning_rate: Number, arrays: Sequence[Tensor]) -> None:
        self._rule, self._learning_rate, self._checked = rule, learning_rate, False
        # Views take longer to make than a copy, but for a GPU, which does not wait for them where a step is captured.
        self.written_to: bool = not arrays[0].is_cuda
        self.arrays: list[Tensor] = [array.clone() for array in arrays] if self.written_to else list(arrays)
        self.params: Any = rule.layout.tree(self.arrays[0])

    def kept(self, prediction: Tensor) -> Tensor:
        """A prediction that further updates leave as it is: it may be a view of the parameters."""
        return prediction.clone() if self.written_to else prediction

    def update(self, step: Number, grads: Any) -> None:
        """Apply the optimizer's rule; `step` is 1 at the first update."""
        if self._rule.layout.shapes:
            self.update_by(step, self.gradient(grads))

    def gradient(self, grads: Any) -> Tensor:
        """The array of gradients, laid out as the parameters are."""
        if not self._checked:
            trees.like("gradients of the network", grads, "params", self.params)
            self._checked = True
        return self._rule.layout.array(grads, tuple(self.arrays[0].shape[:-1]))

    def update_by(self, step: Number, grad: Tensor) -> None:
        """As `update`, by an array of gradients."""
        param, *slots = self.arrays
        if self._rule.penalty is not None:
            grad = self._rule.penalty.added_to(grad, param, self._rule.penalized)
        updated, *slots = self._rule.optimizer.apply_rule(step, self._learning_rate, param, grad, *slots)
        if self.written_to:
            self.arrays = [param, *(slot.clone() if slot is param else slot for slot in slots)]
            param.copy_(updated)
        else:
            self.arrays = [updated, *slots]
            self.params = self._rule.layout.tree(updated)


def all_finite(arrays: Iterable[Tensor]) -> bool:
    """Whether all numbers of some arrays are finite: a GPU is waited for once."""
    finite = [array.isfinite().all() for array in arrays]
    return bool(torch.stack(finite).all())
