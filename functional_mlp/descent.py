"""Algorithm 1 of the paper, stochastic gradient descent, as the loop that it is:

    while training goes on:                              course.py     Course, epoch after epoch
        shuffle the samples                              orders.py     order_of
        for each batch of them, in that order:           here          Batch.cut
            forward pass, gradient, backward pass,       here          descend
            and w ← w − η ∂ℓ/∂w

A batch of one sample is the paper's. The reference engine trains by this loop, one network (`reference.py`) or many at
once (`ensemble/stacked.py`); the fused engine makes machine code that does the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from functional_mlp.buffers import Buffers, Number
from functional_mlp.layers.base import Layer
from functional_mlp.losses import Loss


class Batch(NamedTuple):
    """Samples that a step is made with: their inputs, targets as the loss encodes them, and weights, if any.

    `samples` is how many they are, of each network.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    samples: int

    def cut(self, batch_size: int, axis: int = 0) -> "list[Batch]":
        """The batches of these samples, which lie along an axis, in their order; the last may be smaller.

        Single samples along the first axis have no batch dimension: vectors are faster than one-row matrices.

        >>> import torch
        >>> x = torch.tensor([[1.0], [2.0], [3.0]])
        >>> [(batch.inputs.tolist(), batch.samples) for batch in Batch(x, x, None, 3).cut(2)]
        [([[1.0], [2.0]], 2), ([[3.0]], 1)]
        >>> [batch.inputs.tolist() for batch in Batch(x, x, None, 3).cut(1)]
        [[1.0], [2.0], [3.0]]
        """

        def pieces(rows: Tensor) -> Sequence[Tensor]:
            return rows.unbind() if batch_size == 1 and axis == 0 else rows.split(batch_size, axis)

        sizes = [min(batch_size, self.samples - first) for first in range(0, self.samples, batch_size)]
        weights = [None] * len(sizes) if self.weights is None else pieces(self.weights)
        return list(map(Batch, pieces(self.inputs), pieces(self.targets), weights, sizes))


def descend(
    network: Layer, loss: Loss, parameters: Buffers, batches: Sequence[Batch], done: Number = 0
) -> list[Tensor]:
    """Make a step with each batch, after `done` steps; returns the predictions, each made right before its update."""
    predictions = []
    for step, batch in zip(following(done, len(batches)), batches, strict=True):
        prediction, tape = network.forward(parameters.params, batch.inputs)
        grad_out = loss.batch_grad(prediction, batch.targets, batch.weights, samples=batch.samples)
        grads = network.backward_params(parameters.params, tape, grad_out)
        predictions.append(parameters.kept(prediction))
        parameters.update(step, grads)
    return predictions


def following(step: Number, steps: int) -> Sequence[Number]:
    """The numbers of the steps after one.

    >>> import torch
    >>> list(following(3, 2)), following(torch.tensor(3.0), 2)
    ([4, 5], (tensor(4.), tensor(5.)))
    """
    if not isinstance(step, Tensor):
        return range(int(step) + 1, int(step) + 1 + steps)
    return (step + torch.arange(1, steps + 1, dtype=step.dtype, device=step.device)).unbind()
