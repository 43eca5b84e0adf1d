"""What holds for every loss."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_loss
from tests.tables import LOSSES


def cross_entropy(prediction: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    log_probabilities = (prediction.exp() / prediction.exp().sum()).log()
    if target.dtype == torch.int64:
        return -(1 - smoothing) * log_probabilities[target] - smoothing * log_probabilities.mean()
    return -(((1 - smoothing) * target + smoothing / len(target)) * log_probabilities).sum()


def binary_cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    probability, rest = 1 / (1 + (-prediction).exp()), 1 / (1 + prediction.exp())
    return -(target * probability.log() + (1 - target) * rest.log()).mean()


def huber(delta: float) -> Callable[..., Any]:
    def formula(prediction: Tensor, target: Tensor) -> float:
        errors = (prediction - target).abs().tolist()
        return sum(e * e / 2 if e <= delta else delta * (e - delta / 2) for e in errors) / len(errors)

    return formula


FORMULAS: dict[fm.Loss, Callable[..., Any]] = {
    fm.MeanSquaredError(): lambda prediction, target: (prediction - target).square().mean(),
    fm.Huber(): huber(1.0),
    fm.Huber(delta=0.3): huber(0.3),
    fm.PoissonDeviance(): lambda prediction, target: (
        prediction.exp() - target * prediction + torch.xlogy(target, target) - target
    ).mean(),
    fm.BinaryCrossEntropy(): binary_cross_entropy,
    fm.CrossEntropy(): cross_entropy,
    fm.CrossEntropy(label_smoothing=0.2): lambda prediction, target: cross_entropy(prediction, target, 0.2),
}


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_keeps_its_contract(loss: fm.Loss) -> None:
    check_loss(loss, formula=FORMULAS[loss])


@pytest.mark.parametrize("kind", ["classes", "one_hot", "probabilities"])
def test_cross_entropy_takes_every_kind_of_classes(kind: str) -> None:
    check_loss(fm.CrossEntropy(), targets=[kind], predictions=(-30.0, 30.0), examples=10)
