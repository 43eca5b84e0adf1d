"""The command `playground`: a page on which networks train while sliders move."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from functional_mlp.cli.parsing import parse_integer
from functional_mlp.extras import installing
from functional_mlp.interrupts import one_interrupt

PACKAGE = Path(__file__).parents[1]
# Where the notebook is: in a wheel, and in a checkout.
NOTEBOOKS = (PACKAGE / "notebooks" / "playground.py", PACKAGE.parent / "docs" / "playground.py")


def playground(
    *,
    port: Annotated[int | None, Parameter(converter=parse_integer)] = None,
    browser: bool = True,
) -> None:
    """Open a page on which networks train while you move a slider; Ctrl-C ends it.

    The page is served to this machine alone, on the address 127.0.0.1, which is printed as localhost.

    Parameters
    ----------
    port
        Where to serve it. Default: the first free port from 2718 on.
    browser
        Whether to open it in a browser; its address is printed in any case.
    """
    missing = [name for name in ("marimo", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"the playground needs {' and '.join(missing)}: {installing('playground')}")
    notebook = next(path for path in NOTEBOOKS if path.exists())
    command = [sys.executable, "-m", "marimo", "run", str(notebook), "--host", "127.0.0.1", "--no-sandbox"]
    command += [] if port is None else ["--port", str(port)]
    command += [] if browser else ["--headless"]
    # In a session of its own Ctrl-C does not reach the server, which would ask whether it is meant.
    with one_interrupt(), _exit_when_told(), subprocess.Popen(command, start_new_session=True) as server:
        try:
            code = server.wait()
        except KeyboardInterrupt:  # how a page is ended
            return
        finally:
            server.terminate()
    if code:
        raise OSError(f"the playground's server ended with code {code}: see its message above")


@contextlib.contextmanager
def _exit_when_told() -> Iterator[None]:
    """Let the signals that end a process at once, of `kill` and of a terminal that is closed, raise `SystemExit`.

    What the process has begun can then be ended too. A signal that is ignored or answered already stays so.
    """
    told = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    replaced = [number for number in told if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
