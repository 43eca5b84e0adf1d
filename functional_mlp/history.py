"""What a training run records."""

import operator
from collections.abc import Iterable
from typing import Any

import attrs


@attrs.frozen
class EpochRecord:
    """One epoch of training; losses and accuracies are NaN where they do not apply.

    `train_loss` is the mean loss and `train_accuracy` the share of samples that were right, each sample
    judged right before its own update. The validation figures are taken at the epoch's end.
    """

    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


FIGURES = operator.attrgetter(*(field.name for field in attrs.fields(EpochRecord)))


@attrs.frozen
class History:
    """The records of a run's epochs, a tuple for each figure of `EpochRecord`.

    >>> history = History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)])
    >>> len(history), history.train_loss
    (1, (0.5,))
    """

    train_loss: tuple[float, ...] = ()
    train_accuracy: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    validation_accuracy: tuple[float, ...] = ()
    learning_rate: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()

    @classmethod
    def of(cls, records: Iterable[EpochRecord]) -> "History":
        return cls(*zip(*map(FIGURES, records), strict=True))

    def __len__(self) -> int:
        return len(self.train_loss)

    def records(self) -> list[EpochRecord]:
        """The records that the history is made `of`.

        >>> history = History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)])
        >>> History.of(history.records()) == history
        True
        """
        return list(map(EpochRecord, *attrs.astuple(self, recurse=False)))

    def to_dict(self) -> dict[str, list[float]]:
        """The figures as lists, by name.

        >>> History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)]).to_dict()["learning_rate"]
        [0.01]
        """
        figures: dict[str, Any] = attrs.asdict(self, recurse=False)
        return {name: list(values) for name, values in figures.items()}
