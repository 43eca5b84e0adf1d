"""Which rows early stopping holds out: a choice that weights and repetitions of rows make alike.

A row's place in a random order follows from what is in it. So equal rows are held out together, none of them tells of
another, and a row of weight 2 counts as two, one of weight 0 as none.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOO_SMALL = "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
# Different rows that are held out at least.
FEWEST = 2


def held_out(
    rows: NDArray[Any],
    weights: NDArray[Any] | None,
    classes: NDArray[Any] | None,
    share: float,
    generator: np.random.RandomState,
) -> NDArray[np.bool_]:
    """Which rows (n, features) are held out: a share of their weight, and, where there are classes, of each class.

    Raises `ValueError` where there are too few different rows, or too few of a class.

    >>> rows = np.arange(20.0).reshape(10, 2)
    >>> int(held_out(rows, None, None, 0.3, np.random.RandomState(0)).sum())
    3
    """
    if len(rows) <= FEWEST:
        raise ValueError(f"{TOO_SMALL} Got n_samples = {len(rows)}.")
    places = _places(rows, generator)
    weights = np.ones(len(rows)) if weights is None else weights
    if classes is None:
        return _first(places, weights, share, FEWEST)
    held = np.zeros(len(rows), dtype=bool)
    members = [np.flatnonzero((classes == each) & (weights > 0)) for each in np.unique(classes[weights > 0])]
    alone = [str(bool(classes[own[0]])) for own in members if len(own) == 1]
    if alone:
        raise ValueError(
            "The least populated classes in y have only 1 member, and rows of each class are held out. "
            f"Classes with too few members are: {alone}"
        )
    for own in members:
        held[own] = _first(places[own], weights[own], share, 1 if len(members) > 1 else FEWEST)
    return held


def _first(places: NDArray[Any], weights: NDArray[Any], share: float, fewest: int) -> NDArray[np.bool_]:
    """The rows of the first places that have a share of the weight: of at least `fewest` places, but not of all."""
    place = np.unique(places, return_inverse=True)[1]
    there = np.bincount(place, weights)
    counted = np.flatnonzero(there > 0)
    enough = np.searchsorted(np.cumsum(there[counted]), share * there.sum() * (1 - 1e-9)) + 1
    chosen = counted[: max(fewest, enough)]
    if len(chosen) == len(counted):
        raise ValueError(TOO_SMALL)
    held: NDArray[np.bool_] = np.isin(place, chosen)
    return held


def _places(rows: NDArray[Any], generator: np.random.RandomState) -> NDArray[np.uint64]:
    """A number for each row that follows from what is in it, and is random else."""
    bits = np.ascontiguousarray(rows + 0.0, dtype=np.float64).view(np.uint64)  # −0 becomes 0
    salts = generator.randint(0, np.iinfo(np.uint64).max, size=rows.shape[1], dtype=np.uint64)
    return _mixed(_mixed(bits ^ salts).sum(1, dtype=np.uint64))


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
