"""Learning from a stream: a step for each sample as it comes, from state to state."""

from typing import Any, Protocol

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from functional_mlp import checks, engines, pytree, trees
from functional_mlp.algebra import working_dtype
from functional_mlp.forks import cached_property
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import checked_arguments, template
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.optimizers import Optimizer, OptimizerState
from functional_mlp.penalties import Penalty, check_penalty
from functional_mlp.samples import checked_inputs, samples, weighted_inputs


@attrs.frozen(eq=False, repr=False)
class OnlineState:
    """Where learning stands: the parameters, what the optimizer remembers, the number of steps.

    It never changes; `Online.step` gives a new one. `numbers` are in whatever form the steps read them; `params` and
    `optimizer_state` are the ordinary trees, in tensors of their own: `fm.predict`, `fm.save`, … take the params, and
    `fm.TrainState(optimizer_state, key, epoch=0)`, for any key, is what `fm.save` and `fm.fit` take to go on from.
    """

    # All that it holds, in one tuple: to set four fields of a frozen class takes twice as long.
    held: tuple["Online", Any, int, float]

    @property
    def online(self) -> "Online":
        return self.held[0]

    @property
    def numbers(self) -> Any:
        return self.held[1]

    @property
    def step(self) -> int:
        return self.held[2]

    @property
    def learning_rate(self) -> float:
        return self.held[3]

    @property
    def params(self) -> Params:
        return self.optimizer_state.params

    @property
    def optimizer_state(self) -> OptimizerState:
        trees = self.online.steps.trees(self.numbers)
        return self.online.optimizer.State(learning_rate=self.learning_rate, step=self.step, **trees)

    def __repr__(self) -> str:
        return f"<OnlineState after {self.step} steps of {self.online!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays, for torch writes addresses with its tensors: equal states are to be the same when they are pickled.
        trees = self.online.steps.trees(self.numbers)
        contents = {name: [pytree.bits(leaf).numpy() for leaf in pytree.leaves(tree)] for name, tree in trees.items()}
        return _unpickled, (self.online, self.step, self.learning_rate, contents)


def _unpickled(online: "Online", step: int, learning_rate: float, contents: dict[str, list[Any]]) -> OnlineState:
    like = template(online.network, online.dtype)
    trees = {
        name: pytree.unflatten(
            like,
            [
                torch.from_numpy(content).view(online.dtype).reshape(leaf.shape)
                for content, leaf in zip(leaves, pytree.leaves(like), strict=True)
            ],
        )
        for name, leaves in contents.items()
    }
    return online.init(online.optimizer.State(learning_rate=learning_rate, step=step, **trees))


def _as_network(network: Layer) -> Layer:
    return as_layer("Online: network", network)


@frozen
class Online:
    """A network that learns sample by sample, in microseconds; native code where the engine can run it.

    Making it makes the code of steps with single samples. That for each size of batch, for weights, and for class
    probabilities is made in the first step with them, which takes tenths of a second where it is not found on disk.

    Each sample, or batch, is a step of `optimizer` with the gradient of its mean loss, as `train_epoch` takes it: steps
    over the rows in an epoch's order give the bits of that epoch. A sample (features,) is a step of batch size 1, and a
    batch (1, features) the last of larger ones, which adds up in another order. Threads may step at once, from the same
    state or others.

    What writes down torch's operations does not see native code: `torch.jit.trace` and `make_fx` of `predict` give,
    without an error, functions whose outputs mean nothing, for to ask would take a part of every call. For them there
    is `fm.predict` with `state.params` and engine="reference". Where `torch.func` transforms the data, `TypeError` is
    raised.

    Parameters
    ----------
    network
        What learns.
    loss
        What it minimizes.
    optimizer
        How a gradient changes the parameters.
    penalty
        As `fit` takes it.
    dtype
        Of all numbers, the data's included. The engine computes in float32 and float64; where it cannot run the
        network (`fm.engine.explain` says why), the reference steps, with the same results up to rounding.

    >>> import torch, functional_mlp as fm
    >>> online = fm.Online(fm.Linear(1, 1), fm.MeanSquaredError(), fm.SGD(0.1))
    >>> state = online.init(online.network.init(fm.random.key(0)))
    >>> for x in (0.0, 1.0, 2.0) * 100:
    ...     state, loss = online.step(state, torch.tensor([x]), torch.tensor([2 * x + 1]))
    >>> round(online.predict(state, torch.tensor([3.0])).item(), 3), state.step
    (7.0, 300)
    """

    network: Layer = field(converter=_as_network)
    loss: Loss = field()
    optimizer: Optimizer = field()
    penalty: Penalty | None = field(default=None, kw_only=True)
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)

    def __attrs_post_init__(self) -> None:
        checks.instance("Online: loss", self.loss, Loss, "subclass functional_mlp.Loss to write your own")
        advice = "subclass functional_mlp.Optimizer to write your own"
        checks.instance("Online: optimizer", self.optimizer, Optimizer, advice)
        checks.float_dtype("Online: dtype", self.dtype)
        check_penalty("Online", self.penalty, self.dtype)
        _ = self.steps

    @cached_property
    def steps(self) -> "Steps":
        """What takes the steps."""
        given = (self.network, self.loss, self.optimizer, self.penalty, self.dtype)
        return engines.fused_steps(*given) or ReferenceSteps(*given)

    def init(self, start: Any) -> OnlineState:
        """The state to start from, with parameters, or with an optimizer's state. They are copied.

        Raises `TypeError` or `ValueError` where they are not of this network, optimizer and dtype.
        """
        if isinstance(start, OptimizerState):
            self.optimizer.check_state(start)
            state = trees.detached(start)
        else:
            state = self.optimizer.init(start)
        features = self.network.in_features or 1
        checked_arguments(self.network, state.params, torch.zeros(features, dtype=self.dtype, device="cpu"))
        return OnlineState((self, self.steps.numbers(state), state.step, state.learning_rate))

    def step(
        self,
        state: OnlineState,
        x: Any,
        target: Any,
        *,
        weight: Any = None,
        learning_rate: float | None = None,
    ) -> tuple[OnlineState, float]:
        """One step: the state after it, and the mean loss of the samples before it.

        Parameters
        ----------
        state
            Where learning stands; it stays as it is, and a step from it again gives the same bits.
        x
            A sample (features,), or a batch (b, features), of the dtype: a tensor or a numpy array.
        target
            As the loss takes it: values (outputs,), or a class index, an int too; of a batch, one each.
        weight
            A factor on the loss: a number, not negative, or one for each sample of a batch. A sample of weight 0 counts
            for nothing, whatever numbers it has.
        learning_rate
            Of this step, instead of the state's.

        A NaN in data that count gives the loss NaN; whoever wants to go on keeps the state from before. Raises
        `TypeError` or `ValueError` for what does not fit the network, its loss or the state.
        """
        if type(state) is not OnlineState or state.held[0] is not self:
            self._check_state(state)
        _, numbers, step, usual_rate = state.held
        rate = usual_rate if learning_rate is None else self._rate(learning_rate)
        numbers, loss = self.steps.step(numbers, step, rate, x, target, weight)
        return OnlineState((self, numbers, step + 1, usual_rate)), loss

    def predict(self, state: OnlineState, x: Any) -> Tensor:
        """The network's outputs for a sample (features,), or a batch (b, features)."""
        if type(state) is not OnlineState or state.held[0] is not self:
            self._check_state(state)
        return self.steps.predict(state.held[1], x)

    def _rate(self, learning_rate: Any) -> float:
        name = "step: learning_rate"
        rate = checks.number(name, learning_rate, low=0.0)
        checks.in_range(name, rate, working_dtype(self.dtype))
        return rate

    def _check_state(self, state: Any) -> None:
        checks.instance("state", state, OnlineState, "make one with online.init(params)")
        if state.online != self:
            raise ValueError(
                f"state is one of {state.online!r}, and this is {self!r}: make one with online.init(params)"
            )


class Steps(Protocol):
    """What takes the steps of an `Online`, from numbers in a form of its own."""

    def numbers(self, state: OptimizerState) -> Any:
        """The parameters of a state, and the optimizer's slots."""

    def trees(self, numbers: Any) -> dict[str, Any]:
        """The parameters and the slots by their names, in tensors of their own."""

    def step(
        self, numbers: Any, step: int, learning_rate: float, x: Any, target: Any, weight: Any
    ) -> tuple[Any, float]:
        """The numbers after a step, and the mean loss of the samples before it.

        Parameters
        ----------
        numbers
            The parameters and the optimizer's slots before the step.
        step
            The number of the step, from 1 on.
        learning_rate
            That of the step.
        x
            The inputs: a sample (features,), or a batch (samples, features).
        target
            The target of the sample, or those of the batch.
        weight
            The weight of the sample, or those of the batch; None for 1.
        """

    def predict(self, numbers: Any, x: Any) -> Tensor:
        """The outputs for a sample, or a batch."""


class ReferenceSteps:
    """The steps as torch operations; a state's numbers are its trees, by their names."""

    def __init__(
        self, network: Layer, loss: Loss, optimizer: Optimizer, penalty: Penalty | None, dtype: torch.dtype
    ) -> None:
        self._network, self._loss, self._optimizer, self._penalty = network, loss, optimizer, penalty
        self._dtype = dtype

    def numbers(self, state: OptimizerState) -> dict[str, Any]:
        return self.trees({name: getattr(state, name) for name in ("params", *self._optimizer.slots())})

    def trees(self, numbers: dict[str, Any]) -> dict[str, Any]:
        return {name: pytree.map(torch.clone, tree) for name, tree in numbers.items()}

    def step(
        self, numbers: dict[str, Any], step: int, learning_rate: float, x: Any, target: Any, weight: Any
    ) -> tuple[dict[str, Any], float]:
        params = numbers["params"]
        inputs, weights = weighted_inputs(self._inputs(x), weight)
        prediction, tape = self._network.forward(params, inputs)
        given = samples(self._loss, inputs, prediction, target, weights)
        grad_out = self._loss.batch_grad(prediction, given.targets, given.weights)
        grads = self._network.backward_params(params, tape, grad_out)
        if self._penalty is not None:
            grads = self._penalty.added_to_grads(grads, params)
        loss = self._loss.batch_value(prediction, given.targets, given.weights).item()
        after = self._optimizer.update(self._optimizer.State(learning_rate=learning_rate, step=step, **numbers), grads)
        return {name: getattr(after, name) for name in numbers}, loss

    def predict(self, numbers: dict[str, Any], x: Any) -> Tensor:
        # Copied, for a layer may return what it is given: the inputs, or the params of the state.
        return self._network.apply(numbers["params"], self._inputs(x)).clone()

    def _inputs(self, x: Any) -> Tensor:
        return checked_inputs(x, self._dtype, torch.device("cpu"), self._network.in_features)
