"""What a run was asked for beside its network, loss and optimizer: kept with it, so that another call is told apart."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from attrs import field, fields, frozen

from functional_mlp import pytree, shuffling
from functional_mlp.checkpoint.code import changed, digests_of
from functional_mlp.datasets import Dataset
from functional_mlp.pages import pieces
from functional_mlp.state import Job, Member
from functional_mlp.value import Value

# What `Checkpoint(allow=...)` may name: a run cannot go on with another network or key.
CHANGEABLE = (
    "data",
    "validation",
    "batch_size",
    "shuffle",
    "schedule",
    "penalty",
    "params",
    "early_stopping",
    "score",
    "optimizer",
    "loss",
    "orders",
    "code",
)


@frozen
class Settings:
    """The arguments of `fit` that decide what a run comes to, each named as there, in words that two runs share.

    Data and parameters stand as their digests. The engine is left out: both agree up to rounding. `orders` says how the
    orders of epochs follow from the key: a run that older versions began would go on in others than it began with.
    `code` has digests of the classes of the caller's own by their names, and of functions by those of the arguments.
    """

    data: str
    validation: str | None
    batch_size: int
    schedule: str | None
    params: str | None
    early_stopping: str | None = None
    penalty: str | None = None
    score: str | None = None
    shuffle: bool = True
    orders: str = "torch.randperm"  # in files that say nothing of it
    code: dict[str, str] = field(factory=dict)

    @classmethod
    def of(cls, job: Job, member: Member) -> "Settings":
        return cls(
            data=described(member.data),
            validation=None if member.validation is None else described(member.validation),
            batch_size=job.batch_size,
            schedule=None if member.schedule is None else _named(member.schedule),
            params=f"given, digest {digest(member.start.optimizer_state)}" if member.params_given else None,
            early_stopping=None if job.early_stopping is None else repr(job.early_stopping),
            penalty=None if job.penalty is None else _named(job.penalty),
            shuffle=job.shuffle,
            score=None if job.score is None else _named(job.score),
            orders=shuffling.NAME,
            code=digests_of(
                {
                    "network": job.network,
                    "loss": job.loss,
                    "optimizer": member.optimizer,
                    "schedule": member.schedule,
                    "penalty": job.penalty,
                    "early_stopping": job.early_stopping,
                    "score": job.score,
                }
            ),
        )

    def differences(self, call: "Settings") -> Iterator[tuple[str, str]]:
        """The arguments in which a call differs from the run of these settings, each with a sentence's half."""
        own = [each.name for each in fields(Settings) if each.name != "code"]
        other = [name for name in own if getattr(self, name) != getattr(call, name)]
        for name in other:
            ours, theirs = getattr(self, name), getattr(call, name)
            yield name, f"{name} is {_shown(ours)} there, and {_shown(theirs)} in this call"
        for name in changed(self.code, call.code):
            if name not in other:
                yield name if name in CHANGEABLE else "code", f"code of {name} is another there than in this call"


def digest(tree: Any) -> str:
    """The digest of a tree: of its paths, and of the shapes, dtypes and bits of its leaves.

    >>> import torch
    >>> digest((torch.zeros(2),)) == digest((torch.zeros(2),)), digest((torch.zeros(2),)) == digest((-torch.zeros(2),))
    (True, False)
    """
    total = hashlib.blake2b(digest_size=16)
    for path, leaf in pytree.items(tree):
        total.update(f"{path} {leaf.dtype} {tuple(leaf.shape)}\0".encode())
        for piece in pieces(leaf):
            total.update(pytree.bits(piece.cpu()).numpy().data)
    return total.hexdigest()


def described(data: Dataset) -> str:
    """The size of a data set and its digest.

    Weights of the same ratios differ in their last digits, which the digest leaves out; equal ones are as none.
    """
    rows, features = data.inputs.shape
    weights = () if data.weights is None or bool((data.weights == 1).all()) else (data.weights.float(),)
    return f"{rows} rows of {features}, digest {digest((data.inputs, data.targets, *weights))}"


def _named(value: Any) -> str:
    """A value as the code that makes it, without the places of objects in memory; a function by its name."""
    if isinstance(value, Value):
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _shown(value: Any) -> str:
    return "None" if value is None else str(value)
