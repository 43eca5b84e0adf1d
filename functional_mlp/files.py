"""Writing a file whole or not at all."""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# What names a file.
PathLike = str | os.PathLike[str]

# Windows refuses to replace a file that somebody reads at this moment: so long, in seconds, it is waited between tries.
PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if os.name == "nt" else ()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` by one with the given content, which is on the disk when this returns.

    The content goes into a temporary file of the same folder, which then takes the place of the old file in one
    step: whenever the process or the machine stops, the file at `path` is the old one or the new one, whole. Its
    permissions are those of the old file, or what the umask leaves of 0666. A symbolic link stays, and the file that
    it names is replaced.

    Raises `OSError` where that cannot be done, and where the path is that of a device, a pipe or a folder; the
    temporary file is then removed. Only a process that is killed at once leaves one behind, `.functional_mlp-….tmp`.
    """
    with _temporary(path) as (target, temporary, file):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        _replace(temporary, target)
        _sync_folder(target.parent)


def check_writable(path: Path) -> None:
    """Raise the `OSError` of `write_atomically`, as far as it can be told without writing."""
    with _temporary(path):
        pass


def is_same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file, through links or not, be it there or not.

    >>> is_same_file(Path("a/../b"), Path("b")), is_same_file(Path("a"), Path("b"))
    (True, False)
    """
    with contextlib.suppress(OSError):  # one of them is not there
        return os.path.samefile(a, b)
    return os.path.normcase(os.path.realpath(a)) == os.path.normcase(os.path.realpath(b))


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, Path, BinaryIO]]:
    """Where a path leads, and a new file beside it with the same permissions, which is gone at the end."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".functional_mlp-{secrets.token_hex(8)}.tmp")
    try:
        mode = _mode_of_regular(target)
        with open(temporary, "xb") as file:
            if mode is not None and hasattr(os, "fchmod"):  # Windows has no such permissions
                os.fchmod(file.fileno(), mode)
            yield target, temporary, file
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # of the path that the caller knows
    finally:
        with contextlib.suppress(OSError):  # after the replacement it is gone
            os.unlink(temporary)


def _mode_of_regular(target: Path) -> int | None:
    """The permissions of a file, `None` where there is none; `OSError` for what is no regular file."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Is no regular file, and is not replaced by one")
    return mode & 0o777


def _replace(temporary: Path, target: Path, pauses: tuple[float, ...] = PAUSES) -> None:
    for pause in pauses:
        try:
            os.replace(temporary, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(temporary, target)


def _sync_folder(folder: Path) -> None:
    """Put the folder's list of names on the disk, without which a file may be lost with the power."""
    if os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
