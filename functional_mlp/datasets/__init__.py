"""Data sets: `Dataset`, weights that balance classes, and points of the plane to learn from, drawn by a key.

These points have one-hot targets, and lie in the unit square until `noise` moves them, which does not change their
classes.
"""

from functional_mlp.datasets.dataset import Dataset
from functional_mlp.datasets.plane import checkers, disk, moons, rings, spirals
from functional_mlp.datasets.weights import balanced_weights

__all__ = ["Dataset", "balanced_weights", "checkers", "disk", "moons", "rings", "spirals"]
