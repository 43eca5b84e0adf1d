"""Back-propagation: the loss of a network and its gradient with respect to the parameters.

Where the equations of the paper are (section III, with δ for ∂ℓ/∂s⁽ˡ⁾; momentum and batches: section V):

    summation      s⁽ˡ⁾ = w⁽ˡ⁾ x⁽ˡ⁻¹⁾ + b⁽ˡ⁾           layers/linear.py       Linear.forward
    activation     x⁽ˡ⁾ = σ(s⁽ˡ⁾)                      layers/elementwise.py  ReLU.value, Tanh.value
    (1)            ∂ℓ/∂x⁽ᴸ⁾ = ∇ℓ(x⁽ᴸ⁾)                 losses/regression.py   MeanSquaredError.sample_grad
    (2)            ∂ℓ/∂x⁽ˡ⁻¹⁾ = (w⁽ˡ⁾)ᵀ δ              layers/linear.py       Linear.backward
    (3)            δ = ∂ℓ/∂x⁽ˡ⁾ ⊙ σ'(s⁽ˡ⁾)             layers/elementwise.py  Elementwise.pullback
    (4)            ∂ℓ/∂w⁽ˡ⁾ = δ (x⁽ˡ⁻¹⁾)ᵀ              layers/linear.py       Linear.backward_params
    (5)            ∂ℓ/∂b⁽ˡ⁾ = δ                        layers/linear.py       Linear.backward_params
    (6), (7)       w ← w − η ∂ℓ/∂w, b ← b − η ∂ℓ/∂b    optimizers/rules.py    SGD.rule
    all layers     from the last to the first          layers/combinators.py  Sequential.backward
    momentum       V ← βV + (1−β)g, w ← w − ηV         optimizers/rules.py    Momentum.rule
    batch descent  g = (g₁ + … + g_B) / B              losses/base.py         Loss.batch_grad
                   the same, a sample at a time        optimizers/rules.py    BatchGD.rule
    algorithm 1    an epoch, batch by batch            descent.py             descend
                   the order of its samples            orders.py              order_of
                   the step size of an epoch           schedules.py           exponential_decay.factor

`tracing.trace` shows (1) to (5) with the numbers of one sample.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from functional_mlp import checks
from functional_mlp.algebra import narrowed
from functional_mlp.layers.adapting import as_layer
from functional_mlp.layers.arguments import checked_arguments
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.passes import WrittenPasses
from functional_mlp.penalties import Penalty, check_penalty


def value_and_grad(
    network: Layer, loss: Loss, penalty: Penalty | None = None
) -> Callable[[Params, Tensor, Tensor], tuple[Tensor, Params]]:
    """The function `(params, x, targets) -> (value, grads)` of a network under a loss.

    `value` is the loss, a 0-d tensor, with the penalty's total where there is one, and `grads`, its gradient, has the
    structure of `params`. One call is one forward and one backward pass (steps 1 and 2 of section III-B of the paper).

    >>> import torch, functional_mlp as fm
    >>> network = fm.Linear(1, 1, bias=False)
    >>> params = fm.LinearParams(weight=torch.tensor([[2.0]]), bias=None)
    >>> x, targets = torch.tensor([[3.0]]), torch.tensor([[5.0]])
    >>> value, grads = value_and_grad(network, fm.MeanSquaredError())(params, x, targets)
    >>> value, grads.weight
    (tensor(1.), tensor([[6.]]))
    """
    layer = as_layer("value_and_grad: network", network)
    checks.instance("value_and_grad: loss", loss, Loss, "subclass functional_mlp.Loss to write your own")
    check_penalty("value_and_grad", penalty)

    def passes(params: Params, x: Tensor, targets: Tensor, call: Callable[..., Tensor]) -> tuple[Tensor, Params]:
        prediction, tape = layer.forward(params, x)
        targets = call(loss.checked_targets, prediction, targets)
        value, grad_out = loss.batch_value_and_grad(prediction, targets)
        grads = layer.backward_params(params, tape, grad_out)
        if penalty is not None:
            value, grads = value + penalty.total(params), penalty.added_to_grads(grads, params)
        return narrowed(value, prediction.dtype), grads

    written = WrittenPasses(passes, layer, loss, penalty)

    def evaluate(params: Any, x: Tensor, targets: Tensor) -> tuple[Tensor, Params]:
        return written(*checked_arguments(layer, params, x), targets)

    return evaluate
