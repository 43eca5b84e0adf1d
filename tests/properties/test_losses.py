"""What holds for every loss."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_loss
from tests.tables import LOSSES


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    probabilities = prediction.exp() / prediction.exp().sum()
    return -probabilities.log()[target] if target.dtype == torch.int64 else -(target * probabilities.log()).sum()


FORMULAS: dict[fm.Loss, Callable[..., Any]] = {
    fm.MeanSquaredError(): lambda prediction, target: (prediction - target).square().mean(),
    fm.CrossEntropy(): cross_entropy,
}


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_loss_keeps_its_contract(loss: fm.Loss) -> None:
    check_loss(loss, formula=FORMULAS[loss])


@pytest.mark.parametrize("kind", ["classes", "one_hot", "probabilities"])
def test_cross_entropy_takes_every_kind_of_classes(kind: str) -> None:
    check_loss(fm.CrossEntropy(), targets=[kind], predictions=(-30.0, 30.0), examples=10)
