"""Mistakes in what a run needs: weights of samples, smoothed and two-sided targets, the best epoch."""

from typing import Any

import torch

import functional_mlp as fm
from functional_mlp.stopping import Improvement
from functional_mlp.testing import check_loss
from tests.testing.planted.table import planted


@planted(check_loss, says="batch_value is not 1/n Σ wᵢ ℓᵢ")
class WeightsNormalizedInEachBatch(fm.MeanSquaredError):
    def batch_value(self, predictions, targets, weights=None):
        return super().batch_value(predictions, targets, None if weights is None else weights / weights.mean())

    def batch_grad(self, predictions, targets, weights=None, *, samples=None):
        weights = None if weights is None else weights / weights.mean()
        return super().batch_grad(predictions, targets, weights, samples=samples)


@planted(check_loss, says="batch_grad is not the gradient of 1/n Σ wᵢ ℓᵢ")
class WeightsLeftOutOfTheGradient(fm.CrossEntropy):
    def batch_grad(self, predictions, targets, weights=None, *, samples=None):
        return super().batch_grad(predictions, targets, samples=samples)


def _smoothed(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    classes = len(prediction)
    target = torch.nn.functional.one_hot(target, classes).double() if target.ndim == 0 else target
    return -((0.8 * target + 0.2 / classes) * prediction.log_softmax(0)).sum()


@planted(check_loss, 0.2, says="value differs from the formula", formula=_smoothed, predictions=(-30.0, 30.0))
class SmoothingSpreadOverTheWrongClasses(fm.CrossEntropy):
    def _smoothed(self, prediction, target):
        others = max(prediction.shape[-1] - 1, 1)
        return (1 - self.label_smoothing) * target + self.label_smoothing / others * (1 - target)


@planted(check_loss, 0.2, says="the gradient by ŷ1 is wrong|the gradient by ŷ is wrong")
class SmoothingForgottenInTheGradient(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        return fm.CrossEntropy().sample_grad(xp, prediction, target)


@planted(check_loss, says="the gradient by ŷ.* is wrong")
class LogisticGradientOfTheOtherClass(fm.BinaryCrossEntropy):
    def sample_grad(self, xp, prediction, target):
        return super().sample_grad(xp, prediction, 1 - target)


@planted(check_loss, says="value is (inf|nan)|value gives other numbers in float32|value is nan")
class LogisticThatOverflows(fm.BinaryCrossEntropy):
    def sample_value(self, xp, prediction, target):
        return xp.sum((1 - target) * prediction + xp.log(1 + xp.exp(-prediction))) / prediction.shape[-1]


@planted(check_loss, says="the gradient by ŷ.* is wrong: where ")
class HuberGradientWithoutItsEnd(fm.Huber):
    def sample_grad(self, xp, prediction, target):
        return (prediction - target) / prediction.shape[-1]


def check_best(rule: fm.EarlyStopping, *, seed: int) -> None:
    """Raise `AssertionError` unless the best state of a run is that of its least loss, as of a run that ends there."""
    network, loss = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Linear(6, 2)), fm.MeanSquaredError()
    data, validation = (fm.datasets.disk(key, 20, dtype=torch.float64) for key in fm.random.key(seed).split())
    common: dict[str, Any] = {"key": fm.random.key(seed), "batch_size": 4, "validation": validation}
    result = fm.fit(network, loss, fm.Adam(0.3), data, epochs=30, early_stopping=rule, **common)
    least = result.history.validation_loss.index(min(result.history.validation_loss))
    until = fm.fit(network, loss, fm.Adam(0.3), data, epochs=least + 1, **common)
    if not fm.pytree.equal(result.best, until.state):
        raise AssertionError(f"best is the state after epoch {result.best_epoch}, and the least loss that of {least}")


@planted(check_best, 3, says="best is the state after epoch")
class BestTakenOneEpochLate(fm.EarlyStopping):
    def after(self, improvement, figure):
        before = improvement if improvement.epoch is None else improvement._replace(epoch=improvement.epoch - 1)
        found = super().after(before, figure)
        return found if found.epoch is None else Improvement(found.best, found.epoch + 1, found.epochs)
