"""Proving a loss: any object with `value` and `grad`."""

from functional_mlp.testing.loss.check import check_loss

__all__ = ["check_loss"]
