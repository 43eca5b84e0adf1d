"""The rules of the optimizers, each an expression for one array of parameters."""

from typing import ClassVar

from attrs import field, frozen

from functional_mlp import checks, pytree
from functional_mlp.algebra import Array, Namespace
from functional_mlp.optimizers.base import Optimizer, OptimizerState
from functional_mlp.pytree import Params


@frozen(repr=False)
class SGD(Optimizer[OptimizerState]):
    """w ← w − ηg: stochastic gradient descent, equations (6) and (7) of the paper."""

    def rule(self, xp: Namespace, step: Array, learning_rate: Array, param: Array, grad: Array) -> tuple[Array, ...]:
        return (param - learning_rate * grad,)


@pytree.node
@frozen(eq=False)
class BatchGDState(OptimizerState):
    """`grad_sum` is the sum of the gradients since the last change of the parameters."""

    grad_sum: Params = field(repr=pytree.outline)


@frozen(repr=False)
class BatchGD(Optimizer[BatchGDState]):
    """Batch gradient descent (section V-A of the paper): every `batch_size` updates apply their mean gradient.

    w ← w − η (g₁ + … + g_B) / B at every B-th update, and w is unchanged at the others: fed one sample's
    gradient an update it equals `SGD` fed the mean gradient of each batch. A part-filled batch waits in the
    state.

    "Batch size" alone always means `fit(batch_size=…)`: the samples of one update, whose mean gradient it is given.
    Here `batch_size` counts updates, so that `fit(…, BatchGD(η, B), …, batch_size=b)` changes the parameters once in
    B · b samples: gradient accumulation. `fit(…, SGD(η), …, batch_size=B)` makes the changes of `BatchGD(η, B)` at
    batch size 1, and faster, where B divides the number of samples; otherwise the last batch of an epoch is applied
    there, short as it is, and waits for the next epoch here.

    >>> import torch
    >>> optimizer = BatchGD(1.0, batch_size=2)
    >>> state = optimizer.update(optimizer.init(torch.tensor([0.0])), torch.tensor([1.0]))
    >>> state.params
    tensor([0.])
    >>> optimizer.update(state, torch.tensor([3.0])).params
    tensor([-2.])
    """

    batch_size: int = field(converter=checks.plain_integer, validator=checks.positive_integer)

    State: ClassVar[type[OptimizerState]] = BatchGDState

    def rule(
        self,
        xp: Namespace,
        step: Array,
        learning_rate: Array,
        param: Array,
        grad: Array,
        grad_sum: Array,
    ) -> tuple[Array, ...]:
        grad_sum = grad_sum + grad
        due = step % self.batch_size == 0
        updated = param - learning_rate * (grad_sum / self.batch_size)
        return xp.where(due, updated, param), xp.where(due, 0, grad_sum)


@pytree.node
@frozen(eq=False)
class MomentumState(OptimizerState):
    """`velocity` is V in the formula of `Momentum`."""

    velocity: Params = field(repr=pytree.outline)


@frozen(repr=False)
class Momentum(Optimizer[MomentumState]):
    """V ← βV + (1−β)g, w ← w − ηV, with V = 0 at first (section V-B of the paper).

    >>> import torch
    >>> optimizer = Momentum(1.0, beta=0.75)
    >>> optimizer.update(optimizer.init(torch.tensor([0.0])), torch.tensor([4.0])).params
    tensor([-1.])
    """

    beta: float = field(default=0.9, validator=checks.fraction_below_one)

    State: ClassVar[type[OptimizerState]] = MomentumState

    def rule(
        self,
        xp: Namespace,
        step: Array,
        learning_rate: Array,
        param: Array,
        grad: Array,
        velocity: Array,
    ) -> tuple[Array, ...]:
        velocity = self.beta * velocity + (1 - self.beta) * grad
        return param - learning_rate * velocity, velocity


@pytree.node
@frozen(eq=False)
class NesterovState(OptimizerState):
    """`velocity` is V in the formula of `Nesterov`: another mean of gradients than that of `Momentum`."""

    velocity: Params = field(repr=pytree.outline)


@frozen(repr=False)
class Nesterov(Optimizer[NesterovState]):
    """V ← μV + g, w ← w − η(g + μV): the rule of `torch.optim.SGD(nesterov=True)`.

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    momentum: float = field(default=0.9, validator=checks.fraction_below_one)

    State: ClassVar[type[OptimizerState]] = NesterovState

    def rule(
        self,
        xp: Namespace,
        step: Array,
        learning_rate: Array,
        param: Array,
        grad: Array,
        velocity: Array,
    ) -> tuple[Array, ...]:
        velocity = self.momentum * velocity + grad
        return param - learning_rate * (grad + self.momentum * velocity), velocity


@pytree.node
@frozen(eq=False)
class AdamState(OptimizerState):
    """The running means of the gradient and of its square."""

    first_moment: Params = field(repr=pytree.outline)
    second_moment: Params = field(repr=pytree.outline)


@frozen(repr=False)
class Adam(Optimizer[AdamState]):
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², w ← w − η m̂ / (√v̂ + ε).

    m̂ = m / (1−β₁ᵗ) and v̂ = v / (1−β₂ᵗ) undo the start from zero. Kingma and Ba, "Adam: a method for
    stochastic optimization", 2015, algorithm 1.
    """

    beta1: float = field(default=0.9, validator=checks.fraction_below_one)
    beta2: float = field(default=0.999, validator=checks.fraction_below_one)
    eps: float = field(default=1e-8, validator=checks.non_negative_number)

    State: ClassVar[type[OptimizerState]] = AdamState

    def rule(
        self,
        xp: Namespace,
        step: Array,
        learning_rate: Array,
        param: Array,
        grad: Array,
        first_moment: Array,
        second_moment: Array,
    ) -> tuple[Array, ...]:
        first_moment = self.beta1 * first_moment + (1 - self.beta1) * grad
        second_moment = self.beta2 * second_moment + (1 - self.beta2) * (grad * grad)
        mean = first_moment / (1 - self.beta1**step)
        spread = xp.sqrt(second_moment / (1 - self.beta2**step)) + self.eps
        return param - learning_rate * (mean / spread), first_moment, second_moment


@pytree.node
@frozen(eq=False)
class AdamWState(AdamState):
    """The running means of the gradient and of its square."""


@frozen(repr=False)
class AdamW(Adam):
    """Adam after w ← w − ηλw: weight decay that is not divided by √v̂.

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    weight_decay: float = field(default=0.01, validator=checks.non_negative_number)

    State: ClassVar[type[OptimizerState]] = AdamWState

    def rule(
        self,
        xp: Namespace,
        step: Array,
        learning_rate: Array,
        param: Array,
        grad: Array,
        first_moment: Array,
        second_moment: Array,
    ) -> tuple[Array, ...]:
        decayed = param - learning_rate * self.weight_decay * param
        return Adam.rule(self, xp, step, learning_rate, decayed, grad, first_moment, second_moment)


@pytree.node
@frozen(eq=False)
class RMSPropState(OptimizerState):
    """The running mean of the square of the gradient."""

    second_moment: Params = field(repr=pytree.outline)


@frozen(repr=False)
class RMSProp(Optimizer[RMSPropState]):
    """v ← ρv + (1−ρ)g², w ← w − η g / (√v + ε), with ρ the `decay`: the rule of `torch.optim.RMSprop`.

    Tieleman and Hinton, "Lecture 6.5: rmsprop", 2012.

    >>> import torch
    >>> optimizer = RMSProp(1.0, decay=0.75, eps=0.0)
    >>> optimizer.update(optimizer.init(torch.tensor([0.0])), torch.tensor([4.0])).params
    tensor([-2.])
    """

    decay: float = field(default=0.99, validator=checks.fraction_below_one)
    eps: float = field(default=1e-8, validator=checks.non_negative_number)

    State: ClassVar[type[OptimizerState]] = RMSPropState

    def rule(
        self, xp: Namespace, step: Array, learning_rate: Array, param: Array, grad: Array, second_moment: Array
    ) -> tuple[Array, ...]:
        second_moment = self.decay * second_moment + (1 - self.decay) * (grad * grad)
        return param - learning_rate * (grad / (xp.sqrt(second_moment) + self.eps)), second_moment


@pytree.node
@frozen(eq=False)
class LionState(OptimizerState):
    """The running mean of the gradient, m in the formula of `Lion`."""

    first_moment: Params = field(repr=pytree.outline)


@frozen(repr=False)
class Lion(Optimizer[LionState]):
    """w ← w − η (sign(β₁m + (1−β₁)g) + λw), and then m ← β₂m + (1−β₂)g, with λ the `weight_decay`.

    Every parameter moves by η in each update, so η is a third to a tenth of what `Adam` takes. Chen et al.,
    "Symbolic discovery of optimization algorithms", 2023, algorithm 2.

    >>> import torch
    >>> optimizer = Lion(0.5)
    >>> optimizer.update(optimizer.init(torch.tensor([0.0, 0.0])), torch.tensor([4.0, -0.1])).params
    tensor([-0.5000,  0.5000])
    """

    beta1: float = field(default=0.9, validator=checks.fraction_below_one)
    beta2: float = field(default=0.99, validator=checks.fraction_below_one)
    weight_decay: float = field(default=0.0, validator=checks.non_negative_number)

    State: ClassVar[type[OptimizerState]] = LionState

    def rule(
        self, xp: Namespace, step: Array, learning_rate: Array, param: Array, grad: Array, first_moment: Array
    ) -> tuple[Array, ...]:
        direction = xp.sign(self.beta1 * first_moment + (1 - self.beta1) * grad)
        updated = param - learning_rate * (direction + self.weight_decay * param)
        return updated, self.beta2 * first_moment + (1 - self.beta2) * grad
