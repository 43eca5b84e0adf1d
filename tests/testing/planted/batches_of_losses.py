"""Mistakes in what a loss has for training, and at predictions and labels out of the ordinary."""

import torch

import functional_mlp as fm
from functional_mlp.testing import check_loss
from tests.testing.planted.losses import LogLoss, Squared
from tests.testing.planted.table import planted

NARROW_LABELS = "gives something else for labels of int32"


@planted(check_loss, says="value gives the number .* for predictions of which a row is nan")
class NanRowsLeftOut(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        kept = ~predictions.isnan().any(1)
        return super().value(predictions[kept], targets[kept]) if kept.any() else super().value(predictions, targets)


@planted(check_loss, says="grad gives numbers for a row of predictions that are nan")
class NanGradientsReplaced(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets).nan_to_num(0.0)


@planted(check_loss, says=NARROW_LABELS)
class LabelsOfAnotherDtypeTakenForZero(LogLoss):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        return super().value(predictions, targets if targets.dtype == torch.int64 else 0 * targets.long())


@planted(check_loss, says=f"grad {NARROW_LABELS}")
class GradientOfLabelsOfAnotherDtype(LogLoss):
    def value(self, predictions, targets):
        return super().value(predictions, targets.long())

    def grad(self, predictions, targets):
        return super().grad(predictions, targets if targets.dtype == torch.int64 else 0 * targets.long())


@planted(check_loss, says="are_right gives")
class RightForWrong(fm.MeanSquaredError):
    def are_right(self, predictions, targets, labels):
        return ~super().are_right(predictions, targets, labels)


@planted(check_loss, says="are_right gives")
class AllAreRight(fm.BinaryCrossEntropy):
    def are_right(self, predictions, targets, labels):
        return torch.ones_like(super().are_right(predictions, targets, labels))


@planted(check_loss, says="batch_value_and_grad differs from batch_value and batch_grad")
class AnotherGradientWithTheValue(fm.MeanSquaredError):
    def batch_value_and_grad(self, predictions, targets):
        value, grad = super().batch_value_and_grad(predictions, targets)
        return value, 2 * grad


@planted(check_loss, says="batch_grad with samples=3 n is not a third of what it is with n")
class SamplesIgnored(fm.MeanSquaredError):
    def batch_grad(self, predictions, targets, weights=None, *, samples=None):
        return super().batch_grad(predictions, targets, weights)
