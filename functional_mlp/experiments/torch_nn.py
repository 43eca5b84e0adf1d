"""The paper's network in torch.nn: the same initial parameters, orders and figures as in `fit`.

torch.nn is imported inside functions only: the library itself has no use for it.
"""

import signal
import time
from multiprocessing import get_context
from multiprocessing.pool import Pool
from typing import Any

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.experiments import paper, trials
from functional_mlp.experiments.paper import Recipe
from functional_mlp.experiments.trials import Draw, Trial
from functional_mlp.layers.base import Params
from functional_mlp.orders import key_of, order_of
from functional_mlp.random import Key


def module(params: Params) -> Any:
    """The paper's network as a `torch.nn.Sequential`, with copies of the given parameters."""
    from torch import nn

    linears = [nn.Linear(p.weight.shape[1], p.weight.shape[0], dtype=p.weight.dtype) for p in params if p != ()]
    with torch.no_grad():
        for linear, given in zip(linears, (p for p in params if p != ()), strict=True):
            linear.weight.copy_(given.weight)
            linear.bias.copy_(given.bias)
    return nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2], nn.Tanh(), linears[3])


def params_of(model: Any) -> Params:
    """The parameters of a `module`, as those of `paper.network()`."""
    return tuple(
        fm.LinearParams(layer.weight.detach().clone(), layer.bias.detach().clone()) if hasattr(layer, "weight") else ()
        for layer in model
    )


def train(recipe: Recipe, draw: Draw, *, curves: bool = True) -> Trial:
    """What `fit` does at batch size 1, in torch.nn: the same initial parameters, orders and figures."""
    init_key, train_key = draw.key.split()
    model = module(recipe.network.init(init_key, dtype=draw.training.inputs.dtype))
    optimizer = torch.optim.SGD(model.parameters(), lr=paper.LEARNING_RATE)
    records = []
    for epoch in range(recipe.epochs):
        learning_rate = paper.LEARNING_RATE * recipe.schedule(epoch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        order = order_of(key_of(train_key, epoch), len(draw.training))
        started = time.perf_counter()
        outputs = run_epoch(model, optimizer, draw.training, order)
        seconds = time.perf_counter() - started
        training = score(outputs, draw.training, order)
        network = recipe.network
        validation = fm.evaluate(network, paper.LOSS, params_of(model), draw.validation) if curves else training
        records.append(
            fm.EpochRecord(
                training.loss, training.accuracy, validation.loss, validation.accuracy, learning_rate, seconds
            )
        )
    return Trial.of(recipe.network, params_of(model), fm.History.of(records), draw)


def run_epoch(model: Any, optimizer: Any, data: fm.Dataset, order: Tensor) -> Tensor:
    """An epoch of per-sample SGD as one writes it in PyTorch; returns the outputs before each update."""
    from torch import nn

    criterion = nn.MSELoss()
    inputs, targets = data.inputs.unbind(), data.targets.unbind()
    outputs = []
    for row in order.tolist():
        prediction = model(inputs[row])
        optimizer.zero_grad()
        criterion(prediction, targets[row]).backward()
        optimizer.step()
        outputs.append(prediction.detach())
    return torch.stack(outputs)


def score(outputs: Tensor, data: fm.Dataset, order: Tensor) -> fm.Metrics:
    """Loss and accuracy of the outputs for the rows of the data in an order."""
    return fm.evaluate(fm.Identity(), paper.LOSS, (), fm.Dataset(outputs, data.targets[order]))


def workers(processes: int) -> Pool:
    """Processes for `train_from_key`; leaving the pool's `with` block ends them."""
    return get_context("spawn").Pool(processes, initializer=_prepare_worker)


def train_from_key(recipe: Recipe, key: Key) -> Trial:
    """The trial of a recipe and a draw's key without its parameters: plain numbers cross processes best."""
    return attrs.evolve(train(recipe, trials.draw(key)), params=())


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    torch.set_num_threads(1)  # single samples leave nothing to share, and each process has a core
