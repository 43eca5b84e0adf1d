"""A correct penalty that uses nothing of the library, and mistakes planted in it and in the library's."""

from typing import Any

import attrs
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.testing import check_penalty
from tests.testing.planted.table import planted


@attrs.frozen
class Shrink:
    """‖w‖² / 2 of the weights; a penalty without a base class."""

    def total(self, params: Any) -> torch.Tensor:
        leaves = pytree.leaves(params)
        return sum((self.part(leaf) for leaf in leaves), torch.zeros((), dtype=leaves[0].dtype))

    def part(self, leaf: torch.Tensor) -> torch.Tensor:
        return leaf.detach().square().sum() / 2 if leaf.ndim >= 2 else leaf.new_zeros(())

    def added_to_grads(self, grads: Any, params: Any) -> Any:
        return pytree.map(self.added, grads, params)

    def added(self, grad: torch.Tensor, param: torch.Tensor) -> torch.Tensor:
        return grad + param.detach() if param.ndim >= 2 else grad


@planted(check_penalty, says="added_to_grads changes the gradient of a bias")
class PenaltyInTheGradientOfBiases(Shrink):
    def added(self, grad, param):
        return grad + param


@planted(check_penalty, says="total is .* for biases alone, which have no penalty")
class PenaltyOnBiases(Shrink):
    def part(self, leaf):
        return leaf.square().sum() / 2


@planted(check_penalty, says=r"the gradient of params\[\d\] is wrong at")
class PenaltyWithoutTheHalf(Shrink):
    def part(self, leaf):
        return 2 * super().part(leaf)


@planted(check_penalty, says="total gives the number .* for weights of which one is nan")
class NanTakenForZero(fm.penalties.Penalty):
    def value(self, xp, w):
        return xp.where(w >= 0, w, xp.where(w < 0, -w, 0))

    def derivative(self, xp, w):
        return xp.sign(w)


@planted(
    check_penalty,
    says="total is not the sum over the numbers|gives nan at .* for a weight that is a number|depends on other numbers|"
    "the gradient of params",
)
class NormInPlaceOfItsSquare(Shrink):
    def part(self, leaf):
        return leaf.norm() if leaf.ndim >= 2 else leaf.new_zeros(())

    def added(self, grad, param):
        return grad + param / param.norm() if param.ndim >= 2 and param.numel() else grad


@planted(check_penalty, says="depends on other numbers|total is not the sum over the numbers of the weights")
class MeanOverTheLeaf(Shrink):
    def part(self, leaf):
        return super().part(leaf) / max(leaf.numel(), 1)

    def added(self, grad, param):
        return grad + param / param.numel() if param.ndim >= 2 and param.numel() else grad


@planted(check_penalty, says="what is added to the gradient depends on other numbers")
class ScaledByTheGradient(Shrink):
    def added(self, grad, param):
        return grad * 1.001 + param if param.ndim >= 2 else grad


@planted(check_penalty, says="added_to_grads (changed|wrote to) its argument grads|added_to_grads raised RuntimeError")
class PenaltyMutatesGradients(Shrink):
    def added(self, grad, param):
        return grad.add_(param) if param.ndim >= 2 else grad


@planted(check_penalty, says="total: the penalty must have the dtype")
class TotalInFloat32(Shrink):
    def total(self, params):
        return super().total(params).float()


@planted(check_penalty, says="total differs from the formula", formula=lambda w: w * w)
class AnotherPenaltyThanMeant(Shrink):
    pass


@planted(check_penalty, 0.1, says="the derivative is wrong: at w = ")
class SlopeOffByABillionth(fm.penalties.l2):
    def derivative(self, xp, w):
        return (1 + 1e-9) * super().derivative(xp, w)


@planted(check_penalty, 0.1, says="the derivative is wrong: where w < 0, at w = ")
class SlopeWrongOnOneSide(fm.penalties.l1):
    def derivative(self, xp, w):
        return xp.where(w < 0, 1 + 1e-9, 1) * super().derivative(xp, w)


@planted(check_penalty, 0.1, says="the derivative is wrong: where w < -1000000, at w = ")
class SlopeCutFarAway(fm.penalties.l2):
    def derivative(self, xp, w):
        return super().derivative(xp, xp.maximum(xp.minimum(w, 1e6), -1e6))


@planted(check_penalty, says="added_to_grads must add")
class LargeGradientsClippedBeforeThePenalty(Shrink):
    def added(self, grad, param):
        return super().added(grad.clamp(-100, 100) if param.ndim >= 2 else grad, param)


@planted(check_penalty, says="added_to_grads must add")
class TinyGradientsLostBesideThePenalty(Shrink):
    def added(self, grad, param):
        return super().added(torch.where(grad.abs() < 1e-6, 0, grad) if param.ndim >= 2 else grad, param)


@planted(check_penalty, says="added_to_grads must add")
class NanGradientsLostBesideThePenalty(Shrink):
    def added(self, grad, param):
        return super().added(grad.nan_to_num(0.0) if param.ndim >= 2 else grad, param)


@planted(check_penalty, says="added_to_grads gives the number .* for a weight that is nan")
class NanWeightsHaveNoGradient(Shrink):
    def added(self, grad, param):
        return super().added(grad, param.nan_to_num(0.0))


@planted(check_penalty, says="total is not the sum over the numbers of the weights")
class HalfThePenaltyOfLargeLeaves(Shrink):
    def part(self, leaf):
        return super().part(leaf) / (1 if leaf.numel() <= 12 else 2)


@planted(check_penalty, says="total is not the sum over the numbers of the weights")
class PenaltyOfUpToThreeDimensions(Shrink):
    def part(self, leaf):
        return super().part(leaf) if leaf.ndim < 4 else leaf.new_zeros(())


@planted(check_penalty, says="total is not the sum over the numbers of the weights")
class SharedWeightsCountedOnce(Shrink):
    def total(self, params):
        return super().total(list({id(leaf): leaf for leaf in pytree.leaves(params)}.values()))


@planted(check_penalty, 0.1, says="added_to does not keep to its mask")
class MaskOfThePenaltyIgnored(fm.penalties.l2):
    def added_to(self, grad, param, where=None):
        return super().added_to(grad, param)
