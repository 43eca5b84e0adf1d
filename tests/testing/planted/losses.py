"""A correct loss that uses nothing of the library, and mistakes planted in it."""

import attrs
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_loss
from tests.testing.planted.table import planted


@attrs.frozen
class Squared:
    """The mean over samples and outputs; a loss without a base class."""

    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return (predictions - targets).square().mean()

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return 2 * (predictions - targets) / predictions.numel()

    def check(self, predictions: Tensor, targets: Tensor) -> None:
        if predictions.shape != targets.shape or predictions.numel() == 0:
            raise ValueError("predictions and targets must have one shape, and not be empty")


@attrs.frozen
class LogLoss:
    """−log softmax(ŷ)ₖ for labels k, the mean over samples; a loss without a base class."""

    def value(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        return -predictions.log_softmax(1).gather(1, targets.unsqueeze(1)).mean()

    def grad(self, predictions: Tensor, targets: Tensor) -> Tensor:
        self.check(predictions, targets)
        right = torch.nn.functional.one_hot(targets, predictions.shape[1])
        return (predictions.softmax(1) - right) / len(predictions)

    def check(self, predictions: Tensor, targets: Tensor) -> None:
        if targets.is_floating_point() or targets.shape != predictions.shape[:1] or not len(targets):
            raise ValueError("targets must be a label for each of the predictions")


@planted(check_loss, says=r"the gradient of predictions is wrong at \[0, 0\]")
class LossGradientWithoutTheTwo(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) / 2


@planted(check_loss, says="the gradient of predictions is wrong")
class LossGradientOffByATenthOfAPercent(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * 1.001


@planted(check_loss, says="the gradient of predictions is wrong")
class LossGradientOfWrongSign(Squared):
    def grad(self, predictions, targets):
        return -super().grad(predictions, targets)


@planted(check_loss, says="grad is not that of the mean over the samples")
class LossGradientNotDividedByTheBatch(Squared):
    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * len(predictions)


@planted(check_loss, says="value is not the mean of the samples' values")
class SumOverTheBatch(Squared):
    def value(self, predictions, targets):
        return super().value(predictions, targets) * len(predictions)

    def grad(self, predictions, targets):
        return super().grad(predictions, targets) * len(predictions)


@planted(check_loss, says="takes targets of shape .*: raise a ValueError, nothing must be broadcast")
class LossBroadcasts(Squared):
    def check(self, predictions, targets):
        if predictions.numel() == 0:
            raise ValueError("empty")


@planted(check_loss, says="takes an empty batch")
class LossOfNothing(Squared):
    def check(self, predictions, targets):
        if predictions.shape != targets.shape:
            raise ValueError("one shape")


@planted(check_loss, says="value is not the mean|the gradient of predictions|value is nan")
class SoftmaxOverTheBatch(fm.CrossEntropy):
    def batch_value(self, predictions, targets, weights=None):
        return -(targets * predictions.log_softmax(0)).sum(-1).mean()


@planted(check_loss, says="value (changed|wrote to) its argument predictions|value raised RuntimeError")
class LossMutatesPredictions(Squared):
    def value(self, predictions, targets):
        self.check(predictions, targets)
        return predictions.sub_(targets).square().mean()


@planted(check_loss, says="value: the loss must have the shape of a 0-d tensor")
class LossOfOneNumber(Squared):
    def value(self, predictions, targets):
        return super().value(predictions, targets).reshape(1)


@planted(check_loss, says="value: the loss must have the dtype")
class LossInFloat64(Squared):
    def value(self, predictions, targets):
        return super().value(predictions.double(), targets.double())


@planted(check_loss, says="value returned a result that is connected to an autograd graph")
class LossKeepsTheGraph(fm.MeanSquaredError):
    """The base class promises to detach."""

    def batch_value(self, predictions, targets, weights=None):
        return super().batch_value(predictions, targets, weights).requires_grad_()


@planted(
    check_loss,
    says="value differs from the formula",
    formula=lambda prediction, target: (prediction - target).square().sum(),
)
class MeanOverOutputs(Squared):
    pass
