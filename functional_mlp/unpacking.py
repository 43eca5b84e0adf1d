"""The leaves of trees of one structure, and the trees of leaves, by functions that are written for it.

optree asks each node of the library's classes in Python what it holds: for the parameters of a small network that takes
as long as a product. Here one expression says what kind each node is to be, and where the leaves are; another makes the
nodes.

>>> import functional_mlp as fm
>>> params = fm.Sequential(fm.Linear(1, 1)).init(fm.random.key(0))
>>> print(_Expression(pytree.structure(params)).text)
[t[0].weight, t[0].bias] if type(t) is k0 and len(t) == 1 and type(t[0]) is k1 else None
>>> print(_Making(pytree.structure(params)).text)
(k0(l[0], l[1]),)
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import optree

from functional_mlp import pytree

Unpacking = Callable[[Any], list[Any] | None]
Packing = Callable[[Sequence[Any]], Any]


@functools.lru_cache(maxsize=256)
def unpacking(structure: optree.PyTreeSpec) -> Unpacking:
    """The function that gives the leaves of a tree of a structure.

    Of another tree it gives None, or what lies where the leaves ought to: where the structure has a leaf, a branch.

    >>> leaves = unpacking(pytree.structure((1, [2, None])))
    >>> leaves((3, [4, None])), leaves((3, [4, 5])), leaves((3, [(4,), None]))
    ([3, 4], None, [3, (4,)])
    """
    try:
        written = _Expression(structure)
    except NotImplementedError:
        return functools.partial(_leaves_of_dicts if pytree.holds_dicts(structure) else _leaves_up_to, structure)
    made: Unpacking = eval(f"lambda t: {written.text}", written.kinds)
    return made


@functools.lru_cache(maxsize=256)
def packing(structure: optree.PyTreeSpec) -> Packing:
    """The function that makes a tree of a structure, of its leaves.

    >>> packing(pytree.structure((1, [2, None])))([3, 4])
    (3, [4, None])
    """
    try:
        written = _Making(structure)
    except NotImplementedError:
        return structure.unflatten
    made: Packing = eval(f"lambda l: {written.text}", written.kinds)
    return made


def _leaves_of_dicts(structure: optree.PyTreeSpec, tree: Any) -> list[Any] | None:
    leaves, own = pytree.flatten(tree)
    return leaves if own == structure else None


def _leaves_up_to(structure: optree.PyTreeSpec, tree: Any) -> list[Any] | None:
    try:
        return structure.flatten_up_to(tree)
    except ValueError:
        return None


class _Kinds:
    """The classes of nodes, by the names that they have in an expression."""

    def __init__(self) -> None:
        self.kinds: dict[str, Any] = {}
        self._names: dict[type, str] = {}

    def _name(self, kind: type) -> str:
        if kind not in self._names:
            self._names[kind] = f"k{len(self._names)}"
            self.kinds[self._names[kind]] = kind
        return self._names[kind]


class _Expression(_Kinds):
    """The leaves of a tree `t`, or None, in Python, and the classes whose names stand there.

    Raises `NotImplementedError` for nodes that hold more than children which are found by an index or by a name.
    """

    def __init__(self, structure: optree.PyTreeSpec) -> None:
        super().__init__()
        self._leaves: list[str] = []
        self._tests: list[str] = []
        self._visit(structure, "t")
        self.text = f"[{', '.join(self._leaves)}] if {' and '.join(self._tests) or True} else None"

    def _visit(self, structure: optree.PyTreeSpec, place: str) -> None:
        kind = structure.type
        if kind is None:
            self._leaves.append(place)
        elif kind is type(None):
            self._tests.append(f"{place} is None")
        else:
            self._tests.append(f"type({place}) is {self._name(kind)}")
            children = structure.children()
            if kind in (tuple, list):
                self._tests.append(f"len({place}) == {len(children)}" if children else f"not {place}")
                paths = [f"[{number}]" for number in range(len(children))]
            elif kind in pytree.ATTRIBUTES:
                paths = [f".{name}" for name in pytree.ATTRIBUTES[kind]]
            else:
                raise NotImplementedError(kind)
            for child, path in zip(children, paths, strict=True):
                self._visit(child, place + path)


class _Making(_Kinds):
    """A tree in Python, of its leaves `l`, and the classes whose names stand there. It raises as `_Expression` does."""

    def __init__(self, structure: optree.PyTreeSpec) -> None:
        super().__init__()
        self._places = itertools.count()
        self.text = self._made(structure)

    def _made(self, structure: optree.PyTreeSpec) -> str:
        kind = structure.type
        if kind is None:
            return f"l[{next(self._places)}]"
        if kind is type(None):
            return "None"
        children = [self._made(child) for child in structure.children()]
        if kind is tuple:
            return f"({', '.join(children)}{',' if len(children) == 1 else ''})"
        if kind is list:
            return f"[{', '.join(children)}]"
        if kind in pytree.ATTRIBUTES:
            return f"{self._name(kind)}({', '.join(children)})"
        raise NotImplementedError(kind)
