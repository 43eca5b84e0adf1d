"""Proving an optimizer: any object with `init` and `update`."""

from functional_mlp.testing.optimizer.check import check_optimizer

__all__ = ["check_optimizer"]
