"""The command `functional-mlp`, on the library's public functions."""

from functional_mlp.cli.app import main

__all__ = ["main"]
