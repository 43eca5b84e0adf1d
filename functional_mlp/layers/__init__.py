"""Layers: frozen values with pure functions and gradients written by hand."""
