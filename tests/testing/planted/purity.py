"""Layers that are no pure functions."""

import numpy as np
import torch
from torch import Tensor

from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine, Square
from tests.testing.planted.table import planted


@planted(check_layer, says="apply (changed|wrote to) its argument x|apply raised RuntimeError")
class ArgumentMutated(Square):
    def apply(self, params, x):
        return x.mul_(x)


@planted(check_layer, 3, 2, says="vjp (changed|wrote to) its argument params")
class ParamsMutated(Affine):
    def vjp(self, params, x, grad_out):
        grads, grad_x = super().vjp(params, x, grad_out)
        params["weight"] -= 0.01 * grads["weight"]
        return grads, grad_x


@planted(check_layer, says="vjp wrote to its argument|vjp raised RuntimeError")
class ArgumentMutatedForAWhile(Square):
    def vjp(self, params, x, grad_out):
        x.mul_(2)
        grad_x = x * grad_out
        x.div_(2)
        return (), grad_x


@planted(check_layer, says="made it ask for a gradient|vjp raised RuntimeError")
class GradientByAutograd(Square):
    def vjp(self, params, x, grad_out):
        with torch.enable_grad():
            y = self.apply(params, x.requires_grad_())
        return (), torch.autograd.grad(y, x, grad_out)[0]


@planted(check_layer, says="returned a result that is connected to an autograd graph")
class GraphAttached(Square):
    def apply(self, params, x):
        return x * x.detach().requires_grad_()


@planted(check_layer, says="apply changed the grad mode")
class GradModeChanged(Square):
    def apply(self, params, x):
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return x * x


@planted(check_layer, says="apply changed the default dtype")
class DefaultDtypeChanged(Square):
    def apply(self, params, x):
        torch.set_default_dtype(torch.float16)
        return x * x


@planted(check_layer, says="apply changed the number of threads")
class ThreadsChanged(Square):
    def apply(self, params, x):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return x * x


@planted(check_layer, says="apply changed numpy's global generator")
class NumpysGlobalGenerator(Square):
    def apply(self, params, x):
        return x * x + 0 * np.random.random()


@planted(check_layer, says="apply reads global state")
class DefaultDtypeRead(Square):
    def apply(self, params, x):
        return x * torch.tensor(0.1) * x


@planted(check_layer, says="remembers an earlier call|gives another result when it is called again")
class HiddenState(Square):
    cache: dict[str, Tensor] = {}

    def apply(self, params, x):
        self.cache["x"] = x.clone()
        return x * x

    def vjp(self, params, x, grad_out):
        kept = self.cache.get("x", x)
        return (), 2 * (kept if kept.shape == x.shape and kept.dtype == x.dtype else x) * grad_out


@planted(check_layer, says="gives another result when it is called again")
class CountsItsCalls(Square):
    calls = [0]

    def apply(self, params, x):
        self.calls[0] += 1
        return x * x + self.calls[0]


@planted(check_layer, says="where x and grad_out are one tensor")
class ArgumentsThatAreOneTensor(Square):
    def vjp(self, params, x, grad_out):
        return (), (0 if x is grad_out else 2) * x * grad_out
