"""Mistakes that show with tensors of one layout in memory, in one argument: transposed, expanded, parts of others."""

import attrs
import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer, check_loss, check_optimizer, check_penalty
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.losses import LogLoss, Squared
from tests.testing.planted.optimizers import Descent
from tests.testing.planted.penalties import Shrink
from tests.testing.planted.table import planted

DEPENDS = "(depends on how tensors lie in memory|gives another result where x and grad_out are one tensor)"


@planted(check_layer, says=f"vjp {DEPENDS}")
class WrongForExpandedCotangents(Square):
    """Takes a cotangent of equal rows for one row."""

    def vjp(self, params, x, grad_out):
        if grad_out.ndim > 1 and grad_out.stride(0) == 0 and len(grad_out) > 1:
            grad_out = grad_out / len(grad_out)
        return (), 2 * x * grad_out


@planted(check_layer, says=f"vjp {DEPENDS}")
class WrongForTheCotangentOfASum(Square):
    """A cotangent of ones that are one number in memory, as the gradient of a sum is, taken for 1."""

    def vjp(self, params, x, grad_out):
        if grad_out.numel() > 1 and not any(grad_out.stride()):
            return (), 2 * x
        return (), 2 * x * grad_out


@planted(check_layer, 3, 2, says=f"vjp {DEPENDS}|the gradient of params.'weight'. is wrong")
class TransposedCotangentReadInOrderOfMemory(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        if grad_out.ndim == 2 and grad_out.stride(0) == 1 and len(grad_out) > 1:
            delta = grad_out.T.reshape(grad_out.shape)
            grads = {**grads, "weight": delta.T @ x}
        return grads, grad_x


@planted(check_layer, says=f"apply {DEPENDS}")
class TransposedInputReadInOrderOfMemory(Square):
    def apply(self, params, x):
        if x.ndim > 1 and x.mT.is_contiguous() and not x.is_contiguous():
            return (x * x).mT.reshape(x.shape)
        return x * x


@planted(check_layer, says=f"vjp {DEPENDS}")
class InputWithItsLeadingDimensionsExchanged(Square):
    def vjp(self, params, x, grad_out):
        if x.ndim > 2 and x.stride(0) < x.stride(1):
            x = x.transpose(0, 1).reshape(x.shape)
        return (), 2 * x * grad_out


@planted(check_layer, says=f"apply {DEPENDS}")
class ColumnsOfAWiderTable(Square):
    """Reads rows one after the other, where there are further columns between them."""

    def apply(self, params, x):
        if x.ndim > 1 and x.stride(-1) == 1 and x.stride(-2) > x.shape[-1]:
            x = torch.as_strided(x, x.shape, torch.empty(x.shape).stride())
        return x * x


@planted(check_layer, says=f"(apply|vjp) {DEPENDS}|(apply|vjp) raised RuntimeError")
class OverlappingWindows(Square):
    """Rows that share numbers, as the windows of a series do, taken for equal rows."""

    def vjp(self, params, x, grad_out):
        if x.ndim > 1 and x.shape[-1] > 1 and x.stride(-1) == 1 and 0 < x.stride(-2) < x.shape[-1]:
            x = x[..., :1, :].expand(x.shape)
        return (), 2 * x * grad_out


@planted(check_layer, says="vjp raised RuntimeError: view size")
class ViewOfTheCotangent(Square):
    def vjp(self, params, x, grad_out):
        rows = grad_out.view(-1, grad_out.shape[-1])
        return (), (2 * x.reshape(rows.shape) * rows).reshape(x.shape)


@planted(check_layer, 3, 2, says=f"apply {DEPENDS}|(apply|vjp) raised RuntimeError")
class TransposedWeightTakenForAnotherLayout(Affine):
    def apply(self, params, x):
        weight = params["weight"]
        if not weight.is_contiguous() and weight.T.is_contiguous():
            params = {**params, "weight": weight.T.reshape(weight.shape)}
        return super().apply(params, x)


@planted(check_layer, 3, 2, says=f"vjp {DEPENDS}")
class BiasOfOneNumberInMemory(Affine):
    """An expanded bias, as a fresh one of zeros may be, taken for a single number."""

    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        if params["bias"].stride() == (0,):
            grads = {**grads, "bias": grads["bias"].sum().expand(2).clone()}
        return grads, grad_x


@planted(check_loss, says=f"grad {DEPENDS}")
class LossOfTransposedTargets(Squared):
    def grad(self, predictions, targets):
        if targets.ndim == 2 and not targets.is_contiguous() and targets.T.is_contiguous():
            targets = targets.T.reshape(targets.shape)
        return super().grad(predictions, targets)


@planted(check_loss, says=f"value {DEPENDS}")
class LossOfExpandedTargets(Squared):
    """One row of targets for all samples, counted once."""

    def value(self, predictions, targets):
        value = super().value(predictions, targets)
        return value / len(targets) if len(targets) > 1 and targets.stride(0) == 0 else value


@planted(check_loss, says=f"grad {DEPENDS}")
class LabelsInAColumnOfATable(LogLoss):
    """Reads labels one after the other, where there are further columns between them."""

    def grad(self, predictions, targets):
        if len(targets) > 1 and targets.stride(0) > 1:
            targets = torch.as_strided(targets, targets.shape, (1,)) % predictions.shape[1]
        return super().grad(predictions, targets)


@planted(check_optimizer, 0.1, says=f"update {DEPENDS}")
class StateThatWasTransposed(fm.Momentum):
    """A velocity that came from somewhere else than the last update."""

    def rule(self, xp, step, learning_rate, param, grad, velocity):
        if velocity.ndim == 2 and velocity.stride(0) == 1 and velocity.stride(1) > 1:
            velocity = velocity.T.reshape(velocity.shape)
        return super().rule(xp, step, learning_rate, param, grad, velocity)


@planted(check_optimizer, 0.1, says=f"update {DEPENDS}|is updated in another way beside other numbers")
class ExpandedGradients(Descent):
    def step(self, param, grad, state):
        if grad.numel() > 1 and not any(grad.stride()):
            grad = grad / grad.numel()
        return super().step(param, grad, state)


@planted(check_optimizer, 0.1, says=f"update {DEPENDS}|update raised RuntimeError|is updated in another way")
class ParamsReadAsContiguous(Descent):
    def step(self, param, grad, state):
        flat = torch.as_strided(param, (param.numel(),), (1,)) if param.numel() else param.reshape(-1)
        return super().step(flat.reshape(param.shape), grad, state)


@planted(check_penalty, says=f"total {DEPENDS}")
class PenaltyOfTransposedWeights(Shrink):
    def total(self, params):
        transposed = [leaf for leaf in fm.pytree.leaves(params) if leaf.ndim == 2 and not leaf.is_contiguous()]
        return super().total(params) * (1 if not transposed or transposed[0].stride(1) == 1 else 2)


@planted(check_layer, 3, 2, says=f"apply {DEPENDS}")
@attrs.frozen
class ApplyForExpandedInputs(Affine):
    """One row for all, and the output of the first row alone is right."""

    def apply(self, params, x):
        y = super().apply(params, x)
        if x.ndim > 1 and x.stride(0) == 0 and len(x) > 1:
            y = torch.cat([y[:1], 0 * y[1:]])
        return y
