"""The file: tensors and one JSON document in the safetensors format, under a digest of every byte.

    8 bytes     the length of the header, little-endian
    header      JSON: {"__metadata__": {"functional_mlp": document}, name: {"dtype", "shape", "data_offsets"}, …}
    the rest    the tensors' numbers, without gaps

The document begins with the digest, so that it has a fixed place in the file; it is computed with zeros there.
It is compared before anything else is read: damage of any kind is found without parsing a damaged file.
"""

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from functional_mlp.escaping import printable

# The bytes before the digest, and the digest while it is computed.
_BEGINNING = b'{"__metadata__":{"functional_mlp":"{\\"digest\\":\\"'
_BLANK = "0" * 64
_DIGEST = slice(8 + len(_BEGINNING), 8 + len(_BEGINNING) + len(_BLANK))

# Tensors live in the data, not in the header: even thousands of layers fit, and none makes parsing expensive.
_LARGEST_HEADER = 4 << 20

# How deep lists and objects are nested in the document: room for `layers.base.MOST_LEVELS`, of two a Sequential.
MOST_NESTED = 250

# The letters of an error's reason, which may quote a file, at most.
_LONGEST_REASON = 2000

_LARGEST_SIZE = 2**60  # whose bytes can still be counted in 64 bits
_MOST_DIMENSIONS = 64
_ITEM_SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or is another one than expected.

    Where it is another one, `differs` names what of it is: arguments of `load` or `fit`. A file can make the reason as
    long as itself; what is more than 2000 characters is left out.

    >>> raise CheckpointError("model.safetensors", "is empty")
    Traceback (most recent call last):
    functional_mlp.checkpoint.container.CheckpointError: model.safetensors: is empty
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, differs: tuple[str, ...] = ()) -> None:
        super().__init__(path, reason, differs)
        self.path = path
        reason = printable(reason)  # the file may have written parts of it
        self.reason: str = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
        self.differs = differs

    def __str__(self) -> str:
        return f"{os.fspath(self.path)}: {self.reason}"


def pack(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> bytes:
    """The bytes of a file. Raises `ValueError` where the document is too large for one, or nested too deep."""
    check_nesting("a checkpoint's description", document)
    text = json.dumps({"digest": _BLANK, **document}, separators=(",", ":"), allow_nan=False)
    blank = safetensors.torch.save(dict(tensors), {"functional_mlp": text})
    header_size = int.from_bytes(blank[:8], "little")
    if header_size > _LARGEST_HEADER:
        raise ValueError(
            f"a checkpoint's description has at most {_LARGEST_HEADER} bytes, got {header_size}: "
            "save less in extra, or fewer layers"
        )
    return b"".join([blank[: _DIGEST.start], _hash(blank), blank[_DIGEST.stop :]])


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the document of a file; raises `OSError`, or `ValueError` for a file that `pack` did not make.

    Memory grows with the bytes that are there, never with a size that the file claims.
    """
    content, header_size = _read(path)
    header = _parsed(content[8 : 8 + header_size])
    document = _parsed(_metadata(header).encode("utf-8", "surrogatepass"))
    _check_layout(header, len(content) - 8 - header_size)
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"is no safetensors file: {error}") from error
    return tensors, document


def _read(path: Path) -> tuple[bytes, int]:
    """A file's bytes, once their digest is known to be right, and the length of the header."""
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        size = status.st_size
        beginning = file.read(8 + len(_BEGINNING))
        if not beginning:
            raise ValueError("is empty")
        if beginning[8:] != _BEGINNING:
            raise ValueError("is not a checkpoint of functional_mlp, or its beginning is damaged")
        header_size = int.from_bytes(beginning[:8], "little")
        if header_size > _LARGEST_HEADER:
            raise ValueError(f"is damaged: its header claims {header_size} bytes, of at most {_LARGEST_HEADER}")
        if not len(_BEGINNING) + len(_BLANK) <= header_size <= size - 8:
            raise ValueError(f"is truncated or damaged: its header claims {header_size} bytes, the file has {size}")
        file.seek(0)
        content = file.read(size)
    if len(content) < _DIGEST.stop or _hash(content) != content[_DIGEST]:
        raise ValueError("is truncated or damaged: its contents are not those that its digest was made for")
    return content, header_size


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_nesting(name: str, value: Any) -> None:
    """Raise `ValueError` where lists and objects are nested deeper than `pack` writes and `unpack` reads."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [item for item in level if isinstance(item, Mapping | list | tuple)]
        if not level:
            return
        inner = (item for outer in level for item in (outer.values() if isinstance(outer, Mapping) else outer))
        level = list({id(item): item for item in inner}.values())  # each once, for a circle has no end
    raise ValueError(f"{name} nests lists and objects at most {MOST_NESTED} deep, got one that is deeper")


def _hash(content: bytes) -> bytes:
    view = memoryview(content)
    digest = hashlib.blake2b(view[: _DIGEST.start], digest_size=len(_BLANK) // 2)
    digest.update(_BLANK.encode())
    digest.update(view[_DIGEST.stop :])
    return digest.hexdigest().encode()


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        text = content.decode("utf-8")
        parsed = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
        check_nesting("it", parsed)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is damaged: its header cannot be read: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"is damaged: its header holds a {type(parsed).__name__} where an object belongs")
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"it has the key {name!r} twice")
        entries[name] = value
    return entries


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _metadata(header: dict[str, Any]) -> str:
    metadata = header.pop("__metadata__")
    if not isinstance(metadata, dict) or list(metadata) != ["functional_mlp"]:
        raise ValueError("is damaged: its metadata has other entries than functional_mlp")
    document: str = metadata["functional_mlp"]
    return document


def _check_layout(entries: dict[str, Any], data_size: int) -> None:
    """Raise unless the tensors fill the data: each the bytes of its shape and dtype, without gap or overlap."""
    spans = sorted(_span(name, entry) for name, entry in entries.items())
    end = 0
    for begin, stop, name in spans:
        if begin != end:
            raise ValueError(f"is damaged: the data of {name} begin at {begin}, and {end} was expected")
        end = stop
    if end != data_size:
        raise ValueError(f"is damaged: its tensors take {end} bytes, and {data_size} follow its header")


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    """Where a tensor's bytes begin and end."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"is damaged: {name} needs a dtype, a shape and data_offsets, got {str(entry)[:60]}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_SIZES:
        raise ValueError(f"is damaged: {name} must be of a dtype of {', '.join(_ITEM_SIZES)}, got {str(dtype)[:60]}")
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise ValueError(f"is damaged: {name} has the shape {str(shape)[:60]} and the offsets {str(offsets)[:60]}")
    # Without its zeros as well, for torch computes with all sizes.
    if math.prod(size for size in shape if size) > _LARGEST_SIZE:
        raise ValueError(f"is damaged: {name} has a shape that overflows, {str(shape)[:60]}")
    begin, stop = offsets
    if stop - begin != _ITEM_SIZES[dtype] * math.prod(shape):
        raise ValueError(f"is damaged: {name} of shape {tuple(shape)} does not fill the bytes {begin} to {stop}")
    return begin, stop, name


def _are_sizes(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > _MOST_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size <= _LARGEST_SIZE for size in value)
