"""Early stopping and schedules that read the history of a run: whether there is what they look at."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from functional_mlp import checks
from functional_mlp.datasets import Dataset
from functional_mlp.losses import Loss
from functional_mlp.spread import count
from functional_mlp.state import FitResult, Job, Member, Score, reads_history
from functional_mlp.stopping import EarlyStopping


def check_monitors(name: str, member: Member, loss: Loss, early_stopping: Any, score: Score | None) -> None:
    """Raise unless early stopping is one, and the figures that it and the schedule look at are there."""
    if early_stopping is not None:
        advice = "make one with functional_mlp.EarlyStopping(patience)"
        checks.instance(f"{name}: early_stopping", early_stopping, EarlyStopping, advice)
    if member.validation is not None:
        checks.instance(f"{name}: validation", member.validation, Dataset, "make one with functional_mlp.Dataset")
    for rule in _rules(early_stopping, member):
        part, figure = rule.monitor.split("_")
        data = member.data if part == "train" else member.validation
        if data is None:
            raise ValueError(
                f"{name}: {rule!r} looks at {rule.monitor}, and there is no validation data: pass validation, or "
                f"monitor='train_{figure}'"
            )
        is_scored = part == "validation" and score is not None
        if figure == "accuracy" and not is_scored and not loss.has_answers(data.targets, data.labels):
            raise ValueError(
                f"{name}: {rule!r} looks at {rule.monitor}, and the targets do not say what is a right answer for "
                f"{loss!r}: pass monitor='{part}_loss', or a score"
            )


def check_history(name: str, member: Member) -> None:
    """Raise where a schedule reads a history that lacks epochs which the member has had."""
    if reads_history(member.schedule) and len(member.progress.history) < member.start.epoch:
        raise ValueError(
            f"{name}: {member.schedule!r} reads the history of a run, and a state has none of its "
            f"{count(member.start.epoch, 'epoch')}: pass checkpoint=functional_mlp.Checkpoint(path), which "
            "keeps both, to all calls"
        )


def warn_of_blind_rules(job: Job, results: Sequence[FitResult]) -> None:
    """Warn, once, of rules whose figure was NaN in each epoch of a run: they know nothing of it."""
    blind = {
        f"{rule!r} looks at {rule.monitor}"
        for member, result in zip(job.members, results, strict=True)
        for rule in _rules(job.early_stopping, member)
        if result.diverged_at is None and _is_all_nan(getattr(result.history, rule.monitor))
    }
    if blind:
        warnings.warn(
            f"{job.caller}: {', and '.join(sorted(blind))}, which was NaN in each epoch: no epoch is the best",
            RuntimeWarning,
            stacklevel=3,
        )


def _rules(early_stopping: EarlyStopping | None, member: Member) -> "Iterator[Any]":
    """What looks at the figures of a member: each has a `monitor`."""
    if early_stopping is not None:
        yield early_stopping
    if reads_history(member.schedule):
        yield member.schedule


def _is_all_nan(figures: Sequence[float]) -> bool:
    return len(figures) > 0 and all(figure != figure for figure in figures)
