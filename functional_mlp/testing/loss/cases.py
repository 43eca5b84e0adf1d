"""The predictions and targets that a loss is examined with: drawn ones, and those that every seed goes through."""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from functional_mlp import random
from functional_mlp.losses import Loss
from functional_mlp.testing.assignments import assignments
from functional_mlp.testing.calls import Call, reversed_rows, rolled
from functional_mlp.testing.purity import inherits, refuses
from functional_mlp.testing.strategies import numbers_off_kinks, tensors
from functional_mlp.testing.targets import accepted_kinds, kinds_of_all, targets, targets_of_key
from functional_mlp.testing.trees import largest

FEATURES = (1, 2, 3, 4, 12)

# The batches that every seed goes through: their numbers of rows.
ROWS = (1, 2, 9, 70)

# Those that are tried in every layout.
LAID_OUT = (4,)

# Predictions of these sizes are gone through for each seed, where the loss is defined there.
SIZES = (4.0, 0.0, 1e-30, 30.0, 300.0, 1e4, 1e6, 1e8)

# Targets of these sizes are, where they may be any numbers.
TARGET_SIZES = (1e-30, 30.0, 1e4, 1e8)

# Predictions that are so close to the ends of where the loss is defined, where these are close to 0.
DISTANCES = (2.0**-10, 2.0**-20, 2.0**-30)
CLOSE = 2.0**-4

# How far predictions are moved off a kink, as a part of where they are drawn from.
JITTER = 2.0**-9


@attrs.frozen
class Domain:
    """Where predictions lie."""

    low: float
    high: float

    def numbers(self) -> SearchStrategy[float]:
        """Up to 4, between multiples of 1/16: there targets lie, and |ŷ − t| has its kink."""
        return numbers_off_kinks(2 * max(self.low, -4.0), 2 * min(self.high, 4.0)).map(_half)

    def put(self, numbers: Tensor) -> Tensor:
        """Numbers between −1 and 1 as predictions, up to 4."""
        low, high = max(self.low, -4.0), min(self.high, 4.0)
        return (low + high) / 2 + (high - low) / 2 * numbers

    def holds(self, predictions: Tensor) -> bool:
        return bool(((predictions >= self.low) & (predictions <= self.high)).all())

    def near_the_ends(self, distances: Tensor) -> Tensor:
        """Numbers at distances from the ends, the lower one and the upper one in turn, where these are not far out."""
        low, high = max(self.low, -4.0), min(self.high, 4.0)
        upper = torch.arange(distances.numel()).reshape(distances.shape) % 2 == 1
        return torch.where(upper, high - distances, low + distances)

    def units(self, predictions: Tensor) -> Tensor:
        """How far each of the predictions can be moved: 1 in the midst, and less near the ends."""
        room = torch.minimum(predictions - self.low, self.high - predictions)
        return torch.where(room < CLOSE, torch.exp2(room.log2().floor()), 1.0)


def _half(number: float) -> float:
    return number / 2


@attrs.frozen(eq=False)
class LossCase:
    """Predictions and targets, and a key for the direction to look in."""

    loss: Any
    predictions: Tensor
    targets: Tensor
    domain: Domain
    key: random.Key

    @property
    def size(self) -> float:
        """The size of the numbers that the loss is computed from."""
        return 1 + largest(self.predictions, self.targets)

    def __str__(self) -> str:
        return assignments(predictions=self.predictions, targets=self.targets)

    def row(self, i: int) -> "LossCase":
        return attrs.evolve(self, predictions=self.predictions[i : i + 1], targets=self.targets[i : i + 1])

    def parts(self) -> Iterator["LossCase"]:
        """Each row alone."""
        if len(self.predictions) > 1:
            yield from map(self.row, range(len(self.predictions)))

    def jittered(self) -> "LossCase":
        """A case nearby, off the kinks that numbers with few digits meet."""
        width = JITTER * (self.domain.put(torch.tensor(1.0)) - self.domain.put(torch.tensor(-1.0))).item()
        moves = random.uniform(self.key, tuple(self.predictions.shape), -width, width, dtype=self.predictions.dtype)
        moved = (self.predictions + moves).clamp(self.domain.low, self.domain.high)
        return attrs.evolve(self, predictions=moved)

    def calls(self) -> list[Call]:
        arguments = {"predictions": self.predictions, "targets": self.targets}
        detached = ("predictions", "targets") if inherits(self.loss, Loss, "value", "grad") else ()
        changes = {"predictions": rolled, "targets": reversed_rows}
        return [
            Call(name, getattr(self.loss, name), arguments, self.size, changes, detached) for name in ("value", "grad")
        ]


def kinds_of(loss: Any, wanted: Sequence[str] | None) -> dict[int, list[str]]:
    """The kinds of targets that a loss is examined with, for each number of features."""
    kinds_of_all(wanted or (), "check_loss")
    kinds = {features: accepted_kinds(loss, features) if wanted is None else list(wanted) for features in FEATURES}
    for features, accepted in kinds.items():
        if not accepted:
            raise AssertionError(f"value gives no finite number for any kind of targets of {features} features")
    return kinds


@st.composite
def cases(
    draw: DrawFn,
    loss: Any,
    kinds: dict[int, list[str]],
    domain: Domain,
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    awkward: bool = False,
) -> LossCase:
    """Predictions off the usual kinks, with targets of a kind that the loss takes.

    Parameters
    ----------
    draw
        hypothesis's draw.
    loss
        The loss.
    kinds
        The kinds of targets that it takes, by the number of features.
    domain
        Which predictions it takes.
    dtypes
        Those to draw from.
    awkward
        Whether tensors lie oddly in memory.
    """
    dtype = draw(st.sampled_from(dtypes))
    samples, features = draw(st.integers(1, 4)), draw(st.sampled_from(sorted(kinds)))
    aims = draw(targets(draw(st.sampled_from(kinds[features])), samples, features, dtype))
    predictions = draw(tensors((samples, features), dtype, elements=domain.numbers(), awkward=awkward))
    return LossCase(loss, predictions, aims, domain, random.key(draw(st.integers(0, 2**16))))


def shaped_cases(
    loss: Any,
    kinds: dict[int, list[str]],
    domain: Domain,
    key: random.Key,
    dtype: torch.dtype = torch.float64,
    rows: Sequence[int] = ROWS,
) -> Iterator[LossCase]:
    """Ordinary predictions of each number of rows, of few and many features.

    Parameters
    ----------
    loss
        The loss.
    kinds
        The kinds of targets that it takes, by the number of features.
    domain
        Which predictions it takes.
    key
        Of the numbers.
    dtype
        Theirs.
    rows
        How many rows each batch has.
    """
    for number, count in enumerate(rows):
        features = sorted(kinds)[-1 - number % 2]
        for kind in kinds[features]:
            predictions = domain.put(_draws(key.fold_in(number), count, features))
            yield _case(loss, domain, key.fold_in(number), predictions, kind, dtype)


def sweep(loss: Any, kinds: dict[int, list[str]], domain: Domain, key: random.Key) -> Iterator[LossCase]:
    """Predictions of every size, with equal ones among them: with many features all kinds of targets, and few."""
    for number, size in enumerate(SIZES):
        for features in (max(kinds), sorted(kinds)[number % (len(kinds) - 1)]):
            predictions = size * _draws(key.fold_in(number), 3, features)
            predictions[-1] = predictions[-1, :1]
            if domain.holds(predictions):
                for kind in kinds[features] if features == max(kinds) else kinds[features][number % 2 :][:1]:
                    yield _case(loss, domain, key.fold_in(number), predictions, kind, torch.float64)


def near_the_ends(loss: Any, kinds: dict[int, list[str]], domain: Domain, key: random.Key) -> Iterator[LossCase]:
    """Predictions close to the ends of where the loss is defined, of probabilities for example."""
    if domain.low >= -4.0 or domain.high <= 4.0:
        for number, distance in enumerate(DISTANCES):
            own = key.fold_in(number)
            factors = 2 * random.uniform(own, (3, max(kinds)), 0, 4, dtype=torch.float64).floor() + 1
            for kind in kinds[max(kinds)]:
                predictions = domain.near_the_ends(distance * factors)
                yield _case(loss, domain, own, predictions, kind, torch.float64)


def large_targets(loss: Any, kinds: dict[int, list[str]], domain: Domain, key: random.Key) -> Iterator[LossCase]:
    """Targets of every size, where they may be any numbers, beside ordinary predictions and beside some as large."""
    features = max(kinds)
    if "values" in kinds[features]:
        for number, size in enumerate(TARGET_SIZES):
            for predictions in (domain.put(_draws(key.fold_in(number), 3, features)), size * _draws(key, 3, features)):
                case = _case(loss, domain, key.fold_in(number), predictions, "values", torch.float64)
                case = attrs.evolve(case, targets=size / 4 * case.targets)
                if domain.holds(predictions) and refuses(loss.value, predictions, case.targets) is None:
                    yield case


def _draws(key: random.Key, rows: int, features: int) -> Tensor:
    """Numbers between −1 and 1 that are short to read, and off the kinks of |ŷ − t| in all sizes."""
    draws = random.uniform(key, (rows, features), -512, 512, dtype=torch.float64)
    return (2 * draws.floor() + 1) / 1024


def _case(
    loss: Any,
    domain: Domain,
    key: random.Key,
    predictions: Tensor,
    kind: str,
    dtype: torch.dtype,
) -> LossCase:
    """The case of some predictions.

    Parameters
    ----------
    loss
        The loss.
    domain
        The predictions that it takes.
    key
        What the targets, and whatever the case needs later, are drawn with.
    predictions
        The predictions (rows, features).
    kind
        The kind of targets: one of `TARGET_KINDS`.
    dtype
        That of the predictions and the targets.
    """
    aims = targets_of_key(kind, key.fold_in(1), (predictions.shape[0], predictions.shape[1]), dtype)
    return LossCase(loss, predictions.to(dtype), aims, domain, key)
