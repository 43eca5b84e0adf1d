"""Programs compiled in the ways that their sizes would not choose."""

import contextlib
from collections.abc import Iterator

import pytest

from functional_mlp.engine import kernels, running
from functional_mlp.engine.calls import Sharing


@contextlib.contextmanager
def compiled_with(sharing: Sharing) -> Iterator[None]:
    """Whatever their sizes, programs share functions so."""
    most = {
        Sharing.NONE: {"MOST_IN_ONE_PIECE": 1000, "MOST_INSTRUCTIONS_IN_ONE_PIECE": 1 << 30},
        Sharing.EQUAL_SIZES: {"MOST_IN_ONE_PIECE": 0, "MOST_SHAPES": 1000, "MOST_INSTRUCTIONS_OF_RULES": 1 << 30},
        Sharing.ALL: {"MOST_IN_ONE_PIECE": 0, "MOST_SHAPES": 0},
    }[sharing]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUNCTIONAL_MLP_CACHE", "off")
        for name, number in most.items():
            patch.setattr(kernels, name, number)
        running.compiled.cache_clear()
        try:
            yield
        finally:
            running.compiled.cache_clear()
