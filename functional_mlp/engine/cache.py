"""Compiled code on disk, kept from one process to the next.

What is found here is executed, so this is what the cache promises:

- Code is read only from the user's own files, in a folder of their own, that nobody else can write. A folder or a file
  of another kind is refused with one `RuntimeWarning`, and code is then made anew. (Windows keeps others out of a
  user's folders by rights that are not looked at here.)
- An entry is a regular file of at most `Limits.entry` bytes that says it is code of this library, and of this key, and
  whose digest is right. It is opened without following a link or waiting for anyone, and looked at once it is open, so
  that nothing can be put in its place in between. Everything else under its name, a pipe, a link, a device, a damaged
  or an enormous file, is as if it were not there.
- Folders that are made have the mode 0700, and files 0600.
- The entries take at most `Limits.cache` bytes: beyond that those go that have not been used for longest.
- `clear_cache` deletes what the library has made, known by name and content, and nothing else.
- A cache that cannot be read or written is never an error.

`FUNCTIONAL_MLP_CACHE` names the folder, by default the user's cache folder; `off` keeps nothing.
"""

import contextlib
import functools
import hashlib
import os
import re
import secrets
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import attrs
import platformdirs


@attrs.frozen(kw_only=True)
class Limits:
    """The bytes of an entry, and of all of them, at most: for the sake of the user's disk and memory.

    They are not measured optima. An entry takes 20 to 42 kB (the paper's network, plain and with Adam; 200-256-128-10):
    the cache holds some thousands of programs, and an entry that is a thousand times as large was not made by this
    library.
    """

    entry: int = 64 << 20
    cache: int = 256 << 20


LIMITS = Limits()

# Raised by one whenever the form of an entry changes: this, the digest of key and code, and the code.
MAGIC = b"functional_mlp machine code 1\n"
DIGEST_SIZE = 32

_NAMES = re.compile(r"[0-9a-f]{64}\.o|\.functional_mlp-[0-9a-f]{16}\.tmp")


def cache_folder() -> Path | None:
    """Where compiled code is kept, `None` where none is."""
    choice = os.environ.get("FUNCTIONAL_MLP_CACHE")
    if choice == "off":
        return None
    return Path(choice) if choice else Path(platformdirs.user_cache_dir("functional_mlp")) / "engine"


def clear_cache() -> None:
    """Delete the compiled code that is kept on disk; code in use stays usable."""
    folder = cache_folder()
    if folder is not None and _is_trusted(folder):
        for path in _own_files(folder):
            _delete(path)


def read(key: str, limits: Limits = LIMITS) -> bytes | None:
    """The code that was kept under a key, a hexadecimal SHA-256; `None` where there is none to be trusted."""
    folder = cache_folder()
    if folder is None or not _is_trusted(folder):
        return None
    path = folder / f"{key}.o"
    with contextlib.suppress(OSError), open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > limits.entry or not _is_own(path, status):
            return None
        content = file.read(status.st_size)
        digest, code = content[len(MAGIC) : len(MAGIC) + DIGEST_SIZE], content[len(MAGIC) + DIGEST_SIZE :]
        if content.startswith(MAGIC) and digest == _digest(key, code):
            with contextlib.suppress(OSError):  # a disk that cannot be written
                os.utime(file.fileno() if os.utime in os.supports_fd else path)
            return code
    return None


def write(key: str, code: bytes, limits: Limits = LIMITS) -> None:
    """Keep code under a key, in one step, so that no reader sees half of it."""
    folder = cache_folder()
    if folder is None or len(MAGIC) + DIGEST_SIZE + len(code) > limits.entry:
        return
    with contextlib.suppress(OSError):
        _make(folder)
        if not _is_trusted(folder):
            return
        temporary = folder / f".functional_mlp-{secrets.token_hex(8)}.tmp"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600), "wb") as file:
                file.write(MAGIC + _digest(key, code) + code)
            os.replace(temporary, folder / f"{key}.o")
        except BaseException:
            _delete(temporary)
            raise
        _drop_oldest(folder, limits.cache, kept=folder / f"{key}.o")


_BINARY = getattr(os, "O_BINARY", 0)


def _open_at_once(path: str, flags: int) -> int:
    """Open without following a link, waiting for the writer of a pipe, or being tied to a terminal."""
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):  # which Windows has not
        flags |= getattr(os, name, 0)
    return os.open(path, flags)


def _digest(key: str, code: bytes) -> bytes:
    return hashlib.sha256(key.encode() + code).digest()


def _make(folder: Path) -> None:
    """Make a folder and those above it, for the user alone."""
    if not folder.is_dir():
        _make(folder.parent)
        with contextlib.suppress(FileExistsError):  # made by another process just now
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)  # where the umask takes away from the user as well


def _is_trusted(folder: Path) -> bool:
    """Whether a folder is there, and nobody else can put code into it."""
    try:
        status = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_own(folder, status)


def _is_own(path: Path, status: os.stat_result) -> bool:
    """Whether the user owns what has this status, and is alone in writing it; says so once where not."""
    if not hasattr(os, "geteuid"):
        return True
    if status.st_uid != os.geteuid():
        _warn(path, "belongs to another user")
        return False
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _warn(path, "can be written by other users")
        return False
    return True


@functools.cache
def _warn(path: Path, reason: str) -> None:
    warnings.warn(
        f"the engine runs no code from {path}, which {reason}, and makes it anew: make the cache your own "
        "(chmod go-w), or name another folder in FUNCTIONAL_MLP_CACHE",
        RuntimeWarning,
        stacklevel=2,
    )


def _own_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that the library has made: entries, and what a process that was killed left of one."""
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if _NAMES.fullmatch(path.name):
                with contextlib.suppress(OSError), open(path, "rb", opener=_open_at_once) as file:
                    beginning = file.read(len(MAGIC)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
                    if beginning == MAGIC or (path.suffix == ".tmp" and MAGIC.startswith(beginning or b"")):
                        yield path


def _drop_oldest(folder: Path, most: int, kept: Path) -> None:
    """Delete the entries that have not been used for longest, until at most these bytes are left, but never `kept`."""
    found = [(path.stat().st_mtime_ns, path.stat().st_size, path) for path in _own_files(folder)]
    size = sum(size for _, size, _ in found)
    for _, entry_size, path in sorted(found):
        if size <= most:
            return
        if path != kept:
            _delete(path)
            size -= entry_size


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is gone already, or Windows keeps it while it is read
        path.unlink()
