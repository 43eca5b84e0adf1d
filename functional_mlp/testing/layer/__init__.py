"""Proving a layer: any object with `init`, `apply` and `vjp`."""

from functional_mlp.testing.layer.check import check_layer, check_vjp

__all__ = ["check_layer", "check_vjp"]
