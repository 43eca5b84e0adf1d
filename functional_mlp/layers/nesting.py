"""How deep layers may be nested in one another."""

from collections.abc import Iterable

from functional_mlp.layers.base import Layer

# How deep layers can be nested. What is done with them goes down the nest, at most 7 of Python's 1000 nested calls a
# level (copy.deepcopy).
MOST_LEVELS = 100


def depth_over(name: str, layers: Iterable[Layer]) -> int:
    """The depth of a layer made of others. Raises `ValueError` where that is more than `MOST_LEVELS`."""
    depth = 1 + max(layer.nesting_depth for layer in layers)
    check_depth(name, depth)
    return depth


def check_depth(name: str, depth: int) -> None:
    """Raise `ValueError` for a depth beyond `MOST_LEVELS`."""
    if depth > MOST_LEVELS:
        raise ValueError(
            f"{name}: layers can be nested at most {MOST_LEVELS} deep, got {depth} levels: "
            "put layers side by side in one Sequential"
        )
