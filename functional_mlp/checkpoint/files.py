"""Writing a file whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` by one with the given content, which is on the disk when this returns.

    The content goes into a temporary file of the same folder, which then takes the place of the old file in one
    step: whenever the process or the machine stops, the file at `path` is the old one or the new one, whole. Its
    mode is what the umask leaves of 0666. A symbolic link stays, and the file that it names is replaced.

    Raises `OSError` where that cannot be done; the temporary file is then removed. Only a process that is killed
    at once leaves one behind, `.functional_mlp-….tmp`.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".functional_mlp-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # of the path that the caller knows
    finally:
        with contextlib.suppress(OSError):  # after the replacement it is gone
            os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Put the folder's list of names on the disk, without which a file may be lost with the power."""
    if os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
