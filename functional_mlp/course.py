"""The course of training: the one state machine, for one network or many.

A group of members is trained from state to state. Where no callback or checkpoint looks at each epoch, one call of the
engine trains several; where one does, short epochs are trained some ahead, and shown one by one. A state is passed on
only when all its numbers are known to be finite: if several epochs end in other numbers, the group goes back and takes
these epochs one by one, which finds the epoch in which a member diverges. If early stopping would have ended the run
within several epochs, the group goes back as well, and takes the epochs up to that end.
"""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from functional_mlp.engines import Group, Snapshot
from functional_mlp.history import History, Recorder
from functional_mlp.metrics import scored
from functional_mlp.orders import key_of
from functional_mlp.reads import Reads, fields_of
from functional_mlp.schedules import Schedule
from functional_mlp.standing import Standing, Stretch
from functional_mlp.state import (
    FitResult,
    Job,
    Keys,
    Member,
    Outcome,
    Progress,
    Rates,
    Tick,
    TrainState,
    learning_rates,
    reads_history,
)
from functional_mlp.stopping import Improvement

# Epochs in one call of a run that early stopping may end within that call: of the course, for either engine, and so no
# part of the fused one's policy. Going back repeats at most this many, once at the end and once for the best state: a
# run that its patience keeps from ending within a call goes back for that one too. Of the time for 16, one by one takes
# 1.66 (iris, 205 epochs of one batch), 1.44 (wine, 120) and 1.04 (breast_cancer, 54 of three), 8 at a time 1.07, 0.98
# and 0.97, 64 at a time 1.09, 1.18 and 1.01; where a run of 200 epochs does not end early, 64 at a time take 0.92, 0.99
# and 1.00.
MOST_THAT_STOP = 16


class Course:
    """The training of a group of members, from their start to the job's last epoch.

    `numbers` are those of the members in the job.

    Iterating trains: each turn gives the members that have reached a further finite state, by their places in the
    group; with `watched` each epoch is a turn. `tick` is called now and then with the number of epochs done, a
    fraction within an epoch, and may raise to end the training. Whatever ends it, `progress` and `results` give what
    was reached.
    """

    def __init__(self, job: Job, group: Group, *, watched: bool, tick: Tick | None = None) -> None:
        self.numbers: Sequence[int] = group.numbers
        self._job, self._members = job, group.members
        self._tick = (lambda done: None) if tick is None else tick
        self._run = group.start()
        self._ahead = self._run.ahead if watched else None
        self._epochs_at_once = self._most_at_once(watched)
        self._recorders = [Recorder(member.progress.history) for member in self._members]
        self._keys = [member.start.key for member in self._members]
        self._begun = [member.start.epoch - len(member.progress.history) for member in self._members]
        self._memories = [_remembered(member, None, member.progress.history) for member in self._members]
        self._improvements = [self._improvement(member) for member in self._members]
        self._asked: tuple[range, Keys, Rates] = range(0), [], []
        self._ended = 0  # how many times a member was told to end
        start = self._run.snapshot()
        self._standings = [
            Standing(
                member.start.epoch,
                start,
                trained=member.start.epoch,
                ended=member.progress.ended,
                stopped_early=self._is_over(improvement),
                best=member.progress.best,
            )
            for member, improvement in zip(self._members, self._improvements, strict=True)
        ]

    def _most_at_once(self, watched: bool) -> int:
        """How many epochs are trained before any of them is looked at."""
        stopping, schedules = self._job.early_stopping, [member.schedule for member in self._members]
        if self._job.score is not None or any(map(reads_history, schedules)):
            return 1
        if stopping is not None and (watched or len(self._members) > 1):  # members of a group stop one by one
            return 1
        if watched:  # a callback may change what a function of the epoch gives
            ours = all(schedule is None or _is_ours(schedule) for schedule in schedules)
            return self._ahead.most if ours and self._ahead is not None else 1
        return self._run.epochs_at_once if stopping is None else min(MOST_THAT_STOP, self._run.epochs_at_once)

    def _improvement(self, member: Member) -> Improvement:
        stopping, progress = self._job.early_stopping, member.progress
        return Improvement() if stopping is None else stopping.over(progress.history, progress.judged_from)

    def _is_over(self, improvement: Improvement) -> bool:
        return self._job.early_stopping is not None and self._job.early_stopping.is_over_after(improvement)

    def __iter__(self) -> Iterator[Sequence[int]]:
        epoch, snapshot = self._members[0].start.epoch, self._standings[0].snapshot
        one_by_one, last = epoch, self._job.epochs  # the epochs before the first one are taken one by one
        while epoch < last and (active := self._active()):
            size = 1 if epoch < one_by_one else self._epochs_at_once
            stretch = self._train(range(epoch, min(epoch + size, last)), active)
            epochs = stretch.epochs
            if len(epochs) > 1 and not stretch.settled:
                self._run.restore(snapshot)
                one_by_one = epochs.stop
                continue
            if len(epochs) > 1 and (end := self._end_among(stretch)) < epochs.stop:
                self._run.restore(snapshot)
                last = end
                continue
            self._record(stretch)
            each, ended = len(epochs) // len(stretch.snapshots), self._ended
            for after in stretch.snapshots:
                reached = self._move_on(stretch, range(epoch, epoch + each), before=snapshot, after=after)
                epoch, snapshot = epoch + each, after
                if len(epochs) > 1:
                    self._tick(epoch)
                if reached:
                    yield reached
                if epoch == epochs.stop:
                    break
                if self._ended > ended:  # fewer members go on than were trained ahead
                    self._run.restore(snapshot)
                    break
                if self._ahead is not None:  # and if what they are trained by has not changed
                    self._ahead.check_unchanged()

    def _active(self) -> list[int]:
        """The members that are still trained."""
        return [member for member, standing in enumerate(self._standings) if not standing.is_over]

    def _train(self, epochs: range, active: Sequence[int]) -> Stretch:
        """Run epochs."""
        started = time.perf_counter()
        keys, rates = self._asked_for(epochs)
        if self._ahead is not None and len(epochs) > 1:
            outcomes, snapshots = self._ahead.epochs(keys, rates, active)
        else:
            # Progress of several epochs is told when they are known not to be taken again.
            tick = (lambda done: self._tick(epochs.start + done)) if len(epochs) == 1 else (lambda done: None)
            outcomes = self._run.epochs(keys, rates, tick, active)
            snapshots = [self._run.snapshot()]
        reached = [self._scored(member, outcomes[member]) for member in active]
        seconds = (time.perf_counter() - started) / (len(active) * len(epochs))  # a member's share
        histories = [
            History(
                own.train_loss,
                own.train_accuracy,
                own.validation_loss,
                own.validation_accuracy,
                tuple(rate[member] for rate in rates),
                (seconds,) * len(epochs),
            )
            for member, own in zip(active, reached, strict=True)
        ]
        finite = all(map(math.isfinite, itertools.chain.from_iterable(own.train_loss for own in histories)))
        return Stretch(
            epochs=epochs,
            active=active,
            histories=histories,
            improved=self._improved(active, histories),
            snapshots=snapshots,
            settled=finite and self._run.is_finite(active),
        )

    def _record(self, stretch: Stretch) -> None:
        """Record the histories of epochs that stand, and let the schedules look at them.

        Where members go back to an epoch within a stretch, the next one records those that follow anew.
        """
        for member, own in zip(stretch.active, stretch.histories, strict=True):
            self._recorders[member].record(stretch.epochs.start - self._begun[member], own)
            self._memories[member] = _remembered(self._members[member], self._memories[member], own)

    def _asked_for(self, epochs: range) -> tuple[Keys, Rates]:
        """The keys and the learning rates of the members in some epochs; those taken once more are asked for once."""
        asked, keys, rates = self._asked
        if epochs[0] not in asked or epochs[-1] not in asked:
            asked, keys = epochs, [[key_of(key, epoch) for key in self._keys] for epoch in epochs]
            rates = self._rates(epochs)
            self._asked = asked, keys, rates
        own = slice(epochs[0] - asked[0], epochs[-1] - asked[0] + 1)
        return keys[own], rates[own]

    def _rates(self, epochs: range) -> Rates:
        """The learning rates of the members in some epochs."""
        if all(member.schedule is None for member in self._members):
            return [learning_rates(self._members, epochs.start, self._memories)] * len(epochs)
        return [learning_rates(self._members, epoch, self._memories) for epoch in epochs]

    def _improved(self, active: Sequence[int], histories: Sequence[History]) -> list[list[Improvement]]:
        """The improvement of each active member after each of some epochs; none without early stopping."""
        stopping = self._job.early_stopping
        if stopping is None:
            return [[] for _ in active]
        return [
            stopping.after_each(self._improvements[member], getattr(own, stopping.monitor))
            for member, own in zip(active, histories, strict=True)
        ]

    def _scored(self, member: int, outcome: Outcome) -> Outcome:
        """An outcome with the score in the place of the accuracy, where there is one."""
        data, score = self._members[member].validation, self._job.score
        if data is None or score is None:
            return outcome
        params = self._run.state(self._run.snapshot(), member).params  # after the only epoch
        return attrs.evolve(outcome, validation_accuracy=(scored(self._job.network, params, data, score),))

    def _move_on(self, stretch: Stretch, epochs: range, *, before: Snapshot, after: Snapshot) -> Sequence[int]:
        """Record where the active members stand after some epochs of a stretch; returns those at a finite state.

        `before` and `after` are the snapshots before and after these epochs.

        The loss of an epoch is that before its last update: where numbers are not finite after it, the loss of the
        next epoch shows them.
        """
        moved = Standing(epochs.stop, after, epochs.stop)
        if stretch.settled and self._job.early_stopping is None:
            count = len(self._standings)
            everyone = len(stretch.active) == count
            self._standings = (
                [moved] * count if everyone else [own if own.is_over else moved for own in self._standings]
            )
            return stretch.active
        standings, reached = list(self._standings), []
        for member, own, improved in zip(stretch.active, stretch.histories, stretch.improved, strict=True):
            loss_is_finite = stretch.settled or math.isfinite(own.train_loss[-1])
            if stretch.settled or (loss_is_finite and self._run.is_finite([member])):
                judged = self._job.early_stopping is not None
                standings[member] = self._judged(moved, member, epochs, improved, before) if judged else moved
                reached.append(member)
            else:
                diverged_at = None if loss_is_finite else epochs[-1]
                standings[member] = standings[member]._replace(trained=epochs.stop, diverged_at=diverged_at)
        self._standings = standings  # all at once: an interruption finds the old ones or the new
        return reached

    def _judged(
        self, standing: Standing, member: int, epochs: range, improved: Sequence[Improvement], before: Snapshot
    ) -> Standing:
        """Where a member stands after some epochs, at a finite state, by early stopping; it stood at `before`."""
        best = self._standings[member].best
        better = [count for count, each in enumerate(improved, start=1) if each.epoch == each.epochs - 1]
        if better:
            own = epochs[: better[-1]]
            is_last, after = own == epochs, standing.snapshot
            best = self._state(member, own.stop, after) if is_last else self._retaken(member, own, before)
        self._improvements[member] = improved[-1]
        over = self._is_over(improved[-1])
        return standing._replace(stopped_early=over, best=best)

    def _end_among(self, stretch: Stretch) -> int:
        """Where early stopping ends the run of the group's one member within a stretch; its end, if it does not.

        A group of more members takes epochs one by one where early stopping is asked for.
        """
        improved = zip(stretch.epochs, stretch.improved[0], strict=False)
        over = (epoch + 1 for epoch, each in improved if self._is_over(each))
        return next(over, stretch.epochs.stop)

    @property
    def epochs_done(self) -> int:
        """The number of epochs that the group has had."""
        return max(standing.trained for standing in self._standings)

    def end(self, member: int) -> None:
        """Train a member no further."""
        self._ended += 1
        self._standings[member] = self._standings[member]._replace(ended=True)

    def reached(self, member: int) -> tuple[TrainState, History]:
        """The last finite state of a member, in tensors of its own, and its history up to there, in views."""
        standing = self._standings[member]
        history = self._recorders[member].view(standing.epoch - self._begun[member])
        return self._state(member, standing.epoch, standing.snapshot), history

    def progress(self, member: int) -> Progress:
        """How far a member has come: what it has `reached`, and whether and how it ended."""
        standing = self._standings[member]
        state = self._state(member, standing.epoch, standing.snapshot)
        judged_from = self._members[member].progress.judged_from
        return Progress(state, self._history(member, standing.epoch), standing.ended, standing.best, judged_from)

    def results(self, *, interrupted: bool = False) -> dict[int, FitResult]:
        """The result of each member, by its number in the job."""
        return {number: self._result(member, interrupted) for member, number in enumerate(self.numbers)}

    def _result(self, member: int, interrupted: bool) -> FitResult:
        standing = self._standings[member]
        diverged_at = standing.diverged_at
        if diverged_at is None and standing.trained > standing.epoch:  # no epoch has followed whose loss would show it
            diverged_at = standing.epoch
        state = TrainState(self._run.state(standing.snapshot, member), self._keys[member], standing.epoch)
        best = state if standing.best is None or standing.best.epoch == state.epoch else attrs.evolve(standing.best)
        history = self._history(member, standing.trained)
        return FitResult(state, history, diverged_at, interrupted, best, standing.stopped_early)

    def _state(self, member: int, epoch: int, snapshot: Snapshot) -> TrainState:
        """A member's state in a snapshot; its tensors are copied when they are asked for, which may be never."""
        run, key = self._run, self._keys[member]
        state: TrainState = TrainState.deferred(lambda _: run.state(snapshot, member), {"key": key, "epoch": epoch})
        return state

    def _retaken(self, member: int, epochs: range, before: Snapshot) -> TrainState:
        """The state after some epochs from a snapshot on, which are taken once more where it is asked for."""
        asked = self._asked_for(epochs)

        def take(_: str) -> Any:
            now = self._run.snapshot()
            self._run.restore(before)
            self._run.epochs(*asked, lambda done: None, [member])
            state = self._run.state(self._run.snapshot(), member)
            self._run.restore(now)
            return state

        state: TrainState = TrainState.deferred(take, {"key": self._keys[member], "epoch": epochs.stop})
        return state

    def _history(self, member: int, epoch: int) -> History:
        """The records of a member's epochs before `epoch`."""
        return self._recorders[member].first(epoch - self._begun[member])


def _is_ours(schedule: Any) -> bool:
    """Whether a schedule is made of the library's own values alone."""
    if not isinstance(schedule, Schedule):
        return False
    reads = Reads.of({type(schedule): fields_of(schedule)}, ["__call__", "factor"])
    return reads.is_all and not reads.functions


def _remembered(member: Member, memory: Any, history: History) -> Any:
    """What a member's schedule remembers after some epochs; `memory` is what it did before them."""
    schedule = member.schedule
    if not isinstance(schedule, Schedule) or schedule.monitor is None:
        return None
    memory = schedule.start() if memory is None else memory
    for figure in getattr(history, schedule.monitor):
        memory = schedule.after(memory, figure)
    return memory
