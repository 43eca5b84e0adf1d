"""torch.nn and torch.optim, eager, and a compiled step."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from peers.task import BETA, LEARNING_RATE, Task, Trainer, UnavailableError


def eager(task: Task) -> Trainer:
    """torch.nn and torch.optim as they are."""
    from torch import nn

    inputs, targets = task.data.inputs, task.data.targets
    matrices = task.matrices
    linears = [nn.Linear(i, o) for i, o in itertools.pairwise(task.sizes)]
    kinds = {"relu": nn.ReLU, "tanh": nn.Tanh}
    pairs = zip(linears, [kinds[name]() for name in task.activations], strict=False)
    model = nn.Sequential(*[module for pair in pairs for module in pair], linears[-1])
    criterion = nn.MSELoss() if task.of_paper else nn.CrossEntropyLoss()

    def start() -> torch.optim.Optimizer:
        with torch.no_grad():
            for linear, (weight, bias) in zip(linears, matrices, strict=True):
                linear.weight.copy_(torch.from_numpy(weight))
                linear.bias.copy_(torch.from_numpy(bias))
        if not task.momentum:
            return torch.optim.SGD(model.parameters(), LEARNING_RATE)
        optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=BETA, dampening=BETA)
        for parameter in model.parameters():  # from V = 0, as the paper's rule
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        optimizer, losses = start(), []
        for epoch in range(epochs):
            order = task.order(epoch) if fixed_orders else torch.randperm(task.samples)
            loss_sum = torch.zeros(())
            batches = inputs[order].split(task.batch_size), targets[order].split(task.batch_size)
            for x, target in zip(*batches, strict=True):
                optimizer.zero_grad()
                loss = criterion(model(x), target)
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach()
            losses.append(loss_sum.item() * task.batch_size / task.samples)
        return losses

    return train


def compiled(task: Task) -> Trainer:
    """A step of `torch.func.grad_and_value` and its update, compiled; it needs a C++ compiler."""
    import torch.nn.functional as F
    from torch.utils._pytree import tree_map

    inputs, targets = task.data.inputs, task.data.targets
    matrices = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in task.matrices]
    activations = [{"relu": F.relu, "tanh": torch.tanh}[name] for name in task.activations] + [lambda s: s]
    criterion = F.mse_loss if task.of_paper else F.cross_entropy

    def loss_of(params: Any, x: Any, target: Any) -> Any:
        for (weight, bias), activation in zip(params, activations, strict=True):
            x = activation(F.linear(x, weight, bias))
        return criterion(x, target)

    def step(params: Any, velocity: Any, x: Any, target: Any) -> Any:
        grads, loss = torch.func.grad_and_value(loss_of)(params, x, target)
        if task.momentum:
            velocity = grads = tree_map(lambda v, g: BETA * v + (1 - BETA) * g, velocity, grads)
        params = tree_map(lambda p, g: p - LEARNING_RATE * g, params, grads)
        return params, velocity, loss

    run = torch.compile(step)

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        params: Any = [(weight.clone(), bias.clone()) for weight, bias in matrices]
        velocity: Any = tree_map(torch.zeros_like, params)
        losses = []
        with torch.no_grad():
            for epoch in range(epochs):
                order = task.order(epoch) if fixed_orders else torch.randperm(task.samples)
                loss_sum = torch.zeros(())
                batches = inputs[order].split(task.batch_size), targets[order].split(task.batch_size)
                for x, target in zip(*batches, strict=True):
                    params, velocity, loss = run(params, velocity, x, target)
                    loss_sum += loss
                losses.append(loss_sum.item() * task.batch_size / task.samples)
        return losses

    try:
        train(1)
    except Exception as error:  # whatever the compiler, or its absence, comes up with
        raise UnavailableError(f"torch.compile: {type(error).__name__}") from error
    return train
