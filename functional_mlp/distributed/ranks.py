"""The ranks of a process group, and what they ask each other."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs
import torch
from torch import Tensor

from functional_mlp import checks
from functional_mlp.lost import LostError

T = TypeVar("T")


@attrs.frozen(eq=False)
class Ranks:
    """A process group as one of its ranks sees it. Every rank must make the same calls in the same order.

    A rank that is lost is a `LostError` in all others, at once or when the group's timeout is over. All is sent by way
    of `device`, where the group has no other way: nccl sends from GPU to GPU.
    """

    group: Any
    rank: int
    size: int
    device: torch.device

    @classmethod
    def of(cls, group: Any, device: torch.device) -> "Ranks":
        """The ranks of a group, by default of all processes, and what data on a device are sent by way of.

        Raises `ValueError` where there is none, or this process is not in it. What is no group is a `TypeError`, of
        which all processes are told, for they wait for this one where they were given none.
        """
        import torch.distributed as torch_distributed

        if not torch_distributed.is_available() or not torch_distributed.is_initialized():
            raise ValueError(
                "distributed.fit: there is no process group: start the script with torchrun, and call "
                "torch.distributed.init_process_group('gloo') first ('nccl' for GPUs)"
            )
        if not _is_group(group):
            cls.of(None, device).attempted(lambda: _refuse_group(group))
        rank = torch_distributed.get_rank(group)
        if rank < 0:
            raise ValueError("distributed.fit: group must be one that this process is in: call it in its ranks alone")
        kinds = _kinds(group)
        # Data that cannot be sent are refused on all ranks, by way of a GPU of this one's own.
        sent_by = device if device.type in kinds else torch.device(kinds[0], int(os.environ.get("LOCAL_RANK", 0)))
        return cls(group, rank, torch_distributed.get_world_size(group), sent_by)

    def check_sends(self, device: torch.device) -> None:
        """Raise `ValueError` where the group cannot send what lies on a device."""
        kinds = _kinds(self.group)
        if device.type not in kinds:
            raise ValueError(
                f"distributed.fit: the group cannot send tensors on {device.type}, where the data are, but on "
                f"{' and '.join(kinds)}: gloo is for CPUs, nccl for GPUs"
            )

    def share_of(self, rows: int) -> slice:
        """This rank's part of the rows 0, …, `rows` − 1: each row is in one part, and the sizes differ by at most 1."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def add(self, tensor: Tensor) -> None:
        """Add up a tensor over all ranks, in place."""
        import torch.distributed as torch_distributed

        with _together():
            torch_distributed.all_reduce(tensor, group=self.group)

    def gathered(self, value: T) -> list[T]:
        """The values of all ranks, in their order."""
        import torch.distributed as torch_distributed

        values: list[Any] = [None] * self.size
        # nccl would take the process's current GPU, which may be that of another rank.
        with _together(), torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext():
            torch_distributed.all_gather_object(values, value, group=self.group)
        return values

    def of_first(self, value: Any) -> Any:
        """The value of rank 0."""
        return self.gathered(value if self.rank == 0 else None)[0]

    def asked(self, make: Callable[[], T]) -> list[T]:
        """What `make` gives on each rank, in their order; where it raises on any, all raise, and none waits."""
        made, error = None, None
        try:
            made = make()
        except Exception as raised:
            error = raised
        answers = self.gathered((made, None if error is None else f"{type(error).__name__}: {error}"))
        if error is not None:
            raise error
        for rank, (_, message) in enumerate(answers):
            if message is not None:
                raise ValueError(f"distributed.fit: rank {rank} has raised {message}")
        return [answer for answer, _ in answers]  # type: ignore[misc]

    def attempted(self, make: Callable[[], T]) -> T:
        """What `make` gives on this rank, which may be large: it is not sent. Raises as `asked` does."""
        made: list[T] = []
        self.asked(lambda: made.append(make()))
        return made[0]


def _refuse_group(group: Any) -> None:
    raise TypeError(
        "distributed.fit: group must be a process group of torch.distributed, or None for all processes, got "
        f"{checks.describe(group)}: pass what torch.distributed.new_group returns"
    )


def _kinds(group: Any) -> list[str]:
    """The kinds of device that a group sends tensors on."""
    import torch.distributed as torch_distributed

    return [pair.partition(":")[0] for pair in torch_distributed.get_backend_config(group).split(",")]


def _is_group(group: Any) -> bool:
    import torch.distributed as torch_distributed

    elsewhere = torch_distributed.GroupMember.NON_GROUP_MEMBER  # what processes outside of a new group have of it
    return group is None or group == elsewhere or isinstance(group, torch_distributed.ProcessGroup)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # the kind of all errors of torch's backends
        reason = str(error).splitlines()[0]
        raise LostError(
            "distributed.fit",
            f"a rank of the group was lost ({reason})",
            "start all ranks again",
            "with a checkpoint the same call goes on from what was saved",
        ) from error
