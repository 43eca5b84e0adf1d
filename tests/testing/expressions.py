"""Layers and losses made of two expressions, and layers whose derivatives are wrong."""

from typing import Any

import functional_mlp as fm


def activation(value: Any, derivative: Any) -> fm.Elementwise:
    class Activation(fm.Elementwise):
        def value(self, xp, s):
            return value(xp, s)

        def derivative(self, xp, s, y):
            return derivative(xp, s, y)

    return Activation()


def loss(value: Any, gradient: Any) -> fm.Loss:
    class Error(fm.Loss):
        def sample_value(self, xp, prediction, target):
            return value(xp, prediction, target)

        def sample_grad(self, xp, prediction, target):
            return gradient(xp, prediction, target)

    return Error()


def layer_of(value: Any, derivative: Any) -> fm.Elementwise:
    """A layer that has these two methods."""
    return type("Own", (fm.Elementwise,), {"value": value, "derivative": derivative})()


class Tanh(fm.Elementwise):
    def value(self, xp, s):
        return xp.tanh(s)

    def derivative(self, xp, s, y):
        return 1 - y * y


class OffByATrillionth(Tanh):
    def derivative(self, xp, s, y):
        return (1 - y * y) * (1 + 1e-12)


class WrongBeyond40(Tanh):
    def derivative(self, xp, s, y):
        return xp.where(xp.abs(s) > 40, 0, 1 - y * y)


class WrongOnTheRight(fm.Elementwise):
    def value(self, xp, s):
        return s / (1 + xp.abs(s))

    def derivative(self, xp, s, y):
        return xp.where(s > 0, 1 / (1 + s), 1 / (1 + xp.abs(s)) ** 2)
