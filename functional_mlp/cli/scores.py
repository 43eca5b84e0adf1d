"""How good answers are: of classes one by one and together, and of quantities in their own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

import functional_mlp as fm

if TYPE_CHECKING:
    from torch import Tensor

    from functional_mlp.tables import Scale


@frozen
class ClassScore:
    """How well one class is found; NaN where it was never given, or never there."""

    name: str
    samples: int
    precision: float
    recall: float
    f1: float


@frozen(eq=False)
class ClassScores:
    """How good answers are that name classes.

    `majority` is the share of the most frequent class, which is the accuracy of always answering it, `auc` the area
    under the ROC curve of the second of two classes, and `confusion` (classes, classes) says how many samples of each
    class (row) were given each class (column).
    """

    samples: int
    loss: float
    accuracy: float
    majority: float
    classes: tuple[ClassScore, ...]
    auc: float | None
    confusion: Tensor

    def to_json(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "majority": self.majority,
            "auc": self.auc,
            "classes": [asdict(each) for each in self.classes],
            "confusion": self.confusion.tolist(),
        }


@frozen
class QuantityScores:
    """How good answers are that are quantities: errors in their units, beside those of always answering a mean.

    That is the mean of the training samples, and R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)² with the mean ȳ of these samples.
    """

    samples: int
    loss: float
    rmse: float
    mae: float
    r2: float
    mean_rmse: float
    mean_mae: float
    mean_r2: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


Scores = ClassScores | QuantityScores


def score_classes(
    probabilities: Tensor, labels: Tensor, loss: float, classes: Sequence[str], weights: Tensor | None = None
) -> ClassScores:
    """The scores of probabilities (n, classes) for samples of known classes (n,).

    The accuracy and the share of the majority are weighted; what is said of single classes and pairs counts samples.
    """
    given = probabilities.argmax(1)
    shares = (labels.new_ones(len(labels)) if weights is None else weights.cpu()).double() / len(labels)
    counts = confusion_matrix(given, labels, len(classes))
    right, there, answered = counts.diag().double(), counts.sum(1).double(), counts.sum(0).double()
    precision, recall, f1 = right / answered, right / there, 2 * right / (there + answered)
    rows = zip(classes, there.tolist(), precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    return ClassScores(
        samples=len(labels),
        loss=loss,
        accuracy=float(shares[given == labels].sum()),
        majority=float(labels.bincount(shares).max()),
        classes=tuple(ClassScore(name, int(samples), *figures) for name, samples, *figures in rows),
        auc=area_under_curve(probabilities[:, 1], labels == 1) if len(classes) == 2 else None,
        confusion=counts,
    )


def score_quantities(predictions: Tensor, targets: Tensor, loss: float, scale: Scale) -> QuantityScores:
    """The scores of predictions (n,) of quantities (n,), both in units of the standardized target."""
    errors, own = (predictions - targets).double(), targets.double()
    spread = float((own - own.mean()).square().sum())
    return QuantityScores(
        samples=len(targets),
        loss=loss,
        rmse=scale.std * math.sqrt(float(errors.square().mean())),
        mae=scale.std * float(errors.abs().mean()),
        r2=_share_explained(errors, spread),
        mean_rmse=scale.std * math.sqrt(float(own.square().mean())),
        mean_mae=scale.std * float(own.abs().mean()),
        mean_r2=_share_explained(own, spread),
    )


def _share_explained(errors: Tensor, spread: float) -> float:
    return 1 - float(errors.square().sum()) / spread if spread > 0 else math.nan


def probabilities_of(loss: fm.Loss | None, outputs: Tensor) -> Tensor:
    """The probabilities (..., classes) that outputs stand for.

    They are the softmax of the outputs where the network has learned with the cross-entropy. With the mean squared
    error the outputs themselves estimate them, and with the binary cross-entropy their sigmoids do: these are made to
    lie between 0 and 1 with the sum 1. A single output is the second class's, and the first has what is left.
    """
    outputs = outputs.double()
    if outputs.shape[-1] == 1 and isinstance(loss, fm.BinaryCrossEntropy):
        import torch  # not loaded for a help

        return torch.cat([-outputs, outputs], -1).sigmoid()
    if isinstance(loss, fm.CrossEntropy):
        return outputs.softmax(-1)
    shares = (outputs.sigmoid() if isinstance(loss, fm.BinaryCrossEntropy) else outputs).clamp(1e-12, 1)
    return shares / shares.sum(-1, keepdim=True)


def confusion_matrix(given: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How many samples of each class (row) were given each class (column): (classes, classes), int64.

    >>> import torch
    >>> confusion_matrix(torch.tensor([1, 0]), torch.tensor([1, 1]), classes=2)
    tensor([[0, 0],
            [1, 1]])
    """
    return (labels * classes + given).cpu().bincount(minlength=classes**2).reshape(classes, classes)


def area_under_curve(scores: Tensor, positive: Tensor) -> float | None:
    """The share of pairs of a positive and a negative sample in which the positive one has the larger score.

    Equal scores count half. `None` where there are no such pairs.

    >>> import torch
    >>> area_under_curve(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([False, False, True, True]))
    0.875
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return None
    _, group, sizes = scores.unique(return_inverse=True, return_counts=True)
    last = sizes.cumsum(0)
    ranks = (last - (sizes - 1) / 2)[group]  # the mean rank, from 1 on, of those with equal scores
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))
