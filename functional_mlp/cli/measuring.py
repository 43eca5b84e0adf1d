"""The scores of a trained network, or of many together, over samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import functional_mlp as fm
from functional_mlp.cli.data import Samples
from functional_mlp.cli.description import DataDescription
from functional_mlp.cli.scores import Scores, probabilities_of, score_classes, score_quantities

if TYPE_CHECKING:
    from torch import Tensor

    from functional_mlp.layers.base import Params


def score(
    network: fm.Layer, loss: fm.Loss, members: Sequence[Params], data: fm.Dataset, about: DataDescription
) -> Scores:
    """The scores of the members' mean answer; of a single member, those of its answers.

    Members answer with probabilities or with a quantity, of which the mean is taken. The loss is that of their mean
    output, or, with cross-entropy, of their mean probability.
    """
    import torch  # not loaded for a help

    outputs = torch.stack([fm.predict(network, params, data.inputs) for params in members]).cpu()
    if len(members) == 1:
        value = _mean_loss(loss, outputs[0], data)
    else:
        average: Literal["outputs", "probabilities"] = (
            "probabilities" if isinstance(loss, fm.CrossEntropy) else "outputs"
        )
        value = fm.ensemble.evaluate(network, loss, fm.ensemble.stack(members), data, average=average).loss
    if about.scale is not None:
        mean = outputs.double().mean(0).squeeze(1)
        return score_quantities(mean, data.targets.squeeze(1).cpu(), value, about.scale)
    assert data.labels is not None
    return score_classes(probabilities_of(loss, outputs).mean(0), data.labels.cpu(), value, about.classes, data.weights)


def _mean_loss(loss: fm.Loss, outputs: Tensor, data: fm.Dataset) -> float:
    """What `evaluate` says of the outputs, which need not be computed again for it."""
    values = loss.sample_values(outputs, loss.checked_targets(outputs, data.targets.cpu())).double().squeeze(-1)
    return float((values if data.weights is None else values * data.weights.cpu()).mean())


def score_parts(network: fm.Layer, loss: fm.Loss, members: Sequence[Params], samples: Samples) -> dict[str, Scores]:
    """The scores of each part of some samples."""
    return {name: score(network, loss, members, part, samples.about) for name, part in samples.parts.items()}
