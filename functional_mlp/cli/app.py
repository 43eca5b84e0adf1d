"""The commands, and how they end: with 0, with 1 or 2 after an error, with 130 after Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import functional_mlp as fm
from functional_mlp.cli.codes import FAILED, INTERRUPTED, MISUSED
from functional_mlp.cli.evaluate import evaluate
from functional_mlp.cli.export import export
from functional_mlp.cli.inspect import inspect
from functional_mlp.cli.playground import playground
from functional_mlp.cli.predict import predict
from functional_mlp.cli.reproduce import reproduce
from functional_mlp.cli.summary import summary
from functional_mlp.cli.sweep import sweep
from functional_mlp.cli.terminal import fail
from functional_mlp.cli.trace import trace
from functional_mlp.cli.train import train

app: App = App(
    name="functional-mlp",
    help="Train small neural networks: gradients by hand, no hidden state.",
    version=fm.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


for command in (train, summary, trace, sweep, predict, evaluate, export, inspect, reproduce, playground):
    app.command(command)


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit code; errors of the user's making are one line on standard error."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()  # a reader that has gone is noticed here
    except CycloptsError as error:
        return fail(f"{error} ({_help_of(error)})", MISUSED)
    except BrokenPipeError:
        return _end_quietly()
    except (ValueError, OSError, ImportError, fm.LostError) as error:
        return fail(str(error), FAILED)
    except KeyboardInterrupt as error:
        return fail(str(error) or "interrupted", INTERRUPTED)
    return 0


def _help_of(error: CycloptsError) -> str:
    """Where what was misused is explained."""
    if not error.command_chain:
        return "functional-mlp --help explains the commands"
    return f"functional-mlp {' '.join(error.command_chain)} --help explains the options"


def _end_quietly() -> int:
    """End as programs do whose reader has gone: whatever is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
