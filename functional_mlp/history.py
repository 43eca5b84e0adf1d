"""What a training run records."""

import operator
from collections.abc import Iterable, Sequence

import attrs
from attrs import field

from functional_mlp import markup
from functional_mlp.spread import count
from functional_mlp.value import Deferred, with_one_nan
from functional_mlp.views import View


@attrs.frozen
class EpochRecord:
    """One epoch of training; losses and accuracies are NaN where they do not apply.

    `train_loss` is the mean loss and `train_accuracy` the share of samples that were right, each sample
    judged right before its own update. The validation figures are taken at the epoch's end; where `fit` is given a
    `score`, `validation_accuracy` is that score.

    >>> EpochRecord(0.5, 0.8, float("nan"), float("nan"), 0.01, 0.1) == EpochRecord(
    ...     0.5, 0.8, float("nan"), float("nan"), 0.01, 0.1
    ... )
    True
    """

    train_loss: float = field(eq=with_one_nan)
    train_accuracy: float = field(eq=with_one_nan)
    validation_loss: float = field(eq=with_one_nan)
    validation_accuracy: float = field(eq=with_one_nan)
    learning_rate: float = field(eq=with_one_nan)
    seconds: float = field(eq=with_one_nan)


NAMES = tuple(each.name for each in attrs.fields(EpochRecord))
FIGURES = operator.attrgetter(*NAMES)


@attrs.frozen(slots=False, repr=False)
class History(Deferred):
    """The records of a run's epochs, a tuple for each figure of `EpochRecord`.

    What a callback is handed has views in the place of tuples, for which JSON needs `to_dict`: one figure of them, as
    `history.train_loss[-1]`, costs the same after a thousand epochs as after one.

    >>> history = History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)])
    >>> len(history), history.train_loss
    (1, (0.5,))
    """

    train_loss: tuple[float, ...] = field(default=(), eq=with_one_nan)
    train_accuracy: tuple[float, ...] = field(default=(), eq=with_one_nan)
    validation_loss: tuple[float, ...] = field(default=(), eq=with_one_nan)
    validation_accuracy: tuple[float, ...] = field(default=(), eq=with_one_nan)
    learning_rate: tuple[float, ...] = field(default=(), eq=with_one_nan)
    seconds: tuple[float, ...] = field(default=(), eq=with_one_nan)

    @classmethod
    def of(cls, records: Iterable[EpochRecord]) -> "History":
        return cls(*zip(*map(FIGURES, records), strict=True))

    def __len__(self) -> int:
        length: int | None = vars(self).get("_length")  # known before the tuples are made
        return len(self.train_loss) if length is None else length

    def __repr__(self) -> str:
        return f"<History of {count(len(self), 'epoch')}{self.outcome()}>"

    def outcome(self) -> str:
        """The last losses and accuracies in words, with a colon before them; nothing where there is none.

        >>> History.of([EpochRecord(0.5, 0.8, float("nan"), float("nan"), 0.01, 0.1)]).outcome()
        ': train_loss 0.5, train_accuracy 0.8'
        """
        last = {name: getattr(self, name)[-1] for name in NAMES[:4]} if len(self) else {}
        told = ", ".join(f"{name} {figure:.4g}" for name, figure in last.items() if figure == figure)
        return f": {told}" if told else ""

    def _repr_html_(self) -> str:
        names = [name for name in NAMES if any(figure == figure for figure in getattr(self, name))]
        rows = [(epoch + 1, *(getattr(self, name)[epoch] for name in names)) for epoch in markup.evenly(len(self))]
        return markup.table(f"History of {count(len(self), 'epoch')}", ["epoch", *names], rows)

    def records(self) -> Sequence[EpochRecord]:
        """The records that the history is made `of`, each made when it is asked for.

        >>> history = History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)])
        >>> History.of(history.records()) == history, history.records()[-1].train_loss
        (True, 0.5)
        """
        figures = FIGURES(self)
        return View(len(self), lambda place: EpochRecord(*(each[place] for each in figures)), list)

    def to_dict(self) -> dict[str, list[float]]:
        """The figures as lists, by name.

        >>> History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)]).to_dict()["learning_rate"]
        [0.01]
        """
        return {name: list(getattr(self, name)) for name in NAMES}


class Recorder:
    """A history that grows.

    An epoch costs the same however many have been recorded: the histories that `first` and `view` give share the
    recorder's columns. Epochs that are recorded once more take the place of what was recorded from there on, which no
    history that was given may hold.

    >>> recorder = Recorder(History())
    >>> recorder.record(0, History.of([EpochRecord(loss, 0.8, 0.6, 0.7, 0.01, 0.1) for loss in (0.5, 0.4)]))
    >>> recorder.first(1).train_loss, recorder.view(2).train_loss
    ((0.5,), (0.5, 0.4))
    """

    def __init__(self, history: History) -> None:
        self._columns = {name: list(getattr(history, name)) for name in NAMES}

    def record(self, place: int, history: History) -> None:
        """Make the records of a history those from a place on."""
        for name, column in self._columns.items():
            column[place:] = getattr(history, name)

    def first(self, length: int) -> History:
        """The history of the first `length` epochs, whose tuples are made when they are asked for."""
        columns = self._columns
        history: History = History.deferred(lambda name: tuple(columns[name][:length]), {"_length": length})
        return history

    def view(self, length: int) -> History:
        """The history of the first `length` epochs, in views: to look into it costs what is looked at."""
        columns = self._columns
        history: History = History.deferred(lambda name: View(length, columns[name].__getitem__), {"_length": length})
        return history
