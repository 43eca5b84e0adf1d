"""The checkpoint that training keeps while it goes on, and goes on from."""

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import optional

from functional_mlp import checks, pytree, trees
from functional_mlp.checkpoint.container import CheckpointError
from functional_mlp.checkpoint.loading import Saved, load
from functional_mlp.checkpoint.saving import save_run
from functional_mlp.checkpoint.settings import CHANGEABLE, Settings
from functional_mlp.checkpoint.values import Registry
from functional_mlp.files import PathLike
from functional_mlp.metrics import scored
from functional_mlp.spread import count
from functional_mlp.state import Job, Member, Progress, TrainState, learning_rates
from functional_mlp.stopping import EarlyStopping
from functional_mlp.value import Value

# By default a state is saved after each of the first epochs, and then at most once in a number of seconds. One save
# takes 13 ms on a common disk, as long as 40 epochs of the paper's network.
FIRST_EPOCHS = 5
SECONDS = 2.0


def _path(value: PathLike) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"Checkpoint: path must be a path, got {checks.describe(value)}: pass 'model.safetensors', say")
    return Path(value)


def _every(value: checks.Integer | None) -> int | None:
    return None if value is None else checks.plain_integer(value)


def _check_allowed(checkpoint: Any, attribute: Any, allowed: Any) -> None:
    if not isinstance(allowed, tuple) or not all(isinstance(name, str) for name in allowed):
        raise TypeError(
            f"Checkpoint: allow must be a tuple of names, got {checks.describe(allowed)}: pass ('data',), say"
        )
    for name in allowed:
        if name not in CHANGEABLE:
            raise ValueError(f"Checkpoint: allow takes {', '.join(CHANGEABLE)}, got {name!r}")


@frozen(eq=False)
class Checkpoint:
    """A file in which training saves its state as it goes and at its end, and from which it goes on.

    It is saved every `every` epochs, or, by default, after each of the first five, and then at most every other second
    and where a callback raises: many short epochs are not slowed down.

    The same call of `fit` starts a run where the file is not there yet, goes on with it where it is, and gives in
    both cases what an unbroken run gives, to the bit: parameters, optimizer's state and history (but for its times).
    Where early stopping is another than the run was begun with, and the file lacks the state after its best epoch, it
    judges the epochs from the last one in the file on, and a `RuntimeWarning` says so. A run that a callback has ended
    is over as long as a callback still says so of the state that it ended with. `fit_ensemble` keeps all its members in
    the file, and writes it less often where that would take long.

    The file knows the call that it is of: the network, the key, the loss and the optimizer, digests of the data, the
    validation data and the parameters given, the batch size, whether rows are shuffled, the schedule, the penalty,
    the early stopping, the score, and the code of classes and functions of your own, with the numbers, words and
    other values without change that it reads: not what is in lists, dictionaries, tensors and other objects, nor
    what the code itself assigns to. A call in which one of them differs is refused with a `CheckpointError` that
    names it; `allow` names those of `data`, `validation`, `batch_size`, `shuffle`, `schedule`, `penalty`, `params`,
    `early_stopping`, `score`, `optimizer`, `loss` and `code` whose change is meant, and `orders` for a run that was
    begun by a version of the library which drew other orders from a key. `extra` is saved with the state, and
    `registry` holds classes of your own: see `save`.

    A file that cannot be written is an `OSError` before training; where the disk fills up later, training goes on with
    a `RuntimeWarning`, and the file stays as it was.

    >>> import functional_mlp as fm, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> data, key = fm.datasets.disk(fm.random.key(0), 50), fm.random.key(1)
    >>> def train(epochs, **changes):
    ...     checkpoint = fm.Checkpoint(path, every=2)
    ...     network, loss, optimizer = fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1)
    ...     return fm.fit(network, loss, optimizer, data, key=key, epochs=epochs, checkpoint=checkpoint, **changes)
    >>> first = train(3)
    >>> len(train(5).history), fm.load(path).state.epoch
    (5, 5)
    >>> train(5, batch_size=10)
    Traceback (most recent call last):
    functional_mlp.checkpoint.container.CheckpointError: ...: batch_size is 1 there, and 10 in this call: ...
    """

    path: Path = field(converter=_path)
    every: int | None = field(default=None, converter=_every, validator=optional(checks.positive_integer))
    extra: Any = field(default=None, kw_only=True)
    registry: Registry = field(default=Registry(), kw_only=True)
    allow: tuple[str, ...] = field(default=(), kw_only=True, validator=_check_allowed)

    def keep(self, job: Job) -> "KeptJob":
        """The run of a job in the file, at its start where there is no file yet.

        Raises `CheckpointError` where the file is of another run.
        """
        settings = [Settings.of(job, member) for member in job.members]
        if not self.path.exists():
            return KeptJob(self, job, settings)
        found = self._found(job)
        differing = [
            difference
            for saved, member, own in zip(found, job.members, settings, strict=True)
            for difference in self._differences(saved, job, member, own)
        ]
        if differing:
            names = tuple(dict.fromkeys(name for name, _ in differing))
            texts = "; ".join(dict.fromkeys(text for _, text in differing))
            raise self._of_another_call(texts, names)
        members = tuple(map(_moved_on, job.members, found))
        members = self._judged(job.early_stopping, members)
        return KeptJob(self, attrs.evolve(job, members=members), settings)

    def _found(self, job: Job) -> tuple[Saved, ...]:
        """What the file holds of each member of a job, once network, loss, optimizers and keys are known to be its."""
        try:
            saved = load(
                self.path,
                network=job.network,
                loss=None if "loss" in self.allow else job.loss,
                registry=self.registry,
            )
        except CheckpointError as error:
            if error.differs == ("loss",):
                raise self._of_another_call(error.reason, error.differs) from error
            raise
        found = saved.members or (saved,)
        if len(found) != len(job.members):
            raise CheckpointError(
                self.path, f"holds {count(len(found), 'network')}, and this call trains {len(job.members)}"
            )
        for index, (own, member) in enumerate(zip(found, job.members, strict=True)):
            if own.state is None or own.history is None:
                reason = "holds parameters without a run to go on with: pass them to fit as params"
                raise CheckpointError(self.path, reason)
            if own.state.key != member.start.key:
                reason = "is the run of another key: pass its key, or another path"
                raise CheckpointError(self.path, reason, ("key",))
            if type(own.state.optimizer_state) is not member.optimizer.State or (
                "optimizer" not in self.allow and own.optimizer != member.optimizer
            ):
                which = f" (member {index})" if len(found) > 1 else ""
                reason = f"was trained by {own.optimizer!r}{which}, and not by {member.optimizer!r}"
                if type(own.state.optimizer_state) is member.optimizer.State:
                    raise self._of_another_call(reason, ("optimizer",))
                raise CheckpointError(self.path, f"{reason}: pass one of its kind, or another path", ("optimizer",))
        return found

    def _of_another_call(self, reason: str, names: tuple[str, ...]) -> CheckpointError:
        """The error of a file of another call, which differs in what `allow` may name."""
        advice = f"pass what it was started with, another path, or, where this is meant, allow={names!r}"
        return CheckpointError(self.path, f"{reason}: {advice}", names)

    def _judged(self, rule: EarlyStopping | None, members: Sequence[Member]) -> tuple[Member, ...]:
        """Members with the state of the rule's best epoch; a warning where the file has no such state."""
        if rule is None:
            return tuple(attrs.evolve(each, progress=attrs.evolve(each.progress, best=None)) for each in members)
        judged = tuple(attrs.evolve(each, progress=_with_best(rule, each.progress)) for each in members)
        later = sum(a.progress.judged_from != b.progress.judged_from for a, b in zip(members, judged, strict=True))
        if later:
            those = f" of {later} of {len(members)} members" if len(members) > 1 else ""
            warnings.warn(
                f"{self.path} does not hold the state{those} after the best epoch by {rule!r}, with which the run was "
                "not begun: epochs are judged from the last one there on, as if those before it had not been",
                RuntimeWarning,
                stacklevel=5,
            )
        return judged

    def _differences(self, saved: Saved, job: Job, member: Member, own: Settings) -> list[tuple[str, str]]:
        """The arguments in which a call differs from the run that the file holds, and was not said to."""
        if saved.settings is None:  # a file of an older version, or of `save`
            return []
        given = {*self.allow, "params"} if _is_where(saved, member.start) else {*self.allow}
        differences = [*saved.settings.differences(own)]
        if saved.settings.schedule == own.schedule and "optimizer" not in given:
            differences += _other_rate(saved, member)
        if saved.settings.score == own.score and saved.settings.validation == own.validation:
            differences += _other_score(saved, job, member)
        return [(name, text) for name, text in differences if name not in given]


@frozen(eq=False)
class KeptJob:
    """A job whose progress a checkpoint keeps (see `functional_mlp.state.Kept`)."""

    checkpoint: Checkpoint
    job: Job
    settings: Sequence[Settings]

    def is_due(self, epoch: int, seconds: float) -> bool:
        every = self.checkpoint.every
        return epoch <= FIRST_EPOCHS or seconds >= SECONDS if every is None else epoch % every == 0

    def save(self, progress: Sequence[Progress]) -> None:
        """Save the members as they are, if they are finite: a state that diverged is of no use to anyone."""
        if all(trees.is_finite(reached.state) for reached in progress):
            save_run(
                self.checkpoint.path,
                self.job,
                progress,
                self.settings,
                extra=self.checkpoint.extra,
                registry=self.checkpoint.registry,
            )


def _moved_on(member: Member, saved: Saved) -> Member:
    """A member where the file has it, on the device of its start."""
    assert saved.state is not None
    assert saved.history is not None
    device = pytree.leaves(member.start)[0].device if pytree.leaves(member.start) else None

    def moved(state: TrainState) -> Any:
        return pytree.map(lambda leaf: leaf.to(device), state)

    best = None if saved.best is None else moved(saved.best)
    reached = Progress(moved(saved.state), saved.history, saved.ended, best, saved.judged_from)
    return attrs.evolve(member, progress=reached)


def _with_best(rule: EarlyStopping, progress: Progress) -> Progress:
    """Progress with the state of its best epoch by a rule, which may judge the last epoch alone."""
    best = rule.over(progress.history, progress.judged_from).epoch
    if best is None:
        return attrs.evolve(progress, best=None)
    after = best + 1 - len(progress.history)  # from the state's epoch on
    if after == 0:
        return attrs.evolve(progress, best=progress.state)
    if progress.best is not None and progress.best.epoch == progress.state.epoch + after:
        return progress
    return _with_best(rule, attrs.evolve(progress, judged_from=len(progress.history) - 1))


def _is_where(saved: Saved, start: TrainState) -> bool:
    """Whether a run starts from the very state that is saved."""
    return saved.state is not None and pytree.equal(pytree.map(lambda leaf: leaf.cpu(), start), saved.state)


def _other_rate(saved: Saved, member: Member) -> list[tuple[str, str]]:
    """How a schedule differs that is a function, known by its name alone: by the rate of the last epoch saved."""
    if member.schedule is None or isinstance(member.schedule, Value) or not saved.history:
        return []
    assert saved.state is not None
    last, (rate,) = saved.history.learning_rate[-1], learning_rates([member], saved.state.epoch - 1, [None])
    if math.isclose(rate, last, rel_tol=1e-6):  # another machine's functions round differently
        return []
    return [("schedule", f"schedule gave epoch {saved.state.epoch - 1} the rate {last} there, and {rate} in this call")]


def _other_score(saved: Saved, job: Job, member: Member) -> list[tuple[str, str]]:
    """How a score differs, which is known by its name alone: by what it makes of the parameters saved."""
    data = member.validation
    if job.score is None or data is None or not saved.history:
        return []
    assert saved.state is not None
    params = pytree.map(lambda leaf: leaf.to(data.inputs.device), saved.state.optimizer_state.params)
    last, figure = saved.history.validation_accuracy[-1], scored(job.network, params, data, job.score)
    if math.isclose(figure, last, rel_tol=1e-4) or (math.isnan(figure) and math.isnan(last)):
        return []
    return [("score", f"score gave epoch {saved.state.epoch - 1} {last} there, and {figure} in this call")]
