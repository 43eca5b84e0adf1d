"""Trees of tensors: the structures that parameters, gradients and states come in.

A pytree is a leaf, or a tuple, list, dict or registered class of pytrees; `None` is a tree without leaves.
The library's classes that hold tensors are registered with `optree` under `NAMESPACE`, and their fields
that are not tensors (a learning rate, a step count) belong to the structure, not to the leaves.

torch's own functions of trees (`torch.utils._pytree`, which `torch.func` and `torch.export` go by) see the same leaves
under the same names, and those of jax do where it has been imported before the class was made, or `register_with_jax`
has been called. A None in a tuple, list or dict, though, is a leaf to torch.
"""

import builtins
import functools
import importlib
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

import attrs
import optree
import optree.integrations.attrs
import torch
from torch import Tensor
from torch.utils import _pytree as torch_pytree

from functional_mlp import checks, imports

NAMESPACE = "functional_mlp"

C = TypeVar("C", bound=type[Any])

# The classes of nodes that are made of their children alone, with the attributes that hold these.
ATTRIBUTES: dict[type, tuple[str, ...]] = {}


def node(cls: C) -> C:
    """Register an attrs class as a pytree node; a decorator to write above `@attrs.frozen(eq=False)`.

    `eq=False`, for comparing tensors yields tensors: use `equal`.
    """
    fields = [each for each in attrs.fields(cls) if each.init]
    children = tuple(each.name for each in fields if not _is_structure(each))
    settings = tuple(each.name for each in fields if _is_structure(each))
    children_of, settings_of = _getter(children), _getter(settings)
    aliases = tuple(each.alias for each in sorted(fields, key=_is_structure))
    by_place = not settings and not any(each.kw_only for each in fields)

    # Each step of training goes through several trees: these are faster than what optree makes for attrs classes.
    def flatten(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[str, ...]]:
        return children_of(tree), settings_of(tree) if settings else (), children

    def unflatten(settings: Any, children: Iterable[Any]) -> Any:
        if by_place:
            return cls(*children)
        return cls(**dict(zip(aliases, (*children, *settings), strict=True)))

    if by_place:
        ATTRIBUTES[cls] = children
    entry = optree.integrations.attrs.AttrsEntry
    optree.register_pytree_node(cls, flatten, unflatten, path_entry_type=entry, namespace=NAMESPACE)
    _register_elsewhere(cls, children, lambda tree: flatten(tree)[:2], unflatten)
    return cls


# The functions that torch and jax take a tree apart with, and make it again.
_Flatten = Callable[[Any], tuple[tuple[Any, ...], tuple[Any, ...]]]
_Unflatten = Callable[[Any, Iterable[Any]], Any]
_unknown_to_jax: list[tuple[type[Any], tuple[str, ...], _Flatten, _Unflatten]] = []


def _register_elsewhere(cls: type[Any], names: tuple[str, ...], flatten: _Flatten, unflatten: _Unflatten) -> None:
    # To torch a None is a leaf, over which its functions stumble: here it belongs to the structure, as everywhere else.
    def torch_flatten(tree: Any) -> tuple[list[Any], Any]:
        children, settings = flatten(tree)
        held = tuple(child is not None for child in children)
        return [child for child in children if child is not None], (held, settings)

    def torch_flatten_with_keys(tree: Any) -> tuple[list[Any], Any]:
        children, context = torch_flatten(tree)
        keys = [torch_pytree.GetAttrKey(name) for name, held in zip(names, context[0], strict=True) if held]
        return list(zip(keys, children, strict=True)), context

    def torch_unflatten(children: Iterable[Any], context: Any) -> Any:
        held, settings = context
        rest = iter(children)
        return unflatten(settings, [next(rest) if each else None for each in held])

    torch_pytree.register_pytree_node(cls, torch_flatten, torch_unflatten, flatten_with_keys_fn=torch_flatten_with_keys)
    _unknown_to_jax.append((cls, names, flatten, unflatten))
    if "jax" in sys.modules:
        register_with_jax()


def register_with_jax() -> None:
    """Let `jax.tree` see the library's classes, and those that `node` has registered, as trees of their tensors.

    It needs no call where jax was imported before they were made: before a name of this package was first used.
    """
    tree_util = importlib.import_module("jax.tree_util")

    def register(cls: type[Any], names: tuple[str, ...], flatten: _Flatten, unflatten: _Unflatten) -> None:
        keys = [tree_util.GetAttrKey(name) for name in names]

        def flatten_with_keys(tree: Any) -> tuple[Iterable[tuple[Any, Any]], Any]:
            children, settings = flatten(tree)
            return zip(keys, children, strict=True), settings

        tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)

    for node in imports.taken(_unknown_to_jax):
        register(*node)


Params: TypeAlias = Any
"""A pytree of tensors: the parameters of a layer, their gradients, or what an optimizer remembers of them.

Which one is the layer's to say, and type checkers are told no more: the entries of a network's are those of its layers.
"""

# The leaves of a tree, and its structure.
Flat = tuple[list[Any], optree.PyTreeSpec]

# The metadata of a field that belongs to a node's structure rather than to its leaves.
STRUCTURE = {"pytree_node": False}


def _is_structure(field: "attrs.Attribute[Any]") -> bool:
    return field.metadata.items() >= STRUCTURE.items()


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes the attributes of these names of an object, a tuple however few they are."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return (lambda tree: (getattr(tree, names[0]),)) if names else lambda tree: ()


def map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply a function to each leaf, and to the leaves at the same place of further trees.

    Raises `ValueError` where the trees differ in structure.

    >>> map(lambda a, b: a + b, (1, {"x": 2}), (10, {"x": 20}))
    (11, {'x': 22})
    """
    try:
        return optree.tree_map(function, tree, *rest, namespace=NAMESPACE)
    except ValueError:
        for number, other in enumerate(rest):
            if structure(other) != structure(tree):
                difference = structural_difference(f"rest[{number}]", other, tree)
                raise ValueError(f"map: the trees differ in structure: {difference}") from None
        raise


def leaves(tree: Any) -> list[Any]:
    """The leaves of a tree, in order.

    >>> leaves((1, {"x": 2}, None))
    [1, 2]
    """
    return optree.tree_leaves(tree, namespace=NAMESPACE)


def paths(tree: Any) -> list[str]:
    """The path of each leaf, as the code that reaches it from the tree.

    >>> paths((1, {"x": 2}))
    ['[0]', "[1]['x']"]
    """
    return [path for path, _ in items(tree)]


def items(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree with their paths.

    >>> items((1, {"x": 2}))
    [('[0]', 1), ("[1]['x']", 2)]
    """
    accessors, values, _ = optree.tree_flatten_with_accessor(tree, namespace=NAMESPACE)
    return [(accessor.codify(""), value) for accessor, value in zip(accessors, values, strict=True)]


def structure(tree: Any) -> optree.PyTreeSpec:
    """What is left of a tree without its leaves; comparable and hashable."""
    return optree.tree_structure(tree, namespace=NAMESPACE)


def outline(tree: Any) -> str:
    """The repr of a tree without its numbers: each tensor by its dtype and shape.

    >>> outline((torch.zeros(3, 2), {"x": None}))
    "(<float32 (3, 2)>, {'x': None})"
    """
    if isinstance(tree, Tensor):
        return f"<{str(tree.dtype).removeprefix('torch.')} {tuple(tree.shape)}>"
    if type(tree) is tuple:
        return f"({', '.join(builtins.map(outline, tree))}{',' if len(tree) == 1 else ''})"
    if type(tree) is list:
        return f"[{', '.join(builtins.map(outline, tree))}]"
    if type(tree) is dict:
        return f"{{{', '.join(f'{key!r}: {outline(value)}' for key, value in tree.items())}}}"
    return repr(tree)


# Stands for what is not there, in `first_difference`.
MISSING = object()


def first_difference(tree: Any, template: Any) -> tuple[str, Any, Any]:
    """Where a tree has not the structure of another: the path, and what each has there, or `MISSING`.

    >>> first_difference((1, {"x": 2}), (1, [2]))
    ('[1]', {'x': 2}, [2])
    >>> first_difference((1,), (1, {"x": 2})) == ("[1]['x']", MISSING, 2)
    True
    """
    if bool(leaves(tree)) != bool(leaves(template)):  # all of the tensors are missing, or unexpected
        return _unexpected("", tree) if leaves(tree) else _missing("", template)
    if type(tree) is not type(template):
        return "", tree, template
    children, wanted = dict(_children(tree)), dict(_children(template))
    for path in [path for path in wanted if path not in children]:
        return _missing(path, wanted[path])
    for path in [path for path in children if path not in wanted]:
        return _unexpected(path, children[path])
    for path, child in children.items():
        if structure(child) != structure(wanted[path]):
            rest, first, second = first_difference(child, wanted[path])
            return path + rest, first, second
    for field in attrs.fields(type(tree)) if attrs.has(type(tree)) else ():
        settings = getattr(tree, field.name), getattr(template, field.name)
        if _is_structure(field) and settings[0] != settings[1]:
            return f".{field.name}", *settings
    return "", tree, template


def structural_difference(name: str, tree: Any, template: Any) -> str:
    """What is wrong with the structure of a tree, at the first place where it is not that of another.

    >>> structural_difference("grads", (torch.zeros(2), None), (torch.zeros(2), torch.zeros(3)))
    'grads[1] is missing (expected a tensor of shape (3,))'
    >>> structural_difference("params", [torch.zeros(2)], (torch.zeros(2),))
    'params must be a tuple, got [tensor([0., 0.])], a list'
    """
    path, got, expected = first_difference(tree, template)
    if expected is MISSING:
        return f"{name}{path} is unexpected (got {checks.describe(got)})"
    is_leaf = isinstance(expected, Tensor)
    wanted = f"a tensor of shape {tuple(expected.shape)}" if is_leaf else checks.with_article(type(expected).__name__)
    if got is MISSING:
        return f"{name}{path} is missing (expected {wanted})"
    if type(got) is type(expected):
        wanted = checks.describe(expected)
    return f"{name}{path} must be {wanted}, got {checks.describe(got)}"


def _children(tree: Any) -> list[tuple[str, Any]]:
    """What a node holds, each with its path."""
    accessors, values, _ = optree.tree_flatten_with_accessor(
        tree, is_leaf=lambda node: node is not tree, namespace=NAMESPACE
    )
    return [(accessor.codify(""), value) for accessor, value in zip(accessors, values, strict=True)]


def _missing(path: str, tree: Any) -> tuple[str, Any, Any]:
    """The difference where a tree is not there: at its first leaf, or at its root where it has none."""
    place, leaf = next(iter(items(tree)), ("", tree))
    return path + place, MISSING, leaf


def _unexpected(path: str, tree: Any) -> tuple[str, Any, Any]:
    """The difference where a tree is too much."""
    place, _, leaf = _missing(path, tree)
    return place, leaf, MISSING


def flatten(tree: Any) -> Flat:
    """The leaves of a tree, and its structure.

    >>> flatten((1, {"x": 2}))[0]
    [1, 2]
    """
    return optree.tree_flatten(tree, namespace=NAMESPACE)


@functools.lru_cache(maxsize=256)
def holds_dicts(structure: optree.PyTreeSpec) -> bool:
    """Whether there are dicts in a structure: `flatten_up_to` takes an OrderedDict for one, and `==` does not.

    >>> holds_dicts(structure((1, [{"x": 2}]))), holds_dicts(structure((1, [2])))
    (True, False)
    """
    kind = structure.type
    return (isinstance(kind, type) and issubclass(kind, dict)) or any(builtins.map(holds_dicts, structure.children()))


def unflatten(template: Any, leaves: Iterable[Any]) -> Any:
    """The tree with the structure of `template` and the given leaves.

    >>> unflatten((1, {"x": 2}), [10, 20])
    (10, {'x': 20})
    """
    return structure(template).unflatten(leaves)


def equal(a: Any, b: Any) -> bool:
    """Whether two trees have the same structure and the same bits in every leaf.

    NaN equals a NaN of the same bits, and 0 differs from -0.

    >>> equal((torch.tensor([1.0]), None), (torch.tensor([1.0]), None))
    True
    >>> equal((torch.tensor(0.0),), (torch.tensor(-0.0),))
    False
    """
    if structure(a) != structure(b):
        return False
    return all(builtins.map(_same_bits, leaves(a), leaves(b)))


def _same_bits(a: Any, b: Any) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return type(a) is type(b) and bool(a == b)
    if (a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device):
        return False
    return torch.equal(bits(a), bits(b))


def bits(tensor: Tensor) -> Tensor:
    """The bytes of a tensor's numbers, one after the other.

    >>> bits(torch.tensor([1.0], dtype=torch.float16)).tolist()
    [0, 60]
    """
    plain = tensor.detach().resolve_neg().resolve_conj()
    # A one-element tensor of any stride counts as contiguous; only a copy has the stride that a view as bytes needs.
    return plain.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
