"""The command `inspect`: what a saved network is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.progress import describe_losses
from functional_mlp.cli.terminal import out_console, say, say_facts


def inspect(*, model: Annotated[Path, Parameter(metavar="FILE.safetensors")]) -> None:
    """Show what a file of `train --out` holds: network, optimizer, loss, epochs, losses, features and classes.

    Parameters
    ----------
    model
        The file.
    """
    saved = fm.load(model)
    console = out_console()
    say_facts(console, _facts(saved))
    console.print()
    for line in saved.network.summary().split("\n"):
        say(console, line)


def _facts(saved: fm.Saved) -> dict[str, str]:
    facts = {"optimizer": repr(saved.optimizer), "loss": "not saved" if saved.loss is None else repr(saved.loss)}
    if saved.state is not None:
        state = saved.state.optimizer_state
        facts["epochs"] = f"{saved.state.epoch:,}, {state.step:,} updates, learning rate {state.learning_rate:g}"
    if saved.history:
        facts["losses"] = describe_losses(saved.history)
    if isinstance(saved.extra, dict) and isinstance(saved.extra.get("data"), dict):
        facts |= {name: _names(saved.extra["data"].get(name)) for name in ("features", "classes")}
    elif saved.extra is not None:
        facts["extra"] = json.dumps(saved.extra)
    return facts


def _names(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else repr(names)
