"""How a training whose results are shown has ended: `main` takes an exit code from what is raised here."""

from __future__ import annotations

import functional_mlp as fm
from functional_mlp.spread import count


def check_completed(result: fm.FitResult, epochs: int) -> None:
    """Raise `KeyboardInterrupt` where Ctrl-C ended a training early, and `ValueError` where it diverged."""
    done = f"{result.state.epoch} of {count(epochs, 'epoch')}"
    check_not_interrupted(result, after=f" after {done}")
    if result.diverged_at is not None:
        raise _diverged("the loss", f" in epoch {result.diverged_at + 1}; the results are those after {done}")


def check_members_completed(result: fm.EnsembleResult) -> None:
    """The same for an ensemble, of which any member may have diverged."""
    check_not_interrupted(result)
    diverged = sum(epoch is not None for epoch in result.diverged_at)
    if diverged:
        raise _diverged(
            f"the loss of {diverged} of {count(len(result), 'network')}", "; their results are those before"
        )


def check_not_interrupted(result: fm.FitResult | fm.EnsembleResult, after: str = "") -> None:
    if result.interrupted:
        raise interruption(after)


def interruption(after: str = "") -> KeyboardInterrupt:
    """What is raised where Ctrl-C ended a training early."""
    return KeyboardInterrupt(f"interrupted{after}; the results are those so far")


def _diverged(loss: str, results: str) -> ValueError:
    return ValueError(f"{loss} stopped being finite{results}: try a smaller --learning-rate")
