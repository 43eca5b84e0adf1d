"""Sequences whose items are made when they are asked for."""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, SupportsIndex, TypeVar, overload

T = TypeVar("T")
# What a view stands for.
Kind = type[tuple[Any, ...]] | type[list[Any]]


class View(Sequence[T], Generic[T]):
    """What stands for a tuple, or a list, of which each item is made when it is asked for: `item(place)`.

    It is equal to such a tuple, ordered, printed, hashed, added and pickled as one; it cannot be changed. An item costs
    the same however many there are.

    >>> squares = View(4, lambda place: place**2)
    >>> squares, squares[-1], squares[1:3], squares == (0, 1, 4, 9)
    ((0, 1, 4, 9), 9, (1, 4), True)
    """

    __slots__ = ("_item", "_kind", "_places")

    def __init__(self, length: int, item: Callable[[int], T], kind: Kind = tuple) -> None:
        self._places, self._item, self._kind = range(length), item, kind

    def whole(self) -> Any:
        """The tuple or list itself."""
        return self._kind(self)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        return map(self._item, self._places)

    @overload
    def __getitem__(self, place: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, place: slice, /) -> Sequence[T]: ...
    def __getitem__(self, place: SupportsIndex | slice, /) -> T | Sequence[T]:
        if isinstance(place, slice):
            return self._kind(map(self._item, self._places[place]))
        try:
            return self._item(self._places[place])
        except IndexError:
            raise IndexError(f"{self._kind.__name__} index out of range") from None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, View):
            return bool(self.whole() == other.whole())
        return bool(self.whole() == other) if isinstance(other, self._kind) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        return self._ordered(operator.lt, other)

    def __le__(self, other: Any) -> bool:
        return self._ordered(operator.le, other)

    def __gt__(self, other: Any) -> bool:
        return self._ordered(operator.gt, other)

    def __ge__(self, other: Any) -> bool:
        return self._ordered(operator.ge, other)

    def _ordered(self, compare: Callable[[Any, Any], bool], other: Any) -> bool:
        whole = other.whole() if isinstance(other, View) else other
        return compare(self.whole(), whole) if isinstance(whole, self._kind) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.whole())

    def __repr__(self) -> str:
        return repr(self.whole())

    def __add__(self, other: Any) -> Any:
        return self.whole() + (other.whole() if isinstance(other, View) else other)

    def __radd__(self, other: Any) -> Any:
        return other + self.whole()

    def __mul__(self, times: SupportsIndex) -> Any:
        return self.whole() * times

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return self._kind, (list(self),)
