"""Layers and losses made of two expressions."""

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
