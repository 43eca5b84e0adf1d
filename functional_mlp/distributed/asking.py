"""The caller's own functions on many ranks: what one raises on one rank is told to all, and none waits for it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from functional_mlp.datasets import Dataset
from functional_mlp.distributed.ranks import Ranks
from functional_mlp.history import History
from functional_mlp.state import Callback, Progress, Score, TrainState
from functional_mlp.watching import asked_all, copied


class RanksProgress:
    """The `progress` of one rank: what it raises ends all ranks at the same step, as Ctrl-C does."""

    def __init__(self, ranks: Ranks, progress: Callable[[float], None] | None, interrupted: threading.Event) -> None:
        self._ranks, self._progress, self._interrupted = ranks, progress, interrupted
        self._error: Exception | None = None

    def __call__(self, done: float) -> None:
        if self._progress is None or self._error is not None:
            return
        try:
            self._progress(done)
        except KeyboardInterrupt:
            self._interrupted.set()
        except Exception as error:
            self._error = error
            self._interrupted.set()

    def tell(self) -> None:
        """Raise on all ranks what `progress` has raised on any."""

        def raised() -> None:
            if self._error is not None:
                raise self._error

        self._ranks.attempted(raised)


def callback_of_all(ranks: Ranks, callbacks: Sequence[Callback], interrupted: threading.Event) -> Callback:
    """One callback for those of all ranks: it returns True on each where one does on any."""

    def callback(epoch: int, state: TrainState, history: History) -> bool:
        def says_end() -> bool:
            try:
                return asked_all(callbacks, copied, Progress(state, history))
            except KeyboardInterrupt:
                interrupted.set()
                return False

        return any(ranks.asked(says_end))

    return callback


def score_of_first(ranks: Ranks, score: Score) -> Score:
    """A score that rank 0 gives, so that all ranks decide by the same number."""

    def of_first(outputs: Tensor, data: Dataset) -> float:
        number: Any = ranks.asked(lambda: score(outputs, data) if ranks.rank == 0 else None)[0]
        return number  # type: ignore[no-any-return]

    return of_first
