"""Programs compiled by other policies than their sizes would choose."""

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import torch

from functional_mlp.engine import policy
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.members import policy as members_policy
from functional_mlp.engine.policy import SHORT, VERY_SHORT, Policy, Sharing
from functional_mlp.engine.program import Program, TrainingProgram

# Code is emitted, not compiled, for these on any machine.
AVX512 = Target("x86_64-unknown-linux-gnu", "x86-64-v4", "", 64)
TARGETS = [
    Target(AVX512.triple, "x86-64", "", 16),
    Target(AVX512.triple, "x86-64-v3", "", 32),
    AVX512,
    Target("aarch64-unknown-linux-gnu", "neoverse-n1", "", 16),
]


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
    usual = members_policy.members_policy_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members_policy, "members_policy_of", lambda *arguments: attrs.evolve(usual(*arguments), **fields))
        yield


def compiled_with(sharing: Sharing) -> contextlib.AbstractContextManager[None]:
    """Whatever their sizes, programs share functions so."""
    short = SHORT if sharing is Sharing.NONE else VERY_SHORT
    return policies_with(sharing=sharing, calls_in_tables=sharing is Sharing.ALL, short=short)


@contextlib.contextmanager
def units_divided() -> Iterator[None]:
    """Where networks are trained on single samples, the units of all but the narrowest layers are divided."""
    usual = policy.policy_of

    def policy_of(program: Program, target: Target) -> Policy:
        own = usual(program, target)
        by_samples = isinstance(program, TrainingProgram) and program.batch_size == 1
        return attrs.evolve(own, divided=True, fewest_divided=0, product_width=2) if by_samples else own

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "policy_of", policy_of)
        yield


@contextlib.contextmanager
def on_threads(count: int, most: int = 3) -> Iterator[None]:
    """Epochs are made for up to `most` threads and run on `count`, however small they are; on one, as for one alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    with pytest.MonkeyPatch.context() as patch, policies_with(fewest_rows_divided=0):
        patch.setattr(policy, "threads_of", lambda program, *_: most if isinstance(program, TrainingProgram) else 1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
