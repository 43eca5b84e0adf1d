"""Proving a penalty: that what it adds to gradients is the derivative of what it adds to the loss, of weights alone."""

from functional_mlp.testing.penalty.check import check_penalty

__all__ = ["check_penalty"]
