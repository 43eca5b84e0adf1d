"""The command `inspect`: what a saved network is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.description import DataDescription
from functional_mlp.cli.output import Printing
from functional_mlp.cli.progress import describe_losses
from functional_mlp.cli.terminal import Table, say, say_facts

if TYPE_CHECKING:
    from functional_mlp.tables import Column, Preparation


def inspect(
    model: Annotated[Path, Parameter(metavar="FILE.safetensors")],
    *,
    printing: Printing = Printing(),  # noqa: B008 - frozen
) -> None:
    """Show what a file of `train --out` holds: network, optimizer, loss, epochs, losses, target and columns.

    Parameters
    ----------
    model
        The file.
    """
    saved = fm.load(model)
    console = printing.out()
    facts = _facts(saved)
    about = _description(model, saved)
    if about is None and saved.extra is not None:
        facts["extra"] = json.dumps(saved.extra)
    if about is not None:
        facts |= _data_facts(about)
    say_facts(console, facts)
    if about is not None:
        console.print()
        console.print(_columns(about.preparation))
    console.print()
    for line in saved.network.summary().split("\n"):
        say(console, line)
    described = None if about is None else about.to_json()["data"]
    printing.finish({**facts, "network": repr(saved.network), "data": described})


def _facts(saved: fm.Saved) -> dict[str, str]:
    facts = {"optimizer": repr(saved.optimizer), "loss": "not saved" if saved.loss is None else repr(saved.loss)}
    found = saved.members or (saved,)
    if saved.members:
        facts["networks"] = f"{len(found)}, of which this is the first:"
    if found[0].state is not None:
        state = found[0].state.optimizer_state
        facts["epochs"] = f"{found[0].state.epoch:,}, {state.step:,} updates, learning rate {state.learning_rate:g}"
    if found[0].history:
        facts["losses"] = describe_losses(found[0].history)
    return facts


def _description(path: Path, saved: fm.Saved) -> DataDescription | None:
    """What the file says of its data, `None` where it says nothing that is known."""
    try:
        return DataDescription.from_saved(path, saved)
    except fm.CheckpointError:
        return None


def _data_facts(about: DataDescription) -> dict[str, str]:
    preparation = about.preparation
    kind = "classes" if about.scale is None else "quantity"
    facts = {"target": f"{about.target}, {kind}", "features": ", ".join(preparation.features)}
    if about.scale is None:
        facts["classes"] = ", ".join(about.classes)
    else:
        facts["scale"] = f"mean {about.scale.mean:g}, standard deviation {about.scale.std:g}"
    if preparation.left_out:
        facts["left out"] = "; ".join(f"{each.name}: {each.reason}" for each in preparation.left_out)
    return facts


def _columns(preparation: Preparation) -> Table:
    """Each column that the network takes, and what becomes of it."""
    table = Table()
    for heading in ("column", "kind", "what becomes of it"):
        table.add_column(heading)
    for recipe in preparation.recipes:
        table.add_row(recipe.name, recipe.kind, "; ".join(_becomes(recipe)))
    return table


def _becomes(recipe: Column) -> Iterator[str]:
    from functional_mlp.tables import DateColumn, NumberColumn, WordColumn

    if isinstance(recipe, NumberColumn):
        scale = recipe.scale
        yield f"(x − {scale.mean:g}) / {scale.std:g}, between {scale.low:g} and {scale.high:g} in training"
        if recipe.has_missing:
            yield f"{scale.median:g} and an indicator where it is missing"
    elif isinstance(recipe, WordColumn):
        others = " and of all others" if recipe.has_others else ""
        yield f"indicators of {', '.join(recipe.words)}{others}"
    elif isinstance(recipe, DateColumn):
        yield f"numbers: {', '.join(recipe.parts)}"
    if recipe.has_missing and not isinstance(recipe, NumberColumn):
        yield "an indicator where it is missing"
