"""The course of training: the one state machine, for one network or many.

A group of members is trained from state to state, some epochs in one call of the engine. Where a callback, a
checkpoint or early stopping looks at each epoch, the call gives the state after each. The first two are shown them one
by one; early stopping judges their figures. Where a member ends at one of them, the group goes back to it. A state is
passed on only when all its numbers are known to be finite: if several epochs end in other numbers, the group goes back
and takes these epochs one by one, which finds the epoch in which a member diverges.
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
from functional_mlp.orders import keys_of
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
        self._check_unchanged = self._run.check_unchanged
        self._watched = watched
        self._one_at_a_time = self._waits_for_each()
        self._recorders = [Recorder(member.progress.history) for member in self._members]
        self._keys = [member.start.key for member in self._members]
        self._begun = [member.start.epoch - len(member.progress.history) for member in self._members]
        self._memories = [_remembered(member, None, member.progress.history) for member in self._members]
        self._asked: tuple[range, Keys, Rates] = range(0), [], []
        start = self._run.snapshot()
        self._standings = [self._standing_at_start(member, start) for member in self._members]

    def _waits_for_each(self) -> bool:
        """Whether the next epoch is trained only when the one before it has been looked at."""
        schedules = [member.schedule for member in self._members]
        if self._job.score is not None or any(map(reads_history, schedules)):
            return True
        # A callback may change what a function of the epoch gives.
        return self._watched and not all(schedule is None or _is_ours(schedule) for schedule in schedules)

    @property
    def _may_end_at_each(self) -> bool:
        """Whether a member may end at any epoch: the states after all of them are then needed."""
        return self._watched or self._job.early_stopping is not None

    def _most_at_once(self, active: list[int]) -> int:
        """How many epochs are trained before any of them is looked at."""
        if self._one_at_a_time:
            return 1
        if not self._may_end_at_each:
            return self._run.epochs_at_once
        return self._run.epochs_ahead(self._surely_left(active))

    def _surely_left(self, active: list[int]) -> int:
        """How many epochs the active members are sure to be trained."""
        stopping = self._job.early_stopping
        if self._watched or stopping is None:
            return 1
        return min(stopping.fewest_left(self._standings[member].improvement) for member in active)

    def _standing_at_start(self, member: Member, snapshot: Snapshot) -> Standing:
        stopping, progress, epoch = self._job.early_stopping, member.progress, member.start.epoch
        standing = Standing(epoch, snapshot, trained=epoch, ended=progress.ended, best=progress.best)
        if stopping is None:
            return standing
        improvement = stopping.over(progress.history, progress.judged_from)
        return standing._replace(improvement=improvement, stopped_early=stopping.is_over_after(improvement))

    def __iter__(self) -> Iterator[Sequence[int]]:
        epoch, snapshot = self._members[0].start.epoch, self._standings[0].snapshot
        one_by_one = epoch  # the epochs before this one are taken one by one
        while epoch < self._job.epochs and (active := self._active()):
            size = 1 if epoch < one_by_one else self._most_at_once(active)
            stretch = self._train(range(epoch, min(epoch + size, self._job.epochs)), active)
            if len(stretch.epochs) > 1 and not stretch.settled:
                self._run.restore(snapshot)
                one_by_one = stretch.epochs.stop
                continue
            self._record(stretch)
            for epochs, after in self._turns(stretch):
                reached = self._move_on(stretch, epochs, after)
                epoch, snapshot = epochs.stop, after
                if len(stretch.epochs) > 1:
                    self._tick(epoch)
                if reached:
                    yield reached
                if epoch == stretch.epochs.stop:
                    break
                if self._active() != stretch.active:  # fewer members go on than were trained ahead
                    self._run.restore(snapshot)
                    break
                self._check_unchanged()  # whoever has looked may have changed what they are trained by

    def _turns(self, stretch: Stretch) -> Iterator[tuple[range, Snapshot]]:
        """The epochs that are looked at together, each alone where it is watched, with the snapshot after them."""
        if self._watched:
            return zip((range(epoch, epoch + 1) for epoch in stretch.epochs), stretch.snapshots, strict=True)
        stops = itertools.pairwise([stretch.epochs.start, *self._stops(stretch)])
        return ((range(first, stop), stretch.after(stop)) for first, stop in stops)

    def _stops(self, stretch: Stretch) -> list[int]:
        """After how many epochs a stretch is over, and, before that, a member by early stopping."""
        stopping, stops = self._job.early_stopping, {stretch.epochs.stop}
        if stopping is not None:
            counts = range(stretch.epochs.start + 1, stretch.epochs.stop + 1)
            for own in stretch.improvements:
                stops.update(itertools.compress(counts, map(stopping.is_over_after, own)))
        return sorted(stops)

    def _active(self) -> list[int]:
        """The members that are still trained."""
        return [member for member, standing in enumerate(self._standings) if not standing.is_over]

    def _train(self, epochs: range, active: list[int]) -> Stretch:
        """Run epochs."""
        started = time.perf_counter()
        keys, rates = self._asked_for(epochs)
        # Progress of several epochs is told when they are known not to be taken again.
        tick = (lambda done: self._tick(epochs.start + done)) if len(epochs) == 1 else (lambda done: None)
        outcomes, snapshots = self._run.epochs(keys, rates, tick, active, each=self._may_end_at_each)
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
            improvements=[self._improvements(member, own) for member, own in zip(active, histories, strict=True)],
            snapshots=snapshots,
            settled=finite and self._run.is_finite(active),
        )

    def _improvements(self, member: int, history: History) -> list[Improvement]:
        """How a member has improved after each epoch of a history that goes on from where it stands."""
        stopping = self._job.early_stopping
        if stopping is None:
            return []
        figures, before = getattr(history, stopping.monitor), self._standings[member].improvement
        return [*itertools.accumulate(figures, stopping.after, initial=before)][1:]

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
            asked, keys = epochs, [*zip(*(keys_of(key, epochs) for key in self._keys), strict=True)]
            rates = self._rates(epochs)
            self._asked = asked, keys, rates
        own = slice(epochs[0] - asked[0], epochs[-1] - asked[0] + 1)
        return keys[own], rates[own]

    def _rates(self, epochs: range) -> Rates:
        """The learning rates of the members in some epochs."""
        if all(member.schedule is None for member in self._members):
            return [learning_rates(self._members, epochs.start, self._memories)] * len(epochs)
        return [learning_rates(self._members, epoch, self._memories) for epoch in epochs]

    def _scored(self, member: int, outcome: Outcome) -> Outcome:
        """An outcome with the score in the place of the accuracy, where there is one."""
        data, score = self._members[member].validation, self._job.score
        if data is None or score is None:
            return outcome
        params = self._run.state(self._run.snapshot(), member).params  # after the only epoch
        return attrs.evolve(outcome, validation_accuracy=(scored(self._job.network, params, data, score),))

    def _move_on(self, stretch: Stretch, epochs: range, after: Snapshot) -> Sequence[int]:
        """Record where the active members stand after some epochs of a stretch; returns those at a finite state.

        The loss of an epoch is that before its last update: where numbers are not finite after it, the loss of the
        next epoch shows them.
        """
        stop = epochs.stop
        if stretch.settled and self._job.early_stopping is None:
            moved, count = Standing(stop, after, stop), len(self._standings)
            everyone = len(stretch.active) == count
            self._standings = (
                [moved] * count if everyone else [own if own.is_over else moved for own in self._standings]
            )
            return stretch.active
        standings, reached = list(self._standings), []
        for place, member in enumerate(stretch.active):
            loss_is_finite = stretch.settled or math.isfinite(stretch.histories[place].train_loss[-1])
            if stretch.settled or (loss_is_finite and self._run.is_finite([member])):
                standings[member] = self._judged(stretch, place, stop, after)
                reached.append(member)
            else:
                diverged_at = None if loss_is_finite else epochs[-1]
                standings[member] = standings[member]._replace(trained=stop, diverged_at=diverged_at)
        self._standings = standings  # all at once: an interruption finds the old ones or the new
        return reached

    def _judged(self, stretch: Stretch, place: int, epoch: int, snapshot: Snapshot) -> Standing:
        """Where the active member at a place stands after `epoch` epochs, as early stopping judges it.

        `snapshot` holds the numbers after them, which are finite.
        """
        stopping, member = self._job.early_stopping, stretch.active[place]
        if stopping is None:
            return Standing(epoch, snapshot, epoch)
        before, improvement = self._standings[member], stretch.improvements[place][epoch - 1 - stretch.epochs.start]
        best_epoch = -1 if improvement.epoch is None else epoch - (improvement.epochs - 1 - improvement.epoch)
        best = before.best
        if best_epoch > before.epoch:
            best = self._state(member, best_epoch, snapshot if best_epoch == epoch else stretch.after(best_epoch))
        return Standing(
            epoch,
            snapshot,
            trained=epoch,
            stopped_early=stopping.is_over_after(improvement),
            improvement=improvement,
            best=best,
        )

    @property
    def epochs_done(self) -> int:
        """The number of epochs that the group has had."""
        return max(standing.trained for standing in self._standings)

    def end(self, member: int) -> None:
        """Train a member no further."""
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
        state = _made(self._state(member, standing.epoch, standing.snapshot))
        best = state if standing.best is None or standing.best.epoch == state.epoch else _made(standing.best)
        history = self._history(member, standing.trained)
        return FitResult(state, history, diverged_at, interrupted, best, standing.stopped_early)

    def _state(self, member: int, epoch: int, snapshot: Snapshot) -> TrainState:
        """A member's state in a snapshot; its tensors are copied when they are asked for, which may be never."""
        run, key = self._run, self._keys[member]
        state: TrainState = TrainState.deferred(lambda _: run.state(snapshot, member), {"key": key, "epoch": epoch})
        return state

    def _history(self, member: int, epoch: int) -> History:
        """The records of a member's epochs before `epoch`."""
        return self._recorders[member].first(epoch - self._begun[member])


def _made(state: TrainState) -> TrainState:
    """A state with its tensors: one whose tensors are yet to be copied keeps the memory of the run."""
    return TrainState(state.optimizer_state, state.key, state.epoch)


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
