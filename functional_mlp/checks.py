"""Checks of what enters the library: numbers and tensors; those of trees of tensors are in `trees`.

Every message says what was expected, what came, and what to do. `TypeError` is for the wrong kind of
thing, `ValueError` for the wrong shape, size, dtype, device or range.
"""

import functools
import math
import numbers
import operator
import sys
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from torch import Tensor
from torch._C import _functorch as functorch

from functional_mlp.conversions import TENSOR, Conversions, package_of
from functional_mlp.pages import pieces

FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# What integers are given as. Anything else that has an `__index__`, as tensors have, is refused.
Integer: TypeAlias = int | np.integer[Any]


def describe(value: object) -> str:
    """A short description of a value, for the end of an error message."""
    if isinstance(value, Tensor):
        if value.is_nested:
            return f"a nested {value.dtype} tensor"
        return f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"
    package = package_of(value)
    if package in ("numpy", "pandas", "polars") and hasattr(value, "shape"):
        return f"a {package} {type(value).__name__} of shape {value.shape}"
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'}, {with_article(type(value).__name__)}"


def with_article(noun: str) -> str:
    """A noun with its article."""
    return f"an {noun}" if noun[0] in "AEIOaeio" else f"a {noun}"


def any_integer(name: str, value: object, wanted: str = "an integer") -> int:
    """`value` as an int, once it is an integer: Python's or numpy's; a bool, a float and a tensor are none."""
    if type(value) is int:  # as at each draw of an order, where the question for numpy's takes too long
        return value
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {describe(value)}")
    return operator.index(value)


def integer(name: str, value: object, *, minimum: int) -> int:
    """`value` as an int, once it is an integer of at least `minimum`."""
    wanted = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
    given = any_integer(name, value, wanted)
    if given < minimum:
        raise ValueError(f"{name} must be {wanted}, got {given}")
    if given >= 2**63:
        raise ValueError(f"{name} must be {wanted} below 2**63, got a larger one")
    return given


def number(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as an int or a float, once it is a finite number between two ends.

    Parameters
    ----------
    name
        What messages call the argument.
    value
        What was given for it.
    low
        The lower end.
    high
        The upper end.
    open_low
        Whether the lower end itself is excluded.
    open_high
        Whether the upper end itself is excluded.
    """
    given = plain_number(value)
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"{name} must be a number, got {describe(value)}")
    above = given > low if open_low else given >= low
    below = given < high if open_high else given <= high
    # An int of over 300 digits is larger than every float.
    if not (abs(given) <= sys.float_info.max and above and below):
        left = "(" if open_low or low == -math.inf else "["
        right = ")" if open_high or high == math.inf else "]"
        raise ValueError(f"{name} must be a finite number in {left}{low}, {high}{right}, got {given}")
    return given


def plain_number(value: Any) -> Any:
    """numpy's integers and floats as Python's, whose repr, hash and JSON are those of the number; all else as it is."""
    if isinstance(value, int) or type(value) is float:
        return value
    if isinstance(value, numbers.Integral):
        return operator.index(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational) else value


def plain_integer(value: Integer) -> int:
    """An attrs converter: an integer as Python's. Anything else comes back as it is, for a validator to refuse."""
    plain: int = plain_number(value)
    return plain


def plain_float(value: float) -> float:
    """An attrs converter: a number as Python's, as `plain_integer` for those that are no integers."""
    plain: float = plain_number(value)
    return plain


def in_range(name: str, value: float, dtype: torch.dtype, *, share: float = 1.0) -> None:
    """Raise unless `value` is within a share of the range of a dtype, beyond which it would be infinite."""
    largest = share * largest_number(dtype)
    if not -largest <= value <= largest:
        raise ValueError(
            f"{name} must be a finite number in [{-largest}, {largest}] for {dtype}, got {value}: "
            "choose a smaller one, or a wider dtype"
        )


@functools.cache
def largest_number(dtype: torch.dtype) -> float:
    """The largest finite number of a floating dtype."""
    return torch.finfo(dtype).max


def numbers_in_range(owner: Any, dtype: torch.dtype) -> None:
    """Raise unless every number that a value holds is in the range of a dtype."""
    largest = largest_number(dtype)
    for attribute in _fields(owner.__class__):
        value = getattr(owner, attribute.name)
        if isinstance(value, (int, float)) and not -largest <= value <= largest:
            in_range(field_name(owner, attribute), value, dtype)


@functools.lru_cache(maxsize=256)
def _fields(kind: Any) -> Any:
    return attrs.fields(kind)


def field_name(owner: object, attribute: "attrs.Attribute[Any]") -> str:
    return f"{type(owner).__name__}: {attribute.name}"


def positive_integer(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: a positive int."""
    integer(field_name(owner, attribute), value, minimum=1)


def finite_number(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: any finite number."""
    number(field_name(owner, attribute), value)


def positive_number(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: a finite number above 0."""
    number(field_name(owner, attribute), value, low=0.0, open_low=True)


def non_negative_number(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: a finite number of at least 0."""
    number(field_name(owner, attribute), value, low=0.0)


def decay_rate(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: a number in (0, 1]."""
    number(field_name(owner, attribute), value, low=0.0, high=1.0, open_low=True)


def fraction_below_one(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: a number in [0, 1)."""
    number(field_name(owner, attribute), value, low=0.0, high=1.0, open_high=True)


def boolean(owner: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """An attrs validator: True or False."""
    instance(field_name(owner, attribute), value, bool, "pass True or False")


def instance(name: str, value: object, kind: type, advice: str) -> None:
    """Raise TypeError unless `value` is an instance of `kind`."""
    not_a_class(name, value, with_article(kind.__name__))
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {with_article(kind.__name__)}, got {describe(value)}: {advice}")


def hashable(name: str, value: object) -> None:
    """Raise TypeError unless a layer, loss or optimizer can be looked up, as what is made from it is kept."""
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(
            f"{name} must be hashable, got {describe(value)}: decorate its class with "
            "@attrs.frozen(repr=False), and give it no lists or dicts"
        ) from error


def not_a_class(name: str, value: object, wanted: str = "a value") -> None:
    """Raise TypeError where a class stands in the place of its instance: the call that makes one was forgotten."""
    if isinstance(value, type):
        raise TypeError(f"{name} must be {wanted}, got the class {value.__name__}: call it to make one")


def float_dtype(name: str, value: object) -> None:
    """Raise unless `value` is a floating torch.dtype."""
    if not isinstance(value, torch.dtype):
        raise TypeError(f"{name} must be a torch.dtype, got {describe(value)}: pass torch.float32, say")
    if value not in FLOAT_DTYPES:
        raise ValueError(f"{name} must be a floating dtype, got {value}: pass torch.float32, say")


def device(name: str, value: object) -> None:
    """Raise unless `value` names a device, or is None."""
    if not isinstance(value, torch.device | str | None):
        raise TypeError(f"{name} must be a torch.device, a str or None, got {describe(value)}")
    if isinstance(value, str):
        try:
            torch.device(value)
        except RuntimeError as error:
            raise ValueError(f"{name} must name a device, 'cpu' or 'cuda:0', say, got {value!r}") from error


def engine(name: str, value: object) -> None:
    """Raise unless `value` names an engine."""
    if value not in ("auto", "reference", "fused"):
        raise ValueError(f"{name}: engine must be 'auto', 'reference' or 'fused', got {describe(value)}")


def features(name: str, x: Tensor, wanted: int | None) -> None:
    """Raise unless the last dimension of `x` has the size wanted, where one is."""
    if wanted is not None and x.shape[-1] != wanted:
        raise ValueError(f"{name} got inputs of shape {tuple(x.shape)}: the last dimension must be {wanted}")


def plain_tensor(name: str, value: object) -> None:
    """Raise unless `value` is a dense tensor that holds numbers: not sparse, quantized, meta or fake."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {describe(value)}{_conversion(name, value)}")
    if value.layout is not torch.strided:
        raise ValueError(f"{name} must be a dense tensor, got layout {value.layout}: call .to_dense()")
    if value.is_nested:
        raise ValueError(f"{name} must be a dense tensor, got a nested one: call .to_padded_tensor(0.0)")
    if value.is_quantized:
        raise ValueError(f"{name} must hold plain numbers, got {describe(value)}: call .dequantize()")
    if value.is_meta or type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise ValueError(f"{name} must hold data, got {type(value).__name__} on {value.device}, which holds none")
    if functorch.is_functorch_wrapped_tensor(value):
        _not_differentiated(name, value)


def in_memory(name: str, value: Tensor) -> None:
    """Raise where a plain tensor is one that `torch.func` transforms: its numbers cannot be looked at."""
    if functorch.is_functorch_wrapped_tensor(value):
        raise TypeError(
            f"{name} must be a tensor whose numbers can be read, got one that torch.func transforms: "
            "call this outside of what it transforms"
        )


def _conversion(name: str, value: object) -> str:
    """The call that makes a tensor of what is none, for the end of a message."""
    if name == "params" and hasattr(value, "params"):
        return ": pass its params"
    if hasattr(value, "collect"):
        return ": call .collect()"
    if hasattr(value, "to_numpy"):
        return ": call .to_numpy(), and torch.as_tensor of that"
    if not (hasattr(value, "__array__") or isinstance(value, list | tuple | float)):
        return ""
    try:
        torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):  # words, dates, or rows of several lengths
        return ": call numpy.array" if isinstance(value, list | tuple) else ""
    return ": call torch.as_tensor"


def _not_differentiated(name: str, value: Tensor) -> None:
    """Raise where `torch.func` follows a tensor to differentiate: it would find no connection, and so zeros."""
    inner = value
    while functorch.is_functorch_wrapped_tensor(inner):  # vmap's wrapping may be around, and is none to refuse
        if functorch.is_gradtrackingtensor(inner):
            raise TypeError(
                f"{name} must not be differentiated by torch.func, got {describe(value)}: gradients are written by "
                "hand here, in vjp, grad and value_and_grad; functional_mlp.interop.to_torch makes a module that "
                "torch.func can differentiate"
            )
        inner = functorch.get_unwrapped(inner)


def float_tensor(
    name: str, value: object, conversions: Conversions = TENSOR, dtype: torch.dtype = torch.float32
) -> None:
    """Raise unless `value` is a plain tensor of a floating dtype; which one is advised, and in the words of what data.

    `conversions` are those of what the tensor was made of.
    """
    plain_tensor(name, value)
    assert isinstance(value, Tensor)
    if value.dtype not in FLOAT_DTYPES:
        advice = (
            f"take the real part, {conversions.real}" if value.dtype.is_complex else f"call {conversions.to(dtype)}"
        )
        raise ValueError(f"{name} must be of a floating dtype, got {describe(value)}: {advice}")


def same_kind(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise unless `value` has the dtype and the device of `other`."""
    if value.dtype != other.dtype:
        raise ValueError(
            f"{name} and {other_name} must have one dtype, got {value.dtype} and {other.dtype}: "
            f"call .to({value.dtype}) on {other_name}, or .to({other.dtype}) on {name}"
        )
    if value.device != other.device:
        raise ValueError(
            f"{name} and {other_name} must be on one device, got {value.device} and {other.device}: "
            f"call .to({str(value.device)!r}) on {other_name}, or .to({str(other.device)!r}) on {name}"
        )


def same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise unless `value` has the shape of `other`; nothing is broadcast."""
    if value.shape != other.shape:
        raise ValueError(f"{name} must have the shape of {other_name}, {tuple(other.shape)}, got {tuple(value.shape)}")


def like(name: str, value: object, other_name: str, other: Tensor) -> None:
    """Raise unless `value` is a tensor of the shape, dtype and device of `other`."""
    float_tensor(name, value, dtype=other.dtype)
    assert isinstance(value, Tensor)
    same_shape(name, value, other_name, other)
    same_kind(name, value, other_name, other)


def finite(name: str, value: Tensor) -> None:
    """Raise unless every entry of a tensor (rows, columns) is finite, naming the first that is not."""
    first = 0
    for rows in pieces(value):
        # A sum takes a tenth of the time. Where finite numbers overflow in it, each is looked at.
        if not math.isfinite(rows.sum(dtype=torch.promote_types(rows.dtype, torch.float32)).item()):
            places = (~rows.isfinite()).nonzero()
            if len(places):
                row, column = places[0].tolist()
                raise ValueError(
                    f"{name} must be finite, got {rows[row, column].item()} in row {first + row}, column {column}: "
                    "remove or replace such rows"
                )
        first += len(rows)
