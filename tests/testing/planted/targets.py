"""Mistakes of losses that show with some targets, logits, features or rows only."""

import torch

import functional_mlp as fm
from functional_mlp.testing import check_loss
from tests.testing.planted.losses import Squared
from tests.testing.planted.table import planted

WRONG = "the gradient of predictions is wrong"
NO_MEAN = "value is not the mean of the samples' values|grad is not that of the mean over the samples"


@planted(check_loss, says="the gradient by ŷ is wrong")
class TargetsThatSumToOneAssumed(fm.CrossEntropy):
    """softmax(z) − t, which is right where Σ t = 1."""

    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return weights / xp.sum(weights) - target


@planted(check_loss, says="the gradient by ŷ1 is wrong")
class SoftTargetsTakenForHard(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        hard = xp.where(target == xp.max(target), 1, 0)
        return super().sample_grad(xp, prediction, hard)


@planted(check_loss, says="value is nan|value is inf|grad is nan|is nan instead of|the gradient of predictions")
class LogitsOverflow(fm.CrossEntropy):
    def sample_value(self, xp, prediction, target):
        power = xp.exp(prediction)
        return -xp.sum(target * xp.log(power / xp.sum(power)))


@planted(check_loss, says=f"{WRONG}|value is inf|the gradient by ŷ1 is wrong")
class ProbabilityCappedAwayFromZero(fm.CrossEntropy):
    """log(p + 1e-12): flat where p is smaller."""

    def sample_value(self, xp, prediction, target):
        weights = xp.exp(prediction - xp.max(prediction))
        return -xp.sum(target * xp.log(weights / xp.sum(weights) + 1e-12))


@planted(check_loss, says="grad is nan|is nan instead of|the gradient of predictions")
class GradientOverflows(fm.CrossEntropy):
    def sample_grad(self, xp, prediction, target):
        weights = xp.exp(prediction)
        return xp.sum(target) * (weights / xp.sum(weights)) - target


@planted(check_loss, says=WRONG)
class ErrorsCappedAtFifty(Squared):
    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return 2 * (predictions - targets).clamp(-50, 50) / predictions.numel()


@planted(check_loss, says=WRONG)
class GradientZeroWherePredictionsAreZero(Squared):
    def grad(self, predictions, targets):
        return torch.where(predictions == 0, 0, super().grad(predictions, targets))


@planted(check_loss, says=WRONG)
class GradientOfTiesDoubled(Squared):
    def grad(self, predictions, targets):
        ties = (predictions == predictions.amax(1, keepdim=True)).sum(1, keepdim=True)
        return super().grad(predictions, targets) * ties


@planted(check_loss, says=WRONG)
class WrongFromTheSixthFeatureOn(Squared):
    def grad(self, predictions, targets):
        factors = torch.where(torch.arange(predictions.shape[1]) < 5, 1.0, 1.5).to(predictions.dtype)
        return super().grad(predictions, targets) * factors


@planted(check_loss, says=WRONG)
class AnotherMeanForManyFeatures(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * (1 if predictions.shape[1] < 8 else 0.5)


@planted(check_loss, says=NO_MEAN)
class SumsBeyondEightRows(Squared):
    def value(self, predictions, targets):
        return super().value(predictions, targets) * (1 if len(predictions) <= 8 else len(predictions))

    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * (1 if len(predictions) <= 8 else len(predictions))


@planted(check_loss, says=NO_MEAN)
class ForgetsRowsBeyondSixtyFour(Squared):
    def grad(self, predictions, targets):
        rows = torch.arange(len(predictions)).unsqueeze(1)
        return torch.where(rows < 64, super().grad(predictions, targets), 0)


@planted(check_loss, says=NO_MEAN)
class DividesByTheDistinctClasses(fm.CrossEntropy):
    def batch_value(self, predictions, targets, weights=None):
        classes = len(targets.argmax(1).unique())
        return super().batch_value(predictions, targets, weights) * (1 if classes < 5 else classes)


@planted(check_loss, says=WRONG)
class TargetsOfOneLeftOut(Squared):
    """A target of exactly 1 has no gradient."""

    def grad(self, predictions, targets):
        return torch.where(targets == 1, 0, super().grad(predictions, targets))


@planted(
    check_loss,
    says="value differs from the formula",
    formula=lambda prediction, target: (prediction - target).square().mean(),
)
class HuberBeyondAHundred(Squared):
    """Right for itself, and not what was meant."""

    def value(self, predictions, targets):
        self.check(predictions, targets)
        error = (predictions - targets).abs()
        return torch.where(error < 100, error.square(), 200 * error - 10_000).mean()

    def grad(self, predictions, targets):
        self.check(predictions, targets)
        return 2 * (predictions - targets).clamp(-100, 100) / predictions.numel()
