"""Pages of files that data are mapped from: given back once they were read, so that a run stays small.

The system lends a process the pages of a mapped file that it reads, and counts them as its own until it needs the
memory for others. A page that is given back stays in the system's cache, and is lent again at the next read. With large
pages, of which Linux makes files up to 2 MB each, some thousand rows in random order are enough to be lent all of 8 GB.
"""

import ctypes
import functools
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

# Maps of fewer bytes stay: what is lent of them is less than what a run may have. It is a limit of memory that was
# chosen, as is the next one.
FEWEST_BYTES = 1 << 29
# Rows in any order are read from this many bytes of a file at a time. Of the time for 200,000 rows of 1 KB from a GB
# 0.86 to 0.91 for a sixteenth to four times as many, and 1.00 to 1.13 for 4096 of them.
BYTES_AT_ONCE = 1 << 28
# Numbers that are looked at at a time, where all must be: data may be larger than memory, and looking makes arrays. Of
# the time of `Dataset` for 32 million 3.4 for 1 << 14, 1.28 for an eighth as many, 0.96 for eight times as many.
NUMBERS_AT_ONCE = 1 << 20

MAPS, SMAPS = Path("/proc/self/maps"), Path("/proc/self/smaps")
RANGE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+) *(.*)$")
# What lies in no file, though it has the name of one.
IN_MEMORY = ("/dev/", "/memfd:", "/SYSV", "/anon_hugepage")


@attrs.frozen(eq=False)
class Pages:
    """The pages of mapped files that some tensors lie in; none, and false, where they need not be given back."""

    _ranges: tuple[tuple[int, int], ...]
    _kept: tuple[Tensor, ...]  # so that the memory stays theirs

    @classmethod
    def of(cls, *tensors: Tensor) -> "Pages":
        """Those of tensors that are large enough to matter.

        Maps that a process may write into for itself alone stay: what was written would be lost.
        """
        if sum(tensor.nbytes for tensor in tensors) < FEWEST_BYTES:
            return cls((), ())
        spans = {span for tensor in tensors if tensor.device.type == "cpu" for span in _spans(tensor)}
        ranges = tuple(sorted(span for span in spans if _can_be_given_back(*span)))
        return cls(ranges, tensors if ranges else ())

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def give_back(self) -> None:
        for first, end in self._ranges:
            _madvise()(first, end - first, mmap.MADV_DONTNEED)

    def slices(self, rows: range, at_once: int) -> Iterator[slice]:
        """Rows in their order, some at a time, whose pages are given back when the next are asked for."""
        if self:
            at_once = max(1, min(at_once, BYTES_AT_ONCE // sum(tensor[0].nbytes for tensor in self._kept)))
        for first in range(rows.start, rows.stop, at_once):
            yield slice(first, min(first + at_once, rows.stop))
            self.give_back()

    def rows(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """`tensor[rows]`, for indices of any shape: of a mapped file, they are read in the order in which they lie."""
        if not self:
            return tensor[rows]
        ascending, places = rows.flatten().sort()
        read = tensor.new_empty(len(ascending), *tensor.shape[1:])
        self.read(tensor, ascending, read)
        in_order: Tensor = read[places.argsort()].unflatten(0, rows.shape)
        return in_order

    def read(self, tensor: Tensor, ascending: Tensor, result: Tensor) -> None:
        """Copy rows, whose indices ascend, one after the other to the rows of another tensor."""
        rows_at_once = max(1, BYTES_AT_ONCE // max(1, tensor[:1].nbytes))
        parts = torch.searchsorted(ascending, torch.arange(0, len(tensor), rows_at_once, device="cpu"))
        for indices, place in zip(ascending.tensor_split(parts), result.tensor_split(parts), strict=True):
            if len(indices):
                torch.index_select(tensor, 0, indices, out=place)
                self.give_back()


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's rows in their order, some at a time; a tensor without rows is one piece.

    >>> [piece.tolist() for piece in pieces(torch.tensor([[1.0], [2.0]]))]
    [[[1.0], [2.0]]]
    """
    if tensor.ndim == 0 or tensor.numel() <= NUMBERS_AT_ONCE:
        yield tensor
        return
    at_once = max(1, NUMBERS_AT_ONCE // tensor[0].numel())
    yield from map(tensor.__getitem__, Pages.of(tensor).slices(range(len(tensor)), at_once))


def _spans(tensor: Tensor) -> list[tuple[int, int]]:
    """The whole pages that a tensor lies in, from the first address to the end; none where it has not one."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first, end = tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()
    span = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    return [span] if span[0] < span[1] else []


def _can_be_given_back(first: int, end: int) -> bool:
    """Whether all pages from an address to an end are those of files, and hold nothing else than these.

    Those of a map that is shared do. Those of one of the process's own do that it cannot write into, and of which it
    has none that was written before.
    """
    if not MAPS.exists():  # not on Linux
        return False
    kinds, reached = set(), first
    for found in map(RANGE.match, MAPS.read_text().splitlines()):
        assert found is not None
        start, stop, inode, path = int(found[1], 16), int(found[2], 16), int(found[4]), found[5]
        if start <= reached < stop:
            if inode == 0 or path.startswith(IN_MEMORY):
                return False
            kinds.add(found[3])
            reached = stop
        if reached >= end:
            break
    written = kinds and reached >= end and kinds <= {"r--s", "rw-s", "r--p"}
    return bool(written) and ("r--p" not in kinds or not _has_written(first, end))


def _has_written(first: int, end: int) -> bool:
    """Whether a process has pages of its own among those from an address to an end."""
    inside = False
    for line in SMAPS.read_text().splitlines():
        found = RANGE.match(line)
        if found is not None:
            inside = int(found[1], 16) < end and int(found[2], 16) > first
        elif inside and re.match(r"(Anonymous|Swap): +[1-9]", line):
            return True
    return False


@functools.cache
def _madvise() -> Any:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return madvise
