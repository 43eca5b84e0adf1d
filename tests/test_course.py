"""The one state machine of training: how it groups epochs, finds what diverges, and recovers from a false alarm."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import functional_mlp as fm
from functional_mlp.course import Course
from functional_mlp.engines import Group
from functional_mlp.metrics import NOTHING, Metrics
from functional_mlp.state import Job, Keys, Member, Outcome, Progress, Rates, Tick

DATA = fm.datasets.disk(fm.random.key(0), 4)
OPTIMIZER = fm.SGD(1.0)


class Counting:
    """A run of members whose one number counts their epochs, until the loss or the number stops being finite.

    `lost` gives for each member the epoch whose loss is not finite, or None, and `overflowing` the one after which its
    numbers are not; `alarms` are the epochs after which a look at several finds fault where there is none.
    """

    def __init__(
        self,
        lost: Sequence[int | None],
        overflowing: Sequence[int | None] = (),
        alarms: Sequence[int] = (),
        epochs_at_once: int = 8,
        epochs_ahead: int = 1,
    ) -> None:
        self.lost, self.overflowing, self.alarms = lost, overflowing or [None] * len(lost), alarms
        self.epochs_at_once = epochs_at_once
        self._epochs_ahead = epochs_ahead
        self.reached = 0
        self.calls: list[int] = []

    def epochs_ahead(self, wanted: int) -> int:
        return max(self._epochs_ahead, min(wanted, self.epochs_at_once))

    def epochs(
        self, keys: Keys, learning_rates: Rates, tick: Tick, validated: Collection[int], *, each: bool = False
    ) -> tuple[list[Outcome], list[int]]:
        began = self.reached
        trained: list[list[Metrics]] = [[] for _ in self.lost]
        for done in range(len(keys)):
            tick(done)
            for member, own in enumerate(trained):
                own.append(Metrics(self._loss(member), 0.5))
            self.reached += 1
        self.calls.append(len(keys))
        held_out = [Metrics(0.25, 0.75) if member in validated else NOTHING for member in range(len(trained))]
        outcomes = [Outcome.of(own, [metrics] * len(own)) for own, metrics in zip(trained, held_out, strict=True)]
        return outcomes, [*range(began + 1 if each else self.reached, self.reached + 1)]

    def check_unchanged(self) -> None:
        """A counting run reads nothing that may change."""

    def _loss(self, member: int) -> float:
        lost = self.lost[member]
        return 1.0 / (1 + self.reached) if lost is None or self.reached < lost else math.nan

    def is_finite(self, members: Sequence[int]) -> bool:
        if self.calls[-1] > 1 and any(self.reached - self.calls[-1] <= alarm < self.reached for alarm in self.alarms):
            return False
        return all(self._is_finite(member) for member in members)

    def _is_finite(self, member: int) -> bool:
        overflows, lost = self.overflowing[member], self.lost[member]
        return (overflows is None or self.reached <= overflows) and (lost is None or self.reached <= lost)

    def snapshot(self) -> int:
        return self.reached

    def restore(self, snapshot: int) -> None:
        self.reached = snapshot

    def state(self, snapshot: int, member: int) -> fm.OptimizerState:
        return fm.OptimizerState((torch.tensor([float(snapshot)]),), 1.0, snapshot)


def course_of(
    run: Counting,
    epochs: int,
    *,
    watched: bool = False,
    early_stopping: fm.EarlyStopping | None = None,
    **changes: Any,
) -> Course:
    state = OPTIMIZER.init((torch.zeros(1),))
    members = tuple(
        Member(optimizer=OPTIMIZER, data=DATA, progress=Progress(fm.TrainState(state, key, 0)))
        for key in fm.random.key(1).split(len(run.lost))
    )
    members = tuple(attrs.evolve(member, **changes) for member in members)
    job = Job(
        network=fm.Linear(2, 2),
        loss=fm.MeanSquaredError(),
        members=members,
        epochs=epochs,
        batch_size=4,
        early_stopping=early_stopping,
        engine="reference",
    )
    return Course(job, Group(tuple(range(len(members))), members, lambda: run), watched=watched)


def outcome(course: Course, member: int = 0) -> tuple[int, int, int | None]:
    """The epoch of a member's state, the length of its history, and where it diverged."""
    result = course.results()[member]
    assert result.state.optimizer_state.step == result.state.epoch
    return result.state.epoch, len(result.history), result.diverged_at


def test_epochs_are_taken_together_where_nobody_looks() -> None:
    run = Counting([None])
    assert len(list(course_of(run, 30))) == 4
    assert run.calls == [8, 8, 8, 6]


@pytest.mark.parametrize("ahead", [1, 2, 8])
def test_one_who_looks_sees_each_epoch(ahead: int) -> None:
    run = Counting([None], epochs_ahead=ahead)
    course = course_of(run, 3, watched=True)
    seen = [(reached, course.progress(0)) for reached in course]
    assert [(reached, own.state.epoch, len(own.history)) for reached, own in seen] == [
        ([0], 1, 1),
        ([0], 2, 2),
        ([0], 3, 3),
    ]
    assert [own.state.optimizer_state.step for _, own in seen] == [1, 2, 3]
    assert run.reached == 3


@pytest.mark.parametrize(
    ("schedule", "seen"),
    [(None, 4), (fm.schedules.exponential_decay(0.9), 4), (lambda epoch: 1.0, 1), (fm.schedules.on_plateau(), 1)],
)
def test_epochs_are_trained_ahead_where_nothing_that_a_callback_changes_matters(schedule: Any, seen: int) -> None:
    run = Counting([None], epochs_ahead=4)
    next(iter(course_of(run, 9, watched=True, schedule=schedule)))
    assert run.reached == seen


def test_epochs_are_taken_together_with_their_validation() -> None:
    run = Counting([None])
    course = course_of(run, 3, validation=DATA)
    list(course)
    assert run.calls == [3]
    assert course.results()[0].history.validation_loss == (0.25,) * 3


def test_after_a_false_alarm_epochs_are_taken_together_again() -> None:
    run = Counting([None], alarms=[9])
    course = course_of(run, 32)
    list(course)
    assert run.calls == [8, 8, *[1] * 8, 8, 8]
    assert outcome(course) == (32, 32, None)
    assert course.results()[0].history.train_loss == tuple(1.0 / (1 + epoch) for epoch in range(32))


@pytest.mark.parametrize("ahead", [1, 4])
def test_a_state_is_finite_where_a_turn_gives_it(ahead: int) -> None:
    run = Counting([None], overflowing=[2], epochs_ahead=ahead)
    course = course_of(run, 5, watched=True)
    assert [course.progress(0).state.epoch for _ in course] == [1, 2]
    assert outcome(course) == (2, 5, 2)


def test_nothing_is_trained_where_the_last_epoch_is_reached() -> None:
    run = Counting([None])
    state = fm.TrainState(OPTIMIZER.init((torch.zeros(1),)), fm.random.key(1), 3)
    assert list(course_of(run, 3, progress=Progress(state))) == []
    assert run.calls == []


@pytest.mark.parametrize("ahead", [1, 4])
def test_a_member_that_is_ended_is_trained_no_more(ahead: int) -> None:
    run = Counting([None, None], epochs_ahead=ahead)
    course = course_of(run, 4, watched=True)
    turns = []
    for reached in course:
        turns.append(reached)
        if course.progress(0).state.epoch == 2:
            course.end(0)
    assert turns == [[0, 1], [0, 1], [1], [1]]
    assert [outcome(course, member)[0] for member in (0, 1)] == [2, 4]
    assert course.progress(0).ended


def test_epochs_that_are_trained_again_are_recorded_once() -> None:
    course = course_of(Counting([None, None], epochs_ahead=4), 9, watched=True)
    for _ in course:
        if course.progress(0).state.epoch == 2:
            course.end(0)
    histories = [result.history.train_loss for result in course.results().values()]
    assert histories == [tuple(1.0 / (1 + epoch) for epoch in range(epochs)) for epochs in (2, 9)]


def test_an_interruption_leaves_the_last_whole_turn() -> None:
    run = Counting([None])
    course = course_of(run, 40)

    def interrupt(done: float) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    course._tick = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(course)
    assert outcome(course) == (24, 24, None)


lost = st.lists(st.none() | st.integers(0, 20), min_size=1, max_size=4)


@given(lost=lost, data=st.data(), at_once=st.integers(2, 9), alarms=st.lists(st.integers(0, 20), max_size=3))
@settings(max_examples=100)
def test_how_epochs_are_taken_together_makes_no_difference(
    lost: list[int | None], data: st.DataObject, at_once: int, alarms: list[int]
) -> None:
    """The loss of an overflowing member is not finite in the next epoch."""
    overflowing = [data.draw(st.sampled_from([None, at - 1])) if at else None for at in lost]
    one_by_one = course_of(Counting(lost, overflowing, epochs_at_once=1), 17)
    together = course_of(Counting(lost, overflowing, alarms, epochs_at_once=at_once), 17)
    list(one_by_one), list(together)
    for member, at in enumerate(lost):
        assert outcome(together, member) == outcome(one_by_one, member)
        epoch, recorded, diverged_at = outcome(together, member)
        if at is None or at > 17:
            assert (epoch, recorded, diverged_at) == (17, 17, None)
        else:
            finite = overflowing[member] if overflowing[member] is not None else min(at, 17)
            assert epoch == min(finite, 17)
            assert recorded == min(at + 1, 17)


class Turning(Counting):
    """A run of one member whose loss falls for some epochs, and then grows."""

    def __init__(self, turns_at: int, **arguments: Any) -> None:
        super().__init__([None], **arguments)
        self.turns_at = turns_at

    def _loss(self, member: int) -> float:
        return 1.0 + abs(self.reached - self.turns_at)


@pytest.mark.parametrize("turns_at", [0, 3, 7, 8, 13, 39])
@pytest.mark.parametrize("patience", [1, 2, 9])
def test_epochs_taken_together_end_and_are_best_where_single_ones_are(turns_at: int, patience: int) -> None:
    stopping = fm.EarlyStopping(patience, monitor="train_loss")
    results = []
    for together in (1, 8):
        run = Turning(turns_at, epochs_at_once=together, epochs_ahead=together)
        course = course_of(run, 40, early_stopping=stopping)
        list(course)
        results.append(course.results()[0])
    one, many = results
    assert one.state.epoch == many.state.epoch == many.state.optimizer_state.step == min(40, turns_at + 1 + patience)
    assert one.best.epoch == many.best.epoch == many.best.optimizer_state.step == turns_at + 1
    assert (one.history.train_loss, one.stopped_early) == (many.history.train_loss, many.stopped_early)


def test_a_run_that_ends_within_epochs_taken_together_goes_back() -> None:
    run = Turning(9, epochs_ahead=8)
    list(course_of(run, 40, early_stopping=fm.EarlyStopping(3, monitor="train_loss")))
    assert (run.calls, run.reached) == ([8, 8], 13)


def test_epochs_that_early_stopping_cannot_end_are_taken_together() -> None:
    run = Turning(9)
    list(course_of(run, 40, early_stopping=fm.EarlyStopping(5, monitor="train_loss")))
    assert (run.calls, run.reached) == ([5, 5, 5], 15)
