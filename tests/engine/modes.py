"""Programs compiled by other policies than their sizes would choose."""

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from functional_mlp.engine import policy
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.policy import SHORT, VERY_SHORT, Sharing

# Code is emitted, not compiled, for these on any machine.
_SIZES = {"x86-64": 16, "x86-64-v3": 32, "x86-64-v4": 64}
TARGETS = [Target("x86_64-unknown-linux-gnu", cpu, "", size) for cpu, size in _SIZES.items()]


@contextlib.contextmanager
def policies_with(**fields: Any) -> Iterator[None]:
    """Networks are trained by their usual policies with other values of some fields."""
    usual = policy.policy_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "policy_of", lambda *arguments: attrs.evolve(usual(*arguments), **fields))
        yield


@contextlib.contextmanager
def members_policies_with(**fields: Any) -> Iterator[None]:
    """The same for groups of networks."""
    usual = policy.members_policy_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "members_policy_of", lambda *arguments: attrs.evolve(usual(*arguments), **fields))
        yield


def compiled_with(sharing: Sharing) -> contextlib.AbstractContextManager[None]:
    """Whatever their sizes, programs share functions so."""
    short = SHORT if sharing is Sharing.NONE else VERY_SHORT
    return policies_with(sharing=sharing, calls_in_tables=sharing is Sharing.ALL, short=short)
