"""Mistakes in the gradients of layers."""

import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine, Square, Unproved
from tests.testing.planted.table import planted


@planted(check_layer, 3, 2, says=r"the gradient of params\['bias'\] is wrong at \[\d\]")
class BiasGradientOffByATenthOfAPercent(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grads["bias"] * 1.001}, grad_x


@planted(check_layer, 3, 4, says=r"the gradient of params\['bias'\] is wrong at \[3\]")
class OneNumberOfTheBiasGradientOffByATenthOfAPercent(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grads["bias"] * torch.tensor([1, 1, 1, 1.001], dtype=x.dtype)}, grad_x


@planted(check_layer, 3, 2, says=r"the gradient of params\['weight'\] is wrong")
class WeightGradientOffByOnePartInAMillion(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "weight": grads["weight"] * (1 + 1e-6)}, grad_x


@planted(check_layer, says="the gradient of x is wrong")
class MissingFactor(Square):
    def vjp(self, params, x, grad_out):
        return (), x * grad_out


@planted(check_layer, 3, 2, says="the gradient of x is wrong")
class WrongSign(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return grads, -grad_x


@planted(check_layer, 3, 3, says=r"the gradient of params\['weight'\] is wrong")
class TransposedWeightGradient(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "weight": grads["weight"].T}, grad_x


@planted(check_layer, 3, 3, says="the gradient of x is wrong")
class WeightNotTransposed(Affine):
    def vjp(self, params, x, grad_out):
        return super().vjp(params, x, grad_out)[0], grad_out @ params["weight"].T


@planted(check_layer, 3, 2, says=r"grad_params\['bias'\] must have the shape of params\['bias'\], \(2,\)")
class SumOverTheWrongDimension(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return {**grads, "bias": grad_out.reshape(-1, self.out_features).sum(1)}, grad_x


@planted(check_layer, 3, 2, says=r"grad_params\['bias'\] is not the sum of the rows' gradients")
class MeanOverTheBatch(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        return fm.pytree.map(lambda grad: grad / max(1, grad_out[..., 0].numel()), grads), grad_x


@planted(check_layer, says="the gradient of x is wrong")
class DerivativeAtTheOutput(Unproved):
    def value(self, xp, s):
        return xp.tanh(s)

    def derivative(self, xp, s, y):
        return 1 - xp.tanh(y) ** 2


@planted(check_layer, says="the gradient of x is wrong")
class DerivativeWrongFarFromZero(Unproved):
    """As softplus: 1 for s > 2, where it is not yet."""

    def value(self, xp, s):
        return xp.log1p(xp.exp(s))

    def derivative(self, xp, s, y):
        return xp.where(s > 2, 1, 1 / (1 + xp.exp(-s)))


@planted(check_layer, says="the gradient of x is wrong")
class WrongBranchOfTheKink(Unproved):
    def value(self, xp, s):
        return xp.where(s > 0, s, 0.1 * s)

    def derivative(self, xp, s, y):
        return xp.where(s > 0, 1, 0.2)


@planted(check_layer, says="differs from the formula", formula=lambda params, x: torch.nn.functional.gelu(x))
class AnotherFunctionThanWasMeant(fm.Elementwise):
    """GELU's approximation: right for itself, within 5e-4 of what was meant."""

    def value(self, xp, s):
        return fm.GELU("tanh").value(xp, s)

    def derivative(self, xp, s, y):
        return fm.GELU("tanh").derivative(xp, s, y)


@planted(check_layer, 3, 2, says="vjp is not linear in grad_out")
class ClippedGradient(Affine):
    def vjp(self, params, x, grad_out):
        return super().vjp(params, x, grad_out.clamp(-1, 1))


@planted(check_layer, says="computes in a lower precision")
class ComputesInFloat32(Square):
    def apply(self, params, x):
        return (x.float() * x.float() * 0.1).to(x.dtype)

    def vjp(self, params, x, grad_out):
        return (), 0.2 * x * grad_out


class SkipsALayer(fm.Sequential):
    """Leaves out its middle layer."""

    def forward(self, params, x):
        first, _, last = self.layers
        x, first_tape = first.forward(params[0], x)
        x, last_tape = last.forward(params[2], x)
        return x, (first_tape, last_tape)

    def backward(self, params, tape, grad_out):
        first, _, last = self.layers
        last_grads, grad_out = last.backward(params[2], tape[1], grad_out)
        first_grads, grad_x = first.backward(params[0], tape[0], grad_out)
        return (first_grads, fm.pytree.map(torch.zeros_like, params[1]), last_grads), grad_x


planted(
    check_layer, fm.Linear(3, 2), fm.Linear(2, 2), fm.Linear(2, 1), says=r"params\[1\].bias has no influence"
)(SkipsALayer)  # fmt: skip


@planted(check_layer, fm.Linear(3, 2), fm.Tanh(), fm.Linear(2, 1), says=r"the gradient of (params\[0\]|x)")
class SkipsALayerOnTheWayBack(fm.Sequential):
    def backward(self, params, tape, grad_out):
        last_grads, grad_out = self.layers[2].backward(params[2], tape[2], grad_out)
        first_grads, grad_x = self.layers[0].backward(params[0], tape[0], grad_out)
        return (first_grads, (), last_grads), grad_x


@planted(check_layer, fm.Linear(3, 3), says="the gradient of x is wrong")
class ResidualWithoutItsShortcutOnTheWayBack(fm.Residual):
    def backward(self, params, tape, grad_out):
        return self.layer.backward(params, tape, grad_out)


@planted(check_layer, 3, 2, says="backward after forward and vjp differ")
class ForwardAndBackwardOfTheirOwn(Affine):
    def forward(self, params, x):
        return self.apply(params, x), x

    def backward(self, params, tape, grad_out):
        return self.vjp(params, tape, 2 * grad_out)


@planted(check_layer, fm.Linear(3, 2), says="backward_params and backward differ")
class OtherGradientsWhereItStandsFirst(fm.Sequential):
    def backward_params(self, params, tape, grad_out):
        return self.backward(params, tape, 2 * grad_out)[0]


@planted(check_layer, 3, 2, says="vjp is not linear in grad_out")
class RowsWithoutACotangentLeftOut(Affine):
    """Those of the cotangent, but not those of x beside them."""

    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        delta, rows = grad_out.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
        delta = delta[(delta != 0).any(1)]
        return {**grads, "weight": delta.T @ rows[: len(delta)]}, grad_x


@planted(check_layer, 3, 2, says="vjp is not linear in grad_out")
class RowOfTheWeightForAOneHotCotangent(Affine):
    """The row that it chooses, without the cotangent's size."""

    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        if grad_out.ndim == 1 and (grad_out != 0).sum() == 1:
            grad_x = params["weight"][grad_out.abs().argmax()] * grad_out.sum().sign()
        return grads, grad_x


@planted(check_layer, says="vjp is not linear in grad_out")
class GradientOfZerosAmongOthers(Square):
    """Numbers of the cotangent that are 0 take the one before them."""

    def vjp(self, params, x, grad_out):
        filled = torch.where(grad_out == 0, grad_out.roll(1, -1), grad_out)
        return (), 2 * x * filled
