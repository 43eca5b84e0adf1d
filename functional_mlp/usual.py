"""Whether torch's operations do what they usually do; only then is a result made that is kept and used again.

torch can be told, for a block of code or a thread, to do something else at each operation: to compute in another dtype
(autocast), to differentiate along (forward mode, `torch.func`), to make tensors without numbers (fake tensors), or to
ask a user's mode first. What was seen, or made, there is of no use outside, and the other way round. Settings that an
operation reads each time that it is called, such as deterministic algorithms, the precision of products, denormal
numbers and the default dtype, are not among them: straight code calls the operation again, and no tensor that is kept
depends on them.
"""

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch._C import (
    _get_function_stack_at,
    _is_any_autocast_enabled,
    _is_torch_function_all_disabled,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
)
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

F = TypeVar("F", bound=Callable[..., Any])


def is_usual() -> bool:
    """Whether an operation of torch does now what it does where nothing was switched on around it.

    It takes a fifth of a microsecond. In inference mode operations give the same numbers: code that is seen there is of
    use elsewhere, and only tensors are not.

    >>> with torch.autocast("cpu"):
    ...     is_usual()
    False
    >>> is_usual()
    True
    """
    return not (
        forward_ad._current_level >= 0  # torch has no public question that is as cheap
        or _is_any_autocast_enabled()
        or peek_interpreter_stack() is not None
        or _len_torch_dispatch_stack()
        or (_len_torch_function_stack() and _has_foreign_mode())
        or _is_torch_function_all_disabled()
    )


def _has_foreign_mode() -> bool:
    """Whether a mode is on beside `torch.set_default_device`, which says only where tensors of numbers are made."""
    modes = map(_get_function_stack_at, range(_len_torch_function_stack()))
    return not all(type(mode) is DeviceContext for mode in modes)


class _UnusualError(Exception):
    """What is asked for was not made yet, and would not be the usual."""


_KEPT: "weakref.WeakValueDictionary[int, Tensor]" = weakref.WeakValueDictionary()


def kept(most: int) -> Callable[[F], F]:
    """A decorator like `functools.lru_cache(maxsize=most)` that keeps nothing made where torch does something unusual.

    Nor in inference mode, whose tensors torch does not take everywhere. Arguments are given by their places.

    >>> @kept(8)
    ... def half() -> Tensor:
    ...     return torch.tensor(0.5, device="cpu")
    >>> with torch.inference_mode():
    ...     half().is_inference()
    True
    >>> half().is_inference(), half() is half()
    (False, True)
    """

    def decorator(function: F) -> F:
        @functools.lru_cache(maxsize=most)
        def made(*args: Any) -> Any:
            if not is_usual() or torch.is_inference_mode_enabled():
                raise _UnusualError
            value = function(*args)
            if isinstance(value, Tensor):
                _KEPT[id(value)] = value
            return value

        @functools.wraps(function)
        def get(*args: Any) -> Any:
            try:
                return made(*args)
            except _UnusualError:
                return function(*args)

        return cast(F, get)

    return decorator


def is_kept(tensor: Tensor) -> bool:
    """Whether a tensor is one that is kept, and so the same at each call."""
    return _KEPT.get(id(tensor)) is tensor
