"""Layers, losses, optimizers, initializers and schedules as JSON, and back.

A value is an object with its class's name under "type" and its fields: `{"type": "LeakyReLU", "negative_slope":
0.1}`. A name leads to a class through a `Registry` alone. Reading is strict: an unknown name, a field too many or
too few, or one of another kind is refused, and each class checks its own fields.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import cattrs
from attrs import field, frozen
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from functional_mlp import catalogue, checks
from functional_mlp.layers.base import Layer
from functional_mlp.layers.combinators import Sequential
from functional_mlp.value import Value


@frozen(init=False)
class Registry:
    """The classes that a checkpoint may name: the library's, and those of your own that are given here.

    Classes are known by their names, and must be attrs classes whose annotated fields say all that makes them: every
    subclass of `Layer`, `Loss`, `Optimizer` and `Initializer` is one. Raises `TypeError` for another kind of class,
    and `ValueError` for a name that is taken.

    >>> import functional_mlp as fm
    >>> class Square(fm.Elementwise):
    ...     def value(self, xp, s):
    ...         return s * s
    ...     def derivative(self, xp, s, y):
    ...         return 2 * s
    >>> fm.Registry(Square)
    Registry(Square)
    """

    classes: tuple[type, ...]
    by_name: dict[str, type] = field(repr=False, eq=False)

    def __init__(self, *classes: type) -> None:
        by_name: dict[str, type] = dict(catalogue.VALUES)
        for cls in classes:
            if not isinstance(cls, type) or not attrs.has(cls):
                raise TypeError(
                    f"Registry takes attrs classes, got {checks.describe(cls)}: subclass functional_mlp.Layer, say, "
                    "or decorate the class with @attrs.frozen"
                )
            if cls.__name__ in by_name:
                raise ValueError(f"Registry has a class named {cls.__name__!r} already: give one of them another name")
            by_name[cls.__name__] = cls
        self.__attrs_init__(classes, by_name)

    def __repr__(self) -> str:
        return f"Registry({', '.join(cls.__name__ for cls in self.classes)})"

    def name_of(self, cls: type) -> str:
        """The name of a class. Raises `ValueError` for one that is not in the registry."""
        for name, known in self.by_name.items():
            if known is cls:
                return name
        raise ValueError(f"{cls.__name__} is not a class of the library: pass registry=Registry({cls.__name__})")

    def class_of(self, name: object) -> type:
        """The class of a name. Raises `ValueError` for one that is not in the registry."""
        if not isinstance(name, str) or name not in self.by_name:
            raise ValueError(
                f"{str(name)[:60]!r} names no class of the library: pass your own class of that name in registry"
            )
        return self.by_name[name]


@functools.lru_cache(maxsize=64)
def converter(registry: Registry) -> cattrs.Converter:
    """A strict converter between JSON and attrs classes, which finds the classes of values in the registry."""
    strict = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    kinds = tuple(registry.by_name.values())
    fields_of = functools.cache(lambda cls: make_dict_unstructure_fn(cls, strict))
    made_from = functools.cache(lambda cls: make_dict_structure_fn(cls, strict))

    def is_value(kind: Any) -> bool:
        return isinstance(kind, type) and (issubclass(kind, Value) or kind in kinds)

    def encode(value: Any) -> dict[str, Any]:
        cls: type = type(value)
        return {"type": registry.name_of(cls), **fields_of(cls)(value)}

    def decode(data: Any, kind: Any) -> Any:
        if not isinstance(data, dict):
            raise TypeError(f"a {kind.__name__} must be an object, got {str(data)[:60]}")
        cls = registry.class_of(data.get("type"))
        if not issubclass(cls, kind):
            raise TypeError(f"{cls.__name__} stands where a {kind.__name__} belongs")
        fields = {name: value for name, value in data.items() if name != "type"}
        if cls is Sequential:  # made from its layers one by one
            fields = {"layers": (), **fields}
            return cls(*strict.structure(fields.pop("layers"), tuple[Layer, ...]), **fields)
        return made_from(cls)(fields, cls)

    def decode_any(data: Any, kind: Any) -> Any:
        return decode(data, object) if isinstance(data, dict) and "type" in data else data

    strict.register_unstructure_hook_func(is_value, encode)
    strict.register_structure_hook_func(is_value, decode)
    strict.register_structure_hook_func(lambda kind: kind is Any, decode_any)
    for kind, accepted in ((bool, (bool,)), (int, (int,)), (float, (int, float)), (str, (str,))):
        strict.register_structure_hook(kind, _exactly(*accepted))
    strict.register_unstructure_hook(bytes, bytes.hex)
    strict.register_structure_hook(bytes, lambda data, _: bytes.fromhex(data))
    return strict


def _exactly(*accepted: type) -> Callable[[Any, Any], Any]:
    """A hook that takes what is of a type already, where cattrs would convert: `int("3")`, `bool("no")`."""

    def hook(data: Any, kind: type) -> Any:
        if type(data) not in accepted:
            raise TypeError(f"{str(data)[:60]!r} stands where a {kind.__name__} belongs")
        return data

    return hook


def differences(name: str, expected: Any, found: Any) -> Iterator[str]:
    """What differs between two values as JSON, each by its path.

    >>> list(differences("network", {"type": "ELU", "alpha": 1.0}, {"type": "ELU", "alpha": 2.0}))
    ['network.alpha is 2.0, expected 1.0']
    """
    if isinstance(expected, dict) and isinstance(found, dict) and expected.get("type") == found.get("type"):
        for key in expected | found:
            yield from differences(f"{name}.{key}", expected.get(key), found.get(key))
    elif isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        for index in range(max(len(expected), len(found))):
            a, b = (items[index] if index < len(items) else None for items in (expected, found))
            yield from differences(f"{name}[{index}]", a, b)
    elif expected != found:
        yield f"{name} is {_shown(found)}, expected {_shown(expected)}"


def _shown(data: Any) -> str:
    if data is None:
        return "nothing"
    return str(data["type"]) if isinstance(data, dict) and "type" in data else repr(data)


def check_sizes(data: Any, numbers: int) -> None:
    """Raise `ValueError` for a `Linear` in a value's JSON that has more weights than there are numbers.

    Its initializers then never meet a shape that a file made up.
    """
    if isinstance(data, dict) and data.get("type") == "Linear":
        rows, columns = data["out_features"], data["in_features"]
        if type(rows) is not int or type(columns) is not int or rows * columns > numbers:
            raise ValueError(f"its tensors hold {numbers} numbers, and its network a layer Linear({columns}, {rows})")
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            check_sizes(value, numbers)
