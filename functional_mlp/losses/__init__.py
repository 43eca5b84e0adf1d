"""Losses: the mean over the samples of an expression in one sample's prediction and target."""

from functional_mlp.losses.base import Loss, weighted
from functional_mlp.losses.classification import BinaryCrossEntropy, CrossEntropy
from functional_mlp.losses.regression import Huber, MeanSquaredError, PoissonDeviance

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Huber", "Loss", "MeanSquaredError", "PoissonDeviance", "weighted"]
