"""The table of planted mistakes: each with the check that must find it, and what its message must say."""

from collections.abc import Callable
from typing import Any

# A check of the mistake, with a seed.
Check = Callable[[int], None]
MISTAKES: list[tuple[str, Check, str]] = []


def planted(check: Callable[..., None], *arguments: Any, says: str, **options: Any) -> Callable[[type], type]:
    """Add a mistaken class, made with these arguments, to the table, with what the message must match."""

    def add(cls: type) -> type:
        MISTAKES.append((cls.__name__, lambda seed: check(cls(*arguments), seed=seed, **options), says))
        return cls

    return add
