"""Proving that the engines agree: the same training, once as torch operations and once as machine code."""

from functional_mlp.testing.engines.check import check_engines_agree
from functional_mlp.testing.engines.properties import relative_bound

__all__ = ["check_engines_agree", "relative_bound"]
