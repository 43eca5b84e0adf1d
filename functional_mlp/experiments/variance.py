"""Analysis of variance: how much of what varies over the runs of a full factorial each source explains."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor


@attrs.frozen
class Explanation:
    """How much of an outcome's variance over all runs each source explains, as shares that sum to 1.

    `effects` are the mean changes from each factor's first level to its second.
    """

    outcome: str
    effects: tuple[float, ...]
    shares: dict[str, float]


def explain(outcome: str, values: Tensor, factors: Sequence[str]) -> Explanation:
    """The explanation of an outcome, from its values: an axis of two levels for each factor, a last one for draws."""
    effects = [
        float(values.double().select(axis, 1).mean() - values.double().select(axis, 0).mean())
        for axis in range(len(factors))
    ]
    return Explanation(outcome, tuple(effects), variance_shares(values, factors))


def variance_shares(values: Tensor, factors: Sequence[str]) -> dict[str, float]:
    """The shares of the sum of squares of a full factorial: an axis for each factor and a last one for the draws.

    All are 0 where the outcome never varies.

    >>> values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    >>> shares = variance_shares(values, ["level"])
    >>> {source: round(share, 3) for source, share in shares.items()}
    {'level': 0.771, 'interaction': 0.0, 'draw': 0.229, 'rest': 0.0}
    """
    deviations = values.double() - values.double().mean()
    total = deviations.square().sum()
    axes = range(values.ndim)
    mains = [_explained(deviations, [axis]) for axis in axes]
    cells = _explained(deviations, list(axes[:-1]))
    interaction = cells - torch.stack(mains[:-1]).sum()
    parts = [*mains[:-1], interaction, mains[-1], total - cells - mains[-1]]
    names = [*factors, "interaction", "draw", "rest"]
    scale = total.clamp_min(torch.finfo(torch.float64).tiny)  # what never varies has no shares
    return {name: max(0.0, float(part / scale)) for name, part in zip(names, parts, strict=True)}


def _explained(deviations: Tensor, axes: list[int]) -> Tensor:
    """The sum of squares of the means over all other axes."""
    others = [axis for axis in range(deviations.ndim) if axis not in axes]
    return deviations.mean(others, keepdim=True).expand_as(deviations).square().sum()
