"""Data sets: `Dataset`, and points of the plane to learn from, which are drawn by a key.

These points have one-hot targets, and lie in the unit square until `noise` moves them, which does not change their
classes.
"""

from functional_mlp.datasets.dataset import Dataset
from functional_mlp.datasets.plane import checkers, disk, moons, rings, spirals

__all__ = ["Dataset", "checkers", "disk", "moons", "rings", "spirals"]
